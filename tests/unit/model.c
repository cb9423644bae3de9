/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model.c - as little of a world as the scheduler needs to be explored. */
#include "model.h"
#include "arch/context.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "event/poller.h"
#include "event/timer.h"
#include "inspect/backtrace.h"
#include "inspect/census.h"
#include "mem/stack.h"
#include "mem/tls.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* The monitor's turns are static there. */
#include "sched/monitor.c"

struct model model;
void (*model_always)(void);

/* ---- base ---- */

void cogo_throw(const char *fmt, ...)
{
	static char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	explore_fail("the runtime", 0, text);
	for (;;)
		;
}

void cogo_warn(const char *fmt, ...)
{
	cogo_throw("no warning: %s", fmt);
}

cogo_time sys_now(void)
{
	return atomic_load_explicit(&model.now, memory_order_relaxed);
}

/* Whoever has slept until then. */
static void time_is(cogo_time then)
{
	if (sys_now() < then)
		atomic_store_explicit(&model.now, then, memory_order_relaxed);
}

int sys_futex_wait(_Atomic uint32_t *word, uint32_t value, cogo_time deadline)
{
	if (explore_wait(word, value, deadline != COGO_FOREVER))
		return 0;
	time_is(deadline);
	return -ETIMEDOUT;
}

int sys_futex_wake(_Atomic uint32_t *word, int n)
{
	return explore_wake(word, n);
}

void *sys_map(size_t size)
{
	return explore_alloc(size);
}

void sys_unmap(void *mem, size_t size)
{
	(void)mem;
	(void)size;
}

int sys_gettid(void)
{
	return 1;
}

/* /proc/self/task/.../stat */
long sys_read_file(const char *path, char *buf, size_t size)
{
	(void)path;
	return snprintf(buf, size, "1 (x) %c", model.stat_sleeps ? 'S' : 'R');
}

/* ---- coroutines ---- */

struct coro *self(void)
{
	return *explore_local();
}

void self_set(struct coro *c)
{
	*explore_local() = c;
}

/* There is no cache. */
void self_foresee(const struct coro *c)
{
	(void)c;
}

void self_leave(struct coro *me)
{
	(void)me;
}

void self_arrive(struct coro *me)
{
	self_set(me);
}

static struct coro *adopt(enum coro_kind kind)
{
	struct coro *c = &model.root[model.nroots++];

	explore_check(model.nroots <= MODEL_COROS);
	c->tp = arch_tp_get();
	c->bound = 1;
	c->kind = kind;
	c->id = 100u + (uint64_t)model.nroots;
	c->refs = 1;
	c->state = CORO_RUNNING;
	self_set(c);
	return c;
}

struct coro *coro_adopt(enum coro_kind kind)
{
	return adopt(kind);
}

struct coro *self_adopt(void)
{
	return adopt(CORO_KIND_THREAD);
}

struct coro *model_thread(void)
{
	return adopt(CORO_KIND_THREAD);
}

void coro_put_thread(struct coro *c)
{
	(void)c;
}

void coro_begin(struct coro *c)
{
	explore_check(c->sp != NULL);
}

void coro_put(struct coro *c)
{
	explore_check(c->state == CORO_DONE);
	c->state = CORO_FREE;
	model.done++;
}

void coro_stock_begin(struct coro_stock *stock)
{
	(void)stock;
}

void coro_stock_end(struct coro_stock *stock)
{
	(void)stock;
}

void coro_stock_empty(struct coro_stock *stock)
{
	(void)stock;
}

long coro_each(long (*fn)(struct coro *, void *), void *arg)
{
	for (int i = 0; i < model.ncoros; i++)
		fn(&model.coro[i], arg);
	return 0;
}

static void first_frame(void *arg)
{
	struct coro *me = arg;

	park_begin(me);
	((void (*)(struct coro *))me->user)(me);
	park_exit(me);
}

struct coro *model_coro(void (*fn)(struct coro *me))
{
	struct coro *c = &model.coro[model.ncoros++];

	explore_check(model.ncoros <= MODEL_COROS);
	c->kind = CORO_KIND_CORO;
	c->id = (uint64_t)model.ncoros;
	c->user = (void *)fn;
	c->refs = 1;
	/* As a worker has it: nothing is to be told to the kernel. */
	c->sigmask = ~(uint64_t)0 & ~((uint64_t)3 << 31);
	c->state = CORO_NEW;
	c->sp = arch_context_make(explore_stack(), first_frame, c);
	return c;
}

static void contexts(void (*it)(void *sp))
{
	for (int i = 0; i < model.ncoros; i++)
		if (model.coro[i].state != CORO_FREE &&
		    model.coro[i].state != CORO_DONE)
			it(model.coro[i].sp);
	for (int i = 0; i < model.nroots; i++)
		it(model.root[i].sp);
}

/* What is only counted for whoever looks in; and how events have been, unless that is
 * to count. */
static void blank(void)
{
	if (!model.brief)
		sched.briefly = 0;
	for (uint32_t i = 0; i < sched.nworkers; i++) {
		struct worker *w = sched.workers[i];

		if (!w)
			continue;
		w->switches = w->steals = w->moves = w->naps = w->cedes = 0;
		if (!model.brief)
			w->told = 0;
	}
	if (model_always)
		model_always();
}

/* ---- the poller ---- */

bool poller_started(void)
{
	return true;
}

static void poller_news(void)
{
	atomic_store_explicit(&model.poller_word, 1, memory_order_seq_cst);
	explore_wake(&model.poller_word, 1);
}

/* Nothing is ever taken. */
_Atomic uint32_t poller_taken, poller_submissions;

void poller_submit_taken(void)
{
}

void poller_interrupt(void)
{
	atomic_store_explicit(&model.interrupted, 1, memory_order_seq_cst);
	poller_news();
}

void model_event(void)
{
	atomic_store_explicit(&model.event, 1, memory_order_seq_cst);
	poller_news();
}

static int harvest(struct coro_list *ready)
{
	struct coro *c;
	int n = (int)atomic_exchange_explicit(&model.interrupted, 0,
					      memory_order_seq_cst);

	if (!atomic_exchange_explicit(&model.event, 0, memory_order_seq_cst))
		return n;
	c = model.waits_for_event;
	if (c && wait_claim(c, model.event_ticket, WAIT_WOKEN))
		coro_list_push(ready, c);
	return n + 1;
}

int poller_poll(cogo_time deadline, const uint64_t *sigmask,
		struct coro_list *ready)
{
	int n;

	(void)sigmask;
	if (deadline == 0)
		return harvest(ready);
	for (;;) {
		atomic_store_explicit(&model.poller_word, 0, memory_order_seq_cst);
		/* What is there is taken by whoever comes first, and then the
		 * other sleeps on. */
		n = harvest(ready);
		if (n || deadline <= sys_now())
			return n;
		if (!explore_wait(&model.poller_word, 0,
				  deadline != COGO_FOREVER)) {
			time_is(deadline);
			return 0;
		}
	}
}

/* ---- kernel threads ---- */

struct departure {
	void *(*entry)(void *);
	void *arg;
};

static void depart(void *arg)
{
	struct departure *d = arg;

	d->entry(d->arg);
}

static int start_thread(void *(*entry)(void *), void *arg, bool stuck)
{
	static const char *const names[] = { "worker 1", "worker 2", "worker 3",
					     "worker 4" };
	struct departure *d;

	(void)stuck;
	if (model.full)
		return -EAGAIN;
	d = explore_alloc(sizeof(*d));
	explore_check(model.nthreads < 4);
	d->entry = entry;
	d->arg = arg;
	explore_actor(names[model.nthreads++], depart, d);
	return 0;
}

void model_begin(uint32_t workers)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	explore_begin();
	explore_contexts = contexts;
	explore_blank = blank;
	/* The rest of them is never used. */
	explore_skip((void *)&sched.workers[8],
		     sizeof(sched.workers) - 8 * sizeof(sched.workers[0]));
	model.now = 1000;
	worker_use(start_thread);
	sched.target = workers;
	for (uint32_t i = 0; i < workers; i++)
		explore_check(worker_add(true, false) == 0);
	explore_settle();
}

void model_trim(void)
{
	cogo_time before = INT64_MAX;

	coro_each(trim, &before);
}

void model_look(void)
{
	for (uint32_t i = 0; i < sched.nworkers; i++)
		sched.workers[i]->seen_picks = sched.workers[i]->picks;
	look_at_all();
}

void model_serve(void)
{
	serve(2 * MONITOR_TICK);
}

/* As monitor_main does: the word before anything else. */
void model_make_wanted(void)
{
	uint32_t seen = atomic_load_explicit(&monitor.word, memory_order_acquire);

	make_wanted();
	explore_wait(&monitor.word, seen, false);
}

int model_explore(const char *name, void (*end)(void))
{
	return explore(name, end) ? 1 : 0;
}

/* ---- for those who look in ---- */

void census_init(void)
{
}

cogo_time census_since(uint64_t cycles)
{
	(void)cycles;
	return 0;
}

void backtrace_walk(const struct arch_regs *from, bool exact,
		    const struct stack *stack, struct backtrace *ret)
{
	(void)from;
	(void)exact;
	(void)stack;
	ret->depth = 0;
}

bool backtrace_walk_asleep(int tid, struct backtrace *ret)
{
	(void)tid;
	ret->depth = 0;
	return false;
}

/* Whoever trims has it to itself, whatever others do meanwhile. */
size_t stack_trim(const struct stack *s, const void *below)
{
	const struct coro *c = (const void *)((const char *)s -
					      offsetof(struct coro, stack));

	(void)below;
	for (int i = 0; i < 2; i++) {
		uint32_t state = atomic_load_explicit(&c->state,
						      memory_order_acquire);

		explore_check(state == CORO_HELD || state == CORO_HELD_WAKING);
	}
	return 0;
}

void tls_learn(void)
{
}
