/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_sem.c - cogo_sem: sync/sem.c, and cancellation.
 *
 * Who is woken has not got a token, but goes and takes one. So one that gives up
 * never has anything to hand on: it gives up only from the queue, where no wake
 * has found it. */
#include "sync/sem.h"
#include "cogo/sync.h"
#include "fault/cancel.h"
#include "sync/sure.h"

static inline struct sem *word_of(struct cogo_sem *s)
{
	return (struct sem *)&s->word;
}

int cogo_sem_acquire_until(struct cogo_sem *s, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	while (r == 0 && !sem_try_take(word_of(s))) {
		r = sem_take(word_of(s), deadline);
		if (r == 0)
			break;
		r = cancel_interrupted(me, r);
	}
	return cancel_out(me, r);
}

int cogo_sem_acquire(struct cogo_sem *s)
{
	return cogo_sem_acquire_until(s, COGO_FOREVER);
}

int cogo_sem_tryacquire(struct cogo_sem *s)
{
	return sem_try_take(word_of(s)) ? 0 : -EBUSY;
}

int cogo_sem_release(struct cogo_sem *s, uint32_t n)
{
	struct coro *me = sure_in();
	int r = sem_give_many(word_of(s), n);

	if (r > 0)
		sem_wake_many(word_of(s), n);
	door_leave(me);
	return r < 0 ? r : 0;
}
