/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/futex.c - syscall(SYS_futex, …) over the lot.
 *
 * A private futex is a word and a queue in this process: the lot. But not all of
 * its waiters need be there. Who sleeps by an inline instruction of its own, or
 * inside libc, sleeps in the kernel; so a wake that finds fewer in the lot than
 * it may wake gives the kernel the rest to do.
 *
 * One is private that says so; and one that does not say so (libstdc++'s futures,
 * barriers and semaphores do not) but lies in memory that no other process has. That
 * is asked of the kernel, page by page, whenever somebody is to wait: the page may be
 * another's by the next time. Where the answer is no, or none can be had, he waits in
 * the kernel; so who wakes looks in both places, and need not ask. The kernel itself
 * looks in its own only: where the program has what it would wake at by itself, all
 * who do not say so wait there.
 *
 * All else (shared between processes, or with priorities) is the kernel's, and who
 * may wait there is bound for it.
 *
 * Where the kernel would find a bad address and say EFAULT, we fault. */
#include "hook/futex.h"
#include "base/sys.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

#define ANY FUTEX_BITSET_MATCH_ANY

struct call {
	uint32_t *addr, *addr2;
	int op;
	uint32_t val, val3;
	const struct timespec *t;
};

static long kernel_does(const struct call *c)
{
	return sys_call(SYS_futex, c->addr, c->op, c->val, c->t, c->addr2,
			c->val3);
}

static int is_private(const struct call *c)
{
	return c->op & FUTEX_PRIVATE_FLAG;
}

static uint32_t look(uint32_t *addr)
{
	return atomic_load_explicit((_Atomic uint32_t *)addr,
				    memory_order_acquire);
}

/* The number that stands where others have a time. */
static int number_in(const struct timespec *t)
{
	return (int)(uintptr_t)t;
}

static int at_least_none(int n)
{
	return n < 0 ? 0 : n;
}

/* ---- whose memory ---- */

/* /proc/self/pagemap: one word for each page. */
#define PAGEMAP_PRESENT	((uint64_t)1 << 63)
#define PAGEMAP_OTHERS	((uint64_t)1 << 61)	/* a file's, or shared */

static _Atomic bool others_wake;

void futex_others_wake(void)
{
	atomic_store_explicit(&others_wake, true, memory_order_relaxed);
}

/* Whether nobody else wakes there. False where nobody knows. */
static bool is_ours_alone(uint32_t *addr)
{
	uintptr_t page = (uintptr_t)addr / PAGE_SIZE;
	uint64_t entry = 0;
	int fd;

	if (atomic_load_explicit(&others_wake, memory_order_relaxed))
		return false;
	look(addr);	/* it is present, then */
	fd = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/self/pagemap",
			   O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (sys_call(SYS_pread64, fd, &entry, sizeof(entry), page * sizeof(entry)) !=
	    (long)sizeof(entry))
		entry = 0;
	sys_call(SYS_close, fd);
	return (entry & (PAGEMAP_PRESENT | PAGEMAP_OTHERS)) == PAGEMAP_PRESENT;
}

/* ---- waiting ---- */

/* 0, or as the kernel looks at times. */
static int until_when(const struct call *c, bool relative,
		      struct timespec *room, struct locks_until *ret)
{
	*ret = (struct locks_until){ .clock = CLOCK_MONOTONIC };
	if (!c->t)
		return 0;
	if (c->t->tv_sec < 0 || !locks_time_valid(c->t))
		return -EINVAL;
	ret->abstime = c->t;
	if (!relative) {
		if (c->op & FUTEX_CLOCK_REALTIME)
			ret->clock = CLOCK_REALTIME;
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, room);
	room->tv_nsec += c->t->tv_nsec;
	if (__builtin_add_overflow(room->tv_sec, c->t->tv_sec +
				   room->tv_nsec / 1000000000, &room->tv_sec))
		room->tv_sec = LONG_MAX;
	room->tv_nsec %= 1000000000;
	ret->abstime = room;
	return 0;
}

static long wait(struct coro *me, const struct call *c, uint32_t bits,
		 bool relative)
{
	struct locks_until u;
	struct timespec room;
	struct lot_bucket *b;
	int r = bits ? until_when(c, relative, &room, &u) : -EINVAL;

	if (r)
		return r;
	door_enter(me);
	do {
		b = lot_lock(c->addr);
		if (look(c->addr) != c->val) {
			lot_unlock(b);
			r = -EAGAIN;
			break;
		}
		r = lot_park(b, c->addr, bits, locks_deadline(&u), WHY_FUTEX);
		/* Only to look at the clock: woken for nothing, as a futex may
		 * be. Going back to sleep could miss a wake. */
		if (r == -ETIMEDOUT && !locks_time_is_up(&u))
			r = 0;
	} while ((r == -EINTR || r == -ECANCELED) &&
		 (r = gate_interrupted(me, !c->t)) == 0);
	door_leave(me);
	return r;
}

/* ---- waking ---- */

static int claim(uint32_t *addr, uint32_t bits, int n)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(addr);
	int got = lot_claim(b, addr, bits, n, &woken);

	lot_unlock(b);
	if (got == 1)
		ready(woken.head);
	else
		ready_all(&woken);
	return got;
}

/* Those in the kernel, after `got` in the lot: the sum of both. */
static long wake_rest(const struct call *c, uint32_t *addr, uint32_t bits, int n,
		      int got)
{
	long r;

	if (got >= n)
		return got;
	r = sys_call(SYS_futex, addr, FUTEX_WAKE_BITSET | is_private(c), n - got, NULL,
		     NULL, bits);
	return r > 0 ? got + r : got ? got : r;
}

static long wake(struct coro *me, const struct call *c, uint32_t bits)
{
	/* The kernel looks whether it was enough after it has woken one. */
	int n = (int)c->val > 0 ? (int)c->val : 1, got;

	if (!bits)
		return -EINVAL;
	door_enter(me);
	got = claim(c->addr, bits, n);
	door_leave(me);
	return wake_rest(c, c->addr, bits, n, got);
}

/* ---- moving ---- */

/* Under the locks of both queues. */
static int compare(void *arg)
{
	const struct call *c = arg;

	return look(c->addr) == c->val3 ? 0 : -EAGAIN;
}

static long requeue(struct coro *me, const struct call *c, bool cmp)
{
	int nwake = (int)c->val, nmove = number_in(c->t), woken, r;
	struct coro_list list = { 0 };
	long k;

	if (nwake < 0 || nmove < 0)
		return -EINVAL;
	door_enter(me);
	r = lot_requeue(c->addr, c->addr2, nwake, nmove, cmp ? compare : NULL,
			(void *)c, &list);
	woken = (int)list.n;
	ready_all(&list);
	door_leave(me);
	if (r < 0)
		return r;
	k = sys_call(SYS_futex, c->addr, FUTEX_REQUEUE | is_private(c), nwake - woken,
		     at_least_none(nmove - (r - woken)), c->addr2);
	return k > 0 ? r + k : r ? r : k;
}

/* ---- changing one word and waking at two ---- */

struct op {
	uint32_t *addr;
	uint32_t code;
	bool holds;	/* what it asks of the word's old value */
};

static int32_t signed12(uint32_t bits)
{
	return (int32_t)(bits << 20) >> 20;
}

static int operate(void *arg)
{
	struct op *o = arg;
	_Atomic uint32_t *word = (_Atomic uint32_t *)o->addr;
	uint32_t by = (uint32_t)signed12(o->code >> 12), old;
	int32_t than = signed12(o->code), was;

	if (o->code >> 28 & FUTEX_OP_OPARG_SHIFT)
		by = 1u << (by & 31);
	/* seq_cst: as the kernel's. */
	switch (o->code >> 28 & 7) {
	case FUTEX_OP_SET:
		old = atomic_exchange(word, by);
		break;
	case FUTEX_OP_ADD:
		old = atomic_fetch_add(word, by);
		break;
	case FUTEX_OP_OR:
		old = atomic_fetch_or(word, by);
		break;
	case FUTEX_OP_ANDN:
		old = atomic_fetch_and(word, ~by);
		break;
	case FUTEX_OP_XOR:
		old = atomic_fetch_xor(word, by);
		break;
	default:
		return -ENOSYS;
	}
	was = (int32_t)old;
	switch (o->code >> 24 & 15) {
	case FUTEX_OP_CMP_EQ:
		o->holds = was == than;
		break;
	case FUTEX_OP_CMP_NE:
		o->holds = was != than;
		break;
	case FUTEX_OP_CMP_LT:
		o->holds = was < than;
		break;
	case FUTEX_OP_CMP_LE:
		o->holds = was <= than;
		break;
	case FUTEX_OP_CMP_GT:
		o->holds = was > than;
		break;
	case FUTEX_OP_CMP_GE:
		o->holds = was >= than;
		break;
	default:
		return -ENOSYS;
	}
	return 0;
}

static long wake_op(struct coro *me, const struct call *c)
{
	struct op o = { .addr = c->addr2, .code = c->val3 };
	int n = (int)c->val > 0 ? (int)c->val : 1, got, got2 = 0;
	int n2 = number_in(c->t) > 0 ? number_in(c->t) : 1;
	struct coro_list list = { 0 };
	long r, r2 = 0;

	door_enter(me);
	got = lot_requeue(c->addr, c->addr2, n, 0, operate, &o, &list);
	ready_all(&list);
	if (got >= 0 && o.holds)
		got2 = claim(c->addr2, ANY, n2);
	door_leave(me);
	if (got < 0)
		return got;
	r = wake_rest(c, c->addr, ANY, n, got);
	if (o.holds)
		r2 = wake_rest(c, c->addr2, ANY, n2, got2);
	return r < 0 ? r : r2 < 0 ? r2 : r + r2;
}

/* ---- what is the kernel's ---- */

/* One that got a lock with priorities is its owner by its kernel thread's id, and
 * stays with it: how it lets go again no system call need tell us. */
static long in_kernel(struct coro *me, const struct call *c)
{
	long r;

	bind_for_kernel(me);
	r = kernel_does(c);
	switch (c->op & FUTEX_CMD_MASK) {
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
	case FUTEX_TRYLOCK_PI:
	case FUTEX_WAIT_REQUEUE_PI:
		if (r >= 0)
			return r;
	}
	unbind_for_kernel(me);
	return r;
}

long futex_call(struct coro *me, uint32_t *addr, int op, uint32_t val,
		const struct timespec *t, uint32_t *addr2, uint32_t val3)
{
	struct call c = { addr, addr2, op, val, val3, t };

	if (!addr || (uintptr_t)addr % sizeof(*addr))
		return in_kernel(me, &c);
	switch (op & ~FUTEX_PRIVATE_FLAG) {
	case FUTEX_WAIT:
		if (!is_private(&c) && !is_ours_alone(addr))
			return in_kernel(me, &c);
		return wait(me, &c, ANY, true);
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME:
		if (!is_private(&c) && !is_ours_alone(addr))
			return in_kernel(me, &c);
		return wait(me, &c, val3, false);
	case FUTEX_WAKE:
		return wake(me, &c, ANY);
	case FUTEX_WAKE_BITSET:
		return wake(me, &c, val3);
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
	case FUTEX_WAKE_OP:
		break;
	default:
		return in_kernel(me, &c);
	}
	/* These look at two words, in one step. */
	if (!is_private(&c) && !(is_ours_alone(addr) && is_ours_alone(addr2)))
		return kernel_does(&c);
	switch (op & ~FUTEX_PRIVATE_FLAG) {
	case FUTEX_REQUEUE:
		return requeue(me, &c, false);
	case FUTEX_CMP_REQUEUE:
		return requeue(me, &c, true);
	default:
		return wake_op(me, &c);
	}
}
