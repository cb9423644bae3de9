/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/contain.h - a fault that ends one coroutine and not the program. */
#ifndef COGO_FAULT_CONTAIN_H
#define COGO_FAULT_CONTAIN_H

#include "arch/context.h"
#include "coro/coro.h"
#include <signal.h>

/* Set from above: begins the panic, with the message and where it happened. Does
 * not return. Outside the runtime, bound, on a stack of its own below which the
 * walk finds the coroutine's. */
typedef void (*contain_panic_fn)(struct coro *me, const char *message,
				 const struct arch_regs *where);
void contain_use(contain_panic_fn panic);

/* Watches for SIGBUS, SIGFPE and SIGILL as overflow_start does for SIGSEGV. */
void contain_start(void);

/* In the handler of a fault, on an alternate stack: if the coroutine that runs
 * has asked for it, and it was its own code that faulted, does not return. what:
 * a sentence that says more than the signal does, or NULL. */
void contain(int sig, const siginfo_t *info, const void *uctx, const char *what);

/* The walk has come to the base that it was to come to, on whose stack we are
 * again. */
struct unwind;
void contain_end(struct coro *me, const struct unwind *u);

/* The stack of its own that a walk runs on and the address lies in, or NULL. */
const void *contain_stack(const struct coro *me, const void *at);

#endif
