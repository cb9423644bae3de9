/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/runq.c - a worker's queue of ready coroutines.
 *
 * Q1  tail is written by the owner alone; head moves forward only, by
 *     compare-and-swap, whoever takes.
 * Q2  the slots in [head, tail) hold coroutines. A taker reads its slots
 *     first and then moves head over them; if head had moved meanwhile, the
 *     swap fails and what it read counts for nothing. The owner writes a slot
 *     only when head has passed it, so a taker whose swap succeeds has read
 *     what was there all the time.
 * Q3  counters wrap; only their difference means anything. */
#include "sched/runq.h"

struct coro *runq_steal(struct runq *to, struct runq *from, bool take_next)
{
	uint32_t head, tail, n, at;

	for (;;) {
		head = atomic_load_explicit(&from->head, memory_order_acquire);
		tail = atomic_load_explicit(&from->tail, memory_order_acquire);
		n = tail - head;
		n -= n / 2;
		if (n == 0)
			return take_next ? atomic_exchange_explicit(
						   &from->next, NULL,
						   memory_order_acq_rel)
					 : NULL;
		if (n > RUNQ_SIZE / 2)	/* read while it moved */
			continue;
		at = atomic_load_explicit(&to->tail, memory_order_relaxed);
		for (uint32_t i = 0; i < n; i++) {
			struct coro *c = atomic_load_explicit(
				&from->ring[(head + i) % RUNQ_SIZE],
				memory_order_relaxed);

			atomic_store_explicit(&to->ring[(at + i) % RUNQ_SIZE],
					      c, memory_order_relaxed);
		}
		if (atomic_compare_exchange_strong_explicit(
			    &from->head, &head, head + n, memory_order_acq_rel,
			    memory_order_relaxed))
			break;
	}
	/* The last of them is for the thief; the rest become visible. */
	n--;
	if (n)
		atomic_store_explicit(&to->tail, at + n, memory_order_release);
	return atomic_load_explicit(&to->ring[(at + n) % RUNQ_SIZE],
				    memory_order_relaxed);
}

uint32_t runq_waiting(const struct runq *q)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);

	return tail - head;
}

bool runq_next(const struct runq *q)
{
	return atomic_load_explicit(&q->next, memory_order_acquire) != NULL;
}

uint32_t runq_length(const struct runq *q)
{
	return runq_waiting(q) + runq_next(q);
}
