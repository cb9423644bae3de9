/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/stdio.c - holding a stream.
 *
 * stdio's locks are libc's own, and what waits for one inside libc waits in the
 * kernel. A thread that calls flockfile may hold the stream for long, across
 * waits of its own; so here, where it can be seen, a coroutine does not wait
 * in the kernel for it but tries again after a while. */
#include "base/sys.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "sched/park.h"
#include <stdio.h>

#define FIRST_PAUSE	20000		/* ns */
#define LONGEST_PAUSE	1000000

HOOKED void flockfile(FILE *f)
{
	struct coro *me = gate_coro();
	cogo_time pause = FIRST_PAUSE;

	if (!me || me->bound) {
		REAL(flockfile)(f);
		return;
	}
	while (ftrylockfile(f)) {
		door_enter(me);
		if (park_until(me, WHY_MUTEX, sys_now() + pause) != WAIT_TIMED_OUT)
			gate_interrupted(me, true);
		door_leave(me);
		if (pause < LONGEST_PAUSE)
			pause *= 2;
	}
}
ALIAS(_IO_flockfile, flockfile);
