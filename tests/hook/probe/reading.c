/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* reading.c - operations that wait for data, or for a connection.
 *
 * The ticker makes the data; the operation must bring exactly that, and leave
 * errno as it was. One process runs one operation, so the descriptors are
 * plain globals: `in` is waited on, `out` makes it ready. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../support/rawsys.h"
#include "probe.h"

static const char message[] = "one worker, many threads";
#define SIZE ((ssize_t)sizeof(message))

static int in, out;
static char got[256];

static bool got_it(void)
{
	MUST(memcmp(got, message, SIZE) == 0);
	return true;
}

/* ---- what stands ready before ---- */

static bool a_pipe(void)
{
	int fd[2];

	MUST(pipe(fd) == 0);
	in = fd[0];
	out = fd[1];
	return true;
}

/* No library has seen it made. */
static bool a_raw_pipe(void)
{
	int fd[2];

	MUST(rawsys(SYS_pipe2, fd, 0, 0) == 0);
	in = fd[0];
	out = fd[1];
	return true;
}

static bool a_dup_of_a_pipe(void)
{
	int first;

	MUST(a_pipe());
	first = in;
	MUST((in = dup(first)) >= 0);
	MUST(close(first) == 0);
	return true;
}

static bool a_dupfd_cloexec_of_a_pipe(void)
{
	int first;

	MUST(a_pipe());
	first = in;
	MUST((in = fcntl(first, F_DUPFD_CLOEXEC, 100)) >= 100);
	MUST(close(first) == 0);
	return true;
}

static bool a_stream(void)
{
	int fd[2];

	MUST(probe_socketpair(SOCK_STREAM, fd));
	in = fd[0];
	out = fd[1];
	return true;
}

static bool datagrams(void)
{
	int fd[2];

	MUST(probe_socketpair(SOCK_DGRAM, fd));
	in = fd[0];
	out = fd[1];
	return true;
}

/* Two UDP sockets, `out` connected to `in`. */
static struct sockaddr_in out_name;

static bool udp(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST((in = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	MUST((out = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	MUST(bind(in, (struct sockaddr *)&at, size) == 0);
	MUST(getsockname(in, (struct sockaddr *)&at, &size) == 0);
	MUST(connect(out, (struct sockaddr *)&at, size) == 0);
	MUST(getsockname(out, (struct sockaddr *)&out_name, &size) == 0);
	return true;
}

static int port;

static bool tcp(void)
{
	int listener = probe_listen(4, &port);

	MUST(listener >= 0);
	MUST((out = probe_connect(port)) >= 0);
	MUST((in = accept(listener, NULL, NULL)) >= 0);
	MUST(close(listener) == 0);
	return true;
}

static bool a_listener(void)
{
	MUST((in = probe_listen(4, &port)) >= 0);
	return true;
}

/* A listener on a UNIX socket whose queue is full: connect waits. */
static struct sockaddr_un unix_name;
static socklen_t unix_size;

static bool a_full_listener(void)
{
	int fd;

	unix_name.sun_family = AF_UNIX;
	unix_size = offsetof(struct sockaddr_un, sun_path) + 1 +
		    snprintf(unix_name.sun_path + 1,
			     sizeof(unix_name.sun_path) - 1, "probe.%d",
			     (int)getpid());
	MUST((in = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	MUST(bind(in, (struct sockaddr *)&unix_name, unix_size) == 0);
	MUST(listen(in, 0) == 0);
	for (int i = 0; i < 16; i++) {
		MUST((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0);
		if (connect(fd, (struct sockaddr *)&unix_name, unix_size)) {
			MUST(errno == EAGAIN);
			return true;
		}
	}
	MUST(!"the queue of the listener fills");
	return false;
}

static bool an_eventfd(void)
{
	MUST((in = eventfd(0, 0)) >= 0);
	return true;
}

/* Due in ten hours: the ticker makes that now. */
static bool a_timerfd(void)
{
	struct itimerspec far = {.it_value = {36000, 0}};

	MUST((in = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
	MUST(timerfd_settime(in, 0, &far, NULL) == 0);
	return true;
}

/* ---- what the ticker does ---- */

static bool send_it(void)
{
	MUST(write(out, message, SIZE) == SIZE);
	return true;
}

static bool send_two(void)
{
	MUST(write(out, message, SIZE) == SIZE);
	MUST(write(out, "second", 6) == 6);
	return true;
}

static bool call_in(void)
{
	MUST((out = probe_connect(port)) >= 0);
	return true;
}

static bool accept_one(void)
{
	MUST((out = accept(in, NULL, NULL)) >= 0);
	return true;
}

static bool raise_event(void)
{
	uint64_t seven = 7;

	MUST(write(in, &seven, 8) == 8);
	return true;
}

static bool bring_timer_forward(void)
{
	struct itimerspec now = {.it_value = {0, 1}};

	MUST(timerfd_settime(in, 0, &now, NULL) == 0);
	return true;
}

/* ---- the operations ---- */

static bool by_read(void)
{
	MUST_QUIETLY(read(in, got, sizeof(got)) == SIZE);
	return got_it();
}

static bool by_readv(void)
{
	struct iovec parts[2] = {{got, 5}, {got + 5, sizeof(got) - 5}};

	MUST_QUIETLY(readv(in, parts, 2) == SIZE);
	return got_it();
}

/* What read() becomes when a program is compiled with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *to, size_t size, size_t room);

static bool by_read_chk(void)
{
	MUST_QUIETLY(__read_chk(in, got, 100, sizeof(got)) == SIZE);
	return got_it();
}

static bool by_syscall(void)
{
	MUST_QUIETLY(syscall(SYS_read, in, got, sizeof(got)) == SIZE);
	return got_it();
}

static bool by_recv(void)
{
	MUST_QUIETLY(recv(in, got, sizeof(got), 0) == SIZE);
	return got_it();
}

static bool by_recvfrom(void)
{
	struct sockaddr_in from;
	socklen_t size = sizeof(from);

	MUST_QUIETLY(recvfrom(in, got, sizeof(got), 0,
			      (struct sockaddr *)&from, &size) == SIZE);
	MUST(size == sizeof(from) && from.sin_port == out_name.sin_port &&
	     from.sin_addr.s_addr == out_name.sin_addr.s_addr);
	return got_it();
}

/* A datagram is longer than the room: MSG_TRUNC says so. */
static bool by_recvmsg(void)
{
	struct iovec parts[2] = {{got, 3}, {got + 3, SIZE - 4}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	MUST_QUIETLY(recvmsg(in, &msg, 0) == SIZE - 1);
	MUST(msg.msg_flags & MSG_TRUNC);
	MUST(memcmp(got, message, SIZE - 1) == 0);
	return true;
}

/* Without MSG_WAITFORONE it waits until both are there. */
static bool by_recvmmsg(void)
{
	char second[16];
	struct iovec part[2] = {{got, sizeof(got)}, {second, sizeof(second)}};
	struct mmsghdr msg[2] = {
		{.msg_hdr = {.msg_iov = &part[0], .msg_iovlen = 1}},
		{.msg_hdr = {.msg_iov = &part[1], .msg_iovlen = 1}},
	};

	MUST_QUIETLY(recvmmsg(in, msg, 2, 0, NULL) == 2);
	MUST(msg[0].msg_len == SIZE && msg[1].msg_len == 6);
	MUST(memcmp(second, "second", 6) == 0);
	return got_it();
}

static bool by_recv_peek(void)
{
	MUST_QUIETLY(recv(in, got, sizeof(got), MSG_PEEK) == SIZE);
	MUST(got_it());
	memset(got, 0, sizeof(got));
	MUST_QUIETLY(recv(in, got, sizeof(got), 0) == SIZE);
	return got_it();
}

/* Whom we accepted is whom the ticker called with. */
static bool is_caller(int fd, const struct sockaddr_in *from)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);

	MUST(fd >= 0);
	MUST(getpeername(fd, (struct sockaddr *)&peer, &size) == 0);
	MUST(from->sin_family == AF_INET && peer.sin_port == from->sin_port);
	return true;
}

static bool by_accept(void)
{
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	int fd;

	MUST_QUIETLY((fd = accept(in, (struct sockaddr *)&from, &size)) >= 0);
	return is_caller(fd, &from);
}

static bool by_accept4(void)
{
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	int fd;

	MUST_QUIETLY((fd = accept4(in, (struct sockaddr *)&from, &size,
				   SOCK_CLOEXEC)) >= 0);
	MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	return is_caller(fd, &from);
}

static bool by_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	MUST_QUIETLY(connect(fd, (struct sockaddr *)&unix_name, unix_size) == 0);
	MUST(send(fd, "x", 1, 0) == 1);
	return true;
}

static bool by_eventfd(void)
{
	uint64_t value;

	MUST_QUIETLY(read(in, &value, sizeof(value)) == 8);
	MUST(value == 7);
	return true;
}

static bool by_timerfd(void)
{
	uint64_t times;

	MUST_QUIETLY(read(in, &times, sizeof(times)) == 8);
	MUST(times == 1);
	return true;
}

static bool by_fgets(void)
{
	FILE *from = fdopen(in, "r");

	MUST(from);
	MUST(fgets(got, sizeof(got), from) == got);
	MUST(strcmp(got, "a line\n") == 0);
	MUST(fgets(got, sizeof(got), from) == NULL && feof(from));
	return true;
}

/* A line in two halves, then the end. */
static bool send_line(void)
{
	MUST(write(out, "a li", 4) == 4);
	probe_nap_ms(10);
	MUST(write(out, "ne\n", 3) == 3);
	MUST(close(out) == 0);
	return true;
}

static bool by_fread(void)
{
	FILE *from = fdopen(in, "r");

	MUST(from);
	MUST(fread(got, 1, SIZE, from) == (size_t)SIZE);
	return got_it();
}

/* In two halves: fread goes on until it has all. */
static bool send_halves(void)
{
	MUST(write(out, message, 10) == 10);
	probe_nap_ms(10);
	MUST(write(out, message + 10, SIZE - 10) == SIZE - 10);
	return true;
}

const struct operation reading_operations[] = {
	{"read_pipe", a_pipe, NULL, by_read, send_it},
	{"read_rawfd", a_raw_pipe, NULL, by_read, send_it},
	{"read_dup", a_dup_of_a_pipe, NULL, by_read, send_it},
	{"read_dupfd_cloexec", a_dupfd_cloexec_of_a_pipe, NULL, by_read, send_it},
	{"readv", a_pipe, NULL, by_readv, send_it},
	{"read_chk", a_pipe, NULL, by_read_chk, send_it},
	{"syscall_read", a_pipe, NULL, by_syscall, send_it},
	{"recv", a_stream, NULL, by_recv, send_it},
	{"recvfrom", udp, NULL, by_recvfrom, send_it},
	{"recvmsg", datagrams, NULL, by_recvmsg, send_it},
	{"recvmmsg", datagrams, NULL, by_recvmmsg, send_two},
	{"recv_peek", a_stream, NULL, by_recv_peek, send_it},
	{"recv_tcp", tcp, NULL, by_recv, send_it},
	{"accept", a_listener, NULL, by_accept, call_in},
	{"accept4", a_listener, NULL, by_accept4, call_in},
	{"connect_unix_full", a_full_listener, NULL, by_connect, accept_one},
	{"eventfd", an_eventfd, NULL, by_eventfd, raise_event},
	{"timerfd", a_timerfd, NULL, by_timerfd, bring_timer_forward},
	{"fgets_pipe", a_pipe, NULL, by_fgets, send_line},
	{"fread_sock", a_stream, NULL, by_fread, send_halves},
	{0},
};
