/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* threads - an echo server with a thread for each connection.
 *
 *     threads [--workers N]
 *
 * The simple way: a thread waits in recv until there is something, and in send
 * until there is room. How many of them run at once is the system's business, so
 * --workers is there only because the other servers have it. */
#include "server.h"
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

enum { STACK = 64 << 10 };

static void *serve(void *arg)
{
	server_echo((int)(intptr_t)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	int listener;

	server_workers(argc, argv);
	listener = server_listen();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int fd = server_accept(listener, 0);
		pthread_t thread;

		errno = pthread_create(&thread, &attr, serve,
				       (void *)(intptr_t)fd);
		if (errno != 0)
			server_die("pthread_create");
	}
}
