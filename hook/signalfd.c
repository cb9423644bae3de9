/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/signalfd.c - descriptors that tell of signals. */
#include "hook/signalfd.h"
#include "hook/file.h"
#include "hook/real.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

_Atomic sigbits signalfd_signals;

/* Given a descriptor it changes what that one tells of. */
HOOKED int signalfd(int fd, const sigset_t *mask, int flags)
{
	int r = REAL(signalfd)(fd, mask, flags);
	sigbits set;

	if (r < 0)
		return r;
	if (fd == -1) {
		file_made(r, flags & SFD_NONBLOCK, false);
		fdtab_tells_signals(r);
	}
	memcpy(&set, mask, sizeof(set));
	atomic_fetch_or_explicit(&signalfd_signals, set, memory_order_relaxed);
	return r;
}

/* The loan makes a signalfd in a set of the program's look ready, and the set
 * too: the runtime's poller would hear of that, on another kernel thread, look at
 * the set, find nothing, and the kernel would strike the signalfd off those that
 * are ready. So it does not hear of them meanwhile. */
long signalfd_look(struct coro *me, const struct pollfd *fds, unsigned n, long nr,
		   const long args[6])
{
	bool lends = signal_lends(me, signalfd_any());
	struct signal_loan loan;
	long r;

	for (unsigned i = 0; i < n && lends; i++)
		poller_suspend(fds[i].fd);
	if (lends)
		signal_lend(me, signalfd_any(), &loan);
	r = sys_call(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (lends)
		signal_take_back(me, &loan);
	for (unsigned i = 0; i < n && lends; i++)
		poller_resume(fds[i].fd);
	return r;
}

bool signalfd_is(int fd)
{
	static const char name[] = "anon_inode:[signalfd]";
	char path[32], found[sizeof(name)];

	if (fdtab_ours(fd))
		return fdtab_signals(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return sys_call(SYS_readlinkat, AT_FDCWD, path, found, sizeof(found)) ==
		       sizeof(name) - 1 &&
	       memcmp(found, name, sizeof(name) - 1) == 0;
}

/* What the kernel has given to the reader is no loan any more: the thread's own
 * come first. */
static void used_up(struct signal_loan *loan, const struct io_vec *v, long r)
{
	struct signalfd_siginfo one;
	struct iovec rest[IO_PIECES];

	for (size_t at = 0; at + sizeof(one) <= (size_t)r; at += sizeof(one)) {
		size_t have = 0;
		int n = io_rest(v->iov, (size_t)v->n, at, rest);

		for (int i = 0; i < n && have < sizeof(one); i++) {
			size_t some = rest[i].iov_len < sizeof(one) - have
					      ? rest[i].iov_len
					      : sizeof(one) - have;

			memcpy((char *)&one + have, rest[i].iov_base, some);
			have += some;
		}
		if (have == sizeof(one) && one.ssi_signo <= 64 &&
		    loan->used[one.ssi_signo] < loan->lent[one.ssi_signo])
			loan->used[one.ssi_signo]++;
	}
}

/* Where the kernel cannot be asked not to wait, poll knows. */
static long try_read(int fd, const struct io_vec *v)
{
	long r = io_read_op.try(fd, v);

	if (r == -EOPNOTSUPP)
		r = io_poll(fd, POLLER_IN);
	if (r == -EOPNOTSUPP || r == -IO_NO_JUDGE)
		r = sys_call(SYS_readv, fd, v->iov, v->n);
	return r;
}

static long look(struct coro *me, int fd, const struct io_vec *v)
{
	struct signal_loan loan;
	long r;

	signal_lend(me, signalfd_any(), &loan);
	r = try_read(fd, v);
	if (r > 0)
		used_up(&loan, v, r);
	signal_take_back(me, &loan);
	return r;
}

long signalfd_read(struct coro *me, int fd, const struct io_vec *v)
{
	struct fd_wait w = FD_WAIT(fd, POLLER_IN);
	bool news = true;
	long r;

	door_enter(me);
	cancel_point(me);
	signalfd_begin(me);
	for (;;) {
		fd_sample(&w);
		r = news ? look(me, w.fd, v) : try_read(w.fd, v);
		news = false;
		if (r != -EAGAIN || fdtab_nonblocking(w.fd))
			break;
		r = fd_wait(&w, COGO_FOREVER, WHY_READ);
		if (r == -EINTR || r == -ECANCELED) {
			news = true;
			r = gate_interrupted(me, true);
		}
		if (r)
			break;
	}
	signalfd_end(me);
	fd_done(&w);
	door_leave(me);
	return r;
}
