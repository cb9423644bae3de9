/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* panic.c - panics end one coroutine, and what it left to be done is done. */
#include "native.h"

static char trail[64];

static void mark(void *arg)
{
	trail[strlen(trail)] = *(char *)arg;
}

static void panic_now(void *arg)
{
	cogo_defer(mark, (void *)"p");
	cogo_panic("%s, %d", (char *)arg, 17);
}

static void begin_trail(void)
{
	memset(trail, 0, sizeof(trail));
}

/* ---- the end of a coroutine ---- */

static void panic_and_look(void)
{
	struct cogo_attr a = { .name = "victim" };
	struct cogo_coro *c;

	begin_trail();
	c = begin(&a, panic_now, (void *)"no way");
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "no way, 17") == 0);
	check_text(cogo_panic_trace(c), "panic_now");
	check(strcmp(trail, "p") == 0);
	check_eq(cogo_join(c), COGO_PANICKED);
}

Test(panic, who_waits_learns_how_and_why_and_where)
{
	on_both(panic_and_look);
}

static void panic_long(void *arg)
{
	(void)arg;
	cogo_panic("%0300d", 7);
}

Test(panic, a_message_is_kept_to_255_bytes)
{
	struct cogo_coro *c = begin(NULL, panic_long, NULL);

	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(strlen(cogo_panic_message(c)), 255);
	cogo_drop(c);
}

static void panic_on_small(void *arg)
{
	cogo_panic("small %p", arg);
}

Test(panic, the_smallest_stack_has_room_for_a_panic)
{
	struct cogo_attr a = { .stack = 16384 };

	check_eq(outcome(&a, panic_on_small, NULL), COGO_PANICKED);
	a.flags = COGO_SHARED_TLS;
	check_eq(outcome(&a, panic_on_small, NULL), COGO_PANICKED);
}

static void panic_in_defer(void *arg)
{
	mark(arg);
	cogo_panic("second");
}

static void panic_twice(void *arg)
{
	cogo_defer(mark, (void *)"1");
	cogo_defer(panic_in_defer, (void *)"2");
	cogo_defer(mark, (void *)"3");
	(void)arg;
	cogo_panic("first");
}

Test(panic, a_panic_of_a_cleanup_stops_no_other_and_the_first_is_told)
{
	struct cogo_coro *c;

	begin_trail();
	c = begin(NULL, panic_twice, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check(strcmp(trail, "321") == 0);
	check(strcmp(cogo_panic_message(c), "first") == 0);
	check_eq(cogo_join(c), COGO_PANICKED);
}

static void exit_with_panic(void *arg)
{
	(void)arg;
	cogo_defer(mark, (void *)"1");
	cogo_defer(panic_in_defer, (void *)"2");
	cogo_exit();
}

Test(panic, a_panic_of_a_cleanup_on_the_way_to_an_exit_is_told)
{
	struct cogo_coro *c;

	begin_trail();
	c = begin(NULL, exit_with_panic, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check(strcmp(trail, "21") == 0);
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "second") == 0);
	cogo_drop(c);
}

static void exit_in_defer(void *arg)
{
	mark(arg);
	cogo_exit();
}

static void panic_then_exit(void *arg)
{
	(void)arg;
	cogo_defer(mark, (void *)"1");
	cogo_defer(exit_in_defer, (void *)"2");
	cogo_panic("not hidden");
}

Test(panic, no_cleanup_makes_a_panic_a_return)
{
	struct cogo_coro *c;

	begin_trail();
	c = begin(NULL, panic_then_exit, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check(strcmp(trail, "21") == 0);
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "not hidden") == 0);
	cogo_drop(c);
}

static void wait_in_defer(void *arg)
{
	for (int i = 0; i < 10; i++) {
		cogo_yield();
		cogo_sleep(50 * COGO_US);
	}
	mark(arg);
}

static void panic_waiting(void *arg)
{
	(void)arg;
	cogo_defer(wait_in_defer, (void *)"w");
	cogo_panic("wait");
}

Test(panic, cleanups_may_wait)
{
	struct cogo_coro *c[20];

	begin_trail();
	for (int i = 0; i < 20; i++)
		c[i] = begin(NULL, panic_waiting, NULL);
	for (int i = 0; i < 20; i++)
		check_eq(cogo_join(c[i]), COGO_PANICKED);
	check_eq(strlen(trail), 20);
}

/* ---- recover ---- */

static void return_to_recover(void *arg)
{
	mark(arg);
}

static void recover_all(void)
{
	struct cogo_panic p;

	begin_trail();
	memset(&p, 'x', sizeof(p));
	check_eq(cogo_recover(return_to_recover, (void *)"r", &p), 0);
	check_eq(cogo_recover(panic_now, (void *)"oh", &p), 1);
	check(strcmp(p.message, "oh, 17") == 0);
	check(strcmp(trail, "rp") == 0);
	check_eq(cogo_recover(panic_now, (void *)"oh", NULL), 1);
	/* And nothing of it is left. */
	check(strcmp(cogo_panic_message(cogo_self()), "") == 0);
}

Test(panic, recover_catches_on_coroutines_and_threads)
{
	on_both(recover_all);
	recover_all();
}

static void recover_inside(void *arg)
{
	int depth = *(int *)arg - 1;
	struct cogo_panic p;

	cogo_defer(mark, (void *)"d");
	if (depth > 0)
		check_eq(cogo_recover(recover_inside, &depth, &p), 1);
	if (depth > 0)
		check_eq(p.message[0], '0' + depth);
	cogo_panic("%d", depth + 1);
}

static void recover_nested(void)
{
	struct cogo_panic p;
	int depth = 7;

	begin_trail();
	check_eq(cogo_recover(recover_inside, &depth, &p), 1);
	check(strcmp(p.message, "7") == 0);
	check(strcmp(trail, "ddddddd") == 0);
}

Test(panic, recovers_nest)
{
	on_both(recover_nested);
}

static void recover_in_defer(void *arg)
{
	struct cogo_panic p;

	check_eq(cogo_recover(panic_now, (void *)"inner", &p), 1);
	check(strcmp(p.message, "inner, 17") == 0);
	mark(arg);
}

static void panic_over_recover(void *arg)
{
	(void)arg;
	cogo_defer(mark, (void *)"1");
	cogo_defer(recover_in_defer, (void *)"2");
	cogo_panic("outer");
}

static void recover_during_panic(void)
{
	struct cogo_panic p;
	struct cogo_coro *c;

	begin_trail();
	check_eq(cogo_recover(panic_over_recover, NULL, &p), 1);
	check(strcmp(p.message, "outer") == 0);
	check(strcmp(trail, "p21") == 0);
	begin_trail();
	c = begin(NULL, panic_over_recover, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "outer") == 0);
	check(strcmp(trail, "p21") == 0);
	cogo_drop(c);
}

Test(panic, a_cleanup_may_recover_from_a_panic_of_its_own)
{
	on_both(recover_during_panic);
}

static void exit_it(void *arg)
{
	mark(arg);
	cogo_exit();
}

static void exit_through_recover(void *arg)
{
	(void)arg;
	cogo_defer(mark, (void *)"1");
	cogo_recover(exit_it, (void *)"2", NULL);
	check(!"reached");
}

Test(panic, exit_goes_through_recover)
{
	begin_trail();
	check_eq(outcome(NULL, exit_through_recover, NULL), COGO_RETURNED);
	check(strcmp(trail, "21") == 0);
}

/* ---- pthread_cleanup_push ---- */

static void push_and_panic(void *arg)
{
	(void)arg;
	cogo_defer(mark, (void *)"1");
	pthread_cleanup_push(mark, (void *)"2");
	cogo_defer(mark, (void *)"3");
	pthread_cleanup_push(mark, (void *)"4");
	pthread_cleanup_push(mark, (void *)"5");
	cogo_defer(mark, (void *)"6");
	cogo_panic("pushed");
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
}

static void recover_pushed(void)
{
	begin_trail();
	check_eq(cogo_recover(push_and_panic, NULL, NULL), 1);
	check(strcmp(trail, "654321") == 0);
}

Test(panic, cleanups_of_pthreads_and_ours_are_one_order)
{
	on_coroutine(recover_pushed);
	begin_trail();
	check_eq(outcome(NULL, push_and_panic, NULL), COGO_PANICKED);
	check(strcmp(trail, "654321") == 0);
}

static void push_then_panic(void *arg)
{
	pthread_cleanup_push(mark, (void *)"2");
	panic_now(arg);
	pthread_cleanup_pop(0);
}

static void defer_then_push(void *arg)
{
	cogo_defer(mark, (void *)"1");
	push_then_panic(arg);
}

static void *recover_pushed_then_exit(void *arg)
{
	check_eq(cogo_recover(defer_then_push, (void *)"x", NULL), 1);
	check(strcmp(trail, "p21") == 0);
	pthread_cleanup_push(mark, (void *)"x");
	pthread_exit(arg);
	pthread_cleanup_pop(0);
}

Test(panic, on_a_thread_they_run_and_are_gone_afterwards)
{
	pthread_t t;

	begin_trail();
	check_eq(pthread_create(&t, NULL, recover_pushed_then_exit, NULL), 0);
	check_eq(pthread_join(t, NULL), 0);
	check(strcmp(trail, "p21x") == 0);
}

static void push_and_panic_deep(void *arg)
{
	cogo_defer(mark, (void *)"a");
	pthread_cleanup_push(mark, (void *)"b");
	push_and_panic(arg);
	pthread_cleanup_pop(0);
}

static void push_wait(void *arg)
{
	pthread_cleanup_push(wait_in_defer, (void *)"w");
	push_and_panic_deep(arg);
	pthread_cleanup_pop(0);
}

Test(panic, cleanups_run_frame_by_frame_and_may_wait)
{
	begin_trail();
	check_eq(outcome(NULL, push_wait, NULL), COGO_PANICKED);
	check(strcmp(trail, "654321baw") == 0);
}

/* ---- who is told ---- */

static void panic_unheard(void *arg)
{
	(void)arg;
	cogo_panic("unheard of");
}

static void nobody_waits(void)
{
	check_eq(cogo_go(NULL, &(struct cogo_attr){ .name = "lonely" },
			 panic_unheard, NULL), 0);
	settle();
	settle();
}

static void nobody_waits_with_handles(void)
{
	struct cogo_coro *c = begin(NULL, panic_unheard, NULL);

	cogo_ref(c);
	while (cogo_state(c) != COGO_ENDED)
		settle();
	cogo_drop(c);
	cogo_drop(c);
	settle();
}

static void somebody_joins(void)
{
	check_eq(outcome(NULL, panic_unheard, NULL), COGO_PANICKED);
}

static void somebody_waits(void)
{
	struct cogo_coro *c = begin(NULL, panic_unheard, NULL);

	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	cogo_drop(c);
}

static void somebody_asks(void)
{
	struct cogo_coro *c = begin(NULL, panic_unheard, NULL);

	while (cogo_state(c) != COGO_ENDED)
		settle();
	check_eq(cogo_how(c), COGO_PANICKED);
	cogo_drop(c);
}

static void recovered(void *arg)
{
	check_eq(cogo_recover(panic_unheard, arg, NULL), 1);
}

static void somebody_recovers(void)
{
	check_eq(cogo_go(NULL, NULL, recovered, NULL), 0);
	settle();
	settle();
}

Test(panic, one_that_nobody_waits_for_is_said_exactly_once)
{
	int status;
	char *text = said(nobody_waits, &status);

	check_eq(status, 0);
	check_eq(times(text, "unheard of"), 1);
	check_text(text, "lonely");
	check_eq(times(said(nobody_waits_with_handles, &status), "unheard of"), 1);
	check_eq(status, 0);
}

Test(panic, one_that_somebody_knows_of_is_not_said)
{
	int status;

	check_eq(times(said(somebody_joins, &status), "unheard of"), 0);
	check_eq(status, 0);
	check_eq(times(said(somebody_waits, &status), "unheard of"), 0);
	check_eq(status, 0);
	check_eq(times(said(somebody_asks, &status), "unheard of"), 0);
	check_eq(status, 0);
	check_eq(times(said(somebody_recovers, &status), "unheard of"), 0);
	check_eq(status, 0);
}

static void panic_plainly(void)
{
	cogo_panic("plain %d", 5);
}

static void *panic_thread(void *arg)
{
	cogo_panic("thread %p", arg);
}

static void panic_on_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, panic_thread, NULL);
	pthread_join(t, NULL);
}

Test(panic, one_of_an_ordinary_thread_ends_the_process_with_its_message)
{
	int status;
	char *text = said(panic_plainly, &status);

	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), SIGABRT);
	check_text(text, "plain 5");
	text = said(panic_on_thread, &status);
	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), SIGABRT);
	check_text(text, "thread (nil)");
}

/* ---- the very end ---- */

static struct cogo_key panicking_key, marking_key;

static void destroy_and_panic(void *value)
{
	mark(value);
	cogo_panic("destructor");
}

static void leave_values(void *arg)
{
	(void)arg;
	marking_key.destroy = mark;
	panicking_key.destroy = destroy_and_panic;
	check_eq(cogo_local_set(&marking_key, (void *)"m"), 0);
	check_eq(cogo_local_set(&panicking_key, (void *)"p"), 0);
}

Test(panic, a_destructor_that_panics_ends_its_coroutine_alone)
{
	struct cogo_coro *c;

	begin_trail();
	c = begin(NULL, leave_values, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "destructor") == 0);
	check(strchr(trail, 'm') && strchr(trail, 'p'));
	cogo_drop(c);
}

static void destroy_and_exit(void *value)
{
	mark(value);
	cogo_exit();
}

static void leave_exiting_values(void *arg)
{
	leave_values(arg);
	panicking_key.destroy = destroy_and_exit;
}

static pthread_key_t pkey;

static void leave_pthread_value(void *arg)
{
	check_eq(pthread_setspecific(pkey, arg), 0);
}

Test(panic, a_destructor_that_exits_ends_nothing_but_itself)
{
	begin_trail();
	check_eq(outcome(NULL, leave_exiting_values, NULL), COGO_RETURNED);
	check(strchr(trail, 'm') && strchr(trail, 'p'));
	check_eq(pthread_key_create(&pkey, destroy_and_panic), 0);
	begin_trail();
	check_eq(outcome(NULL, leave_pthread_value, (void *)"k"), COGO_PANICKED);
	check(strcmp(trail, "k") == 0);
}

/* ---- many ---- */

static void panic_alone(void *arg)
{
	(void)arg;
	cogo_panic("alone");
}

static void panic_or_not(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull | 1;

	for (int i = 0; i < 20; i++) {
		if (unit_random(&seed) % 2)
			cogo_yield();
		check_eq(cogo_recover(panic_alone, NULL, NULL), 1);
	}
	if ((uintptr_t)arg % 2)
		cogo_panic("odd");
}

Test(panic, many_at_once_keep_apart)
{
	struct cogo_coro *c[300];

	for (uintptr_t i = 0; i < 300; i++)
		c[i] = begin(NULL, panic_or_not, (void *)i);
	for (int i = 0; i < 300; i++)
		check_eq(cogo_join(c[i]), i % 2 ? COGO_PANICKED : COGO_RETURNED);
}
