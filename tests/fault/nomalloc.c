/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* nomalloc.c - to be preloaded: an allocator that runs dry.
 *
 * NOMALLOC_NTH=n refuses the n-th allocation of the process, NOMALLOC_FROM=n
 * that and all after it. At the process's end "allocations: N" is said on
 * standard error, when NOMALLOC_SAY is set. It is every library's allocator,
 * libc's own and the loader's included. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

extern char **environ;

static _Atomic long seen;
static _Atomic int ready;
static long nth, from;

/* Before any constructor: the first allocation is long before ours. */
static long setting(const char *name)
{
	size_t n = strlen(name);

	for (char **e = environ; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			return strtol(*e + n + 1, NULL, 10);
	return 0;
}

static int refuses(void)
{
	long n;

	if (!ready && environ) {
		nth = setting("NOMALLOC_NTH");
		from = setting("NOMALLOC_FROM");
		ready = 1;
	}
	n = ++seen;
	if ((nth && n == nth) || (from && n >= from)) {
		errno = ENOMEM;
		return 1;
	}
	return 0;
}

void *malloc(size_t n)
{
	return refuses() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return refuses() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return refuses() ? NULL : __libc_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
	return refuses() ? NULL : __libc_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	void *p = memalign(align, n);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

__attribute__((destructor)) static void say(void)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "allocations: %ld\n", (long)seen);

	if (setting("NOMALLOC_SAY") && write(2, line, (size_t)n) < 0)
		return;
}
