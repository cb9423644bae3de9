/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/bigstack.c - room for code that was written for large stacks. */
#include "hook/bigstack.h"
#include "arch/context.h"
#include "hook/gate.h"
#include "mem/slab.h"
#include "mem/stack.h"

#define ROOM	(128 << 10)	/* enough to stay where one is */
#define SIZE	(1 << 20)
#define KEEP	(64 << 10)	/* pages that stay with a stack in the pool */

struct big {
	struct big *next;	/* in the pool, or the slab's link */
	struct stack stack;
};

static struct slab bigs = SLAB_INIT(struct big, next);
static struct big *pool;	/* under pool_lock */
static struct lock pool_lock;

bool bigstack_needed(void)
{
	const char *here = __builtin_frame_address(0);
	struct coro *me = self();
	const struct stack *s = me ? coro_stack(me) : NULL;

	/* A kernel thread has what libc or the program gave it. */
	if (!s || !s->low)
		return false;
	/* On memory of the program's own (pthread_attr_setstack, makecontext)
	 * or on a borrowed stack already: how much is left is not known. */
	if (here < s->low || here >= s->top)
		return true;
	return here - (s->low + s->guard) < ROOM;
}

static struct big *borrow(struct coro *me)
{
	struct big *b;

	door_enter(me);
	lock(&pool_lock);
	b = pool;
	if (b)
		pool = b->next;
	unlock(&pool_lock);
	if (b)
		goto out;
	b = slab_get(&bigs);
	if (b && stack_make(SIZE, PAGE_SIZE, &b->stack)) {
		slab_put(&bigs, b);
		b = NULL;
	}
out:
	door_leave(me);
	return b;
}

static void give_back(struct coro *me, struct big *b)
{
	door_enter(me);
	stack_trim(&b->stack, b->stack.top - KEEP);
	lock(&pool_lock);
	b->next = pool;
	pool = b;
	unlock(&pool_lock);
	door_leave(me);
}

long bigstack_call(long (*fn)(void *), void *arg)
{
	struct coro *me = self();
	struct big *b = bigstack_needed() ? borrow(me) : NULL;
	long r;

	if (!b)
		return fn(arg);
	r = arch_call_on(b->stack.top, fn, arg);
	give_back(me, b);
	return r;
}
