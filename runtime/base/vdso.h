/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/vdso.h - the clock, from the page that the kernel maps into every process. */
#ifndef COGO_BASE_VDSO_H
#define COGO_BASE_VDSO_H

#include <time.h>

/* As clock_gettime(2), but for errno; without a system call where the kernel says
 * how. libc's function of that name is hooked, and may be another library's. */
int vdso_clock(clockid_t clock, struct timespec *ret);

#endif
