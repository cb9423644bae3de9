/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The runtime's own mutual exclusion. */
#include "base/lock.h"
#include "base/sys.h"
#include "unit.h"
#include <errno.h>
#include <pthread.h>

static struct lock l;
static struct { long a, b; } guarded;
static _Atomic long inside;

Test(lock, zeroed_memory_is_a_free_lock)
{
	check(lock_try(&l));
	check(!lock_try(&l));
	unlock(&l);
	check(lock_try(&l));
	unlock(&l);
}

#define THREADS 8
#define ROUNDS 30000

static void *storm(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 7919 + 1;

	for (int i = 0; i < ROUNDS; i++) {
		if (unit_random(&seed) % 8 == 0) {
			if (!lock_try(&l))
				continue;
		} else {
			lock(&l);
		}
		check_eq(++inside, 1);
		check_eq(guarded.a, guarded.b);
		guarded.a++;
		/* Sometimes long enough for others to fall asleep. */
		if (unit_random(&seed) % 512 == 0)
			unit_nap();
		guarded.b++;
		inside--;
		unlock(&l);
	}
	return NULL;
}

Test(lock, no_two_threads_are_inside_at_once, .timeout = 120)
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		check_eq(pthread_create(&t[i], NULL, storm, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check_eq(guarded.a, guarded.b);
	check(guarded.a > 0);
	check_eq(l.word, 0);
}

static void *hold(void *arg)
{
	lock(&l);
	atomic_store((_Atomic int *)arg, 1);
	while (atomic_load((_Atomic int *)arg) != 2)
		unit_nap();
	unlock(&l);
	return NULL;
}

Test(lock, what_others_held_is_free_in_the_child_of_a_fork)
{
	_Atomic int step = 0;
	pthread_t t;
	pid_t pid;
	int status;

	check_eq(pthread_create(&t, NULL, hold, &step), 0);
	wait_until(atomic_load(&step) == 1);
	pid = fork();
	if (pid == 0) {
		lock_fork_child();
		alarm(UNIT_CAP_SECONDS);
		/* By either way, twice. */
		if (!lock_try(&l))
			_exit(1);
		if (lock_try(&l))
			_exit(2);
		unlock(&l);
		lock(&l);
		unlock(&l);
		_exit(l.word == 0 ? 0 : 3);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check(!lock_try(&l));
	atomic_store(&step, 2);
	pthread_join(t, NULL);
	check(lock_try(&l));
}

Test(lock, what_the_caller_of_a_fork_holds_it_may_unlock_in_the_child)
{
	int status;
	pid_t pid;

	lock(&l);
	pid = fork();
	if (pid == 0) {
		lock_fork_child();
		alarm(UNIT_CAP_SECONDS);
		unlock(&l);
		lock(&l);
		_exit(lock_try(&l) ? 1 : 0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	unlock(&l);
}

Test(lock, a_wait_on_a_futex_ends_at_its_deadline_and_not_before)
{
	_Atomic uint32_t word = 5;
	cogo_time before = sys_now(), until = before + 3000000;

	check_eq(sys_futex_wait(&word, 4, COGO_FOREVER), -EAGAIN);
	check_eq(sys_futex_wait(&word, 5, until), -ETIMEDOUT);
	check(sys_now() >= until);
	check_eq(sys_futex_wait(&word, 5, 0), -ETIMEDOUT);
	check_eq(sys_futex_wait(&word, 5, -1), -ETIMEDOUT);
	check_eq(sys_futex_wake(&word, 1), 0);
}
