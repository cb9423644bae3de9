/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/worker.h - a kernel thread that runs coroutines.
 *
 * There are as many slots as the process shall keep processors busy; a worker
 * runs coroutines while it holds one. A worker that blocks in the kernel, or
 * computes without end, loses its slot to another and goes on with what it
 * does; when it comes back to a scheduling point and finds no slot free, it
 * joins the spares. Nothing else is taken from it, and nothing it has is out
 * of the others' reach: they steal from its queue, run its timers, poll.
 *
 * A kernel thread that ever ran a coroutine does not exit (PR_SET_PDEATHSIG and
 * io_uring requests of its coroutines would fire with it), but for those that a
 * coroutine has kept for itself, in numbers: see worker_retire. */
#ifndef COGO_SCHED_WORKER_H
#define COGO_SCHED_WORKER_H

#include "base/lock.h"
#include "coro/coro.h"
#include "sched/runq.h"

#define WORKERS_MAX 4096

/* What a worker knows of the lock that it waits for most: see crowd.c. */
struct crowd {
	const void *what;	/* compared only: it may be gone */
	uint64_t since, waited;	/* the last look; by arch_cycles */
	uint64_t done;		/* then */
	uint32_t waits;		/* since then */
	uint32_t stays, next_stay;	/* looks without trying again */
	bool leaves, napped;	/* it shall; it has */
	uint64_t span, did;	/* of the look that said so, and meanwhile */
	cogo_time nap;
};

struct worker {
	/* Owner only. */
	struct coro *root;	/* the thread's own stack and storage */
	struct coro *parted;	/* whoever just left its stack … */
	enum parting parting;	/* … and what to do for it */
	uint32_t picks;		/* coroutines run: who looks for a stuck worker
				 * compares it */
	uint32_t looked;	/* picks, when it last looked at what is
				 * everybody's */
	bool moved_on;		/* since then somebody has waited, or ended, and not
				 * just yielded */
	uint32_t idle_looks;	/* looks that found so, since it last yielded to the
				 * kernel for that … */
	uint32_t idle_looks_due;	/* … and after how many it does again */
	uint32_t index;
	uint64_t kernel_mask;	/* the thread's signal mask */
	cogo_time moment;	/* by arch_cycles, when it last looked for work, or
				 * was looked at: some milliseconds old at most
				 * while it has its slot */
	long (*call)(void *);	/* on_worker's */
	void *call_arg;
	long call_result;

	struct coro_stock stock;	/* owner: and who runs on it */

	struct runq runq CACHE_ALIGN;

	_Atomic bool slot CACHE_ALIGN;	/* whoever swaps it to false owns it */
	_Atomic bool idle;	/* on the list of idle workers */
	_Atomic bool away;	/* owner writes: asleep for want of work, or of
				 * a slot; not stuck */
	_Atomic uint32_t doze;	/* futex: 1 asleep */
	_Atomic(struct coro *) current;	/* for those who look in */
	bool kept;		/* owner: see block_keep */
	bool has_children;	/* owner: made while this thread was current */
	struct worker *next;	/* idle or spare list; under sched.lock */
	bool spinning;		/* owner; set by a waker before it wakes us */
	cogo_time nap;		/* owner: as the watcher, how long it sleeps */
	cogo_time told;		/* owner: when it was told of one event, of which it
				 * has not noted yet how long that took; or 0 */
	struct crowd crowd;	/* owner */
	uint32_t watched;	/* picks, as the watcher last saw them */
	int tid;
	/* The monitor's notes. */
	uint32_t seen_picks;
	cogo_time seen_cpu;
	cogo_time still_cpu;
	unsigned still;
	/* A hand-off that it noticed and that lasts: since when, 0: none. */
	_Atomic cogo_time noticed;

	/* Owner writes, and others read. A move: a coroutine that last ran on
	 * another worker. A nap: it left a crowd. */
	_Atomic uint64_t switches, steals, moves, naps, cedes;
};

struct sched {
	uint32_t target;		/* slots in all */
	_Atomic int32_t slots;		/* free ones */
	_Atomic uint32_t nidle, nspare, spinning;
	_Atomic uint32_t napping;	/* workers that have left a crowd */
	_Atomic uint32_t nglobal;
	_Atomic(struct worker *) poller;	/* waits for events now */
	_Atomic cogo_time poller_deadline;
	_Atomic cogo_time last_poll;
	_Atomic uint64_t brief_cycles;	/* what a hand-off that does not last takes at
					 * most, by arch_cycles; 0: not known yet */
	_Atomic(struct worker *) watcher;	/* looks at others' next slots, and
						 * stands by for the poller */
	_Atomic uint32_t briefly;	/* how sure it is that who is told of an event
					 * is back soon: see loop.c */

	/* For fault/signal.c: what main blocks; what a coroutine may have left
	 * open that main blocks; and where to say so, a futex. */
	_Atomic uint64_t main_mask, left_open;
	_Atomic uint32_t router_word;

	struct lock lock CACHE_ALIGN;
	struct worker *idle, *spare;	/* under lock */
	struct coro_list global;	/* under lock */

	_Atomic uint32_t threads;	/* kernel threads made for the runtime, that
					 * have not ended */
	_Atomic uint32_t stopping;	/* all of them shall; a futex */
	_Atomic uint32_t nworkers;	/* … that ever were; some are gone */
	_Atomic uint32_t gone;		/* whose places are free again */
	_Atomic(struct worker *) workers[WORKERS_MAX];
	bool migrate;			/* nobody stays where it is: for tests */
};
extern struct sched sched;

/* One more, in a counter that only the caller writes. */
static inline void worker_count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter,
			      atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Makes a kernel thread that runs entry(w). Set from boot.c. stuck: all others may
 * be, so it must not need the program's malloc (sched/bare.h); else it is one that
 * libc knows, made by pthread_create. 0 or -errno. */
typedef int (*worker_start_fn)(void *(*entry)(void *), void *arg, bool stuck);
void worker_use(worker_start_fn start);

/* One more worker, holding a slot if `slot`, else a spare; `stuck` as above.
 * Never on a coroutine. 0 or -errno. */
int worker_add(bool slot, bool stuck);
int worker_start_thread(void *(*entry)(void *), void *arg);
/* One that runs nothing but the runtime, and without which the program would be
 * the worse for ever: one that libc does not know will do, where libc has no
 * memory for it just then. */
int worker_start_surely(void *(*entry)(void *), void *arg);

/* The coroutine that had w to itself is no more, and w is fit for nobody else:
 * it sleeps for good, or ends if there are many like it. When this returns, the
 * kernel thread shall end. Owner only. */
void worker_retire(struct worker *w);

static inline bool sched_stopping(void)
{
	/* seq_cst: whoever goes to sleep has said so before it looks here, and
	 * sched_stop wakes all who have said so after it was set. */
	return unlikely(atomic_load_explicit(&sched.stopping,
					     memory_order_seq_cst));
}

/* No coroutine is left, and none will be made: all workers end. Returns when every
 * kernel thread of the runtime has left its entry; `poke` is called until then, to
 * wake those that are no workers. sched_rest, when they are gone altogether: as if
 * there had been none. */
void sched_stop(void (*poke)(void));
void sched_rest(void);
/* A kernel thread of the runtime is about to end: its last touch of sched. */
void sched_thread_ends(void);

/* In the child of a fork: no worker, no work. */
void sched_fork_child(void);

/* Sleeps until worker_wake. Owner only. */
void worker_doze(struct worker *w, cogo_time deadline);
void worker_wake(struct worker *w);

#endif
