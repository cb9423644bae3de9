/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/thread.h - what a coroutine is to pthreads. */
#ifndef COGO_HOOK_THREAD_THREAD_H
#define COGO_HOOK_THREAD_THREAD_H

#include "coro/coro.h"
#include <pthread.h>
#include <signal.h>

/* Who lets go of the descriptor: the joiner of one that has ended, who detaches
 * one that has ended, or a detached one itself. */
enum thread_life {
	THREAD_JOINABLE = 1, THREAD_DETACHED, THREAD_ENDED, THREAD_JOINED,
};

struct thread {
	struct thread *free;		/* slab link */
	struct coro *coro;
	void *(*start)(void *);
	void *arg;
	void *result;
	_Atomic uint32_t life;		/* enum thread_life; the joiner waits for
					 * it in the lot */
	_Atomic(struct coro *) joiner;	/* at most one, and for EDEADLK */
	bool own_stack;			/* the program gave the memory */
	size_t guard_size;
};

/* The descriptor of a coroutine's pthread_t; NULL for kernel threads, and for
 * handles of ours that are no longer good, which thread_is_ours tells. */
struct thread *thread_find(pthread_t handle);
/* The coroutine that a pthread_t names, a thread's or one of the native API, which
 * has no descriptor; NULL for kernel threads and for handles no longer good. */
struct coro *thread_coro(pthread_t handle);
bool thread_is_ours(pthread_t handle);

/* The destructors of pthread keys, in pthread's rounds; then no value is left. */
void thread_run_destructors(struct coro *me);

/* What of libc's belongs to the end of a thread, for a coroutine of any kind. */
void thread_ends(struct coro *me);

/* Once, on the main thread, at load. */
void thread_load(void);

/* In the child of a fork. first: the caller was its process's first thread. */
void thread_fork_child(bool first);

/* The process's first thread would end by the system call exit: with that
 * status, and without any handler. */
_Noreturn void thread_first_exits(int status);

/* A kernel thread is about to end by pthread_exit: if it is main, the process
 * ends with the last thread. */
void thread_leaves_main(void);

#endif
