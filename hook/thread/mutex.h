/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/mutex.h - what a condition needs of its mutex. */
#ifndef COGO_HOOK_THREAD_MUTEX_H
#define COGO_HOOK_THREAD_MUTEX_H

#include "sync/mutex.h"
#include <pthread.h>
#include <stdbool.h>

/* Process-shared, robust, with priorities, or not a mutex at all: libc's. */
bool mutex_is_libcs(const pthread_mutex_t *m);

/* Before a wait: 0, or EPERM when it is not the caller's. *ret_word is what is
 * then to be let go of; NULL when the mutex was locked more than once, for then,
 * as with libc, it stays locked. */
int mutex_before_wait(pthread_mutex_t *m, struct mutex **ret_word);
/* The word has been taken back. */
void mutex_after_wait(pthread_mutex_t *m, const struct mutex *word);

#endif
