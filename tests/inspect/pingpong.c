/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pingpong.c - pairs of threads that hand a byte to and fro.
 *
 *	pingpong PAIRS TURNS
 *
 * says "ready", "done" when every byte has arrived TURNS times, and ends when
 * standard input does. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static long turns;

/* A place to stop at. */
static __attribute__((noinline)) void turn(int fd)
{
	char byte;

	if (write(fd, "x", 1) != 1 || read(fd, &byte, 1) != 1)
		exit(3);
}

static void *play(void *arg)
{
	for (long i = 0; i < turns; i++)
		turn((int)(long)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	int pairs = argc > 1 ? atoi(argv[1]) : 1, ends[2];
	pthread_t *t = calloc((size_t)pairs * 2, sizeof(*t));
	char byte;

	turns = argc > 2 ? atol(argv[2]) : 100;
	setbuf(stdout, NULL);
	for (int i = 0; t && i < pairs; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) ||
		    pthread_create(&t[2 * i], NULL, play, (void *)(long)ends[0]) ||
		    pthread_create(&t[2 * i + 1], NULL, play, (void *)(long)ends[1]))
			return 2;
		if (i == 0)
			puts("ready");
	}
	for (int i = 0; t && i < 2 * pairs; i++)
		pthread_join(t[i], NULL);
	puts("done");
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}
