/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/fd.c - waiting for a descriptor.
 *
 * Where the kernel has no room for one more registration (fs.epoll's limit, or
 * memory), it is asked to wait itself, in a declared hand-off: a kernel thread
 * more, but the program is none the wiser. So it is for a coroutine that has
 * descriptors of its own, which is bound: the poller knows everybody's. */
#include "wait/fd.h"
#include "base/sanitize.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "sched/block.h"
#include "sched/park.h"
#include "sched/worker.h"
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

/* With what it calls in it: this comes before each try. */
__attribute__((flatten)) bool fd_sample(struct fd_wait *w)
{
	bool dry;

	w->sample = poller_sample(w->fd, w->dir, &dry);
	/* Not for writing: what did not take one message may take another, of
	 * another size or to another peer. */
	return dry && w->dir == POLLER_IN && !self()->own_files;
}

static int result(enum wait_outcome how)
{
	switch (how) {
	case WAIT_NONE:
	case WAIT_WOKEN:	return 0;
	case WAIT_TIMED_OUT:	return -ETIMEDOUT;
	case WAIT_INTERRUPTED:	return -EINTR;
	default:		return -ECANCELED;
	}
}

/* Whether another way of waiting may do where r came of registering. */
static bool no_room(int r)
{
	return r < 0 && r != -EPERM && r != -EBADF;
}

static int wait_in_kernel(struct coro *me, const struct fd_wait *w,
			  cogo_time deadline, enum why why)
{
	struct pollfd p = { .fd = w->fd,
			    .events = w->dir == POLLER_IN ? POLLIN : POLLOUT };
	struct timespec room, *span = sys_left(deadline, &room);
	long r;

	me->fd = w->asked;
	block_enter(me, why);
	r = arch_syscall_unless(&me->interrupt, SYS_ppoll,
				(const long[6]){ (long)&p, 1, (long)span, 0, 8 });
	block_exit(me);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : (int)r;
}

/* With thousands that wait for descriptors each finds all that is its own far away
 * when its turn comes: the object, the storage, and the stack from the saved
 * registers up to the frame that called us and the buffer beside it. So the one
 * before the one before it asks for its object, and the one before it for what that
 * points to: they come while the kernel works for somebody else. */
static SANITIZE_GLANCES void foresee(const struct coro *me)
{
	const struct runq *q;
	const struct coro *c;

	if (unlikely(me->bound))
		return;
	q = &me->worker->runq;
	c = runq_ahead(q, 1);
	if (!c)
		return;
	self_foresee(c);
	poller_foresee(c->fd);
	c = runq_ahead(q, 2);
	if (c)
		coro_foresee(c);
}

int fd_wait(struct fd_wait *w, cogo_time deadline, enum why why)
{
	struct coro *me = self();
	struct poller_waiter pw = {
		.coro = me,
		.fd = w->fd,
		.events = w->dir == POLLER_IN ? EPOLLIN | EPOLLRDHUP : EPOLLOUT,
	};
	enum wait_outcome how;
	int r;

	if (unlikely(me->own_files))
		return wait_in_kernel(me, w, deadline, why);
	if (w->dir == POLLER_IN)
		poller_set_dry(w->fd, w->dir, w->sample);
	pw.ticket = wait_open(me);
	r = poller_add(&pw, w->sample, w->sample);
	if (r) {
		how = park_cancel(me, pw.ticket);
		if (how != WAIT_NONE)
			return result(how);
		/* In a child that a handler has forked during our wait, nobody
		 * polls. */
		if (no_room(r) || !poller_started())
			return wait_in_kernel(me, w, deadline, why);
		return r > 0 ? 0 : r;
	}
	me->fd = w->asked;
	foresee(me);
	how = park(me, pw.ticket, why, deadline);
	if (how != WAIT_WOKEN)
		poller_del(&pw);
	if (pw.fd != w->fd) {
		/* Moved: keep the private duplicate until fd_done. One that we
		 * had already cannot move again: nobody knows its number. */
		w->fd = pw.fd;
	}
	return result(how);
}

void fd_done(struct fd_wait *w)
{
	struct poller_waiter pw = { .fd = w->fd };

	poller_release(&pw, w->asked);
}

int fd_wait_many(const struct pollfd *fds, unsigned n, const uint32_t *samples,
		 struct poller_waiter *room, cogo_time deadline)
{
	struct coro *me = self();
	enum wait_outcome how;
	unsigned added = 0;
	uint64_t ticket;
	int r = 0;

	if (unlikely(n && (me->own_files || !poller_started())))
		return -EPERM;
	ticket = wait_open(me);

	for (unsigned i = 0; i < n; i++)
		room[i].revents = 0;
	for (unsigned i = 0; i < n; i++) {
		struct poller_waiter *pw = &room[added];

		if (fds[i].fd < 0)
			continue;
		pw->link.next = NULL;
		pw->coro = me;
		pw->ticket = ticket;
		pw->fd = pw->asked = fds[i].fd;
		pw->events = (uint16_t)fds[i].events;
		r = poller_add(pw, samples[2 * i], samples[2 * i + 1]);
		if (r)
			break;
		added++;
	}
	if (r) {
		how = park_cancel(me, ticket);
		if (how != WAIT_NONE)
			r = result(how);
	} else {
		me->fd = n == 1 ? fds[0].fd : -1;
		foresee(me);
		how = park(me, ticket, n ? WHY_POLL : WHY_SLEEP, deadline);
		r = result(how);
	}
	for (unsigned i = 0; i < added; i++) {
		poller_del(&room[i]);
		/* A descriptor that was closed under us: poll finds it invalid
		 * or another one, as it would have. */
		poller_release(&room[i], room[i].asked);
	}
	return r > 0 ? 0 : r;
}
