/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* broken.c - reads that are broken off in every way, and not a byte lost or read
 * twice.
 *
 * Each stream has a writer, and a reader that compares what it reads, by all the
 * calls that read, with what was written, and now and then sends a byte back. Others
 * break its calls off: signals with SA_RESTART and without, a time limit, a
 * cancellation, after which the next reader goes on where it was, and a close of the
 * number it reads from, which at once is something else. Whatever a call says, the
 * bytes it has not told of must come with the next one, and those that it says were
 * sent, and no others, must arrive. Run bare and as coroutines.
 *
 *	broken [SEED [uncanceled]]	seed 0: another each time
 *
 * uncanceled: libc's own cancellation may take a call's bytes with it (its bug
 * 12683, until 2.41), so bare there is none. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STREAMS	 12
#define BYTES	 150000	/* through each */
#define MOST	 600	/* at a time */
#define CLOSES	 50	/* of each: numbers that are used up */

enum { BY_TCP, BY_UNIX, KINDS };
#define RESTARTS SIGUSR1
#define BREAKS	 SIGUSR2

static uint64_t seed;
static atomic_long failures;
static bool uncanceled;
static atomic_int reading;		/* streams that are not through */

static struct stream {
	uint64_t key, chance;
	int from, to;			/* the writer's end, the reader's */
	atomic_int number;		/* that the reader reads from now */
	bool closes_it;			/* … and which may be closed */
	atomic_long at;			/* bytes read and told of */
	atomic_long sent, heard;	/* bytes back, told of and come */
	atomic_long signals, limits, cancels, closed;
	atomic_bool there;		/* a reader, that may be disturbed */
	pthread_t reader, listener, writer;
	pthread_mutex_t lock;		/* reader is somebody while it is held */
} streams[STREAMS];

static void check(bool good, int line, const char *text)
{
	if (good)
		return;
	failures++;
	printf("broken.c:%d: not so: %s\n", line, text);
}
#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)

static uint32_t draw(uint64_t *state, uint32_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)((*state >> 32) * n >> 32);
}

static unsigned char byte_at(const struct stream *s, long at)
{
	uint64_t x = (s->key + (uint64_t)at) * 0x9e3779b97f4a7c15ull;

	return (unsigned char)(x >> 56);
}

static void nap(long usec)
{
	struct timespec ts = { 0, usec * 1000 };

	nanosleep(&ts, NULL);
}

static void on_signal(int sig)
{
	(void)sig;
}

/* ---- writing ------------------------------------------------------------- */

static ssize_t send_somehow(int fd, unsigned char *buf, size_t n, uint32_t how)
{
	struct iovec v[2] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	switch (how) {
	case 0:	return send(fd, buf, n, 0);
	case 1:	return sendmsg(fd, &m, 0);
	case 2:	return writev(fd, v, 2);
	default: return write(fd, buf, n);
	}
}

static void *writer(void *arg)
{
	struct stream *s = arg;
	uint64_t chance = s->chance;
	unsigned char buf[MOST];
	long at = 0;

	while (at < BYTES) {
		long n = 1 + draw(&chance, MOST), done = 0;

		n = n < BYTES - at ? n : BYTES - at;
		for (long i = 0; i < n; i++)
			buf[i] = byte_at(s, at + i);
		while (done < n) {
			ssize_t r = send_somehow(s->from, buf + done,
						 (size_t)(n - done),
						 draw(&chance, 4));

			CHECK(r > 0 || (r < 0 && errno == EINTR));
			done += r > 0 ? r : 0;
		}
		at += n;
		/* Readers mostly wait, and some until their time is up, which
		 * the kernel counts in milliseconds. */
		if (draw(&chance, 50) == 0)
			nap(5000 + draw(&chance, 10000));
		else if (draw(&chance, 4))
			nap(draw(&chance, 1200));
	}
	shutdown(s->from, SHUT_WR);
	return NULL;
}

/* ---- reading ------------------------------------------------------------- */

static void compare(struct stream *s, const unsigned char *buf, long n)
{
	long at = s->at, bad = 0;

	for (long i = 0; i < n; i++)
		bad += buf[i] != byte_at(s, at + i);
	CHECK(bad == 0);
	s->at = at + n;
}

/* Of what may be the null device by now, readv would say that it is at its end. */
static ssize_t read_somehow(const struct stream *s, int fd, unsigned char *buf,
			    size_t n, uint32_t how)
{
	struct iovec v[2] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	ssize_t r;

	switch (how) {
	case 0:	return recv(fd, buf, n, MSG_WAITALL);
	case 1:	return recvmsg(fd, &m, 0);
	case 2:	return recvfrom(fd, buf, n, 0, (struct sockaddr *)&peer, &len);
	case 3:
		r = recv(fd, buf, n, MSG_PEEK);
		return r > 0 ? recv(fd, buf, (size_t)r, 0) : r;
	case 4:
		return s->closes_it ? recv(fd, buf, n, 0) : readv(fd, v, 2);
	default: return recv(fd, buf, n, 0);
	}
}

static void set_limit(int fd, long usec)
{
	struct timeval tv = { 0, usec };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static void send_back(struct stream *s, int fd, uint64_t *chance)
{
	char byte = 0;

	if ((draw(chance, 2) ? send(fd, &byte, 1, MSG_NOSIGNAL) :
			       write(fd, &byte, 1)) == 1)
		s->sent++;
	else
		CHECK(errno == EINTR || errno == EBADF || errno == ENOTSOCK);
}

/* Where it was left, until the end or until it is canceled. */
static void *reader(void *arg)
{
	struct stream *s = arg;
	uint64_t chance = (s->chance ^ (uint64_t)s->at) * 0x9e3779b97f4a7c15ull | 1;
	unsigned char buf[MOST];
	bool limited = false;
	ssize_t r;
	int fd;

	set_limit(s->to, 0);
	for (;;) {
		if (draw(&chance, 8) == 0) {
			limited = !limited;
			set_limit(s->to, limited ? 1 + draw(&chance, 400) : 0);
		}
		fd = s->number;
		r = read_somehow(s, fd, buf, 1 + draw(&chance, MOST),
				 draw(&chance, 10));
		if (r > 0) {
			compare(s, buf, r);
			if (draw(&chance, 2))
				send_back(s, fd, &chance);
		} else if (r == 0) {
			break;
		} else if (errno == EAGAIN) {
			CHECK(limited);
			s->limits++;
		} else {
			/* By then the number was closed, or is another's. */
			CHECK(errno == EINTR || errno == EBADF ||
			      errno == ENOTSOCK);
		}
	}
	CHECK(s->at == BYTES);
	return s;
}

static void *listener(void *arg)
{
	struct stream *s = arg;
	char buf[MOST];
	ssize_t r;

	while ((r = read(s->from, buf, sizeof(buf))) > 0)
		s->heard += r;
	CHECK(r == 0);
	return NULL;
}

/* Readers one after the other, for one may be canceled. */
static void *keeper(void *arg)
{
	struct stream *s = arg;
	void *end = NULL;

	while (!end || end == PTHREAD_CANCELED) {
		pthread_mutex_lock(&s->lock);
		if (pthread_create(&s->reader, NULL, reader, s) != 0)
			abort();
		s->there = true;
		pthread_mutex_unlock(&s->lock);
		/* It ends by itself or by disturb, which sees to it that only
		 * one of its kind is on its way. */
		while (s->there)
			nap(200);
		pthread_join(s->reader, &end);
	}
	reading--;
	shutdown(s->to, SHUT_WR);
	pthread_join(s->listener, NULL);
	CHECK(s->heard == s->sent);
	return NULL;
}

/* ---- breaking off -------------------------------------------------------- */

/* The number becomes the null device, for ever; the next call gets another. */
static void close_number(struct stream *s)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), old = s->number;
	int fresh = dup(s->to);

	CHECK(null >= 0 && fresh >= 0);
	s->number = fresh;
	CHECK(dup2(null, old) == old);
	close(null);
	s->closed++;
}

static void disturb(struct stream *s, uint64_t *chance)
{
	pthread_mutex_lock(&s->lock);
	if (s->there) {
		switch (draw(chance, 8)) {
		case 0:
			if (uncanceled)
				break;
			pthread_cancel(s->reader);
			s->there = false;
			s->cancels++;
			break;
		case 1:
			if (s->closes_it && s->closed < CLOSES)
				close_number(s);
			break;
		default:
			pthread_kill(draw(chance, 3) ? s->reader : s->writer,
				     draw(chance, 2) ? RESTARTS : BREAKS);
			s->signals++;
			break;
		}
	}
	/* One that has come to its end is let go. */
	if (s->at == BYTES)
		s->there = false;
	pthread_mutex_unlock(&s->lock);
}

static void *disturber(void *arg)
{
	uint64_t chance = (uint64_t)(uintptr_t)arg * seed | 1;

	while (reading) {
		disturb(&streams[draw(&chance, STREAMS)], &chance);
		nap(draw(&chance, 500));
	}
	return NULL;
}

/* ---- all ----------------------------------------------------------------- */

static void connect_tcp(int ends[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (struct sockaddr *)&a, len) == 0);
	CHECK(listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	CHECK(connect(ends[0], (struct sockaddr *)&a, len) == 0);
	ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(ends[1] >= 0);
	close(listener);
}

static void set_up(struct stream *s, int i)
{
	int ends[2];

	if (i % KINDS == BY_TCP)
		connect_tcp(ends);
	else
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	s->from = ends[0];
	s->to = ends[1];
	/* A number that nobody else has, which is often known to be ours. */
	s->closes_it = i % 3;
	s->number = s->closes_it ? dup(s->to) : s->to;
	setsockopt(s->from, SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
	s->chance = seed * (uint64_t)(2 * i + 3) | 1;
	s->key = s->chance * 0x2545f4914f6cdd1dull;
	pthread_mutex_init(&s->lock, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction breaks = { .sa_handler = on_signal };
	struct sigaction restarts = { .sa_handler = on_signal,
				      .sa_flags = SA_RESTART };
	pthread_t keep[STREAMS], others[2];
	long bytes = 0, n[4] = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	uncanceled = argc > 2;
	seed = argc > 1 && atoll(argv[1]) ? strtoull(argv[1], NULL, 0) :
			  (uint64_t)now.tv_nsec * 1000003 + (uint64_t)now.tv_sec;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	seed |= 1;
	sigaction(BREAKS, &breaks, NULL);
	sigaction(RESTARTS, &restarts, NULL);
	reading = STREAMS;
	for (int i = 0; i < STREAMS; i++) {
		set_up(&streams[i], i);
		pthread_create(&streams[i].listener, NULL, listener, &streams[i]);
		pthread_create(&keep[i], NULL, keeper, &streams[i]);
		pthread_create(&streams[i].writer, NULL, writer, &streams[i]);
	}
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&others[i], NULL, disturber, (void *)(i + 5));
	for (int i = 0; i < STREAMS; i++) {
		struct stream *s = &streams[i];

		pthread_join(keep[i], NULL);
		pthread_join(s->writer, NULL);
		bytes += s->at;
		n[0] += s->signals;
		n[1] += s->limits;
		n[2] += s->cancels;
		n[3] += s->closed;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);
	printf("%ld bytes; %ld signals, %ld limits, %ld cancellations, %ld "
	       "closes\n", bytes, n[0], n[1], n[2], n[3]);
	CHECK(bytes == (long)STREAMS * BYTES);
	printf("%ld failures\n", (long)failures);
	return failures != 0;
}
