/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* time - every function of cogo/time.h in a use of a few lines.
 *
 *	cc time.c -o time $(pkg-config --cflags --libs cogo)
 *	./time
 *
 * To look things up in: one function for each idea, with what one wants it for. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* How long something took. */
static void measure(void)
{
	cogo_time start = cogo_now();
	int64_t span;

	must(cogo_sleep(2 * COGO_MS) == 0);
	span = cogo_now() - start;
	must(span >= 2 * COGO_MS);
}

/* Moments from spans, for every call that takes a deadline. */
static void deadlines(void)
{
	cogo_time before = cogo_now();

	must(cogo_in(3 * COGO_SEC) >= before + 3 * COGO_SEC);
	must(cogo_in(-COGO_SEC) >= before);
	must(cogo_in(INT64_MAX) == COGO_FOREVER);
	must(COGO_SEC == 1000 * COGO_MS && COGO_MS == 1000 * COGO_US);
}

/* A rhythm that does not drift: each beat is so long after the one before, and not
 * after the end of what was done at it. */
static void beats(void)
{
	cogo_time start = cogo_now(), beat = start;

	for (int i = 0; i < 3; i++) {
		beat += 500 * COGO_US;
		must(cogo_sleep_until(beat) == 0);
		must(cogo_now() >= beat);
	}
	/* A moment that has passed is not waited for. */
	must(cogo_sleep_until(start) == 0);
}

static int two_reads(int a, int b, int64_t budget)
{
	cogo_time until = cogo_in(budget);
	char c;
	long r = cogo_read(a, &c, 1, until);

	if (r >= 0)
		r = cogo_read(b, &c, 1, until);
	return (int)r;
}

/* One budget for several steps: the deadline is made once and handed down. */
static void one_budget(void)
{
	int a[2], b[2];

	must(pipe(a) == 0 && pipe(b) == 0);
	must(write(a[1], "x", 1) == 1);
	must(two_reads(a[0], b[0], COGO_MS) == -ETIMEDOUT);
	must(write(a[1], "x", 1) == 1 && write(b[1], "y", 1) == 1);
	must(two_reads(a[0], b[0], 60 * COGO_SEC) == 1);
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
}

static void sleep_for_long(void *result)
{
	*(int *)result = cogo_sleep(3600 * COGO_SEC);
}

/* A sleeper that is cancelled wakes up and is told. */
static void cut_short(void)
{
	struct cogo_coro *c;
	int result = 0;

	must(cogo_go(&c, NULL, sleep_for_long, &result) == 0);
	must(cogo_cancel(c, ECANCELED) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(result == -ECANCELED);
}

int main(void)
{
	measure();
	deadlines();
	beats();
	one_budget();
	cut_short();
	puts("time: ok");
	return 0;
}
