/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/lot.c - waits for an address.
 *
 * O1  a waiter stands in the bucket of its key, and both are changed only
 *     under the lock of that bucket (of both, when it is requeued).
 * O2  who claims a waiter takes it off the queue in the same breath; so a
 *     waiter whose park ended otherwise takes itself off, and one that was
 *     woken must not look. Its memory is its own stack: after the claim
 *     nobody touches it.
 * O3  a waiter whose claim fails (its time was up) is taken off as well, and
 *     the wake goes on to the next: it is not lost. */
#include "wait/lot.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "sched/park.h"
#include <errno.h>

#ifndef BUCKETS		/* fewer where every order of steps is tried */
#define BUCKETS 1024
#endif

struct waiter {
	struct list link;
	const void *key;	/* changed by requeue, under both locks */
	struct coro *coro;
	uint64_t ticket;
	uint32_t tag;
};

static struct lot_bucket buckets[BUCKETS];

static struct lot_bucket *bucket_of(const void *key)
{
	return &buckets[((uintptr_t)key * 0x9e3779b97f4a7c15ull >> 40) % BUCKETS];
}

struct lot_bucket *lot_lock(const void *key)
{
	struct lot_bucket *b = bucket_of(key);

	lock(&b->lock);
	return b;
}

void lot_unlock(struct lot_bucket *b)
{
	unlock(&b->lock);
}

/* Locks the bucket a waiter stands in now. */
static struct lot_bucket *lock_where(struct waiter *w)
{
	for (;;) {
		const void *key = read_once(w->key);
		struct lot_bucket *b = lot_lock(key);

		if (w->key == key)
			return b;
		lot_unlock(b);
	}
}

/* Behind those of the same rank and before those of a lower one, as the kernel's
 * own queues are. Between waiters of different keys the order means nothing. */
static void enqueue(struct lot_bucket *b, struct waiter *w)
{
	struct list *behind = &b->waiters;

	if (unlikely(w->coro->rank))
		list_for_each_safe(pos, tmp, &b->waiters)
			if (list_entry(pos, struct waiter, link)->coro->rank <
			    w->coro->rank) {
				behind = pos;
				break;
			}
	list_add_tail(behind, &w->link);
}

int lot_park(struct lot_bucket *b, const void *key, uint32_t tag,
	     cogo_time deadline, enum why why)
{
	struct coro *me = self();
	struct waiter w = { .key = key, .coro = me, .tag = tag };
	enum wait_outcome how;

	w.ticket = wait_open(me);
	enqueue(b, &w);
	lot_unlock(b);
	me->what = key;
	how = park(me, w.ticket, why, deadline);
	if (how == WAIT_WOKEN)
		return 0;
	b = lock_where(&w);
	if (list_linked(&w.link))
		list_del(&w.link);
	lot_unlock(b);
	return how == WAIT_TIMED_OUT ? -ETIMEDOUT :
	       how == WAIT_INTERRUPTED ? -EINTR : -ECANCELED;
}

int lot_claim(struct lot_bucket *b, const void *key, uint32_t mask, int n,
	      struct coro_list *l)
{
	int got = 0;

	if (n <= 0)
		return 0;
	list_for_each_safe(pos, tmp, &b->waiters) {
		struct waiter *w = list_entry(pos, struct waiter, link);

		if (w->key != key || !(w->tag & mask))
			continue;
		list_del(pos);
		if (!wait_claim(w->coro, w->ticket, WAIT_WOKEN))
			continue;
		coro_list_push(l, w->coro);
		if (++got == n)
			break;
	}
	return got;
}

uint32_t lot_first(struct lot_bucket *b, const void *key)
{
	list_for_each_safe(pos, tmp, &b->waiters) {
		struct waiter *w = list_entry(pos, struct waiter, link);

		if (w->key == key)
			return w->tag;
	}
	return 0;
}

bool lot_any(struct lot_bucket *b, const void *key)
{
	list_for_each_safe(pos, tmp, &b->waiters)
		if (list_entry(pos, struct waiter, link)->key == key)
			return true;
	return false;
}

int lot_requeue(const void *from, const void *to, int wake, int n,
		int (*check)(void *), void *arg, struct coro_list *l)
{
	struct lot_bucket *a = bucket_of(from), *b = bucket_of(to);
	struct lot_bucket *first = a < b ? a : b, *second = a < b ? b : a;
	int r = 0;

	/* In the order of their addresses, so that two requeues do not wait for
	 * each other. */
	lock(&first->lock);
	if (second != first)
		lock(&second->lock);
	if (check && (r = check(arg)))
		goto out;
	r = lot_claim(a, from, UINT32_MAX, wake, l);
	list_for_each_safe(pos, tmp, &a->waiters) {
		struct waiter *w = list_entry(pos, struct waiter, link);

		if (n <= 0)
			break;
		if (w->key != from)
			continue;
		n--;
		r++;
		write_once(w->key, to);
		if (a != b) {
			list_del(pos);
			enqueue(b, w);
		}
	}
out:
	if (second != first)
		unlock(&second->lock);
	unlock(&first->lock);
	return r;
}

void lot_fork_child(void)
{
	/* Written only where there is something: each page that is not touched
	 * stays shared with the parent. */
	for (int i = 0; i < BUCKETS; i++)
		if (buckets[i].waiters.next)
			buckets[i].waiters.next = NULL;
}
