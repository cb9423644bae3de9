/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_gen.c - generators, in plain programs and in coroutines. */
#include "cogo/gen.h"
#include "arch/tp.h"
#include "base/sys.h"
#include "cogo/go.h"
#include "coro/self.h"
#include "inspect/census.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include "support/floors.h"
#include "unit.h"
#include "wait/native.h"
#include <errno.h>
#include <sys/wait.h>

#define SANITIZED (SANITIZE_ADDRESS || SANITIZE_THREAD)

static struct cogo_gen *make(void (*fn)(struct cogo_gen *, void *), void *arg)
{
	struct cogo_gen *g;

	check_eq(cogo_gen_new(&g, 0, fn, arg), 0);
	return g;
}

static void fibonacci(struct cogo_gen *g, void *arg)
{
	long a = 0, b = 1;

	(void)arg;
	for (;;) {
		long next = a + b;

		if (cogo_gen_yield(g, &a))
			return;
		a = b;
		b = next;
	}
}

static void count_to(struct cogo_gen *g, void *arg)
{
	for (int i = 0; i < (int)(intptr_t)arg; i++)
		if (cogo_gen_yield(g, &i))
			return;
}

Test(gen, values_come_in_order_without_a_runtime)
{
	static const long want[] = { 0, 1, 1, 2, 3, 5, 8, 13, 21, 34 };
	struct cogo_gen *g;
	int i = 0;

	floors_load(1);
	g = make(fibonacci, NULL);
	cogo_gen_each (long, x, g) {
		check_eq(x, want[i]);
		if (++i == 10)
			break;
	}
	check_eq(i, 10);
	check_eq(cogo_gen_free(g), 0);
	check(!boot_started());
}

Test(gen, one_that_has_ended_gives_nothing_more)
{
	struct cogo_gen *g;
	int x = -1, sum = 0;

	floors_load(1);
	g = make(count_to, (void *)5);
	cogo_gen_each (int, i, g)
		sum += i;
	check_eq(sum, 10);
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(x, -1);
	check_eq(cogo_gen_cancel(g), 0);
	check_eq(cogo_gen_free(g), 0);
	check_eq(cogo_gen_free(NULL), 0);
}

struct tree {
	int key;
	struct tree *left, *right;
};

static struct tree *plant(int from, int to)
{
	struct tree *t;
	int mid = from + (to - from) / 2;

	if (from >= to)
		return NULL;
	t = malloc(sizeof(*t));
	t->key = mid;
	t->left = plant(from, mid);
	t->right = plant(mid + 1, to);
	return t;
}

static void fell(struct tree *t)
{
	if (!t)
		return;
	fell(t->left);
	fell(t->right);
	free(t);
}

static void walk(struct cogo_gen *g, void *arg)
{
	struct tree *t = arg;

	if (!t || cogo_gen_from(g, make(walk, t->left)) ||
	    cogo_gen_yield(g, &t->key))
		return;
	cogo_gen_from(g, make(walk, t->right));
}

Test(gen, a_tree_is_walked_by_generators_within_generators)
{
	struct tree *t = plant(0, 1000);
	struct cogo_gen *g;
	int want = 0;

	floors_load(1);
	g = make(walk, t);
	cogo_gen_each (int, key, g)
		check_eq(key, want++);
	check_eq(want, 1000);
	check_eq(cogo_gen_free(g), 0);
	/* Given up in the middle: all levels go. */
	g = make(walk, t);
	cogo_gen_each (int, key, g)
		if (key == 500)
			break;
	check_eq(cogo_gen_free(g), 0);
	fell(t);
}

static void average(struct cogo_gen *g, void *arg)
{
	double sum = 0, mean = 0;
	int n = 0;

	(void)arg;
	check(cogo_gen_sent(g) == NULL);
	while (cogo_gen_yield(g, &mean) == 0) {
		sum += *(double *)cogo_gen_sent(g);
		mean = sum / ++n;
	}
}

static void relay(struct cogo_gen *g, void *arg)
{
	check_eq(cogo_gen_from(g, arg), 0);
}

Test(gen, what_is_sent_answers_the_yield_through_every_level)
{
	struct cogo_gen *g;
	double mean = 0;

	floors_load(1);
	g = make(relay, make(relay, make(average, NULL)));
	check_eq(cogo_gen_next(g, &mean), 1);
	for (int i = 1; i < 100; i++) {
		double x = i;

		check_eq(cogo_gen_send(g, &x, &mean), 1);
		check(mean == (i + 1) / 2.0);
	}
	check(cogo_gen_sent(g) == NULL);
	check_eq(cogo_gen_free(g), 0);
}

static void ask_oneself(struct cogo_gen *g, void *arg)
{
	int x = 0;

	(void)arg;
	check_eq(cogo_gen_next(g, &x), -EBUSY);
	check_eq(cogo_gen_cancel(g), -EBUSY);
	check_eq(cogo_gen_free(g), -EBUSY);
	check_eq(cogo_gen_from(g, g), -EINVAL);
	x = 7;
	check_eq(cogo_gen_yield(g, &x), 0);
}

static void ask_back(struct cogo_gen *g, void *arg)
{
	struct cogo_gen **both = arg;
	int x = 1;

	/* The one that asks us stands still, and runs all the same. */
	check_eq(cogo_gen_next(both[0], &x), -EBUSY);
	check_eq(cogo_gen_yield(both[0], &x), -EINVAL);
	check(cogo_gen_sent(both[0]) == NULL);
	cogo_gen_yield(g, &x);
}

static void ask_next(struct cogo_gen *g, void *arg)
{
	struct cogo_gen **both = arg;
	int x = 0;

	check_eq(cogo_gen_next(both[1], &x), 1);
	cogo_gen_yield(g, &x);
}

Test(gen, misuse_is_an_error_and_nothing_worse)
{
	struct cogo_gen *g, *both[2];
	int x = 0;

	floors_load(1);
	check_eq(cogo_gen_new(&g, 0, NULL, NULL), -EINVAL);
	check_eq(cogo_gen_new(&g, (size_t)2 << 30, count_to, NULL), -EINVAL);
	check_eq(cogo_gen_next((struct cogo_gen *)NULL, &x), -EINVAL);
	check_eq(cogo_gen_yield(NULL, &x), -EINVAL);
	g = make(ask_oneself, NULL);
	check_eq(cogo_gen_yield(g, &x), -EINVAL);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(x, 7);
	check_eq(cogo_gen_yield(g, &x), -EINVAL);
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(cogo_gen_yield(g, &x), -EINVAL);
	check_eq(cogo_gen_free(g), 0);
	/* Its memory is a generator's still. */
	check_eq(cogo_gen_next(g, &x), -EINVAL);
	check_eq(cogo_gen_free(g), -EINVAL);
	both[0] = make(ask_next, both);
	both[1] = make(ask_back, both);
	check_eq(cogo_gen_next(both[0], &x), 1);
	check_eq(cogo_gen_free(both[0]), 0);
	check_eq(cogo_gen_free(both[1]), 0);
}

/* ---- ending early -------------------------------------------------------- */

static char events[64];

static void happen(void *arg)
{
	size_t n = strlen(events);

	check(n + 1 < sizeof(events));
	events[n] = *(const char *)arg;
}

static void listens(struct cogo_gen *g, void *arg)
{
	int x = 1;

	(void)arg;
	cogo_defer(happen, "d");
	while (cogo_gen_yield(g, &x) == 0)
		;
	happen("t");
}

static NOINLINE void deep(struct cogo_gen *g, int depth)
{
	int x = depth;

	cogo_defer(happen, depth % 2 ? "1" : "0");
	if (depth)
		deep(g, depth - 1);
	while (!depth)
		cogo_gen_yield(g, &x);
}

static void does_not_listen(struct cogo_gen *g, void *arg)
{
	deep(g, (int)(intptr_t)arg);
	happen("never");
}

Test(gen, one_that_is_cancelled_is_told_and_ends_by_itself)
{
	struct cogo_gen *g;
	int x = 0;

	floors_load(1);
	g = make(listens, NULL);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_cancel(g), 0);
	check(strcmp(events, "td") == 0);
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(cogo_gen_free(g), 0);
}

Test(gen, one_that_yields_although_cancelled_is_unwound)
{
	struct cogo_gen *g;
	int x = 0;

	floors_load(1);
	g = make(does_not_listen, (void *)3);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_cancel(g), 0);
	check(strcmp(events, "0101") == 0);
	check_eq(cogo_gen_free(g), 0);
	check(strcmp(events, "0101") == 0);
}

Test(gen, to_free_one_runs_its_cleanups_inside_out)
{
	struct cogo_gen *g;
	int x = 0;

	floors_load(1);
	for (int i = 0; i < 3; i++) {
		memset(events, 0, sizeof(events));
		g = make(does_not_listen, (void *)4);
		check_eq(cogo_gen_next(g, &x), 1);
		check_eq(cogo_gen_free(g), 0);
		check(strcmp(events, "01010") == 0);
	}
	/* One that never ran has nothing to clean up. */
	g = make(does_not_listen, (void *)4);
	check_eq(cogo_gen_free(g), 0);
	check(strcmp(events, "01010") == 0);
}

static void asks_another(void *arg)
{
	struct cogo_gen *g = make(count_to, arg);
	int n = 0;

	cogo_gen_each (int, i, g)
		n += i;
	check_eq(n, 45);
	check_eq(cogo_gen_free(g), 0);
	happen("c");
}

static void yields(void *arg)
{
	int x = 0;

	check_eq(cogo_gen_yield(arg, &x), -ECANCELED);
	happen("y");
}

static void has_busy_cleanups(struct cogo_gen *g, void *arg)
{
	int x = 1;

	(void)arg;
	cogo_defer(asks_another, (void *)10);
	cogo_defer(yields, g);
	for (;;)
		cogo_gen_yield(g, &x);
}

Test(gen, a_cleanup_may_ask_others_but_not_yield)
{
	struct cogo_gen *g;
	int x = 0;

	floors_load(1);
	g = make(has_busy_cleanups, NULL);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_free(g), 0);
	check(strcmp(events, "yc") == 0);
}

static void panics(struct cogo_gen *g, void *arg)
{
	int x = 1;

	(void)arg;
	cogo_defer(happen, "g");
	cogo_gen_yield(g, &x);
	cogo_panic("no more of %d", x);
}

static void asks_panicking(void *arg)
{
	int x = 0;

	cogo_defer(happen, "a");
	check_eq(cogo_gen_next((struct cogo_gen *)arg, &x), 1);
	cogo_gen_next((struct cogo_gen *)arg, &x);
	happen("never");
}

static void asks_it_through_another(void *arg)
{
	struct cogo_gen *g = make(relay, arg);
	int x = 0;

	cogo_defer(happen, "b");
	check_eq(cogo_gen_next(g, &x), 1);
	cogo_gen_next(g, &x);
	happen("never");
}

static void panic_test(void *arg)
{
	struct cogo_panic p;
	struct cogo_gen *g = make(panics, NULL);
	int x = 0;

	memset(events, 0, sizeof(events));
	check_eq(cogo_recover(arg, g, &p), 1);
	check(strcmp(p.message, "no more of 1") == 0);
	check(self()->on == NULL);
	if (arg == (void *)asks_panicking) {
		check(strcmp(events, "ga") == 0);
		check_eq(cogo_gen_next(g, &x), 0);
		check_eq(cogo_gen_free(g), 0);
	} else {
		check(strcmp(events, "gb") == 0);
	}
}

static void ask_panicking_alone(void *arg)
{
	/* The child of a fork has none of its parent's threads; none is needed. */
	asks_panicking(make(panics, arg));
}

Test(gen, a_panic_that_nobody_catches_ends_the_process_with_its_words)
{
	floors_load(1);
	check_eq(unit_signal_of(ask_panicking_alone, NULL), SIGABRT);
}

Test(gen, a_panic_comes_out_where_the_generator_was_asked)
{
	struct cogo_coro *c;

	if (SANITIZE_ADDRESS)
		skip("AddressSanitizer keeps what is deferred off its frame, and so "
		     "the walk of a thread passes it");
	floors_load(2);
	panic_test(asks_panicking);
	panic_test(asks_it_through_another);
	check_eq(cogo_go(&c, NULL, panic_test, asks_panicking), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_go(&c, NULL, panic_test, asks_it_through_another), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_go(&c, NULL, asks_panicking, make(panics, NULL)), 0);
	check_eq(cogo_join(c), COGO_PANICKED);
}

static void defers_and_panics(void *arg)
{
	int x = 0;

	cogo_defer(happen, "q");
	if (arg)
		cogo_gen_next((struct cogo_gen *)arg, &x);
	cogo_panic("caught inside");
}

static void panics_too(struct cogo_gen *g, void *arg)
{
	(void)g;
	cogo_defer(happen, "s");
	defers_and_panics(arg);
}

/* Of its own panic, and of another generator's. */
static void recovers(struct cogo_gen *g, void *arg)
{
	struct cogo_gen *inner = arg ? make(panics_too, NULL) : NULL;
	struct cogo_panic p;
	int x = 1;

	cogo_defer(happen, "r");
	check_eq(cogo_recover(defers_and_panics, inner, &p), 1);
	check(strcmp(p.message, "caught inside") == 0);
	check_eq(cogo_gen_yield(g, &x), 0);
	check_eq(cogo_recover(defers_and_panics, NULL, &p), 1);
	check_eq(cogo_gen_free(inner), 0);
}

static void asks_recovering(void *arg)
{
	struct cogo_gen *g = make(recovers, arg);
	int x = 0;

	memset(events, 0, sizeof(events));
	check_eq(cogo_gen_next(g, &x), 1);
	check(strcmp(events, arg ? "qsq" : "q") == 0);
	check_eq(cogo_gen_next(g, &x), 0);
	check(strcmp(events, arg ? "qsqqr" : "qqr") == 0);
	check_eq(cogo_gen_free(g), 0);
}

/* Generators' stacks lie above one another and below, and a thread's own, with all
 * that libc keeps of it, is no part of theirs. */
Test(gen, a_panic_that_is_caught_in_one_leaves_its_asker_alone)
{
	struct cogo_coro *c;

	if (SANITIZE_ADDRESS)
		skip("AddressSanitizer keeps what is deferred off its frame, and so "
		     "the walk of a thread passes it");
	floors_load(2);
	for (int i = 0; i < 3; i++) {
		asks_recovering(NULL);
		asks_recovering(&c);
		check_eq(cogo_go(&c, NULL, asks_recovering, NULL), 0);
		check_eq(cogo_join(c), COGO_RETURNED);
		check_eq(cogo_go(&c, NULL, asks_recovering, &c), 0);
		check_eq(cogo_join(c), COGO_RETURNED);
	}
}

/* ---- in coroutines ------------------------------------------------------- */

static _Atomic int parked;

static void parks(struct cogo_gen *g, void *arg)
{
	long i;

	cogo_defer(happen, "p");
	for (i = 0; i < (long)arg; i++) {
		parked = 1;
		if (cogo_park(COGO_FOREVER))
			break;
		if (cogo_gen_yield(g, &i))
			return;
	}
}

static struct cogo_gen *shared;
static long turns = 3;

static void asks_parking(void *arg)
{
	long want = 0;

	(void)arg;
	cogo_defer(happen, "q");
	cogo_gen_each (long, i, shared)
		check_eq(i, want++);
	check(want == turns || cogo_canceled());
}

/* In the register of those that exist, as one who looks in sees it. */
static struct census_entry seen;

static void look_at(struct cogo_coro *c)
{
	struct coro *of = c->coro;

	if (census_take(of, true, &seen) == CENSUS_OWED)
		ready_new(of);
}

static bool is_parked(struct cogo_coro *c)
{
	return parked && cogo_state(c) == COGO_PARKED;
}

Test(gen, a_coroutine_may_park_in_the_middle_of_one)
{
	struct cogo_coro *c;
	long x = 0;

	floors_load(2);
	shared = make(parks, (void *)3);
	check_eq(cogo_go(&c, NULL, asks_parking, NULL), 0);
	for (int i = 0; i < 3; i++) {
		wait_until(is_parked(c));
		/* It runs: there, though that one waits. */
		check_eq(cogo_gen_next(shared, &x), -EBUSY);
		check_eq(cogo_gen_free(shared), -EBUSY);
		parked = 0;
		cogo_unpark(c);
	}
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_gen_free(shared), 0);
	check(strcmp(events, "pq") == 0);
}

Test(gen, whoever_looks_sees_the_frames_of_both)
{
	static char text[8192];
	struct cogo_coro *c;

	if (SANITIZED)
		skip("frames are other ones there");
	floors_load(1);
	backtrace_open();
	census_init();
	check_eq(cogo_gen_new(&shared, 32 << 10, parks, (void *)1), 0);
	check_eq(cogo_go(&c, NULL, asks_parking, NULL), 0);
	wait_until(is_parked(c));
	look_at(c);
	check_eq(seen.state, CORO_PARKED);
	check_eq(seen.stack_asked, 32 << 10);
	check(seen.stack_deep > 100 && seen.stack_deep < 4096);
	check(seen.stack_touched <= 64 << 10);
	backtrace_begin_report();
	for (int i = 0; i < seen.trace.depth; i++) {
		size_t n = strlen(text);

		backtrace_name(seen.trace.pc[i], false, text + n,
			       sizeof(text) - n);
	}
	check(strstr(text, "parks+") != NULL);
	if (strcmp(backtrace_method(), "libunwind") == 0) {
		check(strstr(text, "asks_parking+") != NULL);
		check(strstr(text, "asks_parking+") > strstr(text, "parks+"));
	}
	check_eq(cogo_cancel(c, 1), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_gen_free(shared), 0);
}

Test(gen, pages_below_its_frames_are_given_back_and_no_others)
{
	struct cogo_coro *c;

	floors_load(1);
	check_eq(cogo_gen_new(&shared, 1 << 20, parks, (void *)1), 0);
	check_eq(cogo_go(&c, NULL, asks_parking, NULL), 0);
	wait_until(is_parked(c));
	/* The monitor's second walk finds it where the first did. */
	wait_until(read_once(c->coro->trimmed));
	check(coro_stack(c->coro) != &c->coro->stack);
	turns = 1;
	cogo_unpark(c);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_gen_free(shared), 0);
	check(strcmp(events, "pq") == 0);
}

Test(gen, the_end_of_its_coroutine_runs_the_cleanups_of_both)
{
	struct cogo_attr attr = { .flags = COGO_UNWINDS };
	struct cogo_coro *c;

	floors_load(2);
	shared = make(relay, make(parks, (void *)1));
	check_eq(cogo_go(&c, &attr, asks_parking, NULL), 0);
	wait_until(is_parked(c));
	check_eq(cogo_cancel(c, 1), 0);
	check_eq(cogo_join(c), COGO_CANCELED);
	check(strcmp(events, "pq") == 0);
	check_eq(cogo_gen_free(shared), 0);
	check(strcmp(events, "pq") == 0);
}

static void exits(struct cogo_gen *g, void *arg)
{
	(void)g, (void)arg;
	cogo_defer(happen, "e");
	cogo_exit();
}

static void asks_exiting(void *arg)
{
	int x = 0;

	cogo_defer(happen, "f");
	cogo_gen_next((struct cogo_gen *)arg, &x);
	happen("never");
}

Test(gen, to_exit_in_one_ends_the_coroutine)
{
	struct cogo_gen *g;
	struct cogo_coro *c;

	floors_load(2);
	g = make(exits, NULL);
	check_eq(cogo_go(&c, NULL, asks_exiting, g), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check(strcmp(events, "ef") == 0);
	check_eq(cogo_gen_free(g), 0);
}

static void asks_one_that_exits(struct cogo_gen *g, void *arg)
{
	struct cogo_gen *inner = make(exits, NULL);
	int x = 0;

	(void)g;
	cogo_defer(happen, "g");
	if (arg)
		cogo_recover((void (*)(void *))asks_exiting, inner, NULL);
	else
		cogo_gen_next(inner, &x);
	happen("never");
}

static int exited;

static void asks_and_goes_on(void *arg)
{
	struct cogo_gen *g = arg;
	int x = 0;

	cogo_defer(happen, "h");
	check_eq(cogo_gen_next(g, &x), -ECANCELED);
	exited++;
	check_eq(cogo_gen_next(g, &x), 0);
	check_eq(cogo_gen_free(g), 0);
	check_eq(cogo_sleep(0), 0);
}

/* On a thread, of which nobody but libc may say that it ends: whatever its frames
 * have deferred waits for them. */
Test(gen, to_exit_in_one_on_a_thread_ends_no_more_than_the_outermost)
{
	struct cogo_panic p;

	if (SANITIZE_ADDRESS)
		skip("AddressSanitizer keeps what is deferred off its frame, and so "
		     "the walk of a thread passes it");
	floors_load(1);
	asks_and_goes_on(make(exits, NULL));
	check(strcmp(events, "eh") == 0);
	check_eq(cogo_recover(asks_and_goes_on, make(exits, NULL), &p), 0);
	check(strcmp(events, "eheh") == 0);
	memset(events, 0, sizeof(events));
	asks_and_goes_on(make(asks_one_that_exits, NULL));
	check(strcmp(events, "egh") == 0);
	memset(events, 0, sizeof(events));
	asks_and_goes_on(make(asks_one_that_exits, &p));
	check(strcmp(events, "efgh") == 0);
	check_eq(exited, 4);
}

static _Atomic long moved;

/* Everything that a yield and a park must keep, looked at after each. */
static void moves(struct cogo_gen *g, void *arg)
{
	double f = 0.5;
	char room[500];

	memset(room, (int)(intptr_t)arg, sizeof(room));
	for (long i = 0; i < 200 || moved < 10; i++) {
		struct coro *me = self();
		const struct worker *w;

		errno = (int)i;
		w = me->worker;
		cogo_yield();
		moved += w != me->worker;
		check(self() == me);
		if (tls_private())
			check_eq(errno, i);
		f = f * 1.5 - (double)(long)(f * 1.5);
		if (cogo_gen_yield(g, &i))
			return;
		for (size_t k = 0; k < sizeof(room); k++)
			check_eq(room[k], (int)(intptr_t)arg);
		check(f >= 0 && f < 1);
	}
}

static _Atomic int lives;

static void asks_moving(void *arg)
{
	struct cogo_gen *g = make(moves, arg);
	long want = 0;

	cogo_gen_each (long, i, g) {
		check_eq(i, want++);
		cogo_yield();
	}
	check(want >= 200);
	check_eq(cogo_gen_free(g), 0);
	lives--;
}

Test(gen, a_coroutine_may_go_to_another_worker_in_the_middle)
{
	floors_load(4);
	conf.force |= CONF_FORCE_MIGRATE;
	lives = 20;
	for (intptr_t i = 0; i < 20; i++)
		check_eq(cogo_go(NULL, NULL, asks_moving, (void *)i), 0);
	wait_until(lives == 0);
}

/* Handed round: each asks it once and wakes the next. */
#define ROUND 8
static struct cogo_coro *round_[ROUND];
static _Atomic int turn, done;

static void takes_part(void *arg)
{
	int n = (int)(intptr_t)arg;
	long x = 0;

	while (turn < 100 * ROUND) {
		if (turn % ROUND != n) {
			cogo_yield();
			continue;
		}
		check_eq(cogo_gen_next(shared, &x), 1);
		check_eq(x, turn);
		turn++;
	}
	done++;
}

static void *takes_part_as_thread(void *arg)
{
	takes_part(arg);
	return NULL;
}

static void counts_for_all(struct cogo_gen *g, void *arg)
{
	(void)arg;
	cogo_defer(happen, "h");
	for (long i = 0;; i++)
		cogo_gen_yield(g, &i);
}

Test(gen, coroutines_and_threads_may_take_turns)
{
	pthread_t threads[ROUND];

	floors_load(2);
	shared = make(counts_for_all, NULL);
	for (intptr_t i = 0; i < ROUND; i++) {
		if (i % 2)
			check_eq(cogo_go(&round_[i], NULL, takes_part, (void *)i), 0);
		else
			check_eq(pthread_create(&threads[i], NULL,
						takes_part_as_thread, (void *)i), 0);
	}
	for (int i = 0; i < ROUND; i++) {
		if (i % 2)
			check_eq(cogo_join(round_[i]), COGO_RETURNED);
		else
			pthread_join(threads[i], NULL);
	}
	check_eq(done, ROUND);
	check_eq(cogo_gen_free(shared), 0);
	check(strcmp(events, "h") == 0);
}

/* ---- stacks -------------------------------------------------------------- */

static NOINLINE long sink(volatile char *last, int depth)
{
	volatile char room[256];

	room[0] = (char)depth;
	if (last && depth < 1 << 20)
		return sink(room, depth + 1) + room[0] + last[0];
	return room[0];
}

static void overflows(struct cogo_gen *g, void *arg)
{
	char c = 0;

	(void)g, (void)arg;
	sink(&c, 0);
}

static void asks_overflowing(void *arg)
{
	int x = 0;

	cogo_gen_next((struct cogo_gen *)arg, &x);
}

static void overflow(void *arg)
{
	struct cogo_gen *g;
	struct cogo_coro *c;

	floors_load(1);
	check_eq(cogo_gen_new(&g, 64 << 10, overflows, NULL), 0);
	dup2((int)(intptr_t)arg, 2);
	check_eq(cogo_go(&c, NULL, asks_overflowing, g), 0);
	cogo_join(c);
}

Test(gen, an_overflow_is_said_to_be_a_generators)
{
	char text[8192];
	int p[2];
	ssize_t n;

	if (SANITIZED)
		skip("a sanitizer has the fault");
	check_eq(pipe(p), 0);
	check_eq(unit_signal_of(overflow, (void *)(intptr_t)p[1]), SIGSEGV);
	close(p[1]);
	n = read(p[0], text, sizeof(text) - 1);
	check(n > 0);
	text[n] = 0;
	check(strstr(text, "stack overflow: a generator of coroutine"));
	check(strstr(text, "ran over its stack of 64 KiB"));
	check(strstr(text, "cogo_gen_new"));
	check(strstr(text, "sink"));
}

Test(gen, a_stack_is_used_again)
{
	struct cogo_gen *g, *again, *other;
	int x = 0;

	floors_load(1);
	check_eq(cogo_gen_new(&g, 20 << 10, count_to, (void *)3), 0);
	check_eq(cogo_gen_next(g, &x), 1);
	check_eq(cogo_gen_free(g), 0);
	check_eq(cogo_gen_new(&again, 20 << 10, count_to, (void *)3), 0);
	check(again == g);
	check_eq(cogo_gen_new(&other, 20 << 10, count_to, (void *)3), 0);
	check(other != g);
	check_eq(cogo_gen_free(other), 0);
	check_eq(cogo_gen_free(again), 0);
}

#ifndef MANY
#define MANY (SANITIZED ? 2000 : 100000)
#endif

Test(gen, a_hundred_thousand_are_no_matter, .timeout = 300)
{
	struct cogo_gen **g = calloc(MANY, sizeof(*g));
	int x = 0;

	floors_load(1);
	for (int i = 0; i < MANY; i++)
		check_eq(cogo_gen_new(&g[i], 16 << 10, count_to, (void *)3), 0);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < MANY; i++) {
			check_eq(cogo_gen_next(g[i], &x), 1);
			check_eq(x, k);
		}
	for (int i = 0; i < MANY; i++) {
		if (i % 2)
			check_eq(cogo_gen_next(g[i], &x), 0);
		check_eq(cogo_gen_free(g[i]), 0);
	}
	free(g);
}

/* ---- storm --------------------------------------------------------------- */

#define POOL	16
#define STORMERS 12
#ifndef STORM_TURNS	/* fewer where a processor is emulated */
#define STORM_TURNS 3000
#endif

static struct cogo_gen *_Atomic pool[POOL];
static _Atomic long cleaned, begun, values;
static uint64_t storm_seed;

static void clean(void *arg)
{
	(void)arg;
	cleaned++;
}

static void storms(struct cogo_gen *g, void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg | 1;

	begun++;
	cogo_defer(clean, NULL);
	for (long i = 0; i < (long)(unit_random(&seed) % 50); i++) {
		if (unit_random(&seed) % 4 == 0)
			cogo_yield();
		if (unit_random(&seed) % 8 == 0 &&
		    cogo_gen_from(g, make(count_to, (void *)3)))
			return;
		if (cogo_gen_yield(g, &i) && unit_random(&seed) % 2)
			return;
	}
}

/* Takes one out of the pool, does something with it, and puts it back or not.
 * Others may try to ask it meanwhile, by an address that they have kept. */
static void stormer(void *arg)
{
	uint64_t seed = storm_seed ^ ((uint64_t)(uintptr_t)arg << 20);
	struct cogo_gen *g, *old = NULL;

	unit_random(&seed);
	for (int i = 0; i < STORM_TURNS; i++) {
		int at = (int)(unit_random(&seed) % POOL), n;
		void *value;

		g = atomic_exchange(&pool[at], NULL);
		if (!g)
			g = make(storms, (void *)(uintptr_t)unit_random(&seed));
		for (n = (int)(unit_random(&seed) % 8); n > 0; n--)
			if (cogo_gen_resume(g, NULL, &value) == 1)
				values++;
		switch (unit_random(&seed) % 6) {
		case 0:
			cogo_gen_cancel(g);
			/* fall through */
		case 1:
			check_eq(cogo_gen_free(g), 0);
			continue;
		}
		old = g;
		g = atomic_exchange(&pool[at], g);
		if (g)
			check_eq(cogo_gen_free(g), 0);
		if (old && unit_random(&seed) % 16 == 0)
			cogo_yield();
	}
	done++;
}

static void *stormer_thread(void *arg)
{
	stormer(arg);
	return NULL;
}

Test(gen, a_storm_leaves_no_cleanup_undone, .timeout = 300)
{
	pthread_t threads[4];

	floors_load(3);
	storm_seed = unit_seed("storm");
	for (intptr_t i = 0; i < STORMERS; i++)
		check_eq(cogo_go(NULL, NULL, stormer, (void *)i), 0);
	for (intptr_t i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, stormer_thread,
					(void *)(i + STORMERS)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	wait_until(done == STORMERS + 4);
	for (int i = 0; i < POOL; i++)
		check_eq(cogo_gen_free(pool[i]), 0);
	check(values > 1000);
	check_eq(cleaned, begun);
}
