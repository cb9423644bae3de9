/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* echo - a TCP server that sends everything back, with a coroutine for each
 * connection.
 *
 *	cc echo.c -o echo $(pkg-config --cflags --libs cogo)
 *	./echo 7000			# without a number, on any free port
 *	./echo-client 7000		# in another terminal
 *
 * accept, read and send are the C library's, and written as if there were a thread
 * for each connection: where one of them would block, only the coroutine waits.
 *
 * All coroutines belong to one scope, so that the end is in order as well: main
 * waits for a signal, asks all of them to end, and waits until they have. Their
 * read or accept then fails with ECANCELED. */
#include <arpa/inet.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct cogo_scope server;
static _Atomic long connections, bytes;

static int echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[4096];
	ssize_t n;

	while (!cogo_canceled() && (n = read(fd, buf, sizeof(buf))) > 0 &&
	       send(fd, buf, (size_t)n, MSG_NOSIGNAL) == n)
		bytes += n;
	close(fd);
	return 0;
}

static int serve(void *arg)
{
	int listener = *(int *)arg;

	while (!cogo_canceled()) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0) {
			/* Out of descriptors, perhaps: somebody will close one. */
			cogo_sleep(10 * COGO_MS);
			continue;
		}
		connections++;
		if (cogo_scope_go(&server, NULL, echo, (void *)(intptr_t)fd))
			close(fd);
	}
	return 0;
}

static int listen_on(int port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&addr, &size))
		error(1, errno, "port %d", port);
	printf("listening on port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	int listener, sig, r;
	sigset_t stop;

	/* Blocked, so that sigwait gets them. Coroutines inherit this. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
	cogo_scope_begin(&server);
	r = cogo_scope_go(&server, NULL, serve, &listener);
	if (r)
		error(1, -r, "cannot start");
	sigwait(&stop, &sig);
	cogo_scope_cancel(&server, ECANCELED);
	cogo_scope_end(&server);
	printf("%ld connections, %ld bytes\n", connections, bytes);
	return 0;
}
