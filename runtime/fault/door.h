/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/door.h - going into the runtime and out of it.
 *
 * Between door_in and door_out the caller may hold the runtime's locks and
 * stand on its queues; a signal handler that ran there and posted a semaphore
 * could meet a lock that it interrupted. So handlers are put off until the
 * last door_out. Doors nest. */
#ifndef COGO_FAULT_DOOR_H
#define COGO_FAULT_DOOR_H

#include "coro/self.h"

/* Runs what was put off; on the way out of the last door. */
COLD void door_deliver(struct coro *me);
/* The same, and returns 0. */
COLD int door_deliver_last(struct coro *me);

/* Returns how many doors were open before. */
static inline uint32_t door_enter(struct coro *me)
{
	uint32_t doors = me->in_runtime;

	me->in_runtime = doors + 1;
	/* A handler on this thread must see the count before what it guards. */
	atomic_signal_fence(memory_order_seq_cst);
	return doors;
}

static inline bool door_is_awaited(const struct coro *me)
{
	return unlikely(atomic_load_explicit(&me->interrupt,
					     memory_order_relaxed));
}

static inline void door_leave(struct coro *me)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (--me->in_runtime == 0 && door_is_awaited(me))
		door_deliver(me);
}

/* The same where that is the caller's last act, with the number that door_enter
 * gave it, which need not be read once more: 0. */
static inline int door_leave_as(struct coro *me, uint32_t doors)
{
	atomic_signal_fence(memory_order_seq_cst);
	me->in_runtime = doors;
	return door_is_awaited(me) && !doors ? door_deliver_last(me) : 0;
}

/* Adopts a kernel thread that comes for the first time. NULL only without
 * memory. */
static inline struct coro *door_in(void)
{
	struct coro *me = self_or_adopt();

	if (likely(me != NULL))
		door_enter(me);
	return me;
}

#endif
