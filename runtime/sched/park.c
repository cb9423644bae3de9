/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/park.c - the one primitive that everything that blocks is built on.
 *
 * A coroutine that waits:
 *
 *	RUNNING		still on its stack; a claimer leaves WAKING
 *	PARKED		by the arriver, off the stack; a claimer queues it
 *
 * One that is bound stays on its stack: RUNNING -> ASLEEP, and the state is
 * the futex it sleeps on.
 *
 * Each step to PARKED or ASLEEP is followed by a look at the flag that signal_kick
 * sets (wait_interrupted): the step is a fence as well.
 *
 * K1  each claim is followed by one ready(), and each wait that was claimed
 *     by one return from park(): the state, once WAKING or RUNNING again, says
 *     that ready() has been. So when park returns, no claimer is still about
 *     to touch the coroutine.
 * K2  the timer is disarmed before park returns, unless it was what claimed. */
#include "sched/park.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "arch/tp.h"
#include "coro/self.h"
#include "event/poller.h"
#include "event/timer.h"
#include "sched/block.h"
#include "sched/loop.h"
#include "sched/monitor.h"
#include "sched/ready.h"
#include <errno.h>

/* The poller sleeps until the deadline that was first when it lay down. */
static void tell_poller(cogo_time deadline)
{
	/* seq_cst: pairs with the fence in loop.c's be_poller. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&sched.poller, memory_order_relaxed) &&
	    deadline < atomic_load_explicit(&sched.poller_deadline,
					    memory_order_relaxed))
		poller_interrupt();
}

/* Sleeps on the state until ready() has been. */
static void sleep_bound(struct coro *me, uint64_t ticket, cogo_time deadline)
{
	uint32_t s = CORO_RUNNING;

	if (!atomic_compare_exchange_strong_explicit(
		    &me->state, &s, CORO_ASLEEP, memory_order_acq_rel,
		    memory_order_acquire))
		goto woken;
	if (unlikely(wait_interrupted(me, ticket))) {
		atomic_store_explicit(&me->state, CORO_RUNNING,
				      memory_order_relaxed);
		return;
	}
	while (atomic_load_explicit(&me->state, memory_order_acquire) ==
	       CORO_ASLEEP) {
		int r = sys_futex_wait(&me->state, CORO_ASLEEP, deadline);

		if (r != -ETIMEDOUT)
			continue;
		deadline = COGO_FOREVER;
		if (!wait_claim(me, ticket, WAIT_TIMED_OUT))
			continue;	/* somebody has it: its ready comes */
		atomic_store_explicit(&me->state, CORO_RUNNING,
				      memory_order_relaxed);
		return;
	}
	return;
woken:
	invariant(s == CORO_WAKING);
	atomic_store_explicit(&me->state, CORO_RUNNING, memory_order_relaxed);
}

static void sleep_unbound(struct coro *me, uint64_t ticket, cogo_time deadline)
{
	bool first = false, timed = deadline != COGO_FOREVER;

	if (timed) {
		if (timer_arm(me, me->worker->index, deadline, ticket, &first)) {
			/* No memory for the heap: the kernel keeps the time, of
			 * a kernel thread that is lent for this wait. */
			block_bind(me);
			sleep_bound(me, ticket, deadline);
			block_unbind(me);
			return;
		}
		if (first)
			tell_poller(deadline);
	}
	/* acquire: pairs with the claimer's release. */
	if (unlikely(atomic_load_explicit(&me->state, memory_order_acquire) ==
		     CORO_WAKING))
		/* Claimed and readied before we left. */
		atomic_store_explicit(&me->state, CORO_RUNNING,
				      memory_order_relaxed);
	else
		loop_leave(me, PARTING_PARK);
	if (timed && wait_result(me) != WAIT_TIMED_OUT)
		timer_disarm(me);
}

/* About now: to read the counter costs as much as the rest of a park. */
static cogo_time moment(const struct coro *me)
{
	const struct worker *w = me->worker;

	return likely(!me->bound) &&
	       likely(atomic_load_explicit(&w->slot, memory_order_relaxed)) ?
		       read_once(w->moment) : (cogo_time)arch_cycles();
}

enum wait_outcome park(struct coro *me, uint64_t ticket, enum why why,
		       cogo_time deadline)
{
	me->why = why;
	write_once(me->since, moment(me));
	if (me->bound) {
		me->timer.deadline = deadline;	/* for those who look in */
		CORO_FALL_ASLEEP(me);
		sleep_bound(me, ticket, deadline);
		CORO_AWAKE(me);
	} else {
		sleep_unbound(me, ticket, deadline);
	}
	me->why = WHY_NOTHING;
	me->what = NULL;
	me->fd = -1;
	return wait_result(me);
}

enum wait_outcome park_cancel(struct coro *me, uint64_t ticket)
{
	if (wait_claim(me, ticket, WAIT_NONE))
		return WAIT_NONE;
	return park(me, ticket, WHY_NOTHING, COGO_FOREVER);
}

enum wait_outcome park_until(struct coro *me, enum why why, cogo_time deadline)
{
	return park(me, wait_open(me), why, deadline);
}

void park_yield(struct coro *me)
{
	if (unlikely(me->bound))
		sys_call(SYS_sched_yield);
	else
		loop_leave(me, PARTING_YIELD);
}

void park_for(struct coro *me, struct coro *c)
{
	struct worker *w = me->worker;

	if (me->bound) {
		ready_new(c);
		return;
	}
	worker_count(&w->switches);
	loop_switch(w, me, c, PARTING_ASIDE);
}

/* Who comes after the next: in a crowd of new ones each is cold, and so is what it
 * was given. */
static SANITIZE_GLANCES void foresee(const struct runq *q)
{
	const struct coro *c = runq_ahead(q, 1);

	if (!c)
		return;
	__builtin_prefetch(c->arg, 1);
	c = runq_ahead(q, 2);
	if (!c)
		return;
	coro_foresee(c);
	__builtin_prefetch(&c->id, 1);
	__builtin_prefetch(&c->stack, 1);
}

SANITIZE_ENDS void park_exit(struct coro *me)
{
	foresee(&me->worker->runq);
	loop_leave(me, PARTING_EXIT);
	cogo_throw("coroutine %llu ran after its end",
		   (unsigned long long)me->id);
}

void park_begin(struct coro *me)
{
	if (me->tp)
		self_set(me);
	loop_arrive(me);
}
