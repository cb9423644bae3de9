// SPDX-License-Identifier: MIT OR Apache-2.0
/* cxx.cpp - threads as C++ has them: destructors run however a thread ends,
 * and what the standard library builds on pthreads works. */
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cxxabi.h>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include "../../support/expect.h"

using namespace std::chrono_literals;

namespace {

std::string trail; // of one thread at a time

struct leaves_a_trace {
	const char *name;
	explicit leaves_a_trace(const char *n) : name(n)
	{
	}
	~leaves_a_trace()
	{
		sched_yield();
		trail += name;
	}
};

// ---- ends ----

volatile bool for_ever = true;

__attribute__((noinline)) void deeper(int depth, bool exits)
{
	leaves_a_trace here(depth == 0 ? "c" : depth == 1 ? "b" : "a");

	if (depth)
		deeper(depth - 1, exits);
	else if (exits)
		pthread_exit(&trail);
	else
		while (for_ever)
			pause();
	trail += "!";
}

void *ends_deep(void *arg)
{
	deeper(2, arg != nullptr);
	return nullptr;
}

void pthread_exit_runs_destructors_innermost_first()
{
	trail.clear();
	EXPECT(finish(start(ends_deep, &trail)) == &trail);
	EXPECT_STR(trail.c_str(), "cba");
}

void cancellation_runs_destructors_innermost_first()
{
	trail.clear();
	pthread_t t = start(ends_deep, nullptr);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_STR(trail.c_str(), "cba");
}

void *catches_all_and_throws_on(void *)
{
	try {
		leaves_a_trace here("x");
		for (;;)
			pause();
	} catch (const std::exception &) {
		trail += "?";
	} catch (...) {
		trail += "y";
		throw;
	}
	return nullptr;
}

void a_cancellation_can_be_caught_and_must_be_thrown_on()
{
	trail.clear();
	pthread_t t = start(catches_all_and_throws_on, nullptr);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_STR(trail.c_str(), "xy");
}

void *knows_it_is_forced(void *)
{
	try {
		pthread_exit(&trail);
	} catch (abi::__forced_unwind &) {
		trail += "forced";
		throw;
	}
	return nullptr;
}

void a_forced_unwind_has_its_own_type()
{
	trail.clear();
	EXPECT(finish(start(knows_it_is_forced, nullptr)) == &trail);
	EXPECT_STR(trail.c_str(), "forced");
}

void pushes_and_destroys_in(void (*inner)())
{
	leaves_a_trace here("1");
	pthread_cleanup_push([](void *) { trail += "2"; }, nullptr);
	leaves_a_trace there("3");
	inner();
	pthread_cleanup_pop(0);
}

void *mixes(void *)
{
	pushes_and_destroys_in([] { pthread_exit(nullptr); });
	return nullptr;
}

void handlers_and_destructors_run_in_one_order()
{
	trail.clear();
	finish(start(mixes, nullptr));
	EXPECT_STR(trail.c_str(), "321");
}

void *swallows(void *)
{
	try {
		for (;;)
			pause();
	} catch (...) {
		/* and nothing thrown on: the program ends */
	}
	return nullptr;
}

int status_of_child(void *(*fn)(void *), bool cancel)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit no_core = {0, 0};
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(60);
		close(2);
		pthread_t t = start(fn, nullptr);
		settle();
		if (cancel)
			pthread_cancel(t);
		pthread_join(t, nullptr);
		_exit(0);
	}
	return status_of(pid);
}

void a_swallowed_cancellation_aborts()
{
	int status = status_of_child(swallows, true);

	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

void *throws_out(void *)
{
	throw std::runtime_error("out of a thread");
}

void an_exception_that_leaves_a_thread_terminates()
{
	int status = status_of_child(throws_out, false);

	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

struct ends_with_thread {
	std::string name = "t";
	~ends_with_thread()
	{
		trail += name;
	}
};
thread_local ends_with_thread of_thread;

pthread_key_t key;

void *orders_its_end(void *)
{
	of_thread.name = "local";
	pthread_setspecific(key, &key);
	leaves_a_trace here("stack-");
	pthread_exit(nullptr);
}

// The stack first, then thread_local objects, then keys.
void the_parts_of_a_thread_end_in_order()
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	trail.clear();
	pthread_key_create(&key, [](void *) { trail += "-key"; });
	finish(start(orders_its_end, nullptr));
	EXPECT_STR(trail.c_str(), "stack-local-key");
	pthread_key_delete(key);
}

// ---- the standard library ----

void an_exception_comes_through_a_future()
{
	std::vector<std::future<int>> results;

	for (int i = 0; i < 50; i++)
		results.push_back(std::async(std::launch::async, [i] {
			std::this_thread::sleep_for(1ms);
			if (i % 5 == 0)
				throw std::out_of_range(std::to_string(i));
			return i * i;
		}));
	for (int i = 0; i < 50; i++) {
		try {
			EXPECT_EQ(results[i].get(), i * i);
			EXPECT(i % 5 != 0);
		} catch (const std::out_of_range &e) {
			EXPECT_STR(e.what(), std::to_string(i).c_str());
		}
	}
}

void call_once_begins_again_after_an_exception()
{
	if (SHARES_STORAGE) {
		SKIP("std::call_once keeps its argument in a thread-local variable");
		return;
	}
	std::once_flag flag;
	std::atomic<int> calls{0}, thrown{0};
	std::vector<std::thread> threads;

	for (int i = 0; i < 20; i++)
		threads.emplace_back([&] {
			try {
				std::call_once(flag, [&] {
					std::this_thread::sleep_for(1ms);
					if (++calls < 4)
						throw 1;
				});
			} catch (int) {
				thrown++;
			}
		});
	for (auto &t : threads)
		t.join();
	EXPECT_EQ(calls.load(), 4);
	EXPECT_EQ(thrown.load(), 3);
}

void local_statics_are_made_once()
{
	static std::atomic<int> made{0};
	struct slow {
		slow()
		{
			std::this_thread::sleep_for(5ms);
			made++;
		}
	};
	std::vector<std::thread> threads;

	for (int i = 0; i < 20; i++)
		threads.emplace_back([] {
			static slow one;
			EXPECT_EQ(made.load(), 1);
		});
	for (auto &t : threads)
		t.join();
}

template <typename clock> void wait_in_time()
{
	std::mutex m;
	std::condition_variable c;
	std::unique_lock<std::mutex> held(m);
	auto due = clock::now() + 20ms;

	EXPECT(!c.wait_until(held, due, [] { return false; }));
	EXPECT(clock::now() >= due);
}

void condition_variables_wait_on_either_clock()
{
	wait_in_time<std::chrono::steady_clock>();
	wait_in_time<std::chrono::system_clock>();
}

void timed_and_recursive_mutexes_do_as_they_say()
{
	std::recursive_timed_mutex m;
	std::timed_mutex plain;

	m.lock();
	EXPECT(m.try_lock());
	EXPECT(m.try_lock_for(1ms));
	std::thread([&] {
		auto from = std::chrono::steady_clock::now();
		EXPECT(!m.try_lock());
		EXPECT(!m.try_lock_for(20ms));
		EXPECT(std::chrono::steady_clock::now() - from >= 20ms);
	}).join();
	m.unlock();
	m.unlock();
	m.unlock();
	std::thread([&] { EXPECT(m.try_lock_for(20s)); m.unlock(); }).join();
	plain.lock();
	std::thread([&] { EXPECT(!plain.try_lock_for(5ms)); }).join();
	plain.unlock();
}

void a_shared_mutex_lets_readers_share()
{
	std::shared_mutex m;
	std::atomic<int> readers{0}, most{0}, written{0};
	std::vector<std::thread> threads;

	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			std::shared_lock<std::shared_mutex> l(m);
			int n = ++readers;
			for (int old = most; old < n && !most.compare_exchange_weak(old, n);)
				;
			WAIT_UNTIL(readers == 8);
		});
	for (auto &t : threads)
		t.join();
	EXPECT_EQ(most.load(), 8);
	threads.clear();
	int plain = 0;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			for (int k = 0; k < 1000; k++) {
				std::unique_lock<std::shared_mutex> l(m);
				plain++;
				written++;
			}
		});
	for (auto &t : threads)
		t.join();
	EXPECT_EQ(plain, 8000);
}

// libstdc++ sleeps on a futex of its own here, past pthreads.
#if __cpp_lib_atomic_wait
void atomics_can_be_waited_on()
{
	std::atomic<int> turn{0};
	std::vector<std::thread> threads;

	for (int me = 0; me < 4; me++)
		threads.emplace_back([&turn, me] {
			for (int i = 0; i < 200; i++) {
				int now;
				while ((now = turn) % 4 != me)
					turn.wait(now);
				turn++;
				turn.notify_all();
			}
		});
	for (auto &t : threads)
		t.join();
	EXPECT_EQ(turn.load(), 800);
}
#endif

void sleeping_sleeps()
{
	auto from = std::chrono::steady_clock::now();

	std::this_thread::sleep_for(20ms);
	std::this_thread::sleep_until(from + 40ms);
	EXPECT(std::chrono::steady_clock::now() - from >= 40ms);
	EXPECT(std::thread::hardware_concurrency() >= 1);
}

const struct expect_case cases[] = {
	CASE(pthread_exit_runs_destructors_innermost_first),
	CASE(cancellation_runs_destructors_innermost_first),
	CASE(a_cancellation_can_be_caught_and_must_be_thrown_on),
	CASE(a_forced_unwind_has_its_own_type),
	CASE(handlers_and_destructors_run_in_one_order),
	CASE(a_swallowed_cancellation_aborts),
	CASE(an_exception_that_leaves_a_thread_terminates),
	CASE(the_parts_of_a_thread_end_in_order),
	CASE(an_exception_comes_through_a_future),
	CASE(call_once_begins_again_after_an_exception),
	CASE(local_statics_are_made_once),
	CASE(condition_variables_wait_on_either_clock),
	CASE(timed_and_recursive_mutexes_do_as_they_say),
	CASE(a_shared_mutex_lets_readers_share),
#if __cpp_lib_atomic_wait
	CASE(atomics_can_be_waited_on),
#endif
	CASE(sleeping_sleeps),
};

} // namespace

EXPECT_MAIN(cases)
