/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/block.h - leaving the worker's slot to others.
 *
 * block_enter / block_exit	around a call that may sleep in the kernel: the
 *				slot goes to another worker at once
 * block_bind / block_unbind	this coroutine keeps its kernel thread meanwhile
 * block_keep			… for good: what it is about to change is the
 *				kernel thread's own (its processors, its
 *				namespaces), and nobody else shall run there
 * on_worker			a call that must see the worker's own stack and
 *				thread pointer, because libc or the kernel take
 *				them for the thread's identity */
#ifndef COGO_SCHED_BLOCK_H
#define COGO_SCHED_BLOCK_H

#include "coro/coro.h"
#include "inspect/backtrace.h"

/* The caller is about to make a call that may sleep for long. Nestable with
 * bind; no effect on kernel threads. */
void block_enter(struct coro *me, enum why why);
void block_exit(struct coro *me);

void block_bind(struct coro *me);
void block_unbind(struct coro *me);
/* In the middle of a bind, which then never ends. */
void block_keep(struct coro *me);

/* fn(arg) on the worker's own stack with its own thread pointer; hooks inside
 * behave as on a plain kernel thread. On one, just fn(arg). */
long on_worker(struct coro *me, long (*fn)(void *), void *arg);

/* Hand-offs: declared by a hook, or noticed by the monitor. */
struct handoff {
	cogo_time lasted;	/* ns; 0: there was none */
	uint64_t id;		/* of the coroutine */
	char name[16];
	bool declared;
	struct backtrace trace;	/* depth 0: it computed, or nobody knows */
};
struct block_stats {
	uint64_t declared[WHY_COUNT];	/* by what was waited for */
	uint64_t noticed;
	uint64_t bound;			/* how often one kept its kernel thread */
	uint64_t kept;			/* … and the others lost it for good */
	struct handoff longest;
};
/* From now on the longest is looked for: a look at the counter per declared
 * one, and a walk whenever it is the longest so far. */
void block_watch(void);
void block_get_stats(struct block_stats *ret);

/* The monitor took the slot of a worker that has neither declared anything nor
 * switched since w->noticed. */
void block_noticed(struct worker *w);
/* If it did: that worker is back. Its own thread. */
void block_noticed_end(struct worker *w);

void block_fork_child(void);

#endif
