/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/ready.h - a wait is over: on to a run queue.
 *
 * Whoever claims a wait owes its coroutine exactly one ready(). Any thread,
 * inside the runtime; no lock of a rank below the scheduler's is needed, any
 * may be held but sched.lock. */
#ifndef COGO_SCHED_READY_H
#define COGO_SCHED_READY_H

#include "coro/coro.h"

void ready(struct coro *c);
void ready_all(struct coro_list *l);

/* A new coroutine's first time. */
void ready_new(struct coro *c);

/* Work was made or a slot came free: gets one more worker going if that can
 * help. */
void wake_worker(void);

/* Puts c, which is ready, behind those who wait for w, its own worker, or if they
 * are many for any; only that for NULL. Wakes nobody. */
void ready_last(struct worker *w, struct coro *c);

/* Puts c on the queue for everybody. Wakes nobody. */
void ready_global(struct coro *c);

#endif
