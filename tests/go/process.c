/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* process.c - forks, programs started, and signals, in a program with coroutines. */
#include "native.h"
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char **environ;

static int status_of(pid_t pid)
{
	int status = -1;

	check_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- fork ---- */

static void add(void *arg)
{
	cogo_sleep(100 * COGO_US);
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void make_some(int n)
{
	struct cogo_coro *c[20];
	atomic_int sum = 0;

	for (int i = 0; i < n; i++)
		c[i] = begin(NULL, add, &sum);
	for (int i = 0; i < n; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	check_eq(sum, n);
}

static void fork_and_go_on(void)
{
	pid_t pid;

	make_some(5);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		struct cogo_coro *me = cogo_self();

		check(me != NULL);
		check_eq(cogo_sleep(COGO_MS), 0);
		check_eq(cogo_park(0), -ETIMEDOUT);
		make_some(10);
		check(me == cogo_self());
		pid = fork();
		if (pid == 0) {
			make_some(3);
			_exit(4);
		}
		check_eq(status_of(pid), 4 << 8);
		_exit(3);
	}
	make_some(5);
	check_eq(status_of(pid), 3 << 8);
}

Test(process, the_child_of_a_fork_goes_on_and_makes_coroutines)
{
	on_both(fork_and_go_on);
	fork_and_go_on();
}

static void fork_and_return(void *arg)
{
	pid_t *pid = arg;
	atomic_int n = 0;

	*pid = fork();
	if (*pid == 0 && cogo_id(cogo_self()) % 2)
		outcome(NULL, add, &n);
}

static void fork_and_exit(void *arg)
{
	fork_and_return(arg);
	cogo_exit();
}

static void fork_and_leave_one(void *arg)
{
	pid_t *pid = arg;
	static atomic_int n;

	*pid = fork();
	if (*pid == 0)
		check_eq(cogo_go(NULL, NULL, add, &n), 0);
}

Test(process, the_child_ends_with_the_coroutine_that_forked)
{
	void (*fn[])(void *) = { fork_and_return, fork_and_exit,
				 fork_and_leave_one, fork_and_return };
	for (int i = 0; i < 4; i++) {
		pid_t pid = -1;

		check_eq(outcome(NULL, fn[i], &pid), COGO_RETURNED);
		check_eq(status_of(pid), 0);
	}
}

/* Others stay behind, whoever waits for whom: each of them says so if it finds itself
 * in the child. */
static pid_t first_process;

static void stays_behind(void)
{
	if (getpid() != first_process)
		_exit(99);
}

static void wait_for_long(void *arg)
{
	int r = cogo_sleep(3600 * COGO_SEC);

	(void)arg;
	stays_behind();
	check_eq(r, -ECANCELED);
}

static void fork_and_end_both(void *arg)
{
	pid_t *pid = arg;
	static atomic_int n;

	settle();	/* somebody waits for us by now */
	*pid = fork();
	if (*pid == 0)
		check_eq(outcome(NULL, add, &n), COGO_RETURNED);
}

static void wait_for_one_that_forks(void)
{
	pid_t pid = -1;

	first_process = getpid();
	check_eq(outcome(NULL, fork_and_end_both, &pid), COGO_RETURNED);
	stays_behind();
	check_eq(status_of(pid), 0);
}

Test(process, who_waits_for_one_that_forks_stays_behind)
{
	on_both(wait_for_one_that_forks);
}

static void look_at_those_behind(void)
{
	struct cogo_coro *c = begin(NULL, wait_for_long, NULL);
	struct cogo_coro *ended = begin(NULL, native_call,
					&(struct native_call){ settle });
	pid_t pid;

	first_process = getpid();
	settle();
	check_eq(cogo_wait(ended, COGO_FOREVER), 0);
	pid = fork();
	if (pid == 0) {
		make_some(2);
		check_eq(cogo_state(c), COGO_ENDED);
		check_eq(cogo_wait(c, COGO_FOREVER), -ESRCH);
		check_eq(cogo_join(c), -ESRCH);
		check_eq(cogo_cancel(c, ECANCELED), -ESRCH);
		check_eq(cogo_how(c), COGO_RETURNED);
		cogo_unpark(c);
		cogo_drop(c);
		check_eq(cogo_join(ended), COGO_RETURNED);
		make_some(2);
		_exit(5);
	}
	check_eq(status_of(pid), 5 << 8);
	check_eq(cogo_cancel(c, ECANCELED), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_join(ended), COGO_RETURNED);
}

Test(process, handles_of_those_who_stayed_behind_are_as_of_ended_ones)
{
	on_both(look_at_those_behind);
}

static int task_that_waits(void *arg)
{
	int r = cogo_sleep(3600 * COGO_SEC);

	(void)arg;
	stays_behind();
	return r == -ECANCELED ? 0 : 1;
}

static int task_that_adds(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	return 0;
}

static void fork_in_a_scope(void)
{
	struct cogo_scope s = COGO_SCOPE;
	atomic_int n = 0;
	pid_t pid;

	first_process = getpid();
	cogo_scope_begin(&s);
	for (int i = 0; i < 3; i++)
		check_eq(cogo_scope_go(&s, NULL, task_that_waits, NULL), 0);
	settle();
	pid = fork();
	if (pid == 0) {
		check_eq(cogo_scope_children(&s), 0);
		check_eq(cogo_scope_go(&s, NULL, task_that_adds, &n), 0);
		check_eq(cogo_scope_go(&s, NULL, task_that_adds, &n), 0);
		check_eq(cogo_scope_end(&s), 0);
		check_eq(n, 2);
		_exit(8);
	}
	check_eq(status_of(pid), 8 << 8);
	check_eq(cogo_scope_children(&s), 3);
	cogo_scope_cancel(&s, ECANCELED);
	check_eq(cogo_scope_end(&s), -ECANCELED);
}

Test(process, a_scope_has_no_children_in_the_child_of_a_fork)
{
	on_both(fork_in_a_scope);
}

static int task_that_forks(void *arg)
{
	pid_t *pid = arg;

	settle();
	*pid = fork();
	if (*pid)
		return 0;
	make_some(2);
	return 5;	/* and the scope has failed, in the child */
}

static void fork_out_of_a_scope(void)
{
	struct cogo_scope s = COGO_SCOPE;
	pid_t pid = -1;

	first_process = getpid();
	cogo_scope_begin(&s);
	for (int i = 0; i < 3; i++)
		check_eq(cogo_scope_go(&s, NULL, task_that_waits, NULL), 0);
	check_eq(cogo_scope_go(&s, NULL, task_that_forks, &pid), 0);
	while (cogo_scope_children(&s) > 3)
		settle();
	stays_behind();
	check_eq(status_of(pid), 0);
	cogo_scope_cancel(&s, ECANCELED);
	check_eq(cogo_scope_end(&s), -ECANCELED);
	stays_behind();
}

Test(process, a_task_that_forks_and_fails_is_alone_in_the_child)
{
	on_both(fork_out_of_a_scope);
}

/* ---- a fork while the runtime starts ---- */

static atomic_int forked;

static void fork_in_handler(int sig)
{
	pid_t pid;

	(void)sig;
	if (atomic_fetch_add(&forked, 1))
		return;
	pid = fork();
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

Test(process, a_handler_may_fork_while_the_runtime_starts)
{
	for (int us = 20; us < 1000; us += 20) {
		struct itimerval t = { .it_value = { .tv_usec = us } };
		pid_t pid = fork();

		if (pid == 0) {
			signal(SIGALRM, fork_in_handler);
			setitimer(ITIMER_REAL, &t, NULL);
			make_some(3);
			_exit(9);
		}
		check_eq(status_of(pid), 9 << 8);
	}
}

static void panic_in_child(void *arg)
{
	(void)arg;
	cogo_panic("in the child");
}

static void fork_and_panic(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		check_eq(outcome(NULL, panic_in_child, NULL), COGO_PANICKED);
		check_eq(cogo_recover(panic_in_child, NULL, NULL), 1);
		_exit(6);
	}
	check_eq(status_of(pid), 6 << 8);
}

Test(process, panics_work_in_the_child_of_a_fork)
{
	make_some(1);
	on_both(fork_and_panic);
}

/* ---- programs ---- */

static void run_programs(void)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };
	char line[32] = "";
	pid_t pid;
	FILE *f;

	check_eq(system("exit 5"), 5 << 8);
	f = popen("echo 12345", "r");
	check(f && fgets(line, sizeof(line), f));
	check(strcmp(line, "12345\n") == 0);
	check_eq(pclose(f), 0);
	check_eq(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
	check_eq(status_of(pid), 7 << 8);
	pid = fork();
	if (pid == 0) {
		execv("/bin/sh", argv);
		_exit(127);
	}
	check_eq(status_of(pid), 7 << 8);
}

static void run_programs_on(void *arg)
{
	(void)arg;
	run_programs();
}

Test(process, programs_are_started_from_coroutines_and_threads)
{
	struct cogo_coro *c[8];

	on_both(run_programs);
	for (int i = 0; i < 8; i++)
		c[i] = begin(NULL, run_programs_on, NULL);
	for (int i = 0; i < 8; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
}

static void become_another(void *arg)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 9", NULL };

	(void)arg;
	cogo_yield();
	execv("/bin/sh", argv);
}

static void exec_from_coroutine(void)
{
	outcome(NULL, become_another, NULL);
}

static void leave_process(void *arg)
{
	cogo_yield();
	exit(*(int *)arg);
}

static void exit_from_coroutine(void)
{
	int status = 11;

	outcome(NULL, leave_process, &status);
}

Test(process, exec_and_exit_of_a_coroutine_are_the_processs)
{
	int status;

	said(exec_from_coroutine, &status);
	check_eq(status, 9 << 8);
	said(exit_from_coroutine, &status);
	check_eq(status, 11 << 8);
}

/* ---- signals ---- */

static int self_pipe[2];
static atomic_int handled;

static void write_to_pipe(int sig)
{
	int kept = errno;
	char c = (char)sig;

	handled++;
	if (write(self_pipe[1], &c, 1) != 1)
		abort();
	errno = kept;
}

static void read_signals(void *arg)
{
	for (int i = 0; i < *(int *)arg; i++) {
		char c;
		ssize_t r;

		do
			r = read(self_pipe[0], &c, 1);
		while (r < 0 && errno == EINTR);
		check_eq(r, 1);
		check_eq(c, SIGTERM);
	}
}

static void work(void *arg)
{
	while (!atomic_load((atomic_bool *)arg)) {
		cogo_yield();
		cogo_sleep(10 * COGO_US);
	}
}

Test(process, a_handler_may_write_to_a_pipe_that_a_coroutine_reads)
{
	struct sigaction act = { .sa_handler = write_to_pipe };
	struct cogo_coro *r, *w[10];
	atomic_bool stop = false;
	int n = 200;

	check_eq(pipe(self_pipe), 0);
	check_eq(sigaction(SIGTERM, &act, NULL), 0);
	r = begin(NULL, read_signals, &n);
	for (int i = 0; i < 10; i++)
		w[i] = begin(NULL, work, &stop);
	for (int i = 0; i < n; i++) {
		int before = handled;

		check_eq(kill(getpid(), SIGTERM), 0);
		wait_until(handled > before);
	}
	check_eq(cogo_join(r), COGO_RETURNED);
	stop = true;
	for (int i = 0; i < 10; i++)
		check_eq(cogo_join(w[i]), COGO_RETURNED);
}

static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cogo_coro *kept;

static void post(int sig)
{
	(void)sig;
	handled++;
	sem_post(&sem);
}

static void lock_and_unlock(void *arg)
{
	while (!atomic_load((atomic_bool *)arg)) {
		pthread_mutex_lock(&mutex);
		cogo_yield();
		pthread_mutex_unlock(&mutex);
		cogo_unpark(kept);
		cogo_park(0);
	}
}

static void take_posts(void *arg)
{
	for (int i = 0; i < *(int *)arg; i++)
		while (sem_wait(&sem))
			check_eq(errno, EINTR);
}

static void *lock_on_thread(void *arg)
{
	lock_and_unlock(arg);
	return NULL;
}

Test(process, a_handler_may_post_while_coroutines_and_threads_lock)
{
	struct sigaction act = { .sa_handler = post };
	struct cogo_coro *t, *w[6];
	atomic_bool stop = false;
	int n = 500;
	pthread_t p;

	kept = cogo_self();
	sem_init(&sem, 0, 0);
	check_eq(sigaction(SIGUSR1, &act, NULL), 0);
	t = begin(NULL, take_posts, &n);
	for (int i = 0; i < 6; i++)
		w[i] = begin(NULL, lock_and_unlock, &stop);
	check_eq(pthread_create(&p, NULL, lock_on_thread, &stop), 0);
	for (int i = 0; i < n; i++) {
		int before = handled;

		check_eq(kill(getpid(), SIGUSR1), 0);
		wait_until(handled > before);
	}
	check_eq(cogo_join(t), COGO_RETURNED);
	stop = true;
	for (int i = 0; i < 6; i++)
		check_eq(cogo_join(w[i]), COGO_RETURNED);
	pthread_join(p, NULL);
}

static pthread_t waiter;

static void *wait_on_thread(void *arg)
{
	check_eq(cogo_wait(arg, COGO_FOREVER), 0);
	return NULL;
}

static void sleep_until_told(void *arg)
{
	(void)arg;
	cogo_park(COGO_FOREVER);
}

/* A thread that sleeps in a call of ours runs its handlers meanwhile. */
Test(process, a_thread_that_waits_in_here_is_interrupted_and_waits_on)
{
	struct sigaction act = { .sa_handler = post };
	struct cogo_coro *c = begin(NULL, sleep_until_told, NULL);

	sem_init(&sem, 0, 0);
	check_eq(sigaction(SIGUSR1, &act, NULL), 0);
	check_eq(pthread_create(&waiter, NULL, wait_on_thread, c), 0);
	settle();
	for (int i = 0; i < 50; i++) {
		check_eq(pthread_kill(waiter, SIGUSR1), 0);
		wait_until(handled == i + 1);
	}
	cogo_unpark(c);
	pthread_join(waiter, NULL);
	cogo_drop(c);
}

static void signal_oneself(void *arg)
{
	sigset_t set;

	(void)arg;
	check_eq(pthread_kill(pthread_self(), SIGUSR1), 0);
	wait_until(handled == 1);
	check_eq(raise(SIGUSR1), 0);
	wait_until(handled == 2);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	check_eq(raise(SIGUSR1), 0);
	settle();
	check_eq(handled, 2);
	check_eq(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	wait_until(handled == 3);
}

Test(process, a_coroutine_sends_itself_signals_and_has_a_mask_of_its_own)
{
	struct sigaction act = { .sa_handler = post };

	sem_init(&sem, 0, 0);
	check_eq(sigaction(SIGUSR1, &act, NULL), 0);
	check_eq(outcome(NULL, signal_oneself, NULL), COGO_RETURNED);
}

/* ---- memory refused ---- */

static void park(void *arg)
{
	(void)arg;
	cogo_park(COGO_FOREVER);
}

static void run_out(void)
{
	enum { MOST = 100000 };
	struct rlimit lim = { (rlim_t)400 << 20, (rlim_t)400 << 20 };
	static struct cogo_coro *c[MOST];
	struct cogo_attr big = { .stack = 4 << 20 };
	struct cogo_scope s = COGO_SCOPE;
	int n, r = 0;

	make_some(3);
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
	for (int round = 0; round < 3; round++) {
		for (n = 0; n < MOST; n++) {
			r = cogo_go(&c[n], &big, park, NULL);
			if (r)
				break;
		}
		check(n > 5);
		check(r == -ENOMEM || r == -EAGAIN);
		cogo_scope_begin(&s);
		r = cogo_scope_go(&s, &big, (int (*)(void *))(void (*)(void))park,
				  NULL);
		check(r == -ENOMEM || r == -EAGAIN);
		check_eq(cogo_scope_end(&s), r);
		/* Those that there are go on. */
		while (n) {
			cogo_unpark(c[--n]);
			check_eq(cogo_join(c[n]), COGO_RETURNED);
		}
	}
	make_some(3);
}

static void run_out_on_coroutine(void)
{
	on_coroutine(run_out);
}

Test(process, without_memory_there_is_an_error_and_the_rest_goes_on)
{
	int status;

	said(run_out, &status);
	check_eq(status, 0);
	said(run_out_on_coroutine, &status);
	check_eq(status, 0);
}

static void no_threads(void)
{
	struct rlimit lim = { 0, 0 };
	struct cogo_coro *c = NULL;
	atomic_int n = 0;
	int r;

	check_eq(setrlimit(RLIMIT_NPROC, &lim), 0);
	if (getuid() == 0)
		check_eq(setuid(65534), 0);
	r = cogo_go(&c, NULL, add, &n);
	if (r == 0)
		_exit(77);	/* it has no limit here */
	check_eq(r, -EAGAIN);
	check(c == NULL);
	check_eq(cogo_run(NULL, 0, NULL), -EAGAIN);
}

Test(process, without_threads_the_first_is_EAGAIN)
{
	int status;

	said(no_threads, &status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip("threads are not limited here");
	check_eq(status, 0);
}
