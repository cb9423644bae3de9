/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/syscall.h - the contract: how one enters the kernel.
 *
 * arch_syscall(nr, a..f) makes the system call and returns what the kernel
 * returned: a result, or -errno. It touches neither errno nor any memory but
 * what the call itself touches. Any thread, any stack, any moment. */
#ifndef COGO_ARCH_SYSCALL_H
#define COGO_ARCH_SYSCALL_H

#if defined(__x86_64__)
#include "arch/x86_64/syscall.h"
#elif defined(__aarch64__)
#include "arch/aarch64/syscall.h"
#else
#error "cogo knows no system calls for this CPU: see runtime/arch/"
#endif

#endif
