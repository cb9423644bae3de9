/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/mutex.h - mutual exclusion in one word.
 *
 * The word is the one of glibc's mutex (0 free, 1 held, 2 held and somebody
 * may wait), so that a pthread_mutex_t that libc locked is one that we can
 * unlock. A fourth value, 3, stands for the moment between an unlocker's
 * handing it over and the new owner's arrival.
 *
 * Zeroed memory is a free mutex; there is nothing to destroy, and its memory
 * may go as soon as the last owner's unlock has let the next one in.
 *
 * All but the two inline functions are called inside the runtime (fault/door.h)
 * by a coroutine or an adopted thread. */
#ifndef COGO_SYNC_MUTEX_H
#define COGO_SYNC_MUTEX_H

#include "coro/coro.h"

struct mutex {
	_Atomic uint32_t word;
};

enum { MUTEX_FREE, MUTEX_HELD, MUTEX_WAITED, MUTEX_HANDED };

/* Whether the caller has it now. Any thread, anywhere. */
static inline bool mutex_try(struct mutex *m)
{
	uint32_t is = MUTEX_FREE;

	/* acquire: pairs with the release of whoever let it go. */
	return atomic_compare_exchange_strong_explicit(
		&m->word, &is, MUTEX_HELD, memory_order_acquire,
		memory_order_relaxed);
}

/* Lets go of it if nobody waits; if not, mutex_unlock. Any thread, anywhere. */
static inline bool mutex_try_unlock(struct mutex *m)
{
	uint32_t is = MUTEX_HELD;

	return atomic_compare_exchange_strong_explicit(
		&m->word, &is, MUTEX_FREE, memory_order_release,
		memory_order_relaxed);
}

/* Parks until it is the caller's: 0, -ETIMEDOUT, or -EINTR or -ECANCELED when
 * something else wants to be seen to first; then it is called again. *since is
 * 0 at the first call, and the caller keeps it between the calls. */
int mutex_lock(struct mutex *m, cogo_time deadline, uint32_t *since);

/* As mutex_lock, for one who has just been claimed out of a queue that was
 * moved here (sync/cond.h): the mutex may have been handed to it already. */
int mutex_lock_woken(struct mutex *m, uint32_t *since);

/* Never parks. After the word is free nothing of *m is touched. */
void mutex_unlock(struct mutex *m);

/* To unlock while another key's bucket will be locked, in two steps; only the
 * second lets go. mutex_part_end is called under that other lock, and while it
 * returns false all begins anew. */
struct mutex_parting {
	struct coro_list woken;
	uint32_t to;
};
void mutex_part_begin(struct mutex *m, struct mutex_parting *p);
bool mutex_part_end(struct mutex *m, struct mutex_parting *p);

/* What a waiter's tag is when it was moved here from another queue. */
#define MUTEX_TAG_MOVED 2u

/* Makes sure that its owner's unlock looks for waiters. False: it is free, so
 * nobody would. Under the lock of its bucket. */
bool mutex_mark_waited(struct mutex *m);

#endif
