/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* scope.c - children do not outlive the block they were made in. */
#include "native.h"
#include <sys/resource.h>

static int add_one(void *arg)
{
	cogo_yield();
	atomic_fetch_add((atomic_int *)arg, 1);
	return 0;
}

static void end_with_all(void)
{
	atomic_int n = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	for (int i = 0; i < 100; i++)
		check_eq(cogo_scope_go(&s, NULL, add_one, &n), 0);
	check_eq(cogo_scope_end(&s), 0);
	check_eq(n, 100);
	check_eq(cogo_scope_children(&s), 0);
	check(strcmp(cogo_scope_message(&s), "") == 0);
	/* Again, and with nobody in it. */
	cogo_scope_begin(&s);
	check_eq(cogo_scope_end(&s), 0);
	check_eq(cogo_scope_end(&s), 0);
}

Test(scope, it_ends_when_the_last_child_has)
{
	on_both(end_with_all);
}

static int wait_for_ever(void *arg)
{
	int r = cogo_park(COGO_FOREVER);

	check_eq(r, -ECANCELED);
	check(cogo_canceled());
	atomic_fetch_add((atomic_int *)arg, 1);
	return r;
}

static int fail_soon(void *arg)
{
	cogo_yield();
	(void)arg;
	return -EIO;
}

static void first_failure(void)
{
	atomic_int told = 0;
	struct cogo_scope s = COGO_SCOPE;
	int r;

	cogo_scope_begin(&s);
	for (int i = 0; i < 20; i++)
		check_eq(cogo_scope_go(&s, NULL, wait_for_ever, &told), 0);
	check_eq(cogo_scope_go(&s, NULL, fail_soon, NULL), 0);
	/* From then on there are no more. */
	do {
		r = cogo_scope_go(&s, NULL, wait_for_ever, &told);
		cogo_yield();
		if (r == 0)
			atomic_fetch_sub(&told, 1);
	} while (r == 0);
	check_eq(r, -ECANCELED);
	check_eq(cogo_scope_try_go(&s, NULL, fail_soon, NULL), -ECANCELED);
	check_eq(cogo_scope_end(&s), -EIO);
	check_eq(told, 20);
}

Test(scope, the_first_failure_cancels_the_siblings_and_is_reported)
{
	on_both(first_failure);
}

static int panic_soon(void *arg)
{
	cogo_yield();
	cogo_panic("child %s", (char *)arg);
}

static void child_panics(void)
{
	atomic_int told = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, wait_for_ever, &told), 0);
	check_eq(cogo_scope_go(&s, NULL, panic_soon, (void *)"gone"), 0);
	check_eq(cogo_scope_end(&s), -ECHILD);
	check(strcmp(cogo_scope_message(&s), "child gone") == 0);
	check_eq(told, 1);
}

static void child_panics_on_coroutine(void)
{
	on_coroutine(child_panics);
}

Test(scope, a_panic_of_a_child_is_ECHILD_with_its_message_and_not_said_besides)
{
	int status;

	on_both(child_panics);
	check_eq(times(said(child_panics_on_coroutine, &status), "child gone"), 0);
	check_eq(status, 0);
}

static void cancelled_scope(void)
{
	atomic_int told = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	for (int i = 0; i < 10; i++)
		check_eq(cogo_scope_go(&s, NULL, wait_for_ever, &told), 0);
	cogo_scope_cancel(&s, EDOM);
	cogo_scope_cancel(&s, ERANGE);
	check_eq(cogo_scope_go(&s, NULL, add_one, &told), -ECANCELED);
	check_eq(cogo_scope_end(&s), -EDOM);
	check_eq(told, 10);
}

Test(scope, a_cancelled_scope_tells_the_children_and_reports_the_reason)
{
	on_both(cancelled_scope);
}

static int look_at_reason(void *arg)
{
	cogo_park(COGO_FOREVER);
	*(int *)arg = cogo_cancel_reason(cogo_self());
	return 0;
}

Test(scope, a_child_knows_why)
{
	struct cogo_scope s = COGO_SCOPE;
	int reason = 0;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, look_at_reason, &reason), 0);
	cogo_scope_cancel(&s, 77);
	check_eq(cogo_scope_end(&s), -77);
	check_eq(reason, 77);
}

/* ---- the limit ---- */

static atomic_int now, most;

static int be_one_of_few(void *arg)
{
	int n = atomic_fetch_add(&now, 1) + 1, m = most;

	while (n > m && !atomic_compare_exchange_weak(&most, &m, n))
		;
	for (int i = 0; i < 3; i++)
		cogo_sleep(20 * COGO_US);
	atomic_fetch_sub(&now, 1);
	(void)arg;
	return 0;
}

static void limited(void)
{
	struct cogo_scope s = COGO_SCOPE;
	int again = 0;

	now = most = 0;
	cogo_scope_begin(&s);
	cogo_scope_limit(&s, 3);
	for (int i = 0; i < 100; i++) {
		check_eq(cogo_scope_go(&s, NULL, be_one_of_few, NULL), 0);
		check(cogo_scope_children(&s) <= 3);
	}
	while (cogo_scope_try_go(&s, NULL, be_one_of_few, NULL) == 0)
		;
	check_eq(cogo_scope_try_go(&s, NULL, wait_for_ever, &again), -EAGAIN);
	cogo_scope_limit(&s, 0);
	check_eq(cogo_scope_try_go(&s, NULL, be_one_of_few, NULL), 0);
	check_eq(cogo_scope_end(&s), 0);
	check(most <= 4);
}

Test(scope, there_are_never_more_children_than_the_limit)
{
	on_both(limited);
}

static void wait_at_limit(void *arg)
{
	struct cogo_scope s = COGO_SCOPE;
	atomic_int told = 0;

	cogo_scope_begin(&s);
	cogo_scope_limit(&s, 1);
	check_eq(cogo_scope_go(&s, NULL, wait_for_ever, &told), 0);
	atomic_store((atomic_int *)arg, 1);
	check_eq(cogo_scope_go(&s, NULL, wait_for_ever, &told), -ECANCELED);
	check_eq(cogo_scope_end(&s), -ECANCELED);
	check_eq(told, 1);
}

Test(scope, who_waits_at_the_limit_can_be_cancelled)
{
	atomic_int there = 0;
	struct cogo_coro *c = begin(NULL, wait_at_limit, &there);

	wait_until(there);
	settle();
	check_eq(cogo_cancel(c, 1), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
}

/* ---- the owner ---- */

static atomic_int alive;

static int live_slowly(void *arg)
{
	int *on_makers_stack = arg;

	atomic_fetch_add(&alive, 1);
	cogo_park(COGO_FOREVER);
	/* It has its own business to finish. */
	for (int i = 0; i < 5; i++) {
		int before = cogo_cancel_disable();

		cogo_sleep(500 * COGO_US);
		cogo_cancel_restore(before);
		++*on_makers_stack;
	}
	atomic_fetch_sub(&alive, 1);
	return 0;
}

static void own_children(void *arg)
{
	int word = 0;
	struct cogo_scope s = COGO_SCOPE;
	int r;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, live_slowly, &word), 0);
	r = cogo_scope_wait(&s, COGO_FOREVER);
	check_eq(r, -ECANCELED);
	r = cogo_scope_end(&s);
	check_eq(r, -ECANCELED);
	check_eq(alive, 0);
	check_eq(word, 5);
	*(int *)arg = 1;
}

Test(scope, children_of_a_cancelled_owner_are_told_and_waited_for)
{
	int done = 0;
	struct cogo_coro *c = begin(NULL, own_children, &done);

	wait_until(alive == 1);
	check_eq(cogo_cancel(c, 9), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(done, 1);
}

static void own_and_be_unwound(void *arg)
{
	int word = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, live_slowly, &word), 0);
	if (*(int *)arg == 1)
		cogo_park(COGO_FOREVER);
	while (alive == 0)
		cogo_yield();
	if (*(int *)arg == 2)
		cogo_panic("owner");
	cogo_exit();
}

Test(scope, children_never_outlive_an_owner_that_is_unwound)
{
	static const int how[] = { COGO_RETURNED, COGO_CANCELED, COGO_PANICKED };

	for (int way = 0; way < 3; way++) {
		struct cogo_attr a = { .flags = COGO_UNWINDS };
		struct cogo_coro *c = begin(&a, own_and_be_unwound, &way);

		wait_until(alive == 1);
		if (way == 1)
			check_eq(cogo_cancel(c, 9), 0);
		check_eq(cogo_join(c), how[way]);
		check_eq(alive, 0);
	}
}

static void *own_as_thread(void *arg)
{
	own_and_be_unwound(arg);
	return NULL;
}

Test(scope, children_never_outlive_a_thread_that_exits)
{
	int way = 0;
	pthread_t t;

	check_eq(pthread_create(&t, NULL, own_as_thread, &way), 0);
	check_eq(pthread_join(t, NULL), 0);
	check_eq(alive, 0);
}

/* ---- the block ---- */

static int leave_block(int way, atomic_int *n)
{
	int result = -1;

	for (int i = 0; i < 2; i++) {
		cogo_scope(s, &result) {
			for (int k = 0; k < 10; k++)
				check_eq(cogo_scope_go(s, NULL, add_one, n), 0);
			if (way == 0)
				break;
			if (way == 1)
				goto out;
			if (way == 2)
				return *n == 10 ? -10 : -*n;
			if (way == 3)
				continue;
		}
		check_eq(*n, 10 * (i + 1));
		check_eq(result, 0);
	}
out:
	return *n;
}

static void leave_blocks(void)
{
	for (int way = 0; way < 5; way++) {
		atomic_int n = 0;
		int r = leave_block(way, &n);

		/* break and continue are of the block itself. */
		check_eq(n, way == 1 || way == 2 ? 10 : 20);
		if (way != 2)
			check_eq(r, n);
	}
}

Test(scope, a_block_may_be_left_in_any_way)
{
	on_both(leave_blocks);
}

static void blocks_in_blocks(void)
{
	atomic_int n = 0;
	int outer = -1, inner = -1;

	cogo_scope(s, &outer) {
		cogo_scope_go(s, NULL, add_one, &n);
		cogo_scope(t, &inner) {
			cogo_scope_go(s, NULL, add_one, &n);
			cogo_scope_go(t, NULL, fail_soon, NULL);
		}
		check_eq(inner, -EIO);
		cogo_scope(t, NULL)
			cogo_scope_go(t, NULL, add_one, &n);
	}
	check_eq(outer, 0);
	check_eq(n, 3);
}

Test(scope, blocks_nest)
{
	on_both(blocks_in_blocks);
}

static void panic_in_block(void *arg)
{
	cogo_scope(s, NULL) {
		cogo_scope_go(s, NULL, wait_for_ever, arg);
		cogo_panic("in the block");
	}
}

static void panic_in_blocks(void)
{
	atomic_int told = 0;

	check_eq(cogo_recover(panic_in_block, &told, NULL), 1);
	check_eq(told, 1);
}

Test(scope, a_panic_in_the_block_cancels_and_waits)
{
	on_both(panic_in_blocks);
}

/* ---- managed ---- */

static int help(void *arg)
{
	int r;

	while ((r = cogo_sleep(COGO_MS)) == 0)
		;
	atomic_fetch_add((atomic_int *)arg, 1);
	return r;
}

static void with_helpers(void)
{
	atomic_int told = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	cogo_scope_manage(&s);
	for (int i = 0; i < 5; i++)
		check_eq(cogo_scope_go(&s, NULL, help, &told), 0);
	check_eq(cogo_scope_wait(&s, cogo_in(COGO_MS)), -ETIMEDOUT);
	check_eq(cogo_scope_end(&s), 0);
	check_eq(told, 5);
	/* One that fails for itself is a failure all the same. */
	cogo_scope_begin(&s);
	cogo_scope_manage(&s);
	check_eq(cogo_scope_go(&s, NULL, help, &told), 0);
	check_eq(cogo_scope_go(&s, NULL, fail_soon, NULL), 0);
	check_eq(cogo_scope_wait(&s, COGO_FOREVER), 0);
	check_eq(cogo_scope_end(&s), -EIO);
}

Test(scope, helpers_are_cancelled_at_the_end_and_that_is_no_failure)
{
	on_both(with_helpers);
}

static int make_more(void *arg)
{
	struct cogo_scope *s = *(struct cogo_scope **)arg;
	static atomic_int depth;

	if (atomic_fetch_add(&depth, 1) < 200)
		check_eq(cogo_scope_go(s, NULL, make_more, arg), 0);
	return 0;
}

Test(scope, children_make_children)
{
	struct cogo_scope s = COGO_SCOPE, *p = &s;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, make_more, &p), 0);
	check_eq(cogo_scope_end(&s), 0);
}

static int wait_told(void *arg)
{
	while (!atomic_load((atomic_bool *)arg))
		if (cogo_sleep(COGO_MS))
			break;
	return 0;
}

static void make_beyond_the_systems_limit(void)
{
	struct rlimit lim = { (rlim_t)1 << 30, (rlim_t)1 << 30 };
	struct cogo_attr a = { .stack = 16 << 20 };
	struct cogo_scope s = COGO_SCOPE;
	static atomic_bool stop;
	static atomic_int first;
	int r, n = 0;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, add_one, &first), 0);
	check_eq(cogo_scope_wait(&s, COGO_FOREVER), 0);
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
	cogo_scope_limit(&s, 100000);
	while ((r = cogo_scope_go(&s, &a, wait_told, &stop)) == 0)
		n++;
	/* Those that there are do not end meanwhile, and it is not waited for
	 * them. */
	check(r == -EAGAIN || r == -ENOMEM);
	check(n > 2);
	stop = true;
	/* Nor is it lost on whoever did not look. */
	check_eq(cogo_scope_end(&s), r);
}

static void beyond_on_coroutine(void)
{
	on_coroutine(make_beyond_the_systems_limit);
}

Test(scope, the_systems_limit_is_not_mistaken_for_the_scopes)
{
	int status;

	said(beyond_on_coroutine, &status);
	check_eq(status, 0);
}

static void bad_child(void)
{
	struct cogo_attr a = { .stack = 5 };
	atomic_int n = 0;
	struct cogo_scope s = COGO_SCOPE;

	cogo_scope_begin(&s);
	check_eq(cogo_scope_try_go(&s, &a, add_one, NULL), -EINVAL);
	check_eq(cogo_scope_go(&s, NULL, add_one, &n), 0);
	check_eq(cogo_scope_wait(&s, COGO_FOREVER), 0);
	check_eq(cogo_scope_go(&s, &a, add_one, NULL), -EINVAL);
	check_eq(cogo_scope_go(&s, NULL, add_one, &n), -ECANCELED);
	check_eq(cogo_scope_children(&s), 0);
	check_eq(cogo_scope_wait(&s, 0), 0);
	check_eq(cogo_scope_end(&s), -EINVAL);
}

Test(scope, what_go_refuses_it_refuses)
{
	on_both(bad_child);
}

static int end_somehow(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	for (int i = (int)(unit_random(&seed) % 3); i > 0; i--)
		cogo_yield();
	switch (unit_random(&seed) % 8) {
	case 0:
		return -EIO;
	case 1:
		cogo_panic("one of many");
	case 2:
		cogo_exit();
	case 3:
		cogo_sleep((int64_t)(unit_random(&seed) % 100000));
	}
	return 0;
}

static void storm(void *arg)
{
	uint64_t seed = *(uint64_t *)arg * 0x9e3779b97f4a7c15ull | 1;

	for (int i = 0; i < 300; i++) {
		struct cogo_scope *s = calloc(1, sizeof(*s));
		int n = (int)(unit_random(&seed) % 10), r = 0;

		cogo_scope_begin(s);
		cogo_scope_limit(s, (unsigned)(unit_random(&seed) % 4));
		while (n-- && r == 0)
			r = cogo_scope_go(s, NULL, end_somehow,
					  (void *)(uintptr_t)unit_random(&seed));
		check(r == 0 || r == -ECANCELED);
		if (unit_random(&seed) % 4 == 0)
			cogo_scope_cancel(s, 5);
		r = cogo_scope_end(s);
		check(r == 0 || r == -EIO || r == -ECHILD || r == -5);
		/* Whoever touched it after this would be seen. */
		memset(s, 0xee, sizeof(*s));
		free(s);
	}
}

Test(scope, its_memory_is_free_once_it_has_ended)
{
	uint64_t seed[8], first = unit_seed("scope");
	struct cogo_coro *c[8];

	for (int i = 0; i < 8; i++) {
		seed[i] = first + (uint64_t)i;
		c[i] = begin(NULL, storm, &seed[i]);
	}
	for (int i = 0; i < 8; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
}
