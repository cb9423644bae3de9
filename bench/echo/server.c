/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* server.c - what the echo servers in C have in common.
 *
 * Standard input is watched by a thread of its own in all of them, so that a
 * server does not outlive who started it, and what serves connections need not
 * know of it. */
#include "server.h"
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel makes it less where net.core.somaxconn is. */
enum { BACKLOG = 16384 };

void server_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		strerror(errno));
	_exit(1);
}

int server_workers(int argc, char **argv)
{
	static const struct option options[] = {
		{"workers", required_argument, NULL, 'w'},
		{0},
	};
	long workers = 1;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'w')
			exit(2);
		workers = strtol(optarg, &end, 10);
		if (*end != '\0' || workers < 1 || workers > MAX_WORKERS) {
			fprintf(stderr,
				"%s: --workers %s: give a number from 1 to %d\n",
				program_invocation_short_name, optarg,
				MAX_WORKERS);
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "usage: %s [--workers N]\n",
			program_invocation_short_name);
		exit(2);
	}
	return (int)workers;
}

static void *end_with_input(void *unused)
{
	char bytes[256];

	(void)unused;
	while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
		;
	_exit(0);
}

int server_listen(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	struct rlimit limit;
	pthread_t thread;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		server_die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		server_die("setrlimit");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
		server_die("listen");
	errno = pthread_create(&thread, NULL, end_with_input, NULL);
	if (errno != 0)
		server_die("pthread_create");
	printf("port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

int server_accept(int listener, int flags)
{
	int fd;

	do
		fd = accept4(listener, NULL, NULL, flags | SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd >= 0)
		server_accepted(fd);
	else if (errno != EAGAIN)
		server_die("accept");
	return fd;
}

void server_accepted(int fd)
{
	/* It can only fail on a connection that has ended, which whoever
	 * receives from it learns soon enough. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* False once the connection has ended. */
static bool send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		bytes += sent;
		n -= (size_t)sent;
	}
	return true;
}

void server_echo(int fd)
{
	char bytes[MESSAGE];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0 &&
	       send_all(fd, bytes, (size_t)n))
		;
	close(fd);
}
