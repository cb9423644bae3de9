/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* locks.c - many threads, few locks, and everything at random.
 *
 * An ordinary program: it is run bare and as coroutines. Threads whose function
 * is called kernel_... are kept kernel threads by --bind, so that both kinds
 * meet at the same objects; the name alone makes the difference.
 *
 * Each part keeps something that only a working lock keeps: two words that must
 * agree, a sum, so many tokens, one of each round who is told so. Times are
 * random and short, so that timeouts, signals and wakes fall together; none
 * decides a result. What may be freed is unmapped at once, so that one touch too
 * many is a fault.
 *
 * Arguments: --seed N repeats a run, --threads N, --rounds N, PART.. runs the
 * parts named. The seed is printed first. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 512

static uint64_t seed;
static int nthreads = 32, rounds = 400;
static _Atomic long failures;

static void check(bool good, int line, const char *text)
{
	if (good)
		return;
	failures++;
	printf("locks.c:%d: not so: %s\n", line, text);
}

#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)
#define MUST(call)							\
	do {								\
		int must_ = (call);					\
		if (must_) {						\
			printf("%s:%d: %s gives %d\n", __FILE__,	\
			       __LINE__, #call, must_);			\
			abort();					\
		}							\
	} while (0)

/* ---- chance ---- */

static _Thread_local uint64_t chance_state;

static uint32_t chance(uint32_t n)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return (uint32_t)((chance_state >> 32) * n >> 32);
}

static void begin_chance(uint64_t who)
{
	chance_state = (seed + who * 0x9e3779b97f4a7c15ull) | 1;
	for (int i = 0; i < 8; i++)
		chance(2);
}

static struct timespec soon(clockid_t clock, uint32_t most_us)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += chance(most_us + 1) * 1000L;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

/* Something that takes its time, or not. */
static void dawdle(void)
{
	struct timespec t = { .tv_nsec = chance(50000) };

	switch (chance(16)) {
	case 0:
		nanosleep(&t, NULL);
		break;
	case 1:
	case 2:
		sched_yield();
		break;
	case 3:
		for (volatile int i = 0; i < 2000; i++)
			;
		break;
	}
}

/* ---- running a part ---- */

static void (*part)(int me);
static _Atomic int running;

static void work(void *arg)
{
	begin_chance((uintptr_t)arg + 1);
	part((int)(uintptr_t)arg);
	running--;
}

void *kernel_worker(void *arg);
void *kernel_worker(void *arg)
{
	work(arg);
	return NULL;
}

static void *worker(void *arg)
{
	work(arg);
	return NULL;
}

static pthread_t threads[MOST_THREADS];

static void begin(void (*fn)(int), int n)
{
	pthread_attr_t a;

	part = fn;
	running = n;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 128 << 10);
	for (int i = 0; i < n; i++)
		MUST(pthread_create(&threads[i], &a,
				    i % 8 == 7 ? kernel_worker : worker,
				    (void *)(uintptr_t)i));
	pthread_attr_destroy(&a);
}

static void end(int n)
{
	for (int i = 0; i < n; i++)
		MUST(pthread_join(threads[i], NULL));
}

static void run(void (*fn)(int), int n)
{
	begin(fn, n);
	end(n);
}

/* ---- mutexes ---- */

#define MUTEXES 4

static struct guarded {
	pthread_mutex_t m;
	long a, b;
	int depth;
} guarded[MUTEXES];
static _Atomic long added;

static bool get(struct guarded *g)
{
	struct timespec t;
	int r;

	switch (chance(6)) {
	case 0:
		r = pthread_mutex_trylock(&g->m);
		CHECK(r == 0 || r == EBUSY);
		return r == 0;
	case 1:
		t = soon(CLOCK_REALTIME, 300);
		r = pthread_mutex_timedlock(&g->m, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		return r == 0;
	case 2:
		t = soon(CLOCK_MONOTONIC, 300);
		r = pthread_mutex_clocklock(&g->m, CLOCK_MONOTONIC, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		return r == 0;
	default:
		MUST(pthread_mutex_lock(&g->m));
		return true;
	}
}

static void mutex_work(int me)
{
	(void)me;
	for (int i = 0; i < rounds * 4; i++) {
		int which = (int)chance(MUTEXES);
		struct guarded *g = &guarded[which];

		if (!get(g))
			continue;
		CHECK(g->a == g->b);
		CHECK(g->depth == 0);
		g->depth = 1;
		g->a++;
		if (which == 1 && chance(2)) {
			MUST(pthread_mutex_lock(&g->m));
			dawdle();
			MUST(pthread_mutex_unlock(&g->m));
		} else {
			dawdle();
		}
		g->b++;
		g->depth = 0;
		added++;
		MUST(pthread_mutex_unlock(&g->m));
	}
}

static void mutexes(void)
{
	static const int types[MUTEXES] = { PTHREAD_MUTEX_NORMAL,
					    PTHREAD_MUTEX_RECURSIVE,
					    PTHREAD_MUTEX_ERRORCHECK,
					    PTHREAD_MUTEX_ADAPTIVE_NP };
	long sum = 0;

	for (int i = 0; i < MUTEXES; i++) {
		pthread_mutexattr_t a;

		pthread_mutexattr_init(&a);
		pthread_mutexattr_settype(&a, types[i]);
		memset(&guarded[i], 0, sizeof(guarded[i]));
		pthread_mutex_init(&guarded[i].m, &a);
	}
	added = 0;
	run(mutex_work, nthreads);
	for (int i = 0; i < MUTEXES; i++) {
		sum += guarded[i].b;
		CHECK(pthread_mutex_destroy(&guarded[i].m) == 0);
	}
	CHECK(sum == added);
}

/* ---- a queue with conditions ---- */

#define ROOM 4

static struct {
	pthread_mutex_t m;
	pthread_cond_t not_full, not_empty;
	int n;
	long put, got, put_sum, got_sum, want;
} queue = { .m = PTHREAD_MUTEX_INITIALIZER };

static void wait_for(pthread_cond_t *c, bool monotonic)
{
	struct timespec t;
	int r;

	switch (chance(4)) {
	case 0:
		t = soon(monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME, 300);
		r = pthread_cond_timedwait(c, &queue.m, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		break;
	case 1:
		t = soon(CLOCK_MONOTONIC, 300);
		r = pthread_cond_clockwait(c, &queue.m, CLOCK_MONOTONIC, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		break;
	default:
		MUST(pthread_cond_wait(c, &queue.m));
	}
}

static void tell(pthread_cond_t *c)
{
	if (chance(4))
		pthread_cond_signal(c);
	else
		pthread_cond_broadcast(c);
}

static void produce(void)
{
	for (;;) {
		bool after = chance(2);

		MUST(pthread_mutex_lock(&queue.m));
		while (queue.n == ROOM && queue.put < queue.want)
			wait_for(&queue.not_full, false);
		if (queue.put == queue.want) {
			MUST(pthread_mutex_unlock(&queue.m));
			return;
		}
		queue.n++;
		queue.put_sum += ++queue.put;
		if (queue.put == queue.want)
			pthread_cond_broadcast(&queue.not_full);
		if (!after)
			tell(&queue.not_empty);
		if (!chance(8))
			dawdle();
		MUST(pthread_mutex_unlock(&queue.m));
		if (after)
			tell(&queue.not_empty);
	}
}

static void consume(void)
{
	for (;;) {
		bool after = chance(2);

		MUST(pthread_mutex_lock(&queue.m));
		while (!queue.n && queue.got < queue.want)
			wait_for(&queue.not_empty, true);
		if (queue.got == queue.want) {
			MUST(pthread_mutex_unlock(&queue.m));
			return;
		}
		CHECK(queue.n > 0 && queue.n <= ROOM);
		queue.n--;
		queue.got_sum += ++queue.got;
		if (queue.got == queue.want)
			pthread_cond_broadcast(&queue.not_empty);
		if (!after)
			tell(&queue.not_full);
		MUST(pthread_mutex_unlock(&queue.m));
		if (after)
			tell(&queue.not_full);
	}
}

static void queue_work(int me)
{
	if (me % 2)
		produce();
	else
		consume();
}

static void conditions(void)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_cond_init(&queue.not_full, &a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&queue.not_empty, &a);
	queue.n = 0;
	queue.put = queue.got = queue.put_sum = queue.got_sum = 0;
	queue.want = (long)rounds * nthreads;
	run(queue_work, nthreads & ~1);
	CHECK(queue.got == queue.want && queue.put == queue.want);
	CHECK(queue.got_sum == queue.put_sum);
	MUST(pthread_cond_destroy(&queue.not_full));
	MUST(pthread_cond_destroy(&queue.not_empty));
}

/* ---- without timeouts, where one lost wake hangs ---- */

/* A token goes round; each waits for its turn on one condition for all. */
static struct {
	pthread_mutex_t m;
	pthread_cond_t c;
	long turn, last;
} ring = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };

static void ring_work(int me)
{
	MUST(pthread_mutex_lock(&ring.m));
	while (ring.turn < ring.last) {
		if (ring.turn % nthreads == me) {
			ring.turn++;
			pthread_cond_broadcast(&ring.c);
		} else {
			MUST(pthread_cond_wait(&ring.c, &ring.m));
		}
	}
	MUST(pthread_mutex_unlock(&ring.m));
}

static void turns(void)
{
	ring.turn = 0;
	ring.last = rounds / 4 * nthreads;
	run(ring_work, nthreads);
	CHECK(ring.turn == ring.last);
}

/* Pairs, each with its own condition and one mutex for all: signal alone. */
static struct {
	pthread_mutex_t m;
	struct {
		pthread_cond_t c[2];
		int turn;
	} pair[MOST_THREADS / 2];
} pairs = { .m = PTHREAD_MUTEX_INITIALIZER };

static void pair_work(int me)
{
	int p = me / 2, mine = me % 2;

	for (int i = 0; i < rounds; i++) {
		MUST(pthread_mutex_lock(&pairs.m));
		while (pairs.pair[p].turn != mine)
			MUST(pthread_cond_wait(&pairs.pair[p].c[mine],
					       &pairs.m));
		pairs.pair[p].turn = !mine;
		if (!chance(32))
			dawdle();
		pthread_cond_signal(&pairs.pair[p].c[!mine]);
		MUST(pthread_mutex_unlock(&pairs.m));
	}
}

static void ping_pong(void)
{
	memset(pairs.pair, 0, sizeof(pairs.pair));
	run(pair_work, nthreads & ~1);
}

/* ---- read-write locks ---- */

#define RWLOCKS 3

static struct {
	pthread_rwlock_t l;
	volatile long a, b;
	_Atomic int readers, writers;
} shared[RWLOCKS];
static _Atomic long written;

static bool get_rw(int i, bool write)
{
	pthread_rwlock_t *l = &shared[i].l;
	struct timespec t;
	int r;

	switch (chance(6)) {
	case 0:
		r = write ? pthread_rwlock_trywrlock(l) :
			    pthread_rwlock_tryrdlock(l);
		CHECK(r == 0 || r == EBUSY);
		return r == 0;
	case 1:
		t = soon(CLOCK_REALTIME, 200);
		r = write ? pthread_rwlock_timedwrlock(l, &t) :
			    pthread_rwlock_timedrdlock(l, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		return r == 0;
	case 2:
		t = soon(CLOCK_MONOTONIC, 200);
		r = write ? pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &t) :
			    pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, &t);
		CHECK(r == 0 || r == ETIMEDOUT);
		return r == 0;
	default:
		MUST(write ? pthread_rwlock_wrlock(l) : pthread_rwlock_rdlock(l));
		return true;
	}
}

static void rw_work(int me)
{
	(void)me;
	for (int n = 0; n < rounds * 4; n++) {
		int i = (int)chance(RWLOCKS);
		bool write = !chance(4);

		if (!get_rw(i, write))
			continue;
		if (write) {
			CHECK(++shared[i].writers == 1);
			CHECK(shared[i].readers == 0);
			shared[i].a++;
			dawdle();
			shared[i].b++;
			written++;
			shared[i].writers--;
		} else {
			shared[i].readers++;
			CHECK(shared[i].writers == 0);
			CHECK(shared[i].a == shared[i].b);
			dawdle();
			CHECK(shared[i].a == shared[i].b);
			shared[i].readers--;
		}
		MUST(pthread_rwlock_unlock(&shared[i].l));
	}
}

static void rwlocks(void)
{
	long sum = 0;

	for (int i = 0; i < RWLOCKS; i++) {
		pthread_rwlockattr_t a;

		pthread_rwlockattr_init(&a);
		pthread_rwlockattr_setkind_np(&a, i);
		pthread_rwlock_init(&shared[i].l, &a);
		shared[i].a = shared[i].b = 0;
	}
	written = 0;
	run(rw_work, nthreads);
	for (int i = 0; i < RWLOCKS; i++) {
		sum += shared[i].b;
		CHECK(pthread_rwlock_trywrlock(&shared[i].l) == 0);
		pthread_rwlock_unlock(&shared[i].l);
		pthread_rwlock_destroy(&shared[i].l);
	}
	CHECK(sum == written);
}

/* ---- semaphores ---- */

#define TOKENS 3

static sem_t pool;
static _Atomic int out;

static bool get_token(void)
{
	struct timespec t;
	int r;

	switch (chance(6)) {
	case 0:
		r = sem_trywait(&pool);
		CHECK(r == 0 || errno == EAGAIN);
		return r == 0;
	case 1:
		t = soon(CLOCK_REALTIME, 200);
		r = sem_timedwait(&pool, &t);
		CHECK(r == 0 || errno == ETIMEDOUT || errno == EINTR);
		return r == 0;
	case 2:
		t = soon(CLOCK_MONOTONIC, 200);
		r = sem_clockwait(&pool, CLOCK_MONOTONIC, &t);
		CHECK(r == 0 || errno == ETIMEDOUT || errno == EINTR);
		return r == 0;
	default:
		r = sem_wait(&pool);
		CHECK(r == 0 || errno == EINTR);
		return r == 0;
	}
}

static void sem_work(int me)
{
	(void)me;
	for (int i = 0; i < rounds * 4; i++) {
		if (!get_token())
			continue;
		CHECK(++out <= TOKENS);
		dawdle();
		out--;
		MUST(sem_post(&pool));
	}
}

static void sems(void)
{
	int n = -1;

	sem_init(&pool, 0, TOKENS);
	run(sem_work, nthreads);
	sem_getvalue(&pool, &n);
	CHECK(n == TOKENS && out == 0);
	sem_destroy(&pool);
}

/* ---- barriers ---- */

static pthread_barrier_t barrier;
static _Atomic int arrived, served;

static void barrier_work(int me)
{
	int n = nthreads;

	(void)me;
	for (int i = 0; i < rounds / 4; i++) {
		int r;

		arrived++;
		dawdle();
		r = pthread_barrier_wait(&barrier);
		CHECK(arrived >= (i + 1) * n);
		if (r == PTHREAD_BARRIER_SERIAL_THREAD)
			served++;
		else
			CHECK(r == 0);
		r = pthread_barrier_wait(&barrier);
		CHECK(served == i + 1);
		CHECK(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
		pthread_barrier_wait(&barrier);
	}
}

static void barriers(void)
{
	arrived = served = 0;
	MUST(pthread_barrier_init(&barrier, NULL, (unsigned)nthreads));
	run(barrier_work, nthreads);
	CHECK(arrived == rounds / 4 * nthreads);
	MUST(pthread_barrier_destroy(&barrier));
}

/* ---- once ---- */

#define ONCES 64

static pthread_once_t once[ONCES];
static int done[ONCES];
static _Thread_local int doing;

static void do_it(void)
{
	dawdle();
	done[doing]++;
}

static void once_work(int me)
{
	(void)me;
	for (int i = 0; i < ONCES; i++) {
		doing = i;
		MUST(pthread_once(&once[i], do_it));
		CHECK(done[i] == 1);
	}
}

static void onces(void)
{
	memset(once, 0, sizeof(once));
	memset(done, 0, sizeof(done));
	run(once_work, nthreads);
}

/* ---- spin locks ---- */

static pthread_spinlock_t spin;
static long spun;

static void spin_work(int me)
{
	(void)me;
	for (int i = 0; i < rounds; i++) {
		MUST(pthread_spin_lock(&spin));
		spun++;
		if (!chance(64))
			sched_yield();
		pthread_spin_unlock(&spin);
	}
}

static void spins(void)
{
	spun = 0;
	pthread_spin_init(&spin, 0);
	run(spin_work, nthreads);
	CHECK(spun == (long)rounds * nthreads);
}

/* ---- memory that goes as soon as it may ---- */

static void *page(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* Counted under its own lock; the last to have it takes it down. */
static struct brief {
	pthread_mutex_t m;
	pthread_rwlock_t l;
	int refs, wrefs;
} *_Atomic brief;
static pthread_barrier_t brief_start, brief_end;

static void brief_work(int me)
{
	for (int i = 0; i < rounds / 4; i++) {
		struct brief *b;
		bool last;

		if (me == 0) {
			b = page();
			pthread_mutex_init(&b->m, NULL);
			pthread_rwlock_init(&b->l, NULL);
			b->refs = b->wrefs = nthreads;
			brief = b;
		}
		pthread_barrier_wait(&brief_start);
		b = brief;
		MUST(pthread_rwlock_rdlock(&b->l));
		MUST(pthread_rwlock_unlock(&b->l));
		MUST(pthread_mutex_lock(&b->m));
		last = --b->refs == 0;
		if (!chance(16))
			sched_yield();
		MUST(pthread_mutex_unlock(&b->m));
		if (last)
			MUST(pthread_mutex_destroy(&b->m));
		MUST(pthread_rwlock_wrlock(&b->l));
		last = --b->wrefs == 0;
		MUST(pthread_rwlock_unlock(&b->l));
		if (last) {
			MUST(pthread_rwlock_destroy(&b->l));
			munmap(b, 4096);
		}
		pthread_barrier_wait(&brief_end);
	}
}

/* The one who waited for it unmaps it, while the one who told it may still be
 * on its way out. */
static struct note {
	sem_t s;
	pthread_mutex_t m;
	pthread_cond_t c;
	pthread_barrier_t b;
	int set, waiting;
} *_Atomic notes[MOST_THREADS];

static void leave_note(struct note *n)
{
	switch (n->waiting) {
	case 0:
		MUST(sem_post(&n->s));
		break;
	case 1:
		MUST(pthread_mutex_lock(&n->m));
		n->set = 1;
		pthread_cond_signal(&n->c);
		MUST(pthread_mutex_unlock(&n->m));
		break;
	case 2:
		MUST(pthread_mutex_lock(&n->m));
		n->set = 1;
		pthread_cond_broadcast(&n->c);
		MUST(pthread_mutex_unlock(&n->m));
		break;
	case 3: {
		int r = pthread_barrier_wait(&n->b);

		if (r == PTHREAD_BARRIER_SERIAL_THREAD) {
			pthread_barrier_destroy(&n->b);
			munmap(n, 4096);
		}
		break;
	}
	}
}

static void take_note(struct note *n)
{
	int r;

	switch (n->waiting) {
	case 0:
		while (sem_wait(&n->s))
			CHECK(errno == EINTR);
		sem_destroy(&n->s);
		munmap(n, 4096);
		break;
	case 1:
	case 2:
		MUST(pthread_mutex_lock(&n->m));
		while (!n->set)
			MUST(pthread_cond_wait(&n->c, &n->m));
		MUST(pthread_mutex_unlock(&n->m));
		MUST(pthread_cond_destroy(&n->c));
		MUST(pthread_mutex_destroy(&n->m));
		munmap(n, 4096);
		break;
	case 3:
		r = pthread_barrier_wait(&n->b);
		if (r == PTHREAD_BARRIER_SERIAL_THREAD) {
			pthread_barrier_destroy(&n->b);
			munmap(n, 4096);
		}
		break;
	}
}

static void note_work(int me)
{
	int p = me / 2;

	for (int i = 0; i < rounds; i++) {
		struct note *n;

		if (me % 2) {
			while (!(n = atomic_exchange(&notes[p], NULL)))
				sched_yield();
			leave_note(n);
			continue;
		}
		n = page();
		n->waiting = (int)chance(4);
		sem_init(&n->s, 0, 0);
		pthread_mutex_init(&n->m, NULL);
		pthread_cond_init(&n->c, NULL);
		pthread_barrier_init(&n->b, NULL, 2);
		while (notes[p])
			sched_yield();
		notes[p] = n;
		take_note(n);
	}
}

/* All wait, one broadcasts and takes it down without a look back. */
static struct {
	pthread_mutex_t m;
	pthread_cond_t *_Atomic c;
	int in, gen;
} hall = { .m = PTHREAD_MUTEX_INITIALIZER };

static void hall_work(int me)
{
	for (int i = 0; i < rounds / 4; i++) {
		MUST(pthread_mutex_lock(&hall.m));
		if (++hall.in < nthreads) {
			int gen = hall.gen;

			if (!hall.c) {
				hall.c = page();
				pthread_cond_init(hall.c, NULL);
			}
			/* Woken, the condition is no longer there: only the
			 * generation may be looked at. */
			while (gen == hall.gen)
				MUST(pthread_cond_wait(hall.c, &hall.m));
		} else {
			pthread_cond_t *c = hall.c;

			hall.in = 0;
			hall.gen++;
			hall.c = NULL;
			if (chance(2)) {
				MUST(pthread_cond_broadcast(c));
				MUST(pthread_cond_destroy(c));
				munmap(c, 4096);
			} else {
				MUST(pthread_mutex_unlock(&hall.m));
				MUST(pthread_cond_broadcast(c));
				MUST(pthread_cond_destroy(c));
				munmap(c, 4096);
				continue;
			}
		}
		MUST(pthread_mutex_unlock(&hall.m));
	}
	(void)me;
}

static void lifetimes(void)
{
	pthread_barrier_init(&brief_start, NULL, (unsigned)nthreads);
	pthread_barrier_init(&brief_end, NULL, (unsigned)nthreads);
	run(brief_work, nthreads);
	pthread_barrier_destroy(&brief_start);
	pthread_barrier_destroy(&brief_end);
	run(note_work, nthreads & ~1);
	hall.in = 0;
	hall.c = NULL;
	run(hall_work, nthreads);
}

/* ---- the same under a rain of signals ---- */

static sem_t handled;
static _Atomic long handlers;

static void handler(int sig)
{
	int kept = errno;

	(void)sig;
	handlers++;
	sem_post(&handled);
	errno = kept;
}

static void under_signals(void (*fn)(int), int n)
{
	struct timespec t = { .tv_nsec = 200000 };
	long taken = 0;

	handlers = 0;
	begin(fn, n);
	while (running) {
		/* Nobody is joined before the last has ended. */
		for (int i = 0; i < n && running; i++)
			if (!chance(4))
				pthread_kill(threads[i], SIGUSR1);
		while (sem_trywait(&handled) == 0)
			taken++;
		nanosleep(&t, NULL);
	}
	end(n);
	while (sem_trywait(&handled) == 0)
		taken++;
	CHECK(taken == handlers);
}

static void signals(void)
{
	struct sigaction a = { .sa_handler = handler };

	sem_init(&handled, 0, 0);
	for (int restart = 0; restart < 2; restart++) {
		int n = nthreads;

		a.sa_flags = restart ? SA_RESTART : 0;
		sigaction(SIGUSR1, &a, NULL);
		sem_init(&pool, 0, TOKENS);
		under_signals(sem_work, n);
		for (int i = 0; i < MUTEXES; i++) {
			pthread_mutex_init(&guarded[i].m, NULL);
			guarded[i].a = guarded[i].b = 0;
		}
		pthread_mutexattr_t ma;

		pthread_mutexattr_init(&ma);
		pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_RECURSIVE);
		pthread_mutex_init(&guarded[1].m, &ma);
		under_signals(mutex_work, n);
		for (int i = 0; i < RWLOCKS; i++) {
			pthread_rwlockattr_t ra;

			pthread_rwlockattr_init(&ra);
			pthread_rwlockattr_setkind_np(&ra, i);
			pthread_rwlock_init(&shared[i].l, &ra);
			shared[i].a = shared[i].b = 0;
		}
		under_signals(rw_work, n);
		arrived = served = 0;
		pthread_barrier_init(&barrier, NULL, (unsigned)n);
		under_signals(barrier_work, n);
		MUST(pthread_barrier_destroy(&barrier));
		ring.turn = 0;
		ring.last = rounds / 4 * nthreads;
		under_signals(ring_work, n);
		memset(pairs.pair, 0, sizeof(pairs.pair));
		under_signals(pair_work, n & ~1);
		memset(once, 0, sizeof(once));
		memset(done, 0, sizeof(done));
		under_signals(once_work, n);
	}
	signal(SIGUSR1, SIG_IGN);
}

/* ---- main ---- */

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "mutexes", mutexes }, { "conditions", conditions },
	{ "turns", turns },	{ "ping_pong", ping_pong },
	{ "rwlocks", rwlocks }, { "sems", sems },
	{ "barriers", barriers }, { "onces", onces },
	{ "spins", spins },	{ "lifetimes", lifetimes },
	{ "signals", signals },
};

static bool named(const char *name, char **names, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return n == 0;
}

int main(int argc, char **argv)
{
	struct timespec now;
	int at = 1;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)now.tv_nsec * 1000003 + (uint64_t)now.tv_sec;
	for (; at + 1 < argc && !strncmp(argv[at], "--", 2); at += 2) {
		if (!strcmp(argv[at], "--seed"))
			seed = strtoull(argv[at + 1], NULL, 0);
		else if (!strcmp(argv[at], "--threads"))
			nthreads = atoi(argv[at + 1]);
		else if (!strcmp(argv[at], "--rounds"))
			rounds = atoi(argv[at + 1]);
	}
	if (nthreads < 2 || nthreads > MOST_THREADS)
		nthreads = 32;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu, %d threads, %d rounds\n", (unsigned long long)seed,
	       nthreads, rounds);
	begin_chance(0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!named(parts[i].name, argv + at, argc - at))
			continue;
		printf("%s\n", parts[i].name);
		parts[i].run();
	}
	printf("%ld failures\n", (long)failures);
	return failures != 0;
}
