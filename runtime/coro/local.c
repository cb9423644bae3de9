/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/local.c - what a coroutine has of its own, by key. */
#include "coro/local.h"
#include "base/sys.h"
#include "coro/self.h"
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

/* libc's own list of what is to be done at a thread's end, C++'s thread_local
 * objects above all. */
int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle __attribute__((visibility("hidden")));

static void thread_ends(void *arg)
{
	struct coro *me = arg;

	local_end(me);
	if (me->last)
		me->last(me);
	if (self() == me)
		coro_put_thread(me);
}

int local_watch_thread(struct coro *me, void (*last)(struct coro *me))
{
	if (last)
		me->last = last;
	if (me->watched || me->kind != CORO_KIND_THREAD || me->tid == sys_getpid())
		return 0;
	me->watched = __cxa_thread_atexit_impl(thread_ends, me,
					       &__dso_handle) == 0;
	return me->watched ? 0 : -ENOMEM;
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
		if (local_watch_thread(me, NULL))
			return -ENOMEM;
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
			if (l->key->destroy)
				l->key->destroy(l->value);
			free(l);
		}
	}
	while ((l = me->local)) {
		me->local = l->next;
		free(l);
	}
}

void local_each(struct coro *me,
		void (*fn)(const struct local_key *, void *value, void *arg),
		void *arg)
{
	for (struct local *l = me->local; l; l = l->next)
		fn(l->key, l->value, arg);
}
