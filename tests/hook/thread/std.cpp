// SPDX-License-Identifier: MIT OR Apache-2.0
/* std.cpp - what C++ offers over threads, up to C++20: stop tokens, futures,
 * semaphores, latches, barriers, atomics that one can wait for, and what a thread
 * has of its own. cxx.cpp has how threads end. */
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <latch>
#include <memory>
#include <mutex>
#include <numeric>
#include <semaphore>
#include <set>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <syncstream>
#include <thread>
#include <vector>

#include "../../support/expect.h"

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using std::chrono::system_clock;

namespace {

// As many threads that call fn(their number), all joined.
template <typename F> void crowd(int n, F fn)
{
	std::vector<std::jthread> threads;

	for (int i = 0; i < n; i++)
		threads.emplace_back([fn, i] { fn(i); });
}

// ---- stopping ----

void a_jthread_is_stopped_and_joined_where_it_goes()
{
	std::atomic<int> ended{0};
	{
		std::vector<std::jthread> threads;
		for (int i = 0; i < 50; i++)
			threads.emplace_back([&](std::stop_token stop) {
				while (!stop.stop_requested())
					std::this_thread::sleep_for(1ms);
				ended++;
			});
		EXPECT_EQ(ended.load(), 0);
	}
	EXPECT_EQ(ended.load(), 50);
}

void a_stop_is_told_in_the_thread_that_asks_for_it()
{
	std::stop_source source;
	std::thread::id told[3];
	std::stop_callback first(source.get_token(),
				 [&] { told[0] = std::this_thread::get_id(); });
	std::stop_callback second(source.get_token(),
				  [&] { told[1] = std::this_thread::get_id(); });
	std::thread asks([&] {
		EXPECT(source.request_stop());
		EXPECT(!source.request_stop());
	});
	std::thread::id asker = asks.get_id();
	asks.join();
	// Too late to be told by another.
	std::stop_callback third(source.get_token(),
				 [&] { told[2] = std::this_thread::get_id(); });

	EXPECT(told[0] == asker && told[1] == asker);
	EXPECT(told[2] == std::this_thread::get_id());
}

void who_takes_a_callback_back_waits_until_it_has_run()
{
	std::stop_source source;
	std::atomic<bool> begun{false}, may_end{false}, ended{false};
	std::jthread asks;
	{
		std::stop_callback callback(source.get_token(), [&] {
			begun = true;
			begun.notify_all();
			may_end.wait(false);
			std::this_thread::sleep_for(2ms);
			ended = true;
		});
		asks = std::jthread([&] { source.request_stop(); });
		begun.wait(false);
		may_end = true;
		may_end.notify_all();
	}
	EXPECT(ended.load());
}

void a_stop_ends_every_wait_for_a_condition()
{
	std::mutex m;
	std::condition_variable_any c;
	std::stop_source source;
	std::atomic<int> waits{0}, unmet{0};
	std::vector<std::jthread> threads;

	for (int i = 0; i < 60; i++)
		threads.emplace_back([&, i, stop = source.get_token()] {
			std::unique_lock held(m);
			auto never = [] { return false; };
			bool met;
			waits++;
			if (i % 3 == 0)
				met = c.wait(held, stop, never);
			else if (i % 3 == 1)
				met = c.wait_for(held, stop, 1h, never);
			else
				met = c.wait_until(held, stop, system_clock::now() + 1h,
						   never);
			EXPECT(held.owns_lock());
			unmet += !met;
		});
	WAIT_UNTIL(waits == 60);
	source.request_stop();
	threads.clear();
	EXPECT_EQ(unmet.load(), 60);
}

void a_wait_with_a_token_still_ends_in_time_or_with_its_condition()
{
	std::mutex m;
	std::condition_variable_any c;
	std::stop_source source;
	bool set = false;
	auto due = steady_clock::now() + 10ms;
	{
		std::unique_lock held(m);
		EXPECT(!c.wait_until(held, source.get_token(), due,
				     [] { return false; }));
		EXPECT(steady_clock::now() >= due);
	}
	std::jthread sets([&] {
		std::lock_guard held(m);
		set = true;
		c.notify_all();
	});
	std::unique_lock held(m);
	EXPECT(c.wait(held, source.get_token(), [&] { return set; }));
}

// ---- futures ----

void what_is_deferred_runs_in_who_asks_for_it()
{
	auto here = std::this_thread::get_id();
	auto id = [] { return std::this_thread::get_id(); };
	auto later = std::async(std::launch::deferred, id);
	auto now = std::async(std::launch::async, id);

	EXPECT(later.wait_for(0s) == std::future_status::deferred);
	EXPECT(later.get() == here);
	EXPECT(now.get() != here);
}

void a_promise_is_kept_broken_or_late()
{
	std::promise<int> kept, late;
	auto kept_for = kept.get_future(), late_for = late.get_future();
	std::future<int> broken_for;
	auto due = steady_clock::now() + 10ms;

	EXPECT(late_for.wait_for(5ms) == std::future_status::timeout);
	EXPECT(late_for.wait_until(due) == std::future_status::timeout);
	EXPECT(steady_clock::now() >= due);
	EXPECT(late_for.wait_until(system_clock::now() + 5ms) ==
	       std::future_status::timeout);
	std::jthread keeps([&] {
		std::promise<int> broken;
		broken_for = broken.get_future();
		kept.set_value(1);
	});
	EXPECT_EQ(kept_for.get(), 1);
	keeps.join();
	try {
		broken_for.get();
		EXPECT(!"a broken promise has a value");
	} catch (const std::future_error &e) {
		EXPECT(e.code() == std::future_errc::broken_promise);
	}
	late.set_exception(std::make_exception_ptr(std::domain_error("late")));
	try {
		late_for.get();
		EXPECT(!"an exception is a value");
	} catch (const std::domain_error &e) {
		EXPECT_STR(e.what(), "late");
	}
}

void hundreds_wait_for_one_future()
{
	std::promise<std::string> promise;
	std::shared_future<std::string> future = promise.get_future().share();
	std::atomic<int> waits{0}, right{0};
	std::vector<std::jthread> threads;

	for (int i = 0; i < 300; i++)
		threads.emplace_back([&, future] {
			waits++;
			right += future.get() == "told";
		});
	WAIT_UNTIL(waits == 300);
	promise.set_value("told");
	threads.clear();
	EXPECT_EQ(right.load(), 300);
}

void a_packaged_task_runs_anywhere_and_again()
{
	std::packaged_task<int(int)> task([](int i) {
		std::this_thread::sleep_for(1ms);
		if (i < 0)
			throw std::range_error("below");
		return i + 1;
	});

	for (int i = 0; i < 5; i++) {
		auto result = task.get_future();
		std::jthread runs([&] { task(i); });
		EXPECT_EQ(result.get(), i + 1);
		runs.join();
		task.reset();
	}
	auto result = task.get_future();
	std::jthread(std::ref(task), -1).join();
	bool thrown = false;
	try {
		result.get();
	} catch (const std::range_error &) {
		thrown = true;
	}
	EXPECT(thrown);
}

// ---- a thread's own ----

std::atomic<int> made{0}, gone{0}, gone_elsewhere{0};

struct own {
	std::thread::id maker = std::this_thread::get_id();
	std::string text = std::string(100, 'x');
	own()
	{
		made++;
	}
	~own()
	{
		std::this_thread::yield();
		gone_elsewhere += maker != std::this_thread::get_id();
		gone++;
	}
};
thread_local own of_thread;
thread_local std::vector<int> numbers;

void every_threads_objects_are_its_own_and_end_with_it()
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	std::atomic<int> right{0};
	int before = gone;

	crowd(500, [&](int i) {
		for (int k = 0; k < 10; k++) {
			numbers.push_back(i * k);
			if (k % 4 == 0)
				std::this_thread::sleep_for(1ms);
		}
		right += of_thread.text.size() == 100 && numbers.size() == 10 &&
			 std::accumulate(numbers.begin(), numbers.end(), 0) == 45 * i;
	});
	EXPECT_EQ(right.load(), 500);
	EXPECT_EQ(gone - before, 500);
	EXPECT_EQ(gone_elsewhere.load(), 0);
	std::thread([] { of_thread.text = "detached"; }).detach();
	WAIT_UNTIL(gone == before + 501);
}

void a_condition_and_a_future_are_told_when_the_thread_has_ended()
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	std::mutex m;
	std::condition_variable c;
	std::promise<int> promise;
	auto future = promise.get_future();
	bool left = false;
	int before = gone;

	std::thread([&] {
		of_thread.text = "ends";
		promise.set_value_at_thread_exit(7);
		EXPECT(future.wait_for(0s) == std::future_status::timeout);
	}).join();
	EXPECT_EQ(future.get(), 7);
	std::thread([&] {
		std::unique_lock held(m);
		of_thread.text = "ends";
		left = true;
		std::notify_all_at_thread_exit(c, std::move(held));
	}).detach();
	std::unique_lock held(m);
	c.wait(held, [&] { return left; });
	EXPECT_EQ(gone - before, 2);
}

struct waits_when_unwound {
	std::latch &all;
	int &seen;
	~waits_when_unwound()
	{
		all.arrive_and_wait();
		seen = std::uncaught_exceptions();
	}
};

// All throw before any catches, and all have caught before any throws on.
void exceptions_in_flight_are_a_threads_own()
{
	constexpr int n = 60;
	std::latch thrown(n), caught(n);
	std::atomic<int> right{0};

	crowd(n, [&](int i) {
		int in_flight = -1;
		try {
			try {
				waits_when_unwound here{thrown, in_flight};
				throw std::runtime_error(std::to_string(i));
			} catch (const std::exception &) {
				caught.arrive_and_wait();
				std::throw_with_nested(std::logic_error("outer"));
			}
		} catch (const std::nested_exception &outer) {
			std::this_thread::sleep_for(1ms);
			try {
				outer.rethrow_nested();
			} catch (const std::exception &e) {
				right += in_flight == 1 &&
					 e.what() == std::to_string(i) &&
					 std::uncaught_exceptions() == 0;
			}
		}
	});
	EXPECT_EQ(right.load(), n);
}

void an_exception_may_be_thrown_on_by_many_threads()
{
	std::exception_ptr first;
	std::atomic<int> seen{0};

	std::thread([&] {
		try {
			throw std::length_error("of one");
		} catch (...) {
			first = std::current_exception();
		}
	}).join();
	crowd(50, [&](int) {
		try {
			std::rethrow_exception(first);
		} catch (const std::length_error &e) {
			std::this_thread::sleep_for(1ms);
			seen += e.what() == std::string("of one");
		}
	});
	EXPECT_EQ(seen.load(), 50);
}

void every_thread_has_an_id_until_it_is_joined()
{
	constexpr int n = 300;
	std::set<std::thread::id> ids;
	std::latch all(n);
	std::mutex m;

	crowd(n, [&](int) {
		{
			std::lock_guard held(m);
			ids.insert(std::this_thread::get_id());
		}
		all.arrive_and_wait();
	});
	EXPECT_EQ(ids.size(), n);
	std::thread t([] {});
	EXPECT(t.joinable() && t.get_id() != std::thread::id());
	t.join();
	EXPECT(!t.joinable() && t.get_id() == std::thread::id());
	bool thrown = false;
	try {
		t.join();
	} catch (const std::system_error &e) {
		thrown = e.code() == std::errc::invalid_argument;
	}
	EXPECT(thrown);
}

void as_many_run_at_once_as_the_process_has_processors()
{
	cpu_set_t set;

	EXPECT_OK(sched_getaffinity(0, sizeof(set), &set));
	EXPECT_EQ(std::thread::hardware_concurrency(), CPU_COUNT(&set));
}

// ---- locks ----

void several_locks_are_taken_in_any_order()
{
	constexpr int n = 7;
	std::mutex forks[n];
	std::recursive_mutex again;
	int meals[n] = {}, all = 0;

	crowd(n, [&](int i) {
		for (int k = 0; k < 200; k++) {
			std::scoped_lock held(forks[i], forks[(i + 1) % n], again);
			std::lock_guard once_more(again);
			meals[i]++;
			if (all++ % 50 == 0)
				std::this_thread::yield();
		}
	});
	EXPECT_EQ(all, n * 200);
	for (int i = 0; i < n; i++)
		EXPECT_EQ(meals[i], 200);
}

void a_shared_timed_mutex_gives_up_in_time()
{
	std::shared_timed_mutex m;

	m.lock_shared();
	std::thread([&] {
		auto due = steady_clock::now() + 10ms;
		EXPECT(m.try_lock_shared_for(20s));
		m.unlock_shared();
		EXPECT(!m.try_lock_until(due));
		EXPECT(steady_clock::now() >= due);
		EXPECT(!m.try_lock_for(2ms));
	}).join();
	m.unlock_shared();
	m.lock();
	std::thread([&] {
		EXPECT(!m.try_lock_shared_until(system_clock::now() + 5ms));
		EXPECT(!m.try_lock_shared());
	}).join();
	std::jthread waits([&] {
		EXPECT(m.try_lock_shared_for(60s));
		m.unlock_shared();
	});
	settle();
	m.unlock();
}

// ---- what C++20 brought ----

void a_semaphore_lets_in_as_many_as_it_says()
{
	std::counting_semaphore<5> gate(5);
	std::atomic<int> inside{0}, most{0};

	crowd(40, [&](int) {
		for (int k = 0; k < 10; k++) {
			gate.acquire();
			int n = ++inside;
			for (int old = most; old < n && !most.compare_exchange_weak(old, n);)
				;
			std::this_thread::yield();
			inside--;
			gate.release();
		}
	});
	EXPECT(most <= 5);
	std::binary_semaphore shut(0);
	auto due = steady_clock::now() + 10ms;
	EXPECT(!shut.try_acquire());
	EXPECT(!shut.try_acquire_until(due));
	EXPECT(steady_clock::now() >= due);
	EXPECT(!shut.try_acquire_for(1ms));
	std::jthread opens([&] { shut.release(); });
	EXPECT(shut.try_acquire_for(60s));
}

void two_semaphores_take_turns()
{
	std::binary_semaphore ping(1), pong(0);
	int turns = 0;
	std::jthread other([&] {
		for (int i = 0; i < 2000; i++) {
			pong.acquire();
			turns++;
			ping.release();
		}
	});

	for (int i = 0; i < 2000; i++) {
		ping.acquire();
		EXPECT_EQ(turns, i);
		pong.release();
	}
	ping.acquire();
	EXPECT_EQ(turns, 2000);
}

void a_barrier_completes_each_phase_once()
{
	constexpr int n = 40, phases = 30;
	std::atomic<int> arrived{0};
	int completed = 0, wrong = 0;
	auto complete = [&]() noexcept {
		// The last of them drops out after the first phase.
		wrong += arrived != (completed ? n - 1 : n);
		arrived = 0;
		completed++;
	};
	std::barrier<decltype(complete)> meet(n, complete);

	crowd(n, [&](int i) {
		for (int k = 0; k < phases; k++) {
			arrived++;
			if (i == n - 1)
				return meet.arrive_and_drop();
			if (k % 3)
				meet.arrive_and_wait();
			else
				meet.wait(meet.arrive());
		}
	});
	EXPECT_EQ(completed, phases);
	EXPECT_EQ(wrong, 0);
}

void thousands_wait_at_a_latch()
{
	constexpr int n = 3000;
	std::latch all(n + 1), go(1);
	std::atomic<int> through{0};
	std::vector<std::jthread> threads;

	for (int i = 0; i < n; i++)
		threads.emplace_back([&] {
			all.count_down();
			go.wait();
			through++;
		});
	all.arrive_and_wait();
	EXPECT(!go.try_wait());
	EXPECT_EQ(through.load(), 0);
	go.count_down();
	threads.clear();
	EXPECT_EQ(through.load(), n);
}

// Those of a futex's size are waited for as they are, others by a stand-in, which
// several may share.
template <typename T> void wait_for_each_change()
{
	std::atomic<T> turn{0};

	crowd(6, [&](int me) {
		for (int i = 0; i < 15; i++) {
			T now;
			while ((now = turn) % 6 != me)
				turn.wait(now);
			turn++;
			turn.notify_all();
		}
	});
	EXPECT_EQ(turn.load(), 90);
}

void atomics_of_any_size_can_be_waited_for()
{
	wait_for_each_change<unsigned char>();
	wait_for_each_change<short>();
	wait_for_each_change<int>();
	wait_for_each_change<long>();
	std::atomic_flag flag;
	std::atomic<int> through{0};
	std::vector<std::jthread> threads;
	for (int i = 0; i < 100; i++)
		threads.emplace_back([&] {
			flag.wait(false);
			through++;
		});
	settle();
	EXPECT_EQ(through.load(), 0);
	flag.test_and_set();
	flag.notify_all();
	threads.clear();
	EXPECT_EQ(through.load(), 100);
}

void a_shared_pointer_is_swapped_by_many()
{
	std::atomic<std::shared_ptr<int>> newest{std::make_shared<int>(0)};

	crowd(20, [&](int) {
		for (int i = 0; i < 200; i++) {
			auto old = newest.load();
			while (!newest.compare_exchange_weak(
				old, std::make_shared<int>(*old + 1)))
				std::this_thread::yield();
		}
	});
	EXPECT_EQ(*newest.load(), 4000);
}

// ---- all together ----

void lines_of_many_threads_stay_whole()
{
	std::ostringstream all;
	int ends[2], whole = 0, status;
	std::set<std::string> lines;

	crowd(40, [&](int i) {
		for (int k = 0; k < 50; k++)
			std::osyncstream(all) << "line " << i << " " << k << '\n';
	});
	std::istringstream back(all.str());
	for (std::string line; std::getline(back, line);)
		lines.insert(line);
	EXPECT_EQ(lines.size(), 2000);

	// To a pipe that somebody else reads slowly, with stdio below.
	EXPECT_OK(pipe(ends));
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		dup2(ends[1], 1);
		close(ends[0]);
		crowd(40, [](int i) {
			for (int k = 0; k < 100; k++)
				std::osyncstream(std::cout) << i << std::string(100, '.')
							    << k << std::endl;
		});
		_exit(0);
	}
	close(ends[1]);
	FILE *file = fdopen(ends[0], "r");
	char line[256];
	lines.clear();
	while (fgets(line, sizeof(line), file)) {
		int i, k;
		whole += sscanf(line, "%d%*[.]%d", &i, &k) == 2 &&
			 std::string(line) == std::to_string(i) + std::string(100, '.') +
						      std::to_string(k) + "\n";
		lines.insert(line);
	}
	fclose(file);
	status = status_of(pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(whole, 4000);
	EXPECT_EQ(lines.size(), 4000);
}

class pool {
	std::mutex m;
	std::condition_variable_any changed;
	std::deque<std::packaged_task<long()>> tasks;
	std::vector<std::jthread> threads;

public:
	explicit pool(int n)
	{
		for (int i = 0; i < n; i++)
			threads.emplace_back([this](std::stop_token stop) { work(stop); });
	}
	~pool()
	{
		for (auto &t : threads)
			t.request_stop();
		threads.clear();
	}
	void work(std::stop_token stop)
	{
		for (;;) {
			std::unique_lock held(m);
			if (!changed.wait(held, stop, [this] { return !tasks.empty(); }))
				return;
			auto task = std::move(tasks.front());
			tasks.pop_front();
			held.unlock();
			task();
		}
	}
	std::future<long> run(std::function<long()> fn)
	{
		std::packaged_task<long()> task(std::move(fn));
		auto result = task.get_future();
		{
			std::lock_guard held(m);
			tasks.push_back(std::move(task));
		}
		changed.notify_one();
		return result;
	}
};

void a_pool_answers_every_task_even_those_of_tasks()
{
	pool workers(30);
	std::vector<std::future<std::future<long>>> outer;
	std::vector<std::jthread> clients;
	std::atomic<long> sum{0};

	for (int c = 0; c < 20; c++)
		clients.emplace_back([&, c] {
			std::vector<std::future<long>> results;
			for (int i = 0; i < 300; i++)
				results.push_back(workers.run([=] {
					if (i % 32 == 0)
						std::this_thread::sleep_for(1ms);
					return long(c) * i;
				}));
			for (auto &r : results)
				sum += r.get();
		});
	clients.clear();
	EXPECT_EQ(sum.load(), 190L * 44850);
	// One that begins another, whose answer comes from the pool as well.
	auto handed_on = std::make_shared<std::promise<long>>();
	auto answer = handed_on->get_future();
	workers.run([&workers, handed_on] {
		workers.run([handed_on] {
			handed_on->set_value(5);
			return 0L;
		});
		return 0L;
	});
	EXPECT_EQ(answer.get(), 5);
}

const struct expect_case cases[] = {
	CASE(a_jthread_is_stopped_and_joined_where_it_goes),
	CASE(a_stop_is_told_in_the_thread_that_asks_for_it),
	CASE(who_takes_a_callback_back_waits_until_it_has_run),
	CASE(a_stop_ends_every_wait_for_a_condition),
	CASE(a_wait_with_a_token_still_ends_in_time_or_with_its_condition),
	CASE(what_is_deferred_runs_in_who_asks_for_it),
	CASE(a_promise_is_kept_broken_or_late),
	CASE(hundreds_wait_for_one_future),
	CASE(a_packaged_task_runs_anywhere_and_again),
	CASE(every_threads_objects_are_its_own_and_end_with_it),
	CASE(a_condition_and_a_future_are_told_when_the_thread_has_ended),
	CASE(exceptions_in_flight_are_a_threads_own),
	CASE(an_exception_may_be_thrown_on_by_many_threads),
	CASE(every_thread_has_an_id_until_it_is_joined),
	CASE(as_many_run_at_once_as_the_process_has_processors),
	CASE(several_locks_are_taken_in_any_order),
	CASE(a_shared_timed_mutex_gives_up_in_time),
	CASE(a_semaphore_lets_in_as_many_as_it_says),
	CASE(two_semaphores_take_turns),
	CASE(a_barrier_completes_each_phase_once),
	CASE(thousands_wait_at_a_latch),
	CASE(atomics_of_any_size_can_be_waited_for),
	CASE(a_shared_pointer_is_swapped_by_many),
	CASE(lines_of_many_threads_stay_whole),
	CASE(a_pool_answers_every_task_even_those_of_tasks),
};

} // namespace

EXPECT_MAIN(cases)
