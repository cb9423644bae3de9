/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/target.h - a program that is about to be executed: can it have us? */
#ifndef COGO_HOOK_TARGET_H
#define COGO_HOOK_TARGET_H

#include <stdbool.h>

/* False when we in LD_PRELOAD would do it harm: it is not for this machine, or its
 * loader is not glibc's. What cannot be read is left to exec. May run in a child of
 * vfork: nothing is allocated. */
bool target_takes_us(const char *path);
/* The same of a name that is looked for along PATH, as execvp does. */
bool target_in_path_takes_us(const char *file);
bool target_fd_takes_us(int fd);

#endif
