/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* nptl.c - the small measurements of micro.h, by the kernel's threads.
 *
 * workers does nothing here: threads run on the CPUs that the program was given, so
 * one worker is `taskset -c 1`. switch and rendezvous need it more than others: on two
 * CPUs each thread yields to nobody.
 *
 * timers and memory have 10,000 threads where others have 100,000: pid_max is 32,768
 * as a rule, and a stack and its guard are two mappings of max_map_count's 65,530. */
#define _GNU_SOURCE
#include "micro.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static pthread_attr_t joined, detached;
static long n, turns;

static pthread_t start(const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	pthread_t t;
	int r = pthread_create(&t, attr, fn, arg);

	if (r) {
		fprintf(stderr, "pthread_create: %s\n", strerror(r));
		exit(1);
	}
	return t;
}

static void *join(pthread_t t)
{
	void *result;

	if (pthread_join(t, &result))
		abort();
	return result;
}

static void start_two(void *(*fn)(void *), void *(*other)(void *))
{
	pthread_t a = start(&joined, fn, NULL), b = start(&joined, other, NULL);

	join(a);
	join(b);
}

static void *nothing(void *arg)
{
	return arg;
}

static void *yield(void *arg)
{
	for (long i = 0; i < turns; i++)
		sched_yield();
	return arg;
}

static void row_switch(void)
{
	n = number("n", 10000000);
	turns = n / 2;
	begin();
	start_two(yield, yield);
	end(turns * 2, NULL);
}

static void row_spawn(void)
{
	n = number("n", 1000000);
	begin();
	for (long i = 0; i < n; i++)
		if (join(start(&joined, nothing, &n)) != &n)
			abort();
	end(n, NULL);
}

static void row_waves(void)
{
	static pthread_t wave[WAVE];
	long waves = number("n", 1000000) / WAVE;

	begin();
	for (long i = 0; i < waves; i++) {
		for (int k = 0; k < WAVE; k++)
			wave[k] = start(&joined, nothing, &wave[k]);
		for (int k = 0; k < WAVE; k++)
			if (join(wave[k]) != &wave[k])
				abort();
	}
	end(waves * WAVE, NULL);
}

/* A wait group: who counts down to zero posts for the one who waits. */
static atomic_long left;
static sem_t zero;

static void *count_down(void *arg)
{
	/* acq_rel: the last one hands on what the others did before it. */
	if (atomic_fetch_sub_explicit(&left, 1, memory_order_acq_rel) == 1)
		sem_post(&zero);
	return arg;
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s))
		continue;
}

static void row_fan_in(void)
{
	long times = number("n", 1000000) / FAN_IN;

	begin();
	for (long i = 0; i < times; i++) {
		/* relaxed: pthread_create() publishes it. */
		atomic_store_explicit(&left, FAN_IN, memory_order_relaxed);
		for (int k = 0; k < FAN_IN; k++)
			start(&detached, count_down, NULL);
		wait_for(&zero);
	}
	end(times * FAN_IN, NULL);
}

static sem_t there, back;
static uint64_t message;

static void *call(void *arg)
{
	for (long i = 0; i < n; i++) {
		sem_post(&there);
		wait_for(&back);
	}
	return arg;
}

static void *answer(void *arg)
{
	for (long i = 0; i < n; i++) {
		wait_for(&there);
		message++;
		sem_post(&back);
	}
	return arg;
}

static void row_rendezvous(void)
{
	n = number("n", 1000000);
	begin();
	start_two(answer, call);
	end(n, NULL);
	if (message != (uint64_t)n)
		abort();
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t items = PTHREAD_COND_INITIALIZER, room = PTHREAD_COND_INITIALIZER;

/* under mutex */
static uint64_t ring[ROOM], sum;
static unsigned int filled, emptied;
static int closed;

static void *fill(void *arg)
{
	for (uint64_t i = 0; i < (uint64_t)turns; i++) {
		pthread_mutex_lock(&mutex);
		while (filled - emptied == ROOM)
			pthread_cond_wait(&room, &mutex);
		ring[filled++ % ROOM] = i;
		pthread_mutex_unlock(&mutex);
		pthread_cond_signal(&items);
	}
	return arg;
}

static void *empty(void *arg)
{
	uint64_t own = 0;

	for (;;) {
		pthread_mutex_lock(&mutex);
		while (filled == emptied && !closed)
			pthread_cond_wait(&items, &mutex);
		if (filled == emptied)
			break;
		own += ring[emptied++ % ROOM];
		pthread_mutex_unlock(&mutex);
		pthread_cond_signal(&room);
	}
	sum += own;
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void row_buffered(void)
{
	pthread_t from[SIDES], to[SIDES];

	n = number("n", 4000000);
	turns = n / SIDES;
	begin();
	for (int i = 0; i < SIDES; i++) {
		from[i] = start(&joined, fill, NULL);
		to[i] = start(&joined, empty, NULL);
	}
	for (int i = 0; i < SIDES; i++)
		join(from[i]);
	pthread_mutex_lock(&mutex);
	closed = 1;
	pthread_mutex_unlock(&mutex);
	pthread_cond_broadcast(&items);
	for (int i = 0; i < SIDES; i++)
		join(to[i]);
	end(turns * SIDES, NULL);
	if (sum != (uint64_t)turns * (uint64_t)(turns - 1) / 2 * SIDES)
		abort();
}

static long counter;

static void *contend(void *arg)
{
	for (long i = 0; i < turns; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	return arg;
}

/* By a thread, since glibc's mutex is cheaper in a program that never had a second. */
static void row_mutex(void)
{
	n = turns = number("n", 20000000);
	begin();
	join(start(&joined, contend, NULL));
	end(n, NULL);
	if (counter != n)
		abort();
}

static void row_contended(void)
{
	pthread_t t[HOLDERS];

	n = number("n", 6400000);
	turns = n / HOLDERS;
	begin();
	for (int i = 0; i < HOLDERS; i++)
		t[i] = start(&joined, contend, NULL);
	for (int i = 0; i < HOLDERS; i++)
		join(t[i]);
	end(turns * HOLDERS, NULL);
	if (counter != turns * HOLDERS)
		abort();
}

static void *sleep_until(void *arg)
{
	long i = (long)(intptr_t)arg;
	struct timespec t = { .tv_sec = moments[i] / 1000000000,
			      .tv_nsec = moments[i] % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
		continue;
	woke(i);
	return count_down(arg);
}

static void row_timers(void)
{
	n = number("n", 10000);
	begin_timers(n);
	atomic_store_explicit(&left, n, memory_order_relaxed);
	for (long i = 0; i < n; i++) {
		choose_moment(i);
		start(&detached, sleep_until, (void *)(intptr_t)i);
	}
	all_made();
	wait_for(&zero);
	end_timers(n);
}

static sem_t latch;

static void *wait_for_latch(void *arg)
{
	count_down(arg);
	wait_for(&latch);
	return arg;
}

/* What the kernel keeps for each thread, about 20 KB, stands in no process's RSS. */
static void row_memory(void)
{
	const struct timespec a_moment = { .tv_nsec = 10000000 };

	n = number("n", 10000);
	atomic_store_explicit(&left, n, memory_order_relaxed);
	begin_memory();
	for (long i = 0; i < n; i++)
		start(&detached, wait_for_latch, NULL);
	wait_for(&zero);
	nanosleep(&a_moment, NULL);
	end_memory(n);
	exit(0);
}

static const struct micro_row rows[] = {
	{ "switch", row_switch },	  { "spawn", row_spawn },
	{ "waves", row_waves },		  { "fan-in", row_fan_in },
	{ "rendezvous", row_rendezvous }, { "buffered", row_buffered },
	{ "mutex", row_mutex },		  { "contended", row_contended },
	{ "timers", row_timers },	  { "memory", row_memory },
};

static void run(const struct micro_row *row)
{
	pthread_attr_init(&joined);
	pthread_attr_init(&detached);
	pthread_attr_setstacksize(&joined, 64 << 10);
	pthread_attr_setstacksize(&detached, 64 << 10);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	row->run();
}

int main(int argc, char **argv)
{
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
