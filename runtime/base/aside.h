/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/aside.h - descriptors of the runtime's own, out of the program's way.
 *
 * A program counts on getting the lowest free numbers, on every number below
 * its limit being its own, and on its limit: so ours lie above that, where no
 * call of the program's reaches, and they can be had when the program has none
 * free. Where the limit cannot be raised for a moment (it is the hard one, and
 * we are not privileged), they are near the top of the program's. */
#ifndef COGO_BASE_ASIDE_H
#define COGO_BASE_ASIDE_H

/* What the system call nr makes, moved aside; or -errno. */
int aside_make(long nr, long a, long b);
/* A copy of fd aside, which stays as it is; or -errno. */
int aside_copy(int fd);

#endif
