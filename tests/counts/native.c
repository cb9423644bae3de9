/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* native.c - what bench/micro/cogo.c has no row for. As there: PROGRAM ROW n=N, and
 * with it
 *
 *	row		an operation is
 *	semaphore	a token there and one back, each waited for
 *	condition	two that wait for each other's turn: one turn each
 *	sockets		a byte there and one back, each waited for
 *	timeouts	the same, with a deadline for each wait that never comes */
#include "../../bench/micro/micro.h"
#include <cogo.h>
#include <sys/socket.h>

static long n;

static struct cogo_coro *start(void (*fn)(void *), void *arg)
{
	struct cogo_coro *c;

	if (cogo_go(&c, NULL, fn, arg))
		abort();
	return c;
}

static void start_two(void (*fn)(void *), void *arg, void (*other)(void *),
		      void *arg2)
{
	struct cogo_coro *a = start(fn, arg), *b = start(other, arg2);

	begin();
	cogo_join(a);
	cogo_join(b);
	end(n, NULL);
}

static struct cogo_sem there, back;

static void call(void *arg)
{
	(void)arg;
	for (long i = 0; i < n; i++) {
		cogo_sem_release(&there, 1);
		cogo_sem_acquire(&back);
	}
}

static void answer(void *arg)
{
	(void)arg;
	for (long i = 0; i < n; i++) {
		cogo_sem_acquire(&there);
		cogo_sem_release(&back, 1);
	}
}

static void row_semaphore(void)
{
	start_two(answer, NULL, call, NULL);
}

static struct cogo_mutex mutex;
static struct cogo_cond passed;
static long turn;	/* under mutex */

/* Has the odd turns, or the even ones. */
static void take_turns(void *arg)
{
	for (long mine = (long)(intptr_t)arg; mine < 2 * n; mine += 2) {
		cogo_mutex_lock(&mutex);
		while (turn != mine)
			cogo_cond_wait(&passed, &mutex, COGO_FOREVER);
		turn++;
		cogo_mutex_unlock(&mutex);
		cogo_cond_signal(&passed);
	}
}

static void row_condition(void)
{
	start_two(take_turns, (void *)0, take_turns, (void *)1);
	if (turn != 2 * n)
		abort();
}

static int ends[2];
static bool limited;

static cogo_time deadline(void)
{
	return limited ? cogo_in(3600 * COGO_SEC) : COGO_FOREVER;
}

static void send_byte(int fd)
{
	if (cogo_write(fd, "x", 1, deadline()) != 1)
		abort();
}

static void recv_byte(int fd)
{
	char c;

	if (cogo_read(fd, &c, 1, deadline()) != 1)
		abort();
}

static void ping(void *arg)
{
	(void)arg;
	for (long i = 0; i < n; i++) {
		send_byte(ends[0]);
		recv_byte(ends[0]);
	}
}

static void pong(void *arg)
{
	(void)arg;
	for (long i = 0; i < n; i++) {
		recv_byte(ends[1]);
		send_byte(ends[1]);
	}
}

static void row_sockets(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
	start_two(pong, NULL, ping, NULL);
}

static void row_timeouts(void)
{
	limited = true;
	row_sockets();
}

static const struct micro_row rows[] = {
	{ "semaphore", row_semaphore }, { "condition", row_condition },
	{ "sockets", row_sockets },	{ "timeouts", row_timeouts },
};

static void run_row(void *arg)
{
	((const struct micro_row *)arg)->run();
}

static void run(const struct micro_row *row)
{
	n = number("n", 1000);
	cogo_join(start(run_row, (void *)(uintptr_t)row));
}

int main(int argc, char **argv)
{
	return micro_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), run);
}
