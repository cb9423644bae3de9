/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* lines.h - what printers print, and who reads it. */
#ifndef TESTS_HOOK_IO_LINES_H
#define TESTS_HOOK_IO_LINES_H

#include "io.h"

#define LINES 300
#define LINE "line %05d of a text that is long enough\n"

/* All of them, and nothing after them. */
static inline void *read_lines(void *arg)
{
	int fd = *(int *)arg, bad = 0;
	char want[64], seen[64];

	for (int i = 0; i < LINES; i++) {
		int n = snprintf(want, sizeof(want), LINE, i);

		memset(seen, 0, sizeof(seen));
		if (!read_all(fd, seen, (size_t)n))
			return NULL;
		bad += strcmp(seen, want) != 0;
	}
	return read(fd, seen, 1) == 0 && !bad ? arg : NULL;
}

#endif
