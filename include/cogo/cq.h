/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/cq.h - completion queues: work is done by many, what follows from it by one.
 *
 *	static void each_of_many(void *cq)
 *	{
 *		for (uintptr_t n = 0; n < 10; n++)
 *			cogo_cq_complete(cq, n, fetch(n));
 *		cogo_cq_done(cq);
 *	}
 *
 *	static void the_one(struct cogo_cq *cq)
 *	{
 *		struct cogo_event e;
 *
 *		while (cogo_cq_poll(cq, &e, COGO_FOREVER) == 0)
 *			note(e.token, e.extra);
 *	}
 *
 * A completion has a top half, which runs beside all others in whatever coroutine
 * or thread brings it about, and a bottom half: what the one who polls does with
 * it, after another, in his own context, so that it needs no lock. Completing
 * never waits: the queue has room for as many as there are. They are polled in the
 * order in which they came. */
#ifndef COGO_CQ_H
#define COGO_CQ_H

#include "cogo/chan.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cogo_cq;

/* A completion, as it is polled. */
struct cogo_event {
	uintptr_t token;	/* who, or what: as the producer was told */
	intptr_t extra;		/* how it went: as the producer says */
};

/* An empty one, with that many producers, to which more may be added. NULL without
 * memory. Never parks. */
COGO_API struct cogo_cq *cogo_cq_new(uint32_t producers);

/* When nobody will touch it any more; who polls may once it is told of the end. What
 * was not polled is gone. NULL: nothing happens. Never parks. */
COGO_API void cogo_cq_free(struct cogo_cq *cq);

/* One more who may complete; by one who may himself, or before the polling
 * begins, since a queue whose last producer is done stays finished. Never parks. */
COGO_API void cogo_cq_add_producer(struct cogo_cq *cq);

/* A producer is done; the last one finishes the queue. More than there were
 * aborts. Never parks. */
COGO_API void cogo_cq_done(struct cogo_cq *cq);

/* 0; -ENOMEM; -EPIPE if the queue is finished. Never parks. */
COGO_API int cogo_cq_complete(struct cogo_cq *cq, uintptr_t token,
			      intptr_t extra);

/* Parks until there is one: 0, -EPIPE when there are no more and will not be,
 * -ETIMEDOUT, -ECANCELED, -ENOMEM on a thread's first call. */
COGO_API int cogo_cq_poll(struct cogo_cq *cq, struct cogo_event *ret_event,
			  cogo_time deadline);

/* The same as a channel of struct cogo_event, for a case of a select. It is the
 * queue's, and only received from. */
COGO_API struct cogo_chan *cogo_cq_chan(struct cogo_cq *cq);

#ifdef __cplusplus
}
#endif

#endif
