/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/latch.c - something that happens once and stays so.
 *
 * L1  the word becomes FIRED only under the lock of its bucket, and whoever parks
 *     has seen there that it was not. So no wake is lost.
 * L2  the step that makes it FIRED is the last touch of *l; after it only the
 *     address is used, and only as a key. */
#include "base/compiler.h"
#include "cogo/sync.h"
#include "sched/ready.h"
#include "sync/sure.h"
#include "wait/lot.h"
#include <limits.h>

#define FIRED 1u

static inline _Atomic uint32_t *word_of(const struct cogo_latch *l)
{
	return (_Atomic uint32_t *)&l->word;
}

bool cogo_latch_fired(const struct cogo_latch *l)
{
	/* acquire: pairs with the release in fire(). */
	return atomic_load_explicit(word_of(l), memory_order_acquire) == FIRED;
}

bool cogo_latch_fire(struct cogo_latch *l)
{
	const void *key = word_of(l);
	struct coro_list woken = { 0 };
	struct lot_bucket *b;
	struct coro *me;
	bool first;

	if (cogo_latch_fired(l))
		return false;
	me = sure_in();
	b = lot_lock(key);
	/* release: what was done before is seen by those who go on. acquire: so
	 * that the second to fire has seen it as well. L2. */
	first = atomic_exchange_explicit(word_of(l), FIRED,
					 memory_order_acq_rel) != FIRED;
	lot_claim(b, key, UINT32_MAX, INT_MAX, &woken);
	lot_unlock(b);
	ready_all(&woken);
	door_leave(me);
	return first;
}

int cogo_latch_wait(struct cogo_latch *l, cogo_time deadline)
{
	struct lot_bucket *b;
	int r;
	struct coro *me = cancel_in(&r);

	while (r == 0 && !cogo_latch_fired(l)) {
		b = lot_lock(word_of(l));
		if (cogo_latch_fired(l)) {
			lot_unlock(b);
			break;
		}
		r = lot_park(b, word_of(l), 1, deadline, WHY_LATCH);
		if (r == 0)
			break;
		r = cancel_interrupted(me, r);
	}
	return cancel_out(me, r);
}
