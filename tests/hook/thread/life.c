/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* life.c - how threads are made, joined, let go and named. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/types.h>

#include "../../support/expect.h"

static void *give_back(void *arg)
{
	return arg;
}

static void *exit_with(void *arg)
{
	pthread_exit(arg);
}

/* ---- join ---- */

static void join_gives_what_the_thread_returned_or_exited_with(void)
{
	pthread_t t[100];

	for (intptr_t i = 0; i < 100; i++)
		t[i] = start(i % 2 ? give_back : exit_with, (void *)(i * 3));
	for (intptr_t i = 0; i < 100; i++)
		EXPECT(finish(t[i]) == (void *)(i * 3));
}

static long plain;

static void *write_plain(void *arg)
{
	plain = (long)(intptr_t)arg;
	return arg;
}

static void what_a_thread_wrote_is_seen_once_it_is_joined(void)
{
	for (intptr_t i = 1; i < 500; i++) {
		finish(start(write_plain, (void *)i));
		EXPECT_EQ(plain, i);
	}
}

static void *make_next(void *arg)
{
	intptr_t left = (intptr_t)arg;

	if (left == 0)
		return (void *)0;
	return (void *)((intptr_t)finish(start(make_next, (void *)(left - 1))) +
			1);
}

static void a_thread_makes_a_thread_that_makes_a_thread(void)
{
	EXPECT_EQ((intptr_t)finish(start(make_next, (void *)200)), 200);
}

/* t[i] joins t[i - 1]. */
static pthread_t chain[100];

static void *join_one_before(void *arg)
{
	intptr_t i = (intptr_t)arg;
	void *ret = NULL;

	if (i == 0) {
		nap_us(20000);
		return (void *)1;
	}
	if (pthread_join(chain[i - 1], &ret))
		return NULL;
	return (void *)((intptr_t)ret + 1);
}

static void a_chain_of_joiners_falls_from_its_first(void)
{
	for (intptr_t i = 0; i < 100; i++)
		chain[i] = start(join_one_before, (void *)i);
	EXPECT_EQ((intptr_t)finish(chain[99]), 100);
}

static void *join_oneself(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)pthread_join(pthread_self(), NULL);
}

static void joining_oneself_is_a_deadlock(void)
{
	EXPECT_EQ((intptr_t)finish(start(join_oneself, NULL)), EDEADLK);
	EXPECT_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
}

static atomic_bool may_end;

static void *wait_to_end(void *arg)
{
	WAIT_UNTIL(atomic_load(&may_end));
	return arg;
}

static void tryjoin_does_not_wait(void)
{
	void *ret = NULL;
	pthread_t t;

	atomic_store(&may_end, false);
	t = start(wait_to_end, &ret);
	EXPECT_EQ(pthread_tryjoin_np(t, &ret), EBUSY);
	atomic_store(&may_end, true);
	WAIT_UNTIL(pthread_tryjoin_np(t, &ret) == 0);
	EXPECT(ret == &ret);
}

static void timed_joins_give_up_in_time_and_not_before(void)
{
	struct timespec due, past = {1, 0};
	void *ret = NULL;
	pthread_t t;

	atomic_store(&may_end, false);
	t = start(wait_to_end, &ret);
	due = in_ms(CLOCK_REALTIME, 30);
	EXPECT_EQ(pthread_timedjoin_np(t, &ret, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
	due = in_ms(CLOCK_MONOTONIC, 30);
	EXPECT_EQ(pthread_clockjoin_np(t, &ret, CLOCK_MONOTONIC, &due), ETIMEDOUT);
	EXPECT(now_ns(CLOCK_MONOTONIC) >=
	       due.tv_sec * 1000000000LL + due.tv_nsec);
	EXPECT_EQ(pthread_timedjoin_np(t, &ret, &past), ETIMEDOUT);
	EXPECT_EQ(pthread_clockjoin_np(t, &ret, CLOCK_THREAD_CPUTIME_ID, &due),
		  EINVAL);
	atomic_store(&may_end, true);
	due = in_ms(CLOCK_REALTIME, 60000);
	EXPECT_EQ(pthread_timedjoin_np(t, &ret, &due), 0);
	EXPECT(ret == &ret);
	/* one that has ended is joined even when the time is past */
	t = start(give_back, &may_end);
	WAIT_UNTIL(pthread_timedjoin_np(t, &ret, &past) == 0);
	EXPECT(ret == &may_end);
}

/* ---- detach ---- */

#define DETACHED 2000

static atomic_int gone;

static void *go(void *arg)
{
	if ((intptr_t)arg % 3 == 0)
		sched_yield();
	atomic_fetch_add(&gone, 1);
	return NULL;
}

static void detached_threads_come_and_go_by_themselves(void)
{
	pthread_attr_t attr;
	pthread_t t;

	atomic_store(&gone, 0);
	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	for (intptr_t i = 0; i < DETACHED; i++) {
		if (i % 2) {
			EXPECT_EQ(pthread_create(&t, &attr, go, (void *)i), 0);
		} else {
			t = start(go, (void *)i);
			EXPECT_EQ(pthread_detach(t), 0);
		}
		if (i % 100 == 0)
			WAIT_UNTIL(atomic_load(&gone) >= i - 50);
	}
	WAIT_UNTIL(atomic_load(&gone) == DETACHED);
	pthread_attr_destroy(&attr);
}

static void *detach_oneself(void *arg)
{
	int err = pthread_detach(pthread_self());

	err = err ? err : pthread_detach(pthread_self()) != EINVAL;
	WAIT_UNTIL(atomic_load(&may_end));
	atomic_fetch_add(&gone, err == 0);
	return arg;
}

static void who_is_detached_cannot_be_joined(void)
{
	pthread_t t;

	atomic_store(&may_end, false);
	atomic_store(&gone, 0);
	t = start(wait_to_end, NULL);
	EXPECT_EQ(pthread_detach(t), 0);
	EXPECT_EQ(pthread_detach(t), EINVAL);
	EXPECT_EQ(pthread_join(t, NULL), EINVAL);
	EXPECT_EQ(pthread_tryjoin_np(t, NULL), EBUSY);
	t = start(detach_oneself, NULL);
	settle();
	EXPECT_EQ(pthread_join(t, NULL), EINVAL);
	atomic_store(&may_end, true);
	WAIT_UNTIL(atomic_load(&gone) == 1);
}

static void who_has_ended_can_still_be_detached(void)
{
	for (int i = 0; i < 50; i++) {
		pthread_t t = start(give_back, NULL);

		if (i % 5 == 0)
			nap_us(2000);
		EXPECT_EQ(pthread_detach(t), 0);
	}
}

/* ---- many ---- */

#define MANY 1000

static atomic_int alive;

static void *be_one_of_many(void *arg)
{
	atomic_fetch_add(&alive, 1);
	WAIT_UNTIL(atomic_load(&may_end));
	return arg;
}

static void a_thousand_threads_are_alive_at_once(void)
{
	static pthread_t t[MANY];
	pthread_attr_t attr;

	atomic_store(&may_end, false);
	atomic_store(&alive, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	for (intptr_t i = 0; i < MANY; i++)
		EXPECT_EQ(pthread_create(&t[i], &attr, be_one_of_many,
					 (void *)i), 0);
	WAIT_UNTIL(atomic_load(&alive) == MANY);
	for (int i = 1; i < MANY; i++)
		EXPECT(!pthread_equal(t[i], t[i - 1]));
	atomic_store(&may_end, true);
	for (intptr_t i = 0; i < MANY; i++)
		EXPECT(finish(t[i]) == (void *)i);
}

static void fifty_thousand_threads_one_after_another(void)
{
	for (intptr_t i = 0; i < 50000; i += 10) {
		pthread_t t[10];

		for (intptr_t k = 0; k < 10; k++)
			t[k] = start(give_back, (void *)(i + k));
		for (intptr_t k = 0; k < 10; k++)
			if (finish(t[k]) != (void *)(i + k))
				EXPECT(!"joined another");
	}
}

/* ---- who one is ---- */

struct known {
	pthread_t thread;
	atomic_bool known;
};

static void *know_oneself(void *arg)
{
	struct known *k = arg;

	WAIT_UNTIL(atomic_load(&k->known));
	for (int i = 0; i < 100; i++) {
		if (!pthread_equal(k->thread, pthread_self()))
			return NULL;
		sched_yield();
	}
	return arg;
}

static void create_and_self_agree_who_it_is(void)
{
	static struct known k[20];

	for (int i = 0; i < 20; i++) {
		k[i].thread = start(know_oneself, &k[i]);
		atomic_store(&k[i].known, true);
	}
	for (int i = 0; i < 20; i++)
		EXPECT(finish(k[i].thread) == &k[i]);
}

static pid_t tids[50];
static atomic_int tid_count;

static void *has_a_tid(void *arg)
{
	pid_t tid = gettid();
	int changed = 0;

	tids[(intptr_t)arg] = tid;
	atomic_fetch_add(&tid_count, 1);
	WAIT_UNTIL(atomic_load(&tid_count) == 50);
	EXPECT(tid != getpid());
	EXPECT_OK(syscall(SYS_tgkill, getpid(), tid, 0));
	for (int i = 0; i < 50; i++) {
		sched_yield();
		changed += gettid() != tid || syscall(SYS_gettid) != tid;
	}
	EXPECT_EQ(changed, 0);
	return arg;
}

static void whoever_asks_has_a_tid_of_its_own_for_life(void)
{
	pthread_t t[50];

	atomic_store(&tid_count, 0);
	for (intptr_t i = 0; i < 50; i++)
		t[i] = start(has_a_tid, (void *)i);
	for (intptr_t i = 0; i < 50; i++)
		EXPECT(finish(t[i]) == (void *)i);
	for (int i = 0; i < 50; i++)
		for (int k = 0; k < i; k++)
			if (tids[i] == tids[k])
				EXPECT(!"two have the same tid");
}

static void main_is_the_process(void)
{
	EXPECT_EQ(gettid(), getpid());
	EXPECT_EQ(syscall(SYS_gettid), getpid());
}

/* ---- names ---- */

static void *has_a_name(void *arg)
{
	char name[16];

	if (pthread_getname_np(pthread_self(), name, sizeof(name)) ||
	    strcmp(name, "parent's") != 0)
		return NULL;
	if (pthread_setname_np(pthread_self(), "my own"))
		return NULL;
	sched_yield();
	if (prctl(PR_GET_NAME, name) || strcmp(name, "my own") != 0)
		return NULL;
	if (prctl(PR_SET_NAME, "by prctl"))
		return NULL;
	sched_yield();
	if (pthread_getname_np(pthread_self(), name, sizeof(name)) ||
	    strcmp(name, "by prctl") != 0)
		return NULL;
	atomic_fetch_add(&alive, 1);
	WAIT_UNTIL(atomic_load(&may_end));
	if (pthread_getname_np(pthread_self(), name, sizeof(name)) ||
	    strcmp(name, "by another") != 0)
		return NULL;
	return arg;
}

static void a_name_is_inherited_set_and_seen_by_others(void)
{
	char before[16], name[16];
	pthread_t t;

	atomic_store(&may_end, false);
	atomic_store(&alive, 0);
	EXPECT_EQ(pthread_getname_np(pthread_self(), before, sizeof(before)), 0);
	EXPECT_EQ(pthread_setname_np(pthread_self(), "parent's"), 0);
	t = start(has_a_name, &t);
	WAIT_UNTIL(atomic_load(&alive) == 1);
	EXPECT_EQ(pthread_getname_np(t, name, sizeof(name)), 0);
	EXPECT_STR(name, "by prctl");
	EXPECT_EQ(pthread_setname_np(t, "by another"), 0);
	EXPECT_EQ(pthread_getname_np(t, name, sizeof(name)), 0);
	EXPECT_STR(name, "by another");
	EXPECT_EQ(pthread_setname_np(t, "sixteen letters!"), ERANGE);
	EXPECT_EQ(pthread_getname_np(t, name, 15), ERANGE);
	atomic_store(&may_end, true);
	EXPECT(finish(t) == &t);
	EXPECT_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	EXPECT_STR(name, "parent's");
	EXPECT_EQ(pthread_setname_np(pthread_self(), before), 0);
}

static const struct expect_case cases[] = {
	CASE(join_gives_what_the_thread_returned_or_exited_with),
	CASE_IN_MAIN(what_a_thread_wrote_is_seen_once_it_is_joined),
	CASE(a_thread_makes_a_thread_that_makes_a_thread),
	CASE(a_chain_of_joiners_falls_from_its_first),
	CASE(joining_oneself_is_a_deadlock),
	CASE(tryjoin_does_not_wait),
	CASE(timed_joins_give_up_in_time_and_not_before),
	CASE_IN_MAIN(timed_joins_give_up_in_time_and_not_before),
	CASE(detached_threads_come_and_go_by_themselves),
	CASE(who_is_detached_cannot_be_joined),
	CASE(who_has_ended_can_still_be_detached),
	CASE(a_thousand_threads_are_alive_at_once),
	CASE(fifty_thousand_threads_one_after_another),
	CASE(create_and_self_agree_who_it_is),
	CASE(whoever_asks_has_a_tid_of_its_own_for_life),
	CASE_IN_MAIN(main_is_the_process),
	CASE(a_name_is_inherited_set_and_seen_by_others),
};
EXPECT_MAIN(cases)
