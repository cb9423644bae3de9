/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/sem.c - a count that can be waited for.
 *
 * P1  a waiter counts itself in the step that finds no token, under the lock of
 *     the bucket, and then joins the queue; so a token given after that comes
 *     with a wake.
 * P2  it stays counted until it has a token or gives up. Whoever gives tokens
 *     meanwhile looks for somebody to wake, perhaps in vain.
 * P3  the step that adds the token is the giver's last touch of *s. */
#include "sync/sem.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <errno.h>

static bool take(struct sem *s, uint64_t counted)
{
	uint64_t w = sem_look(s);

	while (w & SEM_VALUE)
		if (sem_swap(s, &w, w - 1 - counted))
			return true;
	return false;
}

/* Under the lock of the bucket: a token, or counted (P1). */
static bool take_or_count(struct sem *s, uint64_t counted)
{
	uint64_t w = sem_look(s);

	for (;;) {
		if (w & SEM_VALUE) {
			if (sem_swap(s, &w, w - 1 - counted))
				return true;
		} else if (counted || sem_swap(s, &w, w + SEM_WAITER)) {
			return false;
		}
	}
}

int sem_take(struct sem *s, cogo_time deadline)
{
	uint64_t counted = 0;
	struct lot_bucket *b;
	int r;

	for (;;) {
		if (take(s, counted))
			return 0;
		b = lot_lock(s);
		if (take_or_count(s, counted)) {
			lot_unlock(b);
			return 0;
		}
		counted = SEM_WAITER;
		r = lot_park(b, s, 1, deadline, WHY_SEM);
		if (r == 0)
			continue;
		/* A token given in this moment is not lost on us: its giver
		 * claimed somebody else, or nobody, and it is there to take. */
		atomic_fetch_sub_explicit(&s->word, SEM_WAITER, memory_order_relaxed);
		return r;
	}
}

void sem_wake_many(const struct sem *s, uint32_t n)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(s);

	lot_claim(b, s, 1, (int)n, &woken);
	lot_unlock(b);
	ready_all(&woken);
}

void sem_wake(const struct sem *s)
{
	sem_wake_many(s, 1);
}
