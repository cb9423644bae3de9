/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/worker.c - a kernel thread that runs coroutines. */
#include "sched/worker.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "sched/loop.h"
#include <errno.h>

struct sched sched;
static worker_start_fn start_thread;

void worker_use(worker_start_fn start)
{
	start_thread = start;
}

int worker_start_thread(void *(*entry)(void *), void *arg)
{
	int r = start_thread(entry, arg);

	if (r == 0)
		atomic_fetch_add_explicit(&sched.threads, 1, memory_order_relaxed);
	return r;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	w->root = coro_adopt(CORO_KIND_ROOT);
	if (!w->root)
		cogo_throw("no memory for a worker");
	w->root->worker = w;
	w->root->in_runtime = 1;	/* its own stack is all runtime */
	w->tid = sys_gettid();
	/* Everything but faults is blocked until a coroutine's mask comes. */
	w->kernel_mask = ~(uint64_t)0 & ~((uint64_t)3 << 31);
	loop(w);
	return NULL;
}

int worker_add(bool slot)
{
	uint32_t i;
	struct worker *w = sys_map(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	i = atomic_fetch_add_explicit(&sched.nworkers, 1, memory_order_relaxed);
	if (i >= WORKERS_MAX) {
		r = -EAGAIN;
		goto take_back;
	}
	w->index = i;
	atomic_store_explicit(&w->slot, slot, memory_order_relaxed);
	/* release: whoever walks the workers finds this one whole. */
	atomic_store_explicit(&sched.workers[i], w, memory_order_release);
	r = worker_start_thread(worker_main, w);
	if (r == 0)
		return 0;
	/* Nobody runs it: it stays listed, with an empty queue and no slot. */
	atomic_store_explicit(&w->slot, false, memory_order_relaxed);
	return r;
take_back:
	atomic_fetch_sub_explicit(&sched.nworkers, 1, memory_order_relaxed);
	sys_unmap(w, sizeof(*w));
	return r;
}

void worker_doze(struct worker *w, cogo_time deadline)
{
	while (atomic_load_explicit(&w->doze, memory_order_acquire) == 1)
		if (sys_futex_wait(&w->doze, 1, deadline) == -ETIMEDOUT)
			break;
}

void worker_wake(struct worker *w)
{
	/* release: pairs with the acquire in worker_doze. */
	atomic_store_explicit(&w->doze, 0, memory_order_release);
	sys_futex_wake(&w->doze, 1);
}

void sched_fork_child(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_relaxed);

	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++)
		atomic_store_explicit(&sched.workers[i], NULL,
				      memory_order_relaxed);
	atomic_store_explicit(&sched.threads, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nworkers, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.slots, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nidle, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nspare, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.spinning, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nglobal, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.poller, NULL, memory_order_relaxed);
	sched.idle = sched.spare = NULL;
	sched.global = (struct coro_list){ 0 };
}
