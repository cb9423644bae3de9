/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan.c - what channels cost. Prints the median of so many rounds, with the best
 * and the worst, and the processor time it took: on a machine that others use as
 * well, that is nearer the truth.
 *
 *	bench_chan [WORKERS [ROUNDS]]
 *
 * ping-pong	two coroutines, two channels without room: a round trip
 * alone	one coroutine, a channel with room: a send and a receive
 * MPMC		four send and four receive through room for 128
 * select	as ping-pong, but each waits for two channels at once */
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "cogo/select.h"
#include "coro/self.h"
#include "fault/door.h"
#include "go.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TRIPS	200000
#define ITEMS	1000000
#define SIDES	4

static struct cogo_chan *a, *b;
static _Atomic int running, sending;

static void echo(void *arg)
{
	uint64_t x;

	(void)arg;
	while (cogo_recv(a, &x, COGO_FOREVER) == 0)
		cogo_send(b, &x, COGO_FOREVER);
	running--;
}

static void call(void *arg)
{
	uint64_t x = 1;

	(void)arg;
	for (int i = 0; i < TRIPS; i++) {
		cogo_send(a, &x, COGO_FOREVER);
		cogo_recv(b, &x, COGO_FOREVER);
	}
	cogo_chan_close(a);
	running--;
}

static struct cogo_chan *never;

static int recv_by_select(struct cogo_chan *ch, uint64_t *ret_x)
{
	struct cogo_case cases[2] = {
		{ .kind = COGO_CASE_RECV, .chan = ch, .ret_item = ret_x },
		{ .kind = COGO_CASE_RECV, .chan = never },
	};

	cogo_select(cases, 2, COGO_FOREVER);
	return cases[0].result;
}

static void select_echo(void *arg)
{
	uint64_t x;

	(void)arg;
	while (recv_by_select(a, &x) == 0)
		cogo_send(b, &x, COGO_FOREVER);
	running--;
}

static void select_call(void *arg)
{
	uint64_t x = 1;

	(void)arg;
	for (int i = 0; i < TRIPS; i++) {
		cogo_send(a, &x, COGO_FOREVER);
		recv_by_select(b, &x);
	}
	cogo_chan_close(a);
	running--;
}

static void alone(void *arg)
{
	uint64_t x = 1;

	(void)arg;
	for (int i = 0; i < ITEMS; i++) {
		cogo_send(a, &x, COGO_FOREVER);
		cogo_recv(a, &x, COGO_FOREVER);
	}
	running--;
}

static void sender(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < ITEMS / SIDES; i++)
		cogo_send(a, &i, COGO_FOREVER);
	if (--sending == 0)
		cogo_chan_close(a);
	running--;
}

static void receiver(void *arg)
{
	uint64_t x;

	(void)arg;
	while (cogo_recv(a, &x, COGO_FOREVER) == 0)
		;
	running--;
}

static void go(void (*fn)(void *))
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	struct coro *me = self(), *c;

	running++;
	door_enter(me);
	if (go_make(&attr, fn, NULL, &c))
		abort();
	go_ready(c);
	door_leave(me);
}

static cogo_time cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * COGO_SEC + t.tv_nsec;
}

static int by_size(const void *x, const void *y)
{
	double p = *(const double *)x, q = *(const double *)y;

	return p < q ? -1 : p > q;
}

static void measure(const char *name, int rounds, size_t cap, int n,
		    void (*first)(void *), void (*second)(void *), int each)
{
	struct timespec nap = { .tv_nsec = 100000 };
	double ns[64], cpu[64];
	cogo_time t, c;

	for (int i = 0; i < rounds; i++) {
		a = cogo_chan_new(8, cap);
		b = cogo_chan_new(8, cap);
		sending = n;
		t = sys_now();
		c = cpu_now();
		for (int k = 0; k < n; k++) {
			go(first);
			if (second)
				go(second);
		}
		while (running)
			nanosleep(&nap, NULL);
		ns[i] = (double)(sys_now() - t) / each;
		cpu[i] = (double)(cpu_now() - c) / each;
		cogo_chan_free(a);
		cogo_chan_free(b);
	}
	qsort(ns, (size_t)rounds, sizeof(ns[0]), by_size);
	qsort(cpu, (size_t)rounds, sizeof(cpu[0]), by_size);
	printf("%-10s %8.1f ns  (best %.1f, worst %.1f)  %6.1f M/s  of processors %.1f ns\n",
	       name, ns[rounds / 2], ns[0], ns[rounds - 1],
	       1000 / ns[rounds / 2], cpu[rounds / 2]);
}

static int start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

int main(int argc, char **argv)
{
	static const struct boot_real real = { .start_thread = start_thread };
	int rounds = argc > 2 ? atoi(argv[2]) : 15;

	if (rounds < 1 || rounds > 64)
		rounds = 15;
	boot_use(&real);
	boot_load();
	conf.workers = argc > 1 ? atoi(argv[1]) : 1;
	if (!coro_adopt(CORO_KIND_THREAD) || boot_start())
		abort();
	never = cogo_chan_new(8, 0);
	printf("%d workers, median of %d\n", conf.workers, rounds);
	measure("ping-pong", rounds, 0, 1, echo, call, TRIPS);
	measure("select", rounds, 0, 1, select_echo, select_call, TRIPS);
	measure("alone", rounds, 128, 1, alone, NULL, ITEMS);
	measure("MPMC", rounds, 128, SIDES, sender, receiver, ITEMS);
	return 0;
}
