/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* gen.c - what a value of a generator costs: asked for, yielded, and looked at.
 *
 * Prints the best of some rounds, in nanoseconds of the processor: a value, a value through one
 * more generator (cogo_gen_from), and a generator made, asked once and freed. For
 * comparison, the same count by a function that is called. Argument: how many. */
#include "cogo/gen.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 7

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void count(struct cogo_gen *g, void *arg)
{
	(void)arg;
	for (long i = 0;; i++)
		if (cogo_gen_yield(g, &i))
			return;
}

static void through(struct cogo_gen *g, void *arg)
{
	cogo_gen_from(g, arg);
}

static struct cogo_gen *make(void (*fn)(struct cogo_gen *, void *), void *arg)
{
	struct cogo_gen *g;

	if (cogo_gen_new(&g, 16 << 10, fn, arg))
		abort();
	return g;
}

static double values(struct cogo_gen *g, long n)
{
	double begin = now();
	long x = 0, sum = 0;

	for (long i = 0; i < n; i++) {
		cogo_gen_next(g, &x);
		sum += x;
	}
	if (sum < n)
		abort();
	return (now() - begin) / (double)n;
}

static double lives(long n)
{
	double begin = now();
	long x;

	for (long i = 0; i < n; i++) {
		struct cogo_gen *g = make(count, NULL);

		cogo_gen_next(g, &x);
		cogo_gen_cancel(g);
		cogo_gen_free(g);
	}
	return (now() - begin) / (double)n;
}

static void best(double *b, double x)
{
	if (*b == 0 || x < *b)
		*b = x;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 3000000;
	struct cogo_gen *one = make(count, NULL);
	struct cogo_gen *two = make(through, make(count, NULL));
	double a = 0, b = 0, c = 0;

	for (int i = 0; i < ROUNDS; i++) {
		best(&a, values(one, n));
		best(&b, values(two, n));
		best(&c, lives(n / 10));
	}
	printf("a value                  %6.1f ns\n"
	       "a value through another  %6.1f ns\n"
	       "made, asked once, freed  %6.1f ns\n", a, b, c);
	cogo_gen_free(one);
	cogo_gen_free(two);
	return 0;
}
