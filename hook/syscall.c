/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/syscall.c - syscall(2): the same calls by number.
 *
 * What waits goes where the call of that name goes; what makes, closes or
 * copies descriptors too, or the runtime would miss it. The kernel's order of
 * arguments is not always libc's. The rest is the kernel's, but for the few
 * that ask who the thread is. */
#include "base/sys.h"
#include "hook/fork.h"
#include "hook/futex.h"
#include "hook/gate.h"
#include "hook/ident.h"
#include "hook/real.h"
#include "sched/block.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* errno's convention, as syscall() has it, to and from a value. */
static long to_errno(int error)
{
	return error ? gate_errno(-error) : 0;
}

/* pselect6's last argument: the kernel has no room for a seventh. */
struct sized_mask {
	const sigset_t *mask;
	size_t size;
};

/* The kernel's sets of signals are eight bytes long, libc's more. */

static bool read_set(const void *kernels, long size, sigset_t *ret)
{
	if (size != 8 || gate_bad_pointer(kernels))
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, kernels, 8);
	return true;
}

static long bad_set(long size)
{
	return gate_errno(size == 8 ? -EFAULT : -EINVAL);
}

static long change_mask(int how, const void *to, void *ret_from, long size)
{
	sigset_t set, before;

	if (size != 8 || (to && !read_set(to, size, &set)))
		return bad_set(size);
	if (sigprocmask(how, to ? &set : NULL, &before))
		return -1;
	if (ret_from)
		memcpy(ret_from, &before, 8);
	return 0;
}

static long suspend(const void *mask, long size)
{
	sigset_t set;

	return read_set(mask, size, &set) ? sigsuspend(&set) : bad_set(size);
}

static long signals_of(int fd, const void *mask, long size, int flags)
{
	sigset_t set;

	return read_set(mask, size, &set) ? signalfd(fd, &set, flags)
					  : bad_set(size);
}

static long wait_for_signal(const void *of, siginfo_t *info,
			    const struct timespec *span, long size)
{
	sigset_t set;

	return read_set(of, size, &set) ? sigtimedwait(&set, info, span)
					: bad_set(size);
}

static long known(struct coro *me, long nr, const long a[6], bool *ret_known)
{
	*ret_known = true;
	switch (nr) {
	case SYS_read:
		return read((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_write:
		return write((int)a[0], (const void *)a[1], (size_t)a[2]);
	case SYS_readv:
		return readv((int)a[0], (const struct iovec *)a[1], (int)a[2]);
	case SYS_writev:
		return writev((int)a[0], (const struct iovec *)a[1], (int)a[2]);
	case SYS_pread64:
		return pread((int)a[0], (void *)a[1], (size_t)a[2], a[3]);
	case SYS_pwrite64:
		return pwrite((int)a[0], (const void *)a[1], (size_t)a[2], a[3]);
	case SYS_preadv:
		return preadv((int)a[0], (const struct iovec *)a[1], (int)a[2],
			      a[3]);
	case SYS_pwritev:
		return pwritev((int)a[0], (const struct iovec *)a[1], (int)a[2],
			       a[3]);
	case SYS_preadv2:
		return preadv2((int)a[0], (const struct iovec *)a[1], (int)a[2],
			       a[3], (int)a[5]);
	case SYS_pwritev2:
		return pwritev2((int)a[0], (const struct iovec *)a[1], (int)a[2],
				a[3], (int)a[5]);
	case SYS_close:
		return close((int)a[0]);
	case SYS_dup:
		return dup((int)a[0]);
#ifdef SYS_dup2
	case SYS_dup2:
		return dup2((int)a[0], (int)a[1]);
#endif
	case SYS_dup3:
		return dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_fcntl:
		return fcntl((int)a[0], (int)a[1], a[2]);
	case SYS_close_range:
		return close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
	case SYS_openat:
		return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
#ifdef SYS_open
	case SYS_open:
		return open((const char *)a[0], (int)a[1], (mode_t)a[2]);
#endif
	case SYS_pipe2:
		return pipe2((int *)a[0], (int)a[1]);
	case SYS_socket:
		return socket((int)a[0], (int)a[1], (int)a[2]);
	case SYS_socketpair:
		return socketpair((int)a[0], (int)a[1], (int)a[2], (int *)a[3]);
	case SYS_accept:
		return accept((int)a[0], (struct sockaddr *)a[1], (socklen_t *)a[2]);
	case SYS_accept4:
		return accept4((int)a[0], (struct sockaddr *)a[1],
			       (socklen_t *)a[2], (int)a[3]);
	case SYS_connect:
		return connect((int)a[0], (const struct sockaddr *)a[1],
			       (socklen_t)a[2]);
	case SYS_sendto:
		return sendto((int)a[0], (const void *)a[1], (size_t)a[2], (int)a[3],
			      (const struct sockaddr *)a[4], (socklen_t)a[5]);
	case SYS_recvfrom:
		return recvfrom((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3],
				(struct sockaddr *)a[4], (socklen_t *)a[5]);
	case SYS_sendmsg:
		return sendmsg((int)a[0], (const struct msghdr *)a[1], (int)a[2]);
	case SYS_recvmsg:
		return recvmsg((int)a[0], (struct msghdr *)a[1], (int)a[2]);
	case SYS_sendfile:
		return sendfile((int)a[0], (int)a[1], (off_t *)a[2], (size_t)a[3]);
	case SYS_splice:
		return splice((int)a[0], (off_t *)a[1], (int)a[2], (off_t *)a[3],
			      (size_t)a[4], (unsigned)a[5]);
	case SYS_tee:
		return tee((int)a[0], (int)a[1], (size_t)a[2], (unsigned)a[3]);
	case SYS_vmsplice:
		return vmsplice((int)a[0], (const struct iovec *)a[1],
				(size_t)a[2], (unsigned)a[3]);
	case SYS_copy_file_range:
		return copy_file_range((int)a[0], (off_t *)a[1], (int)a[2],
				       (off_t *)a[3], (size_t)a[4],
				       (unsigned)a[5]);
	case SYS_recvmmsg:
		return recvmmsg((int)a[0], (struct mmsghdr *)a[1],
				(unsigned)a[2], (int)a[3],
				(struct timespec *)a[4]);
	case SYS_sendmmsg:
		return sendmmsg((int)a[0], (struct mmsghdr *)a[1],
				(unsigned)a[2], (int)a[3]);
	case SYS_setsockopt:
		return setsockopt((int)a[0], (int)a[1], (int)a[2],
				  (const void *)a[3], (socklen_t)a[4]);
	case SYS_ioctl:
		return ioctl((int)a[0], (unsigned long)a[1], a[2]);
#ifdef SYS_poll
	case SYS_poll:
		return poll((struct pollfd *)a[0], (nfds_t)a[1], (int)a[2]);
#endif
	case SYS_ppoll:
		/* The kernel writes back how much time was left; few look. */
		return ppoll((struct pollfd *)a[0], (nfds_t)a[1],
			     (const struct timespec *)a[2], (const sigset_t *)a[3]);
#ifdef SYS_select
	case SYS_select:
		return select((int)a[0], (fd_set *)a[1], (fd_set *)a[2],
			      (fd_set *)a[3], (struct timeval *)a[4]);
#endif
	case SYS_pselect6: {
		const struct sized_mask *m = (const struct sized_mask *)a[5];

		return pselect((int)a[0], (fd_set *)a[1], (fd_set *)a[2],
			       (fd_set *)a[3], (const struct timespec *)a[4],
			       m ? m->mask : NULL);
	}
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
		return epoll_wait((int)a[0], (struct epoll_event *)a[1], (int)a[2],
				  (int)a[3]);
#endif
	case SYS_epoll_pwait:
		return epoll_pwait((int)a[0], (struct epoll_event *)a[1], (int)a[2],
				   (int)a[3], (const sigset_t *)a[4]);
	case SYS_epoll_pwait2:
		return epoll_pwait2((int)a[0], (struct epoll_event *)a[1],
				    (int)a[2], (const struct timespec *)a[3],
				    (const sigset_t *)a[4]);
	case SYS_nanosleep:
		return nanosleep((const struct timespec *)a[0],
				 (struct timespec *)a[1]);
	case SYS_clock_nanosleep:
		return to_errno(clock_nanosleep((clockid_t)a[0], (int)a[1],
						(const struct timespec *)a[2],
						(struct timespec *)a[3]));
	case SYS_clock_gettime:
		return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
	case SYS_clock_getres:
		return clock_getres((clockid_t)a[0], (struct timespec *)a[1]);
	case SYS_getrusage:
		return getrusage((__rusage_who_t)a[0], (struct rusage *)a[1]);
	case SYS_sched_yield:
		return sched_yield();
#ifdef SYS_pause
	case SYS_pause:
		return pause();
#endif
	case SYS_rt_sigprocmask:
		return change_mask((int)a[0], (const void *)a[1], (void *)a[2],
				   a[3]);
	case SYS_rt_sigsuspend:
		return suspend((const void *)a[0], a[1]);
	case SYS_rt_sigtimedwait:
		return wait_for_signal((const void *)a[0], (siginfo_t *)a[1],
				       (const struct timespec *)a[2], a[3]);
	case SYS_signalfd4:
		return signals_of((int)a[0], (const void *)a[1], a[2], (int)a[3]);
#ifdef SYS_signalfd
	case SYS_signalfd:
		return signals_of((int)a[0], (const void *)a[1], a[2], 0);
#endif
	case SYS_sigaltstack:
		return sigaltstack((const stack_t *)a[0], (stack_t *)a[1]);
	case SYS_wait4:
		return wait4((pid_t)a[0], (int *)a[1], (int)a[2],
			     (struct rusage *)a[3]);
	case SYS_gettid:
		return gettid();
	case SYS_chroot:
		return chroot((const char *)a[0]);
#ifdef SYS_fork
	case SYS_fork:
	case SYS_vfork:	/* whose child would return into our caller's frame */
		return _Fork();
#endif
	case SYS_clone:
		*ret_known = fork_is_one(a);
		return *ret_known ? fork_by_clone(a) : 0;
	case SYS_futex:
		return gate_return(futex_call(
			me, (uint32_t *)a[0], (int)a[1], (uint32_t)a[2],
			(const struct timespec *)a[3], (uint32_t *)a[4],
			(uint32_t)a[5]));
	case SYS_tgkill:
		return tgkill((pid_t)a[0], (pid_t)a[1], (int)a[2]);
	case SYS_tkill:
		return tgkill(getpid(), (pid_t)a[0], (int)a[1]);
	case SYS_waitid:
		*ret_known = !a[4];	/* libc's has no usage to give */
		return a[4] ? 0 : waitid((idtype_t)a[0], (id_t)a[1],
					 (siginfo_t *)a[2], (int)a[3]);
	case SYS_execve:
		return execve((const char *)a[0], (char *const *)a[1],
			      (char *const *)a[2]);
	case SYS_execveat:
		return execveat((int)a[0], (const char *)a[1],
				(char *const *)a[2], (char *const *)a[3],
				(int)a[4]);
	case SYS_exit_group:
		_exit((int)a[0]);
	case SYS_prctl:
		return prctl((int)a[0], a[1], a[2], a[3], a[4]);
	case SYS_setpriority:
		return setpriority((__priority_which_t)a[0], (id_t)a[1],
				   (int)a[2]);
	case SYS_sched_setscheduler:
		return sched_setscheduler((pid_t)a[0], (int)a[1],
					  (const struct sched_param *)a[2]);
	case SYS_sched_setparam:
		return sched_setparam((pid_t)a[0],
				      (const struct sched_param *)a[1]);
	case SYS_sched_setattr:
		return sched_setattr((pid_t)a[0], (struct sched_attr *)a[1],
				     (unsigned)a[2]);
	case SYS_sched_getattr:
		return sched_getattr((pid_t)a[0], (struct sched_attr *)a[1],
				     (unsigned)a[2], (unsigned)a[3]);
	case SYS_sched_setaffinity:
		return sched_setaffinity((pid_t)a[0], (size_t)a[1],
					 (const cpu_set_t *)a[2]);
	default:
		*ret_known = ident_changes_thread(nr);
		return *ret_known ? ident_call(nr, a) : 0;
	}
}

/* Calls that may sleep and that no hook knows how to wait for otherwise. */
static bool may_sleep(long nr)
{
	switch (nr) {
	case SYS_flock:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_msync:
	case SYS_sync:
	case SYS_syncfs:
	case SYS_msgrcv:
	case SYS_msgsnd:
	case SYS_semtimedop:
	case SYS_semop:
	case SYS_mq_timedreceive:
	case SYS_mq_timedsend:
	case SYS_waitid:
	case SYS_io_getevents:
	case SYS_io_pgetevents:
	case SYS_io_uring_enter:
	case SYS_getrandom:
		return true;
	default:
		return false;
	}
}

/* Of those, what the kernel makes again after a handler with SA_RESTART. */
static bool restarts(long nr)
{
	switch (nr) {
	case SYS_flock:
	case SYS_mq_timedreceive:
	case SYS_mq_timedsend:
	case SYS_waitid:
	case SYS_getrandom:
		return true;
	default:
		return false;
	}
}

/* Those that tell the kernel of a word that it is to wake at by itself. */
static bool names_a_word(long nr, const long a[6])
{
	switch (nr) {
	case SYS_clone:
		return !fork_is_one(a);
#ifdef SYS_clone3
	case SYS_clone3:
#endif
	case SYS_set_tid_address:
	case SYS_set_robust_list:
		return true;
	default:
		return false;
	}
}

HOOKED long syscall(long nr, ...)
{
	struct coro *me = self();
	long a[6], r;
	bool done;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (unlikely(names_a_word(nr, a)))
		futex_others_wake();
	if (!me)
		return gate_return(sys_call(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	r = known(me, nr, a, &done);
	if (done)
		return r;
	if (!gate_coro() || !may_sleep(nr))
		return gate_return(sys_call(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	door_enter(me);
	do {
		block_enter(me, WHY_BLOCKED);
		r = gate_call(me, nr, a);
		block_exit(me);
		/* No cancellation point, whatever it calls. */
	} while (r == -EINTR && gate_interrupted(me, restarts(nr)) != -EINTR);
	door_leave(me);
	return gate_return(r);
}
