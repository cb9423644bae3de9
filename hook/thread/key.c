/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/key.c - thread-specific data.
 *
 * The values lie in the thread's descriptor, which a coroutine has of its own,
 * so libc's getspecific and setspecific serve it as they are. Only the
 * destructors must be run by us when a coroutine ends, and libc does not say
 * which they are: so we remember what it was told.
 *
 * Where coroutines share their worker's storage, the descriptor is the
 * worker's. There a coroutine's values are kept with its thread, in short blocks
 * of neighbouring keys: whatever libc has given out is a key, and all that we
 * know of it besides is its generation, which makes a value of a deleted key
 * none of the next one's. */
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/thread.h"
#include "mem/slab.h"
#include "mem/tls.h"
#include <limits.h>
#include <pthread.h>

#define BLOCK 16	/* keys in one */

/* libc's other names, for old programs; no header has them. */
void *__pthread_getspecific(pthread_key_t key);
int __pthread_setspecific(pthread_key_t key, const void *value);

struct specific {
	struct specific *next;
	pthread_key_t first;
	struct {
		uint32_t generation;
		const void *value;
	} of[BLOCK];
};

static struct slab blocks = SLAB_INIT(struct specific, next);

static _Atomic(void (*)(void *)) destructors[PTHREAD_KEYS_MAX];
/* Odd while the key is in use. */
static _Atomic uint32_t generations[PTHREAD_KEYS_MAX];
static _Atomic uint32_t end;	/* one past the highest key with a destructor */

HOOKED int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	int r = REAL(pthread_key_create)(key, destructor);
	uint32_t n = atomic_load_explicit(&end, memory_order_relaxed);

	if (r || *key >= PTHREAD_KEYS_MAX)
		return r;
	/* relaxed: who uses the key has been told of it by the caller. */
	atomic_fetch_add_explicit(&generations[*key], 1, memory_order_relaxed);
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
	uint32_t g;

	if (key < PTHREAD_KEYS_MAX) {
		atomic_store_explicit(&destructors[key], NULL,
				      memory_order_release);
		/* Before libc can give it out again. */
		g = atomic_load_explicit(&generations[key], memory_order_relaxed);
		if (g & 1)
			atomic_compare_exchange_strong_explicit(
				&generations[key], &g, g + 1,
				memory_order_relaxed, memory_order_relaxed);
	}
	return REAL(pthread_key_delete)(key);
}

/* The thread whose values are not in libc's descriptor, or NULL. */
static struct coro *keeper(void)
{
	struct coro *me;

	if (likely(!coro_any_shares))
		return NULL;
	me = self();
	return me && !me->tp ? me : NULL;
}

static struct specific *block_of(struct coro *me, pthread_key_t key)
{
	struct specific *s = me->specific;

	while (s && s->first != key - key % BLOCK)
		s = s->next;
	return s;
}

static struct specific *new_block(struct coro *me, pthread_key_t key)
{
	struct specific *s = slab_get(&blocks);

	if (!s)
		return NULL;
	s->first = key - key % BLOCK;
	for (int i = 0; i < BLOCK; i++)
		s->of[i].generation = 0;
	s->next = me->specific;
	/* A handler that comes now finds the list as it was or as it will be. */
	atomic_signal_fence(memory_order_release);
	me->specific = s;
	return s;
}

static void *get(struct coro *me, pthread_key_t key)
{
	struct specific *s = block_of(me, key);

	if (!s || key >= PTHREAD_KEYS_MAX ||
	    s->of[key % BLOCK].generation !=
		    atomic_load_explicit(&generations[key], memory_order_relaxed))
		return NULL;
	return (void *)s->of[key % BLOCK].value;
}

static int set(struct coro *me, pthread_key_t key, const void *value)
{
	struct specific *s;
	uint32_t g;

	if (key >= PTHREAD_KEYS_MAX)
		return EINVAL;
	g = atomic_load_explicit(&generations[key], memory_order_relaxed);
	if (!(g & 1))
		return EINVAL;
	s = block_of(me, key);
	if (!s && !value)
		return 0;
	if (!s)
		s = new_block(me, key);
	if (!s)
		return ENOMEM;
	s->of[key % BLOCK].generation = g;
	s->of[key % BLOCK].value = value;
	return 0;
}

HOOKED void *pthread_getspecific(pthread_key_t key)
{
	struct coro *me = keeper();

	return unlikely(me != NULL) ? get(me, key) : REAL(pthread_getspecific)(key);
}
ALIAS(__pthread_getspecific, pthread_getspecific);

HOOKED int pthread_setspecific(pthread_key_t key, const void *value)
{
	struct coro *me = keeper();

	return unlikely(me != NULL) ? set(me, key, value)
				   : REAL(pthread_setspecific)(key, value);
}
ALIAS(__pthread_setspecific, pthread_setspecific);

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

void thread_run_destructors(struct coro *me)
{
	struct specific *s;

	for (int i = 0; i < PTHREAD_DESTRUCTOR_ITERATIONS; i++)
		if (!run_round())
			break;
	while ((s = me->specific)) {
		me->specific = s->next;
		slab_put(&blocks, s);
	}
}
