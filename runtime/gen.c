/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* gen.c - generators: functions on a stack of their own.
 *
 * To run a generator is to switch stacks and nothing else: the thread pointer,
 * the kernel thread and the coroutine stay those of whoever asks. So the generator
 * is part of its asker as a called function is, and three things follow the
 * switch, each way: where the coroutine's innermost frames are (coro.on: whoever
 * walks, trims or blames a stack wants that one), which is the innermost base of
 * unwinding (coro.unwind), and what the C++ library and the sanitizers keep of a
 * stack.
 *
 *	low					top
 *	| guard | frames ...  <- block | struct cogo_gen | stagger |
 *
 * A generator is an object at the top of its stack; finished ones are kept by
 * pool, stack and all, for the next of that size.
 *
 *	state		its stack			moved on by
 *	FREE		nobody's			cogo_gen_new
 *	SUSPENDED	nobody's: at a yield, or new	whoever takes it
 *	RUNNING		its asker's			the asker, back again
 *	ENDED		nobody's			cogo_gen_free
 *
 * G1  who makes SUSPENDED RUNNING has the generator to itself until it moves it
 *     on, which it does once it is off that stack. Everything else in the object
 *     is under that.
 * G2  the switch and what follows it are inside the runtime, so no handler of a
 *     signal sees one without the other. The door is entered on one stack and
 *     left on the other; it is the coroutine's.
 * G3  while it is suspended nothing outside points to its stack, and g->inner is
 *     where its chain of bases begins. It ends in g->base, whose outer is set
 *     whenever it is run.
 *
 * How it ends. It returns; or a walk (fault/unwind.h) falls on its base, which
 * passes it on, in the asker; or an exception goes through. For that its first
 * frame's caller is, to an unwinder, the asker's (arch_context_make_called), and
 * its personality is where the exception leaves us: it parts from the generator,
 * and the walk goes on. Its stack is in use until the exception is caught, so it
 * is freed by cogo_gen_free as any other's. */
#include "cogo/gen.h"
#include "arch/context.h"
#include "arch/tp.h"
#include "coro/self.h"
#include "fault/door.h"
#include "fault/unwind.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "mem/stack.h"
#include "mem/tls.h"
#include <errno.h>
#include <stdlib.h>

#define STACK_DEFAULT	((size_t)256 << 10)
#define STACK_LEAST	((size_t)16 << 10)
#define STACK_MOST	((size_t)1 << 30)

#define STAGGER		64
#define STAGGER_STEPS	8

enum state { GEN_FREE, GEN_SUSPENDED, GEN_RUNNING, GEN_ENDED };

/* What the asker wants instead of a value: that it end by itself, or be unwound;
 * and then that it is. */
enum wish { WISH_NONE, WISH_END, WISH_UNWIND, WISH_UNWINDS };

struct cogo_gen {
	_Atomic uint32_t state;
	uint8_t wish;
	bool begun, ended;
	uint8_t why;		/* enum unwind_why of its end */
	char *message;		/* of a panic, and where; malloc, or NULL */
	struct backtrace *trace;
	void *sp;		/* while it is suspended */
	void **caller;		/* where its asker's sp is, while it runs */
	struct coro *me;	/* who runs it */
	const void *value, *sent;
	const struct stack *outer;	/* me->on outside of it */
	struct unwind *base, *inner;	/* G3 */
	struct sanitize sanitize, *asker;
	void *exceptions[2];	/* the other side's, see tls_exceptions */
	void (*fn)(struct cogo_gen *, void *);
	void *arg;
	struct stack stack;
	struct cogo_gen *next;	/* kept */
} __attribute__((aligned(64)));

static struct lock kept_lock;
static struct {
	struct stack_pool *pool;
	struct cogo_gen *first;
} kept[64];			/* under kept_lock */

/* ---- from one stack to the other ----------------------------------------- */

static inline void swap_exceptions(struct cogo_gen *g)
{
	void **here = tls_exceptions(), *there[2];

	if (likely(!here))
		return;
	memcpy(there, here, sizeof(there));
	memcpy(here, g->exceptions, sizeof(there));
	memcpy(g->exceptions, there, sizeof(there));
}

/* From a kernel thread's hands into a coroutine's, or back. */
static COLD void lend(struct cogo_gen *g, bool lent)
{
	for (struct unwind *u = g->inner;; u = u->outer) {
		u->lent = lent;
		if (u == g->base)
			break;
	}
}

/* What is the coroutine's and depends on the stack. Inside the runtime. */
static inline void go_in(struct cogo_gen *g, struct coro *me)
{
	g->outer = me->on;
	write_once(me->on, &g->stack);
	if (likely(g->base != NULL)) {
		if (unlikely(g->base->lent != unwind_lends(me)))
			lend(g, unwind_lends(me));
		g->base->outer = me->unwind;
		me->unwind = g->inner;
		me->calm = NULL;
	}
	swap_exceptions(g);
}

static inline void come_out(struct cogo_gen *g, struct coro *me)
{
	swap_exceptions(g);
	g->inner = me->unwind;
	me->unwind = g->base->outer;
	write_once(me->on, g->outer);
}

/* The asker's side: from here into g, and back when it yields or ends. */
static inline __attribute__((always_inline)) void run(struct cogo_gen *g, struct coro *me)
{
	struct sanitize here = me->sanitize;

	door_enter(me);
	g->me = me;
	g->asker = &here;
	go_in(g, me);
	sanitize_leave(&here, &g->sanitize, true, false);
	me->sanitize = g->sanitize;
	arch_switch_across(g->caller, g->sp, arch_tp_get());
	sanitize_arrive(&here, &me->sanitize, true, g->ended);
	g->sanitize = me->sanitize;
	me->sanitize = here;
	come_out(g, me);
	door_leave(me);
}

/* The generator's side. The asker may be another when this returns, and the
 * storage another kernel thread's. */
static inline __attribute__((always_inline)) void leave(struct cogo_gen *g, struct coro *me)
{
	sanitize_leave(&me->sanitize, g->asker, true, g->ended);
	arch_switch_across(&g->sp, *g->caller, arch_tp_get());
}

static inline struct coro *arrive(struct cogo_gen *g)
{
	struct coro *me = g->me;

	sanitize_arrive(&me->sanitize, g->asker, true, false);
	return me;
}

/* ---- its life ------------------------------------------------------------ */

/* G1. 1 with the generator the caller's, 0 when it has ended. */
static inline int take(struct cogo_gen *g)
{
	uint32_t s = GEN_SUSPENDED;

	if (unlikely(!g))
		return -EINVAL;
	/* acquire: pairs with the release in put_back. */
	if (likely(atomic_compare_exchange_strong_explicit(
		    &g->state, &s, GEN_RUNNING, memory_order_acquire,
		    memory_order_relaxed)))
		return 1;
	return s == GEN_ENDED ? 0 : s == GEN_RUNNING ? -EBUSY : -EINVAL;
}

/* release: whoever takes it next, on whatever thread, finds all of it. */
static inline void put_back(struct cogo_gen *g)
{
	atomic_store_explicit(&g->state, g->ended ? GEN_ENDED : GEN_SUSPENDED,
			      memory_order_release);
}

/* The exception has left the generator for its asker: all that run() would do
 * once back, but for the door, which was left when the generator began. */
static void go_through(struct cogo_gen *g, struct coro *me)
{
	void **here = tls_exceptions(), *flying = here ? here[1] : NULL;

	door_enter(me);
	g->ended = true;
	come_out(g, me);
	/* Those in flight go on outside. The count is an unsigned int. */
	if (here)
		*(unsigned *)&here[1] += (unsigned)(uintptr_t)flying;
	door_leave(me);
	put_back(g);
}

/* Of the first frame, in its unwind notes. A walk of ours is caught in that frame
 * and does not leave it. */
_Unwind_Reason_Code gen_personality(int version, _Unwind_Action actions,
				    _Unwind_Exception_Class class,
				    struct _Unwind_Exception *exception,
				    struct _Unwind_Context *context);

__attribute__((used)) _Unwind_Reason_Code
gen_personality(int version UNUSED, _Unwind_Action actions,
		_Unwind_Exception_Class class UNUSED,
		struct _Unwind_Exception *exception,
		struct _Unwind_Context *context UNUSED)
{
	struct coro *me = self();
	struct cogo_gen *g;

	if (!me || !me->on || !(actions & _UA_CLEANUP_PHASE))
		return _URC_CONTINUE_UNWIND;
	g = container_of(me->on, struct cogo_gen, stack);
	if (exception != &g->base->exception)
		go_through(g, me);
	return _URC_CONTINUE_UNWIND;
}

/* The bottom of every generator. */
static NOINLINE SANITIZE_ENDS void first_frame(void *arg)
{
	struct cogo_gen *g = arg;
	struct coro *me = arrive(g);
	struct unwind base;

	/* pc-relative, four bytes */
	__asm__ volatile(".cfi_personality 0x1b, gen_personality");
	unwind_begin(me, &base);
	base.passes = true;
	g->base = &base;
	door_leave(me);
	if (_setjmp(base.end) == 0)
		g->fn(g, g->arg);
	me = g->me;
	door_enter(me);
	g->why = (uint8_t)base.why;
	g->message = base.message;
	g->trace = base.trace;
	g->ended = true;
	leave(g, me);
	cogo_throw("a generator ran after its end");
}

static void forget_panic(struct cogo_gen *g)
{
	free(g->message);
	free(g->trace);
	g->message = NULL;
	g->trace = NULL;
}

/* A walk that has ended in g goes on outside, unless that was our wish. */
static COLD int pass_on(struct cogo_gen *g, struct coro *me, uint32_t exiting)
{
	enum unwind_why why = g->why;

	/* Whose end it is, unwind() says again. */
	if (!exiting)
		atomic_fetch_and_explicit(&me->cancel, ~(uint32_t)CANCEL_EXITING,
					  memory_order_relaxed);
	if (g->wish == WISH_UNWINDS && why == UNWIND_CANCELED)
		return 0;
	/* A kernel thread goes on; but what a panic ends, it ends. */
	if (!me->unwind || (why != UNWIND_PANIC && !unwind_has_end(me))) {
		forget_panic(g);
		return -ECANCELED;
	}
	/* What went wrong first is what is told. */
	if (me->unwind->why != UNWIND_NOT)
		forget_panic(g);
	if (g->message || g->trace) {
		me->unwind->message = g->message;
		me->unwind->trace = g->trace;
		g->message = NULL;
		g->trace = NULL;
	}
	unwind(me, why);
}

static COLD void begin(struct cogo_gen *g)
{
	g->begun = true;
	sanitize_new(&g->sanitize, g->stack.low + g->stack.guard, g->caller);
}

/* Runs it a step; 1 when it has yielded. The caller has taken it. Inline: after
 * the switch the processor takes each return for another one's. */
static inline __attribute__((always_inline)) int step(struct cogo_gen *g,
						      struct coro *me)
{
	uint32_t exiting;

	if (unlikely(!g->begun))
		begin(g);
	exiting = atomic_load_explicit(&me->cancel, memory_order_relaxed) &
		  CANCEL_EXITING;
	run(g, me);
	if (likely(!g->ended)) {
		put_back(g);
		return 1;
	}
	put_back(g);
	return likely(g->why == UNWIND_NOT) ? 0 : pass_on(g, me, exiting);
}

int cogo_gen_resume(struct cogo_gen *g, const void *sent, void **ret_value)
{
	struct coro *me = self_or_adopt();
	int r;

	if (unlikely(!me))
		return -ENOMEM;
	r = take(g);
	if (unlikely(r <= 0))
		return r;
	g->sent = sent;
	r = step(g, me);
	if (likely(r == 1))
		*ret_value = (void *)g->value;
	return r;
}

/* To be unwound; but who is on that way already is only told. */
static COLD int no_more(struct cogo_gen *g)
{
	struct coro *me = g->me;

	if (g->wish == WISH_END) {
		g->wish = WISH_UNWIND;
		return -ECANCELED;
	}
	if (me->unwind->why || g->base->why)
		return -ECANCELED;
	g->wish = WISH_UNWINDS;
	/* Nothing that it waits for in its cleanups is broken off. */
	atomic_fetch_or_explicit(&me->cancel, CANCEL_EXITING,
				 memory_order_relaxed);
	unwind(me, UNWIND_CANCELED);
}

/* Whether the caller is on the stack of g; who is, runs in g. */
static inline bool inside(const struct cogo_gen *g)
{
	return likely(g != NULL) &&
	       (uintptr_t)__builtin_frame_address(0) - (uintptr_t)g->stack.low <
		       (uintptr_t)((const char *)g - g->stack.low);
}

int cogo_gen_yield(struct cogo_gen *g, const void *value)
{
	struct coro *me;

	if (unlikely(!inside(g)))
		return -EINVAL;
	if (unlikely(g->wish))
		return no_more(g);
	me = g->me;
	door_enter(me);
	g->value = value;
	leave(g, me);
	me = arrive(g);
	door_leave(me);
	return likely(!g->wish) ? 0 : no_more(g);
}

void *cogo_gen_sent(const struct cogo_gen *g)
{
	return inside(g) ? (void *)g->sent : NULL;
}

static void free_it(void *g)
{
	cogo_gen_free(g);
}

int cogo_gen_from(struct cogo_gen *g, struct cogo_gen *inner)
{
	struct cogo_deferred d = { .fn = free_it, .arg = inner };
	const void *sent = NULL;
	void *value;
	int r;

	if (!inside(g) || !inner || inner == g)
		return -EINVAL;
	/* With the innermost base, which is the generator's, whoever runs it. */
	unwind_push(g->me, &d);
	while ((r = cogo_gen_resume(inner, sent, &value)) == 1) {
		r = cogo_gen_yield(g, value);
		if (r)
			break;
		sent = g->sent;
	}
	unwind_pop(g->me, &d);
	cogo_gen_free(inner);
	return r;
}

/* Ends it in that way. The caller has taken it. */
static void end(struct cogo_gen *g, struct coro *me, enum wish wish)
{
	if (!g->begun) {
		g->ended = true;
		put_back(g);
		return;
	}
	/* Here, where there may be more room for it than there. */
	unwind_open();
	g->wish = (uint8_t)wish;
	g->sent = NULL;
	/* From a yield it does not come back now but by its end. */
	step(g, me);
}

int cogo_gen_cancel(struct cogo_gen *g)
{
	struct coro *me = self_or_adopt();
	int r;

	if (unlikely(!me))
		return -ENOMEM;
	r = take(g);
	if (r == 1)
		end(g, me, WISH_END);
	return r < 0 ? r : 0;
}

/* ---- making and giving back ---------------------------------------------- */

static struct cogo_gen *pop(struct stack_pool *pool)
{
	struct cogo_gen *g = NULL;

	lock(&kept_lock);
	for (size_t i = 0; i < ARRAY_SIZE(kept) && kept[i].pool; i++) {
		if (kept[i].pool != pool)
			continue;
		g = kept[i].first;
		if (g)
			kept[i].first = g->next;
		break;
	}
	unlock(&kept_lock);
	return g;
}

/* There are no more pools than places. */
static void push(struct cogo_gen *g)
{
	size_t i = 0;

	lock(&kept_lock);
	while (kept[i].pool && kept[i].pool != g->stack.pool)
		i++;
	kept[i].pool = g->stack.pool;
	g->next = kept[i].first;
	kept[i].first = g;
	unlock(&kept_lock);
}

static int make(size_t size, struct cogo_gen **ret_gen)
{
	struct stack s;
	struct cogo_gen *g;
	int r = stack_make(size, PAGE_SIZE, &s);

	if (r)
		return r;
	g = (void *)((uintptr_t)(s.top - STAGGER * (s.index % STAGGER_STEPS) -
				 sizeof(*g)) & ~(uintptr_t)63);
	g->stack = s;
	*ret_gen = g;
	return 0;
}

int cogo_gen_new(struct cogo_gen **ret_gen, size_t stack_size,
		 void (*fn)(struct cogo_gen *, void *), void *arg)
{
	size_t size = stack_size ? stack_size : STACK_DEFAULT;
	struct stack_pool *pool;
	struct cogo_gen *g;
	struct coro *me;
	int r = 0;

	if (!fn || size > STACK_MOST)
		return -EINVAL;
	me = door_in();
	if (!me)
		return -ENOMEM;
	size = (size < STACK_LEAST ? STACK_LEAST : size) + sizeof(*g) +
	       STAGGER * STAGGER_STEPS;
	pool = stack_pool_for(size, PAGE_SIZE);
	g = pool ? pop(pool) : NULL;
	if (!g)
		r = make(size, &g);
	door_leave(me);
	if (r)
		return r;
	g->stack.asked = stack_size ? stack_size : STACK_DEFAULT;
	g->wish = WISH_NONE;
	g->begun = g->ended = false;
	g->why = UNWIND_NOT;
	g->value = g->sent = NULL;
	g->base = g->inner = NULL;
	g->exceptions[0] = g->exceptions[1] = NULL;
	g->fn = fn;
	g->arg = arg;
	g->sp = arch_context_make_called(g, first_frame, g, &g->caller);
	put_back(g);
	*ret_gen = g;
	return 0;
}

int cogo_gen_free(struct cogo_gen *g)
{
	uint32_t s = GEN_ENDED;
	struct coro *me;
	int r;

	if (!g)
		return 0;
	me = self_or_adopt();
	if (!me)
		return -ENOMEM;
	r = take(g);
	if (r < 0)
		return r;
	if (r == 1)
		end(g, me, WISH_UNWIND);
	/* acquire: as take. Of two that free it, one does. */
	if (!atomic_compare_exchange_strong_explicit(&g->state, &s, GEN_FREE,
						     memory_order_acquire,
						     memory_order_relaxed))
		return s == GEN_RUNNING ? -EBUSY : -EINVAL;
	door_enter(me);
	push(g);
	door_leave(me);
	return 0;
}
