/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* waiting.c - operations that wait for readiness, or for time alone.
 *
 * The waits have a timeout that no test reaches, half of them none: what ends
 * them is the ticker's byte. The sleeps end by themselves; none may end
 * early, by however little. */
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <threads.h>
#include <unistd.h>

#include "probe.h"

#define NAP_MS 200
#define NAP_NS (NAP_MS * 1000000LL)

static int in, out;

static bool a_pipe(void)
{
	int fd[2];

	MUST(pipe(fd) == 0);
	in = fd[0];
	out = fd[1];
	return true;
}

static bool send_byte(void)
{
	MUST(write(out, "x", 1) == 1);
	return true;
}

static bool byte_is_there(void)
{
	char c;

	MUST(read(in, &c, 1) == 1 && c == 'x');
	return true;
}

static bool by_poll(void)
{
	struct pollfd fds[2] = {{in, POLLIN, 0}, {-1, POLLIN, 99}};

	MUST_QUIETLY(poll(fds, 2, -1) == 1);
	MUST(fds[0].revents == POLLIN && fds[1].revents == 0);
	return byte_is_there();
}

static bool by_ppoll(void)
{
	struct pollfd fds[1] = {{in, POLLIN | POLLPRI, 0}};
	struct timespec hour = {3600, 0};

	MUST_QUIETLY(ppoll(fds, 1, &hour, NULL) == 1);
	MUST(fds[0].revents == POLLIN && hour.tv_sec == 3600);
	return byte_is_there();
}

static bool by_select(void)
{
	fd_set reads, writes;

	FD_ZERO(&reads);
	FD_ZERO(&writes);
	FD_SET(in, &reads);
	MUST_QUIETLY(select(in + 1, &reads, &writes, NULL, NULL) == 1);
	MUST(FD_ISSET(in, &reads) && !FD_ISSET(out, &reads));
	return byte_is_there();
}

static bool by_pselect(void)
{
	struct timespec hour = {3600, 0};
	fd_set reads;

	FD_ZERO(&reads);
	FD_SET(in, &reads);
	MUST_QUIETLY(pselect(in + 1, &reads, NULL, NULL, &hour, NULL) == 1);
	MUST(FD_ISSET(in, &reads) && hour.tv_sec == 3600);
	return byte_is_there();
}

static bool by_epoll(bool with_mask)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xfeedbeef};
	struct epoll_event seen[4] = {0};
	int set = epoll_create1(EPOLL_CLOEXEC);

	MUST(set >= 0);
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, in, &event) == 0);
	if (with_mask)
		MUST_QUIETLY(epoll_pwait(set, seen, 4, -1, NULL) == 1);
	else
		MUST_QUIETLY(epoll_wait(set, seen, 4, 3600 * 1000) == 1);
	MUST(seen[0].events == EPOLLIN && seen[0].data.u64 == 0xfeedbeef);
	return byte_is_there();
}

static bool by_epoll_wait(void)
{
	return by_epoll(false);
}

static bool by_epoll_pwait(void)
{
	return by_epoll(true);
}

/* ---- sleeps ---- */

static bool by_poll_sleep(void)
{
	long long from = probe_now_ns();

	MUST_QUIETLY(poll(NULL, 0, NAP_MS) == 0);
	MUST(probe_now_ns() - from >= NAP_NS);
	return true;
}

/* Linux's select says how much time was left. */
static bool by_select_sleep(void)
{
	struct timeval t = {0, NAP_MS * 1000};
	long long from = probe_now_ns();

	MUST_QUIETLY(select(0, NULL, NULL, NULL, &t) == 0);
	MUST(probe_now_ns() - from >= NAP_NS);
	MUST(t.tv_sec == 0 && t.tv_usec == 0);
	return true;
}

static bool by_usleep(void)
{
	long long from = probe_now_ns();

	MUST_QUIETLY(usleep(NAP_MS * 1000) == 0);
	MUST(probe_now_ns() - from >= NAP_NS);
	return true;
}

static bool by_sleep(void)
{
	long long from = probe_now_ns();

	MUST_QUIETLY(sleep(1) == 0);
	MUST(probe_now_ns() - from >= 1000000000LL);
	return true;
}

/* Nobody interrupts, so what would be left is not written. */
static bool by_nanosleep(void)
{
	struct timespec t = {0, NAP_NS}, left = {12, 34};
	long long from = probe_now_ns();

	MUST_QUIETLY(nanosleep(&t, &left) == 0);
	MUST(probe_now_ns() - from >= NAP_NS);
	MUST(left.tv_sec == 12 && left.tv_nsec == 34);
	return true;
}

static bool by_clock_nanosleep(void)
{
	long long due = probe_now_ns() + NAP_NS;
	struct timespec t = {due / 1000000000, due % 1000000000};

	MUST_QUIETLY(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t,
				     NULL) == 0);
	MUST(probe_now_ns() >= due);
	return true;
}

static bool by_thrd_sleep(void)
{
	struct timespec t = {0, NAP_NS};
	long long from = probe_now_ns();

	MUST_QUIETLY(thrd_sleep(&t, NULL) == 0);
	MUST(probe_now_ns() - from >= NAP_NS);
	return true;
}

const struct operation waiting_operations[] = {
	{"poll", a_pipe, NULL, by_poll, send_byte},
	{"ppoll", a_pipe, NULL, by_ppoll, send_byte},
	{"poll_sleep", NULL, NULL, by_poll_sleep, NULL},
	{"select", a_pipe, NULL, by_select, send_byte},
	{"select_sleep", NULL, NULL, by_select_sleep, NULL},
	{"pselect", a_pipe, NULL, by_pselect, send_byte},
	{"epoll_wait", a_pipe, NULL, by_epoll_wait, send_byte},
	{"epoll_pwait", a_pipe, NULL, by_epoll_pwait, send_byte},
	{"usleep", NULL, NULL, by_usleep, NULL},
	{"sleep", NULL, NULL, by_sleep, NULL},
	{"nanosleep", NULL, NULL, by_nanosleep, NULL},
	{"clock_nanosleep", NULL, NULL, by_clock_nanosleep, NULL},
	{"thrd_sleep", NULL, NULL, by_thrd_sleep, NULL},
	{0},
};
