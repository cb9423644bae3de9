// SPDX-License-Identifier: MIT OR Apache-2.0
// boost.cpp - the small measurements of micro.h, by Boost.Fiber. Other keys, of more
// than one worker: algo=shared_work or algo=work_stealing, and suspend=no, where a
// worker without work spins, or suspend=yes, where it sleeps. The default is what was
// better for the row.
#include "micro.h"
#include <atomic>
#include <boost/fiber/all.hpp>
#include <chrono>
#include <malloc.h>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fibers = boost::fibers;

static const size_t stack_size = 64 << 10;
static long n, turns, workers;

// Where stacks come from, unless it is malloc(). A pool is not safe among threads.
static std::unique_ptr<fibers::pooled_fixedsize_stack> pool;

template <typename F> static fibers::fiber start(F fn)
{
	if (pool)
		return fibers::fiber(fibers::launch::post, std::allocator_arg, *pool, fn);
	return fibers::fiber(fibers::launch::post, std::allocator_arg,
			     fibers::fixedsize_stack(stack_size), fn);
}

template <typename F, typename G> static void start_two(F fn, G other)
{
	fibers::fiber a = start(fn), b = start(other);

	a.join();
	b.join();
}

static void check(bool right)
{
	if (!right)
		abort();
}

static void yield()
{
	for (long i = 0; i < turns; i++)
		boost::this_fiber::yield();
}

static void row_switch()
{
	n = number("n", 10000000);
	turns = n / 2;
	begin();
	start_two(yield, yield);
	end(turns * 2, NULL);
}

static void nothing()
{
}

static void row_spawn()
{
	n = number("n", 1000000);
	begin();
	for (long i = 0; i < n; i++)
		start(nothing).join();
	end(n, NULL);
}

static void row_waves()
{
	static fibers::fiber wave[WAVE];
	long waves = number("n", 1000000) / WAVE;

	begin();
	for (long i = 0; i < waves; i++) {
		for (auto &f : wave)
			f = start(nothing);
		for (auto &f : wave)
			f.join();
	}
	end(waves * WAVE, NULL);
}

struct wait_group {
	std::atomic<long> left;
	fibers::mutex mutex;
	fibers::condition_variable zero;

	void done()
	{
		// acq_rel: the last one hands on what the others did before it.
		if (left.fetch_sub(1, std::memory_order_acq_rel) != 1)
			return;
		std::lock_guard<fibers::mutex> lock(mutex);
		zero.notify_all();
	}

	void wait()
	{
		std::unique_lock<fibers::mutex> lock(mutex);
		// acquire: pairs with done().
		zero.wait(lock, [this] {
			return left.load(std::memory_order_acquire) == 0;
		});
	}
};

static wait_group wg;

static void row_fan_in()
{
	long times = number("n", 1000000) / FAN_IN;

	begin();
	for (long i = 0; i < times; i++) {
		wg.left = FAN_IN;
		for (int k = 0; k < FAN_IN; k++)
			start([] { wg.done(); }).detach();
		wg.wait();
	}
	end(times * FAN_IN, NULL);
}

static void row_rendezvous()
{
	fibers::unbuffered_channel<uint64_t> there, back;
	uint64_t x = 0;

	n = number("n", 1000000);
	begin();
	start_two(
		[&] {
			uint64_t y;

			while (there.pop(y) == fibers::channel_op_status::success)
				back.push(y + 1);
		},
		[&] {
			for (long i = 0; i < n; i++) {
				there.push(x);
				back.pop(x);
			}
			there.close();
		});
	end(n, NULL);
	check(x == (uint64_t)n);
}

static void row_buffered()
{
	fibers::buffered_channel<uint64_t> c(ROOM);
	fibers::fiber from[SIDES], to[SIDES];
	uint64_t sums[SIDES];

	n = number("n", 4000000);
	turns = n / SIDES;
	begin();
	for (int i = 0; i < SIDES; i++) {
		from[i] = start([&] {
			for (uint64_t x = 0; x < (uint64_t)turns; x++)
				c.push(x);
		});
		to[i] = start([&, i] {
			uint64_t x, own = 0;

			while (c.pop(x) == fibers::channel_op_status::success)
				own += x;
			sums[i] = own;
		});
	}
	for (auto &f : from)
		f.join();
	c.close();
	for (auto &f : to)
		f.join();
	end(turns * SIDES, "\"note\": \"a buffered_channel of 128 has room for 127\"");
	check(sums[0] + sums[1] + sums[2] + sums[3] ==
	      (uint64_t)turns * (uint64_t)(turns - 1) / 2 * SIDES);
}

static fibers::mutex mutex;
static long counter;

static void contend()
{
	for (long i = 0; i < turns; i++) {
		mutex.lock();
		counter++;
		mutex.unlock();
	}
}

static void row_mutex()
{
	n = turns = number("n", 20000000);
	begin();
	contend();
	end(n, NULL);
	check(counter == n);
}

static void row_contended()
{
	fibers::fiber holders[HOLDERS];

	n = number("n", 6400000);
	turns = n / HOLDERS;
	begin();
	for (auto &f : holders)
		f = start(contend);
	for (auto &f : holders)
		f.join();
	end(turns * HOLDERS, NULL);
	check(counter == turns * HOLDERS);
}

static void row_timers()
{
	using clock = std::chrono::steady_clock;

	n = number("n", 100000);
	begin_timers(n);
	wg.left = n;
	for (long i = 0; i < n; i++) {
		choose_moment(i);
		start([i] {
			boost::this_fiber::sleep_until(clock::time_point(
				std::chrono::nanoseconds(moments[i])));
			woke(i);
			wg.done();
		}).detach();
	}
	all_made();
	wg.wait();
	end_timers(n);
}

static fibers::condition_variable latch;

static void wait_for_latch()
{
	static fibers::mutex of_latch;
	std::unique_lock<fibers::mutex> lock(of_latch);

	wg.done();
	for (;;)
		latch.wait(lock);
}

static void row_memory()
{
	n = number("n", 100000);
	wg.left = n;
	begin_memory();
	for (long i = 0; i < n; i++)
		start(wait_for_latch).detach();
	wg.wait();
	// The last has counted; that it waits as well takes a moment.
	boost::this_fiber::sleep_for(std::chrono::milliseconds(10));
	end_memory(n);
	fflush(stdout);
	std::quick_exit(0);
}

static void use_algorithm(const char *algo, bool suspend)
{
	if (strcmp(algo, "shared_work") == 0)
		fibers::use_scheduling_algorithm<fibers::algo::shared_work>(suspend);
	else
		fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(
			(uint32_t)workers, suspend);
}

// The row is a fiber like another: what main() runs in never leaves its thread.
static void run_with_workers(void (*row)(), const char *algo, bool suspend)
{
	fibers::barrier all((size_t)workers), done((size_t)workers);
	std::vector<std::thread> others;

	for (long i = 1; i < workers; i++)
		others.emplace_back([&] {
			use_algorithm(algo, suspend);
			all.wait();
			done.wait();
		});
	use_algorithm(algo, suspend);
	all.wait();
	start(row).join();
	done.wait();
	for (auto &t : others)
		t.join();
}

static const struct micro_row rows[] = {
	{ "switch", row_switch },	  { "spawn", row_spawn },
	{ "waves", row_waves },		  { "fan-in", row_fan_in },
	{ "rendezvous", row_rendezvous }, { "buffered", row_buffered },
	{ "mutex", row_mutex },		  { "contended", row_contended },
	{ "timers", row_timers },	  { "memory", row_memory },
};

static const char *better_algo(void (*row)())
{
	if (row == row_spawn || row == row_waves || row == row_fan_in)
		return "work_stealing";
	return "shared_work";
}

static void run(const struct micro_row *row)
{
	const char *algo = key("algo"), *suspend = key("suspend");

	workers = number("workers", 1);
	if (workers > 1) {
		// Else malloc() gives stacks back to the kernel and has them anew.
		mallopt(M_TRIM_THRESHOLD, 1 << 30);
		run_with_workers(row->run, algo ? algo : better_algo(row->run),
				 !suspend || strcmp(suspend, "no") != 0);
		return;
	}
	// A pool writes to the lower end of each stack, which is a page more.
	if (row->run != row_memory)
		pool.reset(new fibers::pooled_fixedsize_stack(stack_size));
	start(row->run).join();
}

int main(int argc, char **argv)
{
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
