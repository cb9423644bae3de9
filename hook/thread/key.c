/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/key.c - thread-specific data.
 *
 * The values lie in the thread's descriptor, which a coroutine has of its own,
 * so libc's getspecific and setspecific serve it as they are. Only the
 * destructors must be run by us when a coroutine ends, and libc does not say
 * which they are: so we remember what it was told. */
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/thread.h"
#include <limits.h>
#include <pthread.h>

static _Atomic(void (*)(void *)) destructors[PTHREAD_KEYS_MAX];
static _Atomic uint32_t end;	/* one past the highest key with a destructor */

HOOKED int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	int r = REAL(pthread_key_create)(key, destructor);
	uint32_t n = atomic_load_explicit(&end, memory_order_relaxed);

	if (r || *key >= PTHREAD_KEYS_MAX)
		return r;
	/* release: pairs with the acquire in thread_run_destructors. */
	atomic_store_explicit(&destructors[*key], destructor,
			      memory_order_release);
	while (destructor && *key >= n &&
	       !atomic_compare_exchange_weak_explicit(&end, &n, *key + 1,
						      memory_order_release,
						      memory_order_relaxed))
		;
	return 0;
}
ALIAS(__pthread_key_create, pthread_key_create);

HOOKED int pthread_key_delete(pthread_key_t key)
{
	if (key < PTHREAD_KEYS_MAX)
		atomic_store_explicit(&destructors[key], NULL,
				      memory_order_release);
	return REAL(pthread_key_delete)(key);
}

static bool run_round(void)
{
	uint32_t n = atomic_load_explicit(&end, memory_order_acquire);
	bool any = false;

	for (pthread_key_t k = 0; k < n; k++) {
		void (*d)(void *) = atomic_load_explicit(&destructors[k],
							 memory_order_acquire);
		void *value = d ? pthread_getspecific(k) : NULL;

		if (!value)
			continue;
		any = true;
		pthread_setspecific(k, NULL);
		d(value);
	}
	return any;
}

void thread_run_destructors(void)
{
	for (int i = 0; i < PTHREAD_DESTRUCTOR_ITERATIONS; i++)
		if (!run_round())
			return;
}
