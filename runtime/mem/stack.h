/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/stack.h - stacks that are cheap to have and safe to overflow.
 *
 * Stacks of one size come from large regions of unreserved memory, so that
 * thousands of them are a handful of mappings. Below each lies a guard page:
 * by MADV_GUARD_INSTALL (Linux 6.13), which costs no mapping, or by mprotect,
 * which costs two and so ends near vm.max_map_count / 2. */
#ifndef COGO_MEM_STACK_H
#define COGO_MEM_STACK_H

#include "base/compiler.h"

struct stack_pool;

struct stack {
	char *low;		/* of the guard */
	char *top;
	size_t guard;		/* bytes at low that fault */
	size_t asked;		/* what the maker asked for: for reports */
	struct stack_pool *pool;	/* NULL: the program's own memory */
	unsigned index;		/* of its pool: staggers what lies at the top */
};

/* Called once. no_guard_install forces mprotect. */
void stack_init(int no_guard_install);

/* A stack with at least size usable bytes and guard bytes below them, both
 * rounded up to pages; never given back to the kernel, see stack_trim.
 * 0, -ENOMEM without memory, -EAGAIN at the limit of mappings. */
int stack_make(size_t size, size_t guard, struct stack *ret_stack);

/* The pool that stack_make would take from: stacks of one pool are alike, so
 * callers may keep finished ones by pool. NULL without memory. */
struct stack_pool *stack_pool_for(size_t size, size_t guard);

/* Gives back the pages between the guard and `below`, which nothing uses.
 * How many bytes that covers. Any thread, as long as nobody runs there. */
size_t stack_trim(const struct stack *s, const void *below);

/* "MADV_GUARD_INSTALL" or "mprotect". */
const char *stack_guard_method(void);

void stack_fork_lock(void);
void stack_fork_unlock(void);

#endif
