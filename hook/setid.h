/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/setid.h - the credentials of a process, which the kernel keeps per
 * thread. */
#ifndef COGO_HOOK_SETID_H
#define COGO_HOOK_SETID_H

/* In the child of a fork: nobody is told anything. */
void setid_fork_child(void);

#endif
