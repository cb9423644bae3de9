/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* rank.c - threads with a real-time policy: who is made by one has it too, and of
 * those who wait the first in rank is served first. */
#include "../../support/expect.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static bool take_policy(int policy, int priority)
{
	struct sched_param param = {.sched_priority = priority};
	int r = pthread_setschedparam(pthread_self(), policy, &param);

	if (r == EPERM)
		return false;
	return EXPECT_EQ(r, 0);
}

static void *own_policy(void *arg)
{
	struct sched_param param;
	int policy;

	(void)arg;
	if (pthread_getschedparam(pthread_self(), &policy, &param))
		return NULL;
	return (void *)(intptr_t)(policy * 1000 + param.sched_priority);
}

static void *inherit(void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	if (!take_policy(SCHED_RR, 7))
		return NULL;
	EXPECT_EQ((long)finish(start(own_policy, NULL)), SCHED_RR * 1000 + 7);
	pthread_attr_init(&attr);
	EXPECT_EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	EXPECT_EQ(pthread_attr_setschedpolicy(&attr, SCHED_OTHER), 0);
	EXPECT_EQ(pthread_attr_setschedparam(&attr, &(struct sched_param){0}), 0);
	EXPECT_EQ(pthread_create(&t, &attr, own_policy, NULL), 0);
	EXPECT_EQ((long)finish(t), SCHED_OTHER * 1000);
	pthread_attr_destroy(&attr);
	return arg;
}

/* Nobody's but the thread's own. */
static void a_policy_is_inherited_from_who_has_one(void)
{
	int once;

	if (finish(start(inherit, &once)) != &once)
		SKIP("no real-time policy may be had here");
	EXPECT_EQ((long)finish(start(own_policy, NULL)), SCHED_OTHER * 1000);
}

static void inherit_first(void *arg)
{
	int quiet = open("/dev/null", O_WRONLY);

	(void)arg;
	if (EXPECT_OK(quiet) && EXPECT_OK(dup2(quiet, 1)))
		EXPECT_OK(execl("/proc/self/exe", "rank",
				"a_policy_is_inherited_from_who_has_one", NULL));
}

/* In a program that has just begun, on one processor, nobody who was made before
 * has begun yet. */
static void a_policy_is_inherited_though_all_have_just_been_made(void)
{
	cpu_set_t one;
	int here = sched_getcpu();

	if (!EXPECT(here >= 0))
		return;
	CPU_ZERO(&one);
	CPU_SET(here, &one);
	EXPECT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	for (int i = 0; i < 10; i++)
		expect_child(inherit_first, NULL);
}

#define RANKS 4
static const int priorities[RANKS] = {5, 20, 10, 10};
static const int wanted[RANKS] = {1, 2, 3, 0};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sem_t semaphore;
static atomic_int begun;
static int order[RANKS], served;

static void *wait_for_mutex(void *arg)
{
	atomic_fetch_add(&begun, 1);
	pthread_mutex_lock(&mutex);
	order[served++] = (int)(intptr_t)arg;
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void *wait_for_semaphore(void *arg)
{
	atomic_fetch_add(&begun, 1);
	while (sem_wait(&semaphore))
		continue;
	order[served++] = (int)(intptr_t)arg;
	sem_post(&semaphore);
	return NULL;
}

/* The waiters come one after the other. */
static bool make_waiters(void *(*fn)(void *), pthread_t t[RANKS])
{
	pthread_attr_t attr;
	int r = 0;

	served = 0;
	atomic_store(&begun, 0);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	for (int i = 0; i < RANKS && r == 0; i++) {
		struct sched_param param = {.sched_priority = priorities[i]};

		pthread_attr_setschedparam(&attr, &param);
		r = pthread_create(&t[i], &attr, fn, (void *)(intptr_t)i);
		if (r)
			break;
		WAIT_UNTIL(atomic_load(&begun) == i + 1);
		settle();
	}
	pthread_attr_destroy(&attr);
	EXPECT(r == 0 || r == EPERM);
	return r == 0;
}

static void those_in_front_are_served_first(pthread_t t[RANKS])
{
	for (int i = 0; i < RANKS; i++)
		finish(t[i]);
	EXPECT_EQ(served, RANKS);
	for (int i = 0; i < RANKS; i++)
		EXPECT_EQ(order[i], wanted[i]);
}

static void a_mutex_goes_to_the_first_in_rank(void)
{
	pthread_t t[RANKS];
	bool may;

	pthread_mutex_lock(&mutex);
	may = make_waiters(wait_for_mutex, t);
	pthread_mutex_unlock(&mutex);
	if (!may)
		SKIP("no real-time policy may be had here");
	those_in_front_are_served_first(t);
}

static void a_token_goes_to_the_first_in_rank(void)
{
	pthread_t t[RANKS];

	sem_init(&semaphore, 0, 0);
	if (!make_waiters(wait_for_semaphore, t))
		SKIP("no real-time policy may be had here");
	sem_post(&semaphore);
	those_in_front_are_served_first(t);
}

static void *take_rank(void *arg)
{
	return take_policy(SCHED_FIFO, 9) ? arg : NULL;
}

/* Who comes after it, in its place perhaps, stands behind who was there. */
static void a_rank_ends_with_its_thread(void)
{
	pthread_t first, second;
	bool may;

	served = 0;
	atomic_store(&begun, 0);
	pthread_mutex_lock(&mutex);
	first = start(wait_for_mutex, (void *)1);
	WAIT_UNTIL(atomic_load(&begun) == 1);
	settle();
	may = finish(start(take_rank, &served)) == &served;
	second = start(wait_for_mutex, (void *)2);
	WAIT_UNTIL(atomic_load(&begun) == 2);
	settle();
	pthread_mutex_unlock(&mutex);
	finish(first);
	finish(second);
	if (!may)
		SKIP("no real-time policy may be had here");
	EXPECT_EQ(order[0], 1);
	EXPECT_EQ(order[1], 2);
}

static const struct expect_case cases[] = {
	CASE(a_policy_is_inherited_from_who_has_one),
	CASE(a_policy_is_inherited_though_all_have_just_been_made),
	CASE(a_mutex_goes_to_the_first_in_rank),
	CASE(a_token_goes_to_the_first_in_rank),
	CASE(a_rank_ends_with_its_thread),
};
EXPECT_MAIN(cases)
