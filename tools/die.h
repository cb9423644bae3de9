/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* die.h - how cogo-run gives up, and memory that is there or it does. */
#ifndef COGO_TOOLS_DIE_H
#define COGO_TOOLS_DIE_H

#include <stdarg.h>

/* As env(1) has them. */
enum {
	EXIT_OURS = 125,
	EXIT_CANNOT = 126,
	EXIT_NOT_FOUND = 127,
};

/* Says it on stderr, in one line, and ends. */
__attribute__((noreturn, format(printf, 2, 3))) void
die(int status, const char *format, ...);

/* What malloc gave, which is not NULL. */
void *must(void *memory);

/* What printf would print, to be freed. */
__attribute__((format(printf, 1, 2))) char *text(const char *format, ...);
__attribute__((format(printf, 1, 0))) char *vtext(const char *format, va_list ap);

#endif
