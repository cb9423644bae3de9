/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/socket.c - sockets: MSG_DONTWAIT asks the kernel not to block this once. */
#include "base/lock.h"
#include "hook/file.h"
#include "hook/io.h"
#include "hook/real.h"
#include "hook/socket.h"
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Fortified entry points, which no header declares for us. */
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t room,
		       int flags, __SOCKADDR_ARG addr, socklen_t *restrict len);

struct recvfrom_arg {
	void *buf;
	size_t n;
	int flags;
	struct sockaddr *addr;
	socklen_t *len;
};

static long try_recvfrom(int fd, const void *arg)
{
	const struct recvfrom_arg *a = arg;

	return sys_call(SYS_recvfrom, fd, a->buf, a->n, a->flags | MSG_DONTWAIT,
			a->addr, a->len);
}

static struct io_call block_recvfrom(int fd, const void *arg)
{
	const struct recvfrom_arg *a = arg;

	return (struct io_call){ SYS_recvfrom,
		{ fd, (long)a->buf, (long)a->n, a->flags,
		  (long)a->addr, (long)a->len } };
}

/* The patience of MSG_WAITALL is do_recvfrom's. */
static bool whole_recvfrom(int fd, const void *arg, struct poller_job *ret)
{
	const struct recvfrom_arg *a = arg;

	return !a->addr && !(a->flags & ~(MSG_WAITALL | MSG_NOSIGNAL)) &&
	       io_whole_recv(fd, a->buf, a->n,
			     (unsigned)(a->flags & ~MSG_WAITALL), ret);
}

static const struct io_op recvfrom_op = {
	try_recvfrom, block_recvfrom, POLLER_IN, WHY_READ, true, true, false,
	whole_recvfrom,
};

static bool is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_STREAM;
}

/* How much of n is waited for. */
static size_t enough(int fd, size_t n, int flags)
{
	size_t mark;

	if (flags & MSG_WAITALL)
		return n;
	mark = (size_t)fdtab_low_water(fd);
	return mark < n ? mark : n;
}

/* The poll that comes next need not ask again. */
static long recv_now(int fd, const struct recvfrom_arg *a)
{
	bool dry;
	uint32_t sample = poller_sample(fd, POLLER_IN, &dry);
	long r = try_recvfrom(fd, a);

	if (!(a->flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) && a->n &&
	    io_leaves_nothing(r, a->n) && fdtab_tcp(fd))
		poller_set_drained(fd, sample);
	return r;
}

/* MSG_DONTWAIT takes the patience out of MSG_WAITALL, and out of a low-water
 * mark: a stream is read on until as much has come. Who only looks would see the
 * same again, and lets the kernel wait. MSG_ERRQUEUE waits for nothing, where
 * there is such a queue, and is not known elsewhere. */
static long do_recvfrom(struct coro *me, int fd, void *buf, size_t n, int flags,
			struct sockaddr *addr, socklen_t *len)
{
	struct recvfrom_arg a = { buf, n, flags, addr, len };
	size_t done, least;
	long r;

	if (flags & MSG_DONTWAIT)
		return recv_now(fd, &a);
	if (flags & MSG_ERRQUEUE) {
		r = try_recvfrom(fd, &a);
		return r == -EAGAIN ? io_sleep(me, fd, &recvfrom_op, &a) : r;
	}
	r = io_run_for(me, fd, &recvfrom_op, &a,
		       flags & ~(MSG_WAITALL | MSG_NOSIGNAL) ? 0 : n);
	if (r <= 0 || (size_t)r >= n)
		return r;
	least = enough(fd, n, flags);
	if ((size_t)r >= least || !is_stream(fd) || fdtab_nonblocking(fd))
		return r;
	if (flags & MSG_PEEK)
		return io_sleep(me, fd, &recvfrom_op, &a);
	a.addr = NULL;
	a.len = NULL;
	for (done = (size_t)r; done < least; done += (size_t)r) {
		a.buf = (char *)buf + done;
		a.n = n - done;
		r = io_run_rest(me, fd, &recvfrom_op, &a);
		if (r <= 0)
			break;
	}
	return (long)done;
}

struct sendto_arg {
	const void *buf;
	size_t n;
	int flags;
	const struct sockaddr *addr;
	socklen_t len;
};

static long try_sendto(int fd, const void *arg)
{
	const struct sendto_arg *a = arg;

	return sys_call(SYS_sendto, fd, a->buf, a->n, a->flags | MSG_DONTWAIT,
			a->addr, a->len);
}

static struct io_call block_sendto(int fd, const void *arg)
{
	const struct sendto_arg *a = arg;

	return (struct io_call){ SYS_sendto,
		{ fd, (long)a->buf, (long)a->n, a->flags,
		  (long)a->addr, a->len } };
}

static bool whole_sendto(int fd, const void *arg, struct poller_job *ret)
{
	const struct sendto_arg *a = arg;

	(void)fd;
	return !a->addr && !(a->flags & ~MSG_NOSIGNAL) &&
	       io_whole_send(a->buf, a->n, (unsigned)a->flags, ret);
}

static const struct io_op sendto_op = {
	try_sendto, block_sendto, POLLER_OUT, WHY_WRITE, true, true, false,
	whole_sendto,
};

/* A blocking send on a stream returns when all of it is queued. */
static long do_sendto(struct coro *me, int fd, const void *buf, size_t n,
		      int flags, const struct sockaddr *addr, socklen_t len)
{
	struct sendto_arg a = { buf, n, flags, addr, len };
	uint32_t ran = me->handled;
	size_t done;
	long r;

	if (flags & MSG_DONTWAIT)
		return sys_call(SYS_sendto, fd, buf, n, flags, addr, len);
	/* That would say EINPROGRESS, and have begun to connect. */
	if (flags & MSG_FASTOPEN)
		return io_sleep(me, fd, &sendto_op, &a);
	r = io_run(me, fd, &sendto_op, &a);
	if (r <= 0 || (size_t)r == n || fdtab_nonblocking(fd))
		return r;
	for (done = (size_t)r; done < n && me->handled == ran; done += (size_t)r) {
		a.buf = (const char *)buf + done;
		a.n = n - done;
		r = io_run_rest(me, fd, &sendto_op, &a);
		if (r <= 0)
			break;
	}
	return (long)done;
}

HOOKED ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(recv)(fd, buf, n, flags);
	return gate_return(do_recvfrom(me, fd, buf, n, flags, NULL, NULL));
}
ALIAS(__recv, recv);

HOOKED ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(send)(fd, buf, n, flags);
	return gate_return(do_sendto(me, fd, buf, n, flags, NULL, 0));
}
ALIAS(__send, send);

HOOKED ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags,
			__SOCKADDR_ARG addr, socklen_t *restrict len)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(recvfrom)(fd, buf, n, flags, addr, len);
	return gate_return(do_recvfrom(me, fd, buf, n, flags, addr.__sockaddr__,
				       len));
}

HOOKED ssize_t sendto(int fd, const void *buf, size_t n, int flags,
		      __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(sendto)(fd, buf, n, flags, addr, len);
	return gate_return(do_sendto(me, fd, buf, n, flags, addr.__sockaddr__,
				     len));
}

HOOKED ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
	if (n > room)
		return REAL(__recv_chk)(fd, buf, n, room, flags);
	return recv(fd, buf, n, flags);
}

HOOKED ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t room,
			      int flags, __SOCKADDR_ARG addr,
			      socklen_t *restrict len)
{
	if (n > room)
		return REAL(__recvfrom_chk)(fd, buf, n, room, flags, addr, len);
	return recvfrom(fd, buf, n, flags, addr, len);
}

struct msg_arg {
	struct msghdr *msg;
	int flags;
};

static long try_recvmsg(int fd, const void *arg)
{
	const struct msg_arg *a = arg;

	return sys_call(SYS_recvmsg, fd, a->msg, a->flags | MSG_DONTWAIT);
}

static struct io_call block_recvmsg(int fd, const void *arg)
{
	const struct msg_arg *a = arg;

	return (struct io_call){ SYS_recvmsg, { fd, (long)a->msg, a->flags } };
}

/* What else comes with a message, older kernels do not give or take in this way. How
 * much is asked for only the kernel may look up: it may be nowhere. */
static bool whole_msg(const struct msg_arg *a, int flags, struct poller_job *ret)
{
	if (gate_bad_pointer(a->msg) || a->msg->msg_controllen ||
	    (a->flags & ~flags))
		return false;
	ret->at = a->msg;
	return true;
}

static bool whole_recvmsg(int fd, const void *arg, struct poller_job *ret)
{
	const struct msg_arg *a = arg;

	ret->what = POLLER_RECVMSG;
	ret->stream = fdtab_tcp(fd);
	ret->flags = (unsigned)(a->flags & ~MSG_WAITALL);
	return whole_msg(a, MSG_WAITALL | MSG_NOSIGNAL, ret);
}

static const struct io_op recvmsg_op = {
	try_recvmsg, block_recvmsg, POLLER_IN, WHY_READ, true, true, false,
	whole_recvmsg,
};

/* Descriptors that came with a message are new numbers, shared with whoever
 * sent them. */
static void note_passed(const struct msghdr *msg)
{
	struct cmsghdr *c;

	if (!msg->msg_controllen)
		return;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++)
			file_came(((const int *)CMSG_DATA(c))[i]);
	}
}

/* Whoever gets descriptors from us shares their flags with us. */
static void note_passing(const struct msghdr *msg)
{
	struct cmsghdr *c;

	if (gate_bad_pointer(msg) || !msg->msg_controllen)
		return;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++)
			fdtab_shared(((const int *)CMSG_DATA(c))[i]);
	}
}

/* The rest of a message that a stream gave, or took, only in part. */
static long go_on(struct coro *me, int fd, const struct io_op *op,
		  const struct msghdr *msg, int flags, size_t least, long got)
{
	struct iovec left[IO_PIECES];
	struct msghdr more = { .msg_iov = left };
	struct msg_arg a = { &more, flags };
	long r;

	while (got > 0 && (size_t)got < least) {
		more.msg_iovlen = (size_t)io_rest(msg->msg_iov, msg->msg_iovlen,
						  (size_t)got, left);
		r = io_run_rest(me, fd, op, &a);
		if (r <= 0)
			break;
		got += r;
	}
	return got;
}

static size_t whole(const struct msghdr *msg)
{
	size_t n = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++)
		n += msg->msg_iov[i].iov_len;
	return n;
}

static long do_recvmsg(struct coro *me, int fd, struct msghdr *msg, int flags)
{
	struct msg_arg a = { msg, flags };
	socklen_t name = 0;
	size_t control = 0, n, least;
	long r;

	if (flags & MSG_DONTWAIT)
		return sys_call(SYS_recvmsg, fd, msg, flags);
	if (flags & MSG_ERRQUEUE) {
		r = try_recvmsg(fd, &a);
		return r == -EAGAIN ? io_sleep(me, fd, &recvmsg_op, &a) : r;
	}
	if (!gate_bad_pointer(msg)) {
		name = msg->msg_namelen;
		control = msg->msg_controllen;
	}
	r = io_run(me, fd, &recvmsg_op, &a);
	if (r <= 0 || (n = whole(msg)) <= (size_t)r || msg->msg_controllen)
		return r;
	least = enough(fd, n, flags);
	if ((size_t)r >= least || !is_stream(fd) || fdtab_nonblocking(fd))
		return r;
	if (!(flags & MSG_PEEK))
		return go_on(me, fd, &recvmsg_op, msg, flags, least, r);
	msg->msg_namelen = name;
	msg->msg_controllen = control;
	return io_sleep(me, fd, &recvmsg_op, &a);
}

HOOKED ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct coro *me = gate_coro();
	ssize_t r;

	if (!me) {
		r = REAL(recvmsg)(fd, msg, flags);
	} else {
		r = gate_return(do_recvmsg(me, fd, msg, flags));
	}
	if (r >= 0)
		note_passed(msg);
	return r;
}

static long try_sendmsg(int fd, const void *arg)
{
	const struct msg_arg *a = arg;

	return sys_call(SYS_sendmsg, fd, a->msg, a->flags | MSG_DONTWAIT);
}

static struct io_call block_sendmsg(int fd, const void *arg)
{
	const struct msg_arg *a = arg;

	return (struct io_call){ SYS_sendmsg, { fd, (long)a->msg, a->flags } };
}

static bool whole_sendmsg(int fd, const void *arg, struct poller_job *ret)
{
	const struct msg_arg *a = arg;

	(void)fd;
	ret->what = POLLER_SENDMSG;
	ret->flags = (unsigned)a->flags | MSG_WAITALL;
	return whole_msg(a, MSG_NOSIGNAL, ret);
}

static const struct io_op sendmsg_op = {
	try_sendmsg, block_sendmsg, POLLER_OUT, WHY_WRITE, true, true, false,
	whole_sendmsg,
};

static long do_sendmsg(struct coro *me, int fd, const struct msghdr *msg,
		       int flags)
{
	struct msg_arg a = { (struct msghdr *)msg, flags };
	long first;

	if (flags & MSG_DONTWAIT)
		return sys_call(SYS_sendmsg, fd, msg, flags);
	if (flags & MSG_FASTOPEN)
		return io_sleep(me, fd, &sendmsg_op, &a);
	first = io_run(me, fd, &sendmsg_op, &a);
	if (first <= 0 || fdtab_nonblocking(fd))
		return first;
	/* What a stream did not take at once; control data went with the
	 * first byte. */
	return go_on(me, fd, &sendmsg_op, msg, flags, whole(msg), first);
}

HOOKED ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct coro *me = gate_coro();

	note_passing(msg);
	if (!me)
		return REAL(sendmsg)(fd, msg, flags);
	return gate_return(do_sendmsg(me, fd, msg, flags));
}

/* ---- many messages at once ---- */

struct many_arg {
	struct mmsghdr *v;
	unsigned n;
	int flags;
};

/* Once, and not in each of its callers: there are many messages to a call. */
static NOINLINE long run_many(struct coro *me, int fd, const struct io_op *op,
			      const struct many_arg *a)
{
	return io_run(me, fd, op, a);
}

static long try_recvmmsg(int fd, const void *arg)
{
	const struct many_arg *a = arg;

	return sys_call(SYS_recvmmsg, fd, a->v, a->n, a->flags | MSG_DONTWAIT, NULL);
}

static struct io_call block_recvmmsg(int fd, const void *arg)
{
	const struct many_arg *a = arg;

	return (struct io_call){ SYS_recvmmsg,
		{ fd, (long)a->v, a->n, a->flags | MSG_WAITFORONE, 0 } };
}

static const struct io_op recvmmsg_op = {
	try_recvmmsg, block_recvmmsg, POLLER_IN, WHY_READ, true, true, false, NULL,
};

/* As many as there are, and one at least: how many. What is more than to take what is
 * there goes one by one. */
static long receive_some(struct coro *me, int fd, struct mmsghdr *v, unsigned n,
			 int flags)
{
	struct many_arg a = { v, n, flags };
	long r;

	if (!(flags & ~(MSG_NOSIGNAL | MSG_TRUNC | MSG_CMSG_CLOEXEC)) &&
	    !fdtab_low_water_any())
		return run_many(me, fd, &recvmmsg_op, &a);
	r = do_recvmsg(me, fd, &v->msg_hdr, flags);
	if (r < 0)
		return r;
	v->msg_len = (unsigned)r;
	return 1;
}

static void note_all_passed(const struct mmsghdr *v, long n)
{
	for (long i = 0; i < n; i++)
		note_passed(&v[i].msg_hdr);
}

/* The first message is waited for; the rest are what is there, or with
 * MSG_WAITFORONE not given, waited for until the time is up (which the kernel, too,
 * looks at only between messages). */
HOOKED int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags,
		    struct timespec *timeout)
{
	struct coro *me = gate_coro();
	cogo_time until = COGO_FOREVER;
	unsigned got = 0;
	long r = 0;

	if (!me) {
		r = REAL(recvmmsg)(fd, v, n, flags, timeout);
		note_all_passed(v, r);
		return (int)r;
	}
	if ((flags & MSG_DONTWAIT) || fdtab_nonblocking(fd)) {
		r = sys_call(SYS_recvmmsg, fd, v, n, flags, timeout);
		note_all_passed(v, r);
		return (int)gate_return(r);
	}
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
		    timeout->tv_nsec >= 1000000000)
			return (int)gate_return(-EINVAL);
		until = sys_now() + timeout->tv_sec * 1000000000ll +
			timeout->tv_nsec;
	}
	while (got < n) {
		r = receive_some(me, fd, v + got, n - got, flags & ~MSG_WAITFORONE);
		if (r < 0)
			break;
		note_all_passed(v + got, r);
		got += (unsigned)r;
		if (flags & MSG_WAITFORONE)
			break;
		if (until != COGO_FOREVER && sys_now() >= until)
			break;
		if (v[got - 1].msg_hdr.msg_flags & MSG_OOB)
			break;
	}
	if (timeout) {
		cogo_time left = until - sys_now();

		if (left < 0)
			left = 0;
		*timeout = (struct timespec){ left / 1000000000, left % 1000000000 };
	}
	return got ? (int)got : (int)gate_return(r);
}

static long try_sendmmsg(int fd, const void *arg)
{
	const struct many_arg *a = arg;

	return sys_call(SYS_sendmmsg, fd, a->v, a->n, a->flags | MSG_DONTWAIT);
}

/* The first, where it is not known whether that will be taken at once. */
static struct io_call block_sendmmsg(int fd, const void *arg)
{
	const struct many_arg *a = arg;

	return (struct io_call){ SYS_sendmmsg, { fd, (long)a->v, 1, a->flags } };
}

static const struct io_op sendmmsg_op = {
	try_sendmmsg, block_sendmmsg, POLLER_OUT, WHY_WRITE, true, true, false, NULL,
};

/* As many as are taken, and one at least: how many. The last may have been taken only
 * in part, by a stream. */
static long send_some(struct coro *me, int fd, struct mmsghdr *v, unsigned n,
		      int flags)
{
	struct many_arg a = { v, n, flags };
	long r;

	if (!(flags & MSG_FASTOPEN))
		return run_many(me, fd, &sendmmsg_op, &a);
	r = do_sendmsg(me, fd, &v->msg_hdr, flags);
	if (r < 0)
		return r;
	v->msg_len = (unsigned)r;
	return 1;
}

HOOKED int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	struct coro *me = gate_coro();
	unsigned sent = 0;
	long r = 0;

	for (unsigned i = 0; i < n && i < 1024; i++)
		note_passing(&v[i].msg_hdr);
	if (!me)
		return REAL(sendmmsg)(fd, v, n, flags);
	if ((flags & MSG_DONTWAIT) || fdtab_nonblocking(fd))
		return (int)gate_return(sys_call(SYS_sendmmsg, fd, v, n, flags));
	if (n > 1024)
		n = 1024;
	while (sent < n) {
		struct mmsghdr *last;
		size_t all;

		r = send_some(me, fd, v + sent, n - sent, flags);
		if (r <= 0)
			break;
		sent += (unsigned)r;
		last = &v[sent - 1];
		all = whole(&last->msg_hdr);
		if (last->msg_len < all)
			last->msg_len = (unsigned)go_on(me, fd, &sendmsg_op,
							&last->msg_hdr, flags, all,
							last->msg_len);
		if (last->msg_len < all)
			break;
	}
	return sent ? (int)sent : (int)gate_return(r);
}
ALIAS(__sendmmsg, sendmmsg);

/* accept knows no "not this time". Acceptors of one listener take turns: under
 * the lock, poll says whether a connection is there, and then nobody else in
 * this process takes it; another process may, so unless the listener is ours
 * alone the call is a declared hand-off. */
#define ACCEPT_LOCKS 64
static struct lock accept_locks[ACCEPT_LOCKS];

/* accept takes a number before it looks for a connection, and where none is free
 * it does not wait for one. Then the highest, too, is taken: which is seldom so,
 * and soon asked. */
static bool none_free(int fd)
{
	struct rlimit limit;
	long copy;

	if (sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) != 0 ||
	    sys_call(SYS_fcntl, limit.rlim_cur - 1, F_GETFD) < 0)
		return false;
	copy = sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		sys_call(SYS_close, copy);
	return copy == -EMFILE || copy == -EINVAL;
}

/* What never will be readable because it is no listener, or has no number to give
 * out: 1 to let accept say so, or -EAGAIN to wait. */
static long not_listening(int fd)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens,
		     &len) != 0)
		return 1;
	return listens && !none_free(fd) ? -EAGAIN : 1;
}

struct io_call socket_block_accept(int fd, const void *arg)
{
	const struct socket_accept *a = arg;

	return (struct io_call){ SYS_accept4,
		{ fd, (long)a->addr, (long)a->len, a->flags } };
}

long socket_try_accept(int fd, const void *arg)
{
	const struct socket_accept *a = arg;
	struct lock *l = &accept_locks[(unsigned)fd % ACCEPT_LOCKS];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct io_call call = socket_block_accept(fd, arg);
	bool sure = fdtab_ours(fd);
	long r;

	do {
		if (!sure)
			block_enter(a->me, WHY_ACCEPT);
		lock(l);
		r = sys_poll_now(&p, 1);
		if (r == 0)
			r = not_listening(fd);
		if (r > 0)
			r = gate_call(a->me, call.nr, call.args);
		unlock(l);
		if (!sure)
			block_exit(a->me);
	} while (r == -EINTR && (r = gate_interrupted(a->me, true)) == 0);
	return r;
}

bool socket_whole_accept(int fd, const void *arg, struct poller_job *ret)
{
	const struct socket_accept *a = arg;

	(void)fd;
	ret->what = POLLER_ACCEPT;
	ret->at = a->addr;
	ret->more = a->len;
	ret->flags = (unsigned)a->flags;
	return true;
}

static const struct io_op accept_op = {
	socket_try_accept, socket_block_accept, POLLER_IN, WHY_ACCEPT, true, true, false,
	NULL,
};
/* Of a listener that others may have, too. */
static const struct io_op accept_shared_op = {
	socket_try_accept, socket_block_accept, POLLER_IN, WHY_ACCEPT, true, true, false,
	socket_whole_accept,
};

HOOKED int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len, int flags)
{
	struct coro *me = gate_coro();
	int r;

	if (!me) {
		r = REAL(accept4)(fd, addr, len, flags);
	} else {
		struct socket_accept a = { addr.__sockaddr__, len, flags, me };

		r = (int)gate_return(io_run(me, fd, fdtab_ours(fd) ? &accept_op
								   : &accept_shared_op,
					    &a));
	}
	if (r >= 0)
		file_made(r, flags & SOCK_NONBLOCK, true);
	return r;
}

HOOKED int accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	return accept4(fd, addr, len, 0);
}

/* EINTR says that the connection is being made all the same, and its program
 * will wait for the socket to be writable, which one that was never told to
 * connect is at once. */
static bool never_begun(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return sys_call(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) ==
		       0 && info.tcpi_state == TCP_CLOSE;
}

static long connect_asleep(struct coro *me, int fd, const long args[6])
{
	/* With SO_SNDTIMEO the kernel would not make it again. */
	bool restart = fdtab_timeout(fd, POLLER_OUT) == COGO_FOREVER;
	long r, e;

	for (;;) {
		block_enter(me, WHY_CONNECT);
		r = gate_call(me, SYS_connect, args);
		block_exit(me);
		if (r != -EINTR)
			return r;
		e = gate_interrupted(me, restart);
		if (e == -GATE_CANCELED || (e && !never_begun(fd)))
			return e;
	}
}

/* connect knows no "not this time" either. So a socket that is ours alone does not
 * block while it is told to: the rest of the wait costs no kernel thread. */
long socket_connect_begin(int fd, const struct sockaddr *addr, socklen_t len)
{
	static const int on = 1, off = 0;
	long r;

	sys_call(SYS_ioctl, fd, FIONBIO, &on);
	r = sys_call(SYS_connect, fd, addr, len);
	sys_call(SYS_ioctl, fd, FIONBIO, &off);
	return r;
}

/* What came of it a second call says, and not the socket's error alone: only then is
 * the socket one that is connected, or may be told to connect once more. */
static long connect_ours(struct coro *me, int fd, const struct sockaddr *addr,
			 socklen_t len)
{
	struct fd_wait w = FD_WAIT(fd, POLLER_OUT);
	cogo_time until = io_deadline(fd, POLLER_OUT);
	long first = 0;		/* -EALREADY: by another, or before it was broken off */
	long r;

	for (;;) {
		struct pollfd p = { .fd = w.fd, .events = POLLOUT };

		fd_sample(&w);
		if (!first || sys_poll_now(&p, 1) != 0) {
			r = socket_connect_begin(w.fd, addr, len);
			if (r != -EINPROGRESS && r != -EALREADY)
				break;
			if (!first)
				first = r;
			continue;
		}
		r = fd_wait(&w, until, WHY_CONNECT);
		if (r == 0)
			continue;
		if (r == -ETIMEDOUT)
			r = first;
		else if (r == -EINTR || r == -ECANCELED)
			r = gate_interrupted(me, until == COGO_FOREVER);
		if (r)
			break;
	}
	fd_done(&w);
	return r == -EISCONN && first ? 0 : r;
}

HOOKED int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct coro *me = gate_coro();
	const struct sockaddr *sa = addr.__sockaddr__;
	long r;

	if (!me)
		return REAL(connect)(fd, addr, len);
	door_enter(me);
	cancel_point(me);
	me->fd = fd;
	if (fdtab_nonblocking(fd)) {
		r = sys_call(SYS_connect, fd, sa, len);
	} else if (fdtab_ours(fd) && sa && len >= sizeof(sa->sa_family) &&
		   (sa->sa_family == AF_INET || sa->sa_family == AF_INET6) &&
		   is_stream(fd)) {
		r = connect_ours(me, fd, sa, len);
	} else {
		const long args[6] = { fd, (long)sa, len };

		r = connect_asleep(me, fd, args);
	}
	door_leave(me);
	return (int)gate_return(r);
}
ALIAS(__connect, connect);

HOOKED int socket(int domain, int type, int protocol)
{
	int fd = REAL(socket)(domain, type, protocol);

	if (fd >= 0)
		file_made(fd, type & SOCK_NONBLOCK, true);
	return fd;
}
ALIAS(__socket, socket);

HOOKED int socketpair(int domain, int type, int protocol, int sv[2])
{
	int r = REAL(socketpair)(domain, type, protocol, sv);

	if (r == 0) {
		file_made(sv[0], type & SOCK_NONBLOCK, true);
		file_made(sv[1], type & SOCK_NONBLOCK, true);
	}
	return r;
}

/* A stream's socket, bound to one of the ports that only root may have. */
HOOKED int rresvport_af(int *port, sa_family_t family)
{
	int fd = REAL(rresvport_af)(port, family);

	if (fd >= 0)
		file_made(fd, false, true);
	return fd;
}

HOOKED int rresvport(int *port)
{
	return rresvport_af(port, AF_INET);
}

HOOKED int setsockopt(int fd, int level, int name, const void *value,
		      socklen_t len)
{
	int r = REAL(setsockopt)(fd, level, name, value, len);

	if (level == SOL_SOCKET)
		fdtab_timeout_changed(fd);
	if (level == SOL_SOCKET && name == SO_RCVLOWAT)
		fdtab_low_water_changed();
	return r;
}
