/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_explore.c - the explorer itself: planted faults that it must see, their
 * right versions that it must pass, and what it must have tried. Each is a model
 * of its own, in a process of its own. */
#include "explore.h"
#include "explore_atomic.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic uint32_t flag, word, x, y;
static struct lock one, other;
static int over;
static uint32_t r1, r2;
static struct box {
	_Atomic uint32_t x;
} *box;

/* Results that were seen; not part of a state. */
static struct {
	uint64_t seen;
	int n;
} results;

static void nothing(void)
{
}

static void is_over(void)
{
	explore_check(over == 1);
}

/* ---- sleeping ---- */

/* It looks, and then it sleeps on something else: the wake may come between. */
static void sleep_wrong(void *arg)
{
	(void)arg;
	while (!atomic_load_explicit(&flag, memory_order_acquire))
		explore_wait(&word, 0, false);
	over = 1;
}

static void sleep_right(void *arg)
{
	(void)arg;
	while (!atomic_load_explicit(&flag, memory_order_acquire))
		explore_wait(&flag, 0, false);
	over = 1;
}

static void wake_word(void *arg)
{
	(void)arg;
	atomic_store_explicit(&flag, 1, memory_order_release);
	explore_wake(&word, 1);
}

static void wake_flag(void *arg)
{
	(void)arg;
	atomic_store_explicit(&flag, 1, memory_order_release);
	explore_wake(&flag, 1);
}

static void lost_wake_up(void)
{
	explore_actor("sleeper", sleep_wrong, NULL);
	explore_actor("waker", wake_word, NULL);
}

static void no_lost_wake_up(void)
{
	explore_actor("sleeper", sleep_right, NULL);
	explore_actor("waker", wake_flag, NULL);
}

/* One who goes round and looks hides that nobody will ever wake the other. */
static void look_until_over(void *arg)
{
	(void)arg;
	while (!over)
		atomic_load_explicit(&flag, memory_order_acquire);
}

static void lost_beside_one_who_looks(void)
{
	lost_wake_up();
	explore_actor("looker", look_until_over, NULL);
}

/* ---- going round ---- */

static void until_one(void *arg)
{
	(void)arg;
	while (atomic_load_explicit(&x, memory_order_relaxed) != 1)
		;
}

static void set(void *arg)
{
	atomic_store_explicit(&x, (uint32_t)(uintptr_t)arg, memory_order_relaxed);
}

static void one_comes_and_goes(void)
{
	explore_actor("looker", until_one, NULL);
	explore_actor("one", set, (void *)1);
	explore_actor("two", set, (void *)2);
}

/* ---- what is read and written apart ---- */

static void add_apart(void *arg)
{
	(void)arg;
	atomic_store_explicit(&x,
			      atomic_load_explicit(&x, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void add_at_once(void *arg)
{
	(void)arg;
	atomic_fetch_add_explicit(&x, 1, memory_order_relaxed);
}

static void both_added(void)
{
	explore_check(x == 2);
}

static void lost_update(void)
{
	explore_actor("A", add_apart, NULL);
	explore_actor("B", add_apart, NULL);
}

static void no_lost_update(void)
{
	explore_actor("A", add_at_once, NULL);
	explore_actor("B", add_at_once, NULL);
}

/* ---- what a state is made of ---- */

static void read_twice(void *arg)
{
	uint32_t a, b;

	(void)arg;
	a = atomic_load_explicit(&x, memory_order_relaxed);
	b = atomic_load_explicit(&x, memory_order_relaxed);
	atomic_load_explicit(&x, memory_order_relaxed);
	/* a and b were on the stack only. */
	explore_check(!(a == 0 && b == 1));
}

static void seen_on_the_stack(void)
{
	explore_actor("reader", read_twice, NULL);
	explore_actor("writer", set, (void *)1);
}

static void box_reader(void *arg)
{
	(void)arg;
	explore_check(atomic_load_explicit(&box->x, memory_order_relaxed) != 2);
}

static void box_writer(void *arg)
{
	(void)arg;
	atomic_store_explicit(&box->x, 1, memory_order_relaxed);
	atomic_store_explicit(&box->x, 2, memory_order_relaxed);
	atomic_store_explicit(&box->x, 3, memory_order_relaxed);
}

static void seen_in_memory_given_out(void)
{
	box = explore_alloc(sizeof(*box));
	explore_actor("reader", box_reader, NULL);
	explore_actor("writer", box_writer, NULL);
}

/* What no other actor touches at first. */
static void touch_late(void *arg)
{
	(void)arg;
	if (atomic_load_explicit(&y, memory_order_relaxed))
		explore_check(atomic_load_explicit(&x, memory_order_relaxed) !=
			      1);
}

static void set_both(void *arg)
{
	(void)arg;
	atomic_store_explicit(&y, 1, memory_order_relaxed);
	atomic_store_explicit(&x, 1, memory_order_relaxed);
	atomic_store_explicit(&x, 2, memory_order_relaxed);
}

static void seen_where_it_meets_late(void)
{
	explore_actor("A", set_both, NULL);
	explore_actor("B", touch_late, NULL);
}

/* ---- locks, choices, time ---- */

static void take_both(void *arg)
{
	struct lock *first = arg ? &one : &other;

	lock(first);
	lock(arg ? &other : &one);
	over = 1;
	unlock(&one);
	unlock(&other);
}

static void dead_lock(void)
{
	explore_actor("A", take_both, &one);
	explore_actor("B", take_both, NULL);
}

static void no_dead_lock(void)
{
	explore_actor("A", take_both, &one);
	explore_actor("B", take_both, &one);
}

static void choose(void *arg)
{
	int first = explore_choose(3);

	(void)arg;
	explore_check(explore_choose(2) * 3 + first != 5);
}

static void unlucky_choice(void)
{
	explore_actor("chooser", choose, NULL);
}

static void sleep_a_while(void *arg)
{
	(void)arg;
	explore_check(explore_wait(&flag, 0, true));
}

static void time_is_up(void)
{
	explore_actor("sleeper", sleep_a_while, NULL);
	explore_actor("waker", wake_flag, NULL);
}

/* Dekker's: one of two sees the other, if all accesses are in one order. */
static void raise_and_look(void *arg)
{
	atomic_store_explicit(arg ? &x : &y, 1, memory_order_seq_cst);
	*(arg ? &r1 : &r2) = atomic_load_explicit(arg ? &y : &x,
						  memory_order_seq_cst);
}

static void one_saw(void)
{
	explore_check(r1 || r2);
	results.seen |= 1u << (r1 * 2 + r2);
}

static void dekker(void)
{
	explore_actor("A", raise_and_look, &x);
	explore_actor("B", raise_and_look, NULL);
}

static bool dekker_saw_all(void)
{
	return results.seen == 14;
}

/* Two who shift in three bits each: of 64 numbers, those with three bits set. */
static void shift_in(void *arg)
{
	for (int i = 0; i < 3; i++) {
		explore_point(__FILE__, __LINE__, "shifts", &r1, true);
		r1 = r1 << 1 | (uint32_t)(uintptr_t)arg;
	}
}

static void note(void)
{
	explore_check(__builtin_popcount(r1) == 3);
	if (!(results.seen >> r1 & 1))
		results.n++;
	results.seen |= 1ull << r1;
}

static void shifts(void)
{
	explore_actor("zero", shift_in, (void *)0);
	explore_actor("one", shift_in, (void *)1);
}

static bool all_twenty(void)
{
	return results.n == 20;
}

/* ---- */

static const struct {
	const char *name;
	void (*begin)(void), (*end)(void);
	const char *fault;		/* NULL: there is none */
	bool (*after)(void);
} cases[] = {
	{ "lost wake-up", lost_wake_up, is_over, "over == 1", NULL },
	{ "no lost wake-up", no_lost_wake_up, is_over, NULL, NULL },
	{ "lost beside one who looks", lost_beside_one_who_looks, is_over,
	  "an end can still be reached", NULL },
	{ "one comes and goes", one_comes_and_goes, nothing,
	  "an end can still be reached", NULL },
	{ "lost update", lost_update, both_added, "x == 2", NULL },
	{ "no lost update", no_lost_update, both_added, NULL, NULL },
	{ "seen on the stack", seen_on_the_stack, nothing, "!(a == 0 && b == 1)",
	  NULL },
	{ "seen in memory given out", seen_in_memory_given_out, nothing, "box->x",
	  NULL },
	{ "seen where it meets late", seen_where_it_meets_late, nothing, "&x",
	  NULL },
	{ "dead lock", dead_lock, is_over,
	  "every lock that is taken is given back", NULL },
	{ "no dead lock", no_dead_lock, is_over, NULL, NULL },
	{ "unlucky choice", unlucky_choice, nothing, "explore_choose(2)", NULL },
	{ "time is up", time_is_up, nothing, "explore_wait(&flag", NULL },
	{ "dekker", dekker, one_saw, NULL, dekker_saw_all },
	{ "shifts", shifts, note, NULL, all_twenty },
};

static bool run(size_t i)
{
	const char *seen;

	explore_begin();
	explore_skip(&results, sizeof(results));
	cases[i].begin();
	seen = explore(cases[i].name, cases[i].end);
	if (cases[i].after && !cases[i].after())
		return false;
	return cases[i].fault ? seen && strstr(seen, cases[i].fault) : !seen;
}

int main(void)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(60);
			_exit(run(i) ? 0 : 1);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
			printf("FAILED: %s\n", cases[i].name);
			failed++;
		} else {
			printf("ok: %s: %s\n", cases[i].name,
			       cases[i].fault ? "seen" : "nothing wrong");
		}
	}
	return failed ? 1 : 0;
}
