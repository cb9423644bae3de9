/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/unwind.h - leaving a stack from any depth, and what must be run on the
 * way.
 *
 * The unwinder of libgcc walks up the stack and runs what each frame left to be
 * cleaned up: C++ destructors, __attribute__((cleanup)), in code compiled with
 * exceptions. Plain C has none of that, so its cleanups register themselves
 * here, in lists whose nodes lie in the frames that they belong to: cogo_defer,
 * and pthread_cleanup_push in both of its forms. The walk runs each when it has
 * passed its frame, and ends in a base: a jump buffer at the bottom of a
 * coroutine, or in the middle, where somebody wants to catch what falls. */
#ifndef COGO_FAULT_UNWIND_H
#define COGO_FAULT_UNWIND_H

#include "cogo/go.h"
#include "coro/coro.h"
#include <pthread.h>
#include <setjmp.h>
#include <unwind.h>

enum unwind_why {
	UNWIND_NOT, UNWIND_EXIT, UNWIND_CANCELED, UNWIND_PANIC,
};

/* Where a walk ends. Lies in a frame of its own, under all that it catches, and
 * is the innermost of its coroutine's from unwind_begin to unwind_end. */
struct unwind {
	jmp_buf end;
	struct unwind *outer;
	enum unwind_why why;	/* UNWIND_NOT but on the walk and after it */
	bool lent;	/* in the middle of a kernel thread, whose own cleanups
			 * are libc's, and ours with them */
	bool passes;	/* who catches here goes on with it outside */
	bool exiting;	/* it was begun on the way out of another */
	uint32_t walks;	/* that have begun */
	char *message;	/* of the panic; malloc, or NULL */
	struct backtrace *trace;
	struct cogo_deferred *deferred;
	__pthread_unwind_buf_t *cleanups;
	struct _pthread_cleanup_buffer *old_cleanups;
	struct _Unwind_Exception exception;
};

/*	struct unwind u;
 *
 *	unwind_begin(me, &u);
 *	if (_setjmp(u.end) == 0)
 *		... whatever may be unwound ...
 *	unwind_end(me, &u);
 *
 * u.why tells afterwards how it ended. Catching a walk that is not one's own
 * business, one goes on with it: unwind(me, u.why). */
static inline bool unwind_lends(const struct coro *me)
{
	return me->unwind ? me->unwind->lent : me->kind != CORO_KIND_CORO;
}

static inline void unwind_begin(struct coro *me, struct unwind *u)
{
	u->outer = me->unwind;
	u->why = UNWIND_NOT;
	u->lent = unwind_lends(me);
	u->passes = false;
	u->exiting = atomic_load_explicit(&me->cancel, memory_order_relaxed) &
		     CANCEL_EXITING;
	u->walks = 0;
	u->message = NULL;
	u->trace = NULL;
	u->deferred = NULL;
	u->cleanups = NULL;
	u->old_cleanups = NULL;
	me->unwind = u;
}

void contain_end(struct coro *me, const struct unwind *u);

static inline void unwind_end(struct coro *me, struct unwind *u)
{
	if (unlikely(me->rescue))
		contain_end(me, u);
	/* Its cleanups have been done, and were not to hear of a cancellation. */
	if (unlikely(u->why != UNWIND_NOT && !u->exiting))
		atomic_fetch_and_explicit(&me->cancel, ~(uint32_t)CANCEL_EXITING,
					  memory_order_relaxed);
	me->unwind = u->outer;
}

/* Whether a panic is on its way, on whichever walk: a cleanup may catch another one
 * inside. None is while calm is the innermost base; a base becomes that when all
 * outside have been asked, and no longer is when a walk begins, or when others come
 * between: those of a generator. */
static inline bool unwind_calm(const struct coro *me)
{
	return likely(me->unwind == me->calm);
}

static inline bool unwind_panics(struct coro *me)
{
	const struct unwind *u = me->unwind;

	if (unwind_calm(me))
		return false;
	while (u && u->why != UNWIND_PANIC)
		u = u->outer;
	if (!u)
		me->calm = me->unwind;
	return u != NULL;
}

/* Where a walk ends that nobody catches for good on its way; of me that has a
 * base. One that passes even so is a generator's, on a kernel thread that has
 * none. */
static inline const struct unwind *unwind_last(const struct coro *me)
{
	const struct unwind *u = me->unwind;

	while (u->passes && u->outer)
		u = u->outer;
	return u;
}

/* Whether the end of whoever calls has a base to go to: a coroutine's own or, on a
 * kernel thread, whose end is libc's business, that of a generator it is in. */
static inline bool unwind_has_end(const struct coro *me)
{
	const struct unwind *u = me->unwind;

	while (u && u->lent && !u->passes)
		u = u->outer;
	return u != NULL;
}

/* Leaves everything up to the innermost base. Opens every door. me: the caller,
 * which has one. */
_Noreturn void unwind(struct coro *me, enum unwind_why why);

/* The walk goes on after a cleanup that was jumped to. */
_Noreturn void unwind_on(struct coro *me);

/* Without looking at frames any more: runs what is registered, and goes to the
 * innermost base. For a walk that has failed. Opens every door. */
_Noreturn void unwind_rest(struct coro *me, enum unwind_why why);

/* Enters what is to be done when its block is left, with the innermost base or,
 * on a thread that has none of its own, with libc, whose list it is fit for; and
 * takes it off again, wherever it is by now. me may be NULL. */
void unwind_push(struct coro *me, struct cogo_deferred *d);
void unwind_pop(struct coro *me, struct cogo_deferred *d);

/* Whether an address is on the stack that me runs on as a rule, its own or that of
 * its innermost generator; of kernel threads we do not know. */
bool unwind_on_stack(const struct coro *me, uintptr_t sp);

/* The last buffer that libc has on its own list, of a kernel thread's. */
__pthread_unwind_buf_t *unwind_libcs_last(void);
/* What pthread_cleanup_push keeps in a buffer beyond the jump buffer; the first of
 * four pointers that are the library's. */
static inline __pthread_unwind_buf_t **unwind_previous(__pthread_unwind_buf_t *buf)
{
	return (__pthread_unwind_buf_t **)&buf->__pad[0];
}

/* Opens libgcc's unwinder. On an ordinary stack; ends the program with libc's
 * own words where there is none. Idempotent. */
void unwind_open(void);
/* The same, as long as it is not needed yet: where there is none, nothing. */
void unwind_prepare(void);

/* What the floors above lend: libc's own functions behind names we hook. push and
 * pop are those of libc's list of old-style cleanups, on which its own functions
 * put theirs past us; enter and leave those of its list of buffers; jump is
 * siglongjmp; open is dlopen. */
struct unwind_libc {
	void (*push)(struct _pthread_cleanup_buffer *, void (*)(void *), void *);
	void (*pop)(struct _pthread_cleanup_buffer *, int);
	void (*enter)(__pthread_unwind_buf_t *);
	void (*leave)(__pthread_unwind_buf_t *);
	void (*jump)(struct __jmp_buf_tag *, int);
	void *(*open)(const char *, int);
	void (*abort)(void);
};
void unwind_use(const struct unwind_libc *lent);

#endif
