/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/poller.c - who waits for which descriptor.
 *
 * P1  everything in a pollable is under its lock, but edges[] and dry[],
 *     which are also read without: a late reader tries once more than needed,
 *     or sleeps only after looking again under the lock.
 * P2  an edge is counted before its waiters are claimed, both under the lock.
 *     So who adds himself under the lock and finds the count he sampled
 *     before his try has missed nothing: what comes later finds him.
 * P3  the generation in an event's data must be the pollable's: events of a
 *     descriptor that has since been closed are dropped.
 * P4  registering reports the descriptor's state at once (the kernel does so
 *     for a new edge-triggered entry), so an edge before the registration is
 *     not lost either.
 * P5  an event is what the kernel saw at some moment of the poll that brought
 *     it. If the poll began after a waiter was added, that moment was after it
 *     too, and the waiter is sure of it. Otherwise somebody may have read the
 *     descriptor empty between that moment and the waiter's own try, and the
 *     waiter must look again before it tells anyone.
 * P6  the kernel tells one of those who have asked it for a whole operation in the
 *     same direction of the same descriptor, where it wakes all threads that sleep
 *     there. So there is one of them at a time; whoever comes meanwhile waits for
 *     readiness, of which all are told. A file that is read wakes nobody.
 * P7  who takes the ticket out of an op has seen the last of it: from then on its
 *     coroutine may return, and the op be gone. */
#include "event/poller.h"
#include "base/aside.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sanitize.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#define CHUNK	1024
#define CHUNKS	4096
#define BATCH	128

#define IN_BITS	 (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND)
#define OUT_BITS (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)
#define BAD_BITS (EPOLLHUP | EPOLLERR)

struct pollable {
	struct lock lock;
	uint32_t generation;
	_Atomic uint32_t edges[POLLER_DIRS];
	_Atomic uint32_t dry[POLLER_DIRS];	/* edges at a try in vain, + 1 */
	struct list waiters;
	struct coro *last;	/* who came last, gone or not: for foresee */
	uint32_t users;		/* of a private duplicate */
	bool armed;
	_Atomic bool lasting;	/* seen what one edge tells and then stays */
	_Atomic bool private;	/* a duplicate made by poller_forget */
	bool op[POLLER_DIRS];	/* one that has to be alone is under way (P6) */
	_Atomic bool pauses;	/* the last one left nothing to read */
} __attribute__((aligned(64)));

static const struct poller_ops *wanted = &poller_epoll;
static _Atomic(const struct poller_ops *) chosen;
static _Atomic(struct pollable *) chunks[CHUNKS];
static struct lock chunks_lock;
static bool started;
static _Atomic uint64_t polls_begun;
_Atomic uint32_t poller_taken, poller_submissions;
_Atomic bool poller_ops_are_done;

static ALWAYS_INLINE struct pollable *find(int fd)
{
	/* Unsigned, and a quotient is a shift. */
	unsigned n = (unsigned)fd;
	struct pollable *chunk;

	if (unlikely(n >= CHUNK * CHUNKS))
		return NULL;
	chunk = atomic_load_explicit(&chunks[n / CHUNK], memory_order_acquire);
	return chunk ? &chunk[n % CHUNK] : NULL;
}

static COLD struct pollable *make(int fd)
{
	_Atomic(struct pollable *) *slot;
	struct pollable *p;

	if ((unsigned)fd >= CHUNK * CHUNKS)
		return NULL;
	slot = &chunks[fd / CHUNK];
	lock(&chunks_lock);
	if (!atomic_load_explicit(slot, memory_order_relaxed)) {
		p = sys_map(CHUNK * sizeof(*p));
		/* release: readers find it zeroed. */
		atomic_store_explicit(slot, p, memory_order_release);
	}
	unlock(&chunks_lock);
	return find(fd);
}

static ALWAYS_INLINE struct pollable *find_or_make(int fd)
{
	struct pollable *p = find(fd);

	return likely(p != NULL) ? p : make(fd);
}

void poller_use(const struct poller_ops *use)
{
	wanted = use;
}

static void choose(const struct poller_ops *use)
{
	atomic_store_explicit(&poller_ops_are_done, use->start != NULL,
			      memory_order_relaxed);
	/* release: whoever comes with these finds them open. */
	atomic_store_explicit(&chosen, use, memory_order_release);
}

static const struct poller_ops *ops(void)
{
	/* acquire: pairs with the release above. */
	return atomic_load_explicit(&chosen, memory_order_acquire);
}

/* The best that can be had of those. */
static int open_best(const struct poller_ops *of)
{
	int r = of->open();

	while (r != 0 && of->otherwise) {
		of = of->otherwise;
		r = of->open();
	}
	if (r == 0)
		choose(of);
	return r;
}

int poller_start(void)
{
	int r;

	if (started)
		return 0;
	r = open_best(wanted);
	if (r != 0) {
		choose(&poller_futex);
		r = poller_futex.open();
	}
	if (r == 0)
		started = true;
	return r;
}

/* There may be a descriptor for it by now. */
static void try_wanted(void)
{
	static struct lock trying;

	lock(&trying);
	if (ops() == &poller_futex && open_best(wanted) == 0)
		/* Who polls is to do so there. */
		poller_futex.close();
	unlock(&trying);
}

bool poller_started(void)
{
	return started;
}

const char *poller_name(void)
{
	return started ? ops()->name : NULL;
}

static bool is_private(const struct pollable *p)
{
	/* relaxed: it changes under the lock, and while it is set the number is
	 * ours in the kernel's table too. */
	return p && atomic_load_explicit(&p->private, memory_order_relaxed);
}

static void set_private(struct pollable *p, bool private)
{
	atomic_store_explicit(&p->private, private, memory_order_relaxed);
}

bool poller_owns(int fd)
{
	return started && (ops()->owns(fd) || is_private(find(fd)));
}

int poller_vacate(int fd)
{
	/* A private duplicate's number is in the hands of those who use it. */
	return started && ops()->owns(fd) && ops()->vacate(fd) == 0 ? 0 : -EBADF;
}

void poller_interrupt(void)
{
	if (started)
		ops()->interrupt();
}

uint32_t poller_sample(int fd, int dir, bool *ret_dry)
{
	struct pollable *p = find(fd);
	uint32_t edges;

	*ret_dry = false;
	if (!p)
		return 0;
	/* acquire: pairs with the release in count_edge; the try that follows
	 * sees at least what the edge announced. */
	edges = atomic_load_explicit(&p->edges[dir], memory_order_acquire);
	*ret_dry = read_once(p->armed) &&
		   atomic_load_explicit(&p->dry[dir], memory_order_relaxed) ==
			   edges + 1;
	return edges;
}

bool poller_calm(int fd)
{
	struct pollable *p = find(fd);

	return p && !atomic_load_explicit(&p->lasting, memory_order_relaxed);
}

void poller_foresee(int fd)
{
	__builtin_prefetch(find(fd), 1);
}

void poller_set_dry(int fd, int dir, uint32_t sample)
{
	struct pollable *p = find(fd);

	if (p && read_once(p->armed))
		atomic_store_explicit(&p->dry[dir], sample + 1,
				      memory_order_relaxed);
}

void poller_set_drained(int fd, uint32_t sample)
{
	struct pollable *p = find(fd);

	/* A FIN that came before the sample was harvested with it, and has set
	 * lasting; one that comes later is an edge that the sample has not. */
	if (p && read_once(p->armed) &&
	    !atomic_load_explicit(&p->lasting, memory_order_relaxed))
		atomic_store_explicit(&p->dry[POLLER_IN], sample + 1,
				      memory_order_relaxed);
}

void poller_set_wet(int fd, int dir)
{
	struct pollable *p = find(fd);

	if (p)
		atomic_store_explicit(&p->dry[dir], 0, memory_order_relaxed);
}

/* Under p->lock. */
static bool moved(struct pollable *p, int dir, uint32_t sample)
{
	return atomic_load_explicit(&p->edges[dir], memory_order_relaxed) !=
	       sample;
}

int poller_add(struct poller_waiter *w, uint32_t sample_in, uint32_t sample_out)
{
	struct pollable *p = find_or_make(w->fd);
	int r = 0;

	w->revents = 0;
	w->sure = false;
	if (!p)
		return w->fd < 0 ? -EBADF : -ENOMEM;
	if (unlikely(ops() == &poller_futex))
		try_wanted();
	lock(&p->lock);
	if (!p->armed) {
		uint64_t data = (uint64_t)p->generation << 32 | (uint32_t)w->fd;

		r = ops()->arm(w->fd, data);
		if (r)
			goto out;
		write_once(p->armed, true);
	} else if (((w->events & IN_BITS) && moved(p, POLLER_IN, sample_in)) ||
		   ((w->events & OUT_BITS) && moved(p, POLLER_OUT, sample_out))) {
		r = 1;
		goto out;
	}
	w->epoch = atomic_load_explicit(&polls_begun, memory_order_seq_cst);
	list_add_tail(&p->waiters, &w->link);
	p->last = w->coro;
out:
	unlock(&p->lock);
	return r;
}

void poller_del(struct poller_waiter *w)
{
	struct pollable *p;
	int fd;

	for (;;) {
		/* The descriptor may be closed meanwhile, and w be moved. */
		fd = read_once(w->fd);
		p = find(fd);
		lock(&p->lock);
		if (w->fd == fd)
			break;
		unlock(&p->lock);
	}
	if (list_linked(&w->link))
		list_del(&w->link);
	unlock(&p->lock);
}

static void finish(struct poller_op *op, int result, struct coro_list *ready)
{
	struct coro *c = op->coro;
	uint64_t ticket;

	op->result = result;
	/* acq_rel: who finds 0 there finds the result; and we, the ticket of the
	 * wait that is open (P7). */
	ticket = atomic_exchange_explicit(&op->ticket, 0, memory_order_acq_rel);
	if (wait_claim(c, ticket, WAIT_WOKEN))
		coro_list_push(ready, c);
}

/* Under p->lock, where nobody else counts. release: pairs with the acquire in
 * poller_sample. */
static void count_edge(struct pollable *p, int dir)
{
	uint32_t n = atomic_load_explicit(&p->edges[dir], memory_order_relaxed);

	atomic_store_explicit(&p->edges[dir], n + 1, memory_order_release);
}

static void dispatch(struct poller_event *e, uint64_t epoch,
		     struct coro_list *ready)
{
	int fd = (int)(uint32_t)e->data;
	struct pollable *p = find(fd);
	uint32_t got = e->events;

	if (!p)
		return;
	lock(&p->lock);
	if (p->generation != (uint32_t)(e->data >> 32))
		goto out;
	if (got & (EPOLLRDHUP | EPOLLPRI | BAD_BITS))
		atomic_store_explicit(&p->lasting, true, memory_order_relaxed);
	if (got & (IN_BITS | BAD_BITS))
		count_edge(p, POLLER_IN);
	if (got & (OUT_BITS | BAD_BITS))
		count_edge(p, POLLER_OUT);
	list_for_each_safe(pos, tmp, &p->waiters) {
		struct poller_waiter *w = list_entry(pos, struct poller_waiter,
						     link);
		uint32_t mine = got & (w->events | BAD_BITS);

		if (!mine)
			continue;
		list_del(pos);
		w->revents = mine;
		w->sure = w->epoch < epoch;
		if (wait_claim(w->coro, w->ticket, WAIT_WOKEN))
			coro_list_push(ready, w->coro);
	}
out:
	unlock(&p->lock);
}

static struct poller_op *op_of(const struct poller_event *e)
{
	return e->events == POLLER_DONE ? (void *)(uintptr_t)e->data : NULL;
}

static struct pollable *pollable_of(const struct poller_event *e)
{
	return find((int)(uint32_t)e->data);
}

/* Where many wait, what each event needs is cold, and one thing is found through the
 * other, with locked instructions in between that nothing overtakes. Asked for all
 * together beforehand they come side by side. What is gone by now, or another's, is
 * asked for in vain and no more: coroutines stay coroutines, and of the memory of a
 * waiter only the address is used. */
static SANITIZE_GLANCES void foresee(const struct poller_event *events, int n)
{
	const struct poller_op *op;
	const struct pollable *p;

	for (int i = 0; i < n; i++)
		if ((op = op_of(&events[i])))
			__builtin_prefetch(op, 1);
		else
			__builtin_prefetch(pollable_of(&events[i]), 1);
	for (int i = 0; i < n; i++) {
		if ((op = op_of(&events[i]))) {
			coro_foresee(op->coro);
		} else if ((p = pollable_of(&events[i]))) {
			__builtin_prefetch(p->waiters.next, 1);
			__builtin_prefetch(p->last, 1);
		}
	}
	/* Whose operation is done goes on without another look at anything; its
	 * stack, its object and its storage are three pages, for which the
	 * processor walks its tables. */
	for (int i = 0; i < n; i++)
		if ((op = op_of(&events[i]))) {
			self_foresee(op->coro);
			poller_foresee(op->fd);
		}
}

int poller_poll(cogo_time deadline, const uint64_t *sigmask,
		struct coro_list *ready)
{
	struct poller_event events[BATCH];
	uint64_t epoch = 1 + atomic_fetch_add_explicit(&polls_begun, 1,
						       memory_order_seq_cst);
	int n = ops()->poll(deadline, sigmask, events, BATCH);

	if (n > 1)
		foresee(events, n);
	for (int i = 0; i < n; i++)
		if (events[i].events == POLLER_DONE)
			finish(op_of(&events[i]), events[i].result, ready);
		else
			dispatch(&events[i], epoch, ready);
	return n;
}

/* Under p->lock. */
static void reset(struct pollable *p)
{
	p->generation++;
	write_once(p->armed, false);
	atomic_store_explicit(&p->lasting, false, memory_order_relaxed);
	atomic_store_explicit(&p->pauses, false, memory_order_relaxed);
	p->op[POLLER_IN] = p->op[POLLER_OUT] = false;
	atomic_store_explicit(&p->dry[POLLER_IN], 0, memory_order_relaxed);
	atomic_store_explicit(&p->dry[POLLER_OUT], 0, memory_order_relaxed);
}

/* Under p->lock: who waits finds out by himself. */
static void claim_all(struct pollable *p, struct coro_list *ready)
{
	list_for_each_safe(pos, tmp, &p->waiters) {
		struct poller_waiter *w = list_entry(pos, struct poller_waiter,
						     link);

		list_del(pos);
		w->revents = EPOLLERR;
		if (wait_claim(w->coro, w->ticket, WAIT_WOKEN))
			coro_list_push(ready, w->coro);
	}
}

/* Under p->lock: the waiters go on with a descriptor of their own. */
static void move_waiters(struct pollable *p, int fd, struct coro_list *ready)
{
	int copy = aside_copy(fd);
	struct pollable *to = copy < 0 ? NULL : find_or_make(copy);

	if (!to) {
		claim_all(p, ready);
		return;
	}
	lock(&to->lock);
	set_private(to, true);
	list_for_each_safe(pos, tmp, &p->waiters) {
		list_del(pos);
		write_once(list_entry(pos, struct poller_waiter, link)->fd,
			   copy);
		list_add_tail(&to->waiters, pos);
		to->users++;
	}
	if (ops()->arm(copy, (uint64_t)to->generation << 32 | (uint32_t)copy) == 0)
		write_once(to->armed, true);
	else
		/* Nobody would tell them. Each looks again, and finds another way
		 * to wait. */
		claim_all(to, ready);
	unlock(&to->lock);
}

void poller_forget(int fd, struct coro_list *ready)
{
	struct pollable *p = find(fd);

	if (!p)
		return;
	lock(&p->lock);
	if (!list_empty(&p->waiters) && !is_private(p))
		move_waiters(p, fd, ready);
	if (p->armed)
		ops()->disarm(fd);
	/* The number would stand for something else by the time it begins. What
	 * has begun keeps the description. */
	if (ops()->forsake &&
	    atomic_load_explicit(&poller_taken, memory_order_relaxed))
		ops()->forsake(fd);
	reset(p);
	unlock(&p->lock);
}

void poller_renew(int fd, struct coro_list *ready)
{
	struct pollable *p = find(fd);

	if (!p)
		return;
	lock(&p->lock);
	if (!is_private(p)) {
		claim_all(p, ready);
		reset(p);
	}
	unlock(&p->lock);
}

void poller_suspend(int fd)
{
	struct pollable *p = find(fd);

	if (!p)
		return;
	lock(&p->lock);
	if (p->armed) {
		ops()->disarm(fd);
		write_once(p->armed, false);
	}
	unlock(&p->lock);
}

void poller_resume(int fd)
{
	struct pollable *p = find(fd);

	if (!p)
		return;
	lock(&p->lock);
	if (!p->armed && !list_empty(&p->waiters) &&
	    ops()->arm(fd, (uint64_t)p->generation << 32 | (uint32_t)fd) == 0)
		write_once(p->armed, true);
	unlock(&p->lock);
}

void poller_release(struct poller_waiter *w, int fd)
{
	struct pollable *p;
	bool last;

	if (w->fd == fd)
		return;
	p = find(w->fd);
	lock(&p->lock);
	last = is_private(p) && --p->users == 0;
	if (last) {
		set_private(p, false);
		if (p->armed)
			ops()->disarm(w->fd);
		reset(p);
	}
	unlock(&p->lock);
	if (last)
		sys_call(SYS_close, w->fd);
}

int poller_op_start(struct poller_op *op, const struct poller_job *job)
{
	struct pollable *p = find_or_make(job->fd);
	int r = -EBUSY;

	if (!p || !started || !ops()->start)
		return -EAGAIN;
	op->fd = job->fd;
	op->dir = job->dir;
	op->alone = !poller_ends_by_itself(job->what);
	lock(&p->lock);
	if (!op->alone || !p->op[job->dir])
		r = ops()->start(job, (uint64_t)(uintptr_t)op);
	if (r == 0 && op->alone) {
		p->op[job->dir] = true;
		op->generation = p->generation;
	}
	unlock(&p->lock);
	return r;
}

void poller_op_cancel(struct poller_op *op)
{
	ops()->cancel((uint64_t)(uintptr_t)op);
}

void poller_op_end(struct poller_op *op, bool pause)
{
	struct pollable *p = find(op->fd);

	if (!op->alone)
		return;
	lock(&p->lock);
	if (p->generation == op->generation) {
		p->op[op->dir] = false;
		if (op->dir == POLLER_IN)
			atomic_store_explicit(&p->pauses, pause,
					      memory_order_relaxed);
	}
	unlock(&p->lock);
}

bool poller_hopes(int fd)
{
	struct pollable *p = find(fd);

	return p && atomic_load_explicit(&p->pauses, memory_order_relaxed);
}

void poller_submit_taken(void)
{
	if (started && ops()->submit)
		ops()->submit();
}

/* Descriptors of ours that would be the child's for ever. */
static void close_private(const struct pollable *chunk, int first)
{
	for (int k = 0; k < CHUNK; k++)
		if (is_private(&chunk[k]))
			sys_call(SYS_close, first + k);
}

/* Every registration was the provider's that is closed now, or the parent's. */
static void forget_all(void)
{
	/* As a whole, unwritten, since after a fork a written page would be
	 * copied first. */
	for (int i = 0; i < CHUNKS; i++) {
		struct pollable *chunk = atomic_load_explicit(
			&chunks[i], memory_order_relaxed);

		if (!chunk)
			continue;
		close_private(chunk, i * CHUNK);
		atomic_store_explicit(&chunks[i], NULL, memory_order_relaxed);
		sys_unmap(chunk, CHUNK * sizeof(*chunk));
	}
}

void poller_stop(void)
{
	/* A parent shares our epoll instance: closing it takes nothing from it. */
	forget_all();
	if (started)
		ops()->close();
	started = false;
	atomic_store_explicit(&poller_ops_are_done, false, memory_order_relaxed);
}

void poller_fork_child(void)
{
	poller_stop();
}
