/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/poll.c - waiting for several descriptors at once.
 *
 * First the kernel is asked without waiting, unless nothing has happened on
 * any of them since it last said no, to us or to who read in vain. Then we wait
 * on all, and where the events that end the wait are sure to be younger than it,
 * they are the answer: true a moment ago, which is all that poll ever says. Where
 * they may be older, the kernel is asked again: a program that polled will read,
 * and must not block. */
#include "fault/signal.h"
#include "hook/io.h"
#include "hook/real.h"
#include "hook/signalfd.h"
#include "sched/block.h"
#include "sched/park.h"
#include "sched/worker.h"
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

#define FEW		8
#define NSEC		1000000000ll
#define NSEC_PER_MSEC	1000000ll

struct room {
	struct poller_waiter *waiters;
	uint32_t *samples;
};

/* What there is none of where a descriptor is dry for reading: an end of what the
 * peer sends can be read too. Urgent data may be there, if it has been heard of. */
#define IN_BITS	(POLLIN | POLLRDHUP | POLLPRI)

/* Whether whatever was asked for is known not to be, and with it nothing of the rest
 * that always counts. */
static bool sample_all(const struct pollfd *fds, unsigned n, uint32_t *samples)
{
	bool all_dry = true, in, out;

	for (unsigned i = 0; i < n; i++) {
		const struct pollfd *f = &fds[i];

		if (f->fd < 0)
			continue;
		samples[2 * i] = poller_sample(f->fd, POLLER_IN, &in);
		samples[2 * i + 1] = poller_sample(f->fd, POLLER_OUT, &out);
		all_dry &= (in || !(f->events & IN_BITS)) &&
			   (out || !(f->events & POLLOUT)) && f->events &&
			   !(f->events & ~(IN_BITS | POLLOUT)) &&
			   (!(f->events & POLLPRI) || poller_calm(f->fd));
	}
	return all_dry;
}

/* What the kernel has answered: each direction that was asked for and is not
 * ready has been tried in vain. */
static void note(const struct pollfd *fds, unsigned n, const uint32_t *samples)
{
	static const struct {
		int dir;
		short bits;
	} ways[] = {
		{ POLLER_IN, POLLIN },
		{ POLLER_OUT, POLLOUT },
	};

	for (unsigned i = 0; i < n; i++) {
		const struct pollfd *f = &fds[i];

		for (int k = 0; k < 2 && f->fd >= 0; k++) {
			int dir = ways[k].dir;

			if (f->revents & (ways[k].bits | POLLERR | POLLHUP |
					  POLLNVAL))
				poller_set_wet(f->fd, dir);
			else if (f->events & ways[k].bits)
				poller_set_dry(f->fd, dir, samples[2 * i + dir]);
		}
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
	struct timespec room;
	long r;

	do {
		long span = (long)sys_left(deadline, &room);

		block_enter(me, WHY_POLL);
		r = gate_call(me, SYS_ppoll,
			      (const long[6]){ (long)fds, n, span, 0, 8 });
		block_exit(me);
	} while (r == -EINTR && (r = gate_interrupted(me, false)) == 0);
	return r;
}

static long look(struct coro *me, struct pollfd *fds, unsigned n, bool signals)
{
	static const struct timespec none;

	return unlikely(signals)
		       ? signalfd_look(me, fds, n, SYS_ppoll, (const long[6]){
				 (long)fds, n, (long)&none, 0, 8 })
		       : sys_poll_now(fds, n);
}

static long wait_for(struct coro *me, struct pollfd *fds, unsigned n,
		     cogo_time deadline, const struct room *room)
{
	bool signals = signalfd_any();
	long r;
	int e;

	/* What is known of these numbers is of everybody's. */
	if (unlikely(me->own_files)) {
		r = look(me, fds, n, signals);
		return r || deadline == 0 ? r : block_poll(me, fds, n, deadline);
	}
	for (;;) {
		/* Dry is good enough to wait for news, not to tell the program:
		 * the runtime may not have heard of them yet. */
		if (!sample_all(fds, n, room->samples) || deadline == 0 || signals) {
			r = look(me, fds, n, signals);
			signals = false;
			if (r >= 0)
				note(fds, n, room->samples);
			if (r || deadline == 0)
				return r;
		}
		e = fd_wait_many(fds, n, room->samples, room->waiters, deadline);
		if (e == 0) {
			r = answer(fds, n, room->waiters);
			if (r)
				return r;
			continue;
		}
		if (e == -ETIMEDOUT)
			return sys_poll_now(fds, n);
		if (e == -EINTR || e == -ECANCELED) {
			e = gate_interrupted(me, false);
			if (e)
				return e;
			signals = signalfd_any();
			continue;
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

	if (n && gate_bad_pointer(fds))
		return -EFAULT;
	if (n > FEW) {
		/* More than the process may have open: the kernel says EINVAL,
		 * before it looks at the memory. */
		if (n > UINT_MAX)
			return -EINVAL;
		r = sys_poll_now(fds, (unsigned)n);
		if (r || (deadline == 0 && !signalfd_any()))
			return r;
		mem = malloc(n * (sizeof(*few) + 2 * sizeof(uint32_t)));
		if (!mem)
			return -ENOMEM;
		room.waiters = mem;
		room.samples = (uint32_t *)(room.waiters + n);
	}
	door_enter(me);
	if (cancel_unwinds(me)) {
		r = -GATE_CANCELED;	/* once the memory is free */
	} else {
		cancel_point(me);
		signalfd_begin(me);
		r = wait_for(me, fds, (unsigned)n, deadline, &room);
		signalfd_end(me);
	}
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
		   timeout == 0 ? 0 : sys_in(timeout * NSEC_PER_MSEC);
	return (int)gate_return(do_poll(me, fds, n, deadline));
}
ALIAS(__poll, poll);

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);

HOOKED int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	if (room / sizeof(*fds) < n)
		return REAL(__poll_chk)(fds, n, timeout, room);
	return poll(fds, n, timeout);
}

static bool valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC;
}

static cogo_time deadline_in(const struct timespec *span)
{
	if (!span || span->tv_sec > INT64_MAX / NSEC / 2)
		return COGO_FOREVER;
	if (!span->tv_sec && !span->tv_nsec)
		return 0;
	return sys_now() + span->tv_sec * NSEC + span->tv_nsec;
}

/* The masks of ppoll, pselect and epoll_pwait hold from before the first look
 * to after the wait: what they let in ends the wait, and its handler runs under
 * them. */
static sigbits enter_mask(struct coro *me, const sigset_t *mask)
{
	sigbits before = signal_mask(me), during;

	memcpy(&during, mask, sizeof(during));
	signal_set_mask(me, during);
	return before;
}

static long do_ppoll(struct coro *me, struct pollfd *fds, nfds_t n,
		     cogo_time deadline, const sigset_t *mask)
{
	sigbits before;
	long r;

	if (!mask)
		return do_poll(me, fds, n, deadline);
	/* Put off until the wait has begun: then it is interrupted at once. */
	door_enter(me);
	before = enter_mask(me, mask);
	if (signal_pending(me) & ~signal_mask(me))
		atomic_store_explicit(&me->interrupt, 1, memory_order_relaxed);
	r = do_poll(me, fds, n, deadline);
	signal_set_mask(me, before);
	door_leave(me);
	return r;
}

HOOKED int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *span,
		 const sigset_t *mask)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(ppoll)(fds, n, span, mask);
	if (span && !valid(span))
		return (int)gate_errno(-EINVAL);
	return (int)gate_return(do_ppoll(me, fds, n, deadline_in(span), mask));
}

int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *span,
		const sigset_t *mask, size_t room);

HOOKED int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *span,
		       const sigset_t *mask, size_t room)
{
	if (room / sizeof(*fds) < n)
		return REAL(__ppoll_chk)(fds, n, span, mask, room);
	return ppoll(fds, n, span, mask);
}

/* select is poll over bits. The sets may be larger than fd_set, as the kernel
 * allows, so they are read as words. */

#define BITS (8 * (int)sizeof(unsigned long))

static bool bit(const unsigned long *set, int i)
{
	return set && (set[i / BITS] >> (i % BITS) & 1);
}

static int collect(int n, unsigned long *const sets[3], struct pollfd *fds)
{
	int k = 0;

	for (int i = 0; i < n; i++) {
		short events = 0;

		/* The kernel's own table of what a set means. */
		if (bit(sets[0], i))
			events |= POLLRDNORM | POLLRDBAND | POLLIN;
		if (bit(sets[1], i))
			events |= POLLWRBAND | POLLWRNORM | POLLOUT;
		if (bit(sets[2], i))
			events |= POLLPRI;
		if (!events)
			continue;
		if (fds)
			fds[k] = (struct pollfd){ .fd = i, .events = events };
		k++;
	}
	return k;
}

static long spread(int n, unsigned long *const sets[3], const struct pollfd *fds,
		   int k)
{
	static const short means[3] = {
		POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
		POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
		POLLPRI,
	};
	static const short asks[3] = { POLLIN, POLLOUT, POLLPRI };
	long total = 0;

	for (int s = 0; s < 3; s++)
		if (sets[s])
			memset(sets[s], 0, (size_t)((n + BITS - 1) / BITS) *
						   sizeof(unsigned long));
	for (int i = 0; i < k; i++)
		for (int s = 0; s < 3; s++)
			if ((fds[i].events & asks[s]) &&
			    (fds[i].revents & means[s])) {
				sets[s][fds[i].fd / BITS] |=
					1ul << (fds[i].fd % BITS);
				total++;
			}
	return total;
}

static long do_select(struct coro *me, int n, unsigned long *const sets[3],
		      cogo_time deadline, const sigset_t *mask)
{
	struct pollfd few[16], *fds = few;
	long r;
	int k;

	if (n < 0)
		return -EINVAL;
	if (n > 1 << 20)
		n = 1 << 20;
	for (int s = 0; s < 3; s++)
		if (n && sets[s] && gate_bad_pointer(sets[s]))
			return -EFAULT;
	k = collect(n, sets, NULL);
	if (k > (int)ARRAY_SIZE(few)) {
		fds = malloc((size_t)k * sizeof(*fds));
		if (!fds)
			return -ENOMEM;
	}
	collect(n, sets, fds);
	r = do_ppoll(me, fds, (nfds_t)k, deadline, mask);
	for (int i = 0; r > 0 && i < k; i++)
		if (fds[i].revents & POLLNVAL)
			r = -EBADF;
	if (r >= 0)
		r = spread(n, sets, fds, k);
	if (fds != few)
		free(fds);
	return r;
}

HOOKED int select(int n, fd_set *restrict in, fd_set *restrict out,
		  fd_set *restrict ex, struct timeval *restrict timeout)
{
	struct coro *me = gate_coro();
	unsigned long *sets[3] = { (unsigned long *)in, (unsigned long *)out,
				   (unsigned long *)ex };
	cogo_time deadline = COGO_FOREVER, left;
	struct timespec span;
	long r;

	if (!me)
		return REAL(select)(n, in, out, ex, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return (int)gate_errno(-EINVAL);
		span.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		span.tv_nsec = timeout->tv_usec % 1000000 * 1000;
		deadline = deadline_in(&span);
	}
	r = do_select(me, n, sets, deadline, NULL);
	/* Linux tells how much was left. */
	if (timeout && deadline != COGO_FOREVER) {
		left = deadline ? deadline - sys_now() : 0;
		if (left < 0)
			left = 0;
		timeout->tv_sec = left / NSEC;
		timeout->tv_usec = left % NSEC / 1000;
	}
	return (int)gate_return(r);
}
ALIAS(__select, select);

HOOKED int pselect(int n, fd_set *restrict in, fd_set *restrict out,
		   fd_set *restrict ex, const struct timespec *restrict span,
		   const sigset_t *restrict mask)
{
	struct coro *me = gate_coro();
	unsigned long *sets[3] = { (unsigned long *)in, (unsigned long *)out,
				   (unsigned long *)ex };

	if (!me)
		return REAL(pselect)(n, in, out, ex, span, mask);
	if (span && !valid(span))
		return (int)gate_errno(-EINVAL);
	return (int)gate_return(do_select(me, n, sets, deadline_in(span), mask));
}

/* The program's own epoll instance is a descriptor that becomes readable; the
 * runtime's waits for it as for any other, and then it has to be asked what there
 * is: three system calls for one. So where there are a few loops of events, as many
 * as there are workers, they wait in the kernel, on kernel threads that others take
 * the places of. About so many: one that is ended in the middle by a handler counts
 * on, and then there are fewer. */
static _Atomic uint32_t in_kernel;
static _Atomic bool no_pwait2;

void poll_fork_child(void)
{
	atomic_store_explicit(&in_kernel, 0, memory_order_relaxed);
}

/* False: it is to be waited for in another way. */
static bool epoll_in_kernel(struct coro *me, int fd, struct epoll_event *events,
			    int room, cogo_time deadline, long *ret)
{
	struct timespec span;

	if (atomic_load_explicit(&in_kernel, memory_order_relaxed) >= sched.target ||
	    atomic_load_explicit(&no_pwait2, memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&in_kernel, 1, memory_order_relaxed);
	me->fd = fd;
	block_enter(me, WHY_POLL);
	*ret = gate_call(me, SYS_epoll_pwait2, (const long[6]){
		fd, (long)events, room, (long)sys_left(deadline, &span), 0, 8 });
	block_exit(me);
	atomic_fetch_sub_explicit(&in_kernel, 1, memory_order_relaxed);
	if (*ret != -ENOSYS && *ret != -EPERM)
		return true;
	atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
	return false;
}

static long do_epoll(struct coro *me, int fd, struct epoll_event *events,
		     int room, cogo_time deadline, const sigset_t *mask)
{
	struct fd_wait w = FD_WAIT(fd, POLLER_IN);
	bool signals = signalfd_any();
	sigbits before = 0;
	long r;

	door_enter(me);
	cancel_point(me);
	signalfd_begin(me);
	if (mask) {
		before = enter_mask(me, mask);
		if (signal_pending(me) & ~signal_mask(me))
			atomic_store_explicit(&me->interrupt, 1,
					      memory_order_relaxed);
	}
	for (;;) {
		/* Never skipped: events that the program asked for with
		 * EPOLL_CTL_MOD, or that level triggering repeats, are no edge
		 * of the instance. */
		fd_sample(&w);
		r = unlikely(signals)
			    ? signalfd_look(me, &(struct pollfd){ .fd = w.fd }, 1,
					    SYS_epoll_pwait, (const long[6]){
				      w.fd, (long)events, room, 0, 0, 8 })
			    : sys_call(SYS_epoll_pwait, w.fd, events, room, 0,
				       NULL, 8);
		signals = false;
		if (r || deadline == 0)
			break;
		if (!mask && !signalfd_any() &&
		    epoll_in_kernel(me, w.fd, events, room, deadline, &r)) {
			if (r != -EINTR)
				break;
		} else {
			r = fd_wait(&w, deadline, WHY_POLL);
		}
		if (r == 0)
			continue;
		if (r == -EINTR || r == -ECANCELED) {
			signals = signalfd_any();
			r = gate_interrupted(me, false);
			if (r == 0)
				continue;
		} else if (r == -ETIMEDOUT) {
			r = sys_call(SYS_epoll_pwait, w.fd, events, room, 0, NULL,
				     8);
		}
		break;
	}
	fd_done(&w);
	signalfd_end(me);
	if (mask)
		signal_set_mask(me, before);
	door_leave(me);
	return r;
}

HOOKED int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout,
		       const sigset_t *mask)
{
	struct coro *me = gate_coro();
	cogo_time deadline;

	if (!me)
		return REAL(epoll_pwait)(fd, events, room, timeout, mask);
	deadline = timeout < 0 ? COGO_FOREVER :
		   timeout == 0 ? 0 : sys_in(timeout * NSEC_PER_MSEC);
	return (int)gate_return(do_epoll(me, fd, events, room, deadline, mask));
}

HOOKED int epoll_wait(int fd, struct epoll_event *events, int room, int timeout)
{
	if (!gate_coro())
		return REAL(epoll_wait)(fd, events, room, timeout);
	return epoll_pwait(fd, events, room, timeout, NULL);
}

HOOKED int epoll_pwait2(int fd, struct epoll_event *events, int room,
			const struct timespec *span, const sigset_t *mask)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(epoll_pwait2)(fd, events, room, span, mask);
	if (span && !valid(span))
		return (int)gate_errno(-EINVAL);
	return (int)gate_return(do_epoll(me, fd, events, room, deadline_in(span),
					 mask));
}
