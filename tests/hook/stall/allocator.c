/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* allocator.c - the program's malloc has a lock, and its holder sleeps.
 *
 * An allocator of the program's own (jemalloc, a profiler) locks a mutex. One
 * thread holds it and sleeps; before it wakes, more threads than there are
 * workers have begun to compute until it lets go. Whatever makes a new worker
 * for it must do without that mutex, and so without the allocator. */
#include <stdatomic.h>

#include "../../support/expect.h"

#define COMPUTERS 8
#define ROUNDS 5

extern void *__libc_calloc(size_t n, size_t size);

static pthread_mutex_t allocator = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool locking, held, let_go;
static atomic_int computing;

void *calloc(size_t n, size_t size)
{
	void *p;

	if (!atomic_load(&locking))
		return __libc_calloc(n, size);
	pthread_mutex_lock(&allocator);
	p = __libc_calloc(n, size);
	pthread_mutex_unlock(&allocator);
	return p;
}

static void *hold(void *arg)
{
	pthread_mutex_lock(&allocator);
	atomic_store(&held, true);
	/* Until those compute who do so at once: others must wait for us. */
	while (atomic_load(&computing) == 0)
		usleep(1000);
	usleep(20000);
	atomic_store(&let_go, true);
	pthread_mutex_unlock(&allocator);
	return arg;
}

static void *compute(void *arg)
{
	atomic_fetch_add(&computing, 1);
	while (!atomic_load_explicit(&let_go, memory_order_relaxed))
		;
	return arg;
}

static void the_holder_of_the_allocator_is_never_without_a_worker(void)
{
	if (SHARES_STORAGE) {
		SKIP("a new worker is a thread of libc's with shared_tls, which allocates for it");
		return;
	}
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t holder, t[COMPUTERS];

		atomic_store(&held, false);
		atomic_store(&let_go, false);
		atomic_store(&computing, 0);
		EXPECT_EQ(pthread_create(&holder, NULL, hold, NULL), 0);
		if (!WAIT_UNTIL(atomic_load(&held)))
			return;
		for (int i = 0; i < COMPUTERS; i++)
			EXPECT_EQ(pthread_create(&t[i], NULL, compute, NULL), 0);
		atomic_store(&locking, true);
		for (int i = 0; i < COMPUTERS; i++)
			EXPECT_EQ(pthread_join(t[i], NULL), 0);
		EXPECT_EQ(pthread_join(holder, NULL), 0);
		atomic_store(&locking, false);
		EXPECT_EQ(atomic_load(&computing), COMPUTERS);
	}
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(the_holder_of_the_allocator_is_never_without_a_worker),
};
EXPECT_MAIN(cases)
