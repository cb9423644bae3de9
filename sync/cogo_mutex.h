/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_mutex.h - what a condition needs of its mutex. Inside the runtime. */
#ifndef COGO_SYNC_COGO_MUTEX_H
#define COGO_SYNC_COGO_MUTEX_H

#include "cogo/sync.h"
#include "sync/mutex.h"

static inline struct mutex *cogo_mutex_word(struct cogo_mutex *m)
{
	return (struct mutex *)&m->word;
}

/* Before a wait: the caller is its owner no more, though the word is still to be
 * let go of. 0; -EPERM, or -EOWNERDEAD where it is poisoned: nothing is done. */
int cogo_mutex_before_wait(struct coro *me, struct cogo_mutex *m);

/* Takes it back, as if by cogo_mutex_lock: 0, -EOWNERDEAD or -ENOTRECOVERABLE.
 * signalled: the caller was claimed out of the condition's queue. */
int cogo_mutex_after_wait(struct coro *me, struct cogo_mutex *m, bool signalled);

#endif
