/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cancel.h - ending a thread from outside, and from any depth.
 *
 * A cancellation point asks before it begins, and again when its wait was
 * interrupted; what it has done by then it reports, and the next point acts. */
#ifndef COGO_HOOK_THREAD_CANCEL_H
#define COGO_HOOK_THREAD_CANCEL_H

#include "coro/self.h"

/* Unwinds the coroutine that calls: cleanup handlers, C++ destructors, the end.
 * Every door open. */
_Noreturn void cancel_act(struct coro *me);

static inline void cancel_point(struct coro *me)
{
	uint32_t c = atomic_load_explicit(&me->cancel, memory_order_relaxed);

	if (unlikely((c & (CANCEL_WANTED | CANCEL_DISABLED | CANCEL_EXITING)) ==
		     CANCEL_WANTED))
		cancel_act(me);
}

#endif
