/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/preload.c - coming to life inside somebody else's program. */
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include "hook/thread/thread.h"
#include "mem/slab.h"
#include "runtime/call.h"	/* hook/ has one of that name */
#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <pthread.h>
#include <signal.h>

/* Kernel threads of the runtime's: every signal blocked, since what arrives is
 * meant for the program's threads, and a stack that is small, since all they
 * run is the loop, and what is called on it for libc's sake (on_worker). */
#define WORKER_STACK (256 << 10)

/* libc's own: the smallest stack that a thread may have, with the thread-local
 * storage that it takes out of it. NULL: it does not tell. */
static size_t (*smallest_stack)(const pthread_attr_t *attr);

/* Those that somebody may have to wait for. */
struct runner {
	struct runner *next;		/* slab link, or of all that are */
	pthread_t thread;
};
static struct slab runners = SLAB_INIT(struct runner, next);
static struct lock running_lock;
static struct runner *running;		/* under running_lock */

static void remember(pthread_t t)
{
	struct runner *r = slab_get(&runners);

	if (!r) {
		REAL(pthread_detach)(t);
		return;
	}
	r->thread = t;
	lock(&running_lock);
	r->next = running;
	running = r;
	unlock(&running_lock);
}

static int start_thread(void *(*entry)(void *), void *arg)
{
	uint64_t all = ~(uint64_t)0 & ~((uint64_t)3 << 31), before;
	pthread_attr_t attr;
	pthread_t t;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK + (smallest_stack ?
							smallest_stack(&attr) : 0));
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	r = REAL(pthread_create)(&t, &attr, entry, arg);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	pthread_attr_destroy(&attr);
	if (r == 0)
		remember(t);
	return -r;
}

static void join_threads(void)
{
	struct runner *r;

	while ((r = running)) {
		running = r->next;
		REAL(pthread_join)(r->thread, NULL);
		slab_put(&runners, r);
	}
}

/* It may be so quick that nobody has remembered it yet: then it is remembered
 * for good, which is a few bytes. */
static void thread_leaves(void)
{
	pthread_t me = REAL(pthread_self)();
	struct runner **at, *r;

	lock(&running_lock);
	for (at = &running; (r = *at) && r->thread != me; at = &r->next)
		;
	if (r)
		*at = r->next;
	unlock(&running_lock);
	if (r) {
		REAL(pthread_detach)(me);
		slab_put(&runners, r);
	}
}

static struct boot_real lent = {
	.start_thread = start_thread,
	.join_threads = join_threads,
	.thread_leaves = thread_leaves,
	.thread_ends = thread_ends,
};

/* The one constructor that does anything to others: in which order several would
 * run is the linker's choice, and the other way round where it optimises. */
__attribute__((constructor)) void gate_come_to_life(void)
{
	static bool begun;

	/* Nobody else is there the first time, and what is called here may come
	 * back. */
	if (begun)
		return;
	begun = true;
	real_load();
	*(void **)&smallest_stack = dlsym(RTLD_DEFAULT, "__pthread_get_minstack");
	lent.clone = REAL(clone);
	lent.thread_exit = REAL(pthread_exit);
	lent.abort = REAL(abort);
	boot_use(&lent);
	call_use(REAL(dlopen));
	cancel_load();
	boot_load();
	gate_load();
	locale_load();
	thread_watch_ends();
	/* As early as can be: before the program has threads. */
	locks_decide();
	kernel_load();
	exec_load();
	if (!gate_ours)
		return;
	if (sys_gettid() == sys_getpid())
		self_or_adopt();	/* main */
	if (gate_threads())
		thread_load();
}
