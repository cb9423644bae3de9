/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/sem.h - a count that can be waited for.
 *
 * One 64-bit word, laid out as glibc's: the value below, how many wait above.
 * Zeroed memory is a semaphore of value 0; there is nothing to destroy, and the
 * memory may go as soon as the last token was taken and nobody waits. */
#ifndef COGO_SYNC_SEM_H
#define COGO_SYNC_SEM_H

#include "coro/coro.h"

struct sem {
	_Atomic uint64_t word;
};

#define SEM_MOST 0x7fffffffu

/* Takes a token, if there is one. Any thread, a signal handler. */
bool sem_try_take(struct sem *s);

/* Parks for one: 0, -ETIMEDOUT, -EINTR or -ECANCELED. Inside the runtime. */
int sem_take(struct sem *s, cogo_time deadline);

/* Adds a token. -EOVERFLOW, or whether somebody waited: then sem_wake. Any
 * thread, a signal handler. */
int sem_give(struct sem *s);

/* Wakes one who waits. Only the address is used. Inside the runtime, or on a
 * thread that never was there and takes no signals meanwhile. */
void sem_wake(const struct sem *s);

#endif
