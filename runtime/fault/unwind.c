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
#include "fault/contain.h"
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const struct unwind_libc *libc;

typedef _Unwind_Reason_Code (*force_fn)(struct _Unwind_Exception *,
					_Unwind_Stop_Fn, void *);
typedef _Unwind_Word (*cfa_fn)(struct _Unwind_Context *);

/* Whoever comes first writes them, and several may: each the same. */
static _Atomic(cfa_fn) get_cfa;
static _Atomic(force_fn) force_unwind;

static bool is_open(void)
{
	/* acquire: pairs with the release in unwind_prepare. */
	return likely(atomic_load_explicit(&force_unwind,
					   memory_order_acquire) != NULL);
}

void unwind_use(const struct unwind_libc *lent)
{
	libc = lent;
}

/* The one that the program's own frames were made for. */
void unwind_prepare(void)
{
	force_fn force;
	cfa_fn cfa;
	void *lib;

	if (is_open())
		return;
	lib = libc ? libc->open("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!lib)
		return;
	*(void **)&cfa = dlsym(lib, "_Unwind_GetCFA");
	*(void **)&force = dlsym(lib, "_Unwind_ForcedUnwind");
	if (!cfa || !force)
		return;
	atomic_store_explicit(&get_cfa, cfa, memory_order_relaxed);
	/* release: who finds this one finds both. */
	atomic_store_explicit(&force_unwind, force, memory_order_release);
}

void unwind_open(void)
{
	/* The words libc uses. */
	static const char text[] =
		"libgcc_s.so.1 must be installed for pthread_exit to work\n";

	unwind_prepare();
	if (is_open())
		return;
	sys_write_all(2, text, sizeof(text) - 1);
	libc->abort();
}

/* To a buffer that holds registers and "no mask was saved", and nothing else. */
static _Noreturn NOINLINE SANITIZE_ENDS void jump(void *buf)
{
	sanitize_jump(buf);
	__asm__("" : "+r"(buf));	/* its size is not a jmp_buf's */
	libc->jump(buf, 1);
	__builtin_unreachable();
}

bool unwind_on_stack(const struct coro *me, uintptr_t sp)
{
	const struct stack *s = coro_stack(me);

	if (s == &me->stack && me->stack_low)
		return sp - (uintptr_t)me->stack_low <= s->asked;
	return !s->low || sp - (uintptr_t)s->low <= (uintptr_t)(s->top - s->low);
}

/* Whether an address is on the stack that the walk ends on. The base is on the
 * coroutine's own as a rule, and on a rescue's where a cleanup that runs there
 * has made it. */
static bool on_stack_of(const struct unwind *u, const void *at)
{
	const struct coro *me = self();
	const void *base = contain_stack(me, u), *there = contain_stack(me, at);

	return base || there ? base == there : unwind_on_stack(me, (uintptr_t)at);
}

/* Whether the frame that something lies in is behind us, when the walk is at a
 * frame of the base's stack that begins at `below`: on another stack, which the
 * walk has left, or deeper on this one. */
static bool is_behind(const struct unwind *u, const void *at, uintptr_t below)
{
	return at && ((uintptr_t)at < below || !on_stack_of(u, at));
}

/* The same of something on libc's list. That is the kernel thread's, and where the
 * base is in a generator, which no walk leaves, what lies elsewhere is its asker's. */
static bool libcs_is_behind(const struct unwind *u, const void *at, uintptr_t below)
{
	const struct coro *me = self();

	return is_behind(u, at, below) &&
	       (!me->on || on_stack_of(u, at) || contain_stack(me, at));
}

/* ---- libc's own lists ----
 *
 * Both are in the thread's descriptor: a buffer of ours at the head tells where it
 * begins, and sets where it shall. */

/* What is deferred, as a node there. Not its first word: to libc a frame is left
 * already by what lies at its very end, and it would be done twice. */
static struct _pthread_cleanup_buffer *buffer_of(struct cogo_deferred *d)
{
	return (struct _pthread_cleanup_buffer *)&d->fn;
}

#define AFTER_FN(member) (offsetof(struct cogo_deferred, member) - \
			  offsetof(struct cogo_deferred, fn))
_Static_assert(offsetof(struct cogo_deferred, fn) > 0 &&
	       AFTER_FN(arg) == offsetof(struct _pthread_cleanup_buffer, __arg) &&
	       AFTER_FN(list_) ==
		       offsetof(struct _pthread_cleanup_buffer, __canceltype) &&
	       AFTER_FN(prev_) == offsetof(struct _pthread_cleanup_buffer, __prev),
	       "what is deferred is fit for libc's list");

__pthread_unwind_buf_t *unwind_libcs_last(void)
{
	__pthread_unwind_buf_t head;

	libc->enter(&head);
	libc->leave(&head);
	return *unwind_previous(&head);
}

/* What libc's own functions have pushed, which do so past us: sem_wait, say, to
 * be counted among the waiters no more. And, on kernel threads, everybody. */
static void run_libcs(const struct unwind *u, uintptr_t below)
{
	struct _pthread_cleanup_buffer head, *b;

	for (;;) {
		libc->push(&head, NULL, NULL);
		b = head.__prev;
		if (libcs_is_behind(u, b, below))
			head.__prev = b->__prev;
		else
			b = NULL;
		libc->pop(&head, 0);
		if (!b)
			return;
		b->__routine(b->__arg);
	}
}

static bool take_from_libcs(struct cogo_deferred *d)
{
	struct _pthread_cleanup_buffer head, **at;

	libc->push(&head, NULL, NULL);
	for (at = &head.__prev; *at && *at != buffer_of(d); at = &(*at)->__prev)
		;
	if (*at)
		*at = (*at)->__prev;
	libc->pop(&head, 0);
	return *at;
}

/* ---- what is deferred ---- */

enum { LIST_NONE, LIST_OURS, LIST_LIBCS };

void unwind_push(struct coro *me, struct cogo_deferred *d)
{
	struct unwind *u = me ? me->unwind : NULL;

	/* A generator's stays with it, whoever runs it next: with its base, or one
	 * that it has made since. */
	if (u && (!u->lent || me->on)) {
		d->list_ = LIST_OURS;
		d->over_ = u->cleanups;
		d->prev_ = u->deferred;
		u->deferred = d;
	} else if (libc) {
		libc->push(buffer_of(d), d->fn, d->arg);
		d->list_ = LIST_LIBCS;
	}
}

void unwind_pop(struct coro *me, struct cogo_deferred *d)
{
	if (d->list_ == LIST_LIBCS)
		take_from_libcs(d);
	if (d->list_ != LIST_OURS || !me)
		return;
	/* Above it are only those of blocks that were left by a jump, or that it
	 * is ended before. */
	for (struct unwind *u = me->unwind; u; u = u->outer) {
		if (u->deferred == d) {
			u->deferred = d->prev_;
			return;
		}
		for (struct cogo_deferred *e = u->deferred; e; e = e->prev_)
			if (e->prev_ == d) {
				e->prev_ = d->prev_;
				return;
			}
	}
}

/* ---- the walk ---- */

/* All that is registered in frames that are behind us, newest first. Where that is
 * a buffer of pthread_cleanup_push's, it goes there, and the walk begins anew. */
static void run(struct unwind *u, uintptr_t below)
{
	run_libcs(u, below);
	for (;;) {
		__pthread_unwind_buf_t *buf = u->lent ? unwind_libcs_last()
						      : u->cleanups;
		struct _pthread_cleanup_buffer *old = u->old_cleanups;
		struct cogo_deferred *d = u->deferred;

		if (!is_behind(u, d, below))
			d = NULL;
		if (!is_behind(u, old, below))
			old = NULL;
		if ((u->lent ? libcs_is_behind(u, buf, below) :
			       is_behind(u, buf, below)) && !(d && d->over_ == buf) &&
		    !(old && (void *)old < (void *)buf))
			jump(buf->__cancel_jmp_buf);
		if (d && (!old || (void *)d < (void *)old)) {
			u->deferred = d->prev_;
			d->fn(d->arg);
		} else if (old) {
			u->old_cleanups = old->__prev;
			old->__routine(old->__arg);
		} else {
			return;
		}
	}
}

static SANITIZE_ENDS
_Unwind_Reason_Code stop(int version UNUSED, _Unwind_Action actions,
				_Unwind_Exception_Class class UNUSED,
				struct _Unwind_Exception *exception UNUSED,
				struct _Unwind_Context *context, void *arg)
{
	struct unwind *u = arg;
	bool end = actions & _UA_END_OF_STACK;
	uintptr_t sp = end ? UINTPTR_MAX : atomic_load_explicit(
		&get_cfa, memory_order_relaxed)(context);

	/* A signal's frames, on an alternate stack, or the handler's of a fault:
	 * addresses there say nothing of where we are. */
	if (!end && !on_stack_of(u, (void *)sp))
		return _URC_NO_REASON;
	/* The frame that the base lies in is not unwound. */
	if (sp > (uintptr_t)u)
		end = true;
	run(u, end ? (uintptr_t)u : sp);
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
	atomic_load_explicit(&force_unwind, memory_order_relaxed)(
		&u->exception, stop, u);
	/* The walk found frames without notes; the end is the end. */
	run(u, (uintptr_t)u);
	jump(u->end);
}

/* What goes on during a panic stays one: no cleanup makes it a return. */
static struct unwind *begin_walk(struct coro *me, enum unwind_why why)
{
	struct unwind *u = me->unwind;

	if (!u)
		cogo_throw("coroutine %llu is unwound and has no base",
			   (unsigned long long)me->id);
	/* Cleanups wait in peace. */
	atomic_fetch_or_explicit(&me->cancel, CANCEL_EXITING,
				 memory_order_relaxed);
	me->in_runtime = 0;
	u->walks++;
	if (u->why != UNWIND_PANIC)
		u->why = why;
	me->calm = NULL;
	return u;
}

SANITIZE_ENDS void unwind_rest(struct coro *me, enum unwind_why why)
{
	struct unwind *u = begin_walk(me, why);

	run(u, (uintptr_t)u);
	jump(u->end);
}

SANITIZE_ENDS void unwind(struct coro *me, enum unwind_why why)
{
	begin_walk(me, why);
	unwind_open();
	unwind_on(me);
}
