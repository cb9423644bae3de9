/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Deadlines of waits, against a list that is searched from end to end. */
#include "event/timer.h"
#include "base/sys.h"
#include "coro/wait.h"
#include "unit.h"
#include <pthread.h>
#include <stdio.h>

#define COROS 500

static struct coro c[COROS];
static uint64_t ticket[COROS];
static cogo_time deadline[COROS];	/* 0: not armed */
static bool ended[COROS];		/* claimed by somebody else */

static bool arm(int i, unsigned where, cogo_time when)
{
	bool first;

	ticket[i] = wait_open(&c[i]);
	deadline[i] = when;
	ended[i] = false;
	check_eq(timer_arm(&c[i], where, when, ticket[i], &first), 0);
	check_eq(c[i].timer.heap, where % TIMER_HEAPS);
	check(c[i].timer.ticket);
	return first;
}

static void disarm(int i)
{
	timer_disarm(&c[i]);
	check_eq(c[i].timer.ticket, 0);
	deadline[i] = 0;
}

static cogo_time least(int heap)
{
	cogo_time first = COGO_FOREVER;

	for (int i = 0; i < COROS; i++)
		if (deadline[i] && deadline[i] < first &&
		    (heap < 0 || (int)c[i].timer.heap == heap))
			first = deadline[i];
	return first;
}

/* What is due is claimed, all of it and nothing else, in each heap in order. */
static int run(cogo_time now)
{
	struct coro_list due = { 0 };
	cogo_time last[TIMER_HEAPS] = { 0 };
	struct coro *got;
	int n = 0;

	timer_run(now, &due);
	while ((got = coro_list_pop(&due))) {
		int i = (int)(got - c);

		check(deadline[i] && deadline[i] <= now && !ended[i]);
		check_eq(wait_result(got), WAIT_TIMED_OUT);
		check(last[got->timer.heap] <= deadline[i]);
		last[got->timer.heap] = deadline[i];
		deadline[i] = 0;
		n++;
	}
	for (int i = 0; i < COROS; i++) {
		if (ended[i] && deadline[i] && deadline[i] <= now)
			deadline[i] = 0;
		check(!deadline[i] || deadline[i] > now);
		check_eq(c[i].timer.ticket != 0, deadline[i] != 0);
	}
	return n;
}

Test(timer, there_is_none_at_first)
{
	struct coro_list due = { 0 };

	check(timer_first() == COGO_FOREVER);
	timer_run(COGO_FOREVER - 1, &due);
	check_eq(due.n, 0);
	timer_disarm(&c[0]);
}

Test(timer, a_deadline_is_due_when_it_is_reached_and_not_before)
{
	arm(0, 0, 1000);
	check_eq(run(999), 0);
	check_eq(run(1000), 1);
	check_eq(run(5000), 0);
}

Test(timer, who_comes_first_of_all_is_told)
{
	check(arm(0, 3, 1000));
	check(!arm(1, 3, 2000));
	check(arm(2, 3, 500));
	check(!arm(3, 3, 700));
	check_eq(timer_first(), 500);
	disarm(2);
	check_eq(timer_first(), 700);
	/* In another heap it is the first again. */
	check(arm(2, 4, 9000));
	check_eq(timer_first(), 700);
}

Test(timer, a_wait_that_ended_otherwise_is_not_timed_out)
{
	arm(0, 0, 1000);
	arm(1, 0, 1000);
	check(wait_claim(&c[0], ticket[0], WAIT_WOKEN));
	ended[0] = true;
	check_eq(run(2000), 1);
	check_eq(wait_result(&c[0]), WAIT_WOKEN);
	check_eq(wait_result(&c[1]), WAIT_TIMED_OUT);
}

Test(timer, any_order_of_arming_and_disarming_agrees_with_a_list, .timeout = 120)
{
	uint64_t seed = unit_seed("timer");
	cogo_time now = 1;
	long due = 0, steps = unit_setting("UNIT_STEPS", 60000);
	bool first;

	for (long k = 0; k < steps; k++) {
		uint64_t r = unit_random(&seed);
		int i = (int)(r % COROS);
		/* Many alike, for ties. */
		cogo_time when = now + 1 + (cogo_time)(r >> 20) % 300;

		switch (r >> 10 & 7) {
		case 0:
			now += (cogo_time)(r >> 40) % 20;
			due += run(now);
			break;
		case 1:
		case 2:
			if (deadline[i])
				disarm(i);
			break;
		case 3:
			if (deadline[i] && !ended[i]) {
				check(wait_claim(&c[i], ticket[i], WAIT_WOKEN));
				ended[i] = true;
			}
			break;
		default:
			if (deadline[i])
				break;
			first = arm(i, (unsigned)(r >> 50), when);
			check(!first || least((int)c[i].timer.heap) == when);
			check(first || least((int)c[i].timer.heap) <= when);
		}
		check_eq(timer_first(), least(-1));
	}
	due += run(now + 1000);
	check_eq(timer_first(), COGO_FOREVER);
	check(due > 1000);
}

Test(timer, it_grows_and_empties, .timeout = 120)
{
	enum { MANY = 100000 };
	static struct coro many[MANY];
	struct coro_list due = { 0 };
	uint64_t seed = 5;
	bool first;

	for (int i = 0; i < MANY; i++)
		check_eq(timer_arm(&many[i], 1, 1 + (cogo_time)(unit_random(&seed) % 100000),
				   wait_open(&many[i]), &first), 0);
	for (int i = 0; i < MANY; i += 3)
		timer_disarm(&many[i]);
	timer_run(100000, &due);
	check_eq(due.n, MANY - (MANY + 2) / 3);
	for (int i = 0; i < MANY; i++)
		check_eq(wait_result(&many[i]),
			 i % 3 ? WAIT_TIMED_OUT : WAIT_OPEN);
}

/* Owners who wait and are woken by others, while others run the timers. */
#define OWNERS 3
#define WAITS 4000
static struct coro owner[OWNERS];
static _Atomic uint64_t open_ticket[OWNERS];
static _Atomic uint32_t told[OWNERS];	/* claims of the wait at hand */
static _Atomic long timed_out, woken;
static _Atomic bool stop;

static void *own(void *arg)
{
	int me = (int)(intptr_t)arg;
	uint64_t seed = (uint64_t)me * 99 + 7;
	bool first;

	for (int i = 0; i < WAITS; i++) {
		uint64_t t;

		atomic_store(&told[me], 0);
		t = wait_open(&owner[me]);
		check_eq(timer_arm(&owner[me], (unsigned)unit_random(&seed),
				   sys_now() + (cogo_time)(unit_random(&seed) % 30000),
				   t, &first), 0);
		atomic_store(&open_ticket[me], t);
		wait_until(atomic_load(&told[me]));
		if (wait_result(&owner[me]) != WAIT_TIMED_OUT)
			timer_disarm(&owner[me]);
		check_eq(owner[me].timer.ticket, 0);
		check_eq(atomic_load(&told[me]), 1);
	}
	return NULL;
}

static void *run_timers(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		struct coro_list due = { 0 };
		struct coro *got;

		if (timer_first() != COGO_FOREVER)
			timer_run(sys_now(), &due);
		while ((got = coro_list_pop(&due))) {
			timed_out++;
			told[got - owner]++;
		}
	}
	return NULL;
}

static void *wake_them(void *arg)
{
	uint64_t seed = 11;

	(void)arg;
	while (!atomic_load(&stop)) {
		int i = (int)(unit_random(&seed) % OWNERS);
		uint64_t seen = atomic_load(&open_ticket[i]);

		/* None is no ticket: it has not begun its first wait. */
		if (seen && wait_claim(&owner[i], seen, WAIT_WOKEN)) {
			woken++;
			told[i]++;
		}
		if (unit_random(&seed) % 4 == 0)
			unit_nap();
	}
	return NULL;
}

Test(timer, each_wait_ends_once_whoever_runs_the_timers, .timeout = 180)
{
	pthread_t t[OWNERS], others[3];

	for (intptr_t i = 0; i < OWNERS; i++)
		check_eq(pthread_create(&t[i], NULL, own, (void *)i), 0);
	check_eq(pthread_create(&others[0], NULL, run_timers, NULL), 0);
	check_eq(pthread_create(&others[1], NULL, run_timers, NULL), 0);
	check_eq(pthread_create(&others[2], NULL, wake_them, NULL), 0);
	for (int i = 0; i < OWNERS; i++)
		pthread_join(t[i], NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(others[i], NULL);
	check_eq(timed_out + woken, OWNERS * WAITS);
	check(timed_out > 0 && woken > 0);
	check_eq(timer_first(), COGO_FOREVER);
}

Test(timer, the_child_of_a_fork_has_none)
{
	int status;
	pid_t pid;

	arm(0, 0, 1000);
	pid = fork();
	if (pid == 0) {
		struct coro_list due = { 0 };

		timer_fork_child();
		if (timer_first() != COGO_FOREVER)
			_exit(1);
		timer_run(5000, &due);
		_exit(due.n ? 2 : 0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(timer_first(), 1000);
}

static long resident_pages(void)
{
	long all, resident = -1;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%ld %ld", &all, &resident) != 2)
		resident = -1;
	if (f)
		fclose(f);
	check(resident > 0);
	return resident;
}

/* They wait with a deadline far away, and are woken before, again and again. */
Test(timer, those_that_are_disarmed_make_room, .timeout = 120)
{
	enum { LIVE = 300, TURNS = 2000000 };
	static struct coro some[LIVE];
	long before, after;
	bool first;

	for (int i = 0; i < LIVE; i++)
		check_eq(timer_arm(&some[i], 2, 1000 + i, wait_open(&some[i]), &first),
			 0);
	before = resident_pages();
	for (int i = 0; i < TURNS; i++) {
		struct coro *who = &some[1 + i % (LIVE - 1)];

		timer_disarm(who);
		check_eq(timer_arm(who, 2, 2000 + i, wait_open(who), &first), 0);
		check(!first);
	}
	after = resident_pages();
	/* They would be 48 MB; a sanitizer has notes of its own. */
	check(after - before < 5000);
	for (int i = 0; i < LIVE; i++)
		timer_disarm(&some[i]);
	check_eq(timer_first(), COGO_FOREVER);
}
