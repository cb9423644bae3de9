/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A worker's queue of ready coroutines. */
#include "sched/runq.h"
#include "unit.h"
#include <pthread.h>

#define MANY 2000
static struct coro c[MANY];
static struct runq q, other;

static int number(const struct coro *one)
{
	return one ? (int)(one - c) : -1;
}

static void push_all(int from, int to)
{
	for (int i = from; i < to; i++)
		check(runq_push(&q, &c[i]));
}

Test(runq, the_ring_is_first_in_first_out)
{
	check(runq_pop(&q) == NULL);
	push_all(0, 100);
	check_eq(runq_length(&q), 100);
	for (int i = 0; i < 100; i++)
		check_eq(number(runq_pop(&q)), i);
	check(runq_pop(&q) == NULL);
}

Test(runq, who_is_ahead_is_taken_after_so_many_turns)
{
	check(runq_ahead(&q, 0) == NULL);
	/* Some, so that the ring has turned. */
	for (int turn = 0; turn < 5; turn++) {
		push_all(0, 200);
		for (int i = 0; i < 200; i++) {
			check_eq(number(runq_ahead(&q, 0)), i);
			check_eq(number(runq_ahead(&q, 2)), i < 198 ? i + 2 : -1);
			check_eq(number(runq_pop(&q)), i);
		}
	}
	check(runq_ahead(&q, 0) == NULL);
}

Test(runq, who_was_readied_last_runs_first)
{
	push_all(0, 3);
	check(runq_put_next(&q, &c[10]) == NULL);
	check_eq(number(runq_put_next(&q, &c[11])), 10);
	check_eq(runq_length(&q), 4);
	check_eq(number(runq_pop(&q)), 11);
	for (int i = 0; i < 3; i++)
		check_eq(number(runq_pop(&q)), i);
	check(runq_pop(&q) == NULL);
}

Test(runq, two_who_talk_to_each_other_do_not_starve_the_rest)
{
	int turns = 0;

	push_all(0, 5);
	for (int i = 0; i < 5; i++) {
		int got;

		do {
			struct coro *was =
				runq_put_next(&q, &c[100 + turns % 2]);

			check(!was || runq_push(&q, was));
			got = number(runq_pop(&q));
			check(++turns < 500);
		} while (got >= 100);
		check_eq(got, i);
		/* It was put off, not lost. */
		check_eq(runq_length(&q), 5);
	}
}

Test(runq, a_full_ring_takes_nobody_in_and_keeps_who_came_first)
{
	push_all(0, RUNQ_SIZE);
	check(!runq_push(&q, &c[1000]));
	check_eq(runq_length(&q), RUNQ_SIZE);
	check_eq(number(runq_pop(&q)), 0);
	check(runq_push(&q, &c[1000]));
	check(!runq_push(&q, &c[1001]));
	for (int i = 1; i < (int)RUNQ_SIZE; i++)
		check_eq(number(runq_pop(&q)), i);
	check_eq(number(runq_pop(&q)), 1000);
	check(runq_pop(&q) == NULL);
}

Test(runq, counters_may_wrap)
{
	struct coro *got;
	int n = 0;

	q.head = q.tail = UINT32_MAX - 100;
	other.head = other.tail = UINT32_MAX - 3;
	push_all(0, 256);
	check_eq(runq_length(&q), 256);
	got = runq_steal(&other, &q, false);
	check(got);
	check_eq(runq_length(&q) + runq_length(&other) + 1, 256);
	while (runq_pop(&q))
		n++;
	while (runq_pop(&other))
		n++;
	check_eq(n, 255);
}

Test(runq, a_thief_takes_half_the_oldest_first)
{
	push_all(0, 11);
	/* Six of eleven: one to run, five to keep. */
	check_eq(number(runq_steal(&other, &q, true)), 5);
	for (int i = 0; i < 5; i++)
		check_eq(number(runq_pop(&other)), i);
	check(runq_pop(&other) == NULL);
	for (int i = 6; i < 11; i++)
		check_eq(number(runq_pop(&q)), i);
}

Test(runq, the_next_slot_is_stolen_last_and_only_when_asked)
{
	runq_put_next(&q, &c[1]);
	check(runq_push(&q, &c[2]));
	check_eq(number(runq_steal(&other, &q, true)), 2);
	check(runq_steal(&other, &q, false) == NULL);
	check_eq(number(runq_steal(&other, &q, true)), 1);
	check(runq_steal(&other, &q, true) == NULL);
	check_eq(runq_length(&q), 0);
	check_eq(runq_length(&other), 0);
}

/* The storm: owners push, pop and steal; each coroutine is in one place. What
 * an owner takes it marks as taken, and puts back later, anywhere. */
#define OWNERS 4
#define HELD 300

static struct runq queues[OWNERS];
static _Atomic uint32_t holder[MANY];	/* 0: on a queue */
static _Atomic bool stop;
static struct { uint64_t seed; long taken, stolen; } owner[OWNERS];

static void take(struct coro *got, int me, struct coro **held, int *nheld)
{
	/* Twice at once it would be somebody's already. */
	check_eq(atomic_exchange(&holder[number(got)], (uint32_t)me + 1), 0);
	held[(*nheld)++] = got;
	owner[me].taken++;
}

static void *be_owner(void *arg)
{
	int me = (int)(intptr_t)arg, nheld = 0;
	struct runq *mine = &queues[me];
	uint64_t *seed = &owner[me].seed;
	struct coro *held[2 * HELD + MANY], *got;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t r = unit_random(seed);

		switch (nheld > HELD ? r % 4 : r % 8) {
		case 0:
		case 1:
		case 2:
		case 3:
			if (!nheld)
				break;
			got = held[--nheld];
			check_eq(atomic_exchange(&holder[number(got)], 0),
				 me + 1);
			if (r & 16)
				got = runq_put_next(mine, got);
			/* Who finds no room is the owner's again. */
			if (got && !runq_push(mine, got))
				take(got, me, held, &nheld);
			break;
		case 4:
		case 5:
			got = runq_pop(mine);
			if (got)
				take(got, me, held, &nheld);
			break;
		default:
			/* As the loop does: only with an empty queue. */
			while ((got = runq_pop(mine)))
				take(got, me, held, &nheld);
			got = runq_steal(mine, &queues[(r >> 8) % OWNERS == (uint64_t)me
						       ? (me + 1) % OWNERS
						       : (int)((r >> 8) % OWNERS)],
					 r & 32);
			if (got) {
				owner[me].stolen++;
				take(got, me, held, &nheld);
			}
		}
	}
	while (nheld) {
		got = held[--nheld];
		atomic_store(&holder[number(got)], 0);
		if (!runq_push(mine, got))
			atomic_store(&holder[number(got)], 1000);
	}
	return NULL;
}

Test(runq, in_a_storm_nothing_is_lost_and_nothing_is_had_twice, .timeout = 180)
{
	uint64_t seed = unit_seed("runq");
	long seconds = unit_setting("UNIT_SECONDS", 3), taken = 0, stolen = 0;
	int seen[MANY] = { 0 };
	pthread_t t[OWNERS];
	struct coro *got;

	for (int i = 0; i < MANY / 2; i++)
		check(runq_push(&queues[i % OWNERS], &c[i]));
	for (intptr_t i = 0; i < OWNERS; i++) {
		owner[i].seed = unit_random(&seed);
		check_eq(pthread_create(&t[i], NULL, be_owner, (void *)i), 0);
	}
	sleep((unsigned)seconds);
	atomic_store(&stop, true);
	for (int i = 0; i < OWNERS; i++) {
		pthread_join(t[i], NULL);
		taken += owner[i].taken;
		stolen += owner[i].stolen;
		while ((got = runq_pop(&queues[i])))
			seen[number(got)]++;
	}
	for (int i = 0; i < MANY; i++)
		if (atomic_load(&holder[i]) == 1000)
			seen[i]++;
	for (int i = 0; i < MANY; i++)
		check_eq(seen[i], i < MANY / 2);
	check(taken > 1000 && stolen > 100);
}
