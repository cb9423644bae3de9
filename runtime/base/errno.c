/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/errno.c - libc's error number, asked for anew each time.
 *
 * It is its kernel thread's alone. A handler that comes while ThreadSanitizer goes
 * from one fiber to another is taken for somebody else, who has not yet heard of
 * what the first had written. */
#include "base/errno.h"
#include "base/compiler.h"
#include "base/sanitize.h"

OPAQUE SANITIZE_GLANCES int errno_get(void)
{
	return errno;
}

OPAQUE SANITIZE_GLANCES void errno_set(int error)
{
	errno = error;
}
