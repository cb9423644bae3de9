/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/worker.c - a kernel thread that runs coroutines. */
#include "sched/worker.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "mem/tls.h"
#include "sched/loop.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

/* Kernel threads that sleep for good because each is different; more of them
 * end. */
#define RETIRED_MOST 64

struct sched sched;
static worker_start_fn start_thread;

void worker_use(worker_start_fn start)
{
	start_thread = start;
}

static int start(void *(*entry)(void *), void *arg, bool stuck)
{
	int r = start_thread(entry, arg, stuck);

	if (r == 0)
		atomic_fetch_add_explicit(&sched.threads, 1, memory_order_relaxed);
	return r;
}

int worker_start_thread(void *(*entry)(void *), void *arg)
{
	return start(entry, arg, false);
}

int worker_start_surely(void *(*entry)(void *), void *arg)
{
	int r = start(entry, arg, false);

	return r ? start(entry, arg, true) : 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	tls_learn();
	w->root = coro_adopt(CORO_KIND_ROOT);
	if (!w->root)
		cogo_throw("no memory for a worker");
	w->root->worker = w;
	coro_stock_begin(&w->stock);
	w->root->stock = &w->stock;
	w->root->in_runtime = 1;	/* its own stack is all runtime */
	write_once(w->tid, sys_gettid());
	/* Everything but faults is blocked until a coroutine's mask comes. */
	w->kernel_mask = ~(uint64_t)0 & ~((uint64_t)3 << 31);
	loop(w);
	coro_put_thread(w->root);
	return NULL;
}

/* The place of a worker that is gone, for w. */
static bool take_place(struct worker *w)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);

	if (!atomic_load_explicit(&sched.gone, memory_order_relaxed))
		return false;
	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++) {
		struct worker *nobody = NULL;

		w->index = i;
		/* release: whoever walks the workers finds this one whole. */
		if (atomic_compare_exchange_strong_explicit(
			    &sched.workers[i], &nobody, w, memory_order_release,
			    memory_order_relaxed)) {
			atomic_fetch_sub_explicit(&sched.gone, 1,
						  memory_order_relaxed);
			return true;
		}
	}
	return false;
}

static bool make_place(struct worker *w)
{
	w->index = atomic_fetch_add_explicit(&sched.nworkers, 1,
					     memory_order_relaxed);
	if (w->index >= WORKERS_MAX) {
		atomic_fetch_sub_explicit(&sched.nworkers, 1,
					  memory_order_relaxed);
		return false;
	}
	/* release: as above. */
	atomic_store_explicit(&sched.workers[w->index], w, memory_order_release);
	return true;
}

/* One that no kernel thread could be had for. Whoever walked the workers then
 * may be looking at it yet, so it is kept for the next. */
static _Atomic(struct worker *) unborn;

int worker_add(bool slot, bool stuck)
{
	struct worker *w = atomic_exchange_explicit(&unborn, NULL,
						    memory_order_acq_rel);
	int r;

	if (!w)
		w = sys_map(sizeof(*w));
	if (!w)
		return -ENOMEM;
	atomic_store_explicit(&w->slot, slot, memory_order_relaxed);
	r = -EAGAIN;
	if (!take_place(w) && !make_place(w))
		goto keep;
	r = start(worker_main, w, stuck);
	if (r == 0)
		return 0;
	/* Its place is the next one's, or whoever asks again and again while no
	 * thread is to be had would use them all up. */
	atomic_store_explicit(&sched.workers[w->index], NULL,
			      memory_order_release);
	atomic_fetch_add_explicit(&sched.gone, 1, memory_order_relaxed);
keep:
	atomic_store_explicit(&w->slot, false, memory_order_relaxed);
	/* release: the next finds it as we leave it. */
	atomic_store_explicit(&unborn, w, memory_order_release);
	return r;
}

void worker_retire(struct worker *w)
{
	static _Atomic uint32_t asleep;
	uint64_t all = ~(uint64_t)0 & ~((uint64_t)3 << 31);

	/* What arrives is for the program's threads. */
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(all));
	/* A child that asked for a signal when its parent ends has the kernel
	 * thread that forked for its parent. */
	if (w->has_children ||
	    atomic_fetch_add_explicit(&asleep, 1, memory_order_relaxed) <
		    RETIRED_MOST)
		while (!sched_stopping())
			sys_futex_wait(&sched.stopping, 0, COGO_FOREVER);
	coro_stock_end(&w->stock);
	atomic_store_explicit(&w->current, NULL, memory_order_relaxed);
	write_once(w->tid, 0);
	/* Its memory stays: somebody may be looking at it. */
	atomic_store_explicit(&sched.workers[w->index], NULL,
			      memory_order_release);
	atomic_fetch_add_explicit(&sched.gone, 1, memory_order_relaxed);
}

void worker_doze(struct worker *w, cogo_time deadline)
{
	while (atomic_load_explicit(&w->doze, memory_order_acquire) == 1 &&
	       !sched_stopping())
		if (sys_futex_wait(&w->doze, 1, deadline) == -ETIMEDOUT)
			break;
}

void worker_wake(struct worker *w)
{
	/* release: pairs with the acquire in worker_doze. */
	atomic_store_explicit(&w->doze, 0, memory_order_release);
	sys_futex_wake(&w->doze, 1);
}

void sched_thread_ends(void)
{
	/* release: who sees it gone sees all it did. */
	atomic_fetch_sub_explicit(&sched.threads, 1, memory_order_release);
}

void sched_stop(void (*poke)(void))
{
	struct timespec brief = { 0, 200000 };

	atomic_store_explicit(&sched.stopping, 1, memory_order_seq_cst);
	sys_futex_wake(&sched.stopping, INT32_MAX);
	while (atomic_load_explicit(&sched.threads, memory_order_acquire)) {
		uint32_t n = atomic_load_explicit(&sched.nworkers,
						  memory_order_acquire);

		for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++) {
			struct worker *w = atomic_load_explicit(
				&sched.workers[i], memory_order_acquire);

			if (w)
				worker_wake(w);
		}
		poke();
		sys_call(SYS_nanosleep, &brief, NULL);
	}
}

void sched_rest(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_relaxed);

	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_relaxed);
		if (!w)
			continue;
		coro_stock_end(&w->stock);
		sys_unmap(w, sizeof(*w));
	}
	sched_fork_child();
	atomic_store_explicit(&sched.stopping, 0, memory_order_relaxed);
}

void sched_fork_child(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_relaxed);

	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++)
		atomic_store_explicit(&sched.workers[i], NULL,
				      memory_order_relaxed);
	atomic_store_explicit(&sched.threads, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nworkers, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.gone, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.slots, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nidle, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nspare, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.napping, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.spinning, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.nglobal, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.poller, NULL, memory_order_relaxed);
	atomic_store_explicit(&sched.watcher, NULL, memory_order_relaxed);
	sched.idle = sched.spare = NULL;
	sched.global = (struct coro_list){ 0 };
}
