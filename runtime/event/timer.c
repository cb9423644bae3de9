/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/timer.c - deadlines of waits, in 4-ary heaps.
 *
 * A heap holds pointers to coroutines; each coroutine knows its place, so
 * that a wait that ends early takes its timer out in a few steps. Four
 * children per node halve the depth of a binary heap and keep siblings in
 * one cache line.
 *
 * T1  c->timer.pos != 0 exactly while c stands in heaps[c->timer.heap]; both
 *     are changed under that heap's lock.
 * T2  first[] is the root's deadline, written under the lock, read without:
 *     a reader that is late sees an older value and looks again at its next
 *     turn; who arms a deadline earlier than a sleeper's interrupts the
 *     sleeper (sched/park.c).
 * T3  used counts a heap before its first[] is anything but COGO_FOREVER: who
 *     would see the deadline sees that there is such a heap. */
#include "event/timer.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "coro/wait.h"
#include <errno.h>
#include <string.h>

#define ARITY 4

struct heap {
	struct lock lock;
	uint32_t n, room;
	/* at[1..n]; the deadline beside the pointer, so that sifting does not
	 * touch the coroutines. */
	struct slot { cogo_time deadline; struct coro *coro; } *at;
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

static void place(struct heap *h, uint32_t i, struct slot s)
{
	h->at[i] = s;
	s.coro->timer.pos = i;
}

static void sift_up(struct heap *h, uint32_t i, struct slot s)
{
	while (i > 1 && s.deadline < h->at[parent(i)].deadline) {
		place(h, i, h->at[parent(i)]);
		i = parent(i);
	}
	place(h, i, s);
}

static void sift_down(struct heap *h, uint32_t i, struct slot s)
{
	uint32_t c, end, least;

	while ((c = first_child(i)) <= h->n) {
		end = c + ARITY - 1 < h->n ? c + ARITY - 1 : h->n;
		for (least = c++; c <= end; c++)
			if (h->at[c].deadline < h->at[least].deadline)
				least = c;
		if (h->at[least].deadline >= s.deadline)
			break;
		place(h, i, h->at[least]);
		i = least;
	}
	place(h, i, s);
}

static void publish_first(struct heap *h)
{
	atomic_store_explicit(&h->first,
			      h->n ? h->at[1].deadline : COGO_FOREVER,
			      memory_order_release);
}

static void take_out(struct heap *h, uint32_t i)
{
	struct slot last = h->at[h->n--];

	h->at[i].coro->timer.pos = 0;
	if (i <= h->n) {
		if (i > 1 && last.deadline < h->at[parent(i)].deadline)
			sift_up(h, i, last);
		else
			sift_down(h, i, last);
	}
	if (i == 1)
		publish_first(h);
}

/* Under h->lock. */
static bool grow(struct heap *h)
{
	uint32_t room = h->room ? h->room * 2 : PAGE_SIZE / sizeof(*h->at);
	struct slot *at = sys_map(room * sizeof(*at)), *old = h->at;
	size_t size = h->room * sizeof(*at);

	if (!at)
		return false;
	if (old)
		memcpy(at, old, size);
	/* In this order: a fork may come at any moment, and the child goes on
	 * with what h says. */
	h->at = at;
	h->room = room;
	if (old)
		sys_unmap(old, size);
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

	lock(&h->lock);
	if (h->n + 1 >= h->room && !grow(h)) {
		unlock(&h->lock);
		return -ENOMEM;
	}
	c->timer.deadline = deadline;
	c->timer.ticket = ticket;
	c->timer.heap = i;
	use(i);
	h->n++;
	sift_up(h, h->n, (struct slot){ deadline, c });
	*ret_first = c->timer.pos == 1;
	if (*ret_first)
		publish_first(h);
	unlock(&h->lock);
	return 0;
}

void timer_disarm(struct coro *c)
{
	struct heap *h = &heaps[c->timer.heap];

	lock(&h->lock);
	if (c->timer.pos)
		take_out(h, c->timer.pos);
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
	struct coro *c;

	lock(&h->lock);
	while (h->n && h->at[1].deadline <= now) {
		uint64_t ticket;

		c = h->at[1].coro;
		ticket = c->timer.ticket;
		take_out(h, 1);
		/* Under the lock: its owner's timer_disarm waits for us, so c
		 * is still in this wait or has lost its ticket. */
		if (wait_claim(c, ticket, WAIT_TIMED_OUT))
			coro_list_push(ready, c);
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
		if (h->at)
			sys_unmap(h->at, h->room * sizeof(*h->at));
		h->at = NULL;
		h->room = h->n = 0;
		publish_first(h);
		unlock(&h->lock);
	}
}

void timer_fork_child(void)
{
	/* Who stood in a heap is not in this process; the caller does not wait.
	 * A heap may have been left in the middle of a change: empty is right
	 * whatever it was. */
	for (int i = 0; i < TIMER_HEAPS; i++) {
		heaps[i].n = 0;
		publish_first(&heaps[i]);
	}
}
