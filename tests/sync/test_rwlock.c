/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_rwlock, through its public door. */
#include "sync/rwlock.h"
#include "world.h"

static struct cogo_rwlock l;
static _Atomic int readers, writers, order;

struct user {
	bool write, sure;
	_Atomic bool let_go;
	_Atomic int result, came;
	struct task *task;
};

static void use(void *arg)
{
	struct user *u = arg;

	if (u->sure)
		u->result = u->write ? cogo_rwlock_write_lock(&l) :
				       cogo_rwlock_read_lock(&l);
	else
		u->result = u->write ?
			cogo_rwlock_write_lock_until(&l, COGO_FOREVER) :
			cogo_rwlock_read_lock_until(&l, COGO_FOREVER);
	if (u->result)
		return;
	u->came = ++order;
	while (!u->let_go)
		yield();
	check_eq(cogo_rwlock_unlock(&l), 0);
}

static void begin_use(struct user *u, int i, bool write)
{
	u->write = write;
	u->result = 1;
	u->task = either(i, use, u);
}

static void let_go(struct user *u)
{
	u->let_go = true;
	join(u->task);
	check_eq(u->result, 0);
}

#define ROUNDS 2000
static long a, b;

static void storm(void *arg)
{
	bool write = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (write) {
			check_eq(cogo_rwlock_write_lock(&l), 0);
			check_eq(++writers, 1);
			check_eq(readers, 0);
			a++;
			if (i % 16 == 0)
				yield();
			b++;
			writers--;
		} else {
			check_eq(cogo_rwlock_read_lock(&l), 0);
			readers++;
			check_eq(writers, 0);
			check_eq(a, b);
			if (i % 16 == 0)
				yield();
			readers--;
		}
		check_eq(cogo_rwlock_unlock(&l), 0);
	}
}

Test(rwlock, many_read_or_one_writes)
{
	struct task *t[12];

	begin();
	for (int i = 0; i < 12; i++)
		t[i] = either(i, storm, i % 4 ? NULL : &l);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	check_eq(a, 3 * ROUNDS);
	check_eq(b, a);
	check_eq(cogo_rwlock_write_trylock(&l), 0);
}

Test(rwlock, the_tries_are_busy_where_they_would_wait)
{
	struct user u = { 0 };

	begin();
	check_eq(cogo_rwlock_read_trylock(&l), 0);
	check_eq(cogo_rwlock_read_trylock(&l), 0);
	check_eq(cogo_rwlock_write_trylock(&l), -EBUSY);
	check_eq(cogo_rwlock_unlock(&l), 0);
	check_eq(cogo_rwlock_write_trylock(&l), -EBUSY);
	check_eq(cogo_rwlock_unlock(&l), 0);
	begin_use(&u, 0, true);
	wait_until(u.result == 0);
	check_eq(cogo_rwlock_read_trylock(&l), -EBUSY);
	check_eq(cogo_rwlock_write_trylock(&l), -EBUSY);
	check_eq(cogo_rwlock_read_lock_until(&l, 0), -ETIMEDOUT);
	check_eq(cogo_rwlock_write_lock_until(&l, 0), -ETIMEDOUT);
	check_eq(cogo_rwlock_read_lock_until(&l, SOON), -ETIMEDOUT);
	check_eq(cogo_rwlock_write_lock_until(&l, SOON), -ETIMEDOUT);
	let_go(&u);
	check_eq(cogo_rwlock_write_lock_until(&l, 0), 0);
}

Test(rwlock, a_writer_that_locks_again_is_told_so)
{
	begin();
	check_eq(cogo_rwlock_write_lock(&l), 0);
	check_eq(cogo_rwlock_write_lock(&l), -EDEADLK);
	check_eq(cogo_rwlock_read_lock(&l), -EDEADLK);
	check_eq(cogo_rwlock_write_lock_until(&l, COGO_FOREVER), -EDEADLK);
	check_eq(cogo_rwlock_read_lock_until(&l, COGO_FOREVER), -EDEADLK);
	check_eq(cogo_rwlock_unlock(&l), 0);
	check_eq(cogo_rwlock_read_lock(&l), 0);
}

Test(rwlock, nobody_unlocks_what_nobody_has_or_another_writes)
{
	struct user u = { 0 };

	begin();
	check_eq(cogo_rwlock_unlock(&l), -EPERM);
	begin_use(&u, 0, true);
	wait_until(u.result == 0);
	check_eq(cogo_rwlock_unlock(&l), -EPERM);
	let_go(&u);
	check_eq(cogo_rwlock_unlock(&l), -EPERM);
}

Test(rwlock, there_is_an_end_to_readers)
{
	begin();
	l.word = RWLOCK_COUNT;
	check_eq(cogo_rwlock_read_lock(&l), -EAGAIN);
	check_eq(cogo_rwlock_read_lock_until(&l, COGO_FOREVER), -EAGAIN);
	check_eq(cogo_rwlock_read_trylock(&l), -EAGAIN);
}

/* ---- whose turn it is ---- */

Test(rwlock, a_reader_that_comes_while_a_writer_waits_comes_after_it)
{
	struct user r = { 0 }, w = { 0 }, late = { 0 };

	begin();
	begin_use(&r, 0, false);
	wait_until(r.came);
	begin_use(&w, 0, true);
	until_parked(w.task);
	check_eq(cogo_rwlock_read_trylock(&l), -EBUSY);
	begin_use(&late, 0, false);
	until_parked(late.task);
	let_go(&r);
	wait_until(w.came);
	check(!late.came);
	let_go(&w);
	let_go(&late);
	check_eq(w.came, 2);
}

Test(rwlock, a_writer_that_goes_lets_the_waiting_readers_in_before_the_next_writer)
{
	struct user first = { 0 }, second = { 0 }, r[4] = { 0 };

	begin();
	begin_use(&first, 0, true);
	wait_until(first.came);
	begin_use(&second, 1, true);
	until_parked(second.task);
	for (int i = 0; i < 4; i++) {
		begin_use(&r[i], i, false);
		until_parked(r[i].task);
	}
	let_go(&first);
	for (int i = 0; i < 4; i++)
		wait_until(r[i].came);
	check(!second.came);
	for (int i = 0; i < 4; i++)
		let_go(&r[i]);
	let_go(&second);
	check_eq(second.came, 6);
}

static _Atomic int some_left;

static void some(void *arg)
{
	for (int i = 0; i < 300; i++) {
		check_eq(arg ? cogo_rwlock_write_lock(&l) :
			       cogo_rwlock_read_lock(&l), 0);
		yield();
		check_eq(cogo_rwlock_unlock(&l), 0);
	}
	some_left--;
}

static void others(void *arg)
{
	while (some_left) {
		check_eq(arg ? cogo_rwlock_write_lock(&l) :
			       cogo_rwlock_read_lock(&l), 0);
		yield();
		check_eq(cogo_rwlock_unlock(&l), 0);
	}
}

/* It would not come to its end. */
static void do_not_starve(void *who, void *rest)
{
	struct task *t[8];

	some_left = 2;
	for (int i = 0; i < 8; i++)
		t[i] = i < 6 ? either(i, others, rest) : go(some, who);
	for (int i = 0; i < 8; i++)
		join(t[i]);
}

Test(rwlock, writers_do_not_starve_among_readers)
{
	begin();
	do_not_starve(&l, NULL);
}

Test(rwlock, readers_do_not_starve_among_writers)
{
	begin();
	do_not_starve(NULL, &l);
}

/* ---- cancellation ---- */

Test(rwlock, who_is_cancelled_waiting_does_not_get_it)
{
	struct user u = { 0 }, w = { 0 }, r = { 0 };

	begin();
	begin_use(&u, 0, true);
	wait_until(u.came);
	begin_use(&w, 0, true);
	begin_use(&r, 0, false);
	until_parked(w.task);
	until_parked(r.task);
	cancel(w.task);
	cancel(r.task);
	join(w.task);
	join(r.task);
	check_eq(w.result, -ECANCELED);
	check_eq(r.result, -ECANCELED);
	let_go(&u);
	check_eq(cogo_rwlock_write_trylock(&l), 0);
}

Test(rwlock, readers_behind_a_writer_that_is_cancelled_go_in)
{
	struct user r = { 0 }, w = { 0 }, late = { 0 };

	begin();
	begin_use(&r, 0, false);
	wait_until(r.came);
	begin_use(&w, 0, true);
	until_parked(w.task);
	begin_use(&late, 0, false);
	until_parked(late.task);
	cancel(w.task);
	join(w.task);
	check_eq(w.result, -ECANCELED);
	wait_until(late.came);
	let_go(&late);
	let_go(&r);
	check_eq(cogo_rwlock_write_trylock(&l), 0);
}

Test(rwlock, the_plain_calls_wait_on_when_cancelled)
{
	struct user u = { 0 }, w = { .sure = true }, r = { .sure = true };

	begin();
	begin_use(&u, 0, true);
	wait_until(u.came);
	begin_use(&w, 0, true);
	begin_use(&r, 0, false);
	until_parked(w.task);
	until_parked(r.task);
	cancel(w.task);
	cancel(r.task);
	until_parked(w.task);
	until_parked(r.task);
	let_go(&u);
	w.let_go = true;
	let_go(&r);
	let_go(&w);
}

static void read_cancelled(void *arg)
{
	(void)arg;
	while (!cancel_wanted(self()))
		yield();
	check_eq(cogo_rwlock_read_lock_until(&l, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_rwlock_write_lock_until(&l, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_rwlock_write_lock(&l), 0);
	check_eq(cogo_rwlock_unlock(&l), 0);
}

Test(rwlock, who_is_cancelled_already_is_told_though_it_is_free)
{
	struct task *t;

	begin();
	t = go(read_cancelled, NULL);
	cancel(t);
	join(t);
}
