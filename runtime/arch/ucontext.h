/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/ucontext.h - the contract: registers between the forms they come in.
 *
 *	arch_regs_to_ucontext(regs, uc)		into what unwinders begin from;
 *						*uc is zeroed first
 *	arch_regs_from_ucontext(uc, regs)	out of what a signal handler is
 *						given
 *
 *	arch_restart_of(uc)			the number of the system call that
 *						the kernel would make again, or -1
 *	arch_fail_restart(uc, error)		what a signal interrupted and the
 *						kernel would make again, if it was
 *						a system call, returns -error;
 *						nothing happens to one that no
 *						signal ever ends
 *
 *	arch_fail_unless(uc)			if the signal came to a thread in
 *						arch_syscall_unless, before the
 *						call or in the middle of one that
 *						would be made again: it returns
 *						-EINTR, and this true
 *
 * What need not survive a call is left out: to one who unwinds from a call it
 * does not matter, and nobody resumes these. */
#ifndef COGO_ARCH_UCONTEXT_H
#define COGO_ARCH_UCONTEXT_H

#include "arch/context.h"

#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>

/* A signal never ends these, whatever its handler wants: the kernel makes them
 * again. libc knows that, and takes whatever else FUTEX_LOCK_PI returns for the
 * lock. op is the second argument. */
static inline bool arch_always_restarts(long nr, unsigned long op)
{
	switch (nr) {
#ifdef SYS_fork
	case SYS_fork:
	case SYS_vfork:
#endif
#ifdef SYS_clone3
	case SYS_clone3:
#endif
	case SYS_clone:
	case SYS_execve:
	case SYS_execveat:
		return true;
	case SYS_futex:
		break;
	default:
		return false;
	}
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_LOCK_PI:
	case 13:			/* FUTEX_LOCK_PI2, of newer headers */
	case FUTEX_WAIT_REQUEUE_PI:
		return true;
	default:
		return false;
	}
}

#if defined(__x86_64__)
#include "arch/x86_64/ucontext.h"
#elif defined(__aarch64__)
#include "arch/aarch64/ucontext.h"
#else
#error "cogo knows no ucontext_t for this CPU: see runtime/arch/"
#endif

#endif
