/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/mutex.c - mutual exclusion in one word.
 *
 * X1  HELD becomes WAITED only under the lock of its bucket.
 * X2  whoever parks has seen WAITED or HANDED under that lock, after joining
 *     nobody could have missed it: an unlocker that finds WAITED takes the
 *     bucket's lock before it lets go.
 * X3  while anybody is in the queue, the word is WAITED or HANDED, or one who
 *     was claimed is on its way. That one takes the mutex as WAITED, or, when
 *     it comes too late, makes it WAITED and joins again.
 * X4  the store that frees the word is the last touch of *m. From there on only
 *     the address is used, and only as a key.
 * X5  HANDED may be taken by anyone who was claimed here and nobody else. It
 *     need not be the one it was meant for: that one then waits on.
 *
 * The two actors of X3. W, woken, runs towards a free mutex; B barges in before
 * it (FREE to HELD) and never heard of W's companions in the queue. W arrives,
 * finds HELD, and under the bucket's lock makes it WAITED: B's unlock will look.
 * Had W taken it, it would have left WAITED there for the same reason. */
#include "sync/mutex.h"
#include "sched/ready.h"
#include "sync/patience.h"
#include "wait/lot.h"
#include <errno.h>

#define TAG_HERE 1u

static bool swap(struct mutex *m, uint32_t from, uint32_t to)
{
	/* acquire: pairs with the release of whoever let it go. */
	return atomic_compare_exchange_strong_explicit(
		&m->word, &from, to, memory_order_acquire,
		memory_order_relaxed);
}

static uint32_t look(struct mutex *m)
{
	return atomic_load_explicit(&m->word, memory_order_relaxed);
}

bool mutex_mark_waited(struct mutex *m)
{
	for (;;) {
		switch (look(m)) {
		case MUTEX_FREE:
			return false;
		case MUTEX_HELD:
			if (swap(m, MUTEX_HELD, MUTEX_WAITED))
				return true;
			break;
		default:
			return true;
		}
	}
}

/* One try. As WAITED when there may be others (X3). */
static bool take(struct mutex *m, bool woken)
{
	uint32_t is = look(m);

	if (is == MUTEX_FREE)
		return swap(m, MUTEX_FREE, woken ? MUTEX_WAITED : MUTEX_HELD);
	return is == MUTEX_HANDED && woken &&
	       swap(m, MUTEX_HANDED, MUTEX_WAITED);
}

static int wait_for(struct mutex *m, cogo_time deadline, uint32_t *since,
		    bool woken)
{
	struct lot_bucket *b;
	int r;

	for (;;) {
		if (take(m, woken))
			return 0;
		b = lot_lock(m);
		while (!mutex_mark_waited(m)) {
			if (take(m, woken)) {
				lot_unlock(b);
				return 0;
			}
		}
		if (look(m) == MUTEX_HANDED && take(m, woken)) {
			lot_unlock(b);
			return 0;
		}
		if (!*since)
			*since = patience_start();
		r = lot_park(b, m, *since | TAG_HERE, deadline, WHY_MUTEX);
		if (r)
			return r;
		woken = true;
	}
}

int mutex_lock(struct mutex *m, cogo_time deadline, uint32_t *since)
{
	return wait_for(m, deadline, since, false);
}

int mutex_lock_woken(struct mutex *m, uint32_t *since)
{
	return wait_for(m, COGO_FOREVER, since, true);
}

/* Claims who comes next, and says what the word becomes. Under the bucket's
 * lock, by the owner. */
static uint32_t choose(struct lot_bucket *b, struct mutex *m,
		       struct coro_list *woken)
{
	uint32_t tag = lot_first(b, m);

	if (!tag || lot_claim(b, m, UINT32_MAX, 1, woken) == 0)
		return MUTEX_FREE;
	return (tag & TAG_KIND) == TAG_HERE && patience_over(tag) ?
	       MUTEX_HANDED : MUTEX_FREE;
}

void mutex_unlock(struct mutex *m)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b;
	uint32_t to;

	if (mutex_try_unlock(m))
		return;
	b = lot_lock(m);
	to = choose(b, m, &woken);
	/* release: pairs with the acquire of the next owner. X4. */
	atomic_store_explicit(&m->word, to, memory_order_release);
	lot_unlock(b);
	if (woken.n)
		ready(woken.head);
}

void mutex_part_begin(struct mutex *m, struct mutex_parting *p)
{
	struct lot_bucket *b;

	*p = (struct mutex_parting){ .to = MUTEX_FREE };
	if (look(m) != MUTEX_WAITED)
		return;
	b = lot_lock(m);
	p->to = choose(b, m, &p->woken);
	/* Nobody there after all: who comes now has to make it WAITED again,
	 * and mutex_part_end will see that. */
	if (!p->woken.n)
		atomic_store_explicit(&m->word, MUTEX_HELD, memory_order_relaxed);
	lot_unlock(b);
}

bool mutex_part_end(struct mutex *m, struct mutex_parting *p)
{
	if (!p->woken.n)
		return mutex_try_unlock(m) || look(m) == MUTEX_FREE;
	/* X3: the one we claimed is on its way from here on, not before; so it
	 * does not matter whether others joined meanwhile. */
	atomic_store_explicit(&m->word, p->to, memory_order_release);
	ready(p->woken.head);
	return true;
}
