/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* locks_cxx.cpp - the locks of C++, by threads at random.
 *
 * What the standard library makes of pthreads, and what it makes of futexes
 * without asking them: atomic waiting, latches, barriers, semaphores, futures.
 * An ordinary program, run bare and as coroutines; it says nothing but what went
 * wrong, and the seed. */
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <random>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static unsigned long seed;
static int nthreads = 24, rounds = 300;
static std::atomic<long> failures;

#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)

static void check(bool good, int line, const char *text)
{
	if (good)
		return;
	failures++;
	std::printf("locks_cxx.cpp:%d: not so: %s\n", line, text);
}

static thread_local std::minstd_rand chance_of;

static unsigned chance(unsigned n)
{
	return chance_of() % n;
}

static void dawdle()
{
	switch (chance(16)) {
	case 0:
		std::this_thread::sleep_for(std::chrono::microseconds(chance(50)));
		break;
	case 1:
	case 2:
		std::this_thread::yield();
		break;
	}
}

static void each(int n, const std::function<void(int)> &fn)
{
	std::vector<std::thread> threads;

	for (int i = 0; i < n; i++)
		threads.emplace_back([&fn, i] {
			chance_of.seed((unsigned)(seed + 7919u * (unsigned)i + 1));
			fn(i);
		});
	for (auto &t : threads)
		t.join();
}

template <class Mutex> static void exclusive()
{
	Mutex m;
	long a = 0, b = 0;

	each(nthreads, [&](int) {
		for (int i = 0; i < rounds; i++) {
			std::unique_lock<Mutex> l(m, std::defer_lock);

			if (chance(4) || !l.try_lock())
				l.lock();
			CHECK(a == b);
			a++;
			dawdle();
			b++;
		}
	});
	CHECK(a == b && b == (long)rounds * nthreads);
}

template <class Mutex> static void timed()
{
	Mutex m;
	long a = 0, b = 0;
	std::atomic<long> n = 0;

	each(nthreads, [&](int) {
		for (int i = 0; i < rounds; i++) {
			std::unique_lock<Mutex> l(m, std::defer_lock);
			auto span = std::chrono::microseconds(chance(200));
			bool got = chance(2) ?
				l.try_lock_for(span) :
				l.try_lock_until(std::chrono::system_clock::now() +
						 span);

			if (!got)
				continue;
			CHECK(a == b);
			a++;
			dawdle();
			b++;
			n++;
		}
	});
	CHECK(a == n && b == n);
}

template <class Mutex> static void shared()
{
	Mutex m;
	std::atomic<int> readers = 0, writers = 0;

	each(nthreads, [&](int) {
		for (int i = 0; i < rounds; i++) {
			if (chance(4)) {
				std::shared_lock<Mutex> l(m);

				readers++;
				CHECK(writers == 0);
				dawdle();
				readers--;
			} else {
				std::unique_lock<Mutex> l(m);

				CHECK(++writers == 1);
				CHECK(readers == 0);
				dawdle();
				writers--;
			}
		}
	});
}

template <class Cond> static void queue()
{
	std::mutex m;
	Cond put, got;
	int n = 0;
	long in = 0, out = 0, want = (long)rounds * nthreads;

	each(nthreads & ~1, [&](int me) {
		for (;;) {
			std::unique_lock<std::mutex> l(m);
			Cond &mine = me % 2 ? got : put;
			auto ready = [&] {
				return me % 2 ? n < 3 || in == want :
						n > 0 || out == want;
			};

			if (chance(2))
				mine.wait(l, ready);
			else
				while (!ready())
					mine.wait_for(l, std::chrono::microseconds(
								 chance(300)));
			if (me % 2 ? in == want : out == want)
				return;
			if (me % 2) {
				n++;
				if (++in == want)
					got.notify_all();
				put.notify_one();
			} else {
				n--;
				if (++out == want)
					put.notify_all();
				got.notify_one();
			}
		}
	});
	CHECK(in == want && out == want && n == 0);
}

static void semaphores()
{
	std::counting_semaphore<> tokens(3);
	std::binary_semaphore one(1);
	std::atomic<int> out = 0, alone = 0;

	each(nthreads, [&](int) {
		for (int i = 0; i < rounds; i++) {
			if (chance(3) == 0) {
				if (!tokens.try_acquire_for(
					    std::chrono::microseconds(chance(200))))
					continue;
			} else {
				tokens.acquire();
			}
			CHECK(++out <= 3);
			dawdle();
			out--;
			tokens.release();
			one.acquire();
			CHECK(++alone == 1);
			alone--;
			one.release();
		}
	});
}

static void meetings()
{
	std::latch all(nthreads);
	std::atomic<int> came = 0, ended = 0;
	std::barrier meet(nthreads, [&]() noexcept { ended++; });

	each(nthreads, [&](int) {
		came++;
		dawdle();
		all.arrive_and_wait();
		CHECK(came == nthreads);
		for (int i = 0; i < rounds / 4; i++) {
			dawdle();
			meet.arrive_and_wait();
			CHECK(ended == 2 * i + 1);
			meet.arrive_and_wait();
		}
	});
	CHECK(ended == 2 * (rounds / 4));
}

static void atomics()
{
	std::atomic<int> turn = 0;
	std::atomic<long> wide = 0;

	each(nthreads, [&](int me) {
		for (int i = 0; i < rounds / 8; i++) {
			int now;

			while ((now = turn.load()) % nthreads != me)
				turn.wait(now);
			turn.store(now + 1);
			turn.notify_all();
		}
	});
	CHECK(turn == rounds / 8 * nthreads);
	each(2, [&](int me) {
		for (int i = 0; i < rounds; i++) {
			long now;

			while ((now = wide.load()) % 2 != me)
				wide.wait(now);
			wide.store(now + 1);
			wide.notify_one();
		}
	});
	CHECK(wide == 2 * rounds);
}

static void onces()
{
	for (int i = 0; i < rounds / 8; i++) {
		std::once_flag flag;
		std::atomic<int> tried = 0, done = 0, caught = 0;

		each(8, [&](int) {
			try {
				std::call_once(flag, [&] {
					dawdle();
					if (++tried < 3)
						throw std::runtime_error("again");
					done++;
				});
				CHECK(done == 1);
			} catch (const std::runtime_error &) {
				caught++;
			}
		});
		CHECK(tried == 3 && done == 1 && caught == 2);
	}
}

static void futures()
{
	for (int i = 0; i < rounds / 4; i++) {
		std::promise<int> p;
		std::shared_future<int> f = p.get_future().share();
		auto doubled = std::async(std::launch::async, [f] {
			return f.get() * 2;
		});
		std::thread other([f] {
			CHECK(f.wait_for(60s) == std::future_status::ready);
		});

		dawdle();
		p.set_value(i);
		CHECK(doubled.get() == 2 * i);
		other.join();
	}
}

static void stopping()
{
	for (int i = 0; i < rounds / 4; i++) {
		std::mutex m;
		std::condition_variable_any c;
		std::atomic<bool> stopped = false;
		{
			std::jthread t([&](std::stop_token s) {
				std::unique_lock<std::mutex> l(m);

				CHECK(!c.wait(l, s, [] { return false; }));
				stopped = true;
			});
			dawdle();
		}
		CHECK(stopped);
	}
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? std::strtoul(argv[1], nullptr, 0) :
			  (unsigned long)std::time(nullptr);
	std::printf("seed %lu\n", seed);
	chance_of.seed((unsigned)seed + 1);
	exclusive<std::mutex>();
	exclusive<std::recursive_mutex>();
	exclusive<std::timed_mutex>();
	timed<std::timed_mutex>();
	timed<std::recursive_timed_mutex>();
	timed<std::shared_timed_mutex>();
	shared<std::shared_mutex>();
	shared<std::shared_timed_mutex>();
	queue<std::condition_variable>();
	queue<std::condition_variable_any>();
	semaphores();
	meetings();
	atomics();
	onces();
	futures();
	stopping();
	std::printf("%ld failures\n", failures.load());
	return failures != 0;
}
