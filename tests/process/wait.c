/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait.c - waiting for children, by every name, from threads. */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../support/expect.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* A child that ends with this status when it is told to, by a byte. */
struct child {
	pid_t pid;
	int tell;
};

static struct child make_child(int status)
{
	struct child c;
	int fd[2];
	char byte;

	EXPECT_OK(pipe(fd));
	c.pid = fork();
	if (c.pid == 0) {
		alarm(2 * EXPECT_WAIT_SECONDS);
		close(fd[1]);
		_exit(read(fd[0], &byte, 1) == 1 ? status : 1);
	}
	EXPECT(c.pid > 0);
	close(fd[0]);
	c.tell = fd[1];
	return c;
}

static void tell(struct child *c)
{
	EXPECT_EQ(write(c->tell, "x", 1), 1);
	close(c->tell);
}

/* Tells it after a while, when somebody waits for it already. */
static void *tell_later(void *arg)
{
	nap_us(20000);
	tell(arg);
	return NULL;
}

static void waitpid_waits_for_the_child_it_names(void)
{
	struct child a = make_child(7), b = make_child(8);
	int status = -1;
	pthread_t t;

	EXPECT_EQ(waitpid(a.pid, &status, WNOHANG), 0);
	tell(&b);
	t = start(tell_later, &a);
	EXPECT_EQ(waitpid(a.pid, &status, 0), a.pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	finish(t);
	EXPECT_EQ(waitpid(b.pid, NULL, 0), b.pid);
	EXPECT_ERR(waitpid(a.pid, &status, 0), ECHILD);
	EXPECT_ERR(waitpid(getpid(), &status, 0), ECHILD);
	EXPECT_ERR(waitpid(a.pid, &status, 0x40000), EINVAL);
}

static void wait_takes_any_child(void)
{
	struct child a = make_child(7), b = make_child(8);
	int status = -1;
	pthread_t t;

	t = start(tell_later, &a);
	EXPECT_EQ(wait(&status), a.pid);
	EXPECT_EQ(WEXITSTATUS(status), 7);
	finish(t);
	t = start(tell_later, &b);
	EXPECT_EQ(waitpid(-1, &status, 0), b.pid);
	EXPECT_EQ(WEXITSTATUS(status), 8);
	finish(t);
	EXPECT_ERR(wait(&status), ECHILD);
}

static void a_group_is_waited_for(void)
{
	struct child a = make_child(7), b = make_child(8);
	int status = -1;
	pthread_t t;

	EXPECT_OK(setpgid(a.pid, a.pid));
	tell(&b);
	t = start(tell_later, &a);
	EXPECT_EQ(waitpid(-a.pid, &status, 0), a.pid);
	EXPECT_EQ(WEXITSTATUS(status), 7);
	finish(t);
	EXPECT_EQ(waitpid(0, &status, 0), b.pid);
	EXPECT_EQ(WEXITSTATUS(status), 8);
}

static void wait4_tells_what_the_child_used(void)
{
	struct child a = make_child(7), b = make_child(8);
	struct rusage usage;
	int status;
	pthread_t t;

	memset(&usage, 0xff, sizeof(usage));
	t = start(tell_later, &a);
	EXPECT_EQ(wait4(a.pid, &status, 0, &usage), a.pid);
	EXPECT(usage.ru_maxrss > 0 && usage.ru_utime.tv_sec >= 0);
	finish(t);
	memset(&usage, 0xff, sizeof(usage));
	t = start(tell_later, &b);
	EXPECT_EQ(wait3(&status, 0, &usage), b.pid);
	EXPECT(usage.ru_maxrss > 0 && usage.ru_utime.tv_sec >= 0);
	finish(t);
}

static void waitid_fills_in_what_happened(void)
{
	struct child c = make_child(7);
	siginfo_t info;
	pthread_t t;
	int pidfd;

	memset(&info, 0xff, sizeof(info));
	EXPECT_OK(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOHANG));
	EXPECT_EQ(info.si_pid, 0);
	t = start(tell_later, &c);
	EXPECT_OK(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT));
	EXPECT_EQ(info.si_pid, c.pid);
	EXPECT_EQ(info.si_signo, SIGCHLD);
	EXPECT_EQ(info.si_code, CLD_EXITED);
	EXPECT_EQ(info.si_status, 7);
	finish(t);
	EXPECT_OK(waitid(P_ALL, 0, NULL, WEXITED));
	EXPECT_ERR(waitid(P_PID, (id_t)c.pid, &info, WEXITED), ECHILD);
	EXPECT_ERR(waitid(P_PID, (id_t)c.pid, &info, 0), EINVAL);

	c = make_child(9);
	pidfd = (int)syscall(SYS_pidfd_open, c.pid, 0);
	if (pidfd < 0) {
		SKIP("no pidfd_open");
		tell(&c);
		status_of(c.pid);
		return;
	}
	t = start(tell_later, &c);
	EXPECT_OK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED));
	EXPECT_EQ(info.si_pid, c.pid);
	EXPECT_EQ(info.si_status, 9);
	finish(t);
	close(pidfd);
}

static atomic_int told;

/* Each when what came before has been told: two are told as the last one. */
static void *kill_later(void *arg)
{
	static const int sigs[] = {SIGSTOP, SIGCONT, SIGKILL};

	for (int i = 0; i < 3; i++) {
		WAIT_UNTIL(atomic_load(&told) == i);
		nap_us(20000);
		EXPECT_OK(kill(((struct child *)arg)->pid, sigs[i]));
	}
	return NULL;
}

static void stops_and_continuations_are_told_to_who_asks(void)
{
	struct child c = make_child(7);
	pthread_t t;
	int status;

	atomic_store(&told, 0);
	t = start(kill_later, &c);
	EXPECT_EQ(waitpid(c.pid, &status, WUNTRACED), c.pid);
	EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	atomic_store(&told, 1);
	EXPECT_EQ(waitpid(c.pid, &status, WCONTINUED), c.pid);
	EXPECT(WIFCONTINUED(status));
	atomic_store(&told, 2);
	EXPECT_EQ(waitpid(c.pid, &status, 0), c.pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	finish(t);
	close(c.tell);
}

/* Unasked, waitpid also tells of a child that stops because it is traced. */
static void a_traced_childs_stop_is_seen(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(2 * EXPECT_WAIT_SECONDS);
		nap_us(30000);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGUSR1);
		_exit(5);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		SKIP("no ptrace here");
		return;
	}
	EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1);
	/* Only its tracer may let it go, and that is its parent's one thread
	 * that made it: ask for the end instead. */
	EXPECT_OK(kill(pid, SIGKILL));
	status = status_of(pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void on_signal(int sig)
{
	(void)sig;
}

struct sleeper {
	pid_t pid;
	volatile int about_to;
	int result, error;
};

static void *wait_once(void *arg)
{
	struct sleeper *s = arg;
	int status;

	s->about_to = 1;
	s->result = waitpid(s->pid, &status, 0);
	s->error = errno;
	return NULL;
}

static void interrupt(int flags, pid_t of, struct sleeper *ret)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags}, old;
	struct child c = make_child(7);
	struct sleeper s = {.pid = of ? of : c.pid};
	pthread_t t;

	EXPECT_OK(sigaction(SIGUSR2, &sa, &old));
	t = start(wait_once, &s);
	WAIT_UNTIL(s.about_to);
	nap_us(30000);
	EXPECT_EQ(pthread_kill(t, SIGUSR2), 0);
	nap_us(30000);
	tell(&c);
	finish(t);
	if (s.result == -1)
		status_of(c.pid);
	EXPECT_OK(sigaction(SIGUSR2, &old, NULL));
	*ret = s;
}

static void a_handler_interrupts_unless_it_restarts(void)
{
	struct sleeper s;

	interrupt(0, 0, &s);
	EXPECT(s.result == -1 && s.error == EINTR);
	interrupt(0, -1, &s);
	EXPECT(s.result == -1 && s.error == EINTR);
	interrupt(SA_RESTART, 0, &s);
	EXPECT(s.result > 0);
	interrupt(SA_RESTART, -1, &s);
	EXPECT(s.result > 0);
}

static void ignored_children_leave_nothing_to_wait_for(void *arg)
{
	struct child c;
	pthread_t t;
	int status;

	(void)arg;
	signal(SIGCHLD, SIG_IGN);
	c = make_child(7);
	t = start(tell_later, &c);
	EXPECT_ERR(waitpid(c.pid, &status, 0), ECHILD);
	finish(t);
}

static void a_wait_ends_though_the_child_is_ignored(void)
{
	expect_child(ignored_children_leave_nothing_to_wait_for, NULL);
}

static void *wait_for_one(void *arg)
{
	struct child *c = arg;

	return (void *)(long)WEXITSTATUS(status_of(c->pid));
}

#define MANY 100

static void many_threads_wait_for_a_child_each(void)
{
	struct child c[MANY];
	pthread_t t[MANY];

	for (int i = 0; i < MANY; i++)
		c[i] = make_child(i);
	for (int i = 0; i < MANY; i++)
		t[i] = start(wait_for_one, &c[i]);
	nap_us(20000);
	for (int i = MANY; i--;)
		tell(&c[i]);
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ((long)finish(t[i]), i);
}

static void two_threads_may_wait_for_one_child(void)
{
	struct child c = make_child(7);
	struct sleeper a = {.pid = c.pid}, b = {.pid = c.pid};
	pthread_t t = start(wait_once, &a), u = start(wait_once, &b);

	WAIT_UNTIL(a.about_to && b.about_to);
	nap_us(20000);
	tell(&c);
	finish(t);
	finish(u);
	EXPECT(a.result != b.result);
	EXPECT(a.result == c.pid || b.result == c.pid);
	EXPECT((a.result == -1 ? a.error : b.error) == ECHILD);
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void waiting_leaves_no_descriptor_behind(void)
{
	int before = count_descriptors();

	for (int i = 0; i < 10; i++) {
		struct child c = make_child(7);
		pthread_t t = start(tell_later, &c);

		EXPECT_EQ(waitpid(c.pid, NULL, 0), c.pid);
		finish(t);
	}
	EXPECT_EQ(count_descriptors(), before);
}

static const struct expect_case cases[] = {
	CASE(waitpid_waits_for_the_child_it_names),
	CASE(wait_takes_any_child),
	CASE(a_group_is_waited_for),
	CASE(wait4_tells_what_the_child_used),
	CASE(waitid_fills_in_what_happened),
	CASE(stops_and_continuations_are_told_to_who_asks),
	CASE(a_traced_childs_stop_is_seen),
	CASE(a_handler_interrupts_unless_it_restarts),
	CASE(a_wait_ends_though_the_child_is_ignored),
	CASE(many_threads_wait_for_a_child_each),
	CASE(two_threads_may_wait_for_one_child),
	CASE(waiting_leaves_no_descriptor_behind),
	CASE_IN_MAIN(waitpid_waits_for_the_child_it_names),
};

EXPECT_MAIN(cases)
