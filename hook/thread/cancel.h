/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cancel.h - ending a thread from outside, and from any depth.
 *
 * A cancellation point asks before it begins, and again when its wait was
 * interrupted; what it has done by then it reports, and the next point acts. */
#ifndef COGO_HOOK_THREAD_CANCEL_H
#define COGO_HOOK_THREAD_CANCEL_H

#include "fault/cancel.h"

/* Once, at load. */
void cancel_load(void);

/* Unwinds the coroutine that calls: cleanup handlers, C++ destructors, the end.
 * Opens every door. */
_Noreturn void cancel_act(struct coro *me);

/* At a point, of one that is to end. */
COLD void cancel_arrive(struct coro *me);

/* For one that may wait: inside the door, where a request that comes later
 * leaves its mark until the wait finds it. */
static inline void cancel_point(struct coro *me)
{
	if (cancel_wanted(me))
		cancel_arrive(me);
}

#endif
