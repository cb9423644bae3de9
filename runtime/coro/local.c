/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/local.c - what a coroutine has of its own, by key. */
#include "coro/local.h"
#include <errno.h>
#include <stdlib.h>

struct local {
	struct local *next;
	const struct local_key *key;
	void *value;
};

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

void *local_get(struct coro *me, const struct local_key *key)
{
	struct local *l = me->local;

	if (likely(l && l->key == key))
		return l->value;
	l = l ? find(me, key) : NULL;
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
		l->next = me->local;
		me->local = l;
	}
	l->value = value;
	return 0;
}

/* From the front of a list, freed: its key and value. */
static const struct local_key *pop(struct local **list, void **ret_value)
{
	struct local *l = *list;
	const struct local_key *key = l->key;

	*ret_value = l->value;
	*list = l->next;
	free(l);
	return key;
}

void local_end(struct coro *me)
{
	const struct local_key *key;
	void *value;

	for (int round = 0; round < LOCAL_ROUNDS; round++) {
		/* What the destructors set belongs to the next round. */
		if (!me->leaving) {
			me->leaving = me->local;
			me->local = NULL;
		}
		while (me->leaving) {
			key = pop(&me->leaving, &value);
			if (key->destroy)
				key->destroy(value);
		}
	}
	while (me->local)
		pop(&me->local, &value);
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
