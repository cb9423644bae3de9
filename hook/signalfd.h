/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/signalfd.h - descriptors that tell of signals.
 *
 * To whoever looks at one the kernel shows what is pending for the process, and
 * for the kernel thread that looks. What is pending for a coroutine alone the
 * kernel does not know: so it is lent to the kernel thread for as long as the
 * look takes. Nothing of this costs anything where no signalfd was ever made. */
#ifndef COGO_HOOK_SIGNALFD_H
#define COGO_HOOK_SIGNALFD_H

#include "fault/signal.h"
#include "hook/io.h"
#include <stdatomic.h>

/* Every signal that a signalfd of this process was ever made for. */
extern _Atomic sigbits signalfd_signals;

static inline sigbits signalfd_any(void)
{
	return atomic_load_explicit(&signalfd_signals, memory_order_relaxed);
}

/* A look at several descriptors, in a wait that begins with signalfd_begin and
 * ends with signalfd_end: what comes for the caller in between, blocked or not,
 * breaks the wait off. `look` is to be made once at first, and again after the
 * wait was broken off: not after other news, which the look itself may be. */
static inline void signalfd_begin(struct coro *me)
{
	if (unlikely(signalfd_any()))
		signal_watch(me, signalfd_any());
}

static inline void signalfd_end(struct coro *me)
{
	if (unlikely(signalfd_any()))
		signal_watch(me, 0);
}

/* sys_call, made with the loan; it looks at these. */
struct pollfd;
COLD long signalfd_look(struct coro *me, const struct pollfd *fds, unsigned n,
			long nr, const long args[6]);

/* Whether fd is one; asked only where there may be any. */
COLD bool signalfd_is(int fd);
COLD long signalfd_read(struct coro *me, int fd, const struct io_vec *v);

#endif
