/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/api.h - how the library's functions are declared.
 *
 * Everything else in it is hidden, so that no name of its own can meet one of
 * the program's. */
#ifndef COGO_API_H
#define COGO_API_H

#define COGO_API __attribute__((visibility("default")))

#endif
