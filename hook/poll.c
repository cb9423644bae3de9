/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/poll.c - waiting for several descriptors at once.
 *
 * First the kernel is asked without waiting, unless nothing has happened on
 * any of them since it last said no. Then we wait on all, and where the events
 * that end the wait are sure to be younger than it, they are the answer: true
 * a moment ago, which is all that poll ever says. Where they may be older, the
 * kernel is asked again: a program that polled will read, and must not block. */
#include "hook/io.h"
#include "hook/real.h"
#include "sched/park.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define FEW		8
#define NSEC		1000000000ll
#define NSEC_PER_MSEC	1000000ll

struct room {
	struct poller_waiter *waiters;
	uint32_t *samples;
};

static bool sample_all(const struct pollfd *fds, unsigned n, uint32_t *samples)
{
	bool all_dry = true, dry;

	for (unsigned i = 0; i < n; i++) {
		if (fds[i].fd < 0)
			continue;
		samples[2 * i] = poller_sample(fds[i].fd, POLLER_IN, &dry);
		all_dry &= dry || !(fds[i].events & POLLIN);
		samples[2 * i + 1] = poller_sample(fds[i].fd, POLLER_OUT, &dry);
		all_dry &= dry || !(fds[i].events & POLLOUT);
		/* Dry means no POLLIN, no POLLOUT and nothing of the rest that
		 * always counts; of urgent data it says nothing. */
		all_dry &= fds[i].events && !(fds[i].events & ~(POLLIN | POLLOUT));
	}
	return all_dry;
}

static void note_dry(const struct pollfd *fds, unsigned n, const uint32_t *samples)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i].fd < 0)
			continue;
		if (fds[i].events & POLLIN)
			poller_set_dry(fds[i].fd, POLLER_IN, samples[2 * i]);
		if (fds[i].events & POLLOUT)
			poller_set_dry(fds[i].fd, POLLER_OUT, samples[2 * i + 1]);
	}
}

/* 0 when the kernel had better be asked. */
static long answer(struct pollfd *fds, unsigned n, const struct poller_waiter *w)
{
	long ready = 0;

	for (unsigned i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		if (w->revents && !w->sure)
			return 0;
		fds[i].revents = (short)((w++)->revents &
					 ((uint16_t)fds[i].events | POLLERR |
					  POLLHUP | POLLNVAL));
		ready += fds[i].revents != 0;
	}
	return ready;
}

static long block_poll(struct coro *me, struct pollfd *fds, unsigned n,
		       cogo_time deadline)
{
	struct timespec ts, *span = NULL;
	long r;

	if (deadline != COGO_FOREVER) {
		cogo_time left = deadline - sys_now();

		if (left < 0)
			left = 0;
		ts = (struct timespec){ left / NSEC, left % NSEC };
		span = &ts;
	}
	block_enter(me, WHY_POLL);
	r = sys_call(SYS_ppoll, fds, n, span, NULL, 8);
	block_exit(me);
	return r;
}

static long wait_for(struct coro *me, struct pollfd *fds, unsigned n,
		     cogo_time deadline, const struct room *room)
{
	struct timespec zero;
	long r;
	int e;

	for (;;) {
		if (!sample_all(fds, n, room->samples)) {
			zero = (struct timespec){ 0, 0 };
			r = sys_call(SYS_ppoll, fds, n, &zero, NULL, 8);
			if (r || deadline == 0)
				return r;
			note_dry(fds, n, room->samples);
		} else if (deadline == 0) {
			for (unsigned i = 0; i < n; i++)
				fds[i].revents = 0;
			return 0;
		}
		e = fd_wait_many(fds, n, room->samples, room->waiters, deadline);
		if (e == 0) {
			r = answer(fds, n, room->waiters);
			if (r)
				return r;
			continue;
		}
		if (e == -ETIMEDOUT) {
			for (unsigned i = 0; i < n; i++)
				fds[i].revents = 0;
			return 0;
		}
		if (e == -EINTR || e == -ECANCELED) {
			e = gate_interrupted(me, false);
			return e ? e : -EINTR;
		}
		/* Something in the set cannot be registered. */
		return block_poll(me, fds, n, deadline);
	}
}

static long do_poll(struct coro *me, struct pollfd *fds, nfds_t n,
		    cogo_time deadline)
{
	struct poller_waiter few[FEW];
	uint32_t few_samples[2 * FEW];
	struct room room = { few, few_samples };
	void *mem = NULL;
	long r;

	if (n > FEW) {
		/* More than the process may have open: the kernel says EINVAL,
		 * before it looks at the memory. */
		struct timespec zero = { 0, 0 };

		r = sys_call(SYS_ppoll, fds, n, &zero, NULL, 8);
		if (r || deadline == 0)
			return r;
		mem = malloc(n * (sizeof(*few) + 2 * sizeof(uint32_t)));
		if (!mem)
			return -ENOMEM;
		room.waiters = mem;
		room.samples = (uint32_t *)(room.waiters + n);
	}
	door_enter(me);
	r = wait_for(me, fds, (unsigned)n, deadline, &room);
	door_leave(me);
	free(mem);
	return r;
}

HOOKED int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct coro *me = gate_coro();
	cogo_time deadline;

	if (!me)
		return REAL(poll)(fds, n, timeout);
	deadline = timeout < 0 ? COGO_FOREVER :
		   timeout == 0 ? 0 : sys_now() + timeout * NSEC_PER_MSEC;
	return (int)gate_return(do_poll(me, fds, n, deadline));
}
ALIAS(__poll, poll);
