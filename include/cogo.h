/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo.h - the library as a program sees it.
 *
 * So far that is which one it is; threads become coroutines by cogo-run, with
 * nothing to include. */
#ifndef COGO_H
#define COGO_H

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
