/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/cogo_mutex.c - a mutex that knows who has it, and is told when that went
 * wrong.
 *
 * Who waits for whom is sync/mutex.c's. Here it is noted down who has it, twice:
 * in the mutex, where those who want it look, and in the owner's list of what it
 * holds (sync/held.h), which is gone through when the owner ends.
 *
 * M1  owner is written only by one who has the word, and no later than the word
 *     is let go of: the next one finds what the last one left.
 * M2  of the word's holder, owner has the id; at all other times no id. So who
 *     finds its own id there put it there, or it is that of another coroutine a
 *     quarter of a billion younger or older: the list tells the two apart.
 * M3  what is on somebody's list has its id, and the other way round, but for
 *     what there was no memory to put down.
 *
 *	owner			left by				for the next one
 *	0			unlock				0
 *	POISONED		a panic; an end		-EOWNERDEAD, it has it
 *	LOST			unlock, while POISONED		-ENOTRECOVERABLE
 *
 * What most calls come to is one step for both, word and owner, from free and 0 to
 * held and the caller's, or back; all others take them one after the other.
 *
 * A cleanup that runs because of a panic may lock some other mutex and let go of
 * it again, to write a line into a log, say. Nothing went wrong with that one:
 * only who panics after it has locked poisons. So owner also says whether there
 * was a panic under way when it was locked. */
#include "sync/cogo_mutex.h"
#include "fault/unwind.h"
#include "sync/held.h"
#include "sync/sure.h"
#include <string.h>

#define ID		0x0fffffffu
#define HELD		0x10000000u	/* so that an id is never 0 */
#define PANICKING	0x20000000u	/* a panic was on its way before */
#define POISONED	0x40000000u
#define LOST		0x80000000u

#define WHO		(ID | HELD)

static inline _Atomic uint32_t *owner_of(struct cogo_mutex *m)
{
	return (_Atomic uint32_t *)&m->owner;
}

/* relaxed: M1, and who does not have the word looks only for itself. */
static inline uint32_t look(struct cogo_mutex *m)
{
	return atomic_load_explicit(owner_of(m), memory_order_relaxed);
}

static inline void leave(struct cogo_mutex *m, uint32_t owner)
{
	atomic_store_explicit(owner_of(m), owner, memory_order_relaxed);
}

/* The mutex is nobody's and nothing went wrong with it; or it is that one's, all is
 * well, and nobody waits. */
static inline uint64_t nobodys(void)
{
	const struct cogo_mutex m = { MUTEX_FREE, 0 };
	uint64_t both;

	memcpy(&both, &m, sizeof(both));
	return both;
}

static inline uint64_t held_by(uint32_t id)
{
	const struct cogo_mutex m = { MUTEX_HELD, id };
	uint64_t both;

	memcpy(&both, &m, sizeof(both));
	return both;
}

static inline bool swap_both(struct cogo_mutex *m, uint64_t from, uint64_t to,
			     int order)
{
	typedef uint64_t __attribute__((may_alias)) both;

	return likely(__atomic_compare_exchange_n((both *)m, &from, to, false,
						  order, __ATOMIC_RELAXED));
}

static inline uint32_t id_of(const struct coro *me)
{
	return ((uint32_t)me->id & ID) | HELD;
}

/* What its owner writes there. */
static inline uint32_t mark_of(struct coro *me)
{
	return id_of(me) | (unwind_panics(me) ? PANICKING : 0);
}

static inline bool is_mine(struct coro *me, struct cogo_mutex *m)
{
	return (look(m) & WHO) == id_of(me) && held_has(me->held, m);
}

/* Lets go of the word. */
static inline void pass_on(struct cogo_mutex *m)
{
	if (unlikely(!mutex_try_unlock(cogo_mutex_word(m))))
		mutex_unlock(cogo_mutex_word(m));
}

static COLD int own_marked(struct coro *me, struct cogo_mutex *m, uint32_t was)
{
	if (was & LOST) {
		pass_on(m);
		return -ENOTRECOVERABLE;
	}
	leave(m, POISONED | mark_of(me));
	held_add(me, m);
	return -EOWNERDEAD;
}

/* The caller has the word: is the mutex its own? */
static int own(struct coro *me, struct cogo_mutex *m)
{
	uint32_t was = look(m);

	if (unlikely(was))
		return own_marked(me, m, was);
	leave(m, mark_of(me));
	held_add(me, m);
	return 0;
}

/* What is left for the next one. */
static inline uint32_t left_by(struct coro *me, uint32_t is)
{
	if (unlikely(unwind_panics(me)))
		return is & PANICKING ? is & POISONED : POISONED;
	return likely(!(is & POISONED)) ? 0 : LOST;
}

/* The other way: 0, or -EPERM. */
static int disown(struct coro *me, struct cogo_mutex *m)
{
	uint32_t is = look(m);

	if (unlikely((is & WHO) != id_of(me) || !held_remove(me->held, m)))
		return -EPERM;
	leave(m, left_by(me, is));
	return 0;
}

static NOINLINE int wait_for(struct coro *me, struct cogo_mutex *m)
{
	uint32_t since = 0;

	if (is_mine(me, m))
		return -EDEADLK;
	while (mutex_lock(cogo_mutex_word(m), COGO_FOREVER, &since))
		sure_interrupted(me);
	return 0;
}

static NOINLINE int lock_slowly(struct coro *me, struct cogo_mutex *m)
{
	int r = 0;

	if (!mutex_try(cogo_mutex_word(m)))
		r = wait_for(me, m);
	if (r == 0)
		r = own(me, m);
	door_leave(me);
	return r;
}

static COLD int lock_adopted(struct cogo_mutex *m)
{
	return lock_slowly(sure_in(), m);
}

/* What most calls come to is here, and does not call anything: who finds something
 * out of the ordinary leaves the rest to another, in the middle of the door. What
 * can be looked up before the exchange is, for the processor lets nothing that
 * follows one begin before it is done. */
int cogo_mutex_lock(struct cogo_mutex *m)
{
	struct coro *me = self();
	struct cogo_mutex **at;
	struct held *h;
	uint32_t doors;

	if (unlikely(!me))
		return lock_adopted(m);
	doors = door_enter(me);
	h = me->held;
	if (unlikely(!held_has_room(h) || !unwind_calm(me)))
		return lock_slowly(me, m);
	at = &h->at[h->n];
	/* acquire: pairs with the release of whoever let it go. */
	if (!swap_both(m, nobodys(), held_by(id_of(me)), __ATOMIC_ACQUIRE))
		return lock_slowly(me, m);
	*at = m;
	h->n++;
	return door_leave_as(me, doors);
}

static int wait_until(struct coro *me, struct cogo_mutex *m, cogo_time deadline)
{
	uint32_t since = 0;
	int r;

	if (is_mine(me, m))
		return -EDEADLK;
	do {
		r = mutex_lock(cogo_mutex_word(m), deadline, &since);
		if (r == 0)
			return 0;
		r = cancel_interrupted(me, r);
	} while (r == 0);
	return r;
}

int cogo_mutex_lock_until(struct cogo_mutex *m, cogo_time deadline)
{
	int r;
	struct coro *me = cancel_in(&r);

	if (r == 0 && !mutex_try(cogo_mutex_word(m)))
		r = wait_until(me, m, deadline);
	if (r == 0)
		r = own(me, m);
	return cancel_out(me, r);
}

int cogo_mutex_trylock(struct cogo_mutex *m)
{
	struct coro *me = sure_in();
	int r = mutex_try(cogo_mutex_word(m)) ? own(me, m) : -EBUSY;

	door_leave(me);
	return r;
}

static NOINLINE int unlock_slowly(struct coro *me, struct cogo_mutex *m)
{
	int r = disown(me, m);

	if (r == 0)
		pass_on(m);
	door_leave(me);
	return r;
}

static COLD int unlock_adopted(struct cogo_mutex *m)
{
	return unlock_slowly(sure_in(), m);
}

int cogo_mutex_unlock(struct cogo_mutex *m)
{
	struct coro *me = self();
	struct held *h;
	uint32_t doors;

	if (unlikely(!me))
		return unlock_adopted(m);
	doors = door_enter(me);
	h = me->held;
	if (unlikely(!unwind_calm(me) || !held_last(h, m)))
		return unlock_slowly(me, m);
	if (!swap_both(m, held_by(id_of(me)), nobodys(), __ATOMIC_RELEASE))
		return unlock_slowly(me, m);
	h->n--;
	return door_leave_as(me, doors);
}

int cogo_mutex_consistent(struct cogo_mutex *m)
{
	struct coro *me = sure_in();
	int r = !is_mine(me, m) ? -EPERM : look(m) & POISONED ? 0 : -EINVAL;

	if (r == 0)
		leave(m, look(m) & ~POISONED);
	door_leave(me);
	return r;
}

int cogo_mutex_before_wait(struct coro *me, struct cogo_mutex *m)
{
	if (!is_mine(me, m))
		return -EPERM;
	return look(m) & POISONED ? -EOWNERDEAD : disown(me, m);
}

int cogo_mutex_after_wait(struct coro *me, struct cogo_mutex *m, bool signalled)
{
	struct mutex *word = cogo_mutex_word(m);
	uint32_t since = 0;

	while (signalled ? mutex_lock_woken(word, &since) :
			   mutex_lock(word, COGO_FOREVER, &since))
		sure_interrupted(me);
	return own(me, m);
}

/* The end of one who holds them still. */
static void end_holding(void *list)
{
	struct coro *me = sure_in();
	struct held *h = list;

	me->held = NULL;
	while (h->n) {
		struct cogo_mutex *m = h->at[--h->n];

		leave(m, POISONED);
		pass_on(m);
	}
	held_free(h);
	door_leave(me);
}

const struct local_key held_key = { .destroy = end_holding };
