/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* context - every call of cogo/context.h, in the use that it is for.
 *
 *	cc context.c -o context $(pkg-config --cflags --libs cogo)
 *	./context
 *
 * A context goes down through a program's calls and says what they are part of: how
 * long it may take, whether it is still wanted, and for whom it is. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cancelling one cancels what is below, and not what is above: cogo_ctx_cancel is
 * for a request whose asker has gone. The first reason stays. */
static void cancelled_with_all_below(void)
{
	struct cogo_ctx *server = cogo_ctx_new(NULL);
	struct cogo_ctx *request = cogo_ctx_new(server);
	struct cogo_ctx *part = cogo_ctx_new(request);

	must(server && request && part);
	must(cogo_ctx_err(part) == 0);
	must(cogo_ctx_cancel(request, -ECONNRESET));
	must(cogo_ctx_err(part) == -ECONNRESET);
	must(cogo_ctx_err(server) == 0);
	must(!cogo_ctx_cancel(request, -ECANCELED));	/* it had ended */
	must(cogo_ctx_err(request) == -ECONNRESET);

	cogo_ctx_free(server);				/* in any order */
	cogo_ctx_free(request);
	cogo_ctx_free(part);
}

static int help(void *arg)
{
	struct cogo_ctx *ctx = arg;

	/* A real one would do something meanwhile: see cogo_choose below. */
	must(cogo_recv(cogo_ctx_done(ctx), NULL, COGO_FOREVER) == -EPIPE);
	must(cogo_ctx_err(ctx) == -ECANCELED);
	cogo_ctx_free(ctx);
	return 0;
}

/* A helper is told to stop by a channel that is closed, cogo_ctx_done. It has a
 * reference of its own, cogo_ctx_ref, so that the context is there as long as it
 * needs it. */
static void helpers_that_are_told(void)
{
	struct cogo_ctx *ctx = cogo_ctx_new(NULL);
	int r;

	must(ctx);
	cogo_scope (s, &r) {
		cogo_scope_go(s, NULL, help, cogo_ctx_ref(ctx));
		cogo_scope_go(s, NULL, help, cogo_ctx_ref(ctx));
		cogo_ctx_cancel(ctx, -ECANCELED);
		cogo_ctx_free(ctx);
	}
	must(r == 0);
}

/* cogo_ctx_until is a budget of time. One below cannot have more of it than those
 * above: cogo_ctx_deadline is the soonest, and goes to the calls that wait. */
static void a_budget_of_time(void)
{
	cogo_time soon = cogo_in(100 * COGO_SEC);
	struct cogo_ctx *all = cogo_ctx_new(NULL);
	struct cogo_ctx *request = cogo_ctx_until(all, soon);
	struct cogo_ctx *part = cogo_ctx_until(request, cogo_in(200 * COGO_SEC));
	COGO_CHAN(int) answers = cogo_make(int, 1);
	int x;

	must(all && request && part && answers);
	must(cogo_ctx_deadline(all) == COGO_FOREVER);
	must(cogo_ctx_deadline(part) == soon);
	cogo_put(answers, 42);
	must(cogo_get_until(answers, x, cogo_ctx_deadline(part)) == 0);
	must(x == 42);

	cogo_free(answers);
	cogo_ctx_free(part);
	cogo_ctx_free(request);
	cogo_ctx_free(all);
}

/* Waiting for an answer, or for the end of the context, be it that its time is up or
 * that it was cancelled; cogo_ctx_err says which. */
static void an_answer_or_the_end(void)
{
	struct cogo_ctx *ctx = cogo_ctx_until(NULL, cogo_in(COGO_MS));
	COGO_CHAN(int) answers = cogo_make(int, 0);
	int x, r = 0;

	must(ctx && answers);
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(answers, x)
		must(!"nobody answers");
	COGO_SIGNAL(cogo_ctx_done(ctx))
		r = cogo_ctx_err(ctx);
	}
	must(r == -ETIMEDOUT);
	cogo_free(answers);
	cogo_ctx_free(ctx);
}

/* Addresses that nobody else has; what they hold does not matter. */
static const char user, language;

static void greet(const struct cogo_ctx *ctx, char *to, size_t size)
{
	const char *who = cogo_ctx_value(ctx, &user);

	snprintf(to, size, "hello, %s", who ? who : "whoever you are");
}

/* cogo_ctx_with hands something down to all who are called, past those who need not
 * know of it; cogo_ctx_value finds the nearest. */
static void values_handed_down(void)
{
	char name[] = "ada", guest[] = "bob", text[32];
	struct cogo_ctx *root = cogo_ctx_new(NULL);
	struct cogo_ctx *session = cogo_ctx_with(root, &user, name);
	struct cogo_ctx *request = cogo_ctx_new(session);
	struct cogo_ctx *other = cogo_ctx_with(request, &user, guest);

	must(root && session && request && other);
	greet(request, text, sizeof(text));
	must(strcmp(text, "hello, ada") == 0);
	greet(other, text, sizeof(text));
	must(strcmp(text, "hello, bob") == 0);
	greet(root, text, sizeof(text));
	must(strcmp(text, "hello, whoever you are") == 0);
	must(cogo_ctx_value(request, &language) == NULL);

	cogo_ctx_free(other);
	cogo_ctx_free(request);
	cogo_ctx_free(session);
	cogo_ctx_free(root);
}

int main(void)
{
	cancelled_with_all_below();
	helpers_that_are_told();
	a_budget_of_time();
	an_answer_or_the_end();
	values_handed_down();
	puts("context: ok");
	return 0;
}
