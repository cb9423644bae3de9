/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/waitq.h - a queue of waits that belongs to an object.
 *
 * For objects that have memory of their own, where the lot serves those that are
 * a word. A waiter is a node on its coroutine's stack; one wait may stand in the
 * queues of several objects, with the same ticket, and ends at the first that
 * claims it: that is all there is to select.
 *
 * Q1  a queue is changed under its object's lock alone.
 * Q2  who claims a waiter takes it off the queue and says so in it (fired)
 *     under that lock. A node that was not fired is taken off by its owner.
 * Q3  between the claim and ready() the waiter cannot return, so whoever has
 *     claimed may write to what the node points to. Nobody else may. */
#ifndef COGO_WAIT_WAITQ_H
#define COGO_WAIT_WAITQ_H

#include "base/list.h"
#include "coro/coro.h"
#include "coro/wait.h"

struct waitq {
	struct list waiters;
};

struct waiter_node {
	struct list link;	/* under the object's lock */
	struct coro *coro;
	uint64_t ticket;
	void *data;		/* the object's: what to give, or to fill */
	int result;		/* the object's, written with fired */
	bool fired;		/* written by the claimer, before ready() */
};

/* Caller holds the object's lock. */
static inline void waitq_add(struct waitq *q, struct waiter_node *n)
{
	n->fired = false;
	list_add_tail(&q->waiters, &n->link);
}

/* Takes a node off that was not fired; nothing happens to one that was. Caller
 * holds the object's lock. */
static inline void waitq_del(struct waiter_node *n)
{
	if (list_linked(&n->link))
		list_del(&n->link);
}

/* Claims the first whose wait is still open, and takes it off, with those before
 * it whose is not. NULL if there is none. The caller, which holds the object's
 * lock, fills in the result, and readies n->coro when it holds no lock. */
static inline struct waiter_node *waitq_claim(struct waitq *q)
{
	list_for_each_safe(pos, tmp, &q->waiters) {
		struct waiter_node *n = list_entry(pos, struct waiter_node, link);

		list_del(pos);
		if (wait_claim(n->coro, n->ticket, WAIT_WOKEN)) {
			n->fired = true;
			return n;
		}
	}
	return NULL;
}

/* Claims all and puts their coroutines on l, each with that result. */
static inline void waitq_claim_all(struct waitq *q, int result,
				   struct coro_list *l)
{
	struct waiter_node *n;

	while ((n = waitq_claim(q))) {
		n->result = result;
		coro_list_push(l, n->coro);
	}
}

/* Whether anybody may wait. Caller holds the object's lock. */
static inline bool waitq_any(const struct waitq *q)
{
	return !list_empty(&q->waiters);
}

#endif
