/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* coro/local.h - what a coroutine has of its own, by key.
 *
 * __thread already is the coroutine's own; this is for what needs an initial
 * value, a destructor, or is handed on to those that it makes. A key is an
 * address, of a struct local_key that is never freed while anybody has a value
 * under it, and nothing needs to be created or given back. Values are in a list:
 * there are few, and the one asked for last is first. Adopted kernel threads have
 * them too. All calls are the owner's. */
#ifndef COGO_CORO_LOCAL_H
#define COGO_CORO_LOCAL_H

#include "coro/coro.h"

struct local_key {
	/* At the coroutine's end, for each value that is not NULL; or NULL. */
	void (*destroy)(void *value);
	/* For those who make and hand on values, above; or NULL. */
	void *(*init)(void);
	void *(*inherit)(void *value);
};

struct local {
	struct local *next;
	const struct local_key *key;
	void *value;
	bool due;		/* to be destroyed in this round of the end */
};

/* The value; NULL if there is none. */
void *local_find(struct coro *me, const struct local_key *key);
static inline void *local_get(struct coro *me, const struct local_key *key)
{
	struct local *first = me->local;

	return likely(first && first->key == key) ? first->value :
						    local_find(me, key);
}

/* 0, or -ENOMEM. NULL takes the value away. Calls malloc. */
int local_set(struct coro *me, const struct local_key *key, void *value);

/* The destructors, until none has left a value, but LOCAL_ROUNDS times at most.
 * Outside the runtime: they are the program's code. */
#define LOCAL_ROUNDS 4
void local_end(struct coro *me);

/* A kernel thread of the program's is not ended by us: libc tells us, once it has
 * been asked to. Then the destructors run, `last` is called, if given at any time,
 * and the thread is known to the runtime no more. main's values go with the
 * process. 0, or -ENOMEM; idempotent. Calls malloc. */
int local_watch_thread(struct coro *me, void (*last)(struct coro *me));

/* Each key and value, for one who hands some on. */
void local_each(struct coro *me,
		void (*fn)(const struct local_key *, void *value, void *arg),
		void *arg);

#endif
