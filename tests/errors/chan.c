/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan.c - the errors of cogo/chan.h. */
#include "errors.h"

static struct cogo_chan *ch, *timer;
static COGO_CHAN(int) typed;

static void is_closed(void)
{
	int x = 0;

	ch = cogo_chan_new(sizeof(x), 1);
	check_eq(cogo_chan_close(ch), 0);
	FAILS(EPIPE, cogo_chan_close, ch);
	FAILS(EPIPE, cogo_send, ch, &x, COGO_FOREVER);
	FAILS(EPIPE, cogo_recv, ch, &x, COGO_FOREVER);
	FAILS(EPIPE, cogo_try_send, ch, &x);
	FAILS(EPIPE, cogo_try_recv, ch, &x);
	typed = (COGO_CHAN(int))ch;
	FAILS(EPIPE, cogo_close, typed);
	FAILS(EPIPE, cogo_put, typed, 1);
	FAILS(EPIPE, cogo_put_until, typed, 1, COGO_FOREVER);
	FAILS(EPIPE, cogo_get, typed, x);
	FAILS(EPIPE, cogo_get_until, typed, x, COGO_FOREVER);
	cogo_chan_free(ch);
}

Test(errors, of_a_channel_that_is_closed)
{
	on_both(is_closed);
}

static void nobody_comes(void)
{
	int x = 0;

	ch = cogo_chan_new(sizeof(x), 0);
	FAILS(ETIMEDOUT, cogo_send, ch, &x, SOON);
	FAILS(ETIMEDOUT, cogo_recv, ch, &x, SOON);
	FAILS(ETIMEDOUT, cogo_send, ch, &x, 0);
	FAILS(ETIMEDOUT, cogo_recv, ch, &x, 0);
	FAILS(EAGAIN, cogo_try_send, ch, &x);
	FAILS(EAGAIN, cogo_try_recv, ch, &x);
	typed = (COGO_CHAN(int))ch;
	FAILS(ETIMEDOUT, cogo_put_until, typed, 1, SOON);
	FAILS(ETIMEDOUT, cogo_get_until, typed, x, SOON);
	cogo_chan_free(ch);
}

Test(errors, of_a_channel_that_nobody_else_uses)
{
	on_both(nobody_comes);
}

static void canceled(void)
{
	int x = 0;

	FAILS(ECANCELED, cogo_send, ch, &x, COGO_FOREVER);
	FAILS(ECANCELED, cogo_recv, ch, &x, COGO_FOREVER);
	FAILS(ECANCELED, cogo_put, typed, 1);
	FAILS(ECANCELED, cogo_put_until, typed, 1, COGO_FOREVER);
	FAILS(ECANCELED, cogo_get, typed, x);
	FAILS(ECANCELED, cogo_get_until, typed, x, COGO_FOREVER);
}

Test(errors, of_a_channel_for_one_that_is_cancelled)
{
	ch = cogo_chan_new(sizeof(int), 1);
	typed = (COGO_CHAN(int))ch;
	as_canceled(canceled);
	cogo_chan_free(ch);
}

static void unknown(void)
{
	int x = 0;

	FAILS(ENOMEM, cogo_send, ch, &x, 0);
	FAILS(ENOMEM, cogo_recv, ch, &x, 0);
	FAILS(ENOMEM, cogo_put, typed, 1);
	FAILS(ENOMEM, cogo_put_until, typed, 1, 0);
	FAILS(ENOMEM, cogo_get, typed, x);
	FAILS(ENOMEM, cogo_get_until, typed, x, 0);
	FAILS(ENOMEM, cogo_try_send, ch, &x);
	FAILS(ENOMEM, cogo_try_recv, ch, &x);
	FAILS(ENOMEM, cogo_timer_reset, timer, COGO_FOREVER);
	FAILS(ENOMEM, cogo_timer_stop, timer);
	/* To say that no more comes, nobody has to be known. */
	check_eq(cogo_chan_close(ch), 0);
	FAILS(EPIPE, cogo_chan_close, ch);
}

Test(errors, of_a_channel_for_one_whom_there_is_no_memory_to_know_by)
{
	int x = 1;

	ch = cogo_chan_new(sizeof(x), 1);
	typed = (COGO_CHAN(int))ch;
	timer = cogo_timer_new(COGO_FOREVER);
	as_stranger(unknown);
	check_eq(cogo_recv(ch, &x, COGO_FOREVER), -EPIPE);
	check_eq(x, 0);
}

static void receives(void *arg)
{
	int x = 1;

	FAILS(EPIPE, cogo_recv, arg, &x, COGO_FOREVER);
	check_eq(x, 0);
}

static void closes(void)
{
	check_eq(cogo_chan_close(ch), 0);
}

Test(errors, a_close_without_memory_wakes_who_waits)
{
	struct cogo_coro *c;

	ch = cogo_chan_new(sizeof(int), 0);
	c = begin(NULL, receives, ch);
	wait_until(cogo_state(c) == COGO_PARKED);
	as_stranger(closes);
	check_eq(cogo_join(c), COGO_RETURNED);
}

Test(errors, of_making_a_channel)
{
	memory_ends();
	IS_NULL(cogo_chan_new, 8, 4);
	IS_NULL(cogo_chan_new, 8, 0);
	IS_NULL(cogo_timer_new, COGO_FOREVER);
	IS_NULL(cogo_after, 0);
	IS_NULL(cogo_ticker_new, COGO_SEC);
	memory_is_back();
	/* Where the sizes cannot be. */
	IS_NULL(cogo_chan_new, SIZE_MAX / 2, 8);
}
