/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/load.c - dlopen.
 *
 * dlopen looks at its return address: a name without a slash is looked for
 * along the RUNPATH of the module that calls, and $ORIGIN is that module's
 * directory. So our hook must not stand between. It is a jump (load-CPU.S): to
 * libc's dlopen, with everything as the caller left it. Nothing else is needed,
 * since coroutines are on libc's list of threads (mem/tls.c): the caller's own
 * thread pointer is right for the constructors, and static TLS comes to every
 * block before they run.
 *
 * The one thing that is in the way is a stack too small for constructors. Then
 * the call is made from here, on a borrowed stack, and the caller's search path
 * is followed by hand. Two other ways were refused. A return address forged to
 * lie in the caller's module (any `ret` found there would do) is what a shadow
 * stack exists to stop, and has no like on aarch64. Searching by hand always
 * would be wrong in small things: a library found by us has the path for its
 * name, and not the name that it was asked for by. */
#include "base/sys.h"
#include "hook/bigstack.h"
#include "hook/real.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef LA_SER_DEFAULT
#define LA_SER_DEFAULT 0x40
#endif

struct load {
	const char *file;
	int mode;
	const struct link_map *caller;
};

static void *open_library(const char *file, int mode)
{
	return REAL(dlopen)(file, mode);
}

/* The directory of a module; the main program has no name of its own. */
static bool directory_of(const struct link_map *map, char *ret, size_t size)
{
	char *slash;
	long n;

	if (*map->l_name)
		n = snprintf(ret, size, "%s", map->l_name);
	else
		n = sys_call(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", ret,
			     size - 1);
	if (n < 0 || n >= (long)size)
		return false;
	ret[n] = 0;
	slash = strrchr(ret, '/');
	if (slash)
		*slash = 0;
	return slash != NULL;
}

/* $ORIGIN stands at the front or nowhere. */
static void *open_path(const struct load *l)
{
	static const char *const origins[] = { "$ORIGIN", "${ORIGIN}" };
	char path[PATH_MAX];
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(origins); i++) {
		n = strlen(origins[i]);
		if (strncmp(l->file, origins[i], n) != 0 ||
		    !directory_of(l->caller, path, sizeof(path)))
			continue;
		if (strlen(path) + strlen(l->file + n) >= sizeof(path))
			continue;
		strcat(path, l->file + n);
		return open_library(path, l->mode);
	}
	return open_library(l->file, l->mode);
}

/* The caller's search path as ld.so has it: RPATH, LD_LIBRARY_PATH, RUNPATH,
 * and then what is everybody's. */
static Dl_serinfo *path_of(const struct link_map *map)
{
	void *handle = (void *)(uintptr_t)map;
	Dl_serinfo size, *info;

	if (dlinfo(handle, RTLD_DI_SERINFOSIZE, &size) != 0)
		return NULL;
	info = malloc(size.dls_size);
	if (!info)
		return NULL;
	*info = size;
	if (dlinfo(handle, RTLD_DI_SERINFOSIZE, info) == 0 &&
	    dlinfo(handle, RTLD_DI_SERINFO, info) == 0)
		return info;
	free(info);
	return NULL;
}

static void *open_name(const struct load *l)
{
	char path[PATH_MAX];
	Dl_serinfo *info;
	void *lib;

	/* What is loaded already is found by its name, whoever asks. */
	lib = open_library(l->file, l->mode | RTLD_NOLOAD);
	info = lib ? NULL : path_of(l->caller);
	for (unsigned i = 0; info && !lib && i < info->dls_cnt; i++) {
		const Dl_serpath *at = &info->dls_serpath[i];
		int n;

		if (at->dls_flags & LA_SER_DEFAULT)
			break;
		n = snprintf(path, sizeof(path), "%s/%s", at->dls_name, l->file);
		if (n < (int)sizeof(path) &&
		    sys_call(SYS_faccessat, AT_FDCWD, path, R_OK) == 0)
			lib = open_library(path, l->mode);
	}
	free(info);
	return lib ? lib : open_library(l->file, l->mode);
}

static long load(void *arg)
{
	const struct load *l = arg;
	void *lib;

	if (!l->file || !l->caller || !*l->file)
		lib = open_library(l->file, l->mode);
	else if (strchr(l->file, '/'))
		lib = open_path(l);
	else
		lib = open_name(l);
	return (long)lib;
}

/* In dlopen's place, with its return address. */
static void *load_on_big_stack(const char *file, int mode, void *return_address)
{
	struct link_map *map = NULL;
	struct load l = { file, mode, NULL };
	Dl_info info;

	if (dladdr1(return_address, &info, (void **)&map, RTLD_DL_LINKMAP))
		l.caller = map;
	return (void *)bigstack_call(load, &l);
}

/* Where the jump goes. */
void *load_target(void);

void *load_target(void)
{
	return bigstack_needed() ? (void *)load_on_big_stack
				 : real_get(REAL_dlopen);
}
