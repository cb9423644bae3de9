/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/context.h - what a piece of work is part of: until when, for whom, and
 * whether anyone still wants it.
 *
 *	int ask(struct cogo_ctx *parent, COGO_CHAN(int) answers, int *ret)
 *	{
 *		cogo_time until = cogo_in(2 * COGO_SEC);
 *		struct cogo_ctx *ctx = cogo_ctx_until(parent, until);
 *		int a, r = 0;
 *
 *		start_helpers(ctx, answers);	// each takes its own reference
 *		cogo_choose (COGO_FOREVER) {
 *		COGO_RECV(answers, a)
 *			*ret = a;
 *		COGO_SIGNAL(cogo_ctx_done(ctx))
 *			r = cogo_ctx_err(ctx);
 *		}
 *		cogo_ctx_cancel(ctx, -ECANCELED);	// helpers may stop
 *		cogo_ctx_free(ctx);
 *		return r;
 *	}
 *
 * Contexts form a tree. Cancelling one cancels all below it and none above; a
 * deadline, too, holds for all below, and a value that one carries is found by all
 * below. It is an argument like any other: handed to functions, to new coroutines,
 * through channels. It stops nobody; it tells.
 *
 * Never shall parent and child be freed in an order: each holds its parent. All
 * functions may be called by coroutines and by any thread, and none parks. */
#ifndef COGO_CONTEXT_H
#define COGO_CONTEXT_H

#include "cogo/chan.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cogo_ctx;

/* One below parent, or where that is NULL, a root. Below one that has ended it has
 * ended from the beginning. The caller has a reference. NULL without memory. */
COGO_API struct cogo_ctx *cogo_ctx_new(struct cogo_ctx *parent);

/* … that ends at the deadline, if its parent does not end sooner. */
COGO_API struct cogo_ctx *cogo_ctx_until(struct cogo_ctx *parent,
					 cogo_time deadline);

/* … that carries a value. A key is an address that its owner shares with nobody
 * (of a static variable, say). The value is the caller's, and has to live as long
 * as the context and those below it. */
COGO_API struct cogo_ctx *cogo_ctx_with(struct cogo_ctx *parent,
					const void *key, void *value);

/* One more reference; returns ctx. */
COGO_API struct cogo_ctx *cogo_ctx_ref(struct cogo_ctx *ctx);

/* Gives a reference back. The last one cancels nothing: who is below lives on. NULL:
 * nothing happens; elsewhere ctx must be one. */
COGO_API void cogo_ctx_free(struct cogo_ctx *ctx);

/* Ends it and all below, for that reason, a negative error number. Those that have
 * ended keep the reason they have. True if it was this call that ended ctx. Needs no
 * memory. */
COGO_API bool cogo_ctx_cancel(struct cogo_ctx *ctx, int reason);

/* A channel that is closed when it ends, and carries nothing: for a receive, or a
 * case of a select. It is the context's; who keeps it longer takes a reference. */
COGO_API struct cogo_chan *cogo_ctx_done(struct cogo_ctx *ctx);

/* 0 as long as it has not ended; then the reason, -ETIMEDOUT where it was the
 * deadline. */
COGO_API int cogo_ctx_err(struct cogo_ctx *ctx);

/* COGO_FOREVER, or the soonest of its own and those above: what to hand to calls
 * that wait. */
COGO_API cogo_time cogo_ctx_deadline(const struct cogo_ctx *ctx);

/* What the nearest one, from here upwards, carries under that key; NULL. */
COGO_API void *cogo_ctx_value(const struct cogo_ctx *ctx, const void *key);

#ifdef __cplusplus
}
#endif

#endif
