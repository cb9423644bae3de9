/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_idle.c - workers that go to sleep, and what comes just then.
 *
 * The runtime's own loop, on one or two workers (model.h), and around them
 * whoever brings work: "ready" and "ready2" are kernel threads of the program's
 * that each wake a parked coroutine; "event" is a descriptor that a coroutine
 * waits for; "sleep" and "sooner" are coroutines that set timers, the second,
 * which is woken from outside first, for an earlier time than the first; "naps"
 * sets one after the other. "push" is a coroutine that makes another, then waits
 * for it without giving its worker away, as one that computes would; with "hand"
 * it wakes a parked one in place of that, which is then in its next slot; with
 * "pair" both come at once. With "first", "yield" and "early" it is the one who is
 * made, and runs, that waits so: for its maker, which has stepped aside for it,
 * yielded, or parked and been woken before it was off its stack. "busy" is a
 * descriptor that a coroutine waits for which then does not give its worker away
 * until one has been woken that waits for another, of which the event comes after.
 * "awaits" computes until go_on is said from the beginning, "lets-go" says so when its
 * event has come, and "blocks" waits for that in a call that it has declared and that
 * takes long, as the last of its kind did; there is a spare worker then.
 * With "brief" they learn how long events take and how soon the next one comes; so
 * far all was brief. "look" is the monitor, which looks at timers and descriptors
 * once. Whatever meets whatever:
 *
 * - every coroutine comes to its end, though nobody looks every 10 ms: none is
 *   left on a queue beside workers that sleep, no timer is slept past, and no
 *   event goes unnoticed;
 * - then all workers are asleep as idle, nobody counts as searching or watches,
 *   and one of them waits for events. */
#include "model.h"
#include "event/timer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t workers;
static int coros;
static _Atomic uint32_t go_on;

static void end(void)
{
	explore_check(model.done == coros);
	explore_check(sched.nidle == workers);
	explore_check(sched.spinning == 0);
	explore_check(sched.slots == 0 && sched.nglobal == 0);
	explore_check(sched.poller != NULL);
	explore_check(sched.watcher == NULL);
	explore_check(timer_first() == COGO_FOREVER);
}

static void nothing(struct coro *me)
{
	(void)me;
}

/* As if it had been parked for long. */
static struct coro *parked(void (*fn)(struct coro *me))
{
	struct coro *c = model_coro(fn);

	coros++;
	wait_open(c);
	c->state = CORO_PARKED;
	return c;
}

static void outside(void *arg)
{
	struct coro *c = arg;

	if (wait_claim_any(c, WAIT_WOKEN))
		ready(c);
}

static void event(void *arg)
{
	(void)arg;
	model_event();
}

/* One that does fn when its event has come. */
static void parked_for_event(void (*fn)(struct coro *me))
{
	struct coro *c = parked(fn);

	model.waits_for_event = c;
	model.event_ticket = c->wait;
	explore_actor("event", event, NULL);
}

static void sleep_long(struct coro *me)
{
	explore_check(park_until(me, WHY_SLEEP, 3000) == WAIT_TIMED_OUT);
	explore_check(model.now >= 3000);
}

static void sleep_short(struct coro *me)
{
	explore_check(park_until(me, WHY_SLEEP, 2000) == WAIT_TIMED_OUT);
	explore_check(model.now >= 2000);
}

static void let_go(struct coro *me)
{
	(void)me;
	atomic_store_explicit(&go_on, 1, memory_order_seq_cst);
}

static void naps(struct coro *me)
{
	park_until(me, WHY_SLEEP, 1500);
	sleep_long(me);
}

static void await(struct coro *me)
{
	(void)me;
	explore_until(&go_on, 1);
}

static void pair(void *arg)
{
	struct coro_list both = { 0 };
	struct coro **c = arg;

	for (int i = 0; i < 2; i++)
		if (wait_claim_any(c[i], WAIT_WOKEN))
			coro_list_push(&both, c[i]);
	ready_all(&both);
}

static void look(void *arg)
{
	(void)arg;
	model_serve();
}

static void blocks_once(struct coro *me)
{
	sched.brief_cycles = 1;
	block_enter(me, WHY_DISK);
	me->since = -2;
	block_exit(me);
	sched.brief_cycles = 0;
}

static void blocks(struct coro *me)
{
	block_enter(me, WHY_DISK);
	explore_until(&go_on, 1);
	block_exit(me);
}

static struct coro *second;
static uint64_t second_ticket;

static void busy(struct coro *me)
{
	(void)me;
	model.waits_for_event = second;
	model.event_ticket = second_ticket;
	model_event();
	explore_until(&go_on, 1);
}

static void push(struct coro *me)
{
	(void)me;
	coros++;
	ready_new(model_coro(let_go));
	explore_until(&go_on, 1);
}

static void hand(struct coro *me)
{
	(void)me;
	outside(parked(let_go));
	explore_until(&go_on, 1);
}

static void first(struct coro *me)
{
	coros++;
	park_for(me, model_coro(await));
	let_go(me);
}

static void yield(struct coro *me)
{
	coros++;
	ready_new(model_coro(await));
	park_yield(me);
	let_go(me);
}

static _Atomic uint32_t waiting;
static uint64_t early_ticket;
static struct coro *early_one;

static void wake_early(void *arg)
{
	(void)arg;
	explore_until(&waiting, 1);
	if (wait_claim(early_one, early_ticket, WAIT_WOKEN))
		ready(early_one);
}

static void early(struct coro *me)
{
	coros++;
	ready_new(model_coro(await));
	early_one = me;
	early_ticket = wait_open(me);
	atomic_store_explicit(&waiting, 1, memory_order_seq_cst);
	park(me, early_ticket, WHY_PAUSE, COGO_FOREVER);
	let_go(me);
}

int main(int argc, char **argv)
{
	char name[200] = "idle:";

	workers = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
	if (!workers)
		return 2;
	model_begin(workers);
	strcat(name, " ");
	strcat(name, argv[1]);
	for (int i = 2; i < argc; i++) {
		strcat(name, " ");
		strcat(name, argv[i]);
		if (strcmp(argv[i], "ready") == 0) {
			explore_actor("outside 1", outside, parked(nothing));
		} else if (strcmp(argv[i], "ready2") == 0) {
			explore_actor("outside 2", outside, parked(nothing));
		} else if (strcmp(argv[i], "event") == 0) {
			parked_for_event(nothing);
		} else if (strcmp(argv[i], "busy") == 0) {
			parked_for_event(busy);
			second = parked(let_go);
			second_ticket = second->wait;
		} else if (strcmp(argv[i], "blocks") == 0) {
			explore_check(worker_add(false, false) == 0);
			explore_settle();
			coros++;
			ready_new(model_coro(blocks_once));
			explore_settle();
			explore_actor("outside 8", outside, parked(blocks));
		} else if (strcmp(argv[i], "awaits") == 0) {
			coros++;
			ready_new(model_coro(await));
			explore_settle();
		} else if (strcmp(argv[i], "lets-go") == 0) {
			parked_for_event(let_go);
		} else if (strcmp(argv[i], "brief") == 0) {
			sched.briefly = 16;
			model.brief = true;
		} else if (strcmp(argv[i], "sleep") == 0) {
			coros++;
			ready_new(model_coro(sleep_long));
			explore_settle();
		} else if (strcmp(argv[i], "naps") == 0) {
			coros++;
			ready_new(model_coro(naps));
			explore_settle();
		} else if (strcmp(argv[i], "look") == 0) {
			explore_actor("monitor", look, NULL);
		} else if (strcmp(argv[i], "pair") == 0) {
			static struct coro *two[2];

			two[0] = parked(await);
			two[1] = parked(let_go);
			explore_actor("outside 5", pair, two);
		} else if (strcmp(argv[i], "sooner") == 0) {
			explore_actor("outside 3", outside, parked(sleep_short));
		} else if (strcmp(argv[i], "hand") == 0) {
			explore_actor("outside 6", outside, parked(hand));
		} else if (strcmp(argv[i], "first") == 0) {
			explore_actor("outside 4", outside, parked(first));
		} else if (strcmp(argv[i], "yield") == 0) {
			explore_actor("outside 4", outside, parked(yield));
		} else if (strcmp(argv[i], "early") == 0) {
			explore_actor("outside 4", outside, parked(early));
			explore_actor("outside 7", wake_early, NULL);
		} else if (strcmp(argv[i], "push") == 0) {
			explore_actor("outside 4", outside, parked(push));
		} else {
			fprintf(stderr, "what is %s?\n", argv[i]);
			return 2;
		}
	}
	return model_explore(name, end);
}
