/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/loop.h - what a worker does. */
#ifndef COGO_SCHED_LOOP_H
#define COGO_SCHED_LOOP_H

#include "sched/worker.h"

/* Runs coroutines, until all shall stop or this worker retires. On the worker's own
 * stack. */
void loop(struct worker *w);

/* Picks between two looks at timers, descriptors and the queue for everybody. A
 * number of picks since the last and not every so manieth: a pick that found
 * nothing is counted too, so a certain number may never be met. */
#ifndef LOOP_LOOK_AROUND	/* fewer where every order of steps is tried */
#define LOOP_LOOK_AROUND 64
#endif

static inline bool loop_look_due(const struct worker *w)
{
	return w->picks - w->looked >= LOOP_LOOK_AROUND;
}

/* Leaves me, which runs and is to be parted from as `parting` says, for whoever is
 * next: a coroutine, or the worker's own stack, which looks around. Returns when
 * somebody switches back to me, perhaps on another worker; and at once where a
 * yield finds nobody to yield to. */
void loop_leave(struct coro *me, enum parting parting);
/* The same, from `from` to `to`. */
void loop_switch(struct worker *w, struct coro *from, struct coro *to,
		 enum parting parting);

/* The first thing a new coroutine does: the other half of the switch. */
void loop_arrive(struct coro *me);

/* A slot came free because its worker blocks: somebody else shall have it if
 * there is work, or nobody left who would poll; for_long: or nobody who does, just
 * now. */
void loop_give_slot(bool for_long);
bool loop_take_slot(void);

/* For one who does not wait for them, when nobody does. An interruption comes
 * once to whoever asks first: who has become the one who waits in the meantime
 * may have been interrupted to run something, and we have taken it; so that one
 * is interrupted again. */
void loop_look_at_descriptors(cogo_time now, struct coro_list *due);

/* A kernel thread does not take these signals any more, for which a coroutine
 * that it ran may still be waiting: somebody else shall take what main does not.
 * Any thread, a signal handler. */
void loop_mask_closes(uint64_t closed);

/* Whether anything is ready to run. A guess. */
bool loop_work_waits(void);

#endif
