/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/api.h - what marks a function of the library's that programs may call. */
#ifndef COGO_API_H
#define COGO_API_H

#define COGO_API __attribute__((visibility("default")))

#endif
