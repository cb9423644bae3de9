/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/locks.h - what every pthread lock of ours needs.
 *
 * Whether it is ours at all, who we are in an owner's field, until when to
 * wait, and the way into the runtime for threads of every kind. */
#ifndef COGO_HOOK_THREAD_LOCKS_H
#define COGO_HOOK_THREAD_LOCKS_H

#include "arch/tp.h"
#include "hook/gate.h"
#include "hook/thread/cancel.h"
#include <pthread.h>
#include <time.h>

/* Decided at the first call, for the life of the process: objects in use must
 * not change hands. UNDECIDED is 0, and means libc for as long as it lasts. */
enum { LOCKS_UNDECIDED, LOCKS_OURS, LOCKS_LIBC };
extern _Atomic uint32_t locks_mode;
COLD bool locks_decide(void);

static inline bool locks_ours(void)
{
	uint32_t mode = atomic_load_explicit(&locks_mode, memory_order_relaxed);

	return likely(mode == LOCKS_OURS) ||
	       (mode == LOCKS_UNDECIDED && locks_decide());
}

/* The id that libc's own locks write into an owner's field: the one in the
 * thread control block, a coroutine's invented one or a thread's from the
 * kernel. Where coroutines have no block of their own, another one. */
extern uint32_t locks_tid_offset;	/* in the descriptor; 0: ask the slow one */
uint32_t locks_id_slow(void);

static inline uint32_t locks_id(void)
{
	uint32_t at = locks_tid_offset;

	if (unlikely(!at || coro_any_shares))
		return locks_id_slow();
	return *(uint32_t *)(arch_tp_to_thread(arch_tp_get()) + at);
}

/* Into the runtime, adopting the thread if need be; out with door_leave. */
struct coro *locks_door(void);

/* After a wait that ended with -EINTR or -ECANCELED and is to be gone on with:
 * the handlers run. Not a cancellation point, as locks are none; and no pthread
 * lock ever returns EINTR. */
COLD void locks_interrupted(struct coro *me);

/* What a cancellation point asks that may not come to a wait of ours. */
static inline void locks_testcancel(void)
{
	struct coro *me = self();

	if (likely(me && me->kind == CORO_KIND_CORO))
		cancel_point(me);
	else
		pthread_testcancel();
}

/* Until when, on which clock. abstime NULL: for ever.
 *
 * The runtime knows CLOCK_MONOTONIC alone. A time of CLOCK_REALTIME is
 * translated by how the two stand to each other now; since the wall clock may be
 * set, it is translated again after LOCKS_RECHECK at the latest, and that is how
 * late a wait may notice. */
#define LOCKS_RECHECK 5000000000ll

struct locks_until {
	const struct timespec *abstime;
	clockid_t clock;
};

static inline bool locks_time_valid(const struct timespec *t)
{
	return (unsigned long)t->tv_nsec < 1000000000ul;
}

static inline bool locks_clock_valid(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
}

/* What to park with. */
cogo_time locks_deadline(const struct locks_until *u);
/* After -ETIMEDOUT: whether it is really so. */
bool locks_time_is_up(const struct locks_until *u);

#endif
