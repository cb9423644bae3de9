/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/gate.c - shall this call be ours? */
#include "hook/gate.h"
#include "base/conf.h"

long gate_errno(long r)
{
	errno = (int)-r;
	return -1;
}

bool gate_threads(void)
{
	return conf.run && !conf.disable;
}
