/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/chan.h - a channel as those who wait for several things see it.
 *
 * The functions that look at a channel or change it are called under its lock,
 * by a caller that is inside the runtime. Whoever they claim is handed to the
 * caller, which readies it when it holds no lock. */
#ifndef CHAN_CHAN_H
#define CHAN_CHAN_H

#include "base/lock.h"
#include "base/sys.h"
#include "cogo/chan.h"
#include "wait/waitq.h"

enum chan_kind {
	CHAN_PLAIN,
	CHAN_TIMER,	/* has an item when its time has come */
	CHAN_END,	/* is closed when its time has come */
};

struct cogo_chan {
	struct lock lock;
	uint32_t process;		/* see chan_lock */
	enum chan_kind kind;
	bool closed;			/* under lock, as all that follows */
	uint64_t put, got;		/* items ever */
	size_t cap;
	size_t mask;			/* slots in ring, a power of two, - 1 */
	char *ring;
	size_t item;			/* bytes; constant */
	struct waitq receivers, senders;
	uint64_t past;			/* items that never were in the ring */
	cogo_time when;			/* COGO_FOREVER: nothing is to come */
	int64_t period;			/* of a ticker; else 0 */
	_Atomic uint32_t refs;
};

/* As cogo_chan_new, of a kind that time fills. */
struct cogo_chan *chan_new_timed(enum chan_kind kind, cogo_time when);

/* In the child of a fork, those who waited are not there. */
COLD void chan_inherit(struct cogo_chan *ch);

void chan_lock_slow(struct lock *l);

/* Whether it was used in this process: lock_held is another number in each child of a
 * fork. */
static inline bool chan_is_ours(const struct cogo_chan *ch)
{
	return likely(ch->process == lock_held);
}

static inline void chan_lock(struct cogo_chan *ch)
{
	lock_by(&ch->lock, chan_lock_slow);
	if (!chan_is_ours(ch))
		chan_inherit(ch);
}

/* One try. 0, -EPIPE, or -EAGAIN where it would have to wait. */
int chan_give(struct cogo_chan *ch, const void *item, struct coro **ret_woken);
int chan_take(struct cogo_chan *ch, void *ret_item, struct coro **ret_woken);

/* 0, or -EPIPE. */
int chan_close(struct cogo_chan *ch, struct coro_list *woken);

/* Room for more, in memory that is the caller's and is exchanged for what the
 * channel had before: at least twice as much. Takes the lock itself. */
void chan_grow(struct cogo_chan *ch, void **ring, size_t slots);

/* Whether that moment is over. COGO_FOREVER and 0 need no clock. */
static inline bool time_over(cogo_time moment)
{
	return moment != COGO_FOREVER && (moment <= 0 || moment <= sys_now());
}

static inline cogo_time sooner(cogo_time a, cogo_time b)
{
	return a < b ? a : b;
}

/* Whether a try may succeed, under the lock. Where all who wait at the other end have
 * been claimed for something else it does not, and then they are off the queue. */
static inline bool chan_may_give(const struct cogo_chan *ch)
{
	return ch->closed || ch->kind != CHAN_PLAIN ||
	       waitq_any(&ch->receivers) || ch->put - ch->got != ch->cap;
}

static inline bool chan_may_take(const struct cogo_chan *ch)
{
	return ch->closed || ch->put != ch->got || waitq_any(&ch->senders) ||
	       time_over(ch->when);
}

#endif
