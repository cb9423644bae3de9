/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/ucontext.h - registers between the forms they come in. */
#ifndef COGO_ARCH_AARCH64_UCONTEXT_H
#define COGO_ARCH_AARCH64_UCONTEXT_H

#include <string.h>
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

#endif
