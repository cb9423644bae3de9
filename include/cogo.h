/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo.h - coroutines, and what goes with them. Most programs need only to include
 * this, and to be linked with -lcogo (pkg-config cogo).
 *
 *	cogo/go.h	coroutines: making them, waiting for them, ending them
 *	cogo/call.h	… that call any function; function pointers that make them
 *	cogo/chan.h	channels, timers and tickers
 *	cogo/select.h	waiting for several things, and doing one of them
 *	cogo/context.h	deadlines, cancellation and values that are passed down
 *	cogo/cq.h	completion queues
 *	cogo/gen.h	generators: functions that give one value after another
 *	cogo/io.h	input and output with deadlines, foreign code that blocks
 *	cogo/scope.h	coroutines that do not outlive the block they are made in
 *	cogo/sync.h	locks, conditions, counts: waiting for one another
 *	cogo/time.h	moments and spans
 *
 * Threads of a program that nobody has changed become coroutines by cogo-run, with
 * nothing to include; what is here leaves pthread_create alone. For C++ there is
 * cogo.hpp, which includes this. */
#ifndef COGO_H
#define COGO_H

#include "cogo/call.h"
#include "cogo/chan.h"
#include "cogo/context.h"
#include "cogo/cq.h"
#include "cogo/gen.h"
#include "cogo/go.h"
#include "cogo/io.h"
#include "cogo/scope.h"
#include "cogo/select.h"
#include "cogo/sync.h"
#include "cogo/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that is loaded, "0.1.0". Never parks; any thread,
 * any time, a signal handler. */
COGO_API const char *cogo_version(void);

#ifdef __cplusplus
}
#endif

#endif
