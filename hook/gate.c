/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/gate.c - shall this call be ours? */
#include "hook/gate.h"
#include "base/conf.h"
#include "fault/signal.h"
#include "hook/thread/cancel.h"

long gate_errno(long r)
{
	errno = (int)-r;
	return -1;
}

bool gate_threads(void)
{
	return conf.run && !conf.disable;
}

int gate_interrupted(struct coro *me, bool restartable)
{
	uint32_t doors = me->in_runtime;
	bool restart;
	int ran;

	/* The handlers run as if the call had not been made: every door open. */
	me->in_runtime = 0;
	ran = signal_deliver(me, &restart);
	cancel_point(me);
	me->in_runtime = doors;
	if (ran == 0)
		return 0;
	return restartable && restart ? 0 : -EINTR;
}
