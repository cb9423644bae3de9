/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* floors.c - the runtime's own verbs, each refused something in its turn.
 *
 * Run by refuse, which fails one system call somewhere in here. Whatever meets
 * it must say so with an error that it may answer, leave nothing half done, and
 * do its work when it is asked again. Ends as work.c does: 0 and "done floors",
 * or 4 and what was wrong. */
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "event/poller.h"
#include "event/timer.h"
#include "fault/door.h"
#include "go.h"
#include "mem/slab.h"
#include "mem/tls.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "sched/worker.h"
#include "wait/fd.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COROS 150	/* more than a slab's first chunk, a region, … */

__attribute__((noreturn)) static void wrong(int line, const char *text, long r)
{
	printf("wrong: floors.c:%d: %s: %ld\n", line, text, r);
	fflush(stdout);
	_exit(4);
}

static void check(bool good, int line, const char *text)
{
	if (!good)
		wrong(line, text, 0);
}
#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)

/* The call, and once more if it fails as it may: one refusal is all there is. */
#define AGAIN(call) again_check((call), __LINE__, #call) ? (void)0 :           \
	CHECK((call) == 0)

static bool again_check(long r, int line, const char *text)
{
	if (r == 0)
		return true;
	if (r != -ENOMEM && r != -EAGAIN && r != -EMFILE && r != -ENOSPC)
		wrong(line, text, r);
	return false;
}

/* ---- stacks, objects, storage ---- */

struct thing {
	struct thing *next;
	char bytes[3000];
};
static struct slab things = SLAB_INIT(struct thing, next);

static int get_thing(struct thing **ret)
{
	*ret = slab_get(&things);
	return *ret ? 0 : -ENOMEM;
}

static void do_slab(void)
{
	static struct thing *all[COROS];

	for (int i = 0; i < COROS; i++) {
		AGAIN(get_thing(&all[i]));
		memset(all[i]->bytes, i, sizeof(all[i]->bytes));
	}
	for (int i = 0; i < COROS; i++)
		for (size_t k = 0; k < sizeof(all[i]->bytes); k++)
			CHECK(all[i]->bytes[k] == (char)i);
}

static void do_stacks(void)
{
	static struct stack all[COROS];

	for (int i = 0; i < COROS; i++) {
		size_t size = i % 3 == 0 ? 64 << 10 : i % 3 == 1 ? 256 << 10
								 : 4 << 20;

		AGAIN(stack_make(size, PAGE_SIZE, &all[i]));
		/* The whole of it is there, and nobody else's. */
		CHECK((size_t)(all[i].top - all[i].low) >= size);
		all[i].top[-1] = (char)i;
		all[i].low[all[i].guard] = (char)i;
	}
	for (int i = 0; i < COROS; i++)
		CHECK(all[i].top[-1] == (char)i &&
		      all[i].low[all[i].guard] == (char)i);
}

/* ---- a scheduler, coroutines, their waits ---- */

static int no_threads;	/* so many starts fail */

static int start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	if (no_threads > 0) {
		no_threads--;
		return -EAGAIN;
	}
	return -pthread_create(&t, NULL, entry, arg);
}

static _Atomic long ended, sum;

static void sleeper(void *arg)
{
	struct coro *me = self();
	cogo_time until;

	door_enter(me);
	until = sys_now() + 100000 + (cogo_time)(long)arg * 1000;
	CHECK(park_until(me, WHY_SLEEP, until) == WAIT_TIMED_OUT);
	CHECK(sys_now() >= until);
	sum += (long)arg;
	ended++;
	door_leave(me);
}

static void until_ended(long n)
{
	struct timespec ts = { 0, 100000 };

	for (int i = 0; ended < n; i++) {
		CHECK(i < 200000);
		nanosleep(&ts, NULL);
	}
}

static int spawn(void (*fn)(void *), void *arg)
{
	const struct coro_attr attr = { .stack_size = 64 << 10,
					.guard_size = PAGE_SIZE };
	uint32_t live = coro_live();
	struct coro *c;
	int r = go_make(&attr, fn, arg, &c);

	if (r) {
		CHECK(coro_live() <= live);
		return r;
	}
	go_ready(c);
	return 0;
}

static void do_sleepers(void)
{
	long want = 0;

	ended = sum = 0;
	for (long i = 0; i < COROS; i++) {
		AGAIN(spawn(sleeper, (void *)i));
		want += i;
	}
	until_ended(COROS);
	CHECK(sum == want);
}

static void reader(void *arg)
{
	struct fd_wait w = FD_WAIT((int)(long)arg, POLLER_IN);
	struct coro *me = self();
	char byte;
	long r;
	int e;

	door_enter(me);
	for (;;) {
		fd_sample(&w);
		r = sys_call(SYS_recvfrom, w.fd, &byte, 1, MSG_DONTWAIT, NULL,
			     NULL);
		if (r != -EAGAIN)
			break;
		e = fd_wait(&w, COGO_FOREVER, WHY_READ);
		if (e)
			wrong(__LINE__, "fd_wait", e);
	}
	CHECK(r == 1 && byte == 'x');
	fd_done(&w);
	ended++;
	door_leave(me);
}

static void do_readers(void)
{
	int fds[20][2];

	ended = 0;
	for (int i = 0; i < 20; i++) {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0);
		AGAIN(spawn(reader, (void *)(long)fds[i][0]));
	}
	for (int i = 0; i < 20; i++)
		CHECK(write(fds[i][1], "x", 1) == 1);
	until_ended(20);
	for (int i = 0; i < 20; i++) {
		struct coro_list ready = { 0 };

		poller_forget(fds[i][0], &ready);
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

/* A worker that no thread could be had for takes nobody's place. */
static void do_workers(void)
{
	uint32_t before = sched.nworkers - sched.gone;
	int r;

	no_threads = 2 * WORKERS_MAX;
	for (int i = 0; i < 2 * WORKERS_MAX; i++) {
		r = worker_add(false, false);
		CHECK(r == -EAGAIN || r == -ENOMEM);
	}
	no_threads = 0;
	CHECK(sched.nworkers - sched.gone == before);
	CHECK(sched.nworkers < before + 4);
	AGAIN(worker_add(false, false));
	CHECK(sched.nworkers - sched.gone == before + 1);
}

int main(void)
{
	static const struct boot_real real = { .start_thread = start_thread };

	do_slab();
	boot_use(&real);
	boot_load();
	do_stacks();
	conf.workers = 2;
	AGAIN(coro_adopt(CORO_KIND_THREAD) ? 0 : -ENOMEM);
	no_threads = 1;		/* of the first worker */
	CHECK(boot_start() != 0);
	CHECK(!boot_started());
	AGAIN(boot_start());
	CHECK(boot_started());
	do_sleepers();
	do_readers();
	do_sleepers();		/* on shells that were used before */
	do_workers();
	printf("done floors\n");
	return 0;
}
