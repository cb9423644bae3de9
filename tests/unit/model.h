/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model.h - the scheduler as it is, and around it as little of a world as it
 * needs to be explored (explore.h).
 *
 * Real: sched/, event/timer.c, coro/wait.h, arch/. Modelled: kernel threads are
 * actors; futexes sleep in the explorer; time goes on when somebody has slept
 * long enough; a lock that is held is waited for in one step (model_lock.c has
 * the real one); the poller has one descriptor, and the eventfd that interrupts
 * it, and whoever asks first takes what is there, as with event/poller_epoll.c.
 * Nobody looks every 10 ms: what the monitor would
 * put right is wrong here.
 *
 * Smaller than life: one timer heap, a ring of 4, a look around every 4 picks. */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include "explore.h"
#include "sched/block.h"
#include "sched/loop.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "sched/worker.h"

#define MODEL_COROS 4

extern struct model {
	_Atomic cogo_time now;
	/* The poller: its eventfd, and one descriptor's readiness. */
	_Atomic uint32_t interrupted, event;
	/* Not 0: one of them may be there. What a poller sleeps on. */
	_Atomic uint32_t poller_word;
	struct coro *waits_for_event;
	uint64_t event_ticket;
	struct coro coro[MODEL_COROS];
	struct coro root[MODEL_COROS];
	int ncoros, nroots, nthreads;
	int done;			/* coroutines that came to their end */
	bool brief;			/* they learn how it is with events */
	bool full;			/* no more kernel threads */
	bool stat_sleeps;		/* what /proc says of every worker */
} model;

/* Before anything else. The workers have nothing to do and sleep. */
void model_begin(uint32_t workers);
/* A coroutine in state NEW; fn(me) runs on it, and it ends when fn returns. */
struct coro *model_coro(void (*fn)(struct coro *me));
/* For an actor that is a kernel thread of the program's: adopts itself. */
struct coro *model_thread(void);
/* The event happens: the descriptor is ready. */
void model_event(void);
/* The monitor's turns, one by one: it walks over the parked; it looks at all
 * workers, and has seen each where it is a moment ago; it serves timers and
 * descriptors, as late as can be; it makes those that were asked for, and sleeps
 * until it is asked. */
void model_trim(void);
void model_look(void);
void model_serve(void);
void model_make_wanted(void);
/* Called between all steps: what must hold always. */
extern void (*model_always)(void);
/* Explores; what main() returns. */
int model_explore(const char *name, void (*end)(void));

#endif
