/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/slab.c - objects of one type in memory that never becomes anything else. */
#include "mem/slab.h"
#include "base/sanitize.h"
#include "base/sys.h"
#include <stdatomic.h>

#define FIRST_CHUNK	64
#define LARGEST_CHUNK	4096

static void *object(struct slab *s, struct slab_chunk *c, size_t i)
{
	return (char *)(c + 1) + i * s->size;
}

/* Under s->lock. */
static struct slab_chunk *add_chunk(struct slab *s)
{
	size_t count = s->next_chunk ? s->next_chunk : FIRST_CHUNK;
	struct slab_chunk *c;
	size_t size = sizeof(*c) + count * s->size;

	c = sys_map(size);
	if (!c)
		return NULL;
	/* What a thread that ends by exit has in malloc's memory is not lost. */
	sanitize_map(c, size);
	c->count = count;
	c->next = atomic_load_explicit(&s->chunks, memory_order_relaxed);
	if (count < LARGEST_CHUNK)
		s->next_chunk = count * 2;
	/* release: whoever walks the chunks sees this one whole. */
	atomic_store_explicit(&s->chunks, c, memory_order_release);
	return c;
}

/* Under s->lock. */
static void *get(struct slab *s)
{
	struct slab_chunk *c;
	void *obj = NULL;
	size_t used;

	if (!s->free && s->nlists)
		s->free = s->lists[--s->nlists];
	if (s->free) {
		obj = s->free;
		s->free = *slab_link(s, obj);
		*slab_link(s, obj) = NULL;
		return obj;
	}
	c = atomic_load_explicit(&s->chunks, memory_order_relaxed);
	if (!c || atomic_load_explicit(&c->used, memory_order_relaxed) == c->count)
		c = add_chunk(s);
	if (c) {
		used = atomic_load_explicit(&c->used, memory_order_relaxed);
		obj = object(s, c, used);
		atomic_store_explicit(&c->used, used + 1, memory_order_release);
	}
	return obj;
}

/* Under s->lock. */
static void put(struct slab *s, void *obj)
{
	*slab_link(s, obj) = s->free;
	s->free = obj;
}

void *slab_get(struct slab *s)
{
	void *obj;

	lock(&s->lock);
	obj = get(s);
	unlock(&s->lock);
	return obj;
}

void slab_put(struct slab *s, void *obj)
{
	lock(&s->lock);
	put(s, obj);
	unlock(&s->lock);
}

static void *take(struct slab *s, struct slab_stock *stock)
{
	void *obj = stock->free;

	stock->free = *slab_link(s, obj);
	*slab_link(s, obj) = NULL;
	stock->n--;
	return obj;
}

/* Those that lived before: one that never did costs its first touch, and is had when
 * it is needed. */
void *slab_stock_get_slow(struct slab *s, struct slab_stock *stock)
{
	void *obj;

	stock->of = s;
	if (stock->full) {
		stock->free = stock->full;
		stock->full = NULL;
		stock->n = SLAB_STOCK;
		return take(s, stock);
	}
	lock(&s->lock);
	if (s->nlists) {
		stock->free = s->lists[--s->nlists];
		stock->n = SLAB_STOCK;
	}
	while (stock->n < SLAB_STOCK && s->free) {
		obj = get(s);
		*slab_link(s, obj) = stock->free;
		stock->free = obj;
		stock->n++;
	}
	obj = stock->n ? take(s, stock) : get(s);
	unlock(&s->lock);
	return obj;
}

/* Under s->lock: SLAB_STOCK of them. */
static void put_list(struct slab *s, void *list)
{
	void *next;

	if (s->nlists < SLAB_LISTS) {
		s->lists[s->nlists] = list;
		/* In this order: a fork may come at any moment. */
		atomic_thread_fence(memory_order_release);
		write_once(s->nlists, s->nlists + 1);
		return;
	}
	for (; list; list = next) {
		next = *slab_link(s, list);
		put(s, list);
	}
}

/* The first list is full: it is the other one from now on. */
void slab_stock_put_slow(struct slab *s, struct slab_stock *stock)
{
	if (stock->full) {
		lock(&s->lock);
		put_list(s, stock->full);
		unlock(&s->lock);
	}
	stock->full = stock->free;
	stock->free = NULL;
	stock->n = 0;
}

void slab_stock_end(struct slab_stock *stock)
{
	struct slab *s = stock->of;

	if (!stock->n && !stock->full)
		return;
	lock(&s->lock);
	if (stock->full)
		put_list(s, stock->full);
	stock->full = NULL;
	while (stock->n)
		put(s, take(s, stock));
	unlock(&s->lock);
}

long slab_each(struct slab *s, long (*fn)(void *, void *), void *arg)
{
	struct slab_chunk *c;
	size_t i, n;
	long r;

	c = atomic_load_explicit(&s->chunks, memory_order_acquire);
	for (; c; c = c->next) {
		n = atomic_load_explicit(&c->used, memory_order_acquire);
		for (i = 0; i < n; i++)
			if ((r = fn(object(s, c, i), arg)))
				return r;
	}
	return 0;
}
