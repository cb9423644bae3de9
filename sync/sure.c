/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/sure.c - the way into the runtime for a call that cannot fail. */
#include "sync/sure.h"
#include "base/fatal.h"
#include "base/sys.h"
#include <time.h>

/* A thread that cannot get a descriptor for want of memory waits for memory, as
 * it would wait for what it came for. */
struct coro *sure_adopt(void)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct coro *me;

	for (int i = 0; i < 10000; i++) {
		me = self_or_adopt();
		if (me)
			return me;
		sys_call(SYS_nanosleep, &ms, NULL);
	}
	cogo_throw("no memory for the descriptor of a thread that has to wait");
}
