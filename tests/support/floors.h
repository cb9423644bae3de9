/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* floors.h - the runtime without the hooks, for tests of the native API.
 *
 * A test that links the floors below hook/ lends them what hook/ would. So it
 * runs under a sanitizer too, whose own stand-ins for libc's names are then the
 * only ones. */
#ifndef TESTS_SUPPORT_FLOORS_H
#define TESTS_SUPPORT_FLOORS_H

#include "base/conf.h"
#include "base/sanitize.h"
#include "boot.h"
#include "lent.h"
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

static inline int floors_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

static inline void floors_thread_ends(struct coro *me)
{
	(void)me;
}

/* What a program finds that has libcogo loaded; coroutines on so many workers.
 * With AddressSanitizer their storage is shared: of a thread that it has never met
 * it asks libc where its stack is, before anything that ends or is unwound, and
 * libc does not know coroutines unless hook/ answers for them. */
static inline void floors_load(int workers)
{
	static const struct boot_real real = {
		.start_thread = floors_thread,
		.thread_ends = floors_thread_ends,
		.thread_exit = pthread_exit,
		.abort = abort,
	};
	if (SANITIZE_ADDRESS)
		setenv("COGO_FORCE", "shared_tls", 0);
	boot_use(&real);
	lent_use(false);
	boot_load();
	conf.workers = workers;
}

#endif
