/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/io.h - input and output with deadlines, and other people's blocking code.
 *
 * read, accept, connect, getaddrinfo and all their kin may be called as ever: on a
 * coroutine they make nobody else wait. What they lack is a deadline, and a way to
 * be told of a cancellation; these have both.
 *
 * They are for coroutines and for ordinary threads alike; where one says that it
 * parks, an ordinary thread sleeps in it. They return a count, or 0, or a negative
 * errno, and leave errno alone. Common to all that take a deadline:
 *
 *	-ETIMEDOUT	the deadline has passed and it has not been possible; also
 *			at once, for a deadline that is over (0) where it would
 *			have to wait
 *	-ECANCELED	the caller has been cancelled: at once, also where nothing
 *			would have to wait
 *	-ENOMEM		on a thread's first call ever
 *
 * and whatever the system call says. A descriptor's own O_NONBLOCK, SO_RCVTIMEO and
 * SO_SNDTIMEO do not count here. Any number may wait for one descriptor. Where one
 * is closed while a coroutine waits for it, that one goes on with what it stood
 * for, as in the kernel; it should not be waited for by a thread then.
 *
 * What cannot be asked not to block is looked at first: a FIFO or a terminal, and
 * on old kernels a pipe. Should another reader be faster in between, the wait is
 * the kernel's, and only a cancellation ends it. */
#ifndef COGO_IO_H
#define COGO_IO_H

#include "cogo/api.h"
#include "cogo/time.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;
struct addrinfo;

/* What to wait for. */
#define COGO_READ	1u
#define COGO_WRITE	2u

/* Waits until fd can be read or written, as `events` asks: which of the two, as
 * poll sees it. An error or the end of a connection counts as both, for a read or
 * a write would not wait then. -EINVAL when events are none, or others; -EBADF.
 * Parks. */
COGO_API int cogo_wait_fd(int fd, unsigned events, cogo_time deadline);

/* As read: how many bytes, 0 at the end. Parks. */
COGO_API long cogo_read(int fd, void *buf, size_t n, cogo_time deadline);

/* Reads until n bytes are there, or the end is: how many. *ret_done, unless NULL,
 * is how many came, when it fails too. Parks. */
COGO_API long cogo_read_full(int fd, void *buf, size_t n, cogo_time deadline,
			     size_t *ret_done);

/* As write to a descriptor that does not block: what there is room for, at least
 * one byte. Raises SIGPIPE as write does. Parks. */
COGO_API long cogo_write(int fd, const void *buf, size_t n, cogo_time deadline);

/* Writes all: 0. *ret_done, unless NULL, is how many bytes went, when it fails
 * too. Parks. */
COGO_API int cogo_write_all(int fd, const void *buf, size_t n, cogo_time deadline,
			    size_t *ret_done);

/* As accept; the new descriptor, which is the caller's, is closed on exec. addr and
 * len may be NULL; *len is a socklen_t. Parks. */
COGO_API int cogo_accept(int fd, struct sockaddr *addr, unsigned *len,
			 cogo_time deadline);

/* As connect: 0 once the connection is made. After -ETIMEDOUT and -ECANCELED it is
 * still being made, and the socket is good for nothing but to be closed. (A socket
 * that blocks and that another process may have, too, is connected by the kernel
 * in its own time: there a deadline does not count.) Parks. */
COGO_API int cogo_connect(int fd, const struct sockaddr *addr, unsigned len,
			  cogo_time deadline);

/* Calls fn(arg), which may block the kernel thread in ways that the runtime cannot
 * see: a database's library, a file on a slow network, ioctl. Other coroutines go
 * on meanwhile, on another kernel thread, from the first moment. (Without this they
 * do too, some milliseconds later.) Returns what fn does. fn runs on the caller's
 * stack, and may do all that the caller may. Panics, exceptions and cancellations
 * pass. */
COGO_API long cogo_block(long (*fn)(void *arg), void *arg);

/* As getaddrinfo: 0, and *ret_result is the caller's, for freeaddrinfo. The
 * arguments may be NULL where getaddrinfo's may. Names are looked up as the C
 * library does it, by a coroutine of their own, which at a timeout is left to
 * finish by itself. Parks. Beyond the errors that are common to all:
 *
 *	-ENOENT			no such host, or it has no address (EAI_NONAME)
 *	-EAGAIN			nobody could say so now (EAI_AGAIN)
 *	-EIO			somebody could not say for good (EAI_FAIL)
 *	-EPROTONOSUPPORT	no such service for that kind of socket
 *	-EAFNOSUPPORT, -ESOCKTNOSUPPORT, -EADDRNOTAVAIL, -EINVAL
 *				the hints do not go together
 *	-ENOMEM */
COGO_API int cogo_resolve(const char *host, const char *service,
			  const struct addrinfo *hints,
			  struct addrinfo **ret_result, cogo_time deadline);

#ifdef __cplusplus
}
#endif

#endif
