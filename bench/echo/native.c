/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* native - an echo server with a coroutine for each connection.
 *
 *     native [--workers N]
 *
 * What threads.c is, by cogo_go: a coroutine waits in recv until there is
 * something, and in send until there is room. */
#include "server.h"
#include <cogo.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK = 64 << 10 };

static void serve(void *arg)
{
	server_echo((int)(intptr_t)arg);
}

static int accept_all(int argc, char **argv)
{
	static const struct cogo_attr attr = {.stack = STACK};
	int listener = server_listen();

	(void)argc, (void)argv;
	for (;;) {
		int fd = server_accept(listener, 0);
		int error = cogo_go(NULL, &attr, serve, (void *)(intptr_t)fd);

		if (error != 0) {
			errno = -error;
			server_die("cogo_go");
		}
	}
}

/* The library reads COGO_WORKERS when it is loaded: what main sets comes too late
 * for this program, but not for the one that takes its place. */
static void set_workers(int workers, char **argv)
{
	const char *is = getenv("COGO_WORKERS");
	char want[16];

	snprintf(want, sizeof(want), "%d", workers);
	if (is != NULL && strcmp(is, want) == 0)
		return;
	if (setenv("COGO_WORKERS", want, 1) != 0)
		server_die("setenv");
	execv("/proc/self/exe", argv);
	server_die("exec");
}

int main(int argc, char **argv)
{
	int result;

	set_workers(server_workers(argc, argv), argv);
	result = cogo_run(accept_all, argc, argv);
	if (result < 0) {
		errno = -result;
		server_die("cogo_run");
	}
	return result;
}
