/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wire.h - how load's bytes get to a server and back: as they are (wire_tcp.c), or
 * by TLS (wire_tls.c). A program links one of the two.
 *
 * The socket is connected, does not block, and is closed with its wire. */
#ifndef ECHO_WIRE_H
#define ECHO_WIRE_H

#include <stddef.h>
#include <sys/types.h>

struct wire {
	int fd;
	void *tls; /* NULL until it is asked for */
};

/* Before the first request: 1 when it may be sent, 0 when something has to come
 * first, -1 when that has failed. */
int wire_shake(struct wire *w);

/* Sends all of them, since a connection with nothing in flight has room: 0 or -1. */
int wire_send(struct wire *w, const char *bytes, size_t n);

/* As recv: what has come, as far as there is room; so whoever gives more room than
 * can come has had all of it. */
ssize_t wire_recv(struct wire *w, char *ret, size_t n);

void wire_close(struct wire *w);

#endif
