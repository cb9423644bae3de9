/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"
#include "hook/real.h"
#include <dlfcn.h>

static const char *const names[REAL_COUNT] = {
#define HOOK(name, ...) [REAL_##name] = #name,
#define ALSO(name, ...) [REAL_##name] = #name,
#define PASS(name, ...)
#define GROUP(...)
#include "hook/names.def"
};

static void *by_dlsym(const char *name)
{
	static const char *const versions[] = {
		"GLIBC_2.2.5", "GLIBC_2.4", "GLIBC_2.17",
	};
	void *fn = dlsym(RTLD_NEXT, name);

	for (int i = 0; !fn && i < 3; i++)
		fn = dlvsym(RTLD_NEXT, name, versions[i]);
	return fn;
}

Test(real, each_name_leads_where_dlsym_leads)
{
	int found = 0;

	real_load();
	for (int i = 0; i < REAL_COUNT; i++) {
		void *fn = real_get((enum real_name)i);

		if (fn != by_dlsym(names[i]))
			printf("%s\n", names[i]);
		check(fn == by_dlsym(names[i]));
		found += fn != NULL;
	}
	/* Not all libc's have all of them. */
	check(found > REAL_COUNT * 3 / 4);
}

Test(real, what_dlerror_has_to_say_stays)
{
	const char *said;

	real_load();
	for (int i = 0; i < REAL_COUNT; i++) {
		if (!by_dlsym(names[i]))
			continue;
		atomic_store(&real_table[i], NULL);
		check(!dlopen("libnone.so", RTLD_NOW));
		check(real_get((enum real_name)i) != NULL);
		said = dlerror();
		check(said && strstr(said, "libnone.so"));
	}
}
