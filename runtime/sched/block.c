/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/block.c - leaving the worker's slot to others.
 *
 * Whoever swaps a worker's slot from true to false owns it: the worker itself
 * when it declares that it blocks, the monitor when it sees that it is stuck.
 * Coming back takes a free slot if there is one; if not, the coroutine runs on
 * without, for one turn more than there should be runners, and its worker
 * becomes a spare at the next scheduling point. */
#include "sched/block.h"
#include "arch/tp.h"
#include "base/lock.h"
#include "base/sys.h"
#include "sched/loop.h"
#include <string.h>

static struct block_stats stats;	/* under stats_lock */
static struct lock stats_lock;
static _Atomic uint64_t declared;

static void leave_slot(struct worker *w)
{
	if (atomic_exchange_explicit(&w->slot, false, memory_order_acq_rel))
		loop_give_slot();
}

static void want_slot(struct worker *w)
{
	if (!atomic_load_explicit(&w->slot, memory_order_relaxed) &&
	    loop_take_slot())
		atomic_store_explicit(&w->slot, true, memory_order_release);
}

void block_enter(struct coro *me, enum why why)
{
	if (me->bound)
		return;
	me->why = why;
	me->since = (cogo_time)arch_cycles();
	atomic_fetch_add_explicit(&declared, 1, memory_order_relaxed);
	leave_slot(me->worker);
}

void block_exit(struct coro *me)
{
	if (me->bound)
		return;
	me->why = WHY_NOTHING;
	me->fd = -1;
	want_slot(me->worker);
}

void block_bind(struct coro *me)
{
	if (me->bound++ == 0) {
		me->tid = me->worker->tid;
		leave_slot(me->worker);
	}
}

void block_unbind(struct coro *me)
{
	if (--me->bound == 0) {
		me->tid = 0;
		want_slot(me->worker);
	}
}

long on_worker(struct coro *me, long (*fn)(void *), void *arg)
{
	struct worker *w = me->worker;
	long r;

	if (!w || me->kind != CORO_KIND_CORO)
		return fn(arg);
	/* Kept on this worker: what fn begins on a kernel thread, it ends
	 * there. */
	me->bound++;
	w->call = fn;
	w->call_arg = arg;
	loop_switch(w, me, w->root, PARTING_CALL);
	r = me->worker->call_result;
	me->bound--;
	return r;
}

void block_note(struct coro *c, cogo_time lasted)
{
	lock(&stats_lock);
	stats.noticed++;
	if ((uint64_t)lasted > stats.longest_ns) {
		stats.longest_ns = (uint64_t)lasted;
		stats.longest_id = c ? c->id : 0;
	}
	unlock(&stats_lock);
}

void block_get_stats(struct block_stats *ret)
{
	lock(&stats_lock);
	*ret = stats;
	unlock(&stats_lock);
	ret->declared = atomic_load_explicit(&declared, memory_order_relaxed);
}
