/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/socket.c - sockets: MSG_DONTWAIT asks the kernel not to block this once. */
#include "hook/io.h"
#include "hook/real.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

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

static long block_recvfrom(int fd, const void *arg)
{
	const struct recvfrom_arg *a = arg;

	return sys_call(SYS_recvfrom, fd, a->buf, a->n, a->flags, a->addr, a->len);
}

static const struct io_op recvfrom_op = {
	try_recvfrom, block_recvfrom, POLLER_IN, WHY_READ, true,
};

static long do_recvfrom(struct coro *me, int fd, void *buf, size_t n, int flags,
			struct sockaddr *addr, socklen_t *len)
{
	struct recvfrom_arg a = { buf, n, flags, addr, len };

	if (flags & (MSG_DONTWAIT | MSG_ERRQUEUE))
		return sys_call(SYS_recvfrom, fd, buf, n, flags, addr, len);
	return io_run(me, fd, &recvfrom_op, &a);
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

static long block_sendto(int fd, const void *arg)
{
	const struct sendto_arg *a = arg;

	return sys_call(SYS_sendto, fd, a->buf, a->n, a->flags, a->addr, a->len);
}

static const struct io_op sendto_op = {
	try_sendto, block_sendto, POLLER_OUT, WHY_WRITE, true,
};

/* A blocking send on a stream returns when all of it is queued. */
static long do_sendto(struct coro *me, int fd, const void *buf, size_t n,
		      int flags, const struct sockaddr *addr, socklen_t len)
{
	struct sendto_arg a = { buf, n, flags, addr, len };
	size_t done;
	long r;

	if (flags & MSG_DONTWAIT)
		return sys_call(SYS_sendto, fd, buf, n, flags, addr, len);
	r = io_run(me, fd, &sendto_op, &a);
	if (r <= 0 || (size_t)r == n || fdtab_nonblocking(fd))
		return r;
	for (done = (size_t)r; done < n; done += (size_t)r) {
		a.buf = (const char *)buf + done;
		a.n = n - done;
		r = io_run(me, fd, &sendto_op, &a);
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

HOOKED int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct coro *me = gate_coro();
	long r;

	if (!me)
		return REAL(connect)(fd, addr, len);
	door_enter(me);
	me->fd = fd;
	block_enter(me, WHY_CONNECT);
	r = sys_call(SYS_connect, fd, addr.__sockaddr__, len);
	block_exit(me);
	door_leave(me);
	return (int)gate_return(r);
}
ALIAS(__connect, connect);
