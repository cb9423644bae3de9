/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/process.h - waiting for children. */
#ifndef COGO_HOOK_PROCESS_H
#define COGO_HOOK_PROCESS_H

/* Around a fork. What the parent waits for is not the child's own. */
void process_fork_lock(void);
void process_fork_unlock(void);
void process_fork_child(void);

#endif
