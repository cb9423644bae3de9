/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/bare.h - a kernel thread that libc has not heard of.
 *
 * libc's pthread_create allocates, through the program's malloc; and a malloc may
 * have a lock, which is ours to keep, and whose holder may be a coroutine that
 * waits for a worker. So a worker that is made because all others are stuck must
 * be made without: from mapped memory, a copy of a thread's storage (tls_copy),
 * and the kernel. Such a thread runs the runtime, and coroutines on storage of
 * their own; libc needs to know of neither. */
#ifndef COGO_SCHED_BARE_H
#define COGO_SCHED_BARE_H

/* libc's clone, which we hook; where none is given, or no coroutine has storage
 * of its own, there are no bare threads. */
typedef int (*bare_clone_fn)(int (*fn)(void *), void *stack, int flags,
			     void *arg, ...);
void bare_use(bare_clone_fn clone);

/* Once, on a thread of the program's: what is copied later. -ENOMEM, or -ENOSYS
 * where there can be none. */
int bare_init(void);

/* The thread runs entry(arg), with the signal mask of the caller, and ends with
 * it. No locks but ours, and no malloc. 0 or -errno; -ENOSYS as above. */
int bare_start(void *(*entry)(void *), void *arg);

/* All have left their entries: waits until the kernel is done with them, and gives
 * their memory back. */
void bare_rest(void);

void bare_fork_child(void);

#endif
