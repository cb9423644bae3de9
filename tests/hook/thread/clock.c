/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* clock.c - what a thread has used of a processor, by its own clock. */
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../../support/expect.h"

static long long own(void)
{
	return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Until the caller has used that much more. */
static void compute_for(long long ns)
{
	long long end = own() + ns;
	volatile unsigned x = 0;

	while (own() < end)
		for (int i = 0; i < 10000; i++)
			x++;
}

#define MS 1000000LL

static void a_new_threads_clock_begins_at_nothing(void)
{
	EXPECT(own() >= 0);
	/* Others have computed before, on whatever this runs on. */
	EXPECT(own() < 50 * MS);
	compute_for(60 * MS);
}

static void *compute(void *arg)
{
	*(long long *)arg = -own();
	compute_for(50 * MS);
	*(long long *)arg += own();
	return NULL;
}

static void what_others_compute_is_not_counted(void)
{
	long long used[4], sum = 0, asleep = own(), all = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		t[i] = start(compute, &used[i]);
	for (int i = 0; i < 4; i++)
		finish(t[i]);
	asleep = own() - asleep;
	all = now_ns(CLOCK_PROCESS_CPUTIME_ID) - all;
	for (int i = 0; i < 4; i++) {
		EXPECT(used[i] >= 50 * MS);
		sum += used[i];
	}
	/* It waited for them meanwhile; and all of it is the process's. */
	EXPECT(asleep < 50 * MS);
	EXPECT(sum + asleep <= all);
}

static atomic_int stage;

static void *compute_and_wait(void *arg)
{
	(void)arg;
	compute_for(1 * MS);
	stage = 1;
	while (stage == 1)
		compute_for(1 * MS);
	stage = 3;
	WAIT_UNTIL(stage == 4);
	return NULL;
}

static void anothers_clock_goes_on_while_it_computes(void)
{
	long long before, after;
	clockid_t clock;
	pthread_t t;

	stage = 0;
	t = start(compute_and_wait, NULL);
	WAIT_UNTIL(stage == 1);
	EXPECT_EQ(pthread_getcpuclockid(t, &clock), 0);
	before = now_ns(clock);
	WAIT_UNTIL(now_ns(clock) > before + 20 * MS);
	for (int i = 0; i < 1000; i++) {
		before = now_ns(clock);
		EXPECT((after = now_ns(clock)) >= before);
	}
	stage = 2;
	WAIT_UNTIL(stage == 3);
	before = now_ns(clock);
	settle();
	/* It looks now and then whether it shall end. */
	EXPECT(now_ns(clock) - before < 20 * MS);
	stage = 4;
	finish(t);
}

static void ones_own_clock_has_two_names(void)
{
	long long a, b, c;
	struct timespec ts;
	clockid_t clock;

	EXPECT_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
	for (int i = 0; i < 100; i++) {
		a = own();
		b = now_ns(clock);
		EXPECT_EQ(syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &ts), 0);
		c = ts.tv_sec * 1000000000LL + ts.tv_nsec;
		EXPECT(a <= b && b <= c);
		if (i % 10 == 0)
			sched_yield();
	}
	EXPECT_EQ(clock_getres(clock, &ts), 0);
	EXPECT(ts.tv_sec == 0 && ts.tv_nsec > 0);
}

static void *end(void *arg)
{
	return arg;
}

static void a_thread_that_is_no_more_has_no_clock(void)
{
	pthread_t t = start(end, NULL);
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(t, &clock) == 0) {
		finish(t);
		EXPECT_ERR(clock_gettime(clock, &ts), EINVAL);
		EXPECT_ERR(clock_getres(clock, &ts), EINVAL);
	} else {
		finish(t);
	}
}

static void what_a_thread_used_is_told_in_two_parts(void)
{
	struct rusage before, after;
	long long used, clock = own();

	EXPECT_OK(getrusage(RUSAGE_THREAD, &before));
	compute_for(40 * MS);
	EXPECT_OK(getrusage(RUSAGE_THREAD, &after));
	clock = own() - clock;
	used = (after.ru_utime.tv_sec - before.ru_utime.tv_sec +
		after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 * MS +
	       (after.ru_utime.tv_usec - before.ru_utime.tv_usec +
		after.ru_stime.tv_usec - before.ru_stime.tv_usec) * 1000;
	/* The kernel counts this one in its ticks, or better. */
	EXPECT(used >= 20 * MS && used <= clock + 20 * MS);
}

static void main_has_a_clock_too(void)
{
	what_others_compute_is_not_counted();
	ones_own_clock_has_two_names();
	what_a_thread_used_is_told_in_two_parts();
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(main_has_a_clock_too),
	CASE(a_new_threads_clock_begins_at_nothing),
	CASE(what_others_compute_is_not_counted),
	CASE(anothers_clock_goes_on_while_it_computes),
	CASE(ones_own_clock_has_two_names),
	CASE(a_thread_that_is_no_more_has_no_clock),
	CASE(what_a_thread_used_is_told_in_two_parts),
};

EXPECT_MAIN(cases)
