/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/cancel.c - what every waiting call of the native API does around its
 * wait. */
#include "fault/cancel.h"
#include "fault/signal.h"
#include "fault/unwind.h"

int cancel_interrupted(struct coro *me, int r)
{
	uint32_t doors;
	bool restart;

	if (likely(r != -EINTR && r != -ECANCELED))
		return r;
	/* The handlers run as if the call had not been made. */
	doors = me->in_runtime;
	me->in_runtime = 0;
	signal_deliver(me, &restart);
	me->in_runtime = doors;
	return cancel_wanted(me) ? -ECANCELED : 0;
}

SANITIZE_ENDS int cancel_ends(struct coro *me, int r)
{
	if (me && atomic_load_explicit(&me->cancel, memory_order_relaxed) &
			  CANCEL_UNWINDS)
		unwind(me, UNWIND_CANCELED);
	return r;
}

bool cancel_request(struct coro *c)
{
	/* seq_cst: before the look of the wait that it breaks off (G1 in
	 * fault/signal.c). */
	uint32_t before = atomic_fetch_or_explicit(&c->cancel, CANCEL_WANTED,
						   memory_order_seq_cst);

	if (before & (CANCEL_WANTED | CANCEL_EXITING))
		return false;
	if (!(before & CANCEL_DISABLED))
		signal_kick(c);
	return true;
}
