/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/cancel.h - what every waiting call of the native API does around its
 * wait.
 *
 *	struct coro *me = cancel_in(&r);	// into the runtime
 *
 *	while (r == 0) {
 *		... look; break when there is nothing to wait for ...
 *		r = lot_park(..., deadline, WHY_...);
 *		if (r == 0) break;
 *		r = cancel_interrupted(me, r);	// -EINTR: again, or -ECANCELED
 *	}
 *	return cancel_out(me, r);
 *
 * Somebody's wish that a coroutine end is a bit in its cancel word; it stays
 * there. A call that may wait asks at its beginning and whenever its wait is
 * broken off; in between, the request breaks it off. So once cancelled, each
 * such call fails at once with -ECANCELED, even where it would not have had to
 * wait: no loop outlives its cancellation. A coroutine that has asked for that
 * is unwound instead of told.
 *
 * To kernel threads that the program made nothing of this happens. */
#ifndef COGO_FAULT_CANCEL_H
#define COGO_FAULT_CANCEL_H

#include "fault/door.h"
#include <errno.h>

/* Whether the caller is to end, and lets itself be told. */
static inline bool cancel_wanted(const struct coro *me)
{
	uint32_t c = atomic_load_explicit(&me->cancel, memory_order_relaxed);

	return unlikely((c & (CANCEL_WANTED | CANCEL_DISABLED |
			      CANCEL_EXITING)) == CANCEL_WANTED);
}

/* … by being unwound. */
static inline bool cancel_unwinds(const struct coro *me)
{
	return cancel_wanted(me) &&
	       atomic_load_explicit(&me->cancel, memory_order_relaxed) &
		       CANCEL_UNWINDS;
}

/* Into the runtime; adopts a kernel thread that comes for the first time. NULL
 * with *ret_r -ENOMEM without memory; then cancel_out passes that on. *ret_r is
 * -ECANCELED where the caller is cancelled, else 0. */
static inline struct coro *cancel_in(int *ret_r)
{
	struct coro *me = door_in();

	*ret_r = unlikely(!me) ? -ENOMEM : cancel_wanted(me) ? -ECANCELED : 0;
	return me;
}

/* After a wait that ended with r. -EINTR (or -ECANCELED, from the lot): the
 * handlers that broke it off run, with every door open; 0 to wait again, or
 * -ECANCELED. Any other r is returned as it is. */
int cancel_interrupted(struct coro *me, int r);

/* Out of the runtime, with the result. Does not return where r is -ECANCELED
 * and the caller has asked to be unwound. */
int cancel_ends(struct coro *me, int r);
static inline int cancel_out(struct coro *me, int r)
{
	if (likely(me != NULL))
		door_leave(me);
	return unlikely(r == -ECANCELED) ? cancel_ends(me, r) : r;
}

/* Asks that c end: it sees that at once if it waits. True unless somebody has
 * asked before. Inside the runtime. */
bool cancel_request(struct coro *c);

#endif
