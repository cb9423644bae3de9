/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* rawsys.h - a system call as one instruction, past every library.
 *
 * Two uses. A test needs a call that no library can have seen: a descriptor
 * that nobody was told of, a thread that sleeps in the kernel behind
 * everybody's back. And the watchdog of expect.h must go on working when the
 * libc under test, or what stands in front of it, does not.
 *
 * Returns what the kernel returns: a result, or -errno. */
#ifndef TESTS_SUPPORT_RAWSYS_H
#define TESTS_SUPPORT_RAWSYS_H

#include <sys/syscall.h>

static inline long rawsys6(long nr, long a, long b, long c, long d, long e,
			   long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "say here how this CPU enters the kernel"
#endif
}

#define rawsys(nr, a, b, c)                                                    \
	rawsys6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)

#endif
