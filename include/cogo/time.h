/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/time.h - moments, and how long it is until then.
 *
 * A moment is a number of nanoseconds on CLOCK_MONOTONIC, which nobody sets; a
 * span is a number of nanoseconds. Every call that waits takes the moment at
 * which it shall stop waiting, its deadline, so that a budget passed down
 * through several calls stays one budget:
 *
 *	int pass_on(struct cogo_chan *from, struct cogo_chan *to)
 *	{
 *		cogo_time until = cogo_in(200 * COGO_MS);
 *		int x, r;
 *
 *		r = cogo_recv(from, &x, until);
 *		if (r == 0)
 *			r = cogo_send(to, &x, until);
 *		return r;
 *	}
 *
 * COGO_FOREVER never comes; 0, like any moment that has passed, does not wait. */
#ifndef COGO_TIME_H
#define COGO_TIME_H

#include "cogo/api.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A moment. */
typedef int64_t cogo_time;

/* The moment that never comes. */
#define COGO_FOREVER INT64_MAX

/* Spans: a microsecond, a millisecond, a second. */
#define COGO_US INT64_C(1000)
#define COGO_MS INT64_C(1000000)
#define COGO_SEC INT64_C(1000000000)

/* This moment. Never parks; any thread, a signal handler. */
COGO_API cogo_time cogo_now(void);

/* The moment that is so many nanoseconds away, or a little more: up to a thousandth
 * of them, and half a millisecond (1 << 19 ns) at most. So moments that are near each
 * other become one, and thousands that wait for them are woken together.
 * (Who wants it to the nanosecond adds to cogo_now().) Now, for a span that is not
 * positive, COGO_FOREVER for one that is too long to count. As cogo_now. */
COGO_API cogo_time cogo_in(int64_t span);

/* Waits until the moment has come, or past it, never before it: 0; -ECANCELED;
 * -ENOMEM on a thread's first call ever. Parks; on a kernel thread that runs no
 * coroutine, sleeps. */
COGO_API int cogo_sleep_until(cogo_time moment);

/* The same for a span, as cogo_in has it. */
COGO_API int cogo_sleep(int64_t span);

#ifdef __cplusplus
}
#endif

#endif
