/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go - every function of cogo/go.h, and cogo_version, in a use of a few lines.
 *
 *	cc go.c -o go $(pkg-config --cflags --libs cogo)
 *	./go
 *
 * To look things up in: one function for each idea, with what one wants it for. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making them ---- */

static void add_one(void *n)
{
	++*(int *)n;
}

/* The smallest use: something is done meanwhile, and its end is waited for. */
static void make_and_join(void)
{
	struct cogo_coro *c;
	int n = 1;

	must(cogo_go(&c, NULL, add_one, &n) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(n == 2);
}

static void look_at_name(void *ok)
{
	*(int *)ok = strcmp(cogo_name(cogo_self()), "parser") == 0;
}

/* A name, for who looks at the program; a larger stack, for a deep recursion. */
static void attributes(void)
{
	struct cogo_attr parser = { .name = "parser", .stack = 1024 * 1024 };
	struct cogo_attr bad = { .stack = 100 };
	struct cogo_coro *c;
	int ok = 0;

	must(cogo_go(&c, &parser, look_at_name, &ok) == 0);
	must(cogo_join(c) == COGO_RETURNED && ok);
	must(cogo_go(&c, &bad, look_at_name, &ok) == -EINVAL);
}

/* COGO_SHARED_TLS for many small tasks that call no library, COGO_BOUND for what
 * the kernel counts by thread (a namespace, a CPU that one is tied to). */
static void cheap_and_bound(void)
{
	struct cogo_attr cheap = { .flags = COGO_SHARED_TLS };
	struct cogo_attr bound = { .flags = COGO_BOUND };
	struct cogo_coro *c[2];
	int n = 0, m = 0;

	must(cogo_go(&c[0], &cheap, add_one, &n) == 0);
	must(cogo_go(&c[1], &bound, add_one, &m) == 0);
	must(cogo_join(c[0]) == COGO_RETURNED && n == 1);
	must(cogo_join(c[1]) == COGO_RETURNED && m == 1);
}

static void hand_over(void *n)
{
	struct cogo_attr first = { .flags = COGO_RUN_FIRST };
	struct cogo_coro *c;

	must(cogo_go(&c, &first, add_one, n) == 0);
	must(cogo_join(c) == COGO_RETURNED);
}

/* COGO_RUN_FIRST where a coroutine makes another and would only wait for it: that
 * one runs at once, while what it is to work on is still in the CPU's cache. */
static void run_first(void)
{
	struct cogo_coro *c;
	int n = 0;

	must(cogo_go(&c, NULL, hand_over, &n) == 0);
	must(cogo_join(c) == COGO_RETURNED && n == 1);
}

static void raise_flag(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
}

/* Others first: in a long computation, or where something is waited for that
 * cannot wake anybody. */
static void yield_to_others(void)
{
	atomic_bool flag = false;
	struct cogo_coro *c;

	must(cogo_go(&c, NULL, raise_flag, &flag) == 0);
	while (!atomic_load(&flag))
		must(cogo_yield() == 0);
	must(cogo_join(c) == COGO_RETURNED);
}

struct search {
	const char *text;
	char what;
	int where;
};

static void look_at(struct search *s, int i)
{
	if (s->text[i] == s->what) {
		s->where = i;
		cogo_exit();
	}
	if (s->text[i] != '\0')
		look_at(s, i + 1);
}

static void search(void *arg)
{
	struct search *s = arg;

	look_at(s, 0);
	s->where = -1;
}

/* The end from any depth, without handing it up through every caller. */
static void exit_from_depth(void)
{
	struct search s = { .text = "needle in a haystack", .what = 'y' };
	struct cogo_coro *c;

	must(cogo_go(&c, NULL, search, &s) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(s.where == 14);
}

/* ---- references and names ---- */

static void leave_reference(void *ret)
{
	must(cogo_is_coroutine());
	must(cogo_state(cogo_self()) == COGO_RUNNING);
	*(struct cogo_coro **)ret = cogo_ref(cogo_self());
}

/* A coroutine that leaves itself where others find it. What cogo_self gives is
 * lent; what is kept needs a cogo_ref, and a cogo_drop later. */
static void references(void)
{
	struct cogo_coro *c, *itself = NULL;

	must(!cogo_is_coroutine());
	must(cogo_self() != NULL);
	must(cogo_go(&c, NULL, leave_reference, &itself) == 0);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(itself == c);
	cogo_drop(c);
	must(cogo_state(itself) == COGO_ENDED);
	cogo_drop(itself);
}

static void name_itself(void *id)
{
	cogo_set_name("client 17");
	*(uint64_t *)id = cogo_id(cogo_self());
}

/* What to write to a log: a number that stays the only one, and a name that tells
 * what the coroutine is at. */
static void identify(void)
{
	struct cogo_attr attr = { .name = "client" };
	struct cogo_coro *c;
	uint64_t id = 0;

	must(cogo_go(&c, &attr, name_itself, &id) == 0);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(id != 0 && cogo_id(c) == id);
	must(cogo_id(cogo_self()) != id);
	must(strcmp(cogo_name(c), "client 17") == 0);
	cogo_drop(c);
}

/* ---- park and unpark, and the end ---- */

static void wait_for_start(void *n)
{
	must(cogo_park(COGO_FOREVER) == 0);
	add_one(n);
}

/* What a lock or a queue of one's own is made of: one parks, and whoever has
 * something for it unparks it. An unpark that comes first is not lost. */
static void park_and_unpark(void)
{
	struct cogo_coro *c;
	int n = 0;

	must(cogo_go(&c, NULL, wait_for_start, &n) == 0);
	while (cogo_state(c) != COGO_PARKED)
		cogo_yield();
	must(n == 0);
	cogo_unpark(c);
	must(cogo_join(c) == COGO_RETURNED && n == 1);

	cogo_unpark(cogo_self());
	must(cogo_park(COGO_FOREVER) == 0);
	must(cogo_park(0) == -ETIMEDOUT);
}

/* To wait for an end only for so long. The reference stays, also when it is there:
 * then one may ask how it was. */
static void wait_with_a_deadline(void)
{
	struct cogo_coro *c;
	int n = 0;

	must(cogo_go(&c, NULL, wait_for_start, &n) == 0);
	must(cogo_wait(c, cogo_in(COGO_MS)) == -ETIMEDOUT);
	cogo_unpark(c);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(cogo_state(c) == COGO_ENDED);
	must(cogo_how(c) == COGO_RETURNED);
	must(cogo_cancel_reason(c) == 0);
	cogo_drop(c);
}

/* ---- panics ---- */

static void sell(void *item)
{
	cogo_panic("%s is sold out", (const char *)item);
}

/* A bug that shall end one coroutine and not the program. Who waits for it learns
 * what it said, and where. */
static void panic_and_ask(void)
{
	char item[] = "cheese";
	struct cogo_coro *c;

	must(cogo_go(&c, NULL, sell, item) == 0);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(cogo_how(c) == COGO_PANICKED);
	must(strcmp(cogo_panic_message(c), "cheese is sold out") == 0);
	must(cogo_panic_trace(c)[0] != '\0');
	cogo_drop(c);
}

/* A server that goes on with the next request when one of them panics. */
static void recover(void)
{
	struct cogo_panic panic;
	char item[] = "ham";
	int n = 0;

	must(cogo_recover(sell, item, &panic) == 1);
	must(strcmp(panic.message, "ham is sold out") == 0);
	must(cogo_recover(add_one, &n, NULL) == 0 && n == 1);
}

static int *volatile nowhere;

static void follow_null_pointer(void *unused)
{
	(void)unused;
	++*nowhere;
}

static void contained(void *panicked)
{
	cogo_contain_faults(true);
	*(int *)panicked = cogo_recover(follow_null_pointer, NULL, NULL);
}

/* Crashes as panics of the coroutine that caused them: its own wish here … */
static void contain_own_faults(void)
{
	struct cogo_coro *c;
	int panicked = 0;

	must(cogo_go(&c, NULL, contained, &panicked) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(panicked == 1);
}

static void give_up(void *unused)
{
	(void)unused;
	abort();
}

/* … and here that of the program, for all that are made from now on. */
static void contain_everybodys_faults(void)
{
	struct cogo_coro *c;

	cogo_contain_all_faults(true);
	must(cogo_go(&c, NULL, give_up, NULL) == 0);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(cogo_how(c) == COGO_PANICKED);
	cogo_drop(c);
	cogo_contain_all_faults(false);
}

/* ---- cancellation ---- */

static void work_until_told(void *saved)
{
	int before;

	must(cogo_park(COGO_FOREVER) == -ECANCELED);
	must(cogo_canceled());
	/* What must be finished may wait as ever. */
	before = cogo_cancel_disable();
	must(cogo_park(COGO_FOREVER) == 0);
	*(int *)saved = 1;
	cogo_cancel_restore(before);
	must(cogo_yield() == -ECANCELED);
}

/* Asking a coroutine to end: it is told by the next call that may wait, saves what
 * it has, and returns. */
static void cancel(void)
{
	struct cogo_coro *c;
	int saved = 0;

	must(cogo_go(&c, NULL, work_until_told, &saved) == 0);
	must(cogo_cancel(c, ETIME) == 0);
	must(cogo_cancel(c, EINTR) == -EALREADY);
	must(cogo_cancel_reason(c) == ETIME);
	cogo_unpark(c);
	must(cogo_wait(c, COGO_FOREVER) == 0);
	must(cogo_how(c) == COGO_RETURNED && saved);
	must(cogo_cancel(c, EINTR) == -ESRCH);
	cogo_drop(c);
}

static void wait_for_good(void *cleaned)
{
	cogo_defer(add_one, cleaned);
	cogo_park(COGO_FOREVER);
	must(!"nobody comes here");
}

/* Code that checks no result: with COGO_UNWINDS it does not go on from the call
 * that waits, and its cleanups are run. */
static void unwind(void)
{
	struct cogo_attr attr = { .flags = COGO_UNWINDS };
	struct cogo_coro *c;
	int cleaned = 0;

	must(cogo_go(&c, &attr, wait_for_good, &cleaned) == 0);
	must(cogo_cancel(c, ECANCELED) == 0);
	must(cogo_join(c) == COGO_CANCELED);
	must(cleaned == 1);
}

static void compute(void *steps)
{
	for (;;) {
		++*(unsigned *)steps;
		cogo_testcancel();
	}
}

/* A computation, which never waits, asks by itself whether it is still wanted. */
static void end_a_computation(void)
{
	struct cogo_coro *c;
	unsigned steps = 0;

	must(cogo_go(&c, NULL, compute, &steps) == 0);
	must(cogo_cancel(c, ECANCELED) == 0);
	must(cogo_join(c) == COGO_CANCELED);
	/* Had it been asked before it began, it would have made one step. */
	must(steps >= 1);
}

/* ---- cleanup ---- */

struct letter {
	char **end;
	char what;
};

static void append(void *arg)
{
	struct letter *l = arg;

	*(*l->end)++ = l->what;
}

static int leave_early(char **end)
{
	struct letter a = { end, 'a' }, b = { end, 'b' };

	cogo_defer(append, &a);
	cogo_defer(append, &b);
	return 7;
}

/* What has been taken is given back on every way out, the last first. */
static void defer(void)
{
	char order[3] = "", *end = order;

	must(leave_early(&end) == 7);
	must(strcmp(order, "ba") == 0);
}

/* ---- local storage ---- */

static atomic_int destroyed;

static void *new_counter(void)
{
	return calloc(1, sizeof(int));
}

static void *copy_counter(void *value)
{
	int *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *(int *)value;
	return copy;
}

static void free_counter(void *value)
{
	free(value);
	atomic_fetch_add(&destroyed, 1);
}

static const struct cogo_key counter = {
	.destroy = free_counter,
	.init = new_counter,
	.inherit = copy_counter,
};

static void look_at_copy(void *unused)
{
	(void)unused;
	must(*(int *)cogo_local_get(&counter) == 5);
}

static void count_to_five(void *unused)
{
	struct cogo_attr attr = { .flags = COGO_INHERITS };
	struct cogo_coro *c;

	(void)unused;
	*(int *)cogo_local_get(&counter) = 5;
	must(cogo_go(&c, &attr, look_at_copy, NULL) == 0);
	must(cogo_join(c) == COGO_RETURNED);
}

/* A value that each coroutine has for itself, made when it is first asked for,
 * handed on to those that it makes, and destroyed at its end. */
static void local_values(void)
{
	struct cogo_coro *c;

	must(cogo_go(&c, NULL, count_to_five, NULL) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(atomic_load(&destroyed) == 2);
}

static const struct cogo_key request;

/* Only a place to leave a pointer for who is called further down. A key without
 * init has no value until one is set; threads have values, too. */
static void local_pointer(void)
{
	char name[] = "GET /";

	must(cogo_local_get(&request) == NULL);
	must(cogo_local_set(&request, name) == 0);
	must(cogo_local_get(&request) == name);
	must(cogo_local_set(&request, NULL) == 0);
}

/* ---- the runtime ---- */

static int coroutine_main(int argc, char **argv)
{
	must(argc == 1 && argv[0] != NULL);
	must(cogo_is_coroutine());
	must(cogo_run(coroutine_main, argc, argv) == -EBUSY);
	must(cogo_stop(0) == -EDEADLK);
	return 3;
}

/* For a program whose main shall be a coroutine itself. */
static void run(char **argv)
{
	must(cogo_run(coroutine_main, 1, argv) == 3);
}

/* For a program that is done with coroutines for now: no thread of the runtime is
 * left, and its memory is given back. The next cogo_go starts it anew. */
static void stop(void)
{
	must(cogo_stop(COGO_FOREVER) == 0);
	make_and_join();
	must(cogo_stop(COGO_FOREVER) == 0);
}

/* For a bug report: the library that is loaded, which may be newer than the
 * headers. */
static void version(void)
{
	int major, minor, patch;

	must(sscanf(cogo_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
}

int main(int argc, char **argv)
{
	(void)argc;
	version();
	make_and_join();
	attributes();
	cheap_and_bound();
	run_first();
	yield_to_others();
	exit_from_depth();
	references();
	identify();
	park_and_unpark();
	wait_with_a_deadline();
	panic_and_ask();
	recover();
	contain_own_faults();
	contain_everybodys_faults();
	cancel();
	unwind();
	end_a_computation();
	defer();
	local_values();
	local_pointer();
	run(argv);
	stop();
	puts("go: ok");
	return 0;
}
