/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* world.h - a runtime to try the objects in, and who uses them.
 *
 *	begin()			starts it, with UNIT_WORKERS workers
 *	t = go(fn, arg)		a coroutine; fn may be left by a panic
 *	t = spawn(fn, arg)	the same on a kernel thread of its own
 *	either(i, fn, arg)	now the one, now the other
 *	until_parked(t)		it waits for something; nothing here waits but
 *				in what is tried
 *	cancel(t), join(t)
 *	panic()			leaves the coroutine, as a panic does
 *	defer(&d, fn, arg)	and runs this on the way; done(&d) takes it back
 *
 * The coroutines begin and end as those of the native API do: under a base, and
 * with their local values destroyed. */
#ifndef TESTS_SYNC_WORLD_H
#define TESTS_SYNC_WORLD_H

#include "../unit/unit.h"
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "cogo/sync.h"
#include "coro/local.h"
#include "coro/self.h"
#include "fault/cancel.h"
#include "fault/unwind.h"
#include "go.h"
#include "sched/park.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#define SOON (sys_now() + COGO_MS)

struct task {
	void (*fn)(void *);
	void *arg;
	struct coro *_Atomic coro;
	pthread_t thread;
	bool is_thread;
	enum unwind_why why;	/* how it ended */
	_Atomic bool over;
};

static void begin_task(struct task *t)
{
	struct coro *me = self();
	struct unwind u;

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0)
		t->fn(t->arg);
	t->why = u.why;
	unwind_end(me, &u);
	local_end(me);
	t->over = true;
}

static inline void begin_coroutine(void *arg)
{
	begin_task(arg);
}

static inline void *begin_thread(void *arg)
{
	struct task *t = arg;
	struct coro *me = coro_adopt(CORO_KIND_THREAD);

	check(me != NULL);
	t->coro = me;
	t->fn(t->arg);
	t->over = true;
	return NULL;	/* and with it end its values */
}

static inline struct task *task_new(void (*fn)(void *), void *arg)
{
	struct task *t = calloc(1, sizeof(*t));

	check(t != NULL);
	t->fn = fn;
	t->arg = arg;
	return t;
}

static inline struct task *go(void (*fn)(void *), void *arg)
{
	const struct coro_attr attr = { .stack_size = 128 << 10,
					.guard_size = PAGE_SIZE };
	struct task *t = task_new(fn, arg);
	struct coro *c;

	check_eq(go_make(&attr, begin_coroutine, t, &c), 0);
	go_ref(c);
	t->coro = c;
	go_ready(c);
	return t;
}

static inline struct task *spawn(void (*fn)(void *), void *arg)
{
	struct task *t = task_new(fn, arg);

	t->is_thread = true;
	check_eq(pthread_create(&t->thread, NULL, begin_thread, t), 0);
	wait_until(t->coro != NULL);
	return t;
}

static inline struct task *either(int i, void (*fn)(void *), void *arg)
{
	return i % 3 == 2 ? spawn(fn, arg) : go(fn, arg);
}

static inline void until_parked(struct task *t)
{
	/* Off its stack, or in its futex; but not to begin with. */
	wait_until(t->coro->state == CORO_PARKED || t->coro->state == CORO_ASLEEP ||
		   t->coro->state == CORO_HELD);
}

static inline void cancel(struct task *t)
{
	struct coro *me = door_in();

	check(cancel_request(t->coro));
	door_leave(me);
}

static inline void join(struct task *t)
{
	wait_until(t->over);
	if (t->is_thread)
		pthread_join(t->thread, NULL);
}

static inline void defer(struct cogo_deferred *d, void (*fn)(void *), void *arg)
{
	struct unwind *u = self()->unwind;

	*d = (struct cogo_deferred){ fn, arg, u->deferred };
	u->deferred = d;
}

static inline void done(struct cogo_deferred *d)
{
	self()->unwind->deferred = d->prev;
}

/* Nothing that a compiler can see does not return: before such a call a
 * sanitizer would ask libc about a stack that is not libc's. */
static void (*volatile leave_by)(struct coro *, enum unwind_why) = unwind;

static inline void leave(enum unwind_why why)
{
	leave_by(self(), why);
}

static inline void panic(void)
{
	leave(UNWIND_PANIC);
}

static inline void yield(void)
{
	struct coro *me = self();

	door_enter(me);
	park_yield(me);
	door_leave(me);
}

/* Declared nowhere any more; libc has them all the same. */
void _pthread_cleanup_push(struct _pthread_cleanup_buffer *,
			   void (*)(void *), void *);
void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *, int);

static int start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

static inline void begin(void)
{
	static const struct boot_real real = { .start_thread = start_thread };
	static struct unwind_libc lent;

	lent = (struct unwind_libc){ _pthread_cleanup_push,
				     _pthread_cleanup_pop, siglongjmp, dlopen,
				     abort };
#if SANITIZE_ADDRESS
	/* A sanitizer's would ask libc about a stack that is not libc's. */
	*(void **)&lent.jump = dlsym(dlopen("libc.so.6", RTLD_NOW), "siglongjmp");
#endif
	unwind_use(&lent);
	boot_use(&real);
	boot_load();
	conf.workers = (int)unit_setting("UNIT_WORKERS", 2);
	check(self_or_adopt() != NULL);
	check_eq(boot_start(), 0);
}

#endif
