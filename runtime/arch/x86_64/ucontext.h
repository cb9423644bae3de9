/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/ucontext.h - registers between the forms they come in. */
#ifndef COGO_ARCH_X86_64_UCONTEXT_H
#define COGO_ARCH_X86_64_UCONTEXT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

/* Where saved[i] lives, in the order of arch_reg_numbers. */
static const int arch_saved_gregs[5] = {
	REG_RBX, REG_R12, REG_R13, REG_R14, REG_R15,
};

static inline void arch_regs_to_ucontext(const struct arch_regs *regs,
					 ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;

	memset(uc, 0, sizeof(*uc));
	g[REG_RIP] = (greg_t)regs->pc;
	g[REG_RSP] = (greg_t)regs->sp;
	g[REG_RBP] = (greg_t)regs->fp;
	for (int i = 0; i < 5; i++)
		g[arch_saved_gregs[i]] = (greg_t)regs->saved[i];
}

static inline void arch_regs_from_ucontext(const ucontext_t *uc,
					   struct arch_regs *regs)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	memset(regs, 0, sizeof(*regs));
	regs->pc = (uintptr_t)g[REG_RIP];
	regs->sp = (uintptr_t)g[REG_RSP];
	regs->fp = (uintptr_t)g[REG_RBP];
	for (int i = 0; i < 5; i++)
		regs->saved[i] = (uintptr_t)g[arch_saved_gregs[i]];
}

/* The kernel has put the program counter back on the instruction and the number
 * back into rax; what the instruction itself did to rcx, which is to keep the
 * address after it, remains. */
static inline long arch_restart_of(const ucontext_t *uc)
{
	const greg_t *g = uc->uc_mcontext.gregs;
	const unsigned char *pc = (const unsigned char *)g[REG_RIP];

	if (g[REG_RCX] != g[REG_RIP] + 2 || pc[0] != 0x0f || pc[1] != 0x05)
		return -1;
	return (long)g[REG_RAX];
}

static inline void arch_fail_restart(ucontext_t *uc, int error)
{
	greg_t *g = uc->uc_mcontext.gregs;

	long nr = arch_restart_of(uc);

	if (nr < 0 || arch_always_restarts(nr, (unsigned long)g[REG_RSI]))
		return;
	g[REG_RIP] += 2;
	g[REG_RAX] = -error;
}

extern const char arch_unless_begin[], arch_unless_call[], arch_unless_fail[];

static inline bool arch_fail_unless(ucontext_t *uc)
{
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

	/* On the call itself: not made yet, or to be made again. */
	if (pc < (uintptr_t)arch_unless_begin || pc > (uintptr_t)arch_unless_call)
		return false;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)arch_unless_fail;
	return true;
}

#endif
