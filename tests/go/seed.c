/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* seed.c - what its ancestors got wrong.
 *
 * cogo and may, the libraries for Rust that this one has its idea and its name
 * from, were probed before this one was begun: each fault that was found there is
 * a promise here. No verdict hangs on how long something takes: only on what comes
 * at all, what comes first, and what does not come before its time. */
#include "native.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* ---- one who yields for ever starves nobody ---- */

static atomic_bool stop;
static atomic_long turns;

static void yield_on(void *arg)
{
	(void)arg;
	while (!stop) {
		cogo_yield();
		turns++;
	}
}

static void set_flag(void *arg)
{
	*(atomic_bool *)arg = true;
}

static void read_byte(void *arg)
{
	char c;

	check_eq(read(*(int *)arg, &c, 1), 1);
}

static void sleep_a_little(void *arg)
{
	(void)arg;
	check_eq(cogo_sleep(COGO_MS), 0);
}

static void beside_yielders(int n)
{
	struct cogo_coro *y[4];
	atomic_bool ran = false;
	struct cogo_coro *c;
	int fd[2];

	stop = false;
	check_eq(pipe(fd), 0);
	for (int i = 0; i < n; i++)
		y[i] = begin(NULL, yield_on, NULL);
	wait_until(turns > 1000);
	check_eq(outcome(NULL, set_flag, &ran), COGO_RETURNED);
	c = begin(NULL, read_byte, &fd[0]);
	settle();
	check_eq(write(fd[1], "x", 1), 1);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(outcome(NULL, sleep_a_little, NULL), COGO_RETURNED);
	stop = true;
	for (int i = 0; i < n; i++)
		check_eq(cogo_join(y[i]), COGO_RETURNED);
}

Test(seed, a_new_one_and_descriptors_and_timers_go_on_beside_one_who_yields)
{
	beside_yielders(1);
	beside_yielders(4);
}

/* ---- a timer is not delayed by who computes ---- */

static void compute(void *arg)
{
	cogo_sleep(100 * COGO_US);
	*(atomic_bool *)arg = true;
	while (!stop)
		;
}

Test(seed, timers_come_while_somebody_computes)
{
	atomic_bool computes = false;
	struct cogo_coro *hog, *c[5];

	hog = begin(NULL, compute, &computes);
	wait_until(computes);
	/* None of them returns before the hog ends, if it is in their way; and
	 * that it does only after they have. */
	for (int i = 0; i < 5; i++)
		c[i] = begin(NULL, sleep_a_little, NULL);
	for (int i = 0; i < 5; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	stop = true;
	check_eq(cogo_join(hog), COGO_RETURNED);
}

/* ---- less than a millisecond is neither nothing nor for ever ---- */

static void wait_shortly(int64_t span)
{
	struct cogo_coro *c = begin(NULL, yield_on, NULL);
	struct timespec ts = { 0, span };
	cogo_time until;
	int fd[2];

	check_eq(pipe(fd), 0);
	until = cogo_in(span);
	check_eq(cogo_sleep_until(until), 0);
	check(cogo_now() >= until);
	until = cogo_in(span);
	check_eq(cogo_sleep(span), 0);
	check(cogo_now() >= until);
	until = cogo_in(span);
	check_eq(cogo_park(until), -ETIMEDOUT);
	check(cogo_now() >= until);
	until = cogo_in(span);
	check_eq(cogo_wait(c, until), -ETIMEDOUT);
	check(cogo_now() >= until);
	until = cogo_now() + span;
	check_eq(nanosleep(&ts, NULL), 0);
	check(cogo_now() >= until);
	until = cogo_now() + span;
	check_eq(ppoll(&(struct pollfd){ fd[0], POLLIN, 0 }, 1, &ts, NULL), 0);
	check(cogo_now() >= until);
	stop = true;
	check_eq(cogo_join(c), COGO_RETURNED);
	stop = false;
	close(fd[0]);
	close(fd[1]);
}

static void wait_shortly_all(void)
{
	wait_shortly(1);
	wait_shortly(300 * COGO_US);
	wait_shortly(999 * COGO_US);
	wait_shortly(1500 * COGO_US);
}

Test(seed, deadlines_below_a_millisecond_are_neither_early_nor_for_ever)
{
	on_both(wait_shortly_all);
}

/* Never early, at most so much late, and in steps. */
static void look_ahead(int64_t span, int64_t step)
{
	cogo_time before = cogo_now(), got = cogo_in(span), after = cogo_now();

	check(got >= before + span);
	check(got < after + span + step);
	check_eq(got % step, 0);
	check(step <= span / 1000 || step == 1);
}

static void look_at_clock(void)
{
	cogo_time now = cogo_now();

	look_ahead(1, 1);
	look_ahead(2047, 1);
	look_ahead(2048, 2);
	look_ahead(100 * COGO_US, 64);
	look_ahead(COGO_MS, 1 << 9);
	look_ahead(COGO_SEC, 1 << 19);
	look_ahead(3600 * COGO_SEC, 1 << 19);
	look_ahead(INT64_MAX / 2, 1 << 19);

	check(cogo_in(0) >= now && cogo_in(-5) >= now);
	check(cogo_in(INT64_MIN) >= now);
	check(cogo_in(-5) <= cogo_now());
	check_eq(cogo_in(INT64_MAX), COGO_FOREVER);
	check_eq(cogo_in(COGO_FOREVER - 1), COGO_FOREVER);
	check(cogo_in(COGO_SEC) >= now + COGO_SEC);
	check_eq(cogo_sleep(0), 0);
	check_eq(cogo_sleep(-1), 0);
	check_eq(cogo_sleep(INT64_MIN), 0);
	check_eq(cogo_sleep_until(0), 0);
	check_eq(cogo_sleep_until(INT64_MIN), 0);
	check_eq(cogo_sleep_until(now), 0);
	check_eq(cogo_park(INT64_MIN), -ETIMEDOUT);
}

Test(seed, a_moment_that_has_passed_does_not_wait)
{
	on_both(look_at_clock);
}

static void sleep_for_ever(void *arg)
{
	check_eq(cogo_sleep(*(int64_t *)arg), -ECANCELED);
}

Test(seed, a_span_too_long_to_count_is_for_ever)
{
	int64_t spans[] = { INT64_MAX, INT64_MAX - 1, INT64_MAX / 2 };

	for (int i = 0; i < 3; i++) {
		struct cogo_coro *c = begin(NULL, sleep_for_ever, &spans[i]);

		settle();
		check_eq(cogo_cancel(c, 1), 0);
		check_eq(cogo_join(c), COGO_RETURNED);
	}
}

/* ---- several wait for one descriptor ---- */

static int listener;

static void accept_one(void *arg)
{
	int fd = accept(listener, NULL, NULL);

	check(fd >= 0);
	atomic_fetch_add((atomic_int *)arg, 1);
	close(fd);
}

Test(seed, all_who_wait_for_one_descriptor_are_served)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	socklen_t size = sizeof(here);
	struct cogo_coro *c[6];
	atomic_int n = 0;
	int fd[2];

	check_eq(pipe(fd), 0);
	for (int i = 0; i < 6; i++)
		c[i] = begin(NULL, read_byte, &fd[0]);
	settle();
	check_eq(write(fd[1], "123456", 6), 6);
	for (int i = 0; i < 6; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	check_eq(bind(listener, (void *)&here, sizeof(here)), 0);
	check_eq(listen(listener, 10), 0);
	check_eq(getsockname(listener, (void *)&here, &size), 0);
	for (int i = 0; i < 6; i++)
		c[i] = begin(NULL, accept_one, &n);
	settle();
	for (int i = 0; i < 6; i++)
		check_eq(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&here,
				 sizeof(here)), 0);
	for (int i = 0; i < 6; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	check_eq(n, 6);
}

/* ---- what is queued behind one who blocks ---- */

static void block_unseen(void *arg)
{
	char c;

	/* Where no hook sees it. */
#ifdef __x86_64__
	long r;
	register long nr __asm__("rax") = 0;	/* read */

	__asm__ volatile("syscall" : "=a"(r) : "r"(nr), "D"((long)*(int *)arg),
			 "S"(&c), "d"(1l) : "rcx", "r11", "memory");
	check_eq(r, 1);
#else
	check_eq(read(*(int *)arg, &c, 1), 1);
#endif
}

static void write_byte(void *p)
{
	check_eq(write(*(int *)p, "x", 1), 1);
}

static void queue_and_block(void *arg)
{
	int *fd = arg;
	struct cogo_coro *c[20];
	static atomic_bool n;

	for (int i = 0; i < 20; i++)
		c[i] = begin(NULL, set_flag, &n);
	/* They end what it waits for. */
	check_eq(cogo_go(NULL, NULL, write_byte, &fd[1]), 0);
	block_unseen(&fd[0]);
	for (int i = 0; i < 20; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
}

Test(seed, what_is_queued_behind_a_call_that_blocks_runs)
{
	int fd[2];

	check_eq(pipe(fd), 0);
	for (int i = 0; i < 5; i++)
		check_eq(outcome(NULL, queue_and_block, fd), COGO_RETURNED);
}

/* ---- an overflow lets go of what it holds ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void unlock(void *m)
{
	pthread_mutex_unlock(m);
}

static int deeper(int n)
{
	volatile char frame[16];

	frame[0] = (char)n;
	if (n < 0)
		return 0;
	return deeper(n + 1) + frame[0];
}

static void overflow_locked(void *arg)
{
	cogo_contain_faults(true);
	pthread_mutex_lock(&mutex);
	cogo_defer(unlock, &mutex);
	*(volatile int *)arg = deeper(0);
}

Test(seed, an_overflow_lets_go_of_what_it_holds_and_nobody_else_ends)
{
	int n;

	for (int i = 0; i < 10; i++) {
		check_eq(outcome(NULL, overflow_locked, &n), COGO_PANICKED);
		check_eq(pthread_mutex_trylock(&mutex), 0);
		pthread_mutex_unlock(&mutex);
	}
}

/* ---- more stacks than the kernel allows mappings ---- */

static void park(void *arg)
{
	(void)arg;
	check_eq(cogo_park(COGO_FOREVER), 0);
}

Test(seed, forty_thousand_are_no_matter_of_mappings, .timeout = 300)
{
	enum { N = 40000 };
	static struct cogo_coro *c[N];

	for (int i = 0; i < N; i++)
		c[i] = begin(NULL, park, NULL);
	for (int i = 0; i < N; i++) {
		cogo_unpark(c[i]);
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	}
}

/* ---- thread-local variables ---- */

static __thread int mine;

static void keep_mine(void *arg)
{
	mine = *(int *)arg;
	for (int i = 0; i < 50; i++) {
		errno = mine;
		cogo_yield();
		check_eq(mine, *(int *)arg);
		check_eq(errno, *(int *)arg);
	}
}

Test(seed, two_hundred_keep_their_thread_local_values_over_fifty_yields)
{
	struct cogo_coro *c[200];
	int n[200];

	for (int i = 0; i < 200; i++) {
		n[i] = i;
		c[i] = begin(NULL, keep_mine, &n[i]);
	}
	for (int i = 0; i < 200; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
}
