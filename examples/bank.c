/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* bank - locks, and a count of those who are still at work.
 *
 *	cc bank.c -o bank $(pkg-config --cflags --libs cogo)
 *	./bank [TELLERS [TRANSFERS OF EACH]]
 *
 * Tellers move money between accounts, each of which has a lock. While they are at
 * it an auditor takes all the locks and counts: there must always be as much as in
 * the beginning. A wait group tells when the last teller has gone.
 *
 * Zeroed memory is a ready lock, and one of 8 bytes; pthread_mutex_lock would do as
 * well, and block the coroutine alone just the same. */
#include <cogo.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>

#define ACCOUNTS 10
#define IN_EACH	 100

static struct account {
	struct cogo_mutex lock;
	long money;
} bank[ACCOUNTS];

static struct cogo_waitgroup tellers;
static int transfers = 1000;
static _Atomic long done;

static void move(struct account *from, struct account *to, long amount)
{
	/* Everybody locks in the same order, or two could wait for each other. */
	struct account *first = from < to ? from : to;
	struct account *second = from < to ? to : from;

	cogo_mutex_lock(&first->lock);
	cogo_mutex_lock(&second->lock);
	if (from->money >= amount) {
		from->money -= amount;
		cogo_yield();		/* others may look: they find it locked */
		to->money += amount;
		done++;
	}
	cogo_mutex_unlock(&second->lock);
	cogo_mutex_unlock(&first->lock);
}

static void teller(unsigned seed)
{
	for (int i = 0; i < transfers; i++) {
		int from = rand_r(&seed) % ACCOUNTS, to = rand_r(&seed) % ACCOUNTS;

		if (from != to)
			move(&bank[from], &bank[to], rand_r(&seed) % IN_EACH);
	}
	cogo_waitgroup_done(&tellers);
}

static long count(void)
{
	long sum = 0;

	for (int i = 0; i < ACCOUNTS; i++)
		cogo_mutex_lock(&bank[i].lock);
	for (int i = 0; i < ACCOUNTS; i++)
		sum += bank[i].money;
	for (int i = 0; i < ACCOUNTS; i++)
		cogo_mutex_unlock(&bank[i].lock);
	return sum;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 100, r, audits = 0;
	long money = ACCOUNTS * IN_EACH;

	if (argc > 2)
		transfers = atoi(argv[2]);
	for (int i = 0; i < ACCOUNTS; i++)
		bank[i].money = IN_EACH;

	cogo_waitgroup_add(&tellers, n);
	for (int i = 0; i < n; i++) {
		r = go(teller, (unsigned)i);
		if (r)
			error(1, -r, "cannot start");
	}
	do {
		r = cogo_waitgroup_wait(&tellers, cogo_in(10 * COGO_MS));
		audits++;
		if (count() != money)
			error(1, 0, "money is missing at audit %d", audits);
	} while (r == -ETIMEDOUT);
	printf("%d tellers, %ld transfers, %d audits: all the money is there\n", n,
	       done, audits);
	return 0;
}
