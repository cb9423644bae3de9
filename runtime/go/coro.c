/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/coro.c - coroutines of the native API: made, waited for, at their end.
 *
 * A handle (wait/native.h) and its coroutine are two objects, because they end at
 * different times: the coroutine's goes with its stack to the next one at once,
 * the handle stays for whoever holds it. What one does to another it does by the
 * handle, under its lock, and finds there that the other is gone. */
#include "cogo/go.h"
#include "arch/tp.h"
#include "base/conf.h"
#include "base/sys.h"
#include "coro/local.h"
#include "fault/cancel.h"
#include "fault/signal.h"
#include "fault/unwind.h"
#include "go.h"
#include "go/scope.h"
#include "sched/block.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include "wait/native.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_STACK	((size_t)256 << 10)
#define LAST_LOOK	10000000	/* ns */
#define DESTROY_TRIES	64	/* destructors that do not return */
#define MAKES_IN_A_ROW	64
#define ALL_FLAGS	(COGO_SHARED_TLS | COGO_RUN_FIRST | COGO_BOUND | \
			 COGO_UNWINDS | COGO_INHERITS)

struct go_lent go_lent;

/* The end */

static const char how_of[] = {
	[UNWIND_NOT] = COGO_RETURNED,
	[UNWIND_EXIT] = COGO_RETURNED,
	[UNWIND_CANCELED] = COGO_CANCELED,
	[UNWIND_PANIC] = COGO_PANICKED,
};

static void write_end(struct cogo_coro *n, struct unwind *u, char *trace)
{
	n->how = how_of[u->why];
	n->message = u->message;
	n->trace = trace;
	atomic_store_explicit(&n->owed, u->why == UNWIND_PANIC,
			      memory_order_relaxed);
	n->coro = NULL;
}

/* Whoever waits learns of it; the coroutine's object is nobody's any more. A fence of
 * all kinds. True: and the coroutine's reference is dropped. */
static bool publish(struct cogo_coro *n, struct unwind *u, char *trace)
{
	struct coro_list woken = { 0 };

	/* A scope finds its children without a reference. */
	if (!n->child) {
		if (how_of[u->why] == COGO_RETURNED && !u->message && !trace &&
		    native_end_unwatched(n)) {
			arch_fence_after_rmw();
			return true;
		}
		/* Nobody else has it who could make another. acquire: who dropped
		 * the last one has done with it. */
		if ((atomic_load_explicit(&n->refs, memory_order_acquire) &
		     NATIVE_REFS) == 1) {
			write_end(n, u, trace);
			atomic_thread_fence(memory_order_seq_cst);
			return false;
		}
	}
	lock(&n->lock);
	write_end(n, u, trace);
	/* release: V2. */
	atomic_store_explicit(&n->ended, 1, memory_order_release);
	waitq_claim_all(&n->waiters, 0, &woken);
	unlock(&n->lock);
	arch_fence_after_rmw();
	ready_all(&woken);
	return false;
}

void go_destroy(struct coro *me)
{
	/* Nothing that may have destructors, nor robust locks, which bind. */
	if (!me->tp && !me->local && !me->specific && !me->bound)
		return;
	/* What destructors wait for is waited for. */
	atomic_fetch_or_explicit(&me->cancel, CANCEL_EXITING,
				 memory_order_relaxed);
	if (me->local)
		local_end(me);
	go_lent.thread_ends(me);
	/* A thread_local object's destructor may have set some again. */
	if (unlikely(me->local != NULL))
		local_end(me);
}

/* Up to the first that does not return: false then. */
static bool destroy(struct coro *me, struct unwind *v)
{
	if (_setjmp(v->end))
		return false;
	go_destroy(me);
	return true;
}

/* One that panics or exits ends itself alone: each is taken off before it runs, so
 * whoever begins anew finds the next. */
static COLD SANITIZE_IN_PLACE void destroy_rest(struct coro *me, struct unwind *u)
{
	bool done = false;

	for (int i = 0; !done && i < DESTROY_TRIES; i++) {
		struct unwind v;

		unwind_begin(me, &v);
		v.lent = u->lent;
		done = destroy(me, &v);
		unwind_end(me, &v);
		if (v.why == UNWIND_PANIC && u->why != UNWIND_PANIC) {
			u->why = UNWIND_PANIC;
			u->message = v.message;
			u->trace = v.trace;
		} else {
			free(v.message);
			free(v.trace);
		}
	}
}

void go_ended(struct coro *me, struct unwind *u)
{
	struct cogo_coro *n;
	char *trace = NULL;
	sigbits shut;

	if (unlikely(u->why != UNWIND_NOT))
		destroy_rest(me, u);
	if (unlikely(u->trace)) {
		trace = go_write_trace(u->trace);
		free(u->trace);
	}
	if (me->tp)
		tls_free_specific(me->tp);
	/* From here on nothing of the program's runs on this coroutine. */
	door_enter(me);
	shut = signal_shut(me);
	n = me->user;
	if (n) {
		me->user = NULL;
		if (!publish(n, u, trace)) {
			if (n->child)
				scope_child_ended(n);
			native_unref(n);
		}
	} else {
		free(u->message);
		free(trace);
		atomic_thread_fence(memory_order_seq_cst);
	}
	signal_end(me, shut);
}

void go_thread_ends(struct coro *me)
{
	local_end(me);
}

void go_thread_ended(struct coro *me, bool stays)
{
	struct unwind u = { .why = UNWIND_NOT };
	struct cogo_coro *n = me->user;

	door_enter(me);
	if (n) {
		me->user = NULL;
		if (!publish(n, &u, NULL))
			native_unref(n);
	}
	if (stays) {
		door_leave(me);
		return;
	}
	signal_end(me, signal_shut(me));	/* which is a fence */
	coro_put_thread(me);
}

/* The child of a fork is the coroutine's that forked, and ends with it; but others
 * that it has made go on, as threads would. */
static void end_process(struct coro *me)
{
	while (coro_live())
		park_until(me, WHY_NOTHING, sys_now() + LAST_LOOK);
	door_leave(me);
	exit(0);
}

static SANITIZE_IN_PLACE void run(void *arg)
{
	struct cogo_coro *n = arg;
	struct coro *me = n->coro;
	struct unwind u;

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0) {
		n->fn(n->arg);
		go_destroy(me);
	}
	unwind_end(me, &u);
	go_ended(me, &u);
	if (unlikely(me->kind == CORO_KIND_THREAD))
		end_process(me);
}

static void run_bound(void *arg)
{
	struct coro *me = ((struct cogo_coro *)arg)->coro;

	door_enter(me);
	block_bind(me);
	door_leave(me);
	run(arg);
	door_enter(me);
	block_unbind(me);
	door_leave(me);
}

/* The beginning */

static int check(const struct cogo_attr *attr)
{
	return attr->flags & ~ALL_FLAGS ||
	       (attr->stack && (attr->stack < CONF_MIN_STACK ||
				attr->stack > CONF_MAX_STACK)) ? -EINVAL : 0;
}

/* Who makes others without end has lost its slot: it lays them out itself, or they
 * would be made faster than they can begin. */
static bool goes_on_soon(const struct coro *me)
{
	return me->worker && atomic_load_explicit(&me->worker->slot,
						  memory_order_relaxed);
}

static const char *name_for(const struct cogo_attr *attr, const struct coro *maker)
{
	return attr->name ? attr->name : maker->name;
}

static int make(const struct cogo_attr *attr, struct coro *me,
		struct coro **ret)
{
	struct coro_attr a = {
		.stack_size = attr->stack ? attr->stack :
			      conf.stack ? conf.stack : DEFAULT_STACK,
		.guard_size = PAGE_SIZE,
		.shared_tls = attr->flags & COGO_SHARED_TLS,
		.late = goes_on_soon(me),
		.name = name_for(attr, me),
	};
	int r = go_make(&a, attr->flags & COGO_BOUND ? run_bound : run, NULL, ret);

	if (r)
		return r;
	(*ret)->sigmask = signal_mask(me);
	if (unlikely(go_contains(me)))
		(*ret)->contains = true;
	if (attr->flags & COGO_UNWINDS)
		atomic_store_explicit(&(*ret)->cancel, CANCEL_UNWINDS,
				      memory_order_relaxed);
	return 0;
}

struct inheritance {
	struct coro *to;
	int result;
};

static void inherit(const struct local_key *key, void *value, void *arg)
{
	struct inheritance *i = arg;

	if (!key->inherit || i->result)
		return;
	value = key->inherit(value);
	i->result = local_set(i->to, key, value);
	if (i->result && key->destroy)
		key->destroy(value);
}

/* go_make's other half, for one that is not to be after all. Values it was given
 * are destroyed, by functions of the program's. */
static void unmake(struct coro *me, struct coro *c)
{
	struct cogo_coro *n = c->user;

	if (c->local) {
		door_leave(me);
		local_end(c);
		door_enter(me);
	}
	if (n) {
		c->user = NULL;
		native_unref(n);
	}
	atomic_store_explicit(&c->state, CORO_DONE, memory_order_relaxed);
	go_unref(c);
}

/* Who makes many lets those before run now and then. What ends meanwhile leaves its
 * memory to the next, warm; what goes on to wait has begun; and nobody has to come
 * and take a crowd from a maker that never waits. Not out of a function of the
 * runtime's own. */
static bool made_many(const struct coro *me)
{
	return !me->bound && me->in_runtime == 1 && me->stock &&
	       unlikely(atomic_load_explicit(&me->stock->made,
					     memory_order_relaxed) %
				MAKES_IN_A_ROW == 0);
}

/* Where a coroutine asks, it is, unless that is a child of vfork. */
static int start_runtime(void)
{
	const struct coro *me = self();

	return likely(me && me->worker && !me->vforked) ? 0 : go_lent.start();
}

int go_start(struct cogo_coro **ret, const struct cogo_attr *attr,
	     void (*fn)(void *), void *arg,
	     int (*before)(struct cogo_coro *n, void *arg), void *before_arg)
{
	static const struct cogo_attr plain;
	struct inheritance i = { 0 };
	struct cogo_coro *n;
	struct coro *me;
	int r;

	if (!attr)
		attr = &plain;
	r = check(attr);
	if (r == 0)
		r = start_runtime();
	if (r)
		return r;
	/* Now: a coroutine's stack may have no room for it. */
	unwind_prepare();
	me = door_in();
	if (!me)
		return -ENOMEM;
	r = make(attr, me, &i.to);
	if (r)
		goto out;
	n = native_new(i.to, *name_for(attr, me));
	if (!n) {
		r = -ENOMEM;
		goto unmake;
	}
	n->fn = fn;
	n->arg = arg;
	i.to->arg = n;
	if (attr->flags & COGO_INHERITS) {
		/* The program's functions. */
		door_leave(me);
		r = local_each(me, inherit, &i);
		door_enter(me);
		if (r == 0)
			r = i.result;
		if (r)
			goto unmake;
	}
	if (before) {
		r = before(n, before_arg);
		if (r)
			goto unmake;
	}
	if (ret) {
		/* Nobody else has one yet. */
		atomic_store_explicit(&n->refs, 2, memory_order_relaxed);
		*ret = n;
	}
	if (attr->flags & COGO_RUN_FIRST)
		park_for(me, i.to);
	else
		go_ready(i.to);
	if (made_many(me))
		park_yield(me);
	goto out;
unmake:
	unmake(me, i.to);
out:
	door_leave(me);
	return r;
}

int cogo_go(struct cogo_coro **ret, const struct cogo_attr *attr,
	    void (*fn)(void *), void *arg)
{
	return go_start(ret, attr, fn, arg, NULL, NULL);
}

/* References */

struct cogo_coro *go_handle(struct coro *me)
{
	struct cogo_coro *n = me->user;

	if (likely(n != NULL))
		return n;
	door_enter(me);
	/* A handler may have come just before, and asked too. */
	n = me->user ? me->user : native_new(me, true);
	door_leave(me);
	return n;
}

struct cogo_coro *cogo_self(void)
{
	struct coro *me = self_or_adopt();

	return me ? go_handle(me) : NULL;
}

struct cogo_coro *cogo_ref(struct cogo_coro *c)
{
	native_ref(c);
	return c;
}

void cogo_drop(struct cogo_coro *c)
{
	struct coro *me = c ? door_in() : NULL;

	if (c)
		native_unref(c);
	if (me)
		door_leave(me);
}

bool cogo_is_coroutine(void)
{
	struct coro *me = self();

	return me && me->kind == CORO_KIND_CORO;
}

uint64_t cogo_id(const struct cogo_coro *c)
{
	return c->id;
}

const char *cogo_name(const struct cogo_coro *c)
{
	return c->name;
}

void go_set_name(struct coro *me, const char *name)
{
	struct cogo_coro *n = me->user;

	memset(me->name, 0, sizeof(me->name));
	strncpy(me->name, name, sizeof(me->name) - 1);
	if (n)
		memcpy(n->name, me->name, sizeof(n->name));
}

void cogo_set_name(const char *name)
{
	struct coro *me = self_or_adopt();

	if (me && go_handle(me))
		go_set_name(me, name);
}

enum cogo_state cogo_state(struct cogo_coro *c)
{
	enum cogo_state s = COGO_ENDED;
	struct coro *me = door_in();

	if (native_lock(c)) {
		switch (atomic_load_explicit(&c->coro->state,
					     memory_order_relaxed)) {
		case CORO_NEW:
		case CORO_READY:
		case CORO_HELD_WAKING:
			s = COGO_READY;
			break;
		case CORO_RUNNING:
		case CORO_WAKING:
			s = COGO_RUNNING;
			break;
		default:
			s = COGO_PARKED;
		}
		unlock(&c->lock);
	}
	if (me)
		door_leave(me);
	return s;
}

/* Waiting for the end */

/* One wait: 0 when it has ended, -ESRCH, -ETIMEDOUT, -EINTR. */
static int wait_once(struct coro *me, struct cogo_coro *c, cogo_time deadline)
{
	struct waiter_node node = { .coro = me };
	enum wait_outcome how;

	if (!native_lock(c))
		return native_stayed_behind(c) ? -ESRCH : 0;
	node.ticket = wait_open(me);
	waitq_add(&c->waiters, &node);
	unlock(&c->lock);
	me->what = c;
	how = park(me, node.ticket, WHY_JOIN, deadline);
	if (how == WAIT_WOKEN)
		return 0;
	lock(&c->lock);
	waitq_del(&node);
	unlock(&c->lock);
	return how == WAIT_TIMED_OUT ? -ETIMEDOUT : -EINTR;
}

static void seen(struct cogo_coro *c)
{
	atomic_store_explicit(&c->owed, false, memory_order_relaxed);
}

int cogo_wait(struct cogo_coro *c, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0 && me->user == c)
		r = -EDEADLK;
	if (r == 0) {
		do
			r = wait_once(me, c, deadline);
		while (r == -EINTR && (r = cancel_interrupted(me, r)) == 0);
		if (r == 0)
			seen(c);
	}
	return cancel_out(me, r);
}

int cogo_join(struct cogo_coro *c)
{
	struct coro *me = door_in();
	int how;

	if (me && me->user == c) {
		door_leave(me);
		return -EDEADLK;
	}
	if (native_stayed_behind(c)) {
		if (me)
			door_leave(me);
		return -ESRCH;
	}
	/* Nothing but the end ends this; without memory for a descriptor it is
	 * looked for. */
	while (!native_has_ended(c)) {
		if (!me)
			sys_call(SYS_sched_yield);
		else if (wait_once(me, c, COGO_FOREVER) == -EINTR)
			cancel_interrupted(me, -EINTR);
	}
	seen(c);
	how = c->how;
	native_unref(c);
	if (me)
		door_leave(me);
	return how;
}

enum cogo_how cogo_how(struct cogo_coro *c)
{
	if (!native_has_ended(c))
		return COGO_RETURNED;
	seen(c);
	return (enum cogo_how)c->how;
}

const char *cogo_panic_message(struct cogo_coro *c)
{
	return native_has_ended(c) && c->message ? c->message : "";
}

const char *cogo_panic_trace(struct cogo_coro *c)
{
	return native_has_ended(c) && c->trace ? c->trace : "";
}

int cogo_cancel_reason(struct cogo_coro *c)
{
	return atomic_load_explicit(&c->reason, memory_order_acquire);
}
