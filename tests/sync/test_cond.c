/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_cond, through its public door. */
#include "world.h"

static struct cogo_mutex m;
static struct cogo_cond c;
static _Atomic int went_on, held_after;
static _Atomic bool poisons;

struct waits {
	cogo_time deadline;
	_Atomic int result;
	struct task *task;
};

static void wait_once(void *arg)
{
	struct waits *w = arg;

	check_eq(cogo_mutex_lock(&m), 0);
	w->result = cogo_cond_wait(&c, &m, w->deadline);
	held_after += cogo_mutex_lock(&m) == -EDEADLK;
	if (w->result == -EOWNERDEAD && !poisons)
		cogo_mutex_consistent(&m);
	went_on++;
	cogo_mutex_unlock(&m);
}

static void begin_wait(struct waits *w, int i, cogo_time deadline)
{
	w->deadline = deadline;
	w->result = 1;
	w->task = either(i, wait_once, w);
	until_parked(w->task);
}

static void take(void)
{
	check_eq(cogo_mutex_lock(&m), 0);
}

static void let_go(void)
{
	check_eq(cogo_mutex_unlock(&m), 0);
}

Test(cond, a_signal_wakes_one_and_a_broadcast_all)
{
	struct waits w[6] = { 0 };

	begin();
	for (int i = 0; i < 6; i++)
		begin_wait(&w[i], i, COGO_FOREVER);
	cogo_cond_signal(&c);
	wait_until(went_on == 1);
	take();
	cogo_cond_signal(&c);
	let_go();
	wait_until(went_on == 2);
	cogo_cond_broadcast(&c);
	for (int i = 0; i < 6; i++) {
		join(w[i].task);
		check_eq(w[i].result, 0);
	}
	check_eq(held_after, 6);
	cogo_cond_signal(&c);
	cogo_cond_broadcast(&c);
	check_eq(cogo_mutex_trylock(&m), 0);
}

Test(cond, a_broadcast_by_one_that_has_the_mutex_lets_them_on_one_by_one)
{
	struct waits w[6] = { 0 };

	begin();
	for (int i = 0; i < 6; i++)
		begin_wait(&w[i], i, COGO_FOREVER);
	take();
	cogo_cond_broadcast(&c);
	check_eq(went_on, 0);
	let_go();
	for (int i = 0; i < 6; i++) {
		join(w[i].task);
		check_eq(w[i].result, 0);
	}
	check_eq(held_after, 6);
}

Test(cond, a_wait_gives_up_at_its_deadline_and_has_the_mutex_again)
{
	begin();
	take();
	check_eq(cogo_cond_wait(&c, &m, 0), -ETIMEDOUT);
	check_eq(cogo_cond_wait(&c, &m, SOON), -ETIMEDOUT);
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
	let_go();
}

Test(cond, who_is_cancelled_waiting_has_the_mutex_again)
{
	struct waits w = { 0 };

	begin();
	begin_wait(&w, 0, COGO_FOREVER);
	/* It comes back only when it can have it. */
	take();
	cancel(w.task);
	until_parked(w.task);
	check_eq(w.result, 1);
	let_go();
	join(w.task);
	check_eq(w.result, -ECANCELED);
	check_eq(held_after, 1);
}

static void wait_cancelled(void *arg)
{
	struct waits *w = arg;

	while (!cancel_wanted(self()))
		yield();
	wait_once(w);
}

Test(cond, who_is_cancelled_already_does_not_let_go)
{
	struct waits w = { .deadline = COGO_FOREVER };

	begin();
	w.task = go(wait_cancelled, &w);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
	check_eq(held_after, 1);
}

static void hold_and_yield(void *arg)
{
	(void)arg;
	take();
	for (int i = 0; i < 3; i++)
		yield();
	let_go();
}

Test(cond, a_wait_without_the_mutex_is_refused)
{
	struct task *t;

	begin();
	check_eq(cogo_cond_wait(&c, &m, COGO_FOREVER), -EPERM);
	t = go(hold_and_yield, NULL);
	check_eq(cogo_cond_wait(&c, &m, COGO_FOREVER), -EPERM);
	join(t);
}

static void lock_and_end(void *arg)
{
	(void)arg;
	take();
}

Test(cond, a_wait_with_a_poisoned_mutex_ends_at_once)
{
	begin();
	join(go(lock_and_end, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	check_eq(cogo_cond_wait(&c, &m, COGO_FOREVER), -EOWNERDEAD);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_cond_wait(&c, &m, 0), -ETIMEDOUT);
	let_go();
}

static void signal_and_end(void *arg)
{
	(void)arg;
	take();
	cogo_cond_signal(&c);
}

Test(cond, who_is_woken_by_one_that_poisons_the_mutex_has_it_and_is_told)
{
	struct waits w = { 0 };

	begin();
	begin_wait(&w, 0, COGO_FOREVER);
	join(go(signal_and_end, NULL));
	join(w.task);
	check_eq(w.result, -EOWNERDEAD);
	check_eq(held_after, 1);
	check_eq(cogo_mutex_lock(&m), 0);
}

Test(cond, of_a_mutex_that_was_lost_a_waiter_is_told_and_does_not_have_it)
{
	struct waits w = { 0 };

	begin();
	begin_wait(&w, 0, COGO_FOREVER);
	join(go(lock_and_end, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	let_go();
	cogo_cond_signal(&c);
	join(w.task);
	check_eq(w.result, -ENOTRECOVERABLE);
	check_eq(held_after, 0);
}

/* A token is put there for each signal: none may be lost with one that is
 * cancelled, nor be taken twice. */
static int tokens;
static _Atomic int taken;

static void take_token(void *arg)
{
	struct waits *w = arg;
	int r = 0;

	take();
	while (r == 0 && tokens == 0)
		r = cogo_cond_wait(&c, &m, COGO_FOREVER);
	if (r == 0) {
		tokens--;
		taken++;
	}
	w->result = r;
	let_go();
}

Test(cond, a_signal_to_one_that_is_cancelled_wakes_another, .timeout = 100)
{
	struct waits a, b;

	begin();
	for (int round = 0; round < 200; round++) {
		a.result = b.result = 1;
		a.task = either(round, take_token, &a);
		until_parked(a.task);
		b.task = either(round / 3, take_token, &b);
		until_parked(b.task);
		take();
		tokens++;
		if (round % 2)
			let_go();
		cancel(a.task);
		cogo_cond_signal(&c);
		if (round % 2 == 0)
			let_go();
		join(a.task);
		if (a.result == 0) {
			/* It was quicker than its cancellation. */
			take();
			tokens++;
			cogo_cond_signal(&c);
			let_go();
		}
		join(b.task);
		check_eq(b.result, 0);
	}
	check_eq(tokens, 0);
}

/* Pairs that pass a turn to and fro, by signal alone. */
#define TURNS 2000
static struct cogo_cond turn_changed[2];
static int turn;

static void alternate(void *arg)
{
	int mine = *(int *)arg;

	for (int i = 0; i < TURNS; i++) {
		take();
		while (turn != mine)
			check_eq(cogo_cond_wait(&turn_changed[mine], &m,
						COGO_FOREVER), 0);
		turn = !mine;
		cogo_cond_signal(&turn_changed[!mine]);
		let_go();
	}
}

Test(cond, a_coroutine_and_a_thread_take_turns)
{
	int who[2] = { 0, 1 };
	struct task *t, *u;

	begin();
	t = go(alternate, &who[0]);
	u = spawn(alternate, &who[1]);
	join(t);
	join(u);
	check_eq(turn, 0);
}
