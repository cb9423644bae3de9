/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/report.c - what is told on stderr because somebody asked.
 *
 * The handler of the dump signal does nothing but leave word; the reporter, a
 * kernel thread with every signal blocked, does the rest. What it sleeps on is
 * the monitor's news: so it also hears that the monitor has gone to sleep for
 * good, which is when a deadlock is worth looking for.
 *
 * A deadlock is told only when nothing can end it: every coroutine, and every
 * kernel thread of the program's, waits without a deadline for something that
 * another of them would have to do. So not one of these may be there:
 *
 * - somebody who runs, is about to, or is in the kernel by a call of its own;
 * - a wait for a descriptor, for time, a signal or a child;
 * - a kernel thread that is neither ours nor known to us;
 * - where the program handles signals, a wait for what a handler may bring
 *   about: a semaphore, a futex.
 *
 * Nobody is stopped for this. All of them are looked at twice, and if not one
 * wait has ended in between, there was a moment when all waited. */
#include "inspect/report.h"
#include "base/conf.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "event/poller.h"
#include "fault/signal.h"
#include "inspect/census.h"
#include "sched/block.h"
#include "sched/monitor.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND		1000000000ll
/* Beyond so many, a backtrace that has been told is told by reference. */
#define MANY		1000
#define SEEN		4096
/* So many stacks are measured for the summary; the rest are like them. */
#define SAMPLE		20000

static struct {
	int loaded;		/* the process that loaded us */
	_Atomic int process;	/* … in which the reporter runs, 0: none */
	_Atomic int tid;
	cogo_time began;
	_Atomic bool dump_wanted, summed_up;
	bool deadlock_told;
} rep;

/* ---- one after the other ------------------------------------------------- */

struct roll {
	struct name {
		uint64_t id;
		struct coro *coro;
	} *names;
	size_t n, room, coroutines;
	uint64_t seen_hash[SEEN], seen_id[SEEN];
	struct census_entry entry;
	char text[16384];
	size_t at;
};

static long enlist(struct coro *c, void *arg)
{
	struct roll *r = arg;
	uint32_t s = atomic_load_explicit(&c->state, memory_order_relaxed);

	if (s == CORO_FREE || s == CORO_DONE || c->kind == CORO_KIND_ROOT ||
	    r->n == r->room || (c->kind == CORO_KIND_THREAD && c->tid == rep.tid))
		return 0;
	r->names[r->n].id = c->id;
	r->names[r->n++].coro = c;
	r->coroutines += c->kind == CORO_KIND_CORO;
	return 0;
}

static void sift(struct name *a, size_t at, size_t n)
{
	struct name x = a[at];
	size_t child;

	for (; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && a[child + 1].id > a[child].id)
			child++;
		if (a[child].id <= x.id)
			break;
		a[at] = a[child];
	}
	a[at] = x;
}

/* qsort may call malloc, which whoever is looked at may hold. */
static void sort(struct name *a, size_t n)
{
	for (size_t i = n / 2; i-- > 0; )
		sift(a, i, n);
	while (n-- > 1) {
		struct name x = a[0];

		a[0] = a[n];
		a[n] = x;
		sift(a, 0, n);
	}
}

static long count(struct coro *c UNUSED, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

static struct roll *roll_new(void)
{
	struct roll *r = sys_map(sizeof(*r));
	size_t n = 0;

	if (!r)
		return NULL;
	coro_each(count, &n);
	r->room = n + n / 8 + 64;
	r->names = sys_map(r->room * sizeof(*r->names));
	if (!r->names) {
		sys_unmap(r, sizeof(*r));
		return NULL;
	}
	coro_each(enlist, r);
	sort(r->names, r->n);
	return r;
}

static void roll_free(struct roll *r)
{
	sys_unmap(r->names, r->room * sizeof(*r->names));
	sys_unmap(r, sizeof(*r));
}

static void say(struct roll *r, const char *fmt, ...) printf_like(2, 3);
static void say(struct roll *r, const char *fmt, ...)
{
	size_t room = sizeof(r->text) - r->at;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->text + r->at, room, fmt, ap);
	va_end(ap);
	r->at += n < (int)room ? (size_t)n : room - 1;
}

/* What is told of one coroutine leaves in one piece. */
static void utter(struct roll *r)
{
	sys_write_all(2, r->text, r->at);
	r->at = 0;
}

struct owner {
	int tid;
	struct coro *coro;
};

static long has_tid(struct coro *c, void *arg)
{
	struct owner *o = arg;

	if (c->vtid != o->tid || c->kind == CORO_KIND_ROOT ||
	    atomic_load_explicit(&c->state, memory_order_relaxed) == CORO_FREE)
		return 0;
	o->coro = c;
	return 1;
}

/* Who holds the mutex that somebody waits for: libc's own words for it. */
static void say_owner(struct roll *r, const void *mutex)
{
	const char *at = (const char *)mutex +
			 offsetof(pthread_mutex_t, __data.__owner);
	struct owner o = { 0 };
	uintptr_t word;

	if (!backtrace_peek(at, &word))
		return;
	o.tid = (int)(uint32_t)word;
	if (o.tid && coro_each(has_tid, &o))
		say(r, ", held by %s %llu",
		    o.coro->kind == CORO_KIND_CORO ? "coroutine" : "thread",
		    (unsigned long long)o.coro->id);
}

/* The id of who was told of first with these frames, or 0. */
static uint64_t seen_before(struct roll *r, const struct census_entry *e)
{
	uint64_t h = 14695981039346656037ull;
	size_t slot;

	for (int i = 0; i < e->trace.depth; i++)
		h = (h ^ e->trace.pc[i] ^ ((uint64_t)e->trace.times[i] << 48)) *
		    1099511628211ull;
	slot = h % SEEN;
	if (r->seen_id[slot] && r->seen_hash[slot] == h)
		return r->seen_id[slot];
	r->seen_hash[slot] = h;
	r->seen_id[slot] = e->id;
	return 0;
}

static void tell_one(struct roll *r, struct coro *c)
{
	struct census_entry *e = &r->entry;
	enum census_result how = census_take(c, true, e);
	char size[32], deep[32], touched[32];
	uint64_t as;

	if (how == CENSUS_OWED)
		ready_new(c);
	if (how == CENSUS_NOBODY)
		return;
	if (e->state == CORO_RUNNING && !e->bound && e->worker)
		e->tid = e->worker->tid;
	if (e->state == CORO_RUNNING && e->tid && !e->trace.depth)
		census_walk_thread(e, e->tid);
	say(r, "%s %llu", e->kind == CORO_KIND_CORO ? "coroutine" : "thread",
	    (unsigned long long)e->id);
	if (*e->name)
		say(r, " \"%s\"", e->name);
	say(r, ": ");
	r->at += census_sentence(e, r->text + r->at, sizeof(r->text) - r->at);
	if (e->what && e->why == WHY_MUTEX && r->n <= MANY)
		say_owner(r, e->what);
	if (e->stack_asked) {
		say(r, "; stack %s", census_bytes(e->stack_asked, size));
		if (e->stack_deep)
			say(r, ", %s deep", census_bytes(e->stack_deep, deep));
		say(r, ", %s of memory",
		    census_bytes(e->stack_touched, touched));
	}
	say(r, "\n");
	as = r->n > MANY && e->trace.depth ? seen_before(r, e) : 0;
	if (as)
		say(r, "    as coroutine %llu\n", (unsigned long long)as);
	else if (e->trace.depth)
		r->at += backtrace_print(&e->trace, r->text + r->at,
					 sizeof(r->text) - r->at);
	utter(r);
}

static void tell_all(void)
{
	struct roll *r = roll_new();
	size_t threads;

	if (!r) {
		cogo_warn("no memory to list the coroutines");
		return;
	}
	threads = r->n - r->coroutines;
	backtrace_begin_report();
	say(r, "cogo: %s, process %d: %zu coroutine%s and %zu thread%s, "
	    "backtraces by %s\n", program_invocation_short_name, sys_getpid(),
	    r->coroutines, r->coroutines == 1 ? "" : "s", threads,
	    threads == 1 ? "" : "s", backtrace_method());
	utter(r);
	for (size_t i = 0; i < r->n; i++)
		/* Gone, or somebody else by now. */
		if (r->names[i].coro->id == r->names[i].id)
			tell_one(r, r->names[i].coro);
	say(r, "cogo: that was all\n");
	utter(r);
	roll_free(r);
}

/* ---- deadlock ------------------------------------------------------------ */

enum verdict { DEADLOCK, NOT_NOW, NEVER_MIND };

struct look {
	bool handlers;		/* the program handles signals */
	enum verdict verdict;
	uint64_t sum;		/* of all claim words */
	uint32_t waiting, threads;
};

static bool handles_signals(void)
{
	/* Faults are not what ends a wait. */
	const sigbits faults = SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) |
			       SIGBIT(SIGFPE) | SIGBIT(SIGILL) |
			       SIGBIT(SIGTRAP) | SIGBIT(SIGABRT) |
			       SIGBIT(SIGSYS) | SIGBIT(SIGPIPE) |
			       SIGBIT(SIGKILL) | SIGBIT(SIGSTOP) | SIG_OURS;
	struct signal_action act;

	for (int sig = 1; sig <= 64; sig++) {
		if (faults & SIGBIT(sig))
			continue;
		signal_get_action(sig, &act);
		if (act.handler != SIG_DFL && act.handler != SIG_IGN)
			return true;
	}
	return false;
}

static bool another_can_end(uint32_t why, bool handlers)
{
	switch (why) {
	case WHY_MUTEX:
	case WHY_COND:
	case WHY_RWLOCK:
	case WHY_BARRIER:
	case WHY_ONCE:
	case WHY_JOIN:
		return true;
	case WHY_SEM:
	case WHY_FUTEX:
	case WHY_PAUSE:
	case WHY_SEND:
	case WHY_RECV:
	case WHY_WAITGROUP:
	case WHY_LATCH:
		return !handlers;
	default:
		return false;
	}
}

static long look_at(struct coro *c, void *arg)
{
	struct look *l = arg;
	struct census_entry e;

	if (census_take(c, false, &e) == CENSUS_NOBODY)
		return 0;
	if (e.kind == CORO_KIND_THREAD) {
		/* The reporter itself; one that ended unseen. */
		if (e.tid == rep.tid ||
		    sys_call(SYS_tgkill, sys_getpid(), e.tid, 0) == -ESRCH)
			return 0;
		l->threads++;
	}
	if (e.state == CORO_HELD)	/* by the trimmer */
		e.state = CORO_PARKED;
	/* That may change without the monitor's hearing of it: a thread of the
	 * program's comes out of the kernel. */
	if (e.state != CORO_PARKED || e.deadline != COGO_FOREVER) {
		l->verdict = NOT_NOW;
		return 1;
	}
	if (e.fd >= 0 || !another_can_end(e.why, l->handlers)) {
		l->verdict = NEVER_MIND;
		return 1;
	}
	l->sum += (e.wait ^ e.id) * 0x9e3779b97f4a7c15ull;
	l->waiting++;
	return 0;
}

/* A number of /proc/self/status, or 0. */
static uint64_t status(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool strangers(const struct look *l)
{
	char text[4096];
	uint64_t threads;

	if (sys_read_file("/proc/self/status", text, sizeof(text)) <= 0)
		return true;
	threads = status(text, "\nThreads:");
	return threads != l->threads +
		atomic_load_explicit(&sched.threads, memory_order_relaxed);
}

static enum verdict judge(void)
{
	struct look first = { .handlers = handles_signals() }, again = first;

	coro_each(look_at, &first);
	if (first.verdict != DEADLOCK)
		return first.verdict;
	if (strangers(&first))
		return NOT_NOW;
	coro_each(look_at, &again);
	if (again.verdict != DEADLOCK || again.sum != first.sum ||
	    again.waiting != first.waiting)
		return NOT_NOW;
	return first.waiting ? DEADLOCK : NEVER_MIND;
}

/* How long to sleep before the next look. */
static cogo_time look_for_deadlock(void)
{
	enum verdict v;

	if (rep.deadlock_told || !monitor_asleep())
		return COGO_FOREVER;
	v = judge();
	if (v == DEADLOCK) {
		rep.deadlock_told = true;
		cogo_warn("deadlock: nothing is left to run, and nothing to "
			  "wait for");
		tell_all();
	}
	return v == NOT_NOW ? sys_now() + SECOND : COGO_FOREVER;
}

/* ---- the reporter -------------------------------------------------------- */

static void *reporter(void *arg UNUSED)
{
	cogo_time until;
	uint32_t seen;

	atomic_store_explicit(&rep.tid, sys_gettid(), memory_order_relaxed);
	while (!sched_stopping()) {
		seen = atomic_load_explicit(&monitor_news, memory_order_acquire);
		if (atomic_exchange_explicit(&rep.dump_wanted, false,
					     memory_order_acquire))
			tell_all();
		until = look_for_deadlock();
		sys_futex_wait(&monitor_news, seen, until);
	}
	return NULL;
}

/* On whatever thread, in whatever state. */
static void on_dump(int sig UNUSED, siginfo_t *info UNUSED, void *uctx UNUSED)
{
	static const char none[] = "cogo: no coroutines in this process\n";

	if (atomic_load_explicit(&rep.process, memory_order_relaxed) !=
	    sys_getpid()) {
		sys_write_all(2, none, sizeof(none) - 1);
		return;
	}
	atomic_store_explicit(&rep.dump_wanted, true, memory_order_release);
	atomic_fetch_add_explicit(&monitor_news, 1, memory_order_release);
	sys_futex_wake(&monitor_news, 1);
}

void report_load(void)
{
	static char taken[96];
	int r;

	rep.loaded = sys_getpid();
	rep.began = sys_now();
	if (conf.stats || conf.dump)
		census_init();
	if (!conf.dump)
		return;
	snprintf(taken, sizeof(taken), "the program uses signal %d itself: "
		 "--dump has no effect any more; give it another", conf.dump);
	r = signal_own(conf.dump, on_dump, taken);
	if (r)
		cogo_warn("signal %d is in use: --dump has no effect", conf.dump);
}

int report_start(void)
{
	int r;

	if (!conf.stats && !conf.dump)
		return 0;
	backtrace_open();
	if (conf.stats)
		block_watch();
	atomic_store_explicit(&rep.process, sys_getpid(), memory_order_relaxed);
	r = worker_start_thread(reporter, NULL);
	if (r)
		atomic_store_explicit(&rep.process, 0, memory_order_relaxed);
	return r;
}

void report_fork_child(void)
{
	atomic_store_explicit(&rep.process, 0, memory_order_relaxed);
	atomic_store_explicit(&rep.tid, 0, memory_order_relaxed);
	atomic_store_explicit(&rep.dump_wanted, false, memory_order_relaxed);
	rep.deadlock_told = false;
	rep.began = sys_now();
	block_fork_child();
}

/* ---- the summary --------------------------------------------------------- */

/* It is given once, by whoever ends the program, who may have little stack:
 * what is large is not on it. */

struct stacks {
	uint64_t n, measured, touched, reserved;
};

static long add_stack(struct coro *c, void *arg)
{
	struct stacks *s = arg;

	if (!c->stack.pool)
		return 0;
	s->n++;
	s->reserved += (uint64_t)(c->stack.top - c->stack.low);
	if (s->measured < SAMPLE) {
		s->measured++;
		s->touched += census_touched(&c->stack);
	}
	return 0;
}

/* What of hook/names.def (AWAY, BINDS) came to pass. */
static void tell_kinds(const struct block_stats *b)
{
	for (uint32_t i = 0; i < WHY_COUNT; i++)
		if (b->declared[i])
			report("    %llu wait%s %s\n",
			       (unsigned long long)b->declared[i],
			       b->declared[i] == 1 ? "" : "s", why_text(i));
}

static void tell_bound(const struct block_stats *b)
{
	if (!b->bound)
		return;
	report("  bound           %llu time%s to a kernel thread, %llu for "
	       "good\n", (unsigned long long)b->bound,
	       b->bound == 1 ? "" : "s", (unsigned long long)b->kept);
}

static void tell_handoffs(void)
{
	static struct block_stats b;
	static char text[4096];
	uint64_t declared = 0;
	char time[32];

	block_get_stats(&b);
	for (uint32_t i = 0; i < WHY_COUNT; i++)
		declared += b.declared[i];
	report("  hand-offs       %llu declared, %llu noticed\n",
	       (unsigned long long)declared, (unsigned long long)b.noticed);
	tell_kinds(&b);
	tell_bound(&b);
	if (!b.longest.lasted)
		return;
	report("  the longest     %s, %s, by coroutine %llu%s%s%s\n",
	       census_time(b.longest.lasted, time),
	       b.longest.declared ? "declared" : "noticed",
	       (unsigned long long)b.longest.id,
	       *b.longest.name ? " \"" : "", b.longest.name,
	       *b.longest.name ? "\"" : "");
	if (!b.longest.trace.depth) {
		report("    (it computed, or was already back when looked at)\n");
		return;
	}
	backtrace_print(&b.longest.trace, text, sizeof(text));
	sys_write_all(2, text, strlen(text));
}

static void tell_kernel_threads(const char *text)
{
	report("  kernel threads  %llu now; cogo made %u, of which %u are "
	       "workers: %u wanted at once, %u spare\n",
	       (unsigned long long)status(text, "\nThreads:"),
	       atomic_load_explicit(&sched.threads, memory_order_relaxed),
	       atomic_load_explicit(&sched.nworkers, memory_order_relaxed),
	       sched.target,
	       atomic_load_explicit(&sched.nspare, memory_order_relaxed));
}

static void tell_memory(const char *text)
{
	struct stacks s = { 0 };
	char now[32], most[32], tables[32], touched[32], reserved[32];

	coro_each(add_stack, &s);
	if (s.measured)
		s.touched = s.touched / s.measured * s.n;
	report("  memory          %s now, %s at most; page tables %s; "
	       "%s in %llu stack%s, %s reserved\n",
	       census_bytes(status(text, "\nVmRSS:") * 1024, now),
	       census_bytes(status(text, "\nVmHWM:") * 1024, most),
	       census_bytes(status(text, "\nVmPTE:") * 1024, tables),
	       census_bytes(s.touched, touched), (unsigned long long)s.n,
	       s.n == 1 ? "" : "s", census_bytes(s.reserved, reserved));
}

static void sum_up(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_relaxed);
	uint64_t switches = 0, steals = 0, moves = 0, naps = 0, cedes = 0;
	static char text[4096];
	char time[32];

	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);
		if (!w)
			continue;
		switches += atomic_load_explicit(&w->switches,
						 memory_order_relaxed);
		steals += atomic_load_explicit(&w->steals, memory_order_relaxed);
		moves += atomic_load_explicit(&w->moves, memory_order_relaxed);
		naps += atomic_load_explicit(&w->naps, memory_order_relaxed);
		cedes += atomic_load_explicit(&w->cedes, memory_order_relaxed);
	}
	if (sys_read_file("/proc/self/status", text, sizeof(text)) <= 0)
		*text = 0;
	report("cogo: %s, process %d, after %s:\n",
	       program_invocation_short_name, sys_getpid(),
	       census_time(sys_now() - rep.began, time));
	report("  coroutines      %llu made, %u at most at once, %u left\n",
	       (unsigned long long)coro_made(), coro_peak(), coro_live());
	report("  switches        %llu\n", (unsigned long long)switches);
	report("  steals          %llu\n", (unsigned long long)steals);
	report("  moves           %llu\n", (unsigned long long)moves);
	/* sched_yield, by workers whose coroutines did nothing else. */
	if (cedes)
		report("  processor ceded %llu\n", (unsigned long long)cedes);
	/* Of workers that waited for locks more than they worked. */
	if (naps)
		report("  crowds left     %llu\n", (unsigned long long)naps);
	report("  poller          %s\n", poller_name() ? poller_name() : "none");
	tell_handoffs();
	tell_kernel_threads(text);
	tell_memory(text);
}

void report_at_exit(void)
{
	int pid = sys_getpid();

	/* A child that was forked and never made a thread, or a vfork's that
	 * runs in our memory, has nothing to tell: its parent will. */
	if (!conf.stats || conf.disable ||
	    (pid != rep.loaded && pid != rep.process))
		return;
	if (atomic_exchange_explicit(&rep.summed_up, true, memory_order_relaxed))
		return;
	/* One that somebody else started, a shell's commands say, is heard of
	 * if it had threads; one that is linked with us, if it made coroutines. */
	if (coro_made())
		sum_up();
	else if (conf.run && pid == conf.process)
		report("cogo: %s, process %d, made no threads\n",
		       program_invocation_short_name, pid);
}
