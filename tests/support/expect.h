/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* expect.h - everything that the plain programs under tests/hook share.
 *
 * Those programs are ordinary pthread, C11 and C++ programs: they are run
 * bare, where each must pass, and once more as coroutines, where each must say
 * the same. So they know of nothing but libc, and neither does this header.
 *
 * A program is a table of cases. A case is a function whose name is a sentence
 * that can be false; it states what it expects:
 *
 *	EXPECT(cond)            true or false
 *	EXPECT_EQ(seen, want)   two integers; both are printed
 *	EXPECT_STR(seen, want)  two strings; both are printed
 *	EXPECT_ERR(call, err)   call returned -1 and errno is err
 *	EXPECT_OK(call)         call did not return -1
 *	WAIT_UNTIL(cond)        naps until cond holds; false after a long cap
 *	SKIP("reason")          this machine cannot run the case
 *
 * SHARES_STORAGE: see shared.h.
 *
 * Each is an expression, true when the expectation was met, so that a case
 * can stop where going on makes no sense: if (!EXPECT_OK(fd = open(..)))
 * return;. They may be used from any thread and leave errno alone.
 *
 * No time decides a result. What must happen is waited for, under a cap that
 * only a hang reaches. The cap is kept by a watchdog process: not a signal or
 * a thread in the process under test, which would change what is tested, and
 * entered by raw system calls, so that it works when the process does not. It
 * holds no descriptor and is nobody's child, so a case may count both.
 *
 * Arguments: NAME.. runs the cases whose names contain one of them; --list
 * lists; --loops N before the names: while N threads wait for events that never
 * come. EXPECT_CAP=seconds sets the cap of one case (0: none), EXPECT_SIGNAL=n
 * has the watchdog send signal n, and wait, before it kills. */
#ifndef TESTS_SUPPORT_EXPECT_H
#define TESTS_SUPPORT_EXPECT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rawsys.h"
#include "shared.h"

struct expect_case {
	const char *name;
	void (*run)(void);
	bool in_main;
};

/* In a thread of its own: the usual way, since threads are what is tested. */
#define CASE(fn) {#fn, fn, false}
#define CASE_IN_MAIN(fn) {#fn, fn, true}

/* Shared with the watchdog, hence in a page of its own. */
struct expect_board {
	long beat;     /* goes up when a case begins */
	long finished; /* the program came to its end */
	char name[160];
};

struct expect_state {
	struct expect_board *board;
	long passed;
	long failed;
	long skipped;
	long case_failed;
	long case_skipped;
};

/* Weak: one state for a program of several files. */
__attribute__((weak)) struct expect_state expect_now;

#define EXPECT_WAIT_SECONDS 60

/* One write per line, so that lines of many threads do not mix. */
__attribute__((format(printf, 1, 2))) static inline void
expect_say(const char *format, ...)
{
	int kept = errno;
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	for (int at = 0; at < n;) {
		ssize_t put = write(1, line + at, n - at);

		if (put <= 0)
			break;
		at += put;
	}
	errno = kept;
}

static inline bool expect_bool(bool good, const char *file, int line,
			       const char *text)
{
	if (good) {
		__atomic_add_fetch(&expect_now.passed, 1, __ATOMIC_RELAXED);
		return true;
	}
	__atomic_add_fetch(&expect_now.failed, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&expect_now.case_failed, 1, __ATOMIC_RELAXED);
	expect_say("%s:%d: not so: %s (errno %d, %s)\n", file, line, text,
		   errno, strerror(errno));
	return false;
}

static inline bool expect_eq(long long seen, long long want, const char *file,
			     int line, const char *seen_text,
			     const char *want_text)
{
	char text[512];

	if (seen == want)
		return expect_bool(true, file, line, "");
	snprintf(text, sizeof(text), "%s is %lld (0x%llx), not %s, %lld (0x%llx)",
		 seen_text, seen, (unsigned long long)seen, want_text, want,
		 (unsigned long long)want);
	return expect_bool(false, file, line, text);
}

static inline bool expect_str(const char *seen, const char *want,
			      const char *file, int line, const char *seen_text)
{
	char text[512];

	if (seen && want && strcmp(seen, want) == 0)
		return expect_bool(true, file, line, "");
	snprintf(text, sizeof(text), "%.100s is \"%.180s\", not \"%.180s\"", seen_text,
		 seen ? seen : "(null)", want ? want : "(null)");
	return expect_bool(false, file, line, text);
}

static inline bool expect_err(long long ret, int err, int want,
			      const char *file, int line, const char *call)
{
	char text[512];

	if (ret == -1 && err == want)
		return expect_bool(true, file, line, "");
	snprintf(text, sizeof(text), "%s gave %lld with errno %d, not -1 with %d",
		 call, ret, err, want);
	return expect_bool(false, file, line, text);
}

#define EXPECT(cond) expect_bool((cond) ? true : false, __FILE__, __LINE__, #cond)
#define EXPECT_EQ(seen, want)                                                  \
	expect_eq((long long)(seen), (long long)(want), __FILE__, __LINE__,    \
		  #seen, #want)
#define EXPECT_STR(seen, want)                                                 \
	expect_str((seen), (want), __FILE__, __LINE__, #seen)
#define EXPECT_OK(call)                                                        \
	expect_bool((long long)(call) != -1, __FILE__, __LINE__, #call)
#define EXPECT_ERR(call, want)                                                 \
	__extension__({                                                        \
		long long expect_ret = (long long)(call);                      \
		expect_err(expect_ret, errno, (want), __FILE__, __LINE__,      \
			   #call);                                             \
	})
#define SKIP(reason)                                                           \
	(expect_say("skip %s: %s\n", expect_now.board->name, (reason)),        \
	 expect_now.case_skipped = 1)

static inline void nap_us(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

/* Time for another thread to get to its wait. Many short naps rather than a
 * long one: on a busy machine each takes its turn, and so do the others. */
static inline void settle(void)
{
	for (int i = 0; i < 10; i++) {
		nap_us(2000);
		sched_yield();
	}
}

static inline long long now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* now plus ms, as the absolute time that pthread calls want. */
static inline struct timespec in_ms(clockid_t clock, long long ms)
{
	long long ns = now_ns(clock) + ms * 1000000;
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	return t;
}

/* Naps are short at first and then longer: thousands may wait at once. */
#define WAIT_UNTIL(cond)                                                       \
	__extension__({                                                        \
		long long wait_end = now_ns(CLOCK_MONOTONIC) +                 \
				     EXPECT_WAIT_SECONDS * 1000000000LL;       \
		long wait_us = 100;                                            \
		bool wait_ok;                                                  \
		while (!(wait_ok = (cond) ? true : false) &&                   \
		       now_ns(CLOCK_MONOTONIC) < wait_end) {                   \
			nap_us(wait_us);                                       \
			if (wait_us < 5000)                                    \
				wait_us += wait_us / 2;                        \
		}                                                              \
		expect_bool(wait_ok, __FILE__, __LINE__, "in time: " #cond);   \
	})

/* ---- the watchdog ---- */

static inline long expect_env(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? atol(value) : otherwise;
}

/* The child of the child of the program, so that its wait() never meets it.
 * Past this point it uses raw system calls alone. */
static inline void expect_watch(int pidfd, int pid, long cap, int with)
{
	struct expect_board *board = expect_now.board;
	struct pollfd end = {.fd = pidfd, .events = POLLIN, .revents = 0};
	struct timespec second; /* the kernel writes back what is left */
	long quiet = 0;
	long beat = 0;
	char text[256];
	int n;

	for (;;) {
		second.tv_sec = 1;
		second.tv_nsec = 0;
		if (rawsys6(SYS_ppoll, (long)&end, 1, (long)&second, 0, 8, 0) > 0)
			break;
		if (__atomic_load_n(&board->beat, __ATOMIC_ACQUIRE) != beat) {
			beat = __atomic_load_n(&board->beat, __ATOMIC_ACQUIRE);
			quiet = 0;
			continue;
		}
		if (cap == 0 || ++quiet < cap)
			continue;
		n = snprintf(text, sizeof(text), "hangs: %s (%ld s)\n",
			     board->name, quiet);
		rawsys(SYS_write, 2, text, n);
		if (with) {
			rawsys(SYS_kill, pid, with, 0);
			second.tv_sec = 5;
			second.tv_nsec = 0;
			rawsys6(SYS_ppoll, (long)&end, 1, (long)&second, 0, 8, 0);
		}
		rawsys(SYS_kill, pid, SIGKILL, 0);
		rawsys(SYS_exit_group, 0, 0, 0);
	}
	if (!__atomic_load_n(&board->finished, __ATOMIC_ACQUIRE)) {
		n = snprintf(text, sizeof(text), "died in: %s\n", board->name);
		rawsys(SYS_write, 2, text, n);
	}
	rawsys(SYS_exit_group, 0, 0, 0);
}

static inline void expect_watchdog(long cap)
{
	int with = (int)expect_env("EXPECT_SIGNAL", 0);
	int pid = (int)rawsys(SYS_getpid, 0, 0, 0);
	long child;
	int status;

	expect_now.board = (struct expect_board *)mmap(
		NULL, sizeof(struct expect_board), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = rawsys6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
	if (child == 0) {
		int pidfd = (int)rawsys(SYS_pidfd_open, pid, 0, 0);

		if (rawsys6(SYS_clone, 0, 0, 0, 0, 0, 0) == 0) {
			rawsys(SYS_setsid, 0, 0, 0);
			expect_watch(pidfd, pid, cap, with);
		}
		rawsys(SYS_exit_group, 0, 0, 0);
	}
	while (rawsys6(SYS_wait4, child, (long)&status, 0, 0, 0, 0) == -EINTR)
		;
}

/* ---- a program ---- */

static inline void expect_enter(const char *name)
{
	struct expect_board *board = expect_now.board;

	snprintf(board->name, sizeof(board->name), "%s", name);
	__atomic_add_fetch(&board->beat, 1, __ATOMIC_RELEASE);
}

static inline void *expect_run_in_thread(void *arg)
{
	((const struct expect_case *)arg)->run();
	return NULL;
}

static inline void expect_run(const struct expect_case *c)
{
	pthread_t t;

	expect_enter(c->name);
	expect_now.case_failed = expect_now.case_skipped = 0;
	if (c->in_main)
		c->run();
	else if (EXPECT_EQ(pthread_create(&t, NULL, expect_run_in_thread,
					  (void *)c), 0))
		EXPECT_EQ(pthread_join(t, NULL), 0);
	if (__atomic_load_n(&expect_now.case_failed, __ATOMIC_RELAXED))
		expect_say("FAILED %s\n", c->name);
	else if (expect_now.case_skipped)
		expect_now.skipped++;
	else
		expect_say("ok %s\n", c->name);
}

/* The last line, and the exit status. */
static inline int expect_done(void)
{
	if (expect_now.skipped)
		expect_say("%ld skipped\n", expect_now.skipped);
	expect_say("%ld passed, %ld failed\n", expect_now.passed,
		   expect_now.failed);
	__atomic_store_n(&expect_now.board->finished, 1, __ATOMIC_RELEASE);
	return expect_now.failed ? 1 : 0;
}

static inline bool expect_chosen(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

static inline void *expect_loop(void *arg)
{
	struct epoll_event event;
	int fd = epoll_create1(EPOLL_CLOEXEC);
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_RELEASE);
	for (;;)
		epoll_wait(fd, &event, 1, -1);
	return NULL;
}

static inline void expect_loops(int n)
{
	static int begun;
	pthread_t t;

	for (int i = 0; i < n; i++) {
		int err = pthread_create(&t, NULL, expect_loop, &begun);

		if (err) {
			expect_say("pthread_create: %s\n", strerror(err));
			_exit(2);
		}
		pthread_detach(t);
	}
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < n)
		sched_yield();
}

static inline int expect_main(int argc, char **argv,
			      const struct expect_case *cases, size_t n)
{
	if (argc > 2 && strcmp(argv[1], "--loops") == 0) {
		expect_loops(atoi(argv[2]));
		argc -= 2;
		argv += 2;
	}
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < n; i++)
			printf("%s\n", cases[i].name);
		return 0;
	}
	expect_watchdog(expect_env("EXPECT_CAP", 180));
	for (size_t i = 0; i < n; i++)
		if (expect_chosen(cases[i].name, argc, argv))
			expect_run(&cases[i]);
	return expect_done();
}

#define EXPECT_MAIN(cases)                                                     \
	int main(int argc, char **argv)                                        \
	{                                                                      \
		return expect_main(argc, argv, cases,                          \
				   sizeof(cases) / sizeof((cases)[0]));        \
	}

/* ---- threads ---- */

/* How many this process has; under cogo-run, far fewer than threads. */
static inline int kernel_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = -2;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Starts a thread with default attributes, or ends the program: without it
 * no case makes sense. */
static inline pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t t;
	int err = pthread_create(&t, NULL, fn, arg);

	if (err) {
		expect_say("pthread_create: %s\n", strerror(err));
		_exit(2);
	}
	return t;
}

static inline void *finish(pthread_t t)
{
	void *ret = NULL;

	EXPECT_EQ(pthread_join(t, &ret), 0);
	return ret;
}

/* ---- children ---- */

static inline int status_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return status;
}

/* Runs fn in a forked child; what it expects is expected of the case. The
 * alarm is the cap of a child that outlives a killed parent. */
static inline bool expect_child(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		expect_now.case_failed = 0;
		alarm(2 * EXPECT_WAIT_SECONDS);
		fn(arg);
		_exit(expect_now.case_failed ? 1 : 0);
	}
	return EXPECT_OK(pid) && EXPECT_EQ(status_of(pid), 0);
}

#endif
