/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/local.c - what a coroutine has of its own, by key. */
#include "coro/local.h"
#include <errno.h>
#include <stdlib.h>

static struct local *find(struct coro *me, const struct local_key *key)
{
	struct local **at, *l;

	for (at = &me->local; (l = *at); at = &l->next) {
		if (l->key != key)
			continue;
		*at = l->next;
		l->next = me->local;
		me->local = l;
		return l;
	}
	return NULL;
}

void *local_find(struct coro *me, const struct local_key *key)
{
	struct local *l = find(me, key);

	return l ? l->value : NULL;
}

int local_set(struct coro *me, const struct local_key *key, void *value)
{
	struct local *l = find(me, key);

	if (!value) {
		if (l) {	/* the first, now */
			me->local = l->next;
			free(l);
		}
		return 0;
	}
	if (!l) {
		l = malloc(sizeof(*l));
		if (!l)
			return -ENOMEM;
		l->key = key;
		l->due = false;
		l->next = me->local;
		me->local = l;
	}
	l->value = value;
	return 0;
}

/* One whose turn it is in this round; it has no value any more. */
static struct local *take_due(struct coro *me)
{
	struct local **at, *l;

	for (at = &me->local; (l = *at); at = &l->next) {
		if (!l->due)
			continue;
		*at = l->next;
		return l;
	}
	return NULL;
}

/* What a destructor sets belongs to the next round. What it looks at is still
 * there: the values of keys whose turn has not come. */
void local_end(struct coro *me)
{
	struct local *l;

	for (int round = 0; round < LOCAL_ROUNDS && me->local; round++) {
		for (l = me->local; l; l = l->next)
			l->due = true;
		while ((l = take_due(me))) {
			const struct local_key *key = l->key;
			void *value = l->value;

			/* It may not come back: whoever begins anew finds the
			 * next. */
			free(l);
			if (key->destroy)
				key->destroy(value);
		}
	}
	while ((l = me->local)) {
		me->local = l->next;
		free(l);
	}
}

int local_each(struct coro *me,
	       void (*fn)(const struct local_key *, void *value, void *arg),
	       void *arg)
{
	struct local *all;
	size_t n = 0, i = 0;

	for (struct local *l = me->local; l; l = l->next)
		n++;
	if (n == 0)
		return 0;
	all = malloc(n * sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (struct local *l = me->local; l; l = l->next)
		all[i++] = *l;
	for (i = 0; i < n; i++)
		fn(all[i].key, all[i].value, arg);
	free(all);
	return 0;
}
