/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/runq.h - a worker's queue of ready coroutines.
 *
 * A ring that its owner fills at the tail and everybody empties at the head,
 * and before it one slot for the coroutine that was readied last, so that two
 * who talk to each other stay on one worker and in one cache. The ring is the
 * one of Go's scheduler, and needs no lock. Where Go's moves half of a full one to
 * the queue for everybody, and with it those who have waited longest, ours takes
 * nobody in: newcomers stand behind the rest (see ready.c). */
#ifndef COGO_SCHED_RUNQ_H
#define COGO_SCHED_RUNQ_H

#include "coro/coro.h"

#ifndef RUNQ_SIZE	/* fewer where every order of steps is tried */
#define RUNQ_SIZE 1024u
#endif

/* Two partners in the next slot must not starve the ring. */
#define NEXT_TURNS 16

struct runq {
	_Atomic uint32_t head;		/* anyone, by compare-and-swap */
	_Atomic uint32_t tail;		/* owner only */
	_Atomic(struct coro *) next;	/* anyone, by exchange */
	uint32_t next_run;		/* owner: turns in a row for next */
	_Atomic(struct coro *) ring[RUNQ_SIZE];
};

/* Puts c at the tail. False when the ring is full. Owner only. */
static inline bool runq_push(struct runq *q, struct coro *c)
{
	/* acquire: pairs with the takers' release. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if (tail - head >= RUNQ_SIZE)
		return false;
	atomic_store_explicit(&q->ring[tail % RUNQ_SIZE], c,
			      memory_order_relaxed);
	/* release: takers find the slot written. */
	atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
	return true;
}

/* Puts c into the next slot, and returns who was there, whose place is at the tail
 * now, or NULL. Owner only. */
static inline struct coro *runq_put_next(struct runq *q, struct coro *c)
{
	return atomic_exchange_explicit(&q->next, c, memory_order_acq_rel);
}

/* Takes half of `from` into `to` (the caller's own) and returns one of them.
 * The next slot goes only when the ring is empty and take_next is set. */
struct coro *runq_steal(struct runq *to, struct runq *from, bool take_next);

/* Who is in the next slot, or NULL. */
static inline struct coro *runq_take_next(struct runq *q)
{
	if (!atomic_load_explicit(&q->next, memory_order_relaxed))
		return NULL;
	return atomic_exchange_explicit(&q->next, NULL, memory_order_acq_rel);
}

/* The one who has waited longest, and the next slot's last of all; or NULL. */
static inline struct coro *runq_take(struct runq *q)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	uint32_t tail;
	struct coro *c;

	for (;;) {
		/* acquire: pairs with the owner's release. */
		tail = atomic_load_explicit(&q->tail, memory_order_acquire);
		if (tail == head)
			return runq_take_next(q);
		c = atomic_load_explicit(&q->ring[head % RUNQ_SIZE],
					 memory_order_relaxed);
		if (atomic_compare_exchange_weak_explicit(
			    &q->head, &head, head + 1, memory_order_acq_rel,
			    memory_order_acquire))
			return c;
	}
}

/* The coroutine to run now, or NULL. Owner only. */
static inline struct coro *runq_pop(struct runq *q)
{
	struct coro *c;

	if (q->next_run < NEXT_TURNS) {
		c = runq_take_next(q);
		if (c) {
			q->next_run++;
			return c;
		}
	}
	q->next_run = 0;
	return runq_take(q);
}

/* Who will be taken k turns from now, if nobody comes in between; or NULL. A guess. */
static inline struct coro *runq_ahead(const struct runq *q, uint32_t k)
{
	/* relaxed: whoever it was stays a coroutine. */
	uint32_t at = k + atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if ((int32_t)(tail - at) <= 0)
		return NULL;
	return atomic_load_explicit(&q->ring[at % RUNQ_SIZE],
				    memory_order_relaxed);
}

/* How many wait, and of them on the ring, and whether one is in the next slot; from
 * outside a guess. */
uint32_t runq_length(const struct runq *q);
uint32_t runq_waiting(const struct runq *q);
bool runq_next(const struct runq *q);

#endif
