/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/crowd.h - too many workers at the same lock.
 *
 *	uint64_t began = crowd_begin();
 *
 *	lock_slow(l);
 *	crowd_waited(object, began, what has been done with it so far); */
#ifndef COGO_SCHED_CROWD_H
#define COGO_SCHED_CROWD_H

#include "arch/tp.h"
#include "sched/worker.h"

static inline uint64_t crowd_begin(void)
{
	return arch_cycles();
}

/* The caller has waited for a lock that coroutines may contend for without end. done:
 * a number that grows with what they are after. Inside the runtime. */
void crowd_waited(const void *what, uint64_t began, uint64_t done);

/* Whether w had better leave the others alone. Owner only, as the rest. */
static inline bool crowd_leaves(const struct worker *w)
{
	return unlikely(w->crowd.leaves);
}

/* Then, on its own stack: for how long; or false, if not after all. What is on its
 * queue is the others'. crowd_back, when it has slept. */
bool crowd_leave(struct worker *w, cogo_time *ret_nap);
void crowd_back(struct worker *w);

#endif
