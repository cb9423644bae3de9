/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_crowd.c - a worker that only waits for locks leaves the others alone. */
#include "with.h"
#include "chan/chan.h"
#include "cogo/chan.h"
#include "sched/worker.h"
#include <fenv.h>

#define BATCH 200

static struct cogo_chan *ch;
static _Atomic bool over_now;
static _Atomic uint64_t came;

static uint64_t naps(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < sched.nworkers; i++)
		n += sched.workers[i]->naps;
	return n;
}

/* Nobody gets hold of the channel but after a while. */
static void *hog(void *arg)
{
	struct timespec while_ = { 0, 50000 };

	(void)arg;
	while (!over_now) {
		lock(&ch->lock);
		sys_call(SYS_nanosleep, &while_, NULL);
		unlock(&ch->lock);
		sys_call(SYS_sched_yield);
	}
	return NULL;
}

/* What the runtime reckons leaves no trace in the program's floating point. */
static void fill(void *arg)
{
	(void)arg;
	feclearexcept(FE_ALL_EXCEPT);
	while (cogo_send(ch, "", COGO_FOREVER) == 0)
		continue;
	check_eq(fetestexcept(FE_ALL_EXCEPT), 0);
}

static void empty(void *arg)
{
	char x;

	(void)arg;
	feclearexcept(FE_ALL_EXCEPT);
	while (cogo_recv(ch, &x, COGO_FOREVER) == 0)
		came++;
	check_eq(fetestexcept(FE_ALL_EXCEPT), 0);
}

static pthread_t crowd(void)
{
	pthread_t t;

	ch = cogo_chan_new(1, 1);
	check_eq(pthread_create(&t, NULL, hog, NULL), 0);
	for (int i = 0; i < 4; i++) {
		go(fill, NULL);
		go(empty, NULL);
	}
	return t;
}

static void disperse(pthread_t t)
{
	over_now = true;
	check_eq(cogo_chan_close(ch), 0);
	join_all();
	pthread_join(t, NULL);
}

static _Atomic int there;

static void meet(void *arg)
{
	(void)arg;
	there++;
	/* The other one is on another worker: this one gives nothing away. */
	while (there < 2)
		arch_relax();
}

Test(crowd, who_waits_for_locks_alone_naps_and_what_it_had_goes_on, .timeout = 120)
{
	uint64_t seen;
	pthread_t t;

	with(2);
	t = crowd();
	wait_until(naps() >= 3);
	seen = came;
	wait_until(came >= seen + BATCH);
	disperse(t);
	/* And is back when there is something to do. */
	go(meet, NULL);
	go(meet, NULL);
	join_all();
}

Test(crowd, one_alone_stays, .timeout = 120)
{
	pthread_t t;

	with(1);
	t = crowd();
	wait_until(came >= BATCH);
	check_eq(naps(), 0);
	disperse(t);
}
