/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_waitgroup, through its public door. */
#include "world.h"

static struct cogo_waitgroup wg;

struct waits {
	struct cogo_waitgroup *wg;
	_Atomic int result;
	struct task *task;
};

static void wait_for_it(void *arg)
{
	struct waits *w = arg;

	w->result = cogo_waitgroup_wait(w->wg, COGO_FOREVER);
}

static void begin_wait(struct waits *w, int i, struct cogo_waitgroup *of)
{
	w->wg = of;
	w->result = 1;
	w->task = either(i, wait_for_it, w);
}

Test(waitgroup, at_zero_nobody_waits)
{
	begin();
	check_eq(cogo_waitgroup_wait(&wg, COGO_FOREVER), 0);
	cogo_waitgroup_add(&wg, 2);
	cogo_waitgroup_add(&wg, 0);
	cogo_waitgroup_done(&wg);
	check_eq(cogo_waitgroup_wait(&wg, 0), -ETIMEDOUT);
	check_eq(cogo_waitgroup_wait(&wg, SOON), -ETIMEDOUT);
	cogo_waitgroup_done(&wg);
	cogo_waitgroup_add(&wg, 0);
	check_eq(cogo_waitgroup_wait(&wg, 0), 0);
}

Test(waitgroup, the_call_that_reaches_zero_wakes_all_waiters)
{
	struct waits w[6] = { 0 };

	begin();
	cogo_waitgroup_add(&wg, 3);
	for (int i = 0; i < 6; i++) {
		begin_wait(&w[i], i, &wg);
		until_parked(w[i].task);
	}
	cogo_waitgroup_done(&wg);
	for (int i = 0; i < 6; i++)
		check_eq(w[i].result, 1);
	cogo_waitgroup_add(&wg, -2);
	for (int i = 0; i < 6; i++) {
		join(w[i].task);
		check_eq(w[i].result, 0);
	}
}

#define WORKERS 12
static long work[WORKERS];

static void do_work(void *arg)
{
	*(long *)arg += 1;
	cogo_waitgroup_done(&wg);
}

Test(waitgroup, a_waiter_sees_the_work_of_every_adder)
{
	struct task *t[WORKERS];

	begin();
	for (int round = 1; round <= 200; round++) {
		cogo_waitgroup_add(&wg, WORKERS);
		for (int i = 0; i < WORKERS; i++)
			t[i] = go(do_work, &work[i]);
		check_eq(cogo_waitgroup_wait(&wg, COGO_FOREVER), 0);
		for (int i = 0; i < WORKERS; i++)
			check_eq(work[i], round);
		for (int i = 0; i < WORKERS; i++)
			join(t[i]);
	}
}

static void do_one(void *arg)
{
	cogo_waitgroup_done(arg);
}

Test(waitgroup, memory_may_go_once_every_wait_returned)
{
	struct task *t[3];

	begin();
	for (int round = 0; round < 300; round++) {
		struct cogo_waitgroup *mine = calloc(1, sizeof(*mine));
		struct waits w = { 0 };

		cogo_waitgroup_add(mine, 3);
		begin_wait(&w, round, mine);
		for (int i = 0; i < 3; i++)
			t[i] = go(do_one, mine);
		check_eq(cogo_waitgroup_wait(mine, COGO_FOREVER), 0);
		join(w.task);
		memset(mine, 0xff, sizeof(*mine));
		free(mine);
		for (int i = 0; i < 3; i++)
			join(t[i]);
	}
}

static void wait_cancelled(void *arg)
{
	while (!cancel_wanted(self()))
		yield();
	wait_for_it(arg);
}

Test(waitgroup, who_is_cancelled_waits_no_more)
{
	struct waits w = { 0 };

	begin();
	cogo_waitgroup_add(&wg, 1);
	begin_wait(&w, 0, &wg);
	until_parked(w.task);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
	cogo_waitgroup_done(&wg);
	w.task = go(wait_cancelled, &w);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
}

static void below(void *arg)
{
	cogo_waitgroup_add(arg, -1);
}

static void further_below(void *arg)
{
	cogo_waitgroup_add(arg, 2);
	cogo_waitgroup_add(arg, -3);
}

static void beyond(void *arg)
{
	cogo_waitgroup_add(arg, INT32_MAX);
	cogo_waitgroup_add(arg, 1);
}

Test(waitgroup, going_below_zero_or_beyond_all_counting_aborts)
{
	check_eq(unit_signal_of(below, &wg), SIGABRT);
	check_eq(unit_signal_of(further_below, &wg), SIGABRT);
	check_eq(unit_signal_of(beyond, &wg), SIGABRT);
}
