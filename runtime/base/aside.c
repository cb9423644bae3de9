/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/aside.c - descriptors of the runtime's own, out of the program's way.
 *
 * No number at or above the soft limit can be had, but what is there stays. So
 * the limit is raised, the number taken, and the limit put back, in some
 * microseconds. A thread that sets the limit in between wins: its value is what
 * is put back. One that asks for it in between is told more than there is. */
#include "base/aside.h"
#include "base/lock.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

/* The kernel's table is as long as its highest number: no higher than this. */
#define HIGHEST 61440
#define ROOM 4096

static struct lock aside_lock;

struct limit {
	struct rlimit was, now;
	bool raised;
	int from;		/* where ours begin */
};

static long limits(const struct rlimit *to, struct rlimit *ret_was)
{
	return sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, to, ret_was);
}

static void raise_limit(struct limit *l)
{
	rlim_t room;

	l->was = (struct rlimit){ 1024, 1024 };
	limits(NULL, &l->was);
	l->from = l->was.rlim_cur > HIGHEST ? HIGHEST : (int)l->was.rlim_cur;
	room = (rlim_t)l->from + ROOM;
	l->now = l->was;
	l->raised = false;
	if (l->was.rlim_cur >= room)
		return;
	l->now.rlim_cur = room < l->was.rlim_max ? room : l->was.rlim_max;
	l->raised = l->now.rlim_cur > l->was.rlim_cur &&
		    limits(&l->now, NULL) == 0;
	if (!l->raised) {
		l->now.rlim_cur = l->now.rlim_max = room;
		l->raised = limits(&l->now, NULL) == 0;
	}
}

static void lower_limit(const struct limit *l)
{
	struct rlimit seen;

	if (l->raised && limits(&l->was, &seen) == 0 &&
	    (seen.rlim_cur != l->now.rlim_cur || seen.rlim_max != l->now.rlim_max))
		limits(&seen, NULL);
}

/* Between the two. */
static int copy(const struct limit *l, int fd)
{
	int r = (int)sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, l->from);

	if (r == -EINVAL || r == -EMFILE)
		r = (int)sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC,
				  l->from > 64 ? l->from - 16 : l->from / 2);
	if (r == -EINVAL || r == -EMFILE)
		r = (int)sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
	return r;
}

int aside_copy(int fd)
{
	struct limit l;
	int r;

	lock(&aside_lock);
	raise_limit(&l);
	r = copy(&l, fd);
	lower_limit(&l);
	unlock(&aside_lock);
	return r;
}

int aside_make(long nr, long a, long b)
{
	struct limit l;
	int fd, r;

	lock(&aside_lock);
	raise_limit(&l);
	r = fd = (int)sys_call(nr, a, b);
	if (fd >= 0 && fd < l.from) {
		r = copy(&l, fd);
		if (r >= 0)
			sys_call(SYS_close, fd);
		else
			r = fd;
	}
	lower_limit(&l);
	unlock(&aside_lock);
	return r;
}
