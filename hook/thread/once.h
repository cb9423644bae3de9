/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/once.h - pthread_once, for C11's sake. */
#ifndef COGO_HOOK_THREAD_ONCE_H
#define COGO_HOOK_THREAD_ONCE_H

#include <pthread.h>

/* When threads are ours. */
void once_run(pthread_once_t *o, void (*fn)(void));

#endif
