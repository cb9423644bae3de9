/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* flags.c - the rarer ways to send, to receive, to connect and to move.
 *
 * Each of them is one that a wait made of "try without waiting, then wait for
 * readiness" can get wrong: a low-water mark that a try does not honour, a look
 * at more than is there, a send that connects, a queue that is full at the other
 * end, an order in which the kernel refuses before it waits. */
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "io.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

/* ---- how much is enough ---- */

static long call_readv(struct caller *c)
{
	struct iovec parts[2] = {{c->bytes, 4}, {c->bytes + 4, 40}};

	return readv(c->fd, parts, 2);
}

static long call_recvmsg(struct caller *c)
{
	struct iovec part = {c->bytes, sizeof(c->bytes)};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	return recvmsg(c->fd, &msg, (int)c->size);
}

static long call_recv_flags(struct caller *c)
{
	return recv(c->fd, c->bytes, (size_t)(intptr_t)c->with, (int)c->size);
}

static void a_low_water_mark_is_waited_for(void)
{
	static long (*const calls[])(struct caller *) = {
		call_read, call_recv, call_readv, call_recvmsg,
	};
	int mark = 10;

	for (int i = 0; i < 8; i++) {
		struct caller c = {0};
		int fd[2];

		if (!(i % 2 ? tcp_pair(fd) : stream_pair(fd)))
			return;
		EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_RCVLOWAT, &mark,
				     sizeof(mark)));
		EXPECT_EQ(send(fd[1], "four", 4, 0), 4);
		if (i % 2)
			nap_us(1000);
		call_in_thread(&c, calls[i / 2], fd[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(send(fd[1], "andtenmore", 10, 0), 10);
		EXPECT_EQ(call_ended(&c), 14);
		EXPECT(memcmp(c.bytes, "fourandtenmore", 14) == 0);
		/* Less than the mark is enough for who asks for less, */
		c.size = 0;
		for (int k = 0; k < 2; k++) {
			EXPECT_EQ(send(fd[1], "andtenmore", 10, 0), 10);
			EXPECT_EQ(read(fd[0], c.bytes, 20), 10);
			EXPECT_EQ(send(fd[1], "abc", 3, 0), 3);
			EXPECT_EQ(recv(fd[0], c.bytes, k ? 2 : 3, 0), k ? 2 : 3);
		}
		/* and at the end there is no more. */
		close(fd[1]);
		EXPECT_EQ(recv(fd[0], c.bytes, 20, 0), 1);
		EXPECT_EQ(recv(fd[0], c.bytes, 20, 0), 0);
		close(fd[0]);
	}
}

static void who_looks_at_all_waits_until_it_is_there(void)
{
	for (int i = 0; i < 4; i++) {
		struct caller c = {.size = MSG_PEEK | MSG_WAITALL,
				   .with = (void *)10};
		int fd[2];

		if (!(i % 2 ? tcp_pair(fd) : stream_pair(fd)))
			return;
		/* A unix socket shows what the first sender sent. */
		if (i % 2) {
			EXPECT_EQ(send(fd[1], "four", 4, 0), 4);
			nap_us(1000);
		}
		call_in_thread(&c, call_recv_flags, fd[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(send(fd[1], i % 2 ? "sixsix" : "foursixsix",
			       i % 2 ? 6 : 10, 0), i % 2 ? 6 : 10);
		EXPECT_EQ(call_ended(&c), 10);
		EXPECT(memcmp(c.bytes, "foursixsix", 10) == 0);
		EXPECT_EQ(recv(fd[0], c.bytes, 20, 0), 10);
		close_pair(fd);
	}
}

static void what_is_thrown_away_is_counted(void)
{
	struct caller c = {.size = MSG_TRUNC, .with = (void *)100};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_recv_flags, fd[0]);
	EXPECT_EQ(send(fd[1], "gone", 4, 0), 4);
	EXPECT_EQ(call_ended(&c), 4);
	c.with = (void *)6;
	c.size = MSG_TRUNC | MSG_WAITALL;
	call_in_thread(&c, call_recv_flags, fd[0]);
	EXPECT_EQ(send(fd[1], "gon", 3, 0), 3);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "eee", 3, 0), 3);
	EXPECT_EQ(call_ended(&c), 6);
	close_pair(fd);
}

static void who_asks_not_to_wait_does_not(void)
{
	char byte;
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	int fd[2], sock[2], file = memfd_create("now", 0);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);

	if (!EXPECT_OK(pipe(fd)) || !stream_pair(sock))
		return;
	EXPECT_ERR(preadv2(fd[0], &part, 1, -1, RWF_NOWAIT), EAGAIN);
	EXPECT_ERR(preadv2(sock[0], &part, 1, -1, RWF_NOWAIT), EAGAIN);
	EXPECT_ERR(recv(sock[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
	EXPECT_ERR(recvmsg(sock[0], &msg, MSG_DONTWAIT), EAGAIN);
	EXPECT_ERR(recv(udp, &byte, 1, MSG_ERRQUEUE), EAGAIN);
	EXPECT_ERR(recvmsg(udp, &msg, MSG_ERRQUEUE), EAGAIN);
	EXPECT_EQ(write(fd[1], "n", 1), 1);
	EXPECT_EQ(preadv2(fd[0], &part, 1, -1, RWF_NOWAIT), 1);
	while (pwritev2(fd[1], &part, 1, -1, RWF_NOWAIT) == 1)
		;
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(pwritev2(file, &part, 1, 0, RWF_APPEND), 1);
	EXPECT_EQ(pwritev2(file, &part, 1, 0, RWF_APPEND | RWF_DSYNC), 1);
	EXPECT_EQ(lseek(file, 0, SEEK_END), 2);
	EXPECT_EQ(preadv2(file, &part, 1, 1, RWF_HIPRI), 1);
	close_pair(fd);
	close_pair(sock);
	close(file);
	close(udp);
}

static void a_flag_that_a_socket_does_not_know_changes_nothing(void)
{
	struct caller c = {.size = MSG_ERRQUEUE, .with = (void *)8};
	int fd[2];

	if (!stream_pair(fd))
		return;
	call_in_thread(&c, call_recv_flags, fd[0]);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close_pair(fd);
}

/* ---- errors in a queue of their own ---- */

static void who_reads_is_not_disturbed_by_news_of_what_was_sent(void)
{
	static char page[4096];
	char control[128], byte;
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct caller c = {0};
	struct pollfd p;
	int fd[2], on = 1;

	if (!tcp_pair(fd))
		return;
	if (setsockopt(fd[0], SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on))) {
		SKIP("no MSG_ZEROCOPY here");
		return;
	}
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(send(fd[0], page, sizeof(page), MSG_ZEROCOPY), sizeof(page));
	EXPECT(read_all(fd[1], page, sizeof(page)));
	p = (struct pollfd){fd[0], 0, 0};
	EXPECT_EQ(poll(&p, 1, -1), 1);
	EXPECT_EQ(p.revents, POLLERR);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(recvmsg(fd[0], &msg, MSG_ERRQUEUE), 0);
	EXPECT(msg.msg_flags & MSG_ERRQUEUE);
	EXPECT(CMSG_FIRSTHDR(&msg) != NULL);
	EXPECT_ERR(recvmsg(fd[0], &msg, MSG_ERRQUEUE), EAGAIN);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	/* One who begins while such news is there waits too. */
	EXPECT_EQ(send(fd[0], page, sizeof(page), MSG_ZEROCOPY), sizeof(page));
	EXPECT(read_all(fd[1], page, sizeof(page)));
	EXPECT_EQ(poll(&p, 1, -1), 1);
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close_pair(fd);
}

static void an_error_that_came_back_ends_one_wait(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct caller c = {0};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), other, on = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	other = socket(AF_INET, SOCK_DGRAM, 0);
	if (!EXPECT_OK(fd) || !EXPECT_OK(bind(other, (void *)&at, sizeof(at))) ||
	    !EXPECT_OK(getsockname(other, (void *)&at, &size)))
		return;
	close(other);	/* nobody is at that port now */
	EXPECT_OK(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
	EXPECT_OK(connect(fd, (void *)&at, sizeof(at)));
	call_in_thread(&c, call_recv, fd);
	EXPECT_EQ(send(fd, "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, ECONNREFUSED);
	EXPECT_EQ(recv(fd, c.bytes, 8, MSG_ERRQUEUE), 1);
	EXPECT_ERR(recv(fd, c.bytes, 8, MSG_ERRQUEUE), EAGAIN);
	close(fd);
}

/* ---- connections ---- */

static int unix_listener(struct sockaddr_un *ret_at, int type, int backlog)
{
	static atomic_int number;
	int fd = socket(AF_UNIX, type, 0);

	*ret_at = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_at->sun_path + 1, 60, "flags-%d-%d", (int)getpid(),
		 atomic_fetch_add(&number, 1));
	if (!EXPECT_OK(fd) ||
	    !EXPECT_OK(bind(fd, (void *)ret_at, sizeof(*ret_at))) ||
	    (type == SOCK_STREAM && !EXPECT_OK(listen(fd, backlog))))
		return -1;
	return fd;
}

static long call_connect_unix(struct caller *c)
{
	return connect(c->fd, c->with, sizeof(struct sockaddr_un));
}

static void who_connects_to_a_full_listener_waits_for_room(void)
{
	struct timeval soon = {0, 50000};
	struct sockaddr_un at;
	struct caller c = {.with = &at};
	int listener = unix_listener(&at, SOCK_STREAM, 0), first, quick, timed;
	int more;

	if (listener < 0)
		return;
	first = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT_OK(connect(first, (void *)&at, sizeof(at)));
	quick = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	EXPECT_ERR(connect(quick, (void *)&at, sizeof(at)), EAGAIN);
	timed = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT_OK(setsockopt(timed, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)));
	EXPECT_ERR(connect(timed, (void *)&at, sizeof(at)), EAGAIN);
	more = socket(AF_UNIX, SOCK_STREAM, 0);
	call_in_thread(&c, call_connect_unix, more);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(quick = accept(listener, NULL, NULL));
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(send(more, "m", 1, 0), 1);
	/* And when the listener goes, who waits is refused. */
	close(timed);
	timed = socket(AF_UNIX, SOCK_STREAM, 0);
	call_in_thread(&c, call_connect_unix, timed);
	EXPECT(!atomic_load(&c.ended));
	close(listener);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, ECONNREFUSED);
	close(first);
	close(quick);
	close(more);
	close(timed);
}

static void a_connection_that_takes_too_long_goes_on_without_its_caller(void)
{
	struct timeval soon = {0, 50000};
	struct sockaddr_in at;
	int listener = listen_at(&at, 0), fd[8], n = 0, error = 0;
	struct pollfd p = {.events = POLLOUT};

	/* Until the listener has no room, and answers no more. */
	for (; n < 8; n++) {
		fd[n] = socket(AF_INET, SOCK_STREAM, 0);
		EXPECT_OK(setsockopt(fd[n], SOL_SOCKET, SO_SNDTIMEO, &soon,
				     sizeof(soon)));
		if (connect(fd[n], (void *)&at, sizeof(at)) == -1)
			break;
	}
	error = errno;
	if (EXPECT(n < 8)) {
		EXPECT_EQ(error, EINPROGRESS);
		EXPECT_ERR(connect(fd[n], (void *)&at, sizeof(at)), EALREADY);
		p.fd = fd[n];
		EXPECT_EQ(poll(&p, 1, 0), 0);
		close(fd[n]);
	}
	while (n-- > 0)
		close(fd[n]);
	close(listener);
}

static long call_fast(struct caller *c)
{
	return sendto(c->fd, "fast", 4, MSG_FASTOPEN, c->with,
		      sizeof(struct sockaddr_in));
}

static void a_send_may_open_its_connection(void)
{
	struct sockaddr_in at, gone;
	struct caller c = {.with = &at};
	struct iovec part = {(void *)"part", 4};
	struct msghdr msg = {.msg_name = &at, .msg_namelen = sizeof(at),
			     .msg_iov = &part, .msg_iovlen = 1};
	int listener = listen_at(&at, 4), fd, got, on = 1;
	char bytes[8];

	if (listener < 0)
		return;
	close(listen_at(&gone, 1));
	for (int i = 0; i < 3; i++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (i == 0) {
			call_in_thread(&c, call_fast, fd);
			if (call_ended(&c) == -1 && c.err == EOPNOTSUPP) {
				SKIP("no TCP fast open here");
				break;
			}
			EXPECT_EQ(c.ret, 4);
		} else if (i == 1) {
			EXPECT_EQ(sendmsg(fd, &msg, MSG_FASTOPEN), 4);
		} else {
			EXPECT_OK(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT,
					     &on, sizeof(on)));
			EXPECT_OK(connect(fd, (void *)&at, sizeof(at)));
			EXPECT_EQ(write(fd, "last", 4), 4);
		}
		EXPECT_OK(got = accept(listener, NULL, NULL));
		EXPECT(read_all(got, bytes, 4));
		EXPECT(memcmp(bytes, i == 0 ? "fast" : i == 1 ? "part" : "last",
			      4) == 0);
		close(got);
		close(fd);
		/* Where nobody listens. */
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (i < 2) {
			EXPECT_ERR(sendto(fd, "fast", 4, MSG_FASTOPEN, (void *)&gone,
					  sizeof(gone)), ECONNREFUSED);
		} else {
			/* whoever has no cookie for the place asks at once */
			EXPECT_OK(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT,
					     &on, sizeof(on)));
			EXPECT_ERR(connect(fd, (void *)&gone, sizeof(gone)),
				   ECONNREFUSED);
		}
		close(fd);
	}
	close(listener);
}

/* The kernel shows the connection when there is something to read. */
static void a_listener_may_wait_for_the_first_bytes(void)
{
	struct sockaddr_in at;
	struct caller c = {0};
	int listener = listen_at(&at, 4), fd, seconds = 5;

	EXPECT_OK(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
			     sizeof(seconds)));
	call_in_thread(&c, call_accept, listener);
	EXPECT((fd = connect_to(&at)) >= 0);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd, "x", 1, 0), 1);
	EXPECT(call_ended(&c) >= 0);
	EXPECT_EQ(recv((int)c.ret, c.bytes, 8, MSG_DONTWAIT), 1);
	close((int)c.ret);
	close(fd);
	close(listener);
}

static atomic_int at_port;

static void *accepts_some(void *arg)
{
	int fd;

	while ((fd = accept((int)(intptr_t)arg, NULL, NULL)) >= 0) {
		atomic_fetch_add(&at_port, 1);
		close(fd);
	}
	return errno == EINVAL ? arg : NULL;
}

static void listeners_that_share_a_port_share_the_callers(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);
	int fd[4], on = 1;
	pthread_t t[4];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 4; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		EXPECT_OK(setsockopt(fd[i], SOL_SOCKET, SO_REUSEPORT, &on,
				     sizeof(on)));
		if (!EXPECT_OK(bind(fd[i], (void *)&at, sizeof(at))) ||
		    !EXPECT_OK(listen(fd[i], 64)))
			return;
		EXPECT_OK(getsockname(fd[i], (void *)&at, &size));
		t[i] = start(accepts_some, (void *)(intptr_t)fd[i]);
	}
	for (int i = 0; i < 60; i++) {
		int client = connect_to(&at);

		EXPECT(client >= 0);
		close(client);
	}
	WAIT_UNTIL(atomic_load(&at_port) == 60);
	for (int i = 0; i < 4; i++) {
		EXPECT_OK(shutdown(fd[i], SHUT_RDWR));
		EXPECT(finish(t[i]) == (void *)(intptr_t)fd[i]);
		close(fd[i]);
	}
}

static long call_close(struct caller *c)
{
	return close(c->fd);
}

static void a_close_that_lingers_waits_for_the_other_side(void)
{
	static char page[65536];
	struct linger wait = {1, 30};
	struct caller c = {0};
	int fd[2];
	long sent = 0, got = 0;
	ssize_t n;

	if (!tcp_pair(fd))
		return;
	EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &wait, sizeof(wait)));
	while ((n = send(fd[0], page, sizeof(page), MSG_DONTWAIT)) > 0)
		sent += n;
	call_in_thread(&c, call_close, fd[0]);
	EXPECT(!atomic_load(&c.ended));
	while ((n = recv(fd[1], page, sizeof(page), 0)) > 0)
		got += n;
	EXPECT_EQ(got, sent);
	EXPECT_EQ(n, 0);
	EXPECT_EQ(call_ended(&c), 0);
	close(fd[1]);
}

/* ---- messages ---- */

static long call_sendto_unix(struct caller *c)
{
	return sendto(c->fd, "w", 1, 0, c->with, sizeof(struct sockaddr_un));
}

/* The sender is not connected, and always writable as far as poll knows: what
 * is full is a queue at the other end. */
static void a_full_queue_lets_who_is_not_connected_wait(void)
{
	struct sockaddr_un at, empty_at;
	struct caller c[2] = {{.with = &at}, {.with = &at}};
	int full = unix_listener(&at, SOCK_DGRAM, 0), sent = 0;
	int empty = unix_listener(&empty_at, SOCK_DGRAM, 0);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char byte;

	if (full < 0 || empty < 0 || !EXPECT_OK(fd))
		return;
	while (sendto(fd, "x", 1, MSG_DONTWAIT, (void *)&at, sizeof(at)) == 1)
		sent++;
	EXPECT_EQ(errno, EAGAIN);
	for (int i = 0; i < 2; i++)
		call_in_thread(&c[i], call_sendto_unix, fd);
	settle();
	EXPECT(!atomic_load(&c[0].ended) && !atomic_load(&c[1].ended));
	/* Of another queue, which has room, that says nothing. */
	EXPECT_EQ(poll(&(struct pollfd){fd, POLLOUT, 0}, 1, -1), 1);
	EXPECT_EQ(sendto(fd, "e", 1, 0, (void *)&empty_at, sizeof(empty_at)), 1);
	for (int i = 0; i < sent; i++)
		EXPECT_EQ(recv(full, &byte, 1, 0), 1);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(call_ended(&c[i]), 1);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(recv(full, &byte, 1, 0), 1);
	EXPECT_EQ(byte, 'w');
	close(full);
	close(empty);
	close(fd);
}

static void who_a_message_is_from_comes_with_it(void)
{
	union {
		char room[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {{0}};
	char byte;
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	struct ucred from = {0};
	int fd[2], on = 1;
	pid_t pid;

	if (!datagram_pair(fd))
		return;
	EXPECT_OK(setsockopt(fd[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	pid = fork();
	if (pid == 0) {
		nap_us(20000);
		_exit(send(fd[1], "c", 1, 0) == 1 ? 0 : 1);
	}
	EXPECT_EQ(recvmsg(fd[0], &msg, 0), 1);
	if (EXPECT(CMSG_FIRSTHDR(&msg) != NULL)) {
		memcpy(&from, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(from));
		EXPECT_EQ(from.pid, pid);
		EXPECT_EQ(from.uid, getuid());
	}
	EXPECT_EQ(status_of(pid), 0);
	close_pair(fd);
}

static void the_kernel_answers_who_waits_for_it(void)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg body;
	} ask = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)),
			  .nlmsg_type = RTM_GETLINK,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			  .nlmsg_seq = 7}};
	struct caller c = {0};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0) {
		SKIP("no netlink here");
		return;
	}
	call_in_thread(&c, call_recv, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd, &ask, ask.head.nlmsg_len, 0), ask.head.nlmsg_len);
	EXPECT(call_ended(&c) > 0);
	EXPECT_EQ(((struct nlmsghdr *)c.bytes)->nlmsg_seq, 7);
	close(fd);
}

static void a_hash_of_the_kernels_can_be_written_and_spliced_into(void)
{
	static const unsigned char abc[4] = {0xba, 0x78, 0x16, 0xbf};
	struct sockaddr_alg how = {.salg_family = AF_ALG, .salg_type = "hash",
				   .salg_name = "sha256"};
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0), op, pipes[2];
	unsigned char sum[32];

	if (fd < 0 || bind(fd, (void *)&how, sizeof(how))) {
		SKIP("no AF_ALG here");
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!EXPECT_OK(op = accept(fd, NULL, NULL)) || !EXPECT_OK(pipe(pipes)))
		return;
	EXPECT_EQ(send(op, "ab", 2, MSG_MORE), 2);
	EXPECT_EQ(write(pipes[1], "c", 1), 1);
	EXPECT_EQ(splice(pipes[0], NULL, op, NULL, 1, 0), 1);
	EXPECT_EQ(read(op, sum, 32), 32);
	EXPECT(memcmp(sum, abc, 4) == 0);
	close_pair(pipes);
	close(op);
	close(fd);
}

/* ---- pipes ---- */

static long call_write_packet(struct caller *c)
{
	return write(c->fd, "third", 5);
}

static void a_pipe_of_packets_keeps_their_bounds(void)
{
	struct caller c = {.size = 3};
	int fd[2], n = 0;
	char got[16];

	if (!EXPECT_OK(pipe2(fd, O_DIRECT)))
		return;
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_EQ(write(fd[1], "first", 5), 5);
	EXPECT_EQ(call_ended(&c), 3);	/* the rest is thrown away */
	EXPECT_EQ(write(fd[1], "one", 3), 3);
	EXPECT_EQ(write(fd[1], "second", 6), 6);
	EXPECT_EQ(read(fd[0], got, sizeof(got)), 3);
	EXPECT_EQ(read(fd[0], got, sizeof(got)), 6);
	EXPECT_OK(fcntl(fd[1], F_SETPIPE_SZ, 8192));
	EXPECT_OK(fcntl(fd[1], F_SETFL, O_WRONLY | O_DIRECT | O_NONBLOCK));
	while (write(fd[1], "full", 4) == 4)
		n++;
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_OK(fcntl(fd[1], F_SETFL, O_WRONLY | O_DIRECT));
	call_in_thread(&c, call_write_packet, fd[1]);
	EXPECT(!atomic_load(&c.ended));
	for (int i = 0; i < n; i++)
		EXPECT_EQ(read(fd[0], got, sizeof(got)), 4);
	EXPECT_EQ(call_ended(&c), 5);
	EXPECT_EQ(read(fd[0], got, sizeof(got)), 5);
	close_pair(fd);
}

static void a_pipe_made_larger_lets_the_writer_go_on(void)
{
	static char page[4096];
	struct caller c = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_EQ(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	EXPECT_EQ(write(fd[1], page, sizeof(page)), sizeof(page));
	call_in_thread(&c, call_write_packet, fd[1]);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(fcntl(fd[1], F_SETPIPE_SZ, 65536), 65536);
	EXPECT_EQ(call_ended(&c), 5);
	close_pair(fd);
}

/* ---- from one to another ---- */

static long call_sendfile(struct caller *c)
{
	return sendfile(c->fd, (int)c->size, NULL, 100);
}

static void what_is_at_its_end_is_sent_without_a_wait(void)
{
	static char page[4096];
	int file = memfd_create("end", 0), fd[2];
	struct caller c = {.size = (size_t)file};

	if (!stream_pair(fd))
		return;
	while (send(fd[0], page, sizeof(page), MSG_DONTWAIT) > 0)
		;
	EXPECT_EQ(write(file, "abc", 3), 3);
	call_in_thread(&c, call_sendfile, fd[0]);
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(sendfile(fd[0], file, NULL, 0), 0);
	close_pair(fd);
	close(file);
}

static void *sends_a_file(void *arg)
{
	struct caller *c = arg;

	atomic_store(&c->begun, true);
	c->ret = sendfile(c->fd, (int)c->size, NULL, 4 << 20);
	atomic_store(&c->ended, true);
	pthread_testcancel();
	return arg;
}

/* It is no cancellation point. */
static void who_is_cancelled_while_it_sends_a_file_sends_all_of_it(void)
{
	static char page[65536];
	int file = memfd_create("whole", 0), fd[2];
	struct caller c = {.size = (size_t)file};
	long got = 0;

	if (!stream_pair(fd) || !EXPECT_OK(ftruncate(file, 4 << 20)))
		return;
	c.fd = fd[0];
	c.thread = start(sends_a_file, &c);
	WAIT_UNTIL(atomic_load(&c.begun));
	settle();
	EXPECT_EQ(pthread_cancel(c.thread), 0);
	settle();
	while (got < 4 << 20) {
		ssize_t n = read(fd[1], page, sizeof(page));

		if (!EXPECT(n > 0))
			return;
		got += n;
	}
	EXPECT(finish(c.thread) == PTHREAD_CANCELED);
	EXPECT_EQ(c.ret, 4 << 20);
	close_pair(fd);
	close(file);
}

/* What the kernel refuses it refuses before it waits. */
static void what_cannot_be_moved_is_refused_at_once(void)
{
	int file = memfd_create("move", 0), sock[2], in[2], out[2], add;
	loff_t at = 0;
	char name[] = "/tmp/flags.XXXXXX";

	add = mkstemp(name);
	unlink(name);
	if (!stream_pair(sock) || !EXPECT_OK(pipe(in)) || !EXPECT_OK(pipe(out)))
		return;
	EXPECT_OK(fcntl(add, F_SETFL, O_RDWR | O_APPEND));
	EXPECT_ERR(splice(in[0], NULL, -1, NULL, 1, 0), EBADF);
	EXPECT_ERR(splice(-1, NULL, in[1], NULL, 1, 0), EBADF);
	EXPECT_ERR(splice(in[0], NULL, in[1], NULL, 1, 0), EINVAL);
	EXPECT_ERR(splice(sock[0], NULL, sock[1], NULL, 1, 0), EINVAL);
	EXPECT_ERR(splice(sock[0], NULL, file, NULL, 1, 0), EINVAL);
	EXPECT_ERR(splice(in[0], &at, out[1], NULL, 1, 0), ESPIPE);
	EXPECT_ERR(splice(sock[0], &at, out[1], NULL, 1, 0), EINVAL);
	EXPECT_ERR(splice(in[0], NULL, sock[0], &at, 1, 0), EINVAL);
	EXPECT_ERR(splice(in[0], NULL, add, NULL, 1, 0), EINVAL);
	EXPECT_ERR(splice(in[1], NULL, out[1], NULL, 1, 0), EBADF);
	EXPECT_ERR(splice(in[0], NULL, out[0], NULL, 1, 0), EBADF);
	EXPECT_ERR(splice(in[0], NULL, out[1], NULL, 1, 0x100), EINVAL);
	EXPECT_EQ(splice(in[0], NULL, out[1], NULL, 0, 0), 0);
	EXPECT_ERR(tee(in[0], in[1], 1, 0), EINVAL);
	EXPECT_ERR(tee(sock[0], in[1], 1, 0), EINVAL);
	EXPECT_ERR(tee(in[0], -1, 1, 0), EBADF);
	EXPECT_EQ(tee(in[0], out[1], 0, 0), 0);
	EXPECT_ERR(sendfile(-1, file, NULL, 1), EBADF);
	EXPECT_ERR(sendfile(sock[0], sock[1], NULL, 1), EINVAL);
	EXPECT_ERR(sendfile(file, in[0], NULL, 1), EINVAL);
	EXPECT_ERR(vmsplice(sock[0], &(struct iovec){&at, 1}, 1, 0), EBADF);
	close_pair(sock);
	close_pair(in);
	close_pair(out);
	close(file);
	close(add);
}

/* ---- a signal in the middle ---- */

static void ignore_it(int sig)
{
	(void)sig;
}

#define BIG (4 << 20)
static char *big;

static long big_write(struct caller *c)
{
	return write(c->fd, big, BIG);
}

static long big_send(struct caller *c)
{
	return send(c->fd, big, BIG, 0);
}

static long big_writev(struct caller *c)
{
	struct iovec parts[2] = {{big, BIG / 2}, {big + BIG / 2, BIG / 2}};

	return writev(c->fd, parts, 2);
}

static long big_sendfile(struct caller *c)
{
	return sendfile(c->fd, (int)c->size, NULL, BIG);
}

static long big_recv(struct caller *c)
{
	return recv(c->fd, big, BIG, MSG_WAITALL);
}

static long two_messages(struct caller *c)
{
	struct mmsghdr all[4];
	struct iovec part = {c->bytes, 8};

	memset(all, 0, sizeof(all));
	for (int i = 0; i < 4; i++) {
		all[i].msg_hdr.msg_iov = &part;
		all[i].msg_hdr.msg_iovlen = 1;
	}
	return recvmmsg(c->fd, all, 4, 0, NULL);
}

static long call_splice(struct caller *c)
{
	return splice(c->fd, NULL, ((int *)c->with)[1], NULL, 100, 0);
}

/* What has been moved is the answer, and EINTR only where nothing has. */
static void a_signal_ends_a_call_with_what_it_has_done(void)
{
	struct sigaction act = {.sa_handler = ignore_it};
	int file = memfd_create("big", 0), fd[2], idle[2];

	big = calloc(1, BIG);
	EXPECT_OK(ftruncate(file, BIG));
	EXPECT_OK(sigaction(SIGUSR1, &act, NULL));
	if (!EXPECT_OK(pipe(idle)))
		return;
	for (int i = 0; i < 9; i++) {
		static long (*const calls[])(struct caller *) = {
			big_write, big_writev, big_send, big_write, big_sendfile,
			big_recv, two_messages, call_splice, call_splice,
		};
		struct caller c = {.size = (size_t)file, .with = idle};
		long want = i < 5 ? 0 : i == 5 ? 7 : i == 6 ? 1 : -1;

		if (!(i < 2 || i == 7 ? EXPECT_OK(pipe(fd)) :
		      i == 6 ? datagram_pair(fd) : tcp_pair(fd)))
			return;
		call_in_thread(&c, calls[i], i < 2 ? fd[1] : fd[0]);
		if (i == 5)
			EXPECT_EQ(send(fd[1], "partial", 7, 0), 7);
		if (i == 6)
			EXPECT_EQ(send(fd[1], "m", 1, 0), 1);
		settle();
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(pthread_kill(c.thread, SIGUSR1), 0);
		call_ended(&c);
		if (want)
			EXPECT_EQ(c.ret, want);
		else
			EXPECT(c.ret > 0 && c.ret < BIG);
		if (want < 0)
			EXPECT_EQ(c.err, EINTR);
		if (i < 2)
			EXPECT_EQ(c.ret, 65536);
		close_pair(fd);
	}
	close_pair(idle);
	close(file);
	free(big);
}

static const struct expect_case cases[] = {
	CASE(a_low_water_mark_is_waited_for),
	CASE(who_looks_at_all_waits_until_it_is_there),
	CASE(what_is_thrown_away_is_counted),
	CASE(who_asks_not_to_wait_does_not),
	CASE(a_flag_that_a_socket_does_not_know_changes_nothing),
	CASE(who_reads_is_not_disturbed_by_news_of_what_was_sent),
	CASE(an_error_that_came_back_ends_one_wait),
	CASE(who_connects_to_a_full_listener_waits_for_room),
	CASE(a_connection_that_takes_too_long_goes_on_without_its_caller),
	CASE(a_send_may_open_its_connection),
	CASE(a_listener_may_wait_for_the_first_bytes),
	CASE(listeners_that_share_a_port_share_the_callers),
	CASE(a_close_that_lingers_waits_for_the_other_side),
	CASE(a_full_queue_lets_who_is_not_connected_wait),
	CASE(who_a_message_is_from_comes_with_it),
	CASE(the_kernel_answers_who_waits_for_it),
	CASE(a_hash_of_the_kernels_can_be_written_and_spliced_into),
	CASE(a_pipe_of_packets_keeps_their_bounds),
	CASE(a_pipe_made_larger_lets_the_writer_go_on),
	CASE(what_is_at_its_end_is_sent_without_a_wait),
	CASE(who_is_cancelled_while_it_sends_a_file_sends_all_of_it),
	CASE(what_cannot_be_moved_is_refused_at_once),
	CASE(a_signal_ends_a_call_with_what_it_has_done),
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
