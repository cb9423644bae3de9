// SPDX-License-Identifier: MIT OR Apache-2.0
// program.cpp - what a user of cogo.hpp writes.
#include <cogo.hpp>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#define CHECK(x)                                                               \
	((x) ? (void)0 :                                                       \
	       (std::fprintf(stderr, "%d: not so: %s\n", __LINE__, #x), std::abort()))

static void channels()
{
	cogo::channel<std::string> lines(2);
	cogo::channel<int> sums;
	int n = 0;

	cogo::go([=]() mutable {
		for (int i = 0; i < 100; i++)
			lines.send("a line that is too long to lie in the object " +
				   std::to_string(i));
		lines.close();
	});
	cogo::go([=]() mutable {
		int sum = 0;

		for (std::string &line : lines)
			sum += std::stoi(line.substr(line.rfind(' ')));
		sums.send(sum);
	});
	CHECK(sums.recv() == 4950);
	CHECK(!sums.recv(0, &n) && n == -ETIMEDOUT);
	// What nobody has received goes with the channel.
	cogo::channel<std::unique_ptr<int>> left(4);
	CHECK(left.send(std::make_unique<int>(1)) == 0);
	CHECK(left.send(std::make_unique<int>(2)) == 0);
	CHECK(**left.recv() == 1);
}

static void scopes()
{
	std::atomic<int> n{0};
	{
		cogo::scope s;

		s.limit(3);
		for (int i = 0; i < 10; i++)
			s.go([&n](int by) { cogo_sleep(COGO_MS); n += by; }, i);
	}
	CHECK(n == 45);
	cogo::scope s;
	s.go([] { return -EIO; });
	CHECK(s.end() == -EIO);
}

static void ends()
{
	cogo::coroutine c([](std::unique_ptr<int> p) {
		if (*p == 5)
			throw std::runtime_error("five");
	}, std::make_unique<int>(5));
	cogo_coro *raw = cogo_ref(c.raw());
	CHECK(c.join() == COGO_PANICKED);
	CHECK(std::string(cogo_panic_message(raw)) == "five");
	cogo_drop(raw);

	int r = 0;
	{
		cogo::coroutine sleeper([&r] { r = cogo_sleep(1000 * COGO_SEC); });
		cogo_sleep(COGO_MS);
	}
	CHECK(r == -ECANCELED);
}

#ifdef COGO_HPP_SYNC
static void locks()
{
	cogo::mutex m;
	long n = 0;
	{
		cogo::scope s;

		for (int i = 0; i < 10; i++)
			s.go([&] {
				for (int k = 0; k < 100; k++) {
					cogo::lock_guard l(m);
					long was = n;

					cogo_yield();
					n = was + 1;
				}
			});
	}
	CHECK(n == 1000);
}
#else
static void locks()
{
}
#endif

int main()
{
	channels();
	scopes();
	ends();
	locks();
	return 0;
}
