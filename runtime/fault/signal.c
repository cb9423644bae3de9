/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/signal.c - signals belong to coroutines.
 *
 * A coroutine's pending signals are bits in its sigpending; what there is to
 * say of one beyond its number stands in a note, in one array for all. A note is
 * claimed with a compare-and-swap, filled and published, so it can be written
 * in a signal handler that interrupted anything at all, the runtime's locks
 * included.
 *
 *	FREE -> WRITING -> READY -> FREE	(each time with another generation)
 *
 * What came to the process, and met nobody who could take it then and there, is
 * pending in the same way under no coroutine, until the router has found one.
 *
 * A handler runs in one of two ways. The kernel calls it, through wrapper(), on
 * top of the program's code. Or it was put off; then the coroutine, once out of
 * the runtime, kicks itself, and kicked() calls it: on the coroutine's stack (or
 * its alternate one), with the context that the kick interrupted, under the
 * mask that the kernel would have set. It may park in either, and come back on
 * another kernel thread, whose kernel_mask is then brought up to date.
 *
 * Who gets a signal that was sent to the process: main, unless main blocks it.
 * The kernel prefers it too, but takes another thread if that one comes to look
 * at its signals first, as workers do whenever they change their masks.
 * Otherwise a coroutine that does not block it. While one that does not runs,
 * its worker's mask lets the kernel find it. When it has left the worker, the
 * router's mask does (sched.left_open).
 *
 * G1  who marks a signal as pending for a coroutine then sets its interrupt
 *     flag, and then tries to claim its wait; who waits opens the wait, and then
 *     looks at the flag (coro/wait.h). One of the two sees the other. In the
 *     same way: pending, then the mask; the mask, then pending.
 * G2  put-off handlers run only where door_leave has found the runtime left, or
 *     a kick the program's own code.
 * G3  what the kernel does on return from kicked() and wrapper(), it does with
 *     the kick blocked before: a kick that came after the last look arrives then.
 * G4  a signal that main and all coroutines block is blocked on every kernel
 *     thread, or the kernel would do at once what is its default: main, before it
 *     goes on, waits for those that are on their own stack with somebody's mask
 *     from before; whoever ends, or goes to a worker's own stack, later than that
 *     finds what main blocks, and closes its kernel thread's mask. */
#include "fault/signal.h"
#include "arch/context.h"
#include "arch/ucontext.h"
#include "base/errno.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "fault/door.h"
#include "fault/overflow.h"
#include "mem/tls.h"
#include "sched/block.h"
#include "sched/loop.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include <string.h>
#include <ucontext.h>

#define NSIG_KERNEL 64
#define NOTES 4096
#define CLOSING ((cogo_time)1000000000)	/* ns, at most */
#define FIRST_QUEUED 32		/* from here on each one counts */
#define ALL_SIGNALS (~SIG_OURS)
/* The code of a bare signal: what there is to say of it is in a note. The kernel
 * has none like it, and lets any thread send it to any other of the process. */
#define BARE (-0x636f)
/* As the kernel numbers it; libc keeps it to itself. */
#define SA_RESTORER 0x04000000

#define FAULTS (SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGFPE) | \
		SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGSYS))

enum { NOTE_FREE, NOTE_WRITING, NOTE_READY, NOTE_STATES };

struct note {
	_Atomic uint32_t state;	/* generation * NOTE_STATES + state */
	int sig;
	bool process;		/* was sent to the process */
	struct coro *coro;	/* NULL: whoever does not block it */
	uint64_t coro_id;	/* objects live again under another id */
	uint64_t order;
	siginfo_t info;
};

static struct note notes[NOTES];
static _Atomic uint32_t notes_used;	/* beyond it none was ever written */
static _Atomic uint64_t order;
static _Atomic sigbits process_pending;	/* as a coroutine's sigpending */

static struct signal_action actions[NSIG_KERNEL + 1];
static _Atomic uint32_t actions_version;	/* odd: being changed */
static struct lock actions_lock;	/* held with every signal blocked */
static struct {
	signal_own_fn fn;
	const char *taken;
} own[NSIG_KERNEL + 1];			/* under actions_lock */
static _Atomic sigbits have_handler;

static int main_tid;			/* the process's first thread */
static _Atomic sigbits main_now;	/* what it blocks at this moment */
static struct coro for_main;		/* what is on its way there: a name only */
static _Atomic sigbits router_open;	/* what the router's mask lets in */
static _Atomic uint32_t routing;	/* odd: the router has some in its hands */
static _Atomic uint32_t router_passed;	/* the word it has acted upon */
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

static long kick_thread(int tid)
{
	return sys_call(SYS_tgkill, sys_getpid(), tid, SIG_KICK);
}

static uint32_t poke_router(void)
{
	/* release: the router, once it sees the word, sees what is pending. */
	uint32_t word = 1 + atomic_fetch_add_explicit(&sched.router_word, 1,
						      memory_order_release);

	sys_futex_wake(&sched.router_word, 1);
	return word;
}

/* Until the router has looked at everything again. */
static void wait_for_router(void)
{
	uint32_t word = poke_router();

	/* Bounded: it may not exist any more. */
	for (int i = 0; i < 1000; i++) {
		struct timespec brief = { 0, 100000 };

		if ((int32_t)(atomic_load_explicit(&router_passed,
						   memory_order_acquire) -
			      word) >= 0)
			return;
		sys_call(SYS_nanosleep, &brief, NULL);
	}
}

/* Notes */

static uint32_t state_of(const struct note *n)
{
	return atomic_load_explicit(&n->state, memory_order_acquire);
}

static bool step(struct note *n, uint32_t from, uint32_t to)
{
	/* acq_rel: what is in a note belongs to who has moved it. */
	return atomic_compare_exchange_strong_explicit(&n->state, &from, to,
						       memory_order_acq_rel,
						       memory_order_relaxed);
}

/* Whether it is ready, for c or (NULL) for the process, and of one of these
 * signals. A guess until its state has been moved on from the one seen. */
static bool note_is(const struct note *n, uint32_t state, const struct coro *c,
		    sigbits set)
{
	return state % NOTE_STATES == NOTE_READY && (SIGBIT(n->sig) & set) &&
	       n->coro == c && (!c || n->coro_id == c->id);
}

/* A coroutine that has ended leaves its notes behind. */
static void sweep(void)
{
	for (int i = 0; i < NOTES; i++) {
		struct note *n = &notes[i];
		uint32_t state = state_of(n);

		if (state % NOTE_STATES == NOTE_READY && n->coro &&
		    n->coro_id != n->coro->id)
			step(n, state, state - NOTE_READY);
	}
}

static struct note *claim_note(void)
{
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < NOTES; i++) {
			struct note *n = &notes[i];
			uint32_t state = state_of(n), most;

			if (state % NOTE_STATES != NOTE_FREE ||
			    !step(n, state, state + NOTE_STATES + NOTE_WRITING))
				continue;
			most = atomic_load_explicit(&notes_used,
						    memory_order_relaxed);
			while (most <= i &&
			       !atomic_compare_exchange_weak_explicit(
				       &notes_used, &most, i + 1,
				       memory_order_release,
				       memory_order_relaxed))
				;
			return n;
		}
		sweep();
	}
	return NULL;
}

static struct note *write_note(struct coro *c, int sig, const siginfo_t *info,
			       bool process)
{
	struct note *n = claim_note();

	if (!n)
		return NULL;
	n->sig = sig;
	n->process = process;
	n->coro = c;
	n->coro_id = c ? c->id : 0;
	n->order = atomic_fetch_add_explicit(&order, 1, memory_order_relaxed);
	n->info = *info;
	n->info.si_signo = sig;
	/* release: pairs with the acquire in state_of. */
	atomic_fetch_add_explicit(&n->state, NOTE_READY - NOTE_WRITING,
				  memory_order_release);
	return n;
}

/* The oldest. */
static bool take_note(struct coro *c, int sig, siginfo_t *ret_info,
		      bool *ret_process)
{
	for (;;) {
		uint32_t used = atomic_load_explicit(&notes_used,
						     memory_order_acquire);
		uint32_t best_state = 0;
		struct note *best = NULL;

		for (uint32_t i = 0; i < used; i++) {
			struct note *n = &notes[i];
			uint32_t state = state_of(n);

			if (note_is(n, state, c, SIGBIT(sig)) &&
			    (!best || n->order < best->order)) {
				best = n;
				best_state = state;
			}
		}
		if (!best)
			return false;
		*ret_info = best->info;
		*ret_process = best->process;
		if (step(best, best_state, best_state - NOTE_READY))
			return true;
	}
}

static bool has_note(struct coro *c, int sig)
{
	uint32_t used = atomic_load_explicit(&notes_used, memory_order_acquire);

	for (uint32_t i = 0; i < used; i++)
		if (note_is(&notes[i], state_of(&notes[i]), c, SIGBIT(sig)))
			return true;
	return false;
}

/* What is pending */

static _Atomic sigbits *pending_of(struct coro *c)
{
	return c ? &c->sigpending : &process_pending;
}

/* What one thread sends another: this is all there is to say of it, so it needs
 * no note. */
static void sent_to_thread(siginfo_t *info, int sig)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = SI_TKILL;
	info->si_pid = sys_getpid();
	info->si_uid = (uid_t)sys_call(SYS_getuid);
}

enum { REFUSED, ADDED, WAS_THERE };

static int add_pending(struct coro *c, int sig, const siginfo_t *info,
		       bool process)
{
	bool plain = c && sig < FIRST_QUEUED && info->si_code == SI_TKILL;
	struct note *n = NULL;
	uint32_t state;
	sigbits before;

	if (!plain) {
		n = write_note(c, sig, info, process);
		if (!n)
			return REFUSED;
	}
	state = n ? state_of(n) : 0;
	/* seq_cst: G1. */
	before = atomic_fetch_or_explicit(pending_of(c), SIGBIT(sig),
					  memory_order_seq_cst);
	if (sig >= FIRST_QUEUED || !(before & SIGBIT(sig)))
		return ADDED;
	/* Of these one that is pending is not pending twice. */
	if (n && state % NOTE_STATES == NOTE_READY)
		step(n, state, state - NOTE_READY);
	return WAS_THERE;
}

static bool take_one(struct coro *c, int sig, siginfo_t *ret_info,
		     bool *ret_process)
{
	_Atomic sigbits *pending = pending_of(c);
	bool got;

	if (sig < FIRST_QUEUED) {
		/* Who clears the bit has the signal. */
		if (!(atomic_fetch_and_explicit(pending, ~SIGBIT(sig),
						memory_order_seq_cst) &
		      SIGBIT(sig)))
			return false;
		*ret_process = false;
		if (!take_note(c, sig, ret_info, ret_process))
			sent_to_thread(ret_info, sig);
		return true;
	}
	got = take_note(c, sig, ret_info, ret_process);
	if (!has_note(c, sig)) {
		atomic_fetch_and_explicit(pending, ~SIGBIT(sig),
					  memory_order_seq_cst);
		/* One that came in between has set the bit for nothing. */
		if (has_note(c, sig))
			atomic_fetch_or_explicit(pending, SIGBIT(sig),
						 memory_order_seq_cst);
	}
	return got;
}

/* The lowest first, and of one number the oldest, as the kernel does. */
static int take(struct coro *c, sigbits set, siginfo_t *ret_info,
		bool *ret_process)
{
	sigbits there;

	while ((there = set & atomic_load_explicit(pending_of(c),
						   memory_order_seq_cst))) {
		int sig = 1 + __builtin_ctzll(there);

		if (take_one(c, sig, ret_info, ret_process))
			return sig;
	}
	return 0;
}

static bool has_pending(struct coro *c, int sig)
{
	return atomic_load_explicit(pending_of(c), memory_order_seq_cst) &
	       SIGBIT(sig);
}

static sigbits deliverable(const struct coro *me)
{
	return atomic_load_explicit(&me->sigpending, memory_order_seq_cst) &
	       ~me->sigmask;
}

int signal_take(struct coro *me, sigbits set, siginfo_t *ret_info)
{
	bool process;
	int sig = take(me, set, ret_info, &process);

	return sig ? sig : take(NULL, set, ret_info, &process);
}

sigbits signal_pending(struct coro *me)
{
	sigbits kernel = 0, ours;
	uint32_t turn;

	sys_call(SYS_rt_sigpending, &kernel, sizeof(kernel));
	/* What is not with the kernel any more the router may have in its hands,
	 * taken for somebody who did not block it; then it is with us soon. */
	if (unlikely(atomic_load_explicit(&router_open, memory_order_relaxed) &
		     me->sigmask))
		wait_for_router();
	/* Nor while it looks for somebody who wants it. */
	do {
		turn = atomic_load_explicit(&routing, memory_order_seq_cst);
		if (turn & 1)
			sys_call(SYS_sched_yield);
		ours = atomic_load_explicit(&me->sigpending, memory_order_seq_cst) |
		       atomic_load_explicit(&process_pending,
					    memory_order_seq_cst);
	} while (turn & 1 || turn != atomic_load_explicit(&routing,
							  memory_order_seq_cst));
	return kernel | ours;
}

/* Main */

static bool is_main(const struct coro *me)
{
	return me->kind == CORO_KIND_THREAD && me->tid == main_tid;
}

static bool main_takes(int sig)
{
	return main_tid &&
	       !(atomic_load_explicit(&main_now, memory_order_relaxed) &
		 SIGBIT(sig));
}

/* With its story, as far as the kernel lets one thread tell another. */
static int to_kernel_thread(int tid, int sig, const siginfo_t *info)
{
	siginfo_t copy = *info;
	int r = (int)sys_call(SYS_rt_tgsigqueueinfo, sys_getpid(), tid, sig,
			      &copy);

	return r == -EPERM ? (int)sys_call(SYS_tgkill, sys_getpid(), tid, sig)
			   : r;
}

static bool send_bare(int tid, int sig)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = BARE;
	return sys_call(SYS_rt_tgsigqueueinfo, sys_getpid(), tid, sig, &info) == 0;
}

/* The kernel delivers it there, and so ends main's waits or restarts them; the
 * story, which it would not take from us, is in a note. */
static bool to_main(int sig, const siginfo_t *info)
{
	siginfo_t back;
	bool process;

	switch (add_pending(&for_main, sig, info, true)) {
	case REFUSED:
		return false;
	case WAS_THERE:
		return true;
	}
	if (send_bare(main_tid, sig))
		return true;
	return !take_one(&for_main, sig, &back, &process);
}

bool signal_story(struct coro *me, int sig, siginfo_t *info)
{
	bool process;

	if (info->si_code != BARE)
		return true;
	if (has_pending(me, sig) && take_one(me, sig, info, &process))
		return true;
	return is_main(me) && has_pending(&for_main, sig) &&
	       take_one(&for_main, sig, info, &process);
}

/* What of a mask a worker's kernel thread lets in though nobody on it wants it: it
 * is on its own stack with the mask of somebody who has left, or its coroutine is
 * just about to end. */
static sigbits lets_in(const struct worker *w, sigbits mask)
{
	const struct coro *c = atomic_load_explicit(&w->current,
						    memory_order_acquire);
	sigbits open = mask & ~read_once(w->kernel_mask);

	if (c && read_once(c->kind) == CORO_KIND_CORO)
		return open & read_once(c->sigmask);
	/* On its own stack for a coroutine, and under its mask. */
	return read_once(w->call) ? 0 : open;
}

/* Such a worker would take from the kernel what main has blocked just now, and if
 * it has no handler, that is the program's end. One that sleeps is told to close
 * its mask, and one that is awake will do so, or run somebody: that is waited for,
 * since whoever has blocked a signal may send it next. Not for ever, should
 * somebody stop that thread. */
static void close_workers(sigbits mask)
{
	uint32_t n = atomic_load_explicit(&sched.nworkers, memory_order_acquire);
	struct timespec brief = { 0, 20000 };
	cogo_time until = 0;

	for (uint32_t i = 0; i < n && i < WORKERS_MAX; i++) {
		struct worker *w = atomic_load_explicit(&sched.workers[i],
							memory_order_acquire);

		while (w && read_once(w->tid) && lets_in(w, mask)) {
			if (!until)
				until = sys_now() + CLOSING;
			else if (sys_now() > until)
				return;
			if (atomic_load_explicit(&w->away, memory_order_acquire))
				kick_thread(w->tid);
			sys_call(SYS_nanosleep, &brief, NULL);
		}
	}
}

static void main_mask_is(sigbits mask)
{
	atomic_store_explicit(&main_now, mask, memory_order_relaxed);
	/* seq_cst: a worker that goes to sleep says so, and looks here then. */
	sigbits before = atomic_exchange_explicit(&sched.main_mask, mask,
						  memory_order_seq_cst);

	if (mask & ~before)
		close_workers(mask);
}

void signal_main_left(void)
{
	main_mask_is(~(sigbits)0);
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

/* The mask of me, which runs, and has or will have it in the kernel too. Without a
 * worker it is the child's only thread: a handler has forked. */
static void adopt_mask(struct coro *me, sigbits mask)
{
	struct worker *w = me->worker;

	mask &= ALL_SIGNALS;
	me->sigmask = mask;
	if (!w)
		return;
	loop_mask_closes(mask & ~w->kernel_mask);
	w->kernel_mask = mask;
}

/* Those of the process that nobody wanted until now. */
static void claim_unwanted(struct coro *me, sigbits mask)
{
	siginfo_t info;
	bool process;
	int sig;

	while ((sig = take(NULL, ~mask, &info, &process))) {
		if (me->kind != CORO_KIND_CORO)
			to_kernel_thread(sys_gettid(), sig, &info);
		else if (add_pending(me, sig, &info, true) == REFUSED)
			sys_call(SYS_kill, sys_getpid(), sig);
	}
}

/* A handler is about to be left, for a mask that may let in what nobody wanted
 * while it ran. */
static void offer_unwanted(sigbits mask)
{
	if (atomic_load_explicit(&process_pending, memory_order_seq_cst) & ~mask)
		poke_router();
}

/* G4: a signal that the router lets in because a coroutine does, when that one
 * does so no longer. After a fence: the mask before what is open; see open_router. */
static void tell_router(sigbits closed)
{
	if (closed & atomic_load_explicit(&router_open, memory_order_relaxed) &
	    ~atomic_load_explicit(&have_handler, memory_order_relaxed))
		wait_for_router();
}

void signal_set_mask(struct coro *me, sigbits mask)
{
	sigbits closed;
	bool restart;

	mask &= ~(SIG_OURS | SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
	if (!me || me->vforked) {
		kernel_mask(SIG_SETMASK, mask, NULL);
		return;
	}
	/* In this order: a handler that the kernel runs in between, and that
	 * parks, comes back under our mask, and one that it runs at the end of
	 * the call may come back on another worker. */
	closed = mask & ~me->sigmask;
	me->sigmask = mask;
	if (is_main(me))
		main_mask_is(mask);
	kernel_mask(SIG_SETMASK, mask, NULL);
	if (me->kind == CORO_KIND_CORO && me->worker)
		adopt_mask(me, mask);
	/* seq_cst: G1, the mask before what is pending; and G4. */
	atomic_thread_fence(memory_order_seq_cst);
	tell_router(closed);
	claim_unwanted(me, mask);
	if (me->kind != CORO_KIND_CORO || !me->worker)
		return;
	if (!deliverable(me))
		return;
	atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
	if (me->in_runtime == 0)
		signal_deliver(me, &restart);
}

/* Actions */

static void lock_actions(sigbits *ret_before)
{
	kernel_mask(SIG_SETMASK, ALL_SIGNALS, ret_before);
	lock(&actions_lock);
}

static void unlock_actions(sigbits before)
{
	unlock(&actions_lock);
	kernel_mask(SIG_SETMASK, before, NULL);
}

/* Handlers look at the table while others change it, and take no lock. */
static struct signal_action read_action(int sig)
{
	struct signal_action act;
	uint32_t v;

	for (;;) {
		v = atomic_load_explicit(&actions_version, memory_order_acquire);
		act = actions[sig];
		atomic_thread_fence(memory_order_acquire);
		if (!(v & 1) && v == atomic_load_explicit(&actions_version,
							  memory_order_relaxed))
			return act;
		sys_call(SYS_sched_yield);
	}
}

static bool is_function(void (*handler)(int))
{
	return handler != SIG_DFL && handler != SIG_IGN;
}

/* Under actions_lock; between the two the kernel is told. */
static void begin_change(void)
{
	atomic_fetch_add_explicit(&actions_version, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void end_change(void)
{
	atomic_fetch_add_explicit(&actions_version, 1, memory_order_release);
}

void signal_get_action(int sig, struct signal_action *ret)
{
	struct kernel_action k;

	*ret = read_action(sig);
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
		.mask = ALL_SIGNALS,
	};

	set_restorer(&k);
	return kernel_sigaction(sig, &k, NULL);
}

int signal_own(int sig, signal_own_fn fn, const char *taken)
{
	struct kernel_action k;
	sigbits before;
	long r;

	lock_actions(&before);
	r = kernel_sigaction(sig, NULL, &k);
	if (r == 0 && k.action && k.action != fn)
		r = -EBUSY;
	if (r == 0) {
		own[sig].fn = fn;
		own[sig].taken = taken;
		r = install_own(sig);
	}
	unlock_actions(before);
	return (int)r;
}

void signal_disown(int sig)
{
	struct kernel_action k = { 0 };

	/* No lock: this is a signal handler, and what it interrupted may hold
	 * it. */
	kernel_sigaction(sig, &k, NULL);
}

/* Under actions_lock. */
static long change_action(int sig, const struct signal_action *act,
			  const struct kernel_action *k, const char **ret_taken)
{
	bool function = is_function(act->handler);
	long r;

	if (!function) {
		/* G4: it shall not be let in for the handler's sake when the
		 * kernel begins to act upon it. */
		atomic_fetch_and_explicit(&have_handler, ~SIGBIT(sig),
					  memory_order_seq_cst);
		if (atomic_load_explicit(&router_open, memory_order_seq_cst) &
		    SIGBIT(sig))
			wait_for_router();
	}
	begin_change();
	if (own[sig].fn && act->handler == SIG_DFL) {
		r = install_own(sig);
	} else {
		r = kernel_sigaction(sig, k, NULL);
		*ret_taken = own[sig].taken;
		own[sig].taken = NULL;
	}
	if (r == 0)
		actions[sig] = *act;
	end_change();
	if (function && r == 0)
		atomic_fetch_or_explicit(&have_handler, SIGBIT(sig),
					 memory_order_seq_cst);
	return r;
}

int signal_set_action(int sig, const struct signal_action *act, bool direct)
{
	struct kernel_action k = { 0 };
	bool ours = is_function(act->handler) && !direct;
	struct coro *me = self();
	const char *taken = NULL;
	sigbits before;
	long r;

	k.action = ours ? wrapper : act->action;
	k.flags = act->flags;
	k.mask = act->mask & ALL_SIGNALS;
	if (ours) {
		/* What is put off must still find its handler: we reset. */
		k.flags &= ~(unsigned long)SA_RESETHAND;
		k.flags |= SA_SIGINFO;
	}
	set_restorer(&k);
	/* A child of vfork has actions of its own, but its parent's memory. */
	if (me && me->vforked) {
		if (ours) {
			k.action = act->action;
			k.flags = act->flags;
			set_restorer(&k);
		}
		return (int)kernel_sigaction(sig, &k, NULL);
	}
	lock_actions(&before);
	r = change_action(sig, act, &k, &taken);
	unlock_actions(before);
	if (taken)
		cogo_warn("%s", taken);
	if (r == 0 && ours)
		poke_router();
	return (int)r;
}

/* SA_RESETHAND: whether this call of the handler is the one that it is for. */
static bool spend(int sig, const struct signal_action *act)
{
	struct signal_action dfl = { .handler = SIG_DFL };
	struct kernel_action k = { 0 };
	const char *taken = NULL;
	sigbits before;
	bool first;

	if (!(act->flags & SA_RESETHAND))
		return true;
	lock_actions(&before);
	first = actions[sig].handler == act->handler;
	if (first) {
		dfl.flags = act->flags;
		change_action(sig, &dfl, &k, &taken);
	}
	unlock_actions(before);
	return first;
}

/* Calling handlers */

struct call {
	const struct signal_action *act;
	int sig;
	siginfo_t *info;
	void *uctx;
};

static long call_it(void *arg)
{
	const struct call *c = arg;

	if (c->act->flags & SA_SIGINFO)
		c->act->action(c->sig, c->info, c->uctx);
	else
		c->act->handler(c->sig);
	return 0;
}

static bool has_altstack(const struct coro *me)
{
	return me->rare && me->rare->altstack.size;
}

bool signal_on_altstack(const struct coro *me, const void *sp)
{
	const struct coro_rare *r = me->rare;

	return r && (uintptr_t)sp - (uintptr_t)r->altstack.low < r->altstack.size;
}

/* On the alternate stack of me if the action asks for it, and me has one and is
 * not on it. */
static void call_on_stack(struct coro *me, const struct signal_action *act,
			  int sig, siginfo_t *info, void *uctx)
{
	struct call c = { act, sig, info, uctx };

	if (act->flags & SA_ONSTACK && has_altstack(me) &&
	    !signal_on_altstack(me, __builtin_frame_address(0)))
		arch_call_on(me->rare->altstack.low + me->rare->altstack.size,
			     call_it, &c);
	else
		call_it(&c);
}

static sigbits mask_in(const void *uctx)
{
	sigbits mask;

	memcpy(&mask, &((const ucontext_t *)uctx)->uc_sigmask, sizeof(mask));
	return mask;
}

static void set_mask_in(void *uctx, sigbits mask)
{
	memcpy(&((ucontext_t *)uctx)->uc_sigmask, &mask, sizeof(mask));
}

/* What hooks want to know of the handlers that ran during their calls. */
static void count(struct coro *me, const struct signal_action *act)
{
	me->handled++;
	if (!(act->flags & SA_RESTART))
		me->handled_hard++;
}

/* Without a handler by now, what was put off is for the kernel after all. */
static void act_by_default(int sig, const struct signal_action *act)
{
	if (act->handler == SIG_DFL)
		sys_call(SYS_kill, sys_getpid(), sig);
}

/* The handlers of what is pending for me and not in `blocked`, on top of its own
 * code; all signals are blocked. Whether one of them wants no call restarted. */
static bool run_pending(struct coro *me, sigbits blocked, void *uctx)
{
	bool process, hard = false;
	struct signal_action act;
	sigbits during;
	siginfo_t info;
	int sig;

	while ((sig = take(me, ~blocked, &info, &process))) {
		act = read_action(sig);
		if (!is_function(act.handler) || !spend(sig, &act)) {
			act.handler = is_function(act.handler) ? SIG_DFL
							       : act.handler;
			act_by_default(sig, &act);
			continue;
		}
		count(me, &act);
		hard |= !(act.flags & SA_RESTART);
		during = (blocked | act.mask) & ~SIG_OURS;
		if (!(act.flags & SA_NODEFER))
			during |= SIGBIT(sig);
		adopt_mask(me, during);
		kernel_mask(SIG_SETMASK, during, NULL);
		call_on_stack(me, &act, sig, &info, uctx);
		/* On another worker, perhaps. */
		kernel_mask(SIG_SETMASK, ~(sigbits)0, NULL);
	}
	return hard;
}

/* The kernel, too, gives back what it found when the signal came: the alternate stack
 * of the kernel thread that the coroutine ran on then. Where it runs by now there is
 * another, and of two with the same one the faults would run over each other. */
static void keep_altstack(void *uctx)
{
	stack_t ss;

	if (sys_call(SYS_sigaltstack, NULL, &ss) == 0 && !(ss.ss_flags & SS_ONSTACK))
		((ucontext_t *)uctx)->uc_stack = ss;
}

/* The last that a handler of ours does on a coroutine (G3): it stays where it is, and
 * from here on it has the mask that the kernel will give it. */
static void resume(struct coro *me, void *uctx)
{
	kernel_mask(SIG_SETMASK, ~(sigbits)0, NULL);
	keep_altstack(uctx);
	adopt_mask(me, mask_in(uctx));
	/* seq_cst: G1, the mask before what is pending. */
	atomic_thread_fence(memory_order_seq_cst);
}

/* A kernel thread's is the kernel's own business, now that it may be done: it is
 * sent the bare signal, and wrapper() takes the rest from the note. */
static void ring(struct coro *me, sigbits set)
{
	for (; set; set &= set - 1)
		send_bare(me->tid, 1 + __builtin_ctzll(set));
}

static void deliver(struct coro *me)
{
	if (me->kind != CORO_KIND_CORO || !me->worker) {
		ring(me, atomic_load_explicit(&me->sigpending,
					      memory_order_seq_cst));
		return;
	}
	if (!deliverable(me))
		return;
	atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
	/* The kernel queues no more for this user: at the next door, then. */
	for (int i = 0; i < 100 && kick_thread(me->worker->tid) == -EAGAIN; i++)
		sys_call(SYS_sched_yield);
}

int signal_deliver(struct coro *me, bool *ret_restart)
{
	uint32_t ran = me->handled, hard = me->handled_hard;

	/* seq_cst: G1, the flag before what is pending. */
	atomic_store_explicit(&me->interrupt, 0, memory_order_seq_cst);
	deliver(me);
	*ret_restart = me->handled_hard == hard;
	return (int)(me->handled - ran);
}

/* Between block_enter and block_exit, and outside the runtime. */
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

/* Of one that lets itself be unwound, wherever it is: it has asked for that, or it
 * waits inside libc in a call that is a cancellation point there, which libc marks in
 * the same way. */
static bool ends_here(const struct coro *me)
{
	uint32_t wishes = atomic_load_explicit(&me->cancel, memory_order_relaxed);

	return cancel_act && is_canceled(me) && (wishes & CANCEL_UNWINDS) &&
	       ((wishes & CANCEL_ASYNC) || tls_in_libcs_point());
}

/* What the kernel would begin again fails instead. A handler may want that, and who
 * is cancelled. A call of libc's own has to say itself what for; one that opens a
 * file does not wait in that sense. */
static void break_off(const struct coro *me, bool hard, void *uctx)
{
	if (hard || (sleeps_in_kernel(me) && is_canceled(me)))
		arch_fail_restart(uctx, EINTR);
	else if (is_canceled(me) && tls_in_libcs_point() &&
		 arch_restart_of(uctx) != SYS_openat)
		arch_fail_restart(uctx, ECANCELED);
}

/* Not coming back: its mask, and the kick, are let in again. */
static void cancel_now(struct coro *me, sigbits mask)
{
	bool asleep = sleeps_in_kernel(me);

	me->in_runtime = 1;
	tls_leave_libcs_point();
	if (asleep)
		block_exit(me);
	if (me->worker)
		adopt_mask(me, mask);
	kernel_mask(SIG_SETMASK, mask & ALL_SIGNALS, NULL);
	me->in_runtime = 0;
	cancel_act(me);
}

void door_deliver(struct coro *me)
{
	bool restart;

	signal_deliver(me, &restart);
	if (ends_here(me))
		cancel_now(me, me->sigmask);
}

int door_deliver_last(struct coro *me)
{
	door_deliver(me);
	return 0;
}

/* Ends c's wait, if it is in one, and queues it. Locks of the scheduler: not
 * in a signal handler, but for the caller's own wait. */
void signal_kick(struct coro *c)
{
	struct worker *w;

	/* seq_cst: pairs with the fence in wait_interrupted (G1). */
	atomic_store_explicit(&c->interrupt, 1, memory_order_seq_cst);
	if (wait_claim_any(c, WAIT_INTERRUPTED)) {
		ready(c);
		return;
	}
	/* Its own door is about to be left. */
	if (c == self() ||
	    atomic_load_explicit(&c->state, memory_order_acquire) != CORO_RUNNING)
		return;
	if (c->kind == CORO_KIND_THREAD) {
		kick_thread(c->tid);
		return;
	}
	/* It may have moved by the time the signal arrives: then it has been
	 * through park, and seen the flag. */
	w = read_once(c->worker);
	if (w && w->tid)
		kick_thread(w->tid);
}

static int post(struct coro *c, int sig, const siginfo_t *info, bool process)
{
	if (c->kind == CORO_KIND_THREAD)
		return to_kernel_thread(c->tid, sig, info);
	switch (add_pending(c, sig, info, process)) {
	case REFUSED:
		return -EAGAIN;
	case WAS_THERE:
		return 0;	/* whoever came first sees to it */
	}
	/* seq_cst: G1, what is pending before the mask. */
	atomic_thread_fence(memory_order_seq_cst);
	/* One who blocks it is not disturbed, unless it waits for it. */
	if (!(c->sigmask & SIGBIT(sig)) ||
	    (atomic_load_explicit(&c->sigwaits, memory_order_relaxed) |
	     atomic_load_explicit(&c->sigwatch, memory_order_relaxed)) & SIGBIT(sig))
		signal_kick(c);
	return 0;
}

int signal_post(struct coro *c, int sig, const siginfo_t *info)
{
	return post(c, sig, info, false);
}

void signal_await(struct coro *me, sigbits set)
{
	/* seq_cst: G1, as a mask. */
	atomic_store_explicit(&me->sigwaits, set, memory_order_seq_cst);
}

void signal_watch(struct coro *me, sigbits set)
{
	/* seq_cst: as above. */
	atomic_store_explicit(&me->sigwatch, set, memory_order_seq_cst);
}

/* The oldest for c of this signal that is younger than *order. */
static bool peek_note(struct coro *c, int sig, uint64_t *older, siginfo_t *ret_info)
{
	uint32_t used = atomic_load_explicit(&notes_used, memory_order_acquire);
	struct note *best = NULL;

	for (uint32_t i = 0; i < used; i++) {
		struct note *n = &notes[i];

		if (note_is(n, state_of(n), c, SIGBIT(sig)) &&
		    n->order + 1 > *older && (!best || n->order < best->order))
			best = n;
	}
	if (!best)
		return false;
	*older = best->order + 1;
	*ret_info = best->info;
	return true;
}

static bool lend_one(int sig, siginfo_t *info, struct signal_loan *loan)
{
	/* To itself a thread may send anything. */
	if (sys_call(SYS_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, info))
		return false;
	loan->lent[sig]++;
	return true;
}

static sigbits lendable(struct coro *me, sigbits set)
{
	return set & me->sigmask &
	       atomic_load_explicit(&me->sigpending, memory_order_seq_cst);
}

bool signal_lends(struct coro *me, sigbits set)
{
	return lendable(me, set);
}

/* What is lent stays noted, so that what comes meanwhile comes after it. */
void signal_lend(struct coro *me, sigbits set, struct signal_loan *ret)
{
	sigbits there = lendable(me, set);
	siginfo_t info;

	memset(ret, 0, sizeof(*ret));
	for (; there; there &= there - 1) {
		int sig = 1 + __builtin_ctzll(there);
		uint64_t older = 0;
		bool noted = false;

		while (peek_note(me, sig, &older, &info)) {
			noted = true;
			if (!lend_one(sig, &info, ret) || sig < FIRST_QUEUED)
				break;
		}
		if (noted || sig >= FIRST_QUEUED)
			continue;
		sent_to_thread(&info, sig);
		lend_one(sig, &info, ret);
	}
}

void signal_take_back(struct coro *me, const struct signal_loan *loan)
{
	static const struct timespec none;
	siginfo_t info;
	bool process;

	for (int sig = 1; sig <= NSIG_KERNEL; sig++) {
		sigbits one = SIGBIT(sig);

		for (int i = 0; i < loan->used[sig]; i++)
			take_one(me, sig, &info, &process);
		/* The thread's own come before the process's. */
		for (int i = loan->used[sig]; i < loan->lent[sig]; i++)
			sys_call(SYS_rt_sigtimedwait, &one, &info, &none,
				 sizeof(one));
	}
}

/* What the kernel brings */

/* To this kernel thread, and nobody else: from the thread itself, or by what it
 * did. */
static bool sent_to_this_thread(int sig, const siginfo_t *info)
{
	if (info->si_code == SI_TKILL)
		return true;
	return (sig == SIGPIPE || sig == SIGXFSZ) && info->si_code == SI_USER &&
	       info->si_pid == sys_getpid();
}

/* There is no room to put it down: back to the kernel, which finds another, or
 * this thread again once it has a new mask. */
static void refuse(struct coro *me, int sig, const siginfo_t *info, bool process,
		   void *uctx)
{
	siginfo_t copy = *info;

	set_mask_in(uctx, mask_in(uctx) | SIGBIT(sig));
	if (me->worker)
		me->worker->kernel_mask |= SIGBIT(sig);
	if (process && sys_call(SYS_rt_sigqueueinfo, sys_getpid(), sig, &copy))
		sys_call(SYS_kill, sys_getpid(), sig);
	else if (!process)
		to_kernel_thread(sys_gettid(), sig, info);
}

/* For the router to find somebody. */
static void to_process(struct coro *me, int sig, const siginfo_t *info,
		       void *uctx)
{
	struct worker *w = me->worker;

	if (add_pending(NULL, sig, info, true) == REFUSED) {
		refuse(me, sig, info, true, uctx);
		return;
	}
	/* Not to be taken by this one again and again while nobody wants it. A
	 * worker that is not asleep has a new mask soon. */
	if (w && me->kind == CORO_KIND_ROOT &&
	    atomic_load_explicit(&w->away, memory_order_relaxed)) {
		set_mask_in(uctx, mask_in(uctx) | SIGBIT(sig));
		w->kernel_mask |= SIGBIT(sig);
	}
	poke_router();
}

/* Me is in the runtime. */
static void put_off(struct coro *me, int sig, siginfo_t *info, bool process,
		    void *uctx)
{
	if (add_pending(me, sig, info, process) == REFUSED) {
		refuse(me, sig, info, process, uctx);
		return;
	}
	atomic_store_explicit(&me->interrupt, 1, memory_order_seq_cst);
	/* In a call that asks before it sleeps and looks afterwards, as those do
	 * that a hook makes: it returns, and what there is to do is done there. */
	if (arch_fail_unless(uctx))
		return;
	/* It may have opened a wait and looked at the flag before: end that.
	 * Nothing of this takes a lock, since one that has not left its stack is
	 * not queued by us. */
	if (wait_claim_any(me, WAIT_INTERRUPTED))
		ready(me);
}

/* While a handler runs on main others get what it blocks; the sleepers need not
 * hear of it. */
static void show_for_a_while(struct coro *me, sigbits mask)
{
	me->sigmask = mask;
	if (is_main(me))
		atomic_store_explicit(&main_now, mask, memory_order_relaxed);
}

/* The kernel has set the mask for the handler and will restore it; me's own
 * follows. */
static void call_as_thread(struct coro *me, const struct signal_action *act,
			   int sig, siginfo_t *info, void *uctx)
{
	struct call c = { act, sig, info, uctx };
	sigbits before, now;

	if (!spend(sig, act)) {
		signal_disown(sig);
		to_kernel_thread(sys_gettid(), sig, info);
		return;
	}
	if (!me || me->vforked || me->kind == CORO_KIND_ROOT) {
		call_it(&c);
		return;
	}
	count(me, act);
	before = me->sigmask;
	kernel_mask(SIG_BLOCK, 0, &now);
	show_for_a_while(me, now);
	call_it(&c);
	show_for_a_while(me, before);
	offer_unwanted(before);
	/* One bare signal may stand for several, or be lost in another. */
	if (has_pending(me, sig) || (is_main(me) && has_pending(&for_main, sig)))
		ring(me, SIGBIT(sig));
}

/* To what is pending for me, when the kernel has restored its mask. */
static void come_again(struct coro *me)
{
	if (me->worker)
		kick_thread(me->worker->tid);
	else
		deliver(me);
}

/* The end of a frame on top of a coroutine's own code. */
static void leave_frame(struct coro *me, void *uctx)
{
	kernel_mask(SIG_BLOCK, SIGBIT(SIG_KICK), NULL);
	me->in_runtime = 0;
	resume(me, uctx);
	offer_unwanted(me->sigmask);
	/* What came meanwhile, when the kernel has restored the mask. */
	if (deliverable(me) ||
	    atomic_load_explicit(&me->interrupt, memory_order_relaxed)) {
		atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
		come_again(me);
	}
}

/* The same on a worker. The handler may park, so not with the kick blocked, as
 * it is when one came together with the signal. */
static void call_as_coroutine(struct coro *me, const struct signal_action *act,
			      int sig, siginfo_t *info, void *uctx)
{
	struct call c = { act, sig, info, uctx };
	sigbits now;

	if (!spend(sig, act)) {
		signal_disown(sig);
		sys_call(SYS_kill, sys_getpid(), sig);
		return;
	}
	count(me, act);
	kernel_mask(SIG_UNBLOCK, SIGBIT(SIG_KICK), &now);
	adopt_mask(me, now);
	me->in_runtime = 0;
	call_it(&c);
	me->in_runtime = 1;
}

/* A fault is the running code's own and cannot wait. */
static void fault(struct coro *me, const struct signal_action *act, int sig,
		  siginfo_t *info, void *uctx)
{
	bool coroutine = me && me->kind == CORO_KIND_CORO && me->worker;
	bool onstack = coroutine && act->flags & SA_ONSTACK;
	uint32_t doors;
	sigbits now;

	/* Where the program gave it no other stack to run on, its handler would
	 * not have been called. */
	if ((overflow_check(info, uctx) && !(onstack && has_altstack(me))) ||
	    !is_function(act->handler)) {
		signal_disown(sig);
		return;
	}
	if (!coroutine) {
		call_as_thread(me, act, sig, info, uctx);
		return;
	}
	if (!spend(sig, act)) {
		signal_disown(sig);
		return;
	}
	doors = me->in_runtime;
	kernel_mask(SIG_BLOCK, 0, &now);
	adopt_mask(me, now);
	me->in_runtime = 0;
	/* The kernel's frame is on the worker's stack for such things, and must
	 * be there when the handler returns: so it keeps its kernel thread. */
	if (onstack) {
		me->bound++;
		me->faulted++;
	}
	call_on_stack(me, act, sig, info, uctx);
	if (onstack && me->faulted) {
		me->bound--;
		me->faulted--;
	}
	me->in_runtime = doors;
	resume(me, uctx);
}

void signal_jumped(struct coro *me)
{
	me->bound -= me->faulted;
	me->faulted = 0;
	if (me->in_runtime || !sleeps_in_kernel(me))
		return;
	/* Out of a handler that ran while a call slept: it sleeps no more. */
	door_enter(me);
	block_exit(me);
	door_leave(me);
}

/* On top of the program's own code. */
static void on_coroutine(struct coro *me, const struct signal_action *act,
			 int sig, siginfo_t *info, bool process, void *uctx)
{
	siginfo_t oldest;

	/* On the worker's own stack for faults it could not park: on its own, in
	 * a moment. */
	if (act->flags & SA_ONSTACK) {
		put_off(me, sig, info, process, uctx);
		return;
	}
	/* Those of one number in the order of their coming. */
	if (sig >= FIRST_QUEUED && has_pending(me, sig) &&
	    add_pending(me, sig, info, process) != REFUSED &&
	    take_one(me, sig, &oldest, &process))
		info = &oldest;
	call_as_coroutine(me, act, sig, info, uctx);
}

/* Of a timer or a descriptor (F_SETOWN_EX, F_SETSIG), which may be for one thread. */
static bool may_be_for_a_thread(int sig, const siginfo_t *info)
{
	return info->si_code == SI_TIMER ||
	       (sig == SIGIO && info->si_code == SI_KERNEL) ||
	       (info->si_code >= POLL_IN && info->si_code <= POLL_HUP &&
		!((FAULTS | SIGBIT(SIGCHLD)) & SIGBIT(sig)));
}

/* On a worker, from outside it. */
static void on_worker_thread(struct coro *me, const struct signal_action *act,
			     int sig, siginfo_t *info, void *uctx)
{
	/* For one thread, and it has this kernel thread for it; the process's own
	 * it takes as well as anybody. */
	bool process = !sent_to_this_thread(sig, info) &&
		       !(me->bound && may_be_for_a_thread(sig, info));

	if (me->kind == CORO_KIND_ROOT) {
		/* libc, on a worker's own stack, means itself. */
		if (!process && is_function(act->handler))
			call_as_thread(me, act, sig, info, uctx);
		else if (!process || !main_takes(sig) || !to_main(sig, info))
			to_process(me, sig, info, uctx);
		return;
	}
	if (me->in_runtime) {
		if (process && main_takes(sig) && to_main(sig, info))
			return;
		/* The worker's mask, but not me's, lets it in. */
		if (process && me->sigmask & SIGBIT(sig))
			to_process(me, sig, info, uctx);
		else
			put_off(me, sig, info, process, uctx);
		return;
	}
	/* Until the end a kick leaves us alone. */
	me->in_runtime = 1;
	if (!(process && main_takes(sig) && to_main(sig, info)) &&
	    is_function(act->handler))
		on_coroutine(me, act, sig, info, process, uctx);
	leave_frame(me, uctx);
}

/* On a kernel thread of the program's: what the kernel has brought, or what was
 * put off and is older. False: a bare one whose note has been taken. */
static bool in_turn(struct coro *me, int sig, siginfo_t *info)
{
	bool process;

	if (sig >= FIRST_QUEUED && info->si_code != BARE && has_pending(me, sig) &&
	    add_pending(me, sig, info, false) != REFUSED)
		take_one(me, sig, info, &process);
	return signal_story(me, sig, info);
}

static void on_thread_in_runtime(struct coro *me, int sig, siginfo_t *info,
				 void *uctx)
{
	/* A bare one comes again, in its turn. */
	if (info->si_code == BARE && has_pending(me, sig))
		atomic_store_explicit(&me->interrupt, 1, memory_order_seq_cst);
	else if (signal_story(me, sig, info))
		put_off(me, sig, info, false, uctx);
}

/* Whether a handler ends it whatever its action says; as the kernel has it. */
static bool never_restarts(long nr)
{
	switch (nr) {
#ifdef SYS_poll
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
	case SYS_pause:
#endif
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_rt_sigsuspend:
	case SYS_semtimedop:
	case SYS_msgsnd:
	case SYS_msgrcv:
	case SYS_restart_syscall:	/* poll and sleeps, that had begun */
		return true;
	default:
		return false;
	}
}

/* The kernel had chosen main, and woken it; but a worker was first. Main found
 * nothing and is about to wait again when what is sent on arrives: that shall end
 * its wait as it would have. */
static void end_wait(const struct signal_action *act, void *uctx)
{
	long nr = arch_restart_of(uctx);

	if (nr >= 0 && (!(act->flags & SA_RESTART) || never_restarts(nr)))
		arch_fail_restart(uctx, EINTR);
}

/* What the kernel calls on whatever thread it chose. */
static void wrapper(int sig, siginfo_t *info, void *uctx)
{
	struct coro *me = self();
	struct signal_action act = read_action(sig);
	int saved = errno_get();
	bool bare;

	if (SIGBIT(sig) & FAULTS && info->si_code > 0) {
		fault(me, &act, sig, info, uctx);
		return;
	}
	if (me && !me->vforked && me->kind != CORO_KIND_THREAD) {
		on_worker_thread(me, &act, sig, info, uctx);
		return;
	}
	if (me && !me->vforked && me->in_runtime) {
		on_thread_in_runtime(me, sig, info, uctx);
		errno_set(saved);
		return;
	}
	bare = info->si_code == BARE;
	if (!is_function(act.handler) ||
	    (me && !me->vforked && !in_turn(me, sig, info)))
		return;
	if (bare)
		end_wait(&act, uctx);
	call_as_thread(me, &act, sig, info, uctx);
}

/* Kicks */

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

static void kicked_thread(struct coro *me)
{
	if (me->in_runtime)
		return;
	deliver(me);
	if (ends_here(me))
		cancel_now(me, me->sigmask);
}

static void kicked_coroutine(struct coro *me, void *uctx)
{
	sigbits blocked;
	bool hard;

	if (me->in_runtime)
		return;		/* its door is about to be left */
	kernel_mask(SIG_SETMASK, ~(sigbits)0, &blocked);
	/* seq_cst: G1, the flag before what is pending. */
	atomic_store_explicit(&me->interrupt, 0, memory_order_seq_cst);
	/* As the kernel has it now, and not as me says: libc blocks everything
	 * for a moment here and there, or waits under another mask. */
	hard = run_pending(me, blocked, uctx);
	resume(me, uctx);
	offer_unwanted(me->sigmask);
	if (deliverable(me)) {
		atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
		/* Not before the next door if it is libc that blocks it. */
		if (deliverable(me) & ~blocked)
			come_again(me);
	}
	break_off(me, hard, uctx);
	if (ends_here(me))
		cancel_now(me, mask_in(uctx));
}

/* Somebody wants this kernel thread's attention. */
static void kicked(int sig UNUSED, siginfo_t *info UNUSED, void *uctx)
{
	struct coro *me = self();
	int saved = errno_get();

	/* First: it is meant for this kernel thread, and a handler may come back
	 * on another. */
	signal_run_kick();
	errno_set(saved);
	if (!me || me->vforked)
		return;
	if (me->kind == CORO_KIND_ROOT) {
		/* See close_workers. It is asleep, and its mask its own. */
		if (me->worker && atomic_load_explicit(&me->worker->away,
						       memory_order_relaxed)) {
			set_mask_in(uctx, ALL_SIGNALS);
			adopt_mask(me, ALL_SIGNALS);
		}
		return;
	}
	/* See put_off. */
	if (atomic_load_explicit(&me->interrupt, memory_order_relaxed) &&
	    arch_fail_unless(uctx))
		return;
	if (me->kind == CORO_KIND_THREAD || !me->worker)
		kicked_thread(me);
	else
		kicked_coroutine(me, uctx);
}

void signal_on_cancel(void (*act)(struct coro *me))
{
	cancel_act = act;
}

/* The router */

struct choice {
	sigbits bit;
	struct coro *waits;	/* for it, though it blocks it */
	struct coro *parked, *running;
};

static long consider(struct coro *c, void *arg)
{
	struct choice *ch = arg;
	uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);

	if (c->kind == CORO_KIND_ROOT || s == CORO_FREE || s == CORO_DONE ||
	    s == CORO_NEW)
		return 0;
	if (atomic_load_explicit(&c->sigwaits, memory_order_relaxed) & ch->bit) {
		ch->waits = c;
		return 1;
	}
	if (c->sigmask & ch->bit)
		return 0;
	if (s == CORO_PARKED || s == CORO_ASLEEP)
		ch->parked = c;
	else
		ch->running = c;
	return 0;
}

/* Somebody does not block it who is not main. */
static bool is_open(int sig)
{
	struct choice ch = { .bit = SIGBIT(sig) };

	coro_each(consider, &ch);
	return ch.waits || ch.parked || ch.running;
}

/* Those without a handler only while somebody lets them in (G4): he shows his
 * mask, and then looks at what is open; we say what is open, and then look at
 * the masks. */
static sigbits really_open(sigbits open)
{
	sigbits there = atomic_load_explicit(&have_handler, memory_order_seq_cst);

	for (sigbits rest = open & ~there; rest; rest &= rest - 1) {
		int sig = 1 + __builtin_ctzll(rest);

		if (!is_open(sig))
			open &= ~SIGBIT(sig);
	}
	return open;
}

static void open_router(sigbits open)
{
	sigbits before = atomic_load_explicit(&router_open, memory_order_relaxed);

	atomic_store_explicit(&router_open, before | open, memory_order_seq_cst);
	open = really_open(open);
	if (open != before)
		kernel_mask(SIG_SETMASK, ALL_SIGNALS & ~open, NULL);
	/* release: pairs with the acquire in wait_for_router, below. */
	atomic_store_explicit(&router_open, open, memory_order_release);
}

/* Gives a signal of the process to somebody who does not block it. False: it is
 * nobody's, or that of one who waits for it and shall fetch it. */
static bool route(int sig, siginfo_t *info, struct coro **ret_waits)
{
	struct choice ch = { .bit = SIGBIT(sig) };
	struct coro *c;

	if (main_takes(sig) && to_main(sig, info))
		return true;
	coro_each(consider, &ch);
	*ret_waits = NULL;
	c = ch.waits ? ch.waits : ch.parked ? ch.parked : ch.running;
	if (!c)
		return false;
	if (is_main(c))
		return to_main(sig, info);
	if (ch.waits && c->kind == CORO_KIND_CORO) {
		*ret_waits = c;
		return false;
	}
	return post(c, sig, info, true) == 0;
}

/* What has come to us. What nobody wants stays pending until one waits for it or
 * lets it in; any more of it the kernel shall keep. */
static void route_all(void)
{
	struct coro *waits;
	sigbits left = 0;
	siginfo_t info;
	bool process;
	int sig;

	atomic_fetch_add_explicit(&routing, 1, memory_order_seq_cst);
	while ((sig = take(NULL, ~left, &info, &process))) {
		if (route(sig, &info, &waits))
			continue;
		left |= SIGBIT(sig);
		add_pending(NULL, sig, &info, true);
		if (waits) {
			signal_kick(waits);
			continue;
		}
		atomic_fetch_and_explicit(&sched.left_open, ~SIGBIT(sig),
					  memory_order_seq_cst);
		open_router(atomic_load_explicit(&router_open,
						 memory_order_relaxed) &
			    ~SIGBIT(sig));
		/* Somebody may have let it in, or waited for it, while it was not
		 * to be seen. */
		if (main_takes(sig) || is_open(sig))
			left &= ~SIGBIT(sig);
	}
	atomic_fetch_add_explicit(&routing, 1, memory_order_seq_cst);
}

static void *router(void *arg UNUSED)
{
	struct coro *me = coro_adopt(CORO_KIND_ROOT);
	uint32_t seen;

	if (!me)
		cogo_throw("no memory for the one who routes signals");
	me->in_runtime = 1;
	while (!sched_stopping()) {
		/* acquire: pairs with the release in poke_router. */
		seen = atomic_load_explicit(&sched.router_word,
					    memory_order_acquire);
		open_router(atomic_load_explicit(&sched.left_open,
						 memory_order_seq_cst) &
			    ~FAULTS & ALL_SIGNALS);
		/* release: pairs with the acquire in wait_for_router. */
		atomic_store_explicit(&router_passed, seen, memory_order_release);
		route_all();
		sys_futex_wait(&sched.router_word, seen, COGO_FOREVER);
	}
	coro_put_thread(me);
	return NULL;
}

void signal_poke(void)
{
	poke_router();
}

sigbits signal_shut(struct coro *me)
{
	sigbits closed = ~me->sigmask;

	if (me->kind == CORO_KIND_CORO && me->worker)
		me->sigmask = ALL_SIGNALS;
	else
		signal_set_mask(me, ~(sigbits)0);
	return closed;
}

void signal_end(struct coro *me, sigbits closed)
{
	bool process;
	siginfo_t info;
	int sig;

	if (me->kind == CORO_KIND_CORO && me->worker) {
		tell_router(closed);
		/* The kernel's too only where main blocks some: what the worker's
		 * mask still lets in is put off for me, who is in the runtime, or
		 * is main's. */
		if (unlikely(closed & atomic_load_explicit(&sched.main_mask,
							   memory_order_relaxed)))
			signal_set_mask(me, ~(sigbits)0);
	}
	/* What was sent to it alone ends with it. */
	while ((sig = take(me, ~(sigbits)0, &info, &process)))
		if (process && add_pending(NULL, sig, &info, true) != REFUSED)
			poke_router();
}

int signal_start(void)
{
	struct kernel_action k = { .action = kicked,
				   .flags = SA_SIGINFO | SA_RESTART };

	set_restorer(&k);
	kernel_sigaction(SIG_KICK, &k, NULL);
	if (!main_tid) {
		struct coro *first = coro_of_tid(sys_getpid());

		main_tid = first ? sys_getpid() : 0;
		if (first)
			main_mask_is(first->sigmask);
	}
	return worker_start_surely(router, NULL);
}

void signal_fork_child(void)
{
	struct coro *me = self();
	stack_t ss = { 0 };

	/* What was pending for others is theirs; a child begins with nothing
	 * pending. */
	for (uint32_t i = 0; i < notes_used; i++)
		atomic_store_explicit(&notes[i].state, NOTE_FREE,
				      memory_order_relaxed);
	atomic_store_explicit(&process_pending, 0, memory_order_relaxed);
	atomic_store_explicit(&for_main.sigpending, 0, memory_order_relaxed);
	atomic_store_explicit(&router_open, 0, memory_order_relaxed);
	atomic_store_explicit(&routing, 0, memory_order_relaxed);
	atomic_store_explicit(&sched.left_open, 0, memory_order_relaxed);
	main_mask_is(me ? me->sigmask : 0);
	main_tid = sys_getpid();
	if (!me)
		return;
	atomic_store_explicit(&me->sigpending, 0, memory_order_relaxed);
	/* A plain thread now, as far as the kernel is concerned. */
	if (has_altstack(me)) {
		ss.ss_sp = me->rare->altstack.low;
		ss.ss_size = me->rare->altstack.size;
		sys_call(SYS_sigaltstack, &ss, NULL);
	}
}
