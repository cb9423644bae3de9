/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.c - making coroutines, from above the scheduler. */
#include "go.h"
#include "cogo.h"
#include "coro/self.h"
#include "fault/door.h"
#include "mem/tls.h"
#include "sched/park.h"
#include "sched/ready.h"

/* The bottom frame of every coroutine. c->entry and c->arg are fn and its
 * argument; the context itself begins here with the coroutine. */
static SANITIZE_ENDS void first_frame(void *arg)
{
	struct coro *me = arg;

	park_begin(me);
	if (me->tp)
		tls_enter();
	door_leave(me);
	me->entry(me->arg);
	go_exit();
}

int go_make(const struct coro_attr *attr, void (*fn)(void *), void *arg,
	    struct coro **ret_coro)
{
	int r = coro_get(attr, first_frame, ret_coro);

	if (r)
		return r;
	(*ret_coro)->entry = fn;
	(*ret_coro)->arg = arg;
	return 0;
}

void go_ready(struct coro *c)
{
	ready_new(c);
}

void go_ref(struct coro *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void go_unref(struct coro *c)
{
	if (coro_last_ref(&c->refs))
		coro_put(c);
}

SANITIZE_ENDS void go_exit(void)
{
	struct coro *me = self();

	door_enter(me);
	/* Alone on its kernel thread since a fork: that is the process's first,
	 * whose end would leave a zombie of it. Others go on. */
	if (me->kind == CORO_KIND_THREAD)
		for (;;)
			park_until(me, WHY_NOTHING, COGO_FOREVER);
	park_exit(me);
}

const char *cogo_version(void)
{
	return COGO_VERSION;
}
