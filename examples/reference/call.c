/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call - every macro of cogo/call.h in a use of a few lines.
 *
 *	cc call.c -o call $(pkg-config --cflags --libs cogo)
 *	./call
 *
 * To look things up in: one function for each idea, with what one wants it for.
 * Other functions than void (void) and void (void *) need libffi at run time. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef COGO_CHAN(int) numbers;

static void send_product(numbers to, int a, int b)
{
	must(cogo_put(to, a * b) == 0);
	cogo_free(to);
}

/* A coroutine of its own for any call, whose end nobody waits for: what it has to
 * say, it says through a channel. */
static void go_and_forget(void)
{
	numbers products = cogo_make(int, 0);
	int x, sum = 0;

	must(go(send_product, cogo_share(products), 2, 3) == 0);
	must(go(send_product, cogo_share(products), 4, 5) == 0);
	for (int i = 0; i < 2; i++) {
		must(cogo_get(products, x) == 0);
		sum += x;
	}
	must(sum == 2 * 3 + 4 * 5);
	cogo_free(products);
}

static double add_up(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

/* What the function returns is there once the coroutine has ended. Arguments are of
 * the parameters' very types: so the casts. */
static void spawn_for_a_result(void)
{
	double x[4] = { 1, 2, 3, 4 }, low, high;
	struct cogo_coro *a, *b;

	must(cogo_spawn(&a, &low, add_up, (const double *)x, (size_t)2) == 0);
	must(cogo_spawn(&b, &high, add_up, (const double *)x + 2, (size_t)2) == 0);
	must(cogo_join(a) == COGO_RETURNED && low == 3);
	must(cogo_join(b) == COGO_RETURNED && high == 7);
}

static atomic_int calls;

static void note(void)
{
	atomic_fetch_add(&calls, 1);
}

/* Only its end is of interest: no place for a result, as for a void function. */
static void spawn_without_a_result(void)
{
	struct cogo_coro *c;

	must(cogo_spawn(&c, NULL, note) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(atomic_load(&calls) == 1);
}

struct point {
	int x, y;
};

static struct point mirror(struct point p)
{
	must(strcmp(cogo_name(cogo_self()), "mirror") == 0);
	return (struct point){ p.y, p.x };
}

/* With a name, a stack or flags of its own. Structures travel by value; a compound
 * literal would need parentheses around it. */
static void spawn_with_attributes(void)
{
	struct cogo_attr attr = { .name = "mirror", .stack = 64 * 1024 };
	struct cogo_attr bad = { .stack = 1 };
	struct point p = { 0, 0 };
	struct cogo_coro *c;

	must(cogo_spawn_with(&attr, &c, &p, mirror, ((struct point){ 3, 4 })) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(p.x == 4 && p.y == 3);
	must(cogo_spawn_with(&bad, &c, NULL, note) == -EINVAL);
}

static int by_value(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	must(cogo_is_coroutine());
	return (x > y) - (x < y);
}

/* A library that calls back, from a thread of its own or on a small stack, and
 * needs the answer. */
static void callback_that_is_waited_for(void)
{
	int (*order)(const void *, const void *);
	int x[4] = { 3, 1, 4, 2 };

	must(cogo_callback_wait(&order, by_value, const void *, const void *) == 0);
	qsort(x, 4, sizeof(*x), order);
	cogo_callback_free(order);
	for (int i = 0; i < 4; i++)
		must(x[i] == i + 1);
}

/* A library that tells its user what happens, and must not be kept waiting. */
static void tell(void (*event)(int number, void *user), void *user)
{
	for (int i = 1; i <= 3; i++)
		event(i, user);
}

struct log {
	struct cogo_waitgroup left;
	atomic_int sum;
};

static void on_event(int number, void *user)
{
	struct log *l = user;

	atomic_fetch_add(&l->sum, number);
	cogo_waitgroup_done(&l->left);
}

/* Each event has a coroutine of its own, which may take its time; so what they
 * share has to know when the last of them is through. */
static void callback_that_goes(void)
{
	struct log l = { 0 };
	void (*event)(int, void *);

	cogo_waitgroup_add(&l.left, 3);
	must(cogo_callback_go(&event, on_event, int, void *) == 0);
	tell(event, &l);
	/* The pointer is not called any more, though its coroutines may run. */
	cogo_callback_free(event);
	must(cogo_waitgroup_wait(&l.left, COGO_FOREVER) == 0);
	must(atomic_load(&l.sum) == 1 + 2 + 3);
}

int main(void)
{
	go_and_forget();
	spawn_for_a_result();
	spawn_without_a_result();
	spawn_with_attributes();
	callback_that_is_waited_for();
	callback_that_goes();
	puts("call: ok");
	return 0;
}
