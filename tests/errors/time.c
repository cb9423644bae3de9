/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* time.c - the errors of cogo/time.h. */
#include "errors.h"

static void canceled(void)
{
	FAILS(ECANCELED, cogo_sleep, 0);
	FAILS(ECANCELED, cogo_sleep, COGO_SEC);
	FAILS(ECANCELED, cogo_sleep_until, COGO_FOREVER);
}

Test(errors, who_is_cancelled_does_not_sleep)
{
	as_canceled(canceled);
}

static void unknown(void)
{
	FAILS(ENOMEM, cogo_sleep, 0);
	FAILS(ENOMEM, cogo_sleep_until, 0);
}

Test(errors, nobody_sleeps_whom_there_is_no_memory_to_know_by)
{
	as_stranger(unknown);
}
