/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call.h - what the tests of cogo/call.h share: a runtime to call on, and a text
 * in which functions say what they were given. */
#ifndef TESTS_CALL_CALL_H
#define TESTS_CALL_CALL_H

#include "base/conf.h"
#include "base/sanitize.h"
#include "boot.h"
#include "cogo.h"
#include "fault/unwind.h"
#include "runtime/call.h"
#include "unit/unit.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>

static inline int call_start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

static inline void call_thread_ends(struct coro *me)
{
	(void)me;
}

/* libc has no cleanups of its own in what is tested here. */
static inline void call_no_push(struct _pthread_cleanup_buffer *b,
				void (*fn)(void *), void *arg)
{
	(void)fn, (void)arg;
	b->__prev = NULL;
}

static inline void call_no_pop(struct _pthread_cleanup_buffer *b, int run)
{
	(void)b, (void)run;
}

/* As hook/preload.c does; these tests link the floors below it. */
static inline void call_start(int workers)
{
	static const struct boot_real real = {
		.start_thread = call_start_thread,
		.thread_ends = call_thread_ends,
		.thread_exit = pthread_exit,
		.abort = abort,
	};

	static const struct unwind_libc unwinder = {
		.push = call_no_push, .pop = call_no_pop,
		.jump = siglongjmp, .open = dlopen,
	};

#ifdef NO_LIBFFI
	skip("built without ffi.h (Debian: apt-get install libffi-dev, or "
	     "libffi-dev:arm64 after dpkg --add-architecture arm64)");
#endif
	boot_use(&real);
	unwind_use(&unwinder);
	call_use(dlopen);
	boot_load();
	conf.workers = workers;
}

static char said[4096];

__attribute__((format(printf, 1, 2)))
static inline void say(const char *format, ...)
{
	size_t n = strlen(said);
	va_list args;

	va_start(args, format);
	vsnprintf(said + n, sizeof(said) - n, format, args);
	va_end(args);
}

static inline void must_be_the_same(const char *direct, const char *call)
{
	if (strcmp(direct, said) == 0 && *direct)
		return;
	printf("%s\n  called directly says: %s\n  as a coroutine:       %s\n",
	       call, direct, said);
	abort();
}

/* fn(arguments), and then the same as a coroutine: what they say is the same. */
#define same(fn, ...)                                                          \
	do {                                                                   \
		struct cogo_coro *same_coro;                                   \
		char same_direct[sizeof(said)];                                \
		said[0] = 0;                                                   \
		(void)fn(__VA_ARGS__);                                         \
		strcpy(same_direct, said);                                     \
		said[0] = 0;                                                   \
		check_eq(cogo_spawn(&same_coro, NULL, fn, __VA_ARGS__), 0);    \
		check_eq(cogo_join(same_coro), COGO_RETURNED);                 \
		must_be_the_same(same_direct, #fn "(" #__VA_ARGS__ ")");       \
	} while (0)

#endif
