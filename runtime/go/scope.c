/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/scope.c - coroutines that do not outlive the block they were made in.
 *
 * P1  a child is on the list from before it can run until it has ended, and
 *     `running` counts the list; both change under the lock, and running under
 *     that of its bucket in the lot as well, where those stand who wait for it to
 *     go down.
 * P2  a child's last touch of the scope is to count itself out, under the bucket's
 *     lock. Who has seen 0 there may take the scope away.
 * P3  failure is written once, by the first, under the lock, and by then no child
 *     can be made any more: whoever cancels the children finds all of them on the
 *     list.
 * P4  in the child of a fork there are none but the one that forked, if it is one. The
 *     first to look at the scope there sees that the process is another, and sets
 *     the list right, which somebody may have been in the middle of changing. */
#include "cogo/scope.h"
#include "base/sys.h"
#include "fault/cancel.h"
#include "fault/unwind.h"
#include "go.h"
#include "go/scope.h"
#include "mem/slab.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include "wait/native.h"
#include <stdlib.h>
#include <string.h>

struct scope {
	struct cogo_deferred leave;
	struct lock lock;
	_Atomic uint32_t running;	/* P1 */
	struct list children;		/* P1 */
	uint32_t limit;
	int failure;			/* under lock; 0: none. P3 */
	uint32_t walks;			/* of its base, when it began */
	uint32_t process;		/* lock_held, under lock: P4 */
	bool managed, ended;
	char message[72];		/* of the panic that was the failure */
};
_Static_assert(sizeof(struct scope) <= sizeof(struct cogo_scope),
	       "the public structure has room");

/* What a coroutine has as a child: from when it is made until it has ended. */
struct scope_child {
	struct list sibling;		/* P1 */
	struct cogo_coro *handle;
	struct scope *scope;
	int (*task)(void *);
	void *arg;
	int status;			/* what the task returned */
};

static struct slab children = SLAB_INIT(struct scope_child, handle);

/* P4. */
static COLD void inherit(struct scope *s)
{
	struct coro *me = door_in();
	struct cogo_coro *n = me ? me->user : NULL;

	lock(&s->lock);
	if (s->process != lock_held) {
		s->children = (struct list){ 0 };
		if (n && n->child && n->child->scope == s)
			list_add_tail(&s->children, &n->child->sibling);
		atomic_store_explicit(&s->running, !list_empty(&s->children),
				      memory_order_relaxed);
		write_once(s->process, lock_held);
	}
	unlock(&s->lock);
	if (me)
		door_leave(me);
}

static struct scope *ours(struct scope *s)
{
	if (unlikely(read_once(s->process) != lock_held))
		inherit(s);
	return s;
}

static struct scope *inner(struct cogo_scope *s)
{
	return ours((struct scope *)s);
}

/* Cancels all children, and refuses more. Inside the runtime. */
static void fail(struct scope *s, int failure, const char *message)
{
	lock(&s->lock);
	if (s->failure == 0) {
		s->failure = failure;
		if (message)
			strncpy(s->message, message, sizeof(s->message) - 1);
		list_for_each_safe(pos, tmp, &s->children)
			go_cancel(list_entry(pos, struct scope_child, sibling)->handle,
				  -failure);
	}
	unlock(&s->lock);
}

/* The children */

static struct scope_child *get_child(void)
{
	struct coro_stock *stock = coro_own_stock();

	return stock ? slab_stock_get(&children, &stock->children)
		     : slab_get(&children);
}

static void put_child(struct scope_child *c)
{
	struct coro_stock *stock = coro_own_stock();

	if (stock)
		slab_stock_put(&children, &stock->children, c);
	else
		slab_put(&children, c);
}

static void run(void *arg)
{
	struct scope_child *c = arg;

	c->status = c->task(c->arg);
}

/* P2. Inside the runtime. */
static void count_out(struct scope *s)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(&s->running);

	/* release: who sees it go down sees the child's work. */
	atomic_fetch_sub_explicit(&s->running, 1, memory_order_release);
	lot_claim(b, &s->running, UINT32_MAX, INT32_MAX, &woken);
	lot_unlock(b);
	ready_all(&woken);
}

void scope_child_ended(struct cogo_coro *n)
{
	struct scope_child *c = n->child;
	struct scope *s = ours(c->scope);

	atomic_store_explicit(&n->owed, false, memory_order_relaxed);
	if (n->how == COGO_PANICKED)
		fail(s, -ECHILD, n->message ? n->message : "panic");
	else if (c->status != 0)
		fail(s, c->status, NULL);
	lock(&s->lock);
	list_del(&c->sibling);
	unlock(&s->lock);
	n->child = NULL;
	put_child(c);
	count_out(s);
}

/* What no call returns: the system has an -EAGAIN of its own. */
#define AT_LIMIT 1

/* Enters a child: 0, -ECANCELED, or AT_LIMIT. */
static int enter(struct scope *s, struct scope_child *c)
{
	int r = 0;

	lock(&s->lock);
	if (s->failure)
		r = -ECANCELED;
	else if (s->limit && atomic_load_explicit(&s->running,
						  memory_order_relaxed) >= s->limit)
		r = AT_LIMIT;
	if (r == 0) {
		list_add_tail(&s->children, &c->sibling);
		atomic_fetch_add_explicit(&s->running, 1, memory_order_relaxed);
	}
	unlock(&s->lock);
	return r;
}

struct entry {
	struct scope *s;
	int (*fn)(void *);
	void *arg;
};

/* Between making the child and letting it run. */
static int adopt(struct cogo_coro *n, void *arg)
{
	struct entry *e = arg;
	struct scope_child *c = get_child();
	int r;

	if (!c)
		return -ENOMEM;
	c->handle = n;
	c->scope = e->s;
	c->task = e->fn;
	c->arg = e->arg;
	c->status = 0;
	n->fn = run;
	n->arg = c;
	r = enter(e->s, c);
	if (r)
		put_child(c);
	else
		n->child = c;
	return r;
}

static int try_go(struct cogo_scope *scope, const struct cogo_attr *attr,
		  int (*fn)(void *), void *arg)
{
	struct entry e = { inner(scope), fn, arg };
	struct coro *me = self();

	if (me && cancel_wanted(me))
		return cancel_ends(me, -ECANCELED);
	return go_start(NULL, attr, NULL, NULL, adopt, &e);
}

int cogo_scope_try_go(struct cogo_scope *scope, const struct cogo_attr *attr,
		      int (*fn)(void *), void *arg)
{
	int r = try_go(scope, attr, fn, arg);

	return r == AT_LIMIT ? -EAGAIN : r;
}

/* Until there are fewer than `below`: 0, -ETIMEDOUT, -EINTR. */
static int wait_below(struct scope *s, uint32_t below, cogo_time deadline)
{
	struct lot_bucket *b = lot_lock(&ours(s)->running);

	/* acquire: pairs with the release in count_out. */
	if (atomic_load_explicit(&s->running, memory_order_acquire) < below) {
		lot_unlock(b);
		return 0;
	}
	return lot_park(b, &s->running, 1, deadline, WHY_JOIN);
}

static int wait_until_below(struct scope *s, uint32_t below, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	while (r == 0 && atomic_load_explicit(&s->running, memory_order_acquire) >=
				 below)
		r = cancel_interrupted(me, wait_below(s, below, deadline));
	return cancel_out(me, r);
}

/* A child that could not be made would be missed by nobody who does not look at
 * what cogo_scope_go returns. */
static COLD void lose(struct scope *s, int r)
{
	struct coro *me = door_in();

	fail(s, r, NULL);
	if (me)
		door_leave(me);
}

int cogo_scope_go(struct cogo_scope *scope, const struct cogo_attr *attr,
		  int (*fn)(void *), void *arg)
{
	int r;

	while ((r = try_go(scope, attr, fn, arg)) == AT_LIMIT) {
		r = wait_until_below(inner(scope), inner(scope)->limit,
				     COGO_FOREVER);
		if (r)
			break;
	}
	if (r && r != -ECANCELED)
		lose(inner(scope), r);
	return r;
}

/* The scope */

static void leave(void *arg)
{
	cogo_scope_cancel(arg, ECANCELED);
	cogo_scope_end(arg);
}

/* How often the caller has been on its way out, since the innermost base. */
static uint32_t walks(void)
{
	struct coro *me = self();

	return me && me->unwind ? me->unwind->walks : 0;
}

void cogo_scope_begin(struct cogo_scope *scope)
{
	struct scope *s = (struct scope *)scope;

	memset(s, 0, sizeof(*s));
	s->process = lock_held;
	s->leave.fn = leave;
	s->leave.arg = scope;
	s->walks = walks();
	cogo_defer_begin(&s->leave);
}

void cogo_scope_limit(struct cogo_scope *scope, unsigned most)
{
	inner(scope)->limit = most;
}

void cogo_scope_manage(struct cogo_scope *scope)
{
	inner(scope)->managed = true;
}

void cogo_scope_cancel(struct cogo_scope *scope, int reason)
{
	struct coro *me = door_in();

	fail(inner(scope), reason > 0 ? -reason : -ECANCELED, NULL);
	if (me)
		door_leave(me);
}

unsigned cogo_scope_children(struct cogo_scope *scope)
{
	return atomic_load_explicit(&inner(scope)->running, memory_order_acquire);
}

int cogo_scope_wait(struct cogo_scope *scope, cogo_time deadline)
{
	return wait_until_below(inner(scope), 1, deadline);
}

/* Waits for all, and tells them if the caller is cancelled. */
static void wait_for_all(struct scope *s)
{
	struct coro *me = door_in();

	for (;;) {
		int r;

		if (me && cancel_wanted(me))
			fail(s, -ECANCELED, NULL);
		if (!me) {	/* no memory: look again and again */
			if (cogo_scope_children((struct cogo_scope *)s) == 0)
				break;
			sys_call(SYS_sched_yield);
			continue;
		}
		r = wait_below(s, 1, COGO_FOREVER);
		if (r == 0 && cogo_scope_children((struct cogo_scope *)s) == 0)
			break;
		cancel_interrupted(me, r);
	}
	if (me)
		door_leave(me);
}

int cogo_scope_end(struct cogo_scope *scope)
{
	struct scope *s = inner(scope);

	if (s->ended)
		return s->failure;
	if (s->managed && cogo_scope_children(scope)) {
		/* That they were cancelled then is no failure. */
		bool failed = s->failure != 0;

		cogo_scope_cancel(scope, ECANCELED);
		wait_for_all(s);
		if (!failed && s->failure == -ECANCELED)
			s->failure = 0;
	} else {
		wait_for_all(s);
	}
	s->ended = true;
	go_defer_forget(&s->leave);
	return s->failure;
}

const char *cogo_scope_message(const struct cogo_scope *scope)
{
	return ((const struct scope *)scope)->message;
}

struct cogo_scope *cogo_scope_block_begin(struct cogo_scope_block *b)
{
	b->done = 1;
	cogo_scope_begin(&b->scope);
	return &b->scope;
}

/* Left early or not, by whatever way: waits for those that there are. */
void cogo_scope_block_end(struct cogo_scope_block *b)
{
	int r;

	/* Out of a frame with notes, on the walk of a panic: that comes before
	 * what has been registered, and is to the same end. */
	if (walks() != inner(&b->scope)->walks)
		cogo_scope_cancel(&b->scope, ECANCELED);
	r = cogo_scope_end(&b->scope);
	if (b->result)
		*b->result = r;
}
