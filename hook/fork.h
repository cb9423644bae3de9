/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/fork.h - one process becomes two. */
#ifndef COGO_HOOK_FORK_H
#define COGO_HOOK_FORK_H

#include "coro/self.h"
#include <stdbool.h>
#include <sys/types.h>

/* fork(), for those who make a child on the program's behalf. */
pid_t fork_now(void);

/* Whether the caller is a child of vfork: another process that runs in our
 * memory until it execs. What it does to its descriptors, its signals or its
 * identity is not done to ours, so nothing may be noted down. */
static inline bool fork_vforked(void)
{
	struct coro *me = self();

	return me && me->vforked;
}

/* syscall(SYS_clone, …): whether those arguments make a process with memory of
 * its own on the caller's stack, and then it. errno's convention. */
bool fork_is_one(const long args[6]);
long fork_by_clone(const long args[6]);

/* The caller's kernel thread has made a child: it is somebody's parent now, and
 * descriptors that were this process's alone are so no more. */
void fork_shared(void);

#endif
