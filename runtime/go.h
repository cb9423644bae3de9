/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.h - making coroutines, from above the scheduler. */
#ifndef COGO_GO_H
#define COGO_GO_H

#include "coro/coro.h"

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

#endif
