/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* run.c - the error that comes to programs whose threads are coroutines alone: it
 * is run by cogo-run. */
#include "errors.h"

Test(errors, of_stopping_what_the_threads_are_made_of)
{
	FAILS(EPERM, cogo_stop, COGO_FOREVER);
}
