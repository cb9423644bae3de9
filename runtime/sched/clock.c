/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/clock.c - how long a coroutine has used a processor.
 *
 *	used	until it last left a worker
 *	since	what that kernel thread's clock said when it came there; 0: it
 *		runs nowhere, or came before anybody asked
 *
 * Both are written by the worker that it comes to or leaves, and `turn` is odd
 * meanwhile. Somebody else who reads them does so again where turn was odd or has
 * changed, or two readings might go back. */
#include "sched/clock.h"
#include "arch/tp.h"
#include "base/sys.h"
#include "coro/self.h"
#include "sched/worker.h"
#include <time.h>

#define SECOND 1000000000

static cogo_time clock_now(clockid_t clock)
{
	struct timespec ts;

	if (sys_call(SYS_clock_gettime, clock, &ts) != 0)
		return 0;
	return (cogo_time)ts.tv_sec * SECOND + ts.tv_nsec;
}

static void set(struct coro_rare *r, cogo_time used, cogo_time since)
{
	uint32_t turn = atomic_load_explicit(&r->cpu.turn, memory_order_relaxed);

	atomic_store_explicit(&r->cpu.turn, turn + 1, memory_order_relaxed);
	/* Who sees what comes now sees that turn is odd, or later. */
	atomic_thread_fence(memory_order_release);
	write_once(r->cpu.used, used);
	write_once(r->cpu.since, since);
	atomic_store_explicit(&r->cpu.turn, turn + 2, memory_order_release);
}

void clock_switched(struct coro *from, struct coro *to)
{
	cogo_time now = clock_now(CLOCK_THREAD_CPUTIME_ID);
	struct coro_rare *r = from->rare;

	if (r && r->cpu.since)
		set(r, r->cpu.used + now - r->cpu.since, 0);
	/* Who counts it has given it that before. */
	if (read_once(to->counted) && (r = to->rare))
		set(r, r->cpu.used, now);
}

cogo_time clock_of_tid(int tid)
{
	return clock_now(CLOCK_OF_TID(tid));
}

static cogo_time clock_of_other(struct coro *c, struct coro_rare *r)
{
	cogo_time since, used, now;
	struct worker *w;
	uint32_t turn;

	for (;;) {
		turn = atomic_load_explicit(&r->cpu.turn, memory_order_acquire);
		since = read_once(r->cpu.since);
		used = read_once(r->cpu.used);
		/* None: it has ended meanwhile, and is another's by now. */
		w = read_once(c->worker);
		now = since && w ? clock_of_tid(read_once(w->tid)) : since;
		/* What was read is of turn, if that is still what it is. */
		atomic_thread_fence(memory_order_acquire);
		if (!(turn & 1) && turn == atomic_load_explicit(
					   &r->cpu.turn, memory_order_relaxed))
			return used + now - since;
		arch_relax();
	}
}

cogo_time clock_of(struct coro *c)
{
	struct coro_rare *r = c->rare;
	cogo_time now;

	if (!r)
		return 0;
	if (c != self()) {
		write_once(c->counted, true);
		return clock_of_other(c, r);
	}
	now = clock_now(CLOCK_THREAD_CPUTIME_ID);
	if (!r->cpu.since) {
		set(r, r->cpu.used, now);
		write_once(c->counted, true);
	}
	return r->cpu.used + now - r->cpu.since;
}
