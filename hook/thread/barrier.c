/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/barrier.c - pthread_barrier_t, in glibc's layout.
 *
 * libc's pthread_barrier_init sets the words as we want them. A process-shared
 * one is libc's. */
#include "sync/barrier.h"
#include "hook/real.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include <pthread.h>

static inline struct barrier *word_of(pthread_barrier_t *b)
{
	return (struct barrier *)b;
}

static inline bool is_ours(pthread_barrier_t *b)
{
	return word_of(b)->flags == 0 && locks_ours();
}

HOOKED int pthread_barrier_wait(pthread_barrier_t *b)
{
	struct kernel_call k;
	struct coro *me;
	uint32_t round;
	int r;

	if (!is_ours(b)) {
		kernel_enter(&k);
		r = REAL(pthread_barrier_wait)(b);
		kernel_leave(&k, 0);
		return r;
	}
	me = locks_door();
	r = barrier_arrive(word_of(b), &round);
	while (r < 0) {
		locks_interrupted(me);
		r = barrier_again(word_of(b), round);
	}
	door_leave(me);
	return r ? PTHREAD_BARRIER_SERIAL_THREAD : 0;
}

HOOKED int pthread_barrier_destroy(pthread_barrier_t *b)
{
	struct coro *me;
	int r;

	if (!is_ours(b))
		return REAL(pthread_barrier_destroy)(b);
	me = locks_door();
	while ((r = barrier_drain(word_of(b))) == -EINTR || r == -ECANCELED)
		locks_interrupted(me);
	door_leave(me);
	return -r;
}
