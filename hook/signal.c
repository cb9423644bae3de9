/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/signal.c - the program's view of signals.
 *
 * Actions are the process's and go through runtime/fault; masks are the
 * coroutine's; what is sent to a thread goes to a coroutine. On kernel threads
 * the kernel does all this itself, and is left to. */
#include "base/errno.h"
#include "base/sys.h"
#include "fault/signal.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/thread.h"
#include "sched/block.h"
#include "sched/park.h"
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define NSEC 1000000000ll
#define SIGSET_BYTES 8
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static sigbits bits_of(const sigset_t *set)
{
	sigbits b;

	memcpy(&b, set, sizeof(b));
	return b;
}

static void set_of(sigset_t *set, sigbits b)
{
	memset(set, 0, sizeof(*set));
	memcpy(set, &b, sizeof(b));
}

static bool valid(int sig)
{
	return sig >= 1 && sig <= 64 && sig != 32 && sig != 33;
}

/* A coroutine as far as signals go: bound ones too. */
static struct coro *coroutine(void)
{
	struct coro *me = self();

	return me && me->kind == CORO_KIND_CORO ? me : NULL;
}

/* Actions. Without coroutines there is nothing to put off, and the kernel gets
 * the program's functions as they are. */

HOOKED int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct signal_action a, before;
	int r;

	if (!gate_ours)
		return REAL(sigaction)(sig, act, old);
	if (!valid(sig))
		return (int)gate_errno(-EINVAL);
	if (old)
		signal_get_action(sig, &before);
	if (act) {
		a.handler = act->sa_handler;
		a.flags = (unsigned)act->sa_flags;
		a.mask = bits_of(&act->sa_mask);
		r = signal_set_action(sig, &a, false);
		if (r)
			return (int)gate_errno(r);
	}
	if (old) {
		old->sa_handler = before.handler;
		old->sa_flags = (int)before.flags;
		set_of(&old->sa_mask, before.mask);
	}
	return 0;
}
ALIAS(__sigaction, sigaction);

static sigbits interrupting;	/* siginterrupt: no SA_RESTART from signal() */

static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags }, old;

	if (handler == SIG_ERR || !valid(sig)) {
		errno_set(EINVAL);
		return SIG_ERR;
	}
	if (!(flags & SA_NODEFER))
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

HOOKED sighandler_t signal(int sig, sighandler_t handler)
{
	if (!gate_ours)
		return REAL(signal)(sig, handler);
	return set_handler(sig, handler, valid(sig) && (interrupting & SIGBIT(sig))
						 ? 0 : SA_RESTART);
}
ALIAS(bsd_signal, signal);
ALIAS(ssignal, signal);

HOOKED sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	if (!gate_ours)
		return REAL(sysv_signal)(sig, handler);
	return set_handler(sig, handler, (int)(SA_RESETHAND | SA_NODEFER));
}
ALIAS(__sysv_signal, sysv_signal);

HOOKED int siginterrupt(int sig, int on)
{
	struct sigaction act;

	if (!gate_ours)
		return REAL(siginterrupt)(sig, on);
	if (sigaction(sig, NULL, &act))
		return -1;
	if (on) {
		interrupting |= SIGBIT(sig);
		act.sa_flags &= ~SA_RESTART;
	} else {
		interrupting &= ~SIGBIT(sig);
		act.sa_flags |= SA_RESTART;
	}
	return sigaction(sig, &act, NULL);
}

/* Masks */

static int change_mask(int how, const sigset_t *set, sigset_t *old)
{
	struct coro *me = self();
	sigbits before, now;

	/* libc's own does it for the kernel thread; ours remembers what it did
	 * there, for the router. */
	before = now = signal_mask(me);
	if (set) {
		switch (how) {
		case SIG_BLOCK:
			now |= bits_of(set);
			break;
		case SIG_UNBLOCK:
			now &= ~bits_of(set);
			break;
		case SIG_SETMASK:
			now = bits_of(set);
			break;
		default:
			return EINVAL;
		}
	}
	if (old)
		set_of(old, before);
	if (set)
		signal_set_mask(me, now);
	return 0;
}

HOOKED int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	if (!gate_ours)
		return REAL(pthread_sigmask)(how, set, old);
	return change_mask(how, set, old);
}

HOOKED int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	if (!gate_ours)
		return REAL(sigprocmask)(how, set, old);
	return (int)gate_return(-change_mask(how, set, old));
}

HOOKED int sigblock(int mask)
{
	sigset_t set, old;

	set_of(&set, (unsigned)mask);
	sigprocmask(SIG_BLOCK, &set, &old);
	return (int)bits_of(&old);
}

HOOKED int sigsetmask(int mask)
{
	sigset_t set, old;

	set_of(&set, (unsigned)mask);
	sigprocmask(SIG_SETMASK, &set, &old);
	return (int)bits_of(&old);
}

HOOKED int sighold(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	return sigaddset(&set, sig) ? -1 : sigprocmask(SIG_BLOCK, &set, NULL);
}

HOOKED int sigrelse(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	return sigaddset(&set, sig) ? -1 : sigprocmask(SIG_UNBLOCK, &set, NULL);
}

HOOKED int sigignore(int sig)
{
	return set_handler(sig, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

HOOKED sighandler_t sigset(int sig, sighandler_t disposition)
{
	sighandler_t before;
	sigset_t set, old;

	sigemptyset(&set);
	if (sigaddset(&set, sig))
		return SIG_ERR;
	if (disposition == SIG_HOLD) {
		struct sigaction act;

		if (sigprocmask(SIG_BLOCK, &set, &old) || sigaction(sig, NULL, &act))
			return SIG_ERR;
		return sigismember(&old, sig) ? SIG_HOLD : act.sa_handler;
	}
	before = set_handler(sig, disposition, 0);
	if (before == SIG_ERR || sigprocmask(SIG_UNBLOCK, &set, &old))
		return SIG_ERR;
	return sigismember(&old, sig) ? SIG_HOLD : before;
}

HOOKED int sigpending(sigset_t *set)
{
	struct coro *me = self();

	if (!me || me->vforked || !gate_ours)
		return REAL(sigpending)(set);
	/* Main's, too: what was the process's, nobody took, and waits with us. */
	set_of(set, signal_pending(me) & signal_mask(me));
	return 0;
}

/* Jumping out of a handler restores a mask inside libc, where we do not see
 * it: so the same is said to us first. */
static void __attribute__((noreturn)) jump(struct __jmp_buf_tag *buf, int value,
					   void (*real)(struct __jmp_buf_tag *, int))
{
	struct coro *me = self();

	if (coroutine())
		signal_jumped(me);
	if (me && buf->__mask_was_saved)
		signal_set_mask(me, bits_of((const sigset_t *)&buf->__saved_mask));
	real(buf, value);
	__builtin_unreachable();
}

HOOKED void siglongjmp(sigjmp_buf buf, int value)
{
	jump(buf, value, REAL(siglongjmp));
}
ALIAS(longjmp, siglongjmp);
ALIAS(_longjmp, siglongjmp);

void __longjmp_chk(sigjmp_buf buf, int value);

HOOKED void __longjmp_chk(sigjmp_buf buf, int value)
{
	jump(buf, value, REAL(__longjmp_chk));
}

/* And so does going on with another context. What a context's end goes on with,
 * by uc_link, we do not see. */

HOOKED int setcontext(const ucontext_t *to)
{
	struct coro *me = self();
	sigbits mask = bits_of(&to->uc_sigmask);

	if (me && gate_ours && mask != signal_mask(me))
		signal_set_mask(me, mask);
	return REAL(setcontext)(to);
}

HOOKED int swapcontext(ucontext_t *restrict from, const ucontext_t *restrict to)
{
	struct coro *me = self();
	volatile bool back = false;

	if (!me || !gate_ours || bits_of(&to->uc_sigmask) == signal_mask(me))
		return REAL(swapcontext)(from, to);
	/* In two steps, for the mask to be kept is the one from before. */
	if (getcontext(from))
		return -1;
	if (back)
		return 0;
	back = true;
	return setcontext(to);
}

/* Sending */

static void sent_by_us(siginfo_t *info, int sig, int code)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = code;
	info->si_pid = sys_getpid();
	info->si_uid = (uid_t)sys_call(SYS_getuid);
}

/* To a coroutine. What the signal does by default it does to the process. */
static int send(struct coro *c, int sig, const siginfo_t *info)
{
	struct coro *me = self();
	struct signal_action act;
	int r = 0;

	if (sig < 0 || sig > 64 || sig == 32 || sig == 33)
		return EINVAL;
	if (sig == 0)
		return 0;
	signal_get_action(sig, &act);
	if (act.handler == SIG_IGN && !(c->sigmask & SIGBIT(sig)))
		return 0;
	if (act.handler == SIG_DFL && !(c->sigmask & SIGBIT(sig)))
		return (int)-sys_call(SYS_kill, sys_getpid(), sig);
	if (me)
		door_enter(me);
	r = signal_post(c, sig, info);
	if (me)
		door_leave(me);
	return -r;
}

HOOKED int pthread_kill(pthread_t thread, int sig)
{
	struct coro *c = thread_coro(thread);
	siginfo_t info;

	if (!c)
		return thread_is_ours(thread) ? ESRCH
					      : REAL(pthread_kill)(thread, sig);
	if (sig < 0 || sig > 64)
		return EINVAL;
	if (c->thread && atomic_load_explicit(&c->thread->life,
					      memory_order_acquire) == THREAD_ENDED)
		return 0;	/* as glibc: a thread not yet joined is there */
	sent_by_us(&info, sig, SI_TKILL);
	return send(c, sig, &info);
}

HOOKED int pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
	struct coro *c = thread_coro(thread);
	siginfo_t info;

	if (!c)
		return thread_is_ours(thread)
			       ? ESRCH : REAL(pthread_sigqueue)(thread, sig, value);
	sent_by_us(&info, sig, SI_QUEUE);
	info.si_value = value;
	return send(c, sig, &info);
}

HOOKED int raise(int sig)
{
	struct coro *me = coroutine();
	struct signal_action act;
	siginfo_t info;
	int r;

	if (!me)
		return REAL(raise)(sig);
	if (sig < 0 || sig > 64 || sig == 32 || sig == 33)
		return (int)gate_errno(-EINVAL);
	if (sig == 0)
		return 0;
	signal_get_action(sig, &act);
	if (act.handler != SIG_DFL || me->sigmask & SIGBIT(sig)) {
		sent_by_us(&info, sig, SI_TKILL);
		r = send(me, sig, &info);
		return (int)gate_return(-r);
	}
	/* The kernel's business. No handler moves us to another worker before it
	 * is on its way. */
	door_enter(me);
	r = (int)sys_call(SYS_tgkill, sys_getpid(), sys_gettid(), sig);
	door_leave(me);
	return (int)gate_return(r);
}
ALIAS(gsignal, raise);

/* Waiting for signals that are blocked.
 *
 * The kernel knows best what is pending for the process, so the wait is the
 * kernel's, on this kernel thread, as a declared hand-off. What is sent to the
 * coroutine alone stands in our notes: when one is written the call is made to
 * fail, and we look again. */

static long wait_in_kernel(struct coro *me, sigbits set, siginfo_t *info,
			   cogo_time deadline)
{
	struct timespec room, *span = sys_left(deadline, &room);
	long r;

	block_enter(me, WHY_SIGNAL);
	r = gate_call(me, SYS_rt_sigtimedwait, (const long[6]){
		(long)&set, (long)info, (long)span, SIGSET_BYTES });
	block_exit(me);
	return r;
}

static int wait_for(struct coro *me, sigbits set, siginfo_t *info,
		    cogo_time deadline, bool restart)
{
	long r;

	set &= ~SIG_OURS;
	door_enter(me);
	cancel_point(me);
	signal_await(me, set);
	do {
		/* A note that comes after this has left its mark for the call. */
		r = signal_take(me, set, info);
		if (r == 0)
			r = wait_in_kernel(me, set, info, deadline);
	} while (r == -EINTR && (r = gate_interrupted(me, restart)) == 0);
	signal_await(me, 0);
	door_leave(me);
	/* As libc has it. */
	if (r > 0 && info->si_code == SI_TKILL)
		info->si_code = SI_USER;
	return (int)r;
}

/* A kernel thread's. It may have been told of a signal of the process's by the
 * router, which knows more of it than the kernel. */
static int wait_as_thread(const sigset_t *set, siginfo_t *info,
			  const struct timespec *timeout)
{
	struct coro *me = self();
	int r;

	if (!me || !gate_ours)
		return REAL(sigtimedwait)(set, info, timeout);
	signal_await(me, bits_of(set));
	do {
		r = signal_take(me, bits_of(set), info);
		if (r == 0)
			r = REAL(sigtimedwait)(set, info, timeout);
	} while (r > 0 && !signal_story(me, r, info));
	signal_await(me, 0);
	if (r > 0 && info->si_code == SI_TKILL)
		info->si_code = SI_USER;
	return r;
}

HOOKED int sigtimedwait(const sigset_t *set, siginfo_t *info,
			const struct timespec *timeout)
{
	struct coro *me = coroutine();
	cogo_time deadline = COGO_FOREVER;
	siginfo_t scratch;

	if (!me)
		return wait_as_thread(set, info ? info : &scratch, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
		    timeout->tv_nsec >= NSEC)
			return (int)gate_errno(-EINVAL);
		deadline = sys_now() + timeout->tv_sec * NSEC + timeout->tv_nsec;
	}
	return (int)gate_return(wait_for(me, bits_of(set), info ? info : &scratch,
					 deadline, false));
}

HOOKED int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	struct coro *me = coroutine();
	siginfo_t scratch;

	if (!me)
		return wait_as_thread(set, info ? info : &scratch, NULL);
	return (int)gate_return(wait_for(me, bits_of(set), info ? info : &scratch,
					 COGO_FOREVER, false));
}

HOOKED int sigwait(const sigset_t *set, int *sig)
{
	struct coro *me = coroutine();
	siginfo_t info;
	int r;

	if (!me) {
		do
			r = wait_as_thread(set, &info, NULL);
		while (r < 0 && errno_get() == EINTR);
		if (r < 0)
			return errno_get();
		*sig = r;
		return 0;
	}
	r = wait_for(me, bits_of(set), &info, COGO_FOREVER, true);
	if (r == -GATE_CANCELED) {
		if (cancel_unwinds(me))
			cancel_act(me);
		return ECANCELED;
	}
	if (r < 0)
		return -r;
	*sig = r;
	return 0;
}

/* Waiting for a handler to run. */

static long suspend(struct coro *me, sigbits mask)
{
	sigbits before = me->sigmask;
	int r = 0;

	door_enter(me);
	cancel_point(me);
	signal_set_mask(me, mask);
	/* What was blocked until now has been looked at before. */
	if (signal_pending(me) & ~mask)
		atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
	while (r == 0)
		if (park_until(me, WHY_SIGNAL, COGO_FOREVER) == WAIT_INTERRUPTED)
			r = gate_interrupted(me, false);
	signal_set_mask(me, before);
	door_leave(me);
	return r;
}

HOOKED int sigsuspend(const sigset_t *set)
{
	struct coro *me = gate_coro();

	return me ? (int)gate_return(suspend(me, bits_of(set)))
		  : REAL(sigsuspend)(set);
}

ALIAS(__sigsuspend, sigsuspend);

/* One name for two functions: BSD's takes a mask, X/Open's the signal to let
 * in. A header that follows X/Open says sigpause and means __xpg_sigpause, so
 * the other goes by another name here. */
int __sigpause(int sig_or_mask, int is_sig);
int __xpg_sigpause(int sig);
int bsd_sigpause(int mask) __asm__("sigpause");

HOOKED int __sigpause(int sig_or_mask, int is_sig)
{
	sigset_t set;

	if (!is_sig) {
		set_of(&set, (unsigned)sig_or_mask);
		return sigsuspend(&set);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	return sigdelset(&set, sig_or_mask) ? -1 : sigsuspend(&set);
}

HOOKED int __xpg_sigpause(int sig)
{
	return __sigpause(sig, 1);
}

HOOKED int bsd_sigpause(int mask)
{
	return __sigpause(mask, 0);
}

HOOKED int pause(void)
{
	struct coro *me = gate_coro();

	return me ? (int)gate_return(suspend(me, me->sigmask)) : REAL(pause)();
}

/* An alternate stack belongs to a thread: each coroutine has its own. The kernel
 * has the worker's, on which faults are caught; from there, or from wherever it
 * was, a handler that asks for SA_ONSTACK is called on the coroutine's. */

static bool on_it(const struct coro *me)
{
	return signal_on_altstack(me, __builtin_frame_address(0));
}

static int set_altstack(struct coro *me, const stack_t *ss)
{
	struct coro_rare *r;

	if (on_it(me))
		return -EPERM;
	if (ss->ss_flags & ~(SS_DISABLE | SS_ONSTACK | (int)SS_AUTODISARM))
		return -EINVAL;
	if (ss->ss_flags & SS_DISABLE) {
		if (me->rare)
			me->rare->altstack.size = 0;
		return 0;
	}
	if (ss->ss_size < 2048)
		return -ENOMEM;
	/* No handler runs on half of one and half of the other. */
	door_enter(me);
	r = coro_rare(me);
	if (r) {
		r->altstack.low = ss->ss_sp;
		r->altstack.size = ss->ss_size;
		r->altstack.flags = (unsigned)ss->ss_flags & SS_AUTODISARM;
	}
	door_leave(me);
	return r ? 0 : -ENOMEM;
}

HOOKED int sigaltstack(const stack_t *ss, stack_t *old)
{
	struct coro *me = coroutine();
	stack_t before = { .ss_flags = SS_DISABLE };
	const struct coro_rare *has;
	int r = 0;

	if (!me)
		return REAL(sigaltstack)(ss, old);
	has = me->rare;
	if (has && has->altstack.size) {
		before.ss_sp = has->altstack.low;
		before.ss_size = has->altstack.size;
		before.ss_flags = (int)has->altstack.flags |
				  (on_it(me) ? SS_ONSTACK : 0);
	}
	if (ss)
		r = set_altstack(me, ss);
	if (r == 0 && old)
		*old = before;
	return (int)gate_return(r);
}

/* The older form, which says where a stack begins but not how far it goes. */
struct sigstack;
int sigstack(struct sigstack *ss, struct sigstack *old);

HOOKED int sigstack(struct sigstack *ss, struct sigstack *old)
{
	struct form {
		void *top;
		int in_use;
	} *given = (struct form *)ss, *told = (struct form *)old;
	stack_t now, before;

	if (!coroutine())
		return REAL(sigstack)(ss, old);
	if (given)
		now = (stack_t){ .ss_sp = (char *)given->top - SIGSTKSZ,
				 .ss_size = SIGSTKSZ };
	if (sigaltstack(given ? &now : NULL, &before))
		return -1;
	if (told) {
		told->top = before.ss_sp ? (char *)before.ss_sp + before.ss_size
					 : NULL;
		told->in_use = 0;
	}
	return 0;
}
