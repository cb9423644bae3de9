/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* must.h - what these examples say of a call, and end if it is not so. */
#ifndef MUST_H
#define MUST_H

#include <stdio.h>
#include <stdlib.h>

#define must(condition)							\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,	\
				__LINE__, #condition);			\
			exit(1);					\
		}							\
	} while (0)

#endif
