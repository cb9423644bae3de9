/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/cond.c - pthread_cond_t, in one of glibc's words.
 *
 * The word is __wrefs. glibc keeps there how many wait (from bit 3), the clock
 * (bit 1) and whether the object is shared (bit 0), all set up by libc's own
 * pthread_cond_init. The highest bit says that somebody waits in the lot. So one
 * look tells a signaller everything, and libc, which does not know the bit, at
 * worst looks for waiters in vain.
 *
 * A condition is libc's or ours as the mutex it is used with is. */
#include "sync/cond.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include "hook/thread/mutex.h"

#define MONOTONIC	2u
#define LIBCS_WAITERS	0x7ffffff8u

static inline struct cond *word_of(pthread_cond_t *c)
{
	return (struct cond *)&c->__data.__wrefs;
}

static inline uint32_t look(pthread_cond_t *c)
{
	return atomic_load_explicit(&word_of(c)->word, memory_order_relaxed);
}

static void take_back(struct coro *me, struct mutex *m, bool signalled)
{
	uint32_t since = 0;

	for (;;) {
		int r = signalled ? mutex_lock_woken(m, &since) :
				    mutex_lock(m, COGO_FOREVER, &since);

		if (r == 0)
			return;
		locks_interrupted(me);
	}
}

/* 0, -ETIMEDOUT or -ECANCELED. */
static int wait_and_see(struct coro *me, struct cond *c, struct mutex *m,
			const struct locks_until *u)
{
	uint32_t epoch;
	int r = cond_wait(c, m, locks_deadline(u), &epoch);

	while (r) {
		if (r == -ETIMEDOUT && locks_time_is_up(u))
			return r;
		if (r == -EINTR && !cancel_unwinds(me))
			locks_interrupted(me);
		if (cancel_unwinds(me))
			return -ECANCELED;
		r = cond_wait_again(c, locks_deadline(u), &epoch);
	}
	return 0;
}

static int wait_ours(pthread_cond_t *c, pthread_mutex_t *m,
		     const struct locks_until *u)
{
	struct mutex *word;
	struct coro *me;
	int r;

	me = locks_door();
	if (cancel_unwinds(me))
		cancel_act(me);
	r = mutex_before_wait(m, &word);
	if (r) {
		door_leave(me);
		return r;
	}
	r = wait_and_see(me, word_of(c), word, u);
	if (word)
		take_back(me, word, r == 0);
	mutex_after_wait(m, word);
	door_leave(me);
	/* Who was signalled has not been canceled, and the other way round: the
	 * wait ended once. So no signal is lost with us. */
	if (r == -ECANCELED)
		cancel_act(me);
	return -r;
}

static void leave(struct kernel_call *k)
{
	kernel_leave(k, 0);
}

/* A cancellation point inside libc, which may not come back. */
static int wait_libcs(pthread_cond_t *c, pthread_mutex_t *m,
		      const struct locks_until *u, bool own_clock)
{
	struct kernel_call k __attribute__((cleanup(leave)));
	int r;

	kernel_enter(&k);
	if (!u->abstime)
		r = REAL(pthread_cond_wait)(c, m);
	else if (own_clock)
		r = REAL(pthread_cond_timedwait)(c, m, u->abstime);
	else
		r = REAL(pthread_cond_clockwait)(c, m, u->clock, u->abstime);
	return r;
}

static int wait_on(pthread_cond_t *c, pthread_mutex_t *m,
		   const struct locks_until *u, bool own_clock)
{
	if (!locks_ours())
		return wait_libcs(c, m, u, own_clock);
	locks_testcancel();
	return mutex_is_libcs(m) ? wait_libcs(c, m, u, own_clock) :
				   wait_ours(c, m, u);
}

HOOKED int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	struct locks_until u = { NULL, CLOCK_MONOTONIC };

	return wait_on(c, m, &u, true);
}

HOOKED int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m,
				  const struct timespec *t)
{
	struct locks_until u = {
		t, look(c) & MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME
	};

	if (!locks_time_valid(t))
		return EINVAL;
	return wait_on(c, m, &u, true);
}

HOOKED int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m,
				  clockid_t clock, const struct timespec *t)
{
	struct locks_until u = { t, clock };

	if (!locks_time_valid(t) || !locks_clock_valid(clock))
		return EINVAL;
	return wait_on(c, m, &u, false);
}

static NOINLINE int signal_rest(pthread_cond_t *c)
{
	uint32_t w = look(c);
	struct coro *me;

	if (w & COND_WAITED && locks_ours()) {
		me = locks_door();
		cond_signal(word_of(c));
		door_leave(me);
	}
	return w & LIBCS_WAITERS ? REAL(pthread_cond_signal)(c) : 0;
}

HOOKED int pthread_cond_signal(pthread_cond_t *c)
{
	return likely(!(look(c) & (COND_WAITED | LIBCS_WAITERS))) ?
		       0 : signal_rest(c);
}

static NOINLINE int broadcast_rest(pthread_cond_t *c)
{
	uint32_t w = look(c);
	struct coro *me;

	if (w & COND_WAITED && locks_ours()) {
		me = locks_door();
		cond_broadcast(word_of(c));
		door_leave(me);
	}
	return w & LIBCS_WAITERS ? REAL(pthread_cond_broadcast)(c) : 0;
}

HOOKED int pthread_cond_broadcast(pthread_cond_t *c)
{
	return likely(!(look(c) & (COND_WAITED | LIBCS_WAITERS))) ?
		       0 : broadcast_rest(c);
}

/* Those of ours who have been woken touch *c no more, so only libc's are to be
 * waited for. */
HOOKED int pthread_cond_destroy(pthread_cond_t *c)
{
	if (look(c) & COND_WAITED && locks_ours())
		atomic_fetch_and_explicit(&word_of(c)->word, ~COND_WAITED,
					  memory_order_relaxed);
	return REAL(pthread_cond_destroy)(c);
}
