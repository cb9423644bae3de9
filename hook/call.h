/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/call.h - a call into libc that may sleep there.
 *
 * The worker's slot goes to somebody else meanwhile. Outside the runtime: the
 * call is the program's own code, as far as signals are concerned, and what it
 * calls in turn may come to our hooks, and park. */
#ifndef COGO_HOOK_CALL_H
#define COGO_HOOK_CALL_H

#include "hook/gate.h"
#include "sched/block.h"

static inline void call_begin(struct coro *me, enum why why)
{
	door_enter(me);
	block_enter(me, why);
	door_leave(me);
}

static inline void call_end(struct coro *me)
{
	door_enter(me);
	block_exit(me);
	door_leave(me);
}

/* A call as it is on a kernel thread, and such a section on a coroutine. */
#define CALL_AWAY(why, call) __extension__ ({			\
	struct coro *me_ = gate_coro();				\
	__typeof__(call) r_;					\
								\
	if (me_)						\
		call_begin(me_, why);				\
	r_ = (call);						\
	if (me_)						\
		call_end(me_);					\
	r_;							\
})

/* The same for a call that leaves something changed in the kernel thread and
 * puts it back at its end (its signal mask): a handler that runs in between
 * must not park, or the rest would be done to another thread. */
static inline void call_begin_bound(struct coro *me)
{
	door_enter(me);
	block_bind(me);
	door_leave(me);
}

static inline void call_end_bound(struct coro *me)
{
	door_enter(me);
	block_unbind(me);
	door_leave(me);
}

#endif
