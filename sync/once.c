/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/once.c - one does it, the others wait until it is done. */
#include "sync/once.h"
#include "base/sys.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <limits.h>

#define BUSY 1u
#define DONE 2u

/* Process ids have at most 22 bits. */
static uint32_t busy_here(void)
{
	return (uint32_t)sys_getpid() << 2 | BUSY;
}

int once_begin(struct once *o)
{
	uint32_t busy = busy_here(), w;
	struct lot_bucket *b;
	int r;

	for (;;) {
		b = lot_lock(o);
		w = atomic_load_explicit(&o->word, memory_order_acquire);
		if (w & DONE) {
			lot_unlock(b);
			return 0;
		}
		if (w != busy) {
			/* Nobody is at it, or one who did not survive fork. */
			atomic_store_explicit(&o->word, busy,
					      memory_order_relaxed);
			lot_unlock(b);
			return 1;
		}
		r = lot_park(b, o, 1, COGO_FOREVER, WHY_ONCE);
		if (r)
			return r;
	}
}

void once_end(struct once *o, bool done)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(o);

	/* release: pairs with the acquire in once_done. It is the last touch of
	 * *o, and the lock that we hold is not in it. */
	atomic_store_explicit(&o->word, done ? DONE : 0, memory_order_release);
	lot_claim(b, o, 1, INT_MAX, &woken);
	lot_unlock(b);
	ready_all(&woken);
}
