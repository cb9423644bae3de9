/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/lock.c - the two slow paths. */
#include "base/lock.h"
#include "arch/tp.h"
#include "base/sys.h"

#define SPINS 100

void lock_slow(struct lock *l)
{
	for (int i = 0; i < SPINS; i++) {
		arch_relax();
		if (atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
		    lock_try(l))
			return;
	}
	/* From here on we may sleep, so whoever unlocks must look: we leave 2
	 * even when we find it free, since others may sleep beside us. */
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
		sys_futex_wait(&l->word, 2, COGO_FOREVER);
}

void unlock_slow(struct lock *l)
{
	sys_futex_wake(&l->word, 1);
}
