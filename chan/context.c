/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/context.c - what a piece of work is part of.
 *
 * News travels down by itself, so that one who waits for the end of a leaf waits
 * for one channel and not for one of each ancestor. Deadlines need no messenger:
 * each context knows the soonest of its line from its birth, and its channel is
 * closed by the first to look at it after that (CHAN_END in chan.c).
 *
 * X1  who stands below whom is under the lock of the tree, which is its root's. A
 *     context holds a reference to its parent, so whoever has one below has the
 *     root.
 * X2  a context that is not to be found below its parent any more has no
 *     reference left; it is taken off under that lock, before its memory goes. So
 *     a walk under the lock meets none that is gone, though it may meet one that
 *     nobody holds.
 * X3  err is written once, under that lock, and done closed after it: who finds the
 *     channel closed finds the reason.
 * X4  a context whose deadline is over has ended for that reason, whether anybody
 *     has looked or not: a cancellation that comes later leaves it as it is.
 * X5  whoever joins a tree whose parent has ended is born with its end, under the
 *     lock: none is missed between its birth and its parent's end.
 *
 * In the child of a fork the lock is free, and somebody may have been in the middle of
 * joining or leaving; the first to lock a tree there sets it right (list_mend).
 *
 * The lock is held for as long as it takes to walk what is below; who has ten
 * thousand there pays for them, and his tree alone waits. */
#include "cogo/context.h"
#include "chan/chan.h"
#include "base/fatal.h"
#include "fault/door.h"
#include "sched/ready.h"
#include <errno.h>
#include <stdlib.h>

struct cogo_ctx {
	_Atomic uint32_t refs;
	_Atomic int err;		/* X3 */
	struct cogo_ctx *parent;	/* a reference; NULL: a root */
	struct cogo_ctx *root;
	struct list below;		/* under root->lock */
	struct list sibling;		/* in parent's below */
	struct lock lock;		/* a root's alone, as is the next */
	uint32_t process;		/* lock_held; under the lock */
	struct cogo_chan *done;
	cogo_time deadline;		/* constant; of the whole line */
	const void *key;
	void *value;
};

/* ---- the lock of the tree ---- */

/* The one that comes after ctx in the tree below top, from top to bottom; NULL at
 * the end. With no stack: a tree may be as deep as it likes. */
static struct cogo_ctx *after(struct cogo_ctx *ctx, struct cogo_ctx *top,
			      bool down)
{
	struct list *next = down ? list_first(&ctx->below) : NULL;

	while (!next && ctx != top) {
		next = ctx->sibling.next;
		ctx = ctx->parent;
		if (next == &ctx->below)
			next = NULL;
	}
	return next ? list_entry(next, struct cogo_ctx, sibling) : NULL;
}

static COLD void inherit(struct cogo_ctx *root)
{
	for (struct cogo_ctx *c = root; c; c = after(c, root, true))
		list_mend(&c->below);
	root->process = lock_held;
}

static void lock_tree(struct cogo_ctx *root)
{
	lock(&root->lock);
	if (unlikely(root->process != lock_held))
		inherit(root);
}

/* ---- make and end ---- */

/* Under the lock of the tree, and so is everything that ends one. */
static void join(struct cogo_ctx *ctx, struct cogo_ctx *parent)
{
	int err = atomic_load_explicit(&parent->err, memory_order_relaxed);

	list_add_tail(&parent->below, &ctx->sibling);
	/* Nobody knows the channel yet. */
	if (err) {
		atomic_store_explicit(&ctx->err, err, memory_order_relaxed);
		ctx->done->closed = true;
	}
}

static struct cogo_ctx *make(struct cogo_ctx *parent, cogo_time deadline)
{
	struct cogo_ctx *ctx = calloc(1, sizeof(*ctx));
	struct coro *me = ctx ? door_in() : NULL;

	if (!me)
		goto free_ctx;
	door_leave(me);
	if (parent)
		deadline = sooner(deadline, parent->deadline);
	ctx->done = chan_new_timed(CHAN_END, deadline);
	if (!ctx->done)
		goto free_ctx;
	atomic_store_explicit(&ctx->refs, 1, memory_order_relaxed);
	ctx->deadline = deadline;
	ctx->root = parent ? parent->root : ctx;
	ctx->process = lock_held;
	ctx->parent = cogo_ctx_ref(parent);
	if (parent) {
		door_enter(me);
		lock_tree(ctx->root);
		join(ctx, parent);
		unlock(&ctx->root->lock);
		door_leave(me);
	}
	return ctx;
free_ctx:
	free(ctx);
	return NULL;
}

struct cogo_ctx *cogo_ctx_new(struct cogo_ctx *parent)
{
	return make(parent, COGO_FOREVER);
}

struct cogo_ctx *cogo_ctx_until(struct cogo_ctx *parent, cogo_time deadline)
{
	return make(parent, deadline);
}

struct cogo_ctx *cogo_ctx_with(struct cogo_ctx *parent, const void *key,
			       void *value)
{
	struct cogo_ctx *ctx = make(parent, COGO_FOREVER);

	/* Nobody else knows it yet: those who walk down look at no values. */
	if (ctx) {
		ctx->key = key;
		ctx->value = value;
	}
	return ctx;
}

struct cogo_ctx *cogo_ctx_ref(struct cogo_ctx *ctx)
{
	if (ctx)
		atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

/* Off its parent (X2). A root has nobody to leave. */
static void part(struct cogo_ctx *ctx)
{
	struct coro *me;

	if (!ctx->parent)
		return;
	/* It has been in before: whoever gives the last reference back on a
	 * kernel thread that is new here, and for which there is no memory,
	 * takes the lock with handlers running. */
	me = door_in();
	lock_tree(ctx->root);
	list_del(&ctx->sibling);
	unlock(&ctx->root->lock);
	if (me)
		door_leave(me);
}

void cogo_ctx_free(struct cogo_ctx *ctx)
{
	struct cogo_ctx *parent;

	/* A chain that goes is as long as it is: no recursion. acq_rel: the last
	 * one sees what all others did. */
	while (ctx && atomic_fetch_sub_explicit(&ctx->refs, 1,
						memory_order_acq_rel) == 1) {
		parent = ctx->parent;
		part(ctx);
		cogo_chan_free(ctx->done);
		free(ctx);
		ctx = parent;
	}
}

/* ---- ask ---- */

struct cogo_chan *cogo_ctx_done(struct cogo_ctx *ctx)
{
	return ctx->done;
}

int cogo_ctx_err(struct cogo_ctx *ctx)
{
	/* acquire: what was done before the cancellation is seen. */
	int err = atomic_load_explicit(&ctx->err, memory_order_acquire);

	return err ? err : time_over(ctx->deadline) ? -ETIMEDOUT : 0;
}

cogo_time cogo_ctx_deadline(const struct cogo_ctx *ctx)
{
	return ctx->deadline;
}

void *cogo_ctx_value(const struct cogo_ctx *ctx, const void *key)
{
	for (; ctx; ctx = ctx->parent)
		if (ctx->key == key && key)
			return ctx->value;
	return NULL;
}

/* ---- cancel ---- */

/* Under the lock of the tree. False if it has ended already; then so has all that
 * is below it, or will be found to have by whoever looks (X4). */
static bool end_one(struct cogo_ctx *ctx, int reason, struct coro_list *woken)
{
	bool late = time_over(ctx->deadline);

	if (atomic_load_explicit(&ctx->err, memory_order_relaxed))
		return false;
	if (late)
		reason = -ETIMEDOUT;
	/* release: pairs with the acquire in cogo_ctx_err. */
	atomic_store_explicit(&ctx->err, reason, memory_order_release);
	chan_lock(ctx->done);
	chan_close(ctx->done, woken);
	unlock(&ctx->done->lock);
	return !late;
}

bool cogo_ctx_cancel(struct cogo_ctx *ctx, int reason)
{
	struct coro_list woken = { 0 };
	struct coro *me = door_in();
	bool first, ended;

	/* As with cogo_chan_close: others would wait for ever. */
	if (reason >= 0)
		cogo_throw("context %p: the reason %d is no error", (void *)ctx,
			   reason);
	lock_tree(ctx->root);
	first = ended = end_one(ctx, reason, &woken);
	for (struct cogo_ctx *c = ctx; (c = after(c, ctx, ended));)
		ended = end_one(c, reason, &woken);
	unlock(&ctx->root->lock);
	ready_all(&woken);
	if (me)
		door_leave(me);
	return first;
}
