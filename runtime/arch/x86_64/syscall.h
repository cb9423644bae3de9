/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/syscall.h - system calls by the syscall instruction. */
#ifndef COGO_ARCH_X86_64_SYSCALL_H
#define COGO_ARCH_X86_64_SYSCALL_H

static inline long arch_syscall(long nr, long a, long b, long c, long d,
				long e, long f)
{
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
}

#endif
