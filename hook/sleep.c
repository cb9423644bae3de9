/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/sleep.c - letting time pass. */
#include "hook/io.h"
#include "hook/real.h"
#include "sched/park.h"
#include <sched.h>
#include <time.h>
#include <unistd.h>

#define NSEC 1000000000ll

HOOKED int sched_yield(void)
{
	struct coro *me = gate_coro();

	if (!me)
		return REAL(sched_yield)();
	door_enter(me);
	park_yield(me);
	door_leave(me);
	return 0;
}
ALIAS(__sched_yield, sched_yield);
