/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/ready.c - a wait is over: on to a run queue.
 *
 * A sleeping worker must not be missed, and a running one need not be
 * disturbed. As in Go's scheduler: at most one worker at a time is woken to
 * search ("spinning"); it wakes the next when it has found something.
 *
 *	waker: push; fence; read nidle, spinning
 *	sleeper: nidle++ (or spinning--); fence; read all queues; sleep
 *
 * Whichever fence comes second sees the other's write: either the waker finds
 * an idle worker, or the worker finds the work.
 *
 * Who became ready first shall run first, however many are ready. So all but the
 * one in the next slot go behind those who wait already: to the worker's own tail,
 * or, when that is full or somebody is on the queue for everybody, to the end of
 * that. Whoever is on a ring is then older than whoever is on the queue, which
 * workers move to their rings in order. It is the order of one queue but for what
 * a ring holds, without its lock as long as there is no such crowd. */
#include "sched/ready.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "event/poller.h"
#include "sched/loop.h"
#include "sched/monitor.h"
#include "sched/worker.h"

/* Under sched.lock. The poller last: others are cheaper to wake, and it had
 * better stay where it is. */
static struct worker *take_idle(void)
{
	struct worker **at = &sched.idle, *w;

	if (!*at)
		return NULL;
	if (*at == atomic_load_explicit(&sched.poller, memory_order_relaxed) &&
	    (*at)->next)
		at = &(*at)->next;
	w = *at;
	*at = w->next;
	atomic_store_explicit(&w->idle, false, memory_order_relaxed);
	atomic_fetch_sub_explicit(&sched.nidle, 1, memory_order_relaxed);
	w->spinning = true;
	return w;
}

/* A spare takes the slot that the caller has taken; when there is none, the
 * monitor makes one. False when there is one after all. */
static bool start_spare(void)
{
	struct worker *w;

	lock(&sched.lock);
	w = sched.spare;
	if (w) {
		sched.spare = w->next;
		w->spinning = true;
		atomic_fetch_sub_explicit(&sched.nspare, 1, memory_order_relaxed);
	}
	unlock(&sched.lock);
	if (w) {
		atomic_store_explicit(&w->slot, true, memory_order_release);
		worker_wake(w);
		return true;
	}
	/* The slot first: whoever searches next finds it. */
	atomic_fetch_add_explicit(&sched.slots, 1, memory_order_acq_rel);
	atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
	/* seq_cst: pairs with the fence in be_spare. Whoever looked for a slot
	 * while we had it is listed by now and we see that, or will see the
	 * slot. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&sched.nspare, memory_order_relaxed))
		return false;
	monitor_want_worker();
	return true;
}

/* Whether there is anybody, or any slot, that could be got. After a fence. */
static inline bool all_are_busy(void)
{
	return atomic_load_explicit(&sched.nidle, memory_order_relaxed) == 0 &&
	       atomic_load_explicit(&sched.slots, memory_order_relaxed) <= 0;
}

/* Gets one more worker to search, unless one does, or slot: it is for a next slot
 * alone, and one watches those. False when that is to be tried again. */
static bool try_wake(bool slot)
{
	uint32_t none = 0;
	struct worker *w;

	if (all_are_busy())
		return true;
	if (slot && atomic_load_explicit(&sched.watcher, memory_order_relaxed))
		return true;
	if (atomic_load_explicit(&sched.spinning, memory_order_relaxed) ||
	    !atomic_compare_exchange_strong_explicit(
		    &sched.spinning, &none, 1, memory_order_acq_rel,
		    memory_order_relaxed))
		return true;
	lock(&sched.lock);
	w = take_idle();
	unlock(&sched.lock);
	if (w) {
		/* seq_cst: pairs with the fence in be_poller: either it sees
		 * that it is off the list, or we see that it polls. */
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load_explicit(&sched.poller, memory_order_acquire) == w)
			poller_interrupt();
		worker_wake(w);
		return true;
	}
	if (loop_take_slot())
		return start_spare();
	atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
	/* While we seemed to search, another waker may have left it to us: work
	 * that it has made, or that nobody waits for events; and a worker that
	 * saw none of it yet have been listed since we looked. */
	atomic_thread_fence(memory_order_seq_cst);
	return !loop_work_waits() &&
	       (atomic_load_explicit(&sched.poller, memory_order_relaxed) ||
		atomic_load_explicit(&sched.nidle, memory_order_relaxed) == 0);
}

static NOINLINE void wake_surely(bool slot)
{
	while (!try_wake(slot))
		atomic_thread_fence(memory_order_seq_cst);
}

/* After a fence. */
static inline void wake_one(bool slot)
{
	if (!all_are_busy())
		wake_surely(slot);
}

void wake_worker(void)
{
	/* seq_cst: pairs with the fence in loop.c's go_idle. */
	atomic_thread_fence(memory_order_seq_cst);
	wake_one(false);
}

static void push_global(struct coro_list *l)
{
	struct coro *c;

	lock(&sched.lock);
	while ((c = coro_list_pop(l)))
		coro_list_push(&sched.global, c);
	atomic_store_explicit(&sched.nglobal, sched.global.n,
			      memory_order_relaxed);
	unlock(&sched.lock);
}

void ready_global(struct coro *c)
{
	struct coro_list l = { 0 };

	coro_list_push(&l, c);
	push_global(&l);
}

/* The worker whose queue the caller may fill, or NULL. */
static struct worker *own_worker(void)
{
	struct coro *me = self();

	if (!me || !me->worker)
		return NULL;
	if (me->bound && me->kind != CORO_KIND_ROOT)
		return NULL;
	return me->worker;
}

/* Where somebody else has the stack, or nobody needs a queue. */
static NOINLINE bool settle_other(struct coro *c, uint32_t s)
{
	uint32_t to;

	for (;;) {
		switch (s) {
		case CORO_PARKED:
			to = CORO_READY;
			break;
		case CORO_ASLEEP:
			to = CORO_RUNNING;
			break;
		case CORO_RUNNING:
			to = CORO_WAKING;
			break;
		case CORO_HELD:
			to = CORO_HELD_WAKING;
			break;
		default:
			cogo_throw("coroutine %llu made ready in state %u",
				   (unsigned long long)c->id, s);
		}
		if (atomic_compare_exchange_weak_explicit(
			    &c->state, &s, to, memory_order_acq_rel,
			    memory_order_acquire))
			break;
	}
	if (to == CORO_RUNNING)
		sys_futex_wake(&c->state, 1);
	return to == CORO_READY;
}

/* Moves c, whose wait the caller has claimed, out of it. True when the caller shall
 * queue it; false when whoever has its stack will, or when it needs no queue. */
static inline bool settle(struct coro *c)
{
	uint32_t s;

	/* The claim was one: U1 in coro/hold.c. */
	arch_fence_after_rmw();
	/* acquire: its stack and registers are saved. */
	s = atomic_load_explicit(&c->state, memory_order_acquire);
	if (unlikely(s != CORO_PARKED))
		return settle_other(c, s);
	/* Nobody else moves it on from there who comes after the claim. */
	atomic_store_explicit(&c->state, CORO_READY, memory_order_relaxed);
	return true;
}

static inline void put_next(struct worker *w, struct coro *c)
{
	if (w && likely(!sched.migrate)) {
		c = runq_put_next(&w->runq, c);
		if (likely(!c)) {
			/* As in wake_worker, and with the fence in loop.c's watch;
			 * the exchange was the push. */
			arch_fence_after_rmw();
			wake_one(true);
			return;
		}
	}
	ready_last(w, c);
	wake_worker();
}

void ready(struct coro *c)
{
	if (settle(c))
		put_next(own_worker(), c);
}

void ready_soon(struct worker *w, struct coro *c)
{
	put_next(w, c);
}

void ready_all(struct coro_list *l)
{
	struct coro *c = coro_list_pop(l);
	struct coro_list global = { 0 };
	struct worker *w;
	uint32_t n = 0;

	if (!c)
		return;
	w = own_worker();
	if (likely(!l->head)) {
		if (settle(c)) {
			ready_last(w, c);
			wake_worker();
		}
		return;
	}
	do {
		if (!settle(c))
			continue;
		/* Nobody overtakes who came before. */
		if (global.n || !w || !ready_push(w, c))
			coro_list_push(&global, c);
		n++;
	} while ((c = coro_list_pop(l)));
	if (global.n)
		push_global(&global);
	if (n)
		wake_worker();
}

void ready_new(struct coro *c)
{
	atomic_store_explicit(&c->state, CORO_READY, memory_order_release);
	ready_last(own_worker(), c);
	wake_worker();
}
