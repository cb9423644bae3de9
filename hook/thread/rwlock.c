/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/rwlock.c - pthread_rwlock_t, in a word that glibc leaves free.
 *
 * glibc's own words stay zero, but for __cur_writer, which means what it means
 * there: who writes. So its initialisers, static or not, are ours too, and its
 * pthread_rwlock_destroy has nothing to say. A process-shared one is libc's. */
#include "sync/rwlock.h"
#include "base/sys.h"
#include "hook/real.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include <pthread.h>

static inline struct rwlock *word_of(pthread_rwlock_t *l)
{
	return (struct rwlock *)&l->__data.__pad3;
}

static inline bool is_ours(const pthread_rwlock_t *l)
{
	return likely(!l->__data.__shared) && locks_ours();
}

static inline bool writers_first(const pthread_rwlock_t *l)
{
	return l->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

static inline bool i_write(const pthread_rwlock_t *l)
{
	return *(const volatile uint32_t *)&l->__data.__cur_writer == locks_id();
}

static int read_libcs(pthread_rwlock_t *l, const struct locks_until *u)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	if (!u->abstime)
		r = REAL(pthread_rwlock_rdlock)(l);
	else if (u->clock == CLOCK_REALTIME)
		r = REAL(pthread_rwlock_timedrdlock)(l, u->abstime);
	else
		r = REAL(pthread_rwlock_clockrdlock)(l, u->clock, u->abstime);
	/* Readers leave no id behind: nothing to stay bound for. */
	kernel_leave(&k, 0);
	return r;
}

static int write_libcs(pthread_rwlock_t *l, const struct locks_until *u)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	if (!u->abstime)
		r = REAL(pthread_rwlock_wrlock)(l);
	else if (u->clock == CLOCK_REALTIME)
		r = REAL(pthread_rwlock_timedwrlock)(l, u->abstime);
	else
		r = REAL(pthread_rwlock_clockwrlock)(l, u->clock, u->abstime);
	kernel_leave(&k, r == 0 ? +1 : 0);
	return r;
}

static int wait_for(pthread_rwlock_t *l, bool write, const struct locks_until *u)
{
	struct coro *me = locks_door();
	bool first = writers_first(l);
	uint32_t since = 0;
	int r;

	for (;;) {
		cogo_time deadline = locks_deadline(u);

		r = write ? rwlock_write(word_of(l), first, deadline, &since) :
			    rwlock_read(word_of(l), first, deadline, &since);
		if (r == -EINTR || r == -ECANCELED)
			locks_interrupted(me);
		else if (r != -ETIMEDOUT || locks_time_is_up(u))
			break;
	}
	door_leave(me);
	return -r;
}

static int read_lock(pthread_rwlock_t *l, const struct locks_until *u)
{
	int r;

	if (!is_ours(l))
		return read_libcs(l, u);
	if (u->abstime && !locks_time_valid(u->abstime))
		return EINVAL;
	if (i_write(l))
		return EDEADLK;
	r = -rwlock_try_read(word_of(l), writers_first(l));
	return likely(r != EBUSY) ? r : wait_for(l, false, u);
}

static int write_lock(pthread_rwlock_t *l, const struct locks_until *u)
{
	int r;

	if (!is_ours(l))
		return write_libcs(l, u);
	if (u->abstime && !locks_time_valid(u->abstime))
		return EINVAL;
	if (i_write(l))
		return EDEADLK;
	r = -rwlock_try_write(word_of(l));
	if (unlikely(r))
		r = wait_for(l, true, u);
	if (likely(r == 0))
		l->__data.__cur_writer = (int)locks_id();
	return r;
}

static const struct locks_until forever;

HOOKED int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
	return read_lock(l, &forever);
}
ALIAS(__pthread_rwlock_rdlock, pthread_rwlock_rdlock);

HOOKED int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
	return write_lock(l, &forever);
}
ALIAS(__pthread_rwlock_wrlock, pthread_rwlock_wrlock);

HOOKED int pthread_rwlock_timedrdlock(pthread_rwlock_t *l,
				      const struct timespec *t)
{
	struct locks_until u = { t, CLOCK_REALTIME };

	return read_lock(l, &u);
}

HOOKED int pthread_rwlock_timedwrlock(pthread_rwlock_t *l,
				      const struct timespec *t)
{
	struct locks_until u = { t, CLOCK_REALTIME };

	return write_lock(l, &u);
}

HOOKED int pthread_rwlock_clockrdlock(pthread_rwlock_t *l, clockid_t clock,
				      const struct timespec *t)
{
	struct locks_until u = { t, clock };

	return locks_clock_valid(clock) ? read_lock(l, &u) : EINVAL;
}

HOOKED int pthread_rwlock_clockwrlock(pthread_rwlock_t *l, clockid_t clock,
				      const struct timespec *t)
{
	struct locks_until u = { t, clock };

	return locks_clock_valid(clock) ? write_lock(l, &u) : EINVAL;
}

HOOKED int pthread_rwlock_tryrdlock(pthread_rwlock_t *l)
{
	if (!is_ours(l))
		return REAL(pthread_rwlock_tryrdlock)(l);
	return -rwlock_try_read(word_of(l), writers_first(l));
}
ALIAS(__pthread_rwlock_tryrdlock, pthread_rwlock_tryrdlock);

HOOKED int pthread_rwlock_trywrlock(pthread_rwlock_t *l)
{
	struct kernel_call k;
	int r;

	if (is_ours(l)) {
		r = -rwlock_try_write(word_of(l));
		if (r == 0)
			l->__data.__cur_writer = (int)locks_id();
		return r;
	}
	kernel_enter(&k);
	r = REAL(pthread_rwlock_trywrlock)(l);
	kernel_leave(&k, r == 0 ? +1 : 0);
	return r;
}
ALIAS(__pthread_rwlock_trywrlock, pthread_rwlock_trywrlock);

static NOINLINE void wake_next(struct rwlock *word, bool first)
{
	struct coro *me = locks_door();

	rwlock_unlock(word, first);
	door_leave(me);
}

static NOINLINE int unlock_libcs(pthread_rwlock_t *l)
{
	struct kernel_call k;
	bool writer;
	int r;

	kernel_enter(&k);
	/* Bound since it locked, a writer still has the same id. */
	writer = k.me && l->__data.__cur_writer == sys_gettid();
	r = REAL(pthread_rwlock_unlock)(l);
	kernel_leave(&k, writer ? -1 : 0);
	return r;
}

HOOKED int pthread_rwlock_unlock(pthread_rwlock_t *l)
{
	/* Asked while the lock is still there to be asked. */
	bool first = writers_first(l);

	if (!is_ours(l))
		return unlock_libcs(l);
	if (l->__data.__cur_writer)
		l->__data.__cur_writer = 0;
	if (unlikely(!rwlock_try_unlock(word_of(l))))
		wake_next(word_of(l), first);
	return 0;
}
ALIAS(__pthread_rwlock_unlock, pthread_rwlock_unlock);
