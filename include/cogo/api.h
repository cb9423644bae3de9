/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/api.h - what every public function is marked with. */
#ifndef COGO_API_H
#define COGO_API_H

#define COGO_API __attribute__((visibility("default")))

#endif
