/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/sync.h - locks, conditions, counts: how those who share something wait
 * for one another.
 *
 * Every object serves coroutines and kernel threads alike, in any mixture, and
 * may lie anywhere. Zeroed memory is a ready object, of a word or two; there is
 * nothing to create and nothing to destroy. Who waits for it is kept elsewhere,
 * so a thousand idle objects cost a thousand words. The members are the
 * library's: look at them through its functions alone.
 *
 * Calls that wait park the coroutine; a kernel thread that runs none sleeps.
 * They come in two kinds:
 *
 * - Those that take a deadline (cogo/time.h), and cogo_sem_acquire, may be
 *   broken off. -ETIMEDOUT: the deadline has passed. -ECANCELED: the caller
 *   was cancelled; it is told so even where it would not have had to wait. In
 *   both cases it is as if the call had not been made: what might have been
 *   given to the caller has gone to somebody else. -ENOMEM: a kernel thread
 *   has never been here before, and there is no memory to know it by.
 * - The others are made for short waits, and as cleanups need them: they do not
 *   end before they have what they are for, cancelled or not.
 *
 * Signal handlers run while a call waits, and the wait goes on after them; none of
 * these functions may be called in one. Nothing here touches errno: functions
 * return 0 or a negative error. */
#ifndef COGO_SYNC_H
#define COGO_SYNC_H

#include "cogo/api.h"
#include "cogo/time.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- mutex ----
 *
 * One at a time. It knows who has it, and it is told when that went wrong: a
 * coroutine that ends, or a thread, and still holds a mutex, has left what the
 * mutex guards in nobody knows what state; so has one that panicked after it
 * had taken the mutex, and let go of it in a cleanup. Such a mutex is poisoned.
 * The next to lock it gets it, and -EOWNERDEAD: it looks after the data, says
 * cogo_mutex_consistent, and all is well again. If it unlocks the mutex without
 * saying so, the data is lost, and everybody's call to lock it fails with
 * -ENOTRECOVERABLE from then on, until the memory is zeroed, with nobody there.
 * One who lets go in a cleanup because it was cancelled does not poison.
 *
 * The memory may go as soon as nobody has it, or will use it any more: an unlock
 * does not touch it once another could have locked it. */
struct cogo_mutex {
	uint32_t word, owner;
} __attribute__((aligned(8)));

/* Waits until the mutex is the caller's: 0, or -EOWNERDEAD when it is, and
 * poisoned. It is not the caller's after -ENOTRECOVERABLE, nor after -EDEADLK:
 * the caller has it already. No cancellation point. Without memory to note
 * down that the caller holds one more (it may hold a few without any) it gets
 * the mutex all the same; but if it ends holding it, nobody will be told, and
 * whoever waits for it waits for ever. */
COGO_API int cogo_mutex_lock(struct cogo_mutex *m);

/* The same, until the deadline: also -ETIMEDOUT, -ECANCELED or -ENOMEM. */
COGO_API int cogo_mutex_lock_until(struct cogo_mutex *m, cogo_time deadline);

/* The same without waiting: -EBUSY where somebody has it, be it the caller;
 * -EOWNERDEAD and -ENOTRECOVERABLE as above. Never parks. */
COGO_API int cogo_mutex_trylock(struct cogo_mutex *m);

/* Lets go of it: 0, or -EPERM when the caller does not have it. Never parks. */
COGO_API int cogo_mutex_unlock(struct cogo_mutex *m);

/* Says that what a poisoned mutex guards is in order again: 0, -EPERM when the
 * caller does not have it, -EINVAL when it is not poisoned. Never parks. */
COGO_API int cogo_mutex_consistent(struct cogo_mutex *m);

/* ---- condition ----
 *
 * Waiting for something that others change under a mutex:
 *
 *	static struct cogo_mutex m;
 *	static struct cogo_cond c;
 *	int r = 0;
 *
 *	cogo_mutex_lock(&m);
 *	while (r == 0 && queue_is_empty())
 *		r = cogo_cond_wait(&c, &m, cogo_in(COGO_SEC));
 *
 * The memory may go once everybody who waits has been signalled to or has
 * returned. */
struct cogo_cond {
	uint32_t word;
};

/* Lets go of m, which the caller has, waits, and takes m back: 0 when signalled
 * to, and perhaps without; -ETIMEDOUT, -ECANCELED, -ENOMEM. Whatever it returns,
 * m is the caller's as it was before, with one exception. Where m has been
 * poisoned meanwhile, that is what the caller is told: -EOWNERDEAD, or
 * -ENOTRECOVERABLE, and then alone m is not the caller's. Nor will anybody let
 * go of an m that is poisoned already: -EOWNERDEAD at once. -EPERM: the caller
 * does not have m. A signal to one that is cancelled instead wakes another. */
COGO_API int cogo_cond_wait(struct cogo_cond *c, struct cogo_mutex *m,
			    cogo_time deadline);

/* Wakes one who waits, or all. Without the mutex, too. Never parks. */
COGO_API void cogo_cond_signal(struct cogo_cond *c);
COGO_API void cogo_cond_broadcast(struct cogo_cond *c);

/* ---- read-write lock ----
 *
 * Many readers or one writer, and neither starves the other: readers who come
 * while a writer waits wait behind it, and a writer that goes lets in the
 * readers who wait. So one that reads already must not read-lock it again: a
 * writer may have come in between, and each would wait for the other.
 *
 * The memory may go as soon as nobody will use it any more. */
struct cogo_rwlock {
	uint32_t word, writer;
};

/* Waits until the caller is in, to read: 0; -EDEADLK, it writes already; -EAGAIN, a
 * quarter of a billion readers are in. No cancellation point. */
COGO_API int cogo_rwlock_read_lock(struct cogo_rwlock *l);

/* The same, until the deadline: also -ETIMEDOUT, -ECANCELED or -ENOMEM. */
COGO_API int cogo_rwlock_read_lock_until(struct cogo_rwlock *l,
					 cogo_time deadline);

/* The same without waiting: -EBUSY, or -EAGAIN as above. Never parks. */
COGO_API int cogo_rwlock_read_trylock(struct cogo_rwlock *l);

/* Waits until the caller is in, to write: 0, or -EDEADLK, it does already. No
 * cancellation point. */
COGO_API int cogo_rwlock_write_lock(struct cogo_rwlock *l);

/* The same, until the deadline: also -ETIMEDOUT, -ECANCELED or -ENOMEM. */
COGO_API int cogo_rwlock_write_lock_until(struct cogo_rwlock *l,
					  cogo_time deadline);

/* The same without waiting: -EBUSY. Never parks. */
COGO_API int cogo_rwlock_write_trylock(struct cogo_rwlock *l);

/* Lets go of it, as the writer or one of the readers: 0, or -EPERM when nobody
 * is in, or a writer that is not the caller. Never parks. */
COGO_API int cogo_rwlock_unlock(struct cogo_rwlock *l);

/* ---- semaphore ----
 *
 * A number of tokens. The memory may go once the last token that will be
 * released has been acquired, and nobody waits. */
struct cogo_sem {
	uint64_t word;
};
#define COGO_SEM_INIT(tokens) { (uint32_t)(tokens) }
#define COGO_SEM_MOST 0x7fffffffu

/* Waits for a token and takes it: 0, -ECANCELED, -ENOMEM. */
COGO_API int cogo_sem_acquire(struct cogo_sem *s);

/* The same, until the deadline: also -ETIMEDOUT. */
COGO_API int cogo_sem_acquire_until(struct cogo_sem *s, cogo_time deadline);

/* Takes a token if there is one: 0 or -EBUSY. Never parks. */
COGO_API int cogo_sem_tryacquire(struct cogo_sem *s);

/* Adds n tokens, and wakes as many: 0, or -EOVERFLOW when there would be more
 * than COGO_SEM_MOST, and none is added. Never parks. */
COGO_API int cogo_sem_release(struct cogo_sem *s, uint32_t n);

/* ---- barrier ----
 *
 * So many go on together, again and again. The memory may go once every wait
 * has returned. */
struct cogo_barrier {
	uint32_t here, round;
};

/* Waits until `count` wait here, of whom all say the same count: 1 for the last
 * to come, 0 for the others. -EINVAL for a count of 0; -ETIMEDOUT, -ECANCELED,
 * -ENOMEM: the caller has left, and counts no more. */
COGO_API int cogo_barrier_wait(struct cogo_barrier *b, uint32_t count,
			       cogo_time deadline);

/* ---- once ----
 *
 * Something is done once, by whoever comes first. The memory may go when
 * nobody will call any more. */
struct cogo_once {
	uint32_t word, owner;
};

/* Calls fn(arg), unless that has been done, or waits while somebody else does.
 * When it returns it has been done, once, and what was done is seen. If fn is
 * left otherwise than by returning (a panic, a cancellation that unwinds,
 * pthread_exit, an exception), it was not done: another caller does it. fn must
 * not come to the same call: that aborts. No cancellation point. */
COGO_API void cogo_once_do(struct cogo_once *o, void (*fn)(void *), void *arg);

/* A value that is made when it is first asked for. */
struct cogo_lazy {
	struct cogo_once once;
	void *value;
};

/* The value, which is what fn(arg) returned to the first who asked. While fn
 * returns NULL there is none: that caller gets NULL, the next tries again. As
 * cogo_once_do otherwise. The value is the program's to free. */
COGO_API void *cogo_lazy_get(struct cogo_lazy *l, void *(*fn)(void *), void *arg);

/* ---- wait group ----
 *
 * It counts work in flight. Its memory may go, and it may be used anew, as soon
 * as every wait on it has returned. */
struct cogo_waitgroup {
	uint32_t count;
};

/* Adds delta, which may be negative. The call that reaches zero wakes all
 * waiters. Going below zero is a bug, as is going beyond INT32_MAX, and
 * aborts. Never parks. */
COGO_API void cogo_waitgroup_add(struct cogo_waitgroup *wg, int32_t delta);

/* Adds -1. */
COGO_API void cogo_waitgroup_done(struct cogo_waitgroup *wg);

/* Waits until the count is zero: 0, -ETIMEDOUT, -ECANCELED or -ENOMEM. */
COGO_API int cogo_waitgroup_wait(struct cogo_waitgroup *wg, cogo_time deadline);

/* ---- latch ----
 *
 * Something that happens once and stays so. Its memory may go once it has been
 * fired and every wait on it has returned. */
struct cogo_latch {
	uint32_t word;
};

/* It happens: all who wait go on, and nobody waits any more. True for the one
 * call that made it so. Never parks. */
COGO_API bool cogo_latch_fire(struct cogo_latch *l);

/* Whether it has happened. Never parks. */
COGO_API bool cogo_latch_fired(const struct cogo_latch *l);

/* Waits until it has: 0, -ETIMEDOUT, -ECANCELED or -ENOMEM. */
COGO_API int cogo_latch_wait(struct cogo_latch *l, cogo_time deadline);

#ifdef __cplusplus
}
#endif

#endif
