/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pth.c - the small measurements of micro.h, by GNU Pth, which has one worker.
 *
 * Each turn of its scheduler walks all who wait and asks the kernel what signals there
 * are: an operation takes microseconds, and more the more threads there are. So switch,
 * fan-in, buffered, timers and memory have a smaller n here, unless one is given. */
#include "micro.h"
#include <pth.h>

static pth_attr_t joined, detached;
static long n, turns;

static pth_t start(pth_attr_t attr, void *(*fn)(void *), void *arg)
{
	pth_t t = pth_spawn(attr, fn, arg);

	if (!t) {
		perror("pth_spawn");
		exit(1);
	}
	return t;
}

static void *join(pth_t t)
{
	void *result;

	if (!pth_join(t, &result))
		abort();
	return result;
}

static void start_two(void *(*fn)(void *), void *(*other)(void *))
{
	pth_t a = start(joined, fn, NULL), b = start(joined, other, NULL);

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
		pth_yield(NULL);
	return arg;
}

static void row_switch(void)
{
	n = number("n", 1000000);
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
		if (join(start(joined, nothing, &n)) != &n)
			abort();
	end(n, NULL);
}

static void row_waves(void)
{
	static pth_t wave[WAVE];
	long waves = number("n", 1000000) / WAVE;

	begin();
	for (long i = 0; i < waves; i++) {
		for (int k = 0; k < WAVE; k++)
			wave[k] = start(joined, nothing, &wave[k]);
		for (int k = 0; k < WAVE; k++)
			if (join(wave[k]) != &wave[k])
				abort();
	}
	end(waves * WAVE, NULL);
}

/* A wait group. What one thread does without a call is not interrupted by another. */
static pth_mutex_t mutex = PTH_MUTEX_INIT;
static pth_cond_t zero = PTH_COND_INIT;
static long left;

static void *count_down(void *arg)
{
	if (--left == 0)
		pth_cond_notify(&zero, TRUE);
	return arg;
}

static void wait_for_all(void)
{
	pth_mutex_acquire(&mutex, FALSE, NULL);
	while (left > 0)
		pth_cond_await(&zero, &mutex, NULL);
	pth_mutex_release(&mutex);
}

static void row_fan_in(void)
{
	long times = number("n", 100000) / FAN_IN;

	begin();
	for (long i = 0; i < times; i++) {
		left = FAN_IN;
		for (int k = 0; k < FAN_IN; k++)
			start(detached, count_down, NULL);
		wait_for_all();
	}
	end(times * FAN_IN, NULL);
}

struct message {
	pth_message_t head;	/* first: what a port knows of it */
	uint64_t x;
};

static pth_msgport_t there, back;

static void *call(void *arg)
{
	pth_event_t came = pth_event(PTH_EVENT_MSG, back);
	struct message m = { .head = { .m_replyport = back } };

	for (long i = 0; i < n; i++) {
		pth_msgport_put(there, &m.head);
		pth_wait(came);
		if (pth_msgport_get(back) != &m.head)
			abort();
	}
	if (m.x != (uint64_t)n)
		abort();
	pth_event_free(came, PTH_FREE_THIS);
	return arg;
}

static void *answer(void *arg)
{
	pth_event_t came = pth_event(PTH_EVENT_MSG, there);

	for (long i = 0; i < n; i++) {
		struct message *m;

		pth_wait(came);
		m = (struct message *)pth_msgport_get(there);
		m->x++;
		pth_msgport_reply(&m->head);
	}
	pth_event_free(came, PTH_FREE_THIS);
	return arg;
}

static void row_rendezvous(void)
{
	n = number("n", 1000000);
	there = pth_msgport_create(NULL);
	back = pth_msgport_create(NULL);
	begin();
	start_two(answer, call);
	end(n, NULL);
}

static pth_cond_t items = PTH_COND_INIT, room = PTH_COND_INIT;
static uint64_t ring[ROOM], sum;
static unsigned int filled, emptied;
static int closed;

static void *fill(void *arg)
{
	for (uint64_t i = 0; i < (uint64_t)turns; i++) {
		pth_mutex_acquire(&mutex, FALSE, NULL);
		while (filled - emptied == ROOM)
			pth_cond_await(&room, &mutex, NULL);
		ring[filled++ % ROOM] = i;
		pth_mutex_release(&mutex);
		pth_cond_notify(&items, FALSE);
	}
	return arg;
}

static void *empty(void *arg)
{
	for (;;) {
		pth_mutex_acquire(&mutex, FALSE, NULL);
		while (filled == emptied && !closed)
			pth_cond_await(&items, &mutex, NULL);
		if (filled == emptied)
			break;
		sum += ring[emptied++ % ROOM];
		pth_mutex_release(&mutex);
		pth_cond_notify(&room, FALSE);
	}
	pth_mutex_release(&mutex);
	return arg;
}

static void row_buffered(void)
{
	pth_t from[SIDES], to[SIDES];

	n = number("n", 400000);
	turns = n / SIDES;
	begin();
	for (int i = 0; i < SIDES; i++) {
		from[i] = start(joined, fill, NULL);
		to[i] = start(joined, empty, NULL);
	}
	for (int i = 0; i < SIDES; i++)
		join(from[i]);
	closed = 1;
	pth_cond_notify(&items, TRUE);
	for (int i = 0; i < SIDES; i++)
		join(to[i]);
	end(turns * SIDES, NULL);
	if (sum != (uint64_t)turns * (uint64_t)(turns - 1) / 2 * SIDES)
		abort();
}

static pth_msgport_t any[64];
static long k;
static uint64_t sent;

/* A port is a queue: who sends waits for the reply, so that it is handed over. */
static void *send_to_any(void *arg)
{
	uint64_t seed = 88172645463325252;
	struct message m = { .head = { .m_replyport = back } };
	pth_event_t came = pth_event(PTH_EVENT_MSG, back);

	for (long i = 0; i < n; i++) {
		m.x = next_random(&seed);
		sent += m.x;
		pth_msgport_put(any[m.x % (uint64_t)k], &m.head);
		pth_wait(came);
		pth_msgport_get(back);
	}
	pth_event_free(came, PTH_FREE_THIS);
	return arg;
}

static void *recv_from_all(void *arg)
{
	pth_event_t all = NULL, came[64];

	for (long i = 0; i < k; i++) {
		came[i] = pth_event(PTH_EVENT_MSG, any[i]);
		all = all ? pth_event_concat(all, came[i], NULL) : came[i];
	}
	for (long i = 0; i < n; i++) {
		struct message *m;
		long which = 0;

		pth_wait(all);
		while (pth_event_status(came[which]) != PTH_STATUS_OCCURRED)
			which++;
		m = (struct message *)pth_msgport_get(any[which]);
		sum += m->x;
		pth_msgport_reply(&m->head);
	}
	pth_event_free(all, PTH_FREE_ALL);
	return arg;
}

static void row_select(void)
{
	n = number("n", 1000000);
	k = number("k", 2);
	if (k > 64)
		exit(2);
	for (long i = 0; i < k; i++)
		any[i] = pth_msgport_create(NULL);
	back = pth_msgport_create(NULL);
	begin();
	start_two(recv_from_all, send_to_any);
	end(n, "\"note\": \"message ports, each message with a reply\"");
	if (sum != sent)
		abort();
}

static long counter;

static void *contend(void *arg)
{
	for (long i = 0; i < turns; i++) {
		pth_mutex_acquire(&mutex, FALSE, NULL);
		counter++;
		pth_mutex_release(&mutex);
	}
	return arg;
}

static void row_mutex(void)
{
	n = turns = number("n", 20000000);
	begin();
	contend(NULL);
	end(n, NULL);
	if (counter != n)
		abort();
}

static void row_contended(void)
{
	pth_t t[HOLDERS];

	n = number("n", 6400000);
	turns = n / HOLDERS;
	begin();
	for (int i = 0; i < HOLDERS; i++)
		t[i] = start(joined, contend, NULL);
	for (int i = 0; i < HOLDERS; i++)
		join(t[i]);
	end(turns * HOLDERS, NULL);
	if (counter != turns * HOLDERS)
		abort();
}

/* Pth counts in microseconds. */
static void *sleep_until(void *arg)
{
	long i = (long)(intptr_t)arg;
	long us = (long)(moments[i] - clock_ns(CLOCK_MONOTONIC) + 999) / 1000;

	if (us > 0)
		pth_nap(pth_time(us / 1000000, us % 1000000));
	woke(i);
	return count_down(arg);
}

static void row_timers(void)
{
	n = number("n", 10000);
	begin_timers(n);
	left = n;
	for (long i = 0; i < n; i++) {
		choose_moment(i);
		start(detached, sleep_until, (void *)(intptr_t)i);
	}
	all_made();
	wait_for_all();
	end_timers(n);
}

static pth_cond_t latch = PTH_COND_INIT;
static int opened;

static void *wait_for_latch(void *arg)
{
	pth_mutex_acquire(&mutex, FALSE, NULL);
	count_down(arg);
	while (!opened)
		pth_cond_await(&latch, &mutex, NULL);
	return arg;
}

static void row_memory(void)
{
	n = number("n", 2000);
	left = n;
	begin_memory();
	for (long i = 0; i < n; i++)
		start(detached, wait_for_latch, NULL);
	wait_for_all();
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

static void run(const struct micro_row *row)
{
	if (number("workers", 1) > 1) {
		fprintf(stderr, "pth has one worker\n");
		exit(77);
	}
	pth_init();
	joined = pth_attr_new();
	detached = pth_attr_new();
	pth_attr_set(joined, PTH_ATTR_STACK_SIZE, 64 << 10);
	pth_attr_set(detached, PTH_ATTR_STACK_SIZE, 64 << 10);
	pth_attr_set(detached, PTH_ATTR_JOINABLE, FALSE);
	row->run();
}

int main(int argc, char **argv)
{
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
