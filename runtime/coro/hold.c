/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/hold.c - keeping a parked coroutine where it is, for a moment.
 *
 * Whoever claims a wait finds, as a rule, the coroutine PARKED and makes it READY by
 * a plain store (settle in sched/ready.c), though another may be about to hold it:
 *
 *	claimer: claim the wait; fence; look at the state
 *	holder: look at the wait; PARKED -> HELD, by compare-and-swap; fence; look
 *	        whether it is the same wait, still open
 *
 * U1  either the claimer sees HELD, or the holder sees the wait claimed. (Or both
 *     see the other's.) A claimer that sees HELD swaps it for HELD_WAKING, and the
 *     holder, at the end, queues the coroutine. A holder that sees the claim does not
 *     touch the coroutine: the claimer may have seen PARKED, and make it READY at any
 *     moment, over HELD too. It may even have done so, and what is open be the
 *     coroutine's next wait: hence the first look.
 * U2  one at a time holds, under a lock. So what says HELD is the holder's own
 *     doing, and may be taken back where it is still found. Who finds the lock
 *     taken looks again, but not for ever: its owner may be the one who died and
 *     whose report this is. */
#include "coro/hold.h"
#include "arch/tp.h"
#include "base/lock.h"
#include "coro/wait.h"

#ifndef HOLD_TRIES	/* fewer where every order of steps is tried */
#define HOLD_TRIES 10000
#endif

static struct lock held;

static bool get_lock(void)
{
	for (int i = 0; i < HOLD_TRIES; i++) {
		if (lock_try(&held))
			return true;
		arch_relax();
	}
	return false;
}

bool hold(struct coro *c, bool *ret_owed)
{
	uint64_t wait = atomic_load_explicit(&c->wait, memory_order_acquire);
	uint32_t s = CORO_PARKED;

	*ret_owed = false;
	if (!wait_is_open(wait) || !get_lock())
		return false;
	/* acquire: its stack and registers are saved. */
	if (!atomic_compare_exchange_strong_explicit(
		    &c->state, &s, CORO_HELD, memory_order_acq_rel,
		    memory_order_relaxed)) {
		unlock(&held);
		return false;
	}
	/* U1 */
	arch_fence_after_rmw();
	if (likely(atomic_load_explicit(&c->wait, memory_order_relaxed) == wait))
		return true;
	*ret_owed = hold_end(c);
	return false;
}

bool hold_end(struct coro *c)
{
	uint32_t s = CORO_HELD;
	bool owed;

	/* release: who claims it runs on what we have left. */
	owed = !atomic_compare_exchange_strong_explicit(
		       &c->state, &s, CORO_PARKED, memory_order_acq_rel,
		       memory_order_acquire) &&
	       s == CORO_HELD_WAKING;
	unlock(&held);
	return owed;
}
