/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* key.c - values that are a thread's own, and what happens to them at its end;
 * and what is done once. */
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

#define CROWD 200

static pthread_key_t key;
static atomic_int calls, order;

static void *see(void *arg)
{
	(void)arg;
	return pthread_getspecific(key);
}

static void a_value_is_its_threads_alone(void)
{
	EXPECT_EQ(pthread_key_create(&key, NULL), 0);
	EXPECT(pthread_getspecific(key) == NULL);
	EXPECT_EQ(pthread_setspecific(key, &calls), 0);
	EXPECT(finish(start(see, NULL)) == NULL);
	EXPECT(pthread_getspecific(key) == &calls);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

/* ---- destructors ---- */

static void again(void *value)
{
	atomic_fetch_add(&calls, 1);
	EXPECT(pthread_getspecific(key) == NULL);
	pthread_setspecific(key, value);
}

static void *set_it(void *arg)
{
	pthread_setspecific(key, arg);
	return arg;
}

static void a_destructor_that_sets_again_is_called_four_times(void)
{
	atomic_store(&calls, 0);
	EXPECT_EQ(pthread_key_create(&key, again), 0);
	EXPECT(finish(start(set_it, &calls)) == &calls);
	EXPECT_EQ(atomic_load(&calls), PTHREAD_DESTRUCTOR_ITERATIONS);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

static pthread_key_t keys[3];

/* The first sets the second, which sets the third: three rounds. */
static void hand_on(void *value)
{
	intptr_t i = (intptr_t)value;

	atomic_fetch_add(&calls, 1);
	if (i < 3)
		pthread_setspecific(keys[i], (void *)(i + 1));
}

static void *set_first(void *arg)
{
	pthread_setspecific(keys[0], (void *)1);
	return arg;
}

static void destructors_may_set_other_keys(void)
{
	atomic_store(&calls, 0);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(pthread_key_create(&keys[i], hand_on), 0);
	finish(start(set_first, NULL));
	EXPECT_EQ(atomic_load(&calls), 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(pthread_key_delete(keys[i]), 0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void wait_in_destructor(void *value)
{
	int *fd = value;
	char c = 'x';

	nap_us(1000);
	pthread_mutex_lock(&mutex);
	sched_yield();
	if (write(fd[1], &c, 1) == 1 && read(fd[0], &c, 1) == 1)
		atomic_fetch_add(&calls, 1);
	pthread_mutex_unlock(&mutex);
}

static void destructors_may_wait(void)
{
	pthread_t t[20];
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	atomic_store(&calls, 0);
	EXPECT_EQ(pthread_key_create(&key, wait_in_destructor), 0);
	for (int i = 0; i < 20; i++)
		t[i] = start(set_it, fd);
	for (int i = 0; i < 20; i++)
		finish(t[i]);
	EXPECT_EQ(atomic_load(&calls), 20);
	EXPECT_EQ(pthread_key_delete(key), 0);
	close(fd[0]);
	close(fd[1]);
}

static void count(void *value)
{
	(void)value;
	atomic_fetch_add(&calls, 1);
}

static void *end_by_exit(void *arg)
{
	pthread_setspecific(key, arg);
	pthread_exit(arg);
}

static void *end_by_cancel(void *arg)
{
	pthread_setspecific(key, arg);
	for (;;)
		pause();
	return NULL;
}

static void *set_to_nothing(void *arg)
{
	pthread_setspecific(key, arg);
	pthread_setspecific(key, NULL);
	return arg;
}

static void destructors_run_however_the_thread_ends(void)
{
	pthread_t t;

	atomic_store(&calls, 0);
	EXPECT_EQ(pthread_key_create(&key, count), 0);
	finish(start(set_it, &key));
	EXPECT_EQ(atomic_load(&calls), 1);
	finish(start(end_by_exit, &key));
	EXPECT_EQ(atomic_load(&calls), 2);
	t = start(end_by_cancel, &key);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_EQ(atomic_load(&calls), 3);
	finish(start(set_to_nothing, &key));
	EXPECT_EQ(atomic_load(&calls), 3);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

static void note_cleanup(void *arg)
{
	EXPECT_EQ(atomic_fetch_add(&order, 1), 0);
	EXPECT(pthread_getspecific(key) == arg);
}

static void note_destructor(void *value)
{
	EXPECT(value != NULL);
	EXPECT_EQ(atomic_fetch_add(&order, 1), 1);
}

static void *clean_up(void *arg)
{
	pthread_setspecific(key, arg);
	pthread_cleanup_push(note_cleanup, arg);
	pthread_exit(NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cleanup_comes_before_destructors(void)
{
	atomic_store(&order, 0);
	EXPECT_EQ(pthread_key_create(&key, note_destructor), 0);
	finish(start(clean_up, &key));
	EXPECT_EQ(atomic_load(&order), 2);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

static void *make_and_use(void *arg)
{
	pthread_key_t own;

	for (int i = 0; i < 20; i++) {
		if (pthread_key_create(&own, count) ||
		    pthread_getspecific(own) != NULL ||
		    pthread_setspecific(own, arg))
			return NULL;
		sched_yield();
		if (pthread_getspecific(own) != arg || pthread_key_delete(own))
			return NULL;
	}
	return arg;
}

/* Numbers of keys are used again; what they held before is not seen. */
static void a_new_key_is_empty_in_every_thread(void)
{
	pthread_t t[CROWD];

	atomic_store(&calls, 0);
	for (intptr_t i = 0; i < CROWD; i++)
		t[i] = start(make_and_use, (void *)(i + 1));
	for (intptr_t i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	EXPECT_EQ(atomic_load(&calls), 0); /* deleted: nobody is called */
	for (int i = 0; i < 100; i++) {
		EXPECT_EQ(pthread_key_create(&key, NULL), 0);
		EXPECT(pthread_getspecific(key) == NULL);
		EXPECT_EQ(pthread_setspecific(key, &i), 0);
		EXPECT_EQ(pthread_key_delete(key), 0);
	}
}

static void keys_run_out_and_come_back(void)
{
	static pthread_key_t many[PTHREAD_KEYS_MAX + 1];
	int n = 0;

	while (n <= PTHREAD_KEYS_MAX && pthread_key_create(&many[n], NULL) == 0)
		n++;
	EXPECT(n > 900 && n <= PTHREAD_KEYS_MAX);
	EXPECT_EQ(pthread_key_create(&many[n], NULL), EAGAIN);
	/* the first and the last of so many work alike */
	EXPECT_EQ(pthread_setspecific(many[0], &n), 0);
	EXPECT_EQ(pthread_setspecific(many[n - 1], &many), 0);
	EXPECT(pthread_getspecific(many[0]) == &n);
	EXPECT(pthread_getspecific(many[n - 1]) == &many);
	for (int i = 0; i < n; i++)
		EXPECT_EQ(pthread_key_delete(many[i]), 0);
	EXPECT_EQ(pthread_key_delete(many[0]), EINVAL);
	EXPECT_EQ(pthread_setspecific(many[0], &n), EINVAL);
	EXPECT(pthread_getspecific(many[0]) == NULL);
	EXPECT_EQ(pthread_setspecific(PTHREAD_KEYS_MAX + 5, &n), EINVAL);
	EXPECT(pthread_getspecific(PTHREAD_KEYS_MAX + 5) == NULL);
}

static void *hold_value(void *arg)
{
	atomic_fetch_add(&order, 1);
	pthread_setspecific(key, arg);
	WAIT_UNTIL(atomic_load(&order) == CROWD);
	for (int i = 0; i < 50; i++) {
		sched_yield();
		if (pthread_getspecific(key) != arg)
			return NULL;
	}
	return arg;
}

static void a_crowd_has_as_many_values(void)
{
	pthread_t t[CROWD];

	atomic_store(&order, 0);
	atomic_store(&calls, 0);
	EXPECT_EQ(pthread_key_create(&key, count), 0);
	for (intptr_t i = 0; i < CROWD; i++)
		t[i] = start(hold_value, (void *)(i + 1));
	for (intptr_t i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	EXPECT_EQ(atomic_load(&calls), CROWD);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

/* ---- once ---- */

static pthread_once_t once;
static atomic_int onces;

static void slowly(void)
{
	nap_us(20000);
	atomic_fetch_add(&onces, 1);
}

static void *call_slowly(void *arg)
{
	/* whoever comes back finds it done */
	return pthread_once(&once, slowly) == 0 && atomic_load(&onces) == 1 ?
		       arg :
		       NULL;
}

static void once_is_done_once_and_all_wait_for_it(void)
{
	pthread_t t[50];

	once = (pthread_once_t)PTHREAD_ONCE_INIT;
	atomic_store(&onces, 0);
	for (int i = 0; i < 50; i++)
		t[i] = start(call_slowly, &once);
	for (int i = 0; i < 50; i++)
		EXPECT(finish(t[i]) == &once);
	EXPECT_EQ(atomic_load(&onces), 1);
}

static atomic_bool inside;

static void for_ever_the_first_time(void)
{
	if (atomic_fetch_add(&onces, 1) == 0) {
		atomic_store(&inside, true);
		for (;;)
			pause();
	}
}

static void *call_for_ever(void *arg)
{
	pthread_once(&once, for_ever_the_first_time);
	return arg;
}

static void once_begins_again_when_it_was_cancelled(void)
{
	pthread_t first, others[5];

	once = (pthread_once_t)PTHREAD_ONCE_INIT;
	atomic_store(&onces, 0);
	first = start(call_for_ever, NULL);
	WAIT_UNTIL(atomic_load(&inside));
	for (int i = 0; i < 5; i++)
		others[i] = start(call_for_ever, &once);
	settle();
	EXPECT_EQ(pthread_cancel(first), 0);
	EXPECT(finish(first) == PTHREAD_CANCELED);
	for (int i = 0; i < 5; i++)
		EXPECT(finish(others[i]) == &once);
	EXPECT_EQ(atomic_load(&onces), 2);
}

static pthread_once_t outer_once = PTHREAD_ONCE_INIT;
static pthread_once_t inner_once = PTHREAD_ONCE_INIT;
static int inner_done, outer_done;

static void do_inner(void)
{
	inner_done++;
}

static void do_outer(void)
{
	EXPECT_EQ(pthread_once(&inner_once, do_inner), 0);
	outer_done += inner_done;
}

static void one_once_may_call_another(void)
{
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(pthread_once(&outer_once, do_outer), 0);
	EXPECT_EQ(inner_done, 1);
	EXPECT_EQ(outer_done, 1);
}

static const struct expect_case cases[] = {
	CASE(a_value_is_its_threads_alone),
	CASE_IN_MAIN(a_value_is_its_threads_alone),
	CASE(a_destructor_that_sets_again_is_called_four_times),
	CASE(destructors_may_set_other_keys),
	CASE(destructors_may_wait),
	CASE(destructors_run_however_the_thread_ends),
	CASE(cleanup_comes_before_destructors),
	CASE(a_new_key_is_empty_in_every_thread),
	CASE(keys_run_out_and_come_back),
	CASE(a_crowd_has_as_many_values),
	CASE(once_is_done_once_and_all_wait_for_it),
	CASE(once_begins_again_when_it_was_cancelled),
	CASE(one_once_may_call_another),
};
EXPECT_MAIN(cases)
