/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_lock.c - the runtime's lock: three who want it, in every order.
 *
 * Real: base/lock.c and lock.h, with one turn of spinning instead of a hundred.
 * Modelled: the futex, where a wait may be over at any time (L2 in lock.c). The
 * third may come from a fork: then the lock is held, to begin with, by a thread
 * that is not in this process.
 *
 * - two never have it at once;
 * - whoever wants it gets it;
 * - at the end it is free. */
#include "explore.h"
#include "base/lock.c"
#include "arch/tp.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct lock lk;
static uint32_t inside, turns;

int sys_futex_wait(_Atomic uint32_t *word, uint32_t value, cogo_time deadline)
{
	return explore_wait(word, value, deadline != COGO_FOREVER) ? 0 : -ETIMEDOUT;
}

cogo_time sys_now(void)
{
	return 0;
}

int sys_futex_wake(_Atomic uint32_t *word, int n)
{
	return explore_wake(word, n);
}

static void hold(void)
{
	explore_point(__FILE__, __LINE__, "has it", &inside, true);
	explore_check(inside++ == 0);
	explore_point(__FILE__, __LINE__, "has it", &inside, true);
	explore_check(--inside == 0);
	turns++;
}

static void twice(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2; i++) {
		lock(&lk);
		hold();
		unlock(&lk);
	}
}

static void tries(void *arg)
{
	(void)arg;
	if (lock_try(&lk)) {
		hold();
		unlock(&lk);
	}
}

static void end(void)
{
	explore_check(turns == 4 || turns == 5);
	explore_check(lk.word == 0);
}

int main(int argc, char **argv)
{
	bool forked = argc > 1 && strcmp(argv[1], "forked") == 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	explore_begin();
	if (forked) {
		lk.word = lock_held + 1;
		lock_fork_child();
	}
	explore_actor("A", twice, NULL);
	explore_actor("B", twice, NULL);
	explore_actor("C", tries, NULL);
	return explore(forked ? "lock: forked" : "lock", end) ? 1 : 0;
}
