/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync - every call of cogo/sync.h, in the use that it is for.
 *
 *	cc sync.c -o sync $(pkg-config --cflags --libs cogo)
 *	./sync
 *
 * All of them are zeroed memory to begin with, and need not be destroyed. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs fn(arg) on a coroutine of its own, and waits for its end. */
static int elsewhere(void (*fn)(void *), void *arg)
{
	struct cogo_coro *c;

	must(cogo_go(&c, NULL, fn, arg) == 0);
	return cogo_join(c);
}

/* ---- mutex ---- */

struct counter {
	struct cogo_mutex lock;
	int value;
};

static int count(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 100; i++) {
		cogo_mutex_lock(&c->lock);
		int before = c->value;

		cogo_yield();		/* others may run, and have to wait */
		c->value = before + 1;
		cogo_mutex_unlock(&c->lock);
	}
	return 0;
}

/* cogo_mutex_lock and cogo_mutex_unlock: one at a time. */
static void one_at_a_time(void)
{
	struct counter c = { 0 };

	cogo_scope (s, NULL)
		for (int i = 0; i < 4; i++)
			cogo_scope_go(s, NULL, count, &c);
	must(c.value == 400);
}

static void find_it_taken(void *lock)
{
	must(cogo_mutex_trylock(lock) == -EBUSY);
	must(cogo_mutex_lock_until(lock, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_mutex_unlock(lock) == -EPERM);	/* it is not his */
}

/* cogo_mutex_trylock does not wait, cogo_mutex_lock_until not for ever. */
static void not_at_any_price(void)
{
	struct cogo_mutex m = { 0 };

	must(cogo_mutex_trylock(&m) == 0);
	must(cogo_mutex_lock(&m) == -EDEADLK);		/* the caller has it */
	must(elsewhere(find_it_taken, &m) == COGO_RETURNED);
	must(cogo_mutex_unlock(&m) == 0);
	must(cogo_mutex_lock_until(&m, cogo_in(COGO_SEC)) == 0);
	must(cogo_mutex_unlock(&m) == 0);
}

struct account {
	struct cogo_mutex lock;
	int money, reserved;		/* together always 100 */
};

static void stop_halfway(void *arg)
{
	struct account *a = arg;

	cogo_mutex_lock(&a->lock);
	a->money -= 30;
	/* It ends here, without the other half, and still has the lock. */
}

/* Who ends with a lock leaves the data half changed. The next one is told so,
 * -EOWNERDEAD, and has the lock: it repairs, says cogo_mutex_consistent, and goes
 * on as usual. */
static void repaired_after_a_death(void)
{
	struct account a = { .money = 100 };

	elsewhere(stop_halfway, &a);
	must(cogo_mutex_lock(&a.lock) == -EOWNERDEAD);
	a.reserved = 100 - a.money;
	must(cogo_mutex_consistent(&a.lock) == 0);
	must(cogo_mutex_unlock(&a.lock) == 0);

	must(cogo_mutex_lock(&a.lock) == 0);
	must(a.money + a.reserved == 100);
	must(cogo_mutex_consistent(&a.lock) == -EINVAL); /* it is, already */
	must(cogo_mutex_unlock(&a.lock) == 0);
}

/* Who cannot repair unlocks without saying so, and nobody uses the data again. To
 * begin anew, with new data, is to zero it. */
static void given_up_after_a_death(void)
{
	struct account a = { .money = 100 };

	elsewhere(stop_halfway, &a);
	must(cogo_mutex_lock(&a.lock) == -EOWNERDEAD);
	must(cogo_mutex_unlock(&a.lock) == 0);
	must(cogo_mutex_lock(&a.lock) == -ENOTRECOVERABLE);
	must(cogo_mutex_trylock(&a.lock) == -ENOTRECOVERABLE);

	a = (struct account){ .money = 100 };
	must(cogo_mutex_lock(&a.lock) == 0);
	must(cogo_mutex_unlock(&a.lock) == 0);
}

/* ---- condition ---- */

struct box {
	struct cogo_mutex lock;
	struct cogo_cond changed;
	int full, closed, taken;
};

static int take_all(void *arg)
{
	struct box *b = arg;

	cogo_mutex_lock(&b->lock);
	for (;;) {
		while (!b->full && !b->closed)
			cogo_cond_wait(&b->changed, &b->lock, COGO_FOREVER);
		if (!b->full)
			break;
		b->full--;
		b->taken++;
	}
	cogo_mutex_unlock(&b->lock);
	return 0;
}

/* cogo_cond_signal wakes one, for one thing that one can take; cogo_cond_broadcast
 * all, for what concerns all. Who waits looks again, in a loop. */
static void waiting_for_a_change(void)
{
	struct box b = { 0 };

	cogo_scope (s, NULL) {
		for (int i = 0; i < 3; i++)
			cogo_scope_go(s, NULL, take_all, &b);
		for (int i = 0; i < 10; i++) {
			cogo_mutex_lock(&b.lock);
			b.full++;
			cogo_mutex_unlock(&b.lock);
			cogo_cond_signal(&b.changed);
		}
		cogo_mutex_lock(&b.lock);
		b.closed = 1;
		cogo_mutex_unlock(&b.lock);
		cogo_cond_broadcast(&b.changed);
	}
	must(b.taken == 10 && b.full == 0);
}

/* With a deadline; the lock is the caller's again, whatever happened. */
static void a_change_that_does_not_come(void)
{
	struct box b = { 0 };
	int r = 0;

	cogo_mutex_lock(&b.lock);
	while (r == 0 && !b.full)
		r = cogo_cond_wait(&b.changed, &b.lock, cogo_in(COGO_MS));
	must(r == -ETIMEDOUT);
	must(cogo_mutex_unlock(&b.lock) == 0);
}

/* ---- read-write lock ---- */

static void read_beside(void *lock)
{
	must(cogo_rwlock_read_trylock(lock) == 0);
	must(cogo_rwlock_unlock(lock) == 0);
	must(cogo_rwlock_read_lock_until(lock, cogo_in(COGO_SEC)) == 0);
	must(cogo_rwlock_unlock(lock) == 0);
	must(cogo_rwlock_write_trylock(lock) == -EBUSY);
	must(cogo_rwlock_write_lock_until(lock, cogo_in(COGO_MS)) == -ETIMEDOUT);
}

/* Any number may read at a time, and then nobody writes. */
static void readers_together(void)
{
	struct cogo_rwlock l = { 0 };

	must(cogo_rwlock_read_lock(&l) == 0);
	must(elsewhere(read_beside, &l) == COGO_RETURNED);
	must(cogo_rwlock_unlock(&l) == 0);
	must(cogo_rwlock_unlock(&l) == -EPERM);		/* nobody is in */
}

static void find_a_writer(void *lock)
{
	must(cogo_rwlock_read_trylock(lock) == -EBUSY);
	must(cogo_rwlock_read_lock_until(lock, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_rwlock_write_trylock(lock) == -EBUSY);
	must(cogo_rwlock_unlock(lock) == -EPERM);
}

/* One who writes is alone. */
static void a_writer_alone(void)
{
	struct cogo_rwlock l = { 0 };

	must(cogo_rwlock_write_lock(&l) == 0);
	must(cogo_rwlock_read_lock(&l) == -EDEADLK);
	must(elsewhere(find_a_writer, &l) == COGO_RETURNED);
	must(cogo_rwlock_unlock(&l) == 0);
	must(cogo_rwlock_write_trylock(&l) == 0);
	must(cogo_rwlock_unlock(&l) == 0);
	must(cogo_rwlock_write_lock_until(&l, cogo_in(COGO_SEC)) == 0);
	must(cogo_rwlock_unlock(&l) == 0);
}

/* ---- semaphore ---- */

struct pool {
	struct cogo_sem free;
	atomic_int used, too_many;
};

static int use(void *arg)
{
	struct pool *p = arg;
	int r = cogo_sem_acquire(&p->free);

	if (r)
		return r;		/* to end, without a token */
	if (++p->used > 2)
		p->too_many = 1;
	cogo_yield();
	p->used--;
	return cogo_sem_release(&p->free, 1);
}

/* A number of things, of which each has one: cogo_sem_acquire, cogo_sem_release. */
static void no_more_than_two(void)
{
	struct pool p = { .free = COGO_SEM_INIT(2) };
	int r;

	cogo_scope (s, &r)
		for (int i = 0; i < 10; i++)
			cogo_scope_go(s, NULL, use, &p);
	must(r == 0);
	must(!p.too_many);
}

/* cogo_sem_tryacquire does not wait, cogo_sem_acquire_until not for ever. There
 * cannot be more tokens than COGO_SEM_MOST. */
static void tokens(void)
{
	struct cogo_sem s = COGO_SEM_INIT(0);

	must(cogo_sem_tryacquire(&s) == -EBUSY);
	must(cogo_sem_acquire_until(&s, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_sem_release(&s, 3) == 0);
	must(cogo_sem_tryacquire(&s) == 0);
	must(cogo_sem_acquire_until(&s, cogo_in(COGO_SEC)) == 0);
	must(cogo_sem_acquire(&s) == 0);
	must(cogo_sem_tryacquire(&s) == -EBUSY);
	must(cogo_sem_release(&s, COGO_SEM_MOST) == 0);
	must(cogo_sem_release(&s, 1) == -EOVERFLOW);
}

/* ---- barrier ---- */

struct steps {
	struct cogo_barrier all;
	atomic_int arrived, last;
};

static int take_steps(void *arg)
{
	struct steps *s = arg;

	for (int step = 1; step <= 5; step++) {
		s->arrived++;
		int r = cogo_barrier_wait(&s->all, 3, COGO_FOREVER);

		if (r < 0)
			return r;
		s->last += r;			/* one of three has a 1 */
		must(s->arrived >= 3 * step);	/* all have done this step */
	}
	return 0;
}

/* Nobody begins a step before all have done the one before. */
static void step_by_step(void)
{
	struct steps steps = { 0 };
	int r;

	cogo_scope (s, &r)
		for (int i = 0; i < 3; i++)
			cogo_scope_go(s, NULL, take_steps, &steps);
	must(r == 0);
	must(steps.arrived == 15 && steps.last == 5);
}

/* ---- once ---- */

static struct cogo_once started;
static struct cogo_lazy table;
static int starts, tables;

static void start(void *arg)
{
	(void)arg;
	starts++;
}

static void *make_table(void *size)
{
	tables++;
	return calloc(*(int *)size, sizeof(int));
}

static int ask(void *arg)
{
	int size = 100;
	void **ret = arg;

	cogo_once_do(&started, start, NULL);
	must(starts == 1);
	*ret = cogo_lazy_get(&table, make_table, &size);
	return *ret ? 0 : -ENOMEM;
}

/* cogo_once_do: whoever comes first does it, the others find it done.
 * cogo_lazy_get: whoever comes first makes it, and all get the same. */
static void done_once(void)
{
	void *got[4];
	int r;

	cogo_scope (s, &r)
		for (int i = 0; i < 4; i++)
			cogo_scope_go(s, NULL, ask, &got[i]);
	must(r == 0);
	must(starts == 1 && tables == 1);
	for (int i = 1; i < 4; i++)
		must(got[i] == got[0]);
	free(got[0]);
}

/* ---- wait group ---- */

static atomic_int finished;

static void work(struct cogo_waitgroup *wg)
{
	finished++;
	cogo_waitgroup_done(wg);
}

/* cogo_waitgroup_add before each piece of work begins, cogo_waitgroup_done at its
 * end, cogo_waitgroup_wait for the last. */
static void work_in_flight(void)
{
	static struct cogo_waitgroup wg;

	cogo_waitgroup_add(&wg, 1);
	must(cogo_waitgroup_wait(&wg, cogo_in(COGO_MS)) == -ETIMEDOUT);
	cogo_waitgroup_add(&wg, 9);
	for (int i = 0; i < 10; i++)
		must(go(work, &wg) == 0);
	must(cogo_waitgroup_wait(&wg, COGO_FOREVER) == 0);
	must(finished == 10);
}

/* ---- latch ---- */

struct opening {
	struct cogo_latch open;
	int price;
};

static int buy(void *arg)
{
	struct opening *o = arg;
	int r = cogo_latch_wait(&o->open, COGO_FOREVER);

	if (r == 0)
		must(o->price == 12);	/* what was written before is seen */
	return r;
}

/* Something that happens once, such as that all is set up: cogo_latch_fire lets all
 * go on who wait, and those who come later do not wait. */
static void wait_until_it_opens(void)
{
	struct opening o = { 0 };
	int r;

	must(!cogo_latch_fired(&o.open));
	must(cogo_latch_wait(&o.open, cogo_in(COGO_MS)) == -ETIMEDOUT);
	cogo_scope (s, &r) {
		cogo_scope_go(s, NULL, buy, &o);
		cogo_scope_go(s, NULL, buy, &o);
		o.price = 12;
		must(cogo_latch_fire(&o.open));
		must(!cogo_latch_fire(&o.open));	/* it was already */
	}
	must(r == 0);
	must(cogo_latch_fired(&o.open));
	must(cogo_latch_wait(&o.open, 0) == 0);
}

int main(void)
{
	one_at_a_time();
	not_at_any_price();
	repaired_after_a_death();
	given_up_after_a_death();
	waiting_for_a_change();
	a_change_that_does_not_come();
	readers_together();
	a_writer_alone();
	no_more_than_two();
	tokens();
	step_by_step();
	done_once();
	work_in_flight();
	wait_until_it_opens();
	puts("sync: ok");
	return 0;
}
