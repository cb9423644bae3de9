/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_park.c - parking, and everybody who may end it, in every order.
 *
 * One waits, twice, each time for a while. One wakes him with the ticket of the
 * day, one runs the timers, one interrupts, one gives back unused pages of his
 * stack and one looks at it, holding him meanwhile. Whatever comes first and
 * wherever it stops:
 *
 * - of those who try to claim a wait exactly one succeeds;
 * - each claim is followed by one ready(), and that by one return from park();
 * - nobody is readied who is not waiting (the runtime itself would throw);
 * - nobody waits for ever;
 * - when park() returns no timer is armed and no claimer still has its hands on
 *   him.
 *
 * - no timer ends a wait before its time, nor one that it was not set for.
 *
 * With "once" he waits once, so that one of them alone can be tried: nobody else
 * would wake him. With "bound" it is a kernel thread that waits, on a futex. */
#include "model.h"
#include "coro/hold.h"
#include "coro/self.h"
#include "event/timer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITS 2
#define DEADLINE(i) (2000 + 1000 * (i))

static struct {
	struct coro *who;
	_Atomic uint64_t ticket;
	uint32_t waits, claims, readies, returns;
	bool over;
} seen;

static bool timed;
static int waits = WAITS;

static void claimed(void)
{
	seen.claims++;
	/* Not one that has been claimed already. */
	explore_check(seen.claims == seen.waits);
}

static void readied(void)
{
	seen.readies++;
	explore_check(seen.readies <= seen.claims);
}

static void wait_twice(struct coro *me)
{
	for (int i = 0; i < waits; i++) {
		uint64_t ticket = wait_open(me);
		enum wait_outcome how;

		seen.waits++;
		seen.who = me;
		atomic_store_explicit(&seen.ticket, ticket, memory_order_release);
		how = park(me, ticket, WHY_PAUSE,
			   timed ? DEADLINE(i) : COGO_FOREVER);
		seen.returns++;
		explore_check(how == WAIT_WOKEN || how == WAIT_TIMED_OUT ||
			      how == WAIT_INTERRUPTED);
		explore_check(how != WAIT_TIMED_OUT || model.now >= DEADLINE(i));
		/* Claims that were not made here: its own look at the flag,
		 * its futex's time, the worker's look at the timers. */
		if (seen.claims < seen.waits) {
			claimed();
			explore_check(how != WAIT_WOKEN);
			readied();
		}
		explore_check(seen.claims == seen.waits);
		explore_check(seen.readies == seen.waits);
		explore_check(me->timer.ticket == 0);
		explore_check(me->state == CORO_RUNNING);
		if (how == WAIT_INTERRUPTED)
			atomic_store_explicit(&me->interrupt, 0,
					      memory_order_seq_cst);
	}
	seen.over = true;
}

static void waker(void *arg)
{
	(void)arg;
	/* Again and again: to be late, and early, is part of it. */
	while (!seen.over) {
		uint64_t t = atomic_load_explicit(&seen.ticket,
						  memory_order_acquire);

		if (!t || !wait_claim(seen.who, t, WAIT_WOKEN))
			continue;
		claimed();
		readied();
		ready(seen.who);
	}
}

/* The timers are also run by the worker, when it has nothing else to do. */
static void timers(void *arg)
{
	struct coro_list due = { 0 };

	(void)arg;
	model.now = model.now > DEADLINE(0) ? model.now : DEADLINE(0);
	timer_run(model.now, &due);
	if (due.n) {
		explore_check(due.n == 1);
		claimed();
		readied();
		ready_all(&due);
	}
}

/* As signal_kick does. */
static void kicker(void *arg)
{
	struct coro *c = seen.who;

	(void)arg;
	atomic_store_explicit(&c->interrupt, 1, memory_order_seq_cst);
	if (wait_claim_any(c, WAIT_INTERRUPTED)) {
		claimed();
		readied();
		ready(c);
	}
}

static void trimmer(void *arg)
{
	(void)arg;
	model_trim();
	model_trim();
}

/* As a report does. */
static void looker(void *arg)
{
	bool owed;

	(void)arg;
	if (hold(seen.who, &owed)) {
		stack_trim(&seen.who->stack, NULL);
		owed = hold_end(seen.who);
	}
	if (owed)
		ready_new(seen.who);
}

static void end(void)
{
	explore_check(seen.over);
	explore_check(seen.returns == (uint32_t)waits);
	explore_check(seen.readies == (uint32_t)waits);
	explore_check(seen.who->bound || model.done == 1);
}

static void bound_one(void *arg)
{
	self_set(arg);
	wait_twice(arg);
}

int main(int argc, char **argv)
{
	bool bound = false;
	char name[200] = "park:";

	model_begin(argc > 1 && strcmp(argv[1], "bound") == 0 ? 0 : 1);
	for (int i = 1; i < argc; i++) {
		strcat(name, " ");
		strcat(name, argv[i]);
		if (strcmp(argv[i], "bound") == 0) {
			bound = true;
			seen.who = model_thread();
			explore_actor("waiter", bound_one, seen.who);
		} else if (strcmp(argv[i], "wake") == 0) {
			explore_actor("waker", waker, NULL);
		} else if (strcmp(argv[i], "time") == 0) {
			timed = true;
			if (!bound)
				explore_actor("timers", timers, NULL);
		} else if (strcmp(argv[i], "once") == 0) {
			waits = 1;
		} else if (strcmp(argv[i], "kick") == 0) {
			explore_actor("kicker", kicker, NULL);
		} else if (strcmp(argv[i], "trim") == 0) {
			explore_actor("trimmer", trimmer, NULL);
		} else if (strcmp(argv[i], "look") == 0) {
			explore_actor("looker", looker, NULL);
		} else {
			fprintf(stderr, "what is %s?\n", argv[i]);
			return 2;
		}
	}
	if (!bound) {
		struct coro *c = model_coro(wait_twice);

		seen.who = c;
		/* Only so that it has one to trim. */
		c->stack.pool = (void *)c;
		ready_new(c);
	}
	return model_explore(name, end);
}
