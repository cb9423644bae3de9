/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/file.c - descriptors come and go.
 *
 * Opening is left to libc but for two things: it may block (a FIFO waits for
 * its other end), and the number it returns may be one that the runtime
 * remembers. Closing first takes the descriptor out of the poller; whoever
 * still waits for it goes on with a duplicate. */
#include "hook/file.h"
#include "base/errno.h"
#include "hook/call.h"
#include "hook/ident.h"
#include "hook/io.h"
#include "hook/real.h"
#include "sched/ready.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pty.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

/* poller_forget, before a number goes; or poller_renew, after it went or came. */
static void tell(void (*poller)(int, struct coro_list *), int fd)
{
	struct coro *me = self();
	struct coro_list woken = { 0 };

	if (!poller_started() || fd < 0)
		return;
	if (me)
		door_enter(me);
	poller(fd, &woken);
	if (woken.n)
		ready_all(&woken);
	if (me)
		door_leave(me);
}

/* A child of vfork has descriptors of its own, but its parent's memory; and a
 * thread may have some of its own. What we know is of the others'. */
static bool apart(void)
{
	struct coro *me = self();

	return unlikely(me && (me->vforked || me->own_files));
}

void file_made(int fd, bool nonblocking, bool socket)
{
	if (apart())
		return;
	tell(poller_renew, fd);
	fdtab_born(fd, nonblocking, socket);
}

void file_came(int fd)
{
	if (apart())
		return;
	tell(poller_renew, fd);
	fdtab_gone(fd);
}

void file_goes(int fd)
{
	if (apart())
		return;
	tell(poller_forget, fd);
	fdtab_gone(fd);
}

void file_went(int fd)
{
	if (!apart())
		tell(poller_renew, fd);
}

/* Opening a FIFO waits for the other side, a terminal for its carrier, a file
 * on a network for its server. Most opens do none of that and are over before
 * a hand-off would pay; so only what the path shows to be no regular file or
 * directory is declared, and the monitor sees to the rest. */
static bool may_wait(int dir, const char *path, int flags)
{
	struct stat st;

	if (flags & (O_NONBLOCK | O_CREAT | O_PATH | O_DIRECTORY))
		return false;
	if (sys_call(SYS_newfstatat, dir, path, &st, 0) != 0)
		return false;
	return !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int do_open(int dir, const char *path, int flags, mode_t mode)
{
	struct coro *me = gate_coro();
	int fd;

	if (me)
		cancel_point(me);
	if (me && may_wait(dir, path, flags)) {
		fd = (int)gate_return(gate_sleep(me, WHY_BLOCKED, true, SYS_openat,
						 dir, (long)path, flags, mode));
	} else {
		fd = REAL(openat64)(dir, path, flags, mode);
	}
	if (fd >= 0)
		file_came(fd);
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return __OPEN_NEEDS_MODE(flags) ? va_arg(ap, mode_t) : 0;
}

HOOKED int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(AT_FDCWD, path, flags, mode);
}
ALIAS(__open, open);

HOOKED int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
ALIAS(__open64, open64);

HOOKED int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(dir, path, flags, mode);
}

HOOKED int openat64(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(dir, path, flags | O_LARGEFILE, mode);
}

int __open_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);

/* Fortified: no mode was given, so none may be needed. */
HOOKED int __open_2(const char *path, int flags)
{
	if (__OPEN_NEEDS_MODE(flags))
		return REAL(__open_2)(path, flags);
	return do_open(AT_FDCWD, path, flags, 0);
}
ALIAS(__open64_2, __open_2);

HOOKED int __openat_2(int dir, const char *path, int flags)
{
	if (__OPEN_NEEDS_MODE(flags))
		return REAL(__openat_2)(dir, path, flags);
	return do_open(dir, path, flags, 0);
}
ALIAS(__openat64_2, __openat_2);

HOOKED int creat64(const char *path, mode_t mode)
{
	return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE,
		       mode);
}
ALIAS(creat, creat64);

HOOKED int pipe2(int fds[2], int flags)
{
	int r = REAL(pipe2)(fds, flags);

	if (r == 0) {
		file_made(fds[0], flags & O_NONBLOCK, false);
		file_made(fds[1], flags & O_NONBLOCK, false);
	}
	return r;
}

HOOKED int pipe(int fds[2])
{
	return pipe2(fds, 0);
}
ALIAS(__pipe, pipe);

HOOKED int eventfd(unsigned value, int flags)
{
	int fd = REAL(eventfd)(value, flags);

	if (fd >= 0)
		file_made(fd, flags & EFD_NONBLOCK, false);
	return fd;
}

HOOKED int timerfd_create(clockid_t clock, int flags)
{
	int fd = REAL(timerfd_create)(clock, flags);

	if (fd >= 0)
		file_made(fd, flags & TFD_NONBLOCK, false);
	return fd;
}

HOOKED int inotify_init1(int flags)
{
	int fd = REAL(inotify_init1)(flags);

	if (fd >= 0)
		file_made(fd, flags & IN_NONBLOCK, false);
	return fd;
}

HOOKED int inotify_init(void)
{
	return inotify_init1(0);
}

HOOKED int epoll_create1(int flags)
{
	int fd = REAL(epoll_create1)(flags);

	if (fd >= 0)
		file_came(fd);
	return fd;
}

HOOKED int epoll_create(int size)
{
	int fd = REAL(epoll_create)(size);

	if (fd >= 0)
		file_came(fd);
	return fd;
}

/* The rest make descriptors that the kernel is asked about each time. */
#define MAKES(call) __extension__ ({		\
	int fd_ = (call);			\
	if (fd_ >= 0)				\
		file_came(fd_);			\
	fd_;					\
})

HOOKED int memfd_create(const char *name, unsigned flags)
{
	return MAKES(REAL(memfd_create)(name, flags));
}

HOOKED int mkostemps64(char *template, int suffix, int flags)
{
	return MAKES(REAL(mkostemps64)(template, suffix, flags));
}
ALIAS(mkostemps, mkostemps64);

HOOKED int mkostemp64(char *template, int flags)
{
	return MAKES(REAL(mkostemp64)(template, flags));
}
ALIAS(mkostemp, mkostemp64);

HOOKED int mkstemp64(char *template)
{
	return MAKES(REAL(mkstemp64)(template));
}
ALIAS(mkstemp, mkstemp64);

HOOKED int mkstemps64(char *template, int suffix)
{
	return MAKES(REAL(mkstemps64)(template, suffix));
}
ALIAS(mkstemps, mkstemps64);

HOOKED int shm_open(const char *name, int flags, mode_t mode)
{
	return MAKES(REAL(shm_open)(name, flags, mode));
}

HOOKED int posix_openpt(int flags)
{
	return MAKES(REAL(posix_openpt)(flags));
}

HOOKED int getpt(void)
{
	return MAKES(REAL(getpt)());
}

HOOKED int openpty(int *restrict master, int *restrict slave, char *name,
		   const struct termios *how, const struct winsize *size)
{
	int r = REAL(openpty)(master, slave, name, how, size);

	if (r == 0) {
		file_came(*master);
		file_came(*slave);
	}
	return r;
}

HOOKED int fanotify_init(unsigned flags, unsigned file_flags)
{
	return MAKES(REAL(fanotify_init)(flags, file_flags));
}

HOOKED int open_by_handle_at(int dir, struct file_handle *handle, int flags)
{
	return MAKES(REAL(open_by_handle_at)(dir, handle, flags));
}

HOOKED int pidfd_open(pid_t pid, unsigned flags)
{
	return MAKES((int)gate_return(sys_call(SYS_pidfd_open, pid, flags)));
}

HOOKED int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return MAKES((int)gate_return(sys_call(SYS_pidfd_getfd, pidfd, fd, flags)));
}

/* close with SO_LINGER may wait for the peer; nothing else does, for long. */
static bool lingers(int fd)
{
	struct linger l = { 0, 0 };
	socklen_t len = sizeof(l);

	return sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, &l, &len) == 0 &&
	       l.l_onoff && l.l_linger;
}

HOOKED int close(int fd)
{
	struct coro *me = gate_coro();
	long r;

	/* Ours are not the program's to close. */
	if (unlikely(poller_owns(fd)))
		return (int)gate_return(-EBADF);
	if (me)
		cancel_point(me);
	file_goes(fd);
	if (!me) {
		r = REAL(close)(fd);
		file_went(fd);
		return (int)r;
	}
	if (likely(!lingers(fd))) {
		r = sys_call(SYS_close, fd);
	} else {
		door_enter(me);
		block_enter(me, WHY_BLOCKED);
		r = sys_call(SYS_close, fd);
		block_exit(me);
		door_leave(me);
	}
	file_went(fd);
	return (int)gate_return(r);
}
ALIAS(__close, close);

#define CLOSE_RANGE_FLAGS (CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)

/* Everything in a range, around what is ours. */
static int close_between(unsigned first, unsigned last, int flags)
{
	unsigned from = first, fd;
	long r = 0;

	if (first > last)
		return -EINVAL;
	if ((flags & CLOSE_RANGE_UNSHARE) && !(flags & ~CLOSE_RANGE_FLAGS)) {
		if (unshare(CLONE_FILES))
			return -errno_get();
		flags &= ~(int)CLOSE_RANGE_UNSHARE;
	}
	for (fd = first; fd <= last && fd < 65536; fd++) {
		if (!poller_owns((int)fd)) {
			if (!(flags & CLOSE_RANGE_CLOEXEC))
				file_goes((int)fd);
			continue;
		}
		if (fd > from)
			r = sys_call(SYS_close_range, from, fd - 1, flags);
		if (r)
			return (int)r;
		from = fd + 1;
	}
	if (from <= last)
		r = sys_call(SYS_close_range, from, last, flags);
	for (fd = first; !(flags & CLOSE_RANGE_CLOEXEC) && fd <= last &&
			 fd < 65536; fd++)
		file_went((int)fd);
	return (int)r;
}

HOOKED int close_range(unsigned first, unsigned last, int flags)
{
	return (int)gate_return(close_between(first, last, flags));
}

HOOKED void closefrom(int lowest)
{
	close_between(lowest < 0 ? 0 : (unsigned)lowest, ~0u, 0);
}

HOOKED int closedir(DIR *d)
{
	int fd = dirfd(d), r;

	if (fd >= 0)
		file_goes(fd);
	r = REAL(closedir)(d);
	file_went(fd);
	return r;
}

HOOKED int dup(int fd)
{
	int copy = REAL(dup)(fd);

	if (copy >= 0 && !apart()) {
		fdtab_shared(fd);
		file_came(copy);
	}
	return copy;
}

/* Replacing a number closes what it was. */
static int replace(int fd, int to, int flags)
{
	long r;

	/* Nothing is closed when the call is going to fail. */
	if (fd != to && to >= 0 && sys_call(SYS_fcntl, fd, F_GETFD) >= 0) {
		if (poller_owns(to) && poller_vacate(to))
			return -EBADF;
		file_goes(to);
	}
	do {
		r = sys_call(SYS_dup3, fd, to, flags);
	} while (r == -EBUSY);
	if (r >= 0 && !apart()) {
		fdtab_shared(fd);
		file_came(to);
	}
	return (int)r;
}

HOOKED int dup2(int fd, int to)
{
	if (fd == to)
		return REAL(dup2)(fd, to);
	return (int)gate_return(replace(fd, to, 0));
}
ALIAS(__dup2, dup2);

HOOKED int dup3(int fd, int to, int flags)
{
	if (fd == to)
		return REAL(dup3)(fd, to, flags);
	return (int)gate_return(replace(fd, to, flags));
}

/* A terminal takes the place of the first three. */
HOOKED int login_tty(int fd)
{
	int r;

	for (int i = 0; i < 3; i++)
		file_goes(i);
	r = REAL(login_tty)(fd);
	for (int i = 0; i < 3; i++)
		file_came(i);
	if (r == 0)
		file_went(fd);
	return r;
}

/* fcntl: locks may wait, duplicates are new numbers, and O_NONBLOCK is what
 * the program wants of its description. */
HOOKED int fcntl64(int fd, int cmd, ...)
{
	struct coro *me = gate_coro();
	struct fdtab_seen seen;
	va_list ap;
	void *arg;
	long r;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (cmd) {
	case F_SETLKW:
	case F_OFD_SETLKW:
		if (!me)
			return REAL(fcntl64)(fd, cmd, arg);
		me->fd = fd;
		return (int)gate_return(gate_sleep(me, WHY_BLOCKED, true, SYS_fcntl,
						   fd, cmd, (long)arg));
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		r = sys_call(SYS_fcntl, fd, cmd, arg);
		if (r >= 0 && !apart()) {
			fdtab_shared(fd);
			file_came((int)r);
		}
		return (int)gate_return(r);
	case F_SETOWN_EX:
		return ident_set_owner(fd, arg);
	case F_GETOWN_EX:
		return ident_get_owner(fd, arg);
	case F_SETFL:
		seen = fdtab_look(fd);
		r = sys_call(SYS_fcntl, fd, cmd, arg);
		if (r >= 0 && !apart())
			fdtab_set_nonblocking(fd, seen,
					      (uintptr_t)arg & O_NONBLOCK);
		return (int)gate_return(r);
	default:
		return REAL(fcntl64)(fd, cmd, arg);
	}
}
ALIAS(fcntl, fcntl64);
ALIAS(__fcntl, fcntl64);

HOOKED int ioctl(int fd, unsigned long request, ...)
{
	struct fdtab_seen seen = fdtab_look(fd);
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case TCSBRK:
	case TCSBRKP:
	case TCSETSW:
	case TCSETSF:
		/* Until the terminal has sent what it was given. */
		r = CALL_AWAY(WHY_WRITE, REAL(ioctl)(fd, request, arg));
		break;
	default:
		r = REAL(ioctl)(fd, request, arg);
		break;
	}
	if (r == 0 && request == FIONBIO)
		fdtab_set_nonblocking(fd, seen, *(const int *)arg);
	return r;
}
