/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/held.h - which mutexes somebody holds.
 *
 * Each coroutine, and each thread, that ever locked one has a list, until its
 * end: what is on it then was not let go of. A list costs one small allocation in
 * the life of its owner, and another when more than HELD_FIRST are held at once.
 * All calls are the owner's, inside the runtime. */
#ifndef COGO_SYNC_HELD_H
#define COGO_SYNC_HELD_H

#include "cogo/sync.h"
#include "coro/local.h"

#define HELD_FIRST 5

struct held {
	struct cogo_mutex **at;		/* `first`, or room for more */
	uint32_t n, room;
	bool lost;			/* for want of memory, one at some time */
	struct cogo_mutex *first[HELD_FIRST];
};

/* Under it the list is noted down once more, for its destructor, which is the
 * mutex's. */
extern const struct local_key held_key;

/* More than there is room for; or the first. */
COLD void held_add_slow(struct coro *me, struct cogo_mutex *m);

static inline bool held_has_room(const struct held *h)
{
	return likely(h && h->n < h->room);
}

/* Without memory it is not noted down. */
static inline void held_add(struct coro *me, struct cogo_mutex *m)
{
	struct held *h = me->held;

	if (held_has_room(h))
		h->at[h->n++] = m;
	else
		held_add_slow(me, m);
}

/* Where m is on the list, from 1; 0: nowhere. */
static inline uint32_t held_find(const struct held *h, const struct cogo_mutex *m)
{
	uint32_t i = h->n;

	while (i && h->at[i - 1] != m)
		i--;
	return i;
}

/* Whether it is there, or may not have been noted down. */
static inline bool held_has(const struct held *h, const struct cogo_mutex *m)
{
	return !h || h->lost || held_find(h, m);
}

/* Whether it is the last one that was put there. */
static inline bool held_last(const struct held *h, const struct cogo_mutex *m)
{
	return likely(h && h->n && h->at[h->n - 1] == m);
}

/* Takes it off. False as above. */
static inline bool held_remove(struct held *h, const struct cogo_mutex *m)
{
	uint32_t i;

	if (held_last(h, m)) {
		h->n--;
		return true;
	}
	i = h ? held_find(h, m) : 0;
	if (!i)
		return !h || h->lost;
	h->at[i - 1] = h->at[--h->n];
	return true;
}

/* At its owner's end. */
void held_free(struct held *h);

#endif
