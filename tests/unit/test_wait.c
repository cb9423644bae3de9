/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The claim word by itself; with everything that parks on it: model_park. */
#include "coro/wait.h"
#include "unit.h"
#include <pthread.h>
#include <sched.h>

static struct coro c;

Test(wait, nobody_waits_at_first)
{
	check_eq(wait_result(&c), WAIT_NONE);
	check(!wait_claim_any(&c, WAIT_WOKEN));
}

Test(wait, the_first_claim_wins_and_the_rest_lose)
{
	uint64_t t = wait_open(&c);

	check_eq(wait_result(&c), WAIT_OPEN);
	check(wait_claim(&c, t, WAIT_TIMED_OUT));
	check(!wait_claim(&c, t, WAIT_WOKEN));
	check(!wait_claim_any(&c, WAIT_INTERRUPTED));
	check_eq(wait_result(&c), WAIT_TIMED_OUT);
}

Test(wait, a_ticket_is_good_for_one_wait)
{
	uint64_t first = wait_open(&c), second;

	check(wait_claim(&c, first, WAIT_WOKEN));
	second = wait_open(&c);
	check(first != second);
	check(!wait_claim(&c, first, WAIT_WOKEN));
	check_eq(wait_result(&c), WAIT_OPEN);
	check(wait_claim(&c, second, WAIT_WOKEN));
	check(!wait_claim(&c, second, WAIT_WOKEN));
}

Test(wait, whatever_is_open_may_be_claimed_without_a_ticket)
{
	wait_open(&c);
	check(wait_claim_any(&c, WAIT_INTERRUPTED));
	check_eq(wait_result(&c), WAIT_INTERRUPTED);
	check(!wait_claim_any(&c, WAIT_INTERRUPTED));
}

Test(wait, outcomes_do_not_reach_into_the_sequence)
{
	uint64_t before = 0;

	for (int i = 0; i < 1000; i++) {
		uint64_t t = wait_open(&c);

		check(t > before);
		before = t;
		check(wait_claim(&c, t, WAIT_CANCELED));
		check_eq(wait_result(&c), WAIT_CANCELED);
	}
}

#define CLAIMERS 3
#define WAITS 30000

static _Atomic uint64_t published;
static _Atomic uint32_t claims;
static _Atomic long won[CLAIMERS];
static _Atomic bool stop;

static void *claim(void *arg)
{
	int me = (int)(intptr_t)arg;

	while (!atomic_load(&stop)) {
		uint64_t t = atomic_load(&published);
		/* Zero is nobody's ticket. */
		bool got = me && t ? wait_claim(&c, t, WAIT_WOKEN)
				   : wait_claim_any(&c, WAIT_INTERRUPTED);

		if (got) {
			won[me]++;
			claims++;
		} else {
			sched_yield();
		}
	}
	return NULL;
}

Test(wait, of_many_claimers_exactly_one_gets_each_wait, .timeout = 120)
{
	pthread_t t[CLAIMERS];
	long all = 0;

	for (intptr_t i = 0; i < CLAIMERS; i++)
		check_eq(pthread_create(&t[i], NULL, claim, (void *)i), 0);
	for (uint32_t i = 0; i < WAITS; i++) {
		atomic_store(&published, wait_open(&c));
		while (atomic_load(&claims) == i)
			sched_yield();
		check_eq(atomic_load(&claims), i + 1);
		check(wait_result(&c) == WAIT_WOKEN ||
		      wait_result(&c) == WAIT_INTERRUPTED);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < CLAIMERS; i++) {
		pthread_join(t[i], NULL);
		all += won[i];
	}
	check_eq(all, WAITS);
}
