/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/timer.c - deadlines of waits, in 8-ary heaps.
 *
 * Most waits with a deadline end before it, and the next one's deadline is later than
 * all that are there: so to arm is to add at the end, and to disarm is to write one
 * word. The entry of a timer that was disarmed stays until it comes to the root, or is
 * found when they have become more than the rest. A heap's deadlines lie by
 * themselves, and those of siblings in one line of the cache.
 *
 * T1  an entry is live exactly while its coroutine's timer has its ticket, which no
 *     other wait of that object ever has. A coroutine's timer has a ticket exactly
 *     while it is armed. Armed and disarmed are under the heap's lock; who looks at
 *     an entry from under the lock of another heap than its coroutine is armed in by
 *     now finds another ticket there, whatever moment it looks at.
 * T2  the root is live; dead counts those that are not.
 * T3  first is the root's deadline, written under the lock, read without:
 *     a reader that is late sees an older value and looks again at its next
 *     turn; who arms a deadline earlier than a sleeper's interrupts the
 *     sleeper (sched/park.c).
 * T4  used counts a heap before its first is anything but COGO_FOREVER: who
 *     would see the deadline sees that there is such a heap. */
#include "event/timer.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/self.h"
#include "coro/wait.h"
#include <errno.h>
#include <string.h>

#define ARITY		8
#define FIRST_ROOM	128
#define FEW		64	/* dead ones */
#define LOOKS		4

struct entry {
	struct coro *coro;
	uint64_t ticket;
};

struct heap {
	struct lock lock;
	uint32_t n, room, dead;
	uint32_t look;		/* for dead ones, last */
	/* Both from 1 to n, and room for one more; in one mapping. */
	cogo_time *when;
	struct entry *what;
	_Atomic cogo_time first;
} CACHE_ALIGN;

static struct heap heaps[TIMER_HEAPS] = {
	[0 ... TIMER_HEAPS - 1] = { .first = COGO_FOREVER },
};
/* One past the last that anything ever stood in: there are as many as workers have
 * waited for a moment, and whoever looks for the first had better not read eight
 * lines of the cache. */
static _Atomic uint32_t used;

static uint32_t parent(uint32_t i)
{
	return (i - 2) / ARITY + 1;
}

static uint32_t first_child(uint32_t i)
{
	return (i - 1) * ARITY + 2;
}

static bool is_live(const struct entry *e)
{
	return atomic_load_explicit(&e->coro->timer.ticket,
				    memory_order_relaxed) == e->ticket;
}

static void move(struct heap *h, uint32_t to, uint32_t from)
{
	h->when[to] = h->when[from];
	h->what[to] = h->what[from];
}

/* Where an entry with that deadline belongs, above or at the hole i. */
static uint32_t sift_up(struct heap *h, uint32_t i, cogo_time when)
{
	while (i > 1 && when < h->when[parent(i)]) {
		move(h, i, parent(i));
		i = parent(i);
	}
	return i;
}

/* … below or at it. */
static uint32_t sift_down(struct heap *h, uint32_t i, cogo_time when)
{
	uint32_t c, end, least;
	cogo_time first;

	while ((c = first_child(i)) <= h->n) {
		end = c + ARITY - 1 < h->n ? c + ARITY - 1 : h->n;
		least = c;
		first = h->when[c];
		/* Which one is anybody's guess, and not to be the processor's. */
		while (++c <= end) {
			least = h->when[c] < first ? c : least;
			first = h->when[c] < first ? h->when[c] : first;
		}
		if (first >= when)
			break;
		move(h, i, least);
		i = least;
	}
	return i;
}

static void put(struct heap *h, uint32_t i, cogo_time when, struct entry what)
{
	h->when[i] = when;
	h->what[i] = what;
}

static void drop_root(struct heap *h)
{
	cogo_time when = h->when[h->n];
	struct entry what = h->what[h->n];

	if (--h->n)
		put(h, sift_down(h, 1, when), when, what);
}

/* T2, T3: after the root may have been dropped, or died. */
static void see_to_root(struct heap *h)
{
	while (h->n && !is_live(&h->what[1])) {
		drop_root(h);
		h->dead--;
	}
	atomic_store_explicit(&h->first, h->n ? h->when[1] : COGO_FOREVER,
			      memory_order_release);
}

/* Takes an entry out, which is not the root. */
static void drop(struct heap *h, uint32_t i)
{
	cogo_time when = h->when[h->n];
	struct entry what = h->what[h->n];

	if (i == h->n--)
		return;
	i = when < h->when[parent(i)] ? sift_up(h, i, when)
				      : sift_down(h, i, when);
	put(h, i, when, what);
}

/* While the dead are more than the rest: a few looks for each that dies find more than
 * one, and nobody has to wait for all to be looked through. */
static void bury(struct heap *h)
{
	for (int i = 0; i < LOOKS && h->dead > FEW && h->dead > h->n / 2; i++) {
		h->look = h->look < h->n ? h->look + 1 : 2;
		if (is_live(&h->what[h->look]))
			continue;
		drop(h, h->look);
		h->dead--;
	}
}

/* The first children of a node at the beginning of a line. */
#define SHIFT (64 / sizeof(cogo_time) - 2)

static size_t bytes_for(uint32_t room)
{
	return room ? (SHIFT + room) * sizeof(cogo_time) +
			      room * sizeof(struct entry)
		    : 0;
}

/* Under h->lock. */
static bool grow(struct heap *h)
{
	uint32_t room = h->room ? h->room * 2 : FIRST_ROOM, was = h->room;
	cogo_time *at = sys_map(bytes_for(room)), *when, *old = NULL;
	struct entry *what;

	if (!at)
		return false;
	when = at + SHIFT;
	what = (struct entry *)(when + room);
	if (was) {
		old = h->when - SHIFT;
		memcpy(when, h->when, was * sizeof(*when));
		memcpy(what, h->what, was * sizeof(*what));
	}
	/* In this order: a fork may come at any moment, and the child goes on
	 * with what h says. */
	write_once(h->when, when);
	write_once(h->what, what);
	atomic_thread_fence(memory_order_release);
	write_once(h->room, room);
	if (was)
		sys_unmap(old, bytes_for(was));
	return true;
}

static void use(uint32_t i)
{
	uint32_t n = atomic_load_explicit(&used, memory_order_relaxed);

	while (unlikely(i >= n) &&
	       /* release: T3. */
	       !atomic_compare_exchange_weak_explicit(&used, &n, i + 1,
						      memory_order_release,
						      memory_order_relaxed))
		;
}

int timer_arm(struct coro *c, unsigned where, cogo_time deadline,
	      uint64_t ticket, bool *ret_first)
{
	uint32_t i = where % TIMER_HEAPS;
	struct heap *h = &heaps[i];
	uint32_t at;

	lock(&h->lock);
	if (h->n + 1 >= h->room && !grow(h)) {
		unlock(&h->lock);
		return -ENOMEM;
	}
	c->timer.deadline = deadline;
	c->timer.heap = i;
	atomic_store_explicit(&c->timer.ticket, ticket, memory_order_relaxed);
	use(i);
	at = sift_up(h, ++h->n, deadline);
	put(h, at, deadline, (struct entry){ c, ticket });
	*ret_first = at == 1;
	if (*ret_first)
		see_to_root(h);
	unlock(&h->lock);
	return 0;
}

void timer_disarm(struct coro *c)
{
	struct heap *h = &heaps[c->timer.heap];

	lock(&h->lock);
	if (atomic_load_explicit(&c->timer.ticket, memory_order_relaxed)) {
		atomic_store_explicit(&c->timer.ticket, 0, memory_order_relaxed);
		h->dead++;
		if (h->what[1].coro == c)
			see_to_root(h);
		bury(h);
	}
	unlock(&h->lock);
}

cogo_time timer_first(void)
{
	uint32_t n = atomic_load_explicit(&used, memory_order_acquire);
	cogo_time first = COGO_FOREVER, t;

	for (uint32_t i = 0; i < n; i++) {
		t = atomic_load_explicit(&heaps[i].first, memory_order_acquire);
		if (t < first)
			first = t;
	}
	return first;
}

static void run_heap(struct heap *h, cogo_time now, struct coro_list *ready)
{
	lock(&h->lock);
	while (h->n && h->when[1] <= now) {
		struct entry e = h->what[1];

		drop_root(h);
		/* Those who sleep for long are cold: the next one's object comes
		 * while this one is woken, and this one's stack before its turn. */
		if (h->n)
			coro_foresee(h->what[1].coro);
		/* Under the lock: its owner's timer_disarm waits for us, so it
		 * is still in this wait or has lost its ticket. */
		atomic_store_explicit(&e.coro->timer.ticket, 0,
				      memory_order_relaxed);
		if (wait_claim(e.coro, e.ticket, WAIT_TIMED_OUT)) {
			coro_list_push(ready, e.coro);
			self_foresee(e.coro);
		}
		see_to_root(h);
	}
	unlock(&h->lock);
}

void timer_run(cogo_time now, struct coro_list *ready)
{
	uint32_t n = atomic_load_explicit(&used, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++)
		if (atomic_load_explicit(&heaps[i].first,
					 memory_order_acquire) <= now)
			run_heap(&heaps[i], now, ready);
}

void timer_rest(void)
{
	for (int i = 0; i < TIMER_HEAPS; i++) {
		struct heap *h = &heaps[i];

		lock(&h->lock);
		if (h->room)
			sys_unmap(h->when - SHIFT, bytes_for(h->room));
		h->when = NULL;
		h->what = NULL;
		h->room = h->n = h->dead = 0;
		see_to_root(h);
		unlock(&h->lock);
	}
}

void timer_fork_child(void)
{
	/* Who stood in a heap is not in this process; the caller does not wait.
	 * A heap may have been left in the middle of a change: empty is right
	 * whatever it was. */
	for (int i = 0; i < TIMER_HEAPS; i++) {
		heaps[i].n = heaps[i].dead = 0;
		see_to_root(&heaps[i]);
	}
}
