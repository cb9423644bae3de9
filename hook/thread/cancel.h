/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cancel.h - ending a thread from outside, and from any depth.
 *
 * A cancellation point asks before it begins, and again when its wait was
 * interrupted; what it has done by then it reports, and the next point acts. */
#ifndef COGO_HOOK_THREAD_CANCEL_H
#define COGO_HOOK_THREAD_CANCEL_H

#include "coro/self.h"

/* Unwinds the coroutine that calls: cleanup handlers, C++ destructors, the end.
 * Opens every door. */
_Noreturn void cancel_act(struct coro *me);

/* Whether it is to act at the next point. */
static inline bool cancel_wanted(const struct coro *me)
{
	uint32_t c = atomic_load_explicit(&me->cancel, memory_order_relaxed);

	return unlikely((c & (CANCEL_WANTED | CANCEL_DISABLED |
			      CANCEL_EXITING)) == CANCEL_WANTED);
}

/* For one that may wait: inside the door, where a request that comes later
 * leaves its mark until the wait finds it. */
static inline void cancel_point(struct coro *me)
{
	if (cancel_wanted(me))
		cancel_act(me);
}

#endif
