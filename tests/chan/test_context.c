/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_context.c - what a piece of work is part of. */
#include "with.h"
#include "cogo/context.h"
#include "cogo/select.h"

Test(context, cancelling_one_cancels_all_below_it_and_none_above_or_beside)
{
	struct cogo_ctx *root, *a, *b, *a1, *a2, *a11;

	with(1);
	root = cogo_ctx_new(NULL);
	a = cogo_ctx_new(root);
	b = cogo_ctx_new(root);
	a1 = cogo_ctx_new(a);
	a2 = cogo_ctx_new(a);
	a11 = cogo_ctx_new(a1);
	check(cogo_ctx_cancel(a1, -EIO));
	check(!cogo_ctx_cancel(a1, -EPERM));
	check_eq(cogo_ctx_err(a1), -EIO);
	check_eq(cogo_ctx_err(a11), -EIO);
	check_eq(cogo_ctx_err(a2), 0);
	check_eq(cogo_ctx_err(a), 0);
	check(cogo_ctx_cancel(root, -ETIMEDOUT));
	check_eq(cogo_ctx_err(a1), -EIO);
	check_eq(cogo_ctx_err(a11), -EIO);
	check_eq(cogo_ctx_err(a2), -ETIMEDOUT);
	check_eq(cogo_ctx_err(b), -ETIMEDOUT);
	check_eq(cogo_try_recv(cogo_ctx_done(b), NULL), -EPIPE);
	/* In no order. */
	cogo_ctx_free(root);
	cogo_ctx_free(a);
	cogo_ctx_free(a11);
	cogo_ctx_free(a1);
	cogo_ctx_free(b);
	check_eq(cogo_ctx_err(a2), -ETIMEDOUT);
	cogo_ctx_free(a2);
	cogo_ctx_free(NULL);
}

Test(context, one_that_is_born_below_an_ended_one_has_ended)
{
	struct cogo_ctx *root, *late, *below;

	with(1);
	root = cogo_ctx_new(NULL);
	cogo_ctx_cancel(root, -ECANCELED);
	late = cogo_ctx_new(root);
	below = cogo_ctx_until(late, COGO_FOREVER);
	check_eq(cogo_ctx_err(late), -ECANCELED);
	check_eq(cogo_ctx_err(below), -ECANCELED);
	check_eq(cogo_recv(cogo_ctx_done(below), NULL, COGO_FOREVER), -EPIPE);
	check(!cogo_ctx_cancel(below, -EIO));
	cogo_ctx_free(root);
	cogo_ctx_free(late);
	cogo_ctx_free(below);
}

struct waiting {
	struct cogo_ctx *ctx;
	int result;
};

static void wait_done(void *arg)
{
	struct waiting *w = arg;

	cogo_recv(cogo_ctx_done(w->ctx), NULL, COGO_FOREVER);
	w->result = cogo_ctx_err(w->ctx);
}

Test(context, who_waits_for_the_end_of_a_leaf_hears_of_the_roots)
{
	struct cogo_ctx *root, *leaf;
	struct waiting w[5];

	with(2);
	root = cogo_ctx_new(NULL);
	leaf = cogo_ctx_ref(root);
	for (int i = 0; i < 5; i++) {
		struct cogo_ctx *next = cogo_ctx_new(leaf);

		cogo_ctx_free(leaf);
		leaf = next;
		w[i] = (struct waiting){ cogo_ctx_ref(leaf), 0 };
		until_waits(go(wait_done, &w[i]));
	}
	cogo_ctx_cancel(root, -ESRCH);
	join_all();
	for (int i = 0; i < 5; i++) {
		check_eq(w[i].result, -ESRCH);
		cogo_ctx_free(w[i].ctx);
	}
	cogo_ctx_free(leaf);
	cogo_ctx_free(root);
}

Test(context, a_deadline_ends_it_though_nobody_looks)
{
	cogo_time soon = sys_now() + 2 * COGO_MS;
	struct cogo_ctx *root, *a, *b, *c;
	struct waiting w;

	with(2);
	root = cogo_ctx_new(NULL);
	a = cogo_ctx_until(root, soon);
	b = cogo_ctx_until(a, COGO_FOREVER);
	c = cogo_ctx_until(a, 1);
	check_eq(cogo_ctx_deadline(root), COGO_FOREVER);
	check_eq(cogo_ctx_deadline(a), soon);
	check_eq(cogo_ctx_deadline(b), soon);
	check_eq(cogo_ctx_deadline(c), 1);
	check_eq(cogo_ctx_err(c), -ETIMEDOUT);
	w = (struct waiting){ b, 0 };
	go(wait_done, &w);
	join_all();
	check_eq(w.result, -ETIMEDOUT);
	check(sys_now() >= soon);
	/* Too late to change the reason. */
	check(!cogo_ctx_cancel(a, -EIO));
	check_eq(cogo_ctx_err(a), -ETIMEDOUT);
	check(cogo_ctx_cancel(root, -EIO));
	check_eq(cogo_ctx_err(b), -ETIMEDOUT);
	check_eq(cogo_ctx_err(c), -ETIMEDOUT);
	cogo_ctx_free(root);
	cogo_ctx_free(a);
	cogo_ctx_free(b);
	cogo_ctx_free(c);
}

Test(context, its_end_may_be_a_case_of_a_select)
{
	struct cogo_ctx *ctx;
	struct cogo_chan *c = cogo_chan_new(4, 0);
	int x = 0, how = 0;

	with(1);
	ctx = cogo_ctx_until(NULL, sys_now() + COGO_MS);
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(c, x)
		how = 1;
	COGO_SIGNAL(cogo_ctx_done(ctx)) {
		how = cogo_ctx_err(ctx);
		break;
	}
	}
	check_eq(how, -ETIMEDOUT);
	cogo_ctx_free(ctx);
}

Test(context, a_value_is_found_below_and_not_above)
{
	static const char color, size, nothing;
	struct cogo_ctx *root, *red, *big, *blue;

	with(1);
	root = cogo_ctx_new(NULL);
	red = cogo_ctx_with(root, &color, "red");
	big = cogo_ctx_with(red, &size, "big");
	blue = cogo_ctx_with(big, &color, "blue");
	check(cogo_ctx_value(root, &color) == NULL);
	check(strcmp(cogo_ctx_value(big, &color), "red") == 0);
	check(strcmp(cogo_ctx_value(blue, &color), "blue") == 0);
	check(strcmp(cogo_ctx_value(blue, &size), "big") == 0);
	check(cogo_ctx_value(blue, &nothing) == NULL);
	check(cogo_ctx_value(blue, NULL) == NULL);
	cogo_ctx_free(root);
	cogo_ctx_free(red);
	cogo_ctx_free(big);
	check(strcmp(cogo_ctx_value(blue, &size), "big") == 0);
	cogo_ctx_free(blue);
}

Test(context, a_tree_may_be_as_deep_as_it_likes)
{
	struct cogo_ctx *root, *ctx, *next;

	with(1);
	root = cogo_ctx_new(NULL);
	ctx = cogo_ctx_ref(root);
	for (int i = 0; i < 100000; i++) {
		next = cogo_ctx_new(ctx);
		cogo_ctx_free(ctx);
		ctx = next;
	}
	cogo_ctx_cancel(root, -ECANCELED);
	check_eq(cogo_ctx_err(ctx), -ECANCELED);
	cogo_ctx_free(root);
	cogo_ctx_free(ctx);
}

/* ---- all at once ---- */

struct grove {
	COGO_CHAN(struct cogo_ctx *) c;
	_Atomic int ended, missed;
};

/* Contexts that are made, handed on, waited for and given back while their root
 * is cancelled. */
static void grow(void *arg)
{
	struct grove *g = arg;
	struct cogo_ctx *root = cogo_ctx_new(NULL);

	for (int i = 0; i < 200; i++) {
		struct cogo_ctx *a = cogo_ctx_new(root), *b = cogo_ctx_new(a);

		check_eq(cogo_put(g->c, cogo_ctx_ref(b)), 0);
		if (i == 150)
			check(cogo_ctx_cancel(root, -EINTR));
		cogo_ctx_free(a);
		cogo_ctx_free(b);
	}
	cogo_ctx_free(root);
}

static void await(void *arg)
{
	struct grove *g = arg;

	cogo_each (g->c, ctx) {
		if (cogo_recv(cogo_ctx_done(ctx), NULL, UNTIL) != -EPIPE)
			g->missed++;
		check_eq(cogo_ctx_err(ctx), -EINTR);
		g->ended++;
		cogo_ctx_free(ctx);
	}
}

Test(context, none_misses_its_end_however_it_comes_and_goes)
{
	struct grove g = { .c = cogo_make(struct cogo_ctx *, 0) };

	with(2);
	/* More who wait than contexts before the cancellation, or none comes. */
	for (int i = 0; i < 4 * 200; i++)
		go(await, &g);
	for (int i = 0; i < 4; i++)
		go(grow, &g);
	wait_until(g.ended == 4 * 200);
	cogo_close(g.c);
	join_all();
	check_eq(g.missed, 0);
}
