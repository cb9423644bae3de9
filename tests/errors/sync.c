/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync.c - the errors of cogo/sync.h. */
#include "errors.h"

static struct cogo_mutex m;
static struct cogo_cond cond;
static struct cogo_rwlock l;
static struct cogo_sem sem;
static struct cogo_barrier barrier;
static struct cogo_waitgroup wg;
static struct cogo_latch latch;

/* All as they were at first, with nobody there. */
static void renew(void)
{
	memset(&m, 0, sizeof(m));
	memset(&cond, 0, sizeof(cond));
	memset(&l, 0, sizeof(l));
	memset(&sem, 0, sizeof(sem));
	memset(&barrier, 0, sizeof(barrier));
	memset(&wg, 0, sizeof(wg));
	memset(&latch, 0, sizeof(latch));
	cogo_waitgroup_add(&wg, 1);
}

/* ---- mutexes ---- */

static void lock_and_end(void *arg)
{
	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
}

/* Its owner has ended. */
static void poison(void)
{
	check_eq(outcome(NULL, lock_and_end, NULL), COGO_RETURNED);
}

static void is_poisoned(void)
{
	renew();
	poison();
	FAILS(EOWNERDEAD, cogo_mutex_lock, &m);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	poison();
	FAILS(EOWNERDEAD, cogo_mutex_lock_until, &m, COGO_FOREVER);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	poison();
	FAILS(EOWNERDEAD, cogo_mutex_trylock, &m);
	FAILS(EOWNERDEAD, cogo_cond_wait, &cond, &m, COGO_FOREVER);
	/* Nobody has said that it is in order again. */
	check_eq(cogo_mutex_unlock(&m), 0);
	FAILS(ENOTRECOVERABLE, cogo_mutex_lock, &m);
	FAILS(ENOTRECOVERABLE, cogo_mutex_lock_until, &m, COGO_FOREVER);
	FAILS(ENOTRECOVERABLE, cogo_mutex_trylock, &m);
}

Test(errors, of_a_mutex_whose_owner_has_ended)
{
	on_both(is_poisoned);
}

static void is_mine(void)
{
	renew();
	FAILS(EPERM, cogo_mutex_unlock, &m);
	FAILS(EPERM, cogo_mutex_consistent, &m);
	FAILS(EPERM, cogo_cond_wait, &cond, &m, COGO_FOREVER);
	check_eq(cogo_mutex_lock(&m), 0);
	FAILS(EDEADLK, cogo_mutex_lock, &m);
	FAILS(EDEADLK, cogo_mutex_lock_until, &m, COGO_FOREVER);
	FAILS(EBUSY, cogo_mutex_trylock, &m);
	FAILS(EINVAL, cogo_mutex_consistent, &m);
	FAILS(ETIMEDOUT, cogo_cond_wait, &cond, &m, SOON);
	check_eq(cogo_mutex_unlock(&m), 0);
}

static void is_anothers(void)
{
	FAILS(EPERM, cogo_mutex_unlock, &m);
	FAILS(EPERM, cogo_mutex_consistent, &m);
	FAILS(EBUSY, cogo_mutex_trylock, &m);
	FAILS(ETIMEDOUT, cogo_mutex_lock_until, &m, SOON);
	FAILS(ETIMEDOUT, cogo_mutex_lock_until, &m, 0);
}

Test(errors, of_a_mutex_that_somebody_has)
{
	on_both(is_mine);
	renew();
	check_eq(cogo_mutex_lock(&m), 0);
	on_both(is_anothers);
	check_eq(cogo_mutex_unlock(&m), 0);
}

static atomic_int stage;

static void wait_for_the_lost(void *arg)
{
	int r;

	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
	stage = 1;
	/* Perhaps without a signal. */
	while ((r = cogo_cond_wait(&cond, &m, COGO_FOREVER)) == 0)
		;
	WAS(ENOTRECOVERABLE, cogo_cond_wait, r);
	FAILS(EPERM, cogo_mutex_unlock, &m);
}

Test(errors, of_a_wait_whose_mutex_is_lost_meanwhile)
{
	struct cogo_coro *c;

	renew();
	c = begin(NULL, wait_for_the_lost, NULL);
	wait_until(stage == 1);
	/* It has let go of it, so it waits. */
	poison();
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	cogo_cond_signal(&cond);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
}

/* ---- read-write locks ---- */

static void i_write(void)
{
	renew();
	FAILS(EPERM, cogo_rwlock_unlock, &l);
	check_eq(cogo_rwlock_write_lock(&l), 0);
	FAILS(EDEADLK, cogo_rwlock_read_lock, &l);
	FAILS(EDEADLK, cogo_rwlock_write_lock, &l);
	FAILS(EDEADLK, cogo_rwlock_read_lock_until, &l, COGO_FOREVER);
	FAILS(EDEADLK, cogo_rwlock_write_lock_until, &l, COGO_FOREVER);
	FAILS(EBUSY, cogo_rwlock_read_trylock, &l);
	FAILS(EBUSY, cogo_rwlock_write_trylock, &l);
	check_eq(cogo_rwlock_unlock(&l), 0);
}

static void another_writes(void)
{
	FAILS(EPERM, cogo_rwlock_unlock, &l);
	FAILS(EBUSY, cogo_rwlock_read_trylock, &l);
	FAILS(EBUSY, cogo_rwlock_write_trylock, &l);
	FAILS(ETIMEDOUT, cogo_rwlock_read_lock_until, &l, SOON);
	FAILS(ETIMEDOUT, cogo_rwlock_write_lock_until, &l, SOON);
}

Test(errors, of_a_read_write_lock_that_somebody_has)
{
	on_both(i_write);
	renew();
	check_eq(cogo_rwlock_write_lock(&l), 0);
	on_both(another_writes);
	check_eq(cogo_rwlock_unlock(&l), 0);
}

Test(errors, of_a_read_write_lock_with_all_the_readers_there_can_be)
{
	int r;

	renew();
	while ((r = cogo_rwlock_read_trylock(&l)) == 0)
		;
	WAS(EAGAIN, cogo_rwlock_read_trylock, r);
	FAILS(EAGAIN, cogo_rwlock_read_lock, &l);
	FAILS(EAGAIN, cogo_rwlock_read_lock_until, &l, COGO_FOREVER);
	check_eq(cogo_rwlock_unlock(&l), 0);
	check_eq(cogo_rwlock_read_lock(&l), 0);
}

/* ---- the others ---- */

static void in_vain(void)
{
	renew();
	FAILS(ETIMEDOUT, cogo_sem_acquire_until, &sem, SOON);
	FAILS(EBUSY, cogo_sem_tryacquire, &sem);
	check_eq(cogo_sem_release(&sem, COGO_SEM_MOST), 0);
	FAILS(EOVERFLOW, cogo_sem_release, &sem, 1);
	FAILS(EINVAL, cogo_barrier_wait, &barrier, 0, COGO_FOREVER);
	FAILS(ETIMEDOUT, cogo_barrier_wait, &barrier, 2, SOON);
	FAILS(ETIMEDOUT, cogo_waitgroup_wait, &wg, SOON);
	FAILS(ETIMEDOUT, cogo_latch_wait, &latch, SOON);
}

Test(errors, of_objects_that_nobody_else_uses)
{
	on_both(in_vain);
}

static void canceled(void)
{
	renew();
	FAILS(ECANCELED, cogo_mutex_lock_until, &m, COGO_FOREVER);
	/* That one is no cancellation point. */
	check_eq(cogo_mutex_lock(&m), 0);
	FAILS(ECANCELED, cogo_cond_wait, &cond, &m, COGO_FOREVER);
	check_eq(cogo_mutex_unlock(&m), 0);
	FAILS(ECANCELED, cogo_rwlock_read_lock_until, &l, COGO_FOREVER);
	FAILS(ECANCELED, cogo_rwlock_write_lock_until, &l, COGO_FOREVER);
	FAILS(ECANCELED, cogo_sem_acquire, &sem);
	FAILS(ECANCELED, cogo_sem_acquire_until, &sem, COGO_FOREVER);
	FAILS(ECANCELED, cogo_barrier_wait, &barrier, 2, COGO_FOREVER);
	FAILS(ECANCELED, cogo_waitgroup_wait, &wg, COGO_FOREVER);
	FAILS(ECANCELED, cogo_latch_wait, &latch, COGO_FOREVER);
}

Test(errors, of_objects_for_one_that_is_cancelled)
{
	as_canceled(canceled);
}

static void unknown(void)
{
	FAILS(ENOMEM, cogo_mutex_lock_until, &m, 0);
	FAILS(ENOMEM, cogo_cond_wait, &cond, &m, 0);
	FAILS(ENOMEM, cogo_rwlock_read_lock_until, &l, 0);
	FAILS(ENOMEM, cogo_rwlock_write_lock_until, &l, 0);
	FAILS(ENOMEM, cogo_sem_acquire, &sem);
	FAILS(ENOMEM, cogo_sem_acquire_until, &sem, 0);
	FAILS(ENOMEM, cogo_barrier_wait, &barrier, 2, 0);
	FAILS(ENOMEM, cogo_waitgroup_wait, &wg, 0);
	FAILS(ENOMEM, cogo_latch_wait, &latch, 0);
}

Test(errors, of_objects_for_one_whom_there_is_no_memory_to_know_by)
{
	renew();
	as_stranger(unknown);
}
