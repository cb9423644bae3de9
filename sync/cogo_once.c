/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_once.c - cogo_once, and cogo_lazy: sync/once.c, and what is done.
 *
 * Should it be left by an unwind or an exception, it is as if it had not been
 * begun. The frame that sees to that is cleaned up like any other of the
 * program's. */
#include "sync/once.h"
#include "base/fatal.h"
#include "cogo/sync.h"
#include "sync/sure.h"

struct attempt {
	struct cogo_once *once;
	bool done;
};

static inline struct once *word_of(struct cogo_once *o)
{
	return (struct once *)&o->word;
}

/* Written by the one who is at it, and by nobody else: who finds itself there
 * put itself there. So relaxed. */
static inline _Atomic uint32_t *owner_of(struct cogo_once *o)
{
	return (_Atomic uint32_t *)&o->owner;
}

static bool begin(struct cogo_once *o)
{
	struct coro *me = sure_in();
	int r;

	if (atomic_load_explicit(owner_of(o), memory_order_relaxed) == sure_id(me))
		cogo_throw("once %p: what is done there waits for itself", (void *)o);
	while ((r = once_begin(word_of(o))) < 0)
		sure_interrupted(me);
	if (r)
		atomic_store_explicit(owner_of(o), sure_id(me),
				      memory_order_relaxed);
	door_leave(me);
	return r;
}

static NOTHROW void end(struct attempt *a)
{
	struct coro *me = sure_in();

	atomic_store_explicit(owner_of(a->once), 0, memory_order_relaxed);
	once_end(word_of(a->once), a->done);
	door_leave(me);
}

static NOINLINE SANITIZE_ENDS
void do_it(struct cogo_once *o, void (*fn)(void *), void *arg)
{
	struct attempt a __attribute__((cleanup(end))) = { o, false };

	fn(arg);
	a.done = true;
}

void cogo_once_do(struct cogo_once *o, void (*fn)(void *), void *arg)
{
	if (!once_done(word_of(o)) && begin(o))
		do_it(o, fn, arg);
}

static NOINLINE SANITIZE_ENDS
void make(struct cogo_lazy *l, void *(*fn)(void *), void *arg)
{
	struct attempt a __attribute__((cleanup(end))) = { &l->once, false };

	/* Seen by whoever sees it done. */
	l->value = fn(arg);
	a.done = l->value != NULL;
}

void *cogo_lazy_get(struct cogo_lazy *l, void *(*fn)(void *), void *arg)
{
	if (!once_done(word_of(&l->once)) && begin(&l->once)) {
		make(l, fn, arg);
		/* NULL, perhaps, and another at it by now. */
		if (!once_done(word_of(&l->once)))
			return NULL;
	}
	return l->value;
}
