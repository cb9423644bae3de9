/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/held.c - which mutexes somebody holds: when the list has to grow. */
#include "sync/held.h"
#include <stdlib.h>
#include <string.h>

static struct held *begin(struct coro *me)
{
	struct held *h = malloc(sizeof(*h));

	if (!h)
		return NULL;
	h->at = h->first;
	h->n = 0;
	h->room = HELD_FIRST;
	h->lost = false;
	if (local_set(me, &held_key, h) == 0) {
		me->held = h;
		return h;
	}
	free(h);
	return NULL;
}

static bool grow(struct held *h)
{
	uint32_t room = h->room * 4;
	struct cogo_mutex **at = malloc(room * sizeof(*at));

	if (!at)
		return false;
	memcpy(at, h->at, h->n * sizeof(*at));
	if (h->at != h->first)
		free(h->at);
	h->at = at;
	h->room = room;
	return true;
}

void held_add_slow(struct coro *me, struct cogo_mutex *m)
{
	struct held *h = me->held ? me->held : begin(me);

	if (!h)
		return;
	if (h->n == h->room && !grow(h))
		h->lost = true;
	else
		h->at[h->n++] = m;
}

void held_free(struct held *h)
{
	if (h->at != h->first)
		free(h->at);
	free(h);
}
