/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.h - making coroutines, from above the scheduler. */
#ifndef COGO_GO_H
#define COGO_GO_H

#include "coro/coro.h"

/* What the floors above lend: to start the runtime, and what belongs to the end of
 * a thread in libc. */
struct go_lent {
	/* 0 or -errno. Idempotent; any thread, not inside the runtime. */
	int (*start)(void);
	/* thread_local destructors and those of pthread keys, for the coroutine
	 * that calls and is about to end. Outside the runtime. */
	void (*thread_ends)(struct coro *me);
	/* pthread_exit, of a kernel thread. */
	void (*thread_exit)(void *result);
	void (*abort)(void);
};
extern struct go_lent go_lent;

/* A coroutine that will run fn(arg) and end when it returns; it does not run
 * before go_ready. 0, -EAGAIN or -ENOMEM. The runtime has been started. */
int go_make(const struct coro_attr *attr, void (*fn)(void *), void *arg,
	    struct coro **ret_coro);
void go_ready(struct coro *c);

/* Holds the object (not the stack) beyond the coroutine's end. */
void go_ref(struct coro *c);
void go_unref(struct coro *c);

/* Ends the coroutine that calls, from any depth of its stack. Its cleanups
 * have run. */
_Noreturn void go_exit(void);

/* Names the caller, and its handle if it has one; the first 15 bytes are kept. */
void go_set_name(struct coro *me, const char *name);

/* Nothing of the program's will run on the caller any more but destructors: these
 * run, and whoever waits for its end as a handle of the native API learns that it
 * has come. Outside the runtime. how: enum cogo_how. */
void go_ended(struct coro *me, int how);

/* Whether faults of those that this one makes are to become panics. */
bool go_contains(const struct coro *maker);

/* Begins a panic of the caller for a fault: see fault/contain.h. */
struct arch_regs;
void go_fault(struct coro *me, const char *message, const struct arch_regs *where);

/* A message for the panic that is about to begin; NULL: none. */
void go_note_panic(struct coro *me, const char *message);

#endif
