/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/panic.c - panics, and what is to be done however a block is left.
 *
 * A panic is an unwind (fault/unwind.h) with a message. The message and the trace
 * are with the base that the walk goes to, since there may be a walk in a cleanup
 * of another: cogo_recover takes them from there, and at the coroutine's end they
 * are given to its handle, which outlives it. */
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
	unwind_push(self(), d);
}

void go_defer_forget(struct cogo_deferred *d)
{
	unwind_pop(self(), d);
}

void cogo_defer_end(struct cogo_deferred *d)
{
	go_defer_forget(d);
	d->fn(d->arg);
}

/* Panics */

/* The text of a trace, from malloc; NULL without memory, or a trace. Only at an end
 * that comes to that: names are looked for long. */
char *go_write_trace(const struct backtrace *trace)
{
	char *text = trace ? malloc(TRACE_MOST) : NULL, *fits;
	size_t n;

	if (!text)
		return NULL;
	backtrace_begin_report();
	n = backtrace_print(trace, text, TRACE_MOST - 1);
	text[n] = 0;
	fits = realloc(text, n + 1);
	return fits ? fits : text;
}

/* A panic on the way out of a panic changes nothing: the first is what went
 * wrong. */
static void note(struct coro *me, const char *message,
		 const struct arch_regs *from, bool exact)
{
	struct unwind *u = me->unwind;

	if (u->why == UNWIND_PANIC)
		return;
	/* With a handle it can be said that there was one, whatever there is no
	 * memory for. */
	go_handle(me);
	u->message = strdup(message);
	u->trace = calloc(1, sizeof(*u->trace));
	if (!u->trace)
		return;
	backtrace_open();
	/* libunwind takes libc's locks, and must not park on them. */
	me->bound++;
	backtrace_walk(from, exact, coro_stack(me), u->trace);
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

	/* Where nobody catches it, outside any generator either. */
	if (!me || !me->unwind || unwind_last(me)->passes)
		die(message);
	note(me, message, from, false);
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
static NOTHROW void leave(struct unwind *u)
{
	struct coro *me = self();

	if (me && me->unwind == u)
		unwind_end(me, u);
}

static SANITIZE_IN_PLACE
enum unwind_why try(struct coro *me, void (*fn)(void *), void *arg,
		    char **ret_message)
{
	struct unwind u __attribute__((cleanup(leave)));

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0)
		fn(arg);
	free(u.trace);
	*ret_message = u.message;
	return u.why;
}

int cogo_recover(void (*fn)(void *), void *arg, struct cogo_panic *ret)
{
	struct coro *me = self_or_adopt();
	char *message = NULL;
	enum unwind_why why;

	if (!me)
		die("no memory for the descriptor of a thread");
	why = try(me, fn, arg, &message);
	if (why == UNWIND_NOT)
		return 0;
	if (why != UNWIND_PANIC)
		unwind(me, why);
	if (ret) {
		memset(ret, 0, sizeof(*ret));
		if (message)
			strncpy(ret->message, message, sizeof(ret->message) - 1);
	}
	free(message);
	return 1;
}

/* Faults */

/* In a cleanup of a walk, the frames that are left are not looked at any more:
 * whatever went wrong here might go wrong there again, and for ever. */
static _Noreturn void give_up(struct coro *me, const char *message,
			      const struct arch_regs *from, bool exact)
{
	bool walks = me->unwind->why != UNWIND_NOT;

	note(me, message, from, exact);
	if (walks)
		unwind_rest(me, UNWIND_PANIC);
	unwind(me, UNWIND_PANIC);
}

void go_fault(struct coro *me, const char *message, const struct arch_regs *where)
{
	give_up(me, message, where, true);
}

void go_give_up(struct coro *me, const char *message)
{
	struct arch_regs from = {
		.pc = (uintptr_t)__builtin_return_address(0),
		.sp = (uintptr_t)__builtin_dwarf_cfa(),
		.fp = *(uintptr_t *)__builtin_frame_address(0),
	};

	give_up(me, message, &from, false);
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
