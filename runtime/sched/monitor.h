/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/monitor.h - the one who notices.
 *
 * A kernel thread that looks every MONITOR_TICK while anything runs, wakes twice
 * more for the stacks when nothing does, and then sleeps for good. It takes slots
 * from workers that are stuck, makes workers, polls and runs timers when nobody
 * has, and gives back the stack pages of coroutines that have been parked for
 * long. */
#ifndef COGO_SCHED_MONITOR_H
#define COGO_SCHED_MONITOR_H

#include "coro/coro.h"

#define MONITOR_TICK 10000000	/* ns */

int monitor_start(void);

/* Whom to tell, on the monitor's kernel thread, of a coroutine that was found asleep in
 * the kernel in a call that nobody has declared. It may be gone by then: its object is
 * some coroutine's still. */
void monitor_use(void (*slept)(const struct coro *c));

/* A worker is needed and there is no spare. Any thread, signal handlers too. */
void monitor_want_worker(void);

/* Something runs again: for whoever is a worker with a slot and not away from now
 * on, once that is written. Cheap when the monitor is awake. */
void monitor_activity(void);

/* Makes it, and whoever waits for news of it, look about. */
void monitor_poke(void);

void monitor_fork_child(void);

/* For whoever watches the watchman: a futex that moves when the monitor has
 * gone to sleep for good, and whether it is asleep, be it until its next walk. */
extern _Atomic uint32_t monitor_news;
bool monitor_asleep(void);

/* Its kernel thread; waits while that is on its way. 0: there is none. */
int monitor_tid(void);

/* How many workers may be made in all; the limit is said once when reached. */
#define MONITOR_MOST_WORKERS 4000

#endif
