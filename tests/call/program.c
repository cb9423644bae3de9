/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* program.c - what a user writes: linked with libcogo.so, and nothing lent by
 * hand. */
#include <cogo.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct point { double x, y; };

static struct point between(struct point a, struct point b, float part)
{
	cogo_sleep(COGO_MS);
	return (struct point){ a.x + (b.x - a.x) * (double)part,
			       a.y + (b.y - a.y) * (double)part };
}

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	if (!cogo_is_coroutine())
		abort();
	return (x > y) - (x < y);
}

static void *thread(void *arg)
{
	return cogo_is_coroutine() ? arg : NULL;
}

int main(void)
{
	int (*order)(const void *, const void *);
	void *(*start)(void *), *result;
	int numbers[] = { 3, 1, 2 };
	struct cogo_coro *c;
	struct point p;
	pthread_t t;

	if (cogo_spawn(&c, &p, between, ((struct point){ 0, 0 }),
		       ((struct point){ 4, 8 }), .25f) ||
	    cogo_join(c) != COGO_RETURNED || p.x != 1 || p.y != 2)
		return 1;
	if (cogo_callback_wait(&order, by_number, const void *, const void *) ||
	    cogo_callback_wait(&start, thread, void *))
		return 2;
	qsort(numbers, 3, sizeof(*numbers), order);
	if (numbers[0] != 1 || numbers[2] != 3)
		return 3;
	if (pthread_create(&t, NULL, start, numbers) ||
	    pthread_join(t, &result) || result != numbers)
		return 4;
	cogo_callback_free(order);
	cogo_callback_free(start);
	/* What was opened for that is nobody else's. */
	if (dlsym(RTLD_DEFAULT, "ffi_call"))
		return 5;
	return 0;
}
