/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/wait.c - the smallest waits: for a turn, for a moment, for one who says go.
 *
 * Unpark's token is a word of the handle; who parks waits for it in the lot. Both
 * look at it under the lock of its bucket, so a token that comes between the look
 * and the sleep finds the sleeper. */
#include "base/sys.h"
#include "cogo/go.h"
#include "fault/cancel.h"
#include "go.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include "wait/native.h"

cogo_time cogo_now(void)
{
	return sys_now();
}

cogo_time cogo_in(int64_t span)
{
	return sys_in(span);
}

int cogo_sleep_until(cogo_time moment)
{
	int r;
	struct coro *me = cancel_in(&r);

	while (r == 0 && park_until(me, WHY_SLEEP, moment) != WAIT_TIMED_OUT)
		r = cancel_interrupted(me, -EINTR);
	return cancel_out(me, r);
}

int cogo_sleep(int64_t span)
{
	return cogo_sleep_until(cogo_in(span));
}

int cogo_yield(void)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0)
		park_yield(me);
	return cancel_out(me, r);
}

static bool take_token(struct cogo_coro *n)
{
	/* acquire: pairs with the release in cogo_unpark. */
	return atomic_exchange_explicit(&n->token, 0, memory_order_acquire);
}

static int park_once(struct cogo_coro *n, cogo_time deadline)
{
	struct lot_bucket *b = lot_lock(&n->token);

	if (take_token(n)) {
		lot_unlock(b);
		return 0;
	}
	return lot_park(b, &n->token, 1, deadline, WHY_NOTHING);
}

int cogo_park(cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);
	struct cogo_coro *n = me ? go_handle(me) : NULL;

	if (!n && r == 0)
		r = -ENOMEM;
	if (r == 0) {
		do
			r = park_once(n, deadline);
		while (r == -EINTR && (r = cancel_interrupted(me, r)) == 0);
	}
	return cancel_out(me, r);
}

void cogo_unpark(struct cogo_coro *c)
{
	struct coro_list woken = { 0 };
	struct coro *me = door_in();
	struct lot_bucket *b = lot_lock(&c->token);

	/* Who waits is given it directly; else it is kept. release: what was
	 * written before is seen by who takes it. */
	if (lot_claim(b, &c->token, UINT32_MAX, 1, &woken) == 0)
		atomic_store_explicit(&c->token, 1, memory_order_release);
	lot_unlock(b);
	if (woken.n)
		ready(woken.head);
	if (me)
		door_leave(me);
}
