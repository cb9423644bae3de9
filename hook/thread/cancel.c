/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cancel.c - ending a thread from outside, and from any depth.
 *
 * A thread ends early by an unwind (fault/unwind.h), as libc's own threads do, and
 * so does a coroutine of the native API that has called pthread_exit. How one that
 * is to end is told differs: a thread is unwound at a cancellation point; the
 * native API's coroutine, unless it has asked for the same, gets ECANCELED from
 * what it would have waited in, and from functions that cannot say so nothing.
 *
 * On kernel threads all of this is libc's, but for the end of a generator that one is
 * in. */
#include "hook/thread/cancel.h"
#include "base/sys.h"
#include "fault/signal.h"
#include "fault/unwind.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/thread.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Declared by <pthread.h> only for code without exceptions … */
void __pthread_register_cancel(__pthread_unwind_buf_t *buf);
void __pthread_unregister_cancel(__pthread_unwind_buf_t *buf);
_Noreturn void __pthread_unwind_next(__pthread_unwind_buf_t *buf);
/* … and old-style cleanup nowhere any more. */
void _pthread_cleanup_push(struct _pthread_cleanup_buffer *b,
			   void (*routine)(void *), void *arg);
void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *b, int execute);
void _pthread_cleanup_push_defer(struct _pthread_cleanup_buffer *b,
				 void (*routine)(void *), void *arg);
void _pthread_cleanup_pop_restore(struct _pthread_cleanup_buffer *b, int execute);

/* One that can be unwound. A coroutine that has forked, and its child's only
 * thread, too: its cleanups are with us. */
static struct coro *mine(void)
{
	struct coro *me = self();

	return me && me->unwind && !me->unwind->lent ? me : NULL;
}

static struct unwind_libc lent;

void cancel_load(void)
{
	lent.push = REAL(_pthread_cleanup_push);
	lent.pop = REAL(_pthread_cleanup_pop);
	lent.enter = REAL(__pthread_register_cancel);
	lent.leave = REAL(__pthread_unregister_cancel);
	lent.jump = REAL(siglongjmp);
	lent.open = REAL(dlopen);
	lent.abort = REAL(abort);
	unwind_use(&lent);
	signal_on_cancel(cancel_act);
}

_Noreturn void cancel_act(struct coro *me)
{
	unwind(me, UNWIND_CANCELED);
}

void cancel_arrive(struct coro *me)
{
	if (cancel_unwinds(me))
		cancel_act(me);
	/* Whatever it would wait in is broken off, and gate_interrupted says
	 * what for. */
	atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
}

HOOKED void pthread_exit(void *result)
{
	struct coro *me = self();

	if (me && me->thread)
		me->thread->result = result;
	if (me && unwind_has_end(me))
		unwind(me, UNWIND_EXIT);
	thread_leaves_main();
	REAL(pthread_exit)(result);
	__builtin_unreachable();
}

static void act_if_async(struct coro *me)
{
	if (atomic_load_explicit(&me->cancel, memory_order_relaxed) ==
	    (CANCEL_WANTED | CANCEL_ASYNC | CANCEL_UNWINDS))
		cancel_act(me);
}

/* Who waits for its end reminds it, once there is something to be reminded of:
 * see until_reminder. In the runtime, if the caller has a door. */
static void tell_joiner(struct thread *t)
{
	struct coro *joiner = atomic_load_explicit(&t->joiner,
						   memory_order_acquire);

	if (joiner)
		signal_kick(joiner);
}

HOOKED int pthread_cancel(pthread_t handle)
{
	struct thread *t = thread_find(handle);
	struct coro *me = self();
	uint32_t before;

	if (!t)
		return thread_is_ours(handle) ? ESRCH : REAL(pthread_cancel)(handle);
	if (atomic_load_explicit(&t->life, memory_order_acquire) == THREAD_ENDED)
		return 0;
	unwind_open();
	before = atomic_fetch_or_explicit(&t->coro->cancel, CANCEL_WANTED,
					  memory_order_seq_cst);
	if (before & (CANCEL_WANTED | CANCEL_EXITING))
		return 0;
	if (t->coro == me) {
		act_if_async(me);
		return 0;
	}
	if (!(before & CANCEL_DISABLED)) {
		if (me)
			door_enter(me);
		tell_joiner(t);
		signal_kick(t->coro);
		if (me)
			door_leave(me);
	}
	return 0;
}

HOOKED void pthread_testcancel(void)
{
	struct coro *me = mine();

	if (!me)
		REAL(pthread_testcancel)();
	else if (cancel_unwinds(me))
		cancel_act(me);
}

/* Sets or clears one bit of the caller's and tells what it was. */
static bool switch_bit(struct coro *me, uint32_t bit, bool on)
{
	uint32_t before = on ? atomic_fetch_or_explicit(&me->cancel, bit,
							memory_order_relaxed)
			     : atomic_fetch_and_explicit(&me->cancel, ~bit,
							 memory_order_relaxed);

	act_if_async(me);
	return before & bit;
}

HOOKED int pthread_setcancelstate(int state, int *old)
{
	struct coro *me = mine();
	bool was;

	if (!me)
		return REAL(pthread_setcancelstate)(state, old);
	if (state != PTHREAD_CANCEL_ENABLE && state != PTHREAD_CANCEL_DISABLE)
		return EINVAL;
	was = switch_bit(me, CANCEL_DISABLED, state == PTHREAD_CANCEL_DISABLE);
	if (was && me->thread && cancel_wanted(me)) {
		door_enter(me);
		tell_joiner(me->thread);
		door_leave(me);
	}
	if (old)
		*old = was ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
	return 0;
}

HOOKED int pthread_setcanceltype(int type, int *old)
{
	struct coro *me = mine();
	bool was;

	if (!me)
		return REAL(pthread_setcanceltype)(type, old);
	if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS)
		return EINVAL;
	was = switch_bit(me, CANCEL_ASYNC, type == PTHREAD_CANCEL_ASYNCHRONOUS);
	if (old)
		*old = was ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
	return 0;
}

/* pthread_cleanup_push and _pop, as the header's macros call them. */

HOOKED void __pthread_register_cancel(__pthread_unwind_buf_t *buf)
{
	struct coro *me = mine();

	if (!me) {
		REAL(__pthread_register_cancel)(buf);
		return;
	}
	*unwind_previous(buf) = me->unwind->cleanups;
	me->unwind->cleanups = buf;
}

HOOKED void __pthread_unregister_cancel(__pthread_unwind_buf_t *buf)
{
	struct coro *me = mine();

	if (me)
		me->unwind->cleanups = *unwind_previous(buf);
	else
		REAL(__pthread_unregister_cancel)(buf);
}

void __pthread_register_cancel_defer(__pthread_unwind_buf_t *buf);
void __pthread_unregister_cancel_restore(__pthread_unwind_buf_t *buf);

HOOKED void __pthread_register_cancel_defer(__pthread_unwind_buf_t *buf)
{
	struct coro *me = mine();

	if (!me) {
		REAL(__pthread_register_cancel_defer)(buf);
		return;
	}
	*unwind_previous(buf) = me->unwind->cleanups;
	buf->__pad[1] = (void *)(uintptr_t)switch_bit(me, CANCEL_ASYNC, false);
	me->unwind->cleanups = buf;
}

HOOKED void __pthread_unregister_cancel_restore(__pthread_unwind_buf_t *buf)
{
	struct coro *me = mine();

	if (!me) {
		REAL(__pthread_unregister_cancel_restore)(buf);
		return;
	}
	me->unwind->cleanups = *unwind_previous(buf);
	if (buf->__pad[1])
		switch_bit(me, CANCEL_ASYNC, true);
	cancel_point(me);
}

HOOKED void __pthread_unwind_next(__pthread_unwind_buf_t *buf)
{
	struct coro *me = mine(), *thread = self();

	/* A panic of a kernel thread's, on its way to a cogo_recover. */
	if (!me && thread && thread->unwind && thread->unwind->why != UNWIND_NOT) {
		REAL(__pthread_unregister_cancel)(buf);
		unwind_on(thread);
	}
	if (!me) {
		REAL(__pthread_unwind_next)(buf);
		__builtin_unreachable();
	}
	me->unwind->cleanups = *unwind_previous(buf);
	unwind_on(me);
}

HOOKED void _pthread_cleanup_push(struct _pthread_cleanup_buffer *b,
				  void (*routine)(void *), void *arg)
{
	struct coro *me = mine();

	if (!me) {
		REAL(_pthread_cleanup_push)(b, routine, arg);
		return;
	}
	b->__routine = routine;
	b->__arg = arg;
	b->__prev = me->unwind->old_cleanups;
	me->unwind->old_cleanups = b;
}

HOOKED void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *b, int execute)
{
	struct coro *me = mine();

	if (!me) {
		REAL(_pthread_cleanup_pop)(b, execute);
		return;
	}
	me->unwind->old_cleanups = b->__prev;
	if (execute)
		b->__routine(b->__arg);
}

HOOKED void _pthread_cleanup_push_defer(struct _pthread_cleanup_buffer *b,
					void (*routine)(void *), void *arg)
{
	struct coro *me = mine();

	if (!me) {
		REAL(_pthread_cleanup_push_defer)(b, routine, arg);
		return;
	}
	_pthread_cleanup_push(b, routine, arg);
	b->__canceltype = switch_bit(me, CANCEL_ASYNC, false);
}

HOOKED void _pthread_cleanup_pop_restore(struct _pthread_cleanup_buffer *b,
					 int execute)
{
	struct coro *me = mine();

	if (!me) {
		REAL(_pthread_cleanup_pop_restore)(b, execute);
		return;
	}
	me->unwind->old_cleanups = b->__prev;
	if (b->__canceltype)
		switch_bit(me, CANCEL_ASYNC, true);
	if (execute)
		b->__routine(b->__arg);
}
