/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* explore_atomic.h - included before everything else where the runtime's own
 * sources are compiled to be explored (explore.h): each atomic access first asks
 * the explorer who shall go on. What is to be written is worked out before that:
 * what comes between a load and the store of what was made of it must show. */
#ifndef TESTS_UNIT_EXPLORE_ATOMIC_H
#define TESTS_UNIT_EXPLORE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

void explore_point(const char *file, int line, const char *what,
		   const volatile void *at, bool writes);
void explore_until(_Atomic uint32_t *word, uint32_t value);

#ifdef __clang__
#define EXPLORE_LOAD(p) __c11_atomic_load(p, __ATOMIC_SEQ_CST)
#define EXPLORE_STORE(p, v) __c11_atomic_store(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_SWAP(p, v) __c11_atomic_exchange(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_CAS(p, e, v)                                                   \
	__c11_atomic_compare_exchange_strong(p, e, v, __ATOMIC_SEQ_CST,        \
					     __ATOMIC_SEQ_CST)
#define EXPLORE_ADD(p, v) __c11_atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_SUB(p, v) __c11_atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_OR(p, v) __c11_atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_AND(p, v) __c11_atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#else
#define EXPLORE_LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define EXPLORE_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_SWAP(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_CAS(p, e, v)                                                   \
	__atomic_compare_exchange_n(p, e, v, 0, __ATOMIC_SEQ_CST,              \
				    __ATOMIC_SEQ_CST)
#define EXPLORE_ADD(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_SUB(p, v) __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_OR(p, v) __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define EXPLORE_AND(p, v) __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#endif

/* Locks as one step: whoever takes one waits until it is free, and giving it
 * back needs no stop of its own, since nothing that others may see comes between
 * it and the last thing that was done under it. */
#ifndef EXPLORE_REAL_LOCKS
#include "base/lock.h"
#define lock_by(l, wait) (explore_until(&(l)->word, 0), (lock_by)(l, wait))
#define lock(l) lock_by(l, lock_slow)
#define lock_try_fast(l)                                                       \
	(explore_point(__FILE__, __LINE__, "tries " #l, l, true),              \
	 (lock_try_fast)(l))
#endif

/* Not for what they do, but for what they would cost or change here. */
#include "arch/tp.h"
#define arch_relax() ((void)0)
#define arch_cycles() ((uint64_t)0)

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_thread_fence
#undef atomic_signal_fence

#define EXPLORE_CAT_(a, b) a##b
#define EXPLORE_CAT(a, b) EXPLORE_CAT_(a, b)
/* The comma takes off the _Atomic. */
#define EXPLORE_OP_(op, say, p, v, value)                                      \
	__extension__({                                                        \
		__typeof__((void)0, *(p)) value = (v);                         \
		explore_point(__FILE__, __LINE__, say, p, true);               \
		op(p, value);                                                  \
	})
#define EXPLORE_OP(op, say, p, v)                                              \
	EXPLORE_OP_(op, say, p, v, EXPLORE_CAT(explore_value, __COUNTER__))
#define EXPLORE_TRY_(p, e, v, value)                                           \
	__extension__({                                                        \
		__typeof__((void)0, *(p)) value = (v);                         \
		explore_point(__FILE__, __LINE__, "tries " #p " -> " #v, p,    \
			      true);                                           \
		EXPLORE_CAS(p, e, value);                                      \
	})
#define EXPLORE_TRY(p, e, v)                                                   \
	EXPLORE_TRY_(p, e, v, EXPLORE_CAT(explore_value, __COUNTER__))
#define EXPLORE_COUNT_(op, say, p, v, value)                                   \
	__extension__({                                                        \
		uint64_t value = (uint64_t)(v);                                \
		explore_point(__FILE__, __LINE__, say, p, true);               \
		op(p, (__typeof__((void)0, *(p)))value);                       \
	})
#define EXPLORE_COUNT(op, say, p, v)                                           \
	EXPLORE_COUNT_(op, say, p, v, EXPLORE_CAT(explore_value, __COUNTER__))

#define atomic_load_explicit(p, o)                                             \
	__extension__({                                                        \
		explore_point(__FILE__, __LINE__, "reads " #p, p, false);      \
		EXPLORE_LOAD(p);                                               \
	})
#define atomic_store_explicit(p, v, o)                                         \
	EXPLORE_OP(EXPLORE_STORE, "writes " #p " = " #v, p, v)
#define atomic_exchange_explicit(p, v, o)                                      \
	EXPLORE_OP(EXPLORE_SWAP, "swaps " #p " for " #v, p, v)
#define atomic_compare_exchange_strong_explicit(p, e, v, o, f)                 \
	EXPLORE_TRY(p, e, v)
/* It does not fail for no reason: that is only one turn more of a loop. */
#define atomic_compare_exchange_weak_explicit(p, e, v, o, f)                   \
	EXPLORE_TRY(p, e, v)
#define atomic_fetch_add_explicit(p, v, o)                                     \
	EXPLORE_COUNT(EXPLORE_ADD, #p " += " #v, p, v)
#define atomic_fetch_sub_explicit(p, v, o)                                     \
	EXPLORE_COUNT(EXPLORE_SUB, #p " -= " #v, p, v)
#define atomic_fetch_or_explicit(p, v, o)                                      \
	EXPLORE_COUNT(EXPLORE_OR, #p " |= " #v, p, v)
#define atomic_fetch_and_explicit(p, v, o)                                     \
	EXPLORE_COUNT(EXPLORE_AND, #p " &= " #v, p, v)
/* Everything is in one order here: a fence orders nothing more. */
#define atomic_thread_fence(o) ((void)0)
#define atomic_signal_fence(o) ((void)0)

#endif
