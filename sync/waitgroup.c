/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/waitgroup.c - wait until work in flight is done.
 *
 * The waiters are kept in the lot, under the address of count; the object
 * itself is one word.
 *
 * W1  count becomes 0 only under the lock of its bucket.
 * W2  whoever parks has seen count > 0 under that lock.
 * W3  the subtraction is the last touch of *wg; after it, only the address
 *     is used, and only as a key.
 *
 * W1 and W2 lose no wake. W3 is why a wait that finds zero may return at
 * once, and its caller free *wg, while the last add() is still waking the
 * others: the lock that add() holds lives in the lot, not in *wg. */
#include "base/fatal.h"
#include "cogo/sync.h"
#include "sched/ready.h"
#include "sync/sure.h"
#include "wait/lot.h"
#include <limits.h>

static inline _Atomic int32_t *count_of(struct cogo_waitgroup *wg)
{
	return (_Atomic int32_t *)&wg->count;
}

static void check(const void *key, int64_t n)
{
	if (unlikely(n < 0 || n > INT32_MAX))
		cogo_throw("waitgroup %p: count %lld", key, (long long)n);
}

/* Away from zero nobody can be woken, so no lock is needed (W1). */
static bool add_above_zero(struct cogo_waitgroup *wg, int32_t delta)
{
	/* relaxed: only a guess, the exchange decides. */
	int32_t n = atomic_load_explicit(count_of(wg), memory_order_relaxed);

	while ((int64_t)n + delta > 0) {
		check(wg, (int64_t)n + delta);
		/* release: pairs with the acquires in add() and wait(). */
		if (atomic_compare_exchange_weak_explicit(
			    count_of(wg), &n, n + delta,
			    memory_order_release, memory_order_relaxed))
			return true;
	}
	return false;
}

static void add_to_zero(struct cogo_waitgroup *wg, int32_t delta)
{
	const void *key = count_of(wg);
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(key);
	int64_t n;

	/* acquire too: those we wake see the earlier adders' work through
	 * us. Someone may have added meanwhile; n need not be zero. */
	n = (int64_t)delta + atomic_fetch_add_explicit(count_of(wg), delta,
						       memory_order_acq_rel);
	/* W3: *wg may be gone from here on. */
	check(key, n);
	if (n == 0)
		lot_claim(b, key, UINT32_MAX, INT_MAX, &woken);
	lot_unlock(b);
	ready_all(&woken);
}

void cogo_waitgroup_add(struct cogo_waitgroup *wg, int32_t delta)
{
	struct coro *me;

	if (add_above_zero(wg, delta))
		return;
	me = sure_in();
	add_to_zero(wg, delta);
	door_leave(me);
}

void cogo_waitgroup_done(struct cogo_waitgroup *wg)
{
	cogo_waitgroup_add(wg, -1);
}

int cogo_waitgroup_wait(struct cogo_waitgroup *wg, cogo_time deadline)
{
	struct lot_bucket *b;
	int r;
	struct coro *me = cancel_in(&r);

	while (r == 0) {
		b = lot_lock(count_of(wg));
		/* acquire: pairs with every release in add(). */
		if (atomic_load_explicit(count_of(wg), memory_order_acquire) == 0) {
			lot_unlock(b);
			break;
		}
		/* Unlocks once we are off our stack, so no wake can be lost. */
		r = lot_park(b, count_of(wg), 1, deadline, WHY_WAITGROUP);
		if (r == 0)
			break;
		r = cancel_interrupted(me, r);
	}
	return cancel_out(me, r);
}
