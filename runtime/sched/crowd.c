/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/crowd.c - too many workers at the same lock.
 *
 * Coroutines that do little but hand things over through one channel get less done
 * on two processors than on one: what they share goes to and fro between two caches,
 * and each worker waits for the other's lock. More workers make it worse. What helps
 * is to have fewer: D. Dice and A. Kogan, Avoiding Scalability Collapse by Restricting
 * Concurrency (2019). There threads are kept away from one lock; here it is the worker
 * that steps back, since its coroutines can go on elsewhere.
 *
 * Each worker adds up how long it waits for a lock that it has found taken. One that
 * spends more than a quarter of its time so tries whether the others get more done
 * without it: it gives them its coroutines and naps. When it is back, and has to wait
 * for the same lock again, it compares what was done per time before and meanwhile.
 * If that was no less it naps for twice as long, up to MOST_NAP; or else it stays, for
 * twice as many looks as the last time before it tries again.
 *
 * Who naps cannot be woken for work, or the next coroutine that is made ready would
 * wake it; so MOST_NAP is how late somebody's turn can come who is queued behind one
 * that computes. One worker always stays. */
#include "sched/crowd.h"
#include "coro/self.h"
#include "sched/loop.h"

#define WAITS		32	/* from one look to the next */
#define WAITS_AGAIN	8	/* … after a nap that was of use */
#define FIRST_NAP	(COGO_MS / 8)
#define MOST_NAP	(4 * COGO_MS)
#define MOST_STAY	1024	/* looks */

static void restart(struct crowd *cr, const void *what, uint64_t now, uint64_t done)
{
	cr->what = what;
	cr->since = now;
	cr->done = done;
	cr->waited = 0;
	cr->waits = 0;
}

/* Whether no less was done per time without us. In whole numbers: the program's
 * floating point, its flags and traps, is not ours. */
static bool was_of_use(const struct crowd *cr, uint64_t now, uint64_t done)
{
	__extension__ typedef unsigned __int128 wide;

	return (wide)(done - cr->done) * cr->span >= (wide)cr->did * (now - cr->since);
}

/* It has napped since the last look, and so: */
static void judge(struct crowd *cr, uint64_t now, uint64_t done)
{
	cr->napped = false;
	if (was_of_use(cr, now, done)) {
		cr->nap = cr->nap < MOST_NAP ? 2 * cr->nap : MOST_NAP;
	} else {
		cr->stays = cr->next_stay;
		cr->next_stay *= cr->next_stay < MOST_STAY ? 2 : 1;
		cr->nap = FIRST_NAP;
	}
}

static void look(struct worker *w, uint64_t now, uint64_t done)
{
	struct crowd *cr = &w->crowd;

	if (cr->waited <= (now - cr->since) / 4)
		return;
	if (cr->stays) {
		cr->stays--;
		return;
	}
	cr->span = now - cr->since;
	cr->did = done - cr->done;
	cr->leaves = true;
	/* Its own stack is the next to run. */
	w->looked = w->picks - LOOP_LOOK_AROUND;
}

void crowd_waited(const void *what, uint64_t began, uint64_t done)
{
	const struct coro *me = self();
	struct worker *w = me && !me->bound ? me->worker : NULL;
	struct crowd *cr;
	uint64_t now;

	if (!w)
		return;
	cr = &w->crowd;
	now = arch_cycles();
	if (unlikely(cr->what != what)) {
		*cr = (struct crowd){ .nap = FIRST_NAP, .next_stay = 1 };
		restart(cr, what, now, done);
		return;
	}
	if (cr->napped) {
		judge(cr, now, done);
		restart(cr, what, now, done);
		return;
	}
	cr->waited += now - began;
	if (++cr->waits < (cr->nap == FIRST_NAP ? WAITS : WAITS_AGAIN))
		return;
	look(w, now, done);
	restart(cr, what, now, done);
}

bool crowd_leave(struct worker *w, cogo_time *ret_nap)
{
	w->crowd.leaves = false;
	/* Whoever was at it has long gone on with something else. */
	if (arch_cycles() - w->crowd.since > w->crowd.span)
		return false;
	if (atomic_fetch_add_explicit(&sched.napping, 1, memory_order_relaxed) + 1 >=
	    sched.target) {
		atomic_fetch_sub_explicit(&sched.napping, 1, memory_order_relaxed);
		return false;
	}
	worker_count(&w->naps);
	*ret_nap = w->crowd.nap;
	return true;
}

void crowd_back(struct worker *w)
{
	w->crowd.napped = true;
	atomic_fetch_sub_explicit(&sched.napping, 1, memory_order_relaxed);
}
