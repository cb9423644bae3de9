/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/fd.h - waiting for a descriptor.
 *
 * A try that found nothing looks like this:
 *
 *	struct fd_wait w = FD_WAIT(fd, POLLER_IN);
 *	for (;;) {
 *		if (!fd_sample(&w))		// known to be in vain: skip it
 *			r = try(w.fd);
 *		if (r != -EAGAIN) break;
 *		r = fd_wait(&w, deadline, WHY_READ);
 *		if (r) break;			// -ETIMEDOUT, -EINTR, …
 *	}
 *	fd_done(&w);
 *
 * The number in w.fd may change while we wait: when another thread closes the
 * descriptor, we go on with a private duplicate, as the kernel would. */
#ifndef COGO_WAIT_FD_H
#define COGO_WAIT_FD_H

#include "event/poller.h"

struct fd_wait {
	int fd;			/* to be used for the next try */
	int asked;		/* the program's number */
	int dir;		/* POLLER_IN or POLLER_OUT */
	uint32_t sample;
};

#define FD_WAIT(number, direction) \
	{ .fd = (number), .asked = (number), .dir = (direction) }

/* Before each try. True when the try would be in vain for sure. */
bool fd_sample(struct fd_wait *w);

/* After a try in vain. 0: try again. -ETIMEDOUT, -EINTR, -ECANCELED, -EPERM
 * (cannot be waited for: always ready), -EBADF. */
int fd_wait(struct fd_wait *w, cogo_time deadline, enum why why);

/* After the last try. */
void fd_done(struct fd_wait *w);

/* Several descriptors at once; see hook/poll.c. Entries with fd < 0 are left
 * out. 0: something may have happened; else as fd_wait. What came stands in
 * room, an entry for each descriptor that was not left out: true for certain
 * where it is marked sure. samples: two per entry (in, out). */
struct pollfd;
int fd_wait_many(const struct pollfd *fds, unsigned n, const uint32_t *samples,
		 struct poller_waiter *room, cogo_time deadline);

#endif
