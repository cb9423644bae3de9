/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/report.h - what is told on stderr because somebody asked: --dump, on
 * a signal, --stats, at the end, and under either, once, a deadlock.
 *
 * A kernel thread of its own does the telling, and is made only when asked
 * for. It stands outside everything that it tells about. */
#ifndef COGO_INSPECT_REPORT_H
#define COGO_INSPECT_REPORT_H

/* At load, when the settings are known. */
void report_load(void);

/* When the first coroutine is about to be made. 0 or -errno. */
int report_start(void);

/* The summary, if it was asked for and this process is one to give it. Once;
 * any thread, before the process ends. */
void report_at_exit(void);

void report_fork_child(void);

#endif
