/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/fatal.h - misuse and broken invariants end here; reports begin here. */
#ifndef COGO_BASE_FATAL_H
#define COGO_BASE_FATAL_H

#include "base/compiler.h"

/* Says what is wrong on stderr and aborts. Allocates nothing; any thread, any
 * stack, a signal handler. */
_Noreturn COLD void cogo_throw(const char *fmt, ...) printf_like(1, 2);

/* One line on stderr, with "cogo: " before it. Allocates nothing. */
COLD void cogo_warn(const char *fmt, ...) printf_like(1, 2);

/* Text on stderr as it is: the lines of a report. */
COLD void report(const char *fmt, ...) printf_like(1, 2);

/* An invariant: checked always, cheap enough to be. */
#define invariant(cond) \
	(likely(cond) ? (void)0 : cogo_throw("%s:%d: broken: %s", __FILE__, \
					     __LINE__, #cond))

#endif
