/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* near.c - a library that the program finds by its own RUNPATH, and that
 * finds another by its RUNPATH, which the program has not. */
#include <dlfcn.h>
#include <stddef.h>

int near_value(void);
int near_asks_far(void);

int near_value(void)
{
	return 1000;
}

/* -1: far was not found from here. */
int near_asks_far(void)
{
	void *far = dlopen("libdlfar.so", RTLD_NOW | RTLD_LOCAL);
	int (*value)(void);
	int ret;

	if (far == NULL)
		return -1;
	*(void **)&value = dlsym(far, "far_value");
	ret = value ? value() : -2;
	dlclose(far);
	return ret;
}
