/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_timer.c - channels that time fills. What is late here may be as late as it
 * likes; nothing may be early. */
#include "with.h"
#include "cogo/select.h"

#define SPAN (2 * COGO_MS)

Test(timer, a_moment_is_received_once_and_not_before_it_has_come)
{
	cogo_time when = sys_now() + SPAN, at = 0;
	struct cogo_chan *t;

	with(1);
	t = cogo_after(when);
	check_eq(cogo_try_recv(t, &at), sys_now() < when ? -EAGAIN : 0);
	if (!at)
		check_eq(cogo_recv(t, &at, COGO_FOREVER), 0);
	check(sys_now() >= when);
	check_eq(at, when);
	check_eq(cogo_try_recv(t, &at), -EAGAIN);
	check_eq(cogo_recv(t, &at, sys_now() + SPAN), -ETIMEDOUT);
	check_eq(cogo_chan_cap(t), 0);
	cogo_chan_free(t);
}

Test(timer, a_deadline_that_is_sooner_ends_the_wait)
{
	cogo_time soon = sys_now() + SPAN;
	struct cogo_chan *t;

	with(1);
	t = cogo_timer_new(sys_now() + 1000 * COGO_SEC);
	check_eq(cogo_recv(t, NULL, soon), -ETIMEDOUT);
	check(sys_now() >= soon);
	check_eq(cogo_timer_stop(t), 1);
	check_eq(cogo_timer_stop(t), 0);
	cogo_chan_free(t);
	cogo_chan_free(cogo_timer_new(0));
}

Test(timer, after_a_stop_or_a_reset_nothing_stale_is_received)
{
	cogo_time at, far = sys_now() + 1000 * COGO_SEC;
	struct cogo_chan *t;

	with(1);
	t = cogo_timer_new(0);
	/* Due, and not received: as good as set. */
	check_eq(cogo_timer_stop(t), 1);
	check_eq(cogo_try_recv(t, &at), -EAGAIN);
	check_eq(cogo_timer_reset(t, 5), 0);
	check_eq(cogo_timer_reset(t, far), 1);
	check_eq(cogo_try_recv(t, &at), -EAGAIN);
	check_eq(cogo_timer_reset(t, 7), 1);
	check_eq(cogo_recv(t, &at, 0), 0);
	check_eq(at, 7);
	cogo_chan_free(t);
}

struct receiving {
	struct cogo_chan *t;
	cogo_time at;
	int result;
};

static void receive(void *arg)
{
	struct receiving *r = arg;

	r->result = cogo_recv(r->t, &r->at, COGO_FOREVER);
}

Test(timer, who_waits_for_a_moment_waits_for_the_new_one_after_a_reset)
{
	struct receiving r = { .result = 1 };
	struct coro *c;

	with(2);
	r.t = cogo_timer_new(sys_now() + 1000 * COGO_SEC);
	for (int i = 1; i <= 20; i++) {
		until_waits(go(receive, &r));
		check_eq(cogo_timer_reset(r.t, i), i == 1);
		join_all();
		check_eq(r.result, 0);
		check_eq(r.at, i);
	}
	/* Nor does one that is stopped let anybody go at the old moment. */
	cogo_timer_reset(r.t, sys_now() + SPAN);
	c = go(receive, &r);
	wait_until(waits(c) || over(c));
	if (cogo_timer_stop(r.t)) {
		struct timespec nap = { .tv_nsec = 2 * SPAN };

		nanosleep(&nap, NULL);
		check(with_running == 1);
		cogo_timer_reset(r.t, 77);
		join_all();
		check_eq(r.at, 77);
	}
	join_all();
}

Test(timer, a_close_ends_it)
{
	struct receiving r = { .result = 1 };

	with(2);
	r.t = cogo_timer_new(sys_now() + 1000 * COGO_SEC);
	until_waits(go(receive, &r));
	cogo_chan_close(r.t);
	join_all();
	check_eq(r.result, -EPIPE);
}

Test(timer, of_several_who_wait_one_receives_the_moment)
{
	struct receiving r[4];
	struct coro *c[4];
	struct cogo_chan *t;
	int got;

	with(2);
	t = cogo_timer_new(sys_now() + 1000 * COGO_SEC);
	for (int i = 0; i < 4; i++) {
		r[i] = (struct receiving){ .t = t, .result = 1 };
		until_waits(c[i] = go(receive, &r[i]));
	}
	for (int round = 1; round <= 4; round++) {
		cogo_timer_reset(t, round);
		wait_until(with_running == 4 - round);
		for (int i = 0; i < 4; i++)
			wait_until(over(c[i]) || waits(c[i]));
		got = 0;
		for (int i = 0; i < 4; i++)
			got += r[i].result == 0;
		check_eq(got, round);
		check_eq(cogo_try_recv(t, NULL), -EAGAIN);
	}
}

/* A tick that was received is never received again, whoever stops and resets. */
struct race {
	struct cogo_chan *t;
	_Atomic int64_t floor;
	_Atomic bool end;
};

static void reset_again_and_again(void *arg)
{
	struct race *r = arg;

	for (int64_t i = 1; i < 20000; i++) {
		cogo_timer_stop(r->t);
		/* From here on nothing below i can come. */
		atomic_store(&r->floor, i);
		cogo_timer_reset(r->t, i);
		if (i % 64 == 0)
			yield();
	}
	r->end = true;
	cogo_chan_close(r->t);
}

static void receive_nothing_stale(void *arg)
{
	struct race *r = arg;
	cogo_time at;
	int64_t floor;

	for (;;) {
		floor = atomic_load(&r->floor);
		if (cogo_recv(r->t, &at, COGO_FOREVER))
			return;
		check(at >= floor);
	}
}

Test(timer, a_receive_that_begins_after_the_stop_sees_nothing_from_before_it)
{
	struct race r = { 0 };

	with(2);
	r.t = cogo_timer_new(COGO_FOREVER);
	go(receive_nothing_stale, &r);
	go(receive_nothing_stale, &r);
	go(reset_again_and_again, &r);
	join_all();
	check(r.end);
}

Test(timer, ticks_do_not_drift)
{
	cogo_time period = COGO_MS / 2, at, first = 0, last = 0;
	struct cogo_chan *t;

	with(1);
	t = cogo_ticker_new(period);
	for (int i = 0; i < 20; i++) {
		check_eq(cogo_recv(t, &at, COGO_FOREVER), 0);
		check(at <= sys_now());
		if (!first)
			first = at;
		check_eq((at - first) % period, 0);
		check(i == 0 || at > last);
		last = at;
	}
	cogo_chan_free(t);
}

Test(timer, ticks_that_nobody_was_there_for_do_not_pile_up)
{
	cogo_time at, next;
	struct cogo_chan *t;
	int n = 0;

	with(1);
	t = cogo_ticker_new(1000 * COGO_SEC);
	/* As if a hundred thousand periods, and a bit, had gone by. */
	next = sys_now() + 500 * COGO_SEC;
	cogo_timer_reset(t, next - 100001 * (1000 * COGO_SEC));
	while (cogo_try_recv(t, &at) == 0)
		n++;
	check_eq(n, 1);
	check_eq(at, next - 1000 * COGO_SEC);
	cogo_chan_free(t);
	t = cogo_ticker_new(INT64_MAX);
	check_eq(cogo_try_recv(t, &at), -EAGAIN);
	cogo_chan_free(t);
	t = cogo_ticker_new(-3);
	check_eq(cogo_recv(t, &at, COGO_FOREVER), 0);
	check_eq(cogo_recv(t, &at, COGO_FOREVER), 0);
	cogo_chan_free(t);
}

Test(timer, in_a_select_a_moment_is_a_case_like_any_other)
{
	struct cogo_chan *late, *soon, *c = cogo_chan_new(4, 0);
	cogo_time when, at = 0;
	int chosen = 0;

	with(1);
	late = cogo_timer_new(sys_now() + 1000 * COGO_SEC);
	soon = cogo_timer_new(when = sys_now() + SPAN);
	cogo_choose (COGO_FOREVER) {
	COGO_SIGNAL(c)
		chosen = 1;
	COGO_RECV(late, at)
		chosen = 2;
	COGO_RECV(soon, at)
		chosen = 3;
	}
	check_eq(chosen, 3);
	check_eq(at, when);
	check(sys_now() >= when);
	/* It has gone: the next select waits for its own deadline. */
	cogo_choose (sys_now() + SPAN) {
	COGO_RECV(soon, at)
		chosen = 1;
	COGO_DEFAULT
		chosen = 2;
	}
	check_eq(chosen, 2);
}

static void select_two(void *arg)
{
	struct receiving *r = arg;

	cogo_choose (COGO_FOREVER) {
	COGO_SIGNAL(NULL)
		r->result = 7;
	COGO_RECV(r->t, r->at)
		r->result = 0;
	}
}

Test(timer, a_select_that_waits_hears_of_a_reset)
{
	struct receiving r = { .result = 1 };

	with(2);
	r.t = cogo_timer_new(COGO_FOREVER);
	until_waits(go(select_two, &r));
	cogo_timer_reset(r.t, sys_now() + 1000 * COGO_SEC);
	cogo_timer_reset(r.t, 9);
	join_all();
	check_eq(r.result, 0);
	check_eq(r.at, 9);
}

static void send_to_a_timer(void *arg)
{
	cogo_time x = 0;

	cogo_try_send(arg, &x);
}

static void reset_a_channel(void *arg)
{
	(void)arg;
	cogo_timer_reset(cogo_chan_new(8, 1), 1);
}

Test(timer, to_take_a_channel_for_a_timer_or_a_timer_for_a_channel_aborts)
{
	with(1);
	check_eq(unit_signal_of(send_to_a_timer, cogo_after(0)), SIGABRT);
	check_eq(unit_signal_of(reset_a_channel, NULL), SIGABRT);
}
