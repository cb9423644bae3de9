/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* native.h - what the tests of the native API share.
 *
 * Each is a program as a user writes it: <cogo.h>, -lcogo, and libc. A test runs
 * in a process of its own, which the runtime is started in; nothing of cogo is
 * called before. */
#ifndef TESTS_GO_NATIVE_H
#define TESTS_GO_NATIVE_H

#include <cogo.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#ifdef __cplusplus
#include <atomic>
using std::atomic_int;
using std::atomic_bool;
#else
#include <stdatomic.h>
#endif

#include "../unit/unit.h"

/* Started with attr, which may be NULL. */
static inline struct cogo_coro *begin(const struct cogo_attr *attr,
				      void (*fn)(void *), void *arg)
{
	struct cogo_coro *c = NULL;

	check_eq(cogo_go(&c, attr, fn, arg), 0);
	check(c != NULL);
	return c;
}

/* How fn ended on a coroutine of its own. */
static inline int outcome(const struct cogo_attr *attr, void (*fn)(void *),
			  void *arg)
{
	return cogo_join(begin(attr, fn, arg));
}

struct native_call {
	void (*fn)(void);
};

static inline void native_call(void *arg)
{
	((struct native_call *)arg)->fn();
}

static inline void *native_thread(void *arg)
{
	native_call(arg);
	return NULL;
}

/* On a coroutine, and on a thread that is none. */
static inline void on_coroutine(void (*fn)(void))
{
	struct native_call c = { fn };

	check_eq(outcome(NULL, native_call, &c), COGO_RETURNED);
}

static inline void on_thread(void (*fn)(void))
{
	struct native_call c = { fn };
	pthread_t t;

	check_eq(pthread_create(&t, NULL, native_thread, &c), 0);
	check_eq(pthread_join(t, NULL), 0);
}

static inline void on_both(void (*fn)(void))
{
	on_coroutine(fn);
	on_thread(fn);
}

/* What fn said on stderr, in a process of its own; *ret_status as from waitpid. */
static inline char *said(void (*fn)(void), int *ret_status)
{
	static char text[65536];
	size_t n = 0;
	ssize_t r;
	int fds[2], status;
	pid_t pid;

	check_eq(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		alarm(UNIT_CAP_SECONDS);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		fn();
		exit(0);
	}
	close(fds[1]);
	while ((r = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)r;
	text[n] = 0;
	close(fds[0]);
	check_eq(waitpid(pid, &status, 0), pid);
	if (ret_status)
		*ret_status = status;
	return text;
}

/* How often a text is in another. */
static inline int times(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

#define check_text(text, what)                                                 \
	do {                                                                   \
		const char *seen_ = (text);                                    \
		if (!strstr(seen_, (what))) {                                  \
			fprintf(stderr, "seen: %s\n", seen_);                  \
			unit_fail(__FILE__, __LINE__, "it has " #what);        \
		}                                                              \
	} while (0)

/* Long enough for others to get to their wait, as a rule; no verdict hangs on it. */
static inline void settle(void)
{
	for (int i = 0; i < 5; i++) {
		cogo_sleep(COGO_MS);
		cogo_yield();
	}
}

#endif
