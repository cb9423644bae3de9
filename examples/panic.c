/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* panic - a server with bugs, which a bad request does not take down.
 *
 *	cc -g panic.c -o panic $(pkg-config --cflags --libs cogo)
 *	./panic 7000			# without a number, on any free port
 *	nc 127.0.0.1 7000		# in another terminal; lines like these:
 *
 *	length hello
 *	length				a null pointer: SIGSEGV
 *	depth 100
 *	depth 1000000			recursion without end: the stack overflows
 *	order 7				a failed assertion
 *	order 1				a panic of the program's own
 *
 * Each request is handled under cogo_recover: when it panics, its cleanups are run,
 * its client is told, and the connection goes on. cogo_contain_all_faults makes
 * panics of crashes, too. That is a last resort, as what the request was in the
 * middle of is left as it was; for a server with a thousand other clients it may
 * beat the alternative. */
#include <arpa/inet.h>
#include <assert.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct cogo_scope server;

struct request {
	char *line;
	char answer[300];
};

/* ---- the bugs ---- */

static size_t length(const char *text)
{
	size_t n = 0;

	for (volatile const char *p = text; *p; p++)
		n++;
	return n;
}

static int depth(int n)
{
	volatile char room[256];

	room[0] = 1;
	return n ? depth(n - 1) + room[0] : 0;
}

static int order(int item)
{
	if (item < 5)
		cogo_panic("item %d is sold out", item);
	assert(item != 7);
	return item * 100;
}

static void handle(void *arg)
{
	struct request *q = arg;
	char *what = strtok_r(q->line, " \r\n", &q->line);
	char *rest = strtok_r(NULL, " \r\n", &q->line);
	size_t room = sizeof(q->answer);

	if (what && strcmp(what, "length") == 0)
		snprintf(q->answer, room, "%zu\n", length(rest));
	else if (what && rest && strcmp(what, "depth") == 0)
		snprintf(q->answer, room, "%d\n", depth(atoi(rest)));
	else if (what && rest && strcmp(what, "order") == 0)
		snprintf(q->answer, room, "%d\n", order(atoi(rest)));
	else
		snprintf(q->answer, room, "what?\n");
}

/* ---- the server ---- */

static int connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	FILE *in = fdopen(fd, "r");
	struct cogo_panic panic;
	struct request q;
	char line[200];

	while (in && !cogo_canceled() && fgets(line, sizeof(line), in)) {
		q.line = line;
		if (cogo_recover(handle, &q, &panic))
			snprintf(q.answer, sizeof(q.answer), "sorry: %s\n",
				 panic.message);
		if (send(fd, q.answer, strlen(q.answer), MSG_NOSIGNAL) < 0)
			break;
	}
	if (in)
		fclose(in);
	else
		close(fd);
	return 0;
}

static int serve(void *arg)
{
	int listener = *(int *)arg;

	while (!cogo_canceled()) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			cogo_sleep(10 * COGO_MS);
		else if (cogo_scope_go(&server, NULL, connection,
				       (void *)(intptr_t)fd))
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
	int listener, sig;
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
	cogo_contain_all_faults(true);
	cogo_scope_begin(&server);
	cogo_scope_go(&server, NULL, serve, &listener);
	sigwait(&stop, &sig);
	cogo_scope_cancel(&server, ECANCELED);
	cogo_scope_end(&server);
	return 0;
}
