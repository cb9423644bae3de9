/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Coroutines as objects: made, kept, found. */
#include "base/errno.h"
#include "coro/coro.h"
#include "coro/self.h"
#include "mem/tls.h"
#include "there.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

static const struct coro_attr usual = { .stack_size = 64 << 10,
					.guard_size = 4096 };

static void prepare(bool shared)
{
	arch_tp_init(0);
	stack_init(0);
	tls_init(shared);
	coro_init();
}

static void never(void *arg)
{
	(void)arg;
	abort();
}

static struct coro *make(const struct coro_attr *attr)
{
	struct coro *c;

	check_eq(coro_get(attr, never, &c), 0);
	return c;
}

static void names_and_numbers(void)
{
	struct coro_attr named = usual;
	struct coro *c[100];

	named.name = "a name that is too long for it";
	for (int i = 0; i < 100; i++) {
		c[i] = make(&named);
		check_eq(c[i]->state, CORO_NEW);
		check_eq(c[i]->refs, 1);
		check_eq(c[i]->kind, CORO_KIND_CORO);
		check(c[i]->vtid >= CORO_FIRST_TID && c[i]->vtid < 1 << 30);
		check(strcmp(c[i]->name, "a name that is ") == 0);
		for (int k = 0; k < i; k++)
			check(c[i]->id > c[k]->id && c[i]->vtid != c[k]->vtid &&
			      c[i] != c[k]);
	}
	check_eq(coro_live(), 100);
	check_eq(coro_peak(), 100);
	check_eq(coro_made(), 100);
	for (int i = 0; i < 100; i++)
		coro_put(c[i]);
	check_eq(coro_live(), 0);
	check_eq(coro_peak(), 100);
}

Test(coro, ids_are_never_used_twice)
{
	prepare(false);
	names_and_numbers();
}

Test(coro, ids_are_never_used_twice_with_shared_tls)
{
	prepare(true);
	check(!tls_private());
	names_and_numbers();
}

Test(coro, a_finished_ones_shell_is_the_next_ones)
{
	struct coro *c, *again;
	struct stack stack;
	uintptr_t tp;
	uint64_t id;

	prepare(false);
	c = make(&usual);
	stack = c->stack;
	tp = c->tp;
	id = c->id;
	coro_put(c);
	check_eq(c->state, CORO_FREE);
	again = make(&usual);
	check(again == c);
	check(again->stack.low == stack.low && again->stack.top == stack.top);
	check_eq(again->tp, tp);
	check(again->id > id);
	/* Of another size, another shell. */
	coro_put(again);
	c = make(&(struct coro_attr){ .stack_size = 128 << 10,
				      .guard_size = 4096 });
	check(c->stack.low != stack.low);
}

Test(coro, there_is_as_much_stack_as_was_asked_for)
{
	prepare(false);
	for (size_t size = 16384; size < 10 << 20; size *= 3) {
		struct coro_attr a = { .stack_size = size, .guard_size = 4096 };
		struct coro *c = make(&a);

		check((size_t)((char *)c->stack_start - c->stack.low) >=
		      size + c->stack.guard);
		check_eq((uintptr_t)c->stack_start % 16, 0);
		check_eq(c->stack.asked, size);
	}
}

static struct coro *seen_self;

static void who_am_i(void *arg)
{
	self_set(arg);
	seen_self = self();
}

Test(coro, the_programs_own_memory_serves_as_a_stack)
{
	size_t size = 256 << 10;
	char *mine = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct coro_attr a = { .stack_size = size, .stack_low = mine,
			       .guard_size = 4096 };
	struct coro *c;

	prepare(false);
	c = make(&a);
	check((char *)c->sp > mine && (char *)c->sp < mine + size);
	check(c->stack_low == mine);
	run_there(mine + size, c->tp ? c->tp : arch_tp_get(), who_am_i, c);
	check(seen_self == c);
	coro_put(c);
}

Test(coro, each_has_its_own_idea_of_itself)
{
	struct coro *a, *b;

	prepare(false);
	if (!tls_private())
		skip("with shared TLS the switch says who runs");
	check(self() == NULL);
	a = make(&usual);
	b = make(&usual);
	run_there(a->stack_start, a->tp, who_am_i, a);
	check(seen_self == a);
	run_there(b->stack_start, b->tp, who_am_i, b);
	check(seen_self == b);
	check(self() == NULL);
}

/* One function that begins on a kernel thread and goes on on another, with the
 * storage of whichever runs it. */
#define LEGS 4
static struct {
	void *here, *there;
	struct coro *self[LEGS];
	int error[LEGS], left[LEGS];
	_Atomic int turn;
} moved;

static inline __attribute__((always_inline)) void go_a_leg(int i)
{
	moved.self[i] = self();
	moved.error[i] = errno_get();
	errno_set(100 + i);
	self_set(NULL);
	arch_switch(&moved.there, moved.here, arch_tp_get());
}

/* Without a loop, in which a compiler may ask anew of its own accord. */
static void goes_on_elsewhere(void *arg)
{
	(void)arg;
	go_a_leg(0);
	go_a_leg(1);
	go_a_leg(2);
	go_a_leg(3);
	abort();
}

static void *runs_a_leg(void *arg)
{
	intptr_t i = (intptr_t)arg;
	void *left;

	while (moved.turn != i)
		sched_yield();
	self_set((struct coro *)(64 * (i + 1)));
	errno_set((int)i + 1);
	arch_switch(&moved.here, moved.there, arch_tp_get());
	moved.left[i] = errno_get();
	left = self();
	moved.turn++;
	/* None ends before all have been: its storage would be the next one's. */
	while (moved.turn != LEGS)
		sched_yield();
	return left;
}

Test(coro, one_that_goes_on_elsewhere_finds_itself_and_errno_there)
{
	static _Alignas(64) char stack[64 << 10];
	struct coro mine;
	pthread_t t[LEGS];
	void *left;

	prepare(true);
	self_set(&mine);
	errno_set(ERANGE);
	moved.there = arch_context_make(stack + sizeof(stack), goes_on_elsewhere,
					NULL);
	for (intptr_t i = 0; i < LEGS; i++)
		check_eq(pthread_create(&t[i], NULL, runs_a_leg, (void *)i), 0);
	for (int i = 0; i < LEGS; i++) {
		check_eq(pthread_join(t[i], &left), 0);
		check(left == NULL);
		check(moved.self[i] == (struct coro *)(uintptr_t)(64 * (i + 1)));
		check_eq(moved.error[i], i + 1);
		check_eq(moved.left[i], 100 + i);
	}
	check(self() == &mine && errno_get() == ERANGE);
}

Test(coro, it_is_found_by_its_thread_and_by_its_id)
{
	struct coro *c[500];

	prepare(false);
	if (!tls_private())
		skip("with shared TLS a coroutine is no thread to libc");
	for (int i = 0; i < 500; i++)
		c[i] = make(&usual);
	for (int i = 0; i < 500; i++) {
		check(coro_of_thread(arch_tp_to_thread(c[i]->tp)) == c[i]);
		check(coro_of_tid(c[i]->vtid) == c[i]);
		check_eq(tls_tid(c[i]->tp), c[i]->vtid);
	}
	check(coro_of_thread((uintptr_t)pthread_self()) == NULL);
	check(coro_of_thread(0) == NULL);
	check(coro_of_tid(1) == NULL);
	coro_put(c[7]);
	check(coro_of_tid(c[7]->vtid) == NULL);
}

static void *adopted(void *arg)
{
	struct coro *c;

	(void)arg;
	check(self() == NULL);
	c = self_or_adopt();
	check(c && self() == c && self_or_adopt() == c);
	check_eq(c->kind, CORO_KIND_THREAD);
	check(c->bound == 1 && c->state == CORO_RUNNING);
	check_eq(c->tid, gettid());
	check_eq(c->tp, arch_tp_get());
	check_eq(coro_live(), 0);
	coro_put_thread(c);
	check(self() == NULL);
	return NULL;
}

Test(coro, a_kernel_thread_is_adopted_and_let_go)
{
	pthread_t t;

	prepare(false);
	for (int i = 0; i < 100; i++) {
		check_eq(pthread_create(&t, NULL, adopted, NULL), 0);
		pthread_join(t, NULL);
	}
}

static long count_new(struct coro *c, void *arg)
{
	if (c->state == CORO_NEW)
		++*(long *)arg;
	return 0;
}

static long stop_at(struct coro *c, void *arg)
{
	return c == arg ? 5 : 0;
}

Test(coro, a_walk_meets_them_all)
{
	struct coro *c[300];
	long n = 0;

	prepare(false);
	for (int i = 0; i < 300; i++)
		c[i] = make(&usual);
	check_eq(coro_each(count_new, &n), 0);
	check_eq(n, 300);
	check_eq(coro_each(stop_at, c[150]), 5);
	for (int i = 0; i < 100; i++)
		coro_put(c[i]);
	n = 0;
	coro_each(count_new, &n);
	check_eq(n, 200);
}

Test(coro, lists_are_first_in_first_out)
{
	struct coro a = { 0 }, b = { 0 }, c = { 0 };
	struct coro_list l = { 0 };

	check(coro_list_pop(&l) == NULL);
	coro_list_push(&l, &a);
	coro_list_push(&l, &b);
	check_eq(l.n, 2);
	check(coro_list_pop(&l) == &a);
	coro_list_push(&l, &c);
	check(coro_list_pop(&l) == &b);
	check(coro_list_pop(&l) == &c);
	check(coro_list_pop(&l) == NULL);
	check_eq(l.n, 0);
	coro_list_push(&l, &a);
	check(coro_list_pop(&l) == &a);
}

#define THREADS 4

static void *churn(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 31337 + 1;
	struct coro *held[30] = { 0 };

	for (int i = 0; i < 5000; i++) {
		size_t at = unit_random(&seed) % 30;
		struct coro_attr a = usual;

		a.stack_size = 16384u << unit_random(&seed) % 3;
		if (held[at]) {
			check(held[at]->user == arg);
			coro_put(held[at]);
			held[at] = NULL;
		} else {
			held[at] = make(&a);
			check(held[at]->user == NULL);
			held[at]->user = arg;
		}
	}
	for (int i = 0; i < 30; i++)
		if (held[i])
			coro_put(held[i]);
	return NULL;
}

/* As what runs on a worker is: with a stock of its own. */
static void *churn_with_stock(void *arg)
{
	struct coro *me = coro_adopt(CORO_KIND_ROOT);
	struct coro_stock stock = { 0 };

	coro_stock_begin(&stock);
	me->in_runtime = 1;
	me->stock = &stock;
	for (int i = 0; i < 5; i++) {
		churn(arg);
		check_eq(stock.made, stock.ended);
		check(stock.shells[0].n <= 64 && stock.shells[1].n <= 64);
	}
	coro_stock_end(&stock);
	me->stock = NULL;
	coro_put_thread(me);
	return NULL;
}

Test(coro, no_shell_is_in_two_stocks_at_once, .timeout = 120)
{
	pthread_t t[THREADS];

	prepare(false);
	for (uintptr_t i = 0; i < THREADS; i++)
		check_eq(pthread_create(&t[i], NULL, i % 2 ? churn_with_stock : churn,
					(void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check_eq(coro_live(), 0);
	check(coro_made() > 0);
	check(coro_peak() <= THREADS * 30);
}

Test(coro, what_a_worker_ends_it_makes_again_and_others_get_what_is_over)
{
	struct coro *c[200], *me, *stranger;
	struct coro_stock stock = { 0 };

	prepare(false);
	me = coro_adopt(CORO_KIND_ROOT);
	coro_stock_begin(&stock);
	me->in_runtime = 1;
	me->stock = &stock;
	for (int i = 0; i < 200; i++) {
		c[i] = make(&usual);
		for (int k = 0; k < i; k++)
			check(c[i]->id != c[k]->id && c[i]->vtid != c[k]->vtid);
	}
	check_eq(coro_live(), 200);
	check_eq(coro_peak(), 200);
	for (int i = 0; i < 200; i++)
		coro_put(c[i]);
	check_eq(coro_live(), 0);
	check(make(&usual) == c[199]);
	/* Outside the runtime a signal handler might come in between. */
	me->in_runtime = 0;
	stranger = make(&usual);
	me->in_runtime = 1;
	check(stranger != c[198]);
	check_eq(coro_live(), 2);
	for (int i = 0; stranger != c[i]; i++)
		check(i < 199);
	/* What it has at hand, others can have now; and it goes on. */
	coro_stock_empty(&stock);
	check_eq(stock.shells[0].n, 0);
	check_eq(coro_live(), 2);
	me->in_runtime = 0;
	for (int i = 0; i < 198; i++) {
		struct coro *again = make(&usual);
		int at = 0;

		while (at < 200 && again != c[at])
			at++;
		check(at < 200);
	}
	me->in_runtime = 1;
	check(make(&usual)->id > c[199]->id);
	coro_stock_end(&stock);
	check_eq(stock.shells[0].n, 0);
	check_eq(coro_live(), 201);
	check_eq(coro_made(), 401);
	me->stock = NULL;
	coro_put_thread(me);
}

/* As the loop does. */
static void begin_on(struct coro_stock *stock, struct coro *c)
{
	c->stock = stock;
	if (!c->sp)
		coro_begin(c);
}

Test(coro, it_begins_on_the_memory_of_the_one_that_ended_last)
{
	struct coro_stock stock = { 0 };
	struct coro_attr late = usual;
	struct coro *c[3], *me;
	void *last, *cold;

	prepare(true);
	me = coro_adopt(CORO_KIND_ROOT);
	coro_stock_begin(&stock);
	me->in_runtime = 1;
	me->stock = &stock;
	late.late = true;
	c[0] = make(&late);
	c[1] = make(&late);
	/* ThreadSanitizer wants it known who made it. */
	check(SANITIZE_THREAD ? c[0]->sp != NULL : c[0]->sp == NULL);
	begin_on(&stock, c[0]);
	begin_on(&stock, c[1]);
	last = c[1]->stack_start;
	cold = c[0]->stack_start;
	coro_put(c[1]);
	c[1] = make(&late);
	c[2] = make(&late);
	coro_put(c[1]);
	check(c[2]->stack_start != last);
	begin_on(&stock, c[2]);
	check(SANITIZE_THREAD || c[2]->stack_start == last);
	check(c[1]->stack_start != cold && c[2]->stack_start != cold);
	check(c[1]->stack_start != c[2]->stack_start);
	check((char *)c[2]->sp > c[2]->stack.low &&
	      (char *)c[2]->sp < (char *)c[2]->stack_start);
	check_eq(c[2]->stack.asked, usual.stack_size);
	check(coro_of_tid(c[2]->vtid) == c[2]);
	coro_put(c[0]);
	coro_put(c[2]);
	me->in_runtime = 0;
	coro_stock_end(&stock);
	me->stock = NULL;
	coro_put_thread(me);
}

Test(coro, no_shell_is_had_by_two_at_once, .timeout = 120)
{
	pthread_t t[THREADS];

	prepare(false);
	for (uintptr_t i = 0; i < THREADS; i++)
		check_eq(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check_eq(coro_live(), 0);
	check(coro_peak() <= THREADS * 30);
}

Test(coro, without_memory_there_is_an_error_and_all_is_as_before)
{
	struct rlimit lim = { 400ul << 20, 400ul << 20 };
	struct coro_attr a = { .stack_size = 8 << 20, .guard_size = 4096 };
	struct coro *c, *first;
	int n = 0, r;

	prepare(false);
	first = make(&a);
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
	while ((r = coro_get(&a, never, &c)) == 0)
		if (++n > 1000)
			skip("an emulator that keeps no limit of memory");
	check(r == -ENOMEM || r == -EAGAIN);
	check_eq(coro_live(), n + 1);
	/* What is given back is enough for another. */
	coro_put(first);
	check_eq(coro_get(&a, never, &c), 0);
	check(coro_get(&a, never, &c) < 0);
}

Test(coro, in_the_child_of_a_fork_only_the_caller_is_left)
{
	struct coro *c[10], *me;
	int status;
	pid_t pid;

	prepare(false);
	for (int i = 0; i < 10; i++)
		c[i] = make(&usual);
	me = coro_adopt(CORO_KIND_THREAD);
	coro_fork_lock();
	pid = fork();
	if (pid == 0) {
		long n = 0;

		coro_fork_unlock();
		coro_fork_child(me, 0, true);
		alarm(UNIT_CAP_SECONDS);
		check_eq(coro_live(), 0);
		coro_each(count_new, &n);
		check_eq(n, 0);
		check_eq(coro_each(stop_at, me), 5);
		check_eq(me->tid, gettid());
		check(coro_of_tid(c[3]->vtid) == NULL);
		check(!c[3]->tp ||
		      !coro_of_thread(arch_tp_to_thread(c[3]->tp)));
		/* New ones are not the parent's. */
		c[0] = make(&usual);
		for (int i = 1; i < 10; i++)
			check(c[0] != c[i]);
		check_eq(coro_live(), 1);
		coro_each(count_new, &n);
		check_eq(n, 1);
		_exit(0);
	}
	coro_fork_unlock();
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(coro_live(), 10);
}
