/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/fork.c - one process becomes two.
 *
 * A coroutine forks on its own stack, with its own thread pointer. To libc it
 * is a thread (mem/tls.c), so libc takes it for the one that survives: its id
 * becomes the child's, its robust list is registered, malloc goes on with its
 * arena, and the worker's descriptor is one of the dead. In the child it is a
 * plain kernel thread from there on, as after any fork by a thread; the other
 * coroutines, the workers and the poller have stayed behind. The first
 * pthread_create makes new ones.
 *
 * (On the worker's own stack, as other calls that look at the kernel thread,
 * fork would leave libc with the worker for the survivor, and with a caller
 * that it does not know.)
 *
 * The order, which is libc's but for the door:
 *
 *	prepare handlers, the last registered first	on the coroutine
 *	door, the runtime's locks			inside the runtime
 *	libc's fork: stdio's, malloc's, ld.so's locks
 *	the runtime's locks; child: begin afresh
 *	door, parent or child handlers, the first first	on the coroutine
 *
 * The list of handlers is ours, since libc would run its own after our door
 * has closed, where they must not park.
 *
 * vfork and clone with shared memory are another matter: the child is another
 * process on our memory, so it is kept away from everything we know. The
 * caller is bound meanwhile, and its hooks pass everything on. */
#include "hook/fork.h"
#include "base/conf.h"
#include "base/errno.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/sys.h"
#include "boot.h"
#include "fault/signal.h"
#include "hook/fdtab.h"
#include "hook/futex.h"
#include "hook/gate.h"
#include "hook/io.h"
#include "hook/log.h"
#include "hook/process.h"
#include "hook/real.h"
#include "hook/setid.h"
#include "hook/thread/kernel.h"
#include "hook/thread/thread.h"
#include "mem/slab.h"
#include "sched/block.h"
#include "sched/worker.h"
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utmp.h>

struct handler {
	struct list link;
	void *free;		/* slab link */
	void (*prepare)(void);
	void (*parent)(void);
	void (*child)(void);
	void *dso;
	uint64_t number;	/* in the order of their coming */
};

static struct slab handlers = SLAB_INIT(struct handler, free);
static struct list registered;	/* under registered_lock */
static uint64_t numbers;
static struct lock registered_lock;

/* A handler may come that forks, and needs the lock itself. */
static sigbits lock_registered(void)
{
	sigbits most = ~(sigbits)SIG_OURS, before;

	sys_call(SYS_rt_sigprocmask, SIG_BLOCK, &most, &before, sizeof(before));
	lock(&registered_lock);
	return before;
}

static void unlock_registered(sigbits before)
{
	unlock(&registered_lock);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
}

/* Called at any time: by a library's constructor before ours, from within
 * malloc's first call, by a sanitizer that cannot be called itself yet. So no
 * more is looked at than the settings. */
static bool disabled(void)
{
	boot_conf();
	return conf.disable;
}

int __register_atfork(void (*prepare)(void), void (*parent)(void),
		      void (*child)(void), void *dso);

HOOKED int __register_atfork(void (*prepare)(void), void (*parent)(void),
			     void (*child)(void), void *dso)
{
	struct handler *h;
	sigbits mask;

	if (disabled())
		return REAL(__register_atfork)(prepare, parent, child, dso);
	h = slab_get(&handlers);
	if (!h)
		return ENOMEM;
	h->prepare = prepare;
	h->parent = parent;
	h->child = child;
	h->dso = dso;
	mask = lock_registered();
	h->number = ++numbers;
	list_add_tail(&registered, &h->link);
	unlock_registered(mask);
	return 0;
}

/* What old programs call; newer ones have a pthread_atfork of their own that
 * calls the one above. */
HOOKED int pthread_atfork(void (*prepare)(void), void (*parent)(void),
			  void (*child)(void))
{
	return __register_atfork(prepare, parent, child, NULL);
}

/* A library goes, and its handlers with it. */
static void unregister(const void *dso)
{
	sigbits mask = lock_registered();

	list_for_each_safe(pos, tmp, &registered) {
		struct handler *h = list_entry(pos, struct handler, link);

		if (h->dso == dso) {
			list_del(pos);
			slab_put(&handlers, h);
		}
	}
	unlock_registered(mask);
}

void __cxa_finalize(void *dso);

HOOKED void __cxa_finalize(void *dso)
{
	REAL(__cxa_finalize)(dso);
	if (dso)
		unregister(dso);
}

/* The last handler with a number below `number`, or the first above it, as a
 * copy: while it runs the list may change. */
static bool find_handler(uint64_t number, bool below, struct handler *ret)
{
	const struct handler *best = NULL;
	sigbits mask = lock_registered();

	list_for_each_safe(pos, tmp, &registered) {
		struct handler *h = list_entry(pos, struct handler, link);

		if (below && h->number < number)
			best = h;
		if (!below && h->number > number) {
			best = h;
			break;
		}
	}
	if (best)
		*ret = *best;
	unlock_registered(mask);
	return best != NULL;
}

/* How far the list went then: who registers in a handler is not called. */
static uint64_t run_prepare(void)
{
	struct handler h = { .number = UINT64_MAX };
	uint64_t last = 0;

	while (find_handler(h.number, true, &h)) {
		if (!last)
			last = h.number;
		if (h.prepare)
			h.prepare();
	}
	return last;
}

static void run_after(uint64_t last, bool child)
{
	struct handler h = { .number = 0 };

	while (find_handler(h.number, false, &h) && h.number <= last) {
		if (child && h.child)
			h.child();
		else if (!child && h.parent)
			h.parent();
	}
}

void fork_shared(void)
{
	struct coro *me = self();

	if (me && me->worker)
		me->worker->has_children = true;
	fdtab_forked();
}

/* Whether the caller is the process's first thread, and the mask of its kernel
 * thread; under registered_lock. */
static bool first_thread;
static sigbits mask_before;

/* No signal comes in between: what the child's first is told before it has
 * begun afresh would be put off until the runtime is left, noted down with what
 * others in the parent had put off, and forgotten with it. */
static void before_fork(struct coro *me)
{
	sigbits most = ~(SIG_OURS | SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) |
			 SIGBIT(SIGFPE) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) |
			 SIGBIT(SIGSYS)), mask;

	if (me)
		door_enter(me);
	sys_call(SYS_rt_sigprocmask, SIG_BLOCK, &most, &mask, sizeof(mask));
	lock(&registered_lock);
	mask_before = mask;
	first_thread = sys_gettid() == sys_getpid();
	process_fork_lock();
	boot_before_fork();
}

static void after_fork(struct coro *me, pid_t pid, bool libc_forked)
{
	sigbits mask = mask_before;

	if (pid == 0) {
		boot_after_fork_child(me, libc_forked);
		process_fork_child();
		setid_fork_child();
		thread_fork_child(first_thread);
		kernel_fork_child();
		log_fork_child();
		poll_fork_child();
	} else {
		boot_after_fork_parent();
		process_fork_unlock();
	}
	unlock(&registered_lock);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	fork_shared();
	if (me)
		door_leave(me);
}

static pid_t make_child(pid_t (*real)(void), bool whole)
{
	struct coro *me = self();
	uint64_t last = 0;
	pid_t pid;
	int err;

	if (me && me->vforked)
		return real();
	if (whole)
		last = run_prepare();
	before_fork(me);
	pid = real();
	err = errno_get();
	after_fork(me, pid, whole);
	if (whole)
		run_after(last, pid == 0);
	if (pid < 0)
		errno_set(err);
	return pid;
}

pid_t fork_now(void)
{
	if (disabled())
		return REAL(fork)();
	return make_child(REAL(fork), true);
}

HOOKED pid_t fork(void)
{
	return fork_now();
}
ALIAS(__fork, fork);
ALIAS(__libc_fork, fork);

/* Async-signal-safe, without handlers. */
HOOKED pid_t _Fork(void)
{
	if (disabled())
		return REAL(_Fork)();
	return make_child(REAL(_Fork), false);
}

/* The two halves of vfork; between them lies vfork-CPU.S. */
struct coro *vfork_before(void);
long vfork_after(struct coro *me, long r);

struct coro *vfork_before(void)
{
	struct coro *me = self();

	if (me) {
		door_enter(me);
		block_bind(me);
		door_leave(me);
		me->vforked++;
	}
	return me;
}

long vfork_after(struct coro *me, long r)
{
	if (me) {
		me->vforked--;
		door_enter(me);
		block_unbind(me);
		door_leave(me);
	}
	fork_shared();
	return gate_return(r);
}

/* clone: by its flags one of four things. */

struct clone_child {
	int (*fn)(void *);
	void *arg;
	struct coro *me;
};

/* The first thing of a child with memory of its own. What its function returns
 * libc gives to the system call exit, which ends one thread: its process's only
 * one, as far as the program knows. */
static int clone_begin(void *arg)
{
	struct clone_child c = *(struct clone_child *)arg;
	int r;

	after_fork(c.me, 0, false);
	r = c.fn(c.arg);
	if (boot_started())
		thread_first_exits(r);
	return r;
}

HOOKED int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct coro *me = self();
	struct clone_child c = { fn, arg, me };
	pid_t *parent_tid, *child_tid;
	void *tls;
	va_list ap;
	int r;

	/* Which of these are there depends on the flags; what is not is not
	 * looked at. */
	va_start(ap, arg);
	parent_tid = va_arg(ap, pid_t *);
	tls = va_arg(ap, void *);
	child_tid = va_arg(ap, pid_t *);
	va_end(ap);
	if (disabled() || (me && me->vforked))
		return REAL(clone)(fn, stack, flags, arg, parent_tid, tls,
				   child_tid);
	if (!(flags & CLONE_VM)) {
		before_fork(me);
		r = REAL(clone)(clone_begin, stack, flags, &c, parent_tid, tls,
				child_tid);
		after_fork(me, r, false);
		return r;
	}
	if (!(flags & CLONE_VFORK) || (flags & CLONE_CHILD_CLEARTID))
		futex_others_wake();
	/* Somebody else runs in our memory with our thread pointer: for a
	 * while, or for good. */
	if (flags & CLONE_VFORK) {
		me = vfork_before();
		r = REAL(clone)(fn, stack, flags, arg, parent_tid, tls,
				child_tid);
		vfork_after(me, 0);
		return r;
	}
	if (me) {
		door_enter(me);
		block_bind(me);
		door_leave(me);
	}
	r = REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	fork_shared();
	return r;
}
ALIAS(__clone, clone);

/* The kernel's order of arguments: flags, stack, … */
bool fork_is_one(const long args[6])
{
	return !(args[0] & (CLONE_VM | CLONE_THREAD)) && !args[1];
}

long fork_by_clone(const long a[6])
{
	struct coro *me = self();
	long r;

	before_fork(me);
	r = sys_call(SYS_clone, a[0], 0, a[2], a[3], a[4]);
	after_fork(me, (pid_t)r, false);
	return gate_return(r);
}

/* libc's own versions of these call its own fork. */

static int null_device(void)
{
	struct stat st;
	int fd = (int)sys_call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);

	if (fd < 0)
		return fd;
	if (sys_call(SYS_fstat, fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(1, 3))
		return fd;
	sys_call(SYS_close, fd);
	return -ENODEV;
}

HOOKED int daemon(int keep_directory, int keep_descriptors)
{
	pid_t pid = fork_now();
	long r;
	int fd;

	if (pid < 0)
		return -1;
	if (pid > 0)
		for (;;)
			sys_call(SYS_exit_group, 0);
	r = sys_call(SYS_setsid);
	if (r < 0)
		return (int)gate_return(r);
	if (!keep_directory)
		sys_call(SYS_chdir, "/");
	if (keep_descriptors)
		return 0;
	fd = null_device();
	if (fd < 0)
		return (int)gate_return(fd);
	for (int to = 0; to < 3; to++)
		if (fd != to)
			sys_call(SYS_dup3, fd, to, 0);
	if (fd > 2)
		sys_call(SYS_close, fd);
	return 0;
}

HOOKED int forkpty(int *ret_master, char *name, const struct termios *termios,
		   const struct winsize *size)
{
	int master, slave, err;
	pid_t pid;

	if (openpty(&master, &slave, name, (struct termios *)termios,
		    (struct winsize *)size) < 0)
		return -1;
	pid = fork_now();
	switch (pid) {
	case -1:
		err = errno_get();
		close(master);
		close(slave);
		errno_set(err);
		return -1;
	case 0:
		close(master);
		if (login_tty(slave))
			_exit(1);
		return 0;
	default:
		*ret_master = master;
		close(slave);
		return pid;
	}
}
