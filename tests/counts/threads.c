/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* threads.c - an ordinary program of threads, to be run as coroutines: PROGRAM ROW
 * n=N, as those of bench/micro. The row is a thread's, and so are the two of a pair:
 * main stays on a kernel thread of its own, and how often that sleeps is chance.
 *
 *	row		an operation is
 *	spawn		pthread_create, pthread_join
 *	mutex		lock and unlock, nobody else is there
 *	condition	two that wait for each other's turn: one turn each
 *	sockets		a byte there and one back, each waited for
 *	poll		poll of one descriptor that can be read */
#include "../../bench/micro/micro.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static long n;

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg))
		abort();
	return t;
}

static void join(pthread_t t)
{
	if (pthread_join(t, NULL))
		abort();
}

static void start_two(void *(*fn)(void *), void *arg, void *(*other)(void *),
		      void *arg2)
{
	pthread_t a = start(fn, arg), b = start(other, arg2);

	begin();
	join(a);
	join(b);
	end(n, NULL);
}

static void *nothing(void *arg)
{
	return arg;
}

static void row_spawn(void)
{
	begin();
	for (long i = 0; i < n; i++)
		join(start(nothing, NULL));
	end(n, NULL);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t passed = PTHREAD_COND_INITIALIZER;
static long turn;	/* under mutex */

static void row_mutex(void)
{
	begin();
	for (long i = 0; i < n; i++) {
		pthread_mutex_lock(&mutex);
		turn++;
		pthread_mutex_unlock(&mutex);
	}
	end(n, NULL);
	if (turn != n)
		abort();
}

/* Has the odd turns, or the even ones. */
static void *take_turns(void *arg)
{
	for (long mine = (long)(intptr_t)arg; mine < 2 * n; mine += 2) {
		pthread_mutex_lock(&mutex);
		while (turn != mine)
			pthread_cond_wait(&passed, &mutex);
		turn++;
		pthread_mutex_unlock(&mutex);
		pthread_cond_signal(&passed);
	}
	return NULL;
}

static void row_condition(void)
{
	start_two(take_turns, (void *)0, take_turns, (void *)1);
	if (turn != 2 * n)
		abort();
}

static int ends[2];

static void make_pair(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
}

static void send_byte(int fd)
{
	if (write(fd, "x", 1) != 1)
		abort();
}

static void recv_byte(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		abort();
}

static void *ping(void *arg)
{
	for (long i = 0; i < n; i++) {
		send_byte(ends[0]);
		recv_byte(ends[0]);
	}
	return arg;
}

static void *pong(void *arg)
{
	for (long i = 0; i < n; i++) {
		recv_byte(ends[1]);
		send_byte(ends[1]);
	}
	return arg;
}

static void row_sockets(void)
{
	make_pair();
	start_two(pong, NULL, ping, NULL);
}

static void row_poll(void)
{
	struct pollfd p = { .events = POLLIN };

	make_pair();
	send_byte(ends[1]);
	p.fd = ends[0];
	begin();
	for (long i = 0; i < n; i++)
		if (poll(&p, 1, -1) != 1)
			abort();
	end(n, NULL);
}

static const struct micro_row rows[] = {
	{ "spawn", row_spawn },	    { "mutex", row_mutex },
	{ "condition", row_condition }, { "sockets", row_sockets },
	{ "poll", row_poll },
};

static void *run_row(void *arg)
{
	((const struct micro_row *)arg)->run();
	return NULL;
}

static void run(const struct micro_row *row)
{
	n = number("n", 1000);
	join(start(run_row, (void *)(uintptr_t)row));
}

int main(int argc, char **argv)
{
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
