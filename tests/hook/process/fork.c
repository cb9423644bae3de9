/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fork.c - a thread forks, again and again, while the others work.
 *
 *   fork [TIMES]
 *
 * The child has one thread, the one that forked, with everything that was its
 * own; it can do all that any program can: threads, locks, waits, children,
 * and it ends with the status that it wants. The parent and all of its other
 * threads go on. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/file.h>

#include "../../support/expect.h"

static long times = 300;

/* ---- the load ---- */

#define LOADERS 6

static pthread_mutex_t load_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t load_cond = PTHREAD_COND_INITIALIZER;
static atomic_bool stop;
static atomic_long turns[LOADERS];

static void *come_and_go(void *arg)
{
	return arg;
}

static void *load(void *arg)
{
	intptr_t me = (intptr_t)arg;
	int fd[2];
	char c = 'x';

	if (pipe2(fd, O_CLOEXEC))
		return NULL;
	while (!atomic_load(&stop)) {
		struct timespec due = in_ms(CLOCK_REALTIME, 1);
		char *memory = malloc(100 + atomic_load(&turns[me]) % 9000);

		pthread_mutex_lock(&load_mutex);
		pthread_cond_signal(&load_cond);
		if (me % 3 == 0)
			pthread_cond_timedwait(&load_cond, &load_mutex, &due);
		pthread_mutex_unlock(&load_mutex);
		free(memory);
		if (write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1)
			return NULL;
		if (me % 3 == 1)
			pthread_join(start(come_and_go, NULL), NULL);
		if (me % 3 == 2)
			nap_us(50);
		atomic_fetch_add(&turns[me], 1);
	}
	close(fd[0]);
	close(fd[1]);
	return arg;
}

static pthread_t loaders[LOADERS];

static void begin_load(void)
{
	atomic_store(&stop, false);
	for (intptr_t i = 0; i < LOADERS; i++)
		loaders[i] = start(load, (void *)i);
}

static void end_load(void)
{
	/* each of them went on to the last */
	for (int i = 0; i < LOADERS; i++) {
		long before = atomic_load(&turns[i]);

		WAIT_UNTIL(atomic_load(&turns[i]) > before);
	}
	atomic_store(&stop, true);
	for (intptr_t i = 0; i < LOADERS; i++)
		EXPECT(finish(loaders[i]) == (void *)i);
}

/* ---- a child's life ---- */

static __thread int own = 1;
static pthread_key_t key;

static pthread_mutex_t child_mutex = PTHREAD_MUTEX_INITIALIZER;
static int child_count;

static void *count_in_child(void *arg)
{
	int *fd = arg;
	char c = 'c';

	if (own != 1 && !SHARES_STORAGE)
		return NULL;
	for (int i = 0; i < 5; i++) {
		pthread_mutex_lock(&child_mutex);
		child_count++;
		sched_yield();
		pthread_mutex_unlock(&child_mutex);
		if (write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1)
			return NULL;
	}
	nap_us(10);
	return arg;
}

/* 0 when all is well, else the number of what is not. */
static int live(pthread_t self, pid_t parent, int value)
{
	pthread_t t[3];
	int fd[2];

	if (getppid() != parent || gettid() != getpid())
		return 1;
	if (!pthread_equal(pthread_self(), self))
		return 2;
	if (own != value || pthread_getspecific(key) != &own)
		return 3;
	if (pipe(fd))
		return 4;
	for (int i = 0; i < 3; i++)
		if (pthread_create(&t[i], NULL, count_in_child, fd))
			return 5;
	for (int i = 0; i < 3; i++) {
		void *ret = NULL;

		if (pthread_join(t[i], &ret) || ret != fd)
			return 6;
	}
	free(malloc(5000));
	if (child_count != 15)
		return 7;
	if (close(-1) != -1 || errno != EBADF)
		return 8;
	return 0;
}

static pid_t fork_one(int value)
{
	pthread_t self = pthread_self();
	pid_t parent = getpid(), pid;

	own = value;
	pthread_setspecific(key, &own);
	pid = fork();
	if (pid == 0) {
		int wrong;

		alarm(100);
		wrong = live(self, parent, value);
		_exit(wrong ? 100 + wrong : value % 50);
	}
	return pid;
}

static bool fork_and_wait(int value)
{
	pid_t pid = fork_one(value);
	int status;

	if (!EXPECT_OK(pid))
		return false;
	if (!SHARES_STORAGE &&
	    (own != value || pthread_getspecific(key) != &own))
		EXPECT(!"the parent keeps what is its own");
	status = status_of(pid);
	if (status != value % 50 << 8)
		return EXPECT_EQ(status, value % 50 << 8);
	return true;
}

static void parent_and_child_both_go_on(void)
{
	long good = 0;

	EXPECT_EQ(pthread_key_create(&key, NULL), 0);
	begin_load();
	for (long i = 0; i < times; i++) {
		if (i % 100 == 0)
			expect_enter("parent_and_child_both_go_on");
		if (!fork_and_wait((int)(i % 1000) + 2))
			break;
		good++;
	}
	EXPECT_EQ(good, times);
	end_load();
	EXPECT_EQ(pthread_key_delete(key), 0);
}

static void *fork_many(void *arg)
{
	for (long i = 0; i < times / 16; i++) {
		if (i % 16 == 0)
			expect_enter("several_threads_fork_at_once");
		if (!fork_and_wait((int)i + 2))
			return NULL;
	}
	return arg;
}

static void several_threads_fork_at_once(void)
{
	pthread_t t[4];

	EXPECT_EQ(pthread_key_create(&key, NULL), 0);
	begin_load();
	for (int i = 0; i < 4; i++)
		t[i] = start(fork_many, &key);
	for (int i = 0; i < 4; i++)
		EXPECT(finish(t[i]) == &key);
	end_load();
	EXPECT_EQ(pthread_key_delete(key), 0);
}

/* ---- children of children ---- */

static void *fork_deeper(void *arg)
{
	intptr_t depth = (intptr_t)arg;
	pid_t pid;

	if (depth == 0)
		return (void *)1;
	pid = fork();
	if (pid == 0) {
		pthread_t t;
		void *ret = NULL;

		alarm(100);
		/* half of them fork from a thread, half from their main */
		if (depth % 2) {
			if (pthread_create(&t, NULL, fork_deeper,
					   (void *)(depth - 1)) ||
			    pthread_join(t, &ret))
				_exit(99);
		} else {
			ret = fork_deeper((void *)(depth - 1));
		}
		_exit((int)(intptr_t)ret + 1);
	}
	return (void *)(intptr_t)(pid < 0 ? 0 : status_of(pid) >> 8);
}

static void children_have_children(void)
{
	EXPECT_EQ((intptr_t)finish(start(fork_deeper, (void *)10)), 11);
}

/* ---- handlers ---- */

static char trail[64];
static pthread_t handlers_ran_in;
static pthread_mutex_t guarded = PTHREAD_MUTEX_INITIALIZER;

static void note(char c)
{
	size_t n = strlen(trail);

	if (n < sizeof(trail) - 1)
		trail[n] = c;
	handlers_ran_in = pthread_self();
}

static void prepare_a(void)
{
	note('a');
}

static void parent_a(void)
{
	note('1');
}

static void child_a(void)
{
	note('x');
}

/* These wait: they run in the thread, outside of any world that is stopped. */
static void prepare_b(void)
{
	nap_us(2000);
	pthread_mutex_lock(&guarded);
	note('b');
}

static void parent_b(void)
{
	note('2');
	pthread_mutex_unlock(&guarded);
	nap_us(100);
}

static void child_b(void)
{
	note('y');
	pthread_mutex_unlock(&guarded);
}

static long guarded_value[2];

static void *change_guarded(void *arg)
{
	while (!atomic_load(&stop)) {
		pthread_mutex_lock(&guarded);
		guarded_value[0]++;
		sched_yield();
		guarded_value[1]++;
		pthread_mutex_unlock(&guarded);
	}
	return arg;
}

static void handlers(void *arg)
{
	pthread_t t[3];

	(void)arg;
	EXPECT_EQ(pthread_atfork(prepare_a, parent_a, child_a), 0);
	EXPECT_EQ(pthread_atfork(prepare_b, parent_b, child_b), 0);
	EXPECT_EQ(pthread_atfork(NULL, NULL, NULL), 0);
	atomic_store(&stop, false);
	for (int i = 0; i < 3; i++)
		t[i] = start(change_guarded, &stop);
	for (int i = 0; i < 50; i++) {
		pid_t pid;

		memset(trail, 0, sizeof(trail));
		pid = fork();
		if (pid == 0) {
			/* what the mutex guards is whole, and it is free */
			bool good = strcmp(trail, "baxy") == 0 &&
				    pthread_equal(handlers_ran_in,
						  pthread_self()) &&
				    pthread_mutex_trylock(&guarded) == 0 &&
				    guarded_value[0] == guarded_value[1];

			_exit(good ? 0 : 1);
		}
		EXPECT_STR(trail, "ba12");
		EXPECT(pthread_equal(handlers_ran_in, pthread_self()));
		EXPECT_EQ(status_of(pid), 0);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		EXPECT(finish(t[i]) == &stop);
}

static void handlers_run_in_order_in_the_forking_thread(void)
{
	expect_child(handlers, NULL);
}

/* ---- what is inherited ---- */

static atomic_int handled;

static void handle(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static void a_child_has_our_mask_and_handlers_and_nothing_pending(void)
{
	sigset_t set, old, seen;
	pid_t pid;

	signal(SIGUSR1, handle);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	EXPECT_EQ(raise(SIGUSR1), 0);
	pid = fork();
	if (pid == 0) {
		if (alarm(100) != 0)
			_exit(1);
		if (pthread_sigmask(SIG_BLOCK, NULL, &seen) ||
		    !sigismember(&seen, SIGUSR1) || sigismember(&seen, SIGUSR2))
			_exit(2);
		if (sigpending(&seen) || sigismember(&seen, SIGUSR1))
			_exit(3);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		if (atomic_load(&handled) != 0)
			_exit(4);
		raise(SIGUSR1);
		if (atomic_load(&handled) != 1)
			_exit(5);
		kill(getpid(), SIGUSR1);
		nap_us(1000);
		_exit(atomic_load(&handled) == 2 ? 0 : 6);
	}
	EXPECT_EQ(status_of(pid), 0);
	EXPECT_EQ(atomic_load(&handled), 0);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	EXPECT_EQ(atomic_load(&handled), 1);
	atomic_store(&handled, 0);
	signal(SIGUSR1, SIG_DFL);
}

/* However early: the child may not have come to its senses yet. */
static void a_signal_sent_to_a_child_at_once_is_handled(void)
{
	signal(SIGUSR1, handle);
	for (int i = 0; i < 200; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(100);
			while (atomic_load(&handled) == 0)
				sched_yield();
			_exit(atomic_load(&handled) == 1 ? 0 : 1);
		}
		EXPECT_OK(kill(pid, SIGUSR1));
		if (!EXPECT_EQ(status_of(pid), 0))
			break;
	}
	EXPECT_EQ(atomic_load(&handled), 0);
	signal(SIGUSR1, SIG_DFL);
}

static FILE *held;
static atomic_bool is_held;

static void *hold_file(void *arg)
{
	flockfile(held);
	atomic_store(&is_held, true);
	while (!atomic_load(&stop))
		nap_us(1000);
	funlockfile(held);
	return arg;
}

/* glibc gives the child all of stdio free. */
static void a_child_can_print_where_another_thread_held_the_lock(void)
{
	pthread_t t;
	pid_t pid;

	atomic_store(&stop, false);
	atomic_store(&is_held, false);
	EXPECT((held = fopen("/dev/null", "w")) != NULL);
	t = start(hold_file, NULL);
	WAIT_UNTIL(atomic_load(&is_held));
	pid = fork();
	if (pid == 0) {
		alarm(100);
		_exit(fprintf(held, "hello") == 5 && fflush(held) == 0 ? 0 : 1);
	}
	EXPECT_EQ(status_of(pid), 0);
	atomic_store(&stop, true);
	finish(t);
	fclose(held);
}

/* A waiter on a descriptor in the parent is not woken by, nor loses data to,
 * what the child does with its copy. */
static int shared_fd[2];
static atomic_int was_read;

static void *read_shared(void *arg)
{
	char c;

	while (read(shared_fd[0], &c, 1) == 1 && c == 'p')
		atomic_fetch_add(&was_read, 1);
	return arg;
}

static void a_childs_descriptors_are_its_own(void)
{
	pthread_t t;

	EXPECT_OK(pipe(shared_fd));
	t = start(read_shared, NULL);
	settle();
	for (int i = 1; i <= 50; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			int own_fd[2];
			char c;

			alarm(100);
			close(shared_fd[0]);
			close(shared_fd[1]);
			/* the same numbers, something else */
			if (pipe(own_fd) || own_fd[0] != shared_fd[0])
				_exit(1);
			if (write(own_fd[1], "c", 1) != 1 ||
			    read(own_fd[0], &c, 1) != 1 || c != 'c')
				_exit(2);
			_exit(0);
		}
		EXPECT_EQ(write(shared_fd[1], "p", 1), 1);
		EXPECT_EQ(status_of(pid), 0);
		WAIT_UNTIL(atomic_load(&was_read) == i);
	}
	EXPECT_EQ(write(shared_fd[1], "e", 1), 1);
	finish(t);
	close(shared_fd[0]);
	close(shared_fd[1]);
}

/* The daemon's way: the parent goes, the child begins to serve. */
static void daemons(void *arg)
{
	pthread_t t[4];
	int *fd = arg;
	pid_t pid = fork();

	if (pid != 0)
		return;
	alarm(100);
	if (daemon(1, 1))
		_exit(1);
	alarm(100);
	for (int i = 0; i < 4; i++)
		t[i] = start(count_in_child, fd + 2);
	for (int i = 0; i < 4; i++)
		if (finish(t[i]) != fd + 2)
			_exit(2);
	_exit(write(fd[1], "d", 1) == 1 ? 0 : 3);
}

static void a_daemon_has_threads_after_its_parent_is_gone(void)
{
	int fd[4];
	char c = 0;

	EXPECT_OK(pipe(fd));
	EXPECT_OK(pipe(fd + 2));
	daemons(fd);
	close(fd[1]);
	EXPECT_EQ(read(fd[0], &c, 1), 1);
	EXPECT_EQ(c, 'd');
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	close(fd[0]);
	close(fd[2]);
	close(fd[3]);
}

/* ---- in a handler ---- */

static int forked_pipe[2], locked_fd = -1;
static atomic_int at_it;
static volatile sig_atomic_t forks, in_child;
static atomic_int forked;

static void fork_in_handler(int sig)
{
	(void)sig;
	forks++;
	forked = fork();
	if (forked == 0)
		in_child = 1;
}

static void wait_computing(void)
{
	atomic_store(&at_it, 1);
	while (!forks)
		continue;
}

static void wait_reading(void)
{
	char byte;

	atomic_store(&at_it, 1);
	EXPECT_EQ(read(forked_pipe[0], &byte, 1), 1);
}

static void wait_polling(void)
{
	struct pollfd p = {.fd = forked_pipe[0], .events = POLLIN};

	atomic_store(&at_it, 1);
	EXPECT_ERR(poll(&p, 1, -1), EINTR);
}

static void wait_in_time(void)
{
	struct timespec span = {.tv_nsec = 300000000};

	atomic_store(&at_it, 1);
	EXPECT_ERR(nanosleep(&span, &span), EINTR);
	EXPECT_EQ(nanosleep(&span, NULL), 0);
}

/* In the kernel, and nowhere else. */
static void wait_for_file(void)
{
	atomic_store(&at_it, 1);
	EXPECT_EQ(flock(locked_fd, LOCK_EX), 0);
	EXPECT_EQ(flock(locked_fd, LOCK_UN), 0);
}

static void *say_again(void *arg)
{
	return arg;
}

/* What is left of the program's life, in both. */
static void *go_on_after(void *arg)
{
	void (*wait)(void) = *(void (**)(void))arg;
	pthread_t t;

	wait();
	if (!in_child)
		return arg;
	usleep(1000);
	if (pthread_create(&t, NULL, say_again, arg) || finish(t) != arg)
		_exit(3);
	_exit(7);
}

static void a_handler_may_fork_wherever_it_runs(void)
{
	static void (*ways[])(void) = {
		wait_computing, wait_reading, wait_polling,
		wait_in_time, wait_for_file,
	};
	const size_t n = sizeof(ways) / sizeof(ways[0]);
	struct sigaction act = {.sa_handler = fork_in_handler,
				.sa_flags = SA_RESTART};
	char path[64];
	int holder;

	snprintf(path, sizeof(path), "/tmp/fork.%d", (int)getpid());
	EXPECT_OK(holder = open(path, O_RDWR | O_CREAT, 0600));
	EXPECT_OK(locked_fd = open(path, O_RDWR));
	unlink(path);
	EXPECT_OK(pipe(forked_pipe));
	sigaction(SIGUSR1, &act, NULL);
	for (size_t i = 0; i < 3 * n; i++) {
		void (**way)(void) = &ways[i % n];
		pthread_t t;
		int status;

		forks = 0;
		atomic_store(&at_it, 0);
		EXPECT_EQ(flock(holder, LOCK_EX), 0);
		t = start(go_on_after, way);
		WAIT_UNTIL(atomic_load(&at_it));
		if (*way != wait_computing)
			settle();
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		WAIT_UNTIL(forks == 1);
		EXPECT_EQ(flock(holder, LOCK_UN), 0);
		if (*way == wait_reading)
			EXPECT_EQ(write(forked_pipe[1], "22", 2), 2);
		EXPECT(finish(t) == way);
		/* By its name: children of earlier cases may end only now. */
		EXPECT_EQ(waitpid(forked, &status, 0), forked);
		EXPECT(WIFEXITED(status));
		EXPECT_EQ(WEXITSTATUS(status), 7);
	}
	close(holder);
	close(locked_fd);
}

static const struct expect_case cases[] = {
	CASE(parent_and_child_both_go_on),
	CASE_IN_MAIN(parent_and_child_both_go_on),
	CASE(several_threads_fork_at_once),
	CASE(children_have_children),
	CASE(handlers_run_in_order_in_the_forking_thread),
	CASE(a_child_has_our_mask_and_handlers_and_nothing_pending),
	CASE(a_signal_sent_to_a_child_at_once_is_handled),
	CASE_IN_MAIN(a_signal_sent_to_a_child_at_once_is_handled),
	CASE(a_child_can_print_where_another_thread_held_the_lock),
	CASE(a_childs_descriptors_are_its_own),
	CASE(a_daemon_has_threads_after_its_parent_is_gone),
	CASE(a_handler_may_fork_wherever_it_runs),
};

int main(int argc, char **argv)
{
	if (argc > 1 && atol(argv[1]) > 0) {
		times = atol(argv[1]);
		argc--;
		argv++;
	}
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
