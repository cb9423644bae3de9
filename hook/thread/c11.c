/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/c11.c - <threads.h>.
 *
 * In libc all of it is POSIX's in other words, but it calls them by names
 * that cannot be stood in front of. So the same is said here again. */
#include "hook/real.h"
#include "hook/thread/locks.h"
#include "hook/thread/once.h"
#include <pthread.h>
#include <string.h>
#include <threads.h>

static int said_in_c11(int r)
{
	switch (r) {
	case 0:
		return thrd_success;
	case ENOMEM:
		return thrd_nomem;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	default:
		return thrd_error;
	}
}

/* A thread's function returns int, where POSIX's returns a pointer. On both CPUs
 * an int comes back in the register that the pointer would, with anything above
 * it; thrd_join looks at the int alone. So no frame of ours is needed between,
 * and --bind knows the function by its name. */
typedef void *(*posix_start)(void *);

HOOKED int thrd_create(thrd_t *ret, thrd_start_t start, void *arg)
{
	posix_start fn;
	int r;

	memcpy(&fn, &start, sizeof(fn));
	r = pthread_create(ret, NULL, fn, arg);
	return r == EAGAIN ? thrd_nomem : said_in_c11(r);
}

HOOKED int thrd_join(thrd_t thread, int *result)
{
	void *word = NULL;
	int r = pthread_join(thread, &word);

	if (r == 0 && result)
		*result = (int)(intptr_t)word;
	return said_in_c11(r);
}

HOOKED int thrd_detach(thrd_t thread)
{
	return said_in_c11(pthread_detach(thread));
}

HOOKED _Noreturn void thrd_exit(int result)
{
	pthread_exit((void *)(intptr_t)result);
}

HOOKED thrd_t thrd_current(void)
{
	return pthread_self();
}

HOOKED int tss_create(tss_t *key, tss_dtor_t destructor)
{
	return said_in_c11(pthread_key_create(key, destructor));
}

HOOKED void tss_delete(tss_t key)
{
	pthread_key_delete(key);
}

HOOKED void *tss_get(tss_t key)
{
	return pthread_getspecific(key);
}

HOOKED int tss_set(tss_t key, void *value)
{
	return said_in_c11(pthread_setspecific(key, value));
}

#define MUTEX(m) ((pthread_mutex_t *)(m))
#define COND(c)	 ((pthread_cond_t *)(c))

HOOKED int mtx_lock(mtx_t *m)
{
	return said_in_c11(pthread_mutex_lock(MUTEX(m)));
}

HOOKED int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict t)
{
	return said_in_c11(pthread_mutex_timedlock(MUTEX(m), t));
}

HOOKED int mtx_trylock(mtx_t *m)
{
	return said_in_c11(pthread_mutex_trylock(MUTEX(m)));
}

HOOKED int mtx_unlock(mtx_t *m)
{
	return said_in_c11(pthread_mutex_unlock(MUTEX(m)));
}

HOOKED int cnd_wait(cnd_t *c, mtx_t *m)
{
	return said_in_c11(pthread_cond_wait(COND(c), MUTEX(m)));
}

HOOKED int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m,
			 const struct timespec *restrict t)
{
	return said_in_c11(pthread_cond_timedwait(COND(c), MUTEX(m), t));
}

HOOKED int cnd_signal(cnd_t *c)
{
	return said_in_c11(pthread_cond_signal(COND(c)));
}

HOOKED int cnd_broadcast(cnd_t *c)
{
	return said_in_c11(pthread_cond_broadcast(COND(c)));
}

HOOKED void cnd_destroy(cnd_t *c)
{
	pthread_cond_destroy(COND(c));
}

HOOKED void call_once(once_flag *flag, void (*fn)(void))
{
	if (locks_ours())
		once_run((pthread_once_t *)flag, fn);
	else
		REAL(call_once)(flag, fn);
}
