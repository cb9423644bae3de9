/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* early_lib.c - a library whose constructor makes a thread, as those for linear
 * algebra do, and leaves it waiting for work. It needs nothing but libc, so its turn
 * comes before that of most others. */
#include <pthread.h>

#include "early_lib.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t worker, short_lived;
static int asked, answered, forks;
static int begun = 1;

static void before_fork(void)
{
	forks++;
}

static void *answer(void *arg)
{
	pthread_mutex_lock(&mutex);
	while (asked >= 0) {
		if (asked == answered) {
			pthread_cond_wait(&changed, &mutex);
			continue;
		}
		answered = asked;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void *say_so(void *arg)
{
	*(int *)arg = 0;
	return NULL;
}

__attribute__((constructor)) static void make_threads(void)
{
	pthread_atfork(before_fork, NULL, NULL);
	if (pthread_create(&short_lived, NULL, say_so, &begun) != 0 ||
	    pthread_join(short_lived, NULL) != 0)
		begun = 2;
	if (pthread_create(&worker, NULL, answer, &asked) != 0)
		begun = 3;
}

int early_begun(void)
{
	return begun;
}

int early_forks(void)
{
	return forks;
}

int early_ask(int what)
{
	int got;

	pthread_mutex_lock(&mutex);
	asked = what;
	pthread_cond_broadcast(&changed);
	while (answered != what)
		pthread_cond_wait(&changed, &mutex);
	got = answered;
	pthread_mutex_unlock(&mutex);
	return got;
}

int early_end(void)
{
	void *result = NULL;

	pthread_mutex_lock(&mutex);
	asked = -1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	return pthread_join(worker, &result) == 0 && result == &asked;
}
