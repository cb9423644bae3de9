/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* there.h - to run a function on another stack with another thread pointer, and
 * come back: all there is of a scheduler where there is none yet. */
#ifndef TESTS_UNIT_THERE_H
#define TESTS_UNIT_THERE_H

#include "arch/context.h"
#include "arch/tp.h"
#include "unit.h"

static struct {
	void *here, *there;
	uintptr_t tp;
	void (*fn)(void *);
	void *arg;
} there;

static void there_begin(void *arg)
{
	(void)arg;
	there.fn(there.arg);
	arch_switch(&there.there, there.here, there.tp);
	abort();
}

/* fn(arg), on the stack below top. */
static inline void run_there(void *top, uintptr_t tp, void (*fn)(void *), void *arg)
{
	there.fn = fn;
	there.arg = arg;
	there.tp = arch_tp_get();
	there.there = arch_context_make(top, there_begin, NULL);
	arch_switch(&there.here, there.there, tp);
}

#endif
