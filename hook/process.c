/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/process.c - waiting for children, and commands for a shell.
 *
 * Waiting for the end of a certain child: try without waiting, then wait for a
 * descriptor of the process (pidfd_open) to become readable, and try again. The
 * descriptor says nothing of a child that stops because it is being traced,
 * which waitpid reports unasked; so now and then it is tried in vain, less and
 * less often.
 *
 * Everything else (any child, a process group, stopped and continued children)
 * has no descriptor to wait for: it is a call that sleeps in the kernel while
 * another worker takes over. */
#include "hook/process.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/sys.h"
#include "hook/bigstack.h"
#include "hook/call.h"
#include "hook/file.h"
#include "hook/fork.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "sched/ready.h"
#include "wait/fd.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define MSEC		1000000
#define FIRST_LOOK	(5 * MSEC)
#define LAST_LOOK	(1000 * MSEC)
/* Our descriptors keep clear of the numbers that programs count on. */
#define LOWEST_FD	512

/* What is waited for, as wait4 or as waitid says it. */
struct child {
	/* The call with these options: -errno, 0 when there is nothing yet.
	 * With WNOHANG, or between block_enter and block_exit. */
	long (*call)(const struct child *c, int options);
	struct coro *me;
	idtype_t type;
	pid_t id;
	int options;
	int *status;
	siginfo_t *info;
	struct rusage *usage;
};

static long call_kernel(const struct child *c, int options, long nr,
			const long args[6])
{
	return options & WNOHANG ? sys_call(nr, args[0], args[1], args[2],
					    args[3], args[4])
				 : gate_call(c->me, nr, args);
}

static long call_wait4(const struct child *c, int options)
{
	return call_kernel(c, options, SYS_wait4, (const long[6]){
		c->id, (long)c->status, options, (long)c->usage });
}

static long call_waitid(const struct child *c, int options)
{
	siginfo_t info;
	long r;

	memset(&info, 0, sizeof(info));
	r = call_kernel(c, options, SYS_waitid, (const long[6]){
		c->type, c->id, (long)&info, options });
	if (r < 0 || !(c->options & WNOHANG || info.si_pid))
		return r;
	/* Only what the kernel wrote. */
	if (c->info) {
		c->info->si_signo = info.si_signo;
		c->info->si_errno = info.si_errno;
		c->info->si_code = info.si_code;
		c->info->si_pid = info.si_pid;
		c->info->si_uid = info.si_uid;
		c->info->si_status = info.si_status;
	}
	return info.si_pid;
}

/* Descriptors of children that are waited for: the child of a fork has no use
 * for them. */
struct watch {
	struct list link;
	int fd;		/* -1: it was the parent's */
};
static struct list watches;	/* under watches_lock */
static struct lock watches_lock;

void process_fork_lock(void)
{
	lock(&watches_lock);
}

void process_fork_unlock(void)
{
	unlock(&watches_lock);
}

void process_fork_child(void)
{
	process_fork_unlock();
	list_for_each_safe(pos, tmp, &watches) {
		struct watch *w = list_entry(pos, struct watch, link);

		sys_call(SYS_close, w->fd);
		w->fd = -1;
	}
	watches.next = NULL;
}

/* Makes fd ours, out of the program's way. */
static bool watch_begin(struct watch *w, int fd, bool close)
{
	w->fd = (int)sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, LOWEST_FD);
	if (close)
		sys_call(SYS_close, fd);
	if (w->fd < 0)
		return false;
	file_came(w->fd);
	lock(&watches_lock);
	list_add_tail(&watches, &w->link);
	unlock(&watches_lock);
	return true;
}

static void watch_end(struct watch *w)
{
	if (w->fd < 0)
		return;		/* a handler of ours forked, and this is the child */
	lock(&watches_lock);
	list_del(&w->link);
	unlock(&watches_lock);
	file_goes(w->fd);
	sys_call(SYS_close, w->fd);
}

static bool watch_child(const struct child *c, struct watch *ret)
{
	int fd;

	/* Who is bound has a kernel thread for it, and may be a tracer, whose
	 * children stop all the time. */
	if (c->options & (WUNTRACED | WCONTINUED | __WNOTHREAD) || c->me->bound)
		return false;
	if (c->type == P_PIDFD)
		return watch_begin(ret, c->id, false);
	if (c->type != P_PID)
		return false;
	fd = (int)sys_call(SYS_pidfd_open, c->id, 0);
	return fd >= 0 && watch_begin(ret, fd, true);
}

/* Until the child has ended; -EOPNOTSUPP when its descriptor cannot be waited
 * for. */
static long wait_watched(struct coro *me, const struct child *c,
			 struct watch *watch)
{
	struct fd_wait w = FD_WAIT(watch->fd, POLLER_IN);
	cogo_time look = FIRST_LOOK;
	long r;
	int how;

	for (;;) {
		fd_sample(&w);
		r = c->call(c, c->options | WNOHANG);
		if (r)
			break;
		how = fd_wait(&w, sys_now() + look, WHY_CHILD);
		if (how == -EINTR || how == -ECANCELED)
			how = gate_interrupted(me, true);
		else if (how == -ETIMEDOUT)
			how = 0;
		else if (how)
			how = -EOPNOTSUPP;
		if (how) {
			r = how;
			break;
		}
		if (look < LAST_LOOK)
			look *= 2;
	}
	fd_done(&w);
	return r;
}

static long wait_child(struct coro *me, const struct child *c)
{
	struct watch watch;
	long r;

	door_enter(me);
	cancel_point(me);
	r = c->call(c, c->options | WNOHANG);
	if (c->options & WNOHANG) {
		door_leave(me);
		return r;
	}
	if (r == 0) {
		r = -EOPNOTSUPP;
		if (watch_child(c, &watch)) {
			r = wait_watched(me, c, &watch);
			watch_end(&watch);
		}
	}
	if (r == -EOPNOTSUPP) {
		do {
			block_enter(me, WHY_CHILD);
			r = c->call(c, c->options);
			block_exit(me);
		} while (r == -EINTR && (r = gate_interrupted(me, true)) == 0);
	}
	door_leave(me);
	return r;
}

HOOKED pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	struct child c = {
		.call = call_wait4,
		.type = pid > 0 ? P_PID : P_ALL,
		.id = pid,
		.options = options,
		.status = status,
		.usage = usage,
		.me = gate_coro(),
	};
	struct coro *me = c.me;

	if (!me)
		return REAL(wait4)(pid, status, options, usage);
	return (pid_t)gate_return(wait_child(me, &c));
}

HOOKED pid_t wait3(int *status, int options, struct rusage *usage)
{
	return wait4(-1, status, options, usage);
}

HOOKED pid_t waitpid(pid_t pid, int *status, int options)
{
	return wait4(pid, status, options, NULL);
}
ALIAS(__waitpid, waitpid);

HOOKED pid_t wait(int *status)
{
	return wait4(-1, status, 0, NULL);
}
ALIAS(__wait, wait);

HOOKED int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	struct child c = {
		.call = call_waitid,
		.type = type,
		.id = (pid_t)id,
		.options = options,
		.info = info,
		.me = gate_coro(),
	};
	struct coro *me = c.me;
	long r;

	if (!me)
		return REAL(waitid)(type, id, info, options);
	r = wait_child(me, &c);
	return r > 0 ? 0 : (int)gate_return(r);
}

/* Commands. libc makes the child itself, by posix_spawn's way; what it does to
 * the kernel thread's signal mask meanwhile it undoes before it returns. */

HOOKED int system(const char *command)
{
	struct coro *me = gate_coro();
	int r;

	if (!me)
		return REAL(system)(command);
	call_begin_bound(me);
	r = REAL(system)(command);
	call_end_bound(me);
	fork_shared();
	return r;
}
ALIAS(__libc_system, system);

HOOKED FILE *popen(const char *command, const char *mode)
{
	struct coro *me = gate_coro();
	FILE *f;

	if (me)
		call_begin(me, WHY_BLOCKED);
	f = REAL(popen)(command, mode);
	if (me)
		call_end(me);
	if (f) {
		file_came(fileno(f));
		fork_shared();
	}
	return f;
}
ALIAS(_IO_popen, popen);

HOOKED int pclose(FILE *f)
{
	struct coro *me = gate_coro();
	int r;

	file_goes(fileno(f));
	if (!me)
		return REAL(pclose)(f);
	call_begin(me, WHY_CHILD);
	r = REAL(pclose)(f);
	call_end(me);
	return r;
}

struct words {
	const char *text;
	wordexp_t *ret;
	int flags;
};

static long real_wordexp(void *arg)
{
	const struct words *w = arg;

	return REAL(wordexp)(w->text, w->ret, w->flags);
}

/* Substitutions run a shell; names of users are looked up. */
HOOKED int wordexp(const char *text, wordexp_t *ret, int flags)
{
	struct words w = { text, ret, flags };
	struct coro *me = gate_coro();
	int r;

	if (me)
		call_begin(me, WHY_CHILD);
	r = (int)bigstack_call(real_wordexp, &w);
	if (me)
		call_end(me);
	fork_shared();
	return r;
}
