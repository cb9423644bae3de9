/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/unwind.c - leaving a stack from any depth.
 *
 * It is a forced unwind, as libc's own threads end: the unwinder asks us at each
 * frame before it runs what the frame itself left to be cleaned up, and each of
 * the lists is run as far as its nodes lie below that frame, that is, in frames
 * that are behind us.
 *
 * pthread_cleanup_push in plain C registers a jump buffer: we jump there, it
 * runs its handler and asks for the walk to go on, which begins anew from where
 * it is. Nothing of ours is kept on the stack in between. */
#include "fault/unwind.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include <dlfcn.h>
#include <string.h>

static const struct unwind_libc *libc;

static struct {
	_Unwind_Reason_Code (*force)(struct _Unwind_Exception *,
				     _Unwind_Stop_Fn, void *);
	_Unwind_Word (*cfa)(struct _Unwind_Context *);
	_Atomic bool found;
} unwinder;

void unwind_use(const struct unwind_libc *lent)
{
	libc = lent;
}

/* The one that the program's own frames were made for. */
void unwind_open(void)
{
	void *lib;

	/* acquire: pairs with the release below. */
	if (likely(atomic_load_explicit(&unwinder.found, memory_order_acquire)))
		return;
	lib = libc->open("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
	if (lib) {
		*(void **)&unwinder.cfa = dlsym(lib, "_Unwind_GetCFA");
		*(void **)&unwinder.force = dlsym(lib, "_Unwind_ForcedUnwind");
	}
	if (!unwinder.force || !unwinder.cfa) {
		/* The words libc uses. */
		static const char text[] =
			"libgcc_s.so.1 must be installed for pthread_exit to work\n";

		sys_write_all(2, text, sizeof(text) - 1);
		libc->abort();
	}
	/* release: who finds it found finds both. */
	atomic_store_explicit(&unwinder.found, true, memory_order_release);
}

/* To a buffer that holds registers and "no mask was saved", and nothing else. */
static _Noreturn NOINLINE SANITIZE_ENDS void jump(void *buf)
{
	sanitize_jump(buf);
	__asm__("" : "+r"(buf));	/* its size is not a jmp_buf's */
	libc->jump(buf, 1);
	__builtin_unreachable();
}

/* What libc's own functions have pushed, which do so past us: sem_wait, say, to
 * be counted among the waiters no more. Its list is in the descriptor, and a
 * buffer of ours at its head tells where it begins and sets where it shall. */
static void run_libcs(uintptr_t below)
{
	struct _pthread_cleanup_buffer head, *b;

	libc->push(&head, NULL, NULL);
	while ((b = head.__prev) && (uintptr_t)b < below) {
		head.__prev = b->__prev;
		b->__routine(b->__arg);
	}
	libc->pop(&head, 0);
}

/* Those that are functions, of frames below. The two lists are one order in
 * time, and so in address. */
static void run(struct unwind *u, uintptr_t below)
{
	run_libcs(below);
	for (;;) {
		struct _pthread_cleanup_buffer *old = u->old_cleanups;
		struct cogo_deferred *d = u->deferred;

		if (d && (uintptr_t)d < below && (!old || (void *)d < (void *)old)) {
			u->deferred = d->prev;
			d->fn(d->arg);
		} else if (old && (uintptr_t)old < below) {
			u->old_cleanups = old->__prev;
			old->__routine(old->__arg);
		} else {
			return;
		}
	}
}

bool unwind_on_stack(const struct coro *me, uintptr_t sp)
{
	const struct stack *s = coro_stack(me);

	if (s == &me->stack && me->stack_low)
		return sp - (uintptr_t)me->stack_low <= s->asked;
	return !s->low || sp - (uintptr_t)s->low <= (uintptr_t)(s->top - s->low);
}

static SANITIZE_ENDS
_Unwind_Reason_Code stop(int version UNUSED, _Unwind_Action actions,
				_Unwind_Exception_Class class UNUSED,
				struct _Unwind_Exception *exception UNUSED,
				struct _Unwind_Context *context, void *arg)
{
	struct unwind *u = arg;
	bool end = actions & _UA_END_OF_STACK;
	uintptr_t sp = end ? UINTPTR_MAX : unwinder.cfa(context);
	__pthread_unwind_buf_t *buf = u->cleanups;

	/* A signal's frames, on an alternate stack: addresses there say nothing
	 * of where we are. */
	if (!end && !unwind_on_stack(self(), sp))
		return _URC_NO_REASON;
	/* The frame that the base lies in is not unwound. */
	if (sp > (uintptr_t)u)
		end = true;
	run(u, end ? (uintptr_t)u : sp);
	/* The frame that holds the buffer is below the one the walk is at. */
	if (buf && (uintptr_t)buf < sp)
		jump(buf->__cancel_jmp_buf);
	if (end)
		jump(u->end);
	return _URC_NO_REASON;
}

/* A catch (...) that does not throw on has swallowed the end of its thread. */
static void not_rethrown(_Unwind_Reason_Code reason UNUSED,
			 struct _Unwind_Exception *exception UNUSED)
{
	static const char text[] = "FATAL: exception not rethrown\n";

	sys_write_all(2, text, sizeof(text) - 1);
	libc->abort();
}

SANITIZE_ENDS void unwind_on(struct coro *me)
{
	struct unwind *u = me->unwind;

	memset(&u->exception, 0, sizeof(u->exception));
	u->exception.exception_cleanup = not_rethrown;
	unwinder.force(&u->exception, stop, u);
	/* The walk found frames without notes; the end is the end. */
	run(u, (uintptr_t)u);
	if (u->cleanups)
		jump(u->cleanups->__cancel_jmp_buf);
	jump(u->end);
}

SANITIZE_ENDS void unwind_rest(struct coro *me)
{
	run(me->unwind, (uintptr_t)me->unwind);
	jump(me->unwind->end);
}

SANITIZE_ENDS void unwind(struct coro *me, enum unwind_why why)
{
	if (!me->unwind)
		cogo_throw("coroutine %llu is unwound and has no base",
			   (unsigned long long)me->id);
	if (!me->unwind->lent && !unwind_last(me)->outer)
		atomic_fetch_or_explicit(&me->cancel, CANCEL_EXITING,
					 memory_order_relaxed);
	me->in_runtime = 0;
	me->unwind->why = why;
	unwind_open();
	unwind_on(me);
}
