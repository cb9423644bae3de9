/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_slots.c - slots: given away, taken, lent and given back, in every order.
 *
 * One slot, one worker to begin with, and perhaps one spare ("spare"). A
 * coroutine declares that it blocks, and then sleeps in the kernel until another
 * coroutine has run, which only another worker can do; or it does not declare
 * it ("stuck"), and the monitor, which finds it asleep, takes its slot. The
 * monitor (sched/monitor.c, its turns one by one) also makes workers when it is
 * asked to, and not for another reason. With "looks" it looks at all
 * workers once, whatever they do just then, and finds them asleep and where they
 * were before. With "full" no more kernel threads can be had.
 *
 * With "stuck", "looks", or no spare to begin with there are more states than a test
 * has time for: millions are tried, and the first fault ends it (EXPLORE_MOST).
 *
 * - never are there more slots than one, with workers and free ones together;
 * - at the end there is one again, every coroutine has come to its end, and
 *   every worker sleeps, as idle or as a spare, one of them polling;
 * - so a coroutine that is ready always runs, though the others block. */
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint32_t ran, is_stuck;
static int coros;
static bool over;

static int32_t count_slots(void)
{
	int32_t n = sched.slots;

	for (uint32_t i = 0; i < sched.nworkers; i++)
		n += sched.workers[i] && sched.workers[i]->slot;
	return n;
}

static void always(void)
{
	explore_check(count_slots() <= 1);
	explore_check(sched.spinning <= 1);
}

static void end(void)
{
	explore_check(model.done == coros);
	explore_check(count_slots() == 1);
	explore_check(sched.nidle + sched.nspare == sched.threads);
	explore_check(sched.spinning == 0 && sched.nglobal == 0);
	explore_check(sched.poller != NULL);
}

static void other(struct coro *me)
{
	(void)me;
	atomic_store_explicit(&ran, 1, memory_order_seq_cst);
}

static void blocks(struct coro *me)
{
	block_enter(me, WHY_BLOCKED);
	explore_until(&ran, 1);
	block_exit(me);
	over = true;
}

static void stuck(struct coro *me)
{
	(void)me;
	atomic_store_explicit(&is_stuck, 1, memory_order_seq_cst);
	explore_until(&ran, 1);
	over = true;
}

/* Twice: the second time there is a spare, or should be. */
static void blocks_again(struct coro *me)
{
	for (int i = 0; i < 2; i++) {
		block_enter(me, WHY_BLOCKED);
		if (i == 0)
			explore_until(&ran, 1);
		block_exit(me);
	}
	over = true;
}

/* Makes what it is asked to make, and for as long as somebody asks. */
static void maker(void *arg)
{
	(void)arg;
	for (;;)
		model_make_wanted();
}

static void looker(void *arg)
{
	(void)arg;
	model_look();
}

static void finder(void *arg)
{
	explore_until(&is_stuck, 1);
	looker(arg);
}

static void make(void (*fn)(struct coro *))
{
	coros++;
	ready_new(model_coro(fn));
}

int main(int argc, char **argv)
{
	char name[200] = "slots:";

	model_begin(1);
	model_always = always;
	model.stat_sleeps = true;
	for (int i = 1; i < argc; i++) {
		strcat(name, " ");
		strcat(name, argv[i]);
		if (strcmp(argv[i], "spare") == 0) {
			explore_check(worker_add(false, true) == 0);
			explore_settle();
		} else if (strcmp(argv[i], "blocks") == 0) {
			make(blocks);
			make(other);
		} else if (strcmp(argv[i], "again") == 0) {
			make(blocks_again);
			make(other);
		} else if (strcmp(argv[i], "stuck") == 0) {
			make(stuck);
			make(other);
			explore_actor("finder", finder, NULL);
		} else if (strcmp(argv[i], "full") == 0) {
			model.full = true;
		} else if (strcmp(argv[i], "looks") == 0) {
			explore_actor("looker", looker, NULL);
		} else {
			fprintf(stderr, "what is %s?\n", argv[i]);
			return 2;
		}
	}
	if (!model.full)
		explore_actor("maker", maker, NULL);
	return model_explore(name, end);
}
