/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/ident.h - what the kernel keeps per thread: for syscall(), and for names. */
#ifndef COGO_HOOK_IDENT_H
#define COGO_HOOK_IDENT_H

#include <stdbool.h>

struct coro;

/* Whether that system call changes the kernel thread that makes it. */
bool ident_changes_thread(long nr);
/* Then it, with the caller bound for good if it succeeds. errno's convention. */
long ident_call(long nr, const long args[6]);

/* The caller's name, which may be one that --bind leaves a kernel thread to. */
void ident_set_name(struct coro *me, const char *name);

#endif
