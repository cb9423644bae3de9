/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/chan.c - channels: handing things from one coroutine to another.
 *
 * A lock, a ring, and two queues of those who wait. Everything is looked at and
 * decided under the lock, and no wait is begun but in the step that has found
 * nothing to be had; so between the look and the sleep nothing can happen.
 *
 * C1  put and got count all items that ever went into the ring and came out;
 *     cap >= put - got >= 0. An item is in its slot before put counts it, and is
 *     out of it before got does.
 * C2  a receiver joins the queue only when the ring is empty and no sender
 *     waits; a sender, only when the ring is full and no receiver waits. Whoever
 *     changes that serves the first in line with the same step. So as long as
 *     anyone may wait at one end, a try at that end fails: nobody overtakes.
 * C3  a waiter is served by whoever claims its wait, once: the claimer copies the
 *     item into the waiter's memory, or out of it, under the lock, after the
 *     claim and before ready() (Q3 in wait/waitq.h). A waiter whose wait ended
 *     otherwise was claimed by time or by a signal, so nobody has touched its
 *     item: it never takes a message along.
 * C4  a queue may hold waits that are over, claimed elsewhere, whose owners have
 *     not come to take them off yet. Who claims passes over them. So that somebody
 *     is in the queue means that a try may succeed, not that it will.
 * C5  after the claim and the unlock that follows, the claimer does not touch the
 *     channel; ready() comes last. So whoever was served may free the channel at
 *     once, as may a receiver that has taken the item out of the ring.
 *
 * Two tell the story of C3. A receiver's time is up while a sender looks at the
 * queue. Either the timer claims first: then the sender's claim fails, it takes the
 * node off and goes on to the next or to the ring, and the receiver, which takes
 * the lock to leave, finds that it has left. Or the sender claims first: then the
 * timer's claim fails, and the receiver, though late, returns with the item.
 *
 * A timer is a channel without a ring. Its item is the clock, looked at under the
 * lock by whoever wants one (D1 of timer.c); waiters at its end sleep until its
 * moment at most, and look again.
 *
 * In the child of a fork a lock that somebody held is free, by C1 the ring is whole
 * whatever its holder was at, and who waited is gone; the first to lock it sees
 * that the process is another one, and empties the queues. */
#include "chan/chan.h"
#include "base/fatal.h"
#include "fault/cancel.h"
#include "sched/crowd.h"
#include "sched/park.h"
#include "sched/ready.h"
#include <stdlib.h>
#include <string.h>

/* ---- make and end ---- */

/* Slots for so many; 0 if that is too many. */
static size_t slots_for(size_t capacity)
{
	size_t n = 1;

	/* 0 when it wraps. */
	while (n && n < capacity)
		n <<= 1;
	return n;
}

struct cogo_chan *cogo_chan_new(size_t item_size, size_t capacity)
{
	size_t slots = slots_for(capacity), bytes;
	struct cogo_chan *ch;

	if (!slots || __builtin_mul_overflow(slots, item_size, &bytes) ||
	    bytes > PTRDIFF_MAX)
		return NULL;
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return NULL;
	if (capacity && bytes) {
		ch->ring = malloc(bytes);
		if (!ch->ring) {
			free(ch);
			return NULL;
		}
	}
	ch->process = lock_held;
	ch->item = item_size;
	ch->cap = capacity;
	ch->mask = slots - 1;
	ch->when = COGO_FOREVER;
	atomic_store_explicit(&ch->refs, 1, memory_order_relaxed);
	return ch;
}

struct cogo_chan *chan_new_timed(enum chan_kind kind, cogo_time when)
{
	struct cogo_chan *ch =
		cogo_chan_new(kind == CHAN_TIMER ? sizeof(when) : 0, 0);

	if (ch) {
		ch->kind = kind;
		ch->when = when;
	}
	return ch;
}

struct cogo_chan *cogo_chan_ref(struct cogo_chan *ch)
{
	if (ch)
		atomic_fetch_add_explicit(&ch->refs, 1, memory_order_relaxed);
	return ch;
}

void cogo_chan_free(struct cogo_chan *ch)
{
	/* acq_rel: the last one sees what all others did. */
	if (!ch || atomic_fetch_sub_explicit(&ch->refs, 1,
					     memory_order_acq_rel) != 1)
		return;
	/* Those of another process are not there (chan_inherit). */
	if (ch->process == lock_held &&
	    (waitq_any(&ch->receivers) || waitq_any(&ch->senders)))
		cogo_throw("channel %p: its last reference is given back while somebody waits for it",
			   (void *)ch);
	free(ch->ring);
	free(ch);
}

void chan_inherit(struct cogo_chan *ch)
{
	ch->receivers.waiters.next = NULL;
	ch->senders.waiters.next = NULL;
	ch->process = lock_held;
}

void chan_grow(struct cogo_chan *ch, void **ring, size_t slots)
{
	char *old, *to = *ring;
	size_t had;

	chan_lock(ch);
	old = ch->ring;
	had = ch->mask + 1;
	if (slots > had) {
		/* Over and over: so each item is where it belongs by the old mask
		 * and by the new one, and at each step here all is as it has to be.
		 * A fork may come at any. */
		for (size_t i = 0; i < slots; i += had)
			memcpy(to + i * ch->item, old, had * ch->item);
		atomic_signal_fence(memory_order_release);
		write_once(ch->ring, to);
		atomic_signal_fence(memory_order_release);
		write_once(ch->mask, slots - 1);
		atomic_signal_fence(memory_order_release);
		write_once(ch->cap, slots);
		*ring = old;
	}
	unlock(&ch->lock);
}

void chan_lock_slow(struct lock *l)
{
	const struct cogo_chan *ch =
		(const void *)((char *)l - offsetof(struct cogo_chan, lock));
	uint64_t began = crowd_begin();

	lock_slow(l);
	crowd_waited(ch, began, ch->put + ch->past);
}

/* ---- one try, under the lock ---- */

/* The sizes that are most are worth their own instructions. */
static inline void copy(void *to, const void *from, size_t size)
{
	if (size == sizeof(uint64_t))
		memcpy(to, from, sizeof(uint64_t));
	else if (size == sizeof(uint32_t))
		memcpy(to, from, sizeof(uint32_t));
	else if (size)
		memcpy(to, from, size);
}

/* to may be NULL: thrown away. */
static inline void copy_out(void *to, const void *from, size_t size)
{
	if (likely(to != NULL))
		copy(to, from, size);
}

/* What is received where nothing will come any more. */
static void blank(void *to, size_t size)
{
	if (to && size)
		memset(to, 0, size);
}

static inline char *slot(struct cogo_chan *ch, uint64_t i)
{
	return ch->ring + (i & ch->mask) * ch->item;
}

static inline void put(struct cogo_chan *ch, const void *item)
{
	copy(slot(ch, ch->put), item, ch->item);
	/* C1: a fork may come in between. */
	atomic_signal_fence(memory_order_release);
	write_once(ch->put, ch->put + 1);
}

static NOINLINE struct coro *serve_receiver(struct cogo_chan *ch, const void *item)
{
	struct waiter_node *n = waitq_claim(&ch->receivers);

	if (!n)
		return NULL;
	copy_out(n->data, item, ch->item);
	n->result = 0;
	ch->past++;
	return n->coro;
}

static inline int give(struct cogo_chan *ch, const void *item,
		       struct coro **ret_woken)
{
	if (unlikely(ch->closed))
		return -EPIPE;
	if (unlikely(ch->kind != CHAN_PLAIN))
		cogo_throw("channel %p: a send to a timer", (void *)ch);
	if (waitq_any(&ch->receivers) &&
	    (*ret_woken = serve_receiver(ch, item)))
		return 0;
	if (ch->put - ch->got == ch->cap)
		return -EAGAIN;
	put(ch, item);
	return 0;
}

int chan_give(struct cogo_chan *ch, const void *item, struct coro **ret_woken)
{
	return give(ch, item, ret_woken);
}

/* The moment has come: what that means. */
static COLD int take_moment(struct cogo_chan *ch, void *ret_item)
{
	cogo_time now, at = ch->when;

	if (ch->closed || !time_over(at))
		return -EAGAIN;
	if (ch->kind == CHAN_END) {
		ch->closed = true;
		return -EAGAIN;
	}
	ch->when = COGO_FOREVER;
	if (ch->period) {
		/* The last one that is due; the next comes after it. */
		now = sys_now();
		at += (now - at) / ch->period * ch->period;
		if (__builtin_add_overflow(at, ch->period, &ch->when))
			ch->when = COGO_FOREVER;
	}
	copy_out(ret_item, &at, sizeof(at));
	return 0;
}

/* Its item goes straight over, or into the slot that has just come free. */
static NOINLINE struct coro *serve_sender(struct cogo_chan *ch, void *ret_item)
{
	struct waiter_node *n = waitq_claim(&ch->senders);

	if (!n)
		return NULL;
	if (ch->cap) {
		put(ch, n->data);
	} else {
		copy_out(ret_item, n->data, ch->item);
		ch->past++;
	}
	n->result = 0;
	return n->coro;
}

static inline void take_out(struct cogo_chan *ch, void *ret_item)
{
	copy_out(ret_item, slot(ch, ch->got), ch->item);
	/* release: pairs with the acquire in cogo_chan_len. */
	__atomic_store_n(&ch->got, ch->got + 1, __ATOMIC_RELEASE);
}

static inline int take(struct cogo_chan *ch, void *ret_item,
		       struct coro **ret_woken)
{
	if (likely(ch->put != ch->got)) {
		take_out(ch, ret_item);
		if (waitq_any(&ch->senders))
			*ret_woken = serve_sender(ch, NULL);
		return 0;
	}
	if (waitq_any(&ch->senders) &&
	    (*ret_woken = serve_sender(ch, ret_item)))
		return 0;
	if (unlikely(ch->when != COGO_FOREVER) && take_moment(ch, ret_item) == 0)
		return 0;
	if (unlikely(ch->closed)) {
		blank(ret_item, ch->item);
		return -EPIPE;
	}
	return -EAGAIN;
}

int chan_take(struct cogo_chan *ch, void *ret_item, struct coro **ret_woken)
{
	return take(ch, ret_item, ret_woken);
}

int chan_close(struct cogo_chan *ch, struct coro_list *woken)
{
	struct waiter_node *n;

	if (ch->closed)
		return -EPIPE;
	ch->closed = true;
	/* Nobody waits to receive while there is something to be had (C2). */
	while ((n = waitq_claim(&ch->receivers))) {
		blank(n->data, ch->item);
		n->result = -EPIPE;
		coro_list_push(woken, n->coro);
	}
	waitq_claim_all(&ch->senders, -EPIPE, woken);
	return 0;
}

/* ---- use ---- */

/* After a try in vain, under the lock, which this gives up. 0 or -EPIPE: somebody
 * has seen to it. -EAGAIN: look again. -ETIMEDOUT or -ECANCELED. */
static NOINLINE int wait_in(struct coro *me, struct cogo_chan *ch,
			    struct waitq *q, void *item, cogo_time deadline,
			    enum why why)
{
	struct waiter_node n = { .coro = me, .data = item };
	cogo_time until = sooner(deadline, ch->when);
	enum wait_outcome how;

	if (time_over(deadline)) {
		unlock(&ch->lock);
		return -ETIMEDOUT;
	}
	n.ticket = wait_open(me);
	waitq_add(q, &n);
	unlock(&ch->lock);
	me->what = ch;
	how = park(me, n.ticket, why, until);
	if (how == WAIT_WOKEN)
		return n.result;
	chan_lock(ch);
	waitq_del(&n);
	unlock(&ch->lock);
	/* In time or not is decided by a last look. */
	if (how != WAIT_TIMED_OUT && cancel_interrupted(me, -EINTR))
		return -ECANCELED;
	return -EAGAIN;
}

/* What nobody ever sees to. */
static COLD int wait_in_vain(struct coro *me, cogo_time deadline, enum why why)
{
	while (!time_over(deadline))
		if (park_until(me, why, deadline) != WAIT_TIMED_OUT &&
		    cancel_interrupted(me, -EINTR))
			return -ECANCELED;
	return -ETIMEDOUT;
}

/* The end of a try that was not in vain. */
static inline void end_try(struct cogo_chan *ch, struct coro *woken)
{
	unlock(&ch->lock);
	if (woken)
		ready(woken);
}

/* Unless the caller has it already. */
static inline void lock_unless(struct cogo_chan *ch, bool locked)
{
	if (!locked)
		chan_lock(ch);
	else if (!chan_is_ours(ch))
		chan_inherit(ch);
}

/* locked: it is, and somebody has been found to wait, or no room, or something else. */
static NOINLINE int send_slowly(struct coro *me, struct cogo_chan *ch,
				const void *item, cogo_time deadline, bool locked)
{
	struct coro *woken = NULL;
	int r;

	if (unlikely(!ch))
		return cancel_out(me, wait_in_vain(me, deadline, WHY_SEND));
	do {
		lock_unless(ch, locked);
		locked = false;
		r = give(ch, item, &woken);
		if (r == -EAGAIN)
			r = wait_in(me, ch, &ch->senders, (void *)item,
				    deadline, WHY_SEND);
		else
			end_try(ch, woken);
	} while (r == -EAGAIN);
	return cancel_out(me, r);
}

static NOINLINE int recv_slowly(struct coro *me, struct cogo_chan *ch,
				void *ret_item, cogo_time deadline, bool locked)
{
	struct coro *woken = NULL;
	int r;

	if (unlikely(!ch))
		return cancel_out(me, wait_in_vain(me, deadline, WHY_RECV));
	do {
		lock_unless(ch, locked);
		locked = false;
		r = take(ch, ret_item, &woken);
		if (r == -EAGAIN)
			r = wait_in(me, ch, &ch->receivers, ret_item, deadline,
				    WHY_RECV);
		else
			end_try(ch, woken);
	} while (r == -EAGAIN);
	return cancel_out(me, r);
}

static NOINLINE int end_slowly(struct coro *me, struct cogo_chan *ch)
{
	unlock(&ch->lock);
	door_leave(me);
	return 0;
}

/* A coroutine that is told to end, or a thread that comes for the first time. */
static COLD bool comes_in(struct coro **ret_me, int *ret_r)
{
	*ret_me = cancel_in(ret_r);
	if (*ret_r)
		*ret_r = cancel_out(*ret_me, *ret_r);
	return *ret_r == 0;
}

static COLD int send_first(struct cogo_chan *ch, const void *item, cogo_time deadline)
{
	struct coro *me;
	int r;

	return comes_in(&me, &r) ? send_slowly(me, ch, item, deadline, false) : r;
}

static COLD int recv_first(struct cogo_chan *ch, void *ret_item, cogo_time deadline)
{
	struct coro *me;
	int r;

	return comes_in(&me, &r) ? recv_slowly(me, ch, ret_item, deadline, false) : r;
}

/* The size of what is handed over most. */
static inline bool is_word(const struct cogo_chan *ch)
{
	return likely(ch->item == sizeof(uint64_t));
}

/* What most calls come to where there is a ring, a word put into a free slot or taken
 * out of a full one with nobody waiting for that, is here and calls nothing; all else
 * goes on in the general way. */
int cogo_send(struct cogo_chan *ch, const void *item, cogo_time deadline)
{
	struct coro *me = self();
	uint32_t doors;

	if (unlikely(!me) || cancel_wanted(me))
		return send_first(ch, item, deadline);
	doors = door_enter(me);
	if (unlikely(!ch) || !lock_try_fast(&ch->lock))
		return send_slowly(me, ch, item, deadline, false);
	if (unlikely(!chan_is_ours(ch) || ch->closed || ch->kind != CHAN_PLAIN ||
		     waitq_any(&ch->receivers) || ch->put - ch->got == ch->cap ||
		     !is_word(ch)))
		return send_slowly(me, ch, item, deadline, true);
	put(ch, item);
	if (lock_awaited(&ch->lock))
		return end_slowly(me, ch);
	unlock_fast(&ch->lock);
	return door_leave_as(me, doors);
}

int cogo_recv(struct cogo_chan *ch, void *ret_item, cogo_time deadline)
{
	struct coro *me = self();
	uint32_t doors;

	if (unlikely(!me) || cancel_wanted(me))
		return recv_first(ch, ret_item, deadline);
	doors = door_enter(me);
	if (unlikely(!ch) || !lock_try_fast(&ch->lock))
		return recv_slowly(me, ch, ret_item, deadline, false);
	if (unlikely(!chan_is_ours(ch) || ch->put == ch->got ||
		     waitq_any(&ch->senders) || !is_word(ch)))
		return recv_slowly(me, ch, ret_item, deadline, true);
	take_out(ch, ret_item);
	if (lock_awaited(&ch->lock))
		return end_slowly(me, ch);
	unlock_fast(&ch->lock);
	return door_leave_as(me, doors);
}

int cogo_try_send(struct cogo_chan *ch, const void *item)
{
	struct coro *woken = NULL, *me;
	int r;

	if (!ch)
		return -EAGAIN;
	me = door_in();
	if (!me)
		return -ENOMEM;
	chan_lock(ch);
	r = give(ch, item, &woken);
	end_try(ch, woken);
	door_leave(me);
	return r;
}

int cogo_try_recv(struct cogo_chan *ch, void *ret_item)
{
	struct coro *woken = NULL, *me;
	int r;

	if (!ch)
		return -EAGAIN;
	me = door_in();
	if (!me)
		return -ENOMEM;
	chan_lock(ch);
	r = take(ch, ret_item, &woken);
	end_try(ch, woken);
	door_leave(me);
	return r;
}

int cogo_chan_close(struct cogo_chan *ch)
{
	struct coro_list woken = { 0 };
	struct coro *me;
	int r;

	if (!ch)
		return -EPIPE;
	/* Others would wait for ever if this failed: a kernel thread that is new
	 * here, and for which there is no memory, does it with handlers running. */
	me = door_in();
	chan_lock(ch);
	r = chan_close(ch, &woken);
	unlock(&ch->lock);
	ready_all(&woken);
	if (me)
		door_leave(me);
	return r;
}

size_t cogo_chan_len(struct cogo_chan *ch)
{
	uint64_t got, n;

	if (!ch)
		return 0;
	/* acquire: got is not newer than put, which would be less than none. It
	 * may be older, and the difference more than there is room for. */
	got = __atomic_load_n(&ch->got, __ATOMIC_ACQUIRE);
	n = read_once(ch->put) - got;
	return n < read_once(ch->cap) ? (size_t)n : read_once(ch->cap);
}

size_t cogo_chan_cap(const struct cogo_chan *ch)
{
	return ch ? read_once(ch->cap) : 0;
}
