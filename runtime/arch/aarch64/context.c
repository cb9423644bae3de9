/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/context.c - the parts of the contract that C can say. */
#include "arch/context.h"
#include "arch/tp.h"
#include <pthread.h>
#include <stddef.h>
#include <string.h>

void arch_context_start(void);
void arch_context_start_called(void);

struct frame {
	uint64_t fp, pc;
	uint64_t x[10];		/* x19 to x28 */
	double d[8];		/* d8 to d15 */
	uint64_t fpcr;
	uint64_t nothing;
};
_Static_assert(offsetof(struct frame, x) == 16, "context.S knows this");
_Static_assert(offsetof(struct frame, d) == 96, "context.S knows this");
_Static_assert(offsetof(struct frame, fpcr) == 160, "context.S knows this");
_Static_assert(sizeof(struct frame) == 176, "context.S knows this");

uintptr_t arch_thread_size;

const int arch_reg_numbers[ARCH_SAVED_REGS] = {
	19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
};

static uint64_t noted;

static uint64_t current(void)
{
	uint64_t fpcr;

	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	return fpcr;
}

void arch_fp_note(void)
{
	noted = current();
}

bool arch_fp_is_noted(void)
{
	return current() == noted;
}

static struct frame *make(uintptr_t top, void (*start)(void),
			  void (*entry)(void *), void *arg, uint64_t fpcr)
{
	struct frame *f = (struct frame *)(top - sizeof(*f));

	memset(f, 0, sizeof(*f));
	f->fpcr = fpcr;
	f->x[0] = (uint64_t)entry;
	f->x[1] = (uint64_t)arg;
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
	ret_regs->fp = f->fp;
	for (int i = 0; i < ARCH_SAVED_REGS; i++)
		ret_regs->saved[i] = f->x[i];
}

/* The kernel returns through its vDSO. */
arch_restorer arch_signal_restorer(void)
{
	return NULL;
}

void arch_tp_init(int force_syscall)
{
	/* User mode may always write it: there is no other way. */
	(void)force_syscall;
	arch_thread_size = arch_tp_get() - (uintptr_t)pthread_self();
}

const char *arch_tp_method(void)
{
	return "tpidr_el0";
}
