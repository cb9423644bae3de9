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
 *     its stack by then). After the arriver's step somebody else may run it.
 * L3  a worker on the idle list has looked at every queue after it was listed;
 *     see ready.c for the other half. */
#include "sched/loop.h"
#include "arch/context.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "event/poller.h"
#include "event/timer.h"
#include "sched/block.h"
#include "sched/clock.h"
#include "sched/crowd.h"
#include "sched/monitor.h"
#include "sched/ready.h"
#include <errno.h>
#include <signal.h>

#ifndef STEAL_ROUNDS	/* fewer where every order of steps is tried */
#define STEAL_ROUNDS	3
#endif
#define RESCUE_LOOKS	16
#define MIGRATE_LOOKS	64
/* Between two looks at descriptors while others run: a system call each. */
#define LOOKS_APART	(20 * COGO_US)
/* While nobody does anything but yield: so many looks apart are yields to the kernel,
 * at most, and so long one takes in which another thread has run. */
#define CEDES_APART	31
#define CEDED		COGO_US
/* How long a watcher sleeps at a time, first, and when all goes on by itself. */
#define NAP_FIRST	(20 * COGO_US)
#define NAP_MOST	(200 * COGO_US)
/* Who is told of an event is back so soon, and the next comes so soon … */
#define BRIEF		(20 * COGO_US)
/* … this often, and more often at most; one case against it counts as some for it. */
#define BRIEFLY_SURE	8
#define BRIEFLY_MOST	16
#define BRIEFLY_NOT	4

/* c, which is off its stack, behind the rest. Whoever runs now may compute for long,
 * and who has looked at all queues by now may be about to sleep. */
static inline void queue_again(struct worker *w, struct coro *c)
{
	ready_last(w, c);
	/* A worker that is alone has nobody to wake. */
	if (sched.target > 1)
		wake_worker();
}

static void finish_park(struct worker *w, struct coro *c)
{
	uint32_t s = CORO_RUNNING;
	uint64_t ticket = atomic_load_explicit(&c->wait, memory_order_relaxed);

	/* release: who claims it finds its stack and registers saved. */
	if (atomic_compare_exchange_strong_explicit(
		    &c->state, &s, CORO_PARKED, memory_order_release,
		    memory_order_acquire)) {
		if (unlikely(wait_interrupted(c, ticket)))
			ready(c);
		return;
	}
	invariant(s == CORO_WAKING);
	atomic_store_explicit(&c->state, CORO_READY, memory_order_relaxed);
	queue_again(w, c);
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

static ALWAYS_INLINE void arrive(struct coro *me)
{
	struct worker *w = me->worker;
	struct coro *c = w->parted;
	enum parting parting = w->parting;

	sanitize_arrive(&me->sanitize, &c->sanitize, same_storage(c, me),
			parting == PARTING_EXIT);
	/* Shared storage: the one word says who runs here now. */
	if (!me->tp || unlikely(me->kind == CORO_KIND_ROOT))
		self_arrive(me);
	if (unlikely(parting == PARTING_CALL))
		return;
	w->parting = PARTING_NONE;
	switch (parting) {
	case PARTING_PARK:
		w->moved_on = true;
		finish_park(w, c);
		break;
	case PARTING_YIELD:
		atomic_store_explicit(&c->state, CORO_READY, memory_order_release);
		queue_again(w, c);
		break;
	case PARTING_ASIDE:
		atomic_store_explicit(&c->state, CORO_READY, memory_order_release);
		ready_soon(w, c);
		break;
	case PARTING_EXIT:
		w->moved_on = true;
		finish_exit(c);
		break;
	default:
		break;
	}
}

void loop_arrive(struct coro *me)
{
	arrive(me);
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

static COLD void change_mask(struct worker *w, uint64_t mask)
{
	loop_mask_closes(mask & ~w->kernel_mask);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	w->kernel_mask = mask;
}

/* The kernel's mask is the coroutine's while it runs; most share one. */
static inline void set_mask(struct worker *w, uint64_t mask)
{
	/* 32 and 33 are libc's and the runtime's: never blocked. */
	if (unlikely(mask != w->kernel_mask))
		change_mask(w, mask);
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

/* In one piece with who calls it: this is the path that everything takes. */
static ALWAYS_INLINE void switch_to(struct worker *w, struct coro *from,
				    struct coro *to, enum parting parting)
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
	if (!from->tp)
		self_leave(from);
	tp = to->tp ? to->tp : w->root->tp;
	sanitize_leave(&from->sanitize, &to->sanitize, same_storage(from, to),
		       parting == PARTING_EXIT);
	arch_switch(&from->sp, to->sp, tp);
	arrive(from);
}

void loop_switch(struct worker *w, struct coro *from, struct coro *to,
		 enum parting parting)
{
	switch_to(w, from, to, parting);
}

/* Who only yields waits for somebody, and cannot say for whom: if that is a kernel
 * thread, main or another worker, it may wait for this processor. */
static inline void cede(struct worker *w)
{
	worker_count(&w->cedes);
	sys_call(SYS_sched_yield);
}

void loop_leave(struct coro *me, enum parting parting)
{
	struct worker *w = me->worker;
	struct coro *next = NULL;
	uint32_t picks = w->picks + 1;
	bool look = unlikely(!atomic_load_explicit(&w->slot,
						   memory_order_relaxed)) ||
		    unlikely(picks - w->looked >= LOOP_LOOK_AROUND);

	write_once(w->picks, picks);
	if (!look)
		next = runq_pop(&w->runq);
	if (unlikely(!next)) {
		if (parting == PARTING_YIELD && !look &&
		    !atomic_load_explicit(&sched.nglobal, memory_order_relaxed)) {
			cede(w);
			return;
		}
		next = w->root;
	}
	worker_count(&w->switches);
	switch_to(w, me, next, parting);
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

/* Whether work waits on a queue; *ret_slot: or else in a next slot. */
static bool work_waits(bool *ret_slot)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);

	*ret_slot = false;
	/* acquire: pairs with the release in take_global. */
	if (atomic_load_explicit(&sched.nglobal, memory_order_acquire))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);
		if (!w)
			continue;
		if (runq_waiting(&w->runq))
			return true;
		*ret_slot |= runq_next(&w->runq);
	}
	return false;
}

bool loop_work_waits(void)
{
	bool slot;

	return work_waits(&slot) || slot;
}

static inline bool nobody_waits(void)
{
	return !atomic_load_explicit(&sched.poller, memory_order_relaxed) &&
	       poller_started();
}

void loop_give_slot(bool for_long)
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
	     !atomic_load_explicit(&sched.poller, memory_order_acquire)) ||
	    (for_long && nobody_waits() &&
	     !atomic_load_explicit(&sched.watcher, memory_order_relaxed)))
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
	/* release: who finds them gone from here finds them there. */
	atomic_store_explicit(&sched.nglobal, sched.global.n,
			      memory_order_release);
	unlock(&sched.lock);
	return first;
}

/* Whether what is in the next slot of from has been there since the last look, a nap
 * ago: only a watcher can tell. */
static bool lingers(struct worker *w, struct worker *from)
{
	return w->nap && read_once(from->picks) == read_once(from->watched);
}

static struct coro *steal(struct worker *w)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	uint32_t start = w->picks + w->index;

	for (int round = 0; round < STEAL_ROUNDS; round++) {
		for (uint32_t i = 0; i < n; i++) {
			struct worker *from = atomic_load_explicit(
				&sched.workers[(start + i) % n],
				memory_order_acquire);
			struct coro *c;

			if (!from || from == w || !runq_length(&from->runq))
				continue;
			c = runq_steal(&w->runq, &from->runq, lingers(w, from));
			if (!c)
				continue;
			worker_count(&w->steals);
			/* What comes along was on neither queue for a moment. */
			if (runq_waiting(&w->runq))
				wake_worker();
			return c;
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
		if (!(c = runq_take(&from->runq)))
			continue;
		do
			ready_global(c);
		while ((c = runq_take(&from->runq)));
		/* Each was on no queue for a moment. */
		wake_worker();
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

/* Whether anybody is to look at descriptors now: nobody waits for them. While there
 * is enough to do in any case, not more often than it pays. */
static bool descriptors_due(const struct worker *w, cogo_time *ret_now)
{
	if (!nobody_waits())
		return false;
	/* It has just been told of some. */
	if (!loop_look_due(w) && runq_length(&w->runq))
		return false;
	*ret_now = sys_now();
	return !loop_look_due(w) ||
	       *ret_now - atomic_load_explicit(&sched.last_poll,
					       memory_order_relaxed) >= LOOKS_APART;
}

/* ---- what is brief ----
 *
 * Who has waited for events, and got one, leaves the place. Somebody else should wait
 * there, in case that one takes long; but to wake him costs more than a short answer
 * does, and then he finds nothing, and is there when the first comes back. So while
 * each has been back soon, and the next event came soon, none is woken as long as
 * there is a watcher (see below): who takes the place after a nap if the other is
 * still at it. Where all of that takes longer a wake costs little beside it. */

static inline bool all_is_brief(void)
{
	return atomic_load_explicit(&sched.briefly, memory_order_relaxed) >=
	       BRIEFLY_SURE;
}

/* One more case, or one against it. A guess: workers may overwrite one another's. */
static void note_briefly(bool so)
{
	uint32_t n = atomic_load_explicit(&sched.briefly, memory_order_relaxed);

	if (so && n < BRIEFLY_MOST)
		n++;
	else if (!so && n)
		n = n > BRIEFLY_NOT ? n - BRIEFLY_NOT : 0;
	else
		return;
	atomic_store_explicit(&sched.briefly, n, memory_order_relaxed);
}

/* What it was last told of is done. */
static void note_done(struct worker *w, cogo_time now)
{
	if (!w->told)
		return;
	note_briefly(now - w->told <= BRIEF);
	w->told = 0;
}

/* Who has nothing else to do has got these events. */
static void ready_told(struct worker *w, struct coro_list *due, cogo_time now)
{
	if (due->n == 1 && sched.target > 1 && !runq_length(&w->runq)) {
		w->told = now;
		if (all_is_brief()) {
			ready(coro_list_pop(due));
			return;
		}
	}
	if (due->n)
		ready_all(due);
}

/* Timers that are due, and descriptors. */
static void look_around(struct worker *w)
{
	struct coro_list due = { 0 };
	cogo_time now = 0;

	if (timer_first() != COGO_FOREVER)
		timer_run(sys_now(), &due);
	if (descriptors_due(w, &now)) {
		note_done(w, now);
		loop_look_at_descriptors(now, &due);
	} else {
		poller_submit();
	}
	ready_told(w, &due, now);
}

static void stop_spinning(struct worker *w)
{
	if (!w->spinning)
		return;
	w->spinning = false;
	atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
}

/* Who sees to what others left to us is the caller's to find. */
static void stop_watching(struct worker *w)
{
	if (!w->nap)
		return;
	w->nap = 0;
	atomic_store_explicit(&sched.watcher, NULL, memory_order_relaxed);
}

/* What is on its queue is everybody's. */
static void give_away(struct worker *w)
{
	struct coro *c;

	while ((c = runq_pop(&w->runq)))
		ready_global(c);
	wake_worker();
}

/* No slot: sleeps among the spares until there is one. */
static void be_spare(struct worker *w)
{
	block_noticed_end(w);
	poller_submit();
	if (loop_take_slot()) {
		atomic_store_explicit(&w->slot, true, memory_order_relaxed);
		monitor_activity();
		return;
	}
	/* Not while we count as the one who searches: nobody else would. */
	stop_spinning(w);
	stop_watching(w);
	give_away(w);
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
	monitor_activity();
}

/* Out of a crowd at one lock (crowd.c): sleeps for a while, where nobody wakes it for
 * work. */
static void step_back(struct worker *w)
{
	cogo_time nap;

	if (!crowd_leave(w, &nap))
		return;
	stop_spinning(w);
	stop_watching(w);
	atomic_store_explicit(&w->doze, 1, memory_order_relaxed);
	give_away(w);
	atomic_store_explicit(&w->away, true, memory_order_relaxed);
	close_mask_asleep(w);
	worker_doze(w, sys_now() + nap);
	atomic_store_explicit(&w->away, false, memory_order_relaxed);
	monitor_activity();
	crowd_back(w);
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
	monitor_activity();
}

/* ---- watching ----
 *
 * Two coroutines that hand something to and fro are ready by turns, in the next
 * slot of one worker, and are at their fastest there. Another worker that is woken
 * for the one that waits would find it gone, again and again, and with each look
 * take a line of the cache from the two; if it got hold of one, the pair would go
 * on over two processors, at several times the cost. But he who has made another
 * ready may as well compute for long. So one worker that has nothing to do watches:
 * it naps, and takes what is in the next slot of a worker that has picked nobody
 * since. Who fills its next slot wakes nobody as long as there is a watcher, and
 * all else that becomes ready wakes somebody, the watcher too.
 *
 *	waker: fill the next slot; fence; read watcher
 *	watcher: give up watching; fence; read all next slots; sleep
 *
 * Whichever fence comes second sees the other's write, as in ready.c. A watcher
 * that has found work gives up too, and then sees to what is left as one does who
 * has searched.
 *
 * In the same way it stands by for the one who waits for events, where all is brief:
 *
 *	poller: leave the place; fill the next slot; fence; read watcher
 *	watcher: give up watching; fence; take the place, if it is free
 *
 * It goes on as long as somebody has picked somebody between two looks, since whoever
 * finds nothing more to pick takes the place; and after each nap it asks for events
 * itself. */

/* Whether any other has picked somebody since the last look; and this is a look. */
static bool others_pick(struct worker *me)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	bool any = false;

	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);
		uint32_t picks;

		if (!w || w == me)
			continue;
		picks = read_once(w->picks);
		any |= picks != read_once(w->watched);
		write_once(w->watched, picks);
	}
	return any;
}

static bool begin_to_watch(struct worker *w)
{
	struct worker *nobody = NULL;

	if (!atomic_compare_exchange_strong_explicit(&sched.watcher, &nobody, w,
						     memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	others_pick(w);
	w->nap = NAP_FIRST;
	return true;
}

/* Listed as idle, with no work on any queue; slot: but in a next slot; woken: to
 * search. Until when it may sleep, and whether it shall wait for events if nobody
 * does. */
static cogo_time watch(struct worker *w, bool slot, bool woken, bool *ret_polls)
{
	bool go_on = w->nap && others_pick(w);

	*ret_polls = !go_on;
	if (w->nap && !go_on && !slot) {
		stop_watching(w);
		/* seq_cst: pairs with the exchange in ready.c's ready. What is on
		 * a queue by now somebody wakes us for; and either who has left
		 * the poller's place sees that nobody watches, or we that it is
		 * free. */
		atomic_thread_fence(memory_order_seq_cst);
		work_waits(&slot);
		woken = false;
	}
	if (w->nap) {
		if (w->nap < NAP_MOST)
			w->nap *= 2;
	} else if (slot) {
		if (!begin_to_watch(w))
			return COGO_FOREVER;
	} else {
		if (!woken || !all_is_brief() ||
		    atomic_load_explicit(&sched.poller, memory_order_relaxed) ||
		    !begin_to_watch(w))
			return COGO_FOREVER;
		*ret_polls = false;
	}
	return sys_now() + w->nap;
}

static cogo_time first_or(cogo_time at_latest)
{
	cogo_time first = timer_first();

	return first < at_latest ? first : at_latest;
}

/* Waits for events as the one who does. */
static void be_poller(struct worker *w, cogo_time began, cogo_time nap_ends)
{
	struct coro_list due = { 0 };
	cogo_time until = first_or(nap_ends), now;

	atomic_store_explicit(&sched.poller_deadline, until, memory_order_relaxed);
	/* seq_cst: pairs with the fence in park.c. Either the one who arms a
	 * timer sees our deadline and interrupts us, or we see its timer. */
	atomic_thread_fence(memory_order_seq_cst);
	until = first_or(nap_ends);
	if (atomic_load_explicit(&w->idle, memory_order_acquire))
		poller_poll(until, NULL, &due);
	atomic_store_explicit(&sched.poller, NULL, memory_order_release);
	leave_idle(w);
	now = began || until != COGO_FOREVER ? sys_now() : 0;
	if (until != COGO_FOREVER)
		timer_run(now, &due);
	if (now - began > BRIEF)
		note_briefly(false);
	ready_told(w, &due, now);
}

static void go_idle(struct worker *w)
{
	bool slot, polls, woken = w->spinning;
	struct worker *nobody = NULL;
	cogo_time until, now = 0;

	if (sched.target > 1)
		note_done(w, now = sys_now());
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
	if (work_waits(&slot)) {
		leave_idle(w);
		return;
	}
	until = watch(w, slot, woken, &polls);
	if (polls && poller_started() &&
	    atomic_compare_exchange_strong_explicit(&sched.poller, &nobody, w,
						    memory_order_acq_rel,
						    memory_order_relaxed)) {
		be_poller(w, now, until);
		return;
	}
	worker_doze(w, until);
	leave_idle(w);
}

/* A look is due: where all have only yielded since the last one. As long as that gives
 * the processor to nobody it is done less often. */
static void give_way(struct worker *w)
{
	cogo_time began;

	if (likely(w->moved_on)) {
		w->moved_on = false;
		return;
	}
	if (++w->idle_looks < w->idle_looks_due)
		return;
	began = sys_now();
	cede(w);
	if (sys_now() - began > CEDED)
		w->idle_looks_due = 1;
	else if (w->idle_looks_due < CEDES_APART)
		w->idle_looks_due += w->idle_looks_due + 1;
	w->idle_looks = 0;
}

static struct coro *find_work(struct worker *w)
{
	struct coro *c;

	for (;;) {
		if (sched_stopping())
			return NULL;
		if (!atomic_load_explicit(&w->slot, memory_order_acquire))
			be_spare(w);
		if (crowd_leaves(w)) {
			step_back(w);
			continue;
		}
		look_around(w);
		c = NULL;
		if (loop_look_due(w)) {
			give_way(w);
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
	write_once(w->moment, (cogo_time)arch_cycles());
	if (unlikely(w->spinning || w->nap)) {
		stop_spinning(w);
		stop_watching(w);
		/* seq_cst: as in loop_give_slot, of who seems to search. */
		atomic_thread_fence(memory_order_seq_cst);
		if (loop_work_waits() || nobody_waits())
			wake_worker();
	}
	return c;
}

void loop(struct worker *w)
{
	struct coro *c;

	monitor_activity();
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
	give_away(w);
	worker_retire(w);
}
