/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* check-program.h - what cogo-run --check says of a program. */
#ifndef COGO_TOOLS_CHECK_PROGRAM_H
#define COGO_TOOLS_CHECK_PROGRAM_H

#include "program.h"

/* What it ends with, where there was a program to look at. */
enum {
	CHECK_WELL = 0,
	CHECK_REMARKS = 1,
	CHECK_NOT = 2,
};

/* Says on stdout how the program, as a file, would fare with that library put
 * into it, and runs nothing of it: one of the above. Where there is no program to
 * look at, it dies. Its frame is a large one, and no part of main's: the program may
 * be given a stack of 64 KiB, which cogo-run has until then. */
__attribute__((noinline))
int check_program(const char *path, const char *library_path,
		  const struct binary *library);

#endif
