/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/op.h - having the kernel do a whole operation while we wait.
 *
 * Where the poller can, this takes the place of waiting for readiness and trying
 * again: what is waited for is the result. */
#ifndef COGO_WAIT_OP_H
#define COGO_WAIT_OP_H

#include "event/poller.h"

/* 0: it is done, and *ret_result is what came of it. Otherwise nothing has been
 * done: -ETIMEDOUT, -EINTR, -ECANCELED; or -EAGAIN when it cannot be done in this
 * way, or has to be looked at again: the caller shall try itself, and wait for
 * readiness.
 *
 * What was done before the wait could be broken off counts: then the result is
 * what there is to tell, and who broke it off is heard of later. */
int op_do(struct coro *me, const struct poller_job *job, cogo_time deadline,
	  enum why why, long *ret_result);

#endif
