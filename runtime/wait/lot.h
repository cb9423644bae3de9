/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/lot.h - waits for an address.
 *
 * An object that can be waited for is one word; whoever waits for it is kept
 * here, in a hash of queues keyed by the word's address (as in WebKit's
 * ParkingLot, and in the kernel behind futex). Under the lock of the address's
 * bucket the word may be looked at and the decision taken, so no wake falls
 * between the look and the sleep. */
#ifndef COGO_WAIT_LOT_H
#define COGO_WAIT_LOT_H

#include "base/lock.h"
#include "coro/coro.h"

struct lot_bucket {
	struct lock lock;
	struct list waiters;
} __attribute__((aligned(64)));

/* Never parks; the caller is inside the runtime and holds no other bucket. */
struct lot_bucket *lot_lock(const void *key);
void lot_unlock(struct lot_bucket *b);

/* Joins the queue of key, unlocks, parks. `tag` is for lot_claim's test (a
 * futex's bit set, a reader or a writer). 0, -ETIMEDOUT, -EINTR (a signal),
 * -ECANCELED. Caller holds b, which is key's. */
int lot_park(struct lot_bucket *b, const void *key, uint32_t tag,
	     cogo_time deadline, enum why why);

/* Claims the first waiters of key, in order, up to n, whose tag has a bit in
 * common with mask, and puts them on l; the caller readies them once the
 * bucket is unlocked. How many. Caller holds b. */
int lot_claim(struct lot_bucket *b, const void *key, uint32_t mask, int n,
	      struct coro_list *l);

/* The tag of the first waiter of key, 0 if there is none. Caller holds b. */
uint32_t lot_first(struct lot_bucket *b, const void *key);
/* Whether anyone waits for key. Caller holds b. */
bool lot_any(struct lot_bucket *b, const void *key);

/* Moves up to n waiters of `from` to the queue of `to` without waking them;
 * how many. Takes both locks itself: the caller holds none. `check`, if given,
 * is called under both and stops everything by returning non-zero, which is
 * returned. wake: that many of `from` are claimed first, onto l. */
int lot_requeue(const void *from, const void *to, int wake, int n,
		int (*check)(void *), void *arg, struct coro_list *l);

void lot_fork_child(void);

#endif
