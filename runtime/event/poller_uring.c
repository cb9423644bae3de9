/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/poller_uring.c - readiness from epoll, and whole operations by io_uring.
 *
 * One ring for the process, and the ring is one more descriptor that epoll watches:
 * who waits for events waits there, and what is done is read from memory. The other
 * way round, epoll watched by the ring, saves a system call for each round and makes
 * all readiness depend on the one kernel thread that has asked the ring to watch:
 * the kernel goes on with a request where its submitter is, and that may be in a
 * long call which nothing wakes. As it is, such a thread holds up the operations
 * that it has submitted, and nothing else. For the same reason there is not a ring
 * for each worker, nor one that wants a single submitter or leaves the work to
 * whoever waits (SINGLE_ISSUER, DEFER_TASKRUN).
 *
 * What is taken is put into the queue and submitted with others, in one call.
 *
 * U1  the queue, and the call that hands it over, are under submit_lock; so the
 *     entries from the kernel's head on are ours to change.
 * U2  what the kernel does not take stays in the queue. Whoever polls next takes it
 *     out and ends it with -EAGAIN; nobody waits for what has not begun.
 * U3  in the child of a fork the ring is the parent's, and its memory shared: so
 *     that is not there in a child, and what we know of it is in a page that the
 *     kernel has emptied. */
#include "event/poller.h"
#include "base/aside.h"
#include "base/lock.h"
#include "base/sys.h"
#include <errno.h>
#include <linux/io_uring.h>
#include <sys/mman.h>

#define ENTRIES		512
#define COMPLETIONS	8192
#define RING_DATA	(UINT64_MAX - 1)
/* Of a job that shall be looked at again: nothing has been done for it. */
#define AGAIN		1
/* So many times in a row what is done is looked at alone. */
#define MOST_ALONE	8
/* So much at a time: a little less than a worker runs before it looks again. What is
 * done waits in the ring as well as on a run queue, and there it touches nothing
 * which the operations of the next round would drive out of the cache. */
#define MOST_AT_ONCE	48

/* Newer than some systems' headers; an older kernel refuses them, or has none. */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1u << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1u << 8)
#endif
#ifndef IORING_FEAT_CQE_SKIP
#define IORING_FEAT_CQE_SKIP (1u << 11)
#endif
#ifndef IOSQE_CQE_SKIP_SUCCESS
#define IOSQE_CQE_SKIP_SUCCESS (1u << 6)
#endif
#ifndef IORING_RECVSEND_POLL_FIRST
#define IORING_RECVSEND_POLL_FIRST (1u << 0)
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* U3. */
struct ring {
	struct {
		_Atomic uint32_t *head, *tail, *flags;
		uint32_t mask, entries;
		uint32_t next;		/* tail, when all are handed over */
		struct io_uring_sqe *entry;
	} sq;				/* under submit_lock */
	struct {
		_Atomic uint32_t *head, *tail;
		uint32_t mask;
		struct io_uring_cqe *entry;
	} cq;				/* head: under reap_lock */
	void *mem, *entries;
	size_t mem_size, entries_size;
};
static struct ring *ring;
static int ring_fd = -1;
static struct lock submit_lock, reap_lock;
static _Atomic uint32_t alone;

/* ---- the ring ------------------------------------------------------------ */

static void *map(int fd, size_t size, uint64_t what)
{
	long p = sys_call(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, fd, what);

	if (p < 0 && p > -4096)
		return NULL;
	if (sys_call(SYS_madvise, p, size, MADV_DONTFORK) != 0) {
		sys_unmap((void *)p, size);
		return NULL;
	}
	return (void *)p;
}

static void *at(void *mem, uint32_t offset)
{
	return (char *)mem + offset;
}

static int lay_out(int fd, struct ring *r, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	uint32_t *array;

	r->mem_size = sq > cq ? sq : cq;
	r->entries_size = p->sq_entries * sizeof(struct io_uring_sqe);
	r->mem = map(fd, r->mem_size, IORING_OFF_SQ_RING);
	if (!r->mem)
		return -ENOMEM;
	r->entries = map(fd, r->entries_size, IORING_OFF_SQES);
	if (!r->entries) {
		sys_unmap(r->mem, r->mem_size);
		return -ENOMEM;
	}
	r->sq.head = at(r->mem, p->sq_off.head);
	r->sq.tail = at(r->mem, p->sq_off.tail);
	r->sq.flags = at(r->mem, p->sq_off.flags);
	r->sq.mask = p->sq_entries - 1;
	r->sq.entries = p->sq_entries;
	r->sq.entry = r->entries;
	r->cq.head = at(r->mem, p->cq_off.head);
	r->cq.tail = at(r->mem, p->cq_off.tail);
	r->cq.mask = p->cq_entries - 1;
	r->cq.entry = at(r->mem, p->cq_off.cqes);
	array = at(r->mem, p->sq_off.array);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		array[i] = i;
	return 0;
}

/* Kernels that know COOP_TASKRUN know all that is needed here (5.19): without it a
 * worker that computes would be interrupted for every event. */
static int open_ring(void)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.cq_entries = COMPLETIONS,
	};
	const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
				IORING_FEAT_FAST_POLL | IORING_FEAT_CQE_SKIP;
	struct ring *page = sys_map(PAGE_SIZE);
	int fd, r;

	_Static_assert(sizeof(*page) <= PAGE_SIZE, "one page");
	if (!page)
		return -ENOMEM;
	r = (int)sys_call(SYS_madvise, page, PAGE_SIZE, MADV_WIPEONFORK);
	if (r)
		goto unmap_page;
	r = fd = aside_make(SYS_io_uring_setup, ENTRIES, (long)&p);
	if (fd < 0)
		goto unmap_page;
	r = (p.features & needed) == needed ? lay_out(fd, page, &p) : -ENOSYS;
	if (r)
		goto close_ring;
	r = poller_epoll_watch(fd, RING_DATA);
	if (r)
		goto unmap_ring;
	ring = page;
	ring_fd = fd;
	return 0;
unmap_ring:
	sys_unmap(page->mem, page->mem_size);
	sys_unmap(page->entries, page->entries_size);
close_ring:
	sys_call(SYS_close, fd);
unmap_page:
	sys_unmap(page, PAGE_SIZE);
	return r;
}

/* In the child of a fork, too, where the page is empty. */
static void close_ring(void)
{
	sys_call(SYS_close, ring_fd);
	if (ring->mem) {
		sys_unmap(ring->mem, ring->mem_size);
		sys_unmap(ring->entries, ring->entries_size);
	}
	sys_unmap(ring, PAGE_SIZE);
	ring = NULL;
	ring_fd = -1;
	lock_reset(&submit_lock);
	lock_reset(&reap_lock);
	atomic_store_explicit(&poller_taken, 0, memory_order_relaxed);
}

static long enter(uint32_t n, unsigned flags)
{
	return sys_call(SYS_io_uring_enter, read_once(ring_fd), n, 0, flags, NULL,
			0);
}

/* ---- what is to be done -------------------------------------------------- */

/* Under submit_lock. acquire: the kernel is through with what is before it. */
static uint32_t head(void)
{
	return atomic_load_explicit(ring->sq.head, memory_order_acquire);
}

static struct io_uring_sqe *entry(uint32_t i)
{
	return &ring->sq.entry[i & ring->sq.mask];
}

/* Under submit_lock. The kernel may take less than all, or nothing: what it has
 * too little memory for just now, or as long as it has nowhere to put what is
 * done. */
static void hand_over(void)
{
	uint32_t n = ring->sq.next - head();

	/* release: the entries are written. */
	atomic_store_explicit(ring->sq.tail, ring->sq.next, memory_order_release);
	atomic_fetch_add_explicit(&poller_submissions, 1, memory_order_relaxed);
	if (n)
		enter(n, 0);
	atomic_store_explicit(&poller_taken, ring->sq.next - head(),
			      memory_order_relaxed);
}

/* Under submit_lock: a place in the queue, or NULL. */
static struct io_uring_sqe *make_room(void)
{
	struct io_uring_sqe *e;

	if (unlikely(ring->sq.next - head() == ring->sq.entries))
		hand_over();
	if (unlikely(ring->sq.next - head() == ring->sq.entries))
		return NULL;
	e = entry(ring->sq.next++);
	*e = (struct io_uring_sqe){ 0 };
	atomic_store_explicit(&poller_taken, ring->sq.next - head(),
			      memory_order_relaxed);
	return e;
}

static void write_down(struct io_uring_sqe *e, const struct poller_job *job)
{
	static const uint8_t opcodes[] = {
		[POLLER_RECV] = IORING_OP_RECV,
		[POLLER_SEND] = IORING_OP_SEND,
		[POLLER_ACCEPT] = IORING_OP_ACCEPT,
		[POLLER_RECVMSG] = IORING_OP_RECVMSG,
		[POLLER_SENDMSG] = IORING_OP_SENDMSG,
		[POLLER_READV] = IORING_OP_READV,
		[POLLER_READ_AT] = IORING_OP_READ,
		[POLLER_WRITE_AT] = IORING_OP_WRITE,
		[POLLER_FSYNC] = IORING_OP_FSYNC,
	};

	e->opcode = opcodes[job->what];
	e->fd = job->fd;
	e->addr = (uint64_t)(uintptr_t)job->at;
	switch (job->what) {
	case POLLER_ACCEPT:
		e->addr2 = (uint64_t)(uintptr_t)job->more;
		e->accept_flags = job->flags;
		return;
	case POLLER_FSYNC:
		e->fsync_flags = job->flags ? IORING_FSYNC_DATASYNC : 0;
		return;
	case POLLER_READ_AT:
	case POLLER_WRITE_AT:
		e->off = (uint64_t)job->offset;
		/* fall through */
	case POLLER_READV:
		e->len = (uint32_t)job->n;
		return;
	case POLLER_RECVMSG:
	case POLLER_SENDMSG:
		e->len = 1;
		break;
	default:
		e->len = (uint32_t)job->n;
	}
	e->msg_flags = job->flags;
	e->ioprio = job->in_vain ? IORING_RECVSEND_POLL_FIRST : 0;
}

static int uring_start(const struct poller_job *job, uint64_t data)
{
	struct io_uring_sqe *e;

	if (unlikely(!ring->mem))	/* U3 */
		return -EAGAIN;
	lock(&submit_lock);
	e = make_room();
	if (e) {
		write_down(e, job);
		e->user_data = data;
	}
	unlock(&submit_lock);
	return e ? 0 : -EAGAIN;
}

static void uring_submit(void)
{
	bool left;

	if (unlikely(!ring->mem))
		return;
	lock(&submit_lock);
	hand_over();
	left = atomic_load_explicit(&poller_taken, memory_order_relaxed);
	unlock(&submit_lock);
	/* For whoever polls (U2). */
	if (unlikely(left))
		poller_epoll.interrupt();
}

/* Under submit_lock: that of what is in the queue and has not begun, or NULL. */
static struct io_uring_sqe *find_taken(uint64_t data)
{
	for (uint32_t i = head(); i != ring->sq.next; i++)
		if (entry(i)->user_data == data)
			return entry(i);
	return NULL;
}

static void turn_into_nothing(struct io_uring_sqe *e, uint64_t data)
{
	*e = (struct io_uring_sqe){ .opcode = IORING_OP_NOP, .user_data = data };
}

static void uring_cancel(uint64_t data)
{
	struct io_uring_sqe *e;

	lock(&submit_lock);
	e = find_taken(data);
	if (e) {
		turn_into_nothing(e, data | AGAIN);
		goto out;
	}
	/* Full of what the kernel does not take: somebody will make room. */
	while (unlikely(!(e = make_room()))) {
		unlock(&submit_lock);
		poller_epoll.interrupt();
		sys_call(SYS_sched_yield);
		lock(&submit_lock);
	}
	e->opcode = IORING_OP_ASYNC_CANCEL;
	e->fd = -1;
	e->addr = data;
	e->flags = IOSQE_CQE_SKIP_SUCCESS;
out:
	unlock(&submit_lock);
}

static void uring_forsake(int fd)
{
	struct io_uring_sqe *e;

	lock(&submit_lock);
	for (uint32_t i = head(); i != ring->sq.next; i++) {
		e = entry(i);
		if (e->fd == fd && e->opcode != IORING_OP_NOP &&
		    e->opcode != IORING_OP_ASYNC_CANCEL)
			turn_into_nothing(e, e->user_data | AGAIN);
	}
	unlock(&submit_lock);
}

/* ---- what is done -------------------------------------------------------- */

static bool any_done(void)
{
	return atomic_load_explicit(ring->cq.head, memory_order_relaxed) !=
	       atomic_load_explicit(ring->cq.tail, memory_order_relaxed);
}

static void end_of(uint64_t data, int result, struct poller_event *ret)
{
	*ret = (struct poller_event){
		.data = data & ~(uint64_t)AGAIN, .events = POLLER_DONE,
		.result = data & AGAIN ? -EAGAIN : result,
	};
}

/* How many, up to room. */
static int reap(struct poller_event *ret, int room)
{
	uint32_t from, to;
	int n = 0;

	/* Without room for what is done the kernel keeps it until it is asked. */
	if (unlikely(atomic_load_explicit(ring->sq.flags, memory_order_relaxed) &
		     IORING_SQ_CQ_OVERFLOW))
		enter(0, IORING_ENTER_GETEVENTS);
	if (!any_done())
		return 0;
	lock(&reap_lock);
	from = atomic_load_explicit(ring->cq.head, memory_order_relaxed);
	/* acquire: what the kernel has written there. */
	to = atomic_load_explicit(ring->cq.tail, memory_order_acquire);
	for (; from != to && n < room; from++) {
		const struct io_uring_cqe *e = &ring->cq.entry[from & ring->cq.mask];

		/* What has no data is a cancellation that came too late. */
		if (e->user_data)
			end_of(e->user_data, e->res, &ret[n++]);
	}
	/* release: they are read. */
	atomic_store_explicit(ring->cq.head, from, memory_order_release);
	unlock(&reap_lock);
	return n;
}

/* U2. Cancellations stay: what they are for has begun. */
static COLD int give_back(struct poller_event *ret, int room)
{
	struct io_uring_sqe *e;
	int n = 0;

	lock(&submit_lock);
	for (uint32_t i = head(); i != ring->sq.next && n < room; i++) {
		e = entry(i);
		if (!e->user_data)
			continue;
		end_of(e->user_data | AGAIN, 0, &ret[n++]);
		turn_into_nothing(e, 0);
	}
	unlock(&submit_lock);
	return n;
}

/* ---- the provider -------------------------------------------------------- */

static int poll_epoll(cogo_time deadline, const uint64_t *sigmask,
		      struct poller_event *ret, int room)
{
	int n = poller_epoll.poll(deadline, sigmask, ret, room), kept = 0;

	for (int i = 0; i < n; i++)
		if (ret[i].data != RING_DATA)
			ret[kept++] = ret[i];
	return n < 0 ? n : kept;
}

static int uring_poll(cogo_time deadline, const uint64_t *sigmask,
		      struct poller_event *ret, int room)
{
	int n = 0, more;

	if (unlikely(!ring->mem))
		return poll_epoll(deadline, sigmask, ret, room);
	room = room < MOST_AT_ONCE ? room : MOST_AT_ONCE;
	if (atomic_load_explicit(&poller_taken, memory_order_relaxed)) {
		lock(&submit_lock);
		hand_over();
		unlock(&submit_lock);
		if (unlikely(atomic_load_explicit(&poller_taken,
						  memory_order_relaxed)))
			n = give_back(ret, room);
	}
	n += reap(ret + n, room - n);
	/* What is done is often all there is; but not for ever. */
	if (n == room ||
	    (n && atomic_fetch_add_explicit(&alone, 1, memory_order_relaxed) <
			  MOST_ALONE))
		return n;
	atomic_store_explicit(&alone, 0, memory_order_relaxed);
	more = poll_epoll(n ? 0 : deadline, sigmask, ret + n, room - n);
	if (more > 0)
		n += more;
	/* The kernel goes on with our operations at the end of a call. */
	n += reap(ret + n, room - n);
	return n ? n : more;
}

static int uring_open(void)
{
	int r = poller_epoll.open();

	if (r)
		return r;
	r = open_ring();
	if (r)
		poller_epoll.close();
	return r;
}

static int uring_arm(int fd, uint64_t data)
{
	return poller_epoll.arm(fd, data);
}

static void uring_disarm(int fd)
{
	poller_epoll.disarm(fd);
}

static void uring_interrupt(void)
{
	poller_epoll.interrupt();
}

static void uring_close(void)
{
	close_ring();
	poller_epoll.close();
}

static bool uring_owns(int fd)
{
	return (fd >= 0 && fd == ring_fd) || poller_epoll.owns(fd);
}

static int uring_vacate(int fd)
{
	int copy;

	if (fd != ring_fd)
		return poller_epoll.vacate(fd);
	copy = aside_copy(fd);
	if (copy >= 0)
		write_once(ring_fd, copy);
	return copy < 0 ? copy : 0;
}

const struct poller_ops poller_uring = {
	.name = "io_uring",
	.otherwise = &poller_epoll,
	.open = uring_open,
	.arm = uring_arm,
	.disarm = uring_disarm,
	.poll = uring_poll,
	.interrupt = uring_interrupt,
	.close = uring_close,
	.owns = uring_owns,
	.vacate = uring_vacate,
	.start = uring_start,
	.cancel = uring_cancel,
	.submit = uring_submit,
	.forsake = uring_forsake,
};
