/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/kernel.h - a coroutine before the kernel: as the thread it runs on.
 *
 * Some locks are known outside of this process or to the kernel itself: process-
 * shared, robust, and with priorities. They hold a thread's id, and the kernel
 * looks after them when that thread ends. Such calls go to libc, and the
 * coroutine is bound to its kernel thread from the first that gets it such a
 * lock until the last is released.
 *
 *	struct kernel_call k;
 *	kernel_enter(&k);
 *	r = REAL(pthread_mutex_lock)(m);
 *	kernel_leave(&k, r == 0 ? +1 : 0);
 *
 * In between the thread's id in libc's eyes is the kernel's; the door is open,
 * so handlers run. All of it does nothing on a kernel thread. */
#ifndef COGO_HOOK_THREAD_KERNEL_H
#define COGO_HOOK_THREAD_KERNEL_H

#include "coro/coro.h"

/* At load: what libc has told the kernel of its first thread shows where a
 * thread's list is. */
void kernel_load(void);

struct kernel_call {
	struct coro *me;	/* NULL: a kernel thread */
	int tid;		/* the coroutine's own, to be put back */
};

void kernel_enter(struct kernel_call *k);
/* held: +1 when the call got a lock, -1 when it released one. */
void kernel_leave(struct kernel_call *k, int held);

/* For longer: me keeps its kernel thread, which has its list of robust locks,
 * until as many releases. Nestable, with the above too. */
void bind_for_kernel(struct coro *me);
void unbind_for_kernel(struct coro *me);

/* The end of a thread: what it still holds of robust locks is left to the next
 * as its owner's legacy, as the kernel does when a thread ends. */
void kernel_thread_end(struct coro *me);

/* In the child of a fork, on the one thread there is: it holds nothing, and is a
 * kernel thread from now on. */
void kernel_fork_child(void);

#endif
