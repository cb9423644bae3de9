/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/log.h - telling the system's log. */
#ifndef COGO_HOOK_LOG_H
#define COGO_HOOK_LOG_H

/* Whoever was in it is the parent's. */
void log_fork_child(void);

#endif
