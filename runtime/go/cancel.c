/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/cancel.c - asking a coroutine to end. */
#include "cogo/go.h"
#include "fault/cancel.h"
#include "fault/unwind.h"
#include "go.h"
#include "go/scope.h"
#include "wait/native.h"

/* Under c->lock. */
static int request(struct cogo_coro *c, int reason)
{
	int none = 0;

	if (c->coro->kind != CORO_KIND_CORO)
		return -ENOTSUP;
	/* The reason first: who finds itself cancelled may ask for it. */
	atomic_compare_exchange_strong_explicit(&c->reason, &none, reason,
						memory_order_release,
						memory_order_relaxed);
	return cancel_request(c->coro) ? 0 : -EALREADY;
}

int go_cancel(struct cogo_coro *c, int reason)
{
	int r;

	if (!native_lock(c))
		return -ESRCH;
	r = request(c, reason);
	unlock(&c->lock);
	return r;
}

int cogo_cancel(struct cogo_coro *c, int reason)
{
	struct coro *me = door_in();
	int r;

	unwind_open();	/* on an ordinary stack, and before it is needed */
	r = go_cancel(c, reason);
	if (me)
		door_leave(me);
	return r;
}

bool cogo_canceled(void)
{
	struct coro *me = self();

	return me && atomic_load_explicit(&me->cancel, memory_order_relaxed) &
			     CANCEL_WANTED;
}

void cogo_testcancel(void)
{
	struct coro *me = self();

	if (me && cancel_wanted(me) && me->unwind)
		unwind(me, UNWIND_CANCELED);
}

int cogo_cancel_disable(void)
{
	struct coro *me = self();

	return me && atomic_fetch_or_explicit(&me->cancel, CANCEL_DISABLED,
					      memory_order_relaxed) &
			     CANCEL_DISABLED;
}

void cogo_cancel_restore(int before)
{
	struct coro *me = self();

	if (me && !before)
		atomic_fetch_and_explicit(&me->cancel, ~(uint32_t)CANCEL_DISABLED,
					  memory_order_relaxed);
}

void cogo_exit(void)
{
	struct coro *me = self();

	if (me && unwind_has_end(me))
		unwind(me, UNWIND_EXIT);
	go_lent.thread_exit(NULL);
	__builtin_unreachable();
}
