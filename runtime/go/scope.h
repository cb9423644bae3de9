/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/scope.h - a scope, as its children and the files beside see it. */
#ifndef COGO_GO_SCOPE_H
#define COGO_GO_SCOPE_H

#include "cogo/go.h"

/* The child's end has been published; it does not touch the scope after this.
 * Inside the runtime. */
void scope_child_ended(struct cogo_coro *n);

/* As cogo_go, but `before` is called with the handle before the coroutine can run;
 * unless it returns 0 there is none, and that is the result. It runs inside the
 * runtime. fn may be NULL where it sets another. */
int go_start(struct cogo_coro **ret, const struct cogo_attr *attr,
	     void (*fn)(void *), void *arg,
	     int (*before)(struct cogo_coro *n, void *arg), void *before_arg);

/* As cogo_cancel, inside the runtime. */
int go_cancel(struct cogo_coro *c, int reason);

/* Takes it off the list of what is to be done, without doing it. */
void go_defer_forget(struct cogo_deferred *d);

#endif
