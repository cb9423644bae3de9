/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/errno.c - libc's error number, asked for anew each time. */
#include "base/errno.h"
#include "base/compiler.h"

OPAQUE int errno_get(void)
{
	return errno;
}

OPAQUE void errno_set(int error)
{
	errno = error;
}
