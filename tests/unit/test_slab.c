/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Objects in memory that never becomes anything else. */
#include "mem/slab.h"
#include "unit.h"
#include <pthread.h>

struct object {
	uint64_t kept;
	struct object *next;	/* slab link */
	uint64_t also_kept;
};

static struct slab slab = SLAB_INIT(struct object, next);

Test(slab, an_object_that_never_lived_is_zeroed)
{
	for (int i = 0; i < 1000; i++) {
		struct object *o = slab_get(&slab);

		check(o && !o->kept && !o->next && !o->also_kept);
		o->kept = o->also_kept = ~0ull;
	}
}

Test(slab, objects_do_not_overlap_and_keep_to_cache_lines)
{
	struct object *o[500];

	for (int i = 0; i < 500; i++) {
		o[i] = slab_get(&slab);
		check_eq((uintptr_t)o[i] % 64, 0);
		o[i]->kept = o[i]->also_kept = (uint64_t)i;
	}
	for (int i = 0; i < 500; i++)
		check(o[i]->kept == (uint64_t)i && o[i]->also_kept == (uint64_t)i);
}

Test(slab, a_freed_object_keeps_everything_but_its_link)
{
	struct object *o = slab_get(&slab), *again;

	o->kept = 1;
	o->also_kept = 2;
	slab_put(&slab, o);
	check(o->kept == 1 && o->also_kept == 2);
	again = slab_get(&slab);
	check(again == o);
	check(again->kept == 1 && again->also_kept == 2);
	check(again->next == NULL);
}

Test(slab, the_last_freed_is_the_first_used)
{
	struct object *a = slab_get(&slab), *b = slab_get(&slab);

	slab_put(&slab, a);
	slab_put(&slab, b);
	check(slab_get(&slab) == b);
	check(slab_get(&slab) == a);
}

static long count(void *obj, void *arg)
{
	(void)obj;
	++*(long *)arg;
	return 0;
}

static long find(void *obj, void *arg)
{
	return obj == arg ? 7 : 0;
}

Test(slab, a_walk_meets_every_object_that_ever_was)
{
	struct object *o[3000];
	long n = 0;

	for (int i = 0; i < 3000; i++)
		o[i] = slab_get(&slab);
	for (int i = 0; i < 3000; i += 2)
		slab_put(&slab, o[i]);
	check_eq(slab_each(&slab, count, &n), 0);
	check_eq(n, 3000);
	check_eq(slab_each(&slab, find, o[1234]), 7);
	check_eq(slab_each(&slab, find, &n), 0);
}

#define THREADS 4
#define ROUNDS 20000
#define HELD 64

static void *churn(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, seed = me * 77 + 1;
	struct object *held[HELD] = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		size_t at = unit_random(&seed) % HELD;

		if (held[at]) {
			check_eq(held[at]->kept, me);
			slab_put(&slab, held[at]);
			held[at] = NULL;
		} else {
			held[at] = slab_get(&slab);
			check(held[at]);
			held[at]->kept = me;
		}
	}
	return NULL;
}

Test(slab, no_object_is_had_by_two_threads_at_once)
{
	pthread_t t[THREADS];
	long n = 0;

	for (uintptr_t i = 0; i < THREADS; i++)
		check_eq(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
	/* Somebody looks on meanwhile. */
	for (int i = 0; i < 100; i++)
		slab_each(&slab, count, &n);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	n = 0;
	slab_each(&slab, count, &n);
	check(n <= THREADS * HELD);
}

static void *churn_with_stock(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, seed = me * 91 + 1;
	struct object *held[4 * HELD] = { 0 };
	struct slab_stock stock = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		/* Sometimes more is put down than taken, and the other way round. */
		bool more = i / 500 % 2;
		size_t at = unit_random(&seed) % (4 * HELD);

		if (held[at] && !(more && unit_random(&seed) % 4)) {
			check_eq(held[at]->kept, me);
			slab_stock_put(&slab, &stock, held[at]);
			check(stock.n <= 2 * SLAB_STOCK);
			held[at] = NULL;
		} else if (!held[at]) {
			held[at] = slab_stock_get(&slab, &stock);
			check(held[at]);
			held[at]->kept = me;
		}
	}
	for (size_t i = 0; i < 4 * HELD; i++)
		if (held[i])
			slab_stock_put(&slab, &stock, held[i]);
	slab_stock_end(&stock);
	check_eq(stock.n, 0);
	return NULL;
}

Test(slab, no_object_is_in_two_stocks_at_once)
{
	pthread_t t[THREADS];
	long n;

	for (int round = 0; round < 2; round++) {
		for (uintptr_t i = 0; i < THREADS; i++)
			check_eq(pthread_create(&t[i], NULL, churn_with_stock,
						(void *)(i + 1)), 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		n = 0;
		slab_each(&slab, count, &n);
		/* What was in the stocks is had again. */
		check(n <= THREADS * (4 * HELD + 2 * SLAB_STOCK));
	}
}
