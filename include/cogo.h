/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo.h - the library as a program sees it.
 *
 * Most programs need no other line than this. Threads become coroutines by cogo-run,
 * with nothing to include. */
#ifndef COGO_H
#define COGO_H

#include "cogo/chan.h"
#include "cogo/context.h"
#include "cogo/cq.h"
#include "cogo/select.h"
#include "cogo/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that is loaded, "0.1.0". Never parks; any thread,
 * any time, a signal handler. */
const char *cogo_version(void);

#ifdef __cplusplus
}
#endif

#endif
