/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fork.c - what a fork by a thread owes parent and child. */
#include <dirent.h>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <sys/socket.h>

#include "../support/expect.h"

/* How many kernel threads this process has; or the number of its descriptors
 * whose link begins with `what`. */
static int count_tasks(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int count_links(const char *what)
{
	char path[300], link[256];
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	ssize_t len;
	int n = 0;

	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = 0;
		n += strncmp(link, what, strlen(what)) == 0;
	}
	closedir(d);
	return n;
}

static void *add_one(void *arg)
{
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_RELAXED);
	return arg;
}

/* Threads, locks, conditions, sleeping: all of it, in whatever process. */
struct meeting {
	pthread_mutex_t m;
	pthread_cond_t c;
	int here;
};

static void *meet(void *arg)
{
	struct meeting *m = arg;

	pthread_mutex_lock(&m->m);
	if (++m->here == 8)
		pthread_cond_broadcast(&m->c);
	while (m->here < 8)
		pthread_cond_wait(&m->c, &m->m);
	pthread_mutex_unlock(&m->m);
	nap_us(100);
	return free(malloc(2000)), arg;
}

static bool threads_work(void)
{
	struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
	pthread_t t[8];

	for (int i = 0; i < 8; i++)
		t[i] = start(meet, &m);
	for (int i = 0; i < 8; i++)
		if (finish(t[i]) != &m)
			return false;
	return m.here == 8;
}

static void in_a_fresh_child(void *arg)
{
	(void)arg;
	EXPECT_EQ(gettid(), getpid());
	EXPECT_EQ(count_tasks(), 1);
	EXPECT_EQ(syscall(SYS_gettid), getpid());
}

static void the_child_is_one_thread_and_it_is_the_first(void)
{
	expect_child(in_a_fresh_child, NULL);
}

static void make_threads(void *arg)
{
	(void)arg;
	EXPECT(threads_work());
	EXPECT(threads_work());
}

static void a_child_makes_threads_that_lock_wait_and_sleep(void)
{
	EXPECT(threads_work());
	expect_child(make_threads, NULL);
	EXPECT(threads_work());
}

static void nest(void *arg)
{
	int depth = *(int *)arg - 1;

	EXPECT(threads_work());
	if (depth > 0)
		expect_child(nest, &depth);
	EXPECT(threads_work());
}

static void *nest_in_a_thread(void *arg)
{
	expect_child(nest, arg);
	return NULL;
}

static void threads_in_a_thread(void *arg)
{
	EXPECT(threads_work());
	finish(start(nest_in_a_thread, arg));
	EXPECT(threads_work());
}

static void children_fork_children(void)
{
	int depth = 5;

	expect_child(nest, &depth);
	expect_child(threads_in_a_thread, &depth);
}

/* ---- what is ready for both ---- */

static __thread int mine = 41;

static void look_at_mine(void *arg)
{
	char here[64];

	EXPECT_EQ(mine, 43);
	EXPECT_EQ(errno, EDOM);
	EXPECT(pthread_equal(pthread_self(), *(pthread_t *)arg));
	memset(here, 1, sizeof(here));
	mine = 44;
}

static void the_child_goes_on_with_the_callers_variables(void)
{
	pthread_t me = pthread_self();

	mine = 43;
	errno = EDOM;
	expect_child(look_at_mine, &me);
	if (!SHARES_STORAGE)	/* we have waited for the child */
		EXPECT_EQ(mine, 43);
	EXPECT_EQ(errno, EDOM);
}

struct waiting {
	int fd;
	int got;
	volatile int about_to;
};

static void *wait_to_read(void *arg)
{
	struct waiting *w = arg;
	char c;

	w->about_to = 1;
	w->got = read(w->fd, &c, 1) == 1 && c == 'x';
	return NULL;
}

static void close_everything(void *arg)
{
	const struct waiting *w = arg;
	int fd[2];
	char c;

	/* What the parent's threads wait for goes on being waited for. */
	EXPECT_OK(close(w->fd));
	EXPECT_OK(pipe(fd));
	EXPECT_OK(dup2(fd[0], w->fd));
	EXPECT_EQ(write(fd[1], "y", 1), 1);
	EXPECT_EQ(read(w->fd, &c, 1), 1);
	EXPECT_EQ(count_links("anon_inode:[eventpoll]"), 0);
	EXPECT_EQ(count_links("anon_inode:[pidfd]"), 0);
	EXPECT_EQ(count_links("pidfd:"), 0);
}

static void *wait_for_child(void *arg)
{
	return (void *)(long)status_of(*(pid_t *)arg);
}

static void what_a_child_closes_is_not_closed_for_the_parents_waiters(void)
{
	struct waiting w = {0};
	pthread_t t, u;
	int fd[2], stop[2];
	pid_t other;
	char c;

	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	EXPECT_OK(pipe(stop));
	other = fork();
	if (other == 0)
		_exit(read(stop[0], &c, 1) == 1 ? 9 : 1);
	w.fd = fd[0];
	t = start(wait_to_read, &w);
	u = start(wait_for_child, &other);
	WAIT_UNTIL(w.about_to);
	nap_us(20000);
	for (int i = 0; i < 20; i++)
		expect_child(close_everything, &w);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	finish(t);
	EXPECT_EQ(w.got, 1);
	EXPECT_EQ(write(stop[1], "x", 1), 1);
	EXPECT_EQ(WEXITSTATUS((long)finish(u)), 9);
	close(fd[0]);
	close(fd[1]);
	close(stop[0]);
	close(stop[1]);
}

/* ---- handlers ---- */

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char order[64];
static volatile int handlers_on, held;

static void note(char c)
{
	size_t n = strlen(order);

	if (handlers_on && n < sizeof(order) - 1)
		order[n] = c;
}

static void prepare_1(void)
{
	note('a');
	if (handlers_on)
		pthread_mutex_lock(&guard);
}

static void parent_1(void)
{
	if (handlers_on)
		pthread_mutex_unlock(&guard);
	note('p');
}

static void child_1(void)
{
	if (handlers_on)
		pthread_mutex_unlock(&guard);
	note('c');
}

static void prepare_2(void) { note('b'); }
static void parent_2(void) { note('q'); }
static void child_2(void) { note('d'); }
static void prepare_3(void) { note('e'); }
static void child_3(void) { note('f'); }

static void *hold_the_guard(void *arg)
{
	pthread_mutex_lock(&guard);
	held = 1;
	nap_us(20000);
	pthread_mutex_unlock(&guard);
	return arg;
}

static void look_at_order(void *arg)
{
	(void)arg;
	EXPECT_STR(order, "ebacdf");
	EXPECT_EQ(pthread_mutex_trylock(&guard), 0);
}

static void handlers_run_in_order_and_may_wait_for_a_lock(void)
{
	static int registered;
	pthread_t t;

	if (!registered++) {
		EXPECT_EQ(pthread_atfork(prepare_1, parent_1, child_1), 0);
		EXPECT_EQ(pthread_atfork(prepare_2, parent_2, child_2), 0);
		EXPECT_EQ(pthread_atfork(prepare_3, NULL, child_3), 0);
	}
	memset(order, 0, sizeof(order));
	held = 0;
	t = start(hold_the_guard, NULL);
	WAIT_UNTIL(held);
	handlers_on = 1;
	expect_child(look_at_order, NULL);
	handlers_on = 0;
	EXPECT_STR(order, "ebapq");
	EXPECT_EQ(pthread_mutex_trylock(&guard), 0);
	pthread_mutex_unlock(&guard);
	finish(t);
}

static void _Fork_runs_no_handlers(void)
{
	pid_t pid;

	memset(order, 0, sizeof(order));
	handlers_on = 1;
	pid = _Fork();
	if (pid == 0)
		_exit(order[0] == 0 && gettid() == getpid() ? 0 : 1);
	EXPECT_EQ(status_of(pid), 0);
	handlers_on = 0;
	EXPECT_STR(order, "");
}

/* ---- ends ---- */

static void *die_in_a_child(void *arg)
{
	pid_t pid = fork();

	if (pid) {
		*(int *)arg = status_of(pid);
		return NULL;
	}
	/* The thread's end is the end of its process's last thread. */
	return NULL;
}

static void *leave_in_a_child(void *arg)
{
	pid_t pid = fork();

	if (pid)
		*(int *)arg = status_of(pid);
	else
		pthread_exit(NULL);
	return NULL;
}

static int last_pipe[2];

static void *outlive(void *arg)
{
	nap_us(20000);
	if (write(last_pipe[1], "o", 1) != 1)
		_exit(1);
	return arg;
}

static void *leave_others_behind(void *arg)
{
	pid_t pid = fork();

	if (pid)
		*(int *)arg = status_of(pid);
	else
		pthread_detach(start(outlive, NULL));
	return NULL;
}

static void a_child_ends_with_its_last_thread(void)
{
	int status = -1;
	char c = 0;

	finish(start(die_in_a_child, &status));
	EXPECT_EQ(status, 0);
	status = -1;
	finish(start(leave_in_a_child, &status));
	EXPECT_EQ(status, 0);
	status = -1;
	EXPECT_OK(pipe(last_pipe));
	finish(start(leave_others_behind, &status));
	EXPECT_EQ(status, 0);
	close(last_pipe[1]);
	EXPECT_EQ(read(last_pipe[0], &c, 1), 1);
	EXPECT_EQ(c, 'o');
	close(last_pipe[0]);
}

static int at_exit_fd;

static void at_exit(void)
{
	if (write(at_exit_fd, "h", 1) != 1)
		_exit(1);
}

static void exit_from_a_childs_thread_runs_handlers_and_has_its_status(void)
{
	int fd[2], status;
	pid_t pid;
	char c = 0;

	EXPECT_OK(pipe(fd));
	pid = fork();
	if (pid == 0) {
		at_exit_fd = fd[1];
		atexit(at_exit);
		exit(23);
	}
	status = status_of(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 23);
	close(fd[1]);
	EXPECT_EQ(read(fd[0], &c, 1), 1);
	EXPECT_EQ(c, 'h');
	close(fd[0]);
}

/* ---- by other names ---- */

static int clone_main(void *arg)
{
	return gettid() == getpid() && threads_work() ? *(int *)arg : 1;
}

static char clone_stack[1 << 18] __attribute__((aligned(16)));

static void clone_without_shared_memory_is_a_fork(void)
{
	int code = 17, tid = 0, status;
	pid_t pid;

	pid = clone(clone_main, clone_stack + sizeof(clone_stack),
		    CLONE_PARENT_SETTID | SIGCHLD, &code, &tid);
	EXPECT(pid > 0);
	EXPECT_EQ(tid, pid);
	status = status_of(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 17);
	EXPECT(threads_work());
}

static void a_fork_by_number_is_a_fork(void)
{
	int status;
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(getpid() == gettid() && threads_work() ? 19 : 1);
	status = status_of(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 19);
	EXPECT(threads_work());
}

static void clone_with_shared_memory_waits_for_its_child(void)
{
	int code = 0, status;
	pid_t pid;

	pid = clone((int (*)(void *))(void *)add_one,
		    clone_stack + sizeof(clone_stack),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, &code);
	EXPECT(pid > 0);
	EXPECT_EQ(code, 1);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	EXPECT(threads_work());
}

static void daemon_detaches_from_everything(void)
{
	struct {
		int pid, sid, threads;
		char cwd[64], stdin_is[64];
	} said;
	int fd[2], status;
	pid_t pid;

	EXPECT_OK(pipe(fd));
	pid = fork();
	if (pid == 0) {
		if (daemon(0, 0))
			_exit(1);
		memset(&said, 0, sizeof(said));
		said.pid = getpid();
		said.sid = getsid(0);
		said.threads = threads_work();
		if (!getcwd(said.cwd, sizeof(said.cwd)) ||
		    readlink("/proc/self/fd/0", said.stdin_is, 63) < 0 ||
		    write(fd[1], &said, sizeof(said)) < 0)
			_exit(1);
		_exit(0);
	}
	status = status_of(pid);
	EXPECT_EQ(status, 0);
	close(fd[1]);
	EXPECT_EQ(read(fd[0], &said, sizeof(said)), sizeof(said));
	EXPECT(said.pid != pid && said.sid == said.pid && said.threads);
	EXPECT_STR(said.cwd, "/");
	EXPECT_STR(said.stdin_is, "/dev/null");
	close(fd[0]);
}

static void forkpty_gives_the_child_a_terminal(void)
{
	char line[64] = "", *end;
	size_t n = 0;
	int master, status;
	ssize_t r;
	pid_t pid;

	pid = forkpty(&master, NULL, NULL, NULL);
	if (pid == 0) {
		int ok = isatty(0) && isatty(1) && tcgetpgrp(0) == getpid() &&
			 threads_work();

		if (write(1, ok ? "fine\n" : "bad\n", ok ? 5 : 4) < 0)
			_exit(1);
		_exit(4);
	}
	if (!EXPECT(pid > 0))
		return;
	while (n < sizeof(line) - 1 && !memchr(line, '\n', n) &&
	       (r = read(master, line + n, sizeof(line) - 1 - n)) > 0)
		n += (size_t)r;
	end = strpbrk(line, "\r\n");
	if (end)
		*end = 0;
	EXPECT_STR(line, "fine");
	status = status_of(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 4);
	close(master);
}

static void main_forks_while_threads_run(void)
{
	pthread_t t[8];
	struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

	for (int i = 0; i < 7; i++)
		t[i] = start(meet, &m);
	for (int i = 0; i < 20; i++) {
		expect_child(in_a_fresh_child, NULL);
		expect_child(make_threads, NULL);
	}
	t[7] = start(meet, &m);
	for (int i = 0; i < 8; i++)
		finish(t[i]);
}

/* ---- the storm ---- */

static volatile int storm_over;
static long storm_work;

static void *storm_mutex(void *arg)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	while (!storm_over) {
		pthread_mutex_lock(&m);
		__atomic_add_fetch(&storm_work, 1, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&m);
		sched_yield();
		free(malloc(100 + storm_work % 5000));
	}
	return arg;
}

static void *storm_sleep(void *arg)
{
	while (!storm_over) {
		nap_us(50);
		__atomic_add_fetch(&storm_work, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void *storm_pipe(void *arg)
{
	int fd[2];
	char c;

	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	while (!storm_over) {
		if (write(fd[0], "x", 1) != 1 || read(fd[1], &c, 1) != 1)
			break;
		nap_us(20);
		__atomic_add_fetch(&storm_work, 1, __ATOMIC_RELAXED);
	}
	close(fd[0]);
	close(fd[1]);
	return arg;
}

static void *storm_threads(void *arg)
{
	int n = 0;

	while (!storm_over) {
		finish(start(add_one, &n));
		nap_us(100);
	}
	return arg;
}

static void *storm_fork(void *arg)
{
	int rounds = *(int *)arg, status;

	for (int i = 0; i < rounds; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(EXPECT_WAIT_SECONDS);
			if (gettid() != getpid())
				_exit(1);
			free(malloc(3000));
			if (i % 16 == 0 && !threads_work())
				_exit(2);
			_exit(42);
		}
		if (!EXPECT(pid > 0))
			break;
		status = status_of(pid);
		if (!EXPECT(WIFEXITED(status)) ||
		    !EXPECT_EQ(WEXITSTATUS(status), 42))
			break;
		__atomic_add_fetch(&storm_work, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void parents_and_children_survive_a_storm_of_forks(void)
{
	int rounds = (int)expect_env("FORK_ROUNDS", 300);
	pthread_t load[14], forkers[4];
	int n = 0;

	storm_over = 0;
	for (int i = 0; i < 4; i++)
		load[n++] = start(storm_mutex, NULL);
	for (int i = 0; i < 4; i++)
		load[n++] = start(storm_sleep, NULL);
	for (int i = 0; i < 4; i++)
		load[n++] = start(storm_pipe, NULL);
	for (int i = 0; i < 2; i++)
		load[n++] = start(storm_threads, NULL);
	for (int i = 0; i < 4; i++)
		forkers[i] = start(storm_fork, &rounds);
	for (int i = 0; i < 4; i++)
		finish(forkers[i]);
	storm_over = 1;
	while (n--)
		finish(load[n]);
	EXPECT(storm_work > 4 * rounds);
}

static const struct expect_case cases[] = {
	CASE(the_child_is_one_thread_and_it_is_the_first),
	CASE(a_child_makes_threads_that_lock_wait_and_sleep),
	CASE(children_fork_children),
	CASE(the_child_goes_on_with_the_callers_variables),
	CASE(what_a_child_closes_is_not_closed_for_the_parents_waiters),
	CASE(handlers_run_in_order_and_may_wait_for_a_lock),
	CASE(_Fork_runs_no_handlers),
	CASE(a_child_ends_with_its_last_thread),
	CASE(exit_from_a_childs_thread_runs_handlers_and_has_its_status),
	CASE(clone_without_shared_memory_is_a_fork),
	CASE(a_fork_by_number_is_a_fork),
	CASE(clone_with_shared_memory_waits_for_its_child),
	CASE(daemon_detaches_from_everything),
	CASE(forkpty_gives_the_child_a_terminal),
	CASE_IN_MAIN(main_forks_while_threads_run),
	CASE(parents_and_children_survive_a_storm_of_forks),
};

EXPECT_MAIN(cases)
