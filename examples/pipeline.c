/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pipeline - stages that hand on what they made, until nobody wants more.
 *
 *	cc pipeline.c -o pipeline $(pkg-config --cflags --libs cogo)
 *	./pipeline [COUNT]
 *
 * Halve a number if it is even, else triple it and add one: how many steps to 1? One
 * stage counts, one finds out, one lets through only those that take longer than
 * all before. When main has seen enough it cancels the context. A stage that was
 * about to send sees that, and closes its channel; so those behind it end too.
 *
 * The context also has a deadline, after which the stages stop by themselves. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>

struct item {
	long number;
	int steps;
};

typedef COGO_CHAN(struct item) items;

struct stage {
	struct cogo_ctx *ctx;
	items in, out;
};

/* Sends it on, unless nobody wants it any more. */
static bool pass_on(struct stage *s, struct item x)
{
	cogo_choose (COGO_FOREVER) {
	COGO_SEND(s->out, x)
		return true;
	COGO_SIGNAL(cogo_ctx_done(s->ctx))
		return false;
	}
	return false;
}

static int count(void *arg)
{
	struct stage *s = arg;
	struct item x = { 1, 0 };

	while (pass_on(s, x))
		x.number++;
	cogo_close(s->out);
	return 0;
}

static int find_steps(void *arg)
{
	struct stage *s = arg;

	cogo_each (s->in, x) {
		for (long n = x.number; n != 1; x.steps++)
			n = n % 2 ? 3 * n + 1 : n / 2;
		if (!pass_on(s, x))
			break;
	}
	cogo_close(s->out);
	return 0;
}

static int records(void *arg)
{
	struct stage *s = arg;
	int most = -1;

	cogo_each (s->in, x) {
		if (x.steps <= most)
			continue;
		most = x.steps;
		if (!pass_on(s, x))
			break;
	}
	cogo_close(s->out);
	return 0;
}

int main(int argc, char **argv)
{
	int wanted = argc > 1 ? atoi(argv[1]) : 20, r;
	struct cogo_ctx *ctx = cogo_ctx_until(NULL, cogo_in(10 * COGO_SEC));
	items numbers = cogo_make(struct item, 100);
	items found = cogo_make(struct item, 100);
	items longest = cogo_make(struct item, 0);
	struct stage first = { ctx, NULL, numbers };
	struct stage second = { ctx, numbers, found };
	struct stage third = { ctx, found, longest };

	/* What the stages use stands before the block, and so is there until all
	 * of them have ended. */
	cogo_scope (s, &r) {
		if (cogo_scope_go(s, NULL, count, &first) ||
		    cogo_scope_go(s, NULL, find_steps, &second) ||
		    cogo_scope_go(s, NULL, records, &third))
			error(1, 0, "cannot start");
		cogo_each (longest, x) {
			printf("%8ld: %d steps\n", x.number, x.steps);
			if (--wanted <= 0)
				break;
		}
		cogo_ctx_cancel(ctx, -ECANCELED);
	}
	if (cogo_ctx_err(ctx) == -ETIMEDOUT)
		error(1, 0, "that took too long");
	cogo_free(numbers);
	cogo_free(found);
	cogo_free(longest);
	cogo_ctx_free(ctx);
	return r != 0;
}
