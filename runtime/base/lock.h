/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/lock.h - the runtime's own mutual exclusion, for a few dozen
 * instructions at a time.
 *
 * Held only inside the runtime, never across a park: a coroutine that parks
 * holds none. A holder may lose its processor, so waiters spin briefly and
 * then sleep on a futex. The word: 0 free, lock_held held, lock_held + 1 held
 * and somebody may be asleep. Zeroed memory is a free lock. It is given up by a
 * plain store: lock.c says how whoever sleeps is not forgotten all the same.
 *
 * lock_held is another number in each child of a fork: whatever a thread held
 * that did not come along is free there, without anybody having to know where
 * all the locks are. What such a lock guards may have been left half changed;
 * that is put right by the one who owns the data (the x_fork_child functions). */
#ifndef COGO_BASE_LOCK_H
#define COGO_BASE_LOCK_H

#include "base/compiler.h"
#include <stdatomic.h>
#include <stdbool.h>

struct lock {
	_Atomic uint32_t word;
};

/* Even, never 0. Written only in a child of a fork, by its one thread. */
extern uint32_t lock_held;

void lock_slow(struct lock *l);
void unlock_slow(struct lock *l);
/* Takes a lock whose holder, by the word seen, is in another process. */
COLD bool lock_inherit(struct lock *l, uint32_t word);

/* As lock_try, in so few instructions that whoever calls it needs no frame; a lock
 * that was inherited it finds taken. */
static inline bool lock_try_fast(struct lock *l)
{
	uint32_t word = 0;

	return likely(atomic_compare_exchange_strong_explicit(
		&l->word, &word, lock_held, memory_order_acquire,
		memory_order_relaxed));
}

static inline bool lock_try(struct lock *l)
{
	uint32_t word = 0;

	if (likely(atomic_compare_exchange_strong_explicit(
		    &l->word, &word, lock_held, memory_order_acquire,
		    memory_order_relaxed)))
		return true;
	return unlikely((word & ~1u) != lock_held) && lock_inherit(l, word);
}

/* wait: as lock_slow. */
static inline void lock_by(struct lock *l, void (*wait)(struct lock *l))
{
	if (unlikely(!lock_try(l)))
		wait(l);
}

static inline void lock(struct lock *l)
{
	lock_by(l, lock_slow);
}

/* Whether somebody may be asleep: for the holder, who is about to give it up. */
static inline bool lock_awaited(struct lock *l)
{
	return unlikely(atomic_load_explicit(&l->word, memory_order_relaxed) & 1);
}

/* Where nobody was. It may overwrite the mark of one who comes now: L2. */
static inline void unlock_fast(struct lock *l)
{
	/* release: pairs with the acquire of the next holder. */
	atomic_store_explicit(&l->word, 0, memory_order_release);
}

static inline void unlock(struct lock *l)
{
	if (lock_awaited(l))
		unlock_slow(l);
	else
		unlock_fast(l);
}

/* Free, whoever held it. */
static inline void lock_reset(struct lock *l)
{
	atomic_store_explicit(&l->word, 0, memory_order_relaxed);
}

/* First thing in the child of a fork: only what the caller itself holds is
 * still held, and it may unlock that as ever. */
void lock_fork_child(void);

#endif
