/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* stop.c - the runtime is started, stopped and started again, STOP_ROUNDS times. */
#include "support/expect.h"
#include <cogo.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>


static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = -2;	/* . and .. */

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void task(void *arg)
{
	free(malloc(100));
	cogo_sleep(COGO_MS);
	*(int *)arg += 1;
}

/* Costs a kernel thread meanwhile. */
static void blocking_task(void *arg)
{
	struct timespec brief = { .tv_nsec = 1000000 };

	for (volatile int i = 0; i < 100000; i++)
		;
	rawsys6(SYS_nanosleep, (long)&brief, 0, 0, 0, 0, 0);
	*(int *)arg += 1;
}

static int run_some(void)
{
	int count[40] = { 0 }, sum = 0;
	struct cogo_coro *c[40];

	for (int i = 0; i < 40; i++)
		EXPECT_EQ(cogo_go(&c[i], NULL, i % 4 ? task : blocking_task,
				  &count[i]), 0);
	for (int i = 0; i < 40; i++) {
		EXPECT_EQ(cogo_join(c[i]), COGO_RETURNED);
		sum += count[i];
	}
	return sum;
}

static void every_thread_is_gone_and_the_next_start_is_as_the_first(void)
{
	int fds = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
	int rounds = getenv("STOP_ROUNDS") ? atoi(getenv("STOP_ROUNDS")) : 20;

	for (int i = 0; i < rounds; i++) {
		EXPECT_EQ(run_some(), 40);
		EXPECT(entries("/proc/self/task") > tasks);
		EXPECT_EQ(cogo_stop(COGO_FOREVER), 0);
		EXPECT_EQ(entries("/proc/self/task"), tasks);
		EXPECT_EQ(entries("/proc/self/fd"), fds);
	}
}

static void stopping_what_has_not_started_is_nothing(void)
{
	EXPECT_EQ(cogo_stop(0), 0);
	EXPECT_EQ(cogo_stop(0), 0);
}

static void wait_for_unpark(void *arg)
{
	*(int *)arg = cogo_park(COGO_FOREVER);
}

static void it_waits_for_the_last_coroutine(void)
{
	struct cogo_coro *c;
	int r = 1;

	EXPECT_EQ(cogo_go(&c, NULL, wait_for_unpark, &r), 0);
	EXPECT_EQ(cogo_stop(cogo_in(2 * COGO_MS)), -ETIMEDOUT);
	cogo_unpark(c);
	EXPECT_EQ(cogo_stop(COGO_FOREVER), 0);
	EXPECT_EQ(r, 0);
	/* The handle is good as ever. */
	EXPECT_EQ(cogo_state(c), COGO_ENDED);
	EXPECT_EQ(cogo_join(c), COGO_RETURNED);
}

static void stop_from_inside(void *arg)
{
	*(int *)arg = cogo_stop(COGO_FOREVER);
}

static void a_coroutine_cannot_stop_it(void)
{
	struct cogo_coro *c;
	int r = 1;

	EXPECT_EQ(cogo_go(&c, NULL, stop_from_inside, &r), 0);
	EXPECT_EQ(cogo_join(c), COGO_RETURNED);
	EXPECT_EQ(r, -EDEADLK);
	EXPECT_EQ(cogo_stop(COGO_FOREVER), 0);
}

static void read_one(void *arg)
{
	int *fd = arg;
	char c;

	EXPECT_EQ(read(fd[0], &c, 1), 1);
	EXPECT_EQ(c, 'x');
}

static void descriptors_are_waited_for_after_a_restart(void)
{
	struct cogo_coro *c;
	int fd[2];

	EXPECT_OK(pipe(fd));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(cogo_go(&c, NULL, read_one, fd), 0);
		WAIT_UNTIL(cogo_state(c) == COGO_PARKED);
		EXPECT_EQ(write(fd[1], "x", 1), 1);
		EXPECT_EQ(cogo_join(c), COGO_RETURNED);
		EXPECT_EQ(cogo_stop(COGO_FOREVER), 0);
	}
	close(fd[0]);
	close(fd[1]);
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(stopping_what_has_not_started_is_nothing),
	CASE_IN_MAIN(every_thread_is_gone_and_the_next_start_is_as_the_first),
	CASE_IN_MAIN(it_waits_for_the_last_coroutine),
	CASE_IN_MAIN(a_coroutine_cannot_stop_it),
	CASE_IN_MAIN(descriptors_are_waited_for_after_a_restart),
};

EXPECT_MAIN(cases)
