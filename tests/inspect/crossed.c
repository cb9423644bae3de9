/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* crossed.c - the oldest deadlock: two threads, two mutexes, and the main
 * thread waiting for both of them. */
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t right = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both_have_one;

static void *left_then_right(void *arg)
{
	pthread_mutex_lock(&left);
	pthread_barrier_wait(&both_have_one);
	pthread_mutex_lock(&right);
	return arg;
}

static void *right_then_left(void *arg)
{
	pthread_mutex_lock(&right);
	pthread_barrier_wait(&both_have_one);
	pthread_mutex_lock(&left);
	return arg;
}

int main(void)
{
	pthread_t a, b;

	pthread_barrier_init(&both_have_one, NULL, 2);
	if (pthread_create(&a, NULL, left_then_right, NULL) ||
	    pthread_create(&b, NULL, right_then_left, NULL))
		return 2;
	puts("ready");
	fflush(stdout);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	return 0;
}
