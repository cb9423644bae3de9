/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync.c - what the synchronisation objects cost: nanoseconds for a pair of calls
 * that never waits, in a coroutine and on a kernel thread, and then a mutex that
 * many coroutines want at once. Each number is the median of RUNS; the least and
 * the most stand beside it. Arguments: workers, coroutines. */
#include "cogo/sync.h"
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "coro/local.h"
#include "coro/self.h"
#include "go.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNS 31
#define TIMES 200000

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *where, const char *what, double *each,
		  const char *unit)
{
	qsort(each, RUNS, sizeof(*each), compare);
	printf("%-10s %-28s %8.1f %s  (%.1f to %.1f)\n", where, what,
	       each[RUNS / 2], unit, each[0], each[RUNS - 1]);
}

static struct cogo_mutex mutex;
static struct cogo_rwlock rwlock;
static struct cogo_sem sem = COGO_SEM_INIT(1);
static struct cogo_once once;
static struct cogo_latch latch;
static struct cogo_waitgroup wg;
static pthread_mutex_t libcs = PTHREAD_MUTEX_INITIALIZER;

/* Of the processor, by the kernel thread: others may want it too. */
static cogo_time used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * COGO_SEC + t.tv_nsec;
}

static void nothing(void *arg)
{
	(void)arg;
}

#define MEASURE(where, what, code)                                             \
	do {                                                                   \
		double each[RUNS];                                             \
									       \
		for (int run = 0; run < RUNS; run++) {                         \
			cogo_time began = used();                              \
									       \
			for (int i = 0; i < TIMES; i++) {                      \
				code;                                          \
			}                                                      \
			each[run] = (double)(used() - began) / TIMES;          \
		}                                                              \
		print(where, what, each, "ns");                                \
	} while (0)

static void uncontended(const char *where)
{
	MEASURE(where, "mutex lock, unlock",
		cogo_mutex_lock(&mutex); cogo_mutex_unlock(&mutex));
	MEASURE(where, "mutex lock_until, unlock",
		cogo_mutex_lock_until(&mutex, COGO_FOREVER);
		cogo_mutex_unlock(&mutex));
	MEASURE(where, "libc's mutex lock, unlock",
		pthread_mutex_lock(&libcs); pthread_mutex_unlock(&libcs));
	MEASURE(where, "rwlock read_lock, unlock",
		cogo_rwlock_read_lock(&rwlock); cogo_rwlock_unlock(&rwlock));
	MEASURE(where, "rwlock write_lock, unlock",
		cogo_rwlock_write_lock(&rwlock); cogo_rwlock_unlock(&rwlock));
	MEASURE(where, "sem acquire, release",
		cogo_sem_acquire(&sem); cogo_sem_release(&sem, 1));
	MEASURE(where, "waitgroup add, done",
		cogo_waitgroup_add(&wg, 1); cogo_waitgroup_done(&wg));
	MEASURE(where, "once that is done", cogo_once_do(&once, nothing, NULL));
	MEASURE(where, "latch that is fired",
		cogo_latch_wait(&latch, COGO_FOREVER));
}

static struct cogo_waitgroup running;
static long counter, turns;

static void alone(void *arg)
{
	(void)arg;
	uncontended("coroutine");
	local_end(self());
	cogo_waitgroup_done(&running);
}

static void count(void *arg)
{
	(void)arg;
	for (long i = 0; i < turns; i++) {
		cogo_mutex_lock(&mutex);
		counter++;
		cogo_mutex_unlock(&mutex);
	}
	local_end(self());
	cogo_waitgroup_done(&running);
}

static void go(void (*fn)(void *))
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct coro *c;

	cogo_waitgroup_add(&running, 1);
	if (go_make(&attr, fn, NULL, &c))
		abort();
	go_ready(c);
}

static void contended(int coroutines)
{
	double each[RUNS];
	char what[64];

	for (int run = 0; run < RUNS; run++) {
		cogo_time began = sys_now();

		counter = 0;
		turns = 4000000 / coroutines;
		for (int i = 0; i < coroutines; i++)
			go(count);
		cogo_waitgroup_wait(&running, COGO_FOREVER);
		if (counter != turns * coroutines)
			abort();
		each[run] = (double)counter * 1000 / (double)(sys_now() - began);
	}
	snprintf(what, sizeof(what), "mutex, %d coroutines", coroutines);
	print("contended", what, each, "Mops/s");
}

static int start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

int main(int argc, char **argv)
{
	static const struct boot_real real = { .start_thread = start_thread };

	boot_use(&real);
	boot_load();
	conf.workers = argc > 1 ? atoi(argv[1]) : 2;
	if (!coro_adopt(CORO_KIND_THREAD) || boot_start())
		abort();
	cogo_once_do(&once, nothing, NULL);
	cogo_latch_fire(&latch);
	uncontended("thread");
	go(alone);
	cogo_waitgroup_wait(&running, COGO_FOREVER);
	contended(argc > 2 ? atoi(argv[2]) : 64);
	return 0;
}
