/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.c - the errors of cogo/go.h. */
#include "errors.h"

/* ---- making ---- */

static void is_invalid(void)
{
	struct cogo_attr small = { .stack = 1000 }, large = { .stack = 2ul << 30 },
			 strange = { .flags = 1u << 31 };

	FAILS(EINVAL, cogo_go, NULL, &small, nothing, NULL);
	FAILS(EINVAL, cogo_go, NULL, &large, nothing, NULL);
	FAILS(EINVAL, cogo_go, NULL, &strange, nothing, NULL);
}

Test(errors, of_making_one_that_cannot_be)
{
	on_both(is_invalid);
}

static int returns_7(int argc, char **argv)
{
	(void)argc, (void)argv;
	return 7;
}

Test(errors, of_making_the_first_without_memory)
{
	memory_ends();
	FAILS(ENOMEM, cogo_go, NULL, NULL, nothing, NULL);
	FAILS(ENOMEM, cogo_run, returns_7, 0, NULL);
	memory_is_back();
	check_eq(cogo_run(returns_7, 0, NULL), 7);
}

static void without_memory(void)
{
	struct cogo_attr own = { .stack = OWN_STACK };
	struct cogo_coro *c = NULL;

	memory_ends();
	FAILS(ENOMEM, cogo_go, &c, &own, nothing, NULL);
	memory_is_back();
	check(c == NULL);
}

Test(errors, of_making_another_without_memory)
{
	start_runtime();
	on_both(without_memory);
}

/* The kernel lets nobody have another thread. */
Test(errors, of_making_the_first_without_threads)
{
	kernel_refuses(SYS_clone, ANY_ARGUMENT, 0, EAGAIN);
	kernel_refuses(SYS_clone3, ANY_ARGUMENT, 0, EAGAIN);
	FAILS(EAGAIN, cogo_go, NULL, NULL, nothing, NULL);
	FAILS(EAGAIN, cogo_run, returns_7, 0, NULL);
}

static void without_stacks(void)
{
	struct cogo_attr own = { .stack = OWN_STACK };
	struct cogo_coro *c = NULL;

	FAILS(EAGAIN, cogo_go, &c, &own, nothing, NULL);
	check(c == NULL);
}

Test(errors, of_making_one_where_there_can_be_no_more_stacks)
{
	struct cogo_attr as_before = { .stack = 64 << 10 };

	start_runtime();
	kernel_has_no_more_guards();
	without_stacks();
	/* There is one, as soon as the coroutine that has ended is off it. */
	wait_until(cogo_go(NULL, &as_before, nothing, NULL) == 0);
}

static void inside(void)
{
	FAILS(EBUSY, cogo_run, returns_7, 0, NULL);
	FAILS(EDEADLK, cogo_stop, COGO_FOREVER);
}

Test(errors, of_the_runtime_for_a_coroutine)
{
	on_coroutine(inside);
}

Test(errors, of_stopping_while_there_are_coroutines)
{
	struct cogo_coro *c = begin(NULL, parks, NULL);

	FAILS(ETIMEDOUT, cogo_stop, 0);
	FAILS(ETIMEDOUT, cogo_stop, SOON);
	cogo_unpark(c);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(cogo_stop(COGO_FOREVER), 0);
}

/* ---- waiting ---- */

static void in_vain(void)
{
	struct cogo_coro *c = begin(NULL, parks, NULL), *me = cogo_self();

	FAILS(ETIMEDOUT, cogo_wait, c, SOON);
	FAILS(ETIMEDOUT, cogo_wait, c, 0);
	FAILS(ETIMEDOUT, cogo_park, SOON);
	FAILS(ETIMEDOUT, cogo_park, 0);
	FAILS(EDEADLK, cogo_wait, me, COGO_FOREVER);
	FAILS(EDEADLK, cogo_join, me);
	cogo_unpark(c);
	check_eq(cogo_join(c), COGO_RETURNED);
}

static void behind(void)
{
	struct cogo_coro *c = begin(NULL, parks, NULL);
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		FAILS(ESRCH, cogo_wait, c, COGO_FOREVER);
		FAILS(ESRCH, cogo_join, c);
		FAILS(ESRCH, cogo_cancel, c, 1);
		_exit(0);
	}
	check_eq(waitpid(child, &status, 0), child);
	check_eq(status, 0);
	cogo_unpark(c);
	check_eq(cogo_join(c), COGO_RETURNED);
}

Test(errors, of_waiting_for_who_has_stayed_in_another_process)
{
	on_both(behind);
}

Test(errors, of_waiting_for_what_does_not_come)
{
	on_both(in_vain);
}

static struct cogo_coro *other;

static void canceled(void)
{
	FAILS(ECANCELED, cogo_yield);
	FAILS(ECANCELED, cogo_park, COGO_FOREVER);
	FAILS(ECANCELED, cogo_wait, other, COGO_FOREVER);
}

static void unknown(void)
{
	FAILS(ENOMEM, cogo_yield);
	FAILS(ENOMEM, cogo_park, 0);
	FAILS(ENOMEM, cogo_wait, other, 0);
	FAILS(ENOMEM, cogo_go, NULL, NULL, nothing, NULL);
	IS_NULL(cogo_self);
}

Test(errors, of_waiting_by_one_that_is_cancelled_or_cannot_be_known)
{
	other = begin(NULL, parks, NULL);
	as_canceled(canceled);
	as_stranger(unknown);
	cogo_unpark(other);
	check_eq(cogo_join(other), COGO_RETURNED);
}

/* ---- cancelling ---- */

static void cancel_thread(void)
{
	FAILS(ENOTSUP, cogo_cancel, cogo_self(), 1);
}

Test(errors, of_cancelling_what_cannot_be)
{
	struct cogo_coro *c = begin(NULL, parks, NULL);

	check_eq(cogo_cancel(c, 1), 0);
	/* It may have ended of it by now, but for this. */
	cogo_ref(c);
	check_eq(cogo_join(c), COGO_RETURNED);
	FAILS(ESRCH, cogo_cancel, c, 1);
	cogo_drop(c);
	cancel_thread();
	on_thread(cancel_thread);
}

static void stays(void *arg)
{
	struct cogo_chan *ch = arg;
	int before = cogo_cancel_disable();

	check_eq(cogo_recv(ch, NULL, COGO_FOREVER), -EPIPE);
	cogo_cancel_restore(before);
}

Test(errors, of_cancelling_twice)
{
	struct cogo_chan *ch = cogo_chan_new(0, 0);
	struct cogo_coro *c = begin(NULL, stays, ch);

	wait_until(cogo_state(c) == COGO_PARKED);
	check_eq(cogo_cancel(c, 1), 0);
	FAILS(EALREADY, cogo_cancel, c, 2);
	check_eq(cogo_chan_close(ch), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	cogo_chan_free(ch);
}

/* ---- values ---- */

static struct cogo_key key;

static void not_kept(void)
{
	memory_ends();
	FAILS(ENOMEM, cogo_local_set, &key, &key);
	IS_NULL(cogo_local_get, &key);
	memory_is_back();
}

static void not_known(void)
{
	FAILS(ENOMEM, cogo_local_set, &key, NULL);
	IS_NULL(cogo_local_get, &key);
}

Test(errors, of_a_value_that_cannot_be_kept)
{
	on_both(not_kept);
	as_stranger(not_known);
}
