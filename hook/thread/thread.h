/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/thread.h - what a coroutine is to pthreads. */
#ifndef COGO_HOOK_THREAD_THREAD_H
#define COGO_HOOK_THREAD_THREAD_H

#include "coro/coro.h"
#include <pthread.h>
#include <signal.h>

struct thread {
	struct thread *free;		/* slab link */
	struct coro *coro;
	void *(*start)(void *);
	void *arg;
	void *result;
	_Atomic uint32_t ended;		/* joiners wait for it in the lot */
	_Atomic uint32_t life;		/* THREAD_* */
	stack_t altstack;		/* sigaltstack's */
	void *joiner;			/* the coroutine that joins, for EDEADLK */
};
enum { THREAD_JOINABLE = 1, THREAD_DETACHED, THREAD_JOINED };

/* The descriptor of a pthread_t that is a coroutine's; NULL for kernel
 * threads and for handles that are no longer good. */
struct thread *thread_find(pthread_t handle);

#endif
