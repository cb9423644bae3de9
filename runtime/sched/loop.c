/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/loop.c - what a worker does.
 *
 * Coroutines switch straight to one another; a worker's own stack is entered
 * only when its queue is empty, when it has lost its slot, and every
 * LOOP_LOOK_AROUND picks, so that timers, descriptors and the queue for everybody
 * are served however busy the worker's own is.
 *
 * L1  between two switches w->parting belongs to whoever arrives; the arriver
 *     finishes it before anything else.
 * L2  a coroutine that is being parted from is RUNNING, and nobody else moves it
 *     on before the arriver has finished: a claimer that comes
 *     earlier leaves WAKING, and the arriver queues the coroutine (it is off
 *     its stack by then).
 * L3  a worker on the idle list has looked at every queue after it was listed;
 *     see ready.c for the other half. */
#include "sched/loop.h"
#include "arch/context.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "event/poller.h"
#include "event/timer.h"
#include "sched/block.h"
#include "sched/clock.h"
#include "sched/monitor.h"
#include "sched/ready.h"
#include <errno.h>
#include <signal.h>

#ifndef STEAL_ROUNDS	/* fewer where every order of steps is tried */
#define STEAL_ROUNDS	3
#endif
#define RESCUE_LOOKS	16
#define MIGRATE_LOOKS	64
/* About how long a coroutine stays in its worker's next slot before thieves
 * may have it: its partner will most likely run it at once. */
#define NEXT_PAUSE	150	/* turns of arch_relax */

static void finish_park(struct worker *w, struct coro *c)
{
	uint32_t s = CORO_RUNNING;

	/* release: who claims it finds its stack and registers saved. */
	if (atomic_compare_exchange_strong_explicit(
		    &c->state, &s, CORO_PARKED, memory_order_release,
		    memory_order_acquire))
		return;
	invariant(s == CORO_WAKING);
	atomic_store_explicit(&c->state, CORO_READY, memory_order_relaxed);
	ready_last(w, c);
}

static void finish_exit(struct coro *c)
{
	/* release: whoever drops the last reference sees it all. */
	atomic_store_explicit(&c->state, CORO_DONE, memory_order_release);
	if (coro_last_ref(&c->refs))
		coro_put(c);
}

/* Whether both have the storage of the worker that they run on. */
static inline bool same_storage(const struct coro *a, const struct coro *b)
{
	return (!a->tp || a->kind == CORO_KIND_ROOT) &&
	       (!b->tp || b->kind == CORO_KIND_ROOT);
}

void loop_arrive(struct coro *me)
{
	struct worker *w = me->worker;
	struct coro *c = w->parted;
	enum parting parting = w->parting;

	sanitize_arrive(&me->sanitize, &c->sanitize, same_storage(c, me),
			parting == PARTING_EXIT);
	/* Shared storage: the one word says who runs here now. */
	if (unlikely(!me->tp || me->kind == CORO_KIND_ROOT))
		self_arrive(me);
	if (parting == PARTING_CALL)
		return;
	w->parting = PARTING_NONE;
	switch (parting) {
	case PARTING_PARK:
		finish_park(w, c);
		break;
	case PARTING_YIELD:
		atomic_store_explicit(&c->state, CORO_READY, memory_order_release);
		ready_last(w, c);
		break;
	case PARTING_EXIT:
		finish_exit(c);
		break;
	default:
		break;
	}
}

void loop_mask_closes(uint64_t closed)
{
	uint64_t left = closed & atomic_load_explicit(&sched.main_mask,
						      memory_order_relaxed);

	if (likely(!(left & ~atomic_load_explicit(&sched.left_open,
						  memory_order_relaxed))))
		return;
	/* seq_cst: what is open before the word. */
	atomic_fetch_or_explicit(&sched.left_open, left, memory_order_seq_cst);
	atomic_fetch_add_explicit(&sched.router_word, 1, memory_order_release);
	sys_futex_wake(&sched.router_word, 1);
}

/* The kernel's mask is the coroutine's while it runs; most share one. */
static void set_mask(struct worker *w, uint64_t mask)
{
	/* 32 and 33 are libc's and the runtime's: never blocked. */
	if (likely(mask == w->kernel_mask))
		return;
	loop_mask_closes(mask & ~w->kernel_mask);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	w->kernel_mask = mask;
}

/* On its own stack: a mask that lets in what main blocks would take from the
 * kernel what perhaps nobody wants (fault/signal.c, G4). */
static void close_mask(struct worker *w)
{
	if (unlikely(atomic_load_explicit(&sched.main_mask, memory_order_relaxed) &
		     ~w->kernel_mask))
		set_mask(w, ~((uint64_t)3 << 31));
}

static void close_mask_asleep(struct worker *w)
{
	/* seq_cst: pairs with the exchange in main_mask_is. Either we see what
	 * main blocks, or it sees that we are away. */
	atomic_thread_fence(memory_order_seq_cst);
	close_mask(w);
}

void loop_switch(struct worker *w, struct coro *from, struct coro *to,
		 enum parting parting)
{
	uintptr_t tp;

	w->parted = from;
	w->parting = parting;
	atomic_store_explicit(&w->current, to, memory_order_relaxed);
	if (to->kind == CORO_KIND_CORO) {
		if (to->worker != w) {
			if (to->worker)
				worker_count(&w->moves);
			/* signal_kick glances at it. */
			write_once(to->worker, w);
			to->stock = &w->stock;
			if (unlikely(!to->sp))
				coro_begin(to);
		}
		write_once(to->trimmed, false);
		atomic_store_explicit(&to->state, CORO_RUNNING,
				      memory_order_relaxed);
		set_mask(w, to->sigmask);
	} else if (parting != PARTING_CALL) {
		close_mask(w);
	}
	clock_switch(from, to);
	if (unlikely(!from->tp))
		self_leave(from);
	tp = to->tp ? to->tp : w->root->tp;
	sanitize_leave(&from->sanitize, &to->sanitize, same_storage(from, to),
		       parting == PARTING_EXIT);
	arch_switch(&from->sp, to->sp, tp);
	loop_arrive(from);
}

struct coro *loop_pick(struct worker *w)
{
	write_once(w->picks, w->picks + 1);
	if (unlikely(!atomic_load_explicit(&w->slot, memory_order_relaxed)) ||
	    loop_look_due(w))
		return NULL;
	return runq_pop(&w->runq);
}

bool loop_take_slot(void)
{
	int32_t n = atomic_load_explicit(&sched.slots, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak_explicit(
			    &sched.slots, &n, n - 1, memory_order_acq_rel,
			    memory_order_relaxed))
			return true;
	return false;
}

bool loop_work_waits(void)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);

	if (atomic_load_explicit(&sched.nglobal, memory_order_relaxed))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);
		if (w && runq_length(&w->runq))
			return true;
	}
	return false;
}

void loop_give_slot(void)
{
	int32_t free = 1 + atomic_fetch_add_explicit(&sched.slots, 1,
						     memory_order_acq_rel);
	uint32_t idle;

	/* seq_cst: pairs with the fence in wake_worker. Either whoever makes
	 * work sees the slot, or we see the work. */
	atomic_thread_fence(memory_order_seq_cst);
	idle = atomic_load_explicit(&sched.nidle, memory_order_relaxed);
	/* Nobody with a slot runs, and nobody waits for events: somebody must,
	 * or readiness would go unnoticed until the monitor's next look. */
	if (loop_work_waits() ||
	    ((uint32_t)free + idle >= sched.target &&
	     !atomic_load_explicit(&sched.poller, memory_order_acquire)))
		wake_worker();
}

/* One of the first few that last ran elsewhere, or the first. Under the lock. */
static struct coro *take_stranger(struct worker *w)
{
	for (uint32_t i = 0; i < MIGRATE_LOOKS && i < sched.global.n; i++) {
		if (sched.global.head->worker != w)
			break;
		coro_list_push(&sched.global, coro_list_pop(&sched.global));
	}
	return coro_list_pop(&sched.global);
}

static struct coro *take_global(struct worker *w)
{
	struct coro *first, *c;
	uint32_t n, room;

	if (atomic_load_explicit(&sched.nglobal, memory_order_relaxed) == 0)
		return NULL;
	lock(&sched.lock);
	if (unlikely(sched.migrate)) {
		first = take_stranger(w);
		n = sched.global.n;
		atomic_store_explicit(&sched.nglobal, n, memory_order_relaxed);
		unlock(&sched.lock);
		return first;
	}
	first = coro_list_pop(&sched.global);
	/* A fair share, so that one worker does not take all. */
	n = sched.global.n / sched.target;
	if (n > RUNQ_SIZE / 4)
		n = RUNQ_SIZE / 4;
	/* It can only grow: nobody else puts any in. */
	room = RUNQ_SIZE - runq_waiting(&w->runq);
	if (n > room)
		n = room;
	while (n-- && (c = coro_list_pop(&sched.global)))
		invariant(runq_push(&w->runq, c));
	atomic_store_explicit(&sched.nglobal, sched.global.n,
			      memory_order_relaxed);
	unlock(&sched.lock);
	return first;
}

static struct coro *steal(struct worker *w)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	uint32_t start = w->picks + w->index;

	for (int round = 0; round < STEAL_ROUNDS; round++) {
		bool last = round == STEAL_ROUNDS - 1;

		for (uint32_t i = 0; i < n; i++) {
			struct worker *from = atomic_load_explicit(
				&sched.workers[(start + i) % n],
				memory_order_acquire);
			struct coro *c;

			if (!from || from == w || !runq_length(&from->runq))
				continue;
			if (last)
				for (int k = 0; k < NEXT_PAUSE; k++)
					arch_relax();
			c = runq_steal(&w->runq, &from->runq, last);
			if (c) {
				worker_count(&w->steals);
				return c;
			}
		}
	}
	return NULL;
}

/* What workers without a slot have on their queues: they block or compute, and
 * while all others have work of their own nobody steals from them. A few workers at
 * a time, since there may be many. */
static void rescue(struct worker *w)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	uint32_t start = w->picks / LOOP_LOOK_AROUND * RESCUE_LOOKS;

	for (uint32_t i = 0; i < RESCUE_LOOKS && i < n; i++) {
		struct worker *from = atomic_load_explicit(
			&sched.workers[(start + i) % n], memory_order_acquire);
		struct coro *c;

		if (!from || from == w || !runq_length(&from->runq) ||
		    atomic_load_explicit(&from->slot, memory_order_relaxed))
			continue;
		while ((c = runq_take(&from->runq)))
			ready_global(c);
	}
}

void loop_look_at_descriptors(cogo_time now, struct coro_list *due)
{
	atomic_store_explicit(&sched.last_poll, now, memory_order_relaxed);
	poller_poll(0, NULL, due);
	/* acquire: as whoever interrupted read it. */
	if (atomic_load_explicit(&sched.poller, memory_order_acquire))
		poller_interrupt();
}

/* Timers that are due, and descriptors unless somebody waits for them. */
static void look_around(void)
{
	struct coro_list due = { 0 };

	if (timer_first() != COGO_FOREVER)
		timer_run(sys_now(), &due);
	if (!atomic_load_explicit(&sched.poller, memory_order_relaxed) &&
	    poller_started())
		loop_look_at_descriptors(sys_now(), &due);
	else
		poller_submit();
	if (due.n)
		ready_all(&due);
}

static void stop_spinning(struct worker *w)
{
	if (!w->spinning)
		return;
	w->spinning = false;
	atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
}

/* No slot: sleeps among the spares until there is one. */
static void be_spare(struct worker *w)
{
	struct coro *c;

	block_noticed_end(w);
	poller_submit();
	if (loop_take_slot()) {
		atomic_store_explicit(&w->slot, true, memory_order_relaxed);
		return;
	}
	/* Not while we count as the one who searches: nobody else would. */
	stop_spinning(w);
	while ((c = runq_pop(&w->runq)))
		ready_global(c);
	wake_worker();
	coro_stock_empty(&w->stock);
	atomic_store_explicit(&w->away, true, memory_order_relaxed);
	close_mask_asleep(w);
	lock(&sched.lock);
	w->next = sched.spare;
	sched.spare = w;
	atomic_fetch_add_explicit(&sched.nspare, 1, memory_order_relaxed);
	unlock(&sched.lock);
	/* seq_cst: pairs with the fence in ready.c's start_spare. Who had taken
	 * a slot for a spare, before we were one, has given it back. */
	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(&sched.slots, memory_order_relaxed) > 0))
		wake_worker();
	for (;;) {
		/* seq_cst: whoever gives us a slot writes the slot and then the
		 * futex; we write the futex and then look for the slot. */
		atomic_exchange_explicit(&w->doze, 1, memory_order_seq_cst);
		if (atomic_load_explicit(&w->slot, memory_order_seq_cst) ||
		    sched_stopping())
			break;
		worker_doze(w, COGO_FOREVER);
	}
	atomic_store_explicit(&w->away, false, memory_order_relaxed);
}

static void leave_idle(struct worker *w)
{
	atomic_store_explicit(&w->away, false, memory_order_relaxed);
	lock(&sched.lock);
	if (atomic_load_explicit(&w->idle, memory_order_relaxed)) {
		for (struct worker **at = &sched.idle; *at; at = &(*at)->next)
			if (*at == w) {
				*at = w->next;
				break;
			}
		atomic_store_explicit(&w->idle, false, memory_order_relaxed);
		atomic_fetch_sub_explicit(&sched.nidle, 1, memory_order_relaxed);
	}
	unlock(&sched.lock);
}

/* Waits for events as the one who does. */
static void be_poller(struct worker *w)
{
	struct coro_list due = { 0 };
	cogo_time until = timer_first();

	atomic_store_explicit(&sched.poller_deadline, until, memory_order_relaxed);
	/* seq_cst: pairs with the fence in park.c. Either the one who arms a
	 * timer sees our deadline and interrupts us, or we see its timer. */
	atomic_thread_fence(memory_order_seq_cst);
	until = timer_first();
	if (atomic_load_explicit(&w->idle, memory_order_acquire))
		poller_poll(until, NULL, &due);
	atomic_store_explicit(&sched.poller, NULL, memory_order_release);
	leave_idle(w);
	if (until != COGO_FOREVER)
		timer_run(sys_now(), &due);
	monitor_activity();
	if (due.n)
		ready_all(&due);
}

static void go_idle(struct worker *w)
{
	struct worker *nobody = NULL;

	stop_spinning(w);
	atomic_store_explicit(&w->away, true, memory_order_relaxed);
	atomic_store_explicit(&w->doze, 1, memory_order_relaxed);
	lock(&sched.lock);
	w->next = sched.idle;
	sched.idle = w;
	atomic_store_explicit(&w->idle, true, memory_order_relaxed);
	atomic_fetch_add_explicit(&sched.nidle, 1, memory_order_relaxed);
	unlock(&sched.lock);
	/* Fences: pairs with the fence in ready.c's wake_worker (L3). */
	close_mask_asleep(w);
	if (loop_work_waits()) {
		leave_idle(w);
		return;
	}
	if (poller_started() &&
	    atomic_compare_exchange_strong_explicit(&sched.poller, &nobody, w,
						    memory_order_acq_rel,
						    memory_order_relaxed)) {
		be_poller(w);
		return;
	}
	worker_doze(w, COGO_FOREVER);
	leave_idle(w);
	monitor_activity();
}

static struct coro *find_work(struct worker *w)
{
	struct coro *c;

	for (;;) {
		if (sched_stopping())
			return NULL;
		if (!atomic_load_explicit(&w->slot, memory_order_acquire))
			be_spare(w);
		look_around();
		c = NULL;
		if (loop_look_due(w)) {
			w->looked = w->picks;
			rescue(w);
			c = take_global(w);
		}
		if (!c)
			c = runq_pop(&w->runq);
		if (!c)
			c = take_global(w);
		if (!c)
			c = steal(w);
		if (c)
			break;
		go_idle(w);
	}
	write_once(w->picks, w->picks + 1);
	if (w->spinning) {
		stop_spinning(w);
		/* seq_cst: as in loop_give_slot, of who seems to search. */
		atomic_thread_fence(memory_order_seq_cst);
		if (loop_work_waits())
			wake_worker();
	}
	return c;
}

void loop(struct worker *w)
{
	struct coro *c;

	while (likely(!w->kept)) {
		c = find_work(w);
		if (!c)
			return;
		loop_switch(w, w->root, c, PARTING_NONE);
		while (w->parting == PARTING_CALL) {
			c = w->parted;
			w->parting = PARTING_NONE;
			w->call_result = w->call(w->call_arg);
			write_once(w->call, NULL);
			loop_switch(w, w->root, c, PARTING_NONE);
		}
	}
	/* The coroutine that kept it has ended. */
	while ((c = runq_pop(&w->runq)))
		ready_global(c);
	wake_worker();
	worker_retire(w);
}
