/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/coro.h - the coroutine: one object for everything that can wait.
 *
 * Three kinds of execution share it. A coroutine has a stack and, as a rule,
 * a thread control block of its own, and runs on whichever worker picks it up.
 * A bound coroutine keeps the kernel thread it runs on: it waits on a futex
 * instead of giving its worker away. A plain kernel thread (the program's
 * main, a thread that stays one, a libc helper) is a coroutine that was always
 * bound. So every object that can be waited for serves all three alike.
 *
 *	state		queue		whose		moved on by
 *	FREE		its shell pool	coro.c		coro_get
 *	NEW		none		its maker	ready
 *	READY		a run queue	nobody		the loop
 *	RUNNING		none		itself		the parting act
 *	PARKED		where it waits	nobody		a claimer, through ready
 *	ASLEEP		where it waits	itself: bound	a claimer, through ready
 *	WAKING		none		its worker	the parting act, or park
 *	HELD		where it waits	the trimmer	the trimmer
 *	HELD_WAKING	none		the trimmer	the trimmer
 *	DONE		none		its worker	the parting act
 *
 * WAKING and HELD_WAKING are the marks a claimer leaves when it comes while
 * somebody else still has the stack: whoever has it makes the coroutine ready.
 * Objects live in a slab and never become anything else. */
#ifndef COGO_CORO_CORO_H
#define COGO_CORO_CORO_H

#include "base/compiler.h"
#include "base/list.h"
#include "base/sanitize.h"
#include "mem/slab.h"
#include "mem/stack.h"
#include "mem/tls.h"
#include <stdatomic.h>
#include <stdbool.h>

enum coro_state {
	CORO_FREE, CORO_NEW, CORO_READY, CORO_RUNNING, CORO_PARKED, CORO_ASLEEP, CORO_WAKING, CORO_HELD, CORO_HELD_WAKING, CORO_DONE,
};

/* What a parked coroutine waits for: a dump reads like sentences. */
enum why {
	WHY_NOTHING, WHY_READ, WHY_WRITE, WHY_ACCEPT, WHY_CONNECT, WHY_POLL,
	WHY_SLEEP, WHY_MUTEX, WHY_COND, WHY_RWLOCK, WHY_SEM, WHY_BARRIER,
	WHY_ONCE, WHY_JOIN, WHY_FUTEX, WHY_SIGNAL, WHY_CHILD, WHY_BLOCKED,
	WHY_PAUSE, WHY_SEND, WHY_RECV, WHY_SELECT, WHY_WAITGROUP, WHY_LATCH, WHY_LOOKUP,
	WHY_DISK, WHY_COUNT,
};
const char *why_text(enum why why);

/* One deadline; a coroutine waits for one thing at a time. See event/timer.h. */
struct timer {
	cogo_time deadline;
	_Atomic uint64_t ticket;	/* of the wait it ends; 0: not armed */
	uint32_t heap;
};

/* What a park tells the worker once its coroutine is off its stack. */
enum parting {
	PARTING_NONE, PARTING_PARK, PARTING_YIELD, PARTING_ASIDE, PARTING_EXIT,
	PARTING_CALL,
};

struct worker;
struct thread;
struct unwind;
struct link;
struct local;
struct specific;
struct rescue;
struct held;

/* What a worker keeps at hand, so that what it makes and ends costs no lock and no
 * line of the cache that others write to: shells of the two kinds it used last,
 * handles of the native API, numbers that are its to give. Only by who runs on
 * that worker, inside the runtime; the counters are read by all. */
struct coro_shells {
	const struct stack_pool *pool;	/* of this, and asked for by … */
	size_t size, guard;		/* … these; NULL: of none yet */
	bool shared;			/* without a TLS block */
	bool fresh;			/* nobody was made since the first of these
					 * ended: its memory is the warmest */
	struct coro *free;
	uint32_t n;
};
struct coro_stock {
	struct coro_shells shells[2];
	struct slab_stock handles, children;
	uint64_t id, ids;		/* the next one, and how many there are */
	_Atomic uint64_t made, ended;
	struct coro_stock *next;	/* of all, under coro.c's lock */
};

/* That of the worker which the caller runs on, if it may use it now; or NULL. */
struct coro_stock *coro_own_stock(void);
/* Once, of zeroed memory; and before that goes: what is in it is everybody's again.
 * One that was never begun may be ended, too. */
void coro_stock_begin(struct coro_stock *stock);
void coro_stock_end(struct coro_stock *stock);
/* What is in it is everybody's again, for its worker has nobody else to run for a
 * while. Owner only. */
void coro_stock_empty(struct coro_stock *stock);

/* By lines of the cache, for where many wait they are cold: a wait touches the first
 * two, and the timer; making one touches the first and the third. It is handed out
 * as it was left, all at rest (coro.c, reset). What most never use comes last. */
struct coro {
	/* The switch. */
	void *sp;		/* of the suspended context; NULL: none yet */
	uintptr_t tp;		/* its thread pointer; 0: the worker's (shared) */
	struct worker *worker;	/* runs it; RUNNING: valid */
	struct coro_stock *stock;	/* that worker's, or NULL; owner only */
	_Atomic uint32_t state;	/* enum coro_state; a futex when bound */
	uint32_t bound;		/* owner only; >0: keeps its kernel thread */
	/* The wait word: sequence << 3 | outcome. See coro/wait.h. */
	_Atomic uint64_t wait;
	struct coro *next;	/* on the queue or list it is on */
	uint64_t sigmask;	/* (fault/signal.h) owner; others read */

	/* The wait; most of it is for those who look in. */
	uint32_t kind;		/* enum coro_kind */
	/* enum coro_cancel; anyone sets WANTED, the owner the rest. */
	_Atomic uint32_t cancel;
	/* In the runtime: signal handlers are put off while > 0. Owner only. */
	volatile uint32_t in_runtime;
	_Atomic uint32_t interrupt;	/* a signal or a cancel waits to be seen */
	_Atomic uint64_t sigpending;
	uint32_t handled, handled_hard;	/* handlers that ran, and those of them
					 * without SA_RESTART; owner only */
	uint32_t why;
	int fd;			/* … or a descriptor; -1 */
	const void *what;	/* what it waits for, when that has an address */
	cogo_time since;	/* parked since about then, by arch_cycles; 0:
				 * unknown */
	bool contains;		/* its faults become panics */
	bool trimmed;		/* unused stack given back since it last ran */
	bool counted;		/* somebody has asked for its processor time */
	uint8_t rank;		/* real-time priority: waits before the lower */
	uint8_t faulted;	/* times bound for a handler of a fault */
	uint8_t vforked;	/* children of vfork run in our memory, as us */
	bool own_files;		/* its kernel thread's descriptors are others than
				 * everybody's; owner only */

	/* What its maker writes. */
	uint64_t id;		/* from 1, never again */
	void (*first)(void *);	/* coro_get's */
	void (*entry)(void *);
	void *arg;
	size_t asked;		/* bytes of stack, of the maker */
	void *user;		/* the native API's */
	_Atomic uint32_t refs;
	bool rested;		/* it has lost what libc had allocated for it */
	int tid;		/* kernel thread it is bound to, or 0 */
	int vtid;		/* what gettid() says: the same for all its life;
				 * 0: nobody can ask yet */

	/* The life. */
	struct timer timer;
	struct unwind *unwind;	/* innermost base; NULL: a kernel thread's */
	const struct unwind *calm;	/* if it is the same: see fault/unwind.h */
	struct held *held;	/* the mutexes it has: see sync/held.h */
	struct rescue *rescue;	/* see fault/contain.c; NULL: none */
	struct local *local;	/* see coro/local.h */
	struct specific *specific;	/* the hook's, where storage is shared */
	const struct stack *on;	/* that it is on while it runs a generator, or
				 * NULL; owner only, others read */
	struct thread *thread;	/* the hook's descriptor, or NULL */
	union {
		struct tls_carried carried;	/* where tp is 0, while it does
						 * not run */
		struct link *link;	/* else: in the table of threads */
	};
	_Atomic uint64_t sigwaits;	/* what it waits for though it blocks it */
	_Atomic uint64_t sigwatch;	/* what ends its wait though it blocks it */
	uint64_t luck;		/* random numbers, owner only; 0: none drawn yet */
	void *stack_low;	/* the program's own memory, or NULL */

	struct stack stack;	/* low == NULL: a kernel thread's own */
	void *stack_start;	/* first frame goes here, below the TLS block */
	struct {		/* sleeps on its own stack, in the kernel: the
				 * frame it will return to; pc 0: it does not */
		_Atomic uintptr_t pc, sp, fp;
	} asleep;
	char name[16];
	_Atomic(struct coro_rare *) rare;	/* NULL until coro_rare, and then the
						 * object's for good */
	struct sanitize sanitize;	/* empty but with a sanitizer */
} __attribute__((aligned(64)));

/* What hardly any coroutine ever has. */
struct coro_rare {
	struct coro_rare *next;	/* slab link */
	struct {		/* the program's alternate stack; size 0: none */
		char *low;
		size_t size;
		unsigned flags;	/* SS_* */
	} altstack;
	struct {		/* processor time: see sched/clock.h */
		_Atomic uint32_t turn;
		cogo_time used, since;
	} cpu;
};

/* For those who look in, while me sleeps in the kernel and its registers are
 * nowhere else: the frame that called the function at hand, which must not be
 * inlined. relaxed: inspect/census.c looks twice. */
#define CORO_FALL_ASLEEP(me)						\
	do {								\
		atomic_store_explicit(&(me)->asleep.sp,			\
			(uintptr_t)__builtin_dwarf_cfa(),		\
			memory_order_relaxed);				\
		atomic_store_explicit(&(me)->asleep.fp,			\
			*(uintptr_t *)__builtin_frame_address(0),	\
			memory_order_relaxed);				\
		atomic_store_explicit(&(me)->asleep.pc,			\
			(uintptr_t)__builtin_return_address(0),		\
			memory_order_relaxed);				\
	} while (0)
#define CORO_AWAKE(me) \
	atomic_store_explicit(&(me)->asleep.pc, 0, memory_order_relaxed)

/* Somebody wants it to end; it does not want to hear of it now; or wants to at
 * any moment; or is on its way already. At a call that may wait it is unwound,
 * as threads are, and not told by an error, as the native API does. */
enum coro_cancel {
	CANCEL_WANTED = 1, CANCEL_DISABLED = 2, CANCEL_ASYNC = 4,
	CANCEL_EXITING = 8, CANCEL_UNWINDS = 16,
};

enum coro_kind { CORO_KIND_CORO, CORO_KIND_THREAD, CORO_KIND_ROOT };

/* Attributes of a new coroutine. */
struct coro_attr {
	size_t stack_size;	/* usable bytes */
	size_t guard_size;
	void *stack_low;	/* the program's own memory, or NULL */
	bool shared_tls;
	bool late;		/* nobody asks before it runs what its pthread_t and
				 * its number are: it need not have them before */
	const char *name;	/* may be NULL */
};

void coro_init(void);

/* Some coroutine has not thread-local storage of its own. */
extern bool coro_any_shares;

/* A coroutine in state NEW whose context begins with first(c), which must call
 * park_begin and end in park_exit (sched/park.h); the caller owns it until it
 * is ready, and may set entry and arg. 0, -EAGAIN or -ENOMEM. May call malloc
 * (libc lays out TLS). */
int coro_get(const struct coro_attr *attr, void (*first)(void *),
	     struct coro **ret_coro);
/* Its context, of one that has none yet (sp) and is about to run for the first time,
 * on the worker whose stock it has. */
void coro_begin(struct coro *c);

/* Drops the caller's reference, of a coroutine or of what goes with one: true when
 * that was the last. Who alone has one need not say so in one step with anybody:
 * nobody else can make another. */
static inline bool coro_last_ref(_Atomic uint32_t *refs)
{
	/* acquire, and acq_rel: the last one sees what all others did. */
	return atomic_load_explicit(refs, memory_order_acquire) == 1 ||
	       atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

/* Its rare things, made now if it has none: NULL without memory. Anybody who keeps it
 * from being given back; inside the runtime. */
struct coro_rare *coro_rare(struct coro *c);

/* The last reference of a coroutine that is DONE and off its stack: keeps the
 * shell (object, stack, TLS block) for the next coro_get. */
void coro_put(struct coro *c);

/* The stack that its innermost frames are on. Of one that runs it may be another
 * the next moment; the memory stays a stack's. */
static inline const struct stack *coro_stack(const struct coro *c)
{
	const struct stack *on = read_once(c->on);

	return on ? on : &c->stack;
}

/* No coroutine is left: what those that there were have kept for the next ones
 * goes, but for what others may look at, a page or two for each. */
void coro_rest(void);

/* A descriptor for the kernel thread that calls: bound for good. NULL without
 * memory. coro_put_thread ends it, on the same thread. */
struct coro *coro_adopt(enum coro_kind kind);
void coro_put_thread(struct coro *c);

/* To have in the cache what a wait of c's touches, for whoever is about to end it. */
static inline void coro_foresee(const struct coro *c)
{
	__builtin_prefetch(c, 1);
	__builtin_prefetch((const char *)c + 64, 1);
}

/* A FIFO of coroutines linked by next. */
struct coro_list {
	struct coro *head, *tail;
	uint32_t n;
};

static inline void coro_list_push(struct coro_list *l, struct coro *c)
{
	c->next = NULL;
	if (l->tail)
		l->tail->next = c;
	else
		l->head = c;
	l->tail = c;
	l->n++;
}

static inline struct coro *coro_list_pop(struct coro_list *l)
{
	struct coro *c = l->head;

	if (c) {
		l->head = c->next;
		if (!l->head)
			l->tail = NULL;
		l->n--;
	}
	return c;
}

/* Every object that ever was, FREE ones included; takes no lock. In the child
 * of a fork, those that were made in it and the one that forked. */
long coro_each(long (*fn)(struct coro *c, void *arg), void *arg);

/* Where a debugger finds them all, and whom not to count: objects up to that
 * id, but for that one, are of the process that forked. */
struct slab;
struct coro_registry {
	const struct slab *slab;
	const uint64_t *left_behind;
	struct coro *const *survivor;
};
struct coro_registry coro_registry(void);

/* Whether the one of that id has stayed behind, in the process that this one was forked
 * from. */
extern uint64_t coro_left_behind;
COLD bool coro_survived(uint64_t id);
static inline bool coro_stayed_behind(uint64_t id)
{
	return unlikely(id <= coro_left_behind) && !coro_survived(id);
}

/* Live coroutines (not threads), and the most there ever were, as far as that was
 * noticed: it is looked at whenever a worker goes beyond what it has at hand. */
uint64_t coro_made(void);
uint32_t coro_live(void);
uint32_t coro_peak(void);

/* What a program knows it by, as a pthread_t: its thread descriptor, or where it
 * has none of its own, its object. */
uintptr_t coro_handle(const struct coro *c);
/* The coroutine whose pthread_t this is, or NULL. Any thread. */
struct coro *coro_of_thread(uintptr_t thread);

/* Ids for coroutines are above any that the kernel gives (4194304 at most),
 * below 2^30, which libc's lock words leave room for. */
#define CORO_FIRST_TID	4194305
/* The coroutine that gettid() tells this of, or NULL. Walks them all. */
struct coro *coro_of_tid(int tid);

void coro_fork_lock(void);
void coro_fork_unlock(void);
/* In the child: everybody but the caller is gone, and it is a plain kernel
 * thread now, on its own stack as before. me may be NULL. The rest: see
 * tls_fork_child. */
void coro_fork_child(struct coro *me, uintptr_t worker_tp, bool libc_forked);

#endif
