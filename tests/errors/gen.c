/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* gen.c - the errors of cogo/gen.h. */
#include "errors.h"

static struct cogo_gen *g, *inner;
static void *value;

static struct cogo_gen *make(void (*fn)(struct cogo_gen *, void *))
{
	struct cogo_gen *made = NULL;

	check_eq(cogo_gen_new(&made, 0, fn, NULL), 0);
	return made;
}

static void ends(struct cogo_gen *me, void *arg)
{
	(void)me, (void)arg;
}

static void yields(struct cogo_gen *me, void *arg)
{
	int x = 3;

	(void)arg;
	while (cogo_gen_yield(me, &x) == 0)
		;
}

/* ---- none ---- */

static void is_none(void)
{
	int x;

	FAILS(EINVAL, cogo_gen_new, &g, 0, NULL, NULL);
	FAILS(EINVAL, cogo_gen_new, &g, (size_t)2 << 30, ends, NULL);
	FAILS(EINVAL, cogo_gen_resume, NULL, NULL, &value);
	FAILS(EINVAL, cogo_gen_next, NULL, &x);
	FAILS(EINVAL, cogo_gen_send, NULL, NULL, &x);
	FAILS(EINVAL, cogo_gen_cancel, NULL);
	FAILS(EINVAL, cogo_gen_yield, NULL, &x);
	FAILS(EINVAL, cogo_gen_from, NULL, NULL);
	g = make(yields);
	/* On another stack than its own. */
	FAILS(EINVAL, cogo_gen_yield, g, &x);
	FAILS(EINVAL, cogo_gen_from, g, g);
	check_eq(cogo_gen_free(g), 0);
	/* Its memory is a generator's still. */
	FAILS(EINVAL, cogo_gen_resume, g, NULL, &value);
	FAILS(EINVAL, cogo_gen_cancel, g);
	FAILS(EINVAL, cogo_gen_free, g);
}

Test(errors, of_what_is_no_generator)
{
	on_both(is_none);
}

/* ---- one that is being run ---- */

static void asks_itself(struct cogo_gen *me, void *arg)
{
	int x = 3;

	(void)arg;
	FAILS(EBUSY, cogo_gen_resume, me, NULL, &value);
	FAILS(EBUSY, cogo_gen_next, me, &x);
	FAILS(EBUSY, cogo_gen_send, me, NULL, &x);
	FAILS(EBUSY, cogo_gen_cancel, me);
	FAILS(EBUSY, cogo_gen_free, me);
	FAILS(EINVAL, cogo_gen_from, me, me);
	FAILS(EINVAL, cogo_gen_from, me, NULL);
	if (inner) {
		/* It is what has asked us. */
		FAILS(EBUSY, cogo_gen_from, me, inner);
	}
}

static void asks_another(struct cogo_gen *me, void *arg)
{
	struct cogo_gen *other = make(asks_itself);
	int x;

	(void)arg;
	inner = me;
	check_eq(cogo_gen_next(other, &x), 0);
	inner = NULL;
	check_eq(cogo_gen_free(other), 0);
}

static void is_busy(void)
{
	int x;

	g = make(asks_another);
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(cogo_gen_free(g), 0);
}

Test(errors, of_a_generator_that_somebody_runs)
{
	on_both(is_busy);
}

/* ---- one of which no more is wanted ---- */

static void is_told(struct cogo_gen *me, void *arg)
{
	int x = 3;

	(void)arg;
	FAILS(ECANCELED, cogo_gen_yield, me, &x);
}

static void is_told_inside(struct cogo_gen *me, void *arg)
{
	(void)arg;
	FAILS(ECANCELED, cogo_gen_from, me, make(yields));
}

static void no_more(void)
{
	int x;

	g = make(is_told);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_cancel(g), 0);
	check_eq(cogo_gen_free(g), 0);
	g = make(is_told_inside);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_cancel(g), 0);
	check_eq(cogo_gen_free(g), 0);
}

Test(errors, of_a_yield_when_no_more_is_wanted)
{
	on_both(no_more);
}

/* ---- one that exits ---- */

static bool left;

static void leave(void *arg)
{
	(void)arg;
	left = true;
}

static void exits(struct cogo_gen *me, void *arg)
{
	(void)me;
	cogo_defer(leave, NULL);
	if (arg)
		pthread_exit(arg);
	cogo_exit();
}

/* A thread, which is not ended by it. */
static void asks_exiting(void)
{
	int x;

	for (int i = 0; i < 2; i++) {
		left = false;
		check_eq(cogo_gen_new(&g, 0, exits, i ? &x : NULL), 0);
		FAILS(ECANCELED, cogo_gen_resume, g, NULL, &value);
		check(left);
		check_eq(cogo_gen_next(g, &x), 0);
		check_eq(cogo_gen_free(g), 0);
		g = make(exits);
		FAILS(ECANCELED, cogo_gen_next, g, &x);
		check_eq(cogo_gen_free(g), 0);
		g = make(exits);
		FAILS(ECANCELED, cogo_gen_send, g, NULL, &x);
		check_eq(cogo_gen_free(g), 0);
	}
}

Test(errors, of_a_generator_that_exits_on_a_thread)
{
	asks_exiting();
	on_thread(asks_exiting);
}

/* ---- without memory ---- */

static void unknown(void)
{
	struct cogo_gen *made = NULL;
	int x;

	FAILS(ENOMEM, cogo_gen_new, &made, 0, ends, NULL);
	FAILS(ENOMEM, cogo_gen_resume, g, NULL, &value);
	FAILS(ENOMEM, cogo_gen_next, g, &x);
	FAILS(ENOMEM, cogo_gen_send, g, NULL, &x);
	FAILS(ENOMEM, cogo_gen_cancel, g);
	FAILS(ENOMEM, cogo_gen_free, g);
	check(made == NULL);
}

static void without_memory(void)
{
	struct cogo_gen *made = NULL;

	memory_ends();
	FAILS(ENOMEM, cogo_gen_new, &made, OWN_STACK, ends, NULL);
	memory_is_back();
	check(made == NULL);
}

Test(errors, of_a_generator_without_memory)
{
	on_both(without_memory);
	g = make(yields);
	as_stranger(unknown);
	check_eq(cogo_gen_free(g), 0);
}

Test(errors, of_a_generator_where_there_can_be_no_more_stacks)
{
	struct cogo_gen *made = NULL;

	kernel_has_no_more_guards();
	FAILS(EAGAIN, cogo_gen_new, &made, 0, ends, NULL);
	check(made == NULL);
}
