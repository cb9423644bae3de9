/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/tls.h - to libc, a coroutine is a thread: a thread control block and
 * thread-local storage of its own.
 *
 * glibc itself lays the block out (_dl_allocate_tls) in memory of ours; the
 * few members of its thread descriptor that must be set are found through the
 * descriptors that libc exports for debuggers, so no offset of a private
 * structure is written down here. Where any of that is missing, tls_private()
 * is false and coroutines share the storage of the worker they run on. */
#ifndef COGO_MEM_TLS_H
#define COGO_MEM_TLS_H

#include "arch/tp.h"
#include "base/compiler.h"
#include <stdbool.h>

/* Once, on a thread that libc made. force_shared: as if libc had nothing. */
void tls_init(bool force_shared);
bool tls_private(void);
/* Why not, for reports; "" when private. */
const char *tls_why_shared(void);

/* Bytes of a block at the top of a stack, with its alignment. */
size_t tls_size(void);

/* Lays out a block that ends at or just below top; all of [top - tls_size(),
 * top) is its. Returns the thread pointer, 0 without memory. Allocates through
 * the program's malloc: on a thread or a coroutine, not inside malloc. */
uintptr_t tls_make(void *top);
/* The block again as a new thread finds it, but for malloc's cache, which
 * stays. As tls_make; the block is no longer in use. */
bool tls_renew(uintptr_t tp);
/* Whether that takes no memory and no lock of the loader's, of a block that has not
 * been rested; and doing it so. A library that came in between has left nothing in
 * a block that nobody used since. Any stack. */
bool tls_known(void);
void tls_renew_known(uintptr_t tp);

/* The library that this address is inside of was loaded just now, stays, and leaves
 * nothing in its variables that another coroutine may not find there: one such
 * library. open: libc's dlopen. */
typedef void *(*tls_open)(const char *file, int mode);
void tls_harmless(const void *inside, tls_open open);

/* What libc has allocated for the block goes; the block itself stays, for libc has
 * it on its list, and for tls_renew. Nobody uses it. */
void tls_rest(uintptr_t tp);

/* On a thread that libc has started, before the first tls_enter: where libc
 * points a new thread's resolver state. */
void tls_learn(void);

/* Once on the new coroutine itself, before any of the program's code. */
void tls_enter(void);

/* thread_local destructors of C++ (__cxa_thread_atexit_impl). */
void tls_call_destructors(void);

/* The id that libc keeps for the thread: locks compare it. */
void tls_set_tid(uintptr_t tp, int tid);
int tls_tid(uintptr_t tp);

/* Whether libc is inside a call that is a cancellation point, and would let
 * itself be unwound from there: so it marks the thread until it is back. Always
 * false where libc (from 2.41 on) does not. Of the caller, on whatever storage;
 * leave takes the mark from one that does not come back. */
bool tls_in_libcs_point(void);
void tls_leave_libcs_point(void);

/* pthread keys beyond the first 32 live in blocks of their own; free them. */
void tls_free_specific(uintptr_t tp);

/* Bytes of glibc's thread descriptor at tp that belong to it. */
size_t tls_thread_size(void);

/* Whether a library that is loaded later gets its initial-exec variables right
 * in the blocks that exist then. */
bool tls_follows_dlopen(void);

/* Storage for a kernel thread that runs nothing but the runtime (sched/bare.h):
 * a copy of one that libc has laid out, so without any lock and without malloc.
 * tls_keep_image, once, has it laid out, as tls_make; false without memory.
 * tls_copy uses tls_copy_size() bytes from low on; returns the thread pointer.
 * Libraries that are loaded later find no values of theirs in it. */
bool tls_keep_image(void);
bool tls_has_image(void);
/* As tls_rest; it can be copied as before. */
void tls_rest_image(void);
size_t tls_copy_size(void);
uintptr_t tls_copy(void *low);

/* Where storage is shared: what libc and the C++ library keep there and a
 * coroutine takes along all the same. libc's own error numbers, the locale of
 * uselocale, and C++'s exceptions in flight. All of it has a public way in. */
struct tls_carried {
	int error, resolver_error;
	void *locale;
	void *exceptions[2];
};
/* As a new thread has it. */
void tls_carried_init(struct tls_carried *c);
/* Whether anybody may have set a locale for itself: true until this says that
 * nobody has, and from then on whoever does says so. */
void tls_carry_locale(bool carry);

/* Where libc's own are from the thread pointer, on each thread; and whether any of
 * the rest has to be looked at. */
struct tls_own {
	long error, resolver_error;
	bool more;
};
extern struct tls_own tls_own;
NOINLINE void tls_take_more(struct tls_carried *c);
NOINLINE void tls_give_more(const struct tls_carried *c);

/* From this storage; into this storage. At every switch. */
static inline void tls_take(struct tls_carried *c)
{
	uintptr_t tp = arch_tp_get();

	c->error = *(int *)(tp + (uintptr_t)tls_own.error);
	c->resolver_error = *(int *)(tp + (uintptr_t)tls_own.resolver_error);
	if (unlikely(read_once(tls_own.more)))
		tls_take_more(c);
}

static inline void tls_give(const struct tls_carried *c)
{
	uintptr_t tp = arch_tp_get();

	if (unlikely(read_once(tls_own.more)))
		tls_give_more(c);
	*(int *)(tp + (uintptr_t)tls_own.resolver_error) = c->resolver_error;
	*(int *)(tp + (uintptr_t)tls_own.error) = c->error;
}

/* The two words in which the C++ library keeps this thread's exceptions: those
 * caught, and how many are in flight. NULL without that library. */
void **tls_exceptions(void);

void tls_fork_lock(void);
void tls_fork_unlock(void);
/* In the child. tp: the caller's, if its block is one of these, or 0.
 * worker_tp: that of the kernel thread it ran on, or 0 if that is its own.
 * libc_forked: it was libc's fork, which made its lists anew, and not a bare
 * system call. */
void tls_fork_child(uintptr_t tp, uintptr_t worker_tp, bool libc_forked);

#endif
