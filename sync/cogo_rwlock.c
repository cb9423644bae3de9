/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_rwlock.c - cogo_rwlock: sync/rwlock.c, fair to both sides.
 *
 * Readers wait behind a waiting writer, as in a lock where writers come first;
 * but a writer that goes lets in those who wait, as in one where readers do. So
 * while both keep coming they take turns: one writer, a crowd of readers, one
 * writer. The word allows for that: only the writer that goes asks which kind of
 * lock it is.
 *
 * `writer` is written by the writer while it is in, and nobody else: who finds
 * itself there put itself there. (Or another did, four billion coroutines ago,
 * and is still in.) */
#include "sync/rwlock.h"
#include "cogo/sync.h"
#include "fault/cancel.h"
#include "sync/sure.h"

/* Who comes, and who goes. */
#define COMES true
#define GOES false

static inline struct rwlock *word_of(struct cogo_rwlock *l)
{
	return (struct rwlock *)&l->word;
}

static inline _Atomic uint32_t *writer_of(struct cogo_rwlock *l)
{
	return (_Atomic uint32_t *)&l->writer;
}

/* relaxed: see above. */
static inline bool i_write(struct coro *me, struct cogo_rwlock *l)
{
	return atomic_load_explicit(writer_of(l), memory_order_relaxed) ==
	       sure_id(me);
}

static inline int write_try(struct coro *me, struct cogo_rwlock *l)
{
	int r = rwlock_try_write(word_of(l));

	if (likely(r == 0))
		atomic_store_explicit(writer_of(l), sure_id(me),
				      memory_order_relaxed);
	return r;
}

static int wait_once(struct coro *me, struct cogo_rwlock *l, bool write,
		     cogo_time deadline, uint32_t *since)
{
	int r = write ? rwlock_write(word_of(l), COMES, deadline, since) :
			rwlock_read(word_of(l), COMES, deadline, since);

	if (r == 0 && write)
		atomic_store_explicit(writer_of(l), sure_id(me),
				      memory_order_relaxed);
	return r;
}

static NOINLINE int wait_for(struct coro *me, struct cogo_rwlock *l, bool write)
{
	uint32_t since = 0;
	int r;

	if (i_write(me, l))
		return -EDEADLK;
	while ((r = wait_once(me, l, write, COGO_FOREVER, &since)) == -EINTR ||
	       r == -ECANCELED)
		sure_interrupted(me);
	return r;
}

static int wait_until(struct coro *me, struct cogo_rwlock *l, bool write,
		      cogo_time deadline)
{
	uint32_t since = 0;
	int r;

	if (i_write(me, l))
		return -EDEADLK;
	do {
		r = wait_once(me, l, write, deadline, &since);
		if (r == 0)
			return 0;
		r = cancel_interrupted(me, r);
	} while (r == 0);
	return r;
}

int cogo_rwlock_read_lock(struct cogo_rwlock *l)
{
	struct coro *me = sure_in();
	int r = rwlock_try_read(word_of(l), COMES);

	if (unlikely(r == -EBUSY))
		r = wait_for(me, l, false);
	door_leave(me);
	return r;
}

int cogo_rwlock_write_lock(struct cogo_rwlock *l)
{
	struct coro *me = sure_in();
	int r = write_try(me, l);

	if (unlikely(r))
		r = wait_for(me, l, true);
	door_leave(me);
	return r;
}

int cogo_rwlock_read_lock_until(struct cogo_rwlock *l, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0)
		r = rwlock_try_read(word_of(l), COMES);
	if (r == -EBUSY)
		r = wait_until(me, l, false, deadline);
	return cancel_out(me, r);
}

int cogo_rwlock_write_lock_until(struct cogo_rwlock *l, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0)
		r = write_try(me, l);
	if (r == -EBUSY)
		r = wait_until(me, l, true, deadline);
	return cancel_out(me, r);
}

int cogo_rwlock_read_trylock(struct cogo_rwlock *l)
{
	return rwlock_try_read(word_of(l), COMES);
}

int cogo_rwlock_write_trylock(struct cogo_rwlock *l)
{
	struct coro *me = sure_in();
	int r = write_try(me, l);

	door_leave(me);
	return r;
}

/* Whether the caller may: all that is known of readers is their number. */
static bool may_unlock(struct coro *me, struct cogo_rwlock *l)
{
	uint32_t w = rwlock_look(word_of(l));

	if (w & RWLOCK_WRITER)
		return i_write(me, l);
	return w & RWLOCK_COUNT;
}

int cogo_rwlock_unlock(struct cogo_rwlock *l)
{
	struct coro *me = sure_in();
	int r = may_unlock(me, l) ? 0 : -EPERM;

	if (likely(r == 0)) {
		if (rwlock_look(word_of(l)) & RWLOCK_WRITER)
			atomic_store_explicit(writer_of(l), 0,
					      memory_order_relaxed);
		if (unlikely(!rwlock_try_unlock(word_of(l))))
			rwlock_unlock(word_of(l), GOES);
	}
	door_leave(me);
	return r;
}
