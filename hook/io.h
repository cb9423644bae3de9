/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/io.h - the one loop behind every call that moves bytes: try without
 * blocking, wait, try again. */
#ifndef COGO_HOOK_IO_H
#define COGO_HOOK_IO_H

#include "base/sys.h"
#include "hook/fdtab.h"
#include "hook/gate.h"
#include "hook/thread/cancel.h"
#include "sched/block.h"
#include "wait/fd.h"
#include "wait/op.h"
#include <sys/types.h>
#include <sys/uio.h>

/* What a try answers when the call cannot be tried and may fail or succeed
 * whatever poll says: a number that the kernel never gives. */
#define IO_NO_JUDGE 4094

/* What one try does: the result, -EAGAIN when it would block, or
 * -EOPNOTSUPP when it cannot be tried without blocking. Then `block` says
 * which call does it in the kernel, as a declared hand-off. */
struct io_call {
	long nr;
	long args[6];
};

struct io_op {
	long (*try)(int fd, const void *arg);
	struct io_call (*block)(int fd, const void *arg);
	int dir;
	enum why why;
	bool timeouts;		/* SO_RCVTIMEO and SO_SNDTIMEO count */
	bool no_poll;		/* EOPNOTSUPP is an answer, or poll no judge */
	bool rest;		/* something has moved: any handler ends it */
	/* Describes it, if the kernel can do it as a whole while one waits; or
	 * NULL. */
	bool (*whole)(int fd, const void *arg, struct poller_job *ret);
};

/* Reading and writing, and what they take; offset -1: where the file stands. */
struct io_vec {
	const struct iovec *iov;
	int n;
	off_t offset;
	int flags;
};
extern const struct io_op io_read_op, io_write_op;

/* To receive so much, as a whole: false where that is not to be had. */
bool io_whole_recv(int fd, void *buf, size_t n, unsigned flags,
		   struct poller_job *ret);
bool io_whole_send(const void *buf, size_t n, unsigned flags,
		   struct poller_job *ret);

static inline cogo_time io_deadline(int fd, int dir)
{
	cogo_time span = fdtab_timeout(fd, dir);

	/* Nearly always. */
	return likely(span == COGO_FOREVER) ? COGO_FOREVER : sys_in(span);
}

/* Whether a call that moves bytes would wait: 0 no, or it would fail; -EAGAIN yes;
 * -EOPNOTSUPP when poll is no judge of that. */
long io_would_wait(int fd, int dir);

/* For what cannot be tried: -EAGAIN when poll says that the call would wait, or
 * -EOPNOTSUPP when it would not, or poll is no judge of that. */
NOINLINE long io_poll(int fd, int dir);

/* The call itself, blocking, while another worker takes over. */
NOINLINE long io_block(struct coro *me, int fd, const struct io_op *op,
		       const void *arg);

/* Waits after a try in vain: 0 to try again, -ETIMEDOUT to try a last time. True:
 * it is the call's result. hoped: there was no try, because it would most likely
 * have been in vain. */
NOINLINE bool io_wait(struct coro *me, struct fd_wait *w, const struct io_op *op,
		      const void *arg, bool hoped, cogo_time *deadline,
		      long *ret_result);

/* Whether the poller may do it as a whole; and having it do so: as op_do. hoped: there
 * was no try. */
static inline bool io_whole(const struct io_op *op)
{
	return op->whole && unlikely(poller_does_ops());
}
int io_wait_for_all(struct coro *me, const struct fd_wait *w, const struct io_op *op,
		    const void *arg, bool hoped, cogo_time deadline,
		    long *ret_result);

/* Whether it is better not to try. What has an operation for accepting is a try that
 * costs a hand-off. */
static inline bool io_hopes(int fd, const struct io_op *op)
{
	if (!io_whole(op))
		return false;
	return op->why == WHY_ACCEPT ||
	       (op->dir == POLLER_IN && poller_hopes(fd));
}

/* Whether nothing is left in a TCP stream that was asked for so much. */
static inline bool io_leaves_nothing(long r, size_t want)
{
	return r > 0 ? (size_t)r < want : r == -EAGAIN;
}

/* `want`: how much a read asked for, where getting less means that nothing is
 * left, if it is a TCP stream; else 0. */
static inline __attribute__((always_inline)) long
io_run_for(struct coro *me, int fd, const struct io_op *op, const void *arg,
	   size_t want)
{
	struct fd_wait w = FD_WAIT(fd, op->dir);
	bool hope = io_hopes(fd, op);
	cogo_time deadline = 0;
	bool late = false;
	long r;

	door_enter(me);
	/* What has moved something tells of that, and the next call acts. */
	if (!op->rest)
		cancel_point(me);
	for (;; hope = false) {
		/* What is known to be in vain may have changed without the
		 * runtime having heard of it: good enough to wait for the news,
		 * not to tell the program. */
		r = (fd_sample(&w) || hope) && !late &&
				    !fdtab_nonblocking(w.fd) &&
				    !fdtab_low_water_any()
			    ? -EAGAIN : op->try(w.fd, arg);
		if (likely(r != -EAGAIN && r != -EOPNOTSUPP && r != -IO_NO_JUDGE))
			break;
		if (r == -EOPNOTSUPP && !op->no_poll)
			r = io_poll(w.fd, op->dir);
		else if (r == -IO_NO_JUDGE)
			r = -EOPNOTSUPP;
		if (r == -EAGAIN) {
			if (late)
				break;
			if (io_wait(me, &w, op, arg, hope, &deadline, &r))
				break;
			if (r == 0)
				continue;
			/* Out of time: one last look. */
			late = r == -ETIMEDOUT;
			if (late)
				continue;
		}
		if (r == -EOPNOTSUPP)
			r = io_block(me, w.fd, op, arg);
		break;
	}
	if (want && io_leaves_nothing(r, want) && w.fd == fd && fdtab_tcp(fd))
		poller_set_drained(fd, w.sample);
	if (unlikely(w.fd != fd))
		fd_done(&w);
	door_leave(me);
	return r;
}

static inline __attribute__((always_inline)) long
io_run(struct coro *me, int fd, const struct io_op *op, const void *arg)
{
	return io_run_for(me, fd, op, arg, 0);
}

/* The same for what is left of a call that has moved something. */
static inline long io_run_rest(struct coro *me, int fd, const struct io_op *op,
			       const void *arg)
{
	struct io_op rest = *op;

	rest.rest = true;
	return io_run(me, fd, &rest, arg);
}

/* For what must not be tried without waiting, or would do something else then:
 * the call itself, as a declared hand-off. */
static inline long io_sleep(struct coro *me, int fd, const struct io_op *op,
			    const void *arg)
{
	long r;

	door_enter(me);
	cancel_point(me);
	r = io_block(me, fd, op, arg);
	door_leave(me);
	return r;
}

/* What is left of these pieces behind the first `done` bytes, as many as there is
 * room for: how many pieces. */
#define IO_PIECES 16
int io_rest(const struct iovec *iov, size_t n, size_t done,
	    struct iovec ret_rest[IO_PIECES]);

/* Nobody waits in the kernel for a program's own epoll instance. */
void poll_fork_child(void);

#endif
