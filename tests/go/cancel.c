/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cancel.c - a coroutine is asked to end, wherever it may be.
 *
 * A table of calls that wait: each is tried asked before, asked while it waits, and
 * asked at any moment, told by ECANCELED and by being unwound. */
#include "native.h"
#include <dirent.h>
#include <gnu/libc-version.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <threads.h>
#include <wchar.h>

/* ---- the table ---- */

static int empty_pipe[2], full_pipe[2], empty_stream[2], full_stream[2];
static int listener, full_listener, epoll;
static struct sockaddr_un full_name;
static socklen_t full_size = sizeof(full_name);
static pid_t child;
static struct cogo_coro *never;
static char bytes[65536];

static void stay(void *arg)
{
	(void)arg;
	cogo_cancel_disable();
	cogo_park(COGO_FOREVER);
}

static void prepare(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd;

	check_eq(pipe(empty_pipe), 0);
	check_eq(pipe(full_pipe), 0);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, empty_stream), 0);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, full_stream), 0);
	while (send(full_stream[0], bytes, 4096, MSG_DONTWAIT) > 0)
		;
	for (int i = 0; i < 16; i++)
		check_eq(write(full_pipe[1], bytes, 4096), 4096);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	check_eq(bind(listener, (void *)&name, sizeof(sa_family_t)), 0);
	check_eq(listen(listener, 5), 0);
	full_listener = socket(AF_UNIX, SOCK_STREAM, 0);
	check_eq(bind(full_listener, (void *)&name, sizeof(sa_family_t)), 0);
	check_eq(listen(full_listener, 0), 0);
	check_eq(getsockname(full_listener, (void *)&full_name, &full_size), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	check_eq(connect(fd, (void *)&full_name, full_size), 0);
	epoll = epoll_create1(0);
	child = fork();
	if (child == 0) {
		alarm(120);
		for (;;)
			pause();
	}
	check(child > 0);
	never = begin(NULL, stay, NULL);
}

static void finish(void)
{
	kill(child, SIGKILL);
	check_eq(waitpid(child, NULL, 0), child);
	cogo_unpark(never);
	cogo_join(never);
}

/* Each returns what cogo's calls do: 0, or -errno. */
static int of(long r)
{
	return r < 0 ? -errno : 0;
}

static int by_read(void) { return of(read(empty_pipe[0], bytes, 1)); }
static int by_write(void) { return of(write(full_pipe[1], bytes, 4096)); }
static int by_recv(void) { return of(recv(empty_stream[0], bytes, 1, 0)); }
static int by_accept(void) { return of(accept(listener, NULL, NULL)); }
static int by_pause(void) { return of(pause()); }

static int by_readv(void)
{
	struct iovec part = { bytes, 1 };

	return of(readv(empty_pipe[0], &part, 1));
}

static int by_writev(void)
{
	struct iovec part = { bytes, 4096 };

	return of(writev(full_pipe[1], &part, 1));
}

static int by_recvmsg(void)
{
	struct iovec part = { bytes, 1 };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };

	return of(recvmsg(empty_stream[0], &msg, 0));
}

static int by_recvfrom(void)
{
	return of(recvfrom(empty_stream[0], bytes, 1, 0, NULL, NULL));
}

static int by_send(void)
{
	return of(send(full_stream[0], bytes, sizeof(bytes), 0));
}

static void close_it(void *fd)
{
	close(*(int *)fd);
}

static int by_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	cogo_defer(close_it, &fd);
	return of(connect(fd, (void *)&full_name, full_size));
}

static int by_poll(void)
{
	struct pollfd p = { empty_pipe[0], POLLIN, 0 };

	return of(poll(&p, 1, -1));
}

static int by_ppoll(void)
{
	return of(ppoll(NULL, 0, NULL, NULL));
}

static int by_select(void)
{
	fd_set reads;

	FD_ZERO(&reads);
	FD_SET(empty_pipe[0], &reads);
	return of(select(empty_pipe[0] + 1, &reads, NULL, NULL, NULL));
}

static int by_pselect(void)
{
	return of(pselect(0, NULL, NULL, NULL, NULL, NULL));
}

static int by_epoll_wait(void)
{
	struct epoll_event e;

	return of(epoll_wait(epoll, &e, 1, -1));
}

static int by_nanosleep(void)
{
	struct timespec hour = { 3600, 0 };

	return of(nanosleep(&hour, NULL));
}

static int by_clock_nanosleep(void)
{
	struct timespec hour = { 3600, 0 };

	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL);
}

static int by_usleep(void)
{
	return of(usleep(3600000000u));
}

static int by_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	return of(sigsuspend(&none));
}

static int by_sigwait(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return -sigwait(&set, &sig);
}

static int by_sigtimedwait(void)
{
	struct timespec hour = { 3600, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return of(sigtimedwait(&set, NULL, &hour));
}

static int by_waitpid(void) { return of(waitpid(child, NULL, 0)); }
static int by_cogo_park(void) { return cogo_park(COGO_FOREVER); }
static int by_cogo_sleep(void) { return cogo_sleep(3600 * COGO_SEC); }
static int by_cogo_wait(void) { return cogo_wait(never, COGO_FOREVER); }

static int by_cogo_yield(void)
{
	int r;

	while ((r = cogo_yield()) == 0)
		;
	return r;
}

static int by_scope_wait(void)
{
	struct cogo_scope s = COGO_SCOPE;
	int r;

	cogo_scope_begin(&s);
	cogo_scope_go(&s, NULL, (int (*)(void *))(void (*)(void))by_cogo_park, NULL);
	r = cogo_scope_wait(&s, COGO_FOREVER);
	cogo_scope_end(&s);
	return r;
}

static const struct point {
	const char *name;
	int (*call)(void);
} points[] = {
	{ "read", by_read }, { "readv", by_readv }, { "write", by_write },
	{ "writev", by_writev }, { "recv", by_recv }, { "recvfrom", by_recvfrom },
	{ "recvmsg", by_recvmsg }, { "send", by_send }, { "accept", by_accept },
	{ "connect", by_connect }, { "poll", by_poll }, { "ppoll", by_ppoll },
	{ "select", by_select }, { "pselect", by_pselect },
	{ "epoll_wait", by_epoll_wait }, { "nanosleep", by_nanosleep },
	{ "clock_nanosleep", by_clock_nanosleep }, { "usleep", by_usleep },
	{ "pause", by_pause }, { "sigsuspend", by_sigsuspend },
	{ "sigwait", by_sigwait }, { "sigtimedwait", by_sigtimedwait },
	{ "waitpid", by_waitpid }, { "cogo_park", by_cogo_park },
	{ "cogo_sleep", by_cogo_sleep }, { "cogo_wait", by_cogo_wait },
	{ "cogo_yield", by_cogo_yield }, { "cogo_scope_wait", by_scope_wait },
};
#define POINTS (sizeof(points) / sizeof(*points))

struct victim {
	const struct point *point;
	atomic_bool begun, may_go;
	int first, second, cleaned;
};

static void clean(void *arg)
{
	++*(int *)arg;
}

static void wait_there(void *arg)
{
	struct victim *v = arg;
	sigset_t set;
	int before;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	before = cogo_cancel_disable();
	v->begun = true;
	while (!v->may_go)
		cogo_yield();
	cogo_cancel_restore(before);
	cogo_defer(clean, &v->cleaned);
	v->first = v->point->call();
	v->second = v->point->call();
}

static void try_at(const struct point *p, bool early, unsigned flags)
{
	struct cogo_attr a = { .flags = flags };
	struct victim v = { .point = p, .may_go = !early };
	struct cogo_coro *c = begin(&a, wait_there, &v);

	wait_until(v.begun);
	if (!early)
		settle();
	check_eq(cogo_cancel(c, 40), 0);
	if (early)	/* it may have ended else */
		check_eq(cogo_cancel(c, 41), -EALREADY);
	v.may_go = true;
	if (cogo_wait(c, cogo_in(60 * COGO_SEC))) {
		fprintf(stderr, "%s, %s, %u: waits on\n", p->name,
			early ? "early" : "late", flags);
		abort();
	}
	check_eq(cogo_cancel_reason(c), 40);
	check_eq(v.cleaned, 1);
	if (v.first != (flags & COGO_UNWINDS ? 0 : -ECANCELED) || v.second != v.first)
		fprintf(stderr, "%s, %s, %u: %d, %d\n", p->name,
			early ? "early" : "late", flags, v.first, v.second);
	check_eq(v.first, flags & COGO_UNWINDS ? 0 : -ECANCELED);
	check_eq(v.second, v.first);
	check_eq(cogo_join(c), flags & COGO_UNWINDS ? COGO_CANCELED : COGO_RETURNED);
}

Test(cancel, each_wait_fails_with_ECANCELED_and_so_does_the_next)
{
	prepare();
	for (size_t i = 0; i < POINTS; i++)
		try_at(&points[i], false, 0);
	finish();
}

Test(cancel, each_wait_that_comes_after_the_request_fails_with_ECANCELED)
{
	prepare();
	for (size_t i = 0; i < POINTS; i++)
		try_at(&points[i], true, 0);
	finish();
}

Test(cancel, each_wait_is_unwound_from_where_that_was_asked_for)
{
	prepare();
	for (size_t i = 0; i < POINTS; i++) {
		try_at(&points[i], false, COGO_UNWINDS);
		try_at(&points[i], true, COGO_UNWINDS);
	}
	finish();
}

Test(cancel, each_wait_of_one_with_shared_storage_or_bound_fails_too)
{
	prepare();
	for (size_t i = 0; i < POINTS; i++) {
		try_at(&points[i], false, COGO_SHARED_TLS);
		try_at(&points[i], false, COGO_BOUND);
		try_at(&points[i], true, COGO_BOUND | COGO_UNWINDS);
	}
	finish();
}

static void call_at_once(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	check_eq(((const struct point *)arg)->call(), -ECANCELED);
}

Test(cancel, no_request_is_lost_wherever_it_falls, .timeout = 300)
{
	/* CANCEL_STEP=1: every moment. */
	int step = (int)unit_setting("CANCEL_STEP", 4);

	prepare();
	for (size_t i = 0; i < POINTS; i++)
		for (int k = 0; k < 100; k += step) {
			struct cogo_attr a = { .flags = k & 4 ? COGO_UNWINDS : 0 };
			struct cogo_coro *c = begin(&a, call_at_once,
						    (void *)&points[i]);

			for (int n = 0; n < k % 4; n++)
				sched_yield();
			for (volatile int n = 0; n < k * 50; n++)
				;
			check_eq(cogo_cancel(c, 1), 0);
			if (cogo_wait(c, cogo_in(60 * COGO_SEC))) {
				fprintf(stderr, "%s, moment %d: waits on\n",
					points[i].name, k);
				abort();
			}
			check_eq(cogo_join(c), a.flags ? COGO_CANCELED
						       : COGO_RETURNED);
		}
	finish();
}

/* ---- at the beginning and the end ---- */

static void end_at_once(void *arg)
{
	(void)arg;
}

Test(cancel, at_any_moment_of_a_life_it_is_asked_or_has_ended)
{
	int asked = 0, gone = 0;

	for (int i = 0; i < 20000; i++) {
		struct cogo_attr a = { .flags = i & 1 ? COGO_UNWINDS : 0 };
		struct cogo_coro *c = begin(&a, end_at_once, NULL);
		int r;

		for (volatile int n = 0; n < i % 500; n++)
			;
		r = cogo_cancel(c, 5);
		check(r == 0 || r == -ESRCH);
		r == 0 ? asked++ : gone++;
		/* It never came to a point. */
		check_eq(cogo_join(c), COGO_RETURNED);
	}
	printf("%d asked, %d had ended\n", asked, gone);
}

/* ---- what goes on ---- */

static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_int stage;
static bool told;
static pthread_t thread;

static void *end_when_told(void *arg)
{
	while (stage < 4)
		usleep(100);
	return arg;
}

static void wait_for_locks(void *arg)
{
	int err = 0;

	(void)arg;
	stage = 1;
	while (!cogo_canceled())
		sched_yield();
	check_eq(pthread_mutex_lock(&mutex), 0);
	while (!told)
		check_eq(pthread_cond_wait(&cond, &mutex), 0);
	check_eq(pthread_mutex_unlock(&mutex), 0);
	check_eq(pthread_rwlock_wrlock(&rwlock), 0);
	pthread_rwlock_unlock(&rwlock);
	stage = 2;
	check_eq(sem_wait(&sem), 0);
	stage = 3;
	check_eq(pthread_join(thread, NULL), 0);
	/* And is still cancelled. */
	err = cogo_yield();
	check_eq(err, -ECANCELED);
	stage = 5;
}

Test(cancel, locks_semaphores_conditions_and_joins_are_waited_for_all_the_same)
{
	struct cogo_coro *c;

	sem_init(&sem, 0, 0);
	pthread_mutex_lock(&mutex);
	pthread_rwlock_wrlock(&rwlock);
	check_eq(pthread_create(&thread, NULL, end_when_told, NULL), 0);
	c = begin(NULL, wait_for_locks, NULL);
	wait_until(stage == 1);
	check_eq(cogo_cancel(c, 1), 0);
	settle();
	pthread_mutex_unlock(&mutex);
	settle();
	check_eq(stage, 1);
	pthread_mutex_lock(&mutex);
	told = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	settle();
	check_eq(stage, 1);
	pthread_rwlock_unlock(&rwlock);
	wait_until(stage == 2);
	settle();
	check_eq(stage, 2);
	sem_post(&sem);
	wait_until(stage == 3);
	settle();
	check_eq(stage, 3);
	stage = 4;
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(stage, 5);
}

static void say_goodbye(void *arg)
{
	int *fd = arg;
	char text[8];
	struct pollfd p = { fd[0], POLLIN, 0 };

	check_eq(cogo_park(COGO_FOREVER), -ECANCELED);
	/* What need not wait is done. */
	check_eq(write(fd[1], "goodbye", 7), 7);
	check_eq(poll(&p, 1, -1), 1);
	check_eq(read(fd[0], text, 7), 7);
	check_eq(poll(&p, 1, 0), 0);
	check_eq(write(fd[1], text, 7), 7);
	/* But nothing of this library. */
	check_eq(cogo_park(0), -ECANCELED);
	check_eq(cogo_sleep(0), -ECANCELED);
	check_eq(cogo_yield(), -ECANCELED);
	check_eq(cogo_wait(cogo_self(), 0), -ECANCELED);
	check(cogo_canceled());
	cogo_testcancel();
	check(!"reached");
}

Test(cancel, what_need_not_wait_is_done_and_testcancel_ends)
{
	int fd[2];
	char text[8];
	struct cogo_coro *c;

	check_eq(pipe(fd), 0);
	c = begin(NULL, say_goodbye, fd);
	settle();
	check_eq(cogo_cancel(c, 2), 0);
	check_eq(cogo_join(c), COGO_CANCELED);
	check_eq(read(fd[0], text, 8), 7);
}

/* On a disk, and where there is none. */
static void finish_files(void *arg)
{
	const char *const folders[] = { ".", "/dev/shm" };

	(void)arg;
	check_eq(cogo_park(COGO_FOREVER), -ECANCELED);
	for (int i = 0; i < 2; i++) {
		int fd = open(folders[i], O_TMPFILE | O_RDWR, 0600);
		char text[8];

		check(fd >= 0);
		check_eq(write(fd, "the last", 8), 8);
		check_eq(pwrite(fd, "line", 4, 4), 4);
		check_eq(fsync(fd), 0);
		check_eq(lseek(fd, 0, SEEK_SET), 0);
		check_eq(read(fd, text, 8), 8);
		check(!memcmp(text, "the line", 8));
		check_eq(close(fd), 0);
	}
	stage = 1;
}

Test(cancel, a_disk_is_not_waited_for_in_that_sense)
{
	struct cogo_coro *c = begin(NULL, finish_files, NULL);

	stage = 0;
	check_eq(cogo_cancel(c, 2), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(stage, 1);
}

/* libc's own open is a point where it ends its threads. */
static void open_and_close(void *arg)
{
	(void)arg;
	stage = 1;
	while (!cogo_canceled()) {
		int fd = open(".", O_TMPFILE | O_RDWR, 0600);

		check(fd >= 0);
		check_eq(close(fd), 0);
	}
}

Test(cancel, who_has_not_asked_for_it_is_unwound_from_nowhere)
{
	for (int i = 0; i < 300; i++) {
		struct cogo_coro *c;

		stage = 0;
		c = begin(NULL, open_and_close, NULL);
		while (stage == 0)
			sched_yield();
		check_eq(cogo_cancel(c, 1), 0);
		check_eq(cogo_join(c), COGO_RETURNED);
	}
}

/* In a call of libc's own, that no hook sees. */
static void read_wide(void *stream)
{
	stage = 1;
	check_eq(fgetwc(stream), WEOF);
	check_eq(errno, ECANCELED);
}

/* Whether a kernel thread is in a read of fd. */
static bool somebody_reads(int fd)
{
	DIR *d = opendir("/proc/self/task");
	bool found = false;
	struct dirent *e;

	check(d != NULL);
	while (!found && (e = readdir(d))) {
		char path[64];
		FILE *f;
		long call;
		int of;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/syscall", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		found = fscanf(f, "%ld %i", &call, &of) == 2 &&
			call == SYS_read && of == fd;
		fclose(f);
	}
	closedir(d);
	return found;
}

Test(cancel, what_waits_inside_libc_fails_too)
{
	struct cogo_coro *c;
	FILE *stream;
	int fd[2];

	if (atof(gnu_get_libc_version()) > 2.405)
		skip("this glibc does not mark where a thread may be cancelled");
	check_eq(pipe(fd), 0);
	stream = fdopen(fd[0], "r");
	check(stream != NULL);
	c = begin(NULL, read_wide, stream);
	wait_until(somebody_reads(fd[0]));
	check_eq(cogo_cancel(c, 1), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
}

/* ---- disabled ---- */

static void wait_in_peace(void *arg)
{
	int outer = cogo_cancel_disable(), inner = cogo_cancel_disable();

	stage = 1;
	check_eq(cogo_park(COGO_FOREVER), 0);
	check(cogo_canceled());
	cogo_testcancel();
	check_eq(cogo_yield(), 0);
	check_eq(usleep(10), 0);
	cogo_cancel_restore(inner);
	check_eq(cogo_sleep(1000), 0);
	stage = 2;
	cogo_cancel_restore(outer);
	check_eq(cogo_sleep(1000), -ECANCELED);
	/* However soon it would be over. */
	for (int i = 0; i < 1000; i++) {
		check_eq(usleep(1), -1);
		check_eq(errno, ECANCELED);
	}
	(void)arg;
}

Test(cancel, who_does_not_want_to_hear_of_it_does_not_and_pairs_nest)
{
	struct cogo_coro *c = begin(NULL, wait_in_peace, NULL);

	wait_until(stage == 1);
	check_eq(cogo_cancel(c, 1), 0);
	settle();
	check_eq(stage, 1);
	cogo_unpark(c);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(stage, 2);
}

static void on_a_thread(void)
{
	int before = cogo_cancel_disable();

	check(!cogo_canceled());
	cogo_testcancel();
	cogo_cancel_restore(before);
	check_eq(cogo_cancel(cogo_self(), 1), -ENOTSUP);
	check(!cogo_canceled());
	check_eq(cogo_sleep(1000), 0);
	check_eq(cogo_cancel_reason(cogo_self()), 0);
}

Test(cancel, threads_cannot_be_asked)
{
	on_thread(on_a_thread);
	on_a_thread();
}

static void ask_oneself(void *arg)
{
	check_eq(cogo_cancel(cogo_self(), 8), 0);
	check_eq(cogo_cancel(cogo_self(), 9), -EALREADY);
	check_eq(cogo_cancel_reason(cogo_self()), 8);
	check_eq(cogo_sleep(COGO_SEC), -ECANCELED);
	(void)arg;
}

Test(cancel, one_may_ask_oneself)
{
	check_eq(outcome(NULL, ask_oneself, NULL), COGO_RETURNED);
}

/* ---- cleanups are not cut short ---- */

static void wait_in_cleanup(void *arg)
{
	check_eq(cogo_sleep(200 * COGO_US), 0);
	check_eq(cogo_yield(), 0);
	check_eq(usleep(10), 0);
	++*(int *)arg;
}

static void wait_with_cleanup(void *arg)
{
	cogo_defer(wait_in_cleanup, arg);
	stage = 1;
	cogo_park(COGO_FOREVER);
	check(!"reached");
}

static void through_recover(void *arg)
{
	cogo_defer(wait_in_cleanup, arg);
	cogo_recover(wait_with_cleanup, arg, NULL);
	check(!"reached");
}

Test(cancel, cleanups_wait_in_peace_and_on_the_way_through_recover_too)
{
	struct cogo_attr a = { .flags = COGO_UNWINDS };

	for (int i = 0; i < 20; i++) {
		int cleaned = 0;
		struct cogo_coro *c;

		stage = 0;
		c = begin(&a, through_recover, &cleaned);
		if (i & 1)
			wait_until(stage == 1);
		check_eq(cogo_cancel(c, 1), 0);
		check_eq(cogo_join(c), COGO_CANCELED);
		check(cleaned == 2);
	}
}

static void panic_with_cleanup(void *arg)
{
	cogo_defer(wait_in_cleanup, arg);
	check_eq(cogo_cancel(cogo_self(), 1), 0);
	cogo_panic("cancelled and panicking");
}

static void cancelled_panic(void *arg)
{
	check_eq(cogo_recover(panic_with_cleanup, arg, NULL), 1);
	check_eq(cogo_yield(), -ECANCELED);
}

Test(cancel, a_recovered_panic_leaves_the_cancellation_as_it_was)
{
	int cleaned = 0;

	check_eq(outcome(NULL, cancelled_panic, &cleaned), COGO_RETURNED);
	check_eq(cleaned, 1);
}

static void join_though_cancelled(void *arg)
{
	check_eq(cogo_cancel(cogo_self(), 1), 0);
	check_eq(cogo_wait(arg, COGO_FOREVER), -ECANCELED);
	stage = 1;
	check_eq(cogo_join(arg), COGO_RETURNED);
	stage = 2;
}

Test(cancel, join_waits_for_the_end_though_the_caller_is_cancelled)
{
	struct cogo_coro *c = begin(NULL, stay, NULL), *j;

	j = begin(NULL, join_though_cancelled, cogo_ref(c));
	wait_until(stage == 1);
	settle();
	check_eq(stage, 1);
	cogo_unpark(c);
	check_eq(cogo_join(j), COGO_RETURNED);
	cogo_drop(c);
}
