/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/sleep.c - letting time pass.
 *
 * A coroutine's sleep is a park with a deadline of CLOCK_MONOTONIC. A sleep
 * until a moment of the wall clock follows that clock if it is set meanwhile:
 * it is looked at again every few seconds. Clocks of other kinds (CPU time)
 * are the kernel's to wait for, as a declared hand-off. */
#include "hook/io.h"
#include "hook/real.h"
#include "sched/park.h"
#include <sched.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define NSEC	1000000000ll
#define RECHECK	(5 * NSEC)

HOOKED int sched_yield(void)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(sched_yield)();
	door_enter(me);
	park_yield(me);
	door_leave(me);
	return 0;
}
ALIAS(__sched_yield, sched_yield);
ALIAS(pthread_yield, sched_yield);

HOOKED void thrd_yield(void)
{
	sched_yield();
}

/* 0, -EINTR when a handler has run, or -GATE_CANCELED. waits: it is not over already,
 * and who is cancelled is told, however soon the deadline would come. */
static int sleep_until(struct coro *me, cogo_time deadline, bool waits)
{
	int r = 0;

	door_enter(me);
	cancel_point(me);
	if (waits && cancel_wanted(me))
		r = -GATE_CANCELED;
	while (r == 0 && park_until(me, WHY_SLEEP, deadline) != WAIT_TIMED_OUT)
		r = gate_interrupted(me, false);
	door_leave(me);
	return r;
}

static cogo_time clock_now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static bool valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC;
}

/* As far as a deadline can say. */
static cogo_time span_of(const struct timespec *ts)
{
	return ts->tv_sec > INT64_MAX / NSEC - 2 ? INT64_MAX / 2
						 : ts->tv_sec * NSEC + ts->tv_nsec;
}

static int sleep_span(struct coro *me, const struct timespec *span,
		      struct timespec *rest)
{
	cogo_time begun = sys_now(), wanted = span_of(span), left;
	cogo_time until = wanted > COGO_FOREVER - 1 - begun ? COGO_FOREVER - 1
							    : begun + wanted;
	int r = sleep_until(me, until, wanted > 0);

	if (r && rest) {
		left = until - sys_now();
		if (left < 0)
			left = 0;
		*rest = (struct timespec){ left / NSEC, left % NSEC };
	}
	return r;
}

/* Until another clock shows a time. */
static int sleep_to(struct coro *me, clockid_t clock, const struct timespec *at)
{
	cogo_time target = span_of(at), left;
	int r = 0;

	while (r == 0 && (left = target - clock_now(clock)) > 0)
		r = sleep_until(me, sys_now() + (left < RECHECK ? left : RECHECK),
				true);
	return r;
}

static int block_sleep(struct coro *me, clockid_t clock, int flags,
		       const struct timespec *ts, struct timespec *rest)
{
	return (int)gate_sleep(me, WHY_SLEEP, false, SYS_clock_nanosleep, clock,
			       flags, (long)ts, (long)rest);
}

/* Where errno is left alone. */
static int act_on(int r)
{
	if (r == -GATE_CANCELED) {
		gate_return(r);
		return -ECANCELED;
	}
	return r;
}

HOOKED int clock_nanosleep(clockid_t clock, int flags, const struct timespec *ts,
			   struct timespec *rest)
{
	struct coro *me = gate_coro();
	bool absolute = flags & TIMER_ABSTIME;

	if (!me)
		return REAL(clock_nanosleep)(clock, flags, ts, rest);
	if (gate_bad_pointer(ts))
		return EFAULT;
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return EINVAL;
	if (!valid(ts))
		return EINVAL;
	switch (clock) {
	case CLOCK_MONOTONIC:
		return -act_on(absolute ? sleep_until(me, span_of(ts),
							 span_of(ts) > sys_now())
					: sleep_span(me, ts, rest));
	case CLOCK_REALTIME:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return -act_on(absolute ? sleep_to(me, clock, ts)
					: sleep_span(me, ts, rest));
	default:
		return -act_on(block_sleep(me, clock, flags, ts, rest));
	}
}

HOOKED int nanosleep(const struct timespec *span, struct timespec *rest)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(nanosleep)(span, rest);
	if (gate_bad_pointer(span))
		return (int)gate_errno(-EFAULT);
	if (!valid(span))
		return (int)gate_errno(-EINVAL);
	return (int)gate_return(sleep_span(me, span, rest));
}
ALIAS(__nanosleep, nanosleep);

HOOKED int usleep(useconds_t usec)
{
	struct timespec span = { usec / 1000000, usec % 1000000 * 1000 };

	return nanosleep(&span, NULL);
}

HOOKED unsigned sleep(unsigned seconds)
{
	struct timespec span = { seconds, 0 }, rest = { 0, 0 };
	struct coro *me = gate_coro();

	if (!me)
		return REAL(sleep)(seconds);
	/* Rounded as libc rounds what is left: down, but never to nothing. */
	if (act_on(sleep_span(me, &span, &rest)) == 0)
		return 0;
	return (unsigned)rest.tv_sec + (rest.tv_nsec >= NSEC / 2);
}

HOOKED int thrd_sleep(const struct timespec *span, struct timespec *rest)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(thrd_sleep)(span, rest);
	if (!valid(span))
		return -2;
	return act_on(sleep_span(me, span, rest)) ? -1 : 0;
}
