/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/backtrace.h - how did it get there?
 *
 * Walks the stack of whoever stands still: a suspended coroutine, a thread
 * that sleeps in the kernel, a thread that has just faulted. It reads nothing
 * that may not be there: one who goes on while we walk makes the answer wrong,
 * never the program. Any kernel thread, a signal handler on its own stack; a
 * coroutine only while it is bound (libunwind takes libc's locks). */
#ifndef COGO_INSPECT_BACKTRACE_H
#define COGO_INSPECT_BACKTRACE_H

#include "arch/context.h"
#include "mem/stack.h"
#include <stdbool.h>

#define BACKTRACE_MOST 48

/* Frames from the innermost outwards. A frame that comes several times in a
 * row is kept once, and counted: so the bottom of a deep recursion is here. */
struct backtrace {
	int depth;
	bool exact;	/* pc[0] is where it stands; all others, where it
			 * returns to */
	bool more;	/* there was no room for the rest */
	uintptr_t pc[BACKTRACE_MOST];
	uint32_t times[BACKTRACE_MOST];
};

/* Opens libunwind; without it, frame pointers are followed. Before anything
 * goes wrong, on an ordinary stack. Idempotent. */
void backtrace_open(void);
/* "libunwind" or "frame pointers". */
const char *backtrace_method(void);

/* Walks from there. stack: where the frames are, if it is one of ours, or
 * NULL. exact: `from` is a place in the code and not a return address. */
void backtrace_walk(const struct arch_regs *from, bool exact,
		    const struct stack *stack, struct backtrace *ret);

/* Walks from where a kernel thread of this process sleeps, by whatever call.
 * False while it runs. */
bool backtrace_walk_asleep(int tid, struct backtrace *ret);

/* The word at addr, if it can be read. Any address. */
bool backtrace_peek(const void *addr, uintptr_t *ret);

/* "function+0x12 (libx.so)", "libx.so+0x1234", "0x7f…". Data, too. */
size_t backtrace_name(uintptr_t addr, bool exact, char *buf, size_t size);

/* Writes the frames, one in a line, into buf, cut off at a line's end. The
 * runtime's own frames at both ends are left out but for the innermost that
 * the program called. Its length. */
size_t backtrace_print(const struct backtrace *b, char *buf, size_t size);

/* Libraries may have come and gone since the last report. */
void backtrace_begin_report(void);

/* Nobody is inside libunwind between the two. */
void backtrace_fork_lock(void);
void backtrace_fork_unlock(void);

#endif
