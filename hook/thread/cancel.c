/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cancel.c - ending a thread from outside, and from any depth.
 *
 * A thread ends early by a forced unwind, as libc's own threads do: the
 * unwinder of libgcc walks up the stack and runs what each frame left to be
 * cleaned up (C++ destructors, __attribute__((cleanup)), pthread_cleanup_push
 * in code compiled with exceptions). pthread_cleanup_push in plain C has
 * registered a jump buffer instead: when the walk has passed its frame, we jump
 * there, it runs its handler and calls __pthread_unwind_next, and the walk goes
 * on from where it was. Above the first frame it jumps to the end of the thread.
 *
 * On kernel threads all of this is libc's. */
#include "hook/thread/cancel.h"
#include "base/sys.h"
#include "fault/signal.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/thread.h"
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

/* What pthread_cleanup_push keeps in __pthread_unwind_buf_t beyond the jump
 * buffer; the first of four pointers that are the library's. */
static __pthread_unwind_buf_t **previous(__pthread_unwind_buf_t *buf)
{
	return (__pthread_unwind_buf_t **)&buf->__pad[0];
}

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

/* To a buffer that holds registers and "no mask was saved", and nothing else. */
static _Noreturn NOINLINE void jump(void *buf)
{
	__asm__("" : "+r"(buf));	/* its size is not a jmp_buf's */
	REAL(siglongjmp)(buf, 1);
	__builtin_unreachable();
}

static struct {
	_Unwind_Reason_Code (*force)(struct _Unwind_Exception *,
				     _Unwind_Stop_Fn, void *);
	_Unwind_Word (*cfa)(struct _Unwind_Context *);
} unwinder;

/* The one the program's own frames were made for. */
static void find_unwinder(void)
{
	void *lib;

	if (unwinder.force)
		return;
	lib = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
	if (lib) {
		*(void **)&unwinder.cfa = dlsym(lib, "_Unwind_GetCFA");
		*(void **)&unwinder.force = dlsym(lib, "_Unwind_ForcedUnwind");
	}
	if (!unwinder.force || !unwinder.cfa) {
		/* The words libc uses. */
		static const char text[] =
			"libgcc_s.so.1 must be installed for pthread_exit to work\n";

		sys_write_all(2, text, sizeof(text) - 1);
		abort();
	}
}

static struct thread *mine(void)
{
	struct coro *me = self();

	/* A coroutine that has forked, and its child's only thread, too: its
	 * cleanups are with us. */
	return me ? me->thread : NULL;
}

/* What libc's own functions have pushed, which do so past us: sem_wait, say, to
 * be counted among the waiters no more. Its list is in the descriptor, and a
 * buffer of ours at its head tells where it begins and sets where it shall. */
static void run_libcs(uintptr_t below)
{
	struct _pthread_cleanup_buffer head, *b;

	REAL(_pthread_cleanup_push)(&head, NULL, NULL);
	while ((b = head.__prev) && (uintptr_t)b < below) {
		head.__prev = b->__prev;
		b->__routine(b->__arg);
	}
	REAL(_pthread_cleanup_pop)(&head, 0);
}

/* Old-style handlers, of old binaries. */
static void run_old(struct thread *t, uintptr_t below)
{
	struct _pthread_cleanup_buffer *b;

	run_libcs(below);
	while ((b = t->old_cleanups) && (uintptr_t)b < below) {
		t->old_cleanups = b->__prev;
		b->__routine(b->__arg);
	}
}

static _Unwind_Reason_Code stop(int version UNUSED, _Unwind_Action actions,
				_Unwind_Exception_Class class UNUSED,
				struct _Unwind_Exception *exception UNUSED,
				struct _Unwind_Context *context, void *arg)
{
	struct thread *t = arg;
	bool end = actions & _UA_END_OF_STACK;
	uintptr_t sp = end ? UINTPTR_MAX : unwinder.cfa(context);
	__pthread_unwind_buf_t *buf = t->cleanups;

	run_old(t, sp);
	/* The frame that holds the buffer is below the one the walk is at. */
	if (buf && (uintptr_t)buf < sp)
		jump(buf->__cancel_jmp_buf);
	if (end)
		jump(t->end);
	return _URC_NO_REASON;
}

/* A catch (...) that does not throw on has swallowed the end of its thread. */
static void not_rethrown(_Unwind_Reason_Code reason UNUSED,
			 struct _Unwind_Exception *exception UNUSED)
{
	static const char text[] = "FATAL: exception not rethrown\n";

	sys_write_all(2, text, sizeof(text) - 1);
	abort();
}

static _Noreturn void walk(struct thread *t)
{
	memset(&t->exception, 0, sizeof(t->exception));
	t->exception.exception_cleanup = not_rethrown;
	unwinder.force(&t->exception, stop, t);
	/* The walk found frames without notes; the end is the end. */
	run_old(t, UINTPTR_MAX);
	if (t->cleanups)
		jump(t->cleanups->__cancel_jmp_buf);
	jump(t->end);
}

_Noreturn void thread_unwind(struct thread *t, void *result)
{
	struct coro *me = t->coro;

	atomic_fetch_or_explicit(&me->cancel, CANCEL_EXITING,
				 memory_order_relaxed);
	me->in_runtime = 0;
	t->result = result;
	find_unwinder();
	walk(t);
}

void cancel_act(struct coro *me)
{
	thread_unwind(me->thread, PTHREAD_CANCELED);
}

HOOKED void pthread_exit(void *result)
{
	struct thread *t = mine();

	if (t)
		thread_unwind(t, result);
	thread_leaves_main();
	REAL(pthread_exit)(result);
	__builtin_unreachable();
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
	find_unwinder();
	before = atomic_fetch_or_explicit(&t->coro->cancel, CANCEL_WANTED,
					  memory_order_seq_cst);
	if (before & (CANCEL_WANTED | CANCEL_EXITING))
		return 0;
	if (t->coro == me) {
		if (before == CANCEL_ASYNC)
			cancel_act(me);
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
	struct thread *t = mine();

	if (t)
		cancel_point(t->coro);
	else
		REAL(pthread_testcancel)();
}

static void act_if_async(struct coro *me)
{
	if (atomic_load_explicit(&me->cancel, memory_order_relaxed) ==
	    (CANCEL_WANTED | CANCEL_ASYNC))
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
	struct thread *t = mine();
	bool was;

	if (!t)
		return REAL(pthread_setcancelstate)(state, old);
	if (state != PTHREAD_CANCEL_ENABLE && state != PTHREAD_CANCEL_DISABLE)
		return EINVAL;
	was = switch_bit(t->coro, CANCEL_DISABLED, state == PTHREAD_CANCEL_DISABLE);
	if (was && cancel_wanted(t->coro)) {
		door_enter(t->coro);
		tell_joiner(t);
		door_leave(t->coro);
	}
	if (old)
		*old = was ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
	return 0;
}

HOOKED int pthread_setcanceltype(int type, int *old)
{
	struct thread *t = mine();
	bool was;

	if (!t)
		return REAL(pthread_setcanceltype)(type, old);
	if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS)
		return EINVAL;
	was = switch_bit(t->coro, CANCEL_ASYNC, type == PTHREAD_CANCEL_ASYNCHRONOUS);
	if (old)
		*old = was ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
	return 0;
}

/* pthread_cleanup_push and _pop, as the header's macros call them. */

HOOKED void __pthread_register_cancel(__pthread_unwind_buf_t *buf)
{
	struct thread *t = mine();

	if (!t) {
		REAL(__pthread_register_cancel)(buf);
		return;
	}
	*previous(buf) = t->cleanups;
	t->cleanups = buf;
}

HOOKED void __pthread_unregister_cancel(__pthread_unwind_buf_t *buf)
{
	struct thread *t = mine();

	if (t)
		t->cleanups = *previous(buf);
	else
		REAL(__pthread_unregister_cancel)(buf);
}

void __pthread_register_cancel_defer(__pthread_unwind_buf_t *buf);
void __pthread_unregister_cancel_restore(__pthread_unwind_buf_t *buf);

HOOKED void __pthread_register_cancel_defer(__pthread_unwind_buf_t *buf)
{
	struct thread *t = mine();

	if (!t) {
		REAL(__pthread_register_cancel_defer)(buf);
		return;
	}
	*previous(buf) = t->cleanups;
	buf->__pad[1] = (void *)(uintptr_t)switch_bit(t->coro, CANCEL_ASYNC, false);
	t->cleanups = buf;
}

HOOKED void __pthread_unregister_cancel_restore(__pthread_unwind_buf_t *buf)
{
	struct thread *t = mine();

	if (!t) {
		REAL(__pthread_unregister_cancel_restore)(buf);
		return;
	}
	t->cleanups = *previous(buf);
	if (buf->__pad[1])
		switch_bit(t->coro, CANCEL_ASYNC, true);
	cancel_point(t->coro);
}

HOOKED void __pthread_unwind_next(__pthread_unwind_buf_t *buf)
{
	struct thread *t = mine();

	if (!t) {
		REAL(__pthread_unwind_next)(buf);
		__builtin_unreachable();
	}
	t->cleanups = *previous(buf);
	walk(t);
}

HOOKED void _pthread_cleanup_push(struct _pthread_cleanup_buffer *b,
				  void (*routine)(void *), void *arg)
{
	struct thread *t = mine();

	if (!t) {
		REAL(_pthread_cleanup_push)(b, routine, arg);
		return;
	}
	b->__routine = routine;
	b->__arg = arg;
	b->__prev = t->old_cleanups;
	t->old_cleanups = b;
}

HOOKED void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *b, int execute)
{
	struct thread *t = mine();

	if (!t) {
		REAL(_pthread_cleanup_pop)(b, execute);
		return;
	}
	t->old_cleanups = b->__prev;
	if (execute)
		b->__routine(b->__arg);
}

HOOKED void _pthread_cleanup_push_defer(struct _pthread_cleanup_buffer *b,
					void (*routine)(void *), void *arg)
{
	struct thread *t = mine();

	if (!t) {
		REAL(_pthread_cleanup_push_defer)(b, routine, arg);
		return;
	}
	_pthread_cleanup_push(b, routine, arg);
	b->__canceltype = switch_bit(t->coro, CANCEL_ASYNC, false);
}

HOOKED void _pthread_cleanup_pop_restore(struct _pthread_cleanup_buffer *b,
					 int execute)
{
	struct thread *t = mine();

	if (!t) {
		REAL(_pthread_cleanup_pop_restore)(b, execute);
		return;
	}
	t->old_cleanups = b->__prev;
	if (b->__canceltype)
		switch_bit(t->coro, CANCEL_ASYNC, true);
	if (execute)
		b->__routine(b->__arg);
}
