/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/ident.h - what the kernel keeps per thread: for syscall(), and for names. */
#ifndef COGO_HOOK_IDENT_H
#define COGO_HOOK_IDENT_H

#include <stdbool.h>
#include <sys/types.h>

struct coro;
struct sched_param;

/* Whether that system call changes the kernel thread that makes it. */
bool ident_changes_thread(long nr);
/* Then it, with the caller bound for good if it succeeds. errno's convention. */
long ident_call(long nr, const long args[6]);

/* F_SETOWN_EX and F_GETOWN_EX. */
struct f_owner_ex;
int ident_set_owner(int fd, const struct f_owner_ex *to);
int ident_get_owner(int fd, struct f_owner_ex *ret);

/* The caller's name, which may be one that --bind leaves a kernel thread to. */
void ident_set_name(struct coro *me, const char *name);

/* c's policy may have changed: the kernel is asked for its rank among those who
 * wait. c is bound, or a kernel thread; tid is the kernel's number, 0 the caller's. */
void ident_rank(struct coro *c, int tid);

/* Whether a kernel thread that the caller makes would inherit a policy that
 * coroutines do not have. */
bool ident_has_other_policy(void);
/* What coroutines have: their workers'. */
int ident_workers_policy(int *ret_policy, struct sched_param *ret);

/* libc has these since 2.41, and the kernel's numbers are older. */
struct sched_attr;
int sched_setattr(pid_t tid, struct sched_attr *attr, unsigned flags);
int sched_getattr(pid_t tid, struct sched_attr *ret, unsigned size, unsigned flags);

#endif
