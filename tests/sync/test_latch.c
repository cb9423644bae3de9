/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_latch, through its public door. */
#include "world.h"

static struct cogo_latch l;
static _Atomic int firsts;
static long work;

struct waits {
	struct cogo_latch *latch;
	_Atomic int result;
	struct task *task;
};

static void wait_for_it(void *arg)
{
	struct waits *w = arg;

	w->result = cogo_latch_wait(w->latch, COGO_FOREVER);
	if (w->result == 0)
		check_eq(work, 42);
}

static void begin_wait(struct waits *w, int i, struct cogo_latch *latch)
{
	w->latch = latch;
	w->result = 1;
	w->task = either(i, wait_for_it, w);
}

static void fire(void *arg)
{
	firsts += cogo_latch_fire(arg);
}

Test(latch, all_who_wait_go_on_and_those_who_come_later_do_not_wait)
{
	struct waits w[6] = { 0 };

	begin();
	check(!cogo_latch_fired(&l));
	for (int i = 0; i < 6; i++) {
		begin_wait(&w[i], i, &l);
		until_parked(w[i].task);
	}
	work = 42;
	check(cogo_latch_fire(&l));
	for (int i = 0; i < 6; i++) {
		join(w[i].task);
		check_eq(w[i].result, 0);
	}
	check(cogo_latch_fired(&l));
	check_eq(cogo_latch_wait(&l, 0), 0);
	check_eq(cogo_latch_wait(&l, COGO_FOREVER), 0);
}

Test(latch, one_call_alone_has_fired_it)
{
	struct task *t[8];

	begin();
	for (int i = 0; i < 8; i++)
		t[i] = either(i, fire, &l);
	for (int i = 0; i < 8; i++)
		join(t[i]);
	check_eq(firsts, 1);
	check(!cogo_latch_fire(&l));
}

Test(latch, a_wait_gives_up_at_its_deadline)
{
	begin();
	check_eq(cogo_latch_wait(&l, 0), -ETIMEDOUT);
	check_eq(cogo_latch_wait(&l, SOON), -ETIMEDOUT);
}

static void wait_cancelled(void *arg)
{
	while (!cancel_wanted(self()))
		yield();
	wait_for_it(arg);
}

Test(latch, who_is_cancelled_waits_no_more)
{
	struct waits w = { 0 };

	begin();
	begin_wait(&w, 0, &l);
	until_parked(w.task);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
	cogo_latch_fire(&l);
	w.task = go(wait_cancelled, &w);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
}

Test(latch, its_memory_may_go_once_it_was_fired_and_every_wait_returned)
{
	begin();
	work = 42;
	for (int round = 0; round < 300; round++) {
		struct cogo_latch *mine = calloc(1, sizeof(*mine));
		struct waits w = { 0 };
		struct task *t;

		begin_wait(&w, round, mine);
		t = go(fire, mine);
		check_eq(cogo_latch_wait(mine, COGO_FOREVER), 0);
		join(w.task);
		memset(mine, 0xff, sizeof(*mine));
		free(mine);
		join(t);
	}
}
