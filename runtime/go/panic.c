/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/panic.c - panics, and what is to be done however a block is left.
 *
 * A panic is an unwind (fault/unwind.h) with a message. The message and the trace
 * are with the handle from the moment of the panic, so that they outlive the
 * stack; cogo_recover, which is a base in the middle of the stack, takes them from
 * there. */
#include "base/fatal.h"
#include "cogo/go.h"
#include "coro/self.h"
#include "fault/unwind.h"
#include "go.h"
#include "go/scope.h"
#include "inspect/backtrace.h"
#include "wait/native.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MOST 8192

/* Cleanup */

void cogo_defer_begin(struct cogo_deferred *d)
{
	struct coro *me = self();

	if (!me || !me->unwind)
		return;	/* the block's own end is all there is */
	d->prev = me->unwind->deferred;
	me->unwind->deferred = d;
}

void go_defer_forget(struct cogo_deferred *d)
{
	struct coro *me = self();
	struct cogo_deferred *at = me && me->unwind ? me->unwind->deferred : NULL;

	/* Above it are only those of blocks that were left by a jump. */
	while (at && at != d)
		at = at->prev;
	if (at)
		me->unwind->deferred = d->prev;
}

void cogo_defer_end(struct cogo_deferred *d)
{
	go_defer_forget(d);
	d->fn(d->arg);
}

/* Panics */

/* The text of a trace, from malloc; NULL without memory. */
static char *write_trace(const struct backtrace *trace)
{
	char *text = malloc(TRACE_MOST), *fits;
	size_t n;

	if (!text)
		return NULL;
	backtrace_begin_report();
	n = backtrace_print(trace, text, TRACE_MOST - 1);
	text[n] = 0;
	fits = realloc(text, n + 1);
	return fits ? fits : text;
}

static void forget(struct cogo_coro *n)
{
	free(n->message);
	free(n->trace);
	n->message = n->trace = NULL;
}

void go_note_panic(struct coro *me, const char *message)
{
	struct cogo_coro *n = native_of(me);

	if (!n)
		return;
	forget(n);
	n->message = strdup(message);
	atomic_store_explicit(&n->owed, true, memory_order_relaxed);
}

static void note_trace(struct coro *me, const struct arch_regs *from, bool exact)
{
	struct cogo_coro *n = me->user;
	struct backtrace trace = { 0 };

	if (!n)
		return;
	backtrace_open();
	/* libunwind takes libc's locks, and must not park on them. */
	me->bound++;
	backtrace_walk(from, exact, coro_stack(me), &trace);
	n->trace = write_trace(&trace);
	me->bound--;
}

static _Noreturn void die(const char *message)
{
	cogo_warn("panic: %s", message);
	go_lent.abort();
	__builtin_unreachable();
}

static NOINLINE void panic_from(const char *message, const struct arch_regs *from)
{
	struct coro *me = self_or_adopt();

	if (!me || !me->unwind || unwind_last(me)->passes)
		die(message);
	/* A panic on the way out of a panic: the first is what went wrong. */
	if (me->unwind->why == UNWIND_NOT) {
		go_note_panic(me, message);
		note_trace(me, from, false);
	}
	unwind(me, UNWIND_PANIC);
}

void cogo_panic(const char *format, ...)
{
	struct arch_regs from = {
		.pc = (uintptr_t)__builtin_return_address(0),
		.sp = (uintptr_t)__builtin_dwarf_cfa(),
		.fp = *(uintptr_t *)__builtin_frame_address(0),
	};
	char message[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	panic_from(message, &from);
	__builtin_unreachable();
}

/* Also when the thread ends by a walk of libc's, through this frame. */
static void leave(struct unwind *u)
{
	struct coro *me = self();

	if (me && me->unwind == u)
		unwind_end(me, u);
}

static enum unwind_why try(struct coro *me, void (*fn)(void *), void *arg)
{
	struct unwind u __attribute__((cleanup(leave)));

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0)
		fn(arg);
	return u.why;
}

int cogo_recover(void (*fn)(void *), void *arg, struct cogo_panic *ret)
{
	struct coro *me = self_or_adopt();
	struct cogo_coro *n;
	enum unwind_why why;

	if (!me)
		die("no memory for the descriptor of a thread");
	why = try(me, fn, arg);
	if (why == UNWIND_NOT)
		return 0;
	if (why != UNWIND_PANIC)
		unwind(me, why);
	n = me->user;
	if (ret) {
		memset(ret, 0, sizeof(*ret));
		if (n && n->message)
			strncpy(ret->message, n->message,
				sizeof(ret->message) - 1);
	}
	if (n) {
		forget(n);
		atomic_store_explicit(&n->owed, false, memory_order_relaxed);
	}
	return 1;
}

/* Faults */

void go_fault(struct coro *me, const char *message, const struct arch_regs *where)
{
	go_note_panic(me, message);
	note_trace(me, where, true);
	unwind(me, UNWIND_PANIC);
}

static _Atomic bool contain_all;

void cogo_contain_faults(bool on)
{
	struct coro *me = self_or_adopt();

	if (me)
		me->contains = on;
}

void cogo_contain_all_faults(bool on)
{
	atomic_store_explicit(&contain_all, on, memory_order_relaxed);
}

bool go_contains(const struct coro *maker)
{
	return maker->contains ||
	       atomic_load_explicit(&contain_all, memory_order_relaxed);
}
