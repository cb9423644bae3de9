/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/block.h - leaving the worker's slot to others.
 *
 * block_enter / block_exit	around a call that may sleep in the kernel: the
 *				slot goes to another worker at once
 * block_bind / block_unbind	this coroutine keeps its kernel thread meanwhile
 * on_worker			a call that must see the worker's own stack and
 *				thread pointer, because libc or the kernel take
 *				them for the thread's identity */
#ifndef COGO_SCHED_BLOCK_H
#define COGO_SCHED_BLOCK_H

#include "coro/coro.h"

/* The caller is about to make a call that may sleep for long. Nestable with
 * bind; no effect on kernel threads. */
void block_enter(struct coro *me, enum why why);
void block_exit(struct coro *me);

void block_bind(struct coro *me);
void block_unbind(struct coro *me);

/* fn(arg) on the worker's own stack with its own thread pointer; hooks inside
 * behave as on a plain kernel thread. On one, just fn(arg). */
long on_worker(struct coro *me, long (*fn)(void *), void *arg);

/* Declared and noticed hand-offs, the longest one and where it was. */
struct block_stats {
	uint64_t declared, noticed;
	uint64_t longest_ns;
	void *longest_stack[16];
	int longest_depth;
	uint64_t longest_id;
};
void block_get_stats(struct block_stats *ret);
/* The monitor took the slot of a worker that neither blocked nor switched. */
void block_note(struct coro *c, cogo_time lasted);

#endif
