/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/monitor.c - the one who notices.
 *
 * Stuck is a worker with a slot that has picked no coroutine since the last
 * look and has either used most of the time between, or sleeps in the kernel.
 * A worker that merely waits for a processor (on a busy or stolen machine) is
 * neither, and keeps its slot. */
#include "sched/monitor.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/hold.h"
#include "event/poller.h"
#include "event/timer.h"
#include "sched/block.h"
#include "sched/clock.h"
#include "sched/loop.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define QUIET_TICKS	10	/* without a worker that runs: it sleeps */
#define WALK_EVERY	1000000000	/* ns: over the parked */
#define WALKS_AFTER	2	/* once nothing runs: the last trims the last */
#define BRIEF_HANDOFF	(100 * COGO_US)	/* a wake beside it costs little */
#define MEASURED_WITHIN	(100 * MONITOR_TICK)	/* or the product overflows */
#define STILL_TICKS	5	/* without running at all: asleep */

static struct {
	_Atomic uint32_t word;		/* futex: bumped by whoever wants us */
	_Atomic uint32_t asleep;	/* until activity */
	_Atomic uint32_t wanted;	/* workers */
	_Atomic bool refused;		/* none could be had: we try at each tick, and
					 * need not be told */
	bool limit_said;
	_Atomic uint32_t tid;		/* or BEGINNING, a futex then; 0: none */
} monitor;

#define BEGINNING	UINT32_MAX

_Atomic uint32_t monitor_news;

static void poke(void)
{
	atomic_fetch_add_explicit(&monitor.word, 1, memory_order_release);
	sys_futex_wake(&monitor.word, 1);
}

void monitor_want_worker(void)
{
	if (atomic_exchange_explicit(&monitor.wanted, 1,
				     memory_order_acq_rel) == 0 &&
	    !atomic_load_explicit(&monitor.refused, memory_order_relaxed))
		poke();
}

void monitor_activity(void)
{
	/* seq_cst: pairs with the one in monitor_main. Either we see that it
	 * sleeps, or it sees that we do not. */
	atomic_thread_fence(memory_order_seq_cst);
	if (likely(!atomic_load_explicit(&monitor.asleep, memory_order_relaxed)))
		return;
	if (atomic_exchange_explicit(&monitor.asleep, 0, memory_order_acq_rel))
		poke();
}

bool monitor_asleep(void)
{
	return atomic_load_explicit(&monitor.asleep, memory_order_relaxed);
}

int monitor_tid(void)
{
	uint32_t tid;

	while ((tid = atomic_load_explicit(&monitor.tid, memory_order_relaxed)) ==
	       BEGINNING)
		sys_futex_wait(&monitor.tid, BEGINNING, COGO_FOREVER);
	return (int)tid;
}

static void begun_as(uint32_t tid)
{
	atomic_store_explicit(&monitor.tid, tid, memory_order_relaxed);
	sys_futex_wake(&monitor.tid, INT_MAX);
}

/* False: there can be none now. */
static bool make_one(void)
{
	if (atomic_load_explicit(&sched.nworkers, memory_order_relaxed) -
		    atomic_load_explicit(&sched.gone, memory_order_relaxed) >=
	    MONITOR_MOST_WORKERS) {
		if (!monitor.limit_said)
			cogo_warn("%d kernel threads are blocked at once, and "
				  "that is the limit: the rest waits",
				  MONITOR_MOST_WORKERS);
		monitor.limit_said = true;
		return false;
	}
	if (!loop_take_slot())
		return true;
	if (worker_add(true, true)) {
		atomic_fetch_add_explicit(&sched.slots, 1, memory_order_acq_rel);
		return false;
	}
	/* One spare ahead: the next hand-off then needs only a wake. */
	if (atomic_load_explicit(&sched.nspare, memory_order_relaxed) == 0)
		worker_add(false, true);
	return true;
}

static void make_wanted(void)
{
	bool refused = atomic_exchange_explicit(&monitor.wanted, 0,
						memory_order_acq_rel) &&
		       !make_one();

	atomic_store_explicit(&monitor.refused, refused, memory_order_relaxed);
}

/* Whether it sleeps in the kernel (S or D), by its own word; or, where there is
 * no /proc (after a chroot) or no descriptor left to read it with, by how long it
 * has not run at all. To take that for a sleep when it waits for a processor costs
 * a kernel thread, and no more. */
static bool sleeps(struct worker *w, int tid, cogo_time cpu, bool *ret_unseen)
{
	char path[64], buf[512], *p;

	*ret_unseen = false;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	if (sys_read_file(path, buf, sizeof(buf)) <= 0) {
		if (cpu != w->still_cpu) {
			w->still_cpu = cpu;
			w->still = 0;
		}
		return ++w->still >= STILL_TICKS;
	}
	p = strrchr(buf, ')');
	/* What it waits for uninterruptibly is a disk, as a rule. */
	*ret_unseen = p && p[2] == 'S';
	return p && (p[2] == 'S' || p[2] == 'D');
}

static void (*slept)(const struct coro *c);

void monitor_use(void (*use)(const struct coro *c))
{
	slept = use;
}

/* One worker; whether it made progress since the last look. */
static bool look_at(struct worker *w)
{
	uint32_t picks = read_once(w->picks);
	int tid = read_once(w->tid);
	struct coro *c = atomic_load_explicit(&w->current, memory_order_relaxed);
	bool unseen = false;
	cogo_time cpu, used;

	if (!atomic_load_explicit(&w->slot, memory_order_relaxed) ||
	    atomic_load_explicit(&w->away, memory_order_relaxed) || !tid)
		return false;
	write_once(w->moment, (cogo_time)arch_cycles());
	cpu = clock_of_tid(tid);
	used = cpu - w->seen_cpu;
	if (picks != w->seen_picks) {
		w->seen_picks = picks;
		w->seen_cpu = cpu;
		return true;
	}
	/* Nothing waits and somebody polls: let it keep what it has. Asked before
	 * whether it sleeps, which takes a descriptor of the program's for a
	 * moment: nearly never where nothing is behind it. */
	if (!loop_work_waits() &&
	    atomic_load_explicit(&sched.poller, memory_order_relaxed))
		return true;
	if (used < MONITOR_TICK / 2 && !sleeps(w, tid, cpu, &unseen))
		return true;
	/* Before it can be back, which is only without its slot. */
	atomic_store_explicit(&w->noticed, sys_now() - MONITOR_TICK,
			      memory_order_release);
	if (atomic_load_explicit(&w->away, memory_order_acquire) ||
	    !atomic_exchange_explicit(&w->slot, false, memory_order_acq_rel)) {
		atomic_store_explicit(&w->noticed, 0, memory_order_relaxed);
		return true;
	}
	block_noticed(w);
	if (unseen && c && slept)
		slept(c);
	loop_give_slot(true);
	return true;
}

static bool look_at_all(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	bool busy = false;

	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);
		if (w && look_at(w))
			busy = true;
	}
	return busy;
}

/* What a worker has taken, and then gone on to compute. Not what it is about to
 * submit: who submits is interrupted to go on with it. */
static void submit_forgotten(void)
{
	static uint32_t seen;
	uint32_t now = atomic_load_explicit(&poller_submissions,
					    memory_order_relaxed);

	if (now == seen)
		poller_submit();
	seen = now;
}

/* In nobody's place: when workers are busy with other things. */
static void serve(cogo_time now)
{
	struct coro_list due = { 0 };

	if (timer_first() <= now)
		timer_run(now, &due);
	if (poller_started() &&
	    !atomic_load_explicit(&sched.poller, memory_order_relaxed) &&
	    now - atomic_load_explicit(&sched.last_poll, memory_order_relaxed) >=
		    MONITOR_TICK)
		loop_look_at_descriptors(now, &due);
	else
		submit_forgotten();
	if (due.n)
		ready_all(&due);
}

/* Gives back the pages below the frames of a coroutine that has been parked
 * since before the last walk. */
static long trim(struct coro *c, void *arg)
{
	const cogo_time *before = arg;
	bool owed;

	if (read_once(c->kind) != CORO_KIND_CORO || read_once(c->trimmed) ||
	    read_once(c->since) >= *before ||
	    atomic_load_explicit(&c->state, memory_order_relaxed) != CORO_PARKED)
		return 0;
	if (hold(c, &owed)) {
		if (c->stack.pool) {
			stack_trim(coro_stack(c), c->sp);
			write_once(c->trimmed, true);
		}
		owed = hold_end(c);
	}
	if (owed)
		ready_new(c);
	return 0;
}

/* How many cycles are brief: since the last time, unless that was long ago. */
static void measure_cycles(cogo_time now)
{
	static cogo_time then;
	static uint64_t cycles_then;
	uint64_t cycles = arch_cycles();

	if (now > then && now - then < MEASURED_WITHIN)
		atomic_store_explicit(&sched.brief_cycles,
				      (cycles - cycles_then) * BRIEF_HANDOFF /
					      (uint64_t)(now - then),
				      memory_order_relaxed);
	then = now;
	cycles_then = cycles;
}

static void sleep_until(cogo_time until, uint32_t seen)
{
	if (until == COGO_FOREVER) {
		atomic_fetch_add_explicit(&monitor_news, 1, memory_order_release);
		sys_futex_wake(&monitor_news, 1);
	}
	sys_futex_wait(&monitor.word, seen, until);
}

static void *monitor_main(void *arg UNUSED)
{
	cogo_time now, walked = 0, walk, walk_at = sys_now() + WALK_EVERY;
	unsigned quiet = 0, walks = 0;
	uint32_t seen;

	begun_as((uint32_t)sys_gettid());
	while (!sched_stopping()) {
		seen = atomic_load_explicit(&monitor.word, memory_order_acquire);
		now = sys_now();
		measure_cycles(now);
		make_wanted();
		serve(now);
		quiet++;
		if (look_at_all())
			quiet = walks = 0;
		/* Nothing may wait while there is anybody to run it. */
		if (loop_work_waits()) {
			wake_worker();
			quiet = walks = 0;
		}
		if (now >= walk_at) {
			walk = (cogo_time)arch_cycles();
			coro_each(trim, &walked);
			walked = walk;
			walk_at = now + WALK_EVERY;
			walks++;
		}
		if (quiet > QUIET_TICKS &&
		    !atomic_load_explicit(&monitor.refused, memory_order_relaxed)) {
			/* Set first, looked at once more after: whoever runs
			 * between finds it set, and pokes. */
			atomic_store_explicit(&monitor.asleep, 1,
					      memory_order_relaxed);
			/* seq_cst: pairs with monitor_activity's. */
			atomic_thread_fence(memory_order_seq_cst);
			if (!look_at_all())
				sleep_until(walks < WALKS_AFTER ? walk_at :
								  COGO_FOREVER,
					    seen);
			atomic_store_explicit(&monitor.asleep, 0,
					      memory_order_relaxed);
			if (atomic_load_explicit(&monitor.word,
						 memory_order_acquire) != seen)
				quiet = walks = 0;
			continue;
		}
		sys_futex_wait(&monitor.word, seen, now + MONITOR_TICK);
	}
	return NULL;
}

void monitor_poke(void)
{
	atomic_fetch_add_explicit(&monitor.word, 1, memory_order_release);
	sys_futex_wake(&monitor.word, 1);
	atomic_fetch_add_explicit(&monitor_news, 1, memory_order_release);
	sys_futex_wake(&monitor_news, 1);
}

int monitor_start(void)
{
	int r;

	atomic_store_explicit(&monitor.tid, BEGINNING, memory_order_relaxed);
	r = worker_start_surely(monitor_main, NULL);
	if (r)
		begun_as(0);
	return r;
}

void monitor_fork_child(void)
{
	atomic_store_explicit(&monitor.wanted, 0, memory_order_relaxed);
	atomic_store_explicit(&monitor.refused, false, memory_order_relaxed);
	atomic_store_explicit(&monitor.asleep, 0, memory_order_relaxed);
	atomic_store_explicit(&monitor.tid, 0, memory_order_relaxed);
	monitor.limit_said = false;
}
