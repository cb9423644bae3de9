/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* io - every function of cogo/io.h in a use of a few lines.
 *
 *	cc io.c -o io $(pkg-config --cflags --libs cogo)
 *	./io
 *
 * To look things up in: one function for each idea, with what one wants it for. */
#include <arpa/inet.h>
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

static void close_both(int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

/* ---- waiting ---- */

/* For a library that reads by itself once there is something to read. */
static void wait_fd(void)
{
	int fd[2], r;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	must(cogo_wait_fd(fd[0], COGO_READ, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_wait_fd(fd[0], COGO_READ | COGO_WRITE, COGO_FOREVER) ==
	     COGO_WRITE);
	must(write(fd[1], "x", 1) == 1);
	r = cogo_wait_fd(fd[0], COGO_READ | COGO_WRITE, COGO_FOREVER);
	must(r == (COGO_READ | COGO_WRITE));
	must(cogo_wait_fd(fd[0], 0, COGO_FOREVER) == -EINVAL);
	close_both(fd);
	must(cogo_wait_fd(-1, COGO_READ, COGO_FOREVER) == -EBADF);
}

/* ---- reading and writing ---- */

/* read with a deadline: what is there, 0 at the end. A deadline of 0 only looks. */
static void read_what_is_there(void)
{
	char buf[16];
	int fd[2];

	must(pipe(fd) == 0);
	must(cogo_read(fd[0], buf, sizeof(buf), 0) == -ETIMEDOUT);
	must(write(fd[1], "hello", 5) == 5);
	must(cogo_read(fd[0], buf, sizeof(buf), cogo_in(COGO_SEC)) == 5);
	must(memcmp(buf, "hello", 5) == 0);
	close(fd[1]);
	must(cogo_read(fd[0], buf, sizeof(buf), COGO_FOREVER) == 0);
	close(fd[0]);
}

static void read_for_good(void *fd)
{
	char c;

	must(cogo_read(*(int *)fd, &c, 1, COGO_FOREVER) == -ECANCELED);
}

/* A reader that can be told to end. */
static void read_until_cancelled(void)
{
	struct cogo_coro *c;
	int fd[2];

	must(pipe(fd) == 0);
	must(cogo_go(&c, NULL, read_for_good, &fd[0]) == 0);
	must(cogo_cancel(c, ECANCELED) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	close_both(fd);
}

/* What there is room for: for a sender that would rather drop something than fall
 * behind. */
static void write_what_fits(void)
{
	static const char frame[10000];
	long r, sent = 0;
	int fd[2];

	must(pipe(fd) == 0);
	while ((r = cogo_write(fd[1], frame, sizeof(frame), 0)) > 0)
		sent += r;
	must(r == -ETIMEDOUT && sent > 0);
	close_both(fd);
}

enum { LARGE = 1000000 };

static void send_large(void *fd)
{
	char *buf = malloc(LARGE);

	must(buf != NULL);
	memset(buf, 'x', LARGE);
	must(cogo_write_all(*(int *)fd, buf, LARGE, COGO_FOREVER, NULL) == 0);
	free(buf);
	close(*(int *)fd);
}

/* A message whose length is known, whole, in however many pieces it travels. Less
 * than that comes only at the end. */
static void whole_messages(void)
{
	char *buf = malloc(LARGE);
	struct cogo_coro *c;
	int fd[2];

	must(buf != NULL && pipe(fd) == 0);
	must(cogo_go(&c, NULL, send_large, &fd[1]) == 0);
	must(cogo_read_full(fd[0], buf, LARGE, COGO_FOREVER, NULL) == LARGE);
	must(buf[0] == 'x' && buf[LARGE - 1] == 'x');
	must(cogo_read_full(fd[0], buf, LARGE, COGO_FOREVER, NULL) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	close(fd[0]);
	free(buf);
}

/* How far it came when the deadline was over, so as to go on from there. */
static void half_messages(void)
{
	static const char large[LARGE];
	char buf[8];
	size_t done = 0;
	int fd[2];

	must(pipe(fd) == 0);
	must(write(fd[1], "abc", 3) == 3);
	must(cogo_read_full(fd[0], buf, sizeof(buf), cogo_in(COGO_MS), &done) ==
	     -ETIMEDOUT);
	must(done == 3 && memcmp(buf, "abc", 3) == 0);
	must(cogo_write_all(fd[1], large, LARGE, cogo_in(COGO_MS), &done) ==
	     -ETIMEDOUT);
	must(done < LARGE);
	close_both(fd);
}

/* ---- connections ---- */

static void client(void *server)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0);
	must(cogo_connect(fd, server, sizeof(struct sockaddr_in),
			  cogo_in(60 * COGO_SEC)) == 0);
	must(cogo_write_all(fd, "hello", 5, COGO_FOREVER, NULL) == 0);
	close(fd);
}

/* A server and its client. A listener with a deadline can look after other things
 * between two clients. */
static void accept_and_connect(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	}, from;
	socklen_t size = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	struct cogo_coro *c;
	char buf[8];

	must(bind(listener, (struct sockaddr *)&addr, size) == 0);
	must(listen(listener, 10) == 0);
	must(getsockname(listener, (struct sockaddr *)&addr, &size) == 0);

	must(cogo_accept(listener, NULL, NULL, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_go(&c, NULL, client, &addr) == 0);
	fd = cogo_accept(listener, (struct sockaddr *)&from, &size, COGO_FOREVER);
	must(fd >= 0 && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	must(cogo_read_full(fd, buf, sizeof(buf), COGO_FOREVER, NULL) == 5);
	must(memcmp(buf, "hello", 5) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	close(fd);
	close(listener);
}

/* ---- what the runtime cannot see ---- */

static long lock(void *file)
{
	return flock(fileno(file), LOCK_EX) ? -errno : 0;
}

static void write_with_lock(void *file)
{
	must(cogo_block(lock, file) == 0);
	must(fputs("one line\n", file) >= 0 && fflush(file) == 0);
	must(flock(fileno(file), LOCK_UN) == 0);
}

/* A call that keeps its kernel thread for as long as it takes: the others go on
 * meanwhile. */
static void block(void)
{
	FILE *file = tmpfile();
	struct cogo_coro *c;

	must(file != NULL);
	must(cogo_go(&c, NULL, write_with_lock, file) == 0);
	must(cogo_join(c) == COGO_RETURNED);
	must(ftell(file) == 9);
	fclose(file);
}

/* ---- names ---- */

/* The addresses of a host. (With these hints nobody is asked: it is a number. They
 * may be NULL.) */
static void resolve(void)
{
	struct addrinfo hints = {
		.ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	}, *found = NULL;
	struct sockaddr_in *addr;

	must(cogo_resolve("127.0.0.1", "7000", &hints, &found,
			  cogo_in(60 * COGO_SEC)) == 0);
	addr = (struct sockaddr_in *)found->ai_addr;
	must(addr->sin_port == htons(7000));
	must(addr->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	freeaddrinfo(found);
	must(cogo_resolve("no number", "7000", &hints, &found, COGO_FOREVER) ==
	     -ENOENT);
}

int main(void)
{
	wait_fd();
	read_what_is_there();
	read_until_cancelled();
	write_what_fits();
	whole_messages();
	half_messages();
	accept_and_connect();
	block();
	resolve();
	puts("io: ok");
	return 0;
}
