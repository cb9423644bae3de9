/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/self.h - who am I?
 *
 * One thread-local word. With private TLS it lies in the coroutine's own
 * block and never changes; with shared TLS the switch writes it. It is read
 * by instructions of ours: after a switch the address of the word may be another
 * one, and compilers keep addresses of thread-local variables across calls. */
#ifndef COGO_CORO_SELF_H
#define COGO_CORO_SELF_H

#include "arch/tp.h"
#include "coro/coro.h"

/* The coroutine or adopted thread that runs here; NULL on a kernel thread
 * that nobody has adopted. Any thread, a signal handler. */
#ifdef SELF_IS_A_CALL	/* where every order of steps is tried */
struct coro *self(void);
void self_set(struct coro *c);
void self_leave(struct coro *me);
void self_arrive(struct coro *me);
#else
/* Nobody else reads it by its name. */
extern __thread struct coro *self_word
	__attribute__((tls_model("initial-exec")));

static inline struct coro *self(void)
{
	return ARCH_TLS_LOAD(self_word);
}

/* In one piece: a signal handler reads it whenever it comes, in the middle of a
 * switch too. */
static inline void self_set(struct coro *c)
{
	ARCH_TLS_STORE(self_word, c);
}

/* Where storage is shared: me will run elsewhere, perhaps, and takes with it what
 * of libc's storage is a coroutine's own all the same; it runs here from now
 * on. In between another may. */
static inline void self_leave(struct coro *me)
{
	tls_take(&me->carried);
}

static inline void self_arrive(struct coro *me)
{
	self_set(me);
	/* A worker's own stack keeps nothing from before. */
	if (me->kind != CORO_KIND_ROOT)
		tls_give(&me->carried);
}
#endif

/* The same in a block that nobody runs on yet: a signal may come before the first
 * instruction there. */
void self_set_in(uintptr_t tp, struct coro *c);

/* To have in the cache what c touches first when it goes on, as well as this word.
 * c waits, or is about to. */
void self_foresee(const struct coro *c);

/* As self, adopting the kernel thread when need be; NULL only without
 * memory. Not in a signal handler. */
COLD struct coro *self_adopt(void);
static inline struct coro *self_or_adopt(void)
{
	struct coro *c = self();

	return likely(c != NULL) ? c : self_adopt();
}

/* What the floors above lend: whoever adopts a kernel thread asks libc to tell of
 * its end. */
void self_use(void (*adopted)(struct coro *c));

#endif
