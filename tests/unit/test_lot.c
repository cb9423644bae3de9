/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The lot, by kernel threads alone: they wait on the same words as coroutines
 * do, and need no scheduler. */
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "sched/ready.h"
#include "unit.h"
#include "wait/lot.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#define MOST 64

static struct waiter {
	pthread_t thread;
	struct coro *_Atomic coro;
	const void *key;
	uint32_t tag;
	cogo_time deadline;
	_Atomic int result;	/* 1: still waits */
} waiters[MOST];
static _Atomic int order, came[MOST];
static char keys[8192];

static void *wait_on(void *arg)
{
	struct waiter *w = arg;
	struct coro *me = coro_adopt(CORO_KIND_THREAD);
	struct lot_bucket *b;

	check(me != NULL);
	b = lot_lock(w->key);
	/* Published under the lock: who sees it and takes the lock finds us in
	 * the queue. */
	w->coro = me;
	w->result = lot_park(b, w->key, w->tag, w->deadline, WHY_PAUSE);
	came[order++] = (int)(w - waiters);
	coro_put_thread(me);
	return NULL;
}

static void begin(int i, const void *key, uint32_t tag, cogo_time deadline)
{
	struct waiter *w = &waiters[i];

	*w = (struct waiter){ .key = key, .tag = tag, .deadline = deadline };
	w->result = 1;
	check_eq(pthread_create(&w->thread, NULL, wait_on, w), 0);
	wait_until(w->coro != NULL);
	lot_unlock(lot_lock(key));
}

static int end(int i)
{
	check_eq(pthread_join(waiters[i].thread, NULL), 0);
	return waiters[i].result;
}

static int wake(const void *key, uint32_t mask, int n)
{
	struct coro_list l = { 0 };
	struct lot_bucket *b = lot_lock(key);
	int got = lot_claim(b, key, mask, n, &l);

	lot_unlock(b);
	check_eq(l.n, got);
	ready_all(&l);
	return got;
}

static bool any(const void *key)
{
	struct lot_bucket *b = lot_lock(key);
	bool r = lot_any(b, key);

	lot_unlock(b);
	return r;
}

static uint32_t first(const void *key)
{
	struct lot_bucket *b = lot_lock(key);
	uint32_t r = lot_first(b, key);

	lot_unlock(b);
	return r;
}

/* Another address whose bucket is that of key, or is not. */
static const void *neighbour(const void *key, bool same)
{
	struct lot_bucket *b = lot_lock(key);

	lot_unlock(b);
	for (size_t i = 0; i < sizeof(keys); i++) {
		struct lot_bucket *other;

		if (&keys[i] == key)
			continue;
		other = lot_lock(&keys[i]);
		lot_unlock(other);
		if ((other == b) == same)
			return &keys[i];
	}
	skip("no two addresses of a few thousand share a bucket");
	return NULL;
}

Test(lot, nobody_waits_at_first)
{
	check(!any(keys));
	check_eq(first(keys), 0);
	check_eq(wake(keys, UINT32_MAX, INT_MAX), 0);
}

Test(lot, who_is_claimed_returns_0_in_the_order_of_coming)
{
	for (int i = 0; i < 8; i++)
		begin(i, keys, 1, COGO_FOREVER);
	check(any(keys));
	for (int i = 0; i < 8; i++) {
		check_eq(wake(keys, 1, 1), 1);
		check_eq(end(i), 0);
	}
	for (int i = 0; i < 8; i++)
		check_eq(came[i], i);
	check(!any(keys));
}

Test(lot, a_claim_takes_as_many_as_it_says_and_no_more)
{
	int woken = 0;

	for (int i = 0; i < 6; i++)
		begin(i, keys, 1, COGO_FOREVER);
	check_eq(wake(keys, 1, 0), 0);
	check_eq(wake(keys, 1, -1), 0);
	check_eq(wake(keys, 1, 4), 4);
	wait_until(order == 4);
	for (int i = 0; i < 6; i++)
		woken += waiters[i].result == 0;
	check_eq(woken, 4);
	check_eq(wake(keys, 1, INT_MAX), 2);
	for (int i = 0; i < 6; i++)
		check_eq(end(i), 0);
}

Test(lot, a_claim_passes_over_tags_that_it_does_not_ask_for)
{
	begin(0, keys, 1, COGO_FOREVER);
	begin(1, keys, 2, COGO_FOREVER);
	begin(2, keys, 4 | 2, COGO_FOREVER);
	check_eq(first(keys), 1);
	check_eq(wake(keys, 8, INT_MAX), 0);
	check_eq(wake(keys, 4, INT_MAX), 1);
	check_eq(end(2), 0);
	check_eq(wake(keys, 2, INT_MAX), 1);
	check_eq(end(1), 0);
	check_eq(wake(keys, 2, INT_MAX), 0);
	check_eq(wake(keys, 1, INT_MAX), 1);
	check_eq(end(0), 0);
}

Test(lot, keys_of_one_bucket_do_not_know_each_other)
{
	const void *other = neighbour(keys, true);

	begin(0, other, 1, COGO_FOREVER);
	begin(1, keys, 2, COGO_FOREVER);
	check_eq(first(keys), 2);
	check_eq(first(other), 1);
	check_eq(wake(keys, UINT32_MAX, INT_MAX), 1);
	check_eq(end(1), 0);
	check(!any(keys));
	check(any(other));
	check_eq(waiters[0].result, 1);
	check_eq(wake(other, UINT32_MAX, INT_MAX), 1);
	check_eq(end(0), 0);
}

Test(lot, a_wait_ends_at_its_deadline_and_leaves_the_queue)
{
	begin(0, keys, 1, COGO_FOREVER);
	begin(1, keys, 2, sys_now() + 20000000);
	check_eq(end(1), -ETIMEDOUT);
	check(sys_now() >= waiters[1].deadline);
	check_eq(wake(keys, 2, INT_MAX), 0);
	check_eq(wake(keys, UINT32_MAX, INT_MAX), 1);
	check_eq(end(0), 0);
}

Test(lot, a_deadline_that_has_passed_still_lets_others_go_first)
{
	begin(0, keys, 1, 0);
	check_eq(end(0), -ETIMEDOUT);
	check(!any(keys));
}

static void break_off(int i, enum wait_outcome how)
{
	check(wait_claim_any(waiters[i].coro, how));
	ready(waiters[i].coro);
}

Test(lot, a_wait_may_be_broken_off_and_the_wake_goes_to_the_next)
{
	begin(0, keys, 1, COGO_FOREVER);
	begin(1, keys, 1, COGO_FOREVER);
	begin(2, keys, 1, COGO_FOREVER);
	break_off(0, WAIT_INTERRUPTED);
	check_eq(end(0), -EINTR);
	break_off(1, WAIT_CANCELED);
	check_eq(end(1), -ECANCELED);
	check_eq(wake(keys, 1, 1), 1);
	check_eq(end(2), 0);
}

Test(lot, a_claim_that_fails_takes_the_next_in_its_stead)
{
	struct coro_list l = { 0 };
	struct lot_bucket *b;

	begin(0, keys, 1, COGO_FOREVER);
	begin(1, keys, 1, COGO_FOREVER);
	b = lot_lock(keys);
	/* Its wait is over, and it cannot leave the queue before us. */
	check(wait_claim_any(waiters[0].coro, WAIT_INTERRUPTED));
	check_eq(lot_claim(b, keys, 1, 1, &l), 1);
	check(l.head == waiters[1].coro);
	check(!lot_any(b, keys));
	lot_unlock(b);
	ready(waiters[0].coro);
	ready_all(&l);
	check_eq(end(0), -EINTR);
	check_eq(end(1), 0);
}

static int refuse(void *arg)
{
	return *(int *)arg;
}

static void move(bool same)
{
	const void *to = neighbour(keys, same);
	struct coro_list l = { 0 };
	int no = -EAGAIN;

	for (int i = 0; i < 6; i++)
		begin(i, keys, 1u << i, COGO_FOREVER);
	check_eq(lot_requeue(keys, to, 1, 2, refuse, &no, &l), -EAGAIN);
	check_eq(l.n, 0);
	check(!any(to));
	no = 0;
	check_eq(lot_requeue(keys, to, 1, 2, refuse, &no, &l), 3);
	check_eq(l.n, 1);
	check(l.head == waiters[0].coro);
	ready_all(&l);
	check_eq(end(0), 0);
	check_eq(first(keys), 1 << 3);
	check_eq(first(to), 1 << 1);
	check_eq(lot_requeue(keys, to, 0, INT_MAX, NULL, NULL, &l), 3);
	check(!any(keys));
	/* One that was moved finds where it stands. */
	break_off(2, WAIT_INTERRUPTED);
	check_eq(end(2), -EINTR);
	check_eq(wake(to, UINT32_MAX, INT_MAX), 4);
	for (int i = 1; i < 6; i++)
		if (i != 2)
			check_eq(end(i), 0);
}

Test(lot, who_is_moved_waits_on_elsewhere)
{
	move(false);
}

Test(lot, who_is_moved_within_a_bucket_waits_on_elsewhere)
{
	move(true);
}

/* ---- in a storm ---- */

#define STORM_THREADS 6
#define STORM_KEYS    3
static uint32_t words[STORM_KEYS];
static _Atomic long given, taken, broken, timed;
static _Atomic int storming;

/* Tokens: a wait for one is a wait for the word's address. */
static void *storm(void *arg)
{
	struct coro *me = coro_adopt(CORO_KIND_THREAD);
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	waiters[seed % MOST].coro = me;
	for (int i = 0; i < 20000; i++) {
		uint32_t *w = &words[unit_random(&seed) % STORM_KEYS];
		struct lot_bucket *b = lot_lock(w);
		struct coro_list l = { 0 };

		if (unit_random(&seed) % 2) {
			++*w;
			given++;
			lot_claim(b, w, 1, 1, &l);
			lot_unlock(b);
			ready_all(&l);
			continue;
		}
		while (!*w) {
			int r = lot_park(b, w, 1, sys_now() +
					 (cogo_time)(unit_random(&seed) % 100000),
					 WHY_PAUSE);

			if (r == -ETIMEDOUT)
				timed++;
			else if (r)
				broken++;
			b = lot_lock(w);
			if (r)
				break;
		}
		if (*w) {
			--*w;
			taken++;
		}
		lot_unlock(b);
	}
	storming--;
	while (storming)
		unit_nap();
	coro_put_thread(me);
	return NULL;
}

Test(lot, no_token_is_lost_in_a_storm)
{
	pthread_t t[STORM_THREADS];
	uint64_t seed = unit_seed("lot");
	struct timespec us = { .tv_nsec = 50000 };
	long left = 0;

	storming = STORM_THREADS;
	for (int i = 0; i < STORM_THREADS; i++)
		check_eq(pthread_create(&t[i], NULL, storm,
					(void *)(seed / MOST * MOST + (uint64_t)i +
						 MOST)), 0);
	while (storming) {
		struct coro *c = waiters[unit_random(&seed) % STORM_THREADS].coro;

		if (storming && c && wait_claim_any(c, WAIT_INTERRUPTED))
			ready(c);
		nanosleep(&us, NULL);
	}
	for (int i = 0; i < STORM_THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < STORM_KEYS; i++) {
		left += words[i];
		check(!any(&words[i]));
	}
	check_eq(given - taken, left);
}
