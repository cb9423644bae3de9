/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/clock.c - how much of a processor a thread has had.
 *
 * pthread_getcpuclockid (hook/thread/thread.c) makes a clock's number of a thread's,
 * and a coroutine has one that no kernel thread has. What the kernel does not know
 * of such a clock, and of CLOCK_THREAD_CPUTIME_ID, is answered here: see
 * sched/clock.h. */
#include "sched/clock.h"
#include "fault/door.h"
#include "hook/gate.h"
#include "hook/real.h"
#include <sys/resource.h>
#include <time.h>

#define SECOND 1000000000

/* Whose clock that is: false where libc is to be asked; else a coroutine, or NULL
 * for one that is no more. */
static bool is_coroutines(clockid_t clock, struct coro **ret)
{
	struct coro *me = self();
	int tid = TID_OF_CLOCK(clock);

	if (likely(clock >= 0) && clock != CLOCK_THREAD_CPUTIME_ID)
		return false;
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		*ret = me && me->kind == CORO_KIND_CORO ? me : NULL;
	else if ((clock & 4) && tid >= CORO_FIRST_TID)
		*ret = coro_of_tid(tid);
	else
		return false;
	return *ret || clock < 0;
}

/* Whoever may ask for another's has been given its clock's number: by
 * pthread_getcpuclockid, which has begun it. A handler may ask on any thread, in the
 * middle of anything, so one that is not adopted takes no lock here. */
static cogo_time used_by(struct coro *c)
{
	struct coro *me = self();

	if (unlikely(!c->rare) && me) {
		door_enter(me);
		coro_rare(c);
		door_leave(me);
	}
	return clock_of(c);
}

HOOKED int clock_gettime(clockid_t clock, struct timespec *ts)
{
	struct coro *c;
	cogo_time used;

	if (likely(!is_coroutines(clock, &c)))
		return REAL(clock_gettime)(clock, ts);
	if (!c)
		return (int)gate_errno(-EINVAL);
	if (gate_bad_pointer(ts))
		return (int)gate_errno(-EFAULT);
	used = used_by(c);
	ts->tv_sec = used / SECOND;
	ts->tv_nsec = used % SECOND;
	return 0;
}

HOOKED int clock_getres(clockid_t clock, struct timespec *ts)
{
	struct coro *c;

	if (!is_coroutines(clock, &c))
		return REAL(clock_getres)(clock, ts);
	return c ? REAL(clock_getres)(CLOCK_THREAD_CPUTIME_ID, ts)
		 : (int)gate_errno(-EINVAL);
}

static struct timeval timeval_of(cogo_time t)
{
	return (struct timeval){ t / SECOND, t % SECOND / 1000 };
}

static cogo_time time_of(struct timeval t)
{
	return (cogo_time)t.tv_sec * SECOND + (cogo_time)t.tv_usec * 1000;
}

/* The rest is its kernel thread's, which nobody has counted for it. How its time
 * divides into the program's and the kernel's is guessed by that thread's. */
HOOKED int getrusage(__rusage_who_t who, struct rusage *usage)
{
	int r = REAL(getrusage)(who, usage);
	cogo_time used, user, all;
	struct coro *c;

	if (r || who != RUSAGE_THREAD ||
	    !is_coroutines(CLOCK_THREAD_CPUTIME_ID, &c))
		return r;
	used = used_by(c);
	user = time_of(usage->ru_utime);
	all = user + time_of(usage->ru_stime);
	user = all > 0 ? (cogo_time)((double)used * (double)user / (double)all) : used;
	usage->ru_utime = timeval_of(user);
	usage->ru_stime = timeval_of(used - user);
	return 0;
}
