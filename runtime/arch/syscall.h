/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/syscall.h - the contract: how one enters the kernel.
 *
 * arch_syscall(nr, a..f) makes the system call and returns what the kernel
 * returned: a result, or -errno. It touches neither errno nor any memory but
 * what the call itself touches. Any thread, any stack, any moment.
 *
 * arch_syscall_unless(flag, nr, args) makes it unless *flag is not 0: then it
 * returns -EINTR at once. Whoever sets the flag and then has a signal delivered
 * to the thread can make it fail in the same way at any moment up to the call's
 * end, from the handler, by arch_fail_unless (arch/ucontext.h): so a call that
 * sleeps is either not begun, or ended, or has done what it does. */
#ifndef COGO_ARCH_SYSCALL_H
#define COGO_ARCH_SYSCALL_H

#if defined(__x86_64__)
#include "arch/x86_64/syscall.h"
#elif defined(__aarch64__)
#include "arch/aarch64/syscall.h"
#else
#error "cogo knows no system calls for this CPU: see runtime/arch/"
#endif

long arch_syscall_unless(const _Atomic unsigned *flag, long nr,
			 const long args[6]);

#endif
