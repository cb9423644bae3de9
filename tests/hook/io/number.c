/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* number.c - the same by number: syscall() waits as the function of that name
 * does, gives the same answers, and what is changed by the one is known to the
 * other. */
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "io.h"

static uint64_t bit(int sig)
{
	return (uint64_t)1 << (sig - 1);
}

/* ---- reading, each from a stream socket ---- */

static long by_read(struct caller *c)
{
	return syscall(SYS_read, c->fd, c->bytes, 8);
}

static long by_readv(struct caller *c)
{
	struct iovec v = {c->bytes, 8};

	return syscall(SYS_readv, c->fd, &v, 1);
}

static long by_preadv2(struct caller *c)
{
	struct iovec v = {c->bytes, 8};

	return syscall(SYS_preadv2, c->fd, &v, 1, -1L, -1L, 0);
}

static long by_recvfrom(struct caller *c)
{
	return syscall(SYS_recvfrom, c->fd, c->bytes, 8, 0, NULL, NULL);
}

static long by_recvmsg(struct caller *c)
{
	struct iovec v = {c->bytes, 8};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	return syscall(SYS_recvmsg, c->fd, &m, 0);
}

static long by_recvmmsg(struct caller *c)
{
	struct iovec v = {c->bytes, 8};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

	return syscall(SYS_recvmmsg, c->fd, &m, 1, 0, NULL) == 1
		       ? (long)m.msg_len : -1;
}

static long by_ppoll(struct caller *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};

	return syscall(SYS_ppoll, &p, 1, NULL, NULL, 8) == 1 &&
	       p.revents == POLLIN ? read(c->fd, c->bytes, 8) : -1;
}

static long by_pselect6(struct caller *c)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(c->fd, &set);
	return syscall(SYS_pselect6, c->fd + 1, &set, NULL, NULL, NULL, NULL) == 1 &&
	       FD_ISSET(c->fd, &set) ? read(c->fd, c->bytes, 8) : -1;
}

static long by_epoll_pwait(struct caller *c)
{
	struct epoll_event e = {.events = EPOLLIN};
	int set = (int)syscall(SYS_epoll_create1, 0);
	long r = -1;

	if (syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, c->fd, &e) == 0 &&
	    syscall(SYS_epoll_pwait, set, &e, 1, -1, NULL, 8) == 1)
		r = read(c->fd, c->bytes, 8);
	syscall(SYS_close, set);
	return r;
}

static void who_reads_by_number_waits(void)
{
	static long (*const ways[])(struct caller *) = {
		by_read, by_readv, by_preadv2, by_recvfrom, by_recvmsg,
		by_recvmmsg, by_ppoll, by_pselect6, by_epoll_pwait,
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct caller c = {0};
		int pair[2];

		if (!EXPECT_EQ(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0,
				       pair), 0))
			return;
		call_in_thread(&c, ways[i], pair[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(syscall(SYS_write, pair[1], "number", 6), 6);
		EXPECT_EQ(call_ended(&c), 6);
		EXPECT_EQ(c.err, 0);
		EXPECT_STR(c.bytes, "number");
		EXPECT_ERR(syscall(SYS_recvfrom, pair[0], c.bytes, 8,
				   MSG_DONTWAIT, NULL, NULL), EAGAIN);
		syscall(SYS_close, pair[0]);
		syscall(SYS_close, pair[1]);
		if (i < 6) /* the rest ask of more than one */
			EXPECT_ERR(ways[i](&c), EBADF);
	}
}

/* ---- writing, each into a pipe or socket that is full ---- */

static long to_writev(struct caller *c)
{
	struct iovec v = {c->bytes, 8};

	return syscall(SYS_writev, c->fd, &v, 1);
}

static long to_pwritev2(struct caller *c)
{
	struct iovec v = {c->bytes, 8};

	return syscall(SYS_pwritev2, c->fd, &v, 1, -1L, -1L, 0);
}

static long to_vmsplice(struct caller *c)
{
	struct iovec v = {c->bytes, 8};

	return syscall(SYS_vmsplice, c->fd, &v, 1, 0);
}

static long to_splice(struct caller *c)
{
	int *from = c->with;

	return syscall(SYS_splice, from[0], NULL, c->fd, NULL, 8, 0);
}

static long to_tee(struct caller *c)
{
	int *from = c->with;

	return syscall(SYS_tee, from[0], c->fd, 8, 0);
}

static void who_writes_by_number_waits(void)
{
	static long (*const ways[])(struct caller *) = {
		to_writev, to_pwritev2, to_vmsplice, to_splice, to_tee,
	};
	static char fill[65536];

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct caller c = {0};
		int to[2], from[2];
		long size;

		if (!EXPECT_EQ(syscall(SYS_pipe2, to, 0), 0) ||
		    !EXPECT_EQ(syscall(SYS_pipe2, from, 0), 0))
			return;
		c.with = from;
		strcpy(c.bytes, "eight!!");
		EXPECT_EQ(write(from[1], c.bytes, 8), 8);
		size = syscall(SYS_fcntl, to[1], F_SETPIPE_SZ, 4096);
		EXPECT(size >= 4096 && size <= (long)sizeof(fill));
		EXPECT_EQ(write(to[1], fill, (size_t)size), size);
		call_in_thread(&c, ways[i], to[1]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT(read_all(to[0], fill, (size_t)size));
		EXPECT_EQ(call_ended(&c), 8);
		EXPECT_EQ(c.err, 0);
		EXPECT_EQ(read(to[0], fill, 64), 8);
		EXPECT_STR(fill, "eight!!");
		memset(fill, 0, 64);
		close_pair(to);
		close_pair(from);
	}
}

static void positions_by_number_are_the_files(void)
{
	int in = memfd_create("in", 0), out = memfd_create("out", 0);
	char text[16] = "0123456789", got[16] = "";
	struct iovec v = {text, 10}, w = {got, 4};

	EXPECT_EQ(syscall(SYS_pwritev, in, &v, 1, 5L, 0L), 10);
	EXPECT_EQ(syscall(SYS_pwritev2, in, &v, 1, 20L, 0L, 0), 10);
	EXPECT_EQ(syscall(SYS_preadv, in, &w, 1, 7L, 0L), 4);
	EXPECT_STR(got, "2345");
	EXPECT_EQ(syscall(SYS_preadv2, in, &w, 1, 25L, 0L, 0), 4);
	EXPECT_STR(got, "5678");
	EXPECT_EQ(syscall(SYS_pread64, in, got, 3, 6L), 3);
	EXPECT_STR(got, "1238");
	EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
	EXPECT_EQ(syscall(SYS_lseek, in, 5L, SEEK_SET), 5);
	EXPECT_EQ(syscall(SYS_copy_file_range, in, NULL, out, NULL, 10, 0), 10);
	EXPECT_EQ(pread(out, got, 10, 0), 10);
	EXPECT_STR(got, text);
	EXPECT_ERR(syscall(SYS_preadv, in, &w, 1, -1L, -1L), EINVAL);
	EXPECT_EQ(syscall(SYS_sync), 0);
	EXPECT_EQ(syscall(SYS_fsync, in), 0);
	EXPECT_EQ(syscall(SYS_syncfs, in), 0);
	EXPECT_ERR(syscall(SYS_syncfs, -1), EBADF);
	close_pair((int[2]){in, out});
}

/* What is said by number of a descriptor is known by name. */
static void a_descriptor_is_what_was_last_said_of_it(void)
{
	struct timeval soon = {0, 1000}, never = {0, 0};
	char byte;
	int pair[2], on = 1, off = 0;

	if (!stream_pair(pair))
		return;
	EXPECT_EQ(syscall(SYS_ioctl, pair[0], FIONBIO, &on), 0);
	EXPECT_ERR(read(pair[0], &byte, 1), EAGAIN);
	EXPECT_EQ(syscall(SYS_ioctl, pair[0], FIONBIO, &off), 0);
	EXPECT_EQ(syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_RCVTIMEO,
			  &soon, sizeof(soon)), 0);
	EXPECT_ERR(recv(pair[0], &byte, 1, 0), EAGAIN);
	EXPECT_EQ(syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_RCVTIMEO,
			  &never, sizeof(never)), 0);
	EXPECT_EQ(syscall(SYS_fcntl, pair[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
	EXPECT_ERR(recv(pair[0], &byte, 1, 0), EAGAIN);
	close_pair(pair);
}

/* ---- signals ---- */

static _Thread_local volatile sig_atomic_t handled;

static void note(int sig)
{
	handled = sig;
}

struct waiter {
	atomic_bool begun;
	bool waits;
	long ret;
	int err, handled;
	uint64_t mask_after;
};

static void *wait_by_number(void *arg)
{
	struct waiter *w = arg;
	uint64_t set = bit(SIGUSR1) | bit(SIGUSR2), other = bit(SIGUSR2);
	siginfo_t info;

	EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 8), 0);
	atomic_store(&w->begun, true);
	errno = 0;
	if (w->waits) {
		uint64_t only = bit(SIGUSR1);

		w->ret = syscall(SYS_rt_sigtimedwait, &only, &info, NULL, 8);
	} else {
		w->ret = syscall(SYS_rt_sigsuspend, &other, 8);
	}
	w->err = errno;
	w->handled = handled;
	EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &w->mask_after, 8),
		  0);
	return NULL;
}

static void who_waits_for_a_signal_by_number_gets_it(void)
{
	struct sigaction act = {.sa_handler = note};

	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR2, &act, NULL);
	for (int i = 0; i < 2; i++) {
		struct waiter w = {.waits = i};
		pthread_t t = start(wait_by_number, &w);

		WAIT_UNTIL(atomic_load(&w.begun));
		settle();
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		finish(t);
		EXPECT_EQ(w.ret, i ? SIGUSR1 : -1);
		EXPECT_EQ(w.err, i ? 0 : EINTR);
		if (!SHARES_STORAGE)	/* it is the thread's own */
			EXPECT_EQ(w.handled, i ? 0 : SIGUSR1);
		EXPECT_EQ(w.mask_after & (bit(SIGUSR1) | bit(SIGUSR2)),
			  bit(SIGUSR1) | bit(SIGUSR2));
	}
}

static void a_mask_by_number_is_the_threads(void)
{
	uint64_t set = bit(SIGUSR1), before = 0;
	sigset_t now;

	EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, &before, 8), 0);
	EXPECT(!(before & bit(SIGUSR1)));
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	EXPECT(sigismember(&now, SIGUSR1) == 1);
	EXPECT_EQ(raise(SIGUSR1), 0);
	settle();	/* it goes with the thread, to whatever it runs on */
	handled = 0;
	EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, &set, 8), 0);
	EXPECT(set & bit(SIGUSR1));
	EXPECT_EQ(handled, SIGUSR1);
	EXPECT_ERR(syscall(SYS_rt_sigprocmask, 17, &set, NULL, 8), EINVAL);
	EXPECT_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 16), EINVAL);
}

/* ---- the rest ---- */

static long by_flock(struct caller *c)
{
	return syscall(SYS_flock, c->fd, LOCK_EX);
}

static void who_wants_a_locked_file_by_number_waits(void)
{
	struct caller c = {0};
	char path[64];
	int holds, wants;

	snprintf(path, sizeof(path), "/tmp/number.%d", (int)getpid());
	EXPECT_OK(holds = (int)syscall(SYS_openat, AT_FDCWD, path,
				       O_RDWR | O_CREAT, 0600));
	EXPECT_OK(wants = open(path, O_RDWR));
	EXPECT_EQ(syscall(SYS_flock, holds, LOCK_EX), 0);
	call_in_thread(&c, by_flock, wants);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(flock(holds, LOCK_UN), 0);
	EXPECT_EQ(call_ended(&c), 0);
	close_pair((int[2]){holds, wants});
	unlink(path);
}

/* It has the storage of the thread that made it, and may touch none. */
static int naps_and_ends(void *arg)
{
	struct timespec nap = {0, 20000000};

	(void)arg;
	rawsys(SYS_nanosleep, (long)&nap, 0, 0);
	rawsys(SYS_exit, 0, 0, 0);
	return 0;
}

static void the_kernel_wakes_who_waits_for_the_end_of_a_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	static int tid;

	for (int i = 0; i < 3; i++) {
		int seen;

		__atomic_store_n(&tid, -1, __ATOMIC_SEQ_CST);
		EXPECT_OK(clone(naps_and_ends, stack + sizeof(stack),
				CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
					CLONE_THREAD | CLONE_SYSVSEM |
					CLONE_CHILD_CLEARTID,
				NULL, NULL, NULL, &tid));
		while ((seen = __atomic_load_n(&tid, __ATOMIC_SEQ_CST)) != 0)
			syscall(SYS_futex, &tid, FUTEX_WAIT, seen, NULL, NULL, 0);
	}
}

static void a_number_that_the_kernel_does_not_know_is_no_call(void)
{
	EXPECT_ERR(syscall(100000), ENOSYS);
	EXPECT_ERR(syscall(-1L), ENOSYS);
	EXPECT_EQ(syscall(SYS_getpid), getpid());
}

static const struct expect_case cases[] = {
	CASE(who_reads_by_number_waits),
	CASE(who_writes_by_number_waits),
	CASE(positions_by_number_are_the_files),
	CASE(a_descriptor_is_what_was_last_said_of_it),
	CASE(who_waits_for_a_signal_by_number_gets_it),
	CASE(a_mask_by_number_is_the_threads),
	CASE(who_wants_a_locked_file_by_number_waits),
	CASE(the_kernel_wakes_who_waits_for_the_end_of_a_clone),
	CASE(a_number_that_the_kernel_does_not_know_is_no_call),
};

EXPECT_MAIN(cases)
