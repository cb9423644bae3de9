/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_native_io.c - input and output with deadlines, on coroutines and on threads.
 *
 * A program like any other that links libcogo: what it calls is what a user does.
 * Each case that can be is run by a coroutine and by an ordinary thread. */
#include "cogo.h"
#include "unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define US300 (300 * COGO_US)

/* By a thread, then by a coroutine. */
static void both(void (*fn)(void *))
{
	struct cogo_coro *c;

	fn("thread");
	check_eq(cogo_go(&c, NULL, fn, "coroutine"), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
}

struct job {
	void (*fn)(void *);
	void *arg;
	struct cogo_coro *c;
	pthread_t t;
};

static void *enter(void *arg)
{
	struct job *j = arg;

	j->fn(j->arg);
	return NULL;
}

static void start(struct job *j, bool thread, void (*fn)(void *), void *arg)
{
	*j = (struct job){ .fn = fn, .arg = arg };
	if (thread)
		check_eq(pthread_create(&j->t, NULL, enter, j), 0);
	else
		check_eq(cogo_go(&j->c, NULL, fn, arg), 0);
}

static void finish(struct job *j)
{
	if (j->c)
		check_eq(cogo_join(j->c), COGO_RETURNED);
	else
		pthread_join(j->t, NULL);
}

static void pair(int s[2])
{
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
}

/* Never sooner than it says; and it does come back. */
#define TIMES_OUT(call)							\
	do {								\
		cogo_time begin_ = cogo_now();				\
		cogo_time deadline = begin_ + US300;			\
									\
		check_eq(call, -ETIMEDOUT);				\
		check(cogo_now() >= deadline);				\
		deadline = 0;						\
		check_eq(call, -ETIMEDOUT);				\
	} while (0)

/* ---- bytes --------------------------------------------------------------- */

static void read_and_time_out(void *arg)
{
	int s[2], p[2];
	char buf[8];

	(void)arg;
	pair(s);
	check_eq(pipe(p), 0);
	errno = 99;
	TIMES_OUT(cogo_read(s[0], buf, 8, deadline));
	TIMES_OUT(cogo_read(p[0], buf, 8, deadline));
	check_eq(write(s[1], "abc", 3), 3);
	check_eq(cogo_read(s[0], buf, 8, 0), 3);
	check_eq(write(p[1], "abcd", 4), 4);
	check_eq(cogo_read(p[0], buf, 2, COGO_FOREVER), 2);
	check_eq(cogo_read(p[0], buf, 8, cogo_in(COGO_SEC)), 2);
	close(s[1]);
	close(p[1]);
	check_eq(cogo_read(s[0], buf, 8, 0), 0);
	check_eq(cogo_read(p[0], buf, 8, COGO_FOREVER), 0);
	close(s[0]);
	close(p[0]);
	check_eq(cogo_read(s[0], buf, 8, COGO_FOREVER), -EBADF);
	check_eq(cogo_write(s[0], buf, 8, COGO_FOREVER), -EBADF);
	check_eq(cogo_read(-1, buf, 8, 0), -EBADF);
	check_eq(errno, 99);
}

Test(native_io, a_read_is_a_count_an_end_or_an_error)
{
	both(read_and_time_out);
}

Test(native_io, a_thread_alone_starts_nothing)
{
	struct stat st;

	read_and_time_out(NULL);
	check_eq(stat("/proc/self/task", &st), 0);
	check_eq(st.st_nlink, 3);
}

static void nonblocking_waits_all_the_same(void *arg)
{
	int s[2];
	char c;

	(void)arg;
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	TIMES_OUT(cogo_read(s[0], &c, 1, deadline));
	check_eq(read(s[0], &c, 1), -1);
	check_eq(errno, EAGAIN);
	close(s[0]);
	close(s[1]);
}

Test(native_io, the_descriptors_own_settings_do_not_count)
{
	both(nonblocking_waits_all_the_same);
}

static void slowly_write(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 10; i++) {
		check_eq(write(fd, &"0123456789"[i], 1), 1);
		cogo_sleep(US300);
	}
	close(fd);
}

static void read_slowly_written(void *arg)
{
	size_t done = 99;
	char buf[16];
	struct job j;
	int s[2];

	pair(s);
	start(&j, strcmp(arg, "thread"), slowly_write, &s[1]);
	check_eq(cogo_read_full(s[0], buf, 7, COGO_FOREVER, &done), 7);
	check_eq(done, 7);
	check(memcmp(buf, "0123456", 7) == 0);
	check_eq(cogo_read_full(s[0], buf, 16, COGO_FOREVER, NULL), 3);
	finish(&j);
	close(s[0]);
	/* What came before it failed is told. */
	pair(s);
	check_eq(write(s[1], "ab", 2), 2);
	check_eq(cogo_read_full(s[0], buf, 3, cogo_in(US300), &done), -ETIMEDOUT);
	check_eq(done, 2);
	close(s[0]);
	close(s[1]);
}

Test(native_io, read_full_goes_on_to_the_end)
{
	both(read_slowly_written);
}

#define MUCH (1 << 20)

static void read_much(void *arg)
{
	int fd = *(int *)arg;
	static char buf[5000];
	long sum = 0, r;

	while ((r = cogo_read(fd, buf, sizeof(buf), COGO_FOREVER)) > 0)
		sum += r;
	check_eq(r, 0);
	check_eq(sum, MUCH);
	close(fd);
}

static void write_much(void *arg)
{
	char *buf = calloc(1, MUCH);
	size_t done = 0;
	struct job j;
	int s[2], p[2];

	pair(s);
	start(&j, strcmp(arg, "thread"), read_much, &s[0]);
	check_eq(cogo_write_all(s[1], buf, MUCH, COGO_FOREVER, &done), 0);
	check_eq(done, MUCH);
	close(s[1]);
	finish(&j);
	/* Nobody reads: some go, and the time is up. */
	pair(s);
	check_eq(cogo_write_all(s[1], buf, MUCH, cogo_in(US300), &done),
		 -ETIMEDOUT);
	check(done > 0 && done < MUCH);
	TIMES_OUT(cogo_write(s[1], buf, MUCH, deadline));
	check_eq(pipe(p), 0);
	check_eq(cogo_write_all(p[1], buf, MUCH, cogo_in(US300), &done),
		 -ETIMEDOUT);
	check(done > 0 && done < MUCH);
	close(p[0]);
	close(p[1]);
	close(s[0]);
	signal(SIGPIPE, SIG_IGN);
	check_eq(cogo_write(s[1], buf, MUCH, COGO_FOREVER), -EPIPE);
	close(s[1]);
	free(buf);
}

Test(native_io, write_all_waits_for_room)
{
	both(write_much);
}

static void other_kinds(void *arg)
{
	char name[] = "/tmp/native_io_XXXXXX", fifo[64], buf[8];
	int fd = mkstemp(name), e, f;
	uint64_t n = 1;

	(void)arg;
	check(fd >= 0);
	check_eq(cogo_write_all(fd, "file", 4, 0, NULL), 0);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(cogo_read(fd, buf, 8, COGO_FOREVER), 4);
	check_eq(cogo_read(fd, buf, 8, 0), 0);
	check_eq(cogo_wait_fd(fd, COGO_READ | COGO_WRITE, 0),
		 COGO_READ | COGO_WRITE);
	close(fd);
	unlink(name);

	e = eventfd(0, 0);
	TIMES_OUT(cogo_read(e, &n, 8, deadline));
	n = UINT64_MAX - 1;
	check_eq(cogo_write(e, &n, 8, COGO_FOREVER), 8);
	n = 1;
	TIMES_OUT(cogo_write(e, &n, 8, deadline));
	check_eq(cogo_read(e, &n, 8, 0), 8);
	close(e);

	snprintf(fifo, sizeof(fifo), "%s.fifo", name);
	check_eq(mkfifo(fifo, 0600), 0);
	f = open(fifo, O_RDWR);
	check(f >= 0);
	TIMES_OUT(cogo_read(f, buf, 8, deadline));
	check_eq(cogo_write(f, "x", 1, COGO_FOREVER), 1);
	check_eq(cogo_read(f, buf, 8, COGO_FOREVER), 1);
	close(f);
	unlink(fifo);
}

Test(native_io, files_fifos_and_eventfds_are_read_too)
{
	both(other_kinds);
}

/* ---- readiness ----------------------------------------------------------- */

static void write_later(void *arg)
{
	cogo_sleep(US300);
	check_eq(write(*(int *)arg, "x", 1), 1);
}

static void wait_ready(void *arg)
{
	struct job j;
	int s[2];
	char c;

	pair(s);
	check_eq(cogo_wait_fd(s[0], 0, 0), -EINVAL);
	check_eq(cogo_wait_fd(s[0], 8, 0), -EINVAL);
	check_eq(cogo_wait_fd(-1, COGO_READ, 0), -EBADF);
	check_eq(cogo_wait_fd(1000, COGO_READ, COGO_FOREVER), -EBADF);
	TIMES_OUT(cogo_wait_fd(s[0], COGO_READ, deadline));
	check_eq(cogo_wait_fd(s[0], COGO_WRITE, COGO_FOREVER), COGO_WRITE);
	check_eq(cogo_wait_fd(s[0], COGO_READ | COGO_WRITE, 0), COGO_WRITE);
	start(&j, strcmp(arg, "thread"), write_later, &s[1]);
	check_eq(cogo_wait_fd(s[0], COGO_READ, COGO_FOREVER), COGO_READ);
	finish(&j);
	check_eq(cogo_wait_fd(s[0], COGO_READ | COGO_WRITE, 0),
		 COGO_READ | COGO_WRITE);
	check_eq(cogo_read(s[0], &c, 1, 0), 1);
	TIMES_OUT(cogo_wait_fd(s[0], COGO_READ, deadline));
	close(s[1]);
	check_eq(cogo_wait_fd(s[0], COGO_READ, COGO_FOREVER), COGO_READ);
	close(s[0]);
}

Test(native_io, wait_fd_tells_which_way_is_open)
{
	both(wait_ready);
}

#define WAITERS 12
static int shared[2];
static _Atomic int got, waiting;

static void read_one(void *arg)
{
	char c;

	(void)arg;
	waiting++;
	check_eq(cogo_read(shared[0], &c, 1, COGO_FOREVER), 1);
	got++;
}

static void wait_one(void *arg)
{
	(void)arg;
	waiting++;
	check_eq(cogo_wait_fd(shared[0], COGO_READ, COGO_FOREVER), COGO_READ);
}

Test(native_io, each_of_many_waiters_is_served)
{
	struct job j[WAITERS], w[4];

	pair(shared);
	for (int i = 0; i < WAITERS; i++)
		start(&j[i], i % 3 == 0, read_one, NULL);
	wait_until(waiting == WAITERS);
	for (int i = 0; i < WAITERS; i++) {
		check_eq(write(shared[1], "x", 1), 1);
		wait_until(got > i);
	}
	check_eq(got, WAITERS);
	for (int i = 0; i < WAITERS; i++)
		finish(&j[i]);
	/* Those who only look do not take it from one another. */
	for (int i = 0; i < 4; i++)
		start(&w[i], i == 0, wait_one, NULL);
	wait_until(waiting == WAITERS + 4);
	check_eq(write(shared[1], "x", 1), 1);
	for (int i = 0; i < 4; i++)
		finish(&w[i]);
}

Test(native_io, who_waits_when_it_is_closed_goes_on_with_what_it_was)
{
	struct cogo_coro *c;
	int other[2];

	pair(shared);
	check_eq(cogo_go(&c, NULL, read_one, NULL), 0);
	wait_until(cogo_state(c) == COGO_PARKED);
	close(shared[0]);
	pair(other);
	/* The number is another's now. */
	check(other[0] == shared[0] || other[1] == shared[0]);
	check_eq(got, 0);
	check_eq(write(shared[1], "x", 1), 1);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(got, 1);
}

/* ---- connections --------------------------------------------------------- */

static int listener(struct sockaddr_in *a, int backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	check_eq(bind(fd, (struct sockaddr *)a, sizeof(*a)), 0);
	check_eq(listen(fd, backlog), 0);
	check_eq(getsockname(fd, (struct sockaddr *)a, &len), 0);
	return fd;
}

static void connect_and_talk(void *arg)
{
	struct sockaddr_in *a = arg;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char c;

	check_eq(cogo_connect(fd, (struct sockaddr *)a, sizeof(*a), COGO_FOREVER),
		 0);
	check_eq(cogo_write(fd, "x", 1, COGO_FOREVER), 1);
	check_eq(cogo_read(fd, &c, 1, COGO_FOREVER), 1);
	close(fd);
}

static void accept_some(void *arg)
{
	struct sockaddr_in a, from;
	socklen_t len = sizeof(from);
	int fd = listener(&a, 8), s;
	struct job j;
	char c;

	TIMES_OUT(cogo_accept(fd, NULL, NULL, deadline));
	for (int i = 0; i < 4; i++) {
		start(&j, i % 2, connect_and_talk, &a);
		s = cogo_accept(fd, (struct sockaddr *)&from, &len, COGO_FOREVER);
		check(s >= 0);
		check_eq(from.sin_family, AF_INET);
		check_eq(fcntl(s, F_GETFD), FD_CLOEXEC);
		check_eq(cogo_read(s, &c, 1, COGO_FOREVER), 1);
		check_eq(cogo_write(s, &c, 1, COGO_FOREVER), 1);
		finish(&j);
		close(s);
	}
	close(fd);
	check_eq(cogo_accept(fd, NULL, NULL, 0), -EBADF);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	check_eq(cogo_accept(fd, NULL, NULL, COGO_FOREVER), -EINVAL);
	close(fd);
	(void)arg;
}

Test(native_io, connections_are_made_and_accepted)
{
	both(accept_some);
}

static void cannot_connect(void *arg)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	struct sockaddr_in a;
	int l = listener(&a, 0), fd, n, r;

	/* A listener that is full: the next is not answered. */
	for (n = 0; n < 8; n++) {
		fd = socket(AF_INET, SOCK_STREAM | (n % 2 ? SOCK_NONBLOCK : 0), 0);
		r = cogo_connect(fd, (struct sockaddr *)&a, sizeof(a),
				 cogo_in(20 * COGO_MS));
		if (r)
			break;
	}
	check_eq(r, -ETIMEDOUT);
	close(l);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	check_eq(cogo_connect(fd, (struct sockaddr *)&a, sizeof(a), COGO_FOREVER),
		 -ECONNREFUSED);
	check_eq(cogo_connect(-1, (struct sockaddr *)&a, sizeof(a), 0), -EBADF);

	l = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(u.sun_path + 1, sizeof(u.sun_path) - 1, "native_io.%d.%s",
		 (int)getpid(), (char *)arg);
	check_eq(bind(l, (struct sockaddr *)&u, sizeof(u)), 0);
	check_eq(listen(l, 0), 0);
	for (n = 0; n < 8; n++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		r = cogo_connect(fd, (struct sockaddr *)&u, sizeof(u),
				 cogo_in(20 * COGO_MS));
		if (r)
			break;
	}
	check_eq(r, -ETIMEDOUT);
	close(l);
}

Test(native_io, a_connection_that_is_not_made_is_an_error)
{
	both(cannot_connect);
}

/* ---- cancellation -------------------------------------------------------- */

static struct sockaddr_in full;
static int quiet[2], listening;
static _Atomic int cleaned;

static int each_call(int which, cogo_time deadline)
{
	struct addrinfo *ai;
	char c;
	int fd, r;

	switch (which) {
	case 0:
		return (int)cogo_read(quiet[0], &c, 1, deadline);
	case 1:
		return (int)cogo_read_full(quiet[0], &c, 1, deadline, NULL);
	case 2:
		return cogo_wait_fd(quiet[0], COGO_READ, deadline);
	case 3:
		return cogo_accept(listening, NULL, NULL, deadline);
	case 4:
		fd = socket(AF_INET, SOCK_STREAM, 0);
		r = cogo_connect(fd, (struct sockaddr *)&full, sizeof(full),
				 deadline);
		close(fd);
		return r;
	case 5:
		return cogo_resolve("127.0.0.1", NULL, NULL, &ai, deadline);
	default:
		return 1;
	}
}
#define CALLS 6
#define WAIT_FOR_SURE 4		/* … of them */

static void is_cancelled(void *arg)
{
	int which = (int)(intptr_t)arg;

	check_eq(each_call(which, COGO_FOREVER), -ECANCELED);
	for (int i = 0; i < CALLS; i++)
		check_eq(each_call(i, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_write(quiet[0], "x", 1, COGO_FOREVER), -ECANCELED);
	check_eq(cogo_write_all(quiet[0], "x", 1, COGO_FOREVER, NULL),
		 -ECANCELED);
}

static void set_clean(void *arg)
{
	(void)arg;
	cleaned++;
}

static void is_unwound(void *arg)
{
	cogo_defer(set_clean, NULL);
	each_call((int)(intptr_t)arg, COGO_FOREVER);
	check(false);
}

Test(native_io, a_wait_that_is_cancelled_ends_at_once_and_so_does_all_after_it)
{
	struct cogo_attr unwinds = { .flags = COGO_UNWINDS };
	struct sockaddr_in a;
	struct cogo_coro *c;

	pair(quiet);
	listening = listener(&a, 8);
	full = a;
	for (intptr_t i = 0; i < WAIT_FOR_SURE; i++) {
		check_eq(cogo_go(&c, NULL, is_cancelled, (void *)i), 0);
		wait_until(cogo_state(c) == COGO_PARKED);
		check_eq(cogo_cancel(c, 1), 0);
		check_eq(cogo_join(c), COGO_RETURNED);
		check_eq(cogo_go(&c, &unwinds, is_unwound, (void *)i), 0);
		wait_until(cogo_state(c) == COGO_PARKED);
		check_eq(cogo_cancel(c, 1), 0);
		check_eq(cogo_join(c), COGO_CANCELED);
		check_eq(cleaned, i + 1);
	}
}

#define THROUGH 30000

static struct {
	int from, to;
	long at;		/* read and told of */
	bool end;
} stream;

static char byte_at(long at)
{
	return (char)(at * 31 + (at >> 8));
}

static void write_through(void *arg)
{
	unsigned chance = 7;
	char buf[32];
	long n;

	(void)arg;
	for (long at = 0; at < THROUGH; at += n) {
		n = 1 + (long)((chance = chance * 1103515245 + 12345) >> 16) % 32;
		n = n < THROUGH - at ? n : THROUGH - at;
		for (long i = 0; i < n; i++)
			buf[i] = byte_at(at + i);
		check_eq(cogo_write_all(stream.from, buf, (size_t)n, COGO_FOREVER,
					NULL), 0);
		if (chance & 1 << 20)
			cogo_yield();
		else
			cogo_sleep((chance >> 24) * COGO_US);
	}
	shutdown(stream.from, SHUT_WR);
}

/* Goes on where the one before was cancelled. */
static void read_on(void *arg)
{
	char buf[48];
	long r;

	(void)arg;
	for (long i = 0;; i++) {
		r = cogo_read(stream.to, buf, sizeof(buf),
			      i % 3 ? COGO_FOREVER : cogo_in(50 * COGO_US));
		if (r == -ECANCELED)
			return;
		if (r == -ETIMEDOUT)
			continue;
		check(r >= 0);
		for (long k = 0; k < r; k++)
			check_eq(buf[k], byte_at(stream.at + k));
		stream.at += r;
		if (r == 0)
			break;
	}
	stream.end = true;
}

Test(native_io, what_is_cancelled_or_late_has_read_nothing_or_says_how_much)
{
	struct sockaddr_in a;
	struct cogo_coro *writer, *c;
	int l = listener(&a, 1);

	stream.from = socket(AF_INET, SOCK_STREAM, 0);
	check_eq(cogo_connect(stream.from, (struct sockaddr *)&a, sizeof(a),
			      COGO_FOREVER), 0);
	stream.to = cogo_accept(l, NULL, NULL, COGO_FOREVER);
	check(stream.to >= 0);
	check_eq(cogo_go(&writer, NULL, write_through, NULL), 0);
	for (unsigned i = 0; !stream.end; i++) {
		check_eq(cogo_go(&c, NULL, read_on, NULL), 0);
		cogo_sleep((i * 37 % 1000) * COGO_US);
		cogo_cancel(c, 1);	/* unless it has ended */
		check_eq(cogo_join(c), COGO_RETURNED);
	}
	check_eq(stream.at, THROUGH);
	check_eq(cogo_join(writer), COGO_RETURNED);
	close(stream.from);
	close(stream.to);
	close(l);
}

static void on_alarm(int sig)
{
	(void)sig;
	got++;
}

static void interrupted_reader(void *arg)
{
	char c;

	*(pthread_t *)arg = pthread_self();
	waiting = 1;
	check_eq(cogo_read(quiet[0], &c, 1, COGO_FOREVER), 1);
}

Test(native_io, a_signals_handler_runs_and_the_wait_goes_on)
{
	struct sigaction act = { .sa_handler = on_alarm };
	pthread_t t = 0;
	struct job j;

	sigaction(SIGUSR1, &act, NULL);
	pair(quiet);
	start(&j, true, interrupted_reader, &t);
	wait_until(waiting);
	for (int i = 0; i < 5; i++) {
		pthread_kill(t, SIGUSR1);
		wait_until(got > i);
	}
	check_eq(write(quiet[1], "x", 1), 1);
	finish(&j);
}

/* ---- foreign code -------------------------------------------------------- */

static long blocks(void *arg)
{
	char c;

	/* Past every hook, for as long as nobody writes. */
	waiting = 1;
	return syscall(SYS_read, *(int *)arg, &c, 1) + 41;
}

static void calls_foreign(void *arg)
{
	check_eq(cogo_block(blocks, arg), 42);
}

static void write_one(void *arg)
{
	while (!waiting)
		cogo_yield();
	check_eq(write(*(int *)arg, "x", 1), 1);
}

static long panics(void *arg)
{
	cogo_panic("in foreign code: %s", (char *)arg);
}

static void blocks_and_panics(void *arg)
{
	cogo_block(panics, arg);
}

static void contain(void *arg)
{
	struct cogo_panic p;

	check_eq(cogo_recover(blocks_and_panics, arg, &p), 1);
	check(strncmp(p.message, "in foreign code", 15) == 0);
	/* The caller is as before. */
	check_eq(cogo_yield(), 0);
	check_eq(cogo_sleep(US300), 0);
}

Test(native_io, foreign_code_blocks_nobody_else)
{
	struct job j[3];
	int p[2];

	check_eq(pipe(p), 0);
	for (int i = 0; i < 2; i++) {
		waiting = 0;
		start(&j[0], i, calls_foreign, &p[0]);
		start(&j[1], false, write_one, &p[1]);
		finish(&j[0]);
		finish(&j[1]);
	}
	both(contain);
}

static void resolve(void *arg)
{
	struct addrinfo hints = { .ai_family = AF_INET,
				  .ai_socktype = SOCK_STREAM }, *ai = NULL;
	struct sockaddr_in *a;
	int r;

	(void)arg;
	check_eq(cogo_resolve("127.0.0.1", "80", &hints, &ai, COGO_FOREVER), 0);
	a = (struct sockaddr_in *)ai->ai_addr;
	check_eq(a->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	check_eq(a->sin_port, htons(80));
	freeaddrinfo(ai);
	check_eq(cogo_resolve("localhost", NULL, &hints, &ai, COGO_FOREVER), 0);
	freeaddrinfo(ai);
	check_eq(cogo_resolve(NULL, NULL, NULL, &ai, COGO_FOREVER), -ENOENT);
	check_eq(cogo_resolve("127.0.0.1", "no such service", &hints, &ai,
			      COGO_FOREVER), -EPROTONOSUPPORT);
	hints.ai_flags = AI_NUMERICHOST;
	check_eq(cogo_resolve("not.a.number", NULL, &hints, &ai, COGO_FOREVER),
		 -ENOENT);
	hints.ai_family = 12345;
	check_eq(cogo_resolve("127.0.0.1", NULL, &hints, &ai, COGO_FOREVER),
		 -EAFNOSUPPORT);
	/* In time or not, and nothing is left behind but for a while. */
	for (int i = 0; i < 20; i++) {
		r = cogo_resolve("localhost", NULL, NULL, &ai, i % 2 ? 0 :
				 cogo_in(i * 50 * COGO_US));
		check(r == 0 || r == -ETIMEDOUT);
		if (r == 0)
			freeaddrinfo(ai);
	}
}

Test(native_io, names_are_looked_up_until_the_deadline)
{
	both(resolve);
}
