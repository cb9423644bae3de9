/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/compiler.h - what the language does not say, said once. */
#ifndef COGO_BASE_COMPILER_H
#define COGO_BASE_COMPILER_H

#include "cogo/time.h"
#include <stddef.h>
#include <stdint.h>

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define NOINLINE	__attribute__((noinline))
#define COLD		__attribute__((cold, noinline))
#define ALWAYS_INLINE	inline __attribute__((always_inline))
/* What answers differently on another kernel thread: two calls of it, with a switch in
 * between, must stay two, and each look anew. Compilers think that a function ends
 * on the thread that it began on. So what they see into they join, over a switch
 * too: the address of a thread-local variable, and __errno_location, which is const
 * to them; and where the whole library is compiled as one, that is everything.
 * gcc can be told not to look. clang can be told to leave the function where it is,
 * which is enough as long as it returns what it has read from memory, and no
 * address: the switch, which is assembly, may have written to all memory. */
#if defined(__GNUC__) && !defined(__clang__)
#define OPAQUE		__attribute__((noipa))
#else
#define OPAQUE		__attribute__((noinline))
#endif
/* A function that runs as a cleanup: no compiler need think of what to do should it
 * throw. */
#define NOTHROW		__attribute__((nothrow))
#define UNUSED		__attribute__((unused))
#define printf_like(f, a) __attribute__((format(printf, f, a)))

/* Two cores that write the same line slow each other down; what different
 * cores write is kept this far apart (two lines: the prefetcher pairs them). */
#define CACHE_ALIGN	__attribute__((aligned(128)))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define PAGE_SIZE	4096u

/* Of a word that its owner writes when it likes and others glance at: what they
 * see was there at some time, and nothing else follows from it. */
#define read_once(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define write_once(x, value)	__atomic_store_n(&(x), value, __ATOMIC_RELAXED)

static inline size_t align_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

#endif
