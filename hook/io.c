/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/io.c - read, write and their family.
 *
 * RWF_NOWAIT asks the kernel not to block this once, without touching the
 * description's flags. Kinds of files that do not know it answer EOPNOTSUPP;
 * then the descriptor is polled first, if it can be, and the call is made in a
 * declared blocking section: another reader may have been faster. */
#include "hook/io.h"
#include "base/conf.h"
#include "hook/real.h"
#include <poll.h>
#include <stdarg.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

long io_wait(struct coro *me, struct fd_wait *w, const struct io_op *op,
	     cogo_time *deadline)
{
	int r;

	if (fdtab_nonblocking(w->fd))
		return -EAGAIN;
	if (*deadline == 0)
		*deadline = op->timeouts ? io_deadline(w->fd, op->dir)
					 : COGO_FOREVER;
	r = fd_wait(w, *deadline, op->why);
	switch (r) {
	case 0:
		return 0;
	case -ETIMEDOUT:
		return -EAGAIN;		/* as the kernel says it */
	case -EINTR:
	case -ECANCELED:
		/* A socket with a timeout is never restarted. */
		return gate_interrupted(me, *deadline == COGO_FOREVER);
	case -EPERM:
		return -EOPNOTSUPP;	/* no events: let the kernel wait */
	default:
		return r;
	}
}

/* The call that a try without blocking could not be made for: waits until
 * poll says it would not block, where poll means anything, then makes it. */
static long poll_first(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return sys_call(SYS_ppoll, &p, 1, NULL, NULL, 0);
}

struct vec {
	const struct iovec *iov;
	int n;
	off_t offset;
	int flags;
};

static long try_readv(int fd, const void *arg)
{
	const struct vec *v = arg;

	if (unlikely(conf.force & CONF_FORCE_NO_NOWAIT))
		return -EOPNOTSUPP;
	return sys_call(SYS_preadv2, fd, v->iov, v->n, v->offset,
			v->offset >> 63, v->flags | RWF_NOWAIT);
}

static long block_readv(int fd, const void *arg)
{
	const struct vec *v = arg;
	long r = poll_first(fd, POLLIN);

	if (r < 0)
		return r;
	if (v->offset == -1 && !v->flags)
		return sys_call(SYS_readv, fd, v->iov, v->n);
	return sys_call(SYS_preadv2, fd, v->iov, v->n, v->offset,
			v->offset >> 63, v->flags);
}

static long try_writev(int fd, const void *arg)
{
	const struct vec *v = arg;

	if (unlikely(conf.force & CONF_FORCE_NO_NOWAIT))
		return -EOPNOTSUPP;
	return sys_call(SYS_pwritev2, fd, v->iov, v->n, v->offset,
			v->offset >> 63, v->flags | RWF_NOWAIT);
}

static long block_writev(int fd, const void *arg)
{
	const struct vec *v = arg;

	if (v->offset == -1 && !v->flags)
		return sys_call(SYS_writev, fd, v->iov, v->n);
	return sys_call(SYS_pwritev2, fd, v->iov, v->n, v->offset,
			v->offset >> 63, v->flags);
}

static const struct io_op read_op = {
	try_readv, block_readv, POLLER_IN, WHY_READ, true,
};
static const struct io_op write_op = {
	try_writev, block_writev, POLLER_OUT, WHY_WRITE, true,
};

static long do_readv(struct coro *me, int fd, const struct iovec *iov, int n,
		     off_t offset, int flags)
{
	struct vec v = { iov, n, offset, flags };

	if (flags & RWF_NOWAIT)
		return sys_call(SYS_preadv2, fd, iov, n, offset, offset >> 63,
				flags);
	return io_run(me, fd, &read_op, &v);
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	while (n-- > 0)
		sum += iov++->iov_len;
	return sum;
}

/* A blocking write returns when everything is written, or something has been
 * and then an error or a signal came. */
static long do_writev(struct coro *me, int fd, const struct iovec *iov, int n,
		      off_t offset, int flags)
{
	struct vec v = { iov, n, offset, flags };
	struct iovec rest[16], *at;
	size_t want, done = 0;
	long r;

	if (flags & RWF_NOWAIT)
		return sys_call(SYS_pwritev2, fd, iov, n, offset, offset >> 63,
				flags);
	r = io_run(me, fd, &write_op, &v);
	if (r <= 0 || n < 0 || (size_t)r == (want = total(iov, n)))
		return r;
	if (fdtab_nonblocking(fd))
		return r;
	for (done = (size_t)r; done < want; done += (size_t)r) {
		size_t skip = done;
		int k = 0;

		/* What is left, as many pieces at a time as there is room for. */
		for (int i = 0; i < n && k < (int)ARRAY_SIZE(rest); i++) {
			if (skip >= iov[i].iov_len) {
				skip -= iov[i].iov_len;
				continue;
			}
			at = &rest[k++];
			at->iov_base = (char *)iov[i].iov_base + skip;
			at->iov_len = iov[i].iov_len - skip;
			skip = 0;
		}
		v = (struct vec){ rest, k,
				  offset == -1 ? -1 : offset + (off_t)done, flags };
		r = io_run(me, fd, &write_op, &v);
		if (r <= 0)
			break;
	}
	return (long)done;
}

HOOKED ssize_t read(int fd, void *buf, size_t n)
{
	struct coro *me = gate_coro();
	struct iovec iov = { buf, n };

	if (!me)
		return REAL(read)(fd, buf, n);
	return gate_return(do_readv(me, fd, &iov, 1, -1, 0));
}
ALIAS(__read, read);

HOOKED ssize_t write(int fd, const void *buf, size_t n)
{
	struct coro *me = gate_coro();
	struct iovec iov = { (void *)buf, n };

	if (!me)
		return REAL(write)(fd, buf, n);
	return gate_return(do_writev(me, fd, &iov, 1, -1, 0));
}
ALIAS(__write, write);

HOOKED ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(readv)(fd, iov, n);
	return gate_return(do_readv(me, fd, iov, n, -1, 0));
}

HOOKED ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(writev)(fd, iov, n);
	return gate_return(do_writev(me, fd, iov, n, -1, 0));
}
