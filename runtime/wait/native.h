/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/native.h - what a handle of the native API points to.
 *
 * It outlives its coroutine, whose stack goes to the next one at once, for as
 * long as somebody holds a reference; the coroutine itself holds one until its
 * end. Adopted kernel threads get one when they first ask who they are.
 *
 * V1  coro is the coroutine until its end and NULL afterwards; it is written
 *     under lock, and whoever reads it for another (to kick it) holds lock as
 *     long as it uses it. Where the coroutine's is the last reference there is
 *     nobody to do so, and its end takes no lock.
 * V2  ended is written under lock, after everything that tells how it ended.
 *     Who has seen it set reads those without a lock. */
#ifndef COGO_WAIT_NATIVE_H
#define COGO_WAIT_NATIVE_H

#include "base/lock.h"
#include "coro/coro.h"
#include "wait/waitq.h"

struct scope_child;

/* What its maker writes lies in the first line of the cache; a dead one is left with
 * zeros in the rest. */
struct cogo_coro {
	struct cogo_coro *free;		/* slab link */
	_Atomic uint32_t refs;
	struct lock lock;
	struct coro *coro;		/* V1 */
	uint64_t id;
	void (*fn)(void *);
	void *arg;
	struct waitq waiters;		/* for the end; under lock */

	_Atomic uint32_t ended;		/* V2 */
	int how;			/* enum cogo_how */
	_Atomic bool owed;		/* a panic that nobody has looked at */
	_Atomic uint32_t token;		/* unpark's; its parker is in the lot */
	_Atomic int32_t reason;		/* of its cancellation */
	char *message, *trace;		/* of a panic; malloc, or NULL */
	char name[16];
	struct scope_child *child;	/* if it is one: see go/scope.c; or NULL */
};

/* The caller's own, made now if it has none: NULL without memory. */
struct cogo_coro *native_of(struct coro *me);
/* The same, for one that has none. named: it has a name, which lies in a line of the
 * cache that is not looked at otherwise. */
struct cogo_coro *native_new(struct coro *me, bool named);

void native_ref(struct cogo_coro *n);
/* The last reference frees it. */
void native_unref(struct cogo_coro *n);

#endif
