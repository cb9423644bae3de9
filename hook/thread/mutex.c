/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/mutex.c - pthread_mutex_t, in glibc's own encoding.
 *
 * Word, owner, count and kind stand where glibc has them and mean the same, so
 * that an object may go back and forth: one that was locked before we were there,
 * or that libc itself unlocks. Only who waits is ours to keep, in the lot. A
 * mutex that others than this process's threads know of is libc's altogether.
 *
 * No function here touches errno, and none returns EINTR. */
#include "hook/thread/mutex.h"
#include "hook/real.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"

/* Of __kind: what decides whose it is, what type it is, and what does not
 * matter (lock elision, which nobody has). */
#define KIND_LIBCS	0xf0
#define KIND_TYPE	0x7f
#define KIND_ELISION	0x300

static inline uint32_t kind_of(const pthread_mutex_t *m)
{
	return *(const volatile uint32_t *)&m->__data.__kind;
}

static inline bool is_normal(const pthread_mutex_t *m)
{
	return likely(!(kind_of(m) & ~KIND_ELISION));
}

static inline struct mutex *word_of(pthread_mutex_t *m)
{
	return (struct mutex *)&m->__data.__lock;
}

static inline bool is_mine(const pthread_mutex_t *m)
{
	return *(const volatile uint32_t *)&m->__data.__owner == locks_id();
}

static inline void own(pthread_mutex_t *m)
{
	m->__data.__owner = (int)locks_id();
	m->__data.__nusers++;
}

bool mutex_is_libcs(const pthread_mutex_t *m)
{
	uint32_t kind = kind_of(m);

	return kind & KIND_LIBCS || (kind & KIND_TYPE) > PTHREAD_MUTEX_ADAPTIVE_NP;
}

/* libc says EOWNERDEAD of a lock that it has got. */
static int got(int r)
{
	return r == 0 || r == EOWNERDEAD ? +1 : 0;
}

static NOINLINE int lock_libcs(pthread_mutex_t *m, const struct locks_until *u)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	if (!u->abstime)
		r = REAL(pthread_mutex_lock)(m);
	else if (u->clock == CLOCK_REALTIME)
		r = REAL(pthread_mutex_timedlock)(m, u->abstime);
	else
		r = REAL(pthread_mutex_clocklock)(m, u->clock, u->abstime);
	kernel_leave(&k, got(r));
	return r;
}

static int wait_for(struct mutex *word, const struct locks_until *u)
{
	uint32_t since = 0;
	struct coro *me;
	int r;

	/* In the order in which libc and the kernel look. */
	if (u->abstime && u->abstime->tv_sec < 0)
		return ETIMEDOUT;
	if (u->abstime && !locks_time_valid(u->abstime))
		return EINVAL;
	me = locks_door();
	while ((r = mutex_lock(word, locks_deadline(u), &since))) {
		if (r != -ETIMEDOUT)
			locks_interrupted(me);
		else if (locks_time_is_up(u))
			break;
	}
	door_leave(me);
	return -r;
}

/* Everything but a normal mutex that is free. */
static NOINLINE int lock_rest(pthread_mutex_t *m, const struct locks_until *u)
{
	int r;

	if (!locks_ours() || mutex_is_libcs(m))
		return lock_libcs(m, u);
	switch (kind_of(m) & KIND_TYPE) {
	case PTHREAD_MUTEX_RECURSIVE_NP:
		if (!is_mine(m))
			break;
		if (m->__data.__count + 1 == 0)
			return EAGAIN;
		m->__data.__count++;
		return 0;
	case PTHREAD_MUTEX_ERRORCHECK_NP:
		if (is_mine(m))
			return EDEADLK;
		break;
	}
	if (!mutex_try(word_of(m))) {
		r = wait_for(word_of(m), u);
		if (r)
			return r;
	}
	m->__data.__count = (kind_of(m) & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP;
	own(m);
	return 0;
}

static const struct locks_until forever;

HOOKED int pthread_mutex_lock(pthread_mutex_t *m)
{
	if (is_normal(m) && locks_ours() && likely(mutex_try(word_of(m)))) {
		own(m);
		return 0;
	}
	return lock_rest(m, &forever);
}
ALIAS(__pthread_mutex_lock, pthread_mutex_lock);

HOOKED int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *t)
{
	struct locks_until u = { t, CLOCK_REALTIME };

	return lock_rest(m, &u);
}

HOOKED int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
				   const struct timespec *t)
{
	struct locks_until u = { t, clock };

	if (!locks_clock_valid(clock))
		return EINVAL;
	return lock_rest(m, &u);
}

static NOINLINE int trylock_libcs(pthread_mutex_t *m)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	r = REAL(pthread_mutex_trylock)(m);
	kernel_leave(&k, got(r));
	return r;
}

HOOKED int pthread_mutex_trylock(pthread_mutex_t *m)
{
	bool recursive;

	if (!locks_ours() || (!is_normal(m) && mutex_is_libcs(m)))
		return trylock_libcs(m);
	recursive = (kind_of(m) & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP;
	if (recursive && is_mine(m)) {
		if (m->__data.__count + 1 == 0)
			return EAGAIN;
		m->__data.__count++;
		return 0;
	}
	if (!mutex_try(word_of(m)))
		return EBUSY;
	if (recursive)
		m->__data.__count = 1;
	own(m);
	return 0;
}
ALIAS(__pthread_mutex_trylock, pthread_mutex_trylock);

static NOINLINE void wake_next(struct mutex *word)
{
	struct coro *me = locks_door();

	mutex_unlock(word);
	door_leave(me);
}

static inline void let_go(pthread_mutex_t *m)
{
	m->__data.__owner = 0;
	m->__data.__nusers--;
	if (unlikely(!mutex_try_unlock(word_of(m))))
		wake_next(word_of(m));
}

static NOINLINE int unlock_libcs(pthread_mutex_t *m)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	r = REAL(pthread_mutex_unlock)(m);
	kernel_leave(&k, r == 0 ? -1 : 0);
	return r;
}

/* Whether the caller may unlock a mutex of its type. */
static int may_unlock(pthread_mutex_t *m)
{
	switch (kind_of(m) & KIND_TYPE) {
	case PTHREAD_MUTEX_RECURSIVE_NP:
		return is_mine(m) ? 0 : EPERM;
	case PTHREAD_MUTEX_ERRORCHECK_NP:
		return is_mine(m) && atomic_load_explicit(&word_of(m)->word,
							  memory_order_relaxed) ?
			       0 : EPERM;
	default:
		return 0;
	}
}

static NOINLINE int unlock_rest(pthread_mutex_t *m)
{
	int r;

	if (!locks_ours() || mutex_is_libcs(m))
		return unlock_libcs(m);
	r = may_unlock(m);
	if (r)
		return r;
	if ((kind_of(m) & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP &&
	    --m->__data.__count)
		return 0;
	let_go(m);
	return 0;
}

HOOKED int pthread_mutex_unlock(pthread_mutex_t *m)
{
	if (is_normal(m) && locks_ours()) {
		let_go(m);
		return 0;
	}
	return unlock_rest(m);
}
ALIAS(__pthread_mutex_unlock, pthread_mutex_unlock);

int mutex_before_wait(pthread_mutex_t *m, struct mutex **ret_word)
{
	int r = may_unlock(m);

	if (r)
		return r;
	*ret_word = NULL;
	if ((kind_of(m) & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP &&
	    --m->__data.__count)
		return 0;
	m->__data.__owner = 0;
	*ret_word = word_of(m);
	return 0;
}

void mutex_after_wait(pthread_mutex_t *m, const struct mutex *word)
{
	if ((kind_of(m) & KIND_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP)
		m->__data.__count++;
	if (word)
		m->__data.__owner = (int)locks_id();
}

/* ---- what libc does with the caller's id in it ---- */

HOOKED int pthread_mutex_consistent(pthread_mutex_t *m)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	r = REAL(pthread_mutex_consistent)(m);
	kernel_leave(&k, 0);
	return r;
}
/* The header has made a synonym of the old name. */
extern int consistent_np(pthread_mutex_t *m)
	__asm__("pthread_mutex_consistent_np")
	__attribute__((alias("pthread_mutex_consistent"), visibility("default")));

HOOKED int pthread_mutex_setprioceiling(pthread_mutex_t *m, int ceiling,
					int *old)
{
	struct kernel_call k;
	int r;

	kernel_enter(&k);
	r = REAL(pthread_mutex_setprioceiling)(m, ceiling, old);
	kernel_leave(&k, 0);
	return r;
}
