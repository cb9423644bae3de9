/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* early_lib.h - what early.c asks of the library. */
#ifndef EARLY_LIB_H
#define EARLY_LIB_H

int early_begun(void);	     /* 0: its constructor had a thread made, and joined it */
int early_forks(void);	     /* how often its handler ran */
int early_ask(int what);     /* of the thread that waits: the same back */
int early_end(void);	     /* 1: that has ended, with what it should */

#endif
