/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* c11.c - threads as the C standard has them. */
#include <stdatomic.h>
#include <stdint.h>
#include <threads.h>

#include "../../support/expect.h"

static int give_back(void *arg)
{
	return (int)(intptr_t)arg;
}

static int exit_with(void *arg)
{
	thrd_exit((int)(intptr_t)arg + 1);
}

static void join_gives_what_the_thread_returned_or_exited_with(void)
{
	thrd_t t[20];
	int result;

	for (intptr_t i = 0; i < 20; i++)
		EXPECT_EQ(thrd_create(&t[i], i % 2 ? give_back : exit_with,
				      (void *)i), thrd_success);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(thrd_join(t[i], &result), thrd_success);
		EXPECT_EQ(result, i % 2 ? i : i + 1);
	}
}

static atomic_int gone;

static int go(void *arg)
{
	(void)arg;
	thrd_yield();
	atomic_fetch_add(&gone, 1);
	return 0;
}

static void detached_threads_end_by_themselves(void)
{
	thrd_t t;

	for (int i = 0; i < 100; i++) {
		EXPECT_EQ(thrd_create(&t, go, NULL), thrd_success);
		EXPECT_EQ(thrd_detach(t), thrd_success);
	}
	WAIT_UNTIL(atomic_load(&gone) == 100);
}

/* ---- very many ---- */

static mtx_t gate;
static atomic_int arrived;

static int wait_at_gate(void *arg)
{
	atomic_fetch_add(&arrived, 1);
	mtx_lock(&gate);
	mtx_unlock(&gate);
	return (int)(intptr_t)arg;
}

static void many_that_wait_are_many_threads(void)
{
	enum { MANY = 300 };
	thrd_t t[MANY];
	int result, bad = 0;

	EXPECT_EQ(mtx_init(&gate, mtx_plain), thrd_success);
	EXPECT_EQ(mtx_lock(&gate), thrd_success);
	for (intptr_t i = 0; i < MANY; i++)
		if (!EXPECT_EQ(thrd_create(&t[i], wait_at_gate, (void *)-i),
			       thrd_success))
			return;
	WAIT_UNTIL(atomic_load(&arrived) == MANY);
	if (getenv("COGO_RUN"))
		EXPECT(kernel_threads() < MANY / 4);
	EXPECT_EQ(mtx_unlock(&gate), thrd_success);
	for (int i = 0; i < MANY; i++)
		bad += thrd_join(t[i], &result) != thrd_success || result != -i;
	EXPECT_EQ(bad, 0);
	mtx_destroy(&gate);
}

static thrd_t seen;

static int tell_who(void *arg)
{
	(void)arg;
	seen = thrd_current();
	return thrd_equal(thrd_current(), seen) != 0;
}

static void a_thread_is_itself(void)
{
	thrd_t t;
	int same = 0;

	EXPECT_EQ(thrd_create(&t, tell_who, NULL), thrd_success);
	EXPECT_EQ(thrd_join(t, &same), thrd_success);
	EXPECT(same);
	EXPECT(thrd_equal(seen, t));
	EXPECT(!thrd_equal(thrd_current(), t));
	EXPECT(thrd_current() == pthread_self());
}

static void thrd_sleep_sleeps(void)
{
	struct timespec t = {0, 2000000}, bad = {0, 1000000000};
	long long from = now_ns(CLOCK_MONOTONIC);

	EXPECT_EQ(thrd_sleep(&t, NULL), 0);
	EXPECT(now_ns(CLOCK_MONOTONIC) - from >= 2000000);
	EXPECT(thrd_sleep(&bad, NULL) < -1);
}

/* ---- mtx ---- */

static mtx_t mutex;
static long counter;

static int try_as_another(void *arg)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 10);

	EXPECT_EQ(mtx_trylock(&mutex), thrd_busy);
	if (arg) {
		EXPECT_EQ(mtx_timedlock(&mutex, &due), thrd_timedout);
		EXPECT(now_ns(CLOCK_REALTIME) >=
		       due.tv_sec * 1000000000LL + due.tv_nsec);
	}
	return 0;
}

static void mutexes_are_what_they_were_made(void)
{
	static const int types[] = {mtx_plain, mtx_timed, mtx_recursive,
				    mtx_timed | mtx_recursive};
	thrd_t t;

	for (int i = 0; i < 4; i++) {
		bool again = types[i] & mtx_recursive;

		EXPECT_EQ(mtx_init(&mutex, types[i]), thrd_success);
		EXPECT_EQ(mtx_lock(&mutex), thrd_success);
		EXPECT_EQ(mtx_trylock(&mutex), again ? thrd_success : thrd_busy);
		EXPECT_EQ(thrd_create(&t, try_as_another,
				      types[i] & mtx_timed ? &mutex : NULL),
			  thrd_success);
		EXPECT_EQ(thrd_join(t, NULL), thrd_success);
		if (again)
			EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
		EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
		mtx_destroy(&mutex);
	}
}

static int add_in_turn(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		mtx_lock(&mutex);
		counter++;
		if (i % 64 == 0)
			thrd_yield();
		mtx_unlock(&mutex);
	}
	return 0;
}

static void nobody_is_in_it_together(void)
{
	thrd_t t[10];

	EXPECT_EQ(mtx_init(&mutex, mtx_plain), thrd_success);
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(thrd_create(&t[i], add_in_turn, NULL), thrd_success);
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(thrd_join(t[i], NULL), thrd_success);
	EXPECT_EQ(counter, 20000);
	mtx_destroy(&mutex);
}

/* ---- cnd ---- */

static cnd_t cond;
static int waiting, tickets;

static int wait_for_ticket(void *arg)
{
	(void)arg;
	mtx_lock(&mutex);
	waiting++;
	while (tickets == 0)
		cnd_wait(&cond, &mutex);
	tickets--;
	mtx_unlock(&mutex);
	return 7;
}

static int look_at_waiting(void)
{
	int n;

	mtx_lock(&mutex);
	n = waiting;
	mtx_unlock(&mutex);
	return n;
}

static void conditions_wake_and_give_up(void)
{
	struct timespec due;
	thrd_t t[10];
	int result;

	EXPECT_EQ(mtx_init(&mutex, mtx_plain), thrd_success);
	EXPECT_EQ(cnd_init(&cond), thrd_success);
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(thrd_create(&t[i], wait_for_ticket, NULL), thrd_success);
	WAIT_UNTIL(look_at_waiting() == 10);
	for (int i = 0; i < 5; i++) {
		mtx_lock(&mutex);
		tickets++;
		EXPECT_EQ(cnd_signal(&cond), thrd_success);
		mtx_unlock(&mutex);
	}
	mtx_lock(&mutex);
	tickets += 5;
	EXPECT_EQ(cnd_broadcast(&cond), thrd_success);
	mtx_unlock(&mutex);
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(thrd_join(t[i], &result), thrd_success);
		EXPECT_EQ(result, 7);
	}
	mtx_lock(&mutex);
	due = in_ms(CLOCK_REALTIME, 10);
	while ((result = cnd_timedwait(&cond, &mutex, &due)) == thrd_success)
		;
	EXPECT_EQ(result, thrd_timedout);
	mtx_unlock(&mutex);
	cnd_destroy(&cond);
	mtx_destroy(&mutex);
}

/* ---- tss and once ---- */

static tss_t slot;
static atomic_int destroyed;

static void destroy(void *value)
{
	if (atomic_fetch_add(&destroyed, 1) % 2 == 0)
		tss_set(slot, value); /* once more */
}

static int set_slot(void *arg)
{
	int good = tss_get(slot) == NULL && tss_set(slot, arg) == thrd_success;

	thrd_yield();
	return good && tss_get(slot) == arg;
}

static void slots_are_a_threads_own_and_destroyed_at_its_end(void)
{
	EXPECT_EQ(tss_create(&slot, destroy), thrd_success);
	for (int i = 1; i <= 5; i++) {
		int good = 0;
		thrd_t t;

		EXPECT_EQ(thrd_create(&t, set_slot, &slot), thrd_success);
		EXPECT_EQ(thrd_join(t, &good), thrd_success);
		EXPECT(good);
		EXPECT_EQ(atomic_load(&destroyed), 2 * i);
	}
	EXPECT(tss_get(slot) == NULL);
	tss_delete(slot);
}

static once_flag flag = ONCE_FLAG_INIT;
static atomic_int onces;

static void do_once(void)
{
	nap_us(5000);
	atomic_fetch_add(&onces, 1);
}

static int call_it(void *arg)
{
	(void)arg;
	call_once(&flag, do_once);
	return atomic_load(&onces);
}

static void once_is_done_once(void)
{
	thrd_t t[20];
	int result;

	for (int i = 0; i < 20; i++)
		EXPECT_EQ(thrd_create(&t[i], call_it, NULL), thrd_success);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(thrd_join(t[i], &result), thrd_success);
		EXPECT_EQ(result, 1);
	}
}

static const struct expect_case cases[] = {
	CASE(join_gives_what_the_thread_returned_or_exited_with),
	CASE_IN_MAIN(join_gives_what_the_thread_returned_or_exited_with),
	CASE(detached_threads_end_by_themselves),
	CASE(many_that_wait_are_many_threads),
	CASE(a_thread_is_itself),
	CASE(thrd_sleep_sleeps),
	CASE(mutexes_are_what_they_were_made),
	CASE(nobody_is_in_it_together),
	CASE(conditions_wake_and_give_up),
	CASE(slots_are_a_threads_own_and_destroyed_at_its_end),
	CASE(once_is_done_once),
};
EXPECT_MAIN(cases)
