/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* raw_epoll - an echo server that is one loop around epoll_wait.
 *
 *     raw_epoll [--workers N]
 *
 * What a server costs that is written by hand for this. Every descriptor is
 * registered once, edge-triggered. A request is one recv and one send: what has
 * not filled the buffer has emptied the socket, so nobody asks a second time only
 * to hear EAGAIN, and what comes next is a new edge.
 *
 * Where something may be left, epoll_ctl has the socket looked at anew, when it is
 * its turn again: after a full buffer, after a time in which nothing was read, and
 * after the end of the stream, which stands behind the last bytes and which a
 * short recv does not show. An end that was not yet among the events is an edge of
 * its own.
 *
 * With N workers there are N such loops, each on its thread and with its share of
 * the connections; the first also accepts them, for all in turn.
 *
 * A connection owns memory only while its peer does not read: then what is owed
 * to it is kept, and nothing more is read until that is gone. */
#include "server.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 1024 };

/* Belongs to the loop that has its descriptor. */
struct connection {
	char *owed; /* NULL: nothing */
	size_t length, sent;
};

static struct connection *connections; /* by descriptor */
static int epolls[MAX_WORKERS], workers;
static int listener;

static void watch(int epoll, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll, op, fd, &ev) != 0)
		server_die("epoll_ctl");
}

static void watch_connection(int epoll, int op, int fd)
{
	watch(epoll, op, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* It is among the events of the next epoll_wait if there is anything to be had. */
static void look_again(int epoll, int fd)
{
	watch_connection(epoll, EPOLL_CTL_MOD, fd);
}

static void accept_all(void)
{
	static int next;
	int fd;

	while ((fd = server_accept(listener, SOCK_NONBLOCK)) >= 0) {
		watch_connection(epolls[next], EPOLL_CTL_ADD, fd);
		next = (next + 1) % workers;
	}
}

static void drop(int fd)
{
	/* Before close: who accepts may have the number at once. */
	free(connections[fd].owed);
	connections[fd] = (struct connection){0};
	close(fd);
}

/* How much has gone, or -1 when the connection is gone. */
static ssize_t send_some(int fd, const char *bytes, size_t n)
{
	ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

	return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void send_owed(int epoll, int fd)
{
	struct connection *c = &connections[fd];
	ssize_t sent = send_some(fd, c->owed + c->sent, c->length - c->sent);

	if (sent < 0) {
		drop(fd);
		return;
	}
	c->sent += (size_t)sent;
	if (c->sent < c->length)
		return;
	free(c->owed);
	*c = (struct connection){0};
	look_again(epoll, fd);
}

static void owe(int fd, const char *bytes, size_t n)
{
	struct connection *c = &connections[fd];

	c->owed = malloc(n);
	if (c->owed == NULL)
		server_die("malloc");
	memcpy(c->owed, bytes, n);
	c->length = n;
}

static void echo(int epoll, int fd, bool ends)
{
	char bytes[MESSAGE];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0), sent;

	if (n < 0 && errno == EAGAIN)
		return;
	sent = n > 0 ? send_some(fd, bytes, (size_t)n) : -1;
	if (sent < 0)
		drop(fd);
	else if (sent < n)
		owe(fd, bytes + sent, (size_t)(n - sent));
	else if (n == sizeof(bytes) || ends)
		look_again(epoll, fd);
}

static void *loop(void *arg)
{
	const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
	struct epoll_event events[MAX_EVENTS];
	int epoll = *(int *)arg;

	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all();
			else if (connections[fd].owed != NULL)
				send_owed(epoll, fd);
			else
				echo(epoll, fd, events[i].events & ends);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	pthread_t thread;

	workers = server_workers(argc, argv);
	listener = server_listen();
	if (fcntl(listener, F_SETFL, O_NONBLOCK) != 0 ||
	    getrlimit(RLIMIT_NOFILE, &limit) != 0)
		server_die("setting up");
	connections = calloc(limit.rlim_cur, sizeof(*connections));
	if (connections == NULL)
		server_die("calloc");
	for (int i = 0; i < workers; i++) {
		epolls[i] = epoll_create1(EPOLL_CLOEXEC);
		if (epolls[i] < 0)
			server_die("epoll_create1");
	}
	watch(epolls[0], EPOLL_CTL_ADD, listener, EPOLLIN);
	for (int i = 1; i < workers; i++) {
		errno = pthread_create(&thread, NULL, loop, &epolls[i]);
		if (errno != 0)
			server_die("pthread_create");
	}
	loop(&epolls[0]);
}
