/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* select.c - the errors of cogo/select.h. */
#include "errors.h"
#include <limits.h>

/* More than a select has room for without memory. */
#define MANY 9

static struct cogo_case cases[MANY];

static void fill_in(void)
{
	for (int i = 0; i < MANY; i++) {
		cases[i].kind = COGO_CASE_RECV;
		cases[i].chan = NULL;
	}
}

static void in_vain(void)
{
	fill_in();
	FAILS(ETIMEDOUT, cogo_select, cases, 2, SOON);
	FAILS(ETIMEDOUT, cogo_select, cases, 2, 0);
	FAILS(EINVAL, cogo_select, cases, (size_t)INT_MAX + 1, COGO_FOREVER);
	memory_ends();
	FAILS(ENOMEM, cogo_select, cases, MANY, COGO_FOREVER);
	memory_is_back();
	FAILS(ETIMEDOUT, cogo_select, cases, MANY, 0);
}

Test(errors, of_a_select)
{
	on_both(in_vain);
}

static void canceled(void)
{
	FAILS(ECANCELED, cogo_select, cases, 2, COGO_FOREVER);
}

static void unknown(void)
{
	FAILS(ENOMEM, cogo_select, cases, 2, 0);
}

Test(errors, of_a_select_by_one_that_is_cancelled_or_cannot_be_known)
{
	fill_in();
	as_canceled(canceled);
	as_stranger(unknown);
}
