/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* boot.c - start, stop, fork: the order of everything, on one page. */
#include "boot.h"
#include "arch/context.h"
#include "base/conf.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/coro.h"
#include "coro/self.h"
#include "event/poller.h"
#include "event/timer.h"
#include "fault/contain.h"
#include "fault/door.h"
#include "fault/overflow.h"
#include "fault/signal.h"
#include "go.h"
#include "inspect/backtrace.h"
#include "inspect/debug.h"
#include "inspect/report.h"
#include "mem/slab.h"
#include "mem/stack.h"
#include "mem/tls.h"
#include "sched/bare.h"
#include "sched/monitor.h"
#include "sched/worker.h"
#include "wait/lot.h"
#include "wait/native.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic bool conf_read, loaded, running;
/* A handler that forks takes it: so it is taken inside the runtime, where handlers wait,
 * or before there are any. */
static struct lock start_lock;
static int owner;	/* the process that runs; under start_lock */

/* A page that the kernel empties in the child of a fork, whoever forked and how: it
 * is asked in each call that makes a coroutine, instead of the kernel. Not 0: this
 * is the process that runs. NULL: the kernel has no such pages. */
static _Atomic uint32_t *mark;

/* A kernel thread of the runtime's on its way to its entry. */
struct departure {
	struct departure *next;		/* slab link */
	void *(*entry)(void *);
	void *arg;
	bool bare;			/* libc does not know it */
};
static struct slab departures = SLAB_INIT(struct departure, next);
static const struct boot_real *real;

static void *depart(void *arg)
{
	struct departure d = *(struct departure *)arg;

	slab_put(&departures, arg);
	overflow_thread_start();
	d.entry(d.arg);
	overflow_thread_end();
	/* One that ends by itself is waited for by nobody. */
	if (!d.bare && !sched_stopping() && real->thread_leaves)
		real->thread_leaves();
	sched_thread_ends();
	return NULL;
}

static int start_thread(void *(*entry)(void *), void *arg, bool stuck)
{
	struct departure *d = slab_get(&departures);
	int r = -ENOSYS;

	if (!d)
		return -ENOMEM;
	*d = (struct departure){ .entry = entry, .arg = arg, .bare = true };
	if (stuck)
		r = bare_start(depart, d);
	if (r == -ENOSYS) {
		d->bare = false;
		r = real->start_thread(depart, d);
	}
	if (r)
		slab_put(&departures, d);
	return r;
}

void boot_use(const struct boot_real *use)
{
	real = use;
	bare_use(use->clone);
	worker_use(start_thread);
	contain_use(go_fault);
	go_lent = (struct go_lent){ boot_start, use->thread_ends,
				    use->thread_exit, use->abort, boot_stop };
}

static void complain(const struct conf_error *e)
{
	char text[256];

	conf_explain(e, false, text, sizeof(text));
	cogo_warn("%s", text);
}

extern void *__libc_stack_end;	/* the loader's: where the kernel put argc */

/* What is in .preinit_array, a sanitizer's start among it, runs before libc has
 * taken note of the environment. It lies behind the arguments then. */
static char **environment(void)
{
	long *argc = __libc_stack_end;

	return environ ? environ : (char **)(argc + 1) + *argc + 1;
}

/* Caller holds start_lock. */
static void read_conf(void)
{
	if (atomic_load_explicit(&conf_read, memory_order_relaxed))
		return;
	conf_parse(&conf, environment(), complain, NULL);
	/* release: whoever finds it read finds all of it. */
	atomic_store_explicit(&conf_read, true, memory_order_release);
}

void boot_conf(void)
{
	if (likely(atomic_load_explicit(&conf_read, memory_order_acquire)))
		return;
	lock(&start_lock);
	read_conf();
	unlock(&start_lock);
}

void boot_load(void)
{
	if (likely(atomic_load_explicit(&loaded, memory_order_acquire)))
		return;
	lock(&start_lock);
	if (!atomic_load_explicit(&loaded, memory_order_relaxed)) {
		read_conf();
		arch_tp_init(conf.force & CONF_FORCE_ARCH_PRCTL);
		stack_init(conf.force & CONF_FORCE_NO_GUARD_INSTALL);
		tls_init(conf.force & CONF_FORCE_SHARED_TLS);
		coro_init();
		debug_init();
		report_load();
		/* release: whoever finds it loaded finds all of it. */
		atomic_store_explicit(&loaded, true, memory_order_release);
	}
	unlock(&start_lock);
}

bool boot_started(void)
{
	return atomic_load_explicit(&running, memory_order_acquire);
}

/* As many as the process may use, or as many as it asks for. */
static uint32_t count_workers(void)
{
	unsigned long mask[128] = { 0 };
	uint32_t n = 0;

	if (conf.workers)
		return (uint32_t)conf.workers;
	sys_call(SYS_sched_getaffinity, 0, sizeof(mask), mask);
	for (size_t i = 0; i < ARRAY_SIZE(mask); i++)
		n += (uint32_t)__builtin_popcountl(mask[i]);
	return n == 0 ? 1 : n > CONF_MAX_WORKERS ? CONF_MAX_WORKERS : n;
}

static void leave_mark(void)
{
	if (!mark) {
		mark = sys_map(PAGE_SIZE);
		if (mark && sys_call(SYS_madvise, mark, PAGE_SIZE,
				     MADV_WIPEONFORK)) {
			sys_unmap(mark, PAGE_SIZE);
			mark = NULL;
		}
	}
	owner = sys_getpid();
	if (mark)
		atomic_store_explicit(mark, 1, memory_order_relaxed);
}

/* A child of vfork has our memory, and is not us. */
static bool is_owner(void)
{
	struct coro *me = self();

	if (unlikely(me && me->vforked))
		return false;
	return mark ? atomic_load_explicit(mark, memory_order_relaxed)
		    : sys_getpid() == owner;
}

static int start(void)
{
	int r;

	overflow_start();
	r = bare_init();
	if (r && r != -ENOSYS)
		return r;
	/* Again: its constructors may have set it, as -ffast-math does. */
	arch_fp_note();
	sched.target = count_workers();
	sched.migrate = conf.force & CONF_FORCE_MIGRATE;
	atomic_store_explicit(&sched.slots, 0, memory_order_relaxed);
	poller_use(conf.poller == CONF_POLLER_IO_URING ? &poller_uring
						       : &poller_epoll);
	r = poller_start();
	if (r)
		return r;
	for (uint32_t i = 0; i < sched.target; i++) {
		r = worker_add(true, false);
		if (r && i == 0)
			goto stop_poller;
		if (r) {	/* fewer will do */
			sched.target = i;
			break;
		}
	}
	/* The slots go with the workers; without the monitor nothing stalls
	 * but what no hook sees. */
	r = monitor_start();
	if (r)
		cogo_warn("no kernel thread for the monitor: a call that blocks "
			  "unseen will block a worker");
	r = signal_start();
	if (r)
		cogo_warn("no kernel thread for signals: one that arrives inside "
			  "the runtime stays pending");
	r = report_start();
	if (r)
		cogo_warn("no kernel thread for reports: --dump and --stats are "
			  "without them");
	return 0;
stop_poller:
	poller_stop();
	return r;
}

static void begin_afresh(struct coro *me, bool libc_forked);

/* A process that was made by a bare system call, behind everybody's back: it
 * has our memory and none of our threads. */
static int come_to(void)
{
	struct coro *me = self();

	if (me && me->vforked)
		return -EAGAIN;	/* the memory is still the parent's */
	lock_fork_child();
	begin_afresh(me, false);
	return 0;
}

int boot_start(void)
{
	struct coro *me;
	int r = 0;

	if (likely(atomic_load_explicit(&running, memory_order_acquire))) {
		if (likely(is_owner()))
			return 0;
		r = come_to();
		if (r)
			return r;
	}
	boot_load();
	me = door_in();
	lock(&start_lock);
	if (!atomic_load_explicit(&running, memory_order_relaxed)) {
		leave_mark();
		r = start();
		if (r == 0)
			atomic_store_explicit(&running, true,
					      memory_order_release);
	}
	unlock(&start_lock);
	if (me)
		door_leave(me);
	return r;
}

static void poke(void)
{
	poller_interrupt();
	monitor_poke();
	signal_poke();
}

/* From the top down, the other way round than start. */
int boot_stop(void)
{
	struct coro *me = door_in();
	int r = 0;

	lock(&start_lock);
	if (!atomic_load_explicit(&running, memory_order_relaxed))
		goto out;
	if (coro_live()) {
		r = -EBUSY;
		goto out;
	}
	sched_stop(poke);
	if (real->join_threads)
		real->join_threads();
	bare_rest();
	sched_rest();
	poller_stop();
	timer_rest();
	coro_rest();
	report_fork_child();
	monitor_fork_child();
	atomic_store_explicit(&running, false, memory_order_release);
out:
	unlock(&start_lock);
	if (me)
		door_leave(me);
	return r;
}

void boot_before_fork(void)
{
	lock(&start_lock);
	coro_fork_lock();
	backtrace_fork_lock();
}

void boot_after_fork_parent(void)
{
	backtrace_fork_unlock();
	coro_fork_unlock();
	unlock(&start_lock);
}

/* From the bottom up: nobody but us is left, and nobody waits. */
static void begin_afresh(struct coro *me, bool libc_forked)
{
	struct worker *w = me ? me->worker : NULL;

	coro_fork_child(me, w && w->root ? w->root->tp : 0, libc_forked);
	timer_fork_child();
	poller_fork_child();
	sched_fork_child();
	bare_fork_child();
	monitor_fork_child();
	report_fork_child();
	lot_fork_child();
	native_fork_child(me);
	signal_fork_child();
	atomic_store_explicit(&running, false, memory_order_relaxed);
}

void boot_after_fork_child(struct coro *me, bool libc_forked)
{
	/* First: locks that others held are free from here on. */
	lock_fork_child();
	backtrace_fork_unlock();
	coro_fork_unlock();
	unlock(&start_lock);
	begin_afresh(me, libc_forked);
}
