/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/scope.h - coroutines that do not outlive the block they were made in.
 *
 *	static int fetch(void *url);	// 0, or a negative errno
 *
 *	int fetch_all(char **urls, int n)
 *	{
 *		struct cogo_scope s = COGO_SCOPE;
 *
 *		cogo_scope_begin(&s);
 *		cogo_scope_limit(&s, 8);
 *		for (int i = 0; i < n; i++)
 *			cogo_scope_go(&s, NULL, fetch, urls[i]);
 *		return cogo_scope_end(&s);
 *	}
 *
 * Children may use what is on their maker's stack: cogo_scope_end returns when the
 * last of them has ended, and not before, whatever happens to the caller. The
 * first child that fails, by what it returns or by a panic, has its siblings
 * cancelled, and is what the scope reports. A caller that is cancelled has its
 * children cancelled; it waits for them all the same.
 *
 * A scope is used by the coroutine or thread that began it, and by its children,
 * which may make more of them. */
#ifndef COGO_SCOPE_H
#define COGO_SCOPE_H

#include "cogo/go.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A scope, which is zeroed, or COGO_SCOPE, before it is begun. */
struct cogo_scope {
	struct cogo_deferred leave_;
	uint64_t private_[16];
};
#define COGO_SCOPE { { 0, 0, 0, 0, 0 }, { 0 } }

/* On zeroed memory. From here on the scope is ended however its block is left, by a
 * panic or a cancellation too; on the way out of the function by return, goto or
 * break that is the caller's to do, or the business of the macro below. */
COGO_API void cogo_scope_begin(struct cogo_scope *s);

/* Makes a child that runs fn(arg). What fn returns is 0, or a failure: a negative
 * errno. attr as for cogo_go. 0, or what cogo_go returns, and -ECANCELED when the
 * scope has failed or been cancelled, or the caller has. A child that cannot be made
 * is a failure of the scope, so nothing is lost on those who do not look here. Parks
 * where there is a limit and it is reached. */
COGO_API int cogo_scope_go(struct cogo_scope *s, const struct cogo_attr *attr,
			   int (*fn)(void *), void *arg);
/* The same, but -EAGAIN at the limit; does not park. */
COGO_API int cogo_scope_try_go(struct cogo_scope *s, const struct cogo_attr *attr,
			       int (*fn)(void *), void *arg);

/* At most so many children at a time; 0, as at the beginning: any number. */
COGO_API void cogo_scope_limit(struct cogo_scope *s, unsigned most);

/* Its children are helpers that go on until nobody needs them: cogo_scope_end
 * cancels them, instead of waiting until they have done what they came for. */
COGO_API void cogo_scope_manage(struct cogo_scope *s);

/* Asks every child to end, for that reason, which should be above 0; those that are
 * made from now on are refused. Never parks; the owner, a child, anybody while the scope lasts. */
COGO_API void cogo_scope_cancel(struct cogo_scope *s, int reason);

/* How many children there are at this moment. */
COGO_API unsigned cogo_scope_children(struct cogo_scope *s);

/* Waits until there are none, the scope going on: 0, however they ended (that is told
 * by cogo_scope_end); -ETIMEDOUT, -ECANCELED, -ENOMEM on a thread's first call ever.
 * The owner. Parks. */
COGO_API int cogo_scope_wait(struct cogo_scope *s, cogo_time deadline);

/* Waits until there are none, though the caller be cancelled. 0; the first
 * failure; -ECHILD if that was a panic, of which cogo_scope_message tells; or the
 * negative of the reason, if the scope was cancelled before any child had failed.
 * The memory is the caller's again. Parks. */
COGO_API int cogo_scope_end(struct cogo_scope *s);

/* The message of the panic that was the first failure, its first 71 bytes; "" if it
 * was none. Good until the memory of s goes, or is begun again. */
COGO_API const char *cogo_scope_message(const struct cogo_scope *s);

/* A block that is a scope:
 *
 *	int result;
 *
 *	cogo_scope(s, &result) {
 *		cogo_scope_go(s, NULL, fetch, "http://www.debian.org/");
 *		...
 *	}
 *
 * s is a pointer; result, which may be NULL, gets what cogo_scope_end returns.
 * The block may be left in any way. It is left, and what is declared in it is gone,
 * before the children are waited for: what they use is declared before it. */
#define cogo_scope(s, result)						\
	for (struct cogo_scope_block COGO_NAME_(cogo_block_, __LINE__)	\
		     __attribute__((cleanup(cogo_scope_block_end))) =	\
		     { COGO_SCOPE, (result), 0 };			\
	     !COGO_NAME_(cogo_block_, __LINE__).done;)			\
		for (struct cogo_scope *s = cogo_scope_block_begin(	\
			     &COGO_NAME_(cogo_block_, __LINE__));	\
		     s; s = 0)

/* What cogo_scope is made of: what its block begins and, however it is left, ends
 * with. */
struct cogo_scope_block {
	struct cogo_scope scope;
	int *result;
	int done;
};
/* Never NULL, so that a compiler knows that the block is run. */
COGO_API struct cogo_scope *cogo_scope_block_begin(struct cogo_scope_block *b)
	__attribute__((returns_nonnull));
COGO_API void cogo_scope_block_end(struct cogo_scope_block *b);

#ifdef __cplusplus
}
#endif

#endif
