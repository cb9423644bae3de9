/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/self.c - the one thread-local word. */
#include "coro/self.h"

static __thread struct coro *current __attribute__((tls_model("initial-exec")));

NOINLINE struct coro *self(void)
{
	return current;
}

NOINLINE void self_set(struct coro *c)
{
	current = c;
}

struct coro *self_or_adopt(void)
{
	struct coro *c = self();

	if (likely(c != NULL))
		return c;
	return coro_adopt(CORO_KIND_THREAD);
}
