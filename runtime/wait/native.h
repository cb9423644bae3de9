/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/native.h - what a handle of the native API points to.
 *
 * It outlives its coroutine, whose stack goes to the next one at once, for as
 * long as somebody holds a reference; the coroutine itself holds one until its
 * end. Adopted kernel threads get one when they first ask who they are.
 *
 * V1  coro is the coroutine until its end and NULL afterwards; it is written
 *     under lock, and whoever reads it for another (to kick it) holds lock as
 *     long as it uses it.
 * V2  ended is written under lock, after everything that tells how it ended.
 *     Who has seen it set reads those without a lock.
 * V3  most have nobody who waits for them or asks after them while they run, and
 *     nothing to tell but that they have returned. So whoever is about to take the
 *     lock for another first says so, in refs (WATCHED), once and for all. The end of
 *     one that nobody watches is a single step there, which says so (NATIVE_ENDED)
 *     and drops the coroutine's reference: either it fails, since somebody watches,
 *     and then the lock it is; or the watcher finds that it has ended, and does not
 *     look at coro, which is left as it was. Where the coroutine's is the last
 *     reference there is nobody to learn of it at all.
 * V4  in the child of a fork all but the one that forked have stayed behind: their
 *     handles are looked at as if they had ended. Those who wait for the one that
 *     forked have stayed behind too. */
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
	_Atomic uint32_t refs;		/* and the flags of V3 */
	struct lock lock;
	struct coro *coro;		/* V1, V3 */
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

#define NATIVE_REFS	0x3fffffffu
#define NATIVE_WATCHED	0x40000000u
#define NATIVE_ENDED	0x80000000u

/* V4, and it had not ended by then. */
static inline bool native_stayed_behind(const struct cogo_coro *n)
{
	return coro_stayed_behind(n->id) &&
	       !(atomic_load_explicit(&n->refs, memory_order_relaxed) & NATIVE_ENDED) &&
	       !atomic_load_explicit(&n->ended, memory_order_relaxed);
}

static inline bool native_has_ended(const struct cogo_coro *n)
{
	/* acquire: V2, V3. */
	return atomic_load_explicit(&n->refs, memory_order_acquire) & NATIVE_ENDED ||
	       atomic_load_explicit(&n->ended, memory_order_acquire) ||
	       native_stayed_behind(n);
}

/* Locks it for who looks at another's, or waits for its end. False, and it is not
 * locked: it has ended. */
static inline bool native_lock(struct cogo_coro *n)
{
	uint32_t refs = atomic_load_explicit(&n->refs, memory_order_relaxed);

	/* acq_rel: V3. */
	if (!(refs & NATIVE_WATCHED))
		refs = atomic_fetch_or_explicit(&n->refs, NATIVE_WATCHED,
						memory_order_acq_rel);
	if (native_has_ended(n))
		return false;
	lock(&n->lock);
	if (likely(!native_has_ended(n)))
		return true;
	unlock(&n->lock);
	return false;
}

/* Of one that has returned: true when that is told, and its reference dropped. */
static inline bool native_end_unwatched(struct cogo_coro *n)
{
	uint32_t refs = atomic_load_explicit(&n->refs, memory_order_relaxed);

	while (!(refs & NATIVE_WATCHED) && (refs & NATIVE_REFS) > 1)
		/* acq_rel: who sees it sees all the coroutine did. */
		if (atomic_compare_exchange_weak_explicit(
			    &n->refs, &refs, (refs - 1) | NATIVE_ENDED,
			    memory_order_acq_rel, memory_order_relaxed))
			return true;
	return false;
}

/* me's, which has none yet: NULL without memory. named: it has a name, which lies in a
 * line of the cache that is not looked at otherwise. Inside the runtime. */
struct cogo_coro *native_new(struct coro *me, bool named);

/* In the child of a fork, for the one that forked, or NULL: V4. */
void native_fork_child(struct coro *me);

void native_ref(struct cogo_coro *n);
/* The last reference frees it. */
void native_unref(struct cogo_coro *n);

#endif
