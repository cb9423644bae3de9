/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/socket.h - one try to accept or connect, for those who have a loop of their
 * own. */
#ifndef COGO_HOOK_SOCKET_H
#define COGO_HOOK_SOCKET_H

#include "hook/io.h"
#include <sys/socket.h>

struct socket_accept {
	struct sockaddr *addr;
	socklen_t *len;
	int flags;
	struct coro *me;
};

/* As io_op's members are. Also -EINTR and -GATE_CANCELED. */
long socket_try_accept(int fd, const void *arg);
struct io_call socket_block_accept(int fd, const void *arg);
bool socket_whole_accept(int fd, const void *arg, struct poller_job *ret);

/* Of a socket that is ours alone (fdtab_ours) and blocks: does not wait, but says
 * -EINPROGRESS, or -EALREADY where it has begun before. Inside the runtime. */
long socket_connect_begin(int fd, const struct sockaddr *addr, socklen_t len);

#endif
