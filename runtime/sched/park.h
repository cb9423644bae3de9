/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/park.h - the one primitive that everything that blocks is built on.
 *
 *	ticket = wait_open(me);
 *	... publish (me, ticket) where a waker will find it, under its lock;
 *	... unlock;
 *	outcome = park(me, ticket, WHY_..., deadline);
 *	... take the publication back, unless the waker did.
 *
 * A waker may claim the wait at any moment after it was published, before the
 * coroutine is off its stack too. */
#ifndef COGO_SCHED_PARK_H
#define COGO_SCHED_PARK_H

#include "coro/coro.h"
#include "coro/wait.h"

/* Waits until somebody claims the wait or the deadline passes. Never returns
 * WAIT_NONE or WAIT_OPEN. The caller, inside the runtime, holding no lock. */
enum wait_outcome park(struct coro *me, uint64_t ticket, enum why why,
		       cogo_time deadline);

/* Ends an open wait that shall not be parked on after all; if somebody has
 * claimed it meanwhile, takes the wake that is owed. Returns the outcome, or
 * WAIT_NONE. */
enum wait_outcome park_cancel(struct coro *me, uint64_t ticket);

/* Sleeps until the deadline or an interruption: the outcome. */
enum wait_outcome park_until(struct coro *me, enum why why, cogo_time deadline);

/* Lets c run at once, which has just been made, on this worker and before anybody
 * else; the caller goes on after it, or elsewhere if it takes long. On a kernel thread,
 * as ready_new. */
void park_for(struct coro *me, struct coro *c);

/* Lets others run. On a kernel thread, sched_yield. */
void park_yield(struct coro *me);

/* Ends the coroutine that calls: drops its reference once it is off its
 * stack. */
_Noreturn void park_exit(struct coro *me);

/* The first thing a coroutine's entry does. */
void park_begin(struct coro *me);

#endif
