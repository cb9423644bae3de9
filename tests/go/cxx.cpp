/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cxx.cpp - the native API in C++: destructors on every way out. */
#include "native.h"
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static char trail[64];

static void begin_trail()
{
	memset(trail, 0, sizeof(trail));
}

struct Mark {
	char c;
	explicit Mark(char with) : c(with) {}
	~Mark() { trail[strlen(trail)] = c; }
};

static void mark(void *arg)
{
	trail[strlen(trail)] = *(char *)arg;
}

static char x = 'x', y = 'y';

static void wait_in_frames(void *)
{
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	pthread_cleanup_push(mark, &y);
	Mark c('c');
	cogo_park(COGO_FOREVER);
	pthread_cleanup_pop(0);
}

static void panic_in_frames(void *)
{
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	pthread_cleanup_push(mark, &y);
	Mark c('c');
	cogo_panic("in frames");
	pthread_cleanup_pop(0);
}

static void exit_in_frames(void *)
{
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	cogo_exit();
}

static void pthread_exit_in_frames(void *)
{
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	pthread_exit(nullptr);
}

Test(cxx, a_panic_runs_destructors_and_cleanups_in_one_order)
{
	begin_trail();
	check_eq(outcome(nullptr, panic_in_frames, nullptr), COGO_PANICKED);
	check(strcmp(trail, "cybxa") == 0);
	begin_trail();
	check_eq(cogo_recover(panic_in_frames, nullptr, nullptr), 1);
	check(strcmp(trail, "cybxa") == 0);
}

Test(cxx, a_cancellation_runs_them_too)
{
	cogo_attr a = {};
	a.flags = COGO_UNWINDS;
	for (int early = 0; early < 2; early++) {
		cogo_coro *c;

		begin_trail();
		c = begin(&a, wait_in_frames, nullptr);
		if (!early)
			wait_until(cogo_state(c) == COGO_PARKED);
		cogo_cancel(c, 1);
		check_eq(cogo_join(c), COGO_CANCELED);
		check(strcmp(trail, "cybxa") == 0);
	}
}

Test(cxx, an_exit_runs_them_too)
{
	begin_trail();
	check_eq(outcome(nullptr, exit_in_frames, nullptr), COGO_RETURNED);
	check(strcmp(trail, "bxa") == 0);
	begin_trail();
	check_eq(outcome(nullptr, pthread_exit_in_frames, nullptr), COGO_RETURNED);
	check(strcmp(trail, "bxa") == 0);
	begin_trail();
	std::thread(exit_in_frames, nullptr).join();
	check(strcmp(trail, "bxa") == 0);
}

static void rethrow(void *arg)
{
	Mark a('1');
	try {
		panic_in_frames(arg);
	} catch (...) {
		mark((void *)"C");
		throw;
	}
}

Test(cxx, a_panic_goes_through_a_catch_that_rethrows)
{
	begin_trail();
	check_eq(outcome(nullptr, rethrow, nullptr), COGO_PANICKED);
	check(strcmp(trail, "cybxaC1") == 0);
}

static void catch_std(void *arg)
{
	try {
		panic_in_frames(arg);
	} catch (std::exception &) {
		mark((void *)"!");
	}
}

Test(cxx, a_panic_is_no_std_exception)
{
	begin_trail();
	check_eq(outcome(nullptr, catch_std, nullptr), COGO_PANICKED);
	check(strcmp(trail, "cybxa") == 0);
}

static void throw_across_waits(void *)
{
	for (int i = 0; i < 50; i++)
		try {
			Mark m('m');
			trail[0] = 0;
			cogo_yield();
			throw std::runtime_error("thrown");
		} catch (std::runtime_error &e) {
			cogo_sleep(1000);
			check(std::string(e.what()) == "thrown");
		}
}

Test(cxx, exceptions_are_each_coroutines_own)
{
	cogo_coro *c[50];

	for (auto &one : c)
		one = begin(nullptr, throw_across_waits, nullptr);
	for (auto &one : c)
		check_eq(cogo_join(one), COGO_RETURNED);
}

static std::atomic<int> alive;

struct Counted {
	int n = 5;
	Counted() { alive++; }
	~Counted()
	{
		cogo_yield();
		alive--;
	}
};

static thread_local Counted counted;

static void touch(void *arg)
{
	counted.n++;
	cogo_yield();
	check_eq(counted.n, 6);
	if (arg)
		cogo_panic("with thread_local");
}

Test(cxx, a_thread_local_is_the_coroutines_own_and_destroyed_at_its_end)
{
	cogo_coro *c[100];

	for (int i = 0; i < 100; i++)
		c[i] = begin(nullptr, touch, i % 2 ? c : nullptr);
	for (int i = 0; i < 100; i++)
		check_eq(cogo_join(c[i]), i % 2 ? COGO_PANICKED : COGO_RETURNED);
	check_eq(alive, 0);
}

static volatile int *volatile nowhere;

static void fault_in_frames(void *)
{
	cogo_contain_faults(true);
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	*nowhere = 1;
}

__attribute__((noinline)) static void fault_plainly()
{
	*nowhere = 1;
}

static void fault_below_frames(void *)
{
	cogo_contain_faults(true);
	Mark a('a');
	cogo_defer(mark, &x);
	Mark b('b');
	fault_plainly();
}

/* An instruction of a function with destructors that is no call: the compiler has
 * told nobody what to do there. What is deferred is done all the same. */
Test(cxx, a_contained_fault_ends_in_C_plus_plus_too)
{
	begin_trail();
	check_eq(outcome(nullptr, fault_below_frames, nullptr), COGO_PANICKED);
	check(strchr(trail, 'x'));
	for (int i = 0; i < 3; i++) {
		begin_trail();
		check_eq(outcome(nullptr, fault_in_frames, nullptr), COGO_PANICKED);
		check(strchr(trail, 'x'));
	}
}

static void throw_uncaught(void *)
{
	cogo_contain_faults(true);
	cogo_defer(mark, &x);
	throw std::runtime_error("nobody catches it");
}

Test(cxx, an_exception_that_nobody_catches_is_an_abort_that_is_contained)
{
	for (int i = 0; i < 3; i++) {
		begin_trail();
		check_eq(outcome(nullptr, throw_uncaught, nullptr), COGO_PANICKED);
		check(strcmp(trail, "x") == 0);
	}
}

static void panic_in_noexcept_inner() noexcept
{
	Mark m('m');
	cogo_panic("through noexcept");
}

static void panic_in_noexcept(void *)
{
	cogo_contain_faults(true);
	cogo_defer(mark, &x);
	panic_in_noexcept_inner();
}

Test(cxx, a_panic_through_noexcept_still_ends)
{
	begin_trail();
	check_eq(outcome(nullptr, panic_in_noexcept, nullptr), COGO_PANICKED);
	check(strchr(trail, 'x'));
}

static int child(void *arg)
{
	++*(std::atomic<int> *)arg;
	return 0;
}

static int leave_scope(int way, std::atomic<int> *n)
{
	int result = 1;

	try {
		cogo_scope(s, &result) {
			for (int i = 0; i < 5; i++)
				check_eq(cogo_scope_go(s, nullptr, child, n), 0);
			if (way == 1)
				return -1;
			if (way == 2)
				throw std::runtime_error("out");
		}
	} catch (std::runtime_error &) {
		check_eq(*n, 5);
		return -2;
	}
	return result;
}

Test(cxx, a_scope_is_left_by_return_and_by_throw)
{
	for (int way = 0; way < 3; way++) {
		std::atomic<int> n{0};

		check_eq(leave_scope(way, &n), -way);
		check_eq(n, 5);
	}
}

static int wait_for_ever(void *)
{
	return cogo_park(COGO_FOREVER);
}

static void panic_in_scope(void *)
{
	cogo_scope(s, nullptr) {
		cogo_scope_go(s, nullptr, wait_for_ever, nullptr);
		cogo_panic("in a scope");
	}
}

Test(cxx, a_panic_in_a_scope_cancels_its_children)
{
	check_eq(outcome(nullptr, panic_in_scope, nullptr), COGO_PANICKED);
	check_eq(cogo_recover(panic_in_scope, nullptr, nullptr), 1);
}

static void use_std(void *arg)
{
	std::vector<std::string> v;

	for (int i = 0; i < 100; i++) {
		v.push_back(std::to_string(i));
		if (i % 10 == 0)
			std::this_thread::sleep_for(std::chrono::microseconds(50));
	}
	check_eq(v.size(), 100);
	*(std::thread::id *)arg = std::this_thread::get_id();
}

Test(cxx, the_standard_library_works_and_tells_them_apart)
{
	std::thread::id a, b;
	cogo_coro *c = begin(nullptr, use_std, &a), *d = begin(nullptr, use_std, &b);

	cogo_join(c);
	cogo_join(d);
	check(a != b);
}
