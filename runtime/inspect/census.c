/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/census.c - who exists, waiting for what, since when, and where.
 *
 * N1  a stack is walked by its saved context only while its coroutine is held
 *     (coro/hold.h).
 * N2  one that sleeps in the kernel on its own stack left word of where
 *     (coro.asleep). It may wake while we walk; then what it left has changed,
 *     and the walk counts for nothing. */
#include "inspect/census.h"
#include "arch/tp.h"
#include "base/sys.h"
#include "coro/hold.h"
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

/* One moment by both clocks. */
static uint64_t first_cycles;
static cogo_time first_ns;

void census_init(void)
{
	if (!first_ns) {
		first_cycles = arch_cycles();
		first_ns = sys_now();
	}
}

cogo_time census_since(uint64_t cycles)
{
	uint64_t now = arch_cycles();
	cogo_time span = sys_now() - first_ns;

	if (!cycles || cycles > now || now <= first_cycles || span <= 0)
		return -1;
	return (cogo_time)((double)(now - cycles) * (double)span /
			   (double)(now - first_cycles));
}

size_t census_touched(const struct stack *s)
{
	size_t page = getauxval(AT_PAGESZ), sum = 0, n;
	unsigned char there[512];

	for (char *at = s->low; at && at < s->top; at += n * page) {
		n = (size_t)(s->top - at) / page;
		if (n > sizeof(there))
			n = sizeof(there);
		if (n == 0 || sys_call(SYS_mincore, at, n * page, there))
			break;
		for (size_t i = 0; i < n; i++)
			sum += there[i] & 1 ? page : 0;
	}
	return sum;
}

static void measure(struct coro *c, char *sp, struct census_entry *e)
{
	const struct stack *s = coro_stack(c);
	char *top = s == &c->stack ? c->stack_start : s->top;

	if (e->stack_asked && sp > s->low && sp < top)
		e->stack_deep = (size_t)(top - sp);
}

static void walk_suspended(struct coro *c, struct census_entry *e)
{
	struct arch_regs regs;

	memset(&regs, 0, sizeof(regs));
	arch_context_regs(c->sp, &regs);
	backtrace_walk(&regs, false, coro_stack(c), &e->trace);
	measure(c, c->sp, e);
}

/* N2. relaxed: a torn view is found out afterwards. */
static void walk_asleep(struct coro *c, struct census_entry *e)
{
	struct arch_regs regs = {
		.pc = atomic_load_explicit(&c->asleep.pc, memory_order_relaxed),
		.sp = atomic_load_explicit(&c->asleep.sp, memory_order_relaxed),
		.fp = atomic_load_explicit(&c->asleep.fp, memory_order_relaxed),
	};

	if (!regs.pc)
		return;
	backtrace_walk(&regs, false, coro_stack(c), &e->trace);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&c->asleep.pc, memory_order_relaxed) != regs.pc ||
	    atomic_load_explicit(&c->asleep.sp, memory_order_relaxed) != regs.sp)
		e->trace.depth = 0;
	else
		measure(c, (char *)regs.sp, e);
}

/* What one may read without holding it. It may change as we read: then some
 * of this is of one moment and some of the next, and nothing is worse. */
static void describe(struct coro *c, struct census_entry *e)
{
	e->coro = c;
	e->id = c->id;
	e->kind = c->kind;
	e->why = c->why;
	e->bound = c->bound > 0;
	memcpy(e->name, c->name, sizeof(e->name));
	e->name[sizeof(e->name) - 1] = 0;
	e->what = c->what;
	e->fd = c->fd;
	e->wait = atomic_load_explicit(&c->wait, memory_order_acquire);
	e->deadline = c->timer.ticket || e->state == CORO_ASLEEP ?
			      c->timer.deadline : COGO_FOREVER;
	e->waited = e->why != WHY_NOTHING ? census_since((uint64_t)c->since)
					  : -1;
	e->tid = c->tid;
	e->worker = c->worker;
	e->stack_asked = e->stack_deep = e->stack_touched = 0;
	e->trace.depth = 0;
	if (c->kind == CORO_KIND_CORO && c->stack.pool)
		e->stack_asked = c->sp ? coro_stack(c)->asked : c->asked;
}

enum census_result census_take(struct coro *c, bool walk,
			       struct census_entry *e)
{
	bool owed = false, held;

	/* acquire: what its maker wrote. */
	e->state = atomic_load_explicit(&c->state, memory_order_acquire);
	if (e->state == CORO_FREE || e->state == CORO_DONE ||
	    c->kind == CORO_KIND_ROOT)
		return CENSUS_NOBODY;
	held = walk && c->kind == CORO_KIND_CORO &&
	       (e->state == CORO_PARKED || e->state == CORO_HELD) && hold(c, &owed);
	if (held)
		e->state = CORO_PARKED;
	describe(c, e);
	if (e->state == CORO_ASLEEP)
		e->state = CORO_PARKED;	/* to those who read it, the same */
	if (held) {
		walk_suspended(c, e);
		owed = hold_end(c);
	} else if (walk && (e->state == CORO_RUNNING || e->bound)) {
		walk_asleep(c, e);
	}
	if (walk && e->stack_asked)
		e->stack_touched = census_touched(coro_stack(c));
	return owed ? CENSUS_OWED : CENSUS_TAKEN;
}

bool census_walk_thread(struct census_entry *e, int tid)
{
	e->tid = tid;
	return backtrace_walk_asleep(tid, &e->trace);
}

const char *census_bytes(uint64_t n, char *buf)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double d = (double)n;
	int i = 0;

	for (; d >= 1024 && i < 4; i++)
		d /= 1024;
	snprintf(buf, 32, d < 10 && d != (double)(int)d ? "%.1f %s" : "%.0f %s",
		 d, unit[i]);
	return buf;
}

const char *census_time(cogo_time ns, char *buf)
{
	double d = (double)ns;

	if (ns < 1000000)
		snprintf(buf, 32, "%.0f us", d / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, 32, "%.1f ms", d / 1e6);
	else
		snprintf(buf, 32, "%.1f s", d / 1e9);
	return buf;
}

static const char *state_text(const struct census_entry *e)
{
	switch (e->state) {
	case CORO_NEW:
		return "has not begun";
	case CORO_READY:
	case CORO_WAKING:
	case CORO_HELD_WAKING:
		return "is ready to run";
	case CORO_RUNNING:
		return e->trace.depth ? "is in the kernel" : "runs";
	default:
		return "waits";
	}
}

size_t census_sentence(const struct census_entry *e, char *buf, size_t size)
{
	char number[32], what[128];
	size_t at = 0;

#define SAY(...)						\
	do {							\
		int n_ = snprintf(buf + at, size - at, __VA_ARGS__);	\
		at += n_ < (int)(size - at) ? (size_t)n_ : size - at - 1; \
	} while (0)
	/* RUNNING and a reason: the reason was declared before a call into
	 * the kernel. */
	if (e->why == WHY_NOTHING || e->state == CORO_READY ||
	    e->state == CORO_NEW) {
		SAY("%s", state_text(e));
	} else {
		SAY("waits %s", why_text(e->why));
		if (e->fd >= 0)
			SAY(" (descriptor %d)", e->fd);
		else if (e->what) {
			backtrace_name((uintptr_t)e->what, true, what,
				       sizeof(what));
			SAY(" (%s)", what);
		}
		if (e->waited >= 0)
			SAY(" for %s", census_time(e->waited, number));
		if (e->deadline != COGO_FOREVER)
			SAY(", at most %s more",
			    census_time(e->deadline > sys_now() ?
						e->deadline - sys_now() : 0,
					number));
	}
	if (e->tid)
		SAY(", on kernel thread %d", e->tid);
#undef SAY
	return at;
}
