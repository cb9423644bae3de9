// SPDX-License-Identifier: MIT OR Apache-2.0
/* tls_cxx.cpp - what is a thread's own stays its own, in C++.
 *
 *   tls_cxx [THREADS [ROUNDS]]
 *
 * All threads are alive at once, and for all of the rounds each is handling an
 * exception, for half of them one inside another. It goes away and comes back
 * perhaps elsewhere; then the exceptions must be its own still, and can be
 * thrown on; a thread_local object made on first use is the one that it made,
 * and is destroyed once, by the thread that made it. */
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <vector>

#include "away.h"
#include "tls_lib.h"

namespace {

const int block = 20; // rounds that one pair of exceptions is handled for
const size_t stack = 256 << 10;

int threads = 500;
int rounds = 1000;

std::atomic<int> made{0}, destroyed{0}, strangers{0};
std::atomic<long> mismatches{0};

// Who made it is asked at its end: the destructor runs in the thread itself.
struct counted {
	pthread_t maker;
	std::string text;
	counted() : maker(pthread_self()), text(100, 'c')
	{
		made++;
	}
	~counted()
	{
		if (!pthread_equal(maker, pthread_self()) ||
		    text.compare(0, 3, "end") != 0)
			strangers++;
		destroyed++;
	}
};

thread_local counted object;
thread_local int plain = 5;
thread_local std::vector<int> numbers{1, 2, 3};

struct mine : std::runtime_error {
	int who, round;
	mine(int a, int b)
		: std::runtime_error(std::to_string(a) + "/" +
				     std::to_string(b)),
		  who(a), round(b)
	{
	}
};

pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
int arrived; // under gate

bool same(bool good, int who, int round, const char *what)
{
	if (!good && mismatches++ < 20)
		fprintf(stderr, "thread %d, round %d: %s\n", who, round, what);
	return good;
}

#define SAME(cond) same((cond), who, round, #cond)

void arrive()
{
	pthread_mutex_lock(&gate);
	if (++arrived == threads)
		pthread_cond_broadcast(&opened);
	while (arrived < threads)
		pthread_cond_wait(&opened, &gate);
	pthread_mutex_unlock(&gate);
}

// One round, somewhere inside handlers.
void round_in_handler(int who, int round)
{
	const int *where = &errno;

	plain = who + round;
	numbers[1] = who - round;
	object.text.replace(0, 3, round % 2 ? "odd" : "eve");
	tls_lib_set(who * 10000L + round);
	errno = who + round;
	SAME(AWAY(who, round));
	SAME(errno == who + round && tls_lib_errno() == where);
	SAME(plain == who + round && numbers[1] == who - round);
	SAME(object.text.compare(0, 3, round % 2 ? "odd" : "eve") == 0);
	SAME(tls_lib_has(who * 10000L + round));
	SAME(std::uncaught_exceptions() == 0);
}

// Whose exception is being handled, by the C++ runtime's own word.
bool handles(int who, int round)
{
	try {
		throw;
	} catch (const mine &m) {
		return m.who == who && m.round == round;
	} catch (...) {
		return false;
	}
}

struct goes_away {
	int who, round;
	~goes_away()
	{
		SAME(std::uncaught_exceptions() == 1);
		SAME(AWAY(who, round));
		SAME(std::uncaught_exceptions() == 1);
	}
};

void inner(int who, int from, std::exception_ptr &ret_kept)
{
	int round = from + block / 2;

	try {
		goes_away g{who, round};
		throw mine(who, round);
	} catch (const mine &m) {
		for (; round < from + block; round++) {
			round_in_handler(who, round);
			SAME(m.who == who && m.round == from + block / 2);
		}
		SAME(handles(who, from + block / 2));
		ret_kept = std::current_exception();
	}
}

void outer(int who, int from)
{
	std::exception_ptr kept;
	int round = from;

	try {
		try {
			throw mine(who, from);
		} catch (const mine &m) {
			for (; round < from + block / 2; round++)
				round_in_handler(who, round);
			inner(who, from, kept);
			SAME(m.who == who && m.round == from);
			SAME(handles(who, from));
			throw;
		}
	} catch (const mine &again) {
		SAME(AWAY(who, round));
		SAME(again.who == who && again.round == from);
	}
	try {
		std::rethrow_exception(kept);
	} catch (const mine &m) {
		SAME(AWAY(who, round));
		SAME(m.who == who && m.round == from + block / 2);
	}
	SAME(!std::current_exception());
}

void *live(void *arg)
{
	int who = (int)(intptr_t)arg;
	int round = -1;

	SAME(plain == 5 && numbers.size() == 3 && numbers[2] == 3);
	SAME(object.text.size() == 100);
	SAME(tls_lib_is_fresh());
	arrive();
	for (round = 0; round < rounds; round += block)
		outer(who, round);
	object.text.replace(0, 3, "end");
	return arg;
}

} // namespace

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	int bad = 0;

	if (argc > 1)
		threads = atoi(argv[1]);
	if (argc > 2)
		rounds = atoi(argv[2]);
	std::vector<pthread_t> all(threads);
	away_init(threads);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack);
	for (int i = 0; i < threads; i++) {
		int err = pthread_create(&all[i], &attr, live,
					 (void *)(intptr_t)(i + 1));

		if (err) {
			fprintf(stderr, "thread %d: %s\n", i, strerror(err));
			return 2;
		}
	}
	for (int i = 0; i < threads; i++) {
		void *result;

		pthread_join(all[i], &result);
		bad += result != (void *)(intptr_t)(i + 1);
	}
	if (bad || made != threads || destroyed != threads || strangers) {
		fprintf(stderr, "%d failed, %d objects made, %d destroyed, %d by "
				"others\n", bad, made.load(), destroyed.load(),
			strangers.load());
		bad = 1;
	}
	printf("%d threads, %d rounds: %ld mismatches\n", threads, rounds,
	       mismatches.load());
	return bad || mismatches ? 1 : 0;
}
