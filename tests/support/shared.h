/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* shared.h - what a program may not count on where coroutines share their
 * worker's thread-local storage, which COGO_FORCE=shared_tls forces.
 *
 * SHARES_STORAGE is true then: a case that is about a variable of the thread's
 * own says SKIP(NO_STORAGE).
 *
 * errno is the coroutine's there too, but not its address, which compilers keep
 * across a call that waits. So there it is asked for anew each time; anywhere
 * else the compiler may do as it likes, and what it does must be right. */
#ifndef TESTS_SUPPORT_SHARED_H
#define TESTS_SUPPORT_SHARED_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NO_STORAGE "a thread-local variable is the worker's with shared_tls"

static bool shares_storage;
#define SHARES_STORAGE shares_storage

__attribute__((constructor(101))) static void ask_who_shares_storage(void)
{
	const char *force = getenv("COGO_FORCE");

	shares_storage = force && strstr(force, "shared_tls");
}

#ifdef __clang__
__attribute__((noinline, unused))
#else
__attribute__((noipa, unused))
#endif
static int *errno_anew(void)
{
	__asm__ volatile("" ::: "memory");
	return &errno;
}

static inline int *errno_kept(void)
{
	return &errno;
}

#undef errno
#define errno (*(shares_storage ? errno_anew() : errno_kept()))

#endif
