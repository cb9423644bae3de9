/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* turns.c - however many are ready at once, each gets its turn.
 *
 * All do the same so many times, and nobody may be more than a few rounds ahead of
 * the last. On one worker, where no verdict hangs on what the kernel does with the
 * others. */
#include "native.h"
#include <sys/resource.h>
#include <sys/socket.h>

#define ROUNDS	60
#define AHEAD	4	/* one, and what a queue's being in parts makes of it */

static int all;
static atomic_int there, passed[ROUNDS], worst;

/* Nobody begins before all are there. */
static void gather(void)
{
	there++;
	while (there < all)
		cogo_yield();
}

static void pass(int round)
{
	int ahead = 0;

	while (ahead < round && passed[round - 1 - ahead] < all)
		ahead++;
	if (ahead > worst)
		worst = ahead;
	check(ahead <= AHEAD);
	passed[round]++;
}

static void yield_in_turn(void *arg)
{
	(void)arg;
	gather();
	for (int i = 0; i < ROUNDS; i++) {
		cogo_yield();
		pass(i);
	}
}

static void run_all(void (*fn)(void *), int per)
{
	static struct cogo_coro *c[4000];
	int n = 0;

	for (int i = 0; i < all; i++)
		for (int k = 0; k < per; k++)
			c[n++] = begin(NULL, fn, (void *)(intptr_t)(i * per + k));
	while (n)
		check_eq(cogo_join(c[--n]), COGO_RETURNED);
	printf("%d of them: at most %d rounds ahead\n", all, worst);
}

Test(turns, of_those_who_yield, .timeout = 120)
{
	all = 4000;
	run_all(yield_in_turn, 1);
}

static int fd[2000];

/* An even one asks, and its partner answers. */
static void talk(void *arg)
{
	int i = (int)(intptr_t)arg;
	char byte = 'x';

	if (i % 2 == 0)
		gather();
	for (int r = 0; r < ROUNDS; r++) {
		if (i % 2 == 0)
			check_eq(write(fd[i], &byte, 1), 1);
		check_eq(read(fd[i], &byte, 1), 1);
		if (i % 2)
			check_eq(write(fd[i], &byte, 1), 1);
		else
			pass(r);
	}
}

Test(turns, of_those_who_wait_for_descriptors, .timeout = 120)
{
	struct rlimit l;

	check_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max;
	check_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	all = 1000;
	if (l.rlim_max < 2100)
		all = ((int)l.rlim_max - 100) / 2;
	for (int i = 0; i < all; i++)
		check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd + 2 * i), 0);
	run_all(talk, 2);
}

static int begun, most_ahead;

static void count_in(void *arg)
{
	(void)arg;
	begun++;
}

/* How many more are made than have begun, at most. */
static void make_many(void *arg)
{
	const struct cogo_attr *attr = arg;

	for (int i = 1; i <= all; i++) {
		cogo_drop(begin(attr, count_in, NULL));
		if (i - begun > most_ahead)
			most_ahead = i - begun;
	}
}

/* The maker waits for nothing: that it lets others run is enough for them. */
Test(turns, of_those_whom_one_makes_without_end)
{
	const struct cogo_attr shares = { .flags = COGO_SHARED_TLS };
	const struct cogo_attr *const kinds[] = { NULL, &shares };

	all = 10000;
	for (int i = 0; i < 2; i++) {
		begun = most_ahead = 0;
		check_eq(cogo_join(begin(NULL, make_many, (void *)kinds[i])),
			 COGO_RETURNED);
		printf("of %d made in a row, at most %d had not begun\n", all,
		       most_ahead);
		check(most_ahead <= 64);
		wait_until(begun == all);
	}
}
