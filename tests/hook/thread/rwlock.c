/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* rwlock.c - many read together, one writes alone. */
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_int inside, most;
static atomic_bool may_leave;

static void *read_together(void *arg)
{
	int n, seen;

	if (pthread_rwlock_rdlock(&lock))
		return NULL;
	n = atomic_fetch_add(&inside, 1) + 1;
	seen = atomic_load(&most);
	while (seen < n && !atomic_compare_exchange_weak(&most, &seen, n))
		;
	WAIT_UNTIL(atomic_load(&may_leave));
	atomic_fetch_sub(&inside, 1);
	return pthread_rwlock_unlock(&lock) ? NULL : arg;
}

static atomic_bool wrote;

static void *write_alone(void *arg)
{
	if (pthread_rwlock_wrlock(&lock))
		return NULL;
	if (atomic_load(&inside) != 0)
		arg = NULL;
	atomic_store(&wrote, true);
	return pthread_rwlock_unlock(&lock) ? NULL : arg;
}

static void readers_are_in_together_and_a_writer_waits_for_them(void)
{
	pthread_t readers[20], writer;

	atomic_store(&may_leave, false);
	for (int i = 0; i < 20; i++)
		readers[i] = start(read_together, &lock);
	WAIT_UNTIL(atomic_load(&inside) == 20);
	EXPECT_EQ(atomic_load(&most), 20);
	writer = start(write_alone, &lock);
	settle();
	EXPECT(!atomic_load(&wrote));
	atomic_store(&may_leave, true);
	for (int i = 0; i < 20; i++)
		EXPECT(finish(readers[i]) == &lock);
	EXPECT(finish(writer) == &lock);
	EXPECT(atomic_load(&wrote));
}

static void *try_while_written(void *arg)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 10), past = {1, 0};
	struct timespec mono = in_ms(CLOCK_MONOTONIC, 10);
	struct timespec bad = {0, 1000000000};

	EXPECT_EQ(pthread_rwlock_tryrdlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_timedrdlock(&lock, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
	due = in_ms(CLOCK_REALTIME, 10);
	EXPECT_EQ(pthread_rwlock_timedwrlock(&lock, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
	EXPECT_EQ(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &mono),
		  ETIMEDOUT);
	EXPECT_EQ(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &mono),
		  ETIMEDOUT);
	EXPECT_EQ(pthread_rwlock_timedrdlock(&lock, &past), ETIMEDOUT);
	EXPECT_EQ(pthread_rwlock_timedwrlock(&lock, &past), ETIMEDOUT);
	EXPECT_EQ(pthread_rwlock_timedrdlock(&lock, &bad), EINVAL);
	EXPECT_EQ(pthread_rwlock_timedwrlock(&lock, &bad), EINVAL);
	return arg;
}

static void *try_while_read(void *arg)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 10);

	EXPECT_EQ(pthread_rwlock_tryrdlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_timedwrlock(&lock, &due), ETIMEDOUT);
	EXPECT_EQ(pthread_rwlock_rdlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	return arg;
}

static void others_are_answered_by_who_is_inside(void)
{
	EXPECT_EQ(pthread_rwlock_wrlock(&lock), 0);
	finish(start(try_while_written, NULL));
	EXPECT_EQ(pthread_rwlock_wrlock(&lock), EDEADLK);
	EXPECT_EQ(pthread_rwlock_rdlock(&lock), EDEADLK);
	EXPECT_EQ(pthread_rwlock_tryrdlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_rdlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_rdlock(&lock), 0);
	finish(start(try_while_read, NULL));
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_trywrlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
}

/* By default a waiting writer does not keep new readers out; asked to, the
 * lock gives writers the way. */
static atomic_bool writes;

static void *write_given(void *arg)
{
	pthread_rwlock_wrlock(arg);
	atomic_store(&writes, true);
	pthread_rwlock_unlock(arg);
	return arg;
}

static void *tryread_given(void *arg)
{
	int err = pthread_rwlock_tryrdlock(arg);

	if (err == 0)
		pthread_rwlock_unlock(arg);
	return (void *)(intptr_t)err;
}

static void a_waiting_writer_keeps_readers_out_where_asked_to(void)
{
	static const struct {
		int kind, answer;
	} kinds[] = {
		{PTHREAD_RWLOCK_PREFER_READER_NP, 0},
		{PTHREAD_RWLOCK_PREFER_WRITER_NP, 0}, /* as glibc has it */
		{PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, EBUSY},
	};

	for (int i = 0; i < 3; i++) {
		pthread_rwlockattr_t attr;
		pthread_rwlock_t own;
		pthread_t writer;
		int kind = -1;

		EXPECT_EQ(pthread_rwlockattr_init(&attr), 0);
		EXPECT_EQ(pthread_rwlockattr_setkind_np(&attr, kinds[i].kind), 0);
		EXPECT_EQ(pthread_rwlockattr_getkind_np(&attr, &kind), 0);
		EXPECT_EQ(kind, kinds[i].kind);
		EXPECT_EQ(pthread_rwlockattr_setkind_np(&attr, 77), EINVAL);
		EXPECT_EQ(pthread_rwlock_init(&own, &attr), 0);
		EXPECT_EQ(pthread_rwlock_rdlock(&own), 0);
		atomic_store(&writes, false);
		writer = start(write_given, &own);
		settle();
		EXPECT(!atomic_load(&writes));
		EXPECT_EQ((intptr_t)finish(start(tryread_given, &own)),
			  kinds[i].answer);
		EXPECT_EQ(pthread_rwlock_unlock(&own), 0);
		finish(writer);
		EXPECT(atomic_load(&writes));
		EXPECT_EQ(pthread_rwlock_destroy(&own), 0);
		EXPECT_EQ(pthread_rwlockattr_destroy(&attr), 0);
	}
}

/* Two numbers that only a writer changes, both together. */
static long left, right;
static atomic_int torn;

static void *mix(void *arg)
{
	unsigned dice = (unsigned)(uintptr_t)arg * 2654435761u + 1;

	for (int i = 0; i < 3000; i++) {
		dice = dice * 1103515245 + 12345;
		if ((dice >> 16) % 4 == 0) {
			pthread_rwlock_wrlock(&lock);
			left++;
			if (i % 16 == 0)
				sched_yield();
			right++;
		} else {
			if ((dice >> 16) % 4 == 1) {
				while (pthread_rwlock_tryrdlock(&lock))
					sched_yield();
			} else {
				pthread_rwlock_rdlock(&lock);
			}
			if (left != right)
				atomic_fetch_add(&torn, 1);
			if (i % 16 == 0)
				sched_yield();
		}
		pthread_rwlock_unlock(&lock);
	}
	return arg;
}

static void readers_never_see_half_of_what_a_writer_does(void)
{
	pthread_t t[12];

	for (intptr_t i = 0; i < 12; i++)
		t[i] = start(mix, (void *)i);
	for (intptr_t i = 0; i < 12; i++)
		EXPECT(finish(t[i]) == (void *)i);
	EXPECT_EQ(atomic_load(&torn), 0);
	EXPECT_EQ(left, right);
	EXPECT(left > 0);
}

static const struct expect_case cases[] = {
	CASE(readers_are_in_together_and_a_writer_waits_for_them),
	CASE(others_are_answered_by_who_is_inside),
	CASE_IN_MAIN(others_are_answered_by_who_is_inside),
	CASE(a_waiting_writer_keeps_readers_out_where_asked_to),
	CASE(readers_never_see_half_of_what_a_writer_does),
};
EXPECT_MAIN(cases)
