/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan.c - channels and selects: coroutines and kernel threads, few channels, and
 * everything at random.
 *
 * Every message has a number of its own. Who sent one for sure says so, and who
 * received one too; at the end each number has been received exactly if it was
 * sent, and once. Arguments: seed, workers, rounds; the seed is printed.
 *
 * calm		no deadlines, nothing broken off: a wake that is lost is a hang
 * rough	deadlines, cancellations, interruptions at any moment, channels that
 *		are closed and replaced, timers that are set anew, a pipe */
#include "storm.h"
#include "base/conf.h"
#include "base/lock.h"
#include "base/sys.h"
#include "boot.h"
#include "cogo/select.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/cancel.h"
#include "go.h"
#include "sched/park.h"
#include "sched/ready.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COROS	24
#define KERNELS 4
#define ALL	(COROS + KERNELS)
#define CHANS	5
#define MOST	10	/* cases of a select: more than fit on the stack */

static int rounds = 30000;
static struct coro *_Atomic who[ALL];
static _Atomic int running, senders;
static _Atomic long timeouts, cancels, closes, selects;

struct me {
	int n;
	uint64_t chance;
	uint32_t numbers;	/* of messages */
	void (*fn)(struct me *);
};
static struct me everybody[ALL];

static uint32_t chance(struct me *me, uint32_t n)
{
	return draw(&me->chance, n);
}

/* ---- messages ---- */

#define NUMBERS (1u << 17)	/* of each */
static _Atomic uint8_t sent[ALL * NUMBERS], received[ALL * NUMBERS];

static uint32_t new_message(struct me *me)
{
	if (me->numbers == NUMBERS)
		abort();
	return (uint32_t)me->n * NUMBERS + me->numbers++;
}

static void note_received(uint32_t x)
{
	CHECK(x < ALL * NUMBERS && received[x]++ == 0);
}

/* ---- channels, which come and go ---- */

static struct lock table;
static struct cogo_chan *chans[CHANS], *timer;
static int fds[2];

static struct cogo_chan *get(int i)
{
	struct coro *me = self();
	struct cogo_chan *c;

	door_enter(me);
	lock(&table);
	c = cogo_chan_ref(chans[i]);
	unlock(&table);
	door_leave(me);
	return c;
}

static struct cogo_chan *fresh(int i)
{
	static const size_t caps[CHANS] = { 0, 0, 1, 3, 20 };

	return cogo_chan_new(sizeof(uint32_t), caps[i]);
}

static void drain(struct cogo_chan *c)
{
	uint32_t x;
	int r;

	while ((r = cogo_try_recv(c, &x)) == 0)
		note_received(x);
	CHECK(r == -EPIPE);
}

static void replace(struct me *me)
{
	int i = (int)chance(me, CHANS);
	struct cogo_chan *to = fresh(i), *old;
	struct coro *c = self();

	door_enter(c);
	lock(&table);
	old = chans[i];
	chans[i] = to;
	unlock(&table);
	door_leave(c);
	CHECK(cogo_chan_close(old) == 0);
	CHECK(cogo_chan_close(old) == -EPIPE);
	drain(old);
	cogo_chan_free(old);
	closes++;
}

/* ---- rough ---- */

static cogo_time some_deadline(struct me *me)
{
	switch (chance(me, 4)) {
	case 0:
		return COGO_FOREVER;	/* somebody will cancel us */
	case 1:
		return 0;
	default:
		return sys_now() + chance(me, 100000);
	}
}

/* True if it happened. */
static bool note(int r)
{
	if (r == -ETIMEDOUT || r == -EAGAIN) {
		timeouts++;
	} else if (r == -ECANCELED) {
		cancels++;
		/* Another life. */
		atomic_fetch_and(&self()->cancel, ~(uint32_t)CANCEL_WANTED);
	} else {
		CHECK(r == 0 || r == -EPIPE);
	}
	return r == 0;
}

static void send_one(struct me *me)
{
	struct cogo_chan *c = get((int)chance(me, CHANS));
	uint32_t x = new_message(me);

	sent[x] = note(chance(me, 3) ? cogo_send(c, &x, some_deadline(me)) :
				       cogo_try_send(c, &x));
	cogo_chan_free(c);
}

static void recv_one(struct me *me)
{
	struct cogo_chan *c = get((int)chance(me, CHANS));
	uint32_t x = UINT32_MAX;
	int r = chance(me, 3) ? cogo_recv(c, &x, some_deadline(me)) :
				cogo_try_recv(c, &x);

	if (note(r))
		note_received(x);
	else
		CHECK(x == (r == -EPIPE ? 0 : UINT32_MAX));
	cogo_chan_free(c);
}

static void select_one(struct me *me)
{
	struct cogo_case cases[MOST];
	uint32_t items[MOST];
	char byte;
	int n = 1 + (int)chance(me, MOST), k;

	for (int i = 0; i < n; i++) {
		struct cogo_case *c = &cases[i];

		memset(c, 0, sizeof(*c));
		items[i] = UINT32_MAX;
		switch (chance(me, 12)) {
		case 0:
			c->kind = COGO_CASE_NONE;
			break;
		case 1:
			c->kind = COGO_CASE_READABLE;
			c->fd = fds[0];
			break;
		case 2:
			c->kind = COGO_CASE_RECV;
			c->chan = cogo_chan_ref(timer);
			break;
		case 3:
		case 4:
		case 5:
		case 6:
			c->kind = COGO_CASE_SEND;
			c->chan = get((int)chance(me, CHANS));
			items[i] = new_message(me);
			c->item = &items[i];
			break;
		default:
			c->kind = COGO_CASE_RECV;
			c->chan = get((int)chance(me, CHANS));
			c->ret_item = &items[i];
		}
	}
	selects++;
	k = cogo_select(cases, (size_t)n, some_deadline(me));
	CHECK(k < n);
	for (int i = 0; i < n; i++) {
		struct cogo_case *c = &cases[i];
		bool done = i == k && c->result == 0;

		CHECK(i != k || c->result == 0 || c->result == -EPIPE);
		if (c->kind == COGO_CASE_SEND)
			sent[items[i]] = done;
		else if (c->kind == COGO_CASE_RECV && c->ret_item && done)
			note_received(items[i]);
		else if (c->kind == COGO_CASE_RECV)
			CHECK(items[i] == (i == k && c->ret_item ? 0 : UINT32_MAX));
		else if (c->kind == COGO_CASE_READABLE && i == k)
			(void)!read(fds[0], &byte, 1);
		if (c->kind == COGO_CASE_SEND || c->kind == COGO_CASE_RECV)
			cogo_chan_free(c->chan);
	}
	if (k < 0)
		note(k);
}

static void do_rough(struct me *me)
{
	for (int i = 0; i < rounds; i++) {
		switch (chance(me, 32)) {
		case 0:
			replace(me);
			break;
		case 1:
			cogo_timer_reset(timer, sys_now() + chance(me, 200000));
			break;
		case 2:
			cogo_timer_stop(timer);
			break;
		case 3:
			(void)!write(fds[1], "x", 1);
			break;
		case 4:
			door_enter(self());
			park_yield(self());
			door_leave(self());
			break;
		case 5:
		case 6:
		case 7:
		case 8:
		case 9:
		case 10:
			send_one(me);
			break;
		case 11:
		case 12:
		case 13:
		case 14:
		case 15:
		case 16:
			recv_one(me);
			break;
		default:
			select_one(me);
		}
	}
}

/* ---- calm ---- */

static void send_calmly(struct me *me)
{
	for (int i = 0; i < rounds; i++) {
		uint32_t x = new_message(me);
		struct cogo_case cases[CHANS] = { { .kind = COGO_CASE_NONE } };
		int n = 1 + (int)chance(me, CHANS), k;

		if (n == 1) {
			CHECK(cogo_send(chans[chance(me, CHANS)], &x,
					COGO_FOREVER) == 0);
		} else {
			for (int j = 0; j < n; j++) {
				cases[j].kind = COGO_CASE_SEND;
				cases[j].chan = chans[chance(me, CHANS)];
				cases[j].item = &x;
			}
			k = cogo_select(cases, (size_t)n, COGO_FOREVER);
			CHECK(k >= 0 && cases[k].result == 0);
		}
		sent[x] = true;
	}
	if (--senders == 0)
		for (int i = 0; i < CHANS; i++)
			CHECK(cogo_chan_close(chans[i]) == 0);
}

/* Some from one channel, the others from all: so each channel has somebody. */
static void recv_calmly(struct me *me)
{
	struct cogo_case cases[CHANS];
	uint32_t x;
	int left = CHANS, k;

	if (me->n / 2 < CHANS) {
		while (cogo_recv(chans[me->n / 2], &x, COGO_FOREVER) == 0)
			note_received(x);
		return;
	}
	for (int i = 0; i < CHANS; i++)
		cases[i] = (struct cogo_case){ .kind = COGO_CASE_RECV,
					       .chan = chans[i], .ret_item = &x };
	while (left) {
		k = cogo_select(cases, CHANS, COGO_FOREVER);
		CHECK(k >= 0);
		if (k < 0)
			return;
		if (cases[k].result == 0) {
			note_received(x);
		} else {
			cases[k].chan = NULL;
			left--;
		}
	}
}

static void do_calm(struct me *me)
{
	(me->n % 2 ? send_calmly : recv_calmly)(me);
}

/* ---- running it ---- */

static void begin(void *arg)
{
	struct me *me = arg;

	me->fn(me);
	running--;
}

static void *begin_kernel(void *arg)
{
	struct coro *c = coro_adopt(CORO_KIND_THREAD);

	who[((struct me *)arg)->n] = c;
	begin(arg);
	while (running)
		sys_call(SYS_sched_yield);
	coro_put_thread(c);
	return NULL;
}

/* As cancel_request does, but for the signal to one that runs: that sees it at its
 * next call anyway, and to ThreadSanitizer a handler in the middle of a switch is
 * the wrong coroutine's. */
static void disturb(struct me *me)
{
	struct coro *c = who[chance(me, ALL)], *here = self();

	if (!c)
		return;
	door_enter(here);
	if (chance(me, 2)) {
		atomic_fetch_or(&c->cancel, (uint32_t)CANCEL_WANTED);
		atomic_store(&c->interrupt, 1);
	}
	if (wait_claim_any(c, WAIT_INTERRUPTED))
		ready(c);
	door_leave(here);
}

static void storm(const char *name, void (*fn)(struct me *), bool rough)
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct timespec t = { .tv_nsec = 20000 };
	struct me here = { .chance = seed | 1 };
	struct coro *me = self(), *c;
	pthread_t kernels[KERNELS];
	long messages = 0;

	memset(sent, 0, sizeof(sent));
	memset(received, 0, sizeof(received));
	running = ALL;
	senders = ALL / 2;
	for (int i = 0; i < CHANS; i++)
		chans[i] = fresh(i);
	for (int i = 0; i < ALL; i++)
		everybody[i] = (struct me){
			.n = i, .fn = fn,
			.chance = (seed + (uint64_t)i * 0x9e3779b97f4a7c15ull) | 1 };
	for (int i = 0; i < COROS; i++) {
		door_enter(me);
		if (go_make(&attr, begin, &everybody[i], &c))
			abort();
		go_ref(c);
		who[i] = c;
		go_ready(c);
		door_leave(me);
	}
	for (int i = 0; i < KERNELS; i++)
		if (pthread_create(&kernels[i], NULL, begin_kernel,
				   &everybody[COROS + i]))
			abort();
	while (running) {
		for (int i = 0; rough && i < 8 && running; i++)
			disturb(&here);
		nanosleep(&t, NULL);
	}
	for (int i = 0; i < KERNELS; i++)
		pthread_join(kernels[i], NULL);
	for (int i = 0; i < ALL; i++)
		who[i] = NULL;
	for (int i = 0; i < CHANS; i++) {
		cogo_chan_close(chans[i]);
		drain(chans[i]);
		cogo_chan_free(chans[i]);
	}
	for (size_t i = 0; i < ALL * NUMBERS; i++) {
		CHECK(sent[i] == received[i]);
		messages += sent[i];
	}
	printf("%s: %ld messages, %ld selects, %ld timeouts, %ld cancelled, %ld closed\n",
	       name, messages, selects, timeouts, cancels, closes);
}

int main(int argc, char **argv)
{
	storm_begin(argc, argv, &rounds);
	if (pipe2(fds, O_NONBLOCK))
		abort();
	timer = cogo_timer_new(COGO_FOREVER);

	storm("calm", do_calm, false);
	storm("rough", do_rough, true);
	return storm_end();
}
