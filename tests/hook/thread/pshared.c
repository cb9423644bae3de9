/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pshared.c - locks between processes, and locks whose owner has died.
 *
 * The other process is a forked child, or, by exec and without whatever is
 * preloaded here, a program that shares nothing with us but the memory: the
 * lock's bytes must mean to both what glibc means by them. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>

#include "../../support/expect.h"

#define THREADS 3 /* on each side */
#define TURNS 2000

struct shared {
	pthread_mutex_t mutex;
	pthread_mutex_t recursive;
	pthread_mutex_t robust;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	sem_t to, fro;
	long counter;   /* under mutex */
	int turn;       /* under mutex */
	long left, right; /* under rwlock */
	atomic_int torn, serial, failed;
	atomic_int stage;
};

static struct shared *s;
static int memory;

static void make_shared(void)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t cond;
	pthread_rwlockattr_t rwlock;
	pthread_barrierattr_t barrier;

	memory = memfd_create("shared", 0);
	EXPECT_OK(memory);
	EXPECT_OK(ftruncate(memory, sizeof(*s)));
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	pthread_mutexattr_init(&mutex);
	EXPECT_EQ(pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED), 0);
	EXPECT_EQ(pthread_mutex_init(&s->mutex, &mutex), 0);
	pthread_mutexattr_settype(&mutex, PTHREAD_MUTEX_RECURSIVE);
	EXPECT_EQ(pthread_mutex_init(&s->recursive, &mutex), 0);
	pthread_mutexattr_settype(&mutex, PTHREAD_MUTEX_NORMAL);
	pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
	EXPECT_EQ(pthread_mutex_init(&s->robust, &mutex), 0);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	EXPECT_EQ(pthread_cond_init(&s->cond, &cond), 0);
	pthread_rwlockattr_init(&rwlock);
	pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
	EXPECT_EQ(pthread_rwlock_init(&s->rwlock, &rwlock), 0);
	pthread_barrierattr_init(&barrier);
	pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
	EXPECT_EQ(pthread_barrier_init(&s->barrier, &barrier, 2 * THREADS), 0);
	EXPECT_OK(sem_init(&s->to, 1, 0));
	EXPECT_OK(sem_init(&s->fro, 1, 0));
}

static void drop_shared(void)
{
	munmap(s, sizeof(*s));
	close(memory);
}

/* ---- what both sides do ---- */

static void *count_up(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		if (pthread_mutex_lock(&s->mutex))
			atomic_fetch_add(&s->failed, 1);
		s->counter++;
		if (i % 64 == 0)
			sched_yield();
		pthread_mutex_unlock(&s->mutex);
	}
	return arg;
}

static void *read_and_write(void *arg)
{
	for (int i = 0; i < TURNS / 2; i++) {
		if (i % 4 == 0) {
			pthread_rwlock_wrlock(&s->rwlock);
			s->left++;
			if (i % 64 == 0)
				sched_yield();
			s->right++;
		} else {
			pthread_rwlock_rdlock(&s->rwlock);
			if (s->left != s->right)
				atomic_fetch_add(&s->torn, 1);
		}
		pthread_rwlock_unlock(&s->rwlock);
	}
	return arg;
}

static void *meet(void *arg)
{
	for (int i = 0; i < 100; i++) {
		int ret = pthread_barrier_wait(&s->barrier);

		if (ret == PTHREAD_BARRIER_SERIAL_THREAD)
			atomic_fetch_add(&s->serial, 1);
		else if (ret)
			atomic_fetch_add(&s->failed, 1);
	}
	return arg;
}

static void all_threads(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		t[i] = start(fn, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void *play_cond(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&s->mutex);
		while (s->turn != me)
			if (pthread_cond_wait(&s->cond, &s->mutex))
				atomic_fetch_add(&s->failed, 1);
		s->turn = !me;
		pthread_cond_signal(&s->cond);
		pthread_mutex_unlock(&s->mutex);
	}
	return arg;
}

static void *play_sem(void *arg)
{
	bool ours = arg == NULL;

	for (int i = 0; i < 1000; i++) {
		if (ours)
			sem_post(&s->to);
		while (sem_wait(ours ? &s->fro : &s->to))
			if (errno != EINTR)
				atomic_fetch_add(&s->failed, 1);
		if (!ours)
			sem_post(&s->fro);
	}
	return arg;
}

/* The recursive one belongs to a thread of the first process meanwhile. */
static void *find_it_taken(void *arg)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 10);

	if (pthread_mutex_trylock(&s->recursive) != EBUSY ||
	    pthread_mutex_timedlock(&s->recursive, &due) != ETIMEDOUT ||
	    pthread_mutex_unlock(&s->recursive) != EPERM)
		atomic_fetch_add(&s->failed, 1);
	return arg;
}

static void *other_side(void *arg)
{
	(void)arg;
	all_threads(count_up);
	all_threads(read_and_write);
	all_threads(meet);
	finish(start(play_cond, (void *)1));
	finish(start(play_sem, (void *)1));
	WAIT_UNTIL(atomic_load(&s->stage) == 1);
	finish(start(find_it_taken, NULL));
	atomic_store(&s->stage, 2);
	return NULL;
}

static void our_side(pid_t pid)
{
	all_threads(count_up);
	all_threads(read_and_write);
	all_threads(meet);
	finish(start(play_cond, (void *)0));
	finish(start(play_sem, NULL));
	EXPECT_EQ(pthread_mutex_lock(&s->recursive), 0);
	EXPECT_EQ(pthread_mutex_lock(&s->recursive), 0);
	atomic_store(&s->stage, 1);
	WAIT_UNTIL(atomic_load(&s->stage) == 2);
	EXPECT_EQ(pthread_mutex_unlock(&s->recursive), 0);
	EXPECT_EQ(pthread_mutex_unlock(&s->recursive), 0);
	EXPECT_EQ(status_of(pid), 0);
	EXPECT_EQ(s->counter, 2 * THREADS * TURNS);
	EXPECT(s->left == s->right && s->left > 0);
	EXPECT_EQ(atomic_load(&s->torn), 0);
	EXPECT_EQ(atomic_load(&s->serial), 100);
	EXPECT_EQ(atomic_load(&s->failed), 0);
}

static void locks_hold_between_a_process_and_its_child(void)
{
	pid_t pid;

	make_shared();
	pid = fork();
	if (pid == 0) {
		alarm(120);
		expect_now.case_failed = 0;
		other_side(NULL);
		_exit(expect_now.case_failed ? 1 : 0);
	}
	our_side(pid);
	drop_shared();
}

static void locks_hold_between_programs_of_different_making(void)
{
	char number[16];
	pid_t pid;

	make_shared();
	snprintf(number, sizeof(number), "%d", memory);
	pid = fork();
	if (pid == 0) {
		alarm(120);
		unsetenv("LD_PRELOAD");
		execl("/proc/self/exe", "pshared", "--other", number, NULL);
		_exit(126);
	}
	our_side(pid);
	drop_shared();
}

/* ---- ends ---- */

static pthread_mutex_t own = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static void unlock_both(void *arg)
{
	EXPECT_EQ(pthread_mutex_unlock(&s->mutex), 0);
	EXPECT_EQ(pthread_mutex_unlock(&own), 0);
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void unlock_own(void *arg)
{
	EXPECT_EQ(pthread_mutex_unlock(&own), 0);
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void *wait_for_shared_cond(void *arg)
{
	pthread_mutex_lock(&own);
	pthread_mutex_lock(&s->mutex);
	pthread_cleanup_push(unlock_both, arg);
	for (;;)
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *wait_for_shared_sem(void *arg)
{
	pthread_mutex_lock(&own);
	pthread_cleanup_push(unlock_own, arg);
	sem_wait(&s->to);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Whoever waits is cancelled, and lets go of all it has, as the same thread. */
static void a_wait_for_what_is_shared_can_be_cancelled(void)
{
	atomic_int cleaned = 0;

	make_shared();
	for (int i = 0; i < 40; i++) {
		pthread_t t = start(i % 2 ? wait_for_shared_cond :
					    wait_for_shared_sem, &cleaned);

		if (i % 4 < 2)
			settle();
		EXPECT_EQ(pthread_cancel(t), 0);
		EXPECT(finish(t) == PTHREAD_CANCELED);
		EXPECT_EQ(pthread_mutex_trylock(&own), 0);
		EXPECT_EQ(pthread_mutex_unlock(&own), 0);
		EXPECT_EQ(pthread_mutex_trylock(&s->mutex), 0);
		EXPECT_EQ(pthread_mutex_unlock(&s->mutex), 0);
	}
	EXPECT_EQ(atomic_load(&cleaned), 40);
	drop_shared();
}

/* ---- owners that die: between threads ---- */

static void init_robust(pthread_mutex_t *m)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	EXPECT_EQ(pthread_mutex_init(m, &attr), 0);
}

static pthread_mutex_t robust;

static void *lock_and_end(void *arg)
{
	EXPECT_EQ(pthread_mutex_lock(&robust), 0);
	return arg;
}

static void *lock_and_exit(void *arg)
{
	EXPECT_EQ(pthread_mutex_lock(&robust), 0);
	pthread_exit(arg);
}

static void *lock_and_wait(void *arg)
{
	EXPECT_EQ(pthread_mutex_lock(&robust), 0);
	atomic_store((atomic_bool *)arg, true);
	for (;;)
		pause();
	return NULL;
}

static void *lock_and_nap(void *arg)
{
	EXPECT_EQ(pthread_mutex_lock(&robust), 0);
	atomic_store((atomic_bool *)arg, true);
	settle();
	return NULL;
}

static void the_next_is_told_that_the_owner_died(void)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 60000);
	atomic_bool begun = false;
	pthread_t t;

	init_robust(&robust);
	for (int i = 0; i < 4; i++) {
		if (i == 0) {
			finish(start(lock_and_end, NULL));
		} else if (i == 1) {
			finish(start(lock_and_exit, NULL));
		} else if (i == 2) {
			t = start(lock_and_wait, &begun);
			WAIT_UNTIL(atomic_load(&begun));
			EXPECT_EQ(pthread_cancel(t), 0);
			finish(t);
		} else {
			/* and here we wait already when it dies */
			atomic_store(&begun, false);
			t = start(lock_and_nap, &begun);
			WAIT_UNTIL(atomic_load(&begun));
		}
		EXPECT_EQ(i == 0 ? pthread_mutex_trylock(&robust) :
			  i == 1 ? pthread_mutex_timedlock(&robust, &due) :
				   pthread_mutex_lock(&robust), EOWNERDEAD);
		if (i == 3)
			finish(t);
		EXPECT_EQ(pthread_mutex_consistent(&robust), 0);
		EXPECT_EQ(pthread_mutex_consistent(&robust), EINVAL);
		EXPECT_EQ(pthread_mutex_unlock(&robust), 0);
		EXPECT_EQ(pthread_mutex_lock(&robust), 0);
		EXPECT_EQ(pthread_mutex_unlock(&robust), 0);
	}
	EXPECT_EQ(pthread_mutex_destroy(&robust), 0);
}

static void what_is_not_put_right_is_lost(void)
{
	init_robust(&robust);
	finish(start(lock_and_end, NULL));
	EXPECT_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
	EXPECT_EQ(pthread_mutex_unlock(&robust), 0);
	EXPECT_EQ(pthread_mutex_lock(&robust), ENOTRECOVERABLE);
	EXPECT_EQ(pthread_mutex_trylock(&robust), ENOTRECOVERABLE);
	EXPECT_EQ(pthread_mutex_consistent(&robust), EINVAL);
	EXPECT_EQ(pthread_mutex_destroy(&robust), 0);
}

static pthread_mutex_t several[5];

static void *lock_several(void *arg)
{
	for (int i = 0; i < 5; i++)
		pthread_mutex_lock(&several[i]);
	pthread_mutex_unlock(&several[2]);
	return arg;
}

static void all_that_the_dead_had_are_told_and_no_other(void)
{
	for (int i = 0; i < 5; i++)
		init_robust(&several[i]);
	finish(start(lock_several, NULL));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(pthread_mutex_lock(&several[i]),
			  i == 2 ? 0 : EOWNERDEAD);
		pthread_mutex_consistent(&several[i]);
		EXPECT_EQ(pthread_mutex_unlock(&several[i]), 0);
		EXPECT_EQ(pthread_mutex_destroy(&several[i]), 0);
	}
}

static long robust_counter;

static void *count_robust(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		if (pthread_mutex_lock(&robust))
			return NULL;
		robust_counter++;
		if (i % 64 == 0)
			sched_yield();
		pthread_mutex_unlock(&robust);
	}
	return arg;
}

static void a_robust_mutex_is_a_mutex(void)
{
	pthread_t t[8];

	init_robust(&robust);
	for (int i = 0; i < 8; i++)
		t[i] = start(count_robust, &robust);
	for (int i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == &robust);
	EXPECT_EQ(robust_counter, 8 * TURNS);
	EXPECT_EQ(pthread_mutex_destroy(&robust), 0);
}

/* ---- owners that die: between processes ---- */

static void *lock_shared_and_wait(void *arg)
{
	pthread_mutex_lock(&s->robust);
	atomic_store(&s->stage, 1);
	for (;;)
		pause();
	return arg;
}

static void a_killed_process_leaves_its_mutex_to_the_next(void)
{
	for (int in_thread = 0; in_thread < 2; in_thread++) {
		pid_t pid;

		make_shared();
		pid = fork();
		if (pid == 0) {
			alarm(120);
			if (in_thread)
				pthread_join(start(lock_shared_and_wait, NULL),
					     NULL);
			lock_shared_and_wait(NULL);
		}
		WAIT_UNTIL(atomic_load(&s->stage) == 1);
		EXPECT_EQ(pthread_mutex_trylock(&s->robust), EBUSY);
		EXPECT_OK(kill(pid, SIGKILL));
		EXPECT_EQ(pthread_mutex_lock(&s->robust), EOWNERDEAD);
		EXPECT_EQ(status_of(pid), SIGKILL);
		EXPECT_EQ(pthread_mutex_consistent(&s->robust), 0);
		EXPECT_EQ(pthread_mutex_unlock(&s->robust), 0);
		EXPECT_EQ(pthread_mutex_lock(&s->robust), 0);
		EXPECT_EQ(pthread_mutex_unlock(&s->robust), 0);
		drop_shared();
	}
}

static void *lock_shared_and_end(void *arg)
{
	EXPECT_EQ(pthread_mutex_lock(&s->robust), 0);
	return arg;
}

static void a_thread_that_ends_leaves_its_shared_mutex_to_the_next(void)
{
	make_shared();
	for (int i = 0; i < 20; i++) {
		finish(start(lock_shared_and_end, NULL));
		EXPECT_EQ(pthread_mutex_lock(&s->robust), EOWNERDEAD);
		EXPECT_EQ(pthread_mutex_consistent(&s->robust), 0);
		EXPECT_EQ(pthread_mutex_unlock(&s->robust), 0);
	}
	drop_shared();
}

/* ---- waits in the kernel itself, which no signal ends ---- */

static atomic_int handled;

static void handle(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static void *lock_inheriting(void *arg)
{
	pthread_mutex_t *m = arg;

	atomic_store(&s->stage, 1);
	EXPECT_EQ(pthread_mutex_lock(m), 0);
	atomic_store(&s->stage, 2);
	EXPECT_EQ(pthread_mutex_unlock(m), 0);
	return NULL;
}

static void signals_while_it_waits(int sharing, int end)
{
	pthread_mutexattr_t attr;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
	EXPECT_EQ(pthread_mutexattr_setpshared(&attr, sharing), 0);
	EXPECT_EQ(pthread_mutexattr_setrobust(&attr, end), 0);
	EXPECT_EQ(pthread_mutex_init(&s->mutex, &attr), 0);
	atomic_store(&s->stage, 0);
	EXPECT_EQ(pthread_mutex_lock(&s->mutex), 0);
	t = start(lock_inheriting, &s->mutex);
	WAIT_UNTIL(atomic_load(&s->stage) == 1);
	for (int i = 0; i < 20; i++) {
		int before = atomic_load(&handled);

		usleep(1000);
		if (!EXPECT_EQ(atomic_load(&s->stage), 1))
			break;
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		if (!WAIT_UNTIL(atomic_load(&handled) > before))
			break;
	}
	EXPECT_EQ(atomic_load(&s->stage), 1);
	EXPECT_EQ(pthread_mutex_unlock(&s->mutex), 0);
	finish(t);
	EXPECT_EQ(atomic_load(&s->stage), 2);
	EXPECT_EQ(pthread_mutex_destroy(&s->mutex), 0);
}

static void no_handler_ends_the_wait_for_a_mutex_with_priority_inheritance(void)
{
	struct sigaction act = { .sa_handler = handle }, old;

	make_shared();
	EXPECT_OK(sigaction(SIGUSR1, &act, &old));
	for (int i = 0; i < 4; i++)
		signals_while_it_waits(
			i & 1 ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE,
			i & 2 ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
	EXPECT_OK(sigaction(SIGUSR1, &old, NULL));
	drop_shared();
}

static const struct expect_case cases[] = {
	CASE(locks_hold_between_a_process_and_its_child),
	CASE_IN_MAIN(locks_hold_between_a_process_and_its_child),
	CASE(locks_hold_between_programs_of_different_making),
	CASE(a_wait_for_what_is_shared_can_be_cancelled),
	CASE(the_next_is_told_that_the_owner_died),
	CASE_IN_MAIN(the_next_is_told_that_the_owner_died),
	CASE(what_is_not_put_right_is_lost),
	CASE(all_that_the_dead_had_are_told_and_no_other),
	CASE(a_robust_mutex_is_a_mutex),
	CASE(a_killed_process_leaves_its_mutex_to_the_next),
	CASE(a_thread_that_ends_leaves_its_shared_mutex_to_the_next),
	CASE(no_handler_ends_the_wait_for_a_mutex_with_priority_inheritance),
	CASE_IN_MAIN(no_handler_ends_the_wait_for_a_mutex_with_priority_inheritance),
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--other") == 0) {
		memory = atoi(argv[2]);
		s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED,
			 memory, 0);
		other_side(NULL);
		return expect_now.failed ? 1 : 0;
	}
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
