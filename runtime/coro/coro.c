/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/coro.c - making, keeping and finding coroutines.
 *
 * A shell is an object with its stack and its TLS block, laid out once:
 *
 *	low				top
 *	| guard | frames ...  <- start | TLS block | stagger |
 *
 * A finished coroutine's shell goes to a list of its stack's pool, and the
 * next of that size takes it with the pages it touched still warm: to the list of
 * the worker it ended on, and some at a time to that of all. The tops
 * are staggered by the stack's index, or the first frames of 100,000 stacks
 * would all fall on the same sets of the cache.
 *
 * pthread_t of a coroutine is the address of its thread descriptor; a hash
 * table leads from it back to the object, so that a handle that was never
 * ours, or no longer is, is told apart without touching it. */
#include "coro/coro.h"
#include "arch/context.h"
#include "arch/tp.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/self.h"
#include "mem/slab.h"
#include "mem/tls.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

#define LAST_TID	((1 << 30) - 1)

#define STAGGER		64
#define STAGGER_STEPS	8

static struct slab coros = SLAB_INIT(struct coro, next);
static struct lock shells_lock;
static struct {
	const struct stack_pool *pool;
	bool shared;	/* without a TLS block */
	struct coro *free;
} shells[64];	/* under shells_lock */

static struct slab rares = SLAB_INIT(struct coro_rare, next);

static _Atomic uint64_t ids;
static _Atomic uint32_t peak;
/* Those that no worker's stock counts; and all stocks. Under shells_lock one goes
 * over into the other. */
static _Atomic uint64_t made, ended;
static struct coro_stock *stocks;

#define IDS_AT_ONCE	64
#define SHELLS_AT_ONCE	32	/* and twice as many at most */

/* In the child of a fork: whoever was made before, but one, lives in the
 * parent only. Their objects are left as they are, since to write to each
 * would copy its page. */
uint64_t coro_left_behind;
static struct coro *survivor;

/* The table from pthread_t to object: open addressing would have to move
 * entries under readers; chains through the shells need no memory of their
 * own. A shell is entered when it is made and stays. */
#define BUCKETS 4096
struct link {
	uintptr_t thread;
	struct coro *coro;
	struct link *next;
};
static _Atomic(struct link *) table[BUCKETS];
static struct slab links = SLAB_INIT_DENSE(struct link, next);

static unsigned bucket_of(uintptr_t thread)
{
	return (unsigned)((thread * 0x9e3779b97f4a7c15ull) >> 52) % BUCKETS;
}

uintptr_t coro_handle(const struct coro *c)
{
	return c->tp ? arch_tp_to_thread(c->tp) : (uintptr_t)c;
}

static int enter_table(struct coro *c)
{
	struct link *l = slab_get(&links);
	_Atomic(struct link *) *head;

	if (!l)
		return -ENOMEM;
	l->thread = coro_handle(c);
	l->coro = c;
	if (c->tp)
		c->link = l;
	head = &table[bucket_of(l->thread)];
	l->next = atomic_load_explicit(head, memory_order_relaxed);
	/* release: readers walk without a lock. Links are never removed. */
	while (!atomic_compare_exchange_weak_explicit(
		head, &l->next, l, memory_order_release, memory_order_relaxed))
		;
	return 0;
}

static bool is_here(const struct coro *c)
{
	return likely(read_once(c->id) > coro_left_behind) || c == survivor;
}

bool coro_survived(uint64_t id)
{
	return survivor && survivor->id == id;
}

struct coro *coro_of_thread(uintptr_t thread)
{
	struct link *l = atomic_load_explicit(&table[bucket_of(thread)],
					      memory_order_acquire);

	for (; l; l = l->next)
		if (l->thread == thread) {
			struct coro *c = read_once(l->coro);

			return is_here(c) ? c : NULL;
		}
	return NULL;
}

bool coro_any_shares;

void coro_init(void)
{
	arch_fp_note();
	coro_any_shares = !tls_private();
}

/* The id again, but for the range that libc's lock words have room for: two have the
 * same only when 10^9 were made in between. */
static int tid_of(uint64_t id)
{
	return CORO_FIRST_TID +
	       (int)((id - 1) % (uint64_t)(LAST_TID - CORO_FIRST_TID));
}

/* ---- numbers, and how many there are ---- */

struct coro_stock *coro_own_stock(void)
{
	const struct coro *me = self();

	if (!me || !me->in_runtime || (me->bound && me->kind != CORO_KIND_ROOT))
		return NULL;
	return me->stock;
}

static uint64_t new_id(struct coro_stock *stock)
{
	if (!stock)
		return 1 + atomic_fetch_add_explicit(&ids, 1, memory_order_relaxed);
	if (unlikely(!stock->ids)) {
		stock->id = 1 + atomic_fetch_add_explicit(&ids, IDS_AT_ONCE,
							  memory_order_relaxed);
		stock->ids = IDS_AT_ONCE;
	}
	stock->ids--;
	return stock->id++;
}

/* One more; own is read by others, and written by its worker alone. */
static void count(_Atomic uint64_t *own, _Atomic uint64_t *of_all)
{
	if (own)
		/* release: pairs with the acquires in coro_live. */
		atomic_store_explicit(own, 1 + atomic_load_explicit(
					       own, memory_order_relaxed),
				      memory_order_release);
	else
		atomic_fetch_add_explicit(of_all, 1, memory_order_release);
}

/* Those that no stock counts, and those that one does: member is where in it. */
static uint64_t count_all(const _Atomic uint64_t *others, size_t member)
{
	uint64_t n;

	lock(&shells_lock);
	n = atomic_load_explicit(others, memory_order_acquire);
	for (const struct coro_stock *s = stocks; s; s = s->next)
		n += atomic_load_explicit(
			(const _Atomic uint64_t *)((const char *)s + member),
			memory_order_acquire);
	unlock(&shells_lock);
	return n;
}

uint64_t coro_made(void)
{
	return count_all(&made, offsetof(struct coro_stock, made));
}

static uint64_t all_ended(void)
{
	return count_all(&ended, offsetof(struct coro_stock, ended));
}

/* Those that have ended first: who was made meanwhile is counted, and nobody is
 * left out who lived when that was done. */
uint32_t coro_live(void)
{
	uint64_t n = all_ended();

	return (uint32_t)(coro_made() - n);
}

uint32_t coro_peak(void)
{
	return atomic_load_explicit(&peak, memory_order_relaxed);
}

/* The other way round: so many there were, at least, when those that were made had
 * been counted. */
static void look_at_peak(void)
{
	uint64_t all = coro_made(), over = all_ended();
	uint32_t n = all > over ? (uint32_t)(all - over) : 0;
	uint32_t most = atomic_load_explicit(&peak, memory_order_relaxed);

	while (n > most &&
	       !atomic_compare_exchange_weak_explicit(&peak, &most, n,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* ---- shells ---- */

/* Under shells_lock. Where those of a kind are, or NULL if there is no room for
 * one more kind. */
static struct coro **shells_of(const struct stack_pool *pool, bool shared)
{
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
		if (!shells[i].pool) {
			shells[i].pool = pool;
			shells[i].shared = shared;
		}
		if (shells[i].pool == pool && shells[i].shared == shared)
			return &shells[i].free;
	}
	return NULL;
}

static struct coro *pop(struct coro **at)
{
	struct coro *c = *at;

	if (c)
		*at = c->next;
	return c;
}

static void push(struct coro **at, struct coro *c)
{
	c->next = *at;
	*at = c;
}

static struct coro *pop_shell(const struct stack_pool *pool, bool shared)
{
	struct coro **at, *c = NULL;

	lock(&shells_lock);
	at = shells_of(pool, shared);
	if (at)
		c = pop(at);
	unlock(&shells_lock);
	return c;
}

static bool push_shell(struct coro *c)
{
	struct coro **at;

	lock(&shells_lock);
	at = shells_of(c->stack.pool, !c->tp);
	if (at)
		push(at, c);
	unlock(&shells_lock);
	return at != NULL;
}

/* ---- a worker's own ---- */

/* Leaves so many of them. Where there is no room for them as a kind they are left,
 * too. */
static void give_back(struct coro_shells *s, uint32_t leave)
{
	struct coro **at;

	lock(&shells_lock);
	at = shells_of(s->pool, s->shared);
	for (; at && s->n > leave; s->n--)
		push(at, pop(&s->free));
	s->fresh = false;
	unlock(&shells_lock);
}

static void fetch(struct coro_shells *s)
{
	struct coro **at, *c;

	lock(&shells_lock);
	at = shells_of(s->pool, s->shared);
	while (at && s->n < SHELLS_AT_ONCE && (c = pop(at))) {
		push(&s->free, c);
		s->n++;
	}
	unlock(&shells_lock);
}

static bool is_kind(const struct coro_shells *s, size_t size, size_t guard,
		    bool shared)
{
	return s->pool && s->size == size && s->guard == guard &&
	       s->shared == shared;
}

/* Makes room for another kind. False: there is none among all, and some are left. */
static bool empty_second(struct coro_stock *stock)
{
	struct coro_shells *s = &stock->shells[1];

	if (s->pool)
		give_back(s, 0);
	return s->n == 0;
}

/* The stock's place for shells of that kind: the first from now on. NULL: it has
 * none for them. */
static NOINLINE struct coro_shells *own_other(struct coro_stock *stock, size_t size,
					      size_t guard, bool shared)
{
	struct coro_shells *s = stock->shells, other;

	if (is_kind(&s[1], size, guard, shared)) {
		other = s[1];
	} else {
		other = (struct coro_shells){
			.pool = stack_pool_for(size, guard),
			.size = size, .guard = guard, .shared = shared,
		};
		if (!other.pool || !empty_second(stock))
			return NULL;
	}
	s[1] = s[0];
	s[0] = other;
	return s;
}

static struct coro_shells *own_shells(struct coro_stock *stock, size_t size,
				      size_t guard, bool shared)
{
	if (likely(is_kind(&stock->shells[0], size, guard, shared)))
		return &stock->shells[0];
	return own_other(stock, size, guard, shared);
}

static struct coro *pop_own(struct coro_shells *s)
{
	if (s->free)
		s->n--;
	s->fresh = false;
	return pop(&s->free);
}

/* The stock's place for shells like c, or NULL. */
static struct coro_shells *own_kind(struct coro_stock *stock, const struct coro *c)
{
	struct coro_shells *s = stock->shells;

	if (s->pool != c->stack.pool || s->shared != !c->tp)
		s++;
	return s->pool == c->stack.pool && s->shared == !c->tp ? s : NULL;
}

static bool push_own(struct coro_stock *stock, struct coro *c)
{
	struct coro_shells *s = own_kind(stock, c);

	if (!s)
		return false;
	push(&s->free, c);
	s->fresh = true;
	if (unlikely(++s->n > 2 * SHELLS_AT_ONCE))
		give_back(s, SHELLS_AT_ONCE);
	return true;
}

void coro_stock_begin(struct coro_stock *stock)
{
	lock(&shells_lock);
	stock->next = stocks;
	stocks = stock;
	unlock(&shells_lock);
}

void coro_stock_empty(struct coro_stock *stock)
{
	slab_stock_end(&stock->handles);
	slab_stock_end(&stock->children);
	for (int i = 0; i < 2; i++)
		if (stock->shells[i].n)
			give_back(&stock->shells[i], 0);
}

void coro_stock_end(struct coro_stock *stock)
{
	struct coro_stock **at;

	coro_stock_empty(stock);
	lock(&shells_lock);
	for (at = &stocks; *at && *at != stock; at = &(*at)->next)
		;
	if (*at)
		*at = stock->next;
	/* What it has counted all others count from now on. */
	atomic_fetch_add_explicit(&made, stock->made, memory_order_relaxed);
	atomic_fetch_add_explicit(&ended, stock->ended, memory_order_relaxed);
	unlock(&shells_lock);
	memset(stock, 0, sizeof(*stock));
}

/* Bytes above the first frame. */
static size_t above_frames(bool shared_tls)
{
	return STAGGER * STAGGER_STEPS + (shared_tls ? 0 : tls_size());
}

/* Of one that will not run again, or never has: as coro_get and who makes it expect
 * it, all but what they write themselves. When its lines are in the cache, for the
 * next one is made when they no longer are. */
static void reset(struct coro *c)
{
	struct coro_rare *rare;

	c->sp = NULL;
	atomic_store_explicit(&c->cancel, 0, memory_order_relaxed);
	c->in_runtime = 1;	/* until its entry has begun */
	atomic_store_explicit(&c->interrupt, 0, memory_order_relaxed);
	atomic_store_explicit(&c->sigpending, 0, memory_order_relaxed);
	c->why = WHY_NOTHING;
	c->fd = -1;
	c->what = NULL;
	write_once(c->since, 0);
	c->contains = false;
	write_once(c->trimmed, false);
	write_once(c->counted, false);
	c->rank = 0;
	c->faulted = 0;
	c->vforked = 0;
	c->own_files = false;
	c->tid = 0;
	c->vtid = 0;
	c->unwind = NULL;
	c->calm = NULL;
	c->held = NULL;
	c->rescue = NULL;
	c->local = NULL;
	c->specific = NULL;
	write_once(c->on, NULL);
	c->thread = NULL;
	atomic_store_explicit(&c->sigwaits, 0, memory_order_relaxed);
	atomic_store_explicit(&c->sigwatch, 0, memory_order_relaxed);
	c->stack_low = NULL;
	memset(c->name, 0, sizeof(c->name));
	rare = atomic_load_explicit(&c->rare, memory_order_relaxed);
	if (unlikely(rare)) {
		rare->altstack.size = 0;
		rare->cpu.used = rare->cpu.since = 0;
	}
}

struct coro_rare *coro_rare(struct coro *c)
{
	struct coro_rare *has = atomic_load_explicit(&c->rare, memory_order_acquire);
	struct coro_rare *mine;

	if (has)
		return has;
	mine = slab_get(&rares);
	if (!mine)
		return NULL;
	/* Of two who make it, one has. */
	if (atomic_compare_exchange_strong_explicit(&c->rare, &has, mine,
						    memory_order_acq_rel,
						    memory_order_acquire))
		return mine;
	slab_put(&rares, mine);
	return has;
}

static int make_shell(size_t size, size_t guard, bool shared_tls,
		      struct coro **ret_coro)
{
	struct coro *c = slab_get(&coros);
	char *top;
	int r;

	if (!c)
		return -ENOMEM;
	memset(&c->stack, 0, sizeof(c->stack));
	reset(c);
	write_once(c->kind, CORO_KIND_CORO);
	c->rested = false;
	r = stack_make(size, guard, &c->stack);
	if (r)
		goto put_coro;
	top = c->stack.top - STAGGER * (c->stack.index % STAGGER_STEPS);
	c->tp = 0;
	r = -ENOMEM;
	if (!shared_tls) {
		c->tp = tls_make(top);
		if (!c->tp)
			goto keep_stack;
		top -= tls_size();
	}
	if (enter_table(c))
		goto keep_stack;
	c->stack_start = (void *)((uintptr_t)top & ~(uintptr_t)15);
	*ret_coro = c;
	return 0;
keep_stack:
	/* Its memory stays with the dead object: running out of memory while
	 * a TLS block is laid out loses one stack's address space. */
put_coro:
	slab_put(&coros, c);
	return r;
}

/* Both are of a kind; what the next one of them finds in its memory is the same. */
static void swap_memory(struct coro *a, struct coro *b)
{
	struct stack stack = a->stack;
	void *start = a->stack_start;
	struct link *link = a->link;
	uintptr_t tp = a->tp;

	a->stack = b->stack;
	b->stack = stack;
	a->stack_start = b->stack_start;
	b->stack_start = start;
	/* Without one it is known by the object. */
	if (!tp)
		return;
	a->tp = b->tp;
	b->tp = tp;
	a->link = b->link;
	b->link = link;
	write_once(a->link->coro, a);
	write_once(b->link->coro, b);
}

/* The context that it begins with. Its block is as new. In time: by its maker. */
static void lay_out(struct coro *c, bool in_time)
{
	char *low = c->stack.low + c->stack.guard, *start = c->stack_start;

	c->stack.asked = c->asked;
	if (c->stack_low) {
		low = c->stack_low;
		start = low + c->asked;
	}
	c->vtid = tid_of(c->id);
	if (c->tp) {
		tls_set_tid(c->tp, c->vtid);
		self_set_in(c->tp, c);
	} else {
		tls_carried_init(&c->carried);
	}
	sanitize_new(&c->sanitize, low, start);
	c->sp = in_time ? arch_context_make(start, c->first, c)
			: arch_context_make_noted(start, c->first, c);
}

/* Of one that has ended here since, the memory is in the cache, and perhaps never was
 * in that of this one. */
void coro_begin(struct coro *c)
{
	const struct coro_shells *s = own_kind(c->stock, c);

	if (s && s->fresh && (!c->tp || (!s->free->rested && tls_known())))
		swap_memory(c, s->free);
	if (c->tp)
		tls_renew_known(c->tp);
	lay_out(c, false);
}

/* Whether that can wait until it runs: then no memory can be had, and its maker may
 * have another floating point control, or none. ThreadSanitizer takes it that whoever
 * makes a fiber is who made the coroutine. */
static bool may_be_late(const struct coro *c)
{
	return !SANITIZE_THREAD && (!c->tp || (!c->rested && tls_known())) &&
	       arch_fp_is_noted();
}

int coro_get(const struct coro_attr *attr, void (*first)(void *),
	     struct coro **ret_coro)
{
	bool shared = attr->shared_tls || !tls_private();
	size_t extra = above_frames(shared);
	/* A coroutine on the program's own memory still has a shell, for its
	 * TLS block alone. */
	size_t size = attr->stack_low ? extra : attr->stack_size + extra;
	size_t guard = attr->stack_low ? 0 : attr->guard_size;
	struct coro_stock *stock = coro_own_stock();
	struct coro_shells *own = NULL;
	const struct stack_pool *pool;
	struct coro *c = NULL;
	bool at_hand = false, is_new, late;
	int r;

	if (unlikely(shared && !coro_any_shares))
		write_once(coro_any_shares, true);
	if (stock)
		own = own_shells(stock, size, guard, shared);
	if (own) {
		at_hand = own->free;
		if (!at_hand)
			fetch(own);
		c = pop_own(own);
	} else {
		pool = stack_pool_for(size, guard);
		if (pool)
			c = pop_shell(pool, shared);
	}
	is_new = !c;
	if (is_new) {
		r = make_shell(size, guard, shared, &c);
		if (r)
			return r;
	}
	late = attr->late && may_be_late(c);
	if (!is_new && !late && c->tp && !tls_renew(c->tp)) {
		c->rested = true;
		push_shell(c);
		return -ENOMEM;
	}
	c->worker = NULL;
	c->stock = NULL;
	write_once(c->bound, 0);
	c->user = NULL;
	write_once(c->id, new_id(stock));
	c->sigmask = 0;
	c->first = first;
	c->asked = attr->stack_size;
	atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
	if (unlikely(attr->stack_low))
		c->stack_low = attr->stack_low;
	if (unlikely(attr->name && *attr->name))
		strncpy(c->name, attr->name, sizeof(c->name) - 1);
	c->rested = false;
	if (!late)
		lay_out(c, true);
	count(stock ? &stock->made : NULL, &made);
	if (!at_hand)
		look_at_peak();
	atomic_store_explicit(&c->state, CORO_NEW, memory_order_release);
	*ret_coro = c;
	return 0;
}

void coro_put(struct coro *c)
{
	struct coro_stock *stock = coro_own_stock();

	reset(c);
	atomic_store_explicit(&c->state, CORO_FREE, memory_order_release);
	count(stock ? &stock->ended : NULL, &ended);
	if ((!stock || !push_own(stock, c)) && !push_shell(c))
		slab_put(&coros, c);
}

static void rest_shell(struct coro *c)
{
	if (c->tp)
		tls_rest(c->tp);
	c->rested = true;
	stack_trim(&c->stack, c->stack_start);
}

void coro_rest(void)
{
	lock(&shells_lock);
	for (size_t i = 0; i < ARRAY_SIZE(shells) && shells[i].pool; i++)
		for (struct coro *c = shells[i].free; c; c = c->next)
			rest_shell(c);
	unlock(&shells_lock);
}

struct coro *coro_adopt(enum coro_kind kind)
{
	struct coro *c = slab_get(&coros);

	if (!c)
		return NULL;
	reset(c);
	memset(&c->stack, 0, sizeof(c->stack));
	sanitize_adopt(&c->sanitize);
	c->tp = arch_tp_get();
	c->worker = NULL;
	c->stock = NULL;
	write_once(c->bound, 1);
	c->user = NULL;
	c->in_runtime = 0;
	write_once(c->id, new_id(NULL));
	sys_call(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &c->sigmask,
		 sizeof(c->sigmask));
	write_once(c->kind, kind);
	c->tid = c->vtid = sys_gettid();
	atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
	atomic_store_explicit(&c->state, CORO_RUNNING, memory_order_release);
	self_set(c);
	return c;
}

void coro_put_thread(struct coro *c)
{
	self_set(NULL);
	atomic_store_explicit(&c->state, CORO_FREE, memory_order_release);
	slab_put(&coros, c);
}

struct each {
	long (*fn)(struct coro *, void *);
	void *arg;
};

static long each_one(void *obj, void *arg)
{
	struct each *e = arg;

	return is_here(obj) ? e->fn(obj, e->arg) : 0;
}

long coro_each(long (*fn)(struct coro *, void *), void *arg)
{
	struct each e = { fn, arg };

	return slab_each(&coros, each_one, &e);
}

struct by_tid {
	int tid;
	struct coro *found;
};

static long has_tid(struct coro *c, void *arg)
{
	struct by_tid *b = arg;
	uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);

	if (c->vtid != b->tid || s == CORO_FREE || s == CORO_DONE)
		return 0;
	b->found = c;
	return 1;
}

struct coro *coro_of_tid(int tid)
{
	struct by_tid b = { tid, NULL };

	if (tid <= 0)
		return NULL;
	coro_each(has_tid, &b);
	return b.found;
}

struct coro_registry coro_registry(void)
{
	return (struct coro_registry){ &coros, &coro_left_behind, &survivor };
}

const char *why_text(enum why why)
{
	static const char *const text[WHY_COUNT] = {
		[WHY_NOTHING] = "nothing",
		[WHY_READ] = "to read",
		[WHY_WRITE] = "to write",
		[WHY_ACCEPT] = "to accept a connection",
		[WHY_CONNECT] = "to connect",
		[WHY_POLL] = "for descriptors",
		[WHY_SLEEP] = "for time to pass",
		[WHY_MUTEX] = "for a mutex",
		[WHY_COND] = "for a condition",
		[WHY_RWLOCK] = "for a read-write lock",
		[WHY_SEM] = "for a semaphore",
		[WHY_BARRIER] = "at a barrier",
		[WHY_ONCE] = "for a once to be done",
		[WHY_JOIN] = "for a thread to end",
		[WHY_FUTEX] = "on a futex",
		[WHY_SIGNAL] = "for a signal",
		[WHY_CHILD] = "for a child process",
		[WHY_BLOCKED] = "in the kernel",
		[WHY_PAUSE] = "to be unparked",
		[WHY_SEND] = "to send",
		[WHY_RECV] = "to receive",
		[WHY_SELECT] = "in a select",
		[WHY_WAITGROUP] = "for a wait group",
		[WHY_LATCH] = "for a latch to be fired",
		[WHY_LOOKUP] = "for a name to be looked up",
		[WHY_DISK] = "for a disk",
	};

	return why < WHY_COUNT && text[why] ? text[why] : "?";
}

void coro_fork_lock(void)
{
	lock(&shells_lock);
	lock(&coros.lock);
	lock(&links.lock);
	stack_fork_lock();
	tls_fork_lock();
}

void coro_fork_unlock(void)
{
	tls_fork_unlock();
	stack_fork_unlock();
	unlock(&links.lock);
	unlock(&coros.lock);
	unlock(&shells_lock);
}

/* Coroutines that lived in the parent leave their shells behind, in use for
 * ever as far as this process knows: their stacks may be mid-call, their TLS
 * blocks hold pointers. They are gone, as other threads' stacks are after a
 * fork. */
void coro_fork_child(struct coro *me, uintptr_t worker_tp, bool libc_forked)
{
	coro_left_behind = atomic_load_explicit(&ids, memory_order_relaxed);
	survivor = me;
	/* What the parent's workers have at hand is theirs. */
	stocks = NULL;
	atomic_store_explicit(&made, 0, memory_order_relaxed);
	atomic_store_explicit(&ended, 0, memory_order_relaxed);
	atomic_store_explicit(&peak, 0, memory_order_relaxed);
	/* A kernel thread that was adopted has no stack of ours, and its block
	 * is libc's. */
	tls_fork_child(me && me->stack.low ? me->tp : 0, worker_tp, libc_forked);
	if (!me)
		return;
	/* The one kernel thread of this process is the caller's own from now
	 * on, whatever it was before. */
	me->kind = CORO_KIND_THREAD;
	me->bound++;
	me->worker = NULL;
	me->stock = NULL;
	me->tid = me->vtid = sys_gettid();
	/* With shared storage a kernel thread has libc's block, and where in it
	 * the tid is was never asked. */
	if (me->tp && tls_private())
		tls_set_tid(me->tp, me->tid);
}
