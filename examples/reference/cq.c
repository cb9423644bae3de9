/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cq - every call of cogo/cq.h, in the use that it is for.
 *
 *	cc cq.c -o cq $(pkg-config --cflags --libs cogo)
 *	./cq
 *
 * Many work, and one sees to what they have done, so that it needs no lock. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void square(struct cogo_cq *cq, int n)
{
	must(cogo_cq_complete(cq, (uintptr_t)n, n * n) == 0);
	cogo_cq_done(cq);
}

/* As many producers as there is work, each done after one piece of it: the queue
 * finishes with the last, and cogo_cq_poll says -EPIPE. */
static void many_work_and_one_adds_up(void)
{
	struct cogo_cq *cq = cogo_cq_new(10);
	struct cogo_event e;
	long tokens = 0, sum = 0;
	int r;

	must(cq);
	for (int i = 1; i <= 10; i++)
		must(go(square, cq, i) == 0);
	while ((r = cogo_cq_poll(cq, &e, COGO_FOREVER)) == 0) {
		must(e.extra == (intptr_t)(e.token * e.token));
		tokens += (long)e.token;
		sum += e.extra;
	}
	must(r == -EPIPE);
	must(tokens == 55 && sum == 385);
	cogo_cq_free(cq);
}

static void halve(struct cogo_cq *cq, int n)
{
	for (int part = n / 2; part; part /= 2) {
		cogo_cq_add_producer(cq);
		must(go(halve, cq, part) == 0);
	}
	must(cogo_cq_complete(cq, (uintptr_t)n, 0) == 0);
	cogo_cq_done(cq);
}

/* Who finds more work adds a producer for it before he is done himself, so that the
 * queue does not finish in between: cogo_cq_add_producer. */
static void work_that_makes_work(void)
{
	struct cogo_cq *cq = cogo_cq_new(1);
	struct cogo_event e;
	int events = 0;

	must(cq);
	must(go(halve, cq, 8) == 0);
	while (cogo_cq_poll(cq, &e, COGO_FOREVER) == 0)
		events++;
	must(events == 8);
	cogo_cq_free(cq);
}

/* They come in the order in which they were completed, and completing never waits.
 * With a deadline that has passed, polling only looks. */
static void in_order(void)
{
	struct cogo_cq *cq = cogo_cq_new(1);
	struct cogo_event e;

	must(cq);
	must(cogo_cq_poll(cq, &e, 0) == -ETIMEDOUT);
	for (uintptr_t i = 0; i < 1000; i++)
		must(cogo_cq_complete(cq, i, 0) == 0);
	cogo_cq_done(cq);
	must(cogo_cq_complete(cq, 1000, 0) == -EPIPE);	/* it is finished */
	for (uintptr_t i = 0; i < 1000; i++)
		must(cogo_cq_poll(cq, &e, COGO_FOREVER) == 0 && e.token == i);
	must(cogo_cq_poll(cq, &e, COGO_FOREVER) == -EPIPE);
	cogo_cq_free(cq);
}

/* cogo_cq_chan is for who waits for other things too: a case of a select, whose
 * items are struct cogo_event. */
static void one_of_several_things(void)
{
	struct cogo_cq *cq = cogo_cq_new(1);
	COGO_CHAN(int) orders = cogo_make(int, 0);
	struct cogo_event e;
	int order, squares = 0;

	must(cq && orders);
	must(go(square, cq, 3) == 0);
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(cogo_cq_chan(cq), e) {
		if (COGO_RESULT == -EPIPE)
			break;
		must(e.token == 3 && e.extra == 9);
		squares++;
	}
	COGO_RECV(orders, order)
		must(!"nobody orders");
	}
	must(squares == 1);
	cogo_free(orders);
	cogo_cq_free(cq);
}

int main(void)
{
	many_work_and_one_adds_up();
	work_that_makes_work();
	in_order();
	one_of_several_things();
	puts("cq: ok");
	return 0;
}
