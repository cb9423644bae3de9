/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call.h - any function as a coroutine: what the floors above lend. */
#ifndef COGO_CALL_INTERNAL_H
#define COGO_CALL_INTERNAL_H

/* libc's dlopen, whose name we hook; before the first call. */
void call_use(void *(*open_library)(const char *, int));

#endif
