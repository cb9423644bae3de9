/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_mutex.c - handing over a mutex, in every order.
 *
 * Real: sync/mutex.c, sync/patience.h, wait/lot.c and all that parks (model.h),
 * for kernel threads, which sleep on a futex. One bucket holds all of the lot. What
 * each actor does is said by a letter:
 *
 *	l	locks, and unlocks
 *	L	the same twice
 *	t	locks until its time is up, which may be any moment
 *	i	locks, interrupted at any moment, and waits on
 *	g	locks, interrupted at any moment, and gives up then
 *
 * An actor `k` interrupts those who can be, and `p` is time that passes: from some
 * moment on whoever waits has run out of patience, and is handed the mutex.
 *
 * - two never have it at once;
 * - whoever does not give up gets it: no wake is lost, nor a hand-over with one
 *   that gave up;
 * - at the end it is free, and nobody stands in the queue. */
#include "coro/self.h"
#include "model.h"
#include "sync/mutex.h"
#include "wait/lot.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LATER 3000000

static struct mutex m;
static uint32_t inside, turns, owed;
static struct coro *who[MODEL_COROS];
static int nwho;

static void hold(void)
{
	explore_point(__FILE__, __LINE__, "has it", &inside, true);
	explore_check(inside++ == 0);
	explore_point(__FILE__, __LINE__, "has it", &inside, true);
	explore_check(--inside == 0);
	turns++;
	if (!mutex_try_unlock(&m))
		mutex_unlock(&m);
}

static void seen(void)
{
	atomic_store_explicit(&self()->interrupt, 0, memory_order_seq_cst);
}

static void one(void *arg)
{
	struct coro *me = arg;
	char how = me->name[0];
	uint32_t since = 0;
	int r;

	self_set(me);
	for (int i = 0; i < (how == 'L' ? 2 : 1); i++) {
		if (mutex_try(&m)) {
			hold();
			continue;
		}
		while ((r = mutex_lock(&m, how == 't' ? 2000 : COGO_FOREVER,
				       &since)) == -EINTR) {
			seen();
			if (how == 'g')
				return;
		}
		if (r == 0)
			hold();
		else
			explore_check(r == -ETIMEDOUT && how == 't');
	}
}

/* As signal_kick does. */
static void kick(void *arg)
{
	(void)arg;
	for (int i = 0; i < nwho; i++) {
		struct coro *c = who[i];

		if (c->name[0] != 'i' && c->name[0] != 'g')
			continue;
		atomic_store_explicit(&c->interrupt, 1, memory_order_seq_cst);
		if (wait_claim_any(c, WAIT_INTERRUPTED))
			ready(c);
	}
}

static void pass(void *arg)
{
	(void)arg;
	if (model.now < LATER)
		atomic_store_explicit(&model.now, LATER, memory_order_relaxed);
}

static void end(void)
{
	explore_check(turns >= owed);
	explore_check(m.word == MUTEX_FREE);
	explore_check(!lot_any(lot_lock(&m), &m));
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "A", "B", "C", "D" };
	char name[64] = "mutex: ";

	if (argc != 2)
		return 2;
	model_begin(0);
	strncat(name, argv[1], sizeof(name) - 8);
	for (const char *p = argv[1]; *p; p++) {
		struct coro *c;

		if (*p == 'k') {
			explore_actor("kicker", kick, NULL);
			continue;
		}
		if (*p == 'p') {
			explore_actor("time", pass, NULL);
			continue;
		}
		c = model_thread();
		c->name[0] = *p;
		who[nwho] = c;
		owed += *p == 'L' ? 2 : *p == 'l' || *p == 'i';
		explore_actor(names[nwho++], one, c);
	}
	return model_explore(name, end);
}
