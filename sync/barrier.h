/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/barrier.h - so many go on together.
 *
 * Inside the runtime. Memory may go once barrier_drain has returned, which must
 * not be before everybody of the last round was let go. */
#ifndef COGO_SYNC_BARRIER_H
#define COGO_SYNC_BARRIER_H

#include "coro/coro.h"

/* The order is that of glibc's pthread_barrier_t; all under the lock of the
 * bucket. */
struct barrier {
	uint32_t here;		/* arrived in this round */
	uint32_t round;
	uint32_t count;		/* needed */
	uint32_t flags;		/* the embedder's */
	uint32_t away;		/* let go while they saw to something else */
};

/* Parks until the round is full: 1 for the last to arrive, 0 for the others.
 * -EINTR or -ECANCELED: see to it, then barrier_again with the same round. */
int barrier_arrive(struct barrier *b, uint32_t *ret_round);
int barrier_again(struct barrier *b, uint32_t round);

/* Waits until nobody will touch *b any more: 0, -EBUSY when a round is under
 * way, -EINTR. */
int barrier_drain(struct barrier *b);

#endif
