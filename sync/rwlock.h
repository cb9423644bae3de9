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

struct rwlock {
	_Atomic uint32_t word;
};

#define RWLOCK_WRITER	0x80000000u	/* a writer is in … */
#define RWLOCK_HANDED	0x40000000u	/* … or was given it and is on its way */
#define RWLOCK_WRITERS	0x20000000u	/* writers may be in the queue */
#define RWLOCK_READERS	0x10000000u	/* readers may be in the queue */
#define RWLOCK_COUNT	0x0fffffffu	/* readers that are in */

/* 0, -EBUSY, or -EAGAIN when there can be no more readers. Any thread. */
int rwlock_try_read(struct rwlock *l, bool writers_first);
int rwlock_try_write(struct rwlock *l);

/* 0, -ETIMEDOUT, -EINTR or -ECANCELED, and -EAGAIN for readers. */
int rwlock_read(struct rwlock *l, bool writers_first, cogo_time deadline,
		uint32_t *since);
int rwlock_write(struct rwlock *l, bool writers_first, cogo_time deadline,
		 uint32_t *since);

/* Whether it could be let go without looking for waiters. Any thread. */
bool rwlock_try_unlock(struct rwlock *l);
/* Lets go of it, as the writer or one of the readers, whichever are in. */
void rwlock_unlock(struct rwlock *l, bool writers_first);

#endif
