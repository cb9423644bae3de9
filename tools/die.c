/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* die.c - how cogo-run gives up, and memory that is there or it does. */
#include "die.h"

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

char *vtext(const char *format, va_list ap)
{
	char *s;

	return must(vasprintf(&s, format, ap) < 0 ? NULL : s);
}

char *text(const char *format, ...)
{
	va_list ap;
	char *s;

	va_start(ap, format);
	s = vtext(format, ap);
	va_end(ap);
	return s;
}
