/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_runq.c - a worker's queue, its owner and thieves, in every order.
 *
 * Real: sched/runq.c, with a ring of 4 that begins just before its counters
 * wrap. The owner does any few of its verbs, after it has put so many in as the
 * model is told; each thief steals twice, with the next slot or without, into a
 * queue of its own, and takes out what it got, or takes one out at once. With
 * "chain" the second thief steals from the first.
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

static void take(struct coro *c)
{
	size_t i = (size_t)(c - coro);

	explore_check(i < put);
	explore_check(!taken[i]);
	taken[i] = 1;
}

/* Who finds no room is the owner's again. */
static void push(struct coro *c)
{
	if (c && !runq_push(&owners, c))
		take(c);
}

static struct coro *fresh(void)
{
	return &coro[put++];
}

static void owner(void *arg)
{
	struct coro *c;

	(void)arg;
	for (uint32_t i = 0; i < steps; i++) {
		switch (explore_choose(3)) {
		case 0:
			push(fresh());
			break;
		case 1:
			push(runq_put_next(&owners, fresh()));
			break;
		default:
			c = runq_pop(&owners);
			if (c)
				take(c);
		}
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
		int how = explore_choose(3);

		c = how == 2 ? runq_take(from) : runq_steal(mine, from, how);
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
		push(fresh());
	explore_actor("owner", owner, NULL);
	for (int i = 0; i < thieves; i++)
		explore_actor(i ? "thief 2" : "thief 1", thief, &thiefs[i]);
	snprintf(name, sizeof(name), "runq: %d in, %u steps, %d thieves%s", first,
		 steps, thieves, chain ? ", in a chain" : "");
	return explore(name, end) ? 1 : 0;
}
