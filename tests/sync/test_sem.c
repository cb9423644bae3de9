/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_sem, through its public door. */
#include "world.h"

static struct cogo_sem s;
static _Atomic int inside, got;

struct takes {
	_Atomic int result;
	struct task *task;
};

static void take(void *arg)
{
	struct takes *t = arg;

	t->result = cogo_sem_acquire(&s);
	if (t->result == 0)
		got++;
}

static void begin_take(struct takes *t, int i)
{
	t->result = 1;
	t->task = either(i, take, t);
}

#define ROUNDS 2000

static void use(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		check_eq(cogo_sem_acquire(&s), 0);
		check(++inside <= 3);
		if (i % 32 == 0)
			yield();
		inside--;
		check_eq(cogo_sem_release(&s, 1), 0);
	}
}

Test(sem, no_more_have_a_token_than_there_are)
{
	struct task *t[12];

	begin();
	check_eq(cogo_sem_release(&s, 3), 0);
	for (int i = 0; i < 12; i++)
		t[i] = either(i, use, NULL);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	for (int i = 0; i < 3; i++)
		check_eq(cogo_sem_tryacquire(&s), 0);
	check_eq(cogo_sem_tryacquire(&s), -EBUSY);
}

Test(sem, it_begins_with_as_many_as_it_is_initialised_with)
{
	struct cogo_sem two = COGO_SEM_INIT(2);

	begin();
	check_eq(cogo_sem_tryacquire(&s), -EBUSY);
	check_eq(cogo_sem_acquire(&two), 0);
	check_eq(cogo_sem_acquire_until(&two, 0), 0);
	check_eq(cogo_sem_tryacquire(&two), -EBUSY);
	check_eq(cogo_sem_acquire_until(&two, 0), -ETIMEDOUT);
	check_eq(cogo_sem_acquire_until(&two, SOON), -ETIMEDOUT);
}

Test(sem, too_many_tokens_are_refused_and_none_is_added)
{
	struct cogo_sem most = COGO_SEM_INIT(COGO_SEM_MOST);

	begin();
	check_eq(cogo_sem_release(&most, 1), -EOVERFLOW);
	check_eq(cogo_sem_acquire(&most), 0);
	check_eq(cogo_sem_release(&most, 2), -EOVERFLOW);
	check_eq(cogo_sem_release(&most, UINT32_MAX), -EOVERFLOW);
	check_eq(cogo_sem_release(&most, 1), 0);
	check_eq(cogo_sem_release(&s, 0), 0);
	check_eq(cogo_sem_tryacquire(&s), -EBUSY);
}

Test(sem, a_release_of_many_wakes_as_many)
{
	struct takes t[6] = { 0 };

	begin();
	for (int i = 0; i < 6; i++) {
		begin_take(&t[i], i);
		until_parked(t[i].task);
	}
	check_eq(cogo_sem_release(&s, 4), 0);
	wait_until(got == 4);
	check_eq(cogo_sem_tryacquire(&s), -EBUSY);
	check_eq(cogo_sem_release(&s, 3), 0);
	for (int i = 0; i < 6; i++)
		join(t[i].task);
	check_eq(cogo_sem_tryacquire(&s), 0);
	check_eq(cogo_sem_tryacquire(&s), -EBUSY);
}

Test(sem, who_is_cancelled_waiting_gets_none)
{
	struct takes t = { 0 };

	begin();
	begin_take(&t, 0);
	until_parked(t.task);
	cancel(t.task);
	join(t.task);
	check_eq(t.result, -ECANCELED);
	check_eq(cogo_sem_release(&s, 1), 0);
	check_eq(cogo_sem_tryacquire(&s), 0);
}

static void take_cancelled(void *arg)
{
	while (!cancel_wanted(self()))
		yield();
	take(arg);
}

Test(sem, who_is_cancelled_already_leaves_the_token_there)
{
	struct takes t = { 0 };

	begin();
	check_eq(cogo_sem_release(&s, 1), 0);
	t.task = go(take_cancelled, &t);
	cancel(t.task);
	join(t.task);
	check_eq(t.result, -ECANCELED);
	check_eq(cogo_sem_tryacquire(&s), 0);
}

Test(sem, a_token_released_to_one_that_is_cancelled_goes_to_another)
{
	struct takes a, b;

	begin();
	for (int round = 0; round < 200; round++) {
		begin_take(&a, round);
		until_parked(a.task);
		begin_take(&b, round / 3);
		until_parked(b.task);
		cancel(a.task);
		check_eq(cogo_sem_release(&s, 1), 0);
		join(a.task);
		if (a.result == 0)
			check_eq(cogo_sem_release(&s, 1), 0);
		join(b.task);
		check_eq(b.result, 0);
		check_eq(cogo_sem_tryacquire(&s), -EBUSY);
	}
}

static void release_last(void *arg)
{
	check_eq(cogo_sem_release(arg, 1), 0);
}

Test(sem, its_memory_may_go_once_the_last_token_has_been_acquired)
{
	begin();
	for (int round = 0; round < 300; round++) {
		struct cogo_sem *mine = calloc(1, sizeof(*mine));
		struct task *t = go(release_last, mine);

		check_eq(cogo_sem_acquire(mine), 0);
		memset(mine, 0xff, sizeof(*mine));
		free(mine);
		join(t);
	}
}
