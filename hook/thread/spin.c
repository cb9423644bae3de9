/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/spin.c - pthread_spin_lock that lets its holder run.
 *
 * What the lock looks like when it is free is libc's affair, and differs between
 * processors; all the rest is left to it. Here is only the waiting: the holder
 * may be a coroutine that wants this very worker, so who has spun for a moment
 * lets others have a turn. */
#include "hook/real.h"
#include "hook/thread/locks.h"
#include <pthread.h>
#include "sched/park.h"

#define SPINS 100

HOOKED int pthread_spin_lock(pthread_spinlock_t *l)
{
	struct coro *me;

	if (!locks_ours())
		return REAL(pthread_spin_lock)(l);
	for (;;) {
		for (int i = 0; i < SPINS; i++) {
			if (likely(REAL(pthread_spin_trylock)(l) == 0))
				return 0;
			arch_relax();
		}
		me = locks_door();
		park_yield(me);
		door_leave(me);
	}
}
