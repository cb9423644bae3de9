/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/chan.h - channels: handing things from one coroutine to another.
 *
 *	COGO_CHAN(int) c = cogo_make(int, 16);
 *
 *	cogo_put(c, 42);			// one side
 *	cogo_close(c);
 *
 *	cogo_each (c, x)			// the other
 *		printf("%d\n", x);
 *	cogo_free(c);
 *
 * A channel is a queue of items of one size, with room for so many; with room
 * for none, a sender waits until a receiver has come, and hands the item over.
 * Any number of coroutines and plain threads may send and receive. Who waits
 * longest is served first. What a sender did before it sent is seen by whoever
 * receives the item; what a receiver did before it took the item, by whoever
 * sends into the room that this made.
 *
 * A send or a receive happens wholly or not at all: a call that fails, because
 * its time was up or its coroutine is cancelled, has neither left an item in the
 * channel nor taken one out.
 *
 * In place of a channel NULL may stand for one that nobody will ever use: sending
 * to it and receiving from it wait until the deadline. That is how a case of a
 * select (cogo/select.h) is switched off. Closing it, or counting, finds nothing.
 *
 * All functions may be called by coroutines and by any thread. Those that say so
 * park: a coroutine gives its worker to others, a thread sleeps. */
#ifndef COGO_CHAN_H
#define COGO_CHAN_H

#include "cogo/api.h"
#include "cogo/time.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cogo_chan;

/* A channel for items of that many bytes, with room for so many. item_size 0 is
 * for signals, which carry nothing; capacity 0 is a rendezvous. NULL without
 * memory, or where the sizes cannot be. The caller has one reference. Never
 * parks. */
COGO_API struct cogo_chan *cogo_chan_new(size_t item_size, size_t capacity);

/* One more reference; each user of a channel that might outlive the others' has
 * one of its own. Returns ch. Never parks. */
COGO_API struct cogo_chan *cogo_chan_ref(struct cogo_chan *ch);

/* Gives a reference back; with the last one the channel goes, and what is still
 * in it. Who still waits for it then has not taken one: that aborts. NULL: nothing
 * happens. Never parks. */
COGO_API void cogo_chan_free(struct cogo_chan *ch);

/* No more will be sent. Whoever waits to send, and everybody who tries after, is
 * told -EPIPE; receivers get what is left, and then -EPIPE. 0, or -EPIPE if it was
 * closed already. Needs no memory. Never parks. */
COGO_API int cogo_chan_close(struct cogo_chan *ch);

/* Sends a copy of the item. Parks until there is room, or a receiver:
 *	0		it is sent
 *	-EPIPE		the channel is closed
 *	-ETIMEDOUT	not by then; a deadline that has passed only tries
 *	-ECANCELED	the coroutine is to end; once it is, nothing is tried
 *	-ENOMEM		on a thread's first call ever */
COGO_API int cogo_send(struct cogo_chan *ch, const void *item,
		       cogo_time deadline);

/* Receives one into *ret_item, or, where that is NULL, throws it away. Parks
 * until there is one. As cogo_send; -EPIPE: closed, and nothing is left; then
 * *ret_item is all zero bytes. */
COGO_API int cogo_recv(struct cogo_chan *ch, void *ret_item,
		       cogo_time deadline);

/* The same without waiting: -EAGAIN where they would have to; -EPIPE as above;
 * -ENOMEM on a thread's first call ever. Work in a coroutine that is to end, too.
 * Never park. */
COGO_API int cogo_try_send(struct cogo_chan *ch, const void *item);
COGO_API int cogo_try_recv(struct cogo_chan *ch, void *ret_item);

/* How many items it holds now, which others may change at any moment, and how
 * many it has room for. Never park. */
COGO_API size_t cogo_chan_len(struct cogo_chan *ch);
COGO_API size_t cogo_chan_cap(const struct cogo_chan *ch);

/* ---- channels that time fills ----
 *
 * A timer is a channel too, of items of type cogo_time: the moments that were set.
 * Nobody serves it. Whoever receives compares the moment with the clock, and waits
 * no longer than until then. So a timer costs nothing while nobody waits for it,
 * there is no item in it before somebody takes one, and once cogo_timer_stop or
 * cogo_timer_reset has returned nobody receives what was set before. Several may
 * wait for one; each moment is received by one of them.
 *
 * It may be closed. Nothing can be sent there, which aborts. */

/* A timer set to that moment (COGO_FOREVER: to none). NULL without memory. Never
 * parks. It is given back with cogo_chan_free, set or not. */
COGO_API struct cogo_chan *cogo_timer_new(cogo_time when);

/* The same; a name for where the channel is what one is after. */
COGO_API struct cogo_chan *cogo_after(cogo_time when);

/* A timer that is set anew whenever it is received from: to the next whole number
 * of periods after its making. Ticks do not drift, and those that nobody was there
 * for are left out: what is received is the last one. A period below one
 * nanosecond counts as one. NULL without memory. */
COGO_API struct cogo_chan *cogo_ticker_new(int64_t period);

/* Sets it to another moment; a ticker goes on from there. 1 if it was set and not
 * received yet, else 0; -ENOMEM on a thread's first call. Never parks; wakes who
 * waits, to wait for the new one. */
COGO_API int cogo_timer_reset(struct cogo_chan *timer, cogo_time when);

/* Unsets it. As cogo_timer_reset. */
COGO_API int cogo_timer_stop(struct cogo_chan *timer);

#ifdef __cplusplus
}
#endif

/* ---- with types ----
 *
 * COGO_CHAN(T) is the type of a channel of T, the same wherever it is written. It
 * points to what cogo_chan_new made, and only tells the compiler what is in there.
 * The macros below take both, this and a struct cogo_chan *; cogo_raw() makes the
 * one of the other, for the functions above. T must be something that can be
 * assigned. For C; C++ has the functions. */
#ifndef __cplusplus

/* The type. Never dereferenced: it is made of T, and is no pointer to it. */
#define COGO_CHAN(T) __typeof__(__typeof__(T) *(*)[])

/* The type T of c, a COGO_CHAN(T). */
#define COGO_ITEM(c) __typeof__(*(*(c))[0])

/* cogo_chan_new for items of type T.
 *
 *	COGO_CHAN(T) cogo_make(T, size_t capacity) */
#define cogo_make(T, capacity)                                                 \
	((COGO_CHAN(T))cogo_chan_new(sizeof(T), capacity))

/* The channel without the type.
 *
 *	struct cogo_chan *cogo_raw(COGO_CHAN(T) c) */
#define cogo_raw(c) ((struct cogo_chan *)(c))

/* As cogo_raw, where x is what the channel carries; else it does not compile.
 *
 *	struct cogo_chan *COGO_RAW_OF(COGO_CHAN(T) c, T x) */
#define COGO_RAW_OF(c, x)                                                      \
	cogo_raw(_Generic((c), struct cogo_chan *: (c),                        \
			 COGO_CHAN(__typeof__((void)0, (x))): (c))) /* the comma takes const off */

/* As cogo_chan_close.
 *
 *	int cogo_close(COGO_CHAN(T) c) */
#define cogo_close(c) cogo_chan_close(cogo_raw(c))
/* cogo_chan_free.
 *
 *	void cogo_free(COGO_CHAN(T) c) */
#define cogo_free(c) cogo_chan_free(cogo_raw(c))
/* cogo_chan_ref, of the same type. */
#define cogo_share(c) ((__typeof__(c))cogo_chan_ref(cogo_raw(c)))

/* As cogo_send, of a value, which is converted as if assigned.
 *
 *	int cogo_put_until(COGO_CHAN(T) c, T value, cogo_time deadline) */
#define cogo_put_until(c, value, deadline)                                     \
	__extension__({                                                        \
		COGO_ITEM(c) cogo_value_ = (value);                            \
		cogo_send(cogo_raw(c), &cogo_value_, deadline);                \
	})
/* The same for ever, and so never -ETIMEDOUT.
 *
 *	int cogo_put(COGO_CHAN(T) c, T value) */
#define cogo_put(c, value) cogo_put_until(c, value, COGO_FOREVER)

/* As cogo_recv, into x, a variable of type T.
 *
 *	int cogo_get_until(COGO_CHAN(T) c, T x, cogo_time deadline) */
#define cogo_get_until(c, x, deadline)                                         \
	cogo_recv(COGO_RAW_OF(c, x), &(x), deadline)
/* The same for ever, and so never -ETIMEDOUT.
 *
 *	int cogo_get(COGO_CHAN(T) c, T x) */
#define cogo_get(c, x) cogo_get_until(c, x, COGO_FOREVER)

/* For each item x until the channel is closed and empty, or the coroutine is to
 * end; x is declared here. `c` is a variable. */
#define cogo_each(c, x)                                                        \
	for (COGO_ITEM(c) x;                                                   \
	     cogo_recv(cogo_raw(c), &x, COGO_FOREVER) == 0;)

#endif
#endif
