/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/block.c - leaving the worker's slot to others.
 *
 * Whoever swaps a worker's slot from true to false owns it: the worker itself
 * when it declares that it blocks, the monitor when it sees that it is stuck.
 * Coming back takes a free slot if there is one; if not, the coroutine runs on
 * without, for one turn more than there should be runners, and its worker
 * becomes a spare at the next scheduling point.
 *
 * Whoever runs looks at descriptors and timers, but not while he computes. So who
 * leaves for long has somebody wait for those in his stead, though nothing is ready
 * yet. For a file that is in memory that would cost more than the reading; how long
 * it will take, the last ones of its kind say. */
#include "sched/block.h"
#include "arch/tp.h"
#include "base/errno.h"
#include "base/lock.h"
#include "base/sys.h"
#include "event/poller.h"
#include "inspect/census.h"
#include "sched/loop.h"
#include "sched/monitor.h"
#include <string.h>

/* Hand-offs that the monitor noticed and that last: how long the longest took
 * is known only when it is over, and where it was only while it lasts. One more
 * than these goes without a stack. */
#ifndef LASTING	/* fewer where every order of steps is tried */
#define LASTING 16
#endif
static struct {
	struct worker *worker;	/* NULL: free */
	struct handoff so_far;
} lasting[LASTING];		/* under stats_lock */
static struct handoff longest;	/* under stats_lock */
static struct lock stats_lock;
static _Atomic uint64_t declared[WHY_COUNT], noticed, bound, kept;
static bool watched;

/* Of each kind, so many more are taken to last. Guesses: written by all. */
#define LAST_TOO	4
static _Atomic uint32_t lasts[WHY_COUNT];

static void note_lasted(enum why why, uint64_t cycles)
{
	uint64_t most = atomic_load_explicit(&sched.brief_cycles,
					     memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&lasts[why], memory_order_relaxed);

	if (unlikely(most && cycles > most)) {
		if (n == LAST_TOO)
			return;
		n = LAST_TOO;
	} else {
		if (!n)
			return;
		n--;
	}
	atomic_store_explicit(&lasts[why], n, memory_order_relaxed);
}

static void leave_slot(struct worker *w, bool for_long)
{
	poller_submit();
	if (atomic_exchange_explicit(&w->slot, false, memory_order_acq_rel))
		loop_give_slot(for_long);
}

static void want_slot(struct worker *w)
{
	block_noticed_end(w);
	if (!atomic_load_explicit(&w->slot, memory_order_relaxed) &&
	    loop_take_slot()) {
		atomic_store_explicit(&w->slot, true, memory_order_release);
		monitor_activity();
	}
}

void block_enter(struct coro *me, enum why why)
{
	if (me->bound)
		return;
	me->why = why;
	write_once(me->since, (cogo_time)arch_cycles());
	atomic_fetch_add_explicit(&declared[why], 1, memory_order_relaxed);
	leave_slot(me->worker,
		   atomic_load_explicit(&lasts[why], memory_order_relaxed));
	/* From here on handlers may run, whatever doors are closed: the runtime
	 * is not in use (fault/signal.c). */
	atomic_signal_fence(memory_order_seq_cst);
	CORO_FALL_ASLEEP(me);
}

static void identify(struct handoff *h, const struct coro *c)
{
	h->id = c->id;
	memcpy(h->name, c->name, sizeof(h->name));
	h->name[sizeof(h->name) - 1] = 0;
}

/* The caller is on its own stack, in the frame that it fell asleep in. */
static COLD void compare(struct coro *me, const struct arch_regs *from)
{
	cogo_time lasted = census_since((uint64_t)me->since);
	struct backtrace trace;
	int saved = errno_get();	/* the call's, which has just ended */

	if (lasted <= *(volatile cogo_time *)&longest.lasted)
		return;
	/* libunwind takes libc's locks, and must not park on them. */
	me->bound++;
	backtrace_walk(from, false, coro_stack(me), &trace);
	me->bound--;
	errno_set(saved);
	lock(&stats_lock);
	if (lasted > longest.lasted) {
		longest.lasted = lasted;
		longest.declared = true;
		longest.trace = trace;
		identify(&longest, me);
	}
	unlock(&stats_lock);
}

void block_exit(struct coro *me)
{
	struct arch_regs from = { .pc = me->asleep.pc, .sp = me->asleep.sp,
				  .fp = me->asleep.fp };

	if (me->bound) {
		/* In a child that a handler has forked while it slept. */
		CORO_AWAKE(me);
		return;
	}
	/* Before anything else: handlers are put off again. */
	CORO_AWAKE(me);
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(watched))
		compare(me, &from);
	note_lasted(me->why, arch_cycles() - (uint64_t)me->since);
	me->why = WHY_NOTHING;
	me->fd = -1;
	want_slot(me->worker);
}

void block_bind(struct coro *me)
{
	if (me->bound++ == 0) {
		me->tid = me->worker->tid;
		atomic_fetch_add_explicit(&bound, 1, memory_order_relaxed);
		coro_stock_empty(&me->worker->stock);
		leave_slot(me->worker, false);
	}
}

void block_unbind(struct coro *me)
{
	if (--me->bound == 0) {
		me->tid = 0;
		want_slot(me->worker);
	}
}

void block_keep(struct coro *me)
{
	/* A kernel thread of the program's is its own already. */
	if (me->kind != CORO_KIND_CORO || !me->worker)
		return;
	if (!me->worker->kept)
		atomic_fetch_add_explicit(&kept, 1, memory_order_relaxed);
	me->worker->kept = true;
}

long on_worker(struct coro *me, long (*fn)(void *), void *arg)
{
	struct worker *w = me->worker;
	long r;

	if (!w || me->kind != CORO_KIND_CORO)
		return fn(arg);
	/* Kept on this worker: what fn begins on a kernel thread, it ends
	 * there. */
	me->bound++;
	w->call = fn;
	w->call_arg = arg;
	loop_switch(w, me, w->root, PARTING_CALL);
	r = me->worker->call_result;
	me->bound--;
	return r;
}

void block_watch(void)
{
	census_init();
	watched = true;
}

/* On the monitor's thread. The worker may be back by the time we look: then
 * what we find is where it got to. */
void block_noticed(struct worker *w)
{
	struct coro *c = atomic_load_explicit(&w->current, memory_order_relaxed);
	struct handoff h = { 0 };

	atomic_fetch_add_explicit(&noticed, 1, memory_order_relaxed);
	if (!watched || !c)
		return;
	identify(&h, c);
	backtrace_walk_asleep(w->tid, &h.trace);
	lock(&stats_lock);
	for (int i = 0; i < LASTING; i++) {
		/* Back already: its end has been, and found nothing. */
		if (!atomic_load_explicit(&w->noticed, memory_order_acquire))
			break;
		if (!lasting[i].worker || lasting[i].worker == w) {
			lasting[i].worker = w;
			lasting[i].so_far = h;
			break;
		}
	}
	unlock(&stats_lock);
}

/* Under stats_lock. */
static void settle(const struct handoff *so_far, cogo_time lasted)
{
	if (lasted <= longest.lasted)
		return;
	longest = *so_far;
	longest.lasted = lasted;
}

void block_noticed_end(struct worker *w)
{
	cogo_time since = atomic_load_explicit(&w->noticed, memory_order_acquire);

	if (likely(!since))
		return;
	/* release: before the lock, whose holder looks at it. */
	atomic_store_explicit(&w->noticed, 0, memory_order_release);
	lock(&stats_lock);
	for (int i = 0; i < LASTING; i++)
		if (lasting[i].worker == w) {
			settle(&lasting[i].so_far, sys_now() - since);
			lasting[i].worker = NULL;
		}
	unlock(&stats_lock);
}

/* At the end of the program, perhaps out of a handler of a fault that had the
 * lock: then what it guards is left out. */
static bool try_stats_lock(void)
{
	for (int i = 0; i < 1000; i++) {
		if (lock_try(&stats_lock))
			return true;
		sys_call(SYS_sched_yield);
	}
	return false;
}

void block_get_stats(struct block_stats *ret)
{
	struct handoff before;

	memset(&ret->longest, 0, sizeof(ret->longest));
	for (int i = 0; i < WHY_COUNT; i++)
		ret->declared[i] = atomic_load_explicit(&declared[i],
							memory_order_relaxed);
	ret->noticed = atomic_load_explicit(&noticed, memory_order_relaxed);
	ret->bound = atomic_load_explicit(&bound, memory_order_relaxed);
	ret->kept = atomic_load_explicit(&kept, memory_order_relaxed);
	if (!try_stats_lock())
		return;
	before = longest;
	for (int i = 0; i < LASTING; i++) {
		struct worker *w = lasting[i].worker;
		cogo_time since = !w ? 0 :
			atomic_load_explicit(&w->noticed, memory_order_relaxed);

		if (since)
			settle(&lasting[i].so_far, sys_now() - since);
	}
	ret->longest = longest;
	longest = before;
	unlock(&stats_lock);
}

void block_fork_child(void)
{
	memset(lasting, 0, sizeof(lasting));
	memset(&longest, 0, sizeof(longest));
	for (int i = 0; i < WHY_COUNT; i++)
		atomic_store_explicit(&declared[i], 0, memory_order_relaxed);
	atomic_store_explicit(&noticed, 0, memory_order_relaxed);
	atomic_store_explicit(&bound, 0, memory_order_relaxed);
	atomic_store_explicit(&kept, 0, memory_order_relaxed);
}
