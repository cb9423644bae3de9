/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* scope.c - the errors of cogo/scope.h. */
#include "errors.h"

static struct cogo_scope s;

static int succeeds(void *arg)
{
	(void)arg;
	return 0;
}

static int parks_in(void *arg)
{
	(void)arg;
	cogo_park(COGO_FOREVER);
	return 0;
}

static int panics(void *arg)
{
	(void)arg;
	cogo_panic("as it should");
}

/* ---- making children ---- */

static void is_invalid(void)
{
	struct cogo_attr strange = { .flags = 1u << 31 };

	cogo_scope_begin(&s);
	FAILS(EINVAL, cogo_scope_try_go, &s, &strange, succeeds, NULL);
	FAILS(EINVAL, cogo_scope_go, &s, &strange, succeeds, NULL);
	/* It was a failure of the scope, and no more are made. */
	FAILS(ECANCELED, cogo_scope_go, &s, NULL, succeeds, NULL);
	FAILS(ECANCELED, cogo_scope_try_go, &s, NULL, succeeds, NULL);
	check_eq(cogo_scope_end(&s), -EINVAL);
}

static void has_enough(void)
{
	cogo_scope_begin(&s);
	cogo_scope_limit(&s, 1);
	check_eq(cogo_scope_go(&s, NULL, parks_in, NULL), 0);
	FAILS(EAGAIN, cogo_scope_try_go, &s, NULL, succeeds, NULL);
	FAILS(ETIMEDOUT, cogo_scope_wait, &s, SOON);
	FAILS(ETIMEDOUT, cogo_scope_wait, &s, 0);
	cogo_scope_cancel(&s, EPIPE);
	FAILS(ECANCELED, cogo_scope_go, &s, NULL, succeeds, NULL);
	FAILS(ECANCELED, cogo_scope_try_go, &s, NULL, succeeds, NULL);
	check_eq(cogo_scope_end(&s), -EPIPE);
}

Test(errors, of_a_scope_that_takes_no_more)
{
	on_both(is_invalid);
	on_both(has_enough);
}

static void canceled(void)
{
	cogo_scope_begin(&s);
	FAILS(ECANCELED, cogo_scope_go, &s, NULL, succeeds, NULL);
	FAILS(ECANCELED, cogo_scope_try_go, &s, NULL, succeeds, NULL);
	FAILS(ECANCELED, cogo_scope_wait, &s, COGO_FOREVER);
	cogo_scope_end(&s);
}

Test(errors, of_a_scope_whose_owner_is_cancelled)
{
	as_canceled(canceled);
}

static void without_memory(void)
{
	struct cogo_attr own = { .stack = OWN_STACK };

	cogo_scope_begin(&s);
	memory_ends();
	FAILS(ENOMEM, cogo_scope_try_go, &s, &own, succeeds, NULL);
	FAILS(ENOMEM, cogo_scope_go, &s, &own, succeeds, NULL);
	memory_is_back();
	check_eq(cogo_scope_end(&s), -ENOMEM);
}

static void unknown(void)
{
	FAILS(ENOMEM, cogo_scope_wait, &s, 0);
}

Test(errors, of_a_scope_without_memory)
{
	start_runtime();
	on_both(without_memory);
	cogo_scope_begin(&s);
	as_stranger(unknown);
	check_eq(cogo_scope_end(&s), 0);
}

Test(errors, of_a_scope_where_there_can_be_no_more_stacks)
{
	struct cogo_attr own = { .stack = OWN_STACK };

	start_runtime();
	kernel_has_no_more_guards();
	cogo_scope_begin(&s);
	FAILS(EAGAIN, cogo_scope_try_go, &s, &own, succeeds, NULL);
	FAILS(EAGAIN, cogo_scope_go, &s, &own, succeeds, NULL);
	check_eq(cogo_scope_end(&s), -EAGAIN);
}

/* ---- the end ---- */

static void is_panicked_in(void)
{
	cogo_scope_begin(&s);
	check_eq(cogo_scope_go(&s, NULL, panics, NULL), 0);
	FAILS(ECHILD, cogo_scope_end, &s);
	check(strcmp(cogo_scope_message(&s), "as it should") == 0);
}

Test(errors, of_a_scope_with_a_panic)
{
	on_both(is_panicked_in);
}
