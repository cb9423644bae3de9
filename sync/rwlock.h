/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/rwlock.h - many readers or one writer, in one word.
 *
 * Zeroed memory is a free lock; there is nothing to destroy. `writers_first`
 * is the lock's kind and always the same for one lock: readers then wait behind
 * waiting writers, else they join the readers that are in.
 *
 * The waiting functions and rwlock_unlock are called inside the runtime;
 * arguments and results as in sync/mutex.h. */
#ifndef COGO_SYNC_RWLOCK_H
#define COGO_SYNC_RWLOCK_H

#include "coro/coro.h"
#include <errno.h>

struct rwlock {
	_Atomic uint32_t word;
};

#define RWLOCK_WRITER	0x80000000u	/* a writer is in … */
#define RWLOCK_HANDED	0x40000000u	/* … or was given it and is on its way */
#define RWLOCK_WRITERS	0x20000000u	/* writers may be in the queue */
#define RWLOCK_READERS	0x10000000u	/* readers may be in the queue */
#define RWLOCK_COUNT	0x0fffffffu	/* readers that are in */

#define RWLOCK_TAKEN	(RWLOCK_WRITER | RWLOCK_COUNT)
#define RWLOCK_WAITING	(RWLOCK_WRITERS | RWLOCK_READERS)

static inline uint32_t rwlock_look(struct rwlock *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed);
}

/* acq_rel: pairs with itself, in whoever had the lock before and after. */
static inline bool rwlock_swap(struct rwlock *l, uint32_t *was, uint32_t to)
{
	return atomic_compare_exchange_weak_explicit(&l->word, was, to,
						     memory_order_acq_rel,
						     memory_order_relaxed);
}

/* Must one more reader stay out? Behind a waiting writer only as long as other
 * readers are in: their last will wake somebody. */
static inline bool rwlock_keeps_out(uint32_t w, bool writers_first)
{
	return w & RWLOCK_WRITER ||
	       (writers_first && w & RWLOCK_WRITERS && w & RWLOCK_COUNT);
}

/* 0, -EBUSY, or -EAGAIN when there can be no more readers. Any thread. */
static inline int rwlock_try_read(struct rwlock *l, bool writers_first)
{
	uint32_t w = rwlock_look(l);

	while (!rwlock_keeps_out(w, writers_first)) {
		if ((w & RWLOCK_COUNT) == RWLOCK_COUNT)
			return -EAGAIN;
		if (rwlock_swap(l, &w, w + 1))
			return 0;
	}
	return -EBUSY;
}

static inline int rwlock_try_write(struct rwlock *l)
{
	uint32_t w = rwlock_look(l);

	while (!(w & RWLOCK_TAKEN))
		if (rwlock_swap(l, &w, w | RWLOCK_WRITER))
			return 0;
	return -EBUSY;
}

/* Whether it could be let go without looking for waiters. Any thread. */
static inline bool rwlock_try_unlock(struct rwlock *l)
{
	uint32_t w = rwlock_look(l);

	while (w & RWLOCK_TAKEN) {
		bool last = w & RWLOCK_WRITER || (w & RWLOCK_COUNT) == 1;

		if (last && w & RWLOCK_WAITING)
			return false;
		if (rwlock_swap(l, &w, w & RWLOCK_WRITER ? 0 : w - 1))
			return true;
	}
	return true;
}

/* 0, -ETIMEDOUT, -EINTR or -ECANCELED, and -EAGAIN for readers. */
int rwlock_read(struct rwlock *l, bool writers_first, cogo_time deadline,
		uint32_t *since);
int rwlock_write(struct rwlock *l, bool writers_first, cogo_time deadline,
		 uint32_t *since);

/* Lets go of it, as the writer or one of the readers, whichever are in. */
void rwlock_unlock(struct rwlock *l, bool writers_first);

#endif
