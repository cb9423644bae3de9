/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/rwlock.c - many readers or one writer, in one word.
 *
 * A reader that waits is let in by whoever opens the way: it is counted before
 * it is made ready, so a claimed reader is in. A writer that waits is woken and
 * has to take the lock, or finds it gone to one who barged in; out of patience,
 * it is handed the lock (sync/patience.h).
 *
 * R1  the two queue bits are set only under the lock of the bucket, in the step
 *     that finds the lock taken, and by one who then joins the queue. So whoever
 *     lets the lock go last sees them, and takes the bucket's lock first.
 * R2  they are cleared only under it, when nobody is in the queue. Until then
 *     either may be set in vain, which costs an unlocker a look.
 * R3  while anybody is in the queue, the lock is taken by one who will see a
 *     bit; or a writer who was claimed is on its way, and takes the lock with
 *     the bits as they are, or finds it taken, sets its bit and joins again.
 * R4  the step that lets go is the last touch of *l. */
#include "sync/rwlock.h"
#include "sched/ready.h"
#include "sync/patience.h"
#include "wait/lot.h"
#include <errno.h>
#include <limits.h>

#define TAG_READER 1u
#define TAG_WRITER 2u

/* R1. Joins no queue if it could have the lock; then 0 or -EAGAIN, else
 * -EBUSY. Under the lock of the bucket. */
static int read_or_wait(struct rwlock *l, bool writers_first)
{
	uint32_t w;
	int r;

	for (;;) {
		r = rwlock_try_read(l, writers_first);
		if (r != -EBUSY)
			return r;
		w = rwlock_look(l);
		if (rwlock_keeps_out(w, writers_first) &&
		    (w & RWLOCK_READERS || rwlock_swap(l, &w, w | RWLOCK_READERS)))
			return -EBUSY;
	}
}

int rwlock_read(struct rwlock *l, bool writers_first, cogo_time deadline,
		uint32_t *since)
{
	struct lot_bucket *b;
	int r = rwlock_try_read(l, writers_first);

	if (r != -EBUSY)
		return r;
	b = lot_lock(l);
	r = read_or_wait(l, writers_first);
	if (r != -EBUSY) {
		lot_unlock(b);
		return r;
	}
	if (!*since)
		*since = patience_start();
	return lot_park(b, l, *since | TAG_READER, deadline, WHY_RWLOCK);
}

static uint32_t claim_readers(struct lot_bucket *b, struct rwlock *l,
			      struct coro_list *woken)
{
	return (uint32_t)lot_claim(b, l, TAG_READER, INT_MAX, woken);
}

static bool claim_writer(struct lot_bucket *b, struct rwlock *l,
			 struct coro_list *woken)
{
	return lot_claim(b, l, TAG_WRITER, 1, woken) == 1;
}

/* R2. */
static uint32_t bits_left(struct lot_bucket *b, struct rwlock *l, uint32_t w)
{
	return lot_any(b, l) ? w & RWLOCK_WAITING : 0;
}

/* The writer goes: nobody else changes the word, since it has the lock and we
 * have the bucket's. */
static void writer_goes(struct lot_bucket *b, struct rwlock *l,
			bool writers_first, struct coro_list *woken)
{
	uint32_t tag = lot_first(b, l), w = rwlock_look(l), to = 0;
	bool over = tag && patience_over(tag);

	if (!writers_first)
		to = claim_readers(b, l, woken);
	if (!to && claim_writer(b, l, woken))
		to = over ? RWLOCK_WRITER | RWLOCK_HANDED : 0;
	else if (!to)
		to = claim_readers(b, l, woken);
	to |= bits_left(b, l, w);
	/* release: pairs with the acquires of whoever is next. R4. */
	atomic_store_explicit(&l->word, to, memory_order_release);
}

/* A reader goes. Others may come in by the fast path meanwhile, so a writer
 * that we claimed may find that it has to wait on. */
static void reader_goes(struct lot_bucket *b, struct rwlock *l,
			struct coro_list *woken)
{
	uint32_t tag = lot_first(b, l), w = rwlock_look(l), to, more = 0;
	bool over = tag && patience_over(tag), chosen = false, writer = false;

	do {
		bool last = (w & RWLOCK_COUNT) == 1;

		if (last && !chosen) {
			chosen = true;
			writer = claim_writer(b, l, woken);
			if (!writer)
				more = claim_readers(b, l, woken);
		}
		to = (w & RWLOCK_COUNT) - 1 + more;
		if (last && writer && over)
			to = RWLOCK_WRITER | RWLOCK_HANDED;
		to |= bits_left(b, l, w);
	} while (!rwlock_swap(l, &w, to));
}

static void let_go(struct lot_bucket *b, struct rwlock *l, bool writers_first)
{
	struct coro_list woken = { 0 };
	uint32_t w = rwlock_look(l);

	if (w & RWLOCK_WRITER)
		writer_goes(b, l, writers_first, &woken);
	else if (w & RWLOCK_COUNT)
		reader_goes(b, l, &woken);
	lot_unlock(b);
	ready_all(&woken);
}

void rwlock_unlock(struct rwlock *l, bool writers_first)
{
	if (!rwlock_try_unlock(l))
		let_go(lot_lock(l), l, writers_first);
}

/* A writer has left the queue unclaimed, and readers that wait behind it may
 * have nobody to wait for any more. Standing in as a reader, which keeps writers
 * out, we let them all in: those who still have a writer before them go first
 * for once. */
static void writer_gave_up(struct rwlock *l)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(l);
	uint32_t w = rwlock_look(l);

	do {
		if (w & RWLOCK_WRITER || !(w & RWLOCK_COUNT) ||
		    (w & RWLOCK_COUNT) == RWLOCK_COUNT) {
			lot_unlock(b);
			return;
		}
	} while (!rwlock_swap(l, &w, w + 1));
	atomic_fetch_add_explicit(&l->word, claim_readers(b, l, &woken),
				  memory_order_relaxed);
	/* Drops the lock of the bucket; who was let in is not ours to touch
	 * after that, but to make ready. */
	let_go(b, l, true);
	ready_all(&woken);
}

/* As a writer who was woken, when it was handed the lock. */
static bool take_handed(struct rwlock *l)
{
	uint32_t w = rwlock_look(l);

	while (w & RWLOCK_HANDED)
		if (rwlock_swap(l, &w, w & ~RWLOCK_HANDED))
			return true;
	return false;
}

/* R1, for a writer. */
static bool write_or_wait(struct rwlock *l, bool woken)
{
	uint32_t w;

	for (;;) {
		if (rwlock_try_write(l) == 0 || (woken && take_handed(l)))
			return true;
		w = rwlock_look(l);
		if (w & RWLOCK_TAKEN &&
		    (w & RWLOCK_WRITERS || rwlock_swap(l, &w, w | RWLOCK_WRITERS)))
			return false;
	}
}

int rwlock_write(struct rwlock *l, bool writers_first, cogo_time deadline,
		 uint32_t *since)
{
	struct lot_bucket *b;
	bool woken = false;
	int r;

	for (;;) {
		if (rwlock_try_write(l) == 0 || (woken && take_handed(l)))
			return 0;
		b = lot_lock(l);
		if (write_or_wait(l, woken)) {
			lot_unlock(b);
			return 0;
		}
		if (!*since)
			*since = patience_start();
		r = lot_park(b, l, *since | TAG_WRITER, deadline, WHY_RWLOCK);
		if (r) {
			if (writers_first)
				writer_gave_up(l);
			return r;
		}
		woken = true;
	}
}
