/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cq.c - the errors of cogo/cq.h. */
#include "errors.h"

static struct cogo_cq *cq;

static void is_finished(void)
{
	struct cogo_event e;

	cq = cogo_cq_new(1);
	cogo_cq_done(cq);
	FAILS(EPIPE, cogo_cq_complete, cq, 1, 2);
	FAILS(EPIPE, cogo_cq_poll, cq, &e, COGO_FOREVER);
	cogo_cq_free(cq);
}

static void is_empty(void)
{
	struct cogo_event e;

	cq = cogo_cq_new(1);
	FAILS(ETIMEDOUT, cogo_cq_poll, cq, &e, SOON);
	FAILS(ETIMEDOUT, cogo_cq_poll, cq, &e, 0);
	cogo_cq_free(cq);
}

Test(errors, of_a_queue_that_is_finished_or_empty)
{
	on_both(is_finished);
	on_both(is_empty);
}

static void canceled(void)
{
	struct cogo_event e;

	FAILS(ECANCELED, cogo_cq_poll, cq, &e, COGO_FOREVER);
}

Test(errors, of_a_queue_for_one_that_is_cancelled)
{
	cq = cogo_cq_new(1);
	as_canceled(canceled);
	cogo_cq_free(cq);
}

/* As many as there is room for, and one more. */
static void fill(void)
{
	struct cogo_event e;
	int r, n = 0, m = 0;

	cq = cogo_cq_new(1);
	memory_ends();
	while ((r = cogo_cq_complete(cq, 1, n)) == 0)
		n++;
	memory_is_back();
	WAS(ENOMEM, cogo_cq_complete, r);
	/* Those that were told 0 are there, and there is room for more. */
	check_eq(cogo_cq_complete(cq, 1, n), 0);
	while (cogo_cq_poll(cq, &e, 0) == 0)
		check_eq(e.extra, m++);
	check_eq(m, n + 1);
	cogo_cq_free(cq);
}

static void unknown(void)
{
	struct cogo_event e;

	FAILS(ENOMEM, cogo_cq_complete, cq, 1, 2);
	FAILS(ENOMEM, cogo_cq_poll, cq, &e, 0);
	cogo_cq_done(cq);
}

Test(errors, of_a_queue_without_memory)
{
	struct cogo_event e;

	on_both(fill);
	cq = cogo_cq_new(1);
	as_stranger(unknown);
	/* The last producer was done, whether there was memory or not. */
	FAILS(EPIPE, cogo_cq_poll, cq, &e, COGO_FOREVER);
	cogo_cq_free(cq);
	memory_ends();
	IS_NULL(cogo_cq_new, 1);
	memory_is_back();
}
