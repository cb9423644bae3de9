/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/native_io.c - input and output of the native API.
 *
 * The same tries as the hooks', in a loop of its own: the deadline is the caller's
 * and not the socket's, whatever O_NONBLOCK says, and a cancellation is told and
 * not acted on. Coroutines wait by the runtime's poller. Kernel threads, and who
 * counts as one (hook/gate.h), wait in ppoll: they need no worker then, nor that
 * any runs. */
#include "base/errno.h"
#include "cogo/go.h"
#include "cogo/io.h"
#include "hook/call.h"
#include "hook/file.h"
#include "hook/io.h"
#include "hook/real.h"
#include "hook/socket.h"
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

/* ---- waiting ------------------------------------------------------------- */

/* 1 when something has come, 0 when the time is up, -EINTR. Inside the runtime;
 * on a coroutine, as a declared hand-off. */
static long sleep_in_poll(struct coro *me, struct pollfd *p, cogo_time deadline,
			  enum why why)
{
	struct timespec room;
	long span = (long)sys_left(deadline, &room), r;

	me->fd = p->fd;
	block_enter(me, why);
	r = gate_call(me, SYS_ppoll, (const long[6]){ (long)p, 1, span, 0, 8 });
	block_exit(me);
	return r;
}

/* Files have no readiness: poll says yes, and a try that would wait says no. */
static bool is_file(int fd)
{
	struct stat st;

	return sys_call(SYS_fstat, fd, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ||
		S_ISDIR(st.st_mode));
}

/* As fd_wait, for whoever calls. -EPERM: let the kernel wait. */
static int wait_once(struct coro *me, struct fd_wait *w, cogo_time deadline,
		     enum why why)
{
	struct pollfd p = { .fd = w->fd,
			    .events = w->dir == POLLER_IN ? POLLIN : POLLOUT };
	long r;

	if (gate_coro())
		return fd_wait(w, deadline, why);
	if (is_file(w->fd))
		return -EPERM;
	r = sleep_in_poll(me, &p, deadline, why);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : (int)r;
}

/* The call itself, in the kernel, for what cannot be tried. */
static long call_blocking(struct coro *me, int fd, const struct io_op *op,
			  const void *arg)
{
	struct io_call c = op->block(fd, arg);
	long r;

	do {
		me->fd = fd;
		block_enter(me, op->why);
		r = gate_call(me, c.nr, c.args);
		block_exit(me);
	} while (r == -EINTR && (r = cancel_interrupted(me, -EINTR)) == 0);
	return r;
}

static bool would_wait(int fd, int dir)
{
	struct pollfd p = { .fd = fd, .events = dir == POLLER_IN ? POLLIN : POLLOUT };

	return sys_poll_now(&p, 1) == 0;
}

/* What a try has not settled: -EAGAIN to wait, else the result. Poll is a judge
 * here of more than in hook/io.c: of a FIFO that never had a writer, which a read
 * finds at its end, it says that there is nothing yet, and with a deadline that is
 * the better answer. */
static long settle(struct coro *me, int fd, const struct io_op *op,
		   const void *arg, long r)
{
	if (r != -EOPNOTSUPP && r != -IO_NO_JUDGE)
		return r;
	if (r == -EOPNOTSUPP && !op->no_poll && !fdtab_nonblocking(fd) &&
	    would_wait(fd, op->dir))
		return -EAGAIN;
	return call_blocking(me, fd, op, arg);
}

static long run(int fd, const struct io_op *op, const void *arg,
		cogo_time deadline)
{
	struct fd_wait w = FD_WAIT(fd, op->dir);
	const bool whole = io_whole(op) && gate_coro();
	bool late = false, hope = whole && io_hopes(fd, op);
	struct coro *me;
	long r;
	int e;

	me = cancel_in(&e);
	r = e;
	for (; r == 0; hope = false) {
		/* What is known to be in vain is good enough to wait for news,
		 * not to tell the program. */
		r = (fd_sample(&w) || hope) && !late && deadline ?
			    -EAGAIN : op->try(w.fd, arg);
		r = likely(r >= 0) ? r : settle(me, w.fd, op, arg, r);
		if (r != -EAGAIN)
			break;
		r = -ETIMEDOUT;
		if (late || deadline == 0)
			break;
		e = whole ? io_wait_for_all(me, &w, op, arg, hope, deadline, &r) :
			    -EAGAIN;
		if (e == 0)
			break;
		/* What was not tried is now, whatever it was broken off by. */
		if (hope)
			e = 0;
		else if (e == -EAGAIN)
			e = wait_once(me, &w, deadline, op->why);
		late = e == -ETIMEDOUT;
		if (e == 0 || late)
			r = 0;
		else if (e == -EPERM)
			r = call_blocking(me, w.fd, op, arg);
		else
			r = cancel_interrupted(me, e);
		if (e == -EPERM)
			break;
	}
	if (unlikely(w.fd != fd))
		fd_done(&w);
	/* An int is enough for what it looks at. */
	return r == -ECANCELED ? cancel_out(me, -ECANCELED) :
				 (cancel_out(me, 0), r);
}

/* ---- bytes --------------------------------------------------------------- */

/* Where RWF_NOWAIT is not known, a socket has a way of its own. (But not for no
 * bytes at all, with which a datagram would be eaten.) */
static long try_read(int fd, const void *arg)
{
	const struct iovec *iov = ((const struct io_vec *)arg)->iov;
	long r = io_read_op.try(fd, arg), s;

	if (likely(r != -EOPNOTSUPP) || iov->iov_len == 0)
		return r;
	s = sys_call(SYS_recvfrom, fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT,
		     NULL, NULL);
	return s == -ENOTSOCK ? r : s;
}

static long try_write(int fd, const void *arg)
{
	const struct iovec *iov = ((const struct io_vec *)arg)->iov;
	long r = io_write_op.try(fd, arg), s;

	if (likely(r != -EOPNOTSUPP) || iov->iov_len == 0)
		return r;
	s = sys_call(SYS_sendto, fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT,
		     NULL, 0);
	return s == -ENOTSOCK ? r : s;
}

static struct io_call block_read(int fd, const void *arg)
{
	return io_read_op.block(fd, arg);
}

/* Of a pipe that can be written poll promises room for so many. */
static struct io_call block_write(int fd, const void *arg)
{
	const struct iovec *iov = ((const struct io_vec *)arg)->iov;
	size_t n = iov->iov_len;

	if (n > PIPE_BUF && !is_file(fd))
		n = PIPE_BUF;
	return (struct io_call){ SYS_write, { fd, (long)iov->iov_base, (long)n } };
}

/* With O_NONBLOCK, which does not count here, the kernel would not wait. */
static bool whole_read(int fd, const void *arg, struct poller_job *ret)
{
	return !fdtab_nonblocking(fd) && io_read_op.whole(fd, arg, ret);
}

static bool whole_write(int fd, const void *arg, struct poller_job *ret)
{
	return !fdtab_nonblocking(fd) && io_write_op.whole(fd, arg, ret);
}

static const struct io_op read_op = {
	try_read, block_read, POLLER_IN, WHY_READ, false, false, false, whole_read,
};
static const struct io_op write_op = {
	try_write, block_write, POLLER_OUT, WHY_WRITE, false, false, false, whole_write,
};

long cogo_read(int fd, void *buf, size_t n, cogo_time deadline)
{
	struct iovec iov = { buf, n };
	struct io_vec v = { &iov, 1, -1, 0 };

	return run(fd, &read_op, &v, deadline);
}

long cogo_write(int fd, const void *buf, size_t n, cogo_time deadline)
{
	struct iovec iov = { (void *)buf, n };
	struct io_vec v = { &iov, 1, -1, 0 };

	return run(fd, &write_op, &v, deadline);
}

long cogo_read_full(int fd, void *buf, size_t n, cogo_time deadline,
		    size_t *ret_done)
{
	size_t done = 0;
	long r = 0;

	if (ret_done)
		*ret_done = 0;
	while (done < n) {
		r = cogo_read(fd, (char *)buf + done, n - done, deadline);
		if (r <= 0)
			break;
		done += (size_t)r;
		if (ret_done)
			*ret_done = done;
	}
	return r < 0 ? r : (long)done;
}

int cogo_write_all(int fd, const void *buf, size_t n, cogo_time deadline,
		   size_t *ret_done)
{
	size_t done = 0;
	long r;

	/* Where it is unwound in the middle, that much is known too. */
	if (ret_done)
		*ret_done = 0;
	while (done < n) {
		r = cogo_write(fd, (const char *)buf + done, n - done, deadline);
		if (r < 0)
			return (int)r;
		done += (size_t)r;
		if (ret_done)
			*ret_done = done;
	}
	return 0;
}

/* ---- readiness ----------------------------------------------------------- */

/* Which of those asked for. Where a read would not wait, it may be read. */
static int ready_of(unsigned events, short revents)
{
	unsigned ready = 0;

	if (revents & (POLLIN | POLLHUP | POLLERR | POLLRDHUP))
		ready |= COGO_READ;
	if (revents & (POLLOUT | POLLHUP | POLLERR))
		ready |= COGO_WRITE;
	return (int)(ready & events);
}

static int wait_either(struct coro *me, struct pollfd *p,
		       const uint32_t samples[2], cogo_time deadline)
{
	struct poller_waiter room;
	long r;
	int e;

	if (gate_coro()) {
		e = fd_wait_many(p, 1, samples, &room, deadline);
		if (e == 0 || e == -ETIMEDOUT || e == -EINTR || e == -ECANCELED)
			return e;
		/* No room for it: as a thread. */
	}
	r = sleep_in_poll(me, p, deadline, WHY_POLL);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : (int)r;
}

static int look(struct pollfd *p, unsigned events)
{
	long n = sys_poll_now(p, 1);

	if (n <= 0)
		return (int)n;
	return p->revents & POLLNVAL ? -EBADF : ready_of(events, p->revents);
}

int cogo_wait_fd(int fd, unsigned events, cogo_time deadline)
{
	struct pollfd p = { .fd = fd };
	uint32_t samples[POLLER_DIRS];
	struct coro *me;
	bool late = false, dry;
	int r;

	if (!events || events & ~(COGO_READ | COGO_WRITE))
		return -EINVAL;
	if (fd < 0)
		return -EBADF;
	p.events = (short)((events & COGO_READ ? POLLIN | POLLRDHUP : 0) |
			   (events & COGO_WRITE ? POLLOUT : 0));
	me = cancel_in(&r);
	while (r == 0) {
		for (int dir = 0; dir < POLLER_DIRS; dir++)
			samples[dir] = poller_sample(fd, dir, &dry);
		r = look(&p, events);
		if (r)
			break;
		r = -ETIMEDOUT;
		if (late || deadline == 0)
			break;
		r = wait_either(me, &p, samples, deadline);
		late = r == -ETIMEDOUT;
		r = late ? 0 : cancel_interrupted(me, r);
	}
	return cancel_out(me, r);
}

/* ---- connections --------------------------------------------------------- */

static long try_accept(int fd, const void *arg)
{
	long r = socket_try_accept(fd, arg);

	/* The hooks' own ways to say so; handlers have run. */
	return r == -GATE_CANCELED ? -ECANCELED : r;
}

static bool whole_accept(int fd, const void *arg, struct poller_job *ret)
{
	return !fdtab_nonblocking(fd) && socket_whole_accept(fd, arg, ret);
}

static const struct io_op accept_op = {
	try_accept, socket_block_accept, POLLER_IN, WHY_ACCEPT, true, true, false, NULL,
};
static const struct io_op accept_shared_op = {
	try_accept, socket_block_accept, POLLER_IN, WHY_ACCEPT, true, true, false,
	whole_accept,
};

int cogo_accept(int fd, struct sockaddr *addr, unsigned *len, cogo_time deadline)
{
	struct coro *me = self_or_adopt();
	struct socket_accept a = { addr, len, SOCK_CLOEXEC, me };
	long r;

	if (!me)
		return -ENOMEM;
	do
		r = run(fd, fdtab_ours(fd) ? &accept_op : &accept_shared_op, &a,
			deadline);
	while (r == -EINTR);
	if (r >= 0)
		file_made((int)r, false, true);
	return (int)r;
}

/* Begins the connection and does not wait for it, if that can be had. */
static long begin_connect(struct coro *me, int fd, const struct sockaddr *addr,
			  unsigned len)
{
	const long args[6] = { fd, (long)addr, len };
	long r;

	if (fdtab_nonblocking(fd))
		return sys_call(SYS_connect, fd, addr, len);
	if (fdtab_ours(fd))
		return socket_connect_begin(fd, addr, len);
	me->fd = fd;
	block_enter(me, WHY_CONNECT);
	r = gate_call(me, SYS_connect, args);
	block_exit(me);
	return r;
}

/* Whether a connection that was broken off is being made all the same. (A local
 * one whose listener is full is not: it says EAGAIN.) */
static long finish_connect(struct coro *me, int fd, const struct sockaddr *addr,
			   unsigned len, cogo_time deadline)
{
	struct fd_wait w = FD_WAIT(fd, POLLER_OUT);
	bool late = false;
	long r;
	int e;

	for (;;) {
		struct pollfd p = { .fd = w.fd, .events = POLLOUT };

		fd_sample(&w);
		r = sys_poll_now(&p, 1);
		if (r)
			break;
		r = -ETIMEDOUT;
		if (late || deadline == 0)
			goto out;
		e = wait_once(me, &w, deadline, WHY_CONNECT);
		late = e == -ETIMEDOUT;
		r = late ? 0 : cancel_interrupted(me, e);
		if (r)
			goto out;
	}
	/* As hook/socket.c has it. */
	r = begin_connect(me, w.fd, addr, len);
	if (r == -EISCONN)
		r = 0;
out:
	fd_done(&w);
	return r;
}

/* A listener of the same machine that is full: there is nothing to wait on but
 * time. Begins with a tenth of a millisecond, and goes up to ten. */
static int wait_a_little(struct coro *me, cogo_time *pause, cogo_time deadline)
{
	struct pollfd none = { .fd = -1 };
	cogo_time until = sys_now() + *pause;
	int r;

	if (deadline <= sys_now())
		return -ETIMEDOUT;
	until = until < deadline ? until : deadline;
	*pause = *pause < 5 * COGO_MS ? *pause * 2 : 10 * COGO_MS;
	if (gate_coro())
		r = fd_wait_many(&none, 0, NULL, NULL, until);
	else
		r = (int)sleep_in_poll(me, &none, until, WHY_CONNECT);
	return r == -ETIMEDOUT ? 0 : cancel_interrupted(me, r);
}

int cogo_connect(int fd, const struct sockaddr *addr, unsigned len,
		 cogo_time deadline)
{
	cogo_time pause = COGO_MS / 10;
	struct coro *me;
	long r;
	int e;

	me = cancel_in(&e);
	if (e)
		return cancel_out(me, e);
	for (;;) {
		r = begin_connect(me, fd, addr, len);
		if (r == -EAGAIN) {
			e = wait_a_little(me, &pause, deadline);
			if (e == 0)
				continue;
			r = e;
		} else if (r == -EINTR) {
			e = cancel_interrupted(me, -EINTR);
			r = e ? e : -EINPROGRESS;
		}
		break;
	}
	if (r == -EINPROGRESS || r == -EALREADY)
		r = finish_connect(me, fd, addr, len, deadline);
	return cancel_out(me, (int)r);
}

/* ---- other people's code ------------------------------------------------- */

static void end_block(struct coro **me)
{
	if (*me)
		call_end(*me);
}

long cogo_block(long (*fn)(void *), void *arg)
{
	/* However fn is left. */
	struct coro *me __attribute__((cleanup(end_block))) = gate_coro();

	if (me)
		call_begin(me, WHY_BLOCKED);
	return fn(arg);
}

/* A question to the resolver; who asks and who answers hold it. */
struct question {
	_Atomic uint32_t refs;
	char *host, *service;
	bool hinted;
	struct addrinfo hints;
	struct addrinfo *result;
	int error;
};

static void put_question(void *arg)
{
	struct question *q = arg;

	/* acq_rel: the last one sees what the other has left. */
	if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (q->result)
		freeaddrinfo(q->result);
	free(q->host);
	free(q->service);
	free(q);
}

static struct question *ask(const char *host, const char *service,
			    const struct addrinfo *hints)
{
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	atomic_store_explicit(&q->refs, 1, memory_order_relaxed);
	q->host = host ? strdup(host) : NULL;
	q->service = service ? strdup(service) : NULL;
	q->hinted = hints != NULL;
	if (hints)
		q->hints = *hints;
	if ((host && !q->host) || (service && !q->service)) {
		put_question(q);
		return NULL;
	}
	return q;
}

static int error_of(int eai)
{
	switch (eai) {
	case 0:			return 0;
	case EAI_SYSTEM:	return errno_get() ? -errno_get() : -EIO;
	case EAI_MEMORY:	return -ENOMEM;
	case EAI_AGAIN:		return -EAGAIN;
	case EAI_NONAME:
	case EAI_NODATA:	return -ENOENT;
	case EAI_SERVICE:	return -EPROTONOSUPPORT;
	case EAI_FAMILY:	return -EAFNOSUPPORT;
	case EAI_SOCKTYPE:	return -ESOCKTNOSUPPORT;
	case EAI_ADDRFAMILY:	return -EADDRNOTAVAIL;
	case EAI_BADFLAGS:	return -EINVAL;
	case EAI_OVERFLOW:	return -EOVERFLOW;
	default:		return -EIO;
	}
}

static void answer(void *arg)
{
	struct question *q = arg;

	q->error = error_of(getaddrinfo(q->host, q->service,
					q->hinted ? &q->hints : NULL, &q->result));
	put_question(q);
}

static void drop(void *c)
{
	cogo_drop(c);
}

static int wait_for_answer(struct question *q, struct addrinfo **ret_result,
			   cogo_time deadline)
{
	static const struct cogo_attr attr = { .name = "resolver" };
	struct cogo_coro *c;
	int r;

	atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
	r = cogo_go(&c, &attr, answer, q);
	if (r) {
		put_question(q);
		return r;
	}
	cogo_defer(drop, c);
	r = cogo_wait(c, deadline);
	if (r == 0)
		r = q->error;
	if (r == 0) {
		*ret_result = q->result;
		q->result = NULL;
	}
	return r;
}

int cogo_resolve(const char *host, const char *service,
		 const struct addrinfo *hints, struct addrinfo **ret_result,
		 cogo_time deadline)
{
	struct question *q;
	struct coro *me;
	int r;

	me = cancel_in(&r);
	r = cancel_out(me, r);
	if (r)
		return r;
	/* libc's words for it, which it would not take from itself. */
	if (!host && !service)
		return -ENOENT;
	q = ask(host, service, hints);
	if (!q)
		return -ENOMEM;
	cogo_defer(put_question, q);
	return wait_for_answer(q, ret_result, deadline);
}
