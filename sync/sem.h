/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/sem.h - a count that can be waited for.
 *
 * One 64-bit word, laid out as glibc's: the value below, how many wait above.
 * Zeroed memory is a semaphore of value 0; there is nothing to destroy, and the
 * memory may go as soon as the last token was taken and nobody waits. */
#ifndef COGO_SYNC_SEM_H
#define COGO_SYNC_SEM_H

#include "coro/coro.h"
#include <errno.h>

struct sem {
	_Atomic uint64_t word;
};

#define SEM_MOST 0x7fffffffu

#define SEM_VALUE	0xffffffffu
#define SEM_WAITER	(1ull << 32)

static inline uint64_t sem_look(struct sem *s)
{
	return atomic_load_explicit(&s->word, memory_order_relaxed);
}

/* acq_rel: the taker sees what the giver did before. */
static inline bool sem_swap(struct sem *s, uint64_t *was, uint64_t to)
{
	return atomic_compare_exchange_weak_explicit(&s->word, was, to,
						     memory_order_acq_rel,
						     memory_order_relaxed);
}

/* Takes a token, if there is one. Any thread, a signal handler. */
static inline bool sem_try_take(struct sem *s)
{
	uint64_t w = sem_look(s);

	while (w & SEM_VALUE)
		if (sem_swap(s, &w, w - 1))
			return true;
	return false;
}

/* Parks for one: 0, -ETIMEDOUT, -EINTR or -ECANCELED. Inside the runtime. */
int sem_take(struct sem *s, cogo_time deadline);

/* Adds a token. -EOVERFLOW, or whether somebody waited: then sem_wake. Any
 * thread, a signal handler. */
static inline int sem_give(struct sem *s)
{
	uint64_t w = sem_look(s);

	do {
		if ((w & SEM_VALUE) >= SEM_MOST)
			return -EOVERFLOW;
	} while (!sem_swap(s, &w, w + 1));
	return w >= SEM_WAITER;
}

/* The same of n tokens, or none of them. */
static inline int sem_give_many(struct sem *s, uint32_t n)
{
	uint64_t w = sem_look(s);

	do {
		if (n > SEM_MOST - (w & SEM_VALUE))
			return -EOVERFLOW;
	} while (!sem_swap(s, &w, w + n));
	return w >= SEM_WAITER;
}

/* Wakes one who waits, or up to n. Only the address is used. Inside the runtime,
 * or on a thread that never was there and takes no signals meanwhile. */
void sem_wake(const struct sem *s);
void sem_wake_many(const struct sem *s, uint32_t n);

#endif
