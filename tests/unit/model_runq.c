/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_runq.c - a worker's queue, its owner and thieves, in every order.
 *
 * Real: sched/runq.c, with a ring of 4 that begins just before its counters
 * wrap. The owner does any few of its verbs, after it has put so many in as the
 * model is told; each thief steals once or twice, with the next slot or without,
 * into a queue of its own, and takes out what it got. With "chain" the second
 * thief steals from the first.
 *
 * - whatever was put in is taken out once: nobody is lost, nobody is there
 *   twice;
 * - nobody is taken who was not put in. */
#include "explore.h"
#include "sched/runq.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 10

static struct coro coro[MOST];
static uint32_t put, steps;
static unsigned char taken[MOST];
static struct runq owners, thiefs[2];
static bool chain;

uint32_t lock_held = 2;

void lock_slow(struct lock *l)
{
	(void)l;
}

void unlock_slow(struct lock *l)
{
	(void)l;
}

bool lock_inherit(struct lock *l, uint32_t word)
{
	(void)l;
	(void)word;
	return false;
}

static void take(struct coro *c)
{
	size_t i = (size_t)(c - coro);

	explore_check(i < put);
	explore_check(!taken[i]);
	taken[i] = 1;
}

static void spilled(struct coro_list *l)
{
	struct coro *c;

	while ((c = coro_list_pop(l)))
		take(c);
}

static struct coro *fresh(void)
{
	return &coro[put++];
}

static void owner(void *arg)
{
	struct coro_list spill = { 0 };
	struct coro *c;

	(void)arg;
	for (uint32_t i = 0; i < steps; i++) {
		switch (explore_choose(3)) {
		case 0:
			runq_push(&owners, fresh(), &spill);
			break;
		case 1:
			runq_push_next(&owners, fresh(), &spill);
			break;
		default:
			c = runq_pop(&owners);
			if (c)
				take(c);
		}
		spilled(&spill);
	}
}

static void empty(struct runq *q)
{
	struct coro *c;

	while ((c = runq_pop(q)))
		take(c);
	explore_check(runq_length(q) == 0);
}

static void thief(void *arg)
{
	struct runq *mine = arg;
	struct runq *from = chain && mine == &thiefs[1] ? &thiefs[0] : &owners;
	struct coro *c;

	for (int i = 0; i < 2; i++) {
		c = runq_steal(mine, from, explore_choose(2));
		if (c)
			take(c);
	}
	empty(mine);
}

static void end(void)
{
	empty(&owners);
	for (uint32_t i = 0; i < put; i++)
		explore_check(taken[i]);
}

int main(int argc, char **argv)
{
	struct coro_list spill = { 0 };
	char name[80];
	int first, thieves;

	if (argc < 4)
		return 2;
	first = atoi(argv[1]);
	steps = (uint32_t)atoi(argv[2]);
	thieves = atoi(argv[3]);
	chain = argc > 4 && strcmp(argv[4], "chain") == 0;
	if (first < 0 || first + (int)steps > MOST || thieves > 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	explore_begin();
	owners.head = owners.tail = UINT32_MAX - 2;
	thiefs[0].head = thiefs[0].tail = UINT32_MAX;
	for (int i = 0; i < first; i++)
		runq_push(&owners, fresh(), &spill);
	explore_actor("owner", owner, NULL);
	for (int i = 0; i < thieves; i++)
		explore_actor(i ? "thief 2" : "thief 1", thief, &thiefs[i]);
	snprintf(name, sizeof(name), "runq: %d in, %u steps, %d thieves%s", first,
		 steps, thieves, chain ? ", in a chain" : "");
	return explore(name, end) ? 1 : 0;
}
