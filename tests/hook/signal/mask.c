/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mask.c - what each thread blocks, and where a signal goes in consequence. */
#include <poll.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "../../support/expect.h"

static sigset_t set_of(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	if (sig)
		sigaddset(&set, sig);
	return set;
}

static bool blocks(int sig)
{
	sigset_t set;

	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
	return sigismember(&set, sig) == 1;
}

static void block(int how, int sig)
{
	sigset_t set = set_of(sig);

	EXPECT_EQ(pthread_sigmask(how, &set, NULL), 0);
}

static atomic_int handled;
static pthread_t handled_by;

static void handle(int sig)
{
	(void)sig;
	handled_by = pthread_self();
	atomic_fetch_add(&handled, 1);
}

static void handle_by(int sig, void (*handler)(int), int flags, int also)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&action.sa_mask);
	if (also)
		sigaddset(&action.sa_mask, also);
	EXPECT_OK(sigaction(sig, &action, NULL));
}

/* ---- whose mask ---- */

static void *change_own(void *arg)
{
	/* inherited, and its own from here on */
	EXPECT(blocks(SIGUSR1) && !blocks(SIGUSR2));
	block(SIG_UNBLOCK, SIGUSR1);
	block(SIG_BLOCK, SIGUSR2);
	for (int i = 0; i < 50; i++) {
		sched_yield();
		nap_us(100);
		EXPECT(!blocks(SIGUSR1) && blocks(SIGUSR2));
	}
	return arg;
}

static void a_mask_is_inherited_and_then_its_threads_own(void)
{
	pthread_t t[8];

	block(SIG_BLOCK, SIGUSR1);
	for (int i = 0; i < 8; i++)
		t[i] = start(change_own, NULL);
	for (int i = 0; i < 50; i++) {
		EXPECT(blocks(SIGUSR1) && !blocks(SIGUSR2));
		sched_yield();
	}
	for (int i = 0; i < 8; i++)
		finish(t[i]);
	EXPECT(blocks(SIGUSR1) && !blocks(SIGUSR2));
	block(SIG_UNBLOCK, SIGUSR1);
}

static void the_ways_to_change_a_mask_agree(void)
{
	sigset_t set = set_of(SIGUSR1), old;

	EXPECT_OK(sigprocmask(SIG_BLOCK, &set, &old));
	EXPECT(sigismember(&old, SIGUSR1) == 0);
	EXPECT(blocks(SIGUSR1));
	set = set_of(SIGUSR2);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &set, &old), 0);
	EXPECT(sigismember(&old, SIGUSR1) == 1);
	EXPECT(blocks(SIGUSR2) && !blocks(SIGUSR1));
	EXPECT_EQ(pthread_sigmask(77, &set, NULL), EINVAL);
	EXPECT_ERR(sigprocmask(77, &set, NULL), EINVAL);
	/* the two that nobody may block are silently left out */
	sigfillset(&set);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	EXPECT(!blocks(SIGKILL) && !blocks(SIGSTOP) && blocks(SIGTERM));
	sigemptyset(&set);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
	EXPECT(!blocks(SIGTERM));
}

/* ---- pending ---- */

static atomic_bool may_end, ready;

static bool pending(int sig)
{
	sigset_t set;

	EXPECT_OK(sigpending(&set));
	return sigismember(&set, sig) == 1;
}

static void *be_signalled(void *arg)
{
	block(SIG_BLOCK, SIGUSR1);
	atomic_store(&ready, true);
	WAIT_UNTIL(pending(SIGUSR1));
	EXPECT_EQ(atomic_load(&handled), 0);
	WAIT_UNTIL(atomic_load(&may_end));
	block(SIG_UNBLOCK, SIGUSR1);
	EXPECT_EQ(atomic_load(&handled), 1); /* before it returned */
	EXPECT(pthread_equal(handled_by, pthread_self()));
	EXPECT(!pending(SIGUSR1));
	return arg;
}

static void what_is_sent_to_a_thread_waits_for_that_thread(void)
{
	pthread_t t;

	atomic_store(&handled, 0);
	atomic_store(&ready, false);
	atomic_store(&may_end, false);
	handle_by(SIGUSR1, handle, 0, 0);
	t = start(be_signalled, NULL);
	WAIT_UNTIL(atomic_load(&ready));
	EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
	settle();
	EXPECT(!pending(SIGUSR1)); /* not ours */
	atomic_store(&may_end, true);
	finish(t);
	EXPECT_EQ(atomic_load(&handled), 1);
}

/* A child's life: signals to a process need a process whose threads are all
 * known. Its main blocks everything, as does who is made by it. */
static void all_block_then_one_does_not(void *arg)
{
	sigset_t all;

	(void)arg;
	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	atomic_store(&handled, 0);
	handle_by(SIGUSR1, handle, 0, 0);
	EXPECT_OK(kill(getpid(), SIGUSR1));
	settle();
	EXPECT_EQ(atomic_load(&handled), 0);
	EXPECT(pending(SIGUSR1));
	block(SIG_UNBLOCK, SIGUSR1);
	EXPECT_EQ(atomic_load(&handled), 1);
	EXPECT(pthread_equal(handled_by, pthread_self()));
}

static void what_all_block_waits_for_the_first_that_does_not(void)
{
	expect_child(all_block_then_one_does_not, NULL);
}

static void *sleep_unblocked(void *arg)
{
	block(SIG_UNBLOCK, SIGUSR1);
	atomic_store(&ready, true);
	while (!atomic_load(&may_end))
		nap_us(1000);
	return arg;
}

static void *sleep_blocked(void *arg)
{
	while (!atomic_load(&may_end))
		nap_us(1000);
	return arg;
}

/* One of eleven does not block it, and it waits. */
static void one_of_many_does_not_block(void *arg)
{
	pthread_t others[10], one;
	sigset_t all;

	(void)arg;
	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	handle_by(SIGUSR1, handle, 0, 0);
	atomic_store(&handled, 0);
	atomic_store(&ready, false);
	atomic_store(&may_end, false);
	for (int i = 0; i < 10; i++)
		others[i] = start(sleep_blocked, NULL);
	one = start(sleep_unblocked, NULL);
	WAIT_UNTIL(atomic_load(&ready));
	for (int i = 1; i <= 50; i++) {
		EXPECT_OK(kill(getpid(), SIGUSR1));
		WAIT_UNTIL(atomic_load(&handled) >= i);
		EXPECT(pthread_equal(handled_by, one));
	}
	EXPECT_EQ(atomic_load(&handled), 50);
	atomic_store(&may_end, true);
	for (int i = 0; i < 10; i++)
		finish(others[i]);
	finish(one);
}

static void what_is_sent_to_the_process_reaches_who_does_not_block_it(void)
{
	expect_child(one_of_many_does_not_block, NULL);
}

/* ---- main ---- */

static int told[2];
static atomic_int elsewhere;
static pthread_t first;

static void tell(int sig)
{
	int kept = errno;

	if (!pthread_equal(pthread_self(), first))
		atomic_fetch_add(&elsewhere, 1);
	if (write(told[1], &sig, 1) == 1)
		atomic_fetch_add(&handled, 1);
	errno = kept;
}

static void *pass_on(void *arg)
{
	int *fd = arg;
	char c;

	while (!atomic_load(&may_end))
		if (read(fd[0], &c, 1) == 1 && write(fd[1], &c, 1) != 1)
			break;
	return arg;
}

static void *compute(void *arg)
{
	while (!atomic_load(&may_end)) {
		for (volatile int i = 0; i < 3000000;)
			i = i + 1;
		nap_us(500);
	}
	return arg;
}

/* Sends one after another, each when main has seen the last. */
static void send_to(pid_t pid, int times, int seen)
{
	char c;

	for (int i = 0; i < times; i++)
		if (kill(pid, SIGUSR2) || read(seen, &c, 1) != 1)
			_exit(1);
	_exit(0);
}

/* The kernel prefers main, too, but now and then another thread comes first: one
 * in some thousands. Coroutines would come first far more often, since workers
 * look at what is pending whenever they change their masks; so there it is a
 * promise. */
static int may_go_elsewhere(int times)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "libcogo") ? 0 : times / 100;
}

/* Others do not block it either, and have their hands full. */
static void what_is_sent_to_the_process_goes_to_main_if_it_does_not_block_it(void)
{
	static int ring[8][2][2], ends[8][2][2];
	pthread_t t[8][2], burn[3];
	int seen[2], times = 2000;
	pid_t pid;
	char c = 0;

	first = pthread_self();
	atomic_store(&handled, 0);
	atomic_store(&elsewhere, 0);
	atomic_store(&may_end, false);
	EXPECT_OK(pipe(told));
	EXPECT_OK(pipe(seen));
	handle_by(SIGUSR2, tell, SA_RESTART, 0);
	for (int i = 0; i < 8; i++) {
		EXPECT_OK(pipe(ring[i][0]));
		EXPECT_OK(pipe(ring[i][1]));
		for (int k = 0; k < 2; k++) {
			ends[i][k][0] = ring[i][k][0];
			ends[i][k][1] = ring[i][!k][1];
			t[i][k] = start(pass_on, ends[i][k]);
		}
		EXPECT_EQ(write(ring[i][0][1], "x", 1), 1);
	}
	for (int i = 0; i < 3; i++)
		burn[i] = start(compute, NULL);
	pid = fork();
	if (pid == 0) {
		alarm(100);
		close(seen[1]);
		send_to(getppid(), times, seen[0]);
	}
	for (int i = 0; i < times; i++) {
		while (read(told[0], &c, 1) != 1)
			EXPECT_EQ(errno, EINTR);
		EXPECT_EQ(write(seen[1], &c, 1), 1);
	}
	EXPECT_EQ(status_of(pid), 0);
	EXPECT_EQ(atomic_load(&handled), times);
	EXPECT(atomic_load(&elsewhere) <= may_go_elsewhere(times));
	atomic_store(&may_end, true);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 2; k++)
			close(ring[i][k][1]);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 2; k++) {
			finish(t[i][k]);
			close(ring[i][k][0]);
		}
	for (int i = 0; i < 3; i++)
		finish(burn[i]);
	signal(SIGUSR2, SIG_DFL);
	close(seen[0]);
	close(seen[1]);
	close(told[0]);
	close(told[1]);
}

/* ---- nobody runs who wants it ---- */

static void *pause_for(void *arg)
{
	sigset_t mask;

	sigfillset(&mask);
	sigdelset(&mask, SIGUSR1);
	atomic_store(&ready, true);
	sigsuspend(&mask);
	return arg;
}

/* One lets it in and pauses; all the others, who run, and main do not. */
static void one_pauses_and_others_run(void *arg)
{
	pthread_t one, others[4];
	sigset_t all;

	(void)arg;
	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	handle_by(SIGUSR1, handle, 0, 0);
	atomic_store(&handled, 0);
	atomic_store(&may_end, false);
	for (int i = 0; i < 4; i++)
		others[i] = start(sleep_blocked, NULL);
	for (int i = 1; i <= 20; i++) {
		atomic_store(&ready, false);
		one = start(pause_for, NULL);
		WAIT_UNTIL(atomic_load(&ready));
		settle();
		EXPECT_OK(kill(getpid(), SIGUSR1));
		finish(one);
		EXPECT_EQ(atomic_load(&handled), i);
		EXPECT(pthread_equal(handled_by, one));
	}
	atomic_store(&may_end, true);
	for (int i = 0; i < 4; i++)
		finish(others[i]);
}

static void one_that_pauses_gets_what_all_others_block(void)
{
	expect_child(one_pauses_and_others_run, NULL);
}

static void *pause_open(void *arg)
{
	sigset_t mask;

	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	atomic_store(&ready, true);
	sigsuspend(&mask);
	return arg;
}

/* And the default is done though it only pauses. */
static void a_pausing_thread_lets_the_default_in(void)
{
	pid_t pid = fork();
	sigset_t all;
	pthread_t t;

	if (pid == 0) {
		alarm(100);
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
		atomic_store(&ready, false);
		atomic_store(&may_end, false);
		start(sleep_blocked, NULL);
		t = start(pause_open, NULL);
		WAIT_UNTIL(atomic_load(&ready));
		settle();
		kill(getpid(), SIGTERM);
		finish(t);
		_exit(1);
	}
	EXPECT_EQ(status_of(pid), SIGTERM);
}

/* Blocked first by one thread after the other, each in its own time: what they
 * let in before is nobody's now, and waits for the one who waits for it. */
static void *block_and_sleep(void *arg)
{
	sigset_t all;

	nap_us(100);
	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	atomic_fetch_add((atomic_int *)arg, 1);
	while (!atomic_load(&may_end))
		nap_us(1000);
	return arg;
}

static void *wait_for_term(void *arg)
{
	sigset_t set = set_of(SIGTERM);
	int sig = 0;

	EXPECT_EQ(sigwait(&set, &sig), 0);
	EXPECT_EQ(sig, SIGTERM);
	return arg;
}

static void all_come_to_block_it(void *arg)
{
	pthread_t t[6], waiter;
	atomic_int blocking = 0;
	sigset_t all;

	(void)arg;
	atomic_store(&may_end, false);
	for (int i = 0; i < 6; i++)
		t[i] = start(block_and_sleep, &blocking);
	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	WAIT_UNTIL(atomic_load(&blocking) == 6);
	waiter = start(wait_for_term, &blocking);
	settle();
	EXPECT_OK(kill(getpid(), SIGTERM));
	EXPECT(finish(waiter) == &blocking);
	atomic_store(&may_end, true);
	for (int i = 0; i < 6; i++)
		finish(t[i]);
}

static void what_all_have_come_to_block_can_be_waited_for(void)
{
	for (int i = 0; i < 5; i++)
		expect_child(all_come_to_block_it, NULL);
}

/* ---- while a handler runs ---- */

static atomic_int depth, deepest, raised;
static atomic_bool saw_itself_blocked, saw_other_blocked;

/* Threads that would be ended by it come and go; then main alone is there, blocks
 * it, and sends it to the process: nobody is left whom it could end. */
static void *come_and_go(void *arg)
{
	sched_yield();
	return arg;
}

static void block_at_last(bool early)
{
	sigset_t set = set_of(SIGUSR1), pending;
	pthread_t t[4];
	int sig = 0;

	for (int i = 0; i < 4; i++)
		t[i] = start(come_and_go, NULL);
	for (int i = 0; i < (early ? 2 : 4); i++)
		finish(t[i]);
	block(SIG_BLOCK, SIGUSR1);
	for (int i = 2; i < 4 && early; i++)
		finish(t[i]);
	EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
	EXPECT_EQ(sigpending(&pending), 0);
	EXPECT_EQ(sigismember(&pending, SIGUSR1), 1);
	EXPECT_EQ(sigwait(&set, &sig), 0);
	EXPECT_EQ(sig, SIGUSR1);
	block(SIG_UNBLOCK, SIGUSR1);
}

static void what_main_blocks_at_last_ends_nobody(void)
{
	handle_by(SIGUSR1, SIG_DFL, 0, 0);
	for (int i = 0; i < 200; i++)
		block_at_last(i % 2);
	handle_by(SIGUSR1, handle, 0, 0);
	for (int i = 0; i < 200; i++)
		block_at_last(i % 2);
}

static void nest(int sig)
{
	int n = atomic_fetch_add(&depth, 1) + 1;

	if (n > atomic_load(&deepest))
		atomic_store(&deepest, n);
	atomic_store(&saw_itself_blocked, blocks(sig));
	atomic_store(&saw_other_blocked, blocks(SIGUSR2));
	if (atomic_fetch_add(&raised, 1) < 2)
		raise(sig);
	atomic_fetch_sub(&depth, 1);
	atomic_fetch_add(&handled, 1);
}

static void a_handler_blocks_its_signal_and_what_it_asked_for(void)
{
	atomic_store(&handled, 0);
	atomic_store(&raised, 0);
	atomic_store(&deepest, 0);
	handle_by(SIGUSR1, nest, 0, SIGUSR2);
	EXPECT_OK(raise(SIGUSR1));
	EXPECT_EQ(atomic_load(&deepest), 1);
	EXPECT(atomic_load(&saw_itself_blocked));
	EXPECT(atomic_load(&saw_other_blocked));
	EXPECT(!blocks(SIGUSR1) && !blocks(SIGUSR2));
	/* two raised it once more, while it was blocked: one after another */
	EXPECT_EQ(atomic_load(&handled), 3);
	atomic_store(&raised, 0);
	atomic_store(&deepest, 0);
	handle_by(SIGUSR1, nest, SA_NODEFER, 0);
	EXPECT_OK(raise(SIGUSR1));
	EXPECT_EQ(atomic_load(&deepest), 3);
	EXPECT(!atomic_load(&saw_itself_blocked));
	EXPECT(!atomic_load(&saw_other_blocked));
	handle_by(SIGUSR1, handle, 0, 0);
}

static void *handler_in_thread(void *arg)
{
	a_handler_blocks_its_signal_and_what_it_asked_for();
	return arg;
}

static void it_does_so_in_any_thread(void)
{
	finish(start(handler_in_thread, NULL));
}

static sigjmp_buf jump;

static void jump_out(int sig)
{
	siglongjmp(jump, sig);
}

static void jumping_out_of_a_handler_restores_the_mask(void)
{
	for (volatile int i = 0; i < 20; i++) {
		handle_by(SIGUSR1, jump_out, 0, SIGUSR2);
		if (sigsetjmp(jump, 1) == 0) {
			raise(SIGUSR1);
			EXPECT(!"comes back from raise");
		}
		EXPECT(!blocks(SIGUSR1) && !blocks(SIGUSR2));
		nap_us(100);
	}
	/* and without a saved mask it stays as it was in the handler */
	if (sigsetjmp(jump, 0) == 0)
		raise(SIGUSR1);
	EXPECT(blocks(SIGUSR1) && blocks(SIGUSR2));
	block(SIG_UNBLOCK, SIGUSR1);
	block(SIG_UNBLOCK, SIGUSR2);
	handle_by(SIGUSR1, handle, 0, 0);
}

/* ---- masks that come with a wait ---- */

static int wait_kind;
static int quiet_pipe[2];

static long wait_with_mask(const sigset_t *mask)
{
	struct timespec far = {60, 0};
	struct epoll_event event;
	fd_set reads;
	long ret;
	int set;

	switch (wait_kind) {
	case 0:
		return sigsuspend(mask);
	case 1:
		return ppoll(NULL, 0, &far, mask);
	case 2:
		FD_ZERO(&reads);
		FD_SET(quiet_pipe[0], &reads);
		return pselect(quiet_pipe[0] + 1, &reads, NULL, NULL, &far, mask);
	default:
		set = epoll_create1(0);
		ret = epoll_pwait(set, &event, 1, 60000, mask);
		close(set);
		return ret;
	}
}

static void *wait_masked(void *arg)
{
	sigset_t mask = set_of(SIGUSR2);
	int before, err;
	long ret;

	block(SIG_BLOCK, SIGUSR1);
	block(SIG_UNBLOCK, SIGUSR2);
	/* one is there already: the wait lets it in, and only the wait */
	EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	before = atomic_load(&handled);
	errno = 0;
	ret = wait_with_mask(&mask);
	err = errno;
	EXPECT_EQ(ret, -1);
	EXPECT_EQ(err, EINTR);
	EXPECT_EQ(atomic_load(&handled), before + 1);
	EXPECT(pthread_equal(handled_by, pthread_self()));
	EXPECT(blocks(SIGUSR1) && !blocks(SIGUSR2));
	/* and now one that is to come; SIGUSR2 must not end the wait */
	atomic_store(&ready, true);
	ret = wait_with_mask(&mask);
	EXPECT_EQ(ret, -1);
	EXPECT(blocks(SIGUSR1) && !blocks(SIGUSR2));
	return arg;
}

static void a_wait_with_a_mask_lets_in_exactly_what_it_says(void)
{
	EXPECT_OK(pipe(quiet_pipe));
	handle_by(SIGUSR1, handle, 0, 0);
	signal(SIGUSR2, handle);
	for (wait_kind = 0; wait_kind < 4; wait_kind++) {
		pthread_t t;
		int before;

		atomic_store(&ready, false);
		t = start(wait_masked, NULL);
		WAIT_UNTIL(atomic_load(&ready));
		settle();
		before = atomic_load(&handled);
		EXPECT_EQ(pthread_kill(t, SIGUSR2), 0);
		settle();
		/* unless it came before the wait, it waits now */
		EXPECT(atomic_load(&handled) - before <= 1);
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		finish(t);
		EXPECT_EQ(atomic_load(&handled), before + 2);
	}
	signal(SIGUSR2, SIG_DFL);
	close(quiet_pipe[0]);
	close(quiet_pipe[1]);
}

static const struct expect_case cases[] = {
	CASE(a_mask_is_inherited_and_then_its_threads_own),
	CASE_IN_MAIN(a_mask_is_inherited_and_then_its_threads_own),
	CASE(the_ways_to_change_a_mask_agree),
	CASE(what_is_sent_to_a_thread_waits_for_that_thread),
	CASE(what_all_block_waits_for_the_first_that_does_not),
	CASE_IN_MAIN(what_all_block_waits_for_the_first_that_does_not),
	CASE(what_is_sent_to_the_process_reaches_who_does_not_block_it),
	CASE_IN_MAIN(what_is_sent_to_the_process_reaches_who_does_not_block_it),
	CASE_IN_MAIN(what_is_sent_to_the_process_goes_to_main_if_it_does_not_block_it),
	CASE(one_that_pauses_gets_what_all_others_block),
	CASE(a_pausing_thread_lets_the_default_in),
	CASE(what_all_have_come_to_block_can_be_waited_for),
	CASE_IN_MAIN(what_main_blocks_at_last_ends_nobody),
	CASE_IN_MAIN(a_handler_blocks_its_signal_and_what_it_asked_for),
	CASE(it_does_so_in_any_thread),
	CASE(jumping_out_of_a_handler_restores_the_mask),
	CASE_IN_MAIN(jumping_out_of_a_handler_restores_the_mask),
	CASE(a_wait_with_a_mask_lets_in_exactly_what_it_says),
};
EXPECT_MAIN(cases)
