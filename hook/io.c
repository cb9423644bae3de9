/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/io.c - read, write and their family.
 *
 * RWF_NOWAIT asks the kernel not to block this once, without touching the
 * description's flags. Kinds of files that do not know it answer EOPNOTSUPP;
 * then poll is asked whether the call would wait, and when it would not, the
 * call itself is made, as a declared hand-off: another may have been faster. */
#include "hook/io.h"
#include "base/conf.h"
#include "hook/real.h"
#include "hook/signalfd.h"
#include "hook/thread/cancel.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Fortified entry points, which no header declares for us. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t room);

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

/* O_NONBLOCK is looked at when a call begins. One that has waited, and was woken
 * for nothing, looks again if it reads or writes a pipe or a terminal, and no
 * other. */
static COLD bool looks_again(int fd)
{
	struct stat st;

	return sys_call(SYS_fstat, fd, &st) == 0 &&
	       (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

/* What was not tried here the kernel tries first, when it is submitted with what others
 * have asked for: there is room by then, and where many are served, often the next
 * request too. */
int io_wait_for_all(struct coro *me, const struct fd_wait *w, const struct io_op *op,
		    const void *arg, bool hoped, cogo_time deadline,
		    long *ret_result)
{
	struct poller_job job = {
		.fd = w->fd, .dir = op->dir,
		.in_vain = !hoped,
	};
	int r;

	if (!op->whole(w->fd, arg, &job))
		return -EAGAIN;
	me->fd = w->asked;
	r = op_do(me, &job, deadline, op->why, ret_result);
	/* The signal that goes with it only the call itself brings. */
	return r == 0 && (*ret_result == -EPIPE || *ret_result == -EFBIG) ? -EAGAIN
									  : r;
}

bool io_wait(struct coro *me, struct fd_wait *w, const struct io_op *op,
	     const void *arg, bool hoped, cogo_time *deadline, long *ret_result)
{
	bool first = *deadline == 0;
	int r;

	if (fdtab_nonblocking(w->fd) && (first || looks_again(w->fd))) {
		*ret_result = -EAGAIN;
		return true;
	}
	if (*deadline == 0)
		*deadline = op->timeouts ? io_deadline(w->fd, op->dir)
					 : COGO_FOREVER;
	r = io_whole(op) ? io_wait_for_all(me, w, op, arg, hoped, *deadline,
					   ret_result) : -EAGAIN;
	if (r == 0)
		return true;
	/* What was not tried is, before it waits for an edge or is broken off: as
	 * a thread it would not have waited, perhaps. */
	if (hoped)
		r = 0;
	else if (r == -EAGAIN)
		r = fd_wait(w, *deadline, op->why);
	switch (r) {
	case 0:
	case -ETIMEDOUT:
		*ret_result = r;
		return false;
	case -EINTR:
	case -ECANCELED:
		/* A socket with a timeout is never restarted. */
		r = gate_interrupted(me, *deadline == COGO_FOREVER && !op->rest);
		*ret_result = r;
		return r != 0;
	case -EPERM:
		*ret_result = -EOPNOTSUPP;	/* no events: let the kernel wait */
		return false;
	default:
		*ret_result = r;
		return true;
	}
}

static bool io_timed(int fd, const struct io_op *op)
{
	return op->timeouts && fdtab_timeout(fd, op->dir) != COGO_FOREVER;
}

/* Where nobody has to do anything for a call to come to its end. */
static COLD bool on_disk(int fd)
{
	struct stat st;

	return sys_call(SYS_fstat, fd, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

long io_block(struct coro *me, int fd, const struct io_op *op, const void *arg)
{
	struct io_call c = op->block(fd, arg);
	long r;

	do {
		me->fd = fd;
		block_enter(me, op->why);
		r = gate_call(me, c.nr, c.args);
		block_exit(me);
		/* The kernel is asked for a timeout only where it counts: most
		 * that come here are files, of which it has to say no. */
	} while (r == -EINTR &&
		 (r = gate_interrupted(me, !io_timed(fd, op) && !op->rest)) == 0);
	if (unlikely(r == -GATE_CANCELED) && !cancel_unwinds(me) && on_disk(fd)) {
		me->fd = fd;
		r = gate_uncanceled(me, op->why, c.nr, c.args);
	}
	return r;
}

/* Whether poll is a judge of what the call would do: it is not of a FIFO opened
 * without waiting for a writer, which is at its end as long as there is none,
 * nor of a terminal that waits for so and so many bytes. */
static bool poll_knows(int fd)
{
	struct statfs fs;

	return sys_call(SYS_fstatfs, fd, &fs) == 0 &&
	       (fs.f_type == PIPEFS_MAGIC || fs.f_type == SOCKFS_MAGIC ||
		fs.f_type == ANON_INODE_FS_MAGIC);
}

long io_would_wait(int fd, int dir)
{
	struct pollfd p = { .fd = fd, .events = dir == POLLER_IN ? POLLIN : POLLOUT };

	if (sys_poll_now(&p, 1) != 0)
		return 0;
	return poll_knows(fd) ? -EAGAIN : -EOPNOTSUPP;
}

long io_poll(int fd, int dir)
{
	long r = io_would_wait(fd, dir);

	return r == 0 ? -EOPNOTSUPP : r;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	while (n-- > 0)
		sum += iov++->iov_len;
	return sum;
}

/* Less than an eventfd, a timerfd or a signalfd can do with: they say so without
 * waiting. */
static bool too_few(int fd, size_t n)
{
	struct statfs fs;

	return n < 8 && sys_call(SYS_fstatfs, fd, &fs) == 0 &&
	       fs.f_type == ANON_INODE_FS_MAGIC;
}

/* Kinds of files do not know it; emulators may not know the call at all, and filters
 * may forbid it: what is not permitted to the program itself, the plain call says. */
static COLD long cannot_try(long nr, int fd, const struct io_vec *v, long r)
{
	size_t n;

	if (r != -ENOSYS && r != -EOPNOTSUPP && r != -EPERM)
		return r;
	fdtab_look_for_memory(fd, nr == SYS_preadv2 ? POLLER_IN : POLLER_OUT);
	/* What is wrong with these it says at once. */
	if (v->n < 0 || v->n > IOV_MAX || gate_bad_pointer(v->iov))
		return -IO_NO_JUDGE;
	/* And no bytes are there at once. */
	n = total(v->iov, v->n);
	return n == 0 || too_few(fd, n) ? -IO_NO_JUDGE : -EOPNOTSUPP;
}

/* As kernels that do not know RWF_NOWAIT: they look whether the descriptor is
 * one, and open for this, before they look at the flags. */
static COLD long forced(long nr, int fd, const struct io_vec *v)
{
	long r = sys_call(nr, fd, NULL, 0, v->offset, v->offset >> 63, 0);

	return r < 0 ? r : -EOPNOTSUPP;
}

static long try_vec(long nr, int fd, const struct io_vec *v)
{
	long r;

	if (unlikely(conf.force & CONF_FORCE_NO_NOWAIT))
		r = forced(nr, fd, v);
	else
		r = sys_call(nr, fd, v->iov, v->n, v->offset, v->offset >> 63,
			     v->flags | RWF_NOWAIT);
	return likely(r >= 0 || r == -EAGAIN) ? r : cannot_try(nr, fd, v, r);
}

/* Whether it is one piece for a TCP stream: the socket's own call does the same, and
 * takes a third less of what there is in front of TCP. Other sockets may see a
 * difference. */
static bool is_message(int fd, const struct io_vec *v)
{
	return v->n == 1 && v->offset == -1 && !v->flags &&
	       !gate_bad_pointer(v->iov) && v->iov->iov_len && fdtab_tcp(fd) &&
	       likely(!(conf.force & CONF_FORCE_NO_NOWAIT));
}

/* What says so may be permitted in another way, or not be a socket after all. */
static bool other_way(long r)
{
	return r == -ENOTSOCK || r == -EPERM || r == -EACCES || r == -ENOSYS;
}

static long try_readv(int fd, const void *arg)
{
	const struct io_vec *v = arg;
	long r;

	if (is_message(fd, v)) {
		r = sys_call(SYS_recvfrom, fd, v->iov->iov_base, v->iov->iov_len,
			     MSG_DONTWAIT, NULL, NULL);
		if (likely(!other_way(r)))
			return r;
	}
	return try_vec(SYS_preadv2, fd, v);
}

/* The kernel takes a length of 32 bits, and moves less at a time. */
#define MOST_AT_ONCE ((size_t)1 << 30)

bool io_whole_recv(int fd, void *buf, size_t n, unsigned flags,
		   struct poller_job *ret)
{
	if (n == 0 || n > MOST_AT_ONCE)
		return false;
	ret->what = POLLER_RECV;
	ret->at = buf;
	ret->n = n;
	ret->flags = flags;
	ret->stream = fdtab_tcp(fd);
	return true;
}

/* With MSG_WAITALL the kernel goes on until all is sent. */
bool io_whole_send(const void *buf, size_t n, unsigned flags,
		   struct poller_job *ret)
{
	if (n == 0 || n > MOST_AT_ONCE)
		return false;
	ret->what = POLLER_SEND;
	ret->at = (void *)buf;
	ret->n = n;
	ret->flags = flags | MSG_WAITALL;
	return true;
}

/* Only a socket has an operation that does not look first whether it would wait. */
static bool whole_readv(int fd, const void *arg, struct poller_job *ret)
{
	const struct io_vec *v = arg;

	if (v->offset != -1 || v->flags || !fdtab_socket(fd))
		return false;
	if (v->n == 1)
		return io_whole_recv(fd, v->iov->iov_base, v->iov->iov_len, 0, ret);
	/* A try has found them sound. */
	ret->what = POLLER_READV;
	ret->at = (void *)v->iov;
	ret->n = (size_t)v->n;
	return ret->in_vain;
}

static bool whole_writev(int fd, const void *arg, struct poller_job *ret)
{
	const struct io_vec *v = arg;

	return v->n == 1 && v->offset == -1 && !v->flags && fdtab_socket(fd) &&
	       io_whole_send(v->iov->iov_base, v->iov->iov_len, 0, ret);
}

static bool whole_at(enum poller_what what, const struct io_vec *v,
		     struct poller_job *ret)
{
	size_t n = v->n == 1 ? v->iov->iov_len : 0;

	if (n == 0 || n > MOST_AT_ONCE || v->flags)
		return false;
	ret->what = what;
	ret->at = v->iov->iov_base;
	ret->n = n;
	ret->offset = v->offset;
	return true;
}

static bool whole_read_at(int fd, const void *arg, struct poller_job *ret)
{
	(void)fd;
	return whole_at(POLLER_READ_AT, arg, ret);
}

static bool whole_write_at(int fd, const void *arg, struct poller_job *ret)
{
	(void)fd;
	return whole_at(POLLER_WRITE_AT, arg, ret);
}

static struct io_call block_vec(int fd, const struct io_vec *v, long plain, long at)
{
	if (v->offset == -1 && !v->flags)
		return (struct io_call){ plain, { fd, (long)v->iov, v->n } };
	return (struct io_call){ at, { fd, (long)v->iov, v->n, v->offset,
				       v->offset >> 63, v->flags } };
}

static struct io_call block_readv(int fd, const void *arg)
{
	return block_vec(fd, arg, SYS_readv, SYS_preadv2);
}

static long try_writev(int fd, const void *arg)
{
	const struct io_vec *v = arg;
	long r;

	if (is_message(fd, v)) {
		r = sys_call(SYS_sendto, fd, v->iov->iov_base, v->iov->iov_len,
			     MSG_DONTWAIT, NULL, 0);
		if (likely(!other_way(r)))
			return r;
	}
	return try_vec(SYS_pwritev2, fd, v);
}

static struct io_call block_writev(int fd, const void *arg)
{
	return block_vec(fd, arg, SYS_writev, SYS_pwritev2);
}

const struct io_op io_read_op = {
	try_readv, block_readv, POLLER_IN, WHY_READ, true, false, false, whole_readv,
};
static const struct io_op read_at_op = {
	try_readv, block_readv, POLLER_IN, WHY_READ, true, true, false, whole_read_at,
};
const struct io_op io_write_op = {
	try_writev, block_writev, POLLER_OUT, WHY_WRITE, true, false, false, whole_writev,
};
static const struct io_op write_at_op = {
	try_writev, block_writev, POLLER_OUT, WHY_WRITE, true, true, false, whole_write_at,
};

int io_rest(const struct iovec *iov, size_t n, size_t done,
	    struct iovec ret_rest[IO_PIECES])
{
	int k = 0;

	for (size_t i = 0; i < n && k < IO_PIECES; i++) {
		if (done >= iov[i].iov_len) {
			done -= iov[i].iov_len;
			continue;
		}
		ret_rest[k++] = (struct iovec){ (char *)iov[i].iov_base + done,
						iov[i].iov_len - done };
		done = 0;
	}
	return k;
}

/* Less has come than the low-water mark of a socket, which a try does not know. */
static COLD long read_up_to(struct coro *me, int fd, const struct iovec *iov,
			    int n, long done, long mark)
{
	struct iovec rest[IO_PIECES];
	struct io_vec v = { rest, 0, -1, 0 };
	long r;

	while (done < mark) {
		v.n = io_rest(iov, (size_t)n, (size_t)done, rest);
		r = io_run_rest(me, fd, &io_read_op, &v);
		if (r <= 0)
			break;
		done += r;
	}
	return done;
}

static long low_water(int fd, const struct iovec *iov, int n, long got)
{
	long mark = fdtab_low_water(fd), want;

	if (got >= mark || fdtab_nonblocking(fd))
		return got;
	want = (long)total(iov, n);
	return want < mark ? want : mark;
}

/* Nobody waits there: as if we were not here, but that it is a place to end. */
static NOINLINE long in_memory(struct coro *me, int fd, const struct io_op *op,
			   const struct io_vec *v)
{
	struct io_call c = op->block(fd, v);

	cancel_point(me);
	return sys_call(c.nr, c.args[0], c.args[1], c.args[2], c.args[3],
			c.args[4], c.args[5]);
}

/* A file on a disk. Whoever asks the kernel not to wait gets what the page cache
 * has, and a short read where that ends; but a thread that reads a file gets all it
 * asked for, up to the end, and programs count on it. */

/* At a place of its own: what is missing, after what was there. */
static long read_at(struct coro *me, int fd, const struct io_vec *all)
{
	size_t want = total(all->iov, all->n), done = 0;
	struct io_vec v = *all;
	struct iovec rest[IO_PIECES];
	long r;

	while ((r = io_run(me, fd, &read_at_op, &v)) > 0) {
		done += (size_t)r;
		if (done >= want)
			break;
		v.n = io_rest(all->iov, (size_t)all->n, done, rest);
		v.iov = rest;
		v.offset = all->offset + (off_t)done;
	}
	return done ? (long)done : r;
}

/* At the file's own place, which others may move, and even another process, it is one
 * call, as it was; so the page cache is asked beforehand.
 *
 * That costs more than the reading. Once so many reads in a row were fast, files are
 * read without a look: should one wait for the disk, the monitor sees it, and those
 * after it are looked at again. */
#define STREAK 16

static _Atomic int fast_reads;

static void note(bool fast)
{
	/* relaxed: a guess at the next from the last, by whomever. */
	int n = atomic_load_explicit(&fast_reads, memory_order_relaxed);

	if (unlikely(!fast))
		n = 0;
	else if (n < STREAK)
		n++;
	else
		return;
	atomic_store_explicit(&fast_reads, n, memory_order_relaxed);
}

/* Whether so many bytes are there at that place, or all up to the end: judged by the
 * last of them, for a file is mostly read on and on; where that is past the end, by
 * the first. */
static bool cached(int fd, off_t at, size_t n)
{
	char byte;
	struct iovec one = { &byte, 1 };
	struct io_vec v = { &one, 1, at + (off_t)(n - 1), 0 };
	long r = n ? try_readv(fd, &v) : 0;

	v.offset = at;
	return (r == 0 && n > 1 ? try_readv(fd, &v) : r) >= 0;
}

static long read_on(struct coro *me, int fd, const struct io_vec *v)
{
	bool look = atomic_load_explicit(&fast_reads, memory_order_relaxed) < STREAK;
	cogo_time begun;
	off_t at;
	long r;

	if (unlikely(look)) {
		at = sys_call(SYS_lseek, fd, 0, SEEK_CUR);
		if (at < 0 || !cached(fd, at, total(v->iov, v->n))) {
			note(false);
			return io_sleep(me, fd, &io_read_op, v);
		}
	}
	begun = sys_now();
	r = in_memory(me, fd, &io_read_op, v);
	/* A nanosecond a byte is slow for a copy. */
	note(sys_now() - begun < 50000 + (r > 0 ? r : 0));
	return r;
}

static NOINLINE long read_file(struct coro *me, int fd, const struct io_vec *v)
{
	return v->offset == -1 ? read_on(me, fd, v) : read_at(me, fd, v);
}

/* Some file systems can try a write, and leave it at a part. The rest would then be
 * another write, with others' in between, and be it in a log whose lines are whole. */
static NOINLINE long write_file(struct coro *me, int fd, const struct io_vec *v)
{
	fdtab_look_for_memory(fd, POLLER_OUT);
	return fdtab_to_memory(fd) ? in_memory(me, fd, &io_write_op, v)
				   : io_sleep(me, fd, &io_write_op, v);
}

static long do_readv(struct coro *me, int fd, const struct iovec *iov, int n,
		     off_t offset, int flags)
{
	struct io_vec v = { iov, n, offset, flags };
	bool sane = n > 0 && n <= IOV_MAX && !gate_bad_pointer(iov);
	enum fdtab_source source;
	long r, mark;

	if (flags & RWF_NOWAIT)
		return sys_call(SYS_preadv2, fd, iov, n, offset, offset >> 63,
				flags);
	source = fdtab_source(fd);
	if (unlikely(source == SOURCE_MEMORY))
		return in_memory(me, fd, &io_read_op, &v);
	if (unlikely(source == SOURCE_DISK) && sane)
		return read_file(me, fd, &v);
	if (unlikely(signalfd_any()) && offset == -1 && signalfd_is(fd))
		return signalfd_read(me, fd, &v);
	r = io_run_for(me, fd, offset == -1 ? &io_read_op : &read_at_op, &v,
		       n == 1 && sane ? iov->iov_len : 0);
	if (r > 0 && offset == -1 && (size_t)r < total(iov, n) &&
	    unlikely((mark = low_water(fd, iov, n, r)) > r))
		r = read_up_to(me, fd, iov, n, r, mark);
	return r;
}

/* A blocking write returns when everything is written, or something has been
 * and then an error or a signal came. */
static long do_writev(struct coro *me, int fd, const struct iovec *iov, int n,
		      off_t offset, int flags)
{
	struct io_vec v = { iov, n, offset, flags };
	struct iovec rest[IO_PIECES];
	uint32_t ran = me->handled;
	size_t want, done = 0;
	long r;

	if (flags & RWF_NOWAIT)
		return sys_call(SYS_pwritev2, fd, iov, n, offset, offset >> 63,
				flags);
	if (unlikely(fdtab_to_memory(fd)))
		return in_memory(me, fd, &io_write_op, &v);
	if (unlikely(fdtab_source(fd) == SOURCE_DISK))
		return write_file(me, fd, &v);
	r = io_run(me, fd, offset == -1 ? &io_write_op : &write_at_op, &v);
	if (r <= 0 || n < 0 || (size_t)r == (want = total(iov, n)))
		return r;
	if (fdtab_nonblocking(fd))
		return r;
	for (done = (size_t)r; done < want && me->handled == ran;
	     done += (size_t)r) {
		v = (struct io_vec){ rest, io_rest(iov, (size_t)n, done, rest),
				  offset == -1 ? -1 : offset + (off_t)done, flags };
		r = io_run_rest(me, fd, &io_write_op, &v);
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

/* pread and pwrite never block on what they are for, files; on anything else
 * they fail with ESPIPE. */
HOOKED ssize_t pread64(int fd, void *buf, size_t n, off64_t offset)
{
	struct coro *me = gate_coro();
	struct iovec iov = { buf, n };

	if (!me || offset < 0)
		return REAL(pread64)(fd, buf, n, offset);
	return gate_return(do_readv(me, fd, &iov, 1, offset, 0));
}
ALIAS(pread, pread64);
ALIAS(__pread64, pread64);

HOOKED ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	struct coro *me = gate_coro();
	struct iovec iov = { (void *)buf, n };

	if (!me || offset < 0)
		return REAL(pwrite64)(fd, buf, n, offset);
	return gate_return(do_writev(me, fd, &iov, 1, offset, 0));
}
ALIAS(pwrite, pwrite64);
ALIAS(__pwrite64, pwrite64);

HOOKED ssize_t preadv64v2(int fd, const struct iovec *iov, int n,
			  off64_t offset, int flags)
{
	struct coro *me = gate_coro();

	if (!me || offset < -1)
		return REAL(preadv64v2)(fd, iov, n, offset, flags);
	return gate_return(do_readv(me, fd, iov, n, offset, flags));
}
ALIAS(preadv2, preadv64v2);

HOOKED ssize_t pwritev64v2(int fd, const struct iovec *iov, int n,
			   off64_t offset, int flags)
{
	struct coro *me = gate_coro();

	if (!me || offset < -1)
		return REAL(pwritev64v2)(fd, iov, n, offset, flags);
	return gate_return(do_writev(me, fd, iov, n, offset, flags));
}
ALIAS(pwritev2, pwritev64v2);

HOOKED ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
	struct coro *me = gate_coro();

	if (!me || offset < 0)
		return REAL(preadv64)(fd, iov, n, offset);
	return gate_return(do_readv(me, fd, iov, n, offset, 0));
}
ALIAS(preadv, preadv64);

HOOKED ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
	struct coro *me = gate_coro();

	if (!me || offset < 0)
		return REAL(pwritev64)(fd, iov, n, offset);
	return gate_return(do_writev(me, fd, iov, n, offset, 0));
}
ALIAS(pwritev, pwritev64);

/* The fortified forms check the buffer and go on as the plain ones. */
HOOKED ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
	if (n > room)
		return REAL(__read_chk)(fd, buf, n, room);
	return read(fd, buf, n);
}

HOOKED ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset,
			     size_t room)
{
	if (n > room)
		return REAL(__pread64_chk)(fd, buf, n, offset, room);
	return pread64(fd, buf, n, offset);
}
ALIAS(__pread_chk, __pread64_chk);

HOOKED int eventfd_read(int fd, eventfd_t *value)
{
	return read(fd, value, sizeof(*value)) == sizeof(*value) ? 0 : -1;
}

HOOKED int eventfd_write(int fd, eventfd_t value)
{
	return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

/* Moving bytes from one descriptor to another inside the kernel. Each side may
 * block, and SPLICE_F_NONBLOCK does not keep a full socket from it; so both
 * are waited for first, and the call is made as a declared hand-off: it seldom
 * blocks then, and when it does, nobody waits with it. */
struct move {
	int in, out;
	long nr;
	long a[6];
	bool nonblocking;
};

static bool is_pipe(int fd)
{
	return sys_call(SYS_fcntl, fd, F_GETPIPE_SZ) >= 0;
}

static bool opened_for(int fd, int not_for)
{
	long flags = sys_call(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != not_for;
}

/* A position, where there is none. */
static bool misplaced(int fd, long offset)
{
	return offset && sys_call(SYS_lseek, fd, 0, SEEK_CUR) < 0;
}

static bool same(int a, int b)
{
	struct stat x, y;

	return sys_call(SYS_fstat, a, &x) == 0 && sys_call(SYS_fstat, b, &y) == 0 &&
	       x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* A file that is at its end, or no file at all. */
static bool nothing_to_send(const struct move *m)
{
	const off64_t *offset = (const off64_t *)m->a[2];
	struct stat st;
	long at;

	if (sys_call(SYS_fstat, m->in, &st) != 0)
		return true;
	if (!S_ISREG(st.st_mode))
		return !S_ISBLK(st.st_mode) && !is_pipe(m->out);
	if (gate_bad_pointer(offset) && offset)
		return true;
	at = offset ? *offset : sys_call(SYS_lseek, m->in, 0, SEEK_CUR);
	return at < 0 || at >= st.st_size;
}

/* Whether the kernel has an answer before it waits for anything: most often
 * that it cannot be done. Asked before a wait alone, and not always known: a
 * wait too much is seldom noticed. */
static COLD bool answered_at_once(const struct move *m)
{
	bool from, to;

	if (!opened_for(m->in, O_WRONLY) || !opened_for(m->out, O_RDONLY))
		return true;
	if (m->nr == SYS_sendfile)
		return m->a[3] == 0 || nothing_to_send(m);
	from = is_pipe(m->in);
	to = is_pipe(m->out);
	if (from && to && same(m->in, m->out))
		return true;
	if (m->nr == SYS_tee)
		return !from || !to || m->a[2] == 0;
	return (!from && !to) || m->a[4] == 0 || misplaced(m->in, m->a[1]) ||
	       misplaced(m->out, m->a[3]) ||
	       (!to && (sys_call(SYS_fcntl, m->out, F_GETFL) & O_APPEND)) ||
	       (m->a[5] & ~(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE |
			    SPLICE_F_GIFT));
}

/* 1: the kernel shall be asked whatever else is to be waited for. */
static int wait_ready(struct coro *me, const struct move *m, int fd, int dir,
		      enum why why)
{
	struct fd_wait w = FD_WAIT(fd, dir);
	struct pollfd p = { .fd = fd, .events = dir == POLLER_IN ? POLLIN : POLLOUT };
	bool first = true;
	int r = 0;
	long n;

	for (;; first = false) {
		n = fd_sample(&w) ? 0 : sys_poll_now(&p, 1);
		if (n != 0 || fdtab_nonblocking(fd))
			break;
		if (first && answered_at_once(m)) {
			r = 1;
			break;
		}
		r = fd_wait(&w, io_deadline(fd, dir), why);
		if (r == -EINTR || r == -ECANCELED)
			r = gate_interrupted(me, true);
		if (r)
			break;
	}
	fd_done(&w);
	return r > 0 || r == -EINTR || r == -GATE_CANCELED ? r : 0;
}

static long do_move(struct coro *me, const struct move *m)
{
	long r = 0;

	door_enter(me);
	cancel_point(me);
	if (!m->nonblocking) {
		r = wait_ready(me, m, m->in, POLLER_IN, WHY_READ);
		if (r == 0)
			r = wait_ready(me, m, m->out, POLLER_OUT, WHY_WRITE);
	}
	if (r >= 0)
		r = gate_sleep_args(me, WHY_WRITE, true, m->nr, m->a);
	door_leave(me);
	return r;
}

HOOKED ssize_t sendfile64(int out, int in, off64_t *offset, size_t n)
{
	struct coro *me = gate_coro();
	size_t done = 0;
	int state;
	bool point;
	long r;

	if (!me)
		return REAL(sendfile64)(out, in, offset, n);
	/* Libc's is no cancellation point. */
	point = atomic_load_explicit(&me->cancel, memory_order_relaxed) &
		CANCEL_ASYNC;
	if (!point)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	/* A blocking sendfile goes on until it has sent all or meets the end:
	 * a piece at a time, so that a slow receiver is waited for here. */
	do {
		bool waits = !fdtab_nonblocking(out);
		size_t piece = waits && n - done > 1 << 16 ? 1 << 16 : n - done;
		struct move m = { in, out, SYS_sendfile,
				  { out, in, (long)offset, (long)piece }, !waits };

		r = do_move(me, &m);
		if (r > 0)
			done += (size_t)r;
	} while (r > 0 && done < n && !fdtab_nonblocking(out));
	if (!point)
		pthread_setcancelstate(state, NULL);
	return done ? (ssize_t)done : gate_return(r);
}
ALIAS(sendfile, sendfile64);

HOOKED ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off,
		      size_t n, unsigned flags)
{
	struct coro *me = gate_coro();
	struct move m = { in, out, SYS_splice,
			  { in, (long)in_off, out, (long)out_off, (long)n, flags },
			  flags & SPLICE_F_NONBLOCK };

	return me ? gate_return(do_move(me, &m))
		  : REAL(splice)(in, in_off, out, out_off, n, flags);
}

HOOKED ssize_t tee(int in, int out, size_t n, unsigned flags)
{
	struct coro *me = gate_coro();
	struct move m = { in, out, SYS_tee, { in, out, (long)n, flags },
			  flags & SPLICE_F_NONBLOCK };

	return me ? gate_return(do_move(me, &m)) : REAL(tee)(in, out, n, flags);
}

HOOKED ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	struct coro *me = gate_coro();
	struct move m = { -1, fd, SYS_vmsplice, { fd, (long)iov, (long)n, flags },
			  true };

	return me ? gate_return(do_move(me, &m)) : REAL(vmsplice)(fd, iov, n, flags);
}

HOOKED ssize_t copy_file_range(int in, off64_t *in_off, int out,
			       off64_t *out_off, size_t n, unsigned flags)
{
	struct coro *me = gate_coro();
	struct move m = { in, out, SYS_copy_file_range,
			  { in, (long)in_off, out, (long)out_off, (long)n, flags },
			  true };

	return me ? gate_return(do_move(me, &m))
		  : REAL(copy_file_range)(in, in_off, out, out_off, n, flags);
}
