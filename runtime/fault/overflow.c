/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/overflow.c - a stack was too small: whose, how small, what to do.
 *
 * The report is made where the fault was, by the thread that faulted, since
 * nobody else can be counted on any more. While it is made the coroutine
 * counts as bound, so that a lock of libc's, should one be needed for the
 * backtrace, is waited for and not parked on.
 *
 * Only an address in a guard is an overflow. A frame larger than the guard can
 * step over it, as it can in any thread; a wild pointer can hit a guard too,
 * and then the report says whose it was, which is as good a hint. */
#include "fault/overflow.h"
#include "fault/contain.h"
#include "arch/ucontext.h"
#include "base/conf.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "fault/signal.h"
#include "inspect/backtrace.h"
#include "inspect/census.h"
#include <stdio.h>
#include <string.h>

/* libunwind's frames, vsnprintf's, and what AVX-512 and AMX make of the
 * signal's own. Only what is used of it becomes memory. */
#define ALTSTACK_SIZE (64 << 10)

#define PATIENCE_NS 2000000000ll

struct hit {
	uintptr_t addr;
	struct coro *owner;
};

static bool in_guard_of(const struct stack *s, uintptr_t addr)
{
	return s->pool && addr - (uintptr_t)s->low < s->guard;
}

static bool in_guard(const struct coro *c, uintptr_t addr)
{
	return in_guard_of(&c->stack, addr) || in_guard_of(coro_stack(c), addr);
}

static long find_owner(struct coro *c, void *arg)
{
	struct hit *h = arg;
	uint32_t s = atomic_load_explicit(&c->state, memory_order_relaxed);

	if (s == CORO_FREE || s == CORO_DONE || !in_guard(c, h->addr))
		return 0;
	h->owner = c;
	return 1;
}

/* coroutine 7 "worker" */
static const char *title(const struct coro *c, char *buf, size_t size)
{
	if (c->kind == CORO_KIND_THREAD)
		snprintf(buf, size, "kernel thread %d", c->tid);
	else if (*c->name)
		snprintf(buf, size, "coroutine %llu \"%.15s\"",
			 (unsigned long long)c->id, c->name);
	else
		snprintf(buf, size, "coroutine %llu",
			 (unsigned long long)c->id);
	return buf;
}

static void tell(const struct hit *h, const struct coro *me, const void *uctx)
{
	static struct backtrace trace;		/* one report at a time */
	static char text[4096];
	const struct coro *c = h->owner;
	/* Its own, or that of a generator that it runs. */
	const struct stack *s = in_guard_of(&c->stack, h->addr) ? &c->stack
								: coro_stack(c);
	bool whole = s->asked % (1 << 20) == 0, generator = s != &c->stack;
	char whose[80], who[64], size[32], want[32];
	struct arch_regs regs;
	size_t n = 0;

	if (generator)
		n = (size_t)snprintf(whose, sizeof(whose), "a generator of ");
	title(c, whose + n, sizeof(whose) - n);
	census_bytes(s->asked, size);
	snprintf(want, sizeof(want), "%zu%c",
		 s->asked * 2 >> (whole ? 20 : 10), whole ? 'M' : 'K');
	if (c == me)
		cogo_warn("stack overflow: %s ran over its stack of %s",
			  whose, size);
	else
		cogo_warn("stack overflow: %s touched the guard below the stack "
			  "of %s, which has %s",
			  me ? title(me, who, sizeof(who)) : "a kernel thread",
			  whose, size);
	report("  the stack is %p-%p, its guard %zu bytes at %p; touched was "
	       "%#lx\n", (void *)(s->low + s->guard), (void *)s->top, s->guard,
	       (void *)s->low, (unsigned long)h->addr);
	if (generator)
		report("  to give it more, ask cogo_gen_new for it: %s, say\n",
		       want);
	else if (conf.stack)
		report("  %s is what --stack (COGO_STACK) says; give it more, "
		       "%s say\n", size, want);
	else
		report("  to give every coroutine more: cogo-run --stack %s, or "
		       "COGO_STACK=%s; the program itself asks by "
		       "pthread_attr_setstacksize, or by its limit (ulimit -s)\n",
		       want, want);
	arch_regs_from_ucontext(uctx, &regs);
	backtrace_walk(&regs, true, me ? coro_stack(me) : NULL, &trace);
	backtrace_print(&trace, text, sizeof(text));
	sys_write_all(2, text, strlen(text));
}

static _Atomic int teller;	/* kernel thread id, 0: nobody */

/* One at a time. A second one waits, or the end that it brings would cut the
 * first report short; but not for ever, and not for itself. */
static bool begin_telling(void)
{
	cogo_time until = sys_now() + PATIENCE_NS;
	int me = sys_gettid(), who = 0;

	while (!atomic_compare_exchange_strong_explicit(
		&teller, &who, me, memory_order_acq_rel,
		memory_order_relaxed)) {
		if (who == me || sys_now() > until)
			return false;
		who = 0;
		sys_call(SYS_sched_yield);
	}
	return true;
}

bool overflow_check(const siginfo_t *info, const void *uctx)
{
	struct coro *me = self();
	struct hit h = { .addr = (uintptr_t)info->si_addr };

	/* Sent by somebody, or an address that the CPU does not tell. */
	if (info->si_code <= 0 || info->si_code == SI_KERNEL)
		return false;
	if (me && in_guard(me, h.addr))
		h.owner = me;
	else if (!coro_each(find_owner, &h))
		return false;
	if (!begin_telling())
		return true;
	if (me) {
		me->bound++;
		me->in_runtime++;
	}
	tell(&h, me, uctx);
	if (me) {
		me->in_runtime--;
		me->bound--;
	}
	/* The program may have a handler that survives this. */
	atomic_store_explicit(&teller, 0, memory_order_release);
	return true;
}

/* The coroutine that runs has overflown its own stack. */
static bool is_own_overflow(const siginfo_t *info)
{
	struct coro *me = self();

	return info->si_code > 0 && me && in_guard(me, (uintptr_t)info->si_addr);
}

static void on_fault(int sig, siginfo_t *info, void *uctx)
{
	contain(sig, info, uctx, is_own_overflow(info) ? "stack overflow" : NULL);
	overflow_check(info, uctx);
	/* And now as if we had not been here: a fault repeats itself, what was
	 * sent is sent again; it is blocked until we return. */
	signal_disown(sig);
	if (info->si_code <= 0)
		sys_call(SYS_tgkill, sys_getpid(), sys_gettid(), sig);
}

void overflow_start(void)
{
	census_init();
	/* Now, for there is no loading of libraries in the middle of a crash. */
	backtrace_open();
	signal_own(SIGSEGV, on_fault, NULL);
	contain_start();
}

void overflow_thread_start(void)
{
	stack_t ss = { .ss_sp = sys_map(ALTSTACK_SIZE), .ss_size = ALTSTACK_SIZE };

	if (ss.ss_sp)
		sys_call(SYS_sigaltstack, &ss, NULL);
}

void overflow_thread_end(void)
{
	stack_t none = { .ss_flags = SS_DISABLE }, ss;

	if (sys_call(SYS_sigaltstack, &none, &ss) == 0 &&
	    !(ss.ss_flags & SS_DISABLE))
		sys_unmap(ss.ss_sp, ss.ss_size);
}
