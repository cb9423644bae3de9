/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* objects.c - the objects of the native API: coroutines and kernel threads, few
 * objects, deadlines at random, and cancellations, interruptions, panics and ends
 * at any moment.
 *
 * Looked at is what the header promises: who is alone is alone; as many poisoned a
 * mutex as were told so; no signal, no token and no turn is lost or there twice;
 * memory goes when it may. A hang is a failure too. Arguments: seed, workers,
 * rounds; the seed is printed. */
#include "storm.h"
#include "../support/lent.h"
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "cogo/sync.h"
#include "coro/local.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/cancel.h"
#include "fault/unwind.h"
#include "go.h"
#include "sched/park.h"
#include "sched/ready.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COROS	40
#define KERNELS 4
#define ALL	(COROS + KERNELS)

static int rounds = 1000;
static struct coro *_Atomic who[ALL];
static _Atomic int running, children;
static _Atomic long cancelled, timeouts, panics;

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
	switch (chance(me, 4)) {
	case 0:
		return 0;
	case 1:
		return sys_now() + chance(me, 200000);
	default:
		return COGO_FOREVER;
	}
}

static void dawdle(struct me *me)
{
	struct coro *c = self();

	door_enter(c);
	switch (chance(me, 12)) {
	case 0:
		park_until(c, WHY_SLEEP, sys_now() + chance(me, 30000));
		break;
	case 1:
	case 2:
		park_yield(c);
		break;
	}
	door_leave(c);
}

/* One that was cancelled takes heart again. */
static bool note(int r)
{
	if (r == -ECANCELED) {
		CHECK(cancel_wanted(self()));
		atomic_fetch_and_explicit(&self()->cancel, ~(uint32_t)CANCEL_WANTED,
					  memory_order_relaxed);
		cancelled++;
	} else if (r == -ETIMEDOUT) {
		timeouts++;
	} else {
		CHECK(r >= 0);
	}
	return r >= 0;
}

static bool is_coroutine(void)
{
	return self()->kind == CORO_KIND_CORO;
}

/* No compiler shall see that it does not return: see tests/sync/world.h. */
static void (*volatile leave_by)(struct coro *, enum unwind_why) = unwind;

/* Calls fn, which may panic, and catches it; as cogo_recover does. */
static NOINLINE bool catch_panic(void (*fn)(void *), void *arg)
{
	struct coro *c = self();
	struct unwind u;

	unwind_begin(c, &u);
	if (_setjmp(u.end) == 0)
		fn(arg);
	unwind_end(c, &u);
	return u.why == UNWIND_PANIC;
}

/* ---- mutex ---- */

static struct cogo_mutex mutex;
static long a, b;
static long poisoned, told;	/* under mutex */

static void let_go(void *m)
{
	CHECK(cogo_mutex_unlock(m) == 0);
}

/* The caller has it; what it says of the data is true. */
static void repair(int r)
{
	CHECK(poisoned == told + (r == -EOWNERDEAD));
	if (r == -EOWNERDEAD) {
		told++;
		b = a;
		CHECK(cogo_mutex_consistent(&mutex) == 0);
	}
	CHECK(a == b);
}

static void panic_between(void *arg)
{
	struct cogo_deferred d = { .fn = let_go, .arg = &mutex };

	(void)arg;
	unwind_push(self(), &d);
	a++;
	poisoned++;
	leave_by(self(), UNWIND_PANIC);
}

static int lock_somehow(struct me *me)
{
	switch (chance(me, 3)) {
	case 0:
		return cogo_mutex_trylock(&mutex);
	case 1:
		return cogo_mutex_lock(&mutex);
	default:
		return cogo_mutex_lock_until(&mutex, some_deadline(me));
	}
}

static void do_mutex(struct me *me)
{
	int r;

	for (int i = 0; i < rounds * 4; i++) {
		r = lock_somehow(me);
		if (r == -EBUSY || (r != -EOWNERDEAD && !note(r)))
			continue;
		repair(r);
		CHECK(cogo_mutex_trylock(&mutex) == -EBUSY);
		if (!chance(me, 16) && is_coroutine()) {
			CHECK(catch_panic(panic_between, NULL));
			panics++;
			continue;
		}
		a++;
		dawdle(me);
		b++;
		let_go(&mutex);
	}
	CHECK(cogo_mutex_unlock(&mutex) == -EPERM);
	if (chance(me, 2)) {
		/* And its end. */
		repair(cogo_mutex_lock(&mutex));
		a++;
		poisoned++;
	}
}

/* ---- condition ---- */

#define ROOM 3
static struct cogo_mutex store_lock;
static struct cogo_cond not_full, not_empty;
static int stored;
static long put, got;

static bool over(bool puts)
{
	return (puts ? put : got) == (long)rounds * ALL / 2;
}

/* Whether it is the caller's turn; the lock is held. */
static bool wait_for_place(struct me *me, bool puts)
{
	while (!over(puts) && (puts ? stored == ROOM : stored == 0)) {
		int r = cogo_cond_wait(puts ? &not_full : &not_empty,
				       &store_lock, some_deadline(me));

		if (!note(r))
			return false;
	}
	return !over(puts);
}

/* By signal alone: one that were lost would leave somebody waiting for ever. Only
 * that all is over for one side is said to all of it. */
static void do_cond(struct me *me)
{
	bool puts = me->n % 2, finished;

	do {
		CHECK(cogo_mutex_lock(&store_lock) == 0);
		if (wait_for_place(me, puts)) {
			stored += puts ? 1 : -1;
			*(puts ? &put : &got) += 1;
			CHECK(stored >= 0 && stored <= ROOM);
			cogo_cond_signal(puts ? &not_empty : &not_full);
		}
		finished = over(puts);
		if (finished)
			cogo_cond_broadcast(puts ? &not_full : &not_empty);
		if (!chance(me, 16))
			dawdle(me);
		let_go(&store_lock);
	} while (!finished);
}

/* ---- read-write lock ---- */

static struct cogo_rwlock rwlock;
static _Atomic int readers, writers;

static int rwlock_somehow(struct me *me, bool write)
{
	switch (chance(me, 3)) {
	case 0:
		return write ? cogo_rwlock_write_trylock(&rwlock) :
			       cogo_rwlock_read_trylock(&rwlock);
	case 1:
		return write ? cogo_rwlock_write_lock(&rwlock) :
			       cogo_rwlock_read_lock(&rwlock);
	default:
		return write ? cogo_rwlock_write_lock_until(&rwlock,
							    some_deadline(me)) :
			       cogo_rwlock_read_lock_until(&rwlock,
							   some_deadline(me));
	}
}

static void do_rwlock(struct me *me)
{
	for (int i = 0; i < rounds * 2; i++) {
		bool write = !chance(me, 4);
		int r = rwlock_somehow(me, write);

		if (r == -EBUSY || !note(r))
			continue;
		if (write) {
			CHECK(++writers == 1);
			CHECK(readers == 0);
			dawdle(me);
			CHECK(readers == 0);
			writers--;
		} else {
			readers++;
			CHECK(writers == 0);
			dawdle(me);
			CHECK(writers == 0);
			readers--;
		}
		CHECK(cogo_rwlock_unlock(&rwlock) == 0);
	}
}

/* ---- semaphore ---- */

static struct cogo_sem tokens = COGO_SEM_INIT(3);
static _Atomic int held;

static void do_sem(struct me *me)
{
	for (int i = 0; i < rounds * 2; i++) {
		uint32_t n = 1;

		if (!note(cogo_sem_acquire_until(&tokens, some_deadline(me))))
			continue;
		CHECK(++held <= 3);
		/* One more, if that is to be had, to release both at once. */
		if (chance(me, 4) == 0 && cogo_sem_tryacquire(&tokens) == 0) {
			CHECK(++held <= 3);
			n = 2;
		}
		dawdle(me);
		held -= (int)n;
		CHECK(cogo_sem_release(&tokens, n) == 0);
	}
}

/* ---- barrier ---- */

#define MEET (ALL / 3)
static struct cogo_barrier barrier;
static _Atomic long met, last;

static void do_barrier(struct me *me)
{
	while (last < rounds) {
		int r = cogo_barrier_wait(&barrier, MEET,
					  sys_now() + chance(me, 100000));

		if (!note(r))
			continue;
		met++;
		last += r;
		dawdle(me);
	}
}

/* ---- once, latch, wait group ---- */

static struct cogo_once *onces;
static _Atomic int *done, *at_once;

struct attempt {
	struct me *me;
	int n;
};

static void leave_once(void *arg)
{
	--*(_Atomic int *)arg;
}

static void do_it(void *arg)
{
	struct attempt *t = arg;
	struct cogo_deferred d = { .fn = leave_once, .arg = (void *)&at_once[t->n] };

	CHECK(++at_once[t->n] == 1);
	dawdle(t->me);
	if (is_coroutine() && chance(t->me, 2)) {
		unwind_push(self(), &d);
		leave_by(self(), UNWIND_PANIC);
	}
	done[t->n]++;
	at_once[t->n]--;
}

static void try_once(void *arg)
{
	struct attempt *t = arg;

	cogo_once_do(&onces[t->n], do_it, t);
	CHECK(done[t->n] == 1);
}

static void do_once(struct me *me)
{
	for (int i = 0; i < rounds; i++) {
		struct attempt t = { me, i };

		if (!is_coroutine())
			try_once(&t);
		else if (catch_panic(try_once, &t))
			panics++;
	}
}

static void count_down(void *arg)
{
	cogo_waitgroup_done(arg);
	children--;
}

static void fire(void *arg)
{
	cogo_latch_fire(arg);
	children--;
}

static void child(void (*fn)(void *), void *arg)
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct coro *c, *me = self();

	children++;
	door_enter(me);
	if (go_make(&attr, fn, arg, &c))
		abort();
	go_ready(c);
	door_leave(me);
}

static void do_waitgroup(struct me *me)
{
	for (int i = 0; i < rounds / 8; i++) {
		struct cogo_waitgroup *wg = calloc(1, sizeof(*wg));
		int n = 1 + (int)chance(me, 4);

		cogo_waitgroup_add(wg, n);
		while (n--)
			child(count_down, wg);
		while (!note(cogo_waitgroup_wait(wg, some_deadline(me))))
			;
		memset(wg, 0xff, sizeof(*wg));
		free(wg);
	}
}

static void do_latch(struct me *me)
{
	for (int i = 0; i < rounds / 4; i++) {
		struct cogo_latch *l = calloc(1, sizeof(*l));

		child(fire, l);
		while (!note(cogo_latch_wait(l, some_deadline(me))))
			;
		CHECK(cogo_latch_fired(l));
		memset(l, 0xff, sizeof(*l));
		free(l);
	}
}

/* ---- the storm ---- */

static void begin(void *arg)
{
	struct me *me = arg;
	struct coro *c = self();
	struct unwind u;

	unwind_begin(c, &u);
	if (_setjmp(u.end) == 0)
		me->fn(me);
	unwind_end(c, &u);
	local_end(c);
	running--;
}

static void *begin_kernel(void *arg)
{
	struct me *me = arg;

	who[me->n] = coro_adopt(CORO_KIND_THREAD);
	me->fn(me);
	local_end(self());
	running--;
	while (running)
		sys_call(SYS_sched_yield);
	return NULL;
}

/* ThreadSanitizer takes a signal that falls into a switch for another's. */
static void cancel(struct coro *c)
{
	if (!SANITIZE_THREAD) {
		cancel_request(c);
		return;
	}
	atomic_fetch_or_explicit(&c->cancel, CANCEL_WANTED, memory_order_relaxed);
	if (wait_claim_any(c, WAIT_INTERRUPTED))
		ready(c);
}

/* Everybody's waits are broken off, and coroutines cancelled. */
static void disturb(struct me *here)
{
	struct coro *c = who[chance(here, ALL)];

	if (!c)
		return;
	if (chance(here, 2) && c->kind == CORO_KIND_CORO)
		cancel(c);
	else if (wait_claim_any(c, WAIT_INTERRUPTED))
		ready(c);
}

static void storm(const char *name, void (*fn)(struct me *))
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct timespec t = { .tv_nsec = 50000 };
	pthread_t kernels[KERNELS];
	struct coro *c, *main_coro = self();
	struct me here = { .chance = seed | 1 };

	cancelled = timeouts = panics = 0;
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
	while (running || children) {
		door_enter(main_coro);
		for (int i = 0; i < 8 && running; i++)
			disturb(&here);
		door_leave(main_coro);
		nanosleep(&t, NULL);
	}
	for (int i = 0; i < KERNELS; i++)
		pthread_join(kernels[i], NULL);
	for (int i = 0; i < COROS; i++)
		go_unref(who[i]);
	for (int i = 0; i < ALL; i++)
		who[i] = NULL;
	printf("%s: %ld cancelled, %ld timeouts, %ld panics\n", name,
	       (long)cancelled, (long)timeouts, (long)panics);
}

int main(int argc, char **argv)
{
	lent_use(SANITIZE_ADDRESS);
	storm_begin(argc, argv, &rounds);

	storm("mutex", do_mutex);
	repair(cogo_mutex_lock(&mutex));
	let_go(&mutex);
	storm("cond", do_cond);
	CHECK(put == got && stored == 0);
	storm("rwlock", do_rwlock);
	CHECK(cogo_rwlock_write_trylock(&rwlock) == 0);
	storm("sem", do_sem);
	for (int i = 0; i < 3; i++)
		CHECK(cogo_sem_tryacquire(&tokens) == 0);
	CHECK(cogo_sem_tryacquire(&tokens) == -EBUSY);
	storm("barrier", do_barrier);
	CHECK(met == last * MEET);
	CHECK(barrier.here == 0);
	onces = calloc((size_t)rounds, sizeof(*onces));
	done = calloc((size_t)rounds, sizeof(*done));
	at_once = calloc((size_t)rounds, sizeof(*at_once));
	storm("once", do_once);
	storm("waitgroup", do_waitgroup);
	storm("latch", do_latch);
	free(onces);
	free((void *)done);
	free((void *)at_once);
	local_end(self());
	return storm_end();
}
