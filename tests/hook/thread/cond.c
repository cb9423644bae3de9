/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cond.c - who waits for a condition is woken by it, in time or not at all. */
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int waiting, tickets, woken; /* under mutex */

/* Spurious wake-ups are allowed: a ticket is what one waits for. */
static void *wait_for_ticket(void *arg)
{
	pthread_mutex_lock(&mutex);
	waiting++;
	while (tickets == 0)
		if (pthread_cond_wait(&cond, &mutex)) {
			arg = NULL;
			break;
		}
	tickets--;
	woken++;
	pthread_mutex_unlock(&mutex);
	return arg;
}

static int look(int *what)
{
	int seen;

	pthread_mutex_lock(&mutex);
	seen = *what;
	pthread_mutex_unlock(&mutex);
	return seen;
}

#define CROWD 100

static void signals_wake_as_many_as_there_are_tickets(void)
{
	pthread_t t[CROWD];

	waiting = woken = tickets = 0;
	for (int i = 0; i < CROWD; i++)
		t[i] = start(wait_for_ticket, &cond);
	WAIT_UNTIL(look(&waiting) == CROWD);
	for (int i = 0; i < CROWD / 2; i++) {
		pthread_mutex_lock(&mutex);
		tickets++;
		if (i % 2)
			EXPECT_EQ(pthread_cond_signal(&cond), 0);
		pthread_mutex_unlock(&mutex);
		if (i % 2 == 0)
			EXPECT_EQ(pthread_cond_signal(&cond), 0);
	}
	WAIT_UNTIL(look(&woken) == CROWD / 2);
	pthread_mutex_lock(&mutex);
	tickets = CROWD / 2;
	EXPECT_EQ(pthread_cond_broadcast(&cond), 0);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == &cond);
	EXPECT_EQ(look(&tickets), 0);
}

static void a_signal_to_nobody_is_not_kept(void)
{
	struct timespec due;

	EXPECT_EQ(pthread_cond_signal(&cond), 0);
	EXPECT_EQ(pthread_cond_broadcast(&cond), 0);
	pthread_mutex_lock(&mutex);
	due = in_ms(CLOCK_REALTIME, 20);
	EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &due), ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
}

/* ---- time ---- */

static bool reached(clockid_t clock, const struct timespec *due)
{
	return EXPECT(now_ns(clock) >= due->tv_sec * 1000000000LL + due->tv_nsec);
}

static void a_timed_wait_ends_in_time_and_has_the_mutex(void)
{
	struct timespec due;

	pthread_mutex_lock(&mutex);
	due = in_ms(CLOCK_REALTIME, 20);
	while (pthread_cond_timedwait(&cond, &mutex, &due) == 0)
		;
	reached(CLOCK_REALTIME, &due);
	EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
	due = in_ms(CLOCK_MONOTONIC, 20);
	while (pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &due) == 0)
		;
	reached(CLOCK_MONOTONIC, &due);
	due = in_ms(CLOCK_REALTIME, 20);
	while (pthread_cond_clockwait(&cond, &mutex, CLOCK_REALTIME, &due) == 0)
		;
	reached(CLOCK_REALTIME, &due);
	EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
	EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

static void times_are_judged_before_the_wait(void)
{
	struct timespec past = {1, 0}, bad = {0, 1000000000}, below = {0, -1};

	pthread_mutex_lock(&mutex);
	EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &past), ETIMEDOUT);
	past.tv_sec = -5;
	EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &past), ETIMEDOUT);
	EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &bad), EINVAL);
	EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &below), EINVAL);
	EXPECT_EQ(pthread_cond_clockwait(&cond, &mutex, CLOCK_THREAD_CPUTIME_ID,
					 &past), EINVAL);
	EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

static void its_clock_is_the_one_it_was_made_with(void)
{
	pthread_condattr_t attr;
	pthread_cond_t own;
	struct timespec due;
	clockid_t clock = -1;
	int shared = -1;

	EXPECT_EQ(pthread_condattr_init(&attr), 0);
	EXPECT_EQ(pthread_condattr_getclock(&attr, &clock), 0);
	EXPECT_EQ(clock, CLOCK_REALTIME);
	EXPECT_EQ(pthread_condattr_getpshared(&attr, &shared), 0);
	EXPECT_EQ(shared, PTHREAD_PROCESS_PRIVATE);
	EXPECT_EQ(pthread_condattr_setpshared(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID),
		  EINVAL);
	EXPECT_EQ(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), 0);
	EXPECT_EQ(pthread_condattr_getclock(&attr, &clock), 0);
	EXPECT_EQ(clock, CLOCK_MONOTONIC);
	EXPECT_EQ(pthread_cond_init(&own, &attr), 0);
	EXPECT_EQ(pthread_condattr_destroy(&attr), 0);
	pthread_mutex_lock(&mutex);
	due = in_ms(CLOCK_MONOTONIC, 20);
	while (pthread_cond_timedwait(&own, &mutex, &due) == 0)
		;
	reached(CLOCK_MONOTONIC, &due);
	pthread_mutex_unlock(&mutex);
	EXPECT_EQ(pthread_cond_destroy(&own), 0);
}

static void *wait_with_time(void *arg)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 60000);
	int err = 0;

	pthread_mutex_lock(&mutex);
	waiting++;
	while (tickets == 0 && err == 0)
		err = pthread_cond_timedwait(&cond, &mutex, &due);
	tickets--;
	pthread_mutex_unlock(&mutex);
	return err ? NULL : arg;
}

static void a_signal_in_time_is_no_timeout(void)
{
	pthread_t t[10];

	waiting = tickets = 0;
	for (int i = 0; i < 10; i++)
		t[i] = start(wait_with_time, &cond);
	WAIT_UNTIL(look(&waiting) == 10);
	pthread_mutex_lock(&mutex);
	tickets = 10;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 10; i++)
		EXPECT(finish(t[i]) == &cond);
}

/* The signal and the end of the time come together, many times. Whoever lost
 * a signal to a waiter that gave up leaves somebody waiting for ever. */
static void *wait_briefly(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct timespec due = in_ms(CLOCK_REALTIME, 0);

		due.tv_nsec += 200000;
		if (due.tv_nsec >= 1000000000) {
			due.tv_nsec -= 1000000000;
			due.tv_sec++;
		}
		pthread_mutex_lock(&mutex);
		if (tickets == 0)
			pthread_cond_timedwait(&cond, &mutex, &due);
		if (tickets > 0) {
			tickets--;
			woken++;
		}
		pthread_mutex_unlock(&mutex);
	}
	return arg;
}

static void signals_meeting_timeouts_are_not_lost(void)
{
	pthread_t t[8], patient;

	waiting = woken = tickets = 0;
	patient = start(wait_for_ticket, &cond);
	WAIT_UNTIL(look(&waiting) == 1);
	for (int i = 0; i < 8; i++)
		t[i] = start(wait_briefly, &cond);
	for (int i = 0; i < 300; i++) {
		nap_us(100);
		pthread_mutex_lock(&mutex);
		tickets++;
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&mutex);
	}
	for (int i = 0; i < 8; i++)
		finish(t[i]);
	pthread_mutex_lock(&mutex);
	tickets++;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	EXPECT(finish(patient) == &cond);
	EXPECT_EQ(tickets + woken, 301);
}

/* ---- exchange ---- */

#define ROOM 8
#define ITEMS 20000

static int box[ROOM], box_in, box_out, box_n;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER;

static void put(int item)
{
	pthread_mutex_lock(&mutex);
	while (box_n == ROOM)
		pthread_cond_wait(&not_full, &mutex);
	box[box_in++ % ROOM] = item;
	box_n++;
	pthread_cond_signal(&not_empty);
	pthread_mutex_unlock(&mutex);
}

static int get(void)
{
	int item;

	pthread_mutex_lock(&mutex);
	while (box_n == 0)
		pthread_cond_wait(&not_empty, &mutex);
	item = box[box_out++ % ROOM];
	box_n--;
	pthread_mutex_unlock(&mutex);
	pthread_cond_signal(&not_full);
	return item;
}

static void *produce(void *arg)
{
	for (int i = 1; i <= ITEMS; i++)
		put(i);
	return arg;
}

static void *consume(void *arg)
{
	long sum = 0;
	int item;

	(void)arg;
	while ((item = get()) != 0)
		sum += item;
	return (void *)(intptr_t)sum;
}

static void a_bounded_buffer_loses_nothing(void)
{
	pthread_t producers[4], consumers[6];
	long sum = 0;

	for (int i = 0; i < 6; i++)
		consumers[i] = start(consume, NULL);
	for (int i = 0; i < 4; i++)
		producers[i] = start(produce, NULL);
	for (int i = 0; i < 4; i++)
		finish(producers[i]);
	for (int i = 0; i < 6; i++)
		put(0);
	for (int i = 0; i < 6; i++)
		sum += (intptr_t)finish(consumers[i]);
	EXPECT_EQ(sum, 4L * ITEMS * (ITEMS + 1) / 2);
}

static int turn;

static void *play(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 5000; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&cond, &mutex);
		turn = !me;
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&mutex);
	}
	return arg;
}

static void two_take_turns(void)
{
	pthread_t a = start(play, (void *)0), b = start(play, (void *)1);

	finish(a);
	finish(b);
	EXPECT_EQ(turn, 0);
}

/* ---- edges ---- */

static void a_wait_gives_the_mutex_away_whole(void)
{
	pthread_mutex_t own = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	struct timespec due = in_ms(CLOCK_REALTIME, 20);

	EXPECT_EQ(pthread_mutex_lock(&own), 0);
	while (pthread_cond_timedwait(&cond, &own, &due) == 0)
		;
	EXPECT_EQ(pthread_mutex_lock(&own), 0);
	EXPECT_EQ(pthread_mutex_unlock(&own), 0);
	EXPECT_EQ(pthread_mutex_unlock(&own), 0);
	EXPECT_EQ(pthread_mutex_unlock(&own), EPERM);
}

static void waiting_without_the_mutex_is_refused_where_it_is_known(void)
{
	pthread_mutex_t own = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

	EXPECT_EQ(pthread_cond_wait(&cond, &own), EPERM);
}

struct once_used {
	pthread_cond_t cond;
	pthread_mutex_t mutex;
	int waiting, go;
};

static void *use_once(void *arg)
{
	struct once_used *u = arg;

	pthread_mutex_lock(&u->mutex);
	u->waiting++;
	while (!u->go)
		pthread_cond_wait(&u->cond, &u->mutex);
	pthread_mutex_unlock(&u->mutex);
	return arg;
}

/* Destroyed as soon as all have been woken, with some not back yet. */
static void it_may_be_destroyed_once_all_are_woken(void)
{
	for (int i = 0; i < 200; i++) {
		struct once_used *u = calloc(1, sizeof(*u));
		pthread_t t[5];
		int seen = 0;

		pthread_cond_init(&u->cond, NULL);
		pthread_mutex_init(&u->mutex, NULL);
		for (int k = 0; k < 5; k++)
			t[k] = start(use_once, u);
		WAIT_UNTIL(({
			pthread_mutex_lock(&u->mutex);
			seen = u->waiting;
			pthread_mutex_unlock(&u->mutex);
			seen == 5;
		}));
		pthread_mutex_lock(&u->mutex);
		u->go = 1;
		pthread_cond_broadcast(&u->cond);
		pthread_mutex_unlock(&u->mutex);
		EXPECT_EQ(pthread_cond_destroy(&u->cond), 0);
		memset(&u->cond, 0xee, sizeof(u->cond));
		for (int k = 0; k < 5; k++)
			finish(t[k]);
		free(u);
	}
}

static const struct expect_case cases[] = {
	CASE(signals_wake_as_many_as_there_are_tickets),
	CASE_IN_MAIN(signals_wake_as_many_as_there_are_tickets),
	CASE(a_signal_to_nobody_is_not_kept),
	CASE(a_timed_wait_ends_in_time_and_has_the_mutex),
	CASE_IN_MAIN(a_timed_wait_ends_in_time_and_has_the_mutex),
	CASE(times_are_judged_before_the_wait),
	CASE(its_clock_is_the_one_it_was_made_with),
	CASE(a_signal_in_time_is_no_timeout),
	CASE(signals_meeting_timeouts_are_not_lost),
	CASE(a_bounded_buffer_loses_nothing),
	CASE_IN_MAIN(a_bounded_buffer_loses_nothing),
	CASE(two_take_turns),
	CASE(a_wait_gives_the_mutex_away_whole),
	CASE(waiting_without_the_mutex_is_refused_where_it_is_known),
	CASE(it_may_be_destroyed_once_all_are_woken),
};
EXPECT_MAIN(cases)
