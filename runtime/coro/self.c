/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/self.c - the one thread-local word. */
#include "coro/self.h"
#include "arch/tp.h"

__thread struct coro *self_word __attribute__((used));

OPAQUE void self_set_in(uintptr_t tp, struct coro *c)
{
	/* As far from the thread pointer in every block. */
	uintptr_t at = (uintptr_t)&self_word - arch_tp_get();

	write_once(*(struct coro **)(tp + at), c);
}

/* From the switch to who called libc. */
#define FRAMES 1024

SANITIZE_GLANCES void self_foresee(const struct coro *c)
{
	const char *sp = c->sp;

	for (size_t i = 0; i < FRAMES; i += 64)
		__builtin_prefetch(sp + i, 1);
	if (!c->tp)
		return;
	__builtin_prefetch((const void *)c->tp);
	__builtin_prefetch((const void *)(c->tp + (uintptr_t)&self_word -
					  arch_tp_get()));
}

static void (*tell)(struct coro *);

void self_use(void (*adopted)(struct coro *c))
{
	tell = adopted;
}

struct coro *self_adopt(void)
{
	struct coro *c = coro_adopt(CORO_KIND_THREAD);

	if (c && tell)
		tell(c);
	return c;
}
