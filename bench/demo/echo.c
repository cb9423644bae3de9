/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* echo - send every byte back, on many connections at once.
 *
 *     echo [--port N]
 *
 * The far end of the demo's tunnels. Listens on 127.0.0.1, prints "port N" once
 * it does, and ends on SIGTERM or when its standard input ends, so that it
 * does not outlive whoever started it. One thread, one epoll: it is to cost as
 * little as can be, because what is measured is the server between.
 *
 * A connection owns memory only while its peer does not read: then what is
 * owed to it is kept, and nothing more is read until that is gone. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, ROOM = 64 << 10 };

/* By descriptor: what could not be sent yet. */
struct owed {
	char *bytes; /* NULL: nothing */
	size_t length, sent;
};

static struct owed *owed;
static size_t max_fds;
static char room[ROOM];

static void die(const char *what)
{
	fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(int epoll, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll, op, fd, &ev) != 0)
		die("epoll_ctl");
}

static void drop(int fd)
{
	free(owed[fd].bytes);
	owed[fd] = (struct owed){0};
	close(fd);
}

static void accept_all(int epoll, int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN)
				return;
			die("accept");
		}
		if ((size_t)fd >= max_fds) {
			fputs("echo: too many connections\n", stderr);
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1},
			   sizeof(int));
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

/* Sends and returns what went, or -1 when the connection is gone. */
static ssize_t send_some(int fd, const char *bytes, size_t n)
{
	ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return sent;
}

static void receive(int epoll, int fd)
{
	ssize_t n = recv(fd, room, sizeof(room), 0);
	ssize_t sent;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(fd);
		return;
	}
	sent = send_some(fd, room, (size_t)n);
	if (sent < 0) {
		drop(fd);
		return;
	}
	if (sent < n) {
		struct owed *o = &owed[fd];

		o->length = (size_t)(n - sent);
		o->sent = 0;
		o->bytes = malloc(o->length);
		if (o->bytes == NULL)
			die("malloc");
		memcpy(o->bytes, room + sent, o->length);
		watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
	}
}

static void send_owed(int epoll, int fd)
{
	struct owed *o = &owed[fd];
	ssize_t sent = send_some(fd, o->bytes + o->sent, o->length - o->sent);

	if (sent < 0) {
		drop(fd);
		return;
	}
	o->sent += (size_t)sent;
	if (o->sent == o->length) {
		free(o->bytes);
		*o = (struct owed){0};
		watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
	}
}

static int listen_on(int port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, 4096) != 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
		die("listen");
	printf("port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{0},
	};
	struct epoll_event events[MAX_EVENTS];
	struct rlimit limit;
	int port = 0, c, listener, epoll;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'p')
			return 2;
		port = atoi(optarg);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	max_fds = limit.rlim_cur < (1 << 20) ? limit.rlim_cur : 1 << 20;
	owed = calloc(max_fds, sizeof(*owed));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (owed == NULL || epoll < 0)
		die("setting up");
	listener = listen_on(port);
	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
	/* A file or /dev/null cannot be watched; then only SIGTERM ends us. */
	epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO,
		  &(struct epoll_event){.events = EPOLLIN,
					.data.fd = STDIN_FILENO});

	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all(epoll, listener);
			else if (fd == STDIN_FILENO) {
				if (read(fd, room, sizeof(room)) <= 0)
					return 0;
			} else if (owed[fd].bytes != NULL)
				send_owed(epoll, fd);
			else
				receive(epoll, fd);
		}
	}
}
