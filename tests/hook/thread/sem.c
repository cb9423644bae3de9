/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sem.c - semaphores, barriers and spin locks. */
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

/* ---- semaphores ---- */

static void a_semaphore_counts(void)
{
	struct timespec due, past = {1, 0}, bad = {0, 1000000000};
	int value = -1;
	sem_t sem;

	EXPECT_OK(sem_init(&sem, 0, 2));
	EXPECT_OK(sem_wait(&sem));
	EXPECT_OK(sem_trywait(&sem));
	EXPECT_ERR(sem_trywait(&sem), EAGAIN);
	due = in_ms(CLOCK_REALTIME, 10);
	EXPECT_ERR(sem_timedwait(&sem, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
	due = in_ms(CLOCK_MONOTONIC, 10);
	EXPECT_ERR(sem_clockwait(&sem, CLOCK_MONOTONIC, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_MONOTONIC) >=
	       due.tv_sec * 1000000000LL + due.tv_nsec);
	EXPECT_ERR(sem_timedwait(&sem, &past), ETIMEDOUT);
	EXPECT_ERR(sem_timedwait(&sem, &bad), EINVAL);
	EXPECT_ERR(sem_clockwait(&sem, CLOCK_PROCESS_CPUTIME_ID, &due), EINVAL);
	EXPECT_OK(sem_post(&sem));
	EXPECT_OK(sem_getvalue(&sem, &value));
	EXPECT_EQ(value, 1);
	EXPECT_OK(sem_timedwait(&sem, &past)); /* no need to wait: no time asked */
	EXPECT_OK(sem_getvalue(&sem, &value));
	EXPECT_EQ(value, 0);
	EXPECT_OK(sem_destroy(&sem));
	EXPECT_ERR(sem_init(&sem, 0, (unsigned)SEM_VALUE_MAX + 1), EINVAL);
	EXPECT_OK(sem_init(&sem, 0, SEM_VALUE_MAX));
	EXPECT_ERR(sem_post(&sem), EOVERFLOW);
	EXPECT_OK(sem_destroy(&sem));
}

#define CROWD 50

static sem_t tokens;
static atomic_int taken;

static void *take(void *arg)
{
	if (sem_wait(&tokens))
		return NULL;
	atomic_fetch_add(&taken, 1);
	return arg;
}

static void each_post_lets_one_go(void)
{
	pthread_t t[CROWD];

	EXPECT_OK(sem_init(&tokens, 0, 0));
	for (int i = 0; i < CROWD; i++)
		t[i] = start(take, &tokens);
	for (int i = 1; i <= CROWD; i++) {
		EXPECT_OK(sem_post(&tokens));
		WAIT_UNTIL(atomic_load(&taken) == i);
		if (i % 10 == 0) {
			settle();
			EXPECT_EQ(atomic_load(&taken), i);
		}
	}
	for (int i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == &tokens);
	EXPECT_OK(sem_destroy(&tokens));
}

/* Tokens go round; whoever has one is one of few. */
static atomic_int holding, too_many;

static void *take_and_give(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		struct timespec due = in_ms(CLOCK_REALTIME, 60000);

		if (i % 3 == 0 ? sem_timedwait(&tokens, &due) :
				 sem_wait(&tokens))
			return NULL;
		if (atomic_fetch_add(&holding, 1) >= 3)
			atomic_fetch_add(&too_many, 1);
		if (i % 16 == 0)
			sched_yield();
		atomic_fetch_sub(&holding, 1);
		sem_post(&tokens);
	}
	return arg;
}

static void tokens_are_neither_lost_nor_made(void)
{
	pthread_t t[16];
	int value = -1;

	EXPECT_OK(sem_init(&tokens, 0, 3));
	for (int i = 0; i < 16; i++)
		t[i] = start(take_and_give, &tokens);
	for (int i = 0; i < 16; i++)
		EXPECT(finish(t[i]) == &tokens);
	EXPECT_EQ(atomic_load(&too_many), 0);
	EXPECT_OK(sem_getvalue(&tokens, &value));
	EXPECT_EQ(value, 3);
	EXPECT_OK(sem_destroy(&tokens));
}

/* Posted and at once gone: the poster may still be inside sem_post. */
static void *post_it(void *arg)
{
	sem_post(arg);
	return NULL;
}

static void it_may_go_as_soon_as_the_wait_has_returned(void)
{
	for (int i = 0; i < 500; i++) {
		sem_t *sem = malloc(sizeof(*sem));
		pthread_t t;

		sem_init(sem, 0, 0);
		t = start(post_it, sem);
		EXPECT_OK(sem_wait(sem));
		sem_destroy(sem);
		memset(sem, 0xee, sizeof(*sem));
		free(sem);
		finish(t);
	}
}

static void post_by_name(void *name)
{
	sem_t *sem = sem_open(name, 0);

	EXPECT(sem != SEM_FAILED);
	nap_us(10000);
	EXPECT_OK(sem_post(sem));
	EXPECT_OK(sem_close(sem));
}

static void a_named_semaphore_is_between_processes(void)
{
	char name[64];
	sem_t *sem, *again;
	int value = -1;

	snprintf(name, sizeof(name), "/expect.sem.%d", (int)getpid());
	EXPECT(sem_open(name, 0) == SEM_FAILED);
	EXPECT_EQ(errno, ENOENT);
	sem = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
	if (!EXPECT(sem != SEM_FAILED))
		return;
	EXPECT((again = sem_open(name, 0)) == sem);
	EXPECT(sem_open(name, O_CREAT | O_EXCL, 0600, 0) == SEM_FAILED);
	EXPECT_EQ(errno, EEXIST);
	expect_child(post_by_name, name);
	EXPECT_OK(sem_wait(sem));
	EXPECT_OK(sem_getvalue(sem, &value));
	EXPECT_EQ(value, 0);
	EXPECT_OK(sem_close(again));
	EXPECT_OK(sem_close(sem));
	EXPECT_OK(sem_unlink(name));
	EXPECT_ERR(sem_unlink(name), ENOENT);
}

/* ---- barriers ---- */

#define PARTY 10
#define MEETINGS 500

static pthread_barrier_t barrier;
static atomic_int serial, early;
static atomic_int arrived[MEETINGS];

static void *meet(void *arg)
{
	for (int i = 0; i < MEETINGS; i++) {
		int ret;

		atomic_fetch_add(&arrived[i], 1);
		if ((i + (int)(intptr_t)arg) % 7 == 0)
			sched_yield();
		ret = pthread_barrier_wait(&barrier);
		if (ret == PTHREAD_BARRIER_SERIAL_THREAD)
			atomic_fetch_add(&serial, 1);
		else if (ret)
			return NULL;
		if (atomic_load(&arrived[i]) != PARTY)
			atomic_fetch_add(&early, 1);
	}
	return arg;
}

static void all_leave_a_barrier_when_the_last_has_come(void)
{
	pthread_t t[PARTY];

	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, PARTY), 0);
	for (intptr_t i = 0; i < PARTY; i++)
		t[i] = start(meet, (void *)(i + 1));
	for (intptr_t i = 0; i < PARTY; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	EXPECT_EQ(atomic_load(&early), 0);
	EXPECT_EQ(atomic_load(&serial), MEETINGS); /* one each time */
	EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 1), 0);
	EXPECT_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
	EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

static void *meet_once(void *arg)
{
	pthread_barrier_t *b = arg;

	/* whoever is the serial one takes it down, the others still inside */
	if (pthread_barrier_wait(b) == PTHREAD_BARRIER_SERIAL_THREAD) {
		pthread_barrier_destroy(b);
		memset(b, 0xee, sizeof(*b));
		free(b);
	}
	return NULL;
}

static void a_barrier_may_be_destroyed_by_one_who_left_it(void)
{
	for (int i = 0; i < 200; i++) {
		pthread_barrier_t *b = malloc(sizeof(*b));
		pthread_t t[4];

		pthread_barrier_init(b, NULL, 4);
		for (int k = 0; k < 4; k++)
			t[k] = start(meet_once, b);
		for (int k = 0; k < 4; k++)
			finish(t[k]);
	}
}

/* ---- spin locks ---- */

static pthread_spinlock_t spin;
static long spun;

static void *spin_in_turn(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		pthread_spin_lock(&spin);
		spun++;
		/* the worst a program may do: leave with it held */
		if (i % 500 == 0)
			sched_yield();
		pthread_spin_unlock(&spin);
	}
	return arg;
}

static void *find_it_busy(void *arg)
{
	return pthread_spin_trylock(&spin) == EBUSY ? arg : NULL;
}

static void more_spinners_than_processors_all_get_through(void)
{
	pthread_t t[12];

	EXPECT_EQ(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE), 0);
	for (int i = 0; i < 12; i++)
		t[i] = start(spin_in_turn, &spun);
	for (int i = 0; i < 12; i++)
		EXPECT(finish(t[i]) == &spun);
	EXPECT_EQ(spun, 12 * 2000);
	EXPECT_EQ(pthread_spin_trylock(&spin), 0);
	EXPECT(finish(start(find_it_busy, &spun)) == &spun);
	EXPECT_EQ(pthread_spin_unlock(&spin), 0);
	EXPECT_EQ(pthread_spin_destroy(&spin), 0);
}

static const struct expect_case cases[] = {
	CASE(a_semaphore_counts),
	CASE_IN_MAIN(a_semaphore_counts),
	CASE(each_post_lets_one_go),
	CASE(tokens_are_neither_lost_nor_made),
	CASE(it_may_go_as_soon_as_the_wait_has_returned),
	CASE(a_named_semaphore_is_between_processes),
	CASE(all_leave_a_barrier_when_the_last_has_come),
	CASE(a_barrier_may_be_destroyed_by_one_who_left_it),
	CASE(more_spinners_than_processors_all_get_through),
};
EXPECT_MAIN(cases)
