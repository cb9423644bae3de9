/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_once and cogo_lazy, through their public doors. */
#include "world.h"

static struct cogo_once once;
static struct cogo_lazy lazy;
static _Atomic int calls, after, steps;
static long made;

static void make(void *arg)
{
	calls++;
	for (int i = 0; i < 10; i++)
		yield();
	made = *(int *)arg;
}

static int forty_two = 42;

static void do_once(void *arg)
{
	(void)arg;
	cogo_once_do(&once, make, &forty_two);
	check_eq(made, 42);
	after++;
}

Test(once, it_is_done_once_and_all_see_what_was_done)
{
	struct task *t[12];

	begin();
	for (int i = 0; i < 12; i++)
		t[i] = either(i, do_once, NULL);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	check_eq(calls, 1);
	check_eq(after, 12);
	cogo_once_do(&once, make, NULL);
	check_eq(calls, 1);
}

/* Until another waits for it. */
static void panic_late(void *arg)
{
	(void)arg;
	steps = 1;
	while (steps != 2)
		yield();
	panic();
}

static void do_and_panic(void *arg)
{
	(void)arg;
	cogo_once_do(&once, panic_late, NULL);
}

Test(once, where_it_is_left_by_a_panic_one_that_waits_does_it)
{
	struct task *t, *w[3];

	begin();
	t = go(do_and_panic, NULL);
	wait_until(steps == 1);
	for (int i = 0; i < 3; i++) {
		w[i] = either(i, do_once, NULL);
		until_parked(w[i]);
	}
	steps = 2;
	join(t);
	check_eq(t->why, UNWIND_PANIC);
	for (int i = 0; i < 3; i++)
		join(w[i]);
	check_eq(calls, 1);
	check_eq(after, 3);
}

static void panic_now(void *arg)
{
	calls++;
	if (arg)
		panic();
}

static void try_and_panic(void *arg)
{
	cogo_once_do(&once, panic_now, arg);
}

Test(once, where_it_is_left_by_a_panic_the_next_to_come_does_it)
{
	begin();
	join(go(try_and_panic, &once));
	join(go(try_and_panic, &once));
	check_eq(calls, 2);
	join(go(try_and_panic, NULL));
	join(go(try_and_panic, &once));
	check_eq(calls, 3);
}

static void wait_for_it(void *arg)
{
	(void)arg;
	steps = 1;
	while (steps != 2)
		yield();
	made = 42;
}

static void do_slowly(void *arg)
{
	(void)arg;
	cogo_once_do(&once, wait_for_it, NULL);
}

Test(once, who_is_cancelled_waits_until_it_is_done)
{
	struct task *t, *w;

	begin();
	t = go(do_slowly, NULL);
	wait_until(steps == 1);
	w = go(do_once, NULL);
	until_parked(w);
	cancel(w);
	until_parked(w);
	check_eq(after, 0);
	steps = 2;
	join(t);
	join(w);
	check_eq(after, 1);
}

static void inside(void *arg)
{
	cogo_once_do(arg, inside, arg);
}

static void recurse(void *arg)
{
	cogo_once_do(arg, inside, arg);
}

Test(once, what_comes_to_its_own_once_aborts)
{
	check_eq(unit_signal_of(recurse, &once), SIGABRT);
}

/* ---- lazy ---- */

static void *make_value(void *arg)
{
	calls++;
	yield();
	made = 42;
	return arg ? &made : NULL;
}

static void get(void *arg)
{
	(void)arg;
	check(cogo_lazy_get(&lazy, make_value, &lazy) == &made);
	check_eq(*(long *)cogo_lazy_get(&lazy, NULL, NULL), 42);
}

Test(lazy, the_value_is_made_once_and_all_get_it)
{
	struct task *t[12];

	begin();
	for (int i = 0; i < 12; i++)
		t[i] = either(i, get, NULL);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	check_eq(calls, 1);
}

Test(lazy, while_there_is_none_the_next_who_asks_tries_again)
{
	begin();
	check(cogo_lazy_get(&lazy, make_value, NULL) == NULL);
	check(cogo_lazy_get(&lazy, make_value, NULL) == NULL);
	check(cogo_lazy_get(&lazy, make_value, &lazy) == &made);
	check(cogo_lazy_get(&lazy, make_value, NULL) == &made);
	check_eq(calls, 3);
}

static void *panic_making(void *arg)
{
	(void)arg;
	panic();
	return NULL;
}

static void get_and_panic(void *arg)
{
	cogo_lazy_get(&lazy, panic_making, arg);
}

Test(lazy, where_making_it_is_left_by_a_panic_the_next_to_come_makes_it)
{
	begin();
	join(go(get_and_panic, NULL));
	check(cogo_lazy_get(&lazy, make_value, &lazy) == &made);
	check_eq(calls, 1);
}
