/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/ident.c - who a thread is to the kernel, and what it keeps per thread.
 *
 * gettid() tells a coroutine a number of its own, the same for all its life,
 * above any that the kernel gives out. As an identity it is as good as a real
 * one; to the kernel it means nothing, so the calls that take one translate it
 * (signals: hook/signal.c). What they find in a file of /proc is the kernel's
 * threads alone.
 *
 * Some properties belong to the kernel thread: processors, policy, niceness,
 * namespaces, capabilities, most of prctl. A coroutine that changes one for
 * itself keeps its kernel thread from there on; nobody else runs on it
 * afterwards (block_keep). A change that fails, or changes nothing, costs
 * nothing. For another coroutine, such a change is made only if that one has a
 * kernel thread to itself; a hint for one that runs here and there would be
 * lost at its next turn, and is taken for granted instead. */
#include "hook/ident.h"
#include "arch/tp.h"
#include "base/conf.h"
#include "base/errno.h"
#include "base/sys.h"
#include "go.h"
#include "hook/fdtab.h"
#include "hook/fork.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "sched/block.h"
#include "sched/monitor.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The coroutine that would have to be bound: not a kernel thread, nor one of a
 * vfork's. */
static struct coro *changeable(void)
{
	struct coro *me = self();

	return me && me->kind == CORO_KIND_CORO && !me->vforked ? me : NULL;
}

/* Around a call that changes the kernel thread. */
static struct coro *change_begin(void)
{
	struct coro *me = changeable();

	if (me) {
		door_enter(me);
		block_bind(me);
		door_leave(me);
	}
	return me;
}

static void change_end(struct coro *me, bool changed)
{
	if (!me)
		return;
	door_enter(me);
	if (changed)
		block_keep(me);
	else
		block_unbind(me);
	door_leave(me);
}

/* errno survives: nothing in change_end touches it. */
#define CHANGE(type, call) __extension__ ({			\
	struct coro *me_ = change_begin();			\
	type r_ = (call);					\
	change_end(me_, r_ != (type)-1);			\
	r_;							\
})

HOOKED pid_t gettid(void)
{
	struct coro *me = changeable();

	return me ? me->vtid : sys_gettid();
}

/* Whom a tid means. */
enum whom {
	WHOM_CALLER,	/* 0, or the caller's own */
	WHOM_KERNEL,	/* *ret is the kernel's number */
	WHOM_UNBOUND,	/* a coroutine without a kernel thread of its own */
	WHOM_NOBODY,
};

static enum whom whom(pid_t tid, pid_t *ret)
{
	struct coro *me = changeable(), *c;

	*ret = tid;
	if (tid == 0 || (me && me->vtid == tid)) {
		*ret = 0;
		return WHOM_CALLER;
	}
	if (tid < CORO_FIRST_TID)
		return WHOM_KERNEL;
	c = coro_of_tid(tid);
	if (!c)
		return WHOM_NOBODY;
	*ret = c->bound ? c->tid : 0;
	return c->bound ? WHOM_KERNEL : WHOM_UNBOUND;
}

/* ASK: the kernel thread's answer, which for a coroutine without one of its own
 * is any worker's. SET: the change, for the one that is meant. */
#define ASK(tid, call) __extension__ ({				\
	pid_t kernel_tid;					\
	whom(tid, &kernel_tid) == WHOM_NOBODY			\
		? (int)gate_errno(-ESRCH) : (call);		\
})

#define SET(tid, noop, call) __extension__ ({			\
	pid_t kernel_tid;					\
	int set_;						\
	switch (whom(tid, &kernel_tid)) {			\
	case WHOM_CALLER:					\
		set_ = (noop) ? (call) : CHANGE(int, call);	\
		break;						\
	case WHOM_KERNEL:					\
		set_ = (call);					\
		break;						\
	case WHOM_UNBOUND:					\
		set_ = 0;					\
		break;						\
	default:						\
		set_ = (int)gate_errno(-ESRCH);			\
	}							\
	set_;							\
})

/* Processors */

HOOKED int sched_getaffinity(pid_t tid, size_t size, cpu_set_t *ret)
{
	return ASK(tid, REAL(sched_getaffinity)(kernel_tid, size, ret));
}

/* Whether it is what the kernel thread has already. */
static bool same_processors(size_t size, const cpu_set_t *set)
{
	unsigned char now[1024];
	long n = sys_call(SYS_sched_getaffinity, 0, sizeof(now), now);

	/* What lies beyond either is zero in effect. */
	if (n <= 0)
		return false;
	for (size_t i = 0; i < (size_t)n || i < size; i++) {
		unsigned char have = i < (size_t)n ? now[i] : 0;
		unsigned char want = i < size ? ((const unsigned char *)set)[i] : 0;

		if (have != want)
			return false;
	}
	return true;
}

HOOKED int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set)
{
	return SET(tid, same_processors(size, set),
		   REAL(sched_setaffinity)(kernel_tid, size, set));
}

/* Policy and priority */

HOOKED int sched_getscheduler(pid_t tid)
{
	return ASK(tid, REAL(sched_getscheduler)(kernel_tid));
}

ALIAS(__sched_getscheduler, sched_getscheduler);

HOOKED int sched_getparam(pid_t tid, struct sched_param *ret)
{
	return ASK(tid, REAL(sched_getparam)(kernel_tid, ret));
}
ALIAS(__sched_getparam, sched_getparam);

/* A worker's policy is the default one. */
static bool is_default(int policy)
{
	return policy == SCHED_OTHER &&
	       sys_call(SYS_sched_getscheduler, 0) == SCHED_OTHER;
}

static _Atomic bool policies_differ;	/* or have, at some time */

void ident_rank(struct coro *c, int tid)
{
	long policy = sys_call(SYS_sched_getscheduler, tid) & ~SCHED_RESET_ON_FORK;
	struct sched_param param = { 0 };

	if (policy == SCHED_FIFO || policy == SCHED_RR)
		sys_call(SYS_sched_getparam, tid, &param);
	c->rank = (uint8_t)param.sched_priority;
	/* relaxed: who makes a thread afterwards has set it, or been told. */
	if (policy != SCHED_OTHER)
		atomic_store_explicit(&policies_differ, true, memory_order_relaxed);
}

/* After a call that may have set tid's policy. */
static int ranked(pid_t tid, int r)
{
	pid_t kernel_tid;
	enum whom who = whom(tid, &kernel_tid);
	struct coro *c = who == WHOM_CALLER ? self() : coro_of_tid(tid);

	if (r == 0 && c && who != WHOM_UNBOUND)
		ident_rank(c, kernel_tid);
	return r;
}

/* The monitor's is that of all workers that belong to nobody. Without a monitor, 0,
 * it is the caller's, who is about to make them or runs on one. */
static long workers_policy(void)
{
	return sys_call(SYS_sched_getscheduler, monitor_tid());
}

bool ident_has_other_policy(void)
{
	struct coro *me = changeable();

	/* relaxed: see above. */
	if (likely(!atomic_load_explicit(&policies_differ, memory_order_relaxed)) ||
	    (me && !me->bound))
		return false;
	return sys_call(SYS_sched_getscheduler, 0) != workers_policy();
}

int ident_workers_policy(int *ret_policy, struct sched_param *ret)
{
	*ret_policy = (int)workers_policy();
	return (int)-sys_call(SYS_sched_getparam, monitor_tid(), ret);
}

HOOKED int sched_setscheduler(pid_t tid, int policy,
			      const struct sched_param *param)
{
	return ranked(tid, SET(tid, is_default(policy),
			       REAL(sched_setscheduler)(kernel_tid, policy, param)));
}
ALIAS(__sched_setscheduler, sched_setscheduler);

HOOKED int sched_setparam(pid_t tid, const struct sched_param *param)
{
	return ranked(tid, SET(tid, is_default(SCHED_OTHER),
			       REAL(sched_setparam)(kernel_tid, param)));
}

static bool same_niceness(int prio);

/* The first words of it are the kernel's for good. */
static bool changes_nothing(const struct sched_attr *attr)
{
	struct { uint32_t size, policy; uint64_t flags; int32_t nice; } begin;

	if (gate_bad_pointer(attr))
		return true;
	memcpy(&begin, attr, sizeof(begin));
	return !begin.flags && is_default((int)begin.policy) &&
	       same_niceness(begin.nice);
}

HOOKED int sched_setattr(pid_t tid, struct sched_attr *attr, unsigned flags)
{
	return ranked(tid, SET(tid, changes_nothing(attr),
			       (int)gate_return(sys_call(SYS_sched_setattr,
							 kernel_tid, attr, flags))));
}

HOOKED int sched_getattr(pid_t tid, struct sched_attr *ret, unsigned size,
			 unsigned flags)
{
	return ASK(tid, (int)gate_return(sys_call(SYS_sched_getattr, kernel_tid, ret,
						  size, flags)));
}

HOOKED int getpriority(__priority_which_t which, id_t who)
{
	if (which != PRIO_PROCESS)
		return REAL(getpriority)(which, who);
	return ASK((pid_t)who, REAL(getpriority)(which, (id_t)kernel_tid));
}

/* The kernel's answer is 20 less the niceness. */
static bool same_niceness(int prio)
{
	return sys_call(SYS_getpriority, PRIO_PROCESS, 0) == 20 - prio;
}

HOOKED int setpriority(__priority_which_t which, id_t who, int prio)
{
	if (which != PRIO_PROCESS)
		return REAL(setpriority)(which, who, prio);
	return SET((pid_t)who, same_niceness(prio),
		   REAL(setpriority)(which, (id_t)kernel_tid, prio));
}

/* The new niceness may be -1: errno says whether it failed. */
HOOKED int nice(int by)
{
	struct coro *me = by ? change_begin() : NULL;
	int before = errno_get(), r, err;

	errno_set(0);
	r = REAL(nice)(by);
	err = errno_get();
	change_end(me, r != -1 || err == 0);
	errno_set(err ? err : before);
	return r;
}

/* Per thread by nature */

HOOKED int setfsuid(uid_t uid)
{
	int before = REAL(setfsuid)((uid_t)-1);

	if ((uid_t)before != uid && changeable())
		change_end(change_begin(), true);
	return REAL(setfsuid)(uid);
}

HOOKED int setfsgid(gid_t gid)
{
	int before = REAL(setfsgid)((gid_t)-1);

	if ((gid_t)before != gid && changeable())
		change_end(change_begin(), true);
	return REAL(setfsgid)(gid);
}

int capset(void *header, const void *data);

HOOKED int capset(void *header, const void *data)
{
	return CHANGE(int, REAL(capset)(header, data));
}

/* Its descriptors are others than everybody's from there on, behind the same
 * numbers: what the runtime knows of numbers is not of these. */
static int own_files(int r)
{
	struct coro *me = changeable();

	if (r == 0 && me) {
		me->own_files = true;
		fdtab_apart();
	}
	return r;
}

HOOKED int unshare(int flags)
{
	int r = CHANGE(int, REAL(unshare)(flags));

	return flags & CLONE_FILES ? own_files(r) : r;
}

HOOKED int setns(int fd, int type)
{
	return CHANGE(int, REAL(setns)(fd, type));
}

HOOKED int personality(unsigned long persona)
{
	/* All ones asks. */
	if (persona == 0xffffffff)
		return REAL(personality)(persona);
	return CHANGE(int, REAL(personality)(persona));
}

HOOKED int pkey_set(int key, unsigned rights)
{
	return CHANGE(int, REAL(pkey_set)(key, rights));
}

int iopl(int level);
int ioperm(unsigned long from, unsigned long n, int on);
int arch_prctl(int code, unsigned long address);

HOOKED int iopl(int level)
{
	return CHANGE(int, REAL(iopl)(level));
}

HOOKED int ioperm(unsigned long from, unsigned long n, int on)
{
	return CHANGE(int, REAL(ioperm)(from, n, on));
}

HOOKED int arch_prctl(int code, unsigned long address)
{
	return CHANGE(int, REAL(arch_prctl)(code, address));
}
ALIAS(__arch_prctl, arch_prctl);

/* Who traces is a kernel thread: every request must come from the same. A PEEK
 * may read -1, so this one is bound whatever the answer is. */
HOOKED long ptrace(enum __ptrace_request request, ...)
{
	struct coro *me = change_begin();
	void *address, *data;
	va_list ap;
	pid_t pid;
	long r;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	address = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	r = REAL(ptrace)(request, pid, address, data);
	change_end(me, true);
	return r;
}

/* Timers. One that measures its thread's own time, or tells its thread alone,
 * needs a thread that the kernel knows; one that runs a function on a thread of
 * libc's has libc make that thread, which it shall not take for the child of a
 * coroutine. */
struct timer_order {
	clockid_t clock;
	struct sigevent *event;
	timer_t *ret;
};

static long order_timer(void *arg)
{
	const struct timer_order *o = arg;

	return REAL(timer_create)(o->clock, o->event, o->ret) ?
		-errno_get() : 0;
}

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int timer_for_thread(clockid_t clock, struct sigevent *event, timer_t *ret)
{
	struct sigevent known = *event;
	pid_t tid = 0;

	switch (whom(event->sigev_notify_thread_id, &tid)) {
	case WHOM_CALLER:
		tid = sys_gettid();
		break;
	case WHOM_KERNEL:
		break;
	default:
		return (int)gate_errno(-EINVAL);
	}
	known.sigev_notify_thread_id = tid;
	return REAL(timer_create)(clock, &known, ret);
}

HOOKED int timer_create(clockid_t clock, struct sigevent *restrict event,
			timer_t *restrict ret)
{
	struct timer_order order = { clock, event, ret };
	struct coro *me = changeable();
	bool for_thread = event && event->sigev_notify == SIGEV_THREAD_ID;
	long r;

	if (me && event && event->sigev_notify == SIGEV_THREAD) {
		door_enter(me);
		r = on_worker(me, order_timer, &order);
		door_leave(me);
		return (int)gate_return(r);
	}
	if (for_thread && event->sigev_notify_thread_id <= 0)
		return (int)gate_errno(-EINVAL);
	if (me && (clock == CLOCK_THREAD_CPUTIME_ID ||
		   (for_thread && event->sigev_notify_thread_id == me->vtid)))
		return CHANGE(int, for_thread ? timer_for_thread(clock, event, ret)
					      : REAL(timer_create)(clock, event,
								   ret));
	return for_thread ? timer_for_thread(clock, event, ret)
			  : REAL(timer_create)(clock, event, ret);
}

/* The owner of a descriptor, who is sent signals about it, may be one thread. */
int ident_set_owner(int fd, const struct f_owner_ex *to)
{
	struct f_owner_ex known;
	pid_t tid = 0;

	if (gate_bad_pointer(to) || to->type != F_OWNER_TID ||
	    to->pid < CORO_FIRST_TID)
		return (int)gate_return(sys_call(SYS_fcntl, fd, F_SETOWN_EX, to));
	known = *to;
	switch (whom(to->pid, &tid)) {
	case WHOM_CALLER:
		return CHANGE(int, (known.pid = sys_gettid(),
				    (int)gate_return(sys_call(SYS_fcntl, fd,
							      F_SETOWN_EX,
							      &known))));
	case WHOM_KERNEL:
		known.pid = tid;
		return (int)gate_return(sys_call(SYS_fcntl, fd, F_SETOWN_EX,
						 &known));
	default:
		return (int)gate_errno(-ESRCH);
	}
}

struct by_kernel_tid {
	pid_t tid, vtid;
};

static long on_kernel_thread(struct coro *c, void *arg)
{
	struct by_kernel_tid *b = arg;

	if (c->kind != CORO_KIND_CORO || !c->bound || c->tid != b->tid)
		return 0;
	b->vtid = c->vtid;
	return 1;
}

int ident_get_owner(int fd, struct f_owner_ex *ret)
{
	long r = sys_call(SYS_fcntl, fd, F_GETOWN_EX, ret);
	struct by_kernel_tid b = { 0, 0 };

	if (r == 0 && ret->type == F_OWNER_TID && ret->pid) {
		b.tid = ret->pid;
		if (coro_each(on_kernel_thread, &b))
			ret->pid = b.vtid;
	}
	return (int)gate_return(r);
}

/* prctl: what the whole process has, or what only asks, needs no binding. */
static bool of_the_thread(int option)
{
	switch (option) {
	case PR_SET_DUMPABLE:
	case PR_GET_DUMPABLE:
	case PR_SET_CHILD_SUBREAPER:
	case PR_GET_CHILD_SUBREAPER:
	case PR_SET_MM:
	case PR_SET_PTRACER:
	case PR_SET_THP_DISABLE:
	case PR_GET_THP_DISABLE:
	case PR_SET_TIMING:
	case PR_GET_TIMING:
	case PR_GET_PDEATHSIG:
	case PR_GET_KEEPCAPS:
	case PR_GET_UNALIGN:
	case PR_GET_FPEMU:
	case PR_GET_FPEXC:
	case PR_GET_ENDIAN:
	case PR_GET_SECCOMP:
	case PR_CAPBSET_READ:
	case PR_GET_TSC:
	case PR_GET_SECUREBITS:
	case PR_GET_TIMERSLACK:
	case PR_MCE_KILL_GET:
	case PR_GET_TID_ADDRESS:
	case PR_GET_NO_NEW_PRIVS:
	case PR_GET_FP_MODE:
	case PR_GET_SPECULATION_CTRL:
	case PR_GET_IO_FLUSHER:
#ifdef PR_SET_VMA
	case PR_SET_VMA:
#endif
		return false;
	default:
		return true;
	}
}

/* The kernel thread's own name is seen in /proc, so a bound one gets it too. */
void ident_set_name(struct coro *me, const char *name)
{
	go_set_name(me, name);
	if (unlikely(conf.bind[0] != 0) && gate_threads() && !me->bound &&
	    conf_binds(&conf, me->name))
		change_end(change_begin(), true);
	if (me->bound)
		sys_call(SYS_prctl, PR_SET_NAME, me->name, 0, 0, 0);
}

HOOKED int prctl(int option, ...)
{
	struct coro *me = changeable();
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (me && option == PR_SET_NAME && a[0]) {
		ident_set_name(me, (const char *)a[0]);
		return 0;
	}
	/* One without a name has its process's, as its worker does. */
	if (me && option == PR_GET_NAME && a[0] && me->name[0]) {
		memcpy((void *)a[0], me->name, sizeof(me->name));
		return 0;
	}
	if (!of_the_thread(option) || option == PR_GET_NAME)
		return REAL(prctl)(option, a[0], a[1], a[2], a[3]);
	return CHANGE(int, REAL(prctl)(option, a[0], a[1], a[2], a[3]));
}

/* The same by number. What a call of these numbers changes is the kernel
 * thread's own; libc's functions of the same name would change all of them
 * (setuid), but these are asked for by those who know. */
bool ident_changes_thread(long nr)
{
	switch (nr) {
	case SYS_setuid:
	case SYS_setgid:
	case SYS_setreuid:
	case SYS_setregid:
	case SYS_setresuid:
	case SYS_setresgid:
	case SYS_setgroups:
	case SYS_setfsuid:
	case SYS_setfsgid:
	case SYS_capset:
	case SYS_unshare:
	case SYS_setns:
	case SYS_seccomp:
	case SYS_ioprio_set:
	case SYS_set_mempolicy:
	case SYS_set_robust_list:
	case SYS_perf_event_open:
	/* Rings know who they are for, and who has asked. */
	case SYS_io_uring_setup:
	case SYS_io_uring_register:
#ifdef SYS_landlock_restrict_self
	case SYS_landlock_restrict_self:
#endif
#ifdef SYS_arch_prctl
	case SYS_arch_prctl:
#endif
		return true;
	default:
		return false;
	}
}

long ident_call(long nr, const long a[6])
{
	if (nr == SYS_unshare)
		return unshare((int)a[0]);
	return CHANGE(long, gate_return(sys_call(nr, a[0], a[1], a[2], a[3], a[4],
						 a[5])));
}

/* To a coroutine by the number that gettid() told. */
HOOKED int tgkill(pid_t process, pid_t tid, int sig)
{
	struct coro *c;
	int err;

	if (tid < CORO_FIRST_TID || process != sys_getpid())
		return REAL(tgkill)(process, tid, sig);
	c = coro_of_tid(tid);
	if (!c)
		return (int)gate_return(-ESRCH);
	if (c == self() && sig)
		return raise(sig);
	err = pthread_kill((pthread_t)(c->tp ? arch_tp_to_thread(c->tp)
					     : (uintptr_t)c), sig);
	return (int)gate_return(-err);
}
