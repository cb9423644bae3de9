/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/poller.h - who waits for which descriptor.
 *
 * A descriptor is registered once, edge-triggered, for everything, when
 * somebody first waits for it; from then on the kernel tells of every change
 * and nobody calls epoll_ctl on the hot path. Per direction a counter of edges
 * says whether anything has happened since a reader looked: who tried in vain
 * passes the count it saw before the try, and does not sleep if it moved. */
#ifndef COGO_EVENT_POLLER_H
#define COGO_EVENT_POLLER_H

#include "coro/coro.h"
#include <sys/types.h>

enum { POLLER_IN, POLLER_OUT, POLLER_DIRS };

/* A whole operation: what the kernel does from beginning to end while its
 * coroutine waits. What `at` and `more` point to is the kernel's until it is done. */
enum poller_what {
	POLLER_RECV, POLLER_SEND, POLLER_ACCEPT,
	POLLER_RECVMSG, POLLER_SENDMSG,		/* at: a struct msghdr */
	POLLER_READV,		/* from a socket; at: n pieces */
	/* What ends by itself, as all that a disk has to do. */
	POLLER_READ_AT, POLLER_WRITE_AT, POLLER_FSYNC,
};
static inline bool poller_ends_by_itself(enum poller_what what)
{
	return what >= POLLER_READ_AT;
}

struct poller_job {
	enum poller_what what;
	int fd, dir;
	void *at;
	size_t n;
	void *more;		/* where to say how much of `at` was used, or NULL */
	unsigned flags;		/* MSG_*, SOCK_*; of FSYNC whether data are enough */
	off_t offset;		/* to read or write at */
	bool stream;		/* where less than n is read, nothing is left for
				 * now, most likely */
	bool in_vain;		/* it has been tried, or is not worth a try: it is
				 * to be done when there is news */
};

/* What a provider owes. It never sees a coroutine. Results or -errno. */
struct poller_event {
	uint64_t data;
	uint32_t events;	/* EPOLL* bits; POLLER_DONE: of a job */
	int result;		/* of that */
};
#define POLLER_DONE 0
struct poller_ops {
	const char *name;
	/* Who does it where this one cannot be opened, or NULL. */
	const struct poller_ops *otherwise;
	int (*open)(void);
	int (*arm)(int fd, uint64_t data);
	void (*disarm)(int fd);
	/* Waits until the deadline (0: not at all) with the signal mask given
	 * (NULL: the thread's own); how many events. */
	int (*poll)(cogo_time deadline, const uint64_t *sigmask,
		    struct poller_event *ret, int room);
	void (*interrupt)(void);
	void (*close)(void);
	/* Whether fd is one of the provider's own. */
	bool (*owns)(int fd);
	/* One of them has to go to another number; the caller closes this one.
	 * 0 or -errno. */
	int (*vacate)(int fd);

	/* Whole operations; all NULL where they cannot be had. */

	/* Takes a job, which one of the next events will tell the end of; it need
	 * not begin before submit. 0, or -errno: it was not taken. data: even, and
	 * not 0. */
	int (*start)(const struct poller_job *job, uint64_t data);
	/* Makes it end soon, if it has not: its event comes all the same. */
	void (*cancel)(uint64_t data);
	/* Begins what was taken. */
	void (*submit)(void);
	/* What was taken for this number and has not begun ends with -EAGAIN. */
	void (*forsake)(int fd);
};
extern const struct poller_ops poller_epoll;
extern const struct poller_ops poller_futex;
extern const struct poller_ops poller_uring;

/* For a provider that stands on epoll: an event with this data whenever there is
 * something new to be read from fd. 0 or -errno. */
int poller_epoll_watch(int fd, uint64_t data);

void poller_use(const struct poller_ops *ops);
/* Where the provider cannot be opened, poller_futex does until it can. */
int poller_start(void);
/* Nobody waits, and all registrations are forgotten. */
void poller_stop(void);

/* One wait of one coroutine for one descriptor; lives on its stack. */
struct poller_waiter {
	struct list link;	/* under the descriptor's lock */
	struct coro *coro;
	uint64_t ticket;
	int fd;			/* moves when the descriptor is closed under us */
	int asked;		/* the program's number */
	uint32_t events;	/* EPOLL* bits wanted; ERR and HUP always count */
	uint32_t revents;	/* what came; valid after the claim */
	uint64_t epoch;		/* polls begun when it was added */
	bool sure;		/* revents were true after it was added */
};

/* The edges seen so far in a direction; to be taken before the try. 0 with
 * *ret_dry set when nothing has happened since a try was in vain, so that the
 * next would be too. */
uint32_t poller_sample(int fd, int dir, bool *ret_dry);
/* Of one that is dry for reading: neither has urgent data been heard of. */
bool poller_calm(int fd);

/* Gets what is known of it into the cache, for who asks soon. */
void poller_foresee(int fd);

/* A try was in vain at that sample. */
void poller_set_dry(int fd, int dir, uint32_t sample);

/* A read from a TCP stream at that sample brought less than was asked for, so
 * nothing is left, unless the peer has closed or sent urgent data: those come
 * with one edge and stay. */
void poller_set_drained(int fd, uint32_t sample);

/* The kernel says that a try would not be in vain, whatever we have heard. */
void poller_set_wet(int fd, int dir);

/* Registers the descriptor if need be and puts w on its list. 0; 1 when an
 * edge came after the sample (in the directions w wants): do not wait, try
 * again; -EPERM when it is always ready (a regular file) or -errno. A sample
 * of POLLER_NO_SAMPLE counts as older than any edge that ever came. */
#define POLLER_NO_SAMPLE UINT32_MAX
int poller_add(struct poller_waiter *w, uint32_t sample_in, uint32_t sample_out);
/* Takes w off its list, if it still is on it. */
void poller_del(struct poller_waiter *w);

/* Waits for events until the deadline and claims whoever waited for them.
 * Number of events, or -errno (-EINTR). Any worker; one at a time may wait. */
int poller_poll(cogo_time deadline, const uint64_t *sigmask,
		struct coro_list *ready);

/* Makes a poller_poll that waits, or the next, return. Any thread, a signal
 * handler. */
void poller_interrupt(void);

/* The number is about to be closed or reused. If nobody waits, the
 * registration goes. Otherwise the waiters move to a private duplicate, which
 * the last of them closes: as in the kernel, they wait on for the description
 * they began with. Where no descriptor is left for that, they are claimed,
 * and find theirs closed. */
void poller_forget(int fd, struct coro_list *ready);
/* The number has just been closed, or has come to stand for something else.
 * Whoever has begun to wait since poller_forget, or was not told of at all,
 * did so for what is gone: each is claimed, and looks again. */
void poller_renew(int fd, struct coro_list *ready);
/* Nothing is heard of the descriptor for a moment, though somebody may wait for
 * it; and again, and what it was in between then. */
void poller_suspend(int fd);
void poller_resume(int fd);
/* A waiter is done with w->fd, a private duplicate if it differs from fd. */
void poller_release(struct poller_waiter *w, int fd);

/* Whether the descriptor is the runtime's own: the provider's, or a private
 * duplicate. */
bool poller_owns(int fd);
/* The program wants one of these numbers for a descriptor of its own: 0 when it
 * may have it, and puts it there, or -EBADF. */
int poller_vacate(int fd);
bool poller_started(void);
/* Of the provider in use; NULL: none is. */
const char *poller_name(void);

/* ---- whole operations ---- */

/* One of one coroutine; lives on its stack, until it is done. */
struct poller_op {
	struct coro *coro;
	_Atomic uint64_t ticket;	/* of the wait that its end ends; 0: it is
					 * done, and nobody touches it any more */
	int result;			/* then */
	int fd, dir;
	bool alone;
	uint32_t generation;
};

/* Whether there is anybody to do them: settled when the provider is opened. */
extern _Atomic bool poller_ops_are_done;
static inline bool poller_does_ops(void)
{
	/* relaxed: who finds it too early is told by poller_op_start. */
	return atomic_load_explicit(&poller_ops_are_done, memory_order_relaxed);
}

/* Has the job done; op->coro and op->ticket are set. 0, or -errno and nothing was
 * begun: -EBUSY where one is under way for the same direction, because the kernel
 * would wake only one of the two; but files may be read by many. */
int poller_op_start(struct poller_op *op, const struct poller_job *job);
/* It shall end: with what it has done, or -ECANCELED. */
void poller_op_cancel(struct poller_op *op);
/* It is done, and was the last thing that was done with the descriptor. pause:
 * the next one would have to wait, most likely. */
void poller_op_end(struct poller_op *op, bool pause);
/* Whether it is better not to try to read before one asks for it as a whole: the
 * last one left nothing. What is to be written goes at once: a try costs less than
 * to be parked, and finds the descriptor where the read has left it, in the cache. */
bool poller_hopes(int fd);

/* What has been taken begins at the latest when who took it lets others run who may
 * not come back for long. Workers and the monitor alone: the kernel interrupts
 * their system calls to go on with it. */
extern _Atomic uint32_t poller_taken;	/* a guess: not begun */
extern _Atomic uint32_t poller_submissions;	/* so far */
void poller_submit_taken(void);
static inline void poller_submit(void)
{
	/* relaxed: what the caller has taken it sees. */
	if (unlikely(atomic_load_explicit(&poller_taken, memory_order_relaxed)))
		poller_submit_taken();
}

void poller_fork_child(void);

#endif
