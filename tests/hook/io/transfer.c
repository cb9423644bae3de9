/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* transfer.c - what goes through sockets and pipes comes out as it should.
 *
 * The finer points at which a wait that was built from readiness and another
 * try betrays itself: data that comes together with the end, a short read
 * that does not mean empty, messages without bytes, descriptors and urgent
 * data that cut a read short, timeouts in the middle of a transfer, buffers
 * that are none. */
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "io.h"

/* ---- the end of a stream ---- */

/* Data and the end come as one event, or nearly. */
static void data_and_end_that_come_together_are_both_seen(void)
{
	for (int i = 0; i < 300; i++) {
		struct caller c = {0};
		int fd[2], kind = i % 3;

		if (!(kind == 0 ? tcp_pair(fd) :
		      kind == 1 ? stream_pair(fd) : EXPECT_OK(pipe(fd))))
			return;
		c.call = call_read;
		c.fd = fd[0];
		c.thread = start(caller_runs, &c);
		if (i % 2)
			WAIT_UNTIL(atomic_load(&c.begun));
		EXPECT_EQ(write(fd[1], "last words", 10), 10);
		close(fd[1]);
		EXPECT_EQ(call_ended(&c), 10);
		EXPECT_EQ(read(fd[0], c.bytes, 10), 0);
		close(fd[0]);
	}
}

/* The reader waits each time; what it gets is less than it has room for. */
struct talk {
	int fd;
	atomic_int heard;
};

static void *hear(void *arg)
{
	struct talk *t = arg;
	char bytes[64];
	ssize_t n;

	while ((n = read(t->fd, bytes, sizeof(bytes))) > 0)
		atomic_fetch_add(&t->heard, (int)n);
	return n == 0 ? arg : NULL;
}

static void the_end_after_many_short_reads_is_seen(void)
{
	for (int kind = 0; kind < 3; kind++) {
		struct talk t = {0};
		pthread_t reader;
		int fd[2];

		if (!(kind == 0 ? tcp_pair(fd) :
		      kind == 1 ? stream_pair(fd) : EXPECT_OK(pipe(fd))))
			return;
		t.fd = fd[0];
		reader = start(hear, &t);
		for (int i = 1; i <= 50; i++) {
			EXPECT_EQ(write(fd[1], "abc", 3), 3);
			WAIT_UNTIL(atomic_load(&t.heard) == 3 * i);
		}
		EXPECT_EQ(write(fd[1], "abc", 3), 3);
		close(fd[1]);
		EXPECT(finish(reader) == &t);
		EXPECT_EQ(atomic_load(&t.heard), 153);
		close(fd[0]);
	}
}

static void half_a_connection_can_be_closed(void)
{
	struct caller c = {0};
	int fd[2];
	char got[8];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_OK(shutdown(fd[1], SHUT_WR));
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(send(fd[0], "still", 5, 0), 5);
	EXPECT(read_all(fd[1], got, 5));
	EXPECT_ERR(send(fd[1], "no", 2, MSG_NOSIGNAL), EPIPE);
	close_pair(fd);
}

static void a_reset_ends_who_waits(void)
{
	struct linger now = {1, 0};
	struct caller c = {0};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_OK(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	close(fd[1]);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, ECONNRESET);
	EXPECT_EQ(recv(fd[0], c.bytes, 1, 0), 0);
	EXPECT_ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close(fd[0]);
}

static void nobody_listening_refuses_the_connection(void)
{
	struct sockaddr_in at;
	int fd = listen_at(&at, 1);

	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	/* The socket may be tried again. */
	for (int i = 0; i < 3; i++)
		EXPECT_ERR(connect(fd, (struct sockaddr *)&at, sizeof(at)),
			   ECONNREFUSED);
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	EXPECT_OK(connect(fd, (struct sockaddr *)&at, sizeof(at)));
	EXPECT_EQ(send(fd, "x", 1, 0), 1);
	EXPECT_ERR(recv(fd, &at, 1, 0), ECONNREFUSED);
	close(fd);
}

static void a_nonblocking_connect_is_finished_by_poll(void)
{
	struct sockaddr_in at;
	int listener = listen_at(&at, 4), error = -1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(error);
	struct pollfd p = {fd, POLLOUT, 0};

	EXPECT_ERR(connect(fd, (struct sockaddr *)&at, sizeof(at)), EINPROGRESS);
	EXPECT_EQ(poll(&p, 1, -1), 1);
	EXPECT_EQ(p.revents, POLLOUT);
	EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	EXPECT_EQ(error, 0);
	EXPECT_ERR(connect(socket(AF_INET, SOCK_STREAM, 0),
			   (struct sockaddr *)&at, 3), EINVAL);
	close(fd);
	fd = connect_to(&at);
	EXPECT_ERR(connect(fd, (struct sockaddr *)&at, sizeof(at)), EISCONN);
	close(fd);
	close(listener);
}

/* ---- messages ---- */

static void a_message_without_bytes_is_a_message(void)
{
	struct caller c = {0};
	char byte;
	int fd[2];

	if (!datagram_pair(fd))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(send(fd[1], "", 0, 0), 0);
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(recv(fd[0], &byte, 1, 0), 1);
	close_pair(fd);
}

static void reading_no_bytes_leaves_a_datagram_receiving_none_takes_it(void)
{
	int fd[2];
	char two[2];

	if (!datagram_pair(fd))
		return;
	EXPECT_EQ(send(fd[1], "a", 1, 0), 1);
	EXPECT_EQ(send(fd[1], "b", 1, 0), 1);
	EXPECT_EQ(read(fd[0], two, 0), 0);
	EXPECT_EQ(recv(fd[0], two, 2, MSG_PEEK), 1);
	EXPECT_EQ(two[0], 'a');
	EXPECT_EQ(recv(fd[0], two, 0, 0), 0);
	EXPECT_EQ(recv(fd[0], two, 2, 0), 1);
	EXPECT_EQ(two[0], 'b');
	close_pair(fd);
}

static long call_read_nothing(struct caller *c)
{
	return read(c->fd, c->bytes, 0);
}

static void reading_no_bytes_does_not_wait(void)
{
	struct caller c = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	call_in_thread(&c, call_read_nothing, fd[0]);
	EXPECT_EQ(call_ended(&c), 0);
	close_pair(fd);
	if (!stream_pair(fd))
		return;
	call_in_thread(&c, call_read_nothing, fd[0]);
	EXPECT_EQ(call_ended(&c), 0);
	close_pair(fd);
}

static void what_is_cut_off_a_message_is_told(void)
{
	char two[2];
	int fd[2];

	if (!datagram_pair(fd))
		return;
	EXPECT_EQ(send(fd[1], "four", 4, 0), 4);
	EXPECT_EQ(recv(fd[0], two, 2, MSG_TRUNC | MSG_PEEK), 4);
	EXPECT_EQ(recv(fd[0], two, 2, MSG_TRUNC), 4);
	EXPECT_ERR(recv(fd[0], two, 2, MSG_DONTWAIT), EAGAIN);
	close_pair(fd);
}

static void sequenced_packets_keep_their_bounds_and_their_end(void)
{
	struct caller c = {0};
	int fd[2];
	char got[16];

	if (!EXPECT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd)))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(send(fd[1], "one", 3, 0), 3);
	EXPECT_EQ(send(fd[1], "three", 5, 0), 5);
	EXPECT_EQ(call_ended(&c), 3);
	EXPECT_EQ(recv(fd[0], got, sizeof(got), 0), 5);
	call_in_thread(&c, call_recv, fd[0]);
	close(fd[1]);
	EXPECT_EQ(call_ended(&c), 0);
	close(fd[0]);
}

static long call_send_byte(struct caller *c)
{
	return send(c->fd, "w", 1, 0);
}

static void a_full_datagram_socket_lets_the_sender_wait(void)
{
	struct caller c = {0};
	int fd[2], sent = 0;
	char byte;

	if (!datagram_pair(fd))
		return;
	while (send(fd[1], "x", 1, MSG_DONTWAIT) == 1)
		sent++;
	EXPECT_EQ(errno, EAGAIN);
	call_in_thread(&c, call_send_byte, fd[1]);
	EXPECT(!atomic_load(&c.ended));
	for (int i = 0; i < sent; i++)
		EXPECT_EQ(recv(fd[0], &byte, 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_EQ(recv(fd[0], &byte, 1, 0), 1);
	EXPECT_EQ(byte, 'w');
	close_pair(fd);
}

static struct mmsghdr *batch(struct mmsghdr *all, struct iovec *parts,
			     char (*bytes)[16], int n)
{
	memset(all, 0, n * sizeof(*all));
	for (int i = 0; i < n; i++) {
		parts[i] = (struct iovec){bytes[i], 16};
		all[i].msg_hdr.msg_iov = &parts[i];
		all[i].msg_hdr.msg_iovlen = 1;
	}
	return all;
}

static long call_recvmmsg(struct caller *c)
{
	struct mmsghdr all[8];
	struct iovec parts[8];
	char bytes[8][16];

	return recvmmsg(c->fd, batch(all, parts, bytes, 8), 8, (int)c->size,
			(struct timespec *)c->with);
}

static void batches_of_messages_come_as_asked_for(void)
{
	struct timespec short_time = {0, 20000000};
	struct mmsghdr all[8];
	struct iovec parts[8];
	char bytes[8][16];
	struct caller c = {0};
	int fd[2];

	if (!datagram_pair(fd))
		return;
	memset(bytes, 'b', sizeof(bytes));
	EXPECT_EQ(sendmmsg(fd[1], batch(all, parts, bytes, 5), 5, 0), 5);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(all[i].msg_len, 16);
	c.size = MSG_WAITFORONE; /* those that are there, and no more */
	call_in_thread(&c, call_recvmmsg, fd[0]);
	EXPECT_EQ(call_ended(&c), 5);
	call_in_thread(&c, call_recvmmsg, fd[0]);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	c.size = 0; /* all eight */
	call_in_thread(&c, call_recvmmsg, fd[0]);
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 8);
	/* The timeout is looked at only when a message has come. */
	c.with = &short_time;
	call_in_thread(&c, call_recvmmsg, fd[0]);
	nap_us(40000);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_ERR(recvmmsg(fd[0], batch(all, parts, bytes, 8), 8, MSG_DONTWAIT,
			    NULL), EAGAIN);
	close_pair(fd);
}

/* ---- descriptors on their way ---- */

static bool send_descriptor(int fd, int passed, const char *bytes, size_t n)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {(char *)bytes, n};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &passed, sizeof(int));
	return sendmsg(fd, &msg, 0) == (ssize_t)n;
}

/* Returns the descriptor, or -1: none came with what was read. */
static int recv_descriptor(int fd, char *bytes, size_t size, ssize_t *ret_n)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {bytes, size};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	struct cmsghdr *head;
	int passed = -1;

	*ret_n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	head = CMSG_FIRSTHDR(&msg);
	if (*ret_n > 0 && head && head->cmsg_type == SCM_RIGHTS)
		memcpy(&passed, CMSG_DATA(head), sizeof(int));
	return passed;
}

struct passing {
	int fd;
	int passed;
	ssize_t n;
	char bytes[64];
	atomic_bool begun;
};

static void *receive_descriptor(void *arg)
{
	struct passing *p = arg;

	atomic_store(&p->begun, true);
	p->passed = recv_descriptor(p->fd, p->bytes, sizeof(p->bytes), &p->n);
	return arg;
}

static void a_descriptor_that_was_passed_can_be_waited_on(void)
{
	struct passing p = {0};
	struct caller c = {0};
	int fd[2], pipefd[2];
	pthread_t t;

	if (!stream_pair(fd) || !EXPECT_OK(pipe(pipefd)))
		return;
	p.fd = fd[0];
	t = start(receive_descriptor, &p);
	WAIT_UNTIL(atomic_load(&p.begun));
	settle();
	EXPECT(send_descriptor(fd[1], pipefd[0], "d", 1));
	EXPECT(finish(t) == &p);
	if (!EXPECT_EQ(p.n, 1) || !EXPECT(p.passed >= 0))
		return;
	EXPECT_EQ(fcntl(p.passed, F_GETFD), FD_CLOEXEC);
	EXPECT_OK(close(pipefd[0]));
	call_in_thread(&c, call_read, p.passed);
	EXPECT_EQ(write(pipefd[1], "through", 7), 7);
	EXPECT_EQ(call_ended(&c), 7);
	close(p.passed);
	close(pipefd[1]);
	close_pair(fd);
}

/* A read stops behind bytes that carried a descriptor, although more lies
 * there: a short read is no proof of an empty socket. */
static void a_descriptor_cuts_a_read_short_and_the_rest_follows(void)
{
	struct caller c = {0};
	char bytes[64];
	int fd[2], passed;
	ssize_t n;

	if (!stream_pair(fd))
		return;
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(send(fd[1], "before", 6, 0), 6);
		EXPECT(send_descriptor(fd[1], fd[1], "with", 4));
		EXPECT_EQ(send(fd[1], "after", 5, 0), 5);
		if (i == 0) {
			passed = recv_descriptor(fd[0], bytes, sizeof(bytes), &n);
			EXPECT_EQ(n, 10);
			EXPECT(passed >= 0);
			close(passed);
		} else {
			/* who does not ask for descriptors loses them */
			call_in_thread(&c, i == 1 ? call_read : call_recv, fd[0]);
			EXPECT_EQ(call_ended(&c), 10);
		}
		call_in_thread(&c, call_read, fd[0]);
		EXPECT_EQ(call_ended(&c), 5);
		EXPECT(memcmp(c.bytes, "after", 5) == 0);
	}
	close_pair(fd);
}

/* ---- urgent data ---- */

static void urgent_data_cuts_a_read_short_and_the_rest_follows(void)
{
	struct caller c = {0};
	int fd[2], at_mark = 0;
	struct pollfd p;
	char byte = 0;

	if (!tcp_pair(fd))
		return;
	p = (struct pollfd){fd[0], POLLPRI, 0};
	EXPECT_EQ(send(fd[1], "before", 6, 0), 6);
	EXPECT_EQ(send(fd[1], "!", 1, MSG_OOB), 1);
	EXPECT_EQ(send(fd[1], "after", 5, 0), 5);
	EXPECT_EQ(poll(&p, 1, -1), 1);
	EXPECT_EQ(p.revents, POLLPRI);
	WAIT_UNTIL(({
		int queued = 0;
		ioctl(fd[0], FIONREAD, &queued);
		queued >= 6;
	}));
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(call_ended(&c), 6);
	EXPECT_OK(ioctl(fd[0], SIOCATMARK, &at_mark));
	EXPECT_EQ(at_mark, 1);
	EXPECT_EQ(recv(fd[0], &byte, 1, MSG_OOB), 1);
	EXPECT_EQ(byte, '!');
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(call_ended(&c), 5);
	EXPECT(memcmp(c.bytes, "after", 5) == 0);
	EXPECT_ERR(recv(fd[0], &byte, 1, MSG_OOB), EINVAL);
	close_pair(fd);
}

static void urgent_data_in_line_wakes_a_reader(void)
{
	struct caller c = {0};
	int fd[2], on = 1;

	if (!tcp_pair(fd))
		return;
	EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(send(fd[1], "!", 1, MSG_OOB), 1);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_EQ(c.bytes[0], '!');
	close_pair(fd);
}

/* ---- looking, and waiting for all ---- */

static long call_peek(struct caller *c)
{
	return recv(c->fd, c->bytes, sizeof(c->bytes), MSG_PEEK);
}

static void who_only_looks_takes_nothing_from_who_reads(void)
{
	struct caller looks[3] = {0}, reads = {0};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	for (int i = 0; i < 3; i++)
		call_in_thread(&looks[i], call_peek, fd[0]);
	EXPECT_EQ(send(fd[1], "see", 3, 0), 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(call_ended(&looks[i]), 3);
	call_in_thread(&reads, call_recv, fd[0]);
	EXPECT_EQ(call_ended(&reads), 3);
	/* Looked at and left: the next to look finds it without an event. */
	EXPECT_EQ(send(fd[1], "again", 5, 0), 5);
	for (int i = 0; i < 3; i++) {
		call_in_thread(&looks[i], call_peek, fd[0]);
		EXPECT_EQ(call_ended(&looks[i]), 5);
	}
	close_pair(fd);
}

static long call_recv_all(struct caller *c)
{
	return recv(c->fd, c->bytes, c->size, MSG_WAITALL);
}

static void waiting_for_all_waits_for_all_or_the_timeout(void)
{
	struct timeval short_time = {0, 50000};
	struct caller c = {.size = 10};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_recv_all, fd[0]);
	for (int i = 0; i < 10; i++) {
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(send(fd[1], &"0123456789"[i], 1, 0), 1);
		nap_us(1000);
	}
	EXPECT_EQ(call_ended(&c), 10);
	EXPECT(memcmp(c.bytes, "0123456789", 10) == 0);
	EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &short_time,
			     sizeof(short_time)));
	EXPECT_EQ(send(fd[1], "abc", 3, 0), 3);
	call_in_thread(&c, call_recv_all, fd[0]);
	EXPECT_EQ(call_ended(&c), 3);
	call_in_thread(&c, call_recv_all, fd[0]);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EAGAIN);
	close_pair(fd);
}

/* ---- timeouts of sockets ---- */

static void a_send_timeout_ends_in_what_went_or_eagain(void)
{
	static char big[4 << 20];
	struct timeval short_time = {0, 50000};
	long long from;
	ssize_t n;
	int fd[2];

	if (!stream_pair(fd))
		return;
	EXPECT_OK(setsockopt(fd[1], SOL_SOCKET, SO_SNDTIMEO, &short_time,
			     sizeof(short_time)));
	n = send(fd[1], big, sizeof(big), 0);
	EXPECT(n > 0 && n < (ssize_t)sizeof(big));
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_ERR(send(fd[1], big, sizeof(big), 0), EAGAIN);
	EXPECT(now_ns(CLOCK_MONOTONIC) - from >= 40000000);
	EXPECT_ERR(write(fd[1], big, 1), EAGAIN);
	close_pair(fd);
}

static void a_listener_with_a_timeout_accepts_or_gives_up(void)
{
	struct timeval short_time = {0, 50000};
	struct sockaddr_in at;
	int fd = listen_at(&at, 4), client, accepted;
	struct timeval seen = {9, 9};
	socklen_t size = sizeof(seen);

	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &short_time,
			     sizeof(short_time)));
	EXPECT_ERR(accept(fd, NULL, NULL), EAGAIN);
	EXPECT((client = connect_to(&at)) >= 0);
	EXPECT_OK(accepted = accept(fd, NULL, NULL));
	/* What is accepted does not inherit it. */
	EXPECT_OK(getsockopt(accepted, SOL_SOCKET, SO_RCVTIMEO, &seen, &size));
	EXPECT(seen.tv_sec == 0 && seen.tv_usec < 100000);
	close(client);
	close(accepted);
	close(fd);
}

static void a_timeout_set_while_a_thread_waits_is_for_the_next_wait(void)
{
	struct timeval short_time = {0, 50000};
	struct caller c = {0};
	int fd[2];

	if (!stream_pair(fd))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &short_time,
			     sizeof(short_time)));
	nap_us(150000);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EAGAIN);
	close_pair(fd);
}

/* ---- from one to another inside the kernel ---- */

#define BIG (1 << 20)

static unsigned char *pattern(void)
{
	unsigned char *bytes = malloc(BIG);

	for (int i = 0; i < BIG; i++)
		bytes[i] = (unsigned char)(i * 31 + (i >> 9));
	return bytes;
}

static int file_with(const unsigned char *bytes)
{
	int fd = memfd_create("transfer", 0);

	EXPECT_OK(fd);
	EXPECT(write_all(fd, bytes, BIG));
	return fd;
}

struct copy {
	int in, out;
	long ret;
};

static void *copy_by_sendfile(void *arg)
{
	struct copy *c = arg;
	off_t at = 0;

	while (at < BIG && sendfile(c->out, c->in, &at, BIG - at) > 0)
		;
	c->ret = at;
	close(c->out);
	return arg;
}

static void sendfile_brings_a_file_through_a_socket_and_a_pipe(void)
{
	unsigned char *bytes = pattern(), *seen = malloc(BIG);
	int file = file_with(bytes);

	for (int kind = 0; kind < 3; kind++) {
		struct copy c = {.in = file};
		pthread_t t;
		int fd[2];

		if (!(kind == 0 ? tcp_pair(fd) :
		      kind == 1 ? stream_pair(fd) : EXPECT_OK(pipe(fd))))
			return;
		c.out = fd[1];
		t = start(copy_by_sendfile, &c);
		memset(seen, 0, BIG);
		EXPECT(read_all(fd[0], seen, BIG));
		EXPECT(memcmp(seen, bytes, BIG) == 0);
		EXPECT_EQ(read(fd[0], seen, 1), 0);
		EXPECT(finish(t) == &c);
		EXPECT_EQ(c.ret, BIG);
		close(fd[0]);
	}
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), BIG);
	EXPECT_ERR(sendfile(file, -1, NULL, 1), EBADF);
	close(file);
	free(bytes);
	free(seen);
}

/* Who takes fewer for a sign that it is full waits for room. */
static void sendfile_without_waiting_sends_all_that_there_is_room_for(void)
{
	unsigned char *bytes = pattern(), *seen = malloc(BIG);
	int file = file_with(bytes), fd[2], room = 4 * BIG;
	off_t at = 0;

	if (!stream_pair(fd))
		return;
	EXPECT_OK(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ?
		  setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) : 0);
	EXPECT_OK(fcntl(fd[1], F_SETFL, O_NONBLOCK));
	/* However much that is, it is full then. */
	while (sendfile(fd[1], file, &at, (size_t)(BIG - at)) > 0)
		if (at < BIG && !EXPECT(send(fd[1], "", 1, 0) < 0))
			break;
	EXPECT(read_all(fd[0], seen, (size_t)at));
	EXPECT(memcmp(seen, bytes, (size_t)at) == 0);
	close(fd[0]);
	close(fd[1]);
	close(file);
	free(bytes);
	free(seen);
}

static void *copy_by_splice(void *arg)
{
	struct copy *c = arg;
	ssize_t n;

	while ((n = splice(c->in, NULL, c->out, NULL, BIG, 0)) > 0)
		c->ret += n;
	close(c->out);
	return n == 0 ? arg : NULL;
}

static void *feed(void *arg)
{
	struct copy *c = arg;
	unsigned char *bytes = pattern();

	for (size_t at = 0; at < BIG; at += BIG / 64) {
		if (!write_all(c->in, bytes + at, BIG / 64))
			break;
		c->ret += BIG / 64;
		if (at % (BIG / 8) == 0)
			nap_us(500);
	}
	free(bytes);
	close(c->in);
	return arg;
}

/* Socket to pipe to socket, each with its own thread, each of them waiting. */
static void splice_moves_what_comes_and_ends_when_it_ends(void)
{
	unsigned char *bytes = pattern(), *seen = malloc(BIG);
	struct copy source = {0}, first = {0}, second = {0};
	pthread_t feeds, splices_in, splices_out;
	int from[2], middle[2], to[2];

	if (!stream_pair(from) || !EXPECT_OK(pipe(middle)) || !stream_pair(to))
		return;
	source.in = from[1];
	first.in = from[0];
	first.out = middle[1];
	second.in = middle[0];
	second.out = to[1];
	feeds = start(feed, &source);
	splices_in = start(copy_by_splice, &first);
	splices_out = start(copy_by_splice, &second);
	EXPECT(read_all(to[0], seen, BIG));
	EXPECT(memcmp(seen, bytes, BIG) == 0);
	EXPECT_EQ(read(to[0], seen, 1), 0);
	EXPECT(finish(feeds) == &source);
	EXPECT(finish(splices_in) == &first);
	EXPECT(finish(splices_out) == &second);
	EXPECT_EQ(first.ret, BIG);
	EXPECT_EQ(second.ret, BIG);
	close(from[0]);
	close(middle[0]);
	close(to[0]);
	free(bytes);
	free(seen);
}

static void copy_file_range_and_tee_do_as_they_say(void)
{
	unsigned char *bytes = pattern(), *seen = malloc(BIG);
	int file = file_with(bytes), copy = memfd_create("copy", 0);
	int first[2], second[2];
	loff_t from = 100, to = 0;

	EXPECT_EQ(copy_file_range(file, &from, copy, &to, 5000, 0), 5000);
	EXPECT(from == 5100 && to == 5000);
	EXPECT_EQ(pread(copy, seen, 5000, 0), 5000);
	EXPECT(memcmp(seen, bytes + 100, 5000) == 0);
	if (!EXPECT_OK(pipe(first)) || !EXPECT_OK(pipe(second)))
		return;
	EXPECT_EQ(write(first[1], bytes, 100), 100);
	EXPECT_EQ(tee(first[0], second[1], 1000, 0), 100);
	EXPECT_EQ(read(first[0], seen, 1000), 100);
	EXPECT_EQ(read(second[0], seen, 1000), 100);
	EXPECT(memcmp(seen, bytes, 100) == 0);
	EXPECT_ERR(splice(first[0], NULL, second[1], NULL, 1, SPLICE_F_NONBLOCK),
		   EAGAIN);
	close_pair(first);
	close_pair(second);
	close(file);
	close(copy);
	free(bytes);
	free(seen);
}

/* ---- much at once ---- */

struct big_write {
	int fd;
	const unsigned char *bytes;
	ssize_t ret;
};

static void *write_big(void *arg)
{
	struct big_write *w = arg;

	w->ret = write(w->fd, w->bytes, BIG);
	return arg;
}

static void *writev_big(void *arg)
{
	struct big_write *w = arg;
	struct iovec parts[IOV_MAX];
	size_t each = BIG / IOV_MAX;

	for (int i = 0; i < IOV_MAX; i++)
		parts[i] = (struct iovec){(char *)w->bytes + i * each, each};
	w->ret = writev(w->fd, parts, IOV_MAX);
	return arg;
}

static void a_big_write_goes_through_the_smallest_pipe_in_one_call(void)
{
	unsigned char *bytes = pattern(), *seen = malloc(BIG);

	for (int kind = 0; kind < 4; kind++) {
		struct big_write w = {.bytes = bytes};
		pthread_t t;
		int fd[2];

		if (!(kind / 2 ? stream_pair(fd) : EXPECT_OK(pipe(fd))))
			return;
		if (kind / 2 == 0)
			EXPECT_OK(fcntl(fd[1], F_SETPIPE_SZ, 4096));
		w.fd = fd[1];
		t = start(kind % 2 ? writev_big : write_big, &w);
		memset(seen, 0, BIG);
		EXPECT(read_all(fd[0], seen, BIG));
		EXPECT(memcmp(seen, bytes, BIG) == 0);
		EXPECT(finish(t) == &w);
		EXPECT_EQ(w.ret, BIG);
		close_pair(fd);
	}
	free(bytes);
	free(seen);
}

/* The reader leaves in the middle: what went is the result, then EPIPE. */
static void a_reader_who_leaves_ends_a_big_write(void)
{
	struct big_write w = {.bytes = pattern()};
	unsigned char some[5000];
	pthread_t t;
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	w.fd = fd[1];
	t = start(write_big, &w);
	EXPECT(read_all(fd[0], some, sizeof(some)));
	close(fd[0]);
	EXPECT(finish(t) == &w);
	EXPECT(w.ret == -1 || (w.ret >= 5000 && w.ret < BIG));
	EXPECT_ERR(write(fd[1], "x", 1), EPIPE);
	close(fd[1]);
	free((void *)w.bytes);
}

/* ---- what is none ---- */

static void bad_buffers_are_refused_and_nothing_is_lost(void)
{
	char *volatile nowhere = (char *)8;
	struct iovec bad = {nowhere, 4};
	struct iovec good = {NULL, 0};
	volatile int too_few = -1, too_many = IOV_MAX + 1; /* not constant: */
	struct iovec *volatile list = &good; /* compilers would warn */
	int fd[2], sock[2];
	char got[8];

	if (!EXPECT_OK(pipe(fd)) || !stream_pair(sock))
		return;
	EXPECT_EQ(write(fd[1], "kept", 4), 4);
	EXPECT_ERR(read(fd[0], nowhere, 4), EFAULT);
	EXPECT_ERR(readv(fd[0], &bad, 1), EFAULT);
	EXPECT_EQ(read(fd[0], got, 8), 4);
	EXPECT_ERR(write(fd[1], nowhere, 4), EFAULT);
	EXPECT_ERR(writev(fd[1], &bad, 1), EFAULT);
	EXPECT_ERR(readv(fd[0], (struct iovec *)nowhere, 1), EFAULT);
	EXPECT_ERR(readv(fd[0], list, too_few), EINVAL);
	EXPECT_ERR(readv(fd[0], list, too_many), EINVAL);
	EXPECT_EQ(send(sock[1], "kept", 4, 0), 4);
	EXPECT_ERR(recv(sock[0], nowhere, 4, 0), EFAULT);
	EXPECT_EQ(recv(sock[0], got, 8, 0), 4);
	EXPECT_ERR(send(sock[1], nowhere, 4, 0), EFAULT);
	EXPECT_ERR(recvmsg(sock[0], (struct msghdr *)nowhere, 0), EFAULT);
	EXPECT_ERR(poll((struct pollfd *)nowhere, 1, 0), EFAULT);
	EXPECT_ERR(nanosleep((struct timespec *)nowhere, NULL), EFAULT);
	close_pair(fd);
	close_pair(sock);
}

static long call_read_nowhere(struct caller *c)
{
	char *volatile nowhere = (char *)8;

	return read(c->fd, nowhere, 4);
}

static void a_bad_buffer_is_found_when_data_has_come(void)
{
	struct caller c = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	call_in_thread(&c, call_read_nowhere, fd[0]);
	EXPECT_EQ(write(fd[1], "kept", 4), 4);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EFAULT);
	EXPECT_EQ(read(fd[0], c.bytes, 8), 4);
	close_pair(fd);
}

static void calls_on_what_does_not_fit_say_so(void)
{
	int file = memfd_create("none", 0), fd[2];
	struct sockaddr_in at;
	char got[8];

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_ERR(recv(file, got, 1, 0), ENOTSOCK);
	EXPECT_ERR(accept(fd[0], NULL, NULL), ENOTSOCK);
	EXPECT_ERR(connect(fd[0], (struct sockaddr *)&at, sizeof(at)), ENOTSOCK);
	EXPECT_ERR(pread(fd[0], got, 1, 0), ESPIPE);
	EXPECT_ERR(preadv(fd[0], &(struct iovec){got, 1}, 1, 0), ESPIPE);
	EXPECT_ERR(pread(file, got, 1, -1), EINVAL);
	EXPECT_ERR(accept(socket(AF_INET, SOCK_DGRAM, 0), NULL, NULL), EOPNOTSUPP);
	EXPECT_ERR(accept(socket(AF_INET, SOCK_STREAM, 0), NULL, NULL), EINVAL);
	EXPECT_ERR(recv(socket(AF_INET, SOCK_STREAM, 0), got, 1, 0), ENOTCONN);
	EXPECT_ERR(send(socket(AF_INET, SOCK_STREAM, 0), got, 1, MSG_NOSIGNAL),
		   EPIPE);
	EXPECT_ERR(splice(file, NULL, file, NULL, 1, 0), EINVAL);
	close_pair(fd);
	close(file);
}

static void a_write_to_nobody_raises_sigpipe_in_the_writer(void)
{
	struct timespec none = {0, 0};
	sigset_t set, old;
	int fd[2];

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	if (!EXPECT_OK(pipe(fd)))
		return;
	signal(SIGPIPE, SIG_DFL);
	close(fd[0]);
	EXPECT_ERR(write(fd[1], "x", 1), EPIPE);
	EXPECT_EQ(sigtimedwait(&set, NULL, &none), SIGPIPE);
	EXPECT_ERR(sigtimedwait(&set, NULL, &none), EAGAIN);
	close(fd[1]);
	if (!stream_pair(fd))
		return;
	close(fd[0]);
	EXPECT_ERR(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	EXPECT_ERR(sigtimedwait(&set, NULL, &none), EAGAIN);
	EXPECT_ERR(send(fd[1], "x", 1, 0), EPIPE);
	EXPECT_EQ(sigtimedwait(&set, NULL, &none), SIGPIPE);
	close(fd[1]);
	signal(SIGPIPE, SIG_IGN);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
}

/* ---- a handler in the middle of a transfer ---- */

static void on_signal(int sig)
{
	(void)sig;
}

#define MUCH (4 << 20)
static char much[MUCH];

static long by_write(struct caller *c)
{
	return write(c->fd, much, MUCH);
}

static long by_writev(struct caller *c)
{
	struct iovec parts[2] = {{much, 3}, {much + 3, MUCH - 3}};

	return writev(c->fd, parts, 2);
}

static long by_send(struct caller *c)
{
	return send(c->fd, much, MUCH, 0);
}

static long by_sendmsg(struct caller *c)
{
	struct iovec part = {much, MUCH};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	return sendmsg(c->fd, &msg, 0);
}

static long by_recv(struct caller *c)
{
	return recv(c->fd, much, MUCH, MSG_WAITALL);
}

static long by_recvmsg(struct caller *c)
{
	struct iovec part = {much, MUCH};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	return recvmsg(c->fd, &msg, MSG_WAITALL);
}

/* What has gone, or come, is told, though the handler asked for a new start. */
static void a_handler_ends_a_transfer_that_has_begun(void)
{
	static const struct {
		long (*call)(struct caller *);
		bool reads, pipe;
	} ways[] = {
		{by_write, false, true}, {by_write, false, false},
		{by_writev, false, true}, {by_writev, false, false},
		{by_send, false, false}, {by_sendmsg, false, false},
		{by_recv, true, false}, {by_recvmsg, true, false},
	};
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &act, NULL);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct caller c = {0};
		int fd[2];

		if (!(ways[i].pipe ? EXPECT_OK(pipe(fd)) : stream_pair(fd)))
			return;
		if (ways[i].reads)
			EXPECT_EQ(write(fd[1], much, 1000), 1000);
		call_in_thread(&c, ways[i].call, fd[!ways[i].reads]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(pthread_kill(c.thread, SIGUSR1), 0);
		call_ended(&c);
		if (ways[i].reads)
			EXPECT_EQ(c.ret, 1000);
		else
			EXPECT(c.ret > 0 && c.ret < MUCH);
		close_pair(fd);
	}
}

static const struct expect_case cases[] = {
	CASE(data_and_end_that_come_together_are_both_seen),
	CASE(the_end_after_many_short_reads_is_seen),
	CASE(half_a_connection_can_be_closed),
	CASE(a_reset_ends_who_waits),
	CASE(nobody_listening_refuses_the_connection),
	CASE(a_nonblocking_connect_is_finished_by_poll),
	CASE(a_message_without_bytes_is_a_message),
	CASE(reading_no_bytes_leaves_a_datagram_receiving_none_takes_it),
	CASE(reading_no_bytes_does_not_wait),
	CASE(what_is_cut_off_a_message_is_told),
	CASE(sequenced_packets_keep_their_bounds_and_their_end),
	CASE(a_full_datagram_socket_lets_the_sender_wait),
	CASE(batches_of_messages_come_as_asked_for),
	CASE(a_descriptor_that_was_passed_can_be_waited_on),
	CASE(a_descriptor_cuts_a_read_short_and_the_rest_follows),
	CASE(urgent_data_cuts_a_read_short_and_the_rest_follows),
	CASE(urgent_data_in_line_wakes_a_reader),
	CASE(who_only_looks_takes_nothing_from_who_reads),
	CASE(waiting_for_all_waits_for_all_or_the_timeout),
	CASE(a_send_timeout_ends_in_what_went_or_eagain),
	CASE(a_listener_with_a_timeout_accepts_or_gives_up),
	CASE(a_timeout_set_while_a_thread_waits_is_for_the_next_wait),
	CASE(sendfile_brings_a_file_through_a_socket_and_a_pipe),
	CASE(sendfile_without_waiting_sends_all_that_there_is_room_for),
	CASE(splice_moves_what_comes_and_ends_when_it_ends),
	CASE(copy_file_range_and_tee_do_as_they_say),
	CASE(a_big_write_goes_through_the_smallest_pipe_in_one_call),
	CASE(a_reader_who_leaves_ends_a_big_write),
	CASE(bad_buffers_are_refused_and_nothing_is_lost),
	CASE(a_bad_buffer_is_found_when_data_has_come),
	CASE(calls_on_what_does_not_fit_say_so),
	CASE(a_write_to_nobody_raises_sigpipe_in_the_writer),
	CASE(a_handler_ends_a_transfer_that_has_begun),
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
