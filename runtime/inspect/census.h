/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/census.h - who exists, waiting for what, since when, and where.
 *
 * May be taken at any moment, while everything runs. A suspended coroutine is
 * held while its stack is walked, as the trimmer does; who wakes it meanwhile
 * leaves a mark, and whoever takes the census owes it its turn: that is a
 * return value, because making it ready is a matter for higher floors. */
#ifndef COGO_INSPECT_CENSUS_H
#define COGO_INSPECT_CENSUS_H

#include "coro/coro.h"
#include "inspect/backtrace.h"

struct worker;

struct census_entry {
	struct coro *coro;	/* for comparing alone: it may be gone */
	uint64_t id;
	uint32_t kind, state, why;
	bool bound;
	char name[16];
	const void *what;
	int fd;
	cogo_time waited;	/* ns; -1: not known, or does not wait */
	cogo_time deadline;	/* of the wait; COGO_FOREVER: none */
	uint64_t wait;		/* the claim word: has it moved between two? */
	int tid;		/* kernel thread it is bound to, or 0 */
	struct worker *worker;	/* that ran it last, or NULL */
	size_t stack_asked;	/* bytes the program asked for, 0: a thread */
	size_t stack_deep;	/* its frames, 0: unknown */
	size_t stack_touched;	/* bytes of memory behind it */
	struct backtrace trace;	/* depth 0: none */
};

/* Begins to compare the processor's counter with the clock. Once, early. */
void census_init(void);

enum census_result {
	CENSUS_NOBODY,	/* nothing lives in that object, or the runtime */
	CENSUS_TAKEN,
	CENSUS_OWED,	/* as TAKEN, and the caller shall ready_new(c) */
};
/* What there is to know about c. walk: and where it stands, if it is suspended
 * or sleeps in the kernel by way of the runtime. */
enum census_result census_take(struct coro *c, bool walk,
			       struct census_entry *ret);

/* For an entry whose trace is empty and whose kernel thread is known: what it
 * does in the kernel. False if it runs. */
bool census_walk_thread(struct census_entry *e, int tid);

/* "waits to read (descriptor 5) for 1.2 s", "is ready to run", … */
size_t census_sentence(const struct census_entry *e, char *buf, size_t size);

/* Bytes of a stack that have memory behind them. */
size_t census_touched(const struct stack *s);

/* Nanoseconds from an earlier arch_cycles() to now. */
cogo_time census_since(uint64_t cycles);

/* "12 KiB", "1.5 s": short, for people. buf of 32 bytes; returns buf. */
const char *census_bytes(uint64_t n, char *buf);
const char *census_time(cogo_time ns, char *buf);

#endif
