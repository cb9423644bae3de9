/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/gate.c - shall this call be ours? */
#include "hook/gate.h"
#include "base/conf.h"
#include "base/errno.h"
#include "base/sys.h"
#include "fault/signal.h"
#include "hook/thread/cancel.h"
#include "sched/block.h"
#include <dlfcn.h>

struct coro *gate_bound(struct coro *me)
{
	return me->kind == CORO_KIND_CORO && !me->vforked ? me : NULL;
}

long gate_errno(long r)
{
	if (unlikely(r == -GATE_CANCELED)) {
		if (cancel_unwinds(self()))
			cancel_act(self());
		r = -ECANCELED;
	}
	errno_set((int)-r);
	return -1;
}

bool gate_threads(void)
{
	return conf.run && !conf.disable;
}

bool gate_ours;

void gate_load(void)
{
	Dl_info found, here;
	void *at = dlsym(RTLD_DEFAULT, "pthread_mutex_lock");

	/* Whose is the one that everybody finds? */
	gate_ours = !conf.disable &&
		    (conf.run || (at && dladdr(at, &found) &&
				  dladdr(&gate_ours, &here) &&
				  found.dli_fbase == here.dli_fbase));
}

int gate_interrupted(struct coro *me, bool restartable)
{
	uint32_t doors = me->in_runtime;
	bool restart;
	int ran;

	/* The handlers run as if the call had not been made: every door open. */
	me->in_runtime = 0;
	ran = signal_deliver(me, &restart);
	me->in_runtime = doors;
	if (cancel_wanted(me))
		return -GATE_CANCELED;
	if (ran == 0)
		return 0;
	return restartable && restart ? 0 : -EINTR;
}

long gate_sleep_args(struct coro *me, enum why why, bool restartable, long nr,
		     const long args[6])
{
	long r;

	door_enter(me);
	cancel_point(me);
	do {
		block_enter(me, why);
		r = gate_call(me, nr, args);
		block_exit(me);
	} while (r == -EINTR && (r = gate_interrupted(me, restartable)) == 0);
	door_leave(me);
	return r;
}

long gate_finish_args(struct coro *me, enum why why, bool restartable, long nr,
		      const long args[6])
{
	long r = gate_sleep_args(me, why, restartable, nr, args);

	if (unlikely(r == -GATE_CANCELED) && !cancel_unwinds(me)) {
		door_enter(me);
		r = gate_uncanceled(me, why, nr, args);
		door_leave(me);
	}
	return r;
}

long gate_uncanceled(struct coro *me, enum why why, long nr, const long args[6])
{
	long r;

	block_enter(me, why);
	r = sys_call(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	block_exit(me);
	return r;
}
