/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tls_lib.h - thread-local variables of a shared library. */
#ifndef TESTS_HOOK_TLS_LIB_H
#define TESTS_HOOK_TLS_LIB_H

#ifdef __cplusplus
extern "C" {
#endif

/* True when this thread finds the values with which a thread begins. */
int tls_lib_is_fresh(void);
void tls_lib_set(long value);
/* True when all of them have what was set last. */
int tls_lib_has(long value);

/* Another library's view of errno. */
int *tls_lib_errno(void);

/* Directly visible: its address is found by the program itself. */
extern __thread long tls_lib_visible;

#ifdef __cplusplus
}
#endif

#endif
