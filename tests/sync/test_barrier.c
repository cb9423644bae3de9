/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_barrier, through its public door. */
#include "world.h"

static struct cogo_barrier b;
static _Atomic int arrived, last;

struct waits {
	uint32_t count;
	cogo_time deadline;
	_Atomic int result;
	struct task *task;
};

static void wait_once(void *arg)
{
	struct waits *w = arg;

	w->result = cogo_barrier_wait(&b, w->count, w->deadline);
}

static void begin_wait(struct waits *w, int i, uint32_t count)
{
	w->count = count;
	w->deadline = COGO_FOREVER;
	w->result = 2;
	w->task = either(i, wait_once, w);
}

#define ALL 9
#define ROUNDS 300

static void meet(void *arg)
{
	int r;

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		arrived++;
		r = cogo_barrier_wait(&b, ALL, COGO_FOREVER);
		check(r == 0 || r == 1);
		last += r;
		check(arrived >= (i + 1) * ALL);
	}
}

Test(barrier, nobody_goes_on_before_all_are_there_and_one_is_told_it_was_the_last)
{
	struct task *t[ALL];

	begin();
	for (int i = 0; i < ALL; i++)
		t[i] = either(i, meet, NULL);
	for (int i = 0; i < ALL; i++)
		join(t[i]);
	check_eq(last, ROUNDS);
	check_eq(b.here, 0);
}

Test(barrier, one_alone_does_not_wait_and_none_cannot)
{
	begin();
	check_eq(cogo_barrier_wait(&b, 1, 0), 1);
	check_eq(cogo_barrier_wait(&b, 1, COGO_FOREVER), 1);
	check_eq(cogo_barrier_wait(&b, 0, COGO_FOREVER), -EINVAL);
}

Test(barrier, who_gives_up_at_its_deadline_counts_no_more)
{
	struct waits w[2] = { 0 };

	begin();
	check_eq(cogo_barrier_wait(&b, 3, 0), -ETIMEDOUT);
	check_eq(cogo_barrier_wait(&b, 3, SOON), -ETIMEDOUT);
	for (int i = 0; i < 2; i++) {
		begin_wait(&w[i], i, 3);
		until_parked(w[i].task);
	}
	check_eq(w[0].result, 2);
	check_eq(cogo_barrier_wait(&b, 3, COGO_FOREVER), 1);
	for (int i = 0; i < 2; i++) {
		join(w[i].task);
		check_eq(w[i].result, 0);
	}
}

Test(barrier, who_is_cancelled_counts_no_more)
{
	struct waits w[2] = { 0 };

	begin();
	for (int i = 0; i < 2; i++) {
		begin_wait(&w[i], 0, 3);
		until_parked(w[i].task);
	}
	cancel(w[0].task);
	join(w[0].task);
	check_eq(w[0].result, -ECANCELED);
	check_eq(cogo_barrier_wait(&b, 3, 0), -ETIMEDOUT);
	check_eq(w[1].result, 2);
	check_eq(cogo_barrier_wait(&b, 2, COGO_FOREVER), 1);
	join(w[1].task);
	check_eq(w[1].result, 0);
}

/* Whoever ends the round has counted the one that is being cancelled, or not:
 * then it cannot have ended. */
Test(barrier, who_was_counted_says_so_though_it_was_cancelled)
{
	struct waits w;
	int r;

	begin();
	for (int i = 0; i < 200; i++) {
		begin_wait(&w, i, 2);
		until_parked(w.task);
		cancel(w.task);
		r = cogo_barrier_wait(&b, 2, SOON);
		join(w.task);
		check(r == 1 ? w.result == 0 :
			       r == -ETIMEDOUT && w.result == -ECANCELED);
		check_eq(b.here, 0);
	}
}

static void wait_cancelled(void *arg)
{
	while (!cancel_wanted(self()))
		yield();
	wait_once(arg);
}

Test(barrier, who_is_cancelled_already_does_not_arrive)
{
	struct waits w = { .count = 1 };

	begin();
	w.task = go(wait_cancelled, &w);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
	check_eq(b.round, 0);
}
