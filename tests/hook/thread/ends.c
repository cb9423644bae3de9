/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* ends.c - how a process with threads ends.
 *
 * Each case forks, in main, a child whose only thread is then its main; what
 * the child leaves, a status and what it wrote to a pipe, tells how it ended.
 * The same again with the case in a thread: in the child that thread is the
 * main one. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>

#include "../../support/expect.h"

static int report; /* the child's end of the pipe */

static void say(const char *text)
{
	if (write(report, text, strlen(text)) < 0)
		_exit(99);
}

/* Runs `life` in a child; returns its status, and what it said. */
static int live(void (*life)(void), char *ret_said, size_t size)
{
	struct rlimit no_core = {0, 0};
	size_t at = 0;
	ssize_t n;
	int fd[2];
	pid_t pid;

	if (!EXPECT_OK(pipe(fd)))
		return -1;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		report = fd[1];
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(60);
		life();
		_exit(98);
	}
	close(fd[1]);
	while ((n = read(fd[0], ret_said + at, size - 1 - at)) > 0)
		at += n;
	ret_said[at] = 0;
	close(fd[0]);
	return status_of(pid);
}

static bool ends(void (*life)(void), int status, const char *said)
{
	char seen[256];

	return EXPECT_EQ(live(life, seen, sizeof(seen)), status) &&
	       EXPECT_STR(seen, said);
}

#define EXITED(code) ((code) << 8)

static void at_exit_a(void)
{
	say("A");
}

static void at_exit_b(void)
{
	say("B");
}

static void *say_later(void *arg)
{
	nap_us(20000);
	say(arg);
	return NULL;
}

static void *sleep_for_ever(void *arg)
{
	for (;;)
		sleep(1000);
	return arg;
}

static void *compute_for_ever(void *arg)
{
	for (volatile long i = 0;; i++)
		;
	return arg;
}

/* ---- lives ---- */

static void main_exits_as_a_thread(void)
{
	atexit(at_exit_a);
	start(say_later, "1");
	say("0");
	pthread_exit(NULL);
}

static pthread_t main_thread;

static void *join_main(void *arg)
{
	void *ret;

	if (pthread_join(main_thread, &ret) == 0 && ret == (void *)77)
		say("joined");
	return arg;
}

static void main_exits_and_is_joined(void)
{
	main_thread = pthread_self();
	start(join_main, NULL);
	pthread_exit((void *)77);
}

static void *end_alone(void *arg)
{
	nap_us(20000);
	say("last");
	pthread_exit(arg);
}

static void only_thread_exits(void)
{
	atexit(at_exit_a);
	pthread_exit((void *)5);
}

static void last_thread_exits(void)
{
	atexit(at_exit_a);
	pthread_detach(start(end_alone, (void *)3));
	pthread_exit(NULL);
}

static void exits_while_others_live(void)
{
	atexit(at_exit_a);
	atexit(at_exit_b);
	for (int i = 0; i < 5; i++)
		start(sleep_for_ever, NULL);
	start(compute_for_ever, NULL);
	settle();
	exit(7);
}

static void *exit_from_thread(void *arg)
{
	settle();
	exit((int)(intptr_t)arg);
}

static void thread_exits_for_all(void)
{
	atexit(at_exit_a);
	atexit(at_exit_b);
	start(sleep_for_ever, NULL);
	start(exit_from_thread, (void *)9);
	sleep_for_ever(NULL);
}

static void *exit_from_thread_at_once(void *arg)
{
	say("thread");
	_exit((int)(intptr_t)arg);
}

static void thread_exits_at_once(void)
{
	atexit(at_exit_a);
	start(exit_from_thread_at_once, (void *)11);
	sleep_for_ever(NULL);
}

static void *quick_exit_from_thread(void *arg)
{
	quick_exit((int)(intptr_t)arg);
}

static void thread_exits_quickly(void)
{
	atexit(at_exit_a);
	at_quick_exit(at_exit_b);
	start(quick_exit_from_thread, (void *)13);
	sleep_for_ever(NULL);
}

static void *abort_in_thread(void *arg)
{
	abort();
	return arg;
}

static void thread_aborts(void)
{
	close(2);
	start(abort_in_thread, NULL);
	sleep_for_ever(NULL);
}

static void *fault_in_thread(void *arg)
{
	*(volatile int *)arg = 1;
	return NULL;
}

static void thread_faults(void)
{
	close(2);
	start(fault_in_thread, (void *)16);
	sleep_for_ever(NULL);
}

static void *kill_in_thread(void *arg)
{
	kill(getpid(), SIGTERM);
	return sleep_for_ever(arg);
}

static void thread_kills(void)
{
	start(kill_in_thread, NULL);
	sleep_for_ever(NULL);
}

/* What waits in stdio goes out at exit, by whichever thread. */
static void *print_and_exit(void *arg)
{
	FILE *out = arg;

	fputs("flushed", out);
	exit(0);
}

static void thread_prints_and_exits(void)
{
	start(print_and_exit, fdopen(report, "w"));
	sleep_for_ever(NULL);
}

static void *wait_in_handler_of_exit(void *arg)
{
	return arg;
}

static void thread_in_exit_handler(void)
{
	void *ret = NULL;
	pthread_t t;

	nap_us(1000);
	t = start(wait_in_handler_of_exit, &report);
	pthread_join(t, &ret);
	say(ret == &report ? "joined" : "lost");
}

static void exit_handler_makes_a_thread(void)
{
	atexit(thread_in_exit_handler);
	exit(0);
}

static void *exec_in_thread(void *arg)
{
	dup2(report, 1);
	execl("/bin/sh", "sh", "-c", "echo \"replaced $$\"; exit 21", NULL);
	return arg;
}

static void thread_execs(void)
{
	for (int i = 0; i < 5; i++)
		start(sleep_for_ever, NULL);
	start(compute_for_ever, NULL);
	settle();
	start(exec_in_thread, NULL);
	sleep_for_ever(NULL);
}

/* ---- how they end ---- */

static void a_process_lives_until_its_last_thread_ends(void)
{
	ends(main_exits_as_a_thread, 0, "01A");
	ends(only_thread_exits, 0, "A");
	ends(last_thread_exits, 0, "lastA");
}

static void main_can_be_joined_like_any_other(void)
{
	ends(main_exits_and_is_joined, 0, "joined");
}

static void exit_ends_all_threads_whatever_they_do(void)
{
	ends(exits_while_others_live, EXITED(7), "BA");
	ends(thread_exits_for_all, EXITED(9), "BA");
	ends(thread_exits_at_once, EXITED(11), "thread");
	ends(thread_exits_quickly, EXITED(13), "B");
}

static void a_signal_that_ends_a_thread_ends_the_process(void)
{
	ends(thread_aborts, SIGABRT, "");
	ends(thread_faults, SIGSEGV, "");
	ends(thread_kills, SIGTERM, "");
}

static void what_was_printed_is_flushed_by_whoever_exits(void)
{
	ends(thread_prints_and_exits, 0, "flushed");
}

static void exit_handlers_may_wait_and_make_threads(void)
{
	ends(exit_handler_makes_a_thread, 0, "joined");
}

static void exec_in_a_thread_replaces_the_process(void)
{
	char said[256];
	int status = live(thread_execs, said, sizeof(said));

	EXPECT_EQ(status, EXITED(21));
	EXPECT(strncmp(said, "replaced ", 9) == 0);
}

/* Again and again, at any moment of the others' lives. */
static void *come_and_go(void *arg)
{
	for (;;) {
		pthread_t t = start(say_later, "");

		pthread_join(t, NULL);
	}
	return arg;
}

static void exits_in_the_middle(void)
{
	for (int i = 0; i < 8; i++)
		start(come_and_go, NULL);
	nap_us(1000 + getpid() % 40 * 500);
	exit(3);
}

static void exit_is_safe_at_any_moment(void)
{
	char said[256];

	for (int i = 0; i < 30; i++)
		EXPECT_EQ(live(exits_in_the_middle, said, sizeof(said)), EXITED(3));
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(a_process_lives_until_its_last_thread_ends),
	CASE_IN_MAIN(main_can_be_joined_like_any_other),
	CASE_IN_MAIN(exit_ends_all_threads_whatever_they_do),
	CASE_IN_MAIN(a_signal_that_ends_a_thread_ends_the_process),
	CASE_IN_MAIN(what_was_printed_is_flushed_by_whoever_exits),
	CASE_IN_MAIN(exit_handlers_may_wait_and_make_threads),
	CASE_IN_MAIN(exec_in_a_thread_replaces_the_process),
	CASE_IN_MAIN(exit_is_safe_at_any_moment),
	CASE(a_process_lives_until_its_last_thread_ends),
	CASE(main_can_be_joined_like_any_other),
	CASE(exit_ends_all_threads_whatever_they_do),
	CASE(a_signal_that_ends_a_thread_ends_the_process),
	CASE(exec_in_a_thread_replaces_the_process),
	CASE(exit_is_safe_at_any_moment),
};
EXPECT_MAIN(cases)
