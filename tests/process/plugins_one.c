/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* plugins_one.c - a plugin with threads of its own, thread-local variables, and
 * something to say when it goes. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define MANY 6

static __thread int mine = 7;
static __thread int large[2000] = {3};
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static int there, sum, destroyed, *told;

static void say_that_it_goes(void)
{
	++*told;
}

static void destroy(void *arg)
{
	(void)arg;
	__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
}

static void *meet(void *arg)
{
	pthread_setspecific(key, &mine);
	large[5]++;
	pthread_mutex_lock(&m);
	there++;
	pthread_cond_broadcast(&c);
	while (there < MANY)
		pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	usleep(100);
	pthread_mutex_lock(&m);
	sum += mine++ + large[0]++;
	pthread_mutex_unlock(&m);
	return arg;
}

/* 10 for each thread that found its first values, and one that was destroyed. */
int plugins_one(int *ret_told);
int plugins_one(int *ret_told)
{
	pthread_t t[MANY];

	told = ret_told;
	if (told)
		atexit(say_that_it_goes);
	pthread_key_create(&key, destroy);
	for (int i = 0; i < MANY; i++)
		if (pthread_create(&t[i], NULL, meet, NULL) != 0)
			return -1;
	for (int i = 0; i < MANY; i++)
		pthread_join(t[i], NULL);
	pthread_key_delete(key);
	return 100 * sum + destroyed;
}
