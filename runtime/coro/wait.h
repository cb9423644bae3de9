/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/wait.h - the claim word: a wait ends exactly once.
 *
 * The owner opens a wait and hands its ticket to whoever may end it: a lock's
 * queue, the timers, a descriptor, a signal. The first to swap the word from
 * (ticket, OPEN) to (ticket, outcome) has claimed the wait and owes exactly one
 * ready(); all others lose and do nothing. A ticket is good for one wait: the
 * sequence in it moves on with the next wait_open, and the object under it is
 * never anything but a coroutine, so a late claim fails harmlessly.
 *
 *	NONE -> OPEN -> WOKEN | TIMED_OUT | INTERRUPTED | CANCELED -> OPEN -> ...
 *
 * A wait may be CLOSED in place of OPEN: it is like one, but only who has the ticket
 * ends it, and nobody who comes from outside. */
#ifndef COGO_CORO_WAIT_H
#define COGO_CORO_WAIT_H

#include "arch/tp.h"
#include "coro/coro.h"

enum wait_outcome {
	WAIT_NONE, WAIT_OPEN, WAIT_WOKEN, WAIT_TIMED_OUT, WAIT_INTERRUPTED,
	WAIT_CANCELED, WAIT_CLOSED,
};
#define WAIT_MASK 7u

static inline uint64_t wait_begin(struct coro *c, enum wait_outcome as)
{
	uint64_t w = atomic_load_explicit(&c->wait, memory_order_relaxed);

	w = ((w & ~(uint64_t)WAIT_MASK) + WAIT_MASK + 1) | as;
	/* release: a claimer that read the ticket from the word itself sees
	 * what the owner wrote before. */
	atomic_store_explicit(&c->wait, w, memory_order_release);
	return w;
}

/* Begins a wait of the caller's; what it returns is the ticket. */
static inline uint64_t wait_open(struct coro *c)
{
	return wait_begin(c, WAIT_OPEN);
}

/* The same for one that nothing may break off. */
static inline uint64_t wait_open_closed(struct coro *c)
{
	return wait_begin(c, WAIT_CLOSED);
}

/* Whether the caller is the one that ended it. Any thread. */
static inline bool wait_claim(struct coro *c, uint64_t ticket,
			      enum wait_outcome how)
{
	uint64_t to = (ticket & ~(uint64_t)WAIT_MASK) | how;

	/* acq_rel: the owner sees the claimer's work when it wakes; the claimer
	 * sees what the owner published with the ticket. */
	return atomic_compare_exchange_strong_explicit(
		&c->wait, &ticket, to, memory_order_acq_rel,
		memory_order_relaxed);
}

/* Ends whatever wait is open, if one is: for signals and cancellation. */
static inline bool wait_claim_any(struct coro *c, enum wait_outcome how)
{
	uint64_t w = atomic_load_explicit(&c->wait, memory_order_acquire);

	return (w & WAIT_MASK) == WAIT_OPEN && wait_claim(c, w, how);
}

/* Whether that is a wait that nobody has claimed. */
static inline bool wait_is_open(uint64_t word)
{
	return (word & WAIT_MASK) == WAIT_OPEN || (word & WAIT_MASK) == WAIT_CLOSED;
}

/* For who has just gone to sleep by an atomic step, on c's behalf, that may be
 * somebody else's by now: a signal or a cancel that came before it ends the wait
 * of that ticket. True when the caller has claimed it.
 *
 *	sleeper: open the wait; the step; look at the flag
 *	kicker (signal_kick): set the flag; fence; look for an open wait
 *
 * One of the two sees what the other wrote. */
static inline bool wait_interrupted(struct coro *c, uint64_t ticket)
{
	arch_fence_after_rmw();
	return unlikely(atomic_load_explicit(&c->interrupt,
					     memory_order_relaxed)) &&
	       (ticket & WAIT_MASK) == WAIT_OPEN &&
	       wait_claim(c, ticket, WAIT_INTERRUPTED);
}

static inline enum wait_outcome wait_result(const struct coro *c)
{
	return atomic_load_explicit(&c->wait, memory_order_acquire) & WAIT_MASK;
}

#endif
