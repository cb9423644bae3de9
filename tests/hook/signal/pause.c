/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pause.c - waiting for a handler, by the older names for it; stacks for
 * handlers, by the older name; and timers, which end such waits. */
#include <dlfcn.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "../../support/expect.h"

/* What a header makes of sigpause depends on who it follows. */
int xpg_sigpause(int sig) __asm__("__xpg_sigpause");
int bsd_sigpause(int mask) __asm__("sigpause");
int either_sigpause(int sig_or_mask, int is_sig) __asm__("__sigpause");
int internal_sigsuspend(const sigset_t *set) __asm__("__sigsuspend");

static __thread volatile sig_atomic_t handled;
static _Atomic(pthread_t) handler_ran_on;

static void note(int sig)
{
	handled = sig;
	atomic_store(&handler_ran_on, pthread_self());
}

struct waiter {
	int way;
	atomic_bool begun, ended;
	int ret, err, handled;
	bool still_blocked;
};

static void *wait_for_usr1(void *arg)
{
	struct waiter *w = arg;
	sigset_t set, other, now;
	int mask = 1 << (SIGUSR2 - 1);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigemptyset(&other);
	sigaddset(&other, SIGUSR2);
	atomic_store(&w->begun, true);
	errno = 0;
	switch (w->way) {
	case 0:
		w->ret = xpg_sigpause(SIGUSR1);
		break;
	case 1:
		w->ret = bsd_sigpause(mask);
		break;
	case 2:
		w->ret = either_sigpause(SIGUSR1, 1);
		break;
	case 3:
		w->ret = either_sigpause(mask, 0);
		break;
	default:
		w->ret = internal_sigsuspend(&other);
		break;
	}
	w->err = errno;
	w->handled = handled;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	w->still_blocked = sigismember(&now, SIGUSR1) == 1 &&
			   sigismember(&now, SIGUSR2) == 1;
	atomic_store(&w->ended, true);
	return NULL;
}

static void take_usr1(void)
{
	struct sigaction act = {.sa_handler = note};

	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR2, &act, NULL);
}

static void each_way_waits_for_the_signal_that_is_let_in(void)
{
	take_usr1();
	for (int way = 0; way < 5; way++) {
		struct waiter w = {.way = way};
		pthread_t t = start(wait_for_usr1, &w);

		WAIT_UNTIL(atomic_load(&w.begun));
		settle();
		EXPECT(!atomic_load(&w.ended));
		EXPECT_EQ(pthread_kill(t, SIGUSR2), 0);
		settle();
		EXPECT(!atomic_load(&w.ended));
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		finish(t);
		EXPECT_EQ(w.ret, -1);
		EXPECT_EQ(w.err, EINTR);
		if (!SHARES_STORAGE)	/* it is the thread's own */
			EXPECT_EQ(w.handled, SIGUSR1);
		EXPECT(w.still_blocked);
	}
}

static void no_signal_can_be_no_signals_number(void)
{
	EXPECT_ERR(xpg_sigpause(0), EINVAL);
	EXPECT_ERR(xpg_sigpause(65), EINVAL);
	EXPECT_ERR(either_sigpause(1000, 1), EINVAL);
}

static void the_older_form_names_an_alternate_stack(void)
{
	struct sigstack none = {0}, ours = {0}, was = {0};
	int (*set)(struct sigstack *, struct sigstack *);
	static char room[65536];

	/* By name: the linker would warn of it. */
	*(void **)&set = dlsym(RTLD_DEFAULT, "sigstack");
	/* It has no word for how large the stack is, nor for none: so it is the
	 * thread's until it ends. */
	ours.ss_sp = room + sizeof(room);
	EXPECT_EQ(set(&ours, &none), 0);
	EXPECT(none.ss_sp == NULL);
	EXPECT_EQ(none.ss_onstack, 0);
	EXPECT_EQ(set(NULL, &was), 0);
	EXPECT(was.ss_sp == room + sizeof(room));
}

/* ---- timers ---- */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static const struct itimerspec soon = {{0, 0}, {0, 1000000}};

/* To the thread that its number names, and nobody else. */
static void a_timer_may_tell_one_thread(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
				 .sigev_signo = SIGUSR1};
	struct itimerspec left;
	sigset_t set, old;
	timer_t timer;

	take_usr1();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	event.sigev_notify_thread_id = gettid();
	if (!EXPECT_OK(timer_create(CLOCK_MONOTONIC, &event, &timer)))
		return;
	EXPECT_OK(timer_gettime(timer, &left));
	EXPECT_EQ(left.it_value.tv_nsec, 0);
	EXPECT_EQ(timer_getoverrun(timer), 0);
	handled = 0;
	EXPECT_OK(timer_settime(timer, 0, &soon, NULL));
	EXPECT_ERR(sigsuspend(&old), EINTR);
	if (!SHARES_STORAGE)
		EXPECT_EQ(handled, SIGUSR1);
	EXPECT_OK(timer_delete(timer));
	EXPECT_ERR(timer_delete(timer), EINVAL);
	event.sigev_notify_thread_id = 0;
	EXPECT_ERR(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
	event.sigev_notify_thread_id = 1 << 29;
	EXPECT_ERR(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
	EXPECT_ERR(timer_create(1000, NULL, &timer), EINVAL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void spin(long long ns)
{
	long long end = now_ns(CLOCK_MONOTONIC) + ns;

	while (now_ns(CLOCK_MONOTONIC) < end)
		;
}

/* Only its own work lets it run out. */
static void a_timer_may_measure_its_threads_own_time(void)
{
	static const struct itimerspec work = {{0, 0}, {0, 20000000}};
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	struct itimerspec left;
	long long end = now_ns(CLOCK_MONOTONIC) + EXPECT_WAIT_SECONDS * 1000000000LL;
	timer_t timer;

	if (!EXPECT_OK(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer)))
		return;
	EXPECT_OK(timer_settime(timer, 0, &work, NULL));
	nap_us(1000);
	EXPECT_OK(timer_gettime(timer, &left));
	EXPECT(left.it_value.tv_nsec > 0);
	do {
		spin(1000000);
		EXPECT_OK(timer_gettime(timer, &left));
	} while ((left.it_value.tv_sec || left.it_value.tv_nsec) &&
		 now_ns(CLOCK_MONOTONIC) < end);
	EXPECT_EQ(left.it_value.tv_nsec, 0);
	EXPECT_OK(timer_delete(timer));
}

static sem_t told;
static _Atomic(void *) told_value;

static void tell(union sigval value)
{
	atomic_store(&told_value, value.sival_ptr);
	sem_post(&told);
}

static void a_timer_may_run_a_function_on_a_thread_of_its_own(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD,
				 .sigev_notify_function = tell,
				 .sigev_value.sival_ptr = &told};
	timer_t timer;

	sem_init(&told, 0, 0);
	for (int i = 0; i < 5; i++) {
		atomic_store(&told_value, NULL);
		if (!EXPECT_OK(timer_create(CLOCK_REALTIME, &event, &timer)))
			return;
		EXPECT_OK(timer_settime(timer, 0, &soon, NULL));
		EXPECT_EQ(sem_wait(&told), 0);
		EXPECT(atomic_load(&told_value) == &told);
		EXPECT_OK(timer_delete(timer));
	}
}

/* A program's alarm ends the wait of the thread that lets it in. */
static void *wait_for_alarm(void *arg)
{
	sigset_t none;

	sigemptyset(&none);
	handled = 0;
	return sigsuspend(&none) == -1 && errno == EINTR &&
			       (SHARES_STORAGE || handled == SIGALRM)
		       ? arg : NULL;
}

static void an_alarm_comes_to_who_lets_it_in(void)
{
	struct sigaction act = {.sa_handler = note};
	struct itimerval now = {{0, 0}, {0, 1000}}, left;
	sigset_t set, old;
	pthread_t t;

	sigaction(SIGALRM, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	for (int i = 0; i < 2; i++) {
		t = start(wait_for_alarm, &set);
		settle();
		if (i)
			ualarm(1000, 0);
		else
			EXPECT_OK(setitimer(ITIMER_REAL, &now, NULL));
		EXPECT(finish(t) == &set);
		EXPECT(pthread_equal(atomic_load(&handler_ran_on), t));
		EXPECT_OK(getitimer(ITIMER_REAL, &left));
		EXPECT_EQ(left.it_value.tv_usec, 0);
	}
	EXPECT_EQ(alarm(100), 0);
	EXPECT(alarm(0) > 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static const struct expect_case cases[] = {
	CASE(each_way_waits_for_the_signal_that_is_let_in),
	CASE(no_signal_can_be_no_signals_number),
	CASE(the_older_form_names_an_alternate_stack),
	CASE(a_timer_may_tell_one_thread),
	CASE(a_timer_may_measure_its_threads_own_time),
	CASE(a_timer_may_run_a_function_on_a_thread_of_its_own),
	CASE_IN_MAIN(an_alarm_comes_to_who_lets_it_in),
};

EXPECT_MAIN(cases)
