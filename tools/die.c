/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* die.c - how cogo-run gives up, and memory that is there or it does. */
#include "die.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void die(int status, const char *format, ...)
{
	va_list ap;

	fputs("cogo-run: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

void *must(void *memory)
{
	if (memory == NULL)
		die(EXIT_OURS, "out of memory");
	return memory;
}

char *text(const char *format, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, format);
	n = vasprintf(&s, format, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}
