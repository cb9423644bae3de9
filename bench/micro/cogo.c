/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo.c - the small measurements of micro.h, by cogo. Another key: tls=own, the
 * default, or tls=shared (COGO_SHARED_TLS). */
#include "micro.h"
#include <cogo.h>
#include <unistd.h>

static struct cogo_attr attr = { .stack = 64 << 10 };
static long n, turns;

static struct cogo_coro *start(void (*fn)(void *), void *arg)
{
	struct cogo_coro *c;
	int r = cogo_go(&c, &attr, fn, arg);

	if (r) {
		fprintf(stderr, "cogo_go: %s\n", strerror(-r));
		exit(1);
	}
	return c;
}

static void start_two(void (*fn)(void *), void *arg, void (*other)(void *),
		      void *arg2)
{
	struct cogo_coro *a = start(fn, arg), *b = start(other, arg2);

	cogo_join(a);
	cogo_join(b);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void yield(void *arg)
{
	(void)arg;
	for (long i = 0; i < turns; i++)
		cogo_yield();
}

static void row_switch(void)
{
	n = number("n", 10000000);
	turns = n / 2;
	begin();
	start_two(yield, NULL, yield, NULL);
	end(n, NULL);
}

static void row_spawn(void)
{
	n = number("n", 1000000);
	begin();
	for (long i = 0; i < n; i++)
		cogo_join(start(nothing, NULL));
	end(n, NULL);
}

static void row_waves(void)
{
	static struct cogo_coro *wave[WAVE];
	long waves = number("n", 1000000) / WAVE;

	begin();
	for (long i = 0; i < waves; i++) {
		for (int k = 0; k < WAVE; k++)
			wave[k] = start(nothing, NULL);
		for (int k = 0; k < WAVE; k++)
			cogo_join(wave[k]);
	}
	end(waves * WAVE, NULL);
}

static struct cogo_waitgroup wg;

static void count_down(void *arg)
{
	(void)arg;
	cogo_waitgroup_done(&wg);
}

static void row_fan_in(void)
{
	long times = number("n", 1000000) / FAN_IN;

	begin();
	for (long i = 0; i < times; i++) {
		cogo_waitgroup_add(&wg, FAN_IN);
		for (int k = 0; k < FAN_IN; k++)
			cogo_drop(start(count_down, NULL));
		cogo_waitgroup_wait(&wg, COGO_FOREVER);
	}
	end(times * FAN_IN, NULL);
}

static struct cogo_chan *there, *back;

static void call(void *arg)
{
	uint64_t x = 1;

	(void)arg;
	for (long i = 0; i < n; i++) {
		cogo_send(there, &x, COGO_FOREVER);
		cogo_recv(back, &x, COGO_FOREVER);
	}
	cogo_chan_close(there);
}

static void answer(void *arg)
{
	uint64_t x;

	(void)arg;
	while (cogo_recv(there, &x, COGO_FOREVER) == 0)
		cogo_send(back, &x, COGO_FOREVER);
}

static void row_rendezvous(void)
{
	n = number("n", 1000000);
	there = cogo_chan_new(sizeof(uint64_t), 0);
	back = cogo_chan_new(sizeof(uint64_t), 0);
	begin();
	start_two(answer, NULL, call, NULL);
	end(n, NULL);
}

static void fill(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < (uint64_t)turns; i++)
		cogo_send(there, &i, COGO_FOREVER);
}

static void empty(void *arg)
{
	uint64_t x;

	(void)arg;
	while (cogo_recv(there, &x, COGO_FOREVER) == 0)
		continue;
}

static void row_buffered(void)
{
	struct cogo_coro *from[SIDES], *to[SIDES];

	n = number("n", 4000000);
	turns = n / SIDES;
	there = cogo_chan_new(sizeof(uint64_t), ROOM);
	begin();
	for (int i = 0; i < SIDES; i++) {
		from[i] = start(fill, NULL);
		to[i] = start(empty, NULL);
	}
	for (int i = 0; i < SIDES; i++)
		cogo_join(from[i]);
	cogo_chan_close(there);
	for (int i = 0; i < SIDES; i++)
		cogo_join(to[i]);
	end(n, NULL);
}

static struct cogo_chan *any[64];
static long k;

static void send_to_any(void *arg)
{
	uint64_t seed = 88172645463325252;

	(void)arg;
	for (long i = 0; i < n; i++)
		cogo_send(any[next_random(&seed) % (uint64_t)k], &seed,
			  COGO_FOREVER);
}

static void recv_from_all(void *arg)
{
	struct cogo_case cases[64];
	uint64_t x;

	(void)arg;
	for (long i = 0; i < k; i++)
		cases[i] = (struct cogo_case){ .kind = COGO_CASE_RECV,
					       .chan = any[i], .ret_item = &x };
	for (long i = 0; i < n; i++)
		cogo_select(cases, (size_t)k, COGO_FOREVER);
}

static void row_select(void)
{
	n = number("n", 1000000);
	k = number("k", 2);
	if (k > 64)
		exit(2);
	for (long i = 0; i < k; i++)
		any[i] = cogo_chan_new(sizeof(uint64_t), 0);
	begin();
	start_two(recv_from_all, NULL, send_to_any, NULL);
	end(n, NULL);
}

static struct cogo_mutex mutex;
static long counter;

static void row_mutex(void)
{
	n = number("n", 20000000);
	begin();
	for (long i = 0; i < n; i++) {
		cogo_mutex_lock(&mutex);
		counter++;
		cogo_mutex_unlock(&mutex);
	}
	end(n, NULL);
}

static void contend(void *arg)
{
	(void)arg;
	for (long i = 0; i < turns; i++) {
		cogo_mutex_lock(&mutex);
		counter++;
		cogo_mutex_unlock(&mutex);
	}
}

static void row_contended(void)
{
	struct cogo_coro *c[HOLDERS];

	n = number("n", 6400000);
	turns = n / HOLDERS;
	begin();
	for (int i = 0; i < HOLDERS; i++)
		c[i] = start(contend, NULL);
	for (int i = 0; i < HOLDERS; i++)
		cogo_join(c[i]);
	end(turns * HOLDERS, NULL);
	if (counter != turns * HOLDERS)
		abort();
}

static void sleep_so_long(void *arg)
{
	long i = (long)(intptr_t)arg;

	cogo_sleep(moments[i] - cogo_now());
	woke(i);
	cogo_waitgroup_done(&wg);
}

static void row_timers(void)
{
	n = number("n", 100000);
	begin_timers(n);
	cogo_waitgroup_add(&wg, (int32_t)n);
	for (long i = 0; i < n; i++) {
		choose_moment(i);
		cogo_drop(start(sleep_so_long, (void *)(intptr_t)i));
	}
	all_made();
	cogo_waitgroup_wait(&wg, COGO_FOREVER);
	end_timers(n);
}

static struct cogo_latch latch;

static void wait_for_latch(void *arg)
{
	(void)arg;
	cogo_waitgroup_done(&wg);
	cogo_latch_wait(&latch, COGO_FOREVER);
}

static void row_memory(void)
{
	n = number("n", 100000);
	cogo_waitgroup_add(&wg, (int32_t)n);
	begin_memory();
	for (long i = 0; i < n; i++)
		cogo_drop(start(wait_for_latch, NULL));
	cogo_waitgroup_wait(&wg, COGO_FOREVER);
	/* The last has counted; that it waits as well takes a moment. */
	cogo_sleep(10 * COGO_MS);
	end_memory(n);
	exit(0);
}

static const struct micro_row rows[] = {
	{ "switch", row_switch },	  { "spawn", row_spawn },
	{ "waves", row_waves },		  { "fan-in", row_fan_in },
	{ "rendezvous", row_rendezvous }, { "buffered", row_buffered },
	{ "select", row_select },	  { "mutex", row_mutex },
	{ "contended", row_contended },	  { "timers", row_timers },
	{ "memory", row_memory },
};

static void run_row(void *arg)
{
	((const struct micro_row *)arg)->run();
}

static void run(const struct micro_row *row)
{
	const char *tls = key("tls");

	if (tls && strcmp(tls, "shared") == 0)
		attr.flags |= COGO_SHARED_TLS;
	cogo_join(start(run_row, (void *)(uintptr_t)row));
}

/* The library reads its variables when it is loaded: they are for the program that
 * takes the place of this one. */
static void set_workers(char **argv)
{
	const char *is = getenv("COGO_WORKERS"), *want = key("workers");

	if (!want)
		want = "1";
	if (is && strcmp(is, want) == 0)
		return;
	setenv("COGO_WORKERS", want, 1);
	execv("/proc/self/exe", argv);
	perror("exec");
	exit(1);
}

int main(int argc, char **argv)
{
	micro_argc = argc;
	micro_argv = argv;
	set_workers(argv);
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
