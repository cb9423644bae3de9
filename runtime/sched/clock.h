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
#include <time.h>

/* Of a kernel thread, as the kernel writes it; with a coroutine's number, one that
 * only clock_of can read. */
#define CLOCK_OF_TID(tid) ((clockid_t)((~(unsigned)(tid) << 3) | 6))
#define TID_OF_CLOCK(clock) ((pid_t)~((clock) >> 3))

/* Nanoseconds, of a kernel thread of ours. */
cogo_time clock_of_tid(int tid);
/* Nanoseconds; 0 for one that has not been given what to count with, by coro_rare. c
 * may be the caller, or one that nobody gives back meanwhile. */
cogo_time clock_of(struct coro *c);

/* The worker goes from one to the other. */
COLD void clock_switched(struct coro *from, struct coro *to);

static inline void clock_switch(struct coro *from, struct coro *to)
{
	if (unlikely(read_once(from->counted) || read_once(to->counted)))
		clock_switched(from, to);
}

#endif
