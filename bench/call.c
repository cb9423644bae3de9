/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call.c - what it costs to make a coroutine of a call. For each way the median of
 * so many rounds, with the best and the worst: the processor time from the call of
 * go to the end of the last coroutine, by their number. Batches are small, so that
 * what is measured is the call and not the memory of many coroutines.
 *
 *	COGO_WORKERS=1 bench_call [ROUNDS] */
#include <cogo.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALLS	20000
#define BATCH	100

struct point { double x, y; };
struct big { long a[16]; };

static _Atomic int ended;

static void nothing(void)
{
	ended++;
}

static void pointer(void *p)
{
	(void)p;
	ended++;
}

static void one(int a)
{
	(void)a;
	ended++;
}

static void four(int a, double b, const char *c, long d)
{
	(void)a, (void)b, (void)c, (void)d;
	ended++;
}

static void structs(struct point a, struct big b)
{
	(void)a, (void)b;
	ended++;
}

static int back(int a)
{
	return a;
}

#define WAY(name, call)							\
	static void go_##name(int n)					\
	{								\
		for (int i = 0; i < n; i++)				\
			if (call)					\
				abort();				\
	}
static struct point p;
static struct big b;
static char text[] = "text";
WAY(function, cogo_go(NULL, NULL, pointer, &p))
WAY(nothing, go(nothing))
WAY(pointer, go(pointer, &p))
WAY(one, go(one, i))
WAY(four, go(four, i, 2.5, (const char *)text, (long)i))
WAY(structs, go(structs, p, b))

static int (*waits)(int);

static void call_back(int n)
{
	for (int i = 0; i < n; i++)
		ended += waits(i) == i;
}

static int by_number(const void *x, const void *y)
{
	return (*(const double *)x > *(const double *)y) -
	       (*(const double *)x < *(const double *)y);
}

static double processor_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *name, int rounds, void (*way)(int))
{
	double ns[64];

	for (int r = 0; r < rounds; r++) {
		double from = processor_ns();

		for (int i = 0; i < CALLS / BATCH; i++) {
			ended = 0;
			way(BATCH);
			while (ended < BATCH)
				cogo_yield();
		}
		ns[r] = (processor_ns() - from) / CALLS;
	}
	qsort(ns, (size_t)rounds, sizeof(*ns), by_number);
	printf("%-36s %7.0f ns  (%.0f to %.0f)\n", name, ns[rounds / 2], ns[0],
	       ns[rounds - 1]);
}

static int run(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 15;

	if (rounds < 1 || rounds > 64)
		rounds = 15;
	measure("cogo_go", rounds, go_function);
	measure("go, no arguments", rounds, go_nothing);
	measure("go, a pointer", rounds, go_pointer);
	measure("go, an int", rounds, go_one);
	measure("go, int, double, pointer, long", rounds, go_four);
	measure("go, two structures", rounds, go_structs);
	if (cogo_callback_wait(&waits, back, int))
		return 1;
	measure("callback, waited for", rounds, call_back);
	cogo_callback_free(waits);
	return 0;
}

int main(int argc, char **argv)
{
	return cogo_run(run, argc, argv);
}
