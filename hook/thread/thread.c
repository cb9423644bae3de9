/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/thread.c - threads become coroutines. */
#include "hook/thread/thread.h"
#include "base/conf.h"
#include "boot.h"
#include "go.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "mem/slab.h"
#include "mem/tls.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include "arch/tp.h"

static struct slab threads = SLAB_INIT(struct thread, free);

struct thread *thread_find(pthread_t handle)
{
	struct coro *c = coro_of_thread((uintptr_t)handle);

	return c ? c->thread : NULL;
}

static void thread_main(void *arg)
{
	struct thread *t = arg;
	struct coro *me = t->coro;
	struct coro_list woken = { 0 };
	struct lot_bucket *b;

	t->result = t->start(t->arg);
	if (me->tp)
		tls_call_destructors();
	door_enter(me);
	b = lot_lock(&t->ended);
	atomic_store_explicit(&t->ended, 1, memory_order_release);
	lot_claim(b, &t->ended, UINT32_MAX, INT32_MAX, &woken);
	lot_unlock(b);
	ready_all(&woken);
	if (atomic_load_explicit(&t->life, memory_order_acquire) == THREAD_DETACHED) {
		me->thread = NULL;
		slab_put(&threads, t);
	}
	door_leave(me);
}

HOOKED int pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg)
{
	struct coro_attr a = { .guard_size = PAGE_SIZE };
	struct thread *t;
	size_t size = 0;
	int detached = 0, r;

	if (!gate_threads())
		return REAL(pthread_create)(ret, attr, start, arg);
	if (boot_start())
		return EAGAIN;
	if (attr) {
		pthread_attr_getstacksize(attr, &size);
		pthread_attr_getdetachstate(attr, &detached);
	}
	a.stack_size = size ? size : 8 << 20;
	if (conf.stack)
		a.stack_size = conf.stack;
	t = slab_get(&threads);
	if (!t)
		return EAGAIN;
	t->start = start;
	t->arg = arg;
	atomic_store_explicit(&t->ended, 0, memory_order_relaxed);
	atomic_store_explicit(&t->life, detached == PTHREAD_CREATE_DETACHED ?
			      THREAD_DETACHED : THREAD_JOINABLE,
			      memory_order_relaxed);
	struct coro *me = door_in();
	r = go_make(&a, thread_main, t, &t->coro);
	if (r) {
		slab_put(&threads, t);
		door_leave(me);
		return EAGAIN;
	}
	t->coro->thread = t;
	if (t->life != THREAD_DETACHED)
		go_ref(t->coro);
	*ret = (pthread_t)arch_tp_to_thread(t->coro->tp);
	go_ready(t->coro);
	door_leave(me);
	return 0;
}

HOOKED int pthread_join(pthread_t handle, void **result)
{
	struct thread *t = thread_find(handle);
	struct coro *me = door_in();
	struct lot_bucket *b;

	if (!t) {
		door_leave(me);
		return REAL(pthread_join)(handle, result);
	}
	for (;;) {
		b = lot_lock(&t->ended);
		if (atomic_load_explicit(&t->ended, memory_order_acquire))
			break;
		lot_park(b, &t->ended, 1, COGO_FOREVER, WHY_JOIN);
	}
	lot_unlock(b);
	if (result)
		*result = t->result;
	t->coro->thread = NULL;
	go_unref(t->coro);
	slab_put(&threads, t);
	door_leave(me);
	return 0;
}

HOOKED int pthread_detach(pthread_t handle)
{
	struct thread *t = thread_find(handle);

	if (!t)
		return REAL(pthread_detach)(handle);
	go_unref(t->coro);
	return 0;
}
