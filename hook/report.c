/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/report.c - the end of the program, as far as --stats is concerned.
 *
 * A destructor of ours runs after every handler that the program gave to
 * atexit: last of all, the summary counts them too. The other ways to end
 * (_exit and its kin) come by way of their hooks. */
#include "inspect/report.h"

__attribute__((destructor)) static void at_exit(void)
{
	report_at_exit();
}
