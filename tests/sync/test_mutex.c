/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo_mutex, through its public door. */
#include "world.h"
#include "sync/held.h"

static struct cogo_mutex m, n;
static _Atomic int result, other, steps;

static void lock_m(void *arg)
{
	(void)arg;
	result = cogo_mutex_lock(&m);
	if (result == 0 || result == -EOWNERDEAD)
		cogo_mutex_unlock(&m);
	steps++;
}

/* Holds it until steps says otherwise. */
static void hold_m(void *arg)
{
	check_eq(cogo_mutex_lock(&m), 0);
	steps = 1;
	while (steps != 2)
		yield();
	if (!arg)
		check_eq(cogo_mutex_unlock(&m), 0);
}

static struct task *held_by_another(void *keep)
{
	struct task *t = go(hold_m, keep);

	wait_until(steps == 1);
	return t;
}

static void let_go(struct task *t)
{
	steps = 2;
	join(t);
}

static void unlock_m(void *arg)
{
	(void)arg;
	check_eq(cogo_mutex_unlock(&m), 0);
}

static void lock_and_end(void *arg)
{
	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
}

static void lock_and_panic(void *arg)
{
	struct cogo_deferred d;

	check_eq(cogo_mutex_lock(&m), arg ? -EOWNERDEAD : 0);
	defer(&d, unlock_m, NULL);
	panic();
}

static void poison(void)
{
	struct task *t = go(lock_and_panic, NULL);

	join(t);
	check_eq(t->why, UNWIND_PANIC);
}

/* ---- exclusion ---- */

#define ROUNDS 3000
static long counted;

static void count(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		check_eq(cogo_mutex_lock(&m), 0);
		counted++;
		if (i % 64 == 0)
			yield();
		counted++;
		check_eq(cogo_mutex_unlock(&m), 0);
	}
}

Test(mutex, coroutines_and_threads_hold_it_one_at_a_time)
{
	struct task *t[12];

	begin();
	for (int i = 0; i < 12; i++)
		t[i] = either(i, count, NULL);
	for (int i = 0; i < 12; i++)
		join(t[i]);
	check_eq(counted, 2 * 12 * ROUNDS);
	check_eq(m.owner, 0);
	check_eq(cogo_mutex_trylock(&m), 0);
}

Test(mutex, zeroed_memory_is_free)
{
	begin();
	check_eq(cogo_mutex_trylock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_lock_until(&m, 0), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_lock(&m), 0);
}

Test(mutex, trylock_is_busy_where_somebody_has_it_be_it_the_caller)
{
	struct task *t;

	begin();
	t = held_by_another(NULL);
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
	let_go(t);
	check_eq(cogo_mutex_trylock(&m), 0);
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
}

Test(mutex, who_has_it_and_locks_it_again_is_told_so)
{
	begin();
	check_eq(cogo_mutex_lock(&m), 0);
	check_eq(cogo_mutex_lock(&m), -EDEADLK);
	check_eq(cogo_mutex_lock_until(&m, COGO_FOREVER), -EDEADLK);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), -EPERM);
}

Test(mutex, only_its_holder_may_unlock_it)
{
	struct task *t;

	begin();
	check_eq(cogo_mutex_unlock(&m), -EPERM);
	t = held_by_another(NULL);
	check_eq(cogo_mutex_unlock(&m), -EPERM);
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
	let_go(t);
}

static void same_bits(void *arg)
{
	/* As far apart as what an owner's field keeps of an id. */
	check_eq(cogo_mutex_lock(&n), 0);
	check_eq(cogo_mutex_unlock(&n), 0);
	self()->id = *(uint64_t *)arg + (1u << 28);
	check_eq(cogo_mutex_unlock(&m), -EPERM);
	check_eq(cogo_mutex_consistent(&m), -EPERM);
	check_eq(cogo_mutex_lock_until(&m, 0), -ETIMEDOUT);
}

Test(mutex, another_with_the_same_bits_in_its_id_is_not_taken_for_its_holder)
{
	struct task *t;

	begin();
	check_eq(cogo_mutex_lock(&m), 0);
	t = go(same_bits, &self()->id);
	join(t);
	check_eq(cogo_mutex_unlock(&m), 0);
}

/* ---- waits that end ---- */

Test(mutex, lock_until_gives_up_at_its_deadline)
{
	struct task *t;

	begin();
	t = held_by_another(NULL);
	check_eq(cogo_mutex_lock_until(&m, 0), -ETIMEDOUT);
	check_eq(cogo_mutex_lock_until(&m, SOON), -ETIMEDOUT);
	let_go(t);
	check_eq(cogo_mutex_lock_until(&m, SOON), 0);
}

static void lock_for_ever(void *arg)
{
	(void)arg;
	result = cogo_mutex_lock_until(&m, COGO_FOREVER);
}

Test(mutex, who_is_cancelled_waiting_does_not_get_it)
{
	struct task *t, *w;

	begin();
	t = held_by_another(NULL);
	w = go(lock_for_ever, NULL);
	until_parked(w);
	cancel(w);
	join(w);
	check_eq(result, -ECANCELED);
	let_go(t);
	check_eq(cogo_mutex_trylock(&m), 0);
}

static void lock_cancelled(void *arg)
{
	(void)arg;
	while (!cancel_wanted(self()))
		yield();
	result = cogo_mutex_lock_until(&m, COGO_FOREVER);
	other = cogo_mutex_trylock(&m);
	if (other == 0)
		check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_lock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
}

Test(mutex, lock_until_is_a_cancellation_point_where_it_would_not_wait_and_lock_is_none)
{
	struct task *w;

	begin();
	w = go(lock_cancelled, NULL);
	cancel(w);
	join(w);
	check_eq(result, -ECANCELED);
	check_eq(other, 0);
}

Test(mutex, lock_waits_on_when_cancelled)
{
	struct task *t, *w;

	begin();
	t = held_by_another(NULL);
	result = 1;
	w = go(lock_m, NULL);
	until_parked(w);
	cancel(w);
	/* It has run, and lies down again: it cannot end without the mutex. */
	until_parked(w);
	check(!w->over);
	let_go(t);
	join(w);
	check_eq(result, 0);
}

/* ---- poison ---- */

Test(mutex, a_panic_poisons_it_and_the_next_to_lock_is_told)
{
	begin();
	poison();
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	check_eq(cogo_mutex_lock(&m), -EDEADLK);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_lock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
}

Test(mutex, trylock_and_lock_until_are_told_of_poison_too)
{
	begin();
	poison();
	check_eq(cogo_mutex_trylock(&m), -EOWNERDEAD);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	poison();
	check_eq(cogo_mutex_lock_until(&m, COGO_FOREVER), -EOWNERDEAD);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
}

static void hold_and_panic(void *arg)
{
	struct cogo_deferred d;

	hold_m(arg);
	defer(&d, unlock_m, NULL);
	panic();
}

Test(mutex, who_waits_while_it_is_poisoned_is_told)
{
	struct task *t, *w;

	begin();
	t = go(hold_and_panic, &m);
	wait_until(steps == 1);
	w = spawn(lock_m, NULL);
	until_parked(w);
	let_go(t);
	join(w);
	check_eq(result, -EOWNERDEAD);
}

static void lock_and_be_cancelled(void *arg)
{
	struct cogo_deferred d;

	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
	defer(&d, unlock_m, NULL);
	leave(UNWIND_CANCELED);
}

Test(mutex, who_lets_go_in_a_cleanup_because_it_was_cancelled_does_not_poison_it)
{
	struct task *t;

	begin();
	t = go(lock_and_be_cancelled, NULL);
	join(t);
	check_eq(t->why, UNWIND_CANCELED);
	check_eq(cogo_mutex_lock(&m), 0);
}

static void log_line(void *arg)
{
	(void)arg;
	check_eq(cogo_mutex_lock(&n), 0);
	check_eq(cogo_mutex_unlock(&n), 0);
	steps++;
}

static void panic_and_log(void *arg)
{
	struct cogo_deferred d, e;

	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
	defer(&d, unlock_m, NULL);
	defer(&e, log_line, NULL);
	panic();
}

Test(mutex, what_a_cleanup_of_a_panic_locks_and_unlocks_is_not_poisoned)
{
	begin();
	join(go(panic_and_log, NULL));
	check_eq(steps, 1);
	check_eq(cogo_mutex_lock(&n), 0);
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

static void catches_another(void *arg)
{
	struct coro *me = self();
	struct unwind u;

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0)
		unlock_m(arg);
	unwind_end(me, &u);
}

static void panic_and_catch(void *arg)
{
	struct cogo_deferred d;

	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
	defer(&d, catches_another, NULL);
	panic();
}

Test(mutex, a_panic_is_seen_past_what_a_cleanup_would_catch)
{
	begin();
	join(go(panic_and_catch, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

static void catch_and_use(void *arg)
{
	struct coro *me = self();
	struct unwind u;

	unwind_begin(me, &u);
	if (_setjmp(u.end) == 0)
		lock_and_panic(arg);
	unwind_end(me, &u);
	check_eq(u.why, UNWIND_PANIC);
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_lock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), 0);
}

Test(mutex, a_panic_that_was_caught_poisons_nothing_afterwards)
{
	struct task *t;

	begin();
	t = go(catch_and_use, NULL);
	join(t);
	check_eq(t->why, UNWIND_NOT);
	check_eq(cogo_mutex_lock(&m), 0);
}

Test(mutex, who_found_it_poisoned_and_panics_leaves_it_poisoned)
{
	begin();
	poison();
	join(go(lock_and_panic, &m));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

Test(mutex, unlocked_without_being_made_consistent_it_is_lost_to_all)
{
	struct task *w[3];

	begin();
	poison();
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	for (int i = 0; i < 3; i++) {
		w[i] = either(i, lock_m, NULL);
		until_parked(w[i]);
	}
	check_eq(cogo_mutex_unlock(&m), 0);
	for (int i = 0; i < 3; i++)
		join(w[i]);
	check_eq(result, -ENOTRECOVERABLE);
	check_eq(cogo_mutex_lock(&m), -ENOTRECOVERABLE);
	check_eq(cogo_mutex_trylock(&m), -ENOTRECOVERABLE);
	check_eq(cogo_mutex_lock_until(&m, COGO_FOREVER), -ENOTRECOVERABLE);
	check_eq(cogo_mutex_unlock(&m), -EPERM);
	check_eq(cogo_mutex_consistent(&m), -EPERM);
	memset(&m, 0, sizeof(m));
	check_eq(cogo_mutex_lock(&m), 0);
}

Test(mutex, only_its_holder_may_call_it_consistent_and_only_when_it_is_poisoned)
{
	begin();
	check_eq(cogo_mutex_consistent(&m), -EPERM);
	poison();
	check_eq(cogo_mutex_consistent(&m), -EPERM);
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
	check_eq(cogo_mutex_consistent(&m), 0);
	check_eq(cogo_mutex_consistent(&m), -EINVAL);
}

/* ---- the end of a holder ---- */

Test(mutex, what_a_coroutine_holds_at_its_end_is_poisoned_and_let_go_of)
{
	begin();
	join(go(lock_and_end, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

Test(mutex, what_a_thread_holds_at_its_end_is_poisoned_and_let_go_of)
{
	begin();
	join(spawn(lock_and_end, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

Test(mutex, who_waits_for_one_that_ends_is_told)
{
	struct task *t, *w;

	begin();
	t = held_by_another(&m);
	w = go(lock_m, NULL);
	until_parked(w);
	let_go(t);
	join(w);
	check_eq(result, -EOWNERDEAD);
}

static void panic_holding(void *arg)
{
	lock_and_end(arg);
	panic();
}

Test(mutex, a_panic_that_nobody_cleans_up_after_poisons_what_is_held)
{
	begin();
	join(go(panic_holding, NULL));
	check_eq(cogo_mutex_lock(&m), -EOWNERDEAD);
}

#define MANY 50
static struct cogo_mutex many[MANY];

static void hold_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < MANY; i++)
		check_eq(cogo_mutex_lock(&many[i]), 0);
	/* In another order than that of locking. */
	for (int i = 0; i < MANY; i += 2)
		check_eq(cogo_mutex_unlock(&many[i]), 0);
	for (int i = 0; i < MANY; i += 2)
		check_eq(cogo_mutex_unlock(&many[i]), -EPERM);
	for (int i = 1; i < MANY; i += 2)
		check_eq(cogo_mutex_lock(&many[i]), -EDEADLK);
}

Test(mutex, of_many_held_at_once_those_are_poisoned_that_were_not_let_go_of)
{
	begin();
	join(go(hold_many, NULL));
	for (int i = 0; i < MANY; i++)
		check_eq(cogo_mutex_lock(&many[i]), i % 2 ? -EOWNERDEAD : 0);
}

static void unlock_value(void *value)
{
	check_eq(cogo_mutex_unlock(value), 0);
	steps++;
}
static const struct local_key unlocks = { .destroy = unlock_value };

/* Set after the list of what is held was made, it is destroyed first. */
static void end_unlocking(void *arg)
{
	(void)arg;
	check_eq(cogo_mutex_lock(&m), 0);
	check_eq(local_set(self(), &unlocks, &m), 0);
}

Test(mutex, what_a_destructor_unlocks_at_the_end_is_not_poisoned)
{
	begin();
	join(go(end_unlocking, NULL));
	check_eq(steps, 1);
	check_eq(cogo_mutex_lock(&m), 0);
}

/* ---- without memory ---- */

static _Atomic bool no_memory;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

static void lock_without_memory(void *arg)
{
	int first = arg ? HELD_FIRST : 0;

	for (int i = 0; i < first; i++)
		check_eq(cogo_mutex_lock(&many[i]), 0);
	no_memory = true;
	check_eq(cogo_mutex_lock(&m), 0);
	no_memory = false;
	check_eq(cogo_mutex_lock(&m), -EDEADLK);
	check_eq(cogo_mutex_unlock(&m), 0);
	check_eq(cogo_mutex_unlock(&m), -EPERM);
	no_memory = true;
	check_eq(cogo_mutex_lock(&m), 0);
	no_memory = false;
}

Test(mutex, without_memory_it_is_given_all_the_same_but_nobody_is_told_of_the_end)
{
	begin();
	join(go(lock_without_memory, NULL));
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
	memset(&m, 0, sizeof(m));
	join(go(lock_without_memory, &m));
	check_eq(cogo_mutex_trylock(&m), -EBUSY);
	for (int i = 0; i < HELD_FIRST; i++)
		check_eq(cogo_mutex_trylock(&many[i]), -EOWNERDEAD);
}

/* ---- memory ---- */

struct box {
	struct cogo_mutex m;
	int left;
};

static void leave_box(void *arg)
{
	struct box *b = arg;
	bool last;

	check_eq(cogo_mutex_lock(&b->m), 0);
	last = --b->left == 0;
	check_eq(cogo_mutex_unlock(&b->m), 0);
	if (last)
		free(b);
}

Test(mutex, its_memory_may_go_as_soon_as_the_last_has_unlocked_it)
{
	struct task *t[4];

	begin();
	for (int round = 0; round < 300; round++) {
		struct box *b = calloc(1, sizeof(*b));

		b->left = 4;
		for (int i = 0; i < 4; i++)
			t[i] = go(leave_box, b);
		for (int i = 0; i < 4; i++)
			join(t[i]);
	}
}
