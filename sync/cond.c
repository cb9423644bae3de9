/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cond.c - waiting, with a mutex let go, until somebody signals.
 *
 * C1  a waiter joins the queue under the lock of the condition's bucket and lets
 *     go of the mutex under it too; so a signal sent by one who has the mutex
 *     afterwards finds it there.
 * C2  COND_WAITED is set under that lock by a waiter, and cleared under it by
 *     a signaller that has left the queue empty. It is set while anybody waits.
 * C3  whoever was claimed or moved cannot return before the signaller has let go
 *     of the bucket, and after that the signaller touches nothing of *c.
 * C4  a waiter whose wait was broken off (for a signal handler, or to look at a
 *     clock) may come back to the queue unless someone signalled and found it
 *     empty, or signalled to all, in between. Then it is as if it had been
 *     woken. The epochs tell.
 *
 * What is known of a condition besides the bit stands in a small table here,
 * under a hash of its address: the epoch, and which mutex its waiters use, for
 * broadcast to move them to. The entries are shared. A foreign signal moves the
 * epoch on, and a waiter that comes back wakes for nothing, which POSIX allows;
 * a foreign waiter that was first has the mutex's place, and a broadcast then
 * wakes all. */
#include "sync/cond.h"
#include "base/lock.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <limits.h>

#define NOTES 256

static struct note {
	struct lock lock;	/* the last of all to be taken */
	_Atomic uint32_t epoch;
	const struct cond *cond;	/* under lock: whose mutex … */
	struct mutex *mutex;	/* … this is; NULL: they use several */
} notes[NOTES] __attribute__((aligned(32)));

static struct note *note_of(const struct cond *c)
{
	return &notes[(uintptr_t)c * 0x9e3779b97f4a7c15ull >> 56];
}

static uint32_t epoch_of(const struct cond *c)
{
	return atomic_load_explicit(&note_of(c)->epoch, memory_order_relaxed);
}

/* Under the lock of the bucket, and so is who compares: relaxed. But another
 * condition's signaller may do the same. */
static void next_epoch(const struct cond *c)
{
	atomic_fetch_add_explicit(&note_of(c)->epoch, 1, memory_order_relaxed);
}

/* The first waiter says which mutex it is; one with another makes it unknown.
 * Who may still be in the queue from a past epoch has said so then. */
static void remember(const struct cond *c, struct mutex *m, bool first)
{
	struct note *n = note_of(c);

	lock(&n->lock);
	if (first) {
		n->cond = c;
		n->mutex = m;
	} else if (n->cond == c && n->mutex != m) {
		n->mutex = NULL;
	}
	unlock(&n->lock);
}

static struct mutex *remembered(const struct cond *c)
{
	struct note *n = note_of(c);
	struct mutex *m;

	lock(&n->lock);
	m = n->cond == c ? n->mutex : NULL;
	unlock(&n->lock);
	return m;
}

int cond_wait(struct cond *c, struct mutex *m, cogo_time deadline,
	      uint32_t *epoch)
{
	struct mutex_parting parting;
	struct lot_bucket *b;

	for (;;) {
		if (m)
			mutex_part_begin(m, &parting);
		b = lot_lock(c);
		remember(c, m, cond_quiet(c));
		/* Before the mutex goes (C1). */
		atomic_fetch_or_explicit(&c->word, COND_WAITED,
					 memory_order_relaxed);
		*epoch = epoch_of(c);
		if (!m || mutex_part_end(m, &parting))
			break;
		/* Somebody joined the mutex's queue in between. */
		lot_unlock(b);
	}
	return lot_park(b, c, MUTEX_TAG_MOVED, deadline, WHY_COND);
}

int cond_wait_again(const struct cond *c, cogo_time deadline, uint32_t *epoch)
{
	struct lot_bucket *b = lot_lock(c);

	if (epoch_of(c) != *epoch) {
		lot_unlock(b);
		return 0;
	}
	return lot_park(b, c, MUTEX_TAG_MOVED, deadline, WHY_COND);
}

/* Under the lock of the bucket, as all who look at both. */
static void set_quiet(struct cond *c)
{
	atomic_fetch_and_explicit(&c->word, ~COND_WAITED, memory_order_relaxed);
	next_epoch(c);
}

static void tidy(struct lot_bucket *b, struct cond *c)
{
	if (!lot_any(b, c))
		set_quiet(c);
}

void cond_signal(struct cond *c)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b;

	if (cond_quiet(c))
		return;
	b = lot_lock(c);
	lot_claim(b, c, UINT32_MAX, 1, &woken);
	tidy(b, c);
	lot_unlock(b);
	if (woken.n)
		ready(woken.head);
}

static void wake_all(struct cond *c)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(c);

	lot_claim(b, c, UINT32_MAX, INT_MAX, &woken);
	tidy(b, c);
	lot_unlock(b);
	ready_all(&woken);
}

struct move {
	struct lot_bucket *b;
	struct cond *c;
	struct mutex *m;
	bool done;
};

/* Under the locks of both buckets. Whoever waits for c will want m back, so
 * while anybody does there is an m. All will be moved: the queue is as good as
 * empty, and after this nothing of *c is touched. */
static int may_move(void *arg)
{
	struct move *v = arg;

	if (!lot_any(v->b, v->c) || remembered(v->c) != v->m ||
	    !mutex_mark_waited(v->m))
		return 1;
	set_quiet(v->c);
	v->done = true;
	return 0;
}

void cond_broadcast(struct cond *c)
{
	struct move v = { .c = c };
	struct coro_list none = { 0 };

	if (cond_quiet(c))
		return;
	v.m = remembered(c);
	if (v.m) {
		/* Only to learn which bucket it is. */
		v.b = lot_lock(c);
		lot_unlock(v.b);
		lot_requeue(c, v.m, 0, INT_MAX, may_move, &v, &none);
	}
	if (!v.done)
		wake_all(c);
}
