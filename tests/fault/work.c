/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* work.c - a little of everything, by a program that looks at every result.
 *
 *	work ACT [COUNT]
 *
 * Whatever the kernel refuses it, it ends in one of three ways:
 *
 *	0	the act was done, every byte of it right: says "done ACT"
 *	3	a call failed with an error that its manual page allows it:
 *		says "refused: CALL: ERROR"
 *	4	anything else: a wrong byte, an error that is none of the call's,
 *		a value lost: says "wrong: ..."
 *
 * COUNT makes the act longer. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6

static int count = 1;

static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* Its own errors are nobody's business: the exit status says it too. */
	if (n > 0 && write(1, line, (size_t)n) < 0)
		return;
}

__attribute__((noreturn)) static void wrong(const char *what, long value)
{
	say("wrong: %s: %ld (%s)\n", what, value, strerror(errno));
	_exit(4);
}

#define RIGHT(cond) ((cond) ? (void)0 : wrong(#cond, __LINE__))

/* Ends the process with the word for it. 0 ends the list of what is allowed. */
__attribute__((noreturn)) static void refused(const char *call, int err,
					      const int *allowed)
{
	for (; *allowed; allowed++)
		if (*allowed == err) {
			say("refused: %s: %s\n", call, strerrorname_np(err));
			_exit(3);
		}
	say("wrong: %s may not fail with %s\n", call, strerrorname_np(err));
	_exit(4);
}

#define ALLOWED(...) (const int[]){ __VA_ARGS__, 0 }
/* A call that answers with an error number. */
#define MUST(call, ...)                                                        \
	do {                                                                   \
		int e_ = (call);                                               \
		if (e_)                                                        \
			refused(#call, e_, ALLOWED(__VA_ARGS__));              \
	} while (0)
/* A call that answers -1 and sets errno. */
#define GET(call, ...) __extension__({                                         \
	long r_ = (call);                                                      \
	if (r_ == -1)                                                          \
		refused(#call, errno, ALLOWED(__VA_ARGS__));                   \
	r_; })

/* With a handler that breaks calls off they are made again; without one, EINTR
 * comes from the kernel that refuses. */
static int alarmed;

#define GET_AGAIN(call, ...) __extension__({                                   \
	long a_;                                                               \
	do                                                                     \
		a_ = (call);                                                   \
	while (a_ == -1 && errno == EINTR && alarmed);                         \
	if (a_ == -1)                                                          \
		refused(#call, errno, ALLOWED(__VA_ARGS__));                   \
	a_; })

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	MUST(pthread_create(&t, NULL, fn, arg), EAGAIN);
	return t;
}

static void *end(pthread_t t)
{
	void *result = NULL;

	/* It has nothing that it could lack. */
	MUST(pthread_join(t, &result), 0);
	return result;
}

/* Bytes that say where they are from. */
static unsigned char byte_at(unsigned stream, size_t at)
{
	uint32_t h = (uint32_t)at * 2654435761u ^ stream * 40503u;

	return (unsigned char)(h >> 24 ^ h >> 9);
}

static void send_stream(int fd, unsigned stream, size_t n)
{
	unsigned char buf[3000];
	size_t at = 0;

	for (unsigned step = 1; at < n; step = step * 7 % 2999 + 1) {
		size_t k = step < n - at ? step : n - at;
		long r;

		for (size_t i = 0; i < k; i++)
			buf[i] = byte_at(stream, at + i);
		r = GET_AGAIN(write(fd, buf, k), EINTR, ENOMEM, ENOBUFS);
		RIGHT(r > 0);
		at += (size_t)r;
	}
}

static void take_stream(int fd, unsigned stream, size_t n)
{
	unsigned char buf[4096];
	size_t at = 0;

	for (unsigned step = 5; at < n; step = step * 11 % 4093 + 1) {
		long r = GET_AGAIN(read(fd, buf, step), EINTR, ENOMEM, ENOBUFS);

		RIGHT(r > 0);
		for (long i = 0; i < r; i++)
			RIGHT(buf[i] == byte_at(stream, at + (size_t)i));
		at += (size_t)r;
	}
	RIGHT(at == n);
}

/* ---- threads: they begin, keep what is theirs, and end ---- */

static __thread long mine;
static pthread_key_t key;
static _Atomic long destroyed;

static void destroy(void *value)
{
	RIGHT((long)value == mine);
	destroyed++;
}

static void *one_thread(void *arg)
{
	long n = (long)arg;
	void *memory;

	mine = n;
	errno = (int)n;
	MUST(pthread_setspecific(key, (void *)n), ENOMEM);
	sched_yield();
	RIGHT(errno == n);
	memory = malloc(2000 * (size_t)n);
	RIGHT(memory || errno == ENOMEM);
	free(memory);
	usleep(100);
	RIGHT(mine == n);
	return (void *)(n * n);
}

static void threads(void)
{
	pthread_t t[THREADS];

	MUST(pthread_key_create(&key, destroy), EAGAIN, ENOMEM);
	for (int round = 0; round < count; round++) {
		for (long i = 0; i < THREADS; i++)
			t[i] = start(one_thread, (void *)(i + 1));
		for (long i = 0; i < THREADS; i++)
			RIGHT(end(t[i]) == (void *)((i + 1) * (i + 1)));
		RIGHT(destroyed == THREADS * (round + 1));
	}
}

/* ---- locks: nobody is let in twice, nobody is forgotten ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static long turn, total, inside;

static void *one_locker(void *arg)
{
	long n = (long)arg;
	struct timespec soon;

	for (long i = 0; i < 10 * count; i++) {
		MUST(pthread_mutex_lock(&mutex), 0);
		while (turn % THREADS != n)
			MUST(pthread_cond_wait(&turn_changed, &mutex), 0);
		RIGHT(++inside == 1);
		total++;
		turn++;
		inside--;
		MUST(pthread_cond_broadcast(&turn_changed), 0);
		MUST(pthread_mutex_unlock(&mutex), 0);
		if (i % 3 == 0) {
			MUST(pthread_rwlock_wrlock(&rwlock), 0);
			MUST(pthread_rwlock_unlock(&rwlock), 0);
		} else {
			MUST(pthread_rwlock_rdlock(&rwlock), EAGAIN);
			MUST(pthread_rwlock_unlock(&rwlock), 0);
		}
	}
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 300000;
	if (soon.tv_nsec >= 1000000000) {
		soon.tv_sec++;
		soon.tv_nsec -= 1000000000;
	}
	RIGHT(sem_timedwait(&semaphore, &soon) == -1);
	RIGHT(errno == ETIMEDOUT || errno == EINTR);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void locks(void)
{
	pthread_t t[THREADS];

	MUST(pthread_barrier_init(&barrier, NULL, THREADS), EAGAIN, ENOMEM);
	RIGHT(sem_init(&semaphore, 0, 0) == 0);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(one_locker, (void *)i);
	for (long i = 0; i < THREADS; i++)
		end(t[i]);
	RIGHT(total == 10l * THREADS * count);
}

/* ---- pipes ---- */

#define STREAM 40000

struct ends {
	int in, out;
	unsigned stream;
};

static void *one_writer(void *arg)
{
	struct ends *e = arg;

	send_stream(e->out, e->stream, (size_t)STREAM * (size_t)count);
	close(e->out);
	return NULL;
}

static void *one_reader(void *arg)
{
	struct ends *e = arg;
	char byte;

	take_stream(e->in, e->stream, (size_t)STREAM * (size_t)count);
	RIGHT(GET_AGAIN(read(e->in, &byte, 1), EINTR, ENOMEM) == 0);
	return NULL;
}

static void pipes(void)
{
	struct ends e[2];
	pthread_t t[4];

	for (unsigned i = 0; i < 2; i++) {
		int fds[2];

		GET(pipe(fds), EMFILE, ENFILE, ENOMEM);
		/* A page: the writer is soon waiting for the reader. */
		fcntl(fds[1], F_SETPIPE_SZ, 4096);
		e[i] = (struct ends){ fds[0], fds[1], i + 3 };
	}
	for (unsigned i = 0; i < 2; i++) {
		t[2 * i] = start(one_writer, &e[i]);
		t[2 * i + 1] = start(one_reader, &e[i]);
	}
	for (int i = 0; i < 4; i++)
		end(t[i]);
}

/* ---- sockets: a server of threads, its clients, and poll in between ---- */

#define CLIENTS 4
#define SENT 20000

static int listener;
static struct sockaddr_in here;

static void *serve_one(void *arg)
{
	int fd = (int)(long)arg;
	unsigned char buf[1024];
	long r;

	while ((r = GET_AGAIN(recv(fd, buf, sizeof(buf), 0), EINTR, ENOMEM, ENOBUFS)) > 0)
		for (long at = 0; at < r;)
			at += GET_AGAIN(send(fd, buf + at, (size_t)(r - at), 0),
					EINTR, ENOMEM, ENOBUFS);
	close(fd);
	return NULL;
}

static void *serve(void *unused)
{
	pthread_t t[CLIENTS];

	(void)unused;
	for (int i = 0; i < CLIENTS; i++) {
		int fd;

		do
			fd = accept(listener, NULL, NULL);
		while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
		GET(fd, EMFILE, ENFILE, ENOMEM, ENOBUFS);
		t[i] = start(serve_one, (void *)(long)fd);
	}
	for (int i = 0; i < CLIENTS; i++)
		end(t[i]);
	return NULL;
}

struct half {
	int fd;
	unsigned stream;
};

static void *send_half(void *arg)
{
	struct half *h = arg;

	send_stream(h->fd, h->stream, SENT * (size_t)count);
	shutdown(h->fd, SHUT_WR);
	return NULL;
}

/* Broken off, it goes on by itself: it is over when the socket can be written. */
static void connect_to(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = connect(fd, (struct sockaddr *)&here, sizeof(here)) ? errno : 0;

	if (error == EINTR && alarmed) {
		GET_AGAIN(poll(&p, 1, -1), ENOMEM);
		RIGHT(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
	}
	if (error)
		refused("connect", error, ALLOWED(EINTR, ENOMEM, ENOBUFS));
}

static void *client(void *arg)
{
	int fd = (int)GET(socket(AF_INET, SOCK_STREAM, 0), EMFILE, ENFILE, ENOMEM,
			  ENOBUFS);
	struct half h = { fd, (unsigned)(long)arg };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	pthread_t t;
	char byte;

	connect_to(fd);
	t = start(send_half, &h);
	RIGHT(GET_AGAIN(poll(&p, 1, -1), EINTR, ENOMEM) == 1);
	RIGHT(p.revents & POLLIN);
	take_stream(fd, h.stream, SENT * (size_t)count);
	RIGHT(GET_AGAIN(recv(fd, &byte, 1, 0), EINTR, ENOMEM, ENOBUFS) == 0);
	end(t);
	close(fd);
	return NULL;
}

static void sockets(void)
{
	socklen_t len = sizeof(here);
	pthread_t server, t[CLIENTS];

	listener = (int)GET(socket(AF_INET, SOCK_STREAM, 0), EMFILE, ENFILE,
			    ENOMEM, ENOBUFS);
	here.sin_family = AF_INET;
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	GET(bind(listener, (struct sockaddr *)&here, sizeof(here)), ENOMEM,
	    ENOBUFS);
	GET(listen(listener, CLIENTS), ENOMEM, ENOBUFS);
	GET(getsockname(listener, (struct sockaddr *)&here, &len), ENOMEM, ENOBUFS);
	server = start(serve, NULL);
	for (long i = 0; i < CLIENTS; i++)
		t[i] = start(client, (void *)(i + 1));
	for (int i = 0; i < CLIENTS; i++)
		end(t[i]);
	end(server);
}

/* ---- turns: who reads has to wait ---- */

#define TURNS 8

static int ends_of[2];

static void *answer_in_turn(void *arg)
{
	struct timespec span = { 0, 1000000 };
	unsigned char c;

	while (GET_AGAIN(recv(ends_of[1], &c, 1, 0), EINTR, ENOMEM, ENOBUFS) == 1) {
		nanosleep(&span, NULL);
		c++;
		RIGHT(GET_AGAIN(send(ends_of[1], &c, 1, 0), EINTR, ENOMEM,
				ENOBUFS) == 1);
	}
	return arg;
}

static void turns(void)
{
	struct timespec span = { 0, 1000000 };
	pthread_t t;

	GET(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_of), EMFILE, ENFILE, ENOMEM,
	    ENOBUFS);
	t = start(answer_in_turn, NULL);
	for (int i = 0; i < TURNS * count; i++) {
		unsigned char sent = (unsigned char)i, c = sent;

		nanosleep(&span, NULL);
		RIGHT(GET_AGAIN(send(ends_of[0], &c, 1, 0), EINTR, ENOMEM,
				ENOBUFS) == 1);
		RIGHT(GET_AGAIN(recv(ends_of[0], &c, 1, 0), EINTR, ENOMEM,
				ENOBUFS) == 1);
		RIGHT(c == (unsigned char)(sent + 1));
	}
	shutdown(ends_of[0], SHUT_WR);
	end(t);
}

/* ---- waiting: for time, for descriptors, for both ---- */

static void *one_sleeper(void *arg)
{
	struct timespec span = { 0, 1000 * (long)arg }, rest, a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	while (nanosleep(&span, &rest)) {
		RIGHT(errno == EINTR);
		span = rest;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	RIGHT((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >=
	      1000 * (long)arg);
	return NULL;
}

static void *one_poller(void *arg)
{
	int fd = (int)(long)arg;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t value;
	int r;

	do
		r = (int)GET(poll(&p, 1, 1), EINTR, ENOMEM);
	while (r == 0);
	RIGHT(r == 1 && p.revents == POLLIN);
	RIGHT(GET(read(fd, &value, sizeof(value)), EINTR, ENOMEM) == sizeof(value));
	return (void *)(long)value;
}

static void *one_epoll(void *arg)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = 17 }, got = e;
	int fd = (int)(long)arg, ep, r;
	uint64_t value;

	ep = (int)GET(epoll_create1(0), EMFILE, ENFILE, ENOMEM);
	GET(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), ENOMEM, ENOSPC);
	got.data.u32 = 0;
	do
		r = epoll_wait(ep, &got, 1, -1);
	while (r < 0 && errno == EINTR);
	GET(r, ENOMEM);
	RIGHT(r == 1 && got.data.u32 == 17);
	RIGHT(GET(read(fd, &value, sizeof(value)), EINTR, ENOMEM) == sizeof(value));
	close(ep);
	return (void *)(long)value;
}

static void waits(void)
{
	for (int round = 0; round < count; round++) {
		uint64_t value = (uint64_t)round + 5;
		pthread_t t[5];
		int a, b;

		a = (int)GET(eventfd(0, 0), EMFILE, ENFILE, ENOMEM);
		b = (int)GET(eventfd(0, 0), EMFILE, ENFILE, ENOMEM);
		for (long i = 0; i < 3; i++)
			t[i] = start(one_sleeper, (void *)(300 * i + 200));
		t[3] = start(one_poller, (void *)(long)a);
		t[4] = start(one_epoll, (void *)(long)b);
		usleep(500);
		RIGHT(GET(write(a, &value, 8), EINTR, ENOMEM) == 8);
		RIGHT(GET(write(b, &value, 8), EINTR, ENOMEM) == 8);
		for (int i = 0; i < 5; i++)
			RIGHT(end(t[i]) == (void *)(i < 3 ? 0 : (long)value));
		close(a);
		close(b);
	}
}

/* ---- processes: two of them go on, and one waits for the other ---- */

static void *child_thread(void *arg)
{
	usleep(100);
	return arg;
}

static void *one_forker(void *arg)
{
	long n = (long)arg;
	int fds[2], status;
	char byte = 0;
	pid_t child, r;

	GET(pipe(fds), EMFILE, ENFILE, ENOMEM);
	child = (pid_t)GET(fork(), EAGAIN, ENOMEM);
	if (child == 0) {
		pthread_t t;

		/* With its own runtime, if it needs one. */
		MUST(pthread_create(&t, NULL, child_thread, arg), EAGAIN);
		RIGHT(end(t) == arg);
		byte = (char)n;
		RIGHT(GET(write(fds[1], &byte, 1), EINTR, ENOMEM) == 1);
		_exit(10 + (int)n);
	}
	close(fds[1]);
	do
		r = waitpid(child, &status, 0);
	while (r < 0 && errno == EINTR);
	RIGHT(r == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		_exit(3);	/* it has said so */
	RIGHT(WIFEXITED(status) && WEXITSTATUS(status) == 10 + n);
	RIGHT(GET(read(fds[0], &byte, 1), EINTR, ENOMEM) == 1 && byte == (char)n);
	RIGHT(GET(read(fds[0], &byte, 1), EINTR, ENOMEM) == 0);
	close(fds[0]);
	return arg;
}

static void forks(void)
{
	pthread_t t[2];

	for (int round = 0; round < count; round++) {
		for (long i = 0; i < 2; i++)
			t[i] = start(one_forker, (void *)(i + 1));
		for (long i = 0; i < 2; i++)
			RIGHT(end(t[i]) == (void *)(i + 1));
	}
}

/* ---- ends: by pthread_exit, and by others' will ---- */

static _Atomic long cleaned;

static void clean(void *arg)
{
	RIGHT(arg == &cleaned);
	cleaned++;
}

__attribute__((noinline)) static void leave(void)
{
	pthread_cleanup_push(clean, &cleaned);
	pthread_exit((void *)55);
	pthread_cleanup_pop(0);
}

static void *one_leaver(void *unused)
{
	(void)unused;
	usleep(50);
	leave();
	return NULL;
}

static void *one_waiter(void *arg)
{
	int fd = (int)(long)arg;
	char byte;

	pthread_cleanup_push(clean, &cleaned);
	/* Nobody writes. */
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	wrong("a read that was to be cancelled ended", errno);
	pthread_cleanup_pop(0);
	return NULL;
}

static void ends(void)
{
	pthread_t t[4];
	int fds[2];

	GET(pipe(fds), EMFILE, ENFILE, ENOMEM);
	for (int round = 0; round < count; round++) {
		for (int i = 0; i < 2; i++)
			t[i] = start(one_leaver, NULL);
		for (int i = 2; i < 4; i++)
			t[i] = start(one_waiter, (void *)(long)fds[0]);
		usleep(200);
		for (int i = 2; i < 4; i++)
			MUST(pthread_cancel(t[i]), 0);
		for (int i = 0; i < 2; i++)
			RIGHT(end(t[i]) == (void *)55);
		for (int i = 2; i < 4; i++)
			RIGHT(end(t[i]) == PTHREAD_CANCELED);
		RIGHT(cleaned == 4 * (round + 1));
	}
}

/* ---- programs started ---- */

static int status_of(pid_t child)
{
	int status;
	pid_t r;

	do
		r = waitpid(child, &status, 0);
	while (r < 0 && errno == EINTR);
	RIGHT(r == child);
	return status;
}

/* What is started is refused things too, and may end as it likes: its loader
 * dies of a refused page. */
static int as_it_likes(int status)
{
	return (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) ||
	       (WIFEXITED(status) && (WEXITSTATUS(status) == 127 ||
				      WEXITSTATUS(status) == 126 ||
				      WEXITSTATUS(status) == 2));
}

static void *one_spawner(void *arg)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };
	int n = (int)(long)arg, status;
	char line[16] = "";
	pid_t child;
	FILE *f;

	switch (n) {
	case 0:
		MUST(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ),
		     EAGAIN, ENOMEM);
		status = status_of(child);
		RIGHT(status == 7 << 8 || as_it_likes(status));
		break;
	case 1:
		child = (pid_t)GET(vfork(), EAGAIN, ENOMEM);
		if (child == 0) {
			execv("/bin/sh", argv);
			_exit(127);
		}
		status = status_of(child);
		RIGHT(status == 7 << 8 || as_it_likes(status));
		break;
	default:
		f = popen("echo 12345", "r");
		if (!f)
			refused("popen", errno,
				ALLOWED(EAGAIN, ENOMEM, EMFILE, ENFILE));
		if (fgets(line, sizeof(line), f))
			RIGHT(strcmp(line, "12345\n") == 0);
		status = pclose(f);
		RIGHT(*line ? status == 0 : as_it_likes(status));
	}
	return arg;
}

static void spawns(void)
{
	pthread_t t[3];

	for (int round = 0; round < count; round++) {
		for (long i = 0; i < 3; i++)
			t[i] = start(one_spawner, (void *)i);
		for (long i = 0; i < 3; i++)
			RIGHT(end(t[i]) == (void *)i);
	}
}

/* ---- signals: handlers that post and write, reads that they cut short ---- */

static sem_t posted;
static int self_pipe[2];
static _Atomic long handled;

static void on_signal(int sig)
{
	int kept = errno;
	char byte = (char)sig;

	handled++;
	sem_post(&posted);
	if (write(self_pipe[1], &byte, 1) != 1)
		wrong("write in a handler", errno);
	errno = kept;
}

static void *one_listener(void *unused)
{
	char byte;
	long r;

	(void)unused;
	for (int i = 0; i < 5 * count; i++) {
		while (sem_wait(&posted))
			RIGHT(errno == EINTR);
		do
			r = read(self_pipe[0], &byte, 1);
		while (r < 0 && errno == EINTR);
		GET(r, ENOMEM);
		RIGHT(r == 1 && (byte == SIGUSR1 || byte == SIGUSR2));
	}
	return NULL;
}

static void *one_sender(void *arg)
{
	pthread_t target = *(pthread_t *)arg;

	for (int i = 0; i < 5 * count; i++) {
		long before = handled;

		/* Each waited for, or two could become one. */
		if (i % 2)
			GET(kill(getpid(), SIGUSR1), EAGAIN);
		else
			MUST(pthread_kill(target, SIGUSR2), EAGAIN);
		while (handled == before)
			usleep(100);
	}
	return NULL;
}

static void signals(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	pthread_t t[2];

	RIGHT(sem_init(&posted, 0, 0) == 0);
	GET(pipe(self_pipe), EMFILE, ENFILE, ENOMEM);
	GET(sigaction(SIGUSR1, &act, NULL), EINVAL);
	GET(sigaction(SIGUSR2, &act, NULL), EINVAL);
	t[0] = start(one_listener, NULL);
	t[1] = start(one_sender, &t[0]);
	end(t[1]);
	end(t[0]);
	RIGHT(handled == 5 * count);
}

/* ---- streams under a rain of signals whose handler breaks calls off ---- */

static _Atomic long alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void rain(void)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 150 }, { 0, 150 } }, never = { 0 };

	alarmed = 1;
	GET(sigaction(SIGALRM, &act, NULL), EINVAL);
	GET(setitimer(ITIMER_REAL, &often, NULL), EINVAL);
	pipes();
	sockets();
	GET(setitimer(ITIMER_REAL, &never, NULL), EINVAL);
}

/* ---- no descriptor left, in the middle of it all ---- */

#define PAIRS 3

struct pair {
	int fds[2];
	unsigned stream;
};

static _Atomic int pairs_running;

static void *one_pair_in(void *arg)
{
	struct pair *p = arg;

	take_stream(p->fds[0], p->stream, 10 * STREAM);
	return NULL;
}

static void *one_pair_out(void *arg)
{
	struct pair *p = arg;

	pairs_running++;
	send_stream(p->fds[1], p->stream, 10 * STREAM);
	return NULL;
}

static void *connector(void *arg)
{
	int fd = (int)(long)arg;

	connect_to(fd);
	return NULL;
}

/* All numbers that the limit allows: how many it took. */
static int take_all(int *fds, int room)
{
	int n = 0;

	while (n < room && (fds[n] = dup(0)) >= 0)
		n++;
	RIGHT(n < room && errno == EMFILE);
	return n;
}

static void starved(void)
{
	struct rlimit lim = { 100, 100 };
	struct pair pairs[PAIRS];
	socklen_t len = sizeof(here);
	pthread_t t[2 * PAIRS], c, w;
	struct ends e = { 0 };
	int fds[100], n, out, extra[2];

	RIGHT(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		GET(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i].fds), EMFILE);
		pairs[i].stream = i;
	}
	listener = (int)GET(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	here.sin_family = AF_INET;
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	GET(bind(listener, (struct sockaddr *)&here, sizeof(here)), ENOMEM);
	GET(listen(listener, 5), ENOMEM);
	GET(getsockname(listener, (struct sockaddr *)&here, &len), ENOMEM);
	out = (int)GET(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	GET(pipe(extra), EMFILE);
	for (int i = 0; i < PAIRS; i++) {
		t[2 * i] = start(one_pair_in, &pairs[i]);
		t[2 * i + 1] = start(one_pair_out, &pairs[i]);
	}
	while (pairs_running < PAIRS)
		usleep(100);
	n = take_all(fds, 100);
	/* Waiting needs no number of its own, nor do threads. */
	e.in = extra[0];
	e.out = extra[1];
	e.stream = 9;
	w = start(one_reader, &e);
	c = start(connector, (void *)(long)out);
	for (int i = 0; i < 3; i++)
		RIGHT(accept(listener, NULL, NULL) == -1 && errno == EMFILE);
	end(c);
	RIGHT(pipe(extra) == -1 && errno == EMFILE);
	RIGHT(epoll_create1(0) == -1 && errno == EMFILE);
	RIGHT(popen("true", "r") == NULL && errno == EMFILE);
	end(start(one_writer, &e));
	end(w);
	for (int i = 0; i < 2 * PAIRS; i++)
		end(t[i]);
	while (n)
		close(fds[--n]);
	/* The connection has waited. */
	RIGHT(accept(listener, NULL, NULL) >= 0);
}

/* ---- no address space left, in the middle of it all ---- */

static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

static void *one_held(void *unused)
{
	pthread_mutex_lock(&hold);
	pthread_mutex_unlock(&hold);
	return unused;
}

static void crowded(void)
{
	static pthread_t t[4096];
	struct rlimit lim = { (rlim_t)256 << 20, (rlim_t)256 << 20 };
	int n, r = 0;

	end(start(one_held, NULL));
	RIGHT(setrlimit(RLIMIT_AS, &lim) == 0);
	for (int round = 0; round < 3; round++) {
		pthread_mutex_lock(&hold);
		for (n = 0; n < 4096; n++) {
			r = pthread_create(&t[n], NULL, one_held, NULL);
			if (r)
				break;
		}
		RIGHT(r == EAGAIN && n > 5);
		pthread_mutex_unlock(&hold);
		while (n)
			end(t[--n]);
	}
}

/* ---- every page locked: a guard cannot be had the cheap way ---- */

static void locked(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		say("skipped: mlockall: %s\n", strerror(errno));
		_exit(77);
	}
	threads();
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
	{ "threads", threads }, { "locks", locks }, { "pipes", pipes },
	{ "sockets", sockets }, { "waits", waits }, { "forks", forks },
	{ "ends", ends }, { "spawns", spawns }, { "signals", signals },
	{ "rain", rain }, { "starved", starved }, { "crowded", crowded },
	{ "locked", locked }, { "turns", turns },
};

int main(int argc, char **argv)
{
	if (argc > 2)
		count = atoi(argv[2]);
	for (size_t i = 0; argc > 1 && i < sizeof(acts) / sizeof(*acts); i++)
		if (strcmp(argv[1], acts[i].name) == 0) {
			acts[i].act();
			say("done %s\n", argv[1]);
			return 0;
		}
	fprintf(stderr, "work: which act?\n");
	return 2;
}
