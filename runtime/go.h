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
	/* 0, or -EBUSY while a coroutine is left. A kernel thread. */
	int (*stop)(void);
};
extern struct go_lent go_lent;

struct cogo_coro;

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

/* The caller's own handle, made now if it has none; NULL without memory. */
struct cogo_coro *go_handle(struct coro *me);

/* Names the caller, and its handle if it has one; the first 15 bytes are kept. */
void go_set_name(struct coro *me, const char *name);

/* The caller's function has returned: the destructors of what it has of its own, in
 * its outermost base still. Outside the runtime. */
void go_destroy(struct coro *me);

/* Nothing of the program's will run on the caller any more but those of its
 * destructors that a walk to its outermost base has left over: these run, and
 * whoever waits for its end as a handle of the native API learns that it has come.
 * Outside the runtime. u: that base, which has been ended; what a panic has left
 * with it is taken, and a destructor's panic becomes its own. The caller is in the
 * runtime afterwards, and if it is a coroutine stays there. */
struct unwind;
void go_ended(struct coro *me, struct unwind *u);

/* A kernel thread's end, on it: the destructors of what it has of its own, and at
 * last it is an end that others learn of, and the descriptor goes. stays: it does
 * not, since the process's first thread is known by it for good. */
void go_thread_ends(struct coro *me);
void go_thread_ended(struct coro *me, bool stays);

/* Whether faults of those that this one makes are to become panics. */
bool go_contains(const struct coro *maker);

/* Begins a panic of the caller for a fault: see fault/contain.h. */
struct arch_regs;
struct backtrace;
_Noreturn void go_fault(struct coro *me, const char *message,
			const struct arch_regs *where);

/* As cogo_panic_trace shows it, from malloc; or NULL. Outside the runtime. */
char *go_write_trace(const struct backtrace *trace);

/* A panic of the caller, which has a base, from the midst of what cannot be gone
 * on with: abort. Outside the runtime. */
_Noreturn void go_give_up(struct coro *me, const char *message);

#endif
