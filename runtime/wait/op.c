/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/op.c - having the kernel do a whole operation while we wait.
 *
 * The kernel writes into the caller's buffers until it says that it is done. So one
 * whose wait was ended by somebody else asks for the operation to end, and waits on
 * for that, and this wait nobody breaks off:
 *
 *	wait	ended by	then
 *	open	the operation	its result
 *	open	anybody else	cancel; the closed wait
 *	closed	the operation	its result, or the reason if it was canceled
 *
 * What ends by itself, as what a disk has to do, has the closed wait from the
 * beginning: it is not broken off on a thread either.
 *
 * Which wait the end of the operation ends stands in op.ticket. Who says that it is
 * done takes the ticket out; who goes on to the closed wait puts that one's in, if
 * the first is still there. So either the closed wait is found, or it is not begun. */
#include "wait/op.h"
#include "coro/wait.h"
#include "sched/park.h"
#include "sched/worker.h"
#include <errno.h>
#include <sys/socket.h>

/* Until it is done, whatever comes. */
static void wait_on(struct coro *me, struct poller_op *op, uint64_t ticket,
		    enum why why)
{
	uint64_t closed = wait_open_closed(me);

	/* acq_rel: the result, if it is there; and the wait is open before
	 * anybody can find its ticket. */
	if (!atomic_compare_exchange_strong_explicit(
		    &op->ticket, &ticket, closed, memory_order_acq_rel,
		    memory_order_acquire)) {
		park_cancel(me, closed);
		return;
	}
	poller_op_cancel(op);
	park(me, closed, why, COGO_FOREVER);
}

static int reason(enum wait_outcome how)
{
	switch (how) {
	case WAIT_TIMED_OUT:	return -ETIMEDOUT;
	case WAIT_INTERRUPTED:	return -EINTR;
	default:		return -ECANCELED;
	}
}

/* Whether one system call for several is worth a wait for the others: nobody is
 * idle. A guess. */
static bool pays_to_collect(void)
{
	return !atomic_load_explicit(&sched.nidle, memory_order_relaxed);
}

/* It has come to something, so what says where is memory. */
static size_t asked_for(const struct poller_job *job)
{
	const struct msghdr *msg = job->at;
	size_t n = 0;

	if (job->what != POLLER_RECVMSG)
		return job->n;
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		n += msg->msg_iov[i].iov_len;
	return n;
}

int op_do(struct coro *me, const struct poller_job *job, cogo_time deadline,
	  enum why why, long *ret_result)
{
	struct poller_op op = { .coro = me };
	enum wait_outcome how;
	uint64_t ticket;
	int asked = me->fd;

	/* One that keeps its kernel thread, or has descriptors of its own, asks
	 * the kernel itself. */
	if (me->bound || me->own_files)
		return -EAGAIN;
	if (poller_ends_by_itself(job->what)) {
		ticket = wait_open_closed(me);
		deadline = COGO_FOREVER;
	} else {
		ticket = wait_open(me);
	}
	atomic_store_explicit(&op.ticket, ticket, memory_order_relaxed);
	if (poller_op_start(&op, job) != 0) {
		how = park_cancel(me, ticket);
		return how == WAIT_NONE || how == WAIT_WOKEN ? -EAGAIN : reason(how);
	}
	/* Where all are busy it begins with what they ask for in this round.
	 * Where somebody is not, he had better hear of it, whatever runs here
	 * next. */
	if (!pays_to_collect())
		poller_submit();
	how = park(me, ticket, why, deadline);
	if (how != WAIT_WOKEN) {
		me->fd = asked;
		wait_on(me, &op, ticket, why);
	}
	poller_op_end(&op, job->stream && op.result > 0 &&
				   (size_t)op.result < asked_for(job));
	switch (op.result) {
	case -ECANCELED:
	case -EINTR:
		/* If it was not us: the kernel thread that had submitted it has
		 * ended, say. */
	case -EAGAIN:
		return how == WAIT_WOKEN ? -EAGAIN : reason(how);
	}
	*ret_result = op.result;
	return 0;
}
