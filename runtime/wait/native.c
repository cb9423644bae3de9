/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/native.c - what a handle of the native API points to. */
#include "wait/native.h"
#include "base/fatal.h"
#include "mem/slab.h"
#include <stdlib.h>
#include <string.h>

static struct slab natives = SLAB_INIT(struct cogo_coro, free);

struct cogo_coro *native_new(struct coro *me, bool named)
{
	struct coro_stock *stock = coro_own_stock();
	struct cogo_coro *n;

	n = stock ? slab_stock_get(&natives, &stock->handles) : slab_get(&natives);
	if (!n)
		return NULL;
	n->coro = me;
	n->id = me->id;
	if (unlikely(named))
		memcpy(n->name, me->name, sizeof(n->name));
	atomic_store_explicit(&n->refs, 1, memory_order_relaxed);
	me->user = n;
	return n;
}

void native_fork_child(struct coro *me)
{
	struct cogo_coro *n = me ? me->user : NULL;

	if (n)
		n->waiters = (struct waitq){ 0 };
}

void native_ref(struct cogo_coro *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
}

/* As coro_last_ref. */
static bool is_last(struct cogo_coro *n)
{
	return (atomic_load_explicit(&n->refs, memory_order_acquire) &
		NATIVE_REFS) == 1 ||
	       (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) &
		NATIVE_REFS) == 1;
}

void native_unref(struct cogo_coro *n)
{
	struct coro_stock *stock;

	if (!is_last(n))
		return;
	if (n->owed)
		cogo_warn("coroutine %llu (%s) panicked, and nobody waited for it: %s",
			  (unsigned long long)n->id, n->name[0] ? n->name : "no name",
			  n->message ? n->message : "no memory for the message");
	if (unlikely(n->message || n->trace)) {
		free(n->message);
		free(n->trace);
	}
	memset(&n->ended, 0, sizeof(*n) - offsetof(struct cogo_coro, ended));
	stock = coro_own_stock();
	if (stock)
		slab_stock_put(&natives, &stock->handles, n);
	else
		slab_put(&natives, n);
}
