/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* processes.c - locks that several processes share, some of them bare.
 *
 * The program runs itself three times more on the same memory: twice as it is,
 * once with nothing preloaded, whatever it is itself. All do the same to the
 * same objects; then one is killed with robust mutexes in its hands. Run bare
 * and as coroutines. Argument: the seed. */
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 4
#define THREADS	  12
#define ROUNDS	  200
#define MUTEXES	  6

static const struct {
	int type;
	bool robust, inherit;
} kinds[MUTEXES] = {
	{ PTHREAD_MUTEX_NORMAL, false, false },
	{ PTHREAD_MUTEX_RECURSIVE, false, false },
	{ PTHREAD_MUTEX_ERRORCHECK, false, false },
	{ PTHREAD_MUTEX_RECURSIVE, true, false },
	{ PTHREAD_MUTEX_NORMAL, false, true },
	{ PTHREAD_MUTEX_ERRORCHECK, true, true },
};

struct shared {
	struct {
		pthread_mutex_t m;
		long a, b;
	} guarded[MUTEXES];
	pthread_rwlock_t l;
	volatile long ra, rb;
	_Atomic int readers, writers;
	sem_t tokens;
	_Atomic int out;
	pthread_barrier_t all;
	struct {
		pthread_mutex_t m;
		pthread_cond_t c;
		int turn;
	} ring;
	struct {
		pthread_mutex_t m;
		pthread_cond_t c;
		int held;
	} dying[2];
	_Atomic long failures;
};
static struct shared *s;
static uint64_t seed;
static int process;

static void check(bool good, int line, const char *text)
{
	if (good)
		return;
	s->failures++;
	printf("process %d: processes.c:%d: not so: %s\n", process, line, text);
}
#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)

static _Thread_local uint64_t chance_state;

static uint32_t chance(uint32_t n)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return (uint32_t)((chance_state >> 32) * n >> 32);
}

static void dawdle(void)
{
	struct timespec t = { .tv_nsec = chance(30000) };

	switch (chance(16)) {
	case 0:
		nanosleep(&t, NULL);
		break;
	case 1:
		sched_yield();
		break;
	}
}

static void use_mutexes(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int k = (int)chance(MUTEXES);
		pthread_mutex_t *m = &s->guarded[k].m;

		if (chance(4) == 0) {
			if (pthread_mutex_trylock(m))
				continue;
		} else {
			CHECK(pthread_mutex_lock(m) == 0);
		}
		CHECK(s->guarded[k].a == s->guarded[k].b);
		s->guarded[k].a++;
		dawdle();
		if (kinds[k].type == PTHREAD_MUTEX_RECURSIVE && chance(2)) {
			CHECK(pthread_mutex_lock(m) == 0);
			dawdle();
			CHECK(pthread_mutex_unlock(m) == 0);
		}
		if (kinds[k].type == PTHREAD_MUTEX_ERRORCHECK)
			CHECK(pthread_mutex_lock(m) == EDEADLK);
		s->guarded[k].b++;
		CHECK(pthread_mutex_unlock(m) == 0);
		if (kinds[k].type != PTHREAD_MUTEX_NORMAL)
			CHECK(pthread_mutex_unlock(m) == EPERM);
	}
}

static void use_rwlock(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		if (chance(4)) {
			CHECK(pthread_rwlock_rdlock(&s->l) == 0);
			s->readers++;
			CHECK(s->writers == 0 && s->ra == s->rb);
			dawdle();
			s->readers--;
		} else {
			CHECK(pthread_rwlock_wrlock(&s->l) == 0);
			CHECK(++s->writers == 1);
			CHECK(s->readers == 0);
			CHECK(pthread_rwlock_rdlock(&s->l) == EDEADLK);
			s->ra++;
			dawdle();
			s->rb++;
			s->writers--;
		}
		CHECK(pthread_rwlock_unlock(&s->l) == 0);
	}
}

static void use_tokens(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		while (sem_wait(&s->tokens))
			CHECK(errno == EINTR);
		CHECK(++s->out <= 3);
		dawdle();
		s->out--;
		CHECK(sem_post(&s->tokens) == 0);
	}
}

static void go_round(int me)
{
	for (int i = 0; i < ROUNDS / 50; i++) {
		CHECK(pthread_mutex_lock(&s->ring.m) == 0);
		while (s->ring.turn % (PROCESSES * THREADS) != me)
			CHECK(pthread_cond_wait(&s->ring.c, &s->ring.m) == 0);
		s->ring.turn++;
		pthread_cond_broadcast(&s->ring.c);
		CHECK(pthread_mutex_unlock(&s->ring.m) == 0);
	}
}

static void *work(void *arg)
{
	int me = (int)(uintptr_t)arg;

	chance_state = (seed + 7919u * (uint64_t)me) | 1;
	for (int i = 0; i < 8; i++)
		chance(2);
	pthread_barrier_wait(&s->all);
	use_mutexes();
	pthread_barrier_wait(&s->all);
	use_rwlock();
	pthread_barrier_wait(&s->all);
	use_tokens();
	pthread_barrier_wait(&s->all);
	go_round(me);
	return NULL;
}

static void take_part(void)
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, work,
				   (void *)(uintptr_t)(process * THREADS + i)))
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

/* Locks both robust ones, one by one, says so and waits to be killed. */
static void *hold(void *arg)
{
	int i = (int)(uintptr_t)arg;
	static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;

	CHECK(pthread_mutex_lock(&s->dying[i].m) == 0);
	/* Something that parks, with the mutex held. */
	for (int n = 0; n < 20; n++) {
		pthread_mutex_lock(&own);
		sched_yield();
		pthread_mutex_unlock(&own);
	}
	s->dying[i].held = 1;
	pthread_cond_broadcast(&s->dying[i].c);
	/* Lets the one who waits for that in, and gets it back. */
	while (s->dying[i].held != 2)
		CHECK(pthread_cond_wait(&s->dying[i].c, &s->dying[i].m) == 0);
	s->dying[i].held = 3;
	for (;;)
		pause();
	return NULL;
}

static void die(void)
{
	pthread_t t;

	for (int i = 0; i < 2; i++)
		if (pthread_create(&t, NULL, hold, (void *)(uintptr_t)i))
			abort();
	for (;;)
		pause();
}

static pid_t again(char **argv, int n, bool bare, const char *what)
{
	char number[16], fd[16], seed_text[32];
	pid_t pid;

	snprintf(number, sizeof(number), "%d", n);
	snprintf(fd, sizeof(fd), "%d", 100);
	snprintf(seed_text, sizeof(seed_text), "%llu", (unsigned long long)seed);
	pid = fork();
	if (pid)
		return pid;
	if (bare)
		unsetenv("LD_PRELOAD");
	execl("/proc/self/exe", argv[0], seed_text, what, number, (char *)NULL);
	_exit(127);
}

static void set_up(void)
{
	pthread_rwlockattr_t ra;
	pthread_barrierattr_t ba;
	pthread_mutexattr_t a;
	pthread_condattr_t ca;

	for (int i = 0; i < MUTEXES; i++) {
		pthread_mutexattr_init(&a);
		pthread_mutexattr_setpshared(&a, 1);
		pthread_mutexattr_settype(&a, kinds[i].type);
		pthread_mutexattr_setrobust(&a, kinds[i].robust);
		pthread_mutexattr_setprotocol(&a, kinds[i].inherit);
		CHECK(pthread_mutex_init(&s->guarded[i].m, &a) == 0);
	}
	pthread_rwlockattr_init(&ra);
	pthread_rwlockattr_setpshared(&ra, 1);
	pthread_rwlock_init(&s->l, &ra);
	pthread_barrierattr_init(&ba);
	pthread_barrierattr_setpshared(&ba, 1);
	pthread_barrier_init(&s->all, &ba, PROCESSES * THREADS);
	sem_init(&s->tokens, 1, 3);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, 1);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, 1);
	pthread_mutex_init(&s->ring.m, &a);
	pthread_cond_init(&s->ring.c, &ca);
	pthread_mutexattr_setrobust(&a, 1);
	for (int i = 0; i < 2; i++) {
		pthread_mutexattr_setprotocol(&a, i);
		pthread_mutex_init(&s->dying[i].m, &a);
		pthread_cond_init(&s->dying[i].c, &ca);
	}
}

/* In a thread, so that under cogo it is a coroutine that inherits. */
static void *outlive(void *arg)
{
	pid_t pid = *(pid_t *)arg;

	for (int i = 0; i < 2; i++) {
		CHECK(pthread_mutex_lock(&s->dying[i].m) == 0);
		while (s->dying[i].held != 1)
			CHECK(pthread_cond_wait(&s->dying[i].c,
						&s->dying[i].m) == 0);
		s->dying[i].held = 2;
		pthread_cond_broadcast(&s->dying[i].c);
		CHECK(pthread_mutex_unlock(&s->dying[i].m) == 0);
		while (*(volatile int *)&s->dying[i].held != 3)
			sched_yield();
		CHECK(pthread_mutex_trylock(&s->dying[i].m) == EBUSY);
	}
	kill(pid, SIGKILL);
	for (int i = 0; i < 2; i++) {
		CHECK(pthread_mutex_lock(&s->dying[i].m) == EOWNERDEAD);
		CHECK(pthread_mutex_consistent(&s->dying[i].m) == 0);
		CHECK(pthread_mutex_unlock(&s->dying[i].m) == 0);
		CHECK(pthread_mutex_lock(&s->dying[i].m) == 0);
		CHECK(pthread_mutex_unlock(&s->dying[i].m) == 0);
	}
	return NULL;
}

static void check_sums(void)
{
	int n = -1;

	for (int i = 0; i < MUTEXES; i++)
		CHECK(s->guarded[i].a == s->guarded[i].b);
	CHECK(s->ra == s->rb);
	sem_getvalue(&s->tokens, &n);
	CHECK(n == 3);
	CHECK(s->ring.turn == ROUNDS / 50 * PROCESSES * THREADS);
}

int main(int argc, char **argv)
{
	int fd, status;
	pid_t pid[PROCESSES];
	pthread_t t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	if (argc > 3) {
		process = atoi(argv[3]);
		s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED,
			 100, 0);
		if (s == MAP_FAILED)
			return 2;
		if (!strcmp(argv[2], "die"))
			die();
		take_part();
		return 0;
	}
	printf("seed %llu\n", (unsigned long long)seed);
	fd = memfd_create("shared", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*s)) || dup2(fd, 100) != 100)
		return 2;
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return 2;
	set_up();
	for (int i = 1; i < PROCESSES; i++)
		pid[i] = again(argv, i, i == 1, "work");
	take_part();
	for (int i = 1; i < PROCESSES; i++) {
		waitpid(pid[i], &status, 0);
		CHECK(status == 0);
	}
	check_sums();
	for (int bare = 0; bare < 2; bare++) {
		s->dying[0].held = s->dying[1].held = 0;
		pid[0] = again(argv, 9, bare, "die");
		if (pthread_create(&t, NULL, outlive, &pid[0]))
			abort();
		pthread_join(t, NULL);
		waitpid(pid[0], &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	printf("%ld failures\n", (long)s->failures);
	return s->failures != 0;
}
