/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* boot.h - start, stop, fork: the order of everything, on one page. */
#ifndef COGO_BOOT_H
#define COGO_BOOT_H

#include <stdbool.h>

/* What the floors above lend: libc's own functions behind names we hook. */
struct coro;
struct boot_real {
	/* pthread_create, with every signal blocked and the smallest sensible
	 * stack: the thread runs entry(arg) and never returns. 0 or -errno. */
	int (*start_thread)(void *(*entry)(void *), void *arg);
	/* Waits until all that were started so are gone, but for those that have
	 * called the other: which one does that ends by itself. NULL: nobody
	 * waits. */
	void (*join_threads)(void);
	void (*thread_leaves)(void);
	/* What belongs to the end of a thread; see go.h. */
	void (*thread_ends)(struct coro *me);
	void (*thread_exit)(void *result);
	void (*abort)(void);
	/* libc's clone. */
	int (*clone)(int (*fn)(void *), void *stack, int flags, void *arg, ...);
};

/* The settings alone: good before anything else is. Idempotent. */
void boot_conf(void);

/* At load: settings, CPU, libc. Starts no thread, may be called before libc
 * is fully up. Idempotent. */
void boot_load(void);

/* Where boot_start gets its threads from. */
void boot_use(const struct boot_real *real);

/* At first need: poller, workers, monitor. 0 or -errno. Idempotent; any
 * thread, not inside the runtime. */
int boot_start(void);
bool boot_started(void);

/* Ends every kernel thread of the runtime and gives its memory back. No coroutine
 * is left; -EBUSY where one is. The next boot_start begins afresh. A kernel thread
 * of the program's. */
int boot_stop(void);

/* Around the kernel's fork, on whatever stack the caller is, inside the
 * runtime; nothing is started or laid out in between. */
struct coro;
void boot_before_fork(void);
void boot_after_fork_parent(void);
/* The child has one kernel thread, which is the caller's own from now on: me,
 * or NULL if it was never adopted. Nothing is started; the next boot_start
 * begins afresh. libc_forked: by libc's fork, which puts its own house in
 * order, and not by _Fork or clone. */
void boot_after_fork_child(struct coro *me, bool libc_forked);

#endif
