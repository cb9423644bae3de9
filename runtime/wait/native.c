/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wait/native.c - what a handle of the native API points to. */
#include "wait/native.h"
#include "base/fatal.h"
#include "coro/local.h"
#include "mem/slab.h"
#include "sched/ready.h"
#include <stdlib.h>
#include <string.h>

static struct slab natives = SLAB_INIT(struct cogo_coro, free);

struct cogo_coro *native_end(struct coro *me, int how)
{
	struct coro_list woken = { 0 };
	struct cogo_coro *n = me->user;

	if (!n)
		return NULL;
	me->user = NULL;
	lock(&n->lock);
	n->how = how;
	n->coro = NULL;
	/* release: V2. */
	atomic_store_explicit(&n->ended, 1, memory_order_release);
	waitq_claim_all(&n->waiters, 0, &woken);
	unlock(&n->lock);
	ready_all(&woken);
	return n;
}

/* A kernel thread's end, told by libc. */
static void end_thread(struct coro *me)
{
	struct cogo_coro *n;

	me->in_runtime++;
	n = native_end(me, 0);
	if (n)
		native_unref(n);
	me->in_runtime--;
}

struct cogo_coro *native_of(struct coro *me)
{
	struct cogo_coro *n = me->user;

	if (likely(n != NULL))
		return n;
	if (me->kind == CORO_KIND_THREAD && local_watch_thread(me, end_thread))
		return NULL;
	n = slab_get(&natives);
	if (!n)
		return NULL;
	memset(n, 0, sizeof(*n));
	n->coro = me;
	n->id = me->id;
	memcpy(n->name, me->name, sizeof(n->name));
	atomic_store_explicit(&n->refs, 1, memory_order_relaxed);
	me->user = n;
	return n;
}

void native_ref(struct cogo_coro *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
}

void native_unref(struct cogo_coro *n)
{
	/* acq_rel: the last one sees what all others did. */
	if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (n->owed)
		cogo_warn("coroutine %llu (%s) panicked, and nobody waited for it: %s",
			  (unsigned long long)n->id, n->name[0] ? n->name : "no name",
			  n->message ? n->message : "no memory for the message");
	free(n->message);
	free(n->trace);
	slab_put(&natives, n);
}
