/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* raw_uring - an echo server that is one loop around an io_uring.
 *
 *     raw_uring [--workers N]
 *
 * What a server costs that is written by hand for this, where the kernel does the
 * waiting too: a request is one recv and one send, each asked for as a whole, and
 * one system call hands over all that is to be asked for and waits for what is
 * done. A connection has one of the two under way at any time.
 *
 * With N workers there are N such loops, each on its thread, with its ring and its
 * share of the connections; the first also accepts them, for all in turn, and
 * tells the others' rings.
 *
 * Exits with 77 where io_uring is missing, forbidden or too old. */
#include "server.h"
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES = 4096, SKIPPED = 77 };

/* What has been done: the low bits of user_data. The others are a pointer to the
 * connection, if it is about one. */
enum what {
	ACCEPTED, /* a connection, by the first ring */
	GIVEN,	  /* one that is this ring's from now on */
	TOLD,	  /* another ring of one; only if that has failed */
	RECEIVED,
	SENT,
	WHAT = 7,
};

struct connection {
	int fd;
	char bytes[MESSAGE];
};

static struct io_uring rings[MAX_WORKERS];
static pthread_barrier_t all_rings;
static int workers, listener;

/* ---- what is asked for --------------------------------------------------- */

static struct io_uring_sqe *ask(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	while (sqe == NULL) { /* the queue is full */
		io_uring_submit(ring);
		sqe = io_uring_get_sqe(ring);
	}
	return sqe;
}

static void about(struct io_uring_sqe *sqe, struct connection *c, enum what what)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)c | what);
}

static void start_accept(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = ask(ring);

	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	about(sqe, NULL, ACCEPTED);
}

static void start_recv(struct io_uring *ring, struct connection *c)
{
	struct io_uring_sqe *sqe = ask(ring);

	io_uring_prep_recv(sqe, c->fd, c->bytes, sizeof(c->bytes), 0);
	about(sqe, c, RECEIVED);
}

/* MSG_WAITALL: it is done when all is sent. */
static void start_send(struct io_uring *ring, struct connection *c, size_t n)
{
	struct io_uring_sqe *sqe = ask(ring);

	io_uring_prep_send(sqe, c->fd, c->bytes, n, MSG_NOSIGNAL | MSG_WAITALL);
	about(sqe, c, SENT);
}

/* Its completion is one of that ring: GIVEN, with fd for a result. */
static void give(struct io_uring *ring, struct io_uring *to, int fd)
{
	struct io_uring_sqe *sqe = ask(ring);

	io_uring_prep_msg_ring(sqe, to->ring_fd, (unsigned)fd, GIVEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	about(sqe, NULL, TOLD);
}

/* ---- what is done -------------------------------------------------------- */

__attribute__((noreturn)) static void die(int error, const char *what)
{
	errno = -error;
	server_die(what);
}

static void begin(struct io_uring *ring, int fd)
{
	struct connection *c = malloc(sizeof(*c));

	if (c == NULL)
		server_die("malloc");
	c->fd = fd;
	server_accepted(fd);
	start_recv(ring, c);
}

static void drop(struct connection *c)
{
	close(c->fd);
	free(c);
}

static void accepted(struct io_uring *ring, const struct io_uring_cqe *cqe)
{
	static int next;

	if (cqe->res >= 0) {
		if (next == 0)
			begin(ring, cqe->res);
		else
			give(ring, &rings[next], cqe->res);
		next = (next + 1) % workers;
	} else if (cqe->res != -ECONNABORTED)
		die(cqe->res, "accept");
	if (!(cqe->flags & IORING_CQE_F_MORE))
		start_accept(ring);
}

static void done(struct io_uring *ring, const struct io_uring_cqe *cqe)
{
	struct connection *c =
		(void *)(uintptr_t)(cqe->user_data & ~(uint64_t)WHAT);

	switch ((enum what)(cqe->user_data & WHAT)) {
	case RECEIVED:
		if (cqe->res > 0)
			start_send(ring, c, (size_t)cqe->res);
		else
			drop(c);
		break;
	case SENT:
		if (cqe->res > 0)
			start_recv(ring, c);
		else
			drop(c);
		break;
	case ACCEPTED:
		accepted(ring, cqe);
		break;
	case GIVEN:
		begin(ring, cqe->res);
		break;
	case TOLD:
	case WHAT:
		die(cqe->res, "telling another ring");
	}
}

/* ---- the loop ------------------------------------------------------------ */

/* By the thread that uses it, as a ring with a single issuer has to be. */
static void set_up(struct io_uring *ring)
{
	/* The kernel need not interrupt us for what is done (COOP), and leaves
	 * it to when we come to wait (DEFER). */
	int r = io_uring_queue_init(ENTRIES, ring,
				    IORING_SETUP_COOP_TASKRUN |
					    IORING_SETUP_SINGLE_ISSUER |
					    IORING_SETUP_DEFER_TASKRUN);

	if (r == 0)
		return;
	if (r == -ENOSYS)
		fputs("raw_uring: this kernel has no io_uring\n", stderr);
	else if (r == -EPERM || r == -EACCES)
		fputs("raw_uring: io_uring is forbidden here "
		      "(kernel.io_uring_disabled, or a container's filter)\n",
		      stderr);
	else if (r == -EINVAL)
		fputs("raw_uring: this kernel's io_uring is older than of "
		      "Linux 6.1\n", stderr);
	else
		die(r, "io_uring");
	_exit(SKIPPED);
}

static void *loop(void *arg)
{
	struct io_uring *ring = arg;

	set_up(ring);
	/* None may be told of a connection before it is there. */
	pthread_barrier_wait(&all_rings);
	if (ring == &rings[0]) {
		listener = server_listen();
		start_accept(ring);
	}
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		int r = io_uring_submit_and_wait(ring, 1);

		if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
			die(r, "io_uring_enter");
		io_uring_for_each_cqe(ring, head, cqe) {
			done(ring, cqe);
			n++;
		}
		io_uring_cq_advance(ring, n);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	workers = server_workers(argc, argv);
	pthread_barrier_init(&all_rings, NULL, (unsigned)workers);
	for (int i = 1; i < workers; i++) {
		errno = pthread_create(&thread, NULL, loop, &rings[i]);
		if (errno != 0)
			server_die("pthread_create");
	}
	loop(&rings[0]);
}
