/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/once.c - pthread_once, in glibc's encoding.
 *
 * Should fn be left by an exception, a cancellation or pthread_exit, it is as if
 * it had not been called: the next caller tries. The frame that sees to that
 * is unwound like any other, which is why hook/ is compiled with exceptions. */
#include "hook/thread/once.h"
#include "hook/real.h"
#include "hook/thread/locks.h"
#include "sync/once.h"

struct attempt {
	struct once *once;
	bool done;
};

static void end_attempt(struct attempt *a)
{
	struct coro *me = locks_door();

	once_end(a->once, a->done);
	door_leave(me);
}

static void attempt(struct once *o, void (*fn)(void))
{
	struct attempt a __attribute__((cleanup(end_attempt))) = { o, false };

	fn();
	a.done = true;
}

void once_run(pthread_once_t *o, void (*fn)(void))
{
	struct once *word = (struct once *)o;
	struct coro *me;
	int r;

	if (likely(once_done(word)))
		return;
	me = locks_door();
	while ((r = once_begin(word)) < 0)
		locks_interrupted(me);
	door_leave(me);
	if (r)
		attempt(word, fn);
}

HOOKED int pthread_once(pthread_once_t *o, void (*fn)(void))
{
	if (!locks_ours())
		return REAL(pthread_once)(o, fn);
	once_run(o, fn);
	return 0;
}
ALIAS(__pthread_once, pthread_once);
