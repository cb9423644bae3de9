/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/lock.h - the runtime's own mutual exclusion, for a few dozen
 * instructions at a time.
 *
 * Held only inside the runtime, never across a park: a coroutine that parks
 * holds none. A holder may lose its processor, so waiters spin briefly and
 * then sleep on a futex. The word: 0 free, 1 held, 2 held and somebody may be
 * asleep. Zeroed memory is a free lock. */
#ifndef COGO_BASE_LOCK_H
#define COGO_BASE_LOCK_H

#include "base/compiler.h"
#include <stdatomic.h>
#include <stdbool.h>

struct lock {
	_Atomic uint32_t word;
};

void lock_slow(struct lock *l);
void unlock_slow(struct lock *l);

static inline bool lock_try(struct lock *l)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong_explicit(
		&l->word, &free, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void lock(struct lock *l)
{
	if (unlikely(!lock_try(l)))
		lock_slow(l);
}

static inline void unlock(struct lock *l)
{
	/* release: pairs with the acquire of the next holder. */
	if (unlikely(atomic_exchange_explicit(&l->word, 0,
					      memory_order_release) == 2))
		unlock_slow(l);
}

/* In a child after fork, whose other threads are gone. */
static inline void lock_reset(struct lock *l)
{
	atomic_store_explicit(&l->word, 0, memory_order_relaxed);
}

#endif
