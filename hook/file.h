/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/file.h - descriptors come and go. */
#ifndef COGO_HOOK_FILE_H
#define COGO_HOOK_FILE_H

#include <stdbool.h>

/* A number that the kernel has just given out, for a description of ours. What
 * the runtime still knows of an earlier one of that number (closed where we
 * did not see it) is forgotten. */
void file_made(int fd, bool nonblocking, bool socket);
/* The same for a description that others have too. */
void file_came(int fd);
/* The number is about to be closed or replaced. */
void file_goes(int fd);
/* It is closed: between the two somebody may have begun to wait for it. */
void file_went(int fd);

#endif
