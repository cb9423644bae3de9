/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/thread.c - threads become coroutines.
 *
 * pthread_t is the address of the thread descriptor in the coroutine's own TLS
 * block, which is what libc's pthread_self returns there. Every function that
 * takes a pthread_t first asks whether it is one of ours.
 *
 * Some threads stay kernel threads: those the user names with --bind, and those
 * whose attributes ask the kernel for something (a real-time policy, a set of
 * processors). They are libc's, and known to the runtime as threads of the
 * program.
 *
 * N1  life leaves JOINABLE once and ENDED once, by compare-and-swap; whoever
 *     makes the last step (to JOINED, or an end found DETACHED) frees the
 *     descriptor and drops its reference to the coroutine.
 * N2  JOINABLE becomes ENDED under the bucket's lock, after the result is
 *     written, and the ending coroutine does not touch its descriptor after
 *     that. Its object and stack live on by its own reference until the worker
 *     has left them; on memory of the program's, the joiner waits for that. */
#include "hook/thread/thread.h"
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "fault/signal.h"
#include "fault/unwind.h"
#include "go.h"
#include "hook/call.h"
#include "hook/gate.h"
#include "hook/golang.h"
#include "hook/ident.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/kernel.h"
#include "mem/slab.h"
#include "mem/tls.h"
#include "sched/block.h"
#include "sched/clock.h"
#include "sched/monitor.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "wait/lot.h"
#include <dlfcn.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NSEC 1000000000ll
#define DEFAULT_STACK ((size_t)8 << 20)
#define FIRST_PAUSE 10000000	/* ns */
#define LAST_PAUSE NSEC

static struct slab threads = SLAB_INIT(struct thread, free);

/* The program's threads that are not main, kernel threads included. */
static _Atomic uint32_t others;
static _Atomic bool main_left;

struct thread *thread_find(pthread_t handle)
{
	struct coro *c = coro_of_thread((uintptr_t)handle);

	return c ? c->thread : NULL;
}

bool thread_is_ours(pthread_t handle)
{
	return coro_of_thread((uintptr_t)handle) != NULL;
}

struct coro *thread_coro(pthread_t handle)
{
	struct coro *c = coro_of_thread((uintptr_t)handle);
	uint32_t s;

	if (!c || c->thread)
		return c;
	/* One that no thread is known to be may be the native API's. */
	s = atomic_load_explicit(&c->state, memory_order_acquire);
	return s == CORO_FREE || s == CORO_DONE ? NULL : c;
}

/* The end */

/* The status of a first thread that has ended by a system call of its own: the
 * process's, when all others have gone too. -1: it has not. */
static _Atomic int first_status = -1;

static _Noreturn void last_is_out(void)
{
	int status = atomic_load_explicit(&first_status, memory_order_acquire);

	if (status >= 0)
		_exit(status);
	exit(0);
}

/* True: the caller was the last, and the process ends. */
static bool one_less(void)
{
	/* acq_rel: whoever is last exits having seen the others' work. */
	return atomic_fetch_sub_explicit(&others, 1, memory_order_acq_rel) == 1 &&
	       atomic_load_explicit(&main_left, memory_order_acquire);
}

/* The kernel thread itself stays: our workers live on its process, and should
 * end when the last of the program's threads does. */
void thread_first_exits(int status)
{
	struct coro *me = self_or_adopt();

	atomic_store_explicit(&first_status, status & 0xff, memory_order_release);
	if (atomic_exchange_explicit(&main_left, true, memory_order_seq_cst)
		    ? one_less()
		    : atomic_load_explicit(&others, memory_order_seq_cst) == 0)
		last_is_out();
	signal_set_mask(me, ~(sigbits)0);
	for (;;)
		park_until(me, WHY_NOTHING, COGO_FOREVER);
}

/* libc waits for the last of its threads after main has left; ours it does not
 * know, and our workers it would wait for in vain. */
void thread_leaves_main(void)
{
	struct coro *me = self();

	if (!gate_threads() || !me || me->tid != sys_getpid())
		return;
	signal_main_left();
	/* seq_cst with one_less's subtraction: one of the two sees the other. */
	atomic_store_explicit(&main_left, true, memory_order_seq_cst);
}

/* Who forked is the child's only thread, and its last. Unless it is main it
 * counts among the others, as if main had left. */
void thread_fork_child(bool first)
{
	struct coro *me = self();

	/* Who waited for it to end did so in the other process. */
	if (me && me->thread)
		atomic_store_explicit(&me->thread->joiner, NULL,
				      memory_order_relaxed);
	if (!first)
		atomic_store_explicit(&main_left, true, memory_order_relaxed);
	atomic_store_explicit(
		&others, atomic_load_explicit(&main_left, memory_order_relaxed),
		memory_order_relaxed);
}

static pthread_key_t main_key;

/* Main's thread-specific data goes after its cleanups; in the last round
 * nothing is left to run but this. */
static void main_ends(void *round)
{
	uintptr_t n = (uintptr_t)round;

	if (n < PTHREAD_DESTRUCTOR_ITERATIONS) {
		REAL(pthread_setspecific)(main_key, (void *)(n + 1));
		return;
	}
	if (atomic_load_explicit(&others, memory_order_seq_cst) == 0)
		last_is_out();
}

/* ---- threads that wait behind our back ----
 *
 * A runtime that makes its system calls by instructions of its own (libgomp's does)
 * waits where no hook sees it, and each time its worker is lost until the monitor
 * notices. Where one in thirty that begin with the same function is found so, those
 * that are made from then on are kernel threads, as they would be in the end, but for
 * one now and then, by which we notice if it was not so after all. */
#define SLEEPERS	8
#define SLEPT_OFTEN	4
#define ONE_IN		32
#define NOW_AND_THEN	32

static struct sleeper {
	_Atomic(void *(*)(void *)) start;
	/* Since it was first seen; made: as coroutines. */
	_Atomic uint32_t slept, made, turned;
} sleepers[SLEEPERS];

/* On the monitor's thread, which alone fills the table. What is read of a thread that
 * is gone may be another's: once in a while the wrong one is counted. */
static void has_slept(const struct coro *c)
{
	const struct thread *t = read_once(c->thread);
	void *(*start)(void *) = t ? read_once(t->start) : NULL;

	if (!start)
		return;
	for (struct sleeper *s = sleepers; s < sleepers + SLEEPERS; s++) {
		if (!atomic_load_explicit(&s->start, memory_order_relaxed))
			atomic_store_explicit(&s->start, start,
					      memory_order_relaxed);
		if (atomic_load_explicit(&s->start, memory_order_relaxed) != start)
			continue;
		atomic_fetch_add_explicit(&s->slept, 1, memory_order_relaxed);
		return;
	}
}

/* Of one that is about to be made. */
static bool sleeps_unseen(void *(*start)(void *))
{
	void *(*known)(void *);
	uint32_t often;

	for (struct sleeper *s = sleepers; s < sleepers + SLEEPERS; s++) {
		known = atomic_load_explicit(&s->start, memory_order_relaxed);
		if (!known)
			return false;
		if (known != start)
			continue;
		often = atomic_load_explicit(&s->slept, memory_order_relaxed);
		if (often >= SLEPT_OFTEN &&
		    often >= atomic_load_explicit(&s->made, memory_order_relaxed) /
				     ONE_IN &&
		    (atomic_fetch_add_explicit(&s->turned, 1,
					       memory_order_relaxed) + 1) %
			    NOW_AND_THEN)
			return true;
		atomic_fetch_add_explicit(&s->made, 1, memory_order_relaxed);
		return false;
	}
	return false;
}

void thread_load(void)
{
	monitor_use(has_slept);
	if (REAL(pthread_key_create)(&main_key, main_ends) == 0)
		REAL(pthread_setspecific)(main_key, (void *)1);
}

/* The end of a kernel thread that was adopted. A destructor may make another value
 * of another's, and want us again: so we come last, in the last round that there
 * is. The value is the descriptor, whose address leaves room for the round. */
static pthread_key_t adopted_key;

static void adopted_ends(void *value)
{
	uintptr_t round = (uintptr_t)value & 63;
	struct coro *me = self();

	if ((uintptr_t)me != (uintptr_t)value - round)
		return;
	go_thread_ends(me);
	if (round + 1 < PTHREAD_DESTRUCTOR_ITERATIONS)
		REAL(pthread_setspecific)(adopted_key, (char *)value + 1);
	else
		go_thread_ended(me, me->tid == sys_getpid());
}

static void tell_of_end(struct coro *c)
{
	REAL(pthread_setspecific)(adopted_key, c);
}

void thread_watch_ends(void)
{
	/* Early, so it is among those keys for which libc needs no memory. */
	if (REAL(pthread_key_create)(&adopted_key, adopted_ends) == 0)
		self_use(tell_of_end);
}

static void release(struct thread *t)
{
	struct coro *c = t->coro;

	c->thread = NULL;
	slab_put(&threads, t);
	go_unref(c);
}

static bool step(struct thread *t, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong_explicit(
		&t->life, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* Tells the joiner, or frees what nobody will join. */
static void publish_end(struct thread *t)
{
	struct coro_list woken = { 0 };
	struct lot_bucket *b = lot_lock(&t->life);
	bool joinable = step(t, THREAD_JOINABLE, THREAD_ENDED);

	if (joinable)
		lot_claim(b, &t->life, UINT32_MAX, INT32_MAX, &woken);
	lot_unlock(b);
	if (joinable)
		ready_all(&woken);
	else
		release(t);
}

void thread_ends(struct coro *me)
{
	if (me->tp)
		tls_call_destructors();
	thread_run_destructors(me);
	kernel_thread_end(me);
}

static void end(struct thread *t, struct unwind *u)
{
	struct coro *me = t->coro;

	go_ended(me, u);
	publish_end(t);
	/* Not out of the runtime any more, unless to end the process. */
	if (one_less()) {
		door_leave(me);
		last_is_out();
	}
}

/* The beginning */

static void thread_main(void *arg)
{
	struct thread *t = arg;
	struct unwind u;

	unwind_begin(t->coro, &u);
	if (_setjmp(u.end) == 0) {
		t->result = t->start(t->arg);
		go_destroy(t->coro);
	}
	/* One that panicked has no result either. */
	if (u.why == UNWIND_CANCELED || u.why == UNWIND_PANIC)
		t->result = PTHREAD_CANCELED;
	unwind_end(t->coro, &u);
	end(t, &u);
}

/* What the attributes say, in the runtime's terms. */
static void read_attr(const pthread_attr_t *attr, struct coro_attr *ret,
		      struct thread *t, int *ret_detached)
{
	pthread_attr_t dfl;
	void *low = NULL;
	size_t size = 0;

	*ret_detached = PTHREAD_CREATE_JOINABLE;
	if (!attr) {
		if (pthread_getattr_default_np(&dfl) == 0) {
			pthread_attr_getstacksize(&dfl, &size);
			pthread_attr_getguardsize(&dfl, &ret->guard_size);
			pthread_attr_destroy(&dfl);
		}
	} else {
		pthread_attr_getdetachstate(attr, ret_detached);
		pthread_attr_getguardsize(attr, &ret->guard_size);
		/* Where no address was given, glibc answers with one that is
		 * the size below nothing. */
		if (pthread_attr_getstack(attr, &low, &size) == 0 &&
		    (uintptr_t)low + size > size && (uintptr_t)low < (uintptr_t)-size)
			ret->stack_low = low;
		pthread_attr_getstacksize(attr, &size);
		if (size == 0 && pthread_getattr_default_np(&dfl) == 0) {
			pthread_attr_getstacksize(&dfl, &size);
			pthread_attr_destroy(&dfl);
		}
	}
	ret->stack_size = size ? size : DEFAULT_STACK;
	t->own_stack = ret->stack_low != NULL;
	t->guard_size = ret->guard_size;
	/* The user's word on stacks beats the program's, but for memory the
	 * program has already given. */
	if (conf.stack && !t->own_stack)
		ret->stack_size = conf.stack;
}

/* Asks the kernel for something that only a kernel thread has, or is to have it as
 * its maker has. */
static bool wants_kernel(const pthread_attr_t *attr)
{
	int inherit = PTHREAD_INHERIT_SCHED, policy = SCHED_OTHER;

	if (attr) {
		pthread_attr_getinheritsched(attr, &inherit);
		pthread_attr_getschedpolicy(attr, &policy);
	}
	return inherit == PTHREAD_EXPLICIT_SCHED ? policy != SCHED_OTHER
						 : ident_has_other_policy();
}

static bool bound_from_birth(void *(*start)(void *))
{
	Dl_info info;
	void *at;

	memcpy(&at, &start, sizeof(at));
	if (golang_code(at))
		return true;
	return conf.bind[0] && dladdr(at, &info) && info.dli_sname && info.dli_saddr == at &&
	       conf_binds(&conf, info.dli_sname);
}

/* A kernel thread of the program's. */
struct kernel_start {
	pthread_t *ret;
	const pthread_attr_t *attr;
	void *(*start)(void *);
	void *arg;
};

static void kernel_thread_ends(void *arg)
{
	struct kernel_start *k = arg;

	free(k);
	if (one_less())
		last_is_out();
}

static void *kernel_thread(void *arg)
{
	struct kernel_start *k = arg;
	void *result = NULL;
	struct coro *me;

	me = self_or_adopt();
	if (me)
		ident_rank(me, 0);
	pthread_cleanup_push(kernel_thread_ends, k);
	result = k->start(k->arg);
	pthread_cleanup_pop(1);
	return result;
}

static long create_real(void *arg)
{
	struct kernel_start *k = arg;

	return REAL(pthread_create)(k->ret, k->attr, kernel_thread, k);
}

static int create_kernel_thread(pthread_t *ret, const pthread_attr_t *attr,
				void *(*start)(void *), void *arg)
{
	struct kernel_start *k = malloc(sizeof(*k));
	struct coro *me = self();
	int r;

	if (!k)
		return EAGAIN;
	*k = (struct kernel_start){ ret, attr, start, arg };
	atomic_fetch_add_explicit(&others, 1, memory_order_relaxed);
	if (me && me->kind == CORO_KIND_CORO) {
		/* libc takes the mask for the new thread from the kernel, which
		 * has this coroutine's. */
		door_enter(me);
		r = (int)on_worker(me, create_real, k);
		door_leave(me);
	} else {
		r = (int)create_real(k);
	}
	if (r) {
		atomic_fetch_sub_explicit(&others, 1, memory_order_relaxed);
		free(k);
	}
	return r;
}

static int create_coroutine(pthread_t *ret, const pthread_attr_t *attr,
			    void *(*start)(void *), void *arg)
{
	struct coro_attr a = { .guard_size = PAGE_SIZE };
	struct thread *t = slab_get(&threads);
	struct coro *me, *c;
	int detached, r;

	if (!t)
		return EAGAIN;
	memset(t, 0, sizeof(*t));
	t->start = start;
	t->arg = arg;
	read_attr(attr, &a, t, &detached);
	me = door_in();
	if (!me) {
		slab_put(&threads, t);
		return EAGAIN;
	}
	r = go_make(&a, thread_main, t, &c);
	if (r) {
		slab_put(&threads, t);
		door_leave(me);
		return EAGAIN;
	}
	t->coro = c;
	atomic_store_explicit(&t->life,
			      detached == PTHREAD_CREATE_DETACHED
				      ? THREAD_DETACHED : THREAD_JOINABLE,
			      memory_order_relaxed);
	c->thread = t;
	atomic_store_explicit(&c->cancel, CANCEL_UNWINDS, memory_order_relaxed);
	c->sigmask = signal_mask(me);
	if (attr) {
		sigset_t mask;

		if (pthread_attr_getsigmask_np(attr, &mask) == 0)
			memcpy(&c->sigmask, &mask, sizeof(c->sigmask));
	}
	memcpy(c->name, me->name, sizeof(c->name));
	go_ref(c);
	atomic_fetch_add_explicit(&others, 1, memory_order_relaxed);
	/* Before it can run: it may read its own handle there. */
	*ret = (pthread_t)coro_handle(c);
	go_ready(c);
	door_leave(me);
	return 0;
}

HOOKED int pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg)
{
	gate_come_to_life();
	if (!gate_threads())
		return REAL(pthread_create)(ret, attr, start, arg);
	if (boot_start())
		return EAGAIN;
	if (wants_kernel(attr) || bound_from_birth(start) || sleeps_unseen(start))
		return create_kernel_thread(ret, attr, start, arg);
	return create_coroutine(ret, attr, start, arg);
}

/* Joining */

/* Whether t waits for me to end. */
static bool waits_for(struct thread *t, struct coro *me)
{
	return atomic_load_explicit(&me->thread->joiner, memory_order_acquire) ==
	       t->coro;
}

/* Inside libc a thread is found by a request only while it waits there: one that
 * comes just before goes unheard. Who joins a thread that shall end waits for
 * that, and reminds it now and then. */
static cogo_time until_reminder(struct thread *t, cogo_time pause,
				cogo_time deadline)
{
	cogo_time then;

	/* seq_cst: pairs with the exchange in pthread_cancel. Either it finds us
	 * who join, or we find that it has been. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!cancel_wanted(t->coro))
		return deadline;
	then = sys_now() + pause;
	return then < deadline ? then : deadline;
}

static int join(pthread_t handle, void **result, cogo_time deadline, bool wait)
{
	struct thread *t = thread_find(handle);
	cogo_time until, pause = FIRST_PAUSE;
	struct coro *me, *nobody = NULL;
	struct lot_bucket *b;
	int r = 0;

	if (!t)	/* what only cogo_join can wait for is like a detached thread */
		return thread_coro(handle) ? EINVAL : ESRCH;
	me = door_in();
	if (!me)
		return ENOMEM;
	if (wait)
		cancel_point(me);
	if (t->coro == me || (me->thread && waits_for(t, me))) {
		r = EDEADLK;
		goto out;
	}
	for (;;) {
		uint32_t life = atomic_load_explicit(&t->life, memory_order_acquire);

		/* One that lives is busy, detached or not. */
		if (!wait && life != THREAD_ENDED) {
			r = EBUSY;
			goto out;
		}
		if (life == THREAD_DETACHED || life == THREAD_JOINED) {
			r = life == THREAD_DETACHED ? EINVAL : ESRCH;
			goto out;
		}
		nobody = NULL;
		if (!atomic_compare_exchange_strong_explicit(
			    &t->joiner, &nobody, me, memory_order_acq_rel,
			    memory_order_acquire)) {
			r = EINVAL;
			goto out;
		}
		b = lot_lock(&t->life);
		if (atomic_load_explicit(&t->life, memory_order_acquire) ==
		    THREAD_ENDED) {
			lot_unlock(b);
			break;
		}
		until = until_reminder(t, pause, deadline);
		r = lot_park(b, &t->life, 1, until, WHY_JOIN);
		if (r == 0)
			break;
		/* Joinable by another again, before a cancellation may act. */
		atomic_store_explicit(&t->joiner, NULL, memory_order_release);
		if (r == -ETIMEDOUT && until != deadline) {
			signal_kick(t->coro);
			if (pause < LAST_PAUSE)
				pause *= 2;
			continue;
		}
		if (r == -ETIMEDOUT) {
			r = ETIMEDOUT;
			goto out;
		}
		/* No handler ends it, and nothing else that a function which
		 * returns no such error could tell of. */
		r = gate_interrupted(me, true);
		if (cancel_unwinds(me))
			goto out;
	}
	r = 0;
	if (result)
		*result = t->result;
	if (t->own_stack)
		while (atomic_load_explicit(&t->coro->state,
					    memory_order_acquire) != CORO_DONE)
			park_yield(me);
	if (step(t, THREAD_ENDED, THREAD_JOINED))
		release(t);
out:
	door_leave(me);
	if (r == -GATE_CANCELED)
		cancel_act(me);
	return r;
}

static bool ours(pthread_t handle)
{
	return thread_is_ours(handle);
}

/* A kernel thread of the program's is waited for as libc does it: in libc. Where
 * threads become coroutines few are left that are not; in a program that is linked
 * with us pthread_create makes nothing else. */

HOOKED int pthread_join(pthread_t handle, void **result)
{
	return ours(handle) ? join(handle, result, COGO_FOREVER, true)
			    : CALL_AWAY(WHY_JOIN,
					REAL(pthread_join)(handle, result));
}

HOOKED int pthread_tryjoin_np(pthread_t handle, void **result)
{
	return ours(handle) ? join(handle, result, COGO_FOREVER, false)
			    : REAL(pthread_tryjoin_np)(handle, result);
}

HOOKED int pthread_clockjoin_np(pthread_t handle, void **result, clockid_t clock,
				const struct timespec *abstime)
{
	cogo_time deadline = COGO_FOREVER;
	struct timespec now;

	if (!ours(handle))
		return CALL_AWAY(WHY_JOIN, REAL(pthread_clockjoin_np)(
					   handle, result, clock, abstime));
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
		return EINVAL;
	if (abstime) {
		if (abstime->tv_nsec < 0 || abstime->tv_nsec >= NSEC)
			return EINVAL;
		clock_gettime(clock, &now);
		deadline = sys_now() + (abstime->tv_sec - now.tv_sec) * NSEC +
			   abstime->tv_nsec - now.tv_nsec;
	}
	return join(handle, result, deadline, true);
}

HOOKED int pthread_timedjoin_np(pthread_t handle, void **result,
				const struct timespec *abstime)
{
	return ours(handle) ? pthread_clockjoin_np(handle, result, CLOCK_REALTIME,
						   abstime)
			    : CALL_AWAY(WHY_JOIN, REAL(pthread_timedjoin_np)(
						  handle, result, abstime));
}

HOOKED int pthread_detach(pthread_t handle)
{
	struct thread *t = thread_find(handle);
	struct coro *me;
	uint32_t life;

	if (!ours(handle))
		return REAL(pthread_detach)(handle);
	if (!t)
		return thread_coro(handle) ? EINVAL : ESRCH;
	/* One that is being joined is its joiner's, as in glibc. */
	if (atomic_load_explicit(&t->joiner, memory_order_acquire))
		return 0;
	if (step(t, THREAD_JOINABLE, THREAD_DETACHED))
		return 0;
	life = atomic_load_explicit(&t->life, memory_order_acquire);
	if (life != THREAD_ENDED || !step(t, THREAD_ENDED, THREAD_JOINED))
		return EINVAL;
	me = door_in();
	release(t);
	if (me)
		door_leave(me);
	return 0;
}

/* What else is asked of a thread */

HOOKED pthread_t pthread_self(void)
{
	struct coro *me = self();

	/* With a descriptor of its own, what libc says is right. One without is
	 * who it was in the child of its fork, too. */
	if (unlikely(me && !me->tp))
		return (pthread_t)coro_handle(me);
	return REAL(pthread_self)();
}

HOOKED int pthread_getattr_np(pthread_t handle, pthread_attr_t *attr)
{
	struct coro *c = thread_coro(handle);
	struct thread *t = c ? c->thread : NULL;
	sigset_t mask;
	char *low, *top;
	int r;

	if (!ours(handle))
		return REAL(pthread_getattr_np)(handle, attr);
	if (!c)
		return ESRCH;
	r = pthread_attr_init(attr);
	if (r)
		return r;
	if (t && t->own_stack) {
		low = c->stack_low;
		top = low + c->stack.asked;
	} else {
		low = c->stack.low + c->stack.guard;
		top = c->stack_start;
	}
	pthread_attr_setstack(attr, low, (size_t)(top - low));
	pthread_attr_setguardsize(attr, t ? t->guard_size : c->stack.guard);
	/* Nobody can join by pthread_join what cogo_go has made. */
	pthread_attr_setdetachstate(
		attr, !t || atomic_load_explicit(&t->life, memory_order_relaxed) ==
				      THREAD_DETACHED
			      ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
	memset(&mask, 0, sizeof(mask));
	memcpy(&mask, &c->sigmask, sizeof(c->sigmask));
	pthread_attr_setsigmask_np(attr, &mask);
	return 0;
}

HOOKED int pthread_setname_np(pthread_t handle, const char *name)
{
	struct coro *c = thread_coro(handle);

	if (!ours(handle))
		return REAL(pthread_setname_np)(handle, name);
	if (!c)
		return ESRCH;
	if (strlen(name) >= sizeof(c->name))
		return ERANGE;
	if (c == self())
		ident_set_name(c, name);
	else
		strcpy(c->name, name);
	return 0;
}

HOOKED int pthread_getname_np(pthread_t handle, char *buf, size_t size)
{
	struct coro *c = thread_coro(handle);

	if (!ours(handle))
		return REAL(pthread_getname_np)(handle, buf, size);
	if (!c)
		return ESRCH;
	/* Whatever it is: room for the longest is wanted. */
	if (size < sizeof(c->name))
		return ERANGE;
	strcpy(buf, c->name);
	return 0;
}

/* The processors and the policy of a coroutine are its workers'. One that asks
 * for others of its own keeps a kernel thread for good. */
static long apply_to_self(struct coro *me, long nr, long a, const void *b)
{
	long r;

	door_enter(me);
	block_bind(me);
	r = sys_call(nr, 0, a, b);
	if (r < 0)
		block_unbind(me);
	else
		block_keep(me);
	door_leave(me);
	return r;
}

HOOKED int pthread_getaffinity_np(pthread_t handle, size_t size, cpu_set_t *set)
{
	struct coro *c = thread_coro(handle);
	long r;

	if (!ours(handle))
		return REAL(pthread_getaffinity_np)(handle, size, set);
	if (!c)
		return ESRCH;
	r = sys_call(SYS_sched_getaffinity, c->bound ? c->tid : 0,
		     size, set);
	if (r < 0)
		return (int)-r;
	memset((char *)set + r, 0, size - (size_t)r);
	return 0;
}

HOOKED int pthread_setaffinity_np(pthread_t handle, size_t size,
				  const cpu_set_t *set)
{
	struct coro *c = thread_coro(handle);
	struct coro *me = self();

	if (!ours(handle))
		return REAL(pthread_setaffinity_np)(handle, size, set);
	if (!c)
		return ESRCH;
	if (c == me)
		return (int)-apply_to_self(me, SYS_sched_setaffinity, (long)size,
					   set);
	if (c->bound && c->tid)
		return (int)-sys_call(SYS_sched_setaffinity, c->tid, size,
				      set);
	/* A wish about where to run, for one that runs on any worker. */
	return 0;
}

/* A clock that clock_gettime knows (hook/clock.c). */
HOOKED int pthread_getcpuclockid(pthread_t handle, clockid_t *ret)
{
	struct coro *c = thread_coro(handle), *me;

	if (!ours(handle))
		return REAL(pthread_getcpuclockid)(handle, ret);
	if (!c)
		return ESRCH;
	me = door_in();
	if (me) {
		coro_rare(c);
		door_leave(me);
	}
	*ret = CLOCK_OF_TID(c->vtid);
	return 0;
}

/* libc's since 2.42. An older one tells it by the number of the clock. */
pid_t pthread_gettid_np(pthread_t handle);

HOOKED pid_t pthread_gettid_np(pthread_t handle)
{
	clockid_t clock;

	return pthread_getcpuclockid(handle, &clock) ? -1 : TID_OF_CLOCK(clock);
}

HOOKED int pthread_getschedparam(pthread_t handle, int *policy,
				 struct sched_param *param)
{
	struct coro *c = thread_coro(handle);
	long r;

	if (!ours(handle))
		return REAL(pthread_getschedparam)(handle, policy, param);
	if (!c)
		return ESRCH;
	if (!c->bound || !c->tid)
		return ident_workers_policy(policy, param);
	r = sys_call(SYS_sched_getscheduler, c->tid);
	if (r < 0)
		return (int)-r;
	*policy = (int)r;
	return (int)-sys_call(SYS_sched_getparam, c->tid, param);
}

HOOKED int pthread_setschedparam(pthread_t handle, int policy,
				 const struct sched_param *param)
{
	struct coro *c = thread_coro(handle);
	struct coro *me = self();
	long r;

	if (!ours(handle))
		return REAL(pthread_setschedparam)(handle, policy, param);
	if (!c)
		return ESRCH;
	if (policy == SCHED_OTHER && !c->bound)
		return param->sched_priority == 0 ? 0 : EINVAL;
	if (c->bound && c->tid)
		r = sys_call(SYS_sched_setscheduler, c->tid, policy, param);
	else if (c == me)
		r = apply_to_self(me, SYS_sched_setscheduler, policy, param);
	else
		return EPERM;
	if (r == 0)
		ident_rank(c, c == me ? 0 : c->tid);
	return (int)-r;
}

HOOKED int pthread_setschedprio(pthread_t handle, int priority)
{
	struct sched_param param;
	int policy, r;

	if (!ours(handle))
		return REAL(pthread_setschedprio)(handle, priority);
	r = pthread_getschedparam(handle, &policy, &param);
	if (r)
		return r;
	param.sched_priority = priority;
	return pthread_setschedparam(handle, policy, &param);
}
