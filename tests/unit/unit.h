/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* unit.h - what every test here is written with.
 *
 *	Test(suite, name) { ... }	a test, in a process of its own
 *	check(cond)			must hold, on whatever thread or stack
 *	check_eq(seen, want)		the same of two integers; prints both
 *	wait_until(cond)		naps until cond holds, under a long cap
 *	skip("reason")			this machine cannot run it
 *
 * Tests are Criterion's where that is installed; elsewhere (another processor's
 * build, say) a small runner in this header stands in. Criterion's own
 * assertions jump out of the test, which only its first thread may do on its own
 * stack. Here most of what is checked is checked on other threads and on
 * coroutines; so a check that fails says so and aborts. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void unit_fail(const char *file, int line, const char *text)
{
	char say[512];
	int n = snprintf(say, sizeof(say), "%s:%d: not so: %s\n", file, line, text);

	if (write(2, say, (size_t)n) < 0)
		_exit(3);
	abort();
}

#define check(cond)                                                            \
	((cond) ? (void)0 : unit_fail(__FILE__, __LINE__, #cond))

static inline void unit_eq(long long seen, long long want, const char *file,
			   int line, const char *text)
{
	char say[400];

	if (seen == want)
		return;
	snprintf(say, sizeof(say), "%s is %lld (0x%llx), not %lld (0x%llx)", text,
		 seen, (unsigned long long)seen, want, (unsigned long long)want);
	unit_fail(file, line, say);
}

#define check_eq(seen, want)                                                   \
	unit_eq((long long)(seen), (long long)(want), __FILE__, __LINE__, #seen)

static inline void unit_nap(void)
{
	struct timespec ts = { 0, 200000 };

	nanosleep(&ts, NULL);
}

#define UNIT_CAP_SECONDS 60
#define wait_until(cond)                                                       \
	do {                                                                   \
		time_t unit_end = time(NULL) + UNIT_CAP_SECONDS;               \
		while (!(cond)) {                                              \
			if (time(NULL) > unit_end)                             \
				unit_fail(__FILE__, __LINE__,                  \
					  "in time: " #cond);                  \
			unit_nap();                                            \
		}                                                              \
	} while (0)

/* A number from the environment, else another. */
static inline long unit_setting(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? atol(value) : otherwise;
}

/* Random numbers that are the same for the same seed; never 0. */
static inline uint64_t unit_random(uint64_t *seed)
{
	uint64_t x = *seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *seed = x;
}

/* UNIT_SEED, or another one each time; printed, so that it can be given. */
static inline uint64_t unit_seed(const char *of)
{
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)unit_setting("UNIT_SEED", now.tv_nsec ^ now.tv_sec) | 1;
	printf("%s: UNIT_SEED=%llu\n", of, (unsigned long long)seed);
	fflush(stdout);
	return seed * 0x9e3779b97f4a7c15ull | 1;
}

/* Runs fn in a forked child: the signal that ended it, 0 when it returned. */
static inline int unit_signal_of(void (*fn)(void *), void *arg)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		/* As it would be without anybody's report. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		alarm(UNIT_CAP_SECONDS);
		fn(arg);
		_exit(0);
	}
	check(pid > 0);
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status))
		check_eq(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#ifdef HAVE_CRITERION

#include <criterion/criterion.h>
#define skip(reason) cr_skip_test("%s", reason)

#else

struct unit_options {
	double timeout;
};
struct unit_test {
	const char *suite, *name;
	void (*fn)(void);
	struct unit_options options;
	struct unit_test *next;
};
static struct unit_test *unit_tests;

#define Test(of, called, ...)                                                  \
	static void of##_##called(void);                                       \
	static struct unit_test unit_##of##_##called = {                       \
		.suite = #of, .name = #called, .fn = of##_##called,            \
		.options = { __VA_ARGS__ }, .next = NULL,                       \
	};                                                                     \
	__attribute__((constructor)) static void unit_enter_##of##_##called(void) \
	{                                                                      \
		unit_##of##_##called.next = unit_tests;                        \
		unit_tests = &unit_##of##_##called;                            \
	}                                                                      \
	static void of##_##called(void)

#define skip(reason)                                                           \
	do {                                                                   \
		printf("skipped: %s\n", reason);                               \
		fflush(stdout);                                                \
		_exit(77);                                                     \
	} while (0)

static inline bool unit_run(const struct unit_test *t)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(t->options.timeout ? (unsigned)t->options.timeout : 180);
		t->fn();
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFEXITED(status) &&
	    (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77)) {
		printf("%s %s/%s\n", WEXITSTATUS(status) ? "skipped" : "ok",
		       t->suite, t->name);
		return true;
	}
	printf("FAILED %s/%s (%s %d)\n", t->suite, t->name,
	       WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return false;
}

int main(int argc, char **argv)
{
	int ran = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct unit_test *t = unit_tests; t; t = t->next) {
		if (argc == 2 && argv[1][0] != '-' && !strstr(t->name, argv[1]))
			continue;
		ran++;
		failed += !unit_run(t);
	}
	printf("%d tests, %d failed\n", ran, failed);
	return failed || !ran;
}

#endif
#endif
