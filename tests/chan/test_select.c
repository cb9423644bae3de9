/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_select.c - waiting for several things, and doing one. */
#include "with.h"
#include "cogo/go.h"
#include "cogo/select.h"
#include "sched/ready.h"
#include "wait/native.h"
#include <fcntl.h>

#define SOON (sys_now() + COGO_MS)

static struct cogo_case sends(struct cogo_chan *c, const int *x)
{
	return (struct cogo_case){ .kind = COGO_CASE_SEND, .result = 1,
				   .chan = c, .item = x };
}

static struct cogo_case recvs(struct cogo_chan *c, int *x)
{
	return (struct cogo_case){ .kind = COGO_CASE_RECV, .result = 1,
				   .chan = c, .ret_item = x };
}

static struct cogo_case fd_case(enum cogo_case_kind kind, int fd)
{
	return (struct cogo_case){ .kind = kind, .result = 1, .fd = fd };
}

static struct cogo_chan *chan(size_t cap)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), cap);

	check(c != NULL);
	return c;
}

/* ---- alone ---- */

Test(select, with_nothing_to_do_and_no_time_it_says_so)
{
	struct cogo_chan *c = chan(0);
	int x = 0;
	struct cogo_case cases[] = { sends(c, &x), recvs(c, &x) };

	with(1);
	check_eq(cogo_select(cases, 2, 0), -ETIMEDOUT);
	check_eq(cogo_select(cases, 0, 0), -ETIMEDOUT);
	check_eq(cogo_select(NULL, 0, SOON), -ETIMEDOUT);
	check_eq(cogo_chan_len(c), 0);
	cogo_chan_free(c);
}

Test(select, the_one_that_is_possible_is_done)
{
	struct cogo_chan *empty = chan(2), *full = chan(1), *some = chan(2);
	int x = 4, y = 0, z = 0;
	struct cogo_case cases[] = { recvs(empty, &y), sends(full, &x),
				     recvs(some, &z) };

	with(1);
	check_eq(cogo_try_send(full, &x), 0);
	check_eq(cogo_try_send(some, &x), 0);
	check_eq(cogo_select(cases, 3, COGO_FOREVER), 2);
	check_eq(cases[2].result, 0);
	check_eq(z, 4);
	check_eq(cogo_select(cases, 3, 0), -ETIMEDOUT);
	check_eq(cogo_try_recv(full, &z), 0);
	check_eq(cogo_select(cases, 3, COGO_FOREVER), 1);
	check_eq(cogo_chan_len(full), 1);
}

Test(select, what_is_not_there_is_never_chosen)
{
	int x = 0;
	struct cogo_case cases[] = {
		sends(NULL, &x), recvs(NULL, &x),
		{ .kind = COGO_CASE_NONE },
		{ .kind = COGO_CASE_END, .coro = NULL },
		fd_case(COGO_CASE_READABLE, -1),
	};

	with(1);
	check_eq(cogo_select(cases, ARRAY_SIZE(cases), 0), -ETIMEDOUT);
	check_eq(cogo_select(cases, ARRAY_SIZE(cases), SOON), -ETIMEDOUT);
}

Test(select, of_several_that_are_possible_each_has_the_same_chance)
{
	enum { N = 5, ROUNDS = 10000 };
	struct cogo_chan *c = chan(1);
	int x = 0, counts[N] = { 0 };
	struct cogo_case cases[N];

	with(1);
	self()->luck = 4711;
	for (int i = 0; i < N; i++)
		cases[i] = i == 2 ? recvs(chan(0), &x) : sends(c, &x);
	for (int i = 0; i < ROUNDS; i++) {
		int k = cogo_select(cases, N, COGO_FOREVER);

		check(k >= 0);
		counts[k]++;
		check_eq(cogo_try_recv(c, &x), 0);
	}
	check_eq(counts[2], 0);
	for (int i = 0; i < N; i++)
		check(i == 2 || (counts[i] > 2300 && counts[i] < 2700));
}

Test(select, a_closed_channel_is_always_possible_and_says_that_it_is_closed)
{
	struct cogo_chan *c = chan(1);
	int x = 5;
	struct cogo_case in = recvs(c, &x), out = sends(c, &x);

	with(1);
	cogo_chan_close(c);
	check_eq(cogo_select(&in, 1, COGO_FOREVER), 0);
	check_eq(in.result, -EPIPE);
	check_eq(x, 0);
	check_eq(cogo_select(&out, 1, COGO_FOREVER), 0);
	check_eq(out.result, -EPIPE);
}

/* ---- one that waits, and the test ---- */

struct waiting {
	struct cogo_case cases[24];
	size_t n;
	cogo_time deadline;
	int chosen;
};

static void wait_select(void *arg)
{
	struct waiting *w = arg;

	w->chosen = cogo_select(w->cases, w->n, w->deadline);
}

Test(select, to_send_and_to_receive_on_one_channel_is_not_to_serve_oneself)
{
	struct cogo_chan *c = chan(0);
	int out = 7, in = 0, x = 9;
	struct waiting w = { .cases = { sends(c, &out), recvs(c, &in) },
			     .n = 2, .deadline = COGO_FOREVER };

	with(2);
	for (int i = 0; i < 2; i++) {
		w.deadline = i ? COGO_FOREVER : SOON;
		if (!i) {
			wait_select(&w);
			check_eq(w.chosen, -ETIMEDOUT);
			continue;
		}
		until_waits(go(wait_select, &w));
		check_eq(cogo_try_recv(c, &x), 0);
		check_eq(x, 7);
		join_all();
		check_eq(w.chosen, 0);
		until_waits(go(wait_select, &w));
		x = 9;
		check_eq(cogo_try_send(c, &x), 0);
		join_all();
		check_eq(w.chosen, 1);
		check_eq(in, 9);
	}
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	check_eq(cogo_try_recv(c, &x), -EAGAIN);
}

Test(select, a_channel_may_stand_in_several_cases)
{
	struct cogo_chan *c = chan(0);
	int x[3] = { 0 }, y = 6;
	struct waiting w = { .cases = { recvs(c, &x[0]), recvs(c, &x[1]),
					recvs(c, &x[2]) },
			     .n = 3, .deadline = COGO_FOREVER };

	with(1);
	until_waits(go(wait_select, &w));
	check_eq(cogo_try_send(c, &y), 0);
	check_eq(cogo_try_send(c, &y), -EAGAIN);
	join_all();
	check(w.chosen >= 0 && w.chosen < 3);
	check_eq(x[w.chosen], 6);
	check_eq(x[0] + x[1] + x[2], 6);
}

Test(select, more_cases_than_a_few_are_as_good)
{
	struct waiting w = { .n = 24, .deadline = COGO_FOREVER };
	struct cogo_chan *c[12];
	int x[24] = { 0 }, y;

	with(2);
	for (int i = 0; i < 12; i++)
		c[i] = chan(0);
	for (int i = 0; i < 24; i++)
		w.cases[i] = recvs(c[i * 7 % 12], &x[i]);
	for (int i = 0; i < 12; i++) {
		until_waits(go(wait_select, &w));
		y = i + 1;
		check_eq(cogo_try_send(c[i], &y), 0);
		join_all();
		check_eq(w.chosen * 7 % 12, i);
		check_eq(x[w.chosen], y);
	}
}

Test(select, a_close_ends_the_wait)
{
	struct cogo_chan *c = chan(0), *d = chan(0);
	int x = 3, y = 3;
	struct waiting w = { .cases = { recvs(c, &x), sends(d, &y) }, .n = 2,
			     .deadline = COGO_FOREVER };

	with(2);
	until_waits(go(wait_select, &w));
	cogo_chan_close(c);
	join_all();
	check_eq(w.chosen, 0);
	check_eq(w.cases[0].result, -EPIPE);
	check_eq(x, 0);
	w.cases[0].chan = NULL;
	until_waits(go(wait_select, &w));
	cogo_chan_close(d);
	join_all();
	check_eq(w.chosen, 1);
	check_eq(w.cases[1].result, -EPIPE);
}

Test(select, one_that_gives_up_leaves_every_channel_as_it_was)
{
	struct cogo_chan *c = chan(0), *d = chan(0);
	int x = 3, y = 3;
	struct waiting w = { .cases = { recvs(c, &x), sends(d, &y) }, .n = 2,
			     .deadline = SOON };
	struct coro *s;

	with(2);
	go(wait_select, &w);
	join_all();
	check_eq(w.chosen, -ETIMEDOUT);
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	check_eq(cogo_try_recv(d, &x), -EAGAIN);
	w.deadline = COGO_FOREVER;
	s = go(wait_select, &w);
	until_waits(s);
	cancel(s);
	join_all();
	check_eq(w.chosen, -ECANCELED);
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	check_eq(cogo_try_recv(d, &x), -EAGAIN);
}

/* ---- never two, never none ---- */

#define ROUNDS 3000

struct crossed {
	struct cogo_chan *x, *y, *ack;
	_Atomic int done[2];	/* by case */
	int other;
};

/* A receives X or sends Y; B sends X or receives Y. One exchange does for both. */
static void side_a(void *arg)
{
	struct crossed *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int out = i, in = -1;
		struct cogo_case cases[] = { recvs(s->x, &in), sends(s->y, &out) };
		int k = cogo_select(cases, 2, COGO_FOREVER);

		check(k == 0 || k == 1);
		check_eq(cases[k].result, 0);
		check_eq(in, k == 0 ? i : -1);
		s->done[k]++;
		check_eq(cogo_recv(s->ack, &s->other, COGO_FOREVER), 0);
		check_eq(s->other, k);
	}
}

static void side_b(void *arg)
{
	struct crossed *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int out = i, in = -1;
		struct cogo_case cases[] = { sends(s->x, &out), recvs(s->y, &in) };
		int k = cogo_select(cases, 2, COGO_FOREVER);

		check(k == 0 || k == 1);
		check_eq(in, k == 1 ? i : -1);
		/* A has been served, and is nowhere any more. */
		check_eq(cogo_try_send(s->x, &out), -EAGAIN);
		check_eq(cogo_try_recv(s->x, &in), -EAGAIN);
		check_eq(cogo_try_send(s->y, &out), -EAGAIN);
		check_eq(cogo_try_recv(s->y, &in), -EAGAIN);
		check_eq(cogo_send(s->ack, &k, COGO_FOREVER), 0);
	}
}

static void cross(int workers)
{
	struct crossed s = { .x = chan(0), .y = chan(0), .ack = chan(0) };

	with(workers);
	go(side_a, &s);
	go(side_b, &s);
	join_all();
	check_eq(s.done[0] + s.done[1], ROUNDS);
}

Test(select, two_that_cross_agree_on_one_exchange_on_one_worker)
{
	cross(1);
}

Test(select, two_that_cross_agree_on_one_exchange_on_two_workers)
{
	cross(2);
}

struct both {
	struct cogo_chan *c[2];
	_Atomic int sent[2];
};

static void send_rounds_0(void *arg)
{
	struct both *b = arg;

	for (int i = 0; i < ROUNDS; i++, b->sent[0]++)
		check_eq(cogo_send(b->c[0], &i, COGO_FOREVER), 0);
}

static void send_rounds_1(void *arg)
{
	struct both *b = arg;

	for (int i = 0; i < ROUNDS; i++, b->sent[1]++)
		check_eq(cogo_send(b->c[1], &i, COGO_FOREVER), 0);
}

static void take_both(void *arg)
{
	struct both *b = arg;
	int bodies, first = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int x = -1, y = -1;

		bodies = 0;
		cogo_choose (COGO_FOREVER) {
		COGO_RECV(b->c[0], x)
			bodies += 1;
		COGO_RECV(b->c[1], y)
			bodies += 2;
		}
		check(bodies == 1 || bodies == 2);
		check_eq(bodies == 1 ? x : y, i);
		check_eq(bodies == 1 ? y : x, -1);
		first += bodies == 1;
		/* What was not chosen is still there. */
		check_eq(cogo_recv(b->c[bodies == 1], &x, COGO_FOREVER), 0);
		check_eq(x, i);
	}
	check(first > 0 && first < ROUNDS);
}

static void both_ready(int workers)
{
	struct both b = { .c = { chan(0), chan(0) } };

	with(workers);
	go(send_rounds_0, &b);
	go(send_rounds_1, &b);
	go(take_both, &b);
	join_all();
	check_eq(b.sent[0], ROUNDS);
	check_eq(b.sent[1], ROUNDS);
}

Test(select, one_body_is_run_and_the_other_message_stays_on_one_worker)
{
	both_ready(1);
}

Test(select, one_body_is_run_and_the_other_message_stays_on_two_workers)
{
	both_ready(2);
}

static void *select_thread(void *arg)
{
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	side_a(arg);
	return NULL;
}

Test(select, a_thread_and_a_coroutine_cross_as_well)
{
	struct crossed s = { .x = chan(0), .y = chan(0), .ack = chan(0) };
	pthread_t t;

	with(1);
	check_eq(pthread_create(&t, NULL, select_thread, &s), 0);
	go(side_b, &s);
	pthread_join(t, NULL);
	join_all();
	check_eq(s.done[0] + s.done[1], ROUNDS);
}

/* ---- descriptors ---- */

Test(select, a_descriptor_is_a_case_like_any_other)
{
	struct cogo_chan *c = chan(0);
	int x = 0, p[2];
	char byte = 'x';
	struct waiting w = { .n = 2, .deadline = COGO_FOREVER };

	with(2);
	check_eq(pipe(p), 0);
	w.cases[0] = recvs(c, &x);
	w.cases[1] = fd_case(COGO_CASE_READABLE, p[0]);
	for (int i = 0; i < 20; i++) {
		until_waits(go(wait_select, &w));
		check_eq(write(p[1], &byte, 1), 1);
		join_all();
		check_eq(w.chosen, 1);
		check_eq(w.cases[1].result, 0);
		/* Nobody has read it for us. */
		check_eq(read(p[0], &byte, 1), 1);
		until_waits(go(wait_select, &w));
		check_eq(cogo_try_send(c, &i), 0);
		join_all();
		check_eq(w.chosen, 0);
		check_eq(x, i);
	}
	check_eq(cogo_select(w.cases, 2, 0), -ETIMEDOUT);
	check_eq(write(p[1], &byte, 1), 1);
	check_eq(cogo_select(w.cases, 2, 0), 1);
	w.cases[0] = fd_case(COGO_CASE_WRITABLE, p[1]);
	w.cases[1].kind = COGO_CASE_NONE;
	check_eq(cogo_select(w.cases, 2, COGO_FOREVER), 0);
	close(p[1]);
	w.cases[1] = fd_case(COGO_CASE_READABLE, p[0]);
	w.cases[0].kind = COGO_CASE_NONE;
	check_eq(cogo_select(w.cases, 2, COGO_FOREVER), 1);
}

Test(select, a_file_is_always_readable_and_a_closed_descriptor_an_error)
{
	struct cogo_chan *c = chan(0);
	int x = 0, fd = open("/proc/self/exe", O_RDONLY);
	struct cogo_case cases[] = { recvs(c, &x),
				     fd_case(COGO_CASE_READABLE, fd) };

	with(1);
	check_eq(cogo_select(cases, 2, COGO_FOREVER), 1);
	check_eq(cases[1].result, 0);
	check_eq(cogo_select(cases, 2, 0), 1);
	close(fd);
	check_eq(cogo_select(cases, 2, COGO_FOREVER), 1);
	check_eq(cases[1].result, -EBADF);
}

Test(select, a_descriptor_that_nobody_can_register_is_looked_at_again)
{
	struct cogo_chan *c = chan(0);
	int x = 0, p[2];
	struct waiting w = { .n = 2, .deadline = COGO_FOREVER };

	/* The poller was not started: a thread of a program that uses nothing
	 * but channels. */
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	check_eq(pipe(p), 0);
	w.cases[0] = recvs(c, &x);
	w.cases[1] = fd_case(COGO_CASE_READABLE, p[0]);
	w.deadline = sys_now() + 25 * COGO_MS;
	wait_select(&w);
	check_eq(w.chosen, -ETIMEDOUT);
	check_eq(write(p[1], "x", 1), 1);
	w.deadline = COGO_FOREVER;
	wait_select(&w);
	check_eq(w.chosen, 1);
}

/* ---- a coroutine's end ---- */

static void end_of(struct cogo_coro *n)
{
	struct coro_list woken = { 0 };
	struct coro *me = self();

	door_enter(me);
	lock(&n->lock);
	atomic_store(&n->ended, 1);
	waitq_claim_all(&n->waiters, 0, &woken);
	unlock(&n->lock);
	ready_all(&woken);
	door_leave(me);
}

Test(select, the_end_of_a_coroutine_is_a_case_too)
{
	struct cogo_chan *c = chan(0);
	struct cogo_coro *n;
	int x = 0;
	struct waiting w = { .n = 2, .deadline = COGO_FOREVER };

	with(2);
	n = cogo_self();
	w.cases[0] = recvs(c, &x);
	w.cases[1] = (struct cogo_case){ .kind = COGO_CASE_END, .coro = n };
	until_waits(go(wait_select, &w));
	check_eq(cogo_try_send(c, &x), 0);
	join_all();
	check_eq(w.chosen, 0);
	until_waits(go(wait_select, &w));
	end_of(n);
	join_all();
	check_eq(w.chosen, 1);
	check_eq(w.cases[1].result, 0);
	wait_select(&w);
	check_eq(w.chosen, 1);
}

/* ---- as a statement ---- */

static int returns_from_a_body(COGO_CHAN(int) c)
{
	int x;

	cogo_choose (COGO_FOREVER) {
	COGO_RECV(c, x) {
		return x;
	}
	}
	return -1;
}

static int reasons(struct cogo_chan *c, cogo_time deadline)
{
	int x, r = 0;

	cogo_choose (deadline) {
	COGO_RECV(c, x)
		return 1;
	COGO_FAILED(r)
		return r;
	}
	return 2;
}

static int evaluated;

static COGO_CHAN(int) counted(COGO_CHAN(int) c)
{
	evaluated++;
	return c;
}

Test(select, a_statement_runs_the_body_of_what_was_done)
{
	COGO_CHAN(int) c = cogo_make(int, 1);
	COGO_CHAN(int) d = cogo_make(int, 1);
	int x = 0, y = 8, bodies = 0, defaults = 0;

	with(1);
	check_eq(cogo_put(c, 5), 0);
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(counted(c), x) {
		check_eq(COGO_RESULT, 0);
		bodies++;
	}
	COGO_DEFAULT
		defaults++;
	}
	check_eq(x, 5);
	check_eq(bodies, 1);
	check_eq(evaluated, 1);
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(c, x)
		bodies++;
	COGO_DEFAULT
		defaults++;
	}
	check_eq(bodies, 1);
	check_eq(defaults, 1);
	cogo_choose (0) {
	COGO_RECV(c, x)
		bodies++;
	COGO_SEND(d, y) {
		bodies += 10;
		/* Out of the select, as in Go. */
		break;
		bodies += 100;
	}
	}
	check_eq(bodies, 11);
	check_eq(returns_from_a_body(d), 8);
	check_eq(reasons(cogo_raw(c), 0), -ETIMEDOUT);
	check_eq(reasons(NULL, SOON), -ETIMEDOUT);
	cogo_close(c);
	check_eq(reasons(cogo_raw(c), COGO_FOREVER), 1);
	cogo_choose (0) {
	COGO_SIGNAL(c)
		bodies = COGO_RESULT;
	}
	check_eq(bodies, -EPIPE);
}

static void count_up(void *arg)
{
	COGO_CHAN(int) *c = arg;

	for (int i = 0; i < 100; i++)
		check_eq(cogo_put(c[0], i), 0);
	cogo_close(c[0]);
	for (int i = 0; i < 50; i++)
		check_eq(cogo_put(c[1], i), 0);
	cogo_close(c[1]);
}

static void loop_over(void *arg)
{
	COGO_CHAN(int) *c = arg;
	COGO_CHAN(int) a = c[0], b = c[1];
	int x, na = 0, nb = 0, after = 0, r = 0;

	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(a, x) {
		if (COGO_RESULT == -EPIPE) {
			a = NULL;
			continue;
		}
		check_eq(x, na++);
	}
	COGO_RECV(b, x) {
		if (COGO_RESULT)
			break;
		check_eq(x, nb++);
	}
	COGO_FAILED(r)
		check(false);
	}
	after++;
	check_eq(na, 100);
	check_eq(nb, 50);
	check_eq(after, 1);
	/* Once it is to end it does not go round for ever. */
	cancel(self());
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(a, x)
		check(false);
	COGO_FAILED(r)
		after++;
	}
	check_eq(r, -ECANCELED);
	check_eq(after, 2);
}

Test(select, a_loop_of_selects_goes_on_until_a_body_breaks_or_it_is_to_end)
{
	COGO_CHAN(int) c[2] = { cogo_make(int, 0), cogo_make(int, 3) };

	with(2);
	go(count_up, c);
	go(loop_over, c);
	join_all();
}

static void choose_among_seventeen(void *arg)
{
	(void)arg;
	cogo_choose (0) {
	for (int i = 0; i < 17; i++)
		COGO_SIGNAL(NULL) {}
	}
}

static void take_another_size(void *arg)
{
	struct cogo_chan *c = arg;
	short x;

	cogo_choose (0) {
	COGO_RECV(c, x) {}
	}
}

Test(select, what_cannot_be_right_aborts)
{
	with(1);
	check_eq(unit_signal_of(choose_among_seventeen, NULL), SIGABRT);
	check_eq(unit_signal_of(take_another_size, chan(0)), SIGABRT);
}
