/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_cq.c - completion queues. */
#include "with.h"
#include "cogo/cq.h"
#include "cogo/select.h"

Test(cq, completing_never_waits_and_polling_keeps_the_order)
{
	struct cogo_cq *cq = cogo_cq_new(1);
	struct cogo_event e;

	with(1);
	for (intptr_t i = 0; i < 1000; i++) {
		check_eq(cogo_cq_complete(cq, 3, 2 * i), 0);
		check_eq(cogo_cq_complete(cq, 3, 2 * i + 1), 0);
		check_eq(cogo_cq_poll(cq, &e, 0), 0);
		check_eq(e.token, 3);
		check_eq(e.extra, i);
	}
	cogo_cq_done(cq);
	for (intptr_t i = 1000; i < 2000; i++) {
		check_eq(cogo_cq_poll(cq, &e, COGO_FOREVER), 0);
		check_eq(e.extra, i);
	}
	check_eq(cogo_cq_poll(cq, &e, COGO_FOREVER), -EPIPE);
	cogo_cq_free(cq);
	cogo_cq_free(NULL);
}

Test(cq, it_is_finished_with_its_last_producer)
{
	struct cogo_cq *cq = cogo_cq_new(0);
	struct cogo_event e;

	with(1);
	check_eq(cogo_cq_poll(cq, &e, 0), -ETIMEDOUT);
	cogo_cq_add_producer(cq);
	cogo_cq_add_producer(cq);
	cogo_cq_done(cq);
	check_eq(cogo_cq_poll(cq, &e, sys_now() + COGO_MS), -ETIMEDOUT);
	cogo_cq_done(cq);
	check_eq(cogo_cq_poll(cq, &e, COGO_FOREVER), -EPIPE);
	check_eq(cogo_cq_complete(cq, 0, 0), -EPIPE);
	cogo_cq_free(cq);
}

#define PRODUCERS 50
#define EACH	  400

static struct cogo_cq *queue;
static _Atomic uintptr_t numbers;

static void produce(void *arg)
{
	uintptr_t me = numbers++;

	(void)arg;
	for (intptr_t i = 0; i < EACH; i++) {
		check_eq(cogo_cq_complete(queue, me, i), 0);
		if (i % 16 == (intptr_t)me % 16)
			yield();
	}
	cogo_cq_done(queue);
}

static void *produce_on_a_thread(void *arg)
{
	struct coro *c = coro_adopt(CORO_KIND_THREAD);

	for (intptr_t i = 0; i < EACH; i++)
		check_eq(cogo_cq_complete(queue, PRODUCERS, i), 0);
	cogo_cq_done(queue);
	coro_put_thread(c);
	return arg;
}

/* No lock, and none needed: bottom halves come one after another. */
static long seen[PRODUCERS + 1];

static void poll_all(void *arg)
{
	struct cogo_event e;
	int r;

	(void)arg;
	while ((r = cogo_cq_poll(queue, &e, COGO_FOREVER)) == 0)
		check_eq(e.extra, seen[e.token]++);
	check_eq(r, -EPIPE);
	cogo_cq_free(queue);
}

Test(cq, each_completion_has_one_bottom_half_and_each_producers_keep_their_order)
{
	pthread_t t;

	with(2);
	queue = cogo_cq_new(PRODUCERS + 1);
	go(poll_all, NULL);
	for (int i = 0; i < PRODUCERS; i++)
		go(produce, NULL);
	check_eq(pthread_create(&t, NULL, produce_on_a_thread, NULL), 0);
	pthread_join(t, NULL);
	join_all();
	for (int i = 0; i <= PRODUCERS; i++)
		check_eq(seen[i], EACH);
}

Test(cq, a_select_can_wait_for_it)
{
	struct cogo_cq *cq = cogo_cq_new(1);
	struct cogo_event e = { 0 };
	int got = 0;

	with(1);
	cogo_cq_complete(cq, 1, 5);
	cogo_cq_done(cq);
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(cogo_cq_chan(cq), e) {
		if (COGO_RESULT)
			break;
		got++;
		check_eq(e.extra, 5);
	}
	}
	check_eq(got, 1);
	cogo_cq_free(cq);
}
