/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/hold.h - keeping a parked coroutine where it is, for a moment.
 *
 *	bool owed;
 *
 *	if (hold(c, &owed)) {
 *		... its stack is ours: walk it, give back what is unused;
 *		owed = hold_end(c);
 *	}
 *	if (owed)
 *		ready_new(c);	// somebody has come for it */
#ifndef COGO_CORO_HOLD_H
#define COGO_CORO_HOLD_H

#include "coro/coro.h"

/* False: it is not parked, or not for long any more, or somebody else holds one and
 * does not come to an end. Any thread, inside the runtime; never parks. */
bool hold(struct coro *c, bool *ret_owed);

/* Whether the caller owes it a ready_new(). */
bool hold_end(struct coro *c);

#endif
