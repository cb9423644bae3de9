// SPDX-License-Identifier: MIT OR Apache-2.0
// through.cpp - C++ in generators: destructors, and exceptions that leave them.
//
// On the program's own thread, and the same on a coroutine.
#include "cogo.h"
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

static std::string events;

static void check(bool good, int line, const char *text)
{
	if (good)
		return;
	std::fprintf(stderr, "through.cpp:%d: not so: %s\n", line, text);
	std::abort();
}
#define CHECK(cond) check((cond), __LINE__, #cond)

struct noisy {
	char name;
	explicit noisy(char n) : name(n) {}
	~noisy() { events += name; }
};

static struct cogo_gen *make(void (*fn)(struct cogo_gen *, void *), void *arg)
{
	struct cogo_gen *g;

	CHECK(cogo_gen_new(&g, 0, fn, arg) == 0);
	return g;
}

static void throws(struct cogo_gen *g, void *arg)
{
	noisy a('a');
	int x = 1;

	cogo_gen_yield(g, &x);
	noisy b('b');
	if (arg)
		throw std::runtime_error("out of values");
	cogo_gen_yield(g, &x);
}

static void passes(struct cogo_gen *g, void *arg)
{
	noisy c('c');

	cogo_gen_from(g, static_cast<struct cogo_gen *>(arg));
}

static void an_exception_comes_out_where_it_was_asked()
{
	struct cogo_gen *g = make(throws, &events);
	int x, caught = 0;

	events.clear();
	CHECK(cogo_gen_next(g, &x) == 1);
	try {
		noisy d('d');
		cogo_gen_next(g, &x);
	} catch (const std::runtime_error &e) {
		caught = std::string(e.what()) == "out of values";
	}
	CHECK(caught);
	CHECK(events == "bad");
	CHECK(cogo_gen_next(g, &x) == 0);
	CHECK(cogo_gen_free(g) == 0);

	events.clear();
	g = make(passes, make(throws, &events));
	CHECK(cogo_gen_next(g, &x) == 1);
	try {
		cogo_gen_next(g, &x);
		CHECK(false);
	} catch (const std::exception &) {
		CHECK(std::uncaught_exceptions() == 0);
	}
	CHECK(events == "bac");
	CHECK(cogo_gen_free(g) == 0);
}

static void to_free_one_runs_destructors()
{
	struct cogo_gen *g = make(throws, nullptr);
	int x;

	events.clear();
	CHECK(cogo_gen_next(g, &x) == 1);
	CHECK(cogo_gen_next(g, &x) == 1);
	CHECK(cogo_gen_free(g) == 0);
	CHECK(events == "ba");
}

static void yields_in_catch(struct cogo_gen *g, void *)
{
	int x = 1;

	try {
		throw 17;
	} catch (int) {
		cogo_gen_yield(g, &x);
		try {
			throw;
		} catch (int i) {
			CHECK(i == 17);
			cogo_gen_yield(g, &x);
		}
		CHECK(std::current_exception() != nullptr);
	}
	CHECK(std::current_exception() == nullptr);
	cogo_gen_yield(g, &x);
}

struct asks_in_destructor {
	struct cogo_gen *g;
	~asks_in_destructor()
	{
		int x;

		CHECK(std::uncaught_exceptions() == 1);
		CHECK(cogo_gen_next(g, &x) == 1);
		CHECK(std::uncaught_exceptions() == 1);
	}
};

static void each_side_has_exceptions_of_its_own()
{
	struct cogo_gen *g = make(yields_in_catch, nullptr);
	int x;

	try {
		throw std::string("mine");
	} catch (const std::string &) {
		CHECK(cogo_gen_next(g, &x) == 1);
		try {
			throw;
		} catch (const std::string &s) {
			CHECK(s == "mine");
		}
	}
	CHECK(std::current_exception() == nullptr);
	try {
		asks_in_destructor a = { g };

		throw 2.5;
	} catch (double d) {
		CHECK(d == 2.5);
		CHECK(cogo_gen_next(g, &x) == 1);
	}
	CHECK(cogo_gen_next(g, &x) == 0);
	CHECK(cogo_gen_free(g) == 0);
}

static void all(void *)
{
	an_exception_comes_out_where_it_was_asked();
	to_free_one_runs_destructors();
	each_side_has_exceptions_of_its_own();
}

int main()
{
	struct cogo_coro *c;

	all(nullptr);
	CHECK(cogo_go(&c, nullptr, all, nullptr) == 0);
	CHECK(cogo_join(c) == COGO_RETURNED);
	return 0;
}
