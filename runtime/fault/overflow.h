/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/overflow.h - a stack was too small: whose, how small, what to do.
 *
 * A coroutine that runs into the guard below its stack faults; the fault is
 * looked at on an alternate stack, which every kernel thread of the runtime
 * has, told on stderr, and then takes the course it would have taken without
 * us: the program's own handler, or death by SIGSEGV. */
#ifndef COGO_FAULT_OVERFLOW_H
#define COGO_FAULT_OVERFLOW_H

#include <signal.h>
#include <stdbool.h>

/* Watches for SIGSEGV, unless the program does so itself (then its handler is
 * asked to call overflow_check first, see signal.c). Before the first
 * coroutine runs; idempotent. */
void overflow_start(void);

/* An alternate stack for the kernel thread that calls, for good. Without
 * memory it goes without. */
void overflow_thread_start(void);
/* The same thread is about to end. */
void overflow_thread_end(void);

/* If this fault is the overflow of a coroutine's stack: reports it and returns
 * true. In a handler of the fault, on an alternate stack. */
bool overflow_check(const siginfo_t *info, const void *uctx);

#endif
