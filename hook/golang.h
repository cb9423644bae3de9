/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/golang.h - threads that Go's runtime makes. */
#ifndef COGO_HOOK_GOLANG_H
#define COGO_HOOK_GOLANG_H

#include <stdbool.h>

/* The code at that address is of a program or library with Go's runtime in it. */
bool golang_code(const void *at);

#endif
