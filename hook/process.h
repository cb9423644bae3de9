/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/process.h - waiting for children. */
#ifndef COGO_HOOK_PROCESS_H
#define COGO_HOOK_PROCESS_H

/* In the child of a fork: what its parent waits for is not its own. */
void process_fork_child(void);

#endif
