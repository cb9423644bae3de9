/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/once.h - one does it, the others wait until it is done.
 *
 * The word is laid out as glibc's pthread_once_t: bit 0 while somebody is at
 * it, bit 1 when done; above, while somebody is at it, in which process: after
 * a fork that somebody exists only in the parent. Inside the runtime, but for
 * once_done. */
#ifndef COGO_SYNC_ONCE_H
#define COGO_SYNC_ONCE_H

#include "coro/coro.h"

struct once {
	_Atomic uint32_t word;
};

static inline bool once_done(struct once *o)
{
	/* acquire: pairs with the release in once_end. */
	return atomic_load_explicit(&o->word, memory_order_acquire) & 2;
}

/* 1: the caller has to do it, and to call once_end. 0: it is done. -EINTR or
 * -ECANCELED: see to it and call again. */
int once_begin(struct once *o);

/* done: all go on, for good. Else somebody else shall try. */
void once_end(struct once *o, bool done);

#endif
