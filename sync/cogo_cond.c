/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_cond.c - cogo_cond: sync/cond.c, and a mutex with an owner.
 *
 * A wait ends once: who was claimed by a signal returns 0, cancelled meanwhile or
 * not, and who was cancelled had left the queue by then, so that the signal found
 * another. So no signal is lost with one that is cancelled. */
#include "cogo/sync.h"
#include "fault/cancel.h"
#include "sync/cogo_mutex.h"
#include "sync/cond.h"
#include "sync/sure.h"

static inline struct cond *word_of(struct cogo_cond *c)
{
	return (struct cond *)&c->word;
}

static int wait_in(struct coro *me, struct cond *c, struct mutex *m,
		   cogo_time deadline)
{
	uint32_t epoch;
	int r = cond_wait(c, m, deadline, &epoch);

	while (r == -EINTR || r == -ECANCELED) {
		r = cancel_interrupted(me, r);
		if (r)
			break;
		r = cond_wait_again(c, deadline, &epoch);
	}
	return r;
}

int cogo_cond_wait(struct cogo_cond *c, struct cogo_mutex *m, cogo_time deadline)
{
	int r, back;
	struct coro *me = cancel_in(&r);

	if (r == 0)
		r = cogo_mutex_before_wait(me, m);
	if (r == 0) {
		r = wait_in(me, word_of(c), cogo_mutex_word(m), deadline);
		back = cogo_mutex_after_wait(me, m, r == 0);
		/* What the caller would not hear of otherwise. A cancellation,
		 * or the deadline, it meets again. */
		if (back)
			r = back;
	}
	return cancel_out(me, r);
}

void cogo_cond_signal(struct cogo_cond *c)
{
	struct coro *me;

	if (cond_quiet(word_of(c)))
		return;
	me = sure_in();
	cond_signal(word_of(c));
	door_leave(me);
}

void cogo_cond_broadcast(struct cogo_cond *c)
{
	struct coro *me;

	if (cond_quiet(word_of(c)))
		return;
	me = sure_in();
	cond_broadcast(word_of(c));
	door_leave(me);
}
