/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* context.c - the errors of cogo/context.h. */
#include "errors.h"

static struct cogo_ctx *ctx;

Test(errors, of_a_context_whose_deadline_is_over)
{
	ctx = cogo_ctx_until(NULL, 0);
	FAILS(ETIMEDOUT, cogo_ctx_err, ctx);
	cogo_ctx_free(ctx);
}

static int key;

static void none_is_made(void)
{
	IS_NULL(cogo_ctx_new, NULL);
	IS_NULL(cogo_ctx_new, ctx);
	IS_NULL(cogo_ctx_until, ctx, COGO_FOREVER);
	IS_NULL(cogo_ctx_with, ctx, &key, &key);
}

static void unknown(void)
{
	none_is_made();
	/* But to end one needs none. */
	check(cogo_ctx_cancel(ctx, -EIO));
	check_eq(cogo_ctx_err(ctx), -EIO);
}

Test(errors, of_making_a_context)
{
	ctx = cogo_ctx_new(NULL);
	memory_ends();
	none_is_made();
	memory_is_back();
	as_stranger(unknown);
	cogo_ctx_free(ctx);
}
