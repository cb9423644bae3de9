/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* many.c - so many threads, all waiting in read; then all of them end.
 *
 *	many COUNT [BYTES]
 *
 * says "parked COUNT" when all wait, reads a line of standard input, lets them
 * go on, and says "joined COUNT". If the line is "fall", one of them runs over
 * its stack instead. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int gate[2];
static _Atomic long waiting;

static volatile int bottomless = 1;

static __attribute__((noinline)) int fall(int depth)
{
	volatile char ballast[256];

	memset((char *)ballast, depth, sizeof(ballast));
	return (bottomless ? fall(depth + 1) : 0) + ballast[depth % 256];
}

static void *thread(void *arg)
{
	char byte = 0;

	waiting++;
	if (read(gate[0], &byte, 1) == 1 && byte == 'f')
		return (void *)(long)fall(0);
	return arg;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1000, made;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 32768;
	pthread_t *t = calloc((size_t)n, sizeof(*t));
	pthread_attr_t attr;
	char line[16];
	int r;

	setbuf(stdout, NULL);
	pthread_attr_init(&attr);
	r = pthread_attr_setstacksize(&attr, size);
	if (!t || r || pipe(gate))
		return 2;
	for (made = 0; made < n; made++) {
		r = pthread_create(&t[made], &attr, thread, NULL);
		if (r) {
			printf("refused after %ld: %s\n", made, strerror(r));
			return 3;
		}
	}
	while (waiting < n)
		usleep(1000);
	printf("parked %ld\n", n);
	if (!fgets(line, sizeof(line), stdin))
		return 2;
	if (strcmp(line, "fall\n") == 0 && write(gate[1], "f", 1) != 1)
		return 2;
	if (strcmp(line, "fall\n") != 0)
		close(gate[1]);
	for (long i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	printf("joined %ld\n", n);
	return 0;
}
