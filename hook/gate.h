/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/gate.h - shall this call be ours?
 *
 * gate_coro() is the coroutine that calls and can park; NULL on every kernel
 * thread, on a bound coroutine, on a worker's own stack, before the runtime
 * is up: then the call goes to libc as if we were not there. */
#ifndef COGO_HOOK_GATE_H
#define COGO_HOOK_GATE_H

#include "coro/self.h"
#include "fault/door.h"
#include <errno.h>

static inline struct coro *gate_coro(void)
{
	struct coro *me = self();

	return likely(me && !me->bound) ? me : NULL;
}

/* What the kernel would have refused with EFAULT, as far as we can know without
 * asking it: nothing is ever mapped there. */
static inline bool gate_bad_pointer(const void *p)
{
	return (uintptr_t)p < PAGE_SIZE;
}

/* libc's convention from the kernel's: -1 and errno. The address of errno is
 * asked for here, after the last park: see coro/self.h. */
NOINLINE long gate_errno(long r);

static inline long gate_return(long r)
{
	return likely(r >= 0) ? r : gate_errno(r);
}

/* Threads become coroutines in this process. */
bool gate_threads(void);

/* An interrupted wait: runs what interrupted it (handlers, cancellation), with
 * the door open. 0: the call shall be tried again; -EINTR: it shall return.
 * restartable: whether SA_RESTART applies to the call. */
int gate_interrupted(struct coro *me, bool restartable);

#endif
