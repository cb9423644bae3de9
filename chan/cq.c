/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/cq.c - completion queues.
 *
 * A channel that grows when it is full, closed by its last producer; so polling is
 * receiving, and a select can do it too.
 *
 * The memory for more is fetched outside the channel's lock and outside the
 * runtime: malloc may be the program's own, with locks at which coroutines wait.
 * Two who find it full may both bring some. The channel takes what is more than it
 * has; the other goes back unused. */
#include "cogo/cq.h"
#include "chan/chan.h"
#include "base/fatal.h"
#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 16

struct cogo_cq {
	_Atomic uint32_t producers;
	struct cogo_chan *events;
};

struct cogo_cq *cogo_cq_new(uint32_t producers)
{
	struct cogo_cq *cq = calloc(1, sizeof(*cq));

	if (!cq)
		return NULL;
	cq->events = cogo_chan_new(sizeof(struct cogo_event), FIRST_ROOM);
	if (!cq->events) {
		free(cq);
		return NULL;
	}
	atomic_store_explicit(&cq->producers, producers, memory_order_relaxed);
	return cq;
}

void cogo_cq_free(struct cogo_cq *cq)
{
	if (!cq)
		return;
	cogo_chan_free(cq->events);
	free(cq);
}

void cogo_cq_add_producer(struct cogo_cq *cq)
{
	atomic_fetch_add_explicit(&cq->producers, 1, memory_order_relaxed);
}

void cogo_cq_done(struct cogo_cq *cq)
{
	/* The poller may free the queue as soon as it is closed. acq_rel: the
	 * last one closes after all others have completed. */
	uint32_t were = atomic_fetch_sub_explicit(&cq->producers, 1,
						  memory_order_acq_rel);

	if (were == 0)
		cogo_throw("completion queue %p: more are done than there were",
			   (void *)cq);
	if (were == 1)
		cogo_chan_close(cq->events);
}

static int make_room(struct cogo_chan *ch)
{
	size_t slots = cogo_chan_cap(ch) * 2;
	void *ring = malloc(slots * sizeof(struct cogo_event));

	if (!ring)
		return -ENOMEM;
	chan_grow(ch, &ring, slots);
	free(ring);
	return 0;
}

int cogo_cq_complete(struct cogo_cq *cq, uintptr_t token, intptr_t extra)
{
	const struct cogo_event e = { token, extra };
	int r;

	while ((r = cogo_try_send(cq->events, &e)) == -EAGAIN)
		if (make_room(cq->events))
			return -ENOMEM;
	return r;
}

int cogo_cq_poll(struct cogo_cq *cq, struct cogo_event *ret_event,
		 cogo_time deadline)
{
	return cogo_recv(cq->events, ret_event, deadline);
}

struct cogo_chan *cogo_cq_chan(struct cogo_cq *cq)
{
	return cq->events;
}
