/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/gate.h - shall this call be ours?
 *
 * gate_coro() is the coroutine that calls and can park; NULL on every kernel
 * thread, on a worker's own stack, in a child of vfork, before the runtime is
 * up: then the call goes to libc as if we were not there. A bound coroutine
 * parks like any other, though it keeps its kernel thread meanwhile: signals
 * and cancellation find it where it waits. */
#ifndef COGO_HOOK_GATE_H
#define COGO_HOOK_GATE_H

#include "arch/syscall.h"
#include "coro/self.h"
#include "fault/door.h"
#include <errno.h>

COLD struct coro *gate_bound(struct coro *me);

static inline struct coro *gate_coro(void)
{
	struct coro *me = self();

	return likely(me && !me->bound) ? me : me ? gate_bound(me) : NULL;
}

/* What the kernel would have refused with EFAULT, as far as we can know without
 * asking it: nothing is ever mapped there. */
static inline bool gate_bad_pointer(const void *p)
{
	return (uintptr_t)p < PAGE_SIZE;
}

/* What a wait returns, negated like an error, when its coroutine is to end: a
 * number that the kernel never gives. Whoever gets it undoes what it has put up
 * and hands it on, and the hook itself acts, by gate_return. */
#define GATE_CANCELED 4095

/* libc's convention from the kernel's: -1 and errno. After the last park, with the
 * door open. */
NOINLINE long gate_errno(long r);

static inline long gate_return(long r)
{
	return likely(r >= 0) ? r : gate_errno(r);
}

/* To life, at the latest before there are threads: the first may be made by a
 * library's constructor that runs before ours. Any number of times. */
void gate_come_to_life(void);

/* Threads become coroutines in this process. */
bool gate_threads(void);

/* What the program calls by libc's names comes to us: it was preloaded with us, or
 * linked. In one that has loaded us later, as part of a plugin, it does not, and
 * what is the whole process's (signals, locks that others share) stays libc's.
 * Settled once, at load; false before. */
extern bool gate_ours;
void gate_load(void);
void locale_load(void);
void exec_load(void);

/* An interrupted wait: runs the handlers that interrupted it, with the door
 * open. 0: the call shall be tried again; -EINTR: it shall return;
 * -GATE_CANCELED. restartable: whether SA_RESTART applies to the call. */
int gate_interrupted(struct coro *me, bool restartable);

/* The system call nr, on this kernel thread, which another takes the place of
 * meanwhile. A cancellation point. The kernel's result, or -GATE_CANCELED. */
#define gate_sleep(me, why, restartable, nr, ...) \
	gate_sleep_args(me, why, restartable, nr, (const long[6]){ __VA_ARGS__ })
long gate_sleep_args(struct coro *me, enum why why, bool restartable, long nr,
		     const long args[6]);

/* The same for what ends by itself, as what a disk has to do: who is told of its
 * cancellation is not told here, and the call is made. */
#define gate_finish(me, why, restartable, nr, ...) \
	gate_finish_args(me, why, restartable, nr, (const long[6]){ __VA_ARGS__ })
long gate_finish_args(struct coro *me, enum why why, bool restartable, long nr,
		      const long args[6]);

/* The bare call in that, for one that has a loop of its own around it, between
 * block_enter and block_exit: -EINTR when something has come up, then or before,
 * and gate_interrupted is to be asked. */
static inline long gate_call(struct coro *me, long nr, const long args[6])
{
	return arch_syscall_unless(&me->interrupt, nr, args);
}

/* The call made in spite of a cancellation, with such a section around it. */
long gate_uncanceled(struct coro *me, enum why why, long nr, const long args[6]);

#endif
