/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/contain.c - a fault that ends one coroutine and not the program.
 *
 * The handler runs on the kernel thread's alternate stack, where nothing may park;
 * but what is to be done now is the program's own cleanup. So a third stack is
 * taken, the handler waits below it for ever, and the walk begins there: through
 * the handler's frames and the signal's, into the frames that faulted. The
 * coroutine keeps its kernel thread until it is back on its own stack, so that
 * nobody else's signal comes to the alternate stack meanwhile.
 *
 * Cleanups of frames with notes run where those frames are, and where a stack has
 * overflown there may be too little left for them. That is another fault: the walk
 * is then given up, and what is registered in lists, which needs no frame, is run
 * on the third stack. It is taken off before it runs, so this comes to an end. */
#include "fault/contain.h"
#include "arch/ucontext.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "fault/signal.h"
#include "fault/unwind.h"
#include "sched/block.h"
#include <stdio.h>
#include <string.h>

#define RESCUE_SIZE ((size_t)256 << 10)

/* At the high end of its memory, above the frames; the lowest page is a guard. */
struct rescue {
	char *low;
	struct rescue *next;
	struct coro *coro;
	struct unwind *base;		/* where the walk ends */
	struct arch_regs where;
	char message[200];
};

static contain_panic_fn panic;

void contain_use(contain_panic_fn fn)
{
	panic = fn;
}

static const char *name_of(int sig)
{
	switch (sig) {
	case SIGSEGV: return "SIGSEGV";
	case SIGBUS: return "SIGBUS";
	case SIGFPE: return "SIGFPE";
	case SIGILL: return "SIGILL";
	default: return "a signal";
	}
}

const void *contain_stack(const struct coro *me, const void *at)
{
	for (struct rescue *r = me->rescue; unlikely(r != NULL); r = r->next)
		if ((uintptr_t)at - (uintptr_t)r->low <= RESCUE_SIZE)
			return r;
	return NULL;
}

/* In the coroutine's own frames, or in what runs of it on a rescue's. */
static bool on_its_stacks(const struct coro *me, uintptr_t sp)
{
	return unwind_on_stack(me, sp) || contain_stack(me, (void *)sp);
}

static bool may_contain(const struct coro *me, const siginfo_t *info,
			const struct arch_regs *where)
{
	return panic && me && me->kind == CORO_KIND_CORO && me->contains &&
	       me->in_runtime == 0 && me->unwind && info->si_code > 0 &&
	       on_its_stacks(me, where->sp);
}

static struct rescue *make_rescue(void)
{
	char *low = sys_map(RESCUE_SIZE);
	struct rescue *r;

	if (!low)
		return NULL;
	sys_call(SYS_mprotect, low, PAGE_SIZE, 0);
	r = (struct rescue *)(low + RESCUE_SIZE) - 1;
	r->low = low;
	return r;
}

static long rescue(void *arg)
{
	struct rescue *r = arg;
	struct coro *me = r->coro;
	sigbits mask = me->sigmask;

	/* The handler, which had the fault blocked, is never returned from. */
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	panic(me, r->message, &r->where);
	return 0;	/* it has not */
}

void contain(int sig, const siginfo_t *info, const void *uctx, const char *what)
{
	struct coro *me = self();
	struct arch_regs where;
	struct rescue *r;

	arch_regs_from_ucontext(uctx, &where);
	if (!may_contain(me, info, &where))
		return;
	r = make_rescue();
	if (!r)
		return;
	r->coro = me;
	r->base = me->unwind;
	r->where = where;
	snprintf(r->message, sizeof(r->message), "%s: %s at %#lx", name_of(sig),
		 what ? what : "fault", (unsigned long)(uintptr_t)info->si_addr);
	r->next = me->rescue;
	me->rescue = r;
	me->in_runtime++;
	block_bind(me);
	me->in_runtime--;
	arch_call_on((void *)((uintptr_t)r & ~(uintptr_t)63), rescue, r);
	cogo_throw("a fault that was contained came back");
}

void contain_end(struct coro *me, const struct unwind *u)
{
	struct rescue *r;

	/* Others are of walks further out, on one of whose stacks we may be. */
	while ((r = me->rescue) && r->base == u) {
		me->rescue = r->next;
		sys_unmap(r->low, RESCUE_SIZE);
		me->in_runtime++;
		block_unbind(me);
		me->in_runtime--;
	}
}

static void on_fault(int sig, siginfo_t *info, void *uctx)
{
	contain(sig, info, uctx, NULL);
	/* As if we had not been here: it repeats itself, or is sent again. */
	signal_disown(sig);
	if (info->si_code <= 0)
		sys_call(SYS_tgkill, sys_getpid(), sys_gettid(), sig);
}

void contain_start(void)
{
	signal_own(SIGBUS, on_fault, NULL);
	signal_own(SIGFPE, on_fault, NULL);
	signal_own(SIGILL, on_fault, NULL);
}
