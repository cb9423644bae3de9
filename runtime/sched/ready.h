/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/ready.h - a wait is over: on to a run queue.
 *
 * Whoever claims a wait owes its coroutine exactly one ready(). Any thread,
 * inside the runtime; no lock of a rank below the scheduler's is needed, any
 * may be held but sched.lock. */
#ifndef COGO_SCHED_READY_H
#define COGO_SCHED_READY_H

#include "sched/worker.h"

void ready(struct coro *c);
void ready_all(struct coro_list *l);

/* c, which is ready and off its stack, runs on w, the caller's own, as soon as whoever
 * runs there waits. */
void ready_soon(struct worker *w, struct coro *c);

/* A new coroutine's first time. */
void ready_new(struct coro *c);

/* Work was made or a slot came free: gets one more worker going if that can
 * help. */
void wake_worker(void);

/* Puts c on the queue for everybody. Wakes nobody. */
NOINLINE void ready_global(struct coro *c);

/* Puts c, which is ready, behind those who wait for w, its own worker, if they are
 * not too many. Wakes nobody. */
static inline bool ready_push(struct worker *w, struct coro *c)
{
	return likely(!sched.migrate) &&
	       likely(!atomic_load_explicit(&sched.nglobal,
					    memory_order_relaxed)) &&
	       likely(runq_push(&w->runq, c));
}

/* The same, or else on the queue for everybody; only that where w is NULL. */
static inline void ready_last(struct worker *w, struct coro *c)
{
	if (!w || unlikely(!ready_push(w, c)))
		ready_global(c);
}

#endif
