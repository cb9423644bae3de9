// SPDX-License-Identifier: MIT OR Apache-2.0
/* exception_semantics.cpp - exceptions in flight while their thread waits.
 *
 * The C++ runtime keeps, per thread, a stack of the exceptions that are being
 * handled and a count of those still flying. Threads that share one would see
 * each other's: so many of them throw, wait inside handlers and inside
 * destructors that unwinding runs, and throw again. */
#include <exception>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "probe.h"

namespace {

const int crowd = 12;
const int rounds = 50;

struct mine : std::runtime_error {
	int who, when;
	mine(int a, int b)
		: std::runtime_error("of " + std::to_string(a) + " at " +
				     std::to_string(b)),
		  who(a), when(b)
	{
	}
};

void be_away(int i)
{
	if (i % 3 == 0)
		usleep(1);
	else
		sched_yield();
}

// Waits while an exception flies past it.
struct waits_in_destructor {
	int round;
	bool &good;
	~waits_in_destructor()
	{
		good = good && std::uncaught_exceptions() == 1;
		be_away(round);
		good = good && std::uncaught_exceptions() == 1;
	}
};

bool throws_once(int who, int round)
{
	bool good = true;

	try {
		waits_in_destructor w{round, good};
		throw mine(who, round);
	} catch (const std::exception &e) {
		std::string before = e.what();
		be_away(round + 1);
		const mine *m = dynamic_cast<const mine *>(&e);
		good = good && m && m->who == who && m->when == round;
		good = good && before == e.what();
		good = good && std::current_exception() != nullptr;
	}
	return good && std::current_exception() == nullptr &&
	       std::uncaught_exceptions() == 0;
}

// Handles one exception while it handles another, waits at each step, and
// hands both on.
bool throws_nested(int who, int round)
{
	std::exception_ptr kept;
	bool good = true;
	int outer = 0;

	try {
		try {
			throw mine(who, round);
		} catch (mine &first) {
			be_away(round);
			try {
				throw mine(who, round + 1000);
			} catch (mine &second) {
				be_away(round + 1);
				good = good && second.when == round + 1000;
				kept = std::current_exception();
			}
			be_away(round + 2);
			good = good && first.who == who && first.when == round;
			throw;
		}
	} catch (mine &again) {
		be_away(round);
		outer = again.when;
		good = good && again.who == who;
	}
	try {
		std::rethrow_exception(kept);
	} catch (mine &last) {
		be_away(round + 1);
		good = good && last.who == who && last.when == round + 1000;
	}
	return good && outer == round && std::uncaught_exceptions() == 0;
}

bool run(bool (*once)(int, int))
{
	std::vector<std::thread> threads;
	std::vector<int> good(crowd, 0);

	for (int i = 0; i < crowd; i++)
		threads.emplace_back([i, once, &good] {
			for (int r = 0; r < rounds; r++)
				good[i] += once(i, r);
		});
	for (auto &t : threads)
		t.join();
	for (int i = 0; i < crowd; i++)
		MUST(good[i] == rounds);
	return true;
}

bool exception()
{
	return run(throws_once);
}

bool exc_nested()
{
	return run(throws_nested);
}

} // namespace

extern "C" const struct semantic exception_semantics[] = {
	{"exception", exception},
	{"exc_nested", exc_nested},
	{nullptr, nullptr},
};
