/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/stream.h - what the hooks of streams share. */
#ifndef COGO_HOOK_STREAM_H
#define COGO_HOOK_STREAM_H

#include "base/errno.h"
#include "hook/call.h"
#include "hook/real.h"
#include <stdio.h>

/* The stream's lock, which is recursive: a wait for it costs no kernel thread. */
void stdio_lock(FILE *f);

/* Its descriptor; -1: it has none. errno stays. */
static inline int stdio_number(FILE *f)
{
	int before = errno_get(), fd = fileno_unlocked(f);

	errno_set(before);
	return fd;
}

/* The end of a section, for __attribute__((cleanup)): a thread that is cancelled
 * inside lets go, too. */
static inline void stdio_let_go(FILE **f)
{
	if (*f)
		REAL(funlockfile)(*f);
}

static inline void stdio_away(struct coro *me, const FILE *f, enum why why)
{
	me->fd = f->_fileno;
	call_begin(me, why);
}

/* call, by the stream's owner, while another worker takes over. */
#define STREAM_AWAY(f, why, call) __extension__ ({		\
	struct coro *me_ = gate_coro();				\
	FILE *held_ __attribute__((cleanup(stdio_let_go))) =	\
		me_ ? (f) : NULL;				\
	__typeof__(call) r_;					\
								\
	if (held_) {						\
		stdio_lock(held_);				\
		stdio_away(me_, f, why);			\
	}							\
	r_ = (call);						\
	if (held_)						\
		call_end(me_);					\
	r_;							\
})

#endif
