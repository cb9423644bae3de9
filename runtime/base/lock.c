/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/lock.c - the slow paths, and what a fork does to locks.
 *
 * L1  whoever is about to sleep marks the word first, and the kernel lets nobody
 *     sleep who does not find it marked and held. Whoever takes the lock when it
 *     may have sleepers leaves the mark, and whoever gives it up and sees the mark
 *     wakes one, who makes it anew: others may sleep beside him.
 * L2  the holder looks for the mark and then frees the word by a plain store, for
 *     one atomic exchange is as dear as all else that a lock costs. After it the
 *     lock may be gone, with what it was in, so it cannot look again. A mark made
 *     between the two is overwritten. Its maker has to get into the kernel, which
 *     takes a hundred times as long, before the store arrives: only a holder who
 *     loses its processor just there makes it sleep unheard. So nobody sleeps for
 *     longer than LOOK_AGAIN without a look of his own. */
#include "base/lock.h"
#include "arch/tp.h"
#include "base/sys.h"

#ifndef SPINS	/* fewer where every order of steps is tried */
#define SPINS 7
#endif
/* Where a pause takes 25 ns: 0.8 us before the first look, 30 in all. */
#define FIRST_PAUSE 32
#define MOST_PAUSE 256
#define LOOK_AGAIN (COGO_MS / 2)

uint32_t lock_held = 2;

bool lock_inherit(struct lock *l, uint32_t word)
{
	/* 0: it was freed since the caller looked. */
	return atomic_compare_exchange_strong_explicit(
		&l->word, &word, lock_held, memory_order_acquire,
		memory_order_relaxed);
}

void lock_slow(struct lock *l)
{
	uint32_t held = lock_held, word;

	/* Each look takes the line from the holder, so they come rarely, and ever
	 * more so: meanwhile it can take the lock many a time while it has it at
	 * hand. */
	for (int i = 0, pause = FIRST_PAUSE; i < SPINS; i++) {
		for (int k = 0; k < pause; k++)
			arch_relax();
		if (pause < MOST_PAUSE)
			pause *= 2;
		word = atomic_load_explicit(&l->word, memory_order_relaxed);
		if ((word & ~1u) != held && lock_try(l))
			return;
	}
	/* From here on we may sleep, so whoever unlocks must look: we leave
	 * the mark even when we find it free, since others may sleep beside
	 * us. */
	for (;;) {
		word = atomic_exchange_explicit(&l->word, held + 1,
						memory_order_acquire);
		if ((word & ~1u) != held)
			return;
		sys_futex_wait(&l->word, held + 1, sys_now() + LOOK_AGAIN);
	}
}

void unlock_slow(struct lock *l)
{
	/* release: as in unlock. */
	atomic_store_explicit(&l->word, 0, memory_order_release);
	sys_futex_wake(&l->word, 1);
}

void lock_fork_child(void)
{
	/* After 2^31 generations of children a lock that has been held since
	 * the first would seem to be held again. */
	lock_held += 2;
	if (lock_held == 0)
		lock_held = 2;
}
