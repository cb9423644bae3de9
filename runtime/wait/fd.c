/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/fd.c - waiting for a descriptor. */
#include "wait/fd.h"
#include "coro/self.h"
#include "coro/wait.h"
#include "sched/park.h"
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

bool fd_sample(struct fd_wait *w)
{
	bool dry;

	w->sample = poller_sample(w->fd, w->dir, &dry);
	/* Not for writing: what did not take one message may take another, of
	 * another size or to another peer. */
	return dry && w->dir == POLLER_IN;
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

	poller_set_dry(w->fd, w->dir, w->sample);
	pw.ticket = wait_open(me);
	r = poller_add(&pw, w->sample, w->sample);
	if (r) {
		park_cancel(me, pw.ticket);
		return r > 0 ? 0 : r;
	}
	me->fd = w->asked;
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
	uint64_t ticket = wait_open(me);
	enum wait_outcome how;
	unsigned added = 0;
	int r = 0;

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
