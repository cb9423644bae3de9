/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* load_friend.c - a library that looks for another in a folder of its own,
 * which the program does not know: by RUNPATH, and by $ORIGIN. Who looks is
 * known by the address that dlopen returns to, so no jump will do for a call. */
#include <dlfcn.h>

void *load_friend_by_name(void);
void *load_friend_by_name(void)
{
	void *volatile lib = dlopen("libload_aside.so", RTLD_NOW | RTLD_LOCAL);

	return lib;
}

void *load_friend_by_origin(void);
void *load_friend_by_origin(void)
{
	void *volatile lib = dlopen("$ORIGIN/aside/libload_aside.so",
				    RTLD_NOW | RTLD_LOCAL);

	return lib;
}
