/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The runtime's door to the kernel. */
#include "base/sys.h"
#include "base/vdso.h"
#include "unit.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#define LOOKS 10000

static _Atomic bool over;
static _Atomic int looker;

static void nothing(int sig)
{
	(void)sig;
}

static void *interrupt_it(void *arg)
{
	(void)arg;
	while (!over)
		sys_call(SYS_tgkill, sys_getpid(), looker, SIGUSR1);
	return NULL;
}

/* Looks at an empty pipe under a hail of signals until the kernel has broken off
 * `want` bare looks, but at least so often: how many of ours it broke off. */
static int broken_off(int want)
{
	int fd[2], bare = 0, ours = 0;
	struct pollfd p = { .events = POLLIN };
	pthread_t t;

	check(pipe(fd) == 0);
	p.fd = fd[0];
	looker = sys_gettid();
	signal(SIGUSR1, nothing);
	check_eq(pthread_create(&t, NULL, interrupt_it, NULL), 0);
	for (long i = 0; i < LOOKS || bare < want; i++) {
		struct timespec zero = { 0, 0 };

		bare += sys_call(SYS_ppoll, &p, 1, &zero, NULL, 8) == -EINTR;
		ours += sys_poll_now(&p, 1) != 0;
	}
	over = true;
	pthread_join(t, NULL);
	check(write(fd[1], "x", 1) == 1);
	check_eq(sys_poll_now(&p, 1), 1);
	check_eq(p.revents, POLLIN);
	return ours;
}

Test(sys, a_signal_is_no_answer_to_a_look, .timeout = 120)
{
	check_eq(broken_off(3), 0);
}

Test(sys, the_clock_is_the_kernels)
{
	struct timespec a, b, c;

	for (int i = 0; i < 1000; i++) {
		check_eq(sys_call(SYS_clock_gettime, CLOCK_MONOTONIC, &a), 0);
		check_eq(vdso_clock(CLOCK_MONOTONIC, &b), 0);
		check_eq(sys_call(SYS_clock_gettime, CLOCK_MONOTONIC, &c), 0);
		check(a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec));
		check(b.tv_sec < c.tv_sec || (b.tv_sec == c.tv_sec && b.tv_nsec <= c.tv_nsec));
	}
}

Test(sys, what_is_left_of_a_deadline_is_never_negative)
{
	struct timespec room;

	check(sys_left(COGO_FOREVER, &room) == NULL);
	check(sys_left(1, &room) == &room);
	check_eq(room.tv_sec, 0);
	check_eq(room.tv_nsec, 0);
	check(sys_left(sys_now() + 3600000000000ll, &room) == &room);
	check(room.tv_sec == 3599 || room.tv_sec == 3600);
}
