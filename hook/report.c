/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/report.c - the end of the program, as far as --stats is concerned.
 *
 * A destructor of ours runs after every handler that the program gave to
 * atexit: last of all, the summary counts them too. quick_exit runs no
 * destructors but a list of its own, from the last to the first. The other ways
 * to end (_exit and its kin) come by way of their hooks. */
#include "inspect/report.h"
#include <stdlib.h>

__attribute__((destructor)) static void at_exit(void)
{
	report_at_exit();
}

__attribute__((constructor)) static void at_start(void)
{
	at_quick_exit(at_exit);
}
