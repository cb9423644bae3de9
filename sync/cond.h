/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cond.h - waiting, with a mutex let go, until somebody signals.
 *
 * One bit of a word says that somebody may wait; the other bits are the
 * embedder's. Who waits is in the lot. A waiter touches *c before it parks and
 * never after, so the memory may go as soon as everybody who waits has been
 * signalled or has given up; there is nothing to destroy.
 *
 * All functions are called inside the runtime, but for cond_quiet. */
#ifndef COGO_SYNC_COND_H
#define COGO_SYNC_COND_H

#include "sync/mutex.h"

#define COND_WAITED 0x80000000u

struct cond {
	_Atomic uint32_t word;
};

/* Nobody waits: a signal has nothing to do. Any thread, anywhere. The caller's
 * own order counts: who changed what is waited for under the mutex sees every
 * waiter that saw it unchanged. */
static inline bool cond_quiet(struct cond *c)
{
	return !(atomic_load_explicit(&c->word, memory_order_relaxed) &
		 COND_WAITED);
}

/* Lets go of m, which the caller holds (NULL: of nothing), and parks until signalled: 0. Or
 * -ETIMEDOUT; or -EINTR, -ECANCELED: then cond_wait_again, unless the wait is
 * to end. The mutex is not taken back: mutex_lock_woken does that after 0,
 * mutex_lock after everything else. *epoch is for cond_wait_again. */
int cond_wait(struct cond *c, struct mutex *m, cogo_time deadline,
	      uint32_t *epoch);

/* Goes on waiting as if the wait had not been left. 0 too when a signal may
 * have been missed meanwhile. Only the address of *c is used. */
int cond_wait_again(const struct cond *c, cogo_time deadline, uint32_t *epoch);

/* Wakes one who waits, or all. Never parks. Those who would only meet at the
 * mutex are moved to its queue instead, as long as it is held. */
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

#endif
