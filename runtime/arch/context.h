/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/context.h - the contract of a CPU: leaving one stack for another.
 *
 * A suspended context is one word, its stack pointer; what must survive a
 * call (callee-saved registers, floating point control) lies on the stack
 * above it. The thread pointer changes in the same step, so that at no
 * moment C code runs on one coroutine's stack with another's thread-local
 * storage.
 *
 * A CPU is a folder here with context.S, syscall.h and tp.h, and a green
 * tests/unit/test_arch. */
#ifndef COGO_ARCH_CONTEXT_H
#define COGO_ARCH_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

/* Suspends the caller: leaves its stack pointer in *save_sp, goes on at to_sp
 * with thread pointer tp. Returns when somebody switches back. The thread
 * pointer is written only when it differs.
 *
 * The two differ in what the processor makes of them, which guesses where functions
 * return to. arch_switch is for one place that all of its contexts are suspended in;
 * arch_switch_across, for two places that take turns. */
void arch_switch(void **save_sp, void *to_sp, uintptr_t tp);
void arch_switch_across(void **save_sp, void *to_sp, uintptr_t tp);

/* Makes a context at the top of a fresh stack; the first switch to it calls
 * entry(arg), which must not return. Returns the stack pointer to switch to. */
void *arch_context_make(void *stack_top, void (*entry)(void *), void *arg);

/* A context begins with the floating point control of who makes it, as a thread
 * does. Nearly always that is what the program began with: arch_fp_note notes the
 * caller's, arch_fp_is_noted says whether the caller's is the same, and
 * arch_context_make_noted makes one that begins with that, whatever the caller's. */
void arch_fp_note(void);
bool arch_fp_is_noted(void);
void *arch_context_make_noted(void *stack_top, void (*entry)(void *), void *arg);

/* The same of a context that is called, as it were: whoever switches to it saves
 * its own stack pointer in **ret_caller, and unwinding goes on there, past
 * entry's frame, as it does past a function's. */
void *arch_context_make_called(void *stack_top, void (*entry)(void *), void *arg,
			       void ***ret_caller);

/* What a debugger needs of a suspended context. */
#define ARCH_SAVED_REGS 10	/* of the CPU that has the most */
struct arch_regs {
	uintptr_t pc, sp, fp;
	/* the other callee-saved registers, in the order of arch_reg_numbers */
	uintptr_t saved[ARCH_SAVED_REGS];
};
/* DWARF numbers of saved[], -1 for an unused slot. */
extern const int arch_reg_numbers[ARCH_SAVED_REGS];
void arch_context_regs(void *sp, struct arch_regs *ret_regs);

/* Runs fn(arg) on another stack and returns its result; the caller waits
 * below. Unwinding goes through it. */
long arch_call_on(void *stack_top, long (*fn)(void *), void *arg);

/* Where the kernel lets a signal handler return to, or NULL where it provides
 * the place itself. */
typedef void (*arch_restorer)(void);
arch_restorer arch_signal_restorer(void);

/* Chooses between the user-mode instruction and the system call for writing
 * the thread pointer. Called once before the first switch. */
void arch_tp_init(int force_syscall);
/* "wrfsbase", "arch_prctl", …: for reports and tests. */
const char *arch_tp_method(void);

#endif
