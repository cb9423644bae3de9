/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* udp-echo - a UDP server that sends every datagram back, and says once a second
 * how many there were.
 *
 *	cc udp-echo.c -o udp-echo $(pkg-config --cflags --libs cogo)
 *	./udp-echo 7000			# without a number, on any free port
 *	echo hello | nc -u 127.0.0.1 7000
 *
 * Any number of coroutines may wait for one descriptor: a datagram goes to one of
 * them. The other thing to see here is a select between a tick and a channel that
 * is closed when it is time to go. */
#include <arpa/inet.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SERVERS 4

static int fd;
static _Atomic long datagrams;

static void echo(void *arg)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char buf[65536 - 28];		/* the largest that there is */
	ssize_t n;

	(void)arg;
	while (!cogo_canceled()) {
		size = sizeof(from);
		n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from,
			     &size);
		if (n < 0)
			continue;	/* of no matter to the next datagram */
		datagrams++;
		sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

static void report(void *quit)
{
	struct cogo_chan *tick = cogo_ticker_new(COGO_SEC);
	long before = 0;

	cogo_choose_loop (COGO_FOREVER) {
	COGO_SIGNAL(tick) {
		long now = datagrams;

		if (now > before)
			printf("%ld datagrams\n", now - before);
		fflush(stdout);
		before = now;
	}
	COGO_SIGNAL(quit)
		break;
	}
	cogo_chan_free(tick);
}

static int bind_to(int port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) ||
	    getsockname(s, (struct sockaddr *)&addr, &size))
		error(1, errno, "port %d", port);
	printf("listening on port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return s;
}

int main(int argc, char **argv)
{
	struct cogo_coro *server[SERVERS], *reporter;
	struct cogo_chan *quit = cogo_chan_new(0, 0);
	sigset_t stop;
	int sig, r;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	fd = bind_to(argc > 1 ? atoi(argv[1]) : 0);
	r = cogo_go(&reporter, NULL, report, quit);
	for (int i = 0; i < SERVERS && r == 0; i++)
		r = cogo_go(&server[i], NULL, echo, NULL);
	if (r)
		error(1, -r, "cannot start");
	sigwait(&stop, &sig);

	for (int i = 0; i < SERVERS; i++) {
		cogo_cancel(server[i], ECANCELED);
		cogo_join(server[i]);
	}
	cogo_chan_close(quit);
	cogo_join(reporter);
	cogo_chan_free(quit);
	printf("%ld datagrams in all\n", datagrams);
	return 0;
}
