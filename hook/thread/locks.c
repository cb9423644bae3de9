/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/locks.c - what every pthread lock of ours needs. */
#include "hook/thread/locks.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "boot.h"
#include "fault/signal.h"
#include "mem/tls.h"
#include <dlfcn.h>
#include <unistd.h>

#define SECOND 1000000000ll

_Atomic uint32_t locks_mode;
uint32_t locks_tid_offset;

/* As libc exports a member for debuggers. */
struct db_member {
	uint32_t bits, count, offset;
};

static void decide(void)
{
	const struct db_member *tid;

	boot_load();
	gate_load();
	tid = dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid");
	if (tls_private() && tid)
		locks_tid_offset = tid->offset;
	/* release: whoever sees the mode sees the offset. */
	atomic_store_explicit(&locks_mode,
			      gate_ours ? LOCKS_OURS : LOCKS_LIBC,
			      memory_order_release);
}

bool locks_decide(void)
{
	static _Atomic uint32_t decider;
	uint32_t who = 0, me = (uint32_t)sys_gettid();

	/* Before libc is up there is no environment to read. */
	if (!environ)
		return false;
	if (atomic_compare_exchange_strong_explicit(&decider, &who, me,
						    memory_order_acquire,
						    memory_order_acquire))
		decide();
	else if (who == me)
		/* A malloc with locks of its own, under dlsym: this call is
		 * libc's, whose mutex is good for both. */
		return false;
	/* acquire: pairs with the release in decide. No two threads may differ
	 * over an object, so the others wait. */
	while (atomic_load_explicit(&locks_mode, memory_order_acquire) ==
	       LOCKS_UNDECIDED)
		sys_call(SYS_sched_yield);
	return gate_ours;
}

uint32_t locks_id_slow(void)
{
	struct coro *me = self();

	if (me && me->kind == CORO_KIND_CORO && !me->tp)
		/* Above the kernel's ids, and below 2^30, as in coro.c. */
		return 4194305 + (uint32_t)(me->id % (1000000000 - 4194305));
	return tls_private() ? (uint32_t)tls_tid(arch_tp_get()) :
			       (uint32_t)sys_gettid();
}

struct coro *locks_door(void)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct coro *me;

	/* A thread that cannot get a descriptor for want of memory waits for
	 * memory, as it would wait for the lock. */
	for (int i = 0; i < 10000; i++) {
		me = door_in();
		if (likely(me != NULL))
			return me;
		sys_call(SYS_nanosleep, &ms, NULL);
	}
	cogo_throw("no memory for the descriptor of a thread that has to wait");
}

void locks_interrupted(struct coro *me)
{
	uint32_t doors = me->in_runtime;
	bool restart;

	/* As in gate_interrupted, with every door open. */
	me->in_runtime = 0;
	signal_deliver(me, &restart);
	/* But one that is to end at any moment does, here too. */
	if (cancel_wanted(me) &&
	    (atomic_load_explicit(&me->cancel, memory_order_relaxed) &
	     CANCEL_ASYNC))
		cancel_act(me);
	me->in_runtime = doors;
}

static cogo_time in_ns(const struct timespec *t)
{
	if (t->tv_sec < 0)
		return 0;
	if (t->tv_sec >= COGO_FOREVER / SECOND)
		return COGO_FOREVER - 1;
	return (cogo_time)t->tv_sec * SECOND + t->tv_nsec;
}

/* Until it is time, by the clock it is of. */
static cogo_time left(const struct locks_until *u)
{
	struct timespec now;

	clock_gettime(u->clock, &now);
	return in_ns(u->abstime) - in_ns(&now);
}

cogo_time locks_deadline(const struct locks_until *u)
{
	cogo_time span;

	if (!u->abstime)
		return COGO_FOREVER;
	if (u->clock == CLOCK_MONOTONIC)
		return in_ns(u->abstime);
	span = left(u);
	return sys_now() + (span < LOCKS_RECHECK ? span : LOCKS_RECHECK);
}

bool locks_time_is_up(const struct locks_until *u)
{
	return u->clock == CLOCK_MONOTONIC || left(u) <= 0;
}
