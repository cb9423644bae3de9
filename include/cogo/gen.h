/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/gen.h - generators: functions that give one value after another.
 *
 * A generator is a function on a stack of its own. Whoever asks it for its next
 * value runs it, on the spot and on its own account, up to the next yield, as if
 * it were called; then it stands still there, with all its variables, until it
 * is asked again.
 *
 *	static void count(struct cogo_gen *g, void *arg)
 *	{
 *		for (int i = 0; i < *(int *)arg; i++)
 *			if (cogo_gen_yield(g, &i))
 *				return;		// nobody wants more
 *	}
 *
 *	struct cogo_gen *g;
 *	int n = 10;
 *
 *	if (cogo_gen_new(&g, 0, count, &n) == 0) {
 *		cogo_gen_each (int, i, g)
 *			printf("%d\n", i);
 *		cogo_gen_free(g);
 *	}
 *
 * No other thread and no scheduler has a part in it, and nothing else has to be
 * started: a generator serves in a plain program as it does in a coroutine. In a
 * coroutine it may wait, for a descriptor, a lock or a channel: then the
 * coroutine waits that has asked it, and goes on inside it, on whatever kernel
 * thread. errno and thread-local variables are those of whoever asks. (One that
 * is asked first by one thread and then by another finds the other's after its
 * yield; what it remembers across the yield must not be an address of those.)
 *
 * What ends the asker ends the generator that it is in, and the other way round:
 * the end of a coroutine that is cancelled or panics inside a generator runs that
 * one's cleanups and then the asker's; a C++ exception that the generator does
 * not catch comes out of the call that asked.
 *
 * A generator is one asker's at a time. Any other that asks meanwhile is told
 * -EBUSY, and so is the generator itself. */
#ifndef COGO_GEN_H
#define COGO_GEN_H

#include "cogo/api.h"
#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cogo_gen;

/* Makes a generator that will run fn(g, arg) when it is first asked, on a stack
 * of stack_size bytes (0: 256 KiB; only what is touched becomes memory). *ret_gen
 * is the caller's, to be freed with cogo_gen_free. 0; -EINVAL without fn or for a
 * size beyond 1 GiB; -ENOMEM, or -EAGAIN at the kernel's limit of mappings. Never
 * parks; any thread, not a signal handler. */
COGO_API int cogo_gen_new(struct cogo_gen **ret_gen, size_t stack_size,
			  void (*fn)(struct cogo_gen *g, void *arg), void *arg);

/* Runs g until it yields, and gives it `sent` for an answer to the yield that it
 * stands at (at its first run nothing stands there, and it is lost). 1 when it
 * has yielded: *ret_value is what it has given, good until it is run again. 0
 * when it has ended, now or before. -EBUSY while somebody runs it. -EINVAL when g
 * is none. -ECANCELED when it has called cogo_exit or pthread_exit and the caller is
 * a plain kernel thread, which goes on. -ENOMEM when there is no memory to know the
 * caller by. Parks when g does. Does not return where the end of g is the
 * caller's. */
COGO_API int cogo_gen_resume(struct cogo_gen *g, const void *sent,
			     void **ret_value);

/* The same for values of a type: copies the next into *ret, of the type that g
 * yields pointers to, or zeroes where it has yielded NULL.
 *
 *	int cogo_gen_next(struct cogo_gen *g, TYPE *ret) */
#define cogo_gen_next(g, ret) cogo_gen_next_((g), NULL, (ret), sizeof(*(ret)))

/* The same with an answer: `what` is good until g is run again.
 *
 *	int cogo_gen_send(struct cogo_gen *g, const void *what, TYPE *ret) */
#define cogo_gen_send(g, what, ret) \
	cogo_gen_next_((g), (what), (ret), sizeof(*(ret)))

/* For each value that is left: `name`, of that type, is a variable of the loop's.
 * The loop also ends where g cannot be run. After a break the generator stands
 * where it was. */
#define cogo_gen_each(type, name, g) \
	for (type name; cogo_gen_next((g), &name) == 1;)

/* In a generator: gives `value`, a pointer that must stay good until the generator
 * goes on, and waits to be asked for the next. 0 when it is asked, and what came
 * with the question is cogo_gen_sent(g). -ECANCELED when no more is wanted
 * (cogo_gen_cancel): now is the time to tidy up and return; to yield once more is
 * to be unwound, and while one is unwound is -ECANCELED again. -EINVAL outside of
 * g, that is, from another stack than its own. */
COGO_API int cogo_gen_yield(struct cogo_gen *g, const void *value);

/* In a generator: what came with the question that ended its last yield, or NULL.
 * Good until it yields again. */
COGO_API void *cogo_gen_sent(const struct cogo_gen *g);

/* In a generator: yields all that `inner` does, in its place, hands down to it
 * what is sent, and frees it, even where g is cancelled or unwound meanwhile.
 * 0 when inner has ended; as cogo_gen_yield when g is to end; -EBUSY or -EINVAL when
 * inner cannot be run. Costs one switch there and back for every level. */
COGO_API int cogo_gen_from(struct cogo_gen *g, struct cogo_gen *inner);

/* Says that no more is wanted: the yield that g stands at says so, and it runs until
 * its end. One that never ran never will. 0 once it has ended, also if it had
 * before; else an error as cogo_gen_resume, but never -ECANCELED. Parks when g
 * does. */
COGO_API int cogo_gen_cancel(struct cogo_gen *g);

/* Ends g and gives back its stack. If it stands at a yield it is unwound from
 * there: its cleanups (cogo_defer, pthread_cleanup_push, C++ destructors) run,
 * here and now, and may park. 0, and g is gone; or it is not: -EBUSY while somebody
 * runs it, -EINVAL when g is none (but NULL is 0), -ENOMEM when there is no memory to
 * know the caller by. */
COGO_API int cogo_gen_free(struct cogo_gen *g);

/* The step of cogo_gen_next and cogo_gen_send. */
static inline int cogo_gen_next_(struct cogo_gen *g, const void *sent, void *ret,
				 size_t size)
{
	void *value = NULL;
	int r = cogo_gen_resume(g, sent, &value);

	if (r == 1 && value)
		memcpy(ret, value, size);
	else if (r == 1)
		memset(ret, 0, size);
	return r;
}

#ifdef __cplusplus
}
#endif

#endif
