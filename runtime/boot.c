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
#include "mem/stack.h"
#include "mem/tls.h"
#include "sched/monitor.h"
#include "sched/worker.h"
#include "wait/lot.h"
#include <errno.h>
#include <unistd.h>

static _Atomic bool loaded, running;
static struct lock start_lock;

void boot_use(const struct boot_real *use)
{
	worker_use(use->start_thread);
}

static void complain(const struct conf_error *e)
{
	char text[256];

	conf_explain(e, false, text, sizeof(text));
	cogo_warn("%s", text);
}

void boot_load(void)
{
	lock(&start_lock);
	if (!atomic_load_explicit(&loaded, memory_order_relaxed)) {
		conf_parse(&conf, environ, complain, NULL);
		arch_tp_init(conf.force & CONF_FORCE_ARCH_PRCTL);
		stack_init(conf.force & CONF_FORCE_NO_GUARD_INSTALL);
		tls_init(conf.force & CONF_FORCE_SHARED_TLS);
		coro_init();
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

static int start(void)
{
	int r;

	sched.target = count_workers();
	atomic_store_explicit(&sched.slots, 0, memory_order_relaxed);
	r = poller_start();
	if (r)
		return r;
	for (uint32_t i = 0; i < sched.target; i++) {
		r = worker_add(true);
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
	return 0;
stop_poller:
	poller_stop();
	return r;
}

int boot_start(void)
{
	int r = 0;

	if (likely(atomic_load_explicit(&running, memory_order_acquire)))
		return 0;
	boot_load();
	lock(&start_lock);
	if (!atomic_load_explicit(&running, memory_order_relaxed)) {
		r = start();
		if (r == 0)
			atomic_store_explicit(&running, true,
					      memory_order_release);
	}
	unlock(&start_lock);
	return r;
}

void boot_before_fork(void)
{
	lock(&start_lock);
	coro_fork_lock();
}

void boot_after_fork_parent(void)
{
	coro_fork_unlock();
	unlock(&start_lock);
}

void boot_after_fork_child(void)
{
	struct coro *me = self();

	coro_fork_unlock();
	unlock(&start_lock);
	/* From the bottom up: nobody but us is left, and nobody waits. */
	coro_fork_child(me);
	timer_fork_child();
	poller_fork_child();
	sched_fork_child();
	monitor_fork_child();
	lot_fork_child();
	atomic_store_explicit(&running, false, memory_order_relaxed);
}
