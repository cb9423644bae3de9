/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync.c - the objects of sync/ themselves: coroutines and kernel threads, few
 * objects, deadlines at random, and waits that are broken off at random.
 *
 * locks.c storms the same through pthreads; here the interruptions come far more
 * often than signals can, and at any moment of a wait. Nothing is looked at but
 * what a lock promises. Arguments: seed, workers, rounds; the seed is printed. */
#include "storm.h"
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/door.h"
#include "go.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "sync/barrier.h"
#include "sync/cond.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/sem.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COROS	40
#define KERNELS 4
#define ALL	(COROS + KERNELS)

static int rounds = 2000;
static struct coro *_Atomic who[ALL];
static _Atomic int running;
static _Atomic long interrupted, timeouts;

struct me {
	int n;
	uint64_t chance;
	void (*fn)(struct me *);
};
static struct me everybody[ALL];

static uint32_t chance(struct me *me, uint32_t n)
{
	return draw(&me->chance, n);
}

static cogo_time some_deadline(struct me *me)
{
	return chance(me, 2) ? COGO_FOREVER : sys_now() + chance(me, 200000);
}

static void dawdle(struct me *me)
{
	struct coro *c = self();

	switch (chance(me, 12)) {
	case 0:
		park_until(c, WHY_SLEEP, sys_now() + chance(me, 30000));
		break;
	case 1:
	case 2:
		park_yield(c);
		break;
	}
}

static bool note(int r)
{
	if (r == -EINTR)
		interrupted++;
	else if (r == -ETIMEDOUT)
		timeouts++;
	else
		CHECK(r == 0);
	return r == 0;
}

/* ---- what is stormed ---- */

static struct mutex mutex;
static long a, b;
static _Atomic long counted;

static void lock_for_sure(struct mutex *m)
{
	uint32_t since = 0;
	int r;

	if (mutex_try(m))
		return;
	while ((r = mutex_lock(m, COGO_FOREVER, &since)))
		CHECK(r == -EINTR);
}

static void do_mutex(struct me *me)
{
	uint32_t since = 0;

	for (int i = 0; i < rounds; i++) {
		if (!mutex_try(&mutex) &&
		    !note(mutex_lock(&mutex, some_deadline(me), &since)))
			continue;
		since = 0;
		CHECK(a == b);
		a++;
		dawdle(me);
		b++;
		counted++;
		mutex_unlock(&mutex);
	}
}

static struct cond cond;
static int room;
static long in, out;

/* As pthread_cond_wait: goes on after what broke it off. */
static void wait_cond(struct me *me)
{
	cogo_time deadline = some_deadline(me);
	uint32_t epoch, since = 0;
	int r = cond_wait(&cond, &mutex, deadline, &epoch), again;

	while (r == -EINTR) {
		interrupted++;
		if (chance(me, 2))
			park_yield(self());
		r = cond_wait_again(&cond, deadline, &epoch);
	}
	CHECK(r == 0 || r == -ETIMEDOUT);
	while ((again = r == 0 ? mutex_lock_woken(&mutex, &since) :
				 mutex_lock(&mutex, COGO_FOREVER, &since)))
		CHECK(again == -EINTR);
}

/* One condition for both sides, so only a broadcast is sure to reach the right
 * one, and most who wake go back. */
static void do_cond(struct me *me)
{
	long want = (long)rounds * ALL;
	bool puts = me->n % 2;

	for (;;) {
		bool first = chance(me, 2);

		lock_for_sure(&mutex);
		while (puts ? room == 3 && in < want : room == 0 && out < want)
			wait_cond(me);
		if (puts ? in == want : out == want) {
			mutex_unlock(&mutex);
			return;
		}
		room += puts ? 1 : -1;
		*(puts ? &in : &out) += 1;
		CHECK(room >= 0 && room <= 3);
		if (first)
			cond_broadcast(&cond);
		if (!chance(me, 16))
			dawdle(me);
		mutex_unlock(&mutex);
		if (!first)
			cond_broadcast(&cond);
	}
}

static struct cond conds[ALL];
static int turn[ALL / 2];

/* Pairs, by signal alone, and without deadlines: one lost is a hang. */
static void do_signal(struct me *me)
{
	int pair = me->n / 2, mine = me->n % 2;
	uint32_t epoch, since;
	int r;

	for (int i = 0; i < rounds * 4; i++) {
		lock_for_sure(&mutex);
		while (turn[pair] != mine) {
			r = cond_wait(&conds[me->n], &mutex, COGO_FOREVER, &epoch);
			while (r == -EINTR) {
				interrupted++;
				if (chance(me, 2))
					park_yield(self());
				r = cond_wait_again(&conds[me->n], COGO_FOREVER,
						    &epoch);
			}
			CHECK(r == 0);
			since = 0;
			while (mutex_lock_woken(&mutex, &since))
				;
		}
		turn[pair] = !mine;
		cond_signal(&conds[me->n ^ 1]);
		mutex_unlock(&mutex);
	}
}

static struct rwlock rwlock;
static bool writers_first;
static _Atomic int readers, writers;

static void do_rwlock(struct me *me)
{
	bool first = writers_first;
	uint32_t since;

	for (int i = 0; i < rounds; i++) {
		since = 0;
		if (chance(me, 4)) {
			if (!note(rwlock_read(&rwlock, first, some_deadline(me),
					      &since)))
				continue;
			readers++;
			CHECK(writers == 0);
			dawdle(me);
			CHECK(writers == 0);
			readers--;
		} else {
			if (!note(rwlock_write(&rwlock, first, some_deadline(me),
					       &since)))
				continue;
			CHECK(++writers == 1);
			CHECK(readers == 0);
			dawdle(me);
			CHECK(readers == 0);
			writers--;
		}
		rwlock_unlock(&rwlock, first);
	}
}

static struct sem tokens;
static _Atomic int held;

static void do_sem(struct me *me)
{
	for (int i = 0; i < rounds; i++) {
		if (!sem_try_take(&tokens) &&
		    !note(sem_take(&tokens, some_deadline(me))))
			continue;
		CHECK(++held <= 3);
		dawdle(me);
		held--;
		if (sem_give(&tokens))
			sem_wake(&tokens);
	}
}

static struct barrier barrier;
static _Atomic int arrived, last;

static void meet(struct me *me, int *ret_last)
{
	uint32_t round;
	int r = barrier_arrive(&barrier, &round);

	while (r < 0) {
		interrupted++;
		if (chance(me, 2))
			park_yield(self());
		r = barrier_again(&barrier, round);
	}
	*ret_last = r;
}

static void do_barrier(struct me *me)
{
	int r;

	for (int i = 0; i < rounds / 8; i++) {
		arrived++;
		dawdle(me);
		meet(me, &r);
		CHECK(arrived >= (i + 1) * ALL);
		last += r;
		meet(me, &r);
		CHECK(last == i + 1);
		meet(me, &r);
	}
}

#define ONCES 64
static struct once onces[ONCES];
static int tries[ONCES];
static _Atomic int done[ONCES];

static void do_once(struct me *me)
{
	int r;

	for (int i = 0; i < ONCES; i++) {
		while (!once_done(&onces[i])) {
			r = once_begin(&onces[i]);
			if (r == 1) {
				bool good = ++tries[i] == 3;

				dawdle(me);
				done[i] += good;
				once_end(&onces[i], good);
			} else {
				CHECK(r == 0 || r == -EINTR);
			}
		}
		CHECK(done[i] == 1);
	}
}

/* ---- running it ---- */

static void begin(void *arg)
{
	struct me *me = arg;
	struct coro *c = self();

	door_enter(c);
	me->fn(me);
	door_leave(c);
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

static void storm(const char *name, void (*fn)(struct me *))
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct timespec t = { .tv_nsec = 20000 };
	long before = interrupted, before_timeouts = timeouts;
	pthread_t kernels[KERNELS];
	struct coro *c;
	struct me here = { .chance = seed | 1 };

	running = ALL;
	for (int i = 0; i < ALL; i++)
		everybody[i] = (struct me){
			i, (seed + (uint64_t)i * 0x9e3779b97f4a7c15ull) | 1, fn };
	for (int i = 0; i < COROS; i++) {
		if (go_make(&attr, begin, &everybody[i], &c))
			abort();
		go_ref(c);
		who[i] = c;
		go_ready(c);
	}
	for (int i = 0; i < KERNELS; i++)
		if (pthread_create(&kernels[i], NULL, begin_kernel,
				   &everybody[COROS + i]))
			abort();
	while (running) {
		for (int i = 0; i < 32 && running; i++) {
			c = who[chance(&here, ALL)];
			if (c && wait_claim_any(c, WAIT_INTERRUPTED))
				ready(c);
		}
		nanosleep(&t, NULL);
	}
	for (int i = 0; i < KERNELS; i++)
		pthread_join(kernels[i], NULL);
	for (int i = 0; i < ALL; i++)
		who[i] = NULL;
	printf("%s: %ld interruptions, %ld timeouts\n", name,
	       interrupted - before, timeouts - before_timeouts);
}

int main(int argc, char **argv)
{
	storm_begin(argc, argv, &rounds);

	storm("mutex", do_mutex);
	CHECK(a == counted && b == counted);
	storm("cond", do_cond);
	CHECK(in == out && room == 0);
	storm("signal", do_signal);
	storm("rwlock", do_rwlock);
	writers_first = true;
	storm("rwlock, writers first", do_rwlock);
	CHECK(rwlock_try_write(&rwlock) == 0);
	tokens.word = 3;
	storm("sem", do_sem);
	CHECK(tokens.word == 3);
	barrier.count = ALL;
	storm("barrier", do_barrier);
	CHECK(barrier_drain(&barrier) == 0 && barrier.here == 0);
	storm("once", do_once);
	return storm_end();
}
