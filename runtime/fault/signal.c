/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/signal.c - signals belong to coroutines.
 *
 * Pending signals stand in one array of notes. A note is claimed with a
 * compare-and-swap, filled and published, so it can be written in a signal
 * handler that interrupted anything at all, the runtime's locks included.
 *
 *	FREE -> WRITING -> READY -> TAKING -> FREE
 *
 * G1  who publishes a note for a coroutine then sets its interrupt flag, and
 *     then tries to claim its wait; who waits opens the wait, and then looks
 *     at the flag (sched/park.c). One of the two sees the other.
 * G2  handlers run only where door_leave has found the runtime left, or in
 *     the kernel's own delivery to code outside it.
 * G3  notes of the process are given to coroutines by the router alone, which
 *     holds nothing while it does. */
#include "fault/signal.h"
#include "arch/context.h"
#include "arch/ucontext.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/door.h"
#include "fault/overflow.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include <errno.h>
#include <string.h>
#include <ucontext.h>

#define NSIG_KERNEL 64
#define NOTES 512
/* As the kernel numbers it; libc keeps it to itself. */
#define SA_RESTORER 0x04000000

enum { NOTE_FREE, NOTE_WRITING, NOTE_READY, NOTE_TAKING };

struct note {
	_Atomic uint32_t state;
	int sig;
	struct coro *coro;	/* NULL: whoever does not block it */
	uint64_t coro_id;	/* objects live again under another id */
	uint64_t order;
	siginfo_t info;
};

static struct note notes[NOTES];
static _Atomic uint64_t order;
static _Atomic uint32_t nprocess;	/* notes for the process, a hint */
static struct signal_action actions[NSIG_KERNEL + 1];
static struct lock actions_lock;
static struct {
	signal_own_fn fn;
	const char *taken;
} own[NSIG_KERNEL + 1];		/* under actions_lock */
static _Atomic uint32_t router_word;
static _Atomic(void (*)(void)) kick_act;
static void (*cancel_act)(struct coro *);

/* The kernel's struct sigaction, which is not libc's. */
struct kernel_action {
	void (*action)(int, siginfo_t *, void *);
	unsigned long flags;
	arch_restorer restorer;
	sigbits mask;
};

static void wrapper(int sig, siginfo_t *info, void *uctx);

static long kernel_sigaction(int sig, const struct kernel_action *act,
			     struct kernel_action *old)
{
	return sys_call(SYS_rt_sigaction, sig, act, old, sizeof(sigbits));
}

static long kernel_mask(int how, sigbits mask, sigbits *old)
{
	return sys_call(SYS_rt_sigprocmask, how, &mask, old, sizeof(mask));
}

/* Notes */

static struct note *write_note(struct coro *c, int sig, const siginfo_t *info)
{
	for (int i = 0; i < NOTES; i++) {
		uint32_t s = NOTE_FREE;
		struct note *n = &notes[i];

		if (atomic_load_explicit(&n->state, memory_order_relaxed) != s ||
		    !atomic_compare_exchange_strong_explicit(
			    &n->state, &s, NOTE_WRITING, memory_order_acquire,
			    memory_order_relaxed))
			continue;
		n->sig = sig;
		n->coro = c;
		n->coro_id = c ? c->id : 0;
		n->order = atomic_fetch_add_explicit(&order, 1,
						     memory_order_relaxed);
		if (info)
			n->info = *info;
		else
			memset(&n->info, 0, sizeof(n->info));
		n->info.si_signo = sig;
		/* release: pairs with the acquire in take_note. */
		atomic_store_explicit(&n->state, NOTE_READY,
				      memory_order_release);
		return n;
	}
	return NULL;
}

static bool note_is(struct note *n, const struct coro *c, bool process,
		    sigbits set)
{
	if (atomic_load_explicit(&n->state, memory_order_acquire) != NOTE_READY ||
	    !(SIGBIT(n->sig) & set))
		return false;
	return n->coro ? n->coro == c && n->coro_id == c->id : process;
}

/* The lowest signal first, and of one signal the oldest, as the kernel does. */
static struct note *find_note(const struct coro *c, bool process, sigbits set)
{
	struct note *best = NULL;

	for (int i = 0; i < NOTES; i++) {
		struct note *n = &notes[i];

		if (!note_is(n, c, process, set))
			continue;
		if (!best || n->sig < best->sig ||
		    (n->sig == best->sig && n->order < best->order))
			best = n;
	}
	return best;
}

static int take_note(struct coro *c, bool process, sigbits set,
		     siginfo_t *ret_info)
{
	struct note *n;
	int sig;

	while ((n = find_note(c, process, set))) {
		uint32_t s = NOTE_READY;

		if (!atomic_compare_exchange_strong_explicit(
			    &n->state, &s, NOTE_TAKING, memory_order_acquire,
			    memory_order_relaxed))
			continue;
		sig = n->sig;
		*ret_info = n->info;
		if (!n->coro)
			atomic_fetch_sub_explicit(&nprocess, 1,
						  memory_order_relaxed);
		atomic_store_explicit(&n->state, NOTE_FREE, memory_order_release);
		return sig;
	}
	return 0;
}

/* A standard signal that is pending already is not pending twice. */
static bool pending_already(struct coro *c, int sig)
{
	for (int i = 0; sig < 32 && i < NOTES; i++) {
		struct note *n = &notes[i];

		if (atomic_load_explicit(&n->state, memory_order_acquire) ==
			    NOTE_READY &&
		    n->sig == sig && n->coro == c &&
		    (!c || n->coro_id == c->id))
			return true;
	}
	return false;
}

static void poke_router(void)
{
	atomic_fetch_add_explicit(&router_word, 1, memory_order_release);
	sys_futex_wake(&router_word, 1);
}

/* Masks */

sigbits signal_mask(struct coro *me)
{
	sigbits now = 0;

	if (me && me->kind == CORO_KIND_CORO)
		return me->sigmask;
	kernel_mask(SIG_BLOCK, 0, &now);
	return now;
}

void signal_set_mask(struct coro *me, sigbits mask)
{
	bool restart;

	mask &= ~SIG_OURS;
	if (me) {
		me->sigmask = mask;
		if (me->kind == CORO_KIND_CORO && me->worker)
			me->worker->kernel_mask = mask;
	}
	kernel_mask(SIG_SETMASK, mask, NULL);
	if (me && me->in_runtime == 0)
		signal_deliver(me, &restart);
	/* What all had blocked may be welcome now. */
	if (atomic_load_explicit(&nprocess, memory_order_relaxed))
		poke_router();
}

/* Actions */

void signal_get_action(int sig, struct signal_action *ret)
{
	struct kernel_action k;

	lock(&actions_lock);
	*ret = actions[sig];
	unlock(&actions_lock);
	if (ret->handler)
		return;
	/* Never set through us: the kernel knows (inherited SIG_IGN, say). */
	if (kernel_sigaction(sig, NULL, &k) == 0 && k.action != wrapper &&
	    (!k.action || k.action != own[sig].fn)) {
		ret->action = k.action;
		ret->flags = k.flags & ~(unsigned long)SA_RESTORER;
		ret->mask = k.mask;
	}
}

static bool is_function(void (*handler)(int))
{
	return handler != SIG_DFL && handler != SIG_IGN;
}

static void set_restorer(struct kernel_action *k)
{
	k->restorer = arch_signal_restorer();
	if (k->restorer)
		k->flags |= SA_RESTORER;
}

/* Under actions_lock. */
static long install_own(int sig)
{
	/* Nothing comes in between: it looks at what was interrupted. */
	struct kernel_action k = {
		.action = own[sig].fn,
		.flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
		.mask = ~SIG_OURS,
	};

	set_restorer(&k);
	return kernel_sigaction(sig, &k, NULL);
}

int signal_own(int sig, signal_own_fn fn, const char *taken)
{
	struct kernel_action k;
	long r;

	lock(&actions_lock);
	r = kernel_sigaction(sig, NULL, &k);
	if (r == 0 && k.action && k.action != fn)
		r = -EBUSY;
	if (r == 0) {
		own[sig].fn = fn;
		own[sig].taken = taken;
		r = install_own(sig);
	}
	unlock(&actions_lock);
	return (int)r;
}

void signal_disown(int sig)
{
	struct kernel_action k = { 0 };

	/* No lock: this is a signal handler, and what it interrupted may hold
	 * it. */
	kernel_sigaction(sig, &k, NULL);
}

int signal_set_action(int sig, const struct signal_action *act, bool direct)
{
	struct kernel_action k = { 0 };
	const char *taken = NULL;
	bool ours = is_function(act->handler) && !direct;
	long r;

	k.action = ours ? wrapper : act->action;
	k.flags = act->flags;
	if (ours)
		k.flags |= SA_SIGINFO;
	k.mask = act->mask & ~SIG_OURS;
	set_restorer(&k);
	lock(&actions_lock);
	if (own[sig].fn && act->handler == SIG_DFL) {
		r = install_own(sig);
	} else {
		r = kernel_sigaction(sig, &k, NULL);
		taken = own[sig].taken;
		own[sig].taken = NULL;
	}
	if (r == 0)
		actions[sig] = *act;
	unlock(&actions_lock);
	if (taken)
		cogo_warn("%s", taken);
	return (int)r;
}

/* Delivery */

static void call(const struct signal_action *act, int sig, siginfo_t *info,
		 void *uctx)
{
	if (act->flags & SA_SIGINFO)
		act->action(sig, info, uctx);
	else
		act->handler(sig);
}

/* A handler that was put off gets a context as good as there is: the mask. */
static void run_handler(struct coro *me, int sig, siginfo_t *info, void *uctx,
			const struct signal_action *act)
{
	sigbits before = signal_mask(me);
	sigbits during = before | act->mask;
	ucontext_t none;

	if (!(act->flags & SA_NODEFER))
		during |= SIGBIT(sig);
	if (act->flags & SA_RESETHAND) {
		struct signal_action dfl = { .handler = SIG_DFL };

		signal_set_action(sig, &dfl, true);
	}
	if (!uctx) {
		memset(&none, 0, sizeof(none));
		memcpy(&none.uc_sigmask, &before, sizeof(before));
		uctx = &none;
	}
	if (during != before)
		signal_set_mask(me, during);
	call(act, sig, info, uctx);
	if (during != before)
		signal_set_mask(me, before);
}

int signal_deliver(struct coro *me, bool *ret_restart)
{
	struct signal_action act;
	siginfo_t info;
	int sig, ran = 0, saved;

	*ret_restart = true;
	atomic_store_explicit(&me->interrupt, 0, memory_order_seq_cst);
	while ((sig = take_note(me, false, ~signal_mask(me), &info))) {
		lock(&actions_lock);
		act = actions[sig];
		unlock(&actions_lock);
		if (!is_function(act.handler)) {
			/* Changed since: what is default or ignored now is the
			 * kernel's business. */
			if (act.handler == SIG_DFL)
				sys_call(SYS_kill, sys_getpid(), sig);
			continue;
		}
		if (!(act.flags & SA_RESTART))
			*ret_restart = false;
		saved = errno;
		run_handler(me, sig, &info, NULL, &act);
		errno = saved;
		ran++;
	}
	return ran;
}

void door_deliver(struct coro *me)
{
	bool restart;

	signal_deliver(me, &restart);
}

/* Ends c's wait, if it is in one, and queues it. Locks of the scheduler: not
 * in a signal handler, but for the caller's own wait. */
void signal_kick(struct coro *c)
{
	struct worker *w;

	/* seq_cst: pairs with the fence in park (G1). */
	atomic_store_explicit(&c->interrupt, 1, memory_order_seq_cst);
	if (wait_claim_any(c, WAIT_INTERRUPTED)) {
		ready(c);
		return;
	}
	if (atomic_load_explicit(&c->state, memory_order_acquire) != CORO_RUNNING)
		return;
	if (c->kind == CORO_KIND_THREAD) {
		sys_call(SYS_tgkill, sys_getpid(), c->tid, SIG_KICK);
		return;
	}
	/* It may have moved by the time the signal arrives: then it has been
	 * through park, and seen the flag. */
	w = c->worker;
	if (w && w->tid)
		sys_call(SYS_tgkill, sys_getpid(), w->tid, SIG_KICK);
}

/* A kernel thread of the program's: the kernel does it all. */
static int to_kernel_thread(struct coro *c, int sig, siginfo_t *info)
{
	return (int)sys_call(SYS_rt_tgsigqueueinfo, sys_getpid(), c->tid, sig,
			     info);
}

int signal_post(struct coro *c, int sig, const siginfo_t *info)
{
	if (c && c->kind == CORO_KIND_THREAD) {
		siginfo_t copy = *info;

		return to_kernel_thread(c, sig, &copy);
	}
	if (pending_already(c, sig))
		return 0;
	if (!c)
		atomic_fetch_add_explicit(&nprocess, 1, memory_order_relaxed);
	if (!write_note(c, sig, info)) {
		if (!c)
			atomic_fetch_sub_explicit(&nprocess, 1,
						  memory_order_relaxed);
		return -EAGAIN;
	}
	if (c)
		signal_kick(c);
	else
		poke_router();
	return 0;
}

int signal_take(struct coro *me, sigbits set, siginfo_t *ret_info)
{
	return take_note(me, true, set, ret_info);
}

sigbits signal_pending(struct coro *me)
{
	sigbits set = 0, kernel = 0;

	for (int i = 0; i < NOTES; i++)
		if (note_is(&notes[i], me, true, ~(sigbits)0))
			set |= SIGBIT(notes[i].sig);
	sys_call(SYS_rt_sigpending, &kernel, sizeof(kernel));
	return set | kernel;
}

/* What the kernel calls on whatever thread it chose. */
static void wrapper(int sig, siginfo_t *info, void *uctx)
{
	struct coro *me = self();
	struct signal_action act = actions[sig];
	sigbits now, before;
	int saved = errno;

	/* A fault is the running code's own and cannot wait. Outside the
	 * runtime the kernel has done everything right already. */
	if (info->si_code > 0 && info->si_code != SI_KERNEL &&
	    (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
	     sig == SIGTRAP)) {
		/* Where the program gave it no other stack to run on, its
		 * handler would not have been called. */
		if (overflow_check(info, uctx) && !(me && me->altstack &&
						    act.flags & SA_ONSTACK)) {
			signal_disown(sig);
			return;
		}
		goto direct;
	}
	if (me && me->in_runtime) {
		bool thread = me->kind == CORO_KIND_THREAD;

		/* To a kernel thread of the program's the signal stays
		 * attached; a worker was only passing by. */
		if (!thread)
			atomic_fetch_add_explicit(&nprocess, 1,
						  memory_order_relaxed);
		if (!write_note(thread ? me : NULL, sig, info)) {
			if (!thread)
				atomic_fetch_sub_explicit(
					&nprocess, 1, memory_order_relaxed);
			return;
		}
		if (!thread) {
			poke_router();
			return;
		}
		atomic_store_explicit(&me->interrupt, 1, memory_order_seq_cst);
		/* Asleep on its own state's futex: end that. Nothing of this
		 * takes a lock: a bound one is never queued. */
		if (wait_claim_any(me, WAIT_INTERRUPTED))
			ready(me);
		errno = saved;
		return;
	}
direct:
	if (!is_function(act.handler))
		return;
	if (!me || me->kind != CORO_KIND_CORO || !me->worker) {
		call(&act, sig, info, uctx);
		return;
	}
	/* The kernel set the mask for the handler and will restore it; the
	 * coroutine's own view follows. */
	before = me->sigmask;
	kernel_mask(SIG_BLOCK, 0, &now);
	me->sigmask = me->worker->kernel_mask = now;
	call(&act, sig, info, uctx);
	me->sigmask = before;
	/* It may have parked and come back on another worker: that one returns
	 * from this frame, to the mask that the frame says. */
	me->worker->kernel_mask = before;
}

void signal_on_kick(void (*act)(void))
{
	/* release: pairs with the acquire below. */
	atomic_store_explicit(&kick_act, act, memory_order_release);
}

void signal_run_kick(void)
{
	void (*act)(void) = atomic_load_explicit(&kick_act, memory_order_acquire);

	if (act)
		act();
}

/* Between block_enter and block_exit, where the runtime is not in use. */
static bool sleeps_in_kernel(const struct coro *me)
{
	return !me->bound &&
	       atomic_load_explicit(&me->asleep.pc, memory_order_relaxed);
}

static bool is_canceled(const struct coro *me)
{
	return (atomic_load_explicit(&me->cancel, memory_order_relaxed) &
		(CANCEL_WANTED | CANCEL_DISABLED | CANCEL_EXITING)) ==
	       CANCEL_WANTED;
}

/* Somebody wants this kernel thread's attention. */
static void kicked(int sig UNUSED, siginfo_t *info UNUSED, void *uctx)
{
	struct coro *me = self();
	int saved = errno;
	uint32_t doors;
	bool restart, declared;

	/* First: it is meant for this kernel thread, and a handler may come back
	 * on another. */
	signal_run_kick();
	/* In a call that asks before it sleeps and looks afterwards, as those do
	 * that a hook makes: it returns, and what there is to do is done there. */
	if (me && atomic_load_explicit(&me->interrupt, memory_order_relaxed) &&
	    arch_fail_unless(uctx)) {
		errno = saved;
		return;
	}
	declared = me && sleeps_in_kernel(me);
	if (me && (!me->in_runtime || declared) && me->kind != CORO_KIND_ROOT &&
	    atomic_load_explicit(&me->interrupt, memory_order_relaxed)) {
		/* A handler may park, and this kernel thread go on to others:
		 * not with the kick blocked. */
		kernel_mask(SIG_UNBLOCK, SIGBIT(SIG_KICK), NULL);
		doors = me->in_runtime;
		me->in_runtime = 0;
		/* The kernel restarts the call that the kick interrupted, which
		 * a handler may not want, nor who asks for a cancellation. */
		if (((signal_deliver(me, &restart) && !restart) || is_canceled(me)) &&
		    declared)
			arch_fail_restart(uctx);
		if (cancel_act &&
		    atomic_load_explicit(&me->cancel, memory_order_relaxed) ==
			    (CANCEL_WANTED | CANCEL_ASYNC)) {
			/* Not coming back from this handler: its signal, which
			 * the kernel blocked for it, is let in again. */
			signal_set_mask(me, me->sigmask);
			cancel_act(me);
		}
		me->in_runtime = doors;
	}
	errno = saved;
}

void signal_on_cancel(void (*act)(struct coro *me))
{
	cancel_act = act;
}

/* The router */

struct choice {
	sigbits bit;
	struct coro *parked, *running;
};

static long consider(struct coro *c, void *arg)
{
	struct choice *ch = arg;
	uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);

	if (c->kind == CORO_KIND_ROOT || s == CORO_FREE || s == CORO_DONE ||
	    s == CORO_NEW || (c->sigmask & ch->bit))
		return 0;
	if (s == CORO_PARKED) {
		ch->parked = c;
		return 1;
	}
	if (!ch->running)
		ch->running = c;
	return 0;
}

/* Gives a note of the process to a coroutine that does not block it. */
static void route(struct note *n)
{
	struct choice ch = { .bit = SIGBIT(n->sig) };
	uint32_t s = NOTE_READY;
	struct coro *c;

	coro_each(consider, &ch);
	c = ch.parked ? ch.parked : ch.running;
	if (!c)
		return;		/* blocked by all: pending until one does not */
	/* Somebody may take it by sigwait in this moment. */
	if (!atomic_compare_exchange_strong_explicit(
		    &n->state, &s, NOTE_WRITING, memory_order_acquire,
		    memory_order_relaxed))
		return;
	atomic_fetch_sub_explicit(&nprocess, 1, memory_order_relaxed);
	if (c->kind == CORO_KIND_THREAD) {
		to_kernel_thread(c, n->sig, &n->info);
		atomic_store_explicit(&n->state, NOTE_FREE, memory_order_release);
		return;
	}
	n->coro_id = c->id;
	n->coro = c;
	atomic_store_explicit(&n->state, NOTE_READY, memory_order_release);
	signal_kick(c);
}

static void *router(void *arg UNUSED)
{
	uint32_t seen;

	for (;;) {
		seen = atomic_load_explicit(&router_word, memory_order_acquire);
		for (int i = 0; i < NOTES; i++) {
			struct note *n = &notes[i];

			if (atomic_load_explicit(&n->state,
						 memory_order_acquire) ==
				    NOTE_READY && !n->coro)
				route(n);
		}
		sys_futex_wait(&router_word, seen, COGO_FOREVER);
	}
	return NULL;
}

int signal_start(void)
{
	struct kernel_action k = { .action = kicked,
				   .flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

	k.restorer = arch_signal_restorer();
	if (k.restorer)
		k.flags |= SA_RESTORER;
	kernel_sigaction(SIG_KICK, &k, NULL);
	return worker_start_thread(router, NULL);
}

void signal_fork_child(void)
{
	/* What was pending for others is theirs; a child begins with nothing
	 * pending. */
	for (int i = 0; i < NOTES; i++)
		atomic_store_explicit(&notes[i].state, NOTE_FREE,
				      memory_order_relaxed);
	atomic_store_explicit(&nprocess, 0, memory_order_relaxed);
	lock_reset(&actions_lock);
}
