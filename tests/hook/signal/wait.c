/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait.c - signals that are not handled but waited for.
 *
 * The usual way of a threaded server: all threads block the signals, one
 * waits for them. Signals to a process need a process in which everybody
 * blocks them, so most cases live in a child. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

static sigset_t set_of(int sig, int other)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	if (other)
		sigaddset(&set, other);
	return set;
}

static void block_all(void)
{
	sigset_t all;

	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
}

static atomic_bool ready, stop;
static atomic_int got;

static void *stay_busy(void *arg)
{
	while (!atomic_load(&stop)) {
		nap_us(200);
		sched_yield();
	}
	return arg;
}

static void *wait_for_term(void *arg)
{
	sigset_t set = set_of(SIGTERM, SIGHUP);
	int sig = 0;

	atomic_store(&ready, true);
	do {
		EXPECT_EQ(sigwait(&set, &sig), 0);
		atomic_fetch_add(&got, 1);
	} while (sig != SIGTERM);
	return arg;
}

static void dedicated(void *arg)
{
	pthread_t waiter, busy[6];

	(void)arg;
	block_all();
	for (int i = 0; i < 6; i++)
		busy[i] = start(stay_busy, NULL);
	waiter = start(wait_for_term, &ready);
	WAIT_UNTIL(atomic_load(&ready));
	for (int i = 1; i <= 20; i++) {
		EXPECT_OK(kill(getpid(), SIGHUP));
		WAIT_UNTIL(atomic_load(&got) == i);
	}
	EXPECT_OK(kill(getpid(), SIGTERM));
	EXPECT(finish(waiter) == &ready);
	atomic_store(&stop, true);
	for (int i = 0; i < 6; i++)
		finish(busy[i]);
}

static void one_thread_waits_for_the_signals_of_all(void)
{
	expect_child(dedicated, NULL);
}

/* As sent by another process, which is the usual thing. */
static void from_outside(void *arg)
{
	pthread_t waiter;
	int *fd = arg;

	block_all();
	waiter = start(wait_for_term, &ready);
	EXPECT_EQ(write(fd[1], "r", 1), 1);
	EXPECT(finish(waiter) == &ready);
	EXPECT(atomic_load(&got) >= 1);
}

static void a_waiting_thread_ends_a_server_from_outside(void)
{
	for (int i = 0; i < 20; i++) {
		int fd[2];
		pid_t pid;
		char c;

		EXPECT_OK(pipe(fd));
		pid = fork();
		if (pid == 0) {
			expect_now.case_failed = 0;
			alarm(100);
			from_outside(fd);
			_exit(expect_now.case_failed ? 1 : 0);
		}
		EXPECT_EQ(read(fd[0], &c, 1), 1);
		EXPECT_OK(kill(pid, SIGHUP));
		EXPECT_OK(kill(pid, SIGTERM));
		EXPECT_EQ(status_of(pid), 0);
		close(fd[0]);
		close(fd[1]);
	}
}

/* ---- details ---- */

static void details(void *arg)
{
	struct timespec none = {0, 0}, brief = {0, 20000000};
	struct timespec bad = {0, 1000000000};
	union sigval value;
	siginfo_t info;
	sigset_t set;
	long long from;

	(void)arg;
	block_all();
	set = set_of(SIGUSR1, SIGRTMIN + 2);
	EXPECT_ERR(sigtimedwait(&set, &info, &none), EAGAIN);
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_ERR(sigtimedwait(&set, &info, &brief), EAGAIN);
	EXPECT(now_ns(CLOCK_MONOTONIC) - from >= 20000000);
	EXPECT_ERR(sigtimedwait(&set, &info, &bad), EINVAL);

	EXPECT_OK(kill(getpid(), SIGUSR1));
	EXPECT_OK(kill(getpid(), SIGUSR1)); /* once is as good as twice */
	EXPECT_EQ(sigwaitinfo(&set, &info), SIGUSR1);
	EXPECT_EQ(info.si_code, SI_USER);
	EXPECT_EQ(info.si_pid, getpid());
	EXPECT_ERR(sigtimedwait(&set, &info, &none), EAGAIN);

	/* real-time ones queue, with their values, in their order */
	for (int i = 0; i < 10; i++) {
		value.sival_int = i * i;
		EXPECT_OK(sigqueue(getpid(), SIGRTMIN + 2, value));
	}
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 2);
		EXPECT_EQ(info.si_code, SI_QUEUE);
		EXPECT_EQ(info.si_value.sival_int, i * i);
	}
	EXPECT_ERR(sigtimedwait(&set, &info, &none), EAGAIN);

	/* the lowest first */
	EXPECT_OK(raise(SIGRTMIN + 2));
	EXPECT_OK(raise(SIGUSR1));
	EXPECT_EQ(sigwaitinfo(&set, NULL), SIGUSR1);
	EXPECT_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 2);
	EXPECT_EQ(info.si_code, SI_USER); /* glibc says so for SI_TKILL */
}

static void what_is_waited_for_comes_in_order_and_with_its_story(void)
{
	expect_child(details, NULL);
}

/* ---- to whom ---- */

static atomic_int waiters_done;

/* When several wait, Linux may wake one for a signal that another takes, and
 * then says EINTR. */
static void *wait_for_one(void *arg)
{
	sigset_t set = set_of(SIGRTMIN + 3, 0);
	int sig;

	while ((sig = sigwaitinfo(&set, NULL)) == -1 && errno == EINTR)
		;
	if (sig != SIGRTMIN + 3)
		return NULL;
	atomic_fetch_add(&waiters_done, 1);
	return arg;
}

static void several(void *arg)
{
	pthread_t t[8];

	block_all();
	for (int i = 0; i < 8; i++)
		t[i] = start(wait_for_one, &stop);
	settle();
	for (int i = 1; i <= 8; i++) {
		union sigval value = {.sival_int = i};

		EXPECT_OK(sigqueue(getpid(), SIGRTMIN + 3, value));
		if (arg)
			WAIT_UNTIL(atomic_load(&waiters_done) == i);
	}
	for (int i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == &stop);
}

static void each_signal_goes_to_one_of_several_who_wait(void)
{
	expect_child(several, NULL);
	expect_child(several, &stop);
}

static void own_signals(void *arg)
{
	pthread_t t[8];

	(void)arg;
	block_all();
	for (int i = 0; i < 8; i++)
		t[i] = start(wait_for_one, &stop);
	settle();
	for (int i = 7; i >= 0; i--) {
		EXPECT_EQ(pthread_kill(t[i], SIGRTMIN + 3), 0);
		EXPECT(finish(t[i]) == &stop);
		EXPECT_EQ(atomic_load(&waiters_done), 8 - i);
	}
}

static void a_signal_to_one_who_waits_goes_to_no_other(void)
{
	expect_child(own_signals, NULL);
}

static atomic_int handled;

static void handle(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static void *wait_usr1(void *arg)
{
	sigset_t set = set_of(SIGUSR1, 0);
	int sig;

	atomic_store(&ready, true);
	EXPECT_EQ(sigwait(&set, &sig), 0);
	EXPECT_EQ(sig, SIGUSR1);
	return arg;
}

static void a_handler_and_a_waiter(void *arg)
{
	pthread_t t;

	(void)arg;
	block_all();
	signal(SIGUSR1, handle);
	t = start(wait_usr1, &ready);
	WAIT_UNTIL(atomic_load(&ready));
	EXPECT_OK(kill(getpid(), SIGUSR1));
	EXPECT(finish(t) == &ready);
	EXPECT_EQ(atomic_load(&handled), 0);
}

static void what_is_waited_for_is_not_handled(void)
{
	expect_child(a_handler_and_a_waiter, NULL);
}

static void *wait_for_children(void *arg)
{
	sigset_t set = set_of(SIGCHLD, 0);
	int n = 0, sig;

	while (n < 20) {
		EXPECT_EQ(sigwait(&set, &sig), 0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			n++;
	}
	return arg;
}

static void children_end(void *arg)
{
	pthread_t t;

	(void)arg;
	block_all();
	t = start(wait_for_children, &ready);
	for (int i = 0; i < 20; i++)
		if (fork() == 0)
			_exit(0);
	EXPECT(finish(t) == &ready);
}

static void a_thread_may_wait_for_the_ends_of_children(void)
{
	expect_child(children_end, NULL);
}

static const struct expect_case cases[] = {
	CASE(one_thread_waits_for_the_signals_of_all),
	CASE_IN_MAIN(one_thread_waits_for_the_signals_of_all),
	CASE(a_waiting_thread_ends_a_server_from_outside),
	CASE_IN_MAIN(a_waiting_thread_ends_a_server_from_outside),
	CASE(what_is_waited_for_comes_in_order_and_with_its_story),
	CASE_IN_MAIN(what_is_waited_for_comes_in_order_and_with_its_story),
	CASE(each_signal_goes_to_one_of_several_who_wait),
	CASE(a_signal_to_one_who_waits_goes_to_no_other),
	CASE(what_is_waited_for_is_not_handled),
	CASE(a_thread_may_wait_for_the_ends_of_children),
};
EXPECT_MAIN(cases)
