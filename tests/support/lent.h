/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* lent.h - what hook/ lends the unwinder, for tests that link the floors below it,
 * and a kernel thread's end. */
#ifndef TESTS_SUPPORT_LENT_H
#define TESTS_SUPPORT_LENT_H

#include "coro/self.h"
#include "fault/unwind.h"
#include "go.h"
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

static pthread_key_t lent_key;

static inline void lent_thread_ends(void *arg)
{
	struct coro *me = arg;

	if (self() != me)
		return;
	go_thread_ends(me);
	go_thread_ended(me, false);
}

static inline void lent_adopted(struct coro *c)
{
	pthread_setspecific(lent_key, c);
}

/* libc_jump: not a sanitizer's siglongjmp, which would ask libc about a stack that
 * is not libc's. */
static inline void lent_use(bool libc_jump)
{
	static struct unwind_libc lent = {
		.jump = siglongjmp, .open = dlopen, .abort = abort,
	};

	/* Declared nowhere any more, or not for code with exceptions; libc has
	 * them all the same. */
	*(void **)&lent.push = dlsym(RTLD_DEFAULT, "_pthread_cleanup_push");
	*(void **)&lent.pop = dlsym(RTLD_DEFAULT, "_pthread_cleanup_pop");
	*(void **)&lent.enter = dlsym(RTLD_DEFAULT, "__pthread_register_cancel");
	*(void **)&lent.leave = dlsym(RTLD_DEFAULT, "__pthread_unregister_cancel");
	if (libc_jump)
		*(void **)&lent.jump = dlsym(dlopen("libc.so.6", RTLD_NOW),
					     "siglongjmp");
	unwind_use(&lent);
	if (pthread_key_create(&lent_key, lent_thread_ends) == 0)
		self_use(lent_adopted);
}

#endif
