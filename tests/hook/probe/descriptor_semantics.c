/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* descriptor_semantics.c - what a thread sees of descriptors.
 *
 * Above all: waiting leaves no trace. The flags of an open file description
 * belong to all who share it, and are seen here twice, by fcntl and by the
 * kernel's own word in /proc/self/fdinfo. And what the program asks for
 * itself, O_NONBLOCK, MSG_DONTWAIT, SO_RCVTIMEO, holds to the letter. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define NEVER_OPENED 987

/* ---- another thread, which acts later ---- */

struct later {
	pthread_t thread;
	int fd;
	long ms;
	const char *data; /* NULL: close fd instead */
	size_t size;
	atomic_bool done;
};

static void *act_later(void *arg)
{
	struct later *l = arg;

	probe_nap_ms(l->ms);
	atomic_store(&l->done, true);
	if (l->data)
		return write(l->fd, l->data, l->size) == (ssize_t)l->size ? l :
									    NULL;
	return close(l->fd) == 0 ? l : NULL;
}

static bool write_later(struct later *l, int fd, long ms, const char *data)
{
	l->fd = fd;
	l->ms = ms;
	l->data = data;
	l->size = data ? strlen(data) : 0;
	l->done = false;
	MUST(pthread_create(&l->thread, NULL, act_later, l) == 0);
	return true;
}

static bool was_done(struct later *l)
{
	void *good = NULL;

	MUST(pthread_join(l->thread, &good) == 0 && good == l);
	return true;
}

/* What the kernel holds of the description behind fd; -1: no such. */
static int kernel_flags(int fd)
{
	unsigned int flags = 0;
	char line[128];
	FILE *from;
	int seen = 0;

	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	from = fopen(line, "r");
	while (from && fgets(line, sizeof(line), from))
		seen += sscanf(line, "flags: %o", &flags) == 1;
	if (from)
		fclose(from);
	return seen ? (int)flags : -1;
}

/* Linux says O_LARGEFILE of everything on 64 bits, in one place or both. */
static bool are_blocking(int fd, int mode)
{
	int seen = fcntl(fd, F_GETFL);
	int kernel = kernel_flags(fd);

	MUST(seen != -1 && kernel != -1);
	MUST((seen & (O_ACCMODE | O_NONBLOCK | O_APPEND)) == mode);
	MUST((kernel & (O_ACCMODE | O_NONBLOCK | O_APPEND)) == mode);
	return true;
}

struct reader {
	pthread_t thread;
	int fd;
	atomic_bool begun;
};

static void *read_byte(void *arg)
{
	struct reader *r = arg;
	char c;

	atomic_store(&r->begun, true);
	return read(r->fd, &c, 1) == 1 ? r : NULL;
}

/* The flags stay as they are before, while and after a thread waits. */
static bool flags_stay(int in, int out, int in_mode, int out_mode)
{
	struct reader r = {.fd = in};
	void *good = NULL;

	MUST(are_blocking(in, in_mode) && are_blocking(out, out_mode));
	MUST(pthread_create(&r.thread, NULL, read_byte, &r) == 0);
	while (!atomic_load(&r.begun))
		probe_nap_ms(1);
	for (int i = 0; i < 10; i++) {
		probe_nap_ms(5);
		MUST(are_blocking(in, in_mode) && are_blocking(out, out_mode));
	}
	MUST(write(out, "x", 1) == 1);
	MUST(pthread_join(r.thread, &good) == 0 && good);
	MUST(are_blocking(in, in_mode) && are_blocking(out, out_mode));
	return true;
}

static bool tcp_pair(int pair[2])
{
	int port;
	int listener = probe_listen(4, &port);

	MUST(listener >= 0);
	MUST((pair[1] = probe_connect(port)) >= 0);
	MUST((pair[0] = accept(listener, NULL, NULL)) >= 0);
	MUST(close(listener) == 0);
	return true;
}

/* ---- long waits ---- */

/* Nothing comes for two seconds; nobody asked for a timeout. */
static bool receives_after_2s(int in, int out)
{
	struct later l;
	char got[8];

	MUST(write_later(&l, out, 2000, "late"));
	MUST_QUIETLY(recv(in, got, sizeof(got), 0) == 4);
	MUST(atomic_load(&l.done) && memcmp(got, "late", 4) == 0);
	return was_done(&l);
}

static bool rcv_tcp_2s(void)
{
	int pair[2];

	MUST(tcp_pair(pair));
	return receives_after_2s(pair[0], pair[1]);
}

static bool recv_2s(void)
{
	int pair[2];

	MUST(probe_socketpair(SOCK_STREAM, pair));
	return receives_after_2s(pair[0], pair[1]);
}

/* And here somebody did: EAGAIN after two seconds, not before, not never. */
static bool rcvtimeo(void)
{
	struct timeval two = {2, 0}, seen = {0, 0};
	socklen_t size = sizeof(seen);
	long long took;
	int pair[2];
	char c;

	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &two, sizeof(two)) ==
	     0);
	took = -probe_now_ns();
	MUST(recv(pair[0], &c, 1, 0) == -1 && errno == EAGAIN);
	took += probe_now_ns();
	/* the kernel counts in ticks of at most 10 ms */
	MUST(took >= 1980000000LL && took < 30000000000LL);
	took = -probe_now_ns();
	MUST(read(pair[0], &c, 1) == -1 && errno == EAGAIN);
	took += probe_now_ns();
	MUST(took >= 1980000000LL && took < 30000000000LL);
	MUST(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &seen, &size) == 0);
	MUST(seen.tv_sec == 2 && seen.tv_usec == 0);
	MUST(write(pair[1], "x", 1) == 1);
	MUST(recv(pair[0], &c, 1, 0) == 1 && c == 'x');
	return true;
}

/* ---- flags ---- */

static bool getfl_socket(void)
{
	struct later l;
	int pair[2];
	char got[8];

	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST((fcntl(pair[0], F_GETFL) & ~0100000) == O_RDWR);
	MUST(write_later(&l, pair[1], 30, "x"));
	MUST(recv(pair[0], got, sizeof(got), 0) == 1);
	MUST((fcntl(pair[0], F_GETFL) & ~0100000) == O_RDWR);
	return was_done(&l);
}

static bool getfl_pipe(void)
{
	struct later l;
	int fd[2];
	char got[8];

	MUST(pipe(fd) == 0);
	MUST(write_later(&l, fd[1], 30, "x"));
	MUST(read(fd[0], got, sizeof(got)) == 1);
	MUST((fcntl(fd[0], F_GETFL) & ~0100000) == O_RDONLY);
	MUST((fcntl(fd[1], F_GETFL) & ~0100000) == O_WRONLY);
	return was_done(&l);
}

static bool getfl_kernel(void)
{
	int fd[2];

	MUST(pipe(fd) == 0);
	return flags_stay(fd[0], fd[1], O_RDONLY, O_WRONLY);
}

static bool getfl_kernel_sock(void)
{
	int pair[2];

	MUST(probe_socketpair(SOCK_STREAM, pair));
	return flags_stay(pair[0], pair[1], O_RDWR, O_RDWR);
}

static bool getfl_accepted(void)
{
	int pair[2];

	MUST(tcp_pair(pair));
	return flags_stay(pair[0], pair[1], O_RDWR, O_RDWR);
}

/* Nonblocking while it is asked for, blocking again when it is not. */
static bool setfl_nb(void)
{
	struct later l;
	int fd[2];
	char got[8];

	MUST(pipe(fd) == 0);
	MUST(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
	MUST(read(fd[0], got, 1) == -1 && errno == EAGAIN);
	MUST(fcntl(fd[0], F_GETFL) & O_NONBLOCK);
	MUST(kernel_flags(fd[0]) & O_NONBLOCK);
	MUST(fcntl(fd[0], F_SETFL, 0) == 0);
	MUST(write_later(&l, fd[1], 30, "x"));
	MUST(read(fd[0], got, sizeof(got)) == 1 && atomic_load(&l.done));
	MUST(was_done(&l));
	/* asked for through a duplicate, it holds for both */
	MUST(fcntl(dup(fd[0]), F_SETFL, O_NONBLOCK) == 0);
	MUST(read(fd[0], got, 1) == -1 && errno == EAGAIN);
	return true;
}

static bool fionbio(void)
{
	struct later l;
	int pair[2];
	int on = 1, off = 0;
	char got[8];

	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST(ioctl(pair[0], FIONBIO, &on) == 0);
	MUST(recv(pair[0], got, 1, 0) == -1 && errno == EAGAIN);
	MUST(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	MUST(kernel_flags(pair[0]) & O_NONBLOCK);
	MUST(ioctl(pair[0], FIONBIO, &off) == 0);
	MUST(are_blocking(pair[0], O_RDWR));
	MUST(write_later(&l, pair[1], 30, "x"));
	MUST(recv(pair[0], got, 1, 0) == 1 && atomic_load(&l.done));
	return was_done(&l);
}

static bool sock_nonblock(void)
{
	int pair[2];
	char c;

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	MUST(recv(pair[0], &c, 1, 0) == -1 && errno == EAGAIN);
	MUST(read(pair[1], &c, 1) == -1 && errno == EAGAIN);
	MUST(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	MUST(kernel_flags(pair[0]) & O_NONBLOCK);
	return true;
}

static bool accept4_nonblock(void)
{
	int port;
	int listener = probe_listen(4, &port);
	int fd;
	char c;

	MUST(listener >= 0 && probe_connect(port) >= 0);
	MUST((fd = accept4(listener, NULL, NULL,
			   SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
	MUST(recv(fd, &c, 1, 0) == -1 && errno == EAGAIN);
	MUST(fcntl(fd, F_GETFL) & O_NONBLOCK);
	MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	/* the flag of a listener is not its connections' */
	MUST(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
	MUST(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
	MUST(probe_connect(port) >= 0);
	MUST((fd = accept(listener, NULL, NULL)) >= 0);
	MUST(are_blocking(fd, O_RDWR));
	return true;
}

static bool msg_dontwait(void)
{
	static char page[4096];
	int pair[2];
	char c;

	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST(recv(pair[0], &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	while (send(pair[1], page, sizeof(page), MSG_DONTWAIT) > 0)
		;
	MUST(errno == EAGAIN);
	MUST(are_blocking(pair[0], O_RDWR) && are_blocking(pair[1], O_RDWR));
	return true;
}

/* ---- results ---- */

static bool waitall(void)
{
	struct later l;
	int pair[2];
	char got[16] = "";

	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST(write(pair[1], "four", 4) == 4);
	MUST(write_later(&l, pair[1], 30, "+sixes"));
	MUST_QUIETLY(recv(pair[0], got, 10, MSG_WAITALL) == 10);
	MUST(memcmp(got, "four+sixes", 10) == 0 && atomic_load(&l.done));
	MUST(was_done(&l));
	/* the end comes before all is there: what came is the result */
	MUST(write(pair[1], "abc", 3) == 3);
	MUST(write_later(&l, pair[1], 30, NULL));
	MUST_QUIETLY(recv(pair[0], got, 10, MSG_WAITALL) == 3);
	MUST(was_done(&l));
	MUST(recv(pair[0], got, 10, MSG_WAITALL) == 0);
	return true;
}

static bool fcntl_pipesz(void)
{
	int fd[2], pair[2];

	MUST(pipe(fd) == 0);
	MUST(fcntl(fd[1], F_GETPIPE_SZ) == 65536);
	MUST(fcntl(fd[1], F_SETPIPE_SZ, 200000) == 262144);
	MUST(fcntl(fd[0], F_GETPIPE_SZ) == 262144);
	MUST(fcntl(fd[0], F_SETPIPE_SZ, 1) == 4096);
	MUST(probe_socketpair(SOCK_STREAM, pair));
	MUST(fcntl(pair[0], F_GETPIPE_SZ) == -1 && errno == EBADF);
	return true;
}

struct waiting_lock {
	int fd;
	atomic_bool has;
};

static void *lock_waiting(void *arg)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct waiting_lock *w = arg;
	int ret = fcntl(w->fd, F_OFD_SETLKW, &whole);

	atomic_store(&w->has, true);
	return ret == 0 ? w : NULL;
}

static bool fcntl_ofd(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct flock none = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	struct flock asked = whole;
	char path[] = "/tmp/probe.XXXXXX";
	struct waiting_lock w;
	int first = mkstemp(path);
	void *good = NULL;
	pthread_t t;

	w.fd = open(path, O_RDWR);
	w.has = false;
	unlink(path);
	MUST(first >= 0 && w.fd >= 0);
	MUST(fcntl(first, F_OFD_SETLK, &whole) == 0);
	MUST(fcntl(w.fd, F_OFD_SETLK, &whole) == -1 && errno == EAGAIN);
	MUST(fcntl(w.fd, F_OFD_GETLK, &asked) == 0);
	MUST(asked.l_type == F_WRLCK && asked.l_pid == -1);
	MUST(pthread_create(&t, NULL, lock_waiting, &w) == 0);
	probe_nap_ms(50);
	MUST(!atomic_load(&w.has));
	MUST(fcntl(first, F_OFD_SETLK, &none) == 0);
	MUST(pthread_join(t, &good) == 0 && good == &w);
	MUST(fcntl(first, F_OFD_SETLK, &whole) == -1 && errno == EAGAIN);
	return true;
}

static bool fcntl_seals(void)
{
	int fd = memfd_create("probe", MFD_ALLOW_SEALING);

	MUST(fd >= 0 && write(fd, "abc", 3) == 3);
	MUST(fcntl(fd, F_GET_SEALS) == 0);
	MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
	MUST(fcntl(fd, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK));
	MUST(write(fd, "d", 1) == -1 && errno == EPERM);
	MUST(ftruncate(fd, 1) == -1 && errno == EPERM);
	return true;
}

static bool fcntl_badfd(void)
{
	int fd[2];
	int closed;

	MUST(pipe(fd) == 0);
	MUST((closed = dup(fd[0])) >= 0 && close(closed) == 0);
	MUST(fcntl(-1, F_GETFL) == -1 && errno == EBADF);
	MUST(fcntl(closed, F_GETFL) == -1 && errno == EBADF);
	MUST(fcntl(NEVER_OPENED, F_GETFD) == -1 && errno == EBADF);
	MUST(fcntl(NEVER_OPENED, F_SETFL, O_NONBLOCK) == -1 && errno == EBADF);
	MUST(fcntl(closed, F_DUPFD, 0) == -1 && errno == EBADF);
	MUST(fcntl(fd[0], 9999) == -1 && errno == EINVAL);
	return true;
}

/* A closed descriptor among open ones ends the wait at once. */
static bool poll_nval(void)
{
	struct pollfd fds[3];
	struct timeval hour = {3600, 0};
	fd_set reads;
	int fd[2];
	int closed;

	MUST(pipe(fd) == 0);
	MUST((closed = dup(fd[0])) >= 0 && close(closed) == 0);
	fds[0] = (struct pollfd){fd[0], POLLIN, 55};
	fds[1] = (struct pollfd){NEVER_OPENED, POLLIN | POLLOUT, 0};
	fds[2] = (struct pollfd){-7, POLLIN, 55};
	MUST_QUIETLY(poll(fds, 3, -1) == 1);
	MUST(fds[0].revents == 0 && fds[1].revents == POLLNVAL &&
	     fds[2].revents == 0);
	FD_ZERO(&reads);
	FD_SET(fd[0], &reads);
	/* not NEVER_OPENED: select stops at the end of the kernel's table */
	FD_SET(closed, &reads);
	MUST(select(closed + 1, &reads, NULL, NULL, &hour) == -1 &&
	     errno == EBADF);
	return true;
}

static bool poll_dupfd(void)
{
	struct pollfd fds[3];
	struct later l;
	int fd[2];
	int again;

	MUST(pipe(fd) == 0);
	MUST((again = dup(fd[0])) >= 0);
	fds[0] = (struct pollfd){fd[0], POLLIN, 0};
	fds[1] = (struct pollfd){again, POLLIN, 0};
	fds[2] = (struct pollfd){fd[0], POLLIN, 0};
	MUST(write_later(&l, fd[1], 30, "x"));
	MUST_QUIETLY(poll(fds, 3, -1) == 3);
	for (int i = 0; i < 3; i++)
		MUST(fds[i].revents == POLLIN);
	MUST(was_done(&l));
	/* one of two closed: the other is as good as before */
	MUST(close(fd[0]) == 0);
	MUST_QUIETLY(poll(fds + 1, 1, -1) == 1 && fds[1].revents == POLLIN);
	MUST(poll(fds, 1, -1) == 1 && fds[0].revents == POLLNVAL);
	return true;
}

static bool poll_regular(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = memfd_create("probe", 0);
	struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI, 0};
	int set = epoll_create1(0);
	fd_set reads;

	MUST(fd >= 0 && set >= 0);
	MUST_QUIETLY(poll(&p, 1, -1) == 1);
	MUST(p.revents == (POLLIN | POLLOUT));
	FD_ZERO(&reads);
	FD_SET(fd, &reads);
	MUST_QUIETLY(select(fd + 1, &reads, NULL, NULL, NULL) == 1);
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EPERM);
	return true;
}

/* A child by exec serves on a listener that it never made. */
static bool accept_inherited(void)
{
	char number[16], got[8];
	int status = -1;
	int listener, port, fd;
	pid_t pid;

	MUST((listener = probe_listen(4, &port)) >= 0);
	snprintf(number, sizeof(number), "%d", listener);
	MUST((pid = fork()) >= 0);
	if (pid == 0) {
		execl("/proc/self/exe", "semantics", "--accept", number,
		      (char *)NULL);
		_exit(126);
	}
	probe_nap_ms(50);
	MUST((fd = probe_connect(port)) >= 0);
	MUST(probe_read_all(fd, got, 6) && memcmp(got, "served", 6) == 0);
	MUST(waitpid(pid, &status, 0) == pid && status == 0);
	MUST(are_blocking(listener, O_RDWR));
	return true;
}

/* The end stays the end, however it comes. */
static bool read_eof(void)
{
	struct later l;
	int fd[2];
	char c;

	MUST(pipe(fd) == 0);
	MUST(write_later(&l, fd[1], 30, NULL));
	for (int i = 0; i < 3; i++)
		MUST_QUIETLY(read(fd[0], &c, 1) == 0);
	MUST(was_done(&l));
	MUST(probe_socketpair(SOCK_STREAM, fd));
	MUST(write_later(&l, fd[1], 30, NULL));
	for (int i = 0; i < 3; i++)
		MUST_QUIETLY(read(fd[0], &c, 1) == 0);
	MUST(was_done(&l));
	MUST(tcp_pair(fd));
	MUST(shutdown(fd[1], SHUT_WR) == 0);
	for (int i = 0; i < 3; i++)
		MUST_QUIETLY(recv(fd[0], &c, 1, 0) == 0);
	return true;
}

static bool read_badfd(void)
{
	int directory = open("/", O_RDONLY | O_DIRECTORY);
	int fd[2];
	char c;

	MUST(pipe(fd) == 0 && directory >= 0);
	MUST(read(-1, &c, 1) == -1 && errno == EBADF);
	MUST(read(NEVER_OPENED, &c, 1) == -1 && errno == EBADF);
	MUST(read(fd[1], &c, 1) == -1 && errno == EBADF);
	MUST(write(fd[0], &c, 1) == -1 && errno == EBADF);
	MUST(read(directory, &c, 1) == -1 && errno == EISDIR);
	MUST(recv(fd[0], &c, 1, 0) == -1 && errno == ENOTSOCK);
	MUST(recv(NEVER_OPENED, &c, 1, 0) == -1 && errno == EBADF);
	MUST(accept(fd[0], NULL, NULL) == -1 && errno == ENOTSOCK);
	MUST(close(fd[0]) == 0);
	MUST(read(fd[0], &c, 1) == -1 && errno == EBADF);
	return true;
}

static bool close_badfd(void)
{
	int fd[2];

	MUST(pipe(fd) == 0);
	MUST(close(-1) == -1 && errno == EBADF);
	MUST(close(NEVER_OPENED) == -1 && errno == EBADF);
	MUST(close(fd[0]) == 0);
	MUST(close(fd[0]) == -1 && errno == EBADF);
	MUST(write(fd[1], "x", 1) == -1 && errno == EPIPE);
	return true;
}

const struct semantic descriptor_semantics[] = {
	{"rcv_tcp_2s", rcv_tcp_2s},
	{"getfl_socket", getfl_socket},
	{"getfl_pipe", getfl_pipe},
	{"getfl_kernel", getfl_kernel},
	{"getfl_kernel_sock", getfl_kernel_sock},
	{"getfl_accepted", getfl_accepted},
	{"setfl_nb", setfl_nb},
	{"fionbio", fionbio},
	{"sock_nonblock", sock_nonblock},
	{"accept4_nonblock", accept4_nonblock},
	{"msg_dontwait", msg_dontwait},
	{"rcvtimeo", rcvtimeo},
	{"recv_2s", recv_2s},
	{"waitall", waitall},
	{"fcntl_pipesz", fcntl_pipesz},
	{"fcntl_ofd", fcntl_ofd},
	{"fcntl_seals", fcntl_seals},
	{"fcntl_badfd", fcntl_badfd},
	{"poll_nval", poll_nval},
	{"poll_dupfd", poll_dupfd},
	{"poll_regular", poll_regular},
	{"accept_inherited", accept_inherited},
	{"read_eof", read_eof},
	{"read_badfd", read_badfd},
	{"close_badfd", close_badfd},
	{0},
};
