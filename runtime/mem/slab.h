/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/slab.h - objects of one type in memory that never becomes anything else.
 *
 * The free list is threaded through a link that the object itself sets aside,
 * so everything else in a freed object stays as it was. That is what makes a late
 * compare-and-swap on a dead coroutine's wait word harmless: the word is still
 * a wait word, and its sequence has moved on. The memory is never returned. */
#ifndef COGO_MEM_SLAB_H
#define COGO_MEM_SLAB_H

#include "base/compiler.h"
#include "base/lock.h"

/* As those who look in from outside find them (inspect/debug.c). */
struct slab_chunk {
	struct slab_chunk *next;
	_Atomic size_t used;		/* objects handed out at least once */
	size_t count;
} __attribute__((aligned(64)));		/* the objects follow */

#define SLAB_STOCK	16	/* half of what a stock keeps at most: see below */
#define SLAB_LISTS	64

struct slab {
	size_t size;			/* of one object; most often a multiple of 64 */
	size_t link;			/* where in it a pointer is ours */
	struct lock lock;
	void *free;			/* under lock */
	/* Under lock: lists of SLAB_STOCK each, to go to a stock as they came. */
	void *lists[SLAB_LISTS];
	uint32_t nlists;
	_Atomic(struct slab_chunk *) chunks;	/* grows at the head only */
	size_t next_chunk;		/* objects in the next one */
};

#define SLAB_INIT(type, link_member) \
	{ .size = (sizeof(type) + 63) & ~(size_t)63, \
	  .link = offsetof(type, link_member) }
/* Of small ones that are seldom touched: neighbours share a line of the cache. */
#define SLAB_INIT_DENSE(type, link_member) \
	{ .size = sizeof(type), .link = offsetof(type, link_member) }

/* An object, zeroed if it never lived before; NULL without memory. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *obj);

/* Some free objects that one thread has to itself for a while: most are taken from
 * there and put back there without the slab's lock. Zeroed memory is an empty one.
 * It is of one slab, and used by one thread at a time. Two lists, so that whoever takes
 * and puts back in turns does not go to the slab each time (Bonwick and Adams,
 * Magazines and Vmem, 2001). */
struct slab_stock {
	struct slab *of;	/* NULL: nobody has used it yet */
	void *free;
	void *full;		/* SLAB_STOCK more, or NULL */
	uint32_t n;		/* on the first: fewer than SLAB_STOCK */
};

void *slab_stock_get_slow(struct slab *s, struct slab_stock *stock);
void slab_stock_put_slow(struct slab *s, struct slab_stock *stock);

static inline void **slab_link(const struct slab *s, void *obj)
{
	return (void **)((char *)obj + s->link);
}

static inline void *slab_stock_get(struct slab *s, struct slab_stock *stock)
{
	void *obj = stock->free;

	if (unlikely(!obj))
		return slab_stock_get_slow(s, stock);
	stock->free = *slab_link(s, obj);
	*slab_link(s, obj) = NULL;
	stock->n--;
	return obj;
}

static inline void slab_stock_put(struct slab *s, struct slab_stock *stock,
				  void *obj)
{
	*slab_link(s, obj) = stock->free;
	stock->free = obj;
	stock->of = s;
	if (unlikely(++stock->n == SLAB_STOCK))
		slab_stock_put_slow(s, stock);
}

/* All of it goes back. */
void slab_stock_end(struct slab_stock *stock);

/* Calls fn for every object that ever was, living or not; stops at the first
 * that returns non-zero and returns that. Any thread; takes no lock. */
long slab_each(struct slab *s, long (*fn)(void *obj, void *arg), void *arg);

#endif
