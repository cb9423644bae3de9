/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/away.c - what may sleep for long, in the kernel and nowhere else.
 *
 * Locks of files, disks that have to write, queues between processes: nothing
 * that a coroutine could wait for tells when they are ready. So each is a
 * declared blocking section, around the system call where POSIX wants a
 * cancellation point, which must come to an end there, and around libc's own
 * function elsewhere. */
#include "base/sys.h"
#include "hook/call.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "wait/op.h"
#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/sem.h>
#include <sys/swap.h>
#include <termios.h>
#include <unistd.h>

#define NSEC 1000000000ll

/* AWAY(result, name, (parameters), (arguments)) */
#define AWAY(type, name, parameters, arguments)				\
	HOOKED type name parameters					\
	{								\
		return CALL_AWAY(WHY_BLOCKED, REAL(name) arguments);	\
	}

/* DISK: the same for what a disk has to do */
#define DISK(type, name, parameters, arguments)				\
	HOOKED type name parameters					\
	{								\
		return CALL_AWAY(WHY_DISK, REAL(name) arguments);	\
	}

/* SLEEPS(result, name, (parameters), (arguments), restartable, the call) */
#define SLEEPS(type, name, parameters, arguments, restartable, ...)	\
	IN_KERNEL(type, name, parameters, arguments,			\
		  gate_sleep(me, WHY_BLOCKED, restartable, __VA_ARGS__))

/* ENDS: the same for what ends by itself, as what a disk has to do */
#define ENDS(type, name, parameters, arguments, ...)			\
	IN_KERNEL(type, name, parameters, arguments,			\
		  gate_finish(me, WHY_DISK, true, __VA_ARGS__))

#define IN_KERNEL(type, name, parameters, arguments, call)		\
	HOOKED type name parameters					\
	{								\
		struct coro *me = gate_coro();				\
									\
		return me ? (type)gate_return(call) : REAL(name) arguments; \
	}

/* Locks of files */
AWAY(int, flock, (int fd, int how), (fd, how))

HOOKED int lockf64(int fd, int how, off64_t n)
{
	struct flock64 lock = { .l_type = F_WRLCK, .l_whence = SEEK_CUR,
				.l_len = n };
	struct coro *me = gate_coro();

	if (!me || how != F_LOCK)
		return REAL(lockf64)(fd, how, n);
	me->fd = fd;
	return (int)gate_return(gate_sleep(me, WHY_BLOCKED, true, SYS_fcntl, fd,
					   F_SETLKW, (long)&lock));
}
ALIAS(lockf, lockf64);

/* Until what was written has arrived */
static long do_sync(struct coro *me, int fd, long nr, bool data)
{
	struct poller_job job = { .what = POLLER_FSYNC, .fd = fd, .flags = data };
	long result;
	int r = -EAGAIN;

	if (unlikely(poller_does_ops())) {
		cancel_point(me);
		door_enter(me);
		me->fd = fd;
		r = op_do(me, &job, COGO_FOREVER, WHY_DISK, &result);
		door_leave(me);
	}
	return r == 0 ? result : gate_finish(me, WHY_DISK, true, nr, fd);
}
IN_KERNEL(int, fsync, (int fd), (fd), do_sync(me, fd, SYS_fsync, false))
IN_KERNEL(int, fdatasync, (int fd), (fd),
	  do_sync(me, fd, SYS_fdatasync, true))
ENDS(int, msync, (void *at, size_t n, int flags), (at, n, flags),
     SYS_msync, (long)at, (long)n, flags)
SLEEPS(int, tcdrain, (int fd), (fd), true, SYS_ioctl, fd, TCSBRK, 1)
DISK(int, syncfs, (int fd), (fd))
HOOKED void sync(void)
{
	CALL_AWAY(WHY_DISK, (REAL(sync)(), 0));
}

/* Until there is room, and until a disk has come or gone */
ENDS(int, fallocate64, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n),
     SYS_fallocate, fd, mode, at, n)
ALIAS(fallocate, fallocate64);
DISK(int, posix_fallocate64, (int fd, off64_t at, off64_t n), (fd, at, n))
ALIAS(posix_fallocate, posix_fallocate64);
ENDS(int, sync_file_range, (int fd, off64_t at, off64_t n, unsigned flags),
     (fd, at, n, flags), SYS_sync_file_range, fd, at, n, flags)
DISK(int, mount,
     (const char *from, const char *at, const char *type, unsigned long flags,
      const void *data), (from, at, type, flags, data))
DISK(int, umount, (const char *at), (at))
DISK(int, umount2, (const char *at, int flags), (at, flags))
DISK(int, swapon, (const char *path, int flags), (path, flags))
DISK(int, swapoff, (const char *path), (path))

/* Until a terminal has sent what it was given */
HOOKED int tcsetattr(int fd, int when, const struct termios *how)
{
	return when == TCSANOW
		       ? REAL(tcsetattr)(fd, when, how)
		       : CALL_AWAY(WHY_BLOCKED, REAL(tcsetattr)(fd, when, how));
}

AWAY(int, tcflow, (int fd, int what), (fd, what))
AWAY(int, tcsendbreak, (int fd, int span), (fd, span))
AWAY(char *, getpass, (const char *question), (question))

/* Between processes */

/* The kernel says EINTR of them whatever it was that it interrupted the thread for,
 * and be it an operation of the runtime's that it goes on with there. No cancellation
 * point. */
static long take_semaphores(struct coro *me, int id, struct sembuf *ops, size_t n,
			    cogo_time deadline)
{
	struct timespec room;
	long r;

	door_enter(me);
	do {
		block_enter(me, WHY_BLOCKED);
		r = gate_call(me, SYS_semtimedop,
			      (const long[6]){ id, (long)ops, (long)n,
					       (long)sys_left(deadline, &room) });
		block_exit(me);
	} while (r == -EINTR && gate_interrupted(me, false) != -EINTR);
	door_leave(me);
	return r;
}

HOOKED int semop(int id, struct sembuf *ops, size_t n)
{
	struct coro *me = gate_coro();

	return me ? (int)gate_return(take_semaphores(me, id, ops, n, COGO_FOREVER))
		  : REAL(semop)(id, ops, n);
}

HOOKED int semtimedop(int id, struct sembuf *ops, size_t n,
		      const struct timespec *span)
{
	struct coro *me = gate_coro();
	cogo_time deadline = COGO_FOREVER;

	/* What is wrong with a span it says without waiting. */
	if (!me || (span && (gate_bad_pointer(span) || span->tv_sec < 0 ||
			     span->tv_nsec < 0 || span->tv_nsec >= NSEC)))
		return REAL(semtimedop)(id, ops, n, span);
	if (span && span->tv_sec < INT64_MAX / NSEC / 2)
		deadline = sys_now() + span->tv_sec * NSEC + span->tv_nsec;
	return (int)gate_return(take_semaphores(me, id, ops, n, deadline));
}

SLEEPS(int, msgsnd, (int id, const void *msg, size_t n, int flags),
       (id, msg, n, flags), false, SYS_msgsnd, id, (long)msg, (long)n, flags)
SLEEPS(ssize_t, msgrcv, (int id, void *msg, size_t n, long type, int flags),
       (id, msg, n, type, flags), false,
       SYS_msgrcv, id, (long)msg, (long)n, type, flags)
SLEEPS(int, mq_timedsend,
       (mqd_t q, const char *msg, size_t n, unsigned prio,
	const struct timespec *until), (q, msg, n, prio, until), true,
       SYS_mq_timedsend, q, (long)msg, (long)n, prio, (long)until)
SLEEPS(int, mq_send, (mqd_t q, const char *msg, size_t n, unsigned prio),
       (q, msg, n, prio), true,
       SYS_mq_timedsend, q, (long)msg, (long)n, prio, 0)
SLEEPS(ssize_t, mq_timedreceive,
       (mqd_t q, char *restrict msg, size_t n, unsigned *restrict prio,
	const struct timespec *restrict until), (q, msg, n, prio, until), true,
       SYS_mq_timedreceive, q, (long)msg, (long)n, (long)prio, (long)until)
SLEEPS(ssize_t, mq_receive,
       (mqd_t q, char *restrict msg, size_t n, unsigned *restrict prio),
       (q, msg, n, prio), true,
       SYS_mq_timedreceive, q, (long)msg, (long)n, (long)prio, 0)

/* Randomness is waited for once in a machine's life, soon after it was switched
 * on: so it is tried first. */
HOOKED ssize_t getrandom(void *buf, size_t n, unsigned flags)
{
	struct coro *me = gate_coro();
	long r;

	if (!me)
		return REAL(getrandom)(buf, n, flags);
	cancel_point(me);
	r = sys_call(SYS_getrandom, buf, n, flags | GRND_NONBLOCK);
	if (r == -EAGAIN && !(flags & GRND_NONBLOCK))
		r = gate_sleep(me, WHY_BLOCKED, true, SYS_getrandom, (long)buf,
			       (long)n, flags);
	return gate_return(r);
}

HOOKED int getentropy(void *buf, size_t n)
{
	if (gate_coro() && n <= 256 &&
	    sys_call(SYS_getrandom, buf, n, GRND_NONBLOCK) == (long)n)
		return 0;
	return CALL_AWAY(WHY_BLOCKED, REAL(getentropy)(buf, n));
}

/* Asynchronous I/O, which threads of libc's own carry out: until some of it is
 * done. The two forms differ in the type of an offset, which is the same. */
AWAY(int, aio_suspend,
     (const struct aiocb *const list[], int n, const struct timespec *restrict span),
     (list, n, span))
AWAY(int, aio_suspend64,
     (const struct aiocb64 *const list[], int n,
      const struct timespec *restrict span), (list, n, span))
AWAY(int, gai_suspend,
     (const struct gaicb *const list[], int n, const struct timespec *span),
     (list, n, span))
AWAY(int, lio_listio,
     (int mode, struct aiocb *const list[restrict], int n,
      struct sigevent *restrict told), (mode, list, n, told))
AWAY(int, lio_listio64,
     (int mode, struct aiocb64 *const list[restrict], int n,
      struct sigevent *restrict told), (mode, list, n, told))
AWAY(int, getaddrinfo_a,
     (int mode, struct gaicb *list[restrict], int n, struct sigevent *restrict told),
     (mode, list, n, told))
