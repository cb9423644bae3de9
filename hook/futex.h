/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/futex.h - syscall(SYS_futex, …), by which Rust's and C++'s libraries
 * sleep. */
#ifndef COGO_HOOK_FUTEX_H
#define COGO_HOOK_FUTEX_H

#include "coro/coro.h"
#include <time.h>

/* From now on there may be words that the kernel clears and wakes at by itself (at
 * the end of a thread of clone's, of a robust list), or somebody in our memory whom
 * no hook sees. */
void futex_others_wake(void);

/* As the system call, for whom the caller is: a result or -errno. Where the
 * call takes a number in place of t, it is in t. Every door open. */
long futex_call(struct coro *me, uint32_t *addr, int op, uint32_t val,
		const struct timespec *t, uint32_t *addr2, uint32_t val3);

#endif
