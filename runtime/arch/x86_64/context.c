/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/context.c - the parts of the contract that C can say. */
#include "arch/context.h"
#include "arch/syscall.h"
#include "arch/tp.h"
#include <stddef.h>
#include <sys/auxv.h>

#define HWCAP2_FSGSBASE	(1u << 1)
#define NR_ARCH_PRCTL	158
#define ARCH_SET_FS	0x1002

/* Read by context.S. */
__attribute__((visibility("hidden"))) unsigned char arch_use_wrfsbase;

void arch_context_start(void);
void arch_context_start_called(void);

struct frame {
	uint32_t mxcsr;
	uint16_t x87_control;
	uint16_t nothing;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	uint64_t pc;
};
_Static_assert(offsetof(struct frame, rbp) == 48, "context.S knows this");
_Static_assert(offsetof(struct frame, pc) == 56, "context.S knows this");

const int arch_reg_numbers[ARCH_SAVED_REGS] = {
	3, 12, 13, 14, 15, -1, -1, -1, -1, -1,
};

struct fp {
	uint32_t mxcsr;
	uint16_t x87_control;
};
#define MXCSR_FLAGS 0x3fu	/* what has happened: no control */

static struct fp noted;

static struct fp current(void)
{
	struct fp fp;

	__asm__ volatile("stmxcsr %0" : "=m"(fp.mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fp.x87_control));
	return fp;
}

void arch_fp_note(void)
{
	noted = current();
	noted.mxcsr &= ~MXCSR_FLAGS;
}

bool arch_fp_is_noted(void)
{
	struct fp fp = current();

	return (fp.mxcsr & ~MXCSR_FLAGS) == noted.mxcsr &&
	       fp.x87_control == noted.x87_control;
}

static inline struct frame *make(uintptr_t top, void (*start)(void),
				 void (*entry)(void *), void *arg, struct fp fp)
{
	struct frame *f;

	/* start runs with the stack aligned as before a call. */
	f = (struct frame *)(top - sizeof(*f));
	f->mxcsr = fp.mxcsr;
	f->x87_control = fp.x87_control;
	f->r12 = (uint64_t)entry;
	f->r13 = (uint64_t)arg;
	f->r14 = f->r15 = f->rbx = f->rbp = 0;
	f->pc = (uint64_t)start;
	return f;
}

void *arch_context_make(void *stack_top, void (*entry)(void *), void *arg)
{
	return make((uintptr_t)stack_top & ~(uintptr_t)15, arch_context_start,
		    entry, arg, current());
}

void *arch_context_make_noted(void *stack_top, void (*entry)(void *), void *arg)
{
	return make((uintptr_t)stack_top & ~(uintptr_t)15, arch_context_start,
		    entry, arg, noted);
}

void *arch_context_make_called(void *stack_top, void (*entry)(void *), void *arg,
			       void ***ret_caller)
{
	void **block = (void **)((uintptr_t)stack_top & ~(uintptr_t)15) - 2;

	*ret_caller = block;
	return make((uintptr_t)block, arch_context_start_called, entry, arg,
		    current());
}

void arch_context_regs(void *sp, struct arch_regs *ret_regs)
{
	const struct frame *f = sp;

	ret_regs->pc = f->pc;
	ret_regs->sp = (uintptr_t)(f + 1);
	ret_regs->fp = f->rbp;
	ret_regs->saved[0] = f->rbx;
	ret_regs->saved[1] = f->r12;
	ret_regs->saved[2] = f->r13;
	ret_regs->saved[3] = f->r14;
	ret_regs->saved[4] = f->r15;
}

void arch_sigreturn(void);

arch_restorer arch_signal_restorer(void)
{
	return arch_sigreturn;
}

void arch_tp_init(int force_syscall)
{
	/* The kernel sets the bit when user mode may write FS base; valgrind,
	 * which knows neither the instruction nor the bit, shows 0. */
	arch_use_wrfsbase = !force_syscall &&
			    (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}

const char *arch_tp_method(void)
{
	return arch_use_wrfsbase ? "wrfsbase" : "arch_prctl";
}

void arch_tp_set(uintptr_t tp)
{
	if (arch_use_wrfsbase)
		__asm__ volatile("wrfsbase %0" : : "r"(tp) : "memory");
	else
		arch_syscall(NR_ARCH_PRCTL, ARCH_SET_FS, (long)tp, 0, 0, 0, 0);
}
