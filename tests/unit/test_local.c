/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a coroutine has of its own, by key: on an adopted kernel thread. */
#include "coro/local.h"
#include "unit.h"

static struct coro *me;
static int destroyed;
static char order[16];

static void note(void *value)
{
	order[destroyed++] = *(const char *)value;
}

static const struct local_key first = { .destroy = note },
			      second = { .destroy = note };

static void begin(void)
{
	me = coro_adopt(CORO_KIND_THREAD);
	check(me != NULL);
	check(local_get(me, &first) == NULL);
}

Test(local, each_key_has_a_value_of_its_own)
{
	char a = 'a', b = 'b';

	begin();
	check_eq(local_set(me, &first, &a), 0);
	check_eq(local_set(me, &second, &b), 0);
	check(local_get(me, &first) == &a);
	check(local_get(me, &second) == &b);
	check_eq(local_set(me, &first, &b), 0);
	check(local_get(me, &first) == &b);
	check_eq(local_set(me, &first, NULL), 0);
	check(local_get(me, &first) == NULL);
	check(local_get(me, &second) == &b);
}

Test(local, what_has_a_value_at_the_end_is_destroyed_once)
{
	char a = 'a', b = 'b';

	begin();
	check_eq(local_set(me, &first, &a), 0);
	check_eq(local_set(me, &second, &b), 0);
	local_end(me);
	check_eq(destroyed, 2);
	check(strchr(order, 'a') && strchr(order, 'b'));
	check(me->local == NULL);
	local_end(me);
	check_eq(destroyed, 2);
}

static void again(void *value);
static const struct local_key stubborn = { .destroy = again };

static void again(void *value)
{
	destroyed++;
	check(local_get(me, &stubborn) == NULL);
	check_eq(local_set(me, &stubborn, value), 0);
}

Test(local, a_destructor_that_sets_a_value_is_called_again_but_not_for_ever)
{
	begin();
	check_eq(local_set(me, &stubborn, &destroyed), 0);
	local_end(me);
	check_eq(destroyed, LOCAL_ROUNDS);
	check(me->local == NULL);
}

static char value = 'v';
static const struct local_key watched;

static void look(void *unused)
{
	(void)unused;
	destroyed++;
	check(local_get(me, &watched) == &value);
	check_eq(local_set(me, &watched, NULL), 0);
}
static const struct local_key watcher = { .destroy = look };

/* The watched one is destroyed after the watcher, which was set last. */
Test(local, a_destructor_still_sees_what_is_not_destroyed_yet_and_may_take_it_away)
{
	begin();
	check_eq(local_set(me, &watched, &value), 0);
	check_eq(local_set(me, &watcher, &value), 0);
	local_end(me);
	check_eq(destroyed, 1);
	check(me->local == NULL);
}
