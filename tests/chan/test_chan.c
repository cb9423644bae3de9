/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_chan.c - channels. */
#include "with.h"
#include "cogo/chan.h"

#define SOON (sys_now() + COGO_MS)

/* ---- alone: nobody waits ---- */

Test(chan, a_buffer_of_three_takes_three_and_not_one_more)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 3);
	int x;

	with(1);
	check_eq(cogo_chan_cap(c), 3);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3; i++) {
			check_eq(cogo_chan_len(c), i);
			check_eq(cogo_try_send(c, &i), 0);
		}
		check_eq(cogo_try_send(c, &x), -EAGAIN);
		check_eq(cogo_send(c, &x, 0), -ETIMEDOUT);
		for (int i = 0; i < 3; i++) {
			check_eq(cogo_recv(c, &x, 0), 0);
			check_eq(x, i);
		}
		check_eq(cogo_try_recv(c, &x), -EAGAIN);
		check_eq(cogo_recv(c, &x, SOON), -ETIMEDOUT);
	}
	cogo_chan_free(c);
}

Test(chan, an_item_of_any_size_arrives_whole)
{
	static const size_t sizes[] = { 0, 1, 3, 4, 8, 13, 100, 4096 };
	unsigned char out[4096], in[4097];

	with(1);
	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct cogo_chan *c = cogo_chan_new(sizes[k], 5);

		for (int i = 0; i < 12; i++) {
			memset(out, i + 1, sizeof(out));
			memset(in, 0xee, sizeof(in));
			check_eq(cogo_try_send(c, out), 0);
			check_eq(cogo_try_recv(c, in), 0);
			check(memcmp(in, out, sizes[k]) == 0);
			check_eq(in[sizes[k]], 0xee);
		}
		check_eq(cogo_try_send(c, out), 0);
		check_eq(cogo_try_recv(c, NULL), 0);
		cogo_chan_free(c);
	}
}

Test(chan, sizes_that_cannot_be_make_no_channel)
{
	check(cogo_chan_new(1, SIZE_MAX) == NULL);
	check(cogo_chan_new(0, SIZE_MAX) == NULL);
	check(cogo_chan_new(SIZE_MAX, 2) == NULL);
	check(cogo_chan_new(SIZE_MAX / 4, 8) == NULL);
	check(cogo_chan_new(1u << 30, SIZE_MAX >> 31) == NULL);
}

Test(chan, what_was_sent_before_the_close_is_received_after_it)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 2);
	int x = 7;

	with(1);
	check_eq(cogo_try_send(c, &x), 0);
	check_eq(cogo_chan_close(c), 0);
	check_eq(cogo_chan_close(c), -EPIPE);
	check_eq(cogo_send(c, &x, COGO_FOREVER), -EPIPE);
	check_eq(cogo_try_send(c, &x), -EPIPE);
	x = 1;
	check_eq(cogo_recv(c, &x, COGO_FOREVER), 0);
	check_eq(x, 7);
	check_eq(cogo_recv(c, &x, COGO_FOREVER), -EPIPE);
	check_eq(x, 0);
	check_eq(cogo_try_recv(c, NULL), -EPIPE);
	cogo_chan_free(c);
}

/* ---- two at a time ---- */

struct one {
	struct cogo_chan *c;
	cogo_time deadline;
	int x, result;
	_Atomic int *turn;
	int seen;
};

static void send_one(void *arg)
{
	struct one *o = arg;

	o->result = cogo_send(o->c, &o->x, o->deadline);
	if (o->turn)
		o->seen = (*o->turn)++;
}

static void recv_one(void *arg)
{
	struct one *o = arg;

	o->result = cogo_recv(o->c, &o->x, o->deadline);
	if (o->turn)
		o->seen = (*o->turn)++;
}

static struct one one_of(struct cogo_chan *c, int x)
{
	return (struct one){ .c = c, .deadline = COGO_FOREVER, .x = x,
			     .result = 1 };
}

Test(chan, a_rendezvous_is_not_sent_before_somebody_receives)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o = one_of(c, 5);
	struct coro *s;
	int x = 0;

	with(2);
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	check_eq(cogo_try_recv(c, &x), -EAGAIN);
	s = go(send_one, &o);
	until_waits(s);
	check_eq(cogo_chan_len(c), 0);
	check_eq(cogo_try_recv(c, &x), 0);
	check_eq(x, 5);
	join_all();
	check_eq(o.result, 0);
	s = go(recv_one, &o);
	until_waits(s);
	x = 9;
	check_eq(cogo_try_send(c, &x), 0);
	join_all();
	check_eq(o.x, 9);
	cogo_chan_free(c);
}

Test(chan, who_waits_longest_is_served_first)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o[8];
	int x;

	with(1);
	for (int i = 0; i < 8; i++) {
		o[i] = one_of(c, -1);
		until_waits(go(recv_one, &o[i]));
	}
	for (int i = 0; i < 8; i++)
		check_eq(cogo_send(c, &i, 0), 0);
	join_all();
	for (int i = 0; i < 8; i++) {
		check_eq(o[i].x, i);
		o[i].x = i;
		until_waits(go(send_one, &o[i]));
	}
	for (int i = 0; i < 8; i++) {
		check_eq(cogo_recv(c, &x, 0), 0);
		check_eq(x, i);
	}
	join_all();
	cogo_chan_free(c);
}

Test(chan, a_sender_that_waits_keeps_its_place_behind_what_is_in_the_buffer)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 2);
	struct one o[3];
	int x;

	with(1);
	for (int i = 0; i < 2; i++)
		check_eq(cogo_try_send(c, &i), 0);
	for (int i = 0; i < 3; i++) {
		o[i] = one_of(c, 2 + i);
		until_waits(go(send_one, &o[i]));
	}
	for (int i = 0; i < 5; i++) {
		check_eq(cogo_try_recv(c, &x), 0);
		check_eq(x, i);
		if (i < 3) {
			/* The room has gone to who waits, not to us. */
			x = 99;
			check_eq(cogo_try_send(c, &x), -EAGAIN);
		}
	}
	join_all();
	cogo_chan_free(c);
}

Test(chan, close_wakes_all_who_wait_and_takes_nothing_from_senders)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 1), *d;
	struct one o[6];
	int x = 1;

	with(2);
	d = cogo_chan_new(sizeof(int), 0);
	check_eq(cogo_try_send(c, &x), 0);
	for (int i = 0; i < 6; i++) {
		o[i] = one_of(i < 3 ? c : d, 100 + i);
		until_waits(go(i < 3 ? send_one : recv_one, &o[i]));
	}
	check_eq(cogo_chan_close(c), 0);
	check_eq(cogo_chan_close(d), 0);
	join_all();
	for (int i = 0; i < 6; i++) {
		check_eq(o[i].result, -EPIPE);
		check_eq(o[i].x, i < 3 ? 100 + i : 0);
	}
	check_eq(cogo_try_recv(c, &x), 0);
	check_eq(x, 1);
	check_eq(cogo_try_recv(c, &x), -EPIPE);
	cogo_chan_free(c);
	cogo_chan_free(d);
}

Test(chan, no_channel_is_one_that_nobody_will_ever_use)
{
	struct one o = one_of(NULL, 0);
	struct coro *s;
	int x = 3;

	with(1);
	check_eq(cogo_try_send(NULL, &x), -EAGAIN);
	check_eq(cogo_try_recv(NULL, &x), -EAGAIN);
	check_eq(cogo_send(NULL, &x, SOON), -ETIMEDOUT);
	check_eq(cogo_recv(NULL, &x, 0), -ETIMEDOUT);
	check_eq(cogo_chan_close(NULL), -EPIPE);
	check_eq(cogo_chan_len(NULL), 0);
	check_eq(cogo_chan_cap(NULL), 0);
	cogo_chan_free(NULL);
	s = go(recv_one, &o);
	until_waits(s);
	cancel(s);
	join_all();
	check_eq(o.result, -ECANCELED);
}

Test(chan, a_receiver_whose_time_was_up_takes_nothing_with_it)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o = one_of(c, 5);
	int x = 8;

	with(1);
	o.deadline = SOON;
	go(recv_one, &o);
	join_all();
	check_eq(o.result, -ETIMEDOUT);
	check_eq(o.x, 5);
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	o.deadline = SOON;
	go(send_one, &o);
	join_all();
	check_eq(o.result, -ETIMEDOUT);
	check_eq(cogo_try_recv(c, &x), -EAGAIN);
	cogo_chan_free(c);
}

Test(chan, a_cancelled_waiter_leaves_the_channel_as_it_was)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o = one_of(c, 5);
	struct coro *s;
	int x = 8;

	with(2);
	s = go(send_one, &o);
	until_waits(s);
	cancel(s);
	join_all();
	check_eq(o.result, -ECANCELED);
	check_eq(cogo_try_recv(c, &x), -EAGAIN);
	o = one_of(c, 5);
	s = go(recv_one, &o);
	until_waits(s);
	cancel(s);
	join_all();
	check_eq(o.result, -ECANCELED);
	check_eq(o.x, 5);
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	cogo_chan_free(c);
}

static void use_when_cancelled(void *arg)
{
	struct cogo_chan *c = arg;
	int x = 1;

	cancel(self());
	check_eq(cogo_send(c, &x, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_recv(c, &x, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_try_send(c, &x), 0);
	check_eq(cogo_try_recv(c, &x), 0);
	check_eq(cogo_chan_close(c), 0);
}

Test(chan, a_coroutine_that_is_to_end_fails_to_send_even_where_there_is_room)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 1);

	with(1);
	go(use_when_cancelled, c);
	join_all();
	cogo_chan_free(c);
}

/* ---- many ---- */

#define MANY	20000

struct stream {
	struct cogo_chan *c;
	_Atomic int receives, done;
	_Atomic unsigned char got[MANY];
	int senders;
	_Atomic int sender;
	bool impatient;
};

static void send_share(void *arg)
{
	struct stream *s = arg;
	int first = s->sender++, r;
	uint64_t seed = (uint64_t)first * 77 + 1;

	for (int i = first; i < MANY; i += s->senders) {
		do {
			r = cogo_send(s->c, &i,
				      s->impatient ? sys_now() +
					      (cogo_time)(unit_random(&seed) % 3000)
						   : COGO_FOREVER);
		} while (r == -ETIMEDOUT);
		check_eq(r, 0);
	}
	if (++s->done == s->senders)
		check_eq(cogo_chan_close(s->c), 0);
}

static void recv_until_closed(void *arg)
{
	struct stream *s = arg;
	uint64_t seed = (uintptr_t)&s | 1;
	int i, r;

	for (;;) {
		r = cogo_recv(s->c, &i,
			      s->impatient ? sys_now() +
				      (cogo_time)(unit_random(&seed) % 3000)
					   : COGO_FOREVER);
		if (r == -EPIPE)
			return;
		if (r == 0)
			check_eq(s->got[i]++, 0);
		else
			check_eq(r, -ETIMEDOUT);
	}
}

static void *recv_thread(void *arg)
{
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	recv_until_closed(arg);
	return NULL;
}

static void *send_thread(void *arg)
{
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	send_share(arg);
	return NULL;
}

static void stream(size_t cap, bool impatient, bool threads)
{
	static struct stream s;
	pthread_t t[2];

	memset(&s, 0, sizeof(s));
	s.c = cogo_chan_new(sizeof(int), cap);
	s.impatient = impatient;
	s.senders = threads ? 5 : 4;
	for (int i = 0; i < 4; i++) {
		go(send_share, &s);
		go(recv_until_closed, &s);
	}
	if (threads) {
		check_eq(pthread_create(&t[0], NULL, send_thread, &s), 0);
		check_eq(pthread_create(&t[1], NULL, recv_thread, &s), 0);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
	}
	join_all();
	for (int i = 0; i < MANY; i++)
		check_eq(s.got[i], 1);
	cogo_chan_free(s.c);
}

Test(chan, each_item_of_many_is_received_once)
{
	with(2);
	stream(0, false, false);
	stream(1, false, false);
	stream(128, false, false);
}

Test(chan, on_one_worker_too)
{
	with(1);
	stream(0, false, false);
	stream(128, false, false);
}

Test(chan, no_item_is_lost_between_those_who_give_up)
{
	with(2);
	stream(0, true, false);
	stream(3, true, false);
}

Test(chan, coroutines_and_threads_share_a_channel)
{
	with(2);
	stream(0, false, true);
	stream(7, true, true);
}

static void answer(void *arg)
{
	struct cogo_chan *c = *(struct cogo_chan **)arg;
	int x = 42;

	check_eq(cogo_send(c, &x, COGO_FOREVER), 0);
}

Test(chan, who_has_received_the_last_item_may_free_the_channel_at_once)
{
	struct cogo_chan *c;
	int x;

	with(2);
	for (int i = 0; i < 3000; i++) {
		c = cogo_chan_new(sizeof(int), (size_t)i % 2);
		go(answer, &c);
		check_eq(cogo_recv(c, &x, COGO_FOREVER), 0);
		check_eq(x, 42);
		cogo_chan_free(c);
		join_all();
	}
}

static void in_the_child(void *arg)
{
	struct cogo_chan *c = arg;
	int x = 1;

	lock_fork_child();
	/* To the one who waits in the parent it would be lost. */
	check_eq(cogo_try_send(c, &x), -EAGAIN);
	check_eq(cogo_chan_close(c), 0);
}

Test(chan, nobody_waits_in_the_child_of_a_fork)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o = one_of(c, 0);
	int x = 2;

	with(1);
	until_waits(go(recv_one, &o));
	check_eq(unit_signal_of(in_the_child, c), 0);
	check_eq(cogo_try_send(c, &x), 0);
	join_all();
	check_eq(o.x, 2);
	cogo_chan_free(c);
}

static void free_it(void *arg)
{
	cogo_chan_free(arg);
}

Test(chan, to_give_the_last_reference_back_while_somebody_waits_aborts)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 0);
	struct one o = one_of(c, 0);

	with(1);
	until_waits(go(recv_one, &o));
	check_eq(unit_signal_of(free_it, c), SIGABRT);
	cogo_chan_close(c);
	join_all();
	cogo_chan_free(c);
}

/* ---- with types ---- */

struct pair {
	int a;
	double b;
};

static void count_to_ten(void *arg)
{
	COGO_CHAN(int) c = arg;

	for (int i = 0; i < 10; i++)
		check_eq(cogo_put(c, i), 0);
	cogo_close(c);
}

static COGO_CHAN(struct pair) pairs(void)
{
	return cogo_make(struct pair, 2);
}

Test(chan, a_typed_channel_carries_values_of_its_type)
{
	COGO_CHAN(int) c;
	COGO_CHAN(struct pair) p = pairs();
	COGO_CHAN(short) s = cogo_make(short, 1);
	struct cogo_chan *raw = cogo_raw(s);
	struct pair q;
	short y = 0;
	int n = 0;

	with(1);
	c = cogo_make(int, 1);
	go(count_to_ten, c);
	cogo_each (c, x)
		check_eq(x, n++);
	check_eq(n, 10);
	cogo_free(c);

	check_eq(cogo_put(p, ((struct pair){ 1, 2.5 })), 0);
	check_eq(cogo_get(p, q), 0);
	check(q.a == 1 && q.b == 2.5);
	check_eq(cogo_get_until(p, q, 0), -ETIMEDOUT);
	cogo_free(p);

	/* Converted as by assignment, not reinterpreted. */
	check_eq(cogo_put_until(s, 3.0, 0), 0);
	check_eq(cogo_put_until(s, 4, 0), -ETIMEDOUT);
	check_eq(cogo_get(raw, y), 0);
	check_eq(y, 3);
	cogo_free(raw);
}

Test(chan, references_keep_it_until_the_last_is_given_back)
{
	COGO_CHAN(int) c = cogo_make(int, 1), d;
	int x = 0;

	with(1);
	check(cogo_chan_ref(cogo_raw(c)) == cogo_raw(c));
	cogo_free(c);
	d = cogo_share(c);
	check(d == c);
	cogo_free(c);
	check_eq(cogo_put(d, 6), 0);
	check_eq(cogo_get(d, x), 0);
	check_eq(x, 6);
	cogo_free(d);
}
