/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/sem.c - sem_t, in glibc's own encoding.
 *
 * The 64-bit word is glibc's, so sem_init, sem_getvalue, sem_trywait and
 * sem_destroy are left to it. Named and process-shared ones are libc's
 * altogether; a word after the first says so. */
#include "sync/sem.h"
#include "base/sys.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

static inline struct sem *word_of(sem_t *s)
{
	return (struct sem *)s;
}

static inline bool is_ours(const sem_t *s)
{
	return likely(((const uint32_t *)s)[2] == 0) && locks_ours();
}

static void leave(struct coro **me)
{
	if (*me)
		unbind_for_kernel(*me);
}

/* A handler that runs there may park, so the wait keeps its kernel thread. A
 * cancellation point inside libc, which may not come back. */
static int wait_libcs(sem_t *s, const struct locks_until *u)
{
	struct coro *me __attribute__((cleanup(leave))) = self();
	int r;

	if (me)
		bind_for_kernel(me);
	if (!u->abstime)
		r = REAL(sem_wait)(s);
	else if (u->clock == CLOCK_REALTIME)
		r = REAL(sem_timedwait)(s, u->abstime);
	else
		r = REAL(sem_clockwait)(s, u->clock, u->abstime);
	return r;
}

static long wait_ours(sem_t *s, const struct locks_until *u)
{
	struct coro *me = locks_door();
	int r;

	if (cancel_unwinds(me))
		cancel_act(me);
	do {
		r = sem_take(word_of(s), locks_deadline(u));
		if (r == -ETIMEDOUT && !locks_time_is_up(u))
			continue;
		if (r != -EINTR && r != -ECANCELED)
			break;
		/* As the kernel restarts a futex: never a timed one. */
		r = gate_interrupted(me, !u->abstime);
		/* A semaphore that one got without getting it protects nothing:
		 * who is told by errors waits on. */
		if (r == -GATE_CANCELED && !cancel_unwinds(me))
			r = 0;
	} while (r == 0 || r == -ETIMEDOUT);
	door_leave(me);
	return r;
}

static int wait_for(sem_t *s, const struct locks_until *u)
{
	if (!locks_ours())
		return wait_libcs(s, u);
	locks_testcancel();
	if (!is_ours(s))
		return wait_libcs(s, u);
	if (likely(sem_try_take(word_of(s))))
		return 0;
	return (int)gate_return(wait_ours(s, u));
}

HOOKED int sem_wait(sem_t *s)
{
	struct locks_until u = { NULL, CLOCK_MONOTONIC };

	return wait_for(s, &u);
}

HOOKED int sem_timedwait(sem_t *s, const struct timespec *t)
{
	struct locks_until u = { t, CLOCK_REALTIME };

	if (!locks_time_valid(t))
		return (int)gate_errno(-EINVAL);
	return wait_for(s, &u);
}

HOOKED int sem_clockwait(sem_t *s, clockid_t clock, const struct timespec *t)
{
	struct locks_until u = { t, clock };

	if (!locks_clock_valid(clock) || !locks_time_valid(t))
		return (int)gate_errno(-EINVAL);
	return wait_for(s, &u);
}

/* sem_post is called from signal handlers. One that interrupted the runtime is
 * put off until its door is open again, so a thread that has been there may come
 * in as usual. One that never was may be interrupted here a second time, by a
 * handler that posts as well; it has no door, so it takes no signals. */
static NOINLINE void wake_one(const struct sem *word)
{
	uint64_t all = ~(uint64_t)0, before;
	struct coro *me = self();

	if (likely(me != NULL)) {
		door_enter(me);
		sem_wake(word);
		door_leave(me);
		return;
	}
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	sem_wake(word);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(all));
}

HOOKED int sem_post(sem_t *s)
{
	int r;

	if (!is_ours(s))
		return REAL(sem_post)(s);
	r = sem_give(word_of(s));
	if (unlikely(r < 0))
		return (int)gate_errno(r);
	if (r)
		wake_one(word_of(s));
	return 0;
}
