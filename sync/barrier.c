/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/barrier.c - so many go on together.
 *
 * The last to arrive claims all who wait, and they touch nothing after. Only one
 * who has left the queue to run a signal handler comes back to look whether its
 * round is over. Such are counted as away by the last, which knows how many it
 * should have met, and the memory stays until they have been (barrier_drain). */
#include "sync/barrier.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <errno.h>
#include <limits.h>

#define TAG_WAIT  1u
#define TAG_DRAIN 2u

/* Unlocks the bucket. */
static void end_round(struct lot_bucket *lb, struct barrier *b)
{
	struct coro_list woken = { 0 };

	b->here = 0;
	b->round++;
	b->away += b->count - 1 -
		   (uint32_t)lot_claim(lb, b, TAG_WAIT, INT_MAX, &woken);
	lot_unlock(lb);
	ready_all(&woken);
}

static int wait_in(struct lot_bucket *lb, struct barrier *b)
{
	return lot_park(lb, b, TAG_WAIT, COGO_FOREVER, WHY_BARRIER);
}

int barrier_arrive(struct barrier *b, uint32_t *ret_round)
{
	struct lot_bucket *lb = lot_lock(b);

	*ret_round = b->round;
	if (++b->here == b->count) {
		end_round(lb, b);
		return 1;
	}
	return wait_in(lb, b);
}

int barrier_again(struct barrier *b, uint32_t round)
{
	struct lot_bucket *lb = lot_lock(b);
	struct coro_list woken = { 0 };

	if (b->round == round)
		return wait_in(lb, b);
	if (--b->away == 0)
		lot_claim(lb, b, TAG_DRAIN, INT_MAX, &woken);
	lot_unlock(lb);
	ready_all(&woken);
	return 0;
}

int barrier_drain(struct barrier *b)
{
	struct lot_bucket *lb;
	int r;

	for (;;) {
		lb = lot_lock(b);
		if (b->here || !b->away) {
			r = b->here ? -EBUSY : 0;
			lot_unlock(lb);
			return r;
		}
		r = lot_park(lb, b, TAG_DRAIN, COGO_FOREVER, WHY_BARRIER);
		if (r)
			return r;
	}
}
