/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/errno.h - libc's error number, of the thread that asks now.
 *
 * errno itself is the variable at an address that compilers keep: see OPAQUE. In
 * a function that waits, or is compiled into one, it may be the variable of the
 * kernel thread of before, where storage is shared. */
#ifndef COGO_BASE_ERRNO_H
#define COGO_BASE_ERRNO_H

#include <errno.h>

/* Any thread, a signal handler. */
int errno_get(void);
void errno_set(int error);

#endif
