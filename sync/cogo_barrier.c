/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_barrier.c - so many go on together, and those who cannot wait longer
 * leave.
 *
 * It is simpler than sync/barrier.c, which has to be destroyed while some of a
 * past round may still be about: here the memory stays until every wait has
 * returned.
 *
 * B1  here and round are changed under the lock of the bucket alone.
 * B2  who is claimed has had its round, and touches nothing after.
 * B3  who comes back otherwise looks at round, under the lock. If it has moved
 *     on, the caller was counted, and has to say so: the others went on because
 *     of it. If not, the caller still counts, until it leaves. */
#include "base/compiler.h"
#include "cogo/sync.h"
#include "fault/cancel.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <limits.h>

/* Unlocks the bucket. */
static void end_round(struct lot_bucket *lb, struct cogo_barrier *b)
{
	struct coro_list woken = { 0 };

	b->here = 0;
	b->round++;
	lot_claim(lb, b, UINT32_MAX, INT_MAX, &woken);
	lot_unlock(lb);
	ready_all(&woken);
}

/* Here already; unlocks the bucket. */
static int wait_in(struct coro *me, struct lot_bucket *lb,
		   struct cogo_barrier *b, cogo_time deadline)
{
	uint32_t round = b->round;
	int r;

	for (;;) {
		r = lot_park(lb, b, 1, deadline, WHY_BARRIER);
		if (r == 0)
			return 0;
		r = cancel_interrupted(me, r);
		lb = lot_lock(b);
		if (b->round != round)	/* B3 */
			r = 0;
		else if (r == 0)
			continue;
		else
			b->here--;
		lot_unlock(lb);
		return r;
	}
}

static int arrive(struct coro *me, struct cogo_barrier *b, uint32_t count,
		  cogo_time deadline)
{
	struct lot_bucket *lb = lot_lock(b);

	if (++b->here < count)
		return wait_in(me, lb, b, deadline);
	end_round(lb, b);
	return 1;
}

int cogo_barrier_wait(struct cogo_barrier *b, uint32_t count, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0)
		r = count ? arrive(me, b, count, deadline) : -EINVAL;
	return cancel_out(me, r);
}
