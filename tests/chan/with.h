/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* with.h - a test with coroutines in it.
 *
 *	with(2);		the runtime, on two workers
 *	c = go(fn, arg);	a coroutine; the object lasts for the whole test
 *	until_waits(c);		until it has parked and stays so
 *	join_all();		until all have ended
 *
 * What a test says must not depend on who is faster: where one has to wait for
 * another, the test looks whether it does. */
#ifndef TESTS_CHAN_WITH_H
#define TESTS_CHAN_WITH_H

#include "../unit/unit.h"
#include "base/conf.h"
#include "base/lock.h"
#include "base/sys.h"
#include "boot.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/cancel.h"
#include "go.h"
#include "sched/park.h"
#include <pthread.h>

#define UNTIL (sys_now() + UNIT_CAP_SECONDS * COGO_SEC)

static _Atomic int with_running;

struct with_start {
	void (*fn)(void *);
	void *arg;
};

static inline int with_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

static inline void with(int workers)
{
	static const struct boot_real real = { .start_thread = with_thread };

	boot_use(&real);
	boot_load();
	conf.workers = workers;
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	check_eq(boot_start(), 0);
}

static inline void with_begin(void *arg)
{
	struct with_start s = *(struct with_start *)arg;

	free(arg);
	s.fn(s.arg);
	with_running--;
}

static inline struct coro *go(void (*fn)(void *), void *arg)
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct with_start *s = malloc(sizeof(*s));
	struct coro *me = self(), *c;

	*s = (struct with_start){ fn, arg };
	with_running++;
	door_enter(me);
	check_eq(go_make(&attr, with_begin, s, &c), 0);
	go_ref(c);
	go_ready(c);
	door_leave(me);
	return c;
}

static inline void join_all(void)
{
	wait_until(with_running == 0);
}

/* Off its stack, and nobody has claimed its wait. */
static inline bool waits(struct coro *c)
{
	uint32_t s = atomic_load(&c->state);

	return (s == CORO_PARKED || s == CORO_ASLEEP) &&
	       wait_result(c) == WAIT_OPEN;
}

static inline void until_waits(struct coro *c)
{
	wait_until(waits(c));
}

static inline bool over(struct coro *c)
{
	uint32_t s = atomic_load(&c->state);

	return s == CORO_DONE || s == CORO_FREE;
}

static inline void yield(void)
{
	struct coro *me = self();

	door_enter(me);
	park_yield(me);
	door_leave(me);
}

static inline void cancel(struct coro *c)
{
	struct coro *me = self();

	door_enter(me);
	cancel_request(c);
	door_leave(me);
}

#endif
