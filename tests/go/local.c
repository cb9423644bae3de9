/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* local.c - values by key: each one's own, made, handed on, destroyed. */
#include "native.h"

static atomic_int destroyed;

static void destroy(void *value)
{
	(void)value;
	destroyed++;
}

static struct cogo_key plain, counted = { .destroy = destroy };

static void set_and_get(void)
{
	char a, b;

	check(cogo_local_get(&plain) == NULL);
	check_eq(cogo_local_set(&plain, &a), 0);
	check(cogo_local_get(&plain) == &a);
	cogo_yield();
	check_eq(cogo_local_set(&plain, &b), 0);
	check(cogo_local_get(&plain) == &b);
	check_eq(cogo_local_set(&plain, NULL), 0);
	check(cogo_local_get(&plain) == NULL);
	check_eq(cogo_local_set(&plain, NULL), 0);
}

Test(local, a_value_is_its_owners)
{
	on_both(set_and_get);
	set_and_get();
}

static void keep_one(void)
{
	check(cogo_local_get(&counted) == NULL);
	check_eq(cogo_local_set(&counted, &counted), 0);
	/* What was there is not destroyed, and NULL is no value. */
	check_eq(cogo_local_set(&counted, &plain), 0);
}

static void keep_none(void)
{
	keep_one();
	check_eq(cogo_local_set(&counted, NULL), 0);
}

Test(local, what_there_is_at_the_end_is_destroyed_once)
{
	on_coroutine(keep_one);
	check_eq(destroyed, 1);
	on_coroutine(keep_none);
	check_eq(destroyed, 1);
	on_thread(keep_one);
	check_eq(destroyed, 2);
	on_thread(keep_none);
	check_eq(destroyed, 2);
}

static void many_keys(void)
{
	static struct cogo_key key[50];
	int value[50];

	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 50; i++) {
			int k = (i * 7 + round * 13) % 50;

			if (round)
				check(cogo_local_get(&key[k]) == &value[k]);
			check_eq(cogo_local_set(&key[k], &value[k]), 0);
			cogo_yield();
		}
}

Test(local, many_keys_of_many_coroutines_keep_apart)
{
	struct native_call call = { many_keys };
	struct cogo_coro *c[20];

	for (int i = 0; i < 20; i++)
		c[i] = begin(NULL, native_call, &call);
	for (int i = 0; i < 20; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	on_thread(many_keys);
}

/* ---- init ---- */

static atomic_int made;

static void *make(void)
{
	made++;
	return malloc(10);
}

static struct cogo_key lazy = { .destroy = free, .init = make };

static void get_lazily(void)
{
	int before = made;
	char *p = cogo_local_get(&lazy);

	check(p != NULL);
	check(cogo_local_get(&lazy) == p);
	check_eq(made, before + 1);
}

Test(local, an_initial_value_is_made_once_for_each_that_asks)
{
	on_both(get_lazily);
	check_eq(made, 2);
}

static void *make_nothing(void)
{
	made++;
	return NULL;
}

static struct cogo_key barren = { .init = make_nothing };

static void get_nothing(void)
{
	check(cogo_local_get(&barren) == NULL);
	check(cogo_local_get(&barren) == NULL);
}

Test(local, an_initial_value_of_NULL_is_none)
{
	on_both(get_nothing);
}

/* ---- rounds ---- */

static struct cogo_key again;
static atomic_int rounds;

static void set_again(void *value)
{
	rounds++;
	check_eq(cogo_local_set(&again, value), 0);
}

static void set_others(void *value)
{
	rounds++;
	/* A destructor may use what has been destroyed, anew. */
	check_eq(cogo_local_set(&counted, value), 0);
	cogo_sleep(20 * COGO_US);
	check(cogo_local_get(&counted) == value);
}

static void leave_endless(void)
{
	again.destroy = set_again;
	check_eq(cogo_local_set(&again, &again), 0);
}

static void leave_chain(void)
{
	again.destroy = set_others;
	check_eq(cogo_local_set(&again, &again), 0);
}

Test(local, destructors_run_in_rounds_that_come_to_an_end)
{
	on_coroutine(leave_endless);
	check_eq(rounds, 4);
	rounds = 0;
	on_coroutine(leave_chain);
	check_eq(rounds, 1);
	check_eq(destroyed, 1);
	on_thread(leave_chain);
	check_eq(rounds, 2);
	check_eq(destroyed, 2);
}

/* ---- inheritance ---- */

static void *copy(void *value)
{
	int *n = malloc(sizeof(*n));

	*n = *(int *)value + 1;
	return n;
}

static void free_counted(void *value)
{
	destroyed++;
	free(value);
}

static void *same(void *value)
{
	return value;
}

static struct cogo_key copied = { .destroy = free_counted, .inherit = copy };
static struct cogo_key shared = { .inherit = same };

static void inherit_deep(void *arg)
{
	struct cogo_attr a = { .flags = COGO_INHERITS };
	int *n = cogo_local_get(&copied), depth = *(int *)arg - 1;

	check(n && *n == 10 - depth);
	check(cogo_local_get(&shared) == &shared);
	check(cogo_local_get(&plain) == NULL);
	if (depth)
		check_eq(outcome(&a, inherit_deep, &depth), COGO_RETURNED);
}

static void look_empty(void *arg)
{
	(void)arg;
	check(cogo_local_get(&copied) == NULL);
	check(cogo_local_get(&shared) == NULL);
}

static void hand_on(void)
{
	struct cogo_attr a = { .flags = COGO_INHERITS };
	int depth = 10, *n = calloc(1, sizeof(*n));

	check_eq(cogo_local_set(&copied, n), 0);
	check_eq(cogo_local_set(&shared, &shared), 0);
	check_eq(cogo_local_set(&plain, &plain), 0);
	check_eq(outcome(&a, inherit_deep, &depth), COGO_RETURNED);
	check_eq(outcome(NULL, look_empty, NULL), COGO_RETURNED);
	check_eq(*n, 0);
}

Test(local, who_inherits_is_given_copies_and_others_nothing)
{
	on_coroutine(hand_on);
	check_eq(destroyed, 11);
	on_thread(hand_on);
	check_eq(destroyed, 22);
}

static struct cogo_key nosy[8];
static atomic_int nosy_handed;

static void *look_around(void *value)
{
	/* Whatever is asked for comes to the front, and more is set. */
	for (int i = 0; i < 8; i++)
		check(cogo_local_get(&nosy[i]) != NULL);
	check_eq(cogo_local_set(&plain, value), 0);
	check_eq(cogo_local_set(&plain, NULL), 0);
	nosy_handed++;
	return value;
}

static void all_there(void *arg)
{
	(void)arg;
	for (int i = 0; i < 8; i++)
		check(cogo_local_get(&nosy[i]) == &nosy[i]);
}

static void hand_on_nosily(void)
{
	struct cogo_attr a = { .flags = COGO_INHERITS };

	nosy_handed = 0;
	for (int i = 0; i < 8; i++) {
		nosy[i].inherit = look_around;
		check_eq(cogo_local_set(&nosy[i], &nosy[i]), 0);
	}
	check_eq(outcome(&a, all_there, NULL), COGO_RETURNED);
	check_eq(nosy_handed, 8);
}

Test(local, what_is_handed_on_may_look_at_the_rest)
{
	on_both(hand_on_nosily);
}

/* ---- with everything else that has an end ---- */

static __thread int word;
static pthread_key_t key;
static atomic_int order;

static void after(void *value)
{
	order++;
	/* All of libc may still be used; storage that is shared is whose it is. */
	cogo_sleep(1000);
	if (value == &word)
		check_eq(word, 3);
	check(cogo_self() != NULL);
}

static void leave_both(void *arg)
{
	word = 3;
	check_eq(pthread_setspecific(key, arg), 0);
	check_eq(cogo_local_set(&counted, &key), 0);
}

Test(local, pthreads_keys_are_destroyed_too)
{
	check_eq(pthread_key_create(&key, after), 0);
	check_eq(outcome(NULL, leave_both, &word), COGO_RETURNED);
	check_eq(outcome(&(struct cogo_attr){ .flags = COGO_SHARED_TLS },
			 leave_both, &key), COGO_RETURNED);
	check_eq(order, 2);
	check_eq(destroyed, 2);
}
