/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* dl_dynamic.c - a library with dynamic TLS: each thread gets its part when it
 * first asks for it. It is opened, used and closed again and again. */
#include <stdatomic.h>

static __thread long value = 17;
static __thread long large[1000] = {1, 2, 3};

/* In the program: counts destructors of this library. */
extern _Atomic int dl_dynamic_unloaded __attribute__((weak));

long dl_dynamic_swap(long to);

/* The last value this thread set; 17 if it set none. -1: damaged. */
long dl_dynamic_swap(long to)
{
	long was = value;

	if (large[2] != 3 || large[999] != (was == 17 ? 0 : was))
		return -1;
	value = large[999] = to;
	return was;
}

__attribute__((destructor)) static void destruct(void)
{
	if (&dl_dynamic_unloaded)
		atomic_fetch_add(&dl_dynamic_unloaded, 1);
}
