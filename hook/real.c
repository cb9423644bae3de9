/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/real.c - libc's own functions behind the names we stand in front of. */
#include "hook/real.h"
#include <dlfcn.h>

_Atomic(void *) real_table[REAL_COUNT];

static const char *const names[REAL_COUNT] = {
#define HOOK(name, ...) [REAL_##name] = #name,
#define ALSO(name, ...) [REAL_##name] = #name,
#define PASS(name, ...)
#define GROUP(...)
#include "hook/names.def"
};

static const char *const first_versions[] = {
	"GLIBC_2.2.5", "GLIBC_2.4", "GLIBC_2.17",
};

void *real_find(enum real_name name)
{
	/* Two threads may look at once: they find the same. */
	void *fn = dlsym(RTLD_NEXT, names[name]);

	/* Some are there for old programs alone, under a version from when libc
	 * began with them. */
	for (size_t i = 0; !fn && i < ARRAY_SIZE(first_versions); i++)
		fn = dlvsym(RTLD_NEXT, names[name], first_versions[i]);
	atomic_store_explicit(&real_table[name], fn, memory_order_release);
	return fn;
}
