/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* io.h - what the I/O tests share: pairs of descriptors, and threads that
 * begin to wait.
 *
 * That a thread really waits cannot be seen from inside. So a test lets it say
 * that it is about to, and naps: the nap decides how hard the case is tested,
 * never whether it passes. */
#ifndef TESTS_HOOK_IO_H
#define TESTS_HOOK_IO_H

#include "../../support/expect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>

static inline bool stream_pair(int pair[2])
{
	return EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}

static inline bool datagram_pair(int pair[2])
{
	return EXPECT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
}

static inline int listen_at(struct sockaddr_in *ret_at, int backlog)
{
	socklen_t size = sizeof(*ret_at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*ret_at = (struct sockaddr_in){.sin_family = AF_INET};
	ret_at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!EXPECT_OK(fd) ||
	    !EXPECT_OK(bind(fd, (struct sockaddr *)ret_at, size)) ||
	    !EXPECT_OK(listen(fd, backlog)) ||
	    !EXPECT_OK(getsockname(fd, (struct sockaddr *)ret_at, &size)))
		return -1;
	return fd;
}

static inline int connect_to(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!EXPECT_OK(fd))
		return -1;
	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline bool tcp_pair(int pair[2])
{
	struct sockaddr_in at;
	int listener = listen_at(&at, 4);
	bool good;

	if (listener < 0)
		return false;
	good = EXPECT((pair[0] = connect_to(&at)) >= 0) &&
	       EXPECT_OK(pair[1] = accept(listener, NULL, NULL));
	close(listener);
	return good;
}

static inline void close_pair(int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

/* True when all of it came. */
static inline bool read_all(int fd, void *to, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = read(fd, (char *)to + at, size - at);

		if (n <= 0)
			return false;
		at += n;
	}
	return true;
}

static inline bool write_all(int fd, const void *from, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = write(fd, (const char *)from + at, size - at);

		if (n <= 0)
			return false;
		at += n;
	}
	return true;
}

/* ---- a thread that makes one call, and what became of it ---- */

struct caller {
	pthread_t thread;
	long (*call)(struct caller *);
	int fd;
	void *with;
	char bytes[64];
	size_t size;
	atomic_bool begun, ended;
	long ret;
	int err;
};

static inline void *caller_runs(void *arg)
{
	struct caller *c = (struct caller *)arg;

	atomic_store(&c->begun, true);
	errno = 0;
	c->ret = c->call(c);
	c->err = errno;
	atomic_store(&c->ended, true);
	return NULL;
}

static inline long call_read(struct caller *c)
{
	return read(c->fd, c->bytes, c->size ? c->size : sizeof(c->bytes));
}

static inline long call_recv(struct caller *c)
{
	return recv(c->fd, c->bytes, c->size ? c->size : sizeof(c->bytes), 0);
}

static inline long call_accept(struct caller *c)
{
	return accept(c->fd, NULL, NULL);
}

/* Returns when the thread had time to begin its wait. */
static inline void call_in_thread(struct caller *c,
				  long (*call)(struct caller *), int fd)
{
	c->call = call;
	c->fd = fd;
	c->begun = c->ended = false;
	c->thread = start(caller_runs, c);
	WAIT_UNTIL(atomic_load(&c->begun));
	settle();
}

static inline long call_ended(struct caller *c)
{
	finish(c->thread);
	return c->ret;
}

#endif
