/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* explore_lock.c - the runtime's lock in a model where to take it is one step: what is
 * behind that is never reached, since explore_atomic.h has waited for it to be free.
 * A model of the lock itself brings its own. And nobody forks. */
#include "base/lock.h"
#include "coro/coro.h"
#include "explore.h"

uint32_t lock_held = 2;
uint64_t coro_left_behind;

bool coro_survived(uint64_t id)
{
	(void)id;
	return true;
}

void lock_slow(struct lock *l)
{
	(void)l;
	explore_check(!"a lock was taken behind the explorer's back");
}

void unlock_slow(struct lock *l)
{
	lock_slow(l);
}

bool lock_inherit(struct lock *l, uint32_t word)
{
	(void)word;
	lock_slow(l);
	return false;
}
