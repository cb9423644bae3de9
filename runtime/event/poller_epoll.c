/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/poller_epoll.c - readiness from epoll.
 *
 * Our two descriptors lie aside: see base/aside.h. Should the program name one of
 * their numbers all the same, as the place for one of its own, they move. */
#include "event/poller.h"
#include "base/aside.h"
#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#define NSEC		1000000000
#define NSEC_PER_MSEC	1000000
#define INTERRUPT_DATA	UINT64_MAX
#define SIGSET_BYTES	8
/* More, and what is asked for beforehand of the last is gone before their turn. */
#define MOST_AT_ONCE	32

static int epoll_fd = -1, event_fd = -1;
static bool no_pwait2;

static void epoll_close_both(void)
{
	sys_call(SYS_close, event_fd);
	sys_call(SYS_close, epoll_fd);
	epoll_fd = event_fd = -1;
}

/* Some files of /proc can be polled, and tell of a change once, to whoever looks
 * first: the mounts, the swaps. They are not for us to look at. */
static bool looking_takes(int fd)
{
	struct stat st;

	return sys_call(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int epoll_arm(int fd, uint64_t data)
{
	struct epoll_event e = {
		.events = EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI |
			  EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLRDHUP |
			  EPOLLET,
		.data.u64 = data,
	};
	int r;

	if (looking_takes(fd))
		return -EPERM;
	r = (int)sys_call(SYS_epoll_ctl, read_once(epoll_fd), EPOLL_CTL_ADD, fd,
			  &e);

	/* A copy of an earlier registration that a close we did not see has
	 * left behind: the entry is for the same description, so renew it. */
	if (r == -EEXIST)
		r = (int)sys_call(SYS_epoll_ctl, read_once(epoll_fd), EPOLL_CTL_MOD, fd, &e);
	return r;
}

static void epoll_disarm(int fd)
{
	struct epoll_event e = { 0 };

	sys_call(SYS_epoll_ctl, read_once(epoll_fd), EPOLL_CTL_DEL, fd, &e);
}

static int wait_for(struct epoll_event *events, int room, cogo_time span,
		    const uint64_t *sigmask)
{
	struct timespec ts = { span / NSEC, span % NSEC };
	bool forever = span == COGO_FOREVER;
	int ms;

	if (!no_pwait2) {
		int r = (int)sys_call(SYS_epoll_pwait2, read_once(epoll_fd), events, room,
				      forever ? NULL : &ts, sigmask,
				      SIGSET_BYTES);
		if (r != -ENOSYS && r != -EPERM)
			return r;
		no_pwait2 = true;
	}
	/* Rounded up: late by less than a millisecond, never early. */
	if (forever || span / NSEC_PER_MSEC >= INT32_MAX)
		ms = forever ? -1 : INT32_MAX;
	else
		ms = (int)((span + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
	return (int)sys_call(SYS_epoll_pwait, read_once(epoll_fd), events, room, ms, sigmask,
			     SIGSET_BYTES);
}

static int epoll_poll(cogo_time deadline, const uint64_t *sigmask,
		      struct poller_event *ret, int room)
{
	struct epoll_event events[MOST_AT_ONCE];
	cogo_time span = deadline;
	int n, out = 0;

	if (deadline != 0 && deadline != COGO_FOREVER) {
		span = deadline - sys_now();
		if (span < 0)
			span = 0;
	}
	if (room > (int)ARRAY_SIZE(events))
		room = ARRAY_SIZE(events);
	n = wait_for(events, room, span, sigmask);
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 == INTERRUPT_DATA)
			continue;
		ret[out].data = events[i].data.u64;
		ret[out++].events = events[i].events;
	}
	return n < 0 ? n : out;
}

int poller_epoll_watch(int fd, uint64_t data)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u64 = data };

	return (int)sys_call(SYS_epoll_ctl, read_once(epoll_fd), EPOLL_CTL_ADD, fd,
			     &e);
}

static int epoll_open(void)
{
	struct poller_event none;
	int r;

	epoll_fd = aside_make(SYS_epoll_create1, EPOLL_CLOEXEC, 0);
	if (epoll_fd < 0)
		return epoll_fd;
	event_fd = aside_make(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0) {
		r = event_fd;
		goto close_epoll;
	}
	r = poller_epoll_watch(event_fd, INTERRUPT_DATA);
	if (r)
		goto close_event;
	/* Whoever forbids the waiting says so now. */
	r = epoll_poll(0, NULL, &none, 1);
	if (r < 0)
		goto close_event;
	return 0;
close_event:
	sys_call(SYS_close, event_fd);
close_epoll:
	sys_call(SYS_close, epoll_fd);
	epoll_fd = event_fd = -1;
	return r;
}

static void epoll_interrupt(void)
{
	static const uint64_t one = 1;

	/* Edge-triggered: each write is an edge, nobody needs to read. */
	sys_call(SYS_write, read_once(event_fd), &one, sizeof(one));
}

static bool epoll_owns(int fd)
{
	return fd >= 0 && (fd == epoll_fd || fd == event_fd);
}

/* Who is about to use the old number meanwhile finds the same there, until the
 * caller has put something else in its place; what it has asked of that then
 * fails, and is asked again. */
static int epoll_vacate(int fd)
{
	int *at = fd == epoll_fd ? &epoll_fd : &event_fd;
	int copy = aside_copy(fd);

	if (copy >= 0)
		write_once(*at, copy);
	return copy < 0 ? copy : 0;
}

const struct poller_ops poller_epoll = {
	.name = "epoll",
	.open = epoll_open,
	.arm = epoll_arm,
	.disarm = epoll_disarm,
	.poll = epoll_poll,
	.interrupt = epoll_interrupt,
	.close = epoll_close_both,
	.owns = epoll_owns,
	.vacate = epoll_vacate,
};
