/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/real.c - libc's own functions behind the names we stand in front of. */
#include "hook/real.h"
#include <dlfcn.h>

_Atomic(void *) real_table[REAL_COUNT];

static const char *const names[REAL_COUNT] = {
#define HOOK(name, ...) [REAL_##name] = #name,
#define ALSO(name, ...) [REAL_##name] = #name,
#define PASS(name, ...)
#include "hook/names.def"
};

void *real_find(enum real_name name)
{
	/* Two threads may look at once: they find the same. */
	void *fn = dlsym(RTLD_NEXT, names[name]);

	atomic_store_explicit(&real_table[name], fn, memory_order_release);
	return fn;
}
