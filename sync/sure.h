/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/sure.h - what surrounds a call that does not fail and is no cancellation
 * point: a mutex is locked, or unlocked, in a cleanup too.
 *
 *	struct coro *me = sure_in();
 *
 *	while ((r = mutex_lock(...)))
 *		sure_interrupted(me);
 *	door_leave(me);
 *
 * And who somebody is, in an object's word. */
#ifndef COGO_SYNC_SURE_H
#define COGO_SYNC_SURE_H

#include "fault/cancel.h"

/* A kernel thread that comes for the first time. */
COLD struct coro *sure_adopt(void);

static inline struct coro *sure_in(void)
{
	struct coro *me = self();

	if (unlikely(!me))
		me = sure_adopt();
	door_enter(me);
	return me;
}

/* After a wait that ended with -EINTR or -ECANCELED and is gone on with: the
 * handlers run, and a cancellation is left for the next call that it may end. */
static inline void sure_interrupted(struct coro *me)
{
	(void)cancel_interrupted(me, -EINTR);
}

/* Never 0. Another one has the same after four billion others were made: what
 * must not take the two for one looks further. */
static inline uint32_t sure_id(const struct coro *me)
{
	return 1 + (uint32_t)(me->id % UINT32_MAX);
}

#endif
