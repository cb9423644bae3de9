/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_chan.c - channels and selects, in every order.
 *
 * The actors are kernel threads, each with one wait; "workers" makes them coroutines
 * of two workers instead. What has to be so at the end,
 * whoever was first:
 *
 *	cross	two selects that could serve each other in either of two ways have
 *		agreed on one
 *	timed	a sender and a receiver who both give up some time: the one has
 *		sent if the other has received, and only then
 *	two	a select that receives from two, and two that send for some time: one
 *		has sent, the one that was chosen
 *	close	a receiver, a sender, and somebody who closes: as timed; and nobody
 *		waits any more
 *	buffer	the same with room for one: what was sent and not received is there
 *	self	a select that would send or receive on one channel, and one who
 *		receives there: never itself
 *	kick	a select is interrupted while somebody sends: it waits on, or has it
 *	stop	a timer is stopped and set to another moment while somebody waits: he
 *		gets the old one if the stop came too late, and only then
 *
 * And always: nobody waits for ever, nobody is left in a queue, no lock is held. */
#include "model.h"
#include "chan/chan.h"
#include "cogo/select.h"
#include "coro/self.h"
#include "event/poller.h"
#include "fault/cancel.h"
#include "wait/native.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOME_TIME 2000	/* before it, the model's clock has not moved */

/* ---- what stands above and is not tried here ---- */

void door_deliver(struct coro *me)
{
	(void)me;
}

int door_deliver_last(struct coro *me)
{
	(void)me;
	return 0;
}

int cancel_interrupted(struct coro *me, int r)
{
	if (r != -EINTR)
		return r;
	atomic_store_explicit(&me->interrupt, 0, memory_order_seq_cst);
	return 0;
}

int cancel_ends(struct coro *me, int r)
{
	(void)me;
	return r;
}

int poller_add(struct poller_waiter *w, uint32_t in, uint32_t out)
{
	(void)w;
	(void)in;
	(void)out;
	return -ENOMEM;
}

void poller_del(struct poller_waiter *w)
{
	(void)w;
}

uint32_t poller_sample(int fd, int dir, bool *ret_dry)
{
	(void)fd;
	(void)dir;
	*ret_dry = false;
	return 0;
}

void poller_set_dry(int fd, int dir, uint32_t sample)
{
	(void)fd;
	(void)dir;
	(void)sample;
}

void poller_set_wet(int fd, int dir)
{
	(void)fd;
	(void)dir;
}

void poller_release(struct poller_waiter *w, int fd)
{
	(void)w;
	(void)fd;
}

long sys_poll_now(struct pollfd *fds, unsigned n)
{
	(void)fds;
	return n;
}

/* ---- the actors ---- */

static struct cogo_chan x, y;
static int64_t room[2][2];	/* words: they have a way of their own */

#define NOT_YET 99
static int did[3] = { NOT_YET, NOT_YET, NOT_YET };
static int64_t got[3] = { -1, -1, -1 };
static cogo_time moment;
static struct coro *first;

static void make(struct cogo_chan *c, int64_t *ring, size_t cap)
{
	c->process = lock_held;
	c->item = sizeof(*ring);
	c->cap = cap;
	c->ring = (char *)ring;
	c->when = COGO_FOREVER;
	c->refs = 1;
}

static int choose(struct cogo_case *cases, size_t n, cogo_time deadline)
{
	int k;

	self()->luck = 1 + (uint64_t)explore_choose(2);
	k = cogo_select(cases, n, deadline);
	/* Whatever was drawn: it will not be again. */
	self()->luck = 0;
	if (k >= 0 && cases[k].result)
		return cases[k].result;
	return k;
}

static void cross_a(struct coro *me)
{
	static int64_t out = 10;
	struct cogo_case cases[2] = {
		{ .kind = COGO_CASE_RECV, .chan = &x, .ret_item = &got[0] },
		{ .kind = COGO_CASE_SEND, .chan = &y, .item = &out },
	};

	(void)me;
	did[0] = choose(cases, 2, COGO_FOREVER);
}

static void cross_b(struct coro *me)
{
	static int64_t out = 20;
	struct cogo_case cases[2] = {
		/* The other way round: an order of locks by case would not do. */
		{ .kind = COGO_CASE_RECV, .chan = &y, .ret_item = &got[1] },
		{ .kind = COGO_CASE_SEND, .chan = &x, .item = &out },
	};

	(void)me;
	did[1] = choose(cases, 2, COGO_FOREVER);
}

static void cross_end(void)
{
	explore_check(did[0] == 0 || did[0] == 1);
	explore_check(did[1] == 1 - did[0]);
	explore_check(got[0] == (did[0] == 0 ? 20 : -1));
	explore_check(got[1] == (did[0] == 1 ? 10 : -1));
}

static void timed_recv(struct coro *me)
{
	(void)me;
	did[0] = cogo_recv(&x, &got[0], SOME_TIME);
}

static void timed_send(struct coro *me)
{
	int64_t out = 7;

	(void)me;
	did[1] = cogo_send(&x, &out, SOME_TIME);
}

static void timed_end(void)
{
	explore_check(did[0] == 0 || did[0] == -ETIMEDOUT);
	explore_check(did[1] == did[0]);
	explore_check(got[0] == (did[0] ? -1 : 7));
}

static void two_recv(struct coro *me)
{
	struct cogo_case cases[2] = {
		{ .kind = COGO_CASE_RECV, .chan = &x, .ret_item = &got[0] },
		{ .kind = COGO_CASE_RECV, .chan = &y, .ret_item = &got[1] },
	};

	(void)me;
	did[0] = choose(cases, 2, SOME_TIME);
}

static void two_send_y(struct coro *me)
{
	int64_t out = 8;

	(void)me;
	did[2] = cogo_send(&y, &out, SOME_TIME);
}

static void two_end(void)
{
	explore_check(did[0] >= 0 || did[0] == -ETIMEDOUT);
	explore_check(did[1] == (did[0] == 0 ? 0 : -ETIMEDOUT));
	explore_check(did[2] == (did[0] == 1 ? 0 : -ETIMEDOUT));
	explore_check(got[0] == (did[0] == 0 ? 7 : -1));
	explore_check(got[1] == (did[0] == 1 ? 8 : -1));
}

static void close_recv(struct coro *me)
{
	(void)me;
	did[0] = cogo_recv(&x, &got[0], COGO_FOREVER);
}

static void close_send(struct coro *me)
{
	int64_t out = 7;

	(void)me;
	did[1] = cogo_send(&x, &out, COGO_FOREVER);
}

static void close_it(struct coro *me)
{
	(void)me;
	did[2] = cogo_chan_close(&x);
}

static void close_end(void)
{
	explore_check(did[2] == 0);
	explore_check(did[0] == 0 || did[0] == -EPIPE);
	explore_check(did[1] == did[0]);
	explore_check(got[0] == (did[0] ? 0 : 7));
}

static void buffer_end(void)
{
	explore_check(did[2] == 0);
	explore_check(did[0] == 0 || did[0] == -EPIPE);
	explore_check(did[1] == 0 || did[1] == -EPIPE);
	explore_check(did[0] != 0 || (did[1] == 0 && got[0] == 7));
	/* It was there before the close, and is received after it. */
	explore_check(x.put == x.got);
}

static void self_both(struct coro *me)
{
	static int64_t out = 10;
	struct cogo_case cases[2] = {
		{ .kind = COGO_CASE_RECV, .chan = &x, .ret_item = &got[0] },
		{ .kind = COGO_CASE_SEND, .chan = &x, .item = &out },
	};

	(void)me;
	did[0] = choose(cases, 2, SOME_TIME);
}

static void self_recv(struct coro *me)
{
	(void)me;
	did[1] = cogo_recv(&x, &got[1], SOME_TIME);
}

static void self_end(void)
{
	explore_check(got[0] == -1);
	explore_check(did[0] == 1 || did[0] == -ETIMEDOUT);
	explore_check(did[1] == (did[0] == 1 ? 0 : -ETIMEDOUT));
	explore_check(got[1] == (did[0] == 1 ? 10 : -1));
}

static void kick_select(struct coro *me)
{
	struct cogo_case cases[2] = {
		{ .kind = COGO_CASE_RECV, .chan = &x, .ret_item = &got[0] },
		{ .kind = COGO_CASE_RECV, .chan = &y, .ret_item = &got[1] },
	};

	first = me;
	did[0] = choose(cases, 2, COGO_FOREVER);
}

static void kick_it(struct coro *me)
{
	struct coro *c = first;

	did[2] = 0;
	if (!c || c == me)
		return;
	/* As signal_kick does. */
	door_enter(me);
	atomic_store_explicit(&c->interrupt, 1, memory_order_seq_cst);
	if (wait_claim_any(c, WAIT_INTERRUPTED))
		ready(c);
	door_leave(me);
}

static void kick_end(void)
{
	explore_check(did[0] == 0);
	explore_check(did[1] == 0);
	explore_check(got[0] == 7);
}

static void stop_recv(struct coro *me)
{
	(void)me;
	did[0] = cogo_recv(&x, &moment, COGO_FOREVER);
}

static void stop_it(struct coro *me)
{
	(void)me;
	did[1] = cogo_timer_stop(&x);
	explore_check(cogo_timer_reset(&x, 2 * SOME_TIME) == 0);
}

static void stop_end(void)
{
	explore_check(did[0] == 0);
	explore_check(moment == (did[1] ? 2 * SOME_TIME : SOME_TIME));
	explore_check(model.now >= moment);
}

static const struct way {
	const char *name;
	void (*actors[3])(struct coro *);
	void (*end)(void);
} ways[] = {
	{ "cross", { cross_a, cross_b }, cross_end },
	{ "timed", { timed_recv, timed_send }, timed_end },
	{ "two", { two_recv, timed_send, two_send_y }, two_end },
	{ "close", { close_recv, close_send, close_it }, close_end },
	{ "buffer", { close_recv, close_send, close_it }, buffer_end },
	{ "self", { self_both, self_recv }, self_end },
	{ "kick", { kick_select, close_send, kick_it }, kick_end },
	{ "stop", { stop_recv, stop_it }, stop_end },
};
static const struct way *way;

static void end(void)
{
	way->end();
	explore_check(!waitq_any(&x.receivers) && !waitq_any(&x.senders));
	explore_check(!waitq_any(&y.receivers) && !waitq_any(&y.senders));
	explore_check(!x.lock.word && !y.lock.word);
	for (int i = 0; i < model.ncoros; i++)
		explore_check(model.coro[i].timer.ticket == 0);
}

static void bound_one(void *arg)
{
	void (*fn)(struct coro *) = *(void (*const *)(struct coro *))arg;

	fn(model_thread());
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "first", "second", "third" };
	uint32_t workers = argc > 2 && strcmp(argv[2], "workers") == 0 ? 2 : 0;
	char name[64];

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(ways); i++)
		if (strcmp(ways[i].name, argv[1]) == 0)
			way = &ways[i];
	if (!way) {
		fprintf(stderr, "give one of those in the comment\n");
		return 2;
	}
	model_begin(workers);
	make(&x, room[0], strcmp(way->name, "buffer") == 0);
	make(&y, room[1], 0);
	if (way->end == stop_end) {
		x.kind = CHAN_TIMER;
		x.item = sizeof(cogo_time);
		x.when = SOME_TIME;
	}
	for (int i = 0; i < 3 && way->actors[i]; i++) {
		if (workers)
			ready_new(model_coro(way->actors[i]));
		else
			explore_actor(names[i], bound_one,
				      (void *)&way->actors[i]);
	}
	snprintf(name, sizeof(name), "chan: %s, %u workers", way->name, workers);
	return model_explore(name, end);
}
