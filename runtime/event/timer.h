/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/timer.h - deadlines of waits, in nanoseconds.
 *
 * A few heaps, each under its own lock, so that workers seldom meet; any
 * worker may run any of them, so a worker that is stuck delays nobody. */
#ifndef COGO_EVENT_TIMER_H
#define COGO_EVENT_TIMER_H

#include "coro/coro.h"

#ifndef TIMER_HEAPS	/* fewer where every order of steps is tried */
#define TIMER_HEAPS 8
#endif

/* Arms c's timer for its open wait: at the deadline, timer_run claims it as
 * timed out. 0, or -ENOMEM. *ret_first: the deadline is now the first of all
 * in its heap. `where` picks the heap. Owner of c only. */
int timer_arm(struct coro *c, unsigned where, cogo_time deadline,
	      uint64_t ticket, bool *ret_first);

/* Takes it back; nothing happens if it has run. Owner of c only. */
void timer_disarm(struct coro *c);

/* The first deadline of all, COGO_FOREVER if there is none. Any thread. */
cogo_time timer_first(void);

/* Claims every wait that is due and puts those it got on ready. */
void timer_run(cogo_time now, struct coro_list *ready);

/* Nobody waits: its memory goes. */
void timer_rest(void);

void timer_fork_child(void);

#endif
