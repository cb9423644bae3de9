/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/go.h - coroutines: making them, waiting for them, ending them.
 *
 *	static void greet(void *name)
 *	{
 *		cogo_sleep(COGO_SEC);
 *		printf("hello, %s\n", (char *)name);
 *	}
 *
 *	struct cogo_coro *c;
 *
 *	cogo_go(&c, NULL, greet, "world");
 *	cogo_join(c);
 *
 * A coroutine is to C what a thread is: a stack, errno and every thread-local
 * variable of its own, and any function may be called on it. It costs what a
 * goroutine does. What would block a thread (read, accept, sleep, connect,
 * pthread_mutex_lock, a database library …) blocks the coroutine that calls it,
 * and no kernel thread.
 *
 * The runtime starts with the first coroutine. Functions here may be called by
 * coroutines and by ordinary threads alike, unless they say otherwise; where they
 * say that a call parks, an ordinary thread sleeps in it. None may be called in a
 * signal handler, unless it says so. Those that can fail return 0, or a count, or
 * a negative errno; errno itself is left alone. */
#ifndef COGO_GO_PUBLIC_H
#define COGO_GO_PUBLIC_H

#include "cogo/api.h"
#include "cogo/time.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A coroutine, as others know it. It is held by references: cogo_go gives the
 * first one away, cogo_ref makes more, and each is given back by cogo_drop or
 * cogo_join. It may be kept for as long as one likes, long after the coroutine's
 * end, and costs a few hundred bytes then. */
struct cogo_coro;

/* Zeroed memory is every default. */
struct cogo_attr {
	const char *name;	/* the first 15 bytes are kept; NULL: the maker's */
	size_t stack;		/* bytes; 0: COGO_STACK, or else 256 KiB */
	unsigned flags;
};

/* It has its worker's thread-local storage, not its own: made in a tenth of the
 * time, but errno and all other thread-local variables may change under it
 * whenever it waits. For great numbers of small tasks that call no library. */
#define COGO_SHARED_TLS	1u
/* It takes the place of the coroutine that makes it, at once; the maker goes on
 * when the new one first waits or has ended, or, if that takes long, on another
 * worker that has nothing to do. Made by a thread, or by one with COGO_BOUND, it is
 * queued as any. */
#define COGO_RUN_FIRST	2u
/* It keeps a kernel thread of its own, for what the kernel counts by thread. */
#define COGO_BOUND	4u
/* Once cancelled it is unwound at the next call that may wait, instead of being
 * told: see cogo_cancel. */
#define COGO_UNWINDS	8u
/* It is given a copy of its maker's values under every inherited key. */
#define COGO_INHERITS	16u

/* Makes a coroutine that runs fn(arg) and ends when fn returns. ret, if not NULL,
 * gets a reference to it; without one it is on its own, and nobody need wait for
 * it. attr may be NULL. 0; -ENOMEM; -EAGAIN when the system allows no more
 * stacks or, for the first, no thread; -EINVAL for a stack below 16 KiB or above
 * 1 GiB, or a flag that does not exist. Does not park, but with COGO_RUN_FIRST; a
 * coroutine that makes many lets others run once in 64, as by cogo_yield. */
COGO_API int cogo_go(struct cogo_coro **ret, const struct cogo_attr *attr,
		     void (*fn)(void *), void *arg);

/* Lets others run first. 0; -ECANCELED; -ENOMEM on a thread's first call ever. On
 * an ordinary thread, sched_yield. */
COGO_API int cogo_yield(void);

/* Ends the coroutine that calls, from any depth: its cleanups run, and it counts
 * as having returned. An ordinary thread ends as by pthread_exit; in a generator, the
 * generator alone does (cogo/gen.h). */
COGO_API void cogo_exit(void) __attribute__((noreturn));

/* ---- references ---- */

/* The caller's own, a thread's too; NULL without memory. It is lent: good for as
 * long as the caller lives. */
COGO_API struct cogo_coro *cogo_self(void);
/* One more reference: c. */
COGO_API struct cogo_coro *cogo_ref(struct cogo_coro *c);
/* One less. NULL is nobody. A coroutine goes on without any: this is how to say
 * that nobody will wait for it. */
COGO_API void cogo_drop(struct cogo_coro *c);

/* Whether the caller runs on a coroutine. */
COGO_API bool cogo_is_coroutine(void);

/* From 1, never given twice in a process. */
COGO_API uint64_t cogo_id(const struct cogo_coro *c);
/* "" if it has none. Good for as long as the reference. */
COGO_API const char *cogo_name(const struct cogo_coro *c);
/* Names the caller; the first 15 bytes are kept. */
COGO_API void cogo_set_name(const char *name);

/* What it is doing. */
enum cogo_state { COGO_READY, COGO_RUNNING, COGO_PARKED, COGO_ENDED };
/* True a moment ago, but for COGO_ENDED, which stays true. */
COGO_API enum cogo_state cogo_state(struct cogo_coro *c);

/* ---- the end ----
 *
 * In the child of a fork there is the one that forked, and nobody else: all others
 * have stayed behind, in the parent, where they go on. A handle of theirs counts as
 * ended, without anything to tell; nobody waits for them, and a scope has them no
 * more. */

/* How it ended. */
enum cogo_how {
	COGO_RETURNED,	/* from its function, or by cogo_exit */
	COGO_PANICKED,
	COGO_CANCELED,	/* it was unwound by a cancellation */
};

/* Waits for its end: 0 once it has ended; -ETIMEDOUT; -ECANCELED when the caller
 * is; -EDEADLK for the caller itself; -ESRCH for one that has stayed behind (see
 * above); -ENOMEM on a thread's first call ever. Any number may wait for one. The
 * reference stays. Parks. */
COGO_API int cogo_wait(struct cogo_coro *c, cogo_time deadline);

/* Waits for its end, for as long as that takes and though the caller be
 * cancelled meanwhile, and gives the reference back: how it ended. Or -EDEADLK for the
 * caller itself, -ESRCH for one that has stayed behind; then the reference stays.
 * Parks. */
COGO_API int cogo_join(struct cogo_coro *c);

/* Of one that has ended; before that, COGO_RETURNED, "" and 0. The texts are good
 * for as long as the reference. */
COGO_API enum cogo_how cogo_how(struct cogo_coro *c);
COGO_API const char *cogo_panic_message(struct cogo_coro *c);
/* Where it panicked: a line for each frame. */
COGO_API const char *cogo_panic_trace(struct cogo_coro *c);
/* What cogo_cancel was called with, once it has been; 0 before. */
COGO_API int cogo_cancel_reason(struct cogo_coro *c);

/* ---- park and unpark ----
 *
 * The smallest thing that can be waited for. */

/* Waits until somebody has called cogo_unpark for the caller, since it last
 * returned 0 from here (an error uses nothing up): then 0, at once if that has been
 * already. Or -ETIMEDOUT,
 * -ECANCELED, or -ENOMEM where a thread parks for the first time. Any number of
 * unparks before a park are one. Parks. */
COGO_API int cogo_park(cogo_time deadline);
/* Never parks. What the caller has written before, the one it wakes sees. */
COGO_API void cogo_unpark(struct cogo_coro *c);

/* ---- cancellation ----
 *
 * Asking a coroutine to end is a wish that stays: from then on each call of this
 * library that may wait returns -ECANCELED to it, at once, also where it would
 * not have had to wait. In the calls of the C library, what would have to wait
 * fails with ECANCELED instead, and what would not is done: so a last message can
 * still be sent. A disk is not waited for in that sense: files are read, written
 * and synced as ever. Locks (cogo_mutex_lock, pthread_mutex_lock and their kin,
 * sem_wait) are waited for as ever, and so are pthread_cond_wait and
 * pthread_join, which have no way to say it.
 *
 * One that was made with COGO_UNWINDS is unwound instead, at those same points:
 * what cogo_defer, pthread_cleanup_push and C++ destructors have to do is done,
 * and it ends as COGO_CANCELED. So are threads that became coroutines. */

/* Asks c to end; the first reason given counts, and should be above 0. One that has
 * not begun yet begins all the same, and is told at its first wait. 0, or
 * -EALREADY if it had been asked, or -ESRCH if it has ended. Asking an ordinary
 * thread is -ENOTSUP. Never parks. */
COGO_API int cogo_cancel(struct cogo_coro *c, int reason);

/* Whether the caller has been asked, and whether or not it lets itself be told. */
COGO_API bool cogo_canceled(void);

/* Ends the caller, by unwinding, if it has been asked to end. */
COGO_API void cogo_testcancel(void);

/* From here on the caller does not want to hear of it: waits are as if nobody had
 * asked. For what must be finished. Returns what cogo_cancel_restore is to be
 * given when it is; so pairs of them nest. */
COGO_API int cogo_cancel_disable(void);
COGO_API void cogo_cancel_restore(int before);

/* ---- cleanup ----
 *
 *	static void close_file(void *f)
 *	{
 *		fclose(f);
 *	}
 *
 *	int count_lines(const char *path)
 *	{
 *		FILE *f = fopen(path, "r");
 *		int n = 0;
 *
 *		if (f == NULL)
 *			return -errno;
 *		cogo_defer(close_file, f);
 *		for (int c; (c = getc(f)) != EOF;)
 *			n += c == '\n';
 *		return n;
 *	} */

/* Calls fn(arg) when the enclosing block is left, in whatever way: at its end, by
 * break, goto or return, by cogo_exit, a panic or a cancellation. Last in, first
 * out. Not by longjmp. In a block of a coroutine or a thread. On the way out it is
 * not told of a cancellation; at the end of its block it is, as any code.
 *
 *	void cogo_defer(void (*fn)(void *), void *arg) */
#define cogo_defer(fn, arg)						\
	struct cogo_deferred COGO_NAME_(cogo_deferred_, __LINE__)	\
		__attribute__((cleanup(cogo_defer_end))) =		\
		{ 0, (fn), (arg), 0, 0 };				\
	cogo_defer_begin(&COGO_NAME_(cogo_deferred_, __LINE__))

/* What cogo_defer is made of: a link of the caller's chain of cleanups, which is
 * put there and, when its block is left, called and taken out. */
#define COGO_NAME_(a, b) COGO_NAME2_(a, b)
#define COGO_NAME2_(a, b) a##b
struct cogo_deferred {
	void *over_;
	void (*fn)(void *);
	void *arg;
	int list_;
	void *prev_;
};
COGO_API void cogo_defer_begin(struct cogo_deferred *d);
COGO_API void cogo_defer_end(struct cogo_deferred *d);

/* ---- panics ----
 *
 * A panic ends the coroutine that it happens in, and nothing else: its cleanups
 * run, the mutexes it holds are passed on marked (see cogo/sync.h), and whoever
 * waits for its end learns of it. If nobody does, it is said on stderr. */

/* Ends the caller with a message, as for printf, of which the first 255 bytes are
 * kept. On an ordinary thread, outside cogo_recover: says so and ends the
 * process with SIGABRT. */
COGO_API void cogo_panic(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/* What a panic has left. */
struct cogo_panic {
	char message[256];
};

/* Calls fn(arg). 0 when it returns; 1 when it panicked: it has been unwound up to
 * here, and the caller goes on. ret, if not NULL, gets the message. Cancellations
 * and cogo_exit go on through. */
COGO_API int cogo_recover(void (*fn)(void *), void *arg, struct cogo_panic *ret);

/* Faults: SIGSEGV, SIGBUS, SIGFPE and SIGILL that the coroutine's own code has
 * caused, its stack's overflow, and abort (so a failed assert, too) become panics
 * of that coroutine, if its process or itself has asked for that and the program
 * has no handler of its own. What the coroutine was in the middle of is left as
 * it was, in the C library too: a last resort for servers. Otherwise the program
 * ends as any other, with a report. This is for the caller, and for those that it
 * makes from now on. */
COGO_API void cogo_contain_faults(bool on);
/* The same for all that are made from now on, by whomever. */
COGO_API void cogo_contain_all_faults(bool on);

/* ---- local storage ----
 *
 * __thread variables already are the coroutine's own. Keys are for values that
 * have a destructor or an initial value, or that are handed on. A key is memory
 * that stays, most often static. An ordinary thread has values too. */

/* What becomes of the values: zeroed memory is a key whose values are only kept. */
struct cogo_key {
	/* At the end of whoever has the value, if it is not NULL; or NULL. */
	void (*destroy)(void *value);
	/* What cogo_local_get finds where nothing was set: made once for each; or
	 * NULL. */
	void *(*init)(void);
	/* What a new coroutine with COGO_INHERITS is given of its maker's value;
	 * NULL: nothing. May return the same, if destroy allows for that. */
	void *(*inherit)(void *value);
};

/* The caller's value, NULL if there is none and no init, or no memory. */
COGO_API void *cogo_local_get(const struct cogo_key *key);
/* 0, or -ENOMEM. What was set before is not destroyed. */
COGO_API int cogo_local_set(const struct cogo_key *key, void *value);

/* ---- the runtime ---- */

/* Starts it and runs main as the first coroutine; returns when that has ended, with
 * what it returned, or COGO_PANICKED or COGO_CANCELED + 128; a panic is said on
 * stderr. -ENOMEM or -EAGAIN if it cannot be started. For programs whose main shall
 * be a coroutine; others need not call this. Not on a coroutine: -EBUSY. */
COGO_API int cogo_run(int (*main)(int, char **), int argc, char **argv);

/* Ends it: every kernel thread it has made is gone when this returns, and its
 * memory is the system's again, but for a page or two for each coroutine that was
 * alive at the same time as others. The next cogo_go starts it anew. Waits until no
 * coroutine is left: 0, or -ETIMEDOUT. -EDEADLK on a coroutine, -EPERM in a program
 * whose threads are coroutines (cogo-run). While it stops, no thread may call
 * anything of this library, but the coroutines that it waits for. */
COGO_API int cogo_stop(cogo_time deadline);

#ifdef __cplusplus
}
#endif

#endif
