/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* scope - every call of cogo/scope.h, in the use that it is for.
 *
 *	cc scope.c -o scope $(pkg-config --cflags --libs cogo)
 *	./scope
 *
 * The coroutines that a scope makes have ended when it ends, so they may use what
 * is on the stack of their maker. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int double_it(void *arg)
{
	int *n = arg;

	*n *= 2;
	return 0;
}

/* As a block: cogo_scope. When it has been left, in whatever way, all is done. What
 * the children use is declared before it. */
static void a_block(void)
{
	int numbers[4] = { 1, 2, 3, 4 }, result;

	cogo_scope (s, &result) {
		for (int i = 0; i < 4; i++)
			cogo_scope_go(s, NULL, double_it, &numbers[i]);
	}
	must(result == 0);
	must(numbers[0] + numbers[1] + numbers[2] + numbers[3] == 20);
}

/* As functions: cogo_scope_begin and cogo_scope_end, where begin and end are not
 * those of a block; between them, nobody returns. */
static void begin_and_end(void)
{
	struct cogo_scope s = COGO_SCOPE;
	int n = 21;

	cogo_scope_begin(&s);
	must(cogo_scope_go(&s, NULL, double_it, &n) == 0);
	must(cogo_scope_end(&s) == 0);
	must(n == 42);
}

static int fail(void *arg)
{
	(void)arg;
	return -ENOENT;
}

/* Waits until it is told to end. */
static int serve(void *arg)
{
	atomic_int *told = arg;

	if (cogo_park(COGO_FOREVER) == -ECANCELED)
		++*told;
	return 0;
}

/* The first that fails has the others cancelled, and is what the scope reports. A
 * child that is made too late is refused. */
static void a_failure_ends_all(void)
{
	struct cogo_scope s = COGO_SCOPE;
	atomic_int told = 0;

	cogo_scope_begin(&s);
	must(cogo_scope_go(&s, NULL, serve, &told) == 0);
	must(cogo_scope_go(&s, NULL, fail, NULL) == 0);
	must(cogo_scope_wait(&s, COGO_FOREVER) == 0);
	must(told == 1);
	must(cogo_scope_go(&s, NULL, serve, &told) == -ECANCELED);
	must(cogo_scope_end(&s) == -ENOENT);
	must(strcmp(cogo_scope_message(&s), "") == 0);	/* no panic */
}

static int give_up(void *arg)
{
	cogo_panic("cannot go on with %s", (char *)arg);
}

/* A panic is a failure as any other, -ECHILD; cogo_scope_message is what it said. */
static void a_panic_is_a_failure(void)
{
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	must(cogo_scope_go(&s, NULL, give_up, "this") == 0);
	must(cogo_scope_end(&s) == -ECHILD);
	must(strcmp(cogo_scope_message(&s), "cannot go on with this") == 0);
}

static int wait_for_the_gate(void *arg)
{
	return cogo_latch_wait(arg, COGO_FOREVER);
}

/* cogo_scope_limit: so many at a time. cogo_scope_go would wait for one to end;
 * cogo_scope_try_go does not, for who has something better to do, and
 * cogo_scope_children counts. cogo_scope_wait is for a pause between two batches. */
static void so_many_at_a_time(void)
{
	struct cogo_scope s = COGO_SCOPE;
	struct cogo_latch gate = { 0 };

	cogo_scope_begin(&s);
	cogo_scope_limit(&s, 2);
	must(cogo_scope_go(&s, NULL, wait_for_the_gate, &gate) == 0);
	must(cogo_scope_try_go(&s, NULL, wait_for_the_gate, &gate) == 0);
	must(cogo_scope_try_go(&s, NULL, wait_for_the_gate, &gate) == -EAGAIN);
	must(cogo_scope_children(&s) == 2);
	must(cogo_scope_wait(&s, cogo_in(COGO_MS)) == -ETIMEDOUT);

	cogo_latch_fire(&gate);
	must(cogo_scope_wait(&s, COGO_FOREVER) == 0);
	must(cogo_scope_children(&s) == 0);
	must(cogo_scope_try_go(&s, NULL, wait_for_the_gate, &gate) == 0);
	must(cogo_scope_end(&s) == 0);
}

/* cogo_scope_manage: the children serve, and never come to an end of their own. So
 * they are told to end when the scope does, and that is no failure. */
static void helpers_that_serve_until_the_end(void)
{
	struct cogo_scope s = COGO_SCOPE;
	atomic_int told = 0;

	cogo_scope_begin(&s);
	cogo_scope_manage(&s);
	must(cogo_scope_go(&s, NULL, serve, &told) == 0);
	must(cogo_scope_go(&s, NULL, serve, &told) == 0);
	must(cogo_scope_end(&s) == 0);
	must(told == 2);
}

/* cogo_scope_cancel: what they are after is not wanted any more. The scope's result
 * is the reason. */
static void not_wanted_any_more(void)
{
	atomic_int told = 0;
	int result;

	cogo_scope (s, &result) {
		cogo_scope_go(s, NULL, serve, &told);
		cogo_scope_go(s, NULL, serve, &told);
		cogo_scope_cancel(s, EINTR);
	}
	must(result == -EINTR);
	must(told == 2);
}

struct tree {
	struct cogo_scope *scope;
	atomic_int nodes;
};

static int grow(void *arg)
{
	struct tree *t = arg;

	if (++t->nodes < 5)
		cogo_scope_go(t->scope, NULL, grow, t);
	return 0;
}

/* Children make more of them in the scope that they are in, and it waits for all. */
static void children_make_children(void)
{
	struct tree t = { 0 };
	int result;

	cogo_scope (s, &result) {
		t.scope = s;
		cogo_scope_go(s, NULL, grow, &t);
	}
	must(result == 0);
	must(t.nodes == 5);
}

int main(void)
{
	a_block();
	begin_and_end();
	a_failure_ends_all();
	a_panic_is_a_failure();
	so_many_at_a_time();
	helpers_that_serve_until_the_end();
	not_wanted_any_more();
	children_make_children();
	puts("scope: ok");
	return 0;
}
