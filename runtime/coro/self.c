/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/self.c - the one thread-local word.
 *
 * A signal handler reads it whenever it comes, in the middle of a switch too:
 * hence atomic, which costs nothing. */
#include "coro/self.h"
#include "arch/tp.h"
#include <stdatomic.h>

static __thread _Atomic(struct coro *) current
	__attribute__((tls_model("initial-exec")));

OPAQUE struct coro *self(void)
{
	return atomic_load_explicit(&current, memory_order_relaxed);
}

OPAQUE void self_set(struct coro *c)
{
	atomic_store_explicit(&current, c, memory_order_relaxed);
}

OPAQUE void self_leave(struct coro *me)
{
	tls_take(&me->carried);
}

OPAQUE void self_arrive(struct coro *me)
{
	self_set(me);
	/* A worker's own stack keeps nothing from before. */
	if (me->kind != CORO_KIND_ROOT)
		tls_give(&me->carried);
}

OPAQUE void self_set_in(uintptr_t tp, struct coro *c)
{
	/* As far from the thread pointer in every block. */
	uintptr_t at = (uintptr_t)&current - arch_tp_get();

	atomic_store_explicit((_Atomic(struct coro *) *)(tp + at), c,
			      memory_order_relaxed);
}

/* From the switch to who called libc. */
#define FRAMES 1024

void self_foresee(const struct coro *c)
{
	const char *sp = c->sp;

	for (size_t i = 0; i < FRAMES; i += 64)
		__builtin_prefetch(sp + i, 1);
	if (!c->tp)
		return;
	__builtin_prefetch((const void *)c->tp);
	__builtin_prefetch((const void *)(c->tp + (uintptr_t)&current -
					  arch_tp_get()));
}

static void (*tell)(struct coro *);

void self_use(void (*adopted)(struct coro *c))
{
	tell = adopted;
}

struct coro *self_or_adopt(void)
{
	struct coro *c = self();

	if (likely(c != NULL))
		return c;
	c = coro_adopt(CORO_KIND_THREAD);
	if (c && tell)
		tell(c);
	return c;
}
