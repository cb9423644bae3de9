/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/clock.h - how long a coroutine has used a processor.
 *
 * The kernel counts for its threads, and a coroutine uses one after another. So
 * from when somebody first asks for it, the worker's clock is read whenever that
 * coroutine comes there and leaves. What it used before that is not known: its
 * clock begins then, at 0. Who is not asked for costs nothing. */
#ifndef COGO_SCHED_CLOCK_H
#define COGO_SCHED_CLOCK_H

#include "coro/coro.h"

/* Nanoseconds. c may be the caller, or one that nobody gives back meanwhile. */
cogo_time clock_of(struct coro *c);

/* The worker goes from one to the other. */
COLD void clock_switched(struct coro *from, struct coro *to);

static inline void clock_switch(struct coro *from, struct coro *to)
{
	if (unlikely(read_once(from->counted) || read_once(to->counted)))
		clock_switched(from, to);
}

#endif
