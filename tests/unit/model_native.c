/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* model_native.c - the end of a coroutine, and those who look at it, in every order.
 *
 * Real: wait/native.c and native.h. Modelled: what go/coro.c's publish does with them,
 * and the slab. One ends, and its object is another's from then on; two have a
 * reference each to its handle, look at it or wait for it, and drop that.
 *
 * - who has the lock finds the coroutine there, for as long as he has it;
 * - who came in time to wait is told of the end;
 * - the handle is freed once, by the last, and nobody touches it afterwards. */
#include "explore.h"
#include "base/fatal.h"
#include "coro/coro.h"
#include "mem/slab.h"
#include "wait/native.h"
#include <stdio.h>
#include <string.h>

static struct cogo_coro handle;
static struct coro coro;
static _Atomic uint32_t alive = 1;
static uint32_t freed, waits, told;
static bool waiting;

struct coro_stock *coro_own_stock(void)
{
	return NULL;
}

void *slab_get(struct slab *s)
{
	(void)s;
	return NULL;
}

void slab_put(struct slab *s, void *obj)
{
	(void)s;
	explore_point(__FILE__, __LINE__, "frees it", obj, true);
	explore_check(obj == &handle && freed == 0);
	freed++;
}

void *slab_stock_get_slow(struct slab *s, struct slab_stock *stock)
{
	(void)stock;
	return slab_get(s);
}

void slab_stock_put_slow(struct slab *s, struct slab_stock *stock)
{
	(void)s;
	(void)stock;
}

void cogo_warn(const char *format, ...)
{
	(void)format;
	explore_check(!"a warning");
}

/* As publish does. */
static void ends(void *arg)
{
	struct cogo_coro *n = arg;

	if (!native_end_unwatched(n)) {
		lock(&n->lock);
		explore_check(!freed);
		n->coro = NULL;
		atomic_store_explicit(&n->ended, 1, memory_order_release);
		told = waits;
		unlock(&n->lock);
		native_unref(n);
	}
	atomic_store_explicit(&alive, 0, memory_order_relaxed);
}

static void look(struct cogo_coro *n)
{
	explore_check(n->coro == &coro);
	explore_check(atomic_load_explicit(&alive, memory_order_relaxed));
}

static void looks(void *arg)
{
	struct cogo_coro *n = arg;

	if (native_lock(n)) {
		look(n);
		look(n);
		if (waiting)
			waits++;
		unlock(&n->lock);
	} else {
		explore_check(native_has_ended(n));
	}
	explore_check(!freed);
	native_unref(n);
}

static void end(void)
{
	explore_check(freed == 1);
	explore_check(told == waits);
	explore_check(!handle.lock.word);
}

int main(int argc, char **argv)
{
	waiting = argc > 1 && strcmp(argv[1], "wait") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	explore_begin();
	handle.coro = &coro;
	handle.refs = 3;
	explore_actor("ends", ends, &handle);
	explore_actor("A", looks, &handle);
	explore_actor("B", looks, &handle);
	return explore(waiting ? "native: wait" : "native", end) ? 1 : 0;
}
