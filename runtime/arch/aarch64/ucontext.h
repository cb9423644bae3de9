/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/ucontext.h - registers between the forms they come in. */
#ifndef COGO_ARCH_AARCH64_UCONTEXT_H
#define COGO_ARCH_AARCH64_UCONTEXT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define ARCH_FP 29

static inline void arch_regs_to_ucontext(const struct arch_regs *regs,
					 ucontext_t *uc)
{
	memset(uc, 0, sizeof(*uc));
	uc->uc_mcontext.pc = regs->pc;
	uc->uc_mcontext.sp = regs->sp;
	uc->uc_mcontext.regs[ARCH_FP] = regs->fp;
	/* DWARF numbers the general registers as they are named. */
	for (int i = 0; i < ARCH_SAVED_REGS; i++)
		if (arch_reg_numbers[i] >= 0)
			uc->uc_mcontext.regs[arch_reg_numbers[i]] =
				regs->saved[i];
}

static inline void arch_regs_from_ucontext(const ucontext_t *uc,
					   struct arch_regs *regs)
{
	memset(regs, 0, sizeof(*regs));
	regs->pc = uc->uc_mcontext.pc;
	regs->sp = uc->uc_mcontext.sp;
	regs->fp = uc->uc_mcontext.regs[ARCH_FP];
	for (int i = 0; i < ARCH_SAVED_REGS; i++)
		if (arch_reg_numbers[i] >= 0)
			regs->saved[i] =
				uc->uc_mcontext.regs[arch_reg_numbers[i]];
}

/* Those that wait, and that the kernel restarts: some of them only when there was
 * nothing to handle. */
static inline bool arch_is_restarted(uint64_t nr)
{
	switch (nr) {
	case SYS_read: case SYS_readv: case SYS_pread64: case SYS_preadv:
	case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_pwritev:
	case SYS_accept: case SYS_accept4: case SYS_connect:
	case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
	case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
	case SYS_openat: case SYS_ioctl: case SYS_flock: case SYS_fcntl:
	case SYS_wait4: case SYS_waitid: case SYS_futex:
	case SYS_mq_timedsend: case SYS_mq_timedreceive:
	case SYS_ppoll: case SYS_pselect6: case SYS_epoll_pwait:
	case SYS_rt_sigsuspend: case SYS_rt_sigtimedwait: case SYS_semtimedop:
	case SYS_msgsnd: case SYS_msgrcv: case SYS_restart_syscall:
	case SYS_splice: case SYS_tee: case SYS_sendfile: case SYS_vmsplice:
		return true;
	default:
		return false;
	}
}

/* The kernel has put the program counter back on the instruction, svc 0, and the
 * first argument back into x0. One that has not been made yet looks the same,
 * and fails in its stead, as if the signal had come a moment later. */
static inline long arch_restart_of(const ucontext_t *uc)
{
	const uint32_t *pc = (const uint32_t *)uc->uc_mcontext.pc;

	return *pc == 0xd4000001 ? (long)uc->uc_mcontext.regs[8] : -1;
}

static inline void arch_fail_restart(ucontext_t *uc, int error)
{
	long nr = arch_restart_of(uc);

	if (nr < 0 || !arch_is_restarted((uint64_t)nr) ||
	    arch_always_restarts(nr, uc->uc_mcontext.regs[1]))
		return;
	uc->uc_mcontext.pc += 4;
	uc->uc_mcontext.regs[0] = (uint64_t)-error;
}

extern const char arch_unless_begin[], arch_unless_call[], arch_unless_fail[];

static inline bool arch_fail_unless(ucontext_t *uc)
{
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.pc;

	/* On the call itself: not made yet, or to be made again. */
	if (pc < (uintptr_t)arch_unless_begin || pc > (uintptr_t)arch_unless_call)
		return false;
	uc->uc_mcontext.pc = (uint64_t)arch_unless_fail;
	return true;
}

#endif
