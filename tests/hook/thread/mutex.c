/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mutex.c - who has a mutex, who may have it, and what they are told. */
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

enum { NORMAL, RECURSIVE, ERRORCHECK, ADAPTIVE, TYPES };

static const int types[TYPES] = {
	PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
	PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};

static void init(pthread_mutex_t *m, int type)
{
	pthread_mutexattr_t attr;

	EXPECT_EQ(pthread_mutexattr_init(&attr), 0);
	EXPECT_EQ(pthread_mutexattr_settype(&attr, types[type]), 0);
	EXPECT_EQ(pthread_mutex_init(m, &attr), 0);
	EXPECT_EQ(pthread_mutexattr_destroy(&attr), 0);
}

/* ---- tables: what glibc answers ---- */

static struct timespec soon(void)
{
	return in_ms(CLOCK_REALTIME, 10);
}

static void the_owner_of_a_mutex_is_answered_by_its_type(void)
{
	/* relock by timedlock, trylock; unlock when it is free */
	static const int relock[TYPES] = {ETIMEDOUT, 0, EDEADLK, ETIMEDOUT};
	static const int retry[TYPES] = {EBUSY, 0, EBUSY, EBUSY};

	for (int type = 0; type < TYPES; type++) {
		struct timespec due = soon();
		pthread_mutex_t m;

		init(&m, type);
		EXPECT_EQ(pthread_mutex_lock(&m), 0);
		EXPECT_EQ(pthread_mutex_timedlock(&m, &due), relock[type]);
		EXPECT_EQ(pthread_mutex_trylock(&m), retry[type]);
		if (type == ERRORCHECK)
			EXPECT_EQ(pthread_mutex_lock(&m), EDEADLK);
		if (type == RECURSIVE) {
			EXPECT_EQ(pthread_mutex_unlock(&m), 0);
			EXPECT_EQ(pthread_mutex_unlock(&m), 0);
		}
		EXPECT_EQ(pthread_mutex_unlock(&m), 0);
		if (type == RECURSIVE || type == ERRORCHECK)
			EXPECT_EQ(pthread_mutex_unlock(&m), EPERM);
		EXPECT_EQ(pthread_mutex_destroy(&m), 0);
	}
}

static void *try_as_another(void *arg)
{
	pthread_mutex_t *m = arg;
	struct timespec due = soon();
	struct timespec mono = in_ms(CLOCK_MONOTONIC, 10);

	EXPECT_EQ(pthread_mutex_trylock(m), EBUSY);
	EXPECT_EQ(pthread_mutex_timedlock(m, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
	EXPECT_EQ(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &mono), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_MONOTONIC) >=
	       mono.tv_sec * 1000000000LL + mono.tv_nsec);
	return arg;
}

static void *unlock_as_another(void *arg)
{
	EXPECT_EQ(pthread_mutex_unlock(arg), EPERM);
	return arg;
}

static void another_is_kept_out_whatever_the_type(void)
{
	for (int type = 0; type < TYPES; type++) {
		pthread_mutex_t m;

		init(&m, type);
		EXPECT_EQ(pthread_mutex_lock(&m), 0);
		finish(start(try_as_another, &m));
		if (type == RECURSIVE || type == ERRORCHECK)
			finish(start(unlock_as_another, &m));
		EXPECT_EQ(pthread_mutex_destroy(&m), EBUSY);
		EXPECT_EQ(pthread_mutex_unlock(&m), 0);
		EXPECT_EQ(pthread_mutex_destroy(&m), 0);
	}
}

static void a_time_is_looked_at_only_when_one_must_wait(void)
{
	struct timespec bad = {0, 1000000000}, past = {1, 0};
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	EXPECT_EQ(pthread_mutex_timedlock(&m, &bad), 0);
	EXPECT_EQ(pthread_mutex_timedlock(&m, &bad), EINVAL);
	EXPECT_EQ(pthread_mutex_timedlock(&m, &past), ETIMEDOUT);
	past.tv_sec = -1;
	EXPECT_EQ(pthread_mutex_timedlock(&m, &past), ETIMEDOUT);
	EXPECT_EQ(pthread_mutex_clocklock(&m, CLOCK_PROCESS_CPUTIME_ID, &past),
		  EINVAL);
	EXPECT_EQ(pthread_mutex_unlock(&m), 0);
	EXPECT_EQ(pthread_mutex_timedlock(&m, &past), 0);
	EXPECT_EQ(pthread_mutex_unlock(&m), 0);
}

static void static_initialisers_make_mutexes_of_their_types(void)
{
	static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
	static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	static pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
	static pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

	EXPECT_EQ(pthread_mutex_lock(&normal), 0);
	EXPECT_EQ(pthread_mutex_trylock(&normal), EBUSY);
	EXPECT_EQ(pthread_mutex_unlock(&normal), 0);
	EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
	EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
	EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
	EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
	EXPECT_EQ(pthread_mutex_lock(&checking), 0);
	EXPECT_EQ(pthread_mutex_lock(&checking), EDEADLK);
	EXPECT_EQ(pthread_mutex_unlock(&checking), 0);
	EXPECT_EQ(pthread_mutex_lock(&adaptive), 0);
	EXPECT_EQ(pthread_mutex_unlock(&adaptive), 0);
}

static void attributes_are_read_back_and_nonsense_refused(void)
{
	pthread_mutexattr_t attr;
	int value = -1;

	EXPECT_EQ(pthread_mutexattr_init(&attr), 0);
	EXPECT_EQ(pthread_mutexattr_gettype(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_MUTEX_DEFAULT);
	EXPECT_EQ(pthread_mutexattr_settype(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_mutexattr_getpshared(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_PROCESS_PRIVATE);
	EXPECT_EQ(pthread_mutexattr_setpshared(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
	EXPECT_EQ(pthread_mutexattr_getpshared(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_PROCESS_SHARED);
	EXPECT_EQ(pthread_mutexattr_getrobust(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_MUTEX_STALLED);
	EXPECT_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
	EXPECT_EQ(pthread_mutexattr_getrobust(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_MUTEX_ROBUST);
	EXPECT_EQ(pthread_mutexattr_getprotocol(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_PRIO_NONE);
	EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
	EXPECT_EQ(pthread_mutexattr_getprotocol(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_PRIO_INHERIT);
	EXPECT_EQ(pthread_mutexattr_destroy(&attr), 0);
}

/* ---- what it is for ---- */

#define CROWD 16
#define TURNS 3000

static pthread_mutex_t shared;
static long counter;

static void *add_in_turn(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		if (pthread_mutex_lock(&shared))
			return NULL;
		counter++;
		if (i % 64 == 0)
			sched_yield();
		if (pthread_mutex_unlock(&shared))
			return NULL;
	}
	return arg;
}

static void *add_by_trying(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		struct timespec due = in_ms(CLOCK_REALTIME, 60000);

		while (i % 2 && pthread_mutex_trylock(&shared))
			sched_yield();
		if (i % 2 == 0 && pthread_mutex_timedlock(&shared, &due))
			return NULL;
		counter++;
		pthread_mutex_unlock(&shared);
	}
	return arg;
}

static void nobody_is_in_it_together(void)
{
	for (int type = 0; type < TYPES; type++) {
		pthread_t t[CROWD];

		init(&shared, type);
		counter = 0;
		for (int i = 0; i < CROWD; i++)
			t[i] = start(i % 4 ? add_in_turn : add_by_trying, &shared);
		for (int i = 0; i < CROWD; i++)
			EXPECT(finish(t[i]) == &shared);
		EXPECT_EQ(counter, CROWD * TURNS);
		EXPECT_EQ(pthread_mutex_destroy(&shared), 0);
	}
}

/* Held across every kind of wait by one, wanted by others. */
static void *hold_across_waits(void *arg)
{
	int *fd = arg;
	char c = 'x';

	for (int i = 0; i < 20; i++) {
		pthread_mutex_lock(&shared);
		counter++;
		nap_us(100);
		sched_yield();
		if (write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1)
			return NULL;
		pthread_mutex_unlock(&shared);
	}
	return arg;
}

static void it_may_be_held_across_any_wait(void)
{
	pthread_t t[8];
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	init(&shared, NORMAL);
	counter = 0;
	for (int i = 0; i < 8; i++)
		t[i] = start(hold_across_waits, fd);
	for (int i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == fd);
	EXPECT_EQ(counter, 160);
	close(fd[0]);
	close(fd[1]);
}

static void *lock_for_another(void *arg)
{
	pthread_mutex_lock(arg);
	return arg;
}

/* Normal ones have no owner who alone may unlock, and may be a signal. */
static void a_normal_one_may_be_unlocked_by_another(void)
{
	init(&shared, NORMAL);
	finish(start(lock_for_another, &shared));
	EXPECT_EQ(pthread_mutex_trylock(&shared), EBUSY);
	EXPECT_EQ(pthread_mutex_unlock(&shared), 0);
	EXPECT_EQ(pthread_mutex_trylock(&shared), 0);
	EXPECT_EQ(pthread_mutex_unlock(&shared), 0);
}

/* The last to unlock frees it, while the one before is still on its way out
 * of unlock. */
struct counted {
	pthread_mutex_t mutex;
	int references;
};

static void *put(void *arg)
{
	struct counted *c = arg;
	bool last;

	pthread_mutex_lock(&c->mutex);
	last = --c->references == 0;
	pthread_mutex_unlock(&c->mutex);
	if (last) {
		pthread_mutex_destroy(&c->mutex);
		memset(c, 0xee, sizeof(*c));
		free(c);
	}
	return arg;
}

static void it_may_be_freed_by_who_had_it_last(void)
{
	for (int i = 0; i < 300; i++) {
		struct counted *c = malloc(sizeof(*c));
		pthread_t t[4];

		pthread_mutex_init(&c->mutex, NULL);
		c->references = 4;
		for (int k = 0; k < 4; k++)
			t[k] = start(put, c);
		for (int k = 0; k < 4; k++)
			finish(t[k]);
	}
}

/* Locks and unlocks in a ring: each waits for the one before. */
#define RING 50

static pthread_mutex_t ring[RING];
static long ring_turns;

static void *walk_ring(void *arg)
{
	int at = (int)(intptr_t)arg;

	for (int i = 0; i < 200; i++) {
		int low = at < (at + 1) % RING ? at : (at + 1) % RING;
		int high = at + (at + 1) % RING - low;

		pthread_mutex_lock(&ring[low]);
		if (i % 8 == 0)
			sched_yield();
		pthread_mutex_lock(&ring[high]);
		__atomic_add_fetch(&ring_turns, 1, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&ring[high]);
		pthread_mutex_unlock(&ring[low]);
	}
	return arg;
}

static void philosophers_all_eat(void)
{
	pthread_t t[RING];

	for (int i = 0; i < RING; i++)
		pthread_mutex_init(&ring[i], NULL);
	for (intptr_t i = 0; i < RING; i++)
		t[i] = start(walk_ring, (void *)i);
	for (intptr_t i = 0; i < RING; i++)
		EXPECT(finish(t[i]) == (void *)i);
	EXPECT_EQ(ring_turns, RING * 200);
}

/* One that takes it again at once must not keep the others out for ever. */
static atomic_bool stop;
static atomic_int others_had_it;

static void *take_again_and_again(void *arg)
{
	while (!atomic_load(&stop)) {
		pthread_mutex_lock(&shared);
		for (volatile int i = 0; i < 1000; i++)
			;
		pthread_mutex_unlock(&shared);
	}
	return arg;
}

static void *take_once(void *arg)
{
	for (int i = 0; i < 20; i++) {
		pthread_mutex_lock(&shared);
		atomic_fetch_add(&others_had_it, 1);
		pthread_mutex_unlock(&shared);
		nap_us(100);
	}
	return arg;
}

static void who_takes_it_again_at_once_starves_nobody(void)
{
	pthread_t greedy[2], modest[4];

	init(&shared, NORMAL);
	atomic_store(&stop, false);
	for (int i = 0; i < 2; i++)
		greedy[i] = start(take_again_and_again, NULL);
	for (int i = 0; i < 4; i++)
		modest[i] = start(take_once, NULL);
	for (int i = 0; i < 4; i++)
		finish(modest[i]);
	EXPECT_EQ(atomic_load(&others_had_it), 80);
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		finish(greedy[i]);
}

static void priority_protocols_work_as_mutexes(void)
{
	pthread_mutexattr_t attr;
	pthread_t t[8];

	EXPECT_EQ(pthread_mutexattr_init(&attr), 0);
	EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
	EXPECT_EQ(pthread_mutex_init(&shared, &attr), 0);
	counter = 0;
	for (int i = 0; i < 8; i++)
		t[i] = start(add_in_turn, &shared);
	for (int i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == &shared);
	EXPECT_EQ(counter, 8 * TURNS);
	EXPECT_EQ(pthread_mutex_lock(&shared), 0);
	finish(start(try_as_another, &shared));
	EXPECT_EQ(pthread_mutex_unlock(&shared), 0);
	EXPECT_EQ(pthread_mutex_destroy(&shared), 0);
}

static void errno_is_left_alone(void)
{
	struct timespec due = soon();
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	errno = 4711;
	EXPECT_EQ(pthread_mutex_lock(&m), 0);
	EXPECT_EQ(pthread_mutex_trylock(&m), EBUSY);
	EXPECT_EQ(pthread_mutex_timedlock(&m, &due), ETIMEDOUT);
	EXPECT_EQ(pthread_mutex_unlock(&m), 0);
	EXPECT_EQ(errno, 4711);
}

static const struct expect_case cases[] = {
	CASE(the_owner_of_a_mutex_is_answered_by_its_type),
	CASE_IN_MAIN(the_owner_of_a_mutex_is_answered_by_its_type),
	CASE(another_is_kept_out_whatever_the_type),
	CASE_IN_MAIN(another_is_kept_out_whatever_the_type),
	CASE(a_time_is_looked_at_only_when_one_must_wait),
	CASE(static_initialisers_make_mutexes_of_their_types),
	CASE(attributes_are_read_back_and_nonsense_refused),
	CASE(nobody_is_in_it_together),
	CASE(it_may_be_held_across_any_wait),
	CASE(a_normal_one_may_be_unlocked_by_another),
	CASE(it_may_be_freed_by_who_had_it_last),
	CASE(philosophers_all_eat),
	CASE(who_takes_it_again_at_once_starves_nobody),
	CASE(priority_protocols_work_as_mutexes),
	CASE(errno_is_left_alone),
};
EXPECT_MAIN(cases)
