/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* answers.c - what every lock call answers, right and wrong, in one list.
 *
 * It expects nothing: it prints. same.py runs it bare and as coroutines and
 * holds the two lists against each other, so libc itself is the specification.
 * Each line is "call: answer"; errno is printed where a call set it, and has to
 * stay as it was everywhere else. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define MARK 4242

static const char *prefix = "";

/* Evaluates call with errno marked, and prints what came of it. */
#define SAY(call)							\
	do {								\
		errno = MARK;						\
		long r_ = (long)(call);					\
		int e_ = errno;						\
		printf("%s%s: %ld%s", prefix, #call, r_,		\
		       e_ == MARK ? "\n" : ", errno ");			\
		if (e_ != MARK)						\
			printf("%d\n", e_);				\
	} while (0)

static struct timespec from_now(clockid_t clock, long ms)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += ms % 1000 * 1000000;
	t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	if (t.tv_nsec < 0) {
		t.tv_nsec += 1000000000;
		t.tv_sec--;
	}
	return t;
}

static const struct timespec too_many = { 1, 1000000000 };
static const struct timespec negative = { 1, -1 };
static const struct timespec before_time = { -1, 0 };
static const struct timespec past = { 1, 0 };
static const struct timespec old_and_bad = { -1, 1000000000 };

/* Does fn(arg) in another thread and waits for it. */
static void elsewhere(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg) || pthread_join(t, NULL))
		abort();
}

/* ---- mutexes ---- */

static void *mutex_of_another(void *arg)
{
	pthread_mutex_t *m = arg;
	struct timespec soon = from_now(CLOCK_REALTIME, 20);
	struct timespec soon_m = from_now(CLOCK_MONOTONIC, 20);

	SAY(pthread_mutex_trylock(m));
	SAY(pthread_mutex_timedlock(m, &soon));
	SAY(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &soon_m));
	SAY(pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, &soon_m));
	SAY(pthread_mutex_clocklock(m, 77, &soon_m));
	SAY(pthread_mutex_timedlock(m, &too_many));
	SAY(pthread_mutex_timedlock(m, &negative));
	SAY(pthread_mutex_timedlock(m, &before_time));
	SAY(pthread_mutex_timedlock(m, &old_and_bad));
	SAY(pthread_mutex_timedlock(m, &past));
	return NULL;
}

static void *unlock_of_another(void *arg)
{
	SAY(pthread_mutex_unlock((pthread_mutex_t *)arg));
	return NULL;
}

static void a_mutex(const char *name, pthread_mutex_t *m, int type)
{
	struct timespec soon = from_now(CLOCK_REALTIME, 20);

	prefix = name;
	SAY(pthread_mutex_timedlock(m, &too_many));
	SAY(pthread_mutex_unlock(m));
	SAY(pthread_mutex_lock(m));
	printf("%sowner: %d, users %u\n", name, m->__data.__owner != 0,
	       m->__data.__nusers);
	SAY(pthread_mutex_trylock(m));
	if (type == PTHREAD_MUTEX_RECURSIVE)
		SAY(pthread_mutex_unlock(m));
	SAY(pthread_mutex_timedlock(m, &soon));
	if (type == PTHREAD_MUTEX_RECURSIVE)
		SAY(pthread_mutex_unlock(m));
	if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK) {
		SAY(pthread_mutex_lock(m));
		SAY(pthread_mutex_timedlock(m, &too_many));
	}
	if (type == PTHREAD_MUTEX_RECURSIVE) {
		SAY(pthread_mutex_unlock(m));
		SAY(pthread_mutex_unlock(m));
		m->__data.__count = UINT_MAX;
		SAY(pthread_mutex_lock(m));
		SAY(pthread_mutex_trylock(m));
		SAY(pthread_mutex_timedlock(m, &past));
		m->__data.__count = 1;
	}
	/* libc destroys a robust one although it is held, and then has its
	 * memory in a list. */
	if (!(m->__data.__kind & 16))
		SAY(pthread_mutex_destroy(m));
	elsewhere(mutex_of_another, m);
	if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK)
		elsewhere(unlock_of_another, m);
	SAY(pthread_mutex_unlock(m));
	if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK)
		SAY(pthread_mutex_unlock(m));
	SAY(pthread_mutex_trylock(m));
	SAY(pthread_mutex_unlock(m));
	SAY(pthread_mutex_consistent(m));
	SAY(pthread_mutex_destroy(m));
	SAY(pthread_mutex_lock(m));
	SAY(pthread_mutex_trylock(m));
	SAY(pthread_mutex_unlock(m));
	prefix = "";
}

static void *mutexes(void *arg)
{
	static const int types[] = { PTHREAD_MUTEX_NORMAL,
				     PTHREAD_MUTEX_RECURSIVE,
				     PTHREAD_MUTEX_ERRORCHECK,
				     PTHREAD_MUTEX_ADAPTIVE_NP };
	static const char *const names[] = { "normal ", "recursive ",
					     "errorcheck ", "adaptive " };
	pthread_mutex_t s = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_t sr = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	pthread_mutex_t se = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
	pthread_mutex_t sa = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
	char name[64];

	(void)arg;
	for (int shared = 0; shared < 2; shared++)
		for (int robust = 0; robust < 2; robust++)
			for (int protocol = 0; protocol < 3; protocol++)
				for (int i = 0; i < 4; i++) {
					pthread_mutexattr_t a;
					pthread_mutex_t m;

					/* Priorities need privileges and change
					 * what others do; asked about alone. */
					if (protocol == PTHREAD_PRIO_PROTECT)
						continue;
					memset(&m, 0xaa, sizeof(m));
					pthread_mutexattr_init(&a);
					pthread_mutexattr_settype(&a, types[i]);
					pthread_mutexattr_setpshared(&a, shared);
					pthread_mutexattr_setrobust(&a, robust);
					pthread_mutexattr_setprotocol(&a, protocol);
					if (pthread_mutex_init(&m, &a))
						continue;
					snprintf(name, sizeof(name), "%s%s%s%s",
						 shared ? "shared " : "",
						 robust ? "robust " : "",
						 protocol ? "inheriting " : "",
						 names[i]);
					a_mutex(name, &m, types[i]);
				}
	a_mutex("static ", &s, PTHREAD_MUTEX_NORMAL);
	a_mutex("static recursive ", &sr, PTHREAD_MUTEX_RECURSIVE);
	a_mutex("static errorcheck ", &se, PTHREAD_MUTEX_ERRORCHECK);
	a_mutex("static adaptive ", &sa, PTHREAD_MUTEX_ADAPTIVE_NP);
	return NULL;
}

static void *die_with_it(void *arg)
{
	SAY(pthread_mutex_lock((pthread_mutex_t *)arg));
	return NULL;
}

static void *legacy(void *arg)
{
	pthread_mutexattr_t a;
	pthread_mutex_t m;

	(void)arg;
	prefix = "legacy ";
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&m, &a);
	elsewhere(die_with_it, &m);
	SAY(pthread_mutex_lock(&m));
	SAY(pthread_mutex_consistent(&m));
	SAY(pthread_mutex_consistent(&m));
	SAY(pthread_mutex_unlock(&m));
	elsewhere(die_with_it, &m);
	SAY(pthread_mutex_trylock(&m));
	SAY(pthread_mutex_unlock(&m));
	SAY(pthread_mutex_lock(&m));
	SAY(pthread_mutex_trylock(&m));
	SAY(pthread_mutex_destroy(&m));
	prefix = "";
	return NULL;
}

static void *ceilings(void *arg)
{
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	int n = -1;

	(void)arg;
	prefix = "ceiling ";
	pthread_mutex_init(&m, NULL);
	SAY(pthread_mutex_getprioceiling(&m, &n));
	SAY(pthread_mutex_setprioceiling(&m, 1, &n));
	pthread_mutexattr_init(&a);
	SAY(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
	SAY(pthread_mutexattr_setprioceiling(&a, 5));
	SAY(pthread_mutex_init(&m, &a));
	SAY(pthread_mutex_getprioceiling(&m, &n));
	SAY(n);
	SAY(pthread_mutex_setprioceiling(&m, 6, &n));
	SAY(n);
	SAY(pthread_mutex_lock(&m) && 0);
	SAY(pthread_mutex_unlock(&m) && 0);
	prefix = "";
	return NULL;
}

/* ---- conditions ---- */

static void a_cond(const char *name, pthread_cond_t *c, clockid_t clock)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_t e = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
	pthread_mutex_t r = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	struct timespec soon, other;

	prefix = name;
	SAY(pthread_cond_signal(c));
	SAY(pthread_cond_broadcast(c));
	pthread_mutex_lock(&m);
	soon = from_now(clock, 20);
	SAY(pthread_cond_timedwait(c, &m, &soon));
	SAY(pthread_cond_timedwait(c, &m, &soon));
	SAY(pthread_cond_timedwait(c, &m, &too_many));
	SAY(pthread_cond_timedwait(c, &m, &negative));
	SAY(pthread_cond_timedwait(c, &m, &before_time));
	SAY(pthread_cond_timedwait(c, &m, &old_and_bad));
	SAY(pthread_cond_timedwait(c, &m, &past));
	other = from_now(CLOCK_MONOTONIC, 20);
	SAY(pthread_cond_clockwait(c, &m, CLOCK_MONOTONIC, &other));
	other = from_now(CLOCK_REALTIME, 20);
	SAY(pthread_cond_clockwait(c, &m, CLOCK_REALTIME, &other));
	SAY(pthread_cond_clockwait(c, &m, CLOCK_THREAD_CPUTIME_ID, &other));
	SAY(pthread_cond_clockwait(c, &m, CLOCK_BOOTTIME, &too_many));
	SAY(m.__data.__owner != 0);
	SAY(m.__data.__nusers);
	pthread_mutex_unlock(&m);
	SAY(pthread_cond_timedwait(c, &e, &past));
	SAY(pthread_cond_timedwait(c, &r, &past));
	SAY(pthread_cond_timedwait(c, &e, &too_many));
	pthread_mutex_lock(&r);
	pthread_mutex_lock(&r);
	SAY(pthread_cond_timedwait(c, &r, &past));
	SAY(r.__data.__count);
	SAY(pthread_mutex_unlock(&r));
	SAY(pthread_mutex_unlock(&r));
	SAY(pthread_mutex_unlock(&r));
	SAY(pthread_cond_signal(c));
	SAY(pthread_cond_destroy(c));
	prefix = "";
}

static void *conds(void *arg)
{
	pthread_cond_t s = PTHREAD_COND_INITIALIZER;

	(void)arg;
	a_cond("static ", &s, CLOCK_REALTIME);
	for (int shared = 0; shared < 2; shared++)
		for (int clock = 0; clock < 2; clock++) {
			pthread_condattr_t a;
			pthread_cond_t c;
			char name[64];

			memset(&c, 0xaa, sizeof(c));
			pthread_condattr_init(&a);
			pthread_condattr_setpshared(&a, shared);
			pthread_condattr_setclock(&a, clock);
			pthread_cond_init(&c, &a);
			snprintf(name, sizeof(name), "%sclock %d ",
				 shared ? "shared " : "", clock);
			a_cond(name, &c, clock);
		}
	return NULL;
}

/* ---- read-write locks ---- */

static void *rwlock_of_another(void *arg)
{
	pthread_rwlock_t *l = arg;
	struct timespec soon = from_now(CLOCK_REALTIME, 20);
	struct timespec soon_m = from_now(CLOCK_MONOTONIC, 20);

	SAY(pthread_rwlock_tryrdlock(l));
	SAY(pthread_rwlock_trywrlock(l));
	SAY(pthread_rwlock_timedrdlock(l, &soon));
	SAY(pthread_rwlock_timedwrlock(l, &soon));
	SAY(pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, &soon_m));
	SAY(pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &soon_m));
	SAY(pthread_rwlock_clockwrlock(l, 77, &soon_m));
	SAY(pthread_rwlock_clockrdlock(l, 77, &too_many));
	SAY(pthread_rwlock_timedrdlock(l, &too_many));
	SAY(pthread_rwlock_timedwrlock(l, &negative));
	SAY(pthread_rwlock_timedwrlock(l, &before_time));
	return NULL;
}

static void *a_second_reader(void *arg)
{
	pthread_rwlock_t *l = arg;

	SAY(pthread_rwlock_tryrdlock(l));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_timedrdlock(l, &past));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_trywrlock(l));
	SAY(pthread_rwlock_timedwrlock(l, &past));
	SAY(pthread_rwlock_timedwrlock(l, &too_many));
	return NULL;
}

static void a_rwlock(const char *name, pthread_rwlock_t *l)
{
	prefix = name;
	SAY(pthread_rwlock_timedrdlock(l, &too_many));
	SAY(pthread_rwlock_timedwrlock(l, &too_many));
	SAY(pthread_rwlock_rdlock(l));
	SAY(pthread_rwlock_rdlock(l));
	elsewhere(a_second_reader, l);
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_wrlock(l));
	SAY(pthread_rwlock_wrlock(l));
	SAY(pthread_rwlock_rdlock(l));
	SAY(pthread_rwlock_tryrdlock(l));
	SAY(pthread_rwlock_trywrlock(l));
	SAY(pthread_rwlock_timedwrlock(l, &past));
	SAY(pthread_rwlock_timedwrlock(l, &too_many));
	elsewhere(rwlock_of_another, l);
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_trywrlock(l));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_tryrdlock(l));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_timedwrlock(l, &past));
	SAY(pthread_rwlock_unlock(l));
	SAY(pthread_rwlock_destroy(l));
	prefix = "";
}

static void *rwlocks(void *arg)
{
	pthread_rwlock_t s = PTHREAD_RWLOCK_INITIALIZER;
	pthread_rwlock_t w = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

	(void)arg;
	a_rwlock("static ", &s);
	a_rwlock("static writers first ", &w);
	for (int shared = 0; shared < 2; shared++)
		for (int kind = 0; kind < 3; kind++) {
			pthread_rwlockattr_t a;
			pthread_rwlock_t l;
			char name[64];

			memset(&l, 0xaa, sizeof(l));
			pthread_rwlockattr_init(&a);
			pthread_rwlockattr_setpshared(&a, shared);
			pthread_rwlockattr_setkind_np(&a, kind);
			pthread_rwlock_init(&l, &a);
			snprintf(name, sizeof(name), "%skind %d ",
				 shared ? "shared " : "", kind);
			a_rwlock(name, &l);
		}
	return NULL;
}

/* ---- semaphores ---- */

static void a_sem(const char *name, sem_t *s)
{
	struct timespec soon = from_now(CLOCK_REALTIME, 20);
	struct timespec soon_m = from_now(CLOCK_MONOTONIC, 20);
	int n = -1;

	prefix = name;
	SAY(sem_getvalue(s, &n));
	SAY(n);
	SAY(sem_wait(s));
	SAY(sem_timedwait(s, &too_many));
	SAY(sem_timedwait(s, &past));
	SAY(sem_trywait(s));
	SAY(sem_timedwait(s, &past));
	SAY(sem_timedwait(s, &before_time));
	SAY(sem_timedwait(s, &negative));
	SAY(sem_timedwait(s, &soon));
	SAY(sem_clockwait(s, CLOCK_MONOTONIC, &soon_m));
	SAY(sem_clockwait(s, CLOCK_PROCESS_CPUTIME_ID, &soon_m));
	SAY(sem_clockwait(s, 99, &too_many));
	SAY(sem_getvalue(s, &n));
	SAY(n);
	SAY(sem_post(s));
	SAY(sem_getvalue(s, &n));
	SAY(n);
	SAY(sem_wait(s));
	prefix = "";
}

static void *sems(void *arg)
{
	char name[64];
	sem_t s, *named;

	(void)arg;
	for (int shared = 0; shared < 2; shared++) {
		memset(&s, 0xaa, sizeof(s));
		SAY(sem_init(&s, shared, 2));
		a_sem(shared ? "shared " : "", &s);
		SAY(sem_destroy(&s));
		SAY(sem_init(&s, shared, SEM_VALUE_MAX));
		SAY(sem_post(&s));
		SAY(sem_wait(&s));
		SAY(sem_post(&s));
		SAY(sem_post(&s));
	}
	SAY(sem_init(&s, 0, (unsigned)SEM_VALUE_MAX + 1));
	snprintf(name, sizeof(name), "/cogo-answers-%d", getpid());
	named = sem_open(name, O_CREAT | O_EXCL, 0600, 2);
	sem_unlink(name);
	if (named == SEM_FAILED)
		return NULL;
	a_sem("named ", named);
	SAY(sem_close(named));
	return NULL;
}

/* ---- the rest ---- */

static int onces;

static void once_only(void)
{
	onces++;
}

static void *the_rest(void *arg)
{
	pthread_once_t o = PTHREAD_ONCE_INIT;
	once_flag f = ONCE_FLAG_INIT;
	struct timespec soon;
	pthread_spinlock_t l;
	pthread_barrier_t b;
	mtx_t m;
	cnd_t c;

	(void)arg;
	SAY(pthread_once(&o, once_only));
	SAY(pthread_once(&o, once_only));
	SAY((call_once(&f, once_only), 0));
	SAY((call_once(&f, once_only), 0));
	SAY(onces);
	SAY(o);
	SAY(pthread_barrier_init(&b, NULL, 0));
	SAY(pthread_barrier_init(&b, NULL, 1));
	SAY(pthread_barrier_wait(&b));
	SAY(pthread_barrier_wait(&b));
	SAY(pthread_barrier_destroy(&b));
	SAY(pthread_spin_init(&l, 0));
	SAY(pthread_spin_lock(&l));
	SAY(pthread_spin_trylock(&l));
	SAY(pthread_spin_unlock(&l));
	SAY(pthread_spin_trylock(&l));
	SAY(pthread_spin_unlock(&l));
	SAY(pthread_spin_destroy(&l));
	for (int type = 0; type < 4; type++) {
		SAY(mtx_init(&m, type));
		SAY(mtx_lock(&m));
		SAY(mtx_trylock(&m));
		soon = from_now(CLOCK_REALTIME, 20);
		SAY(mtx_timedlock(&m, &soon));
		if (type & mtx_recursive) {
			SAY(mtx_unlock(&m));
			SAY(mtx_unlock(&m));
		}
		SAY(mtx_unlock(&m));
		mtx_destroy(&m);
	}
	SAY(cnd_init(&c));
	SAY(mtx_init(&m, mtx_plain));
	SAY(mtx_lock(&m));
	soon = from_now(CLOCK_REALTIME, 20);
	SAY(cnd_timedwait(&c, &m, &soon));
	SAY(cnd_timedwait(&c, &m, &too_many));
	SAY(cnd_signal(&c));
	SAY(cnd_broadcast(&c));
	SAY(mtx_unlock(&m));
	cnd_destroy(&c);
	return NULL;
}

int main(void)
{
	void *(*const parts[])(void *) = { mutexes, legacy, ceilings, conds,
					   rwlocks, sems, the_rest };

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		puts("in main");
		parts[i](NULL);
		puts("in a thread");
		elsewhere(parts[i], NULL);
	}
	return 0;
}
