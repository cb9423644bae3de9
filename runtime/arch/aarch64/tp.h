/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/tp.h - TPIDR_EL0 is the thread pointer.
 *
 * It points at two words, (dtv, unused), with static TLS right above them and
 * libc's thread descriptor right below. So pthread_self() is the thread pointer
 * less the descriptor's size, which is libc's secret: arch_tp_init takes it from
 * the difference on the thread that it runs on. Stack and pointer guard are
 * global variables of ld.so here, no words of the block. */
#ifndef COGO_ARCH_AARCH64_TP_H
#define COGO_ARCH_AARCH64_TP_H

#include <stdatomic.h>
#include <stdint.h>

#define ARCH_TLS_BELOW_TP 0

/* Written once, by arch_tp_init. */
extern uintptr_t arch_thread_size __attribute__((visibility("hidden")));

static inline uintptr_t arch_tp_get(void)
{
	uintptr_t tp;

	/* volatile: after a switch it is another one. */
	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(tp));
	return tp;
}

static inline void arch_tp_set(uintptr_t tp)
{
	__asm__ volatile("msr tpidr_el0, %0" : : "r"(tp) : "memory");
}

/* volatile: as above. */
#define ARCH_TLS_LOAD(name)						\
	__extension__({							\
		__typeof__(name) loaded_;				\
		uintptr_t at_;						\
		__asm__ volatile("adrp %1, :gottprel:" #name "\n\t"	\
				 "ldr %1, [%1, #:gottprel_lo12:" #name "]\n\t" \
				 "mrs %0, tpidr_el0\n\t"		\
				 "ldr %0, [%0, %1]"			\
				 : "=&r"(loaded_), "=&r"(at_));		\
		loaded_;						\
	})
#define ARCH_TLS_STORE(name, value)					\
	__extension__({							\
		uintptr_t at_, tp_;					\
		__asm__ volatile("adrp %0, :gottprel:" #name "\n\t"	\
				 "ldr %0, [%0, #:gottprel_lo12:" #name "]\n\t" \
				 "mrs %1, tpidr_el0\n\t"		\
				 "str %2, [%1, %0]"			\
				 : "=&r"(at_), "=&r"(tp_) : "r"(value)	\
				 : "memory");				\
	})

static inline void arch_tcb_init(void *tcb, const void *from)
{
	/* _dl_allocate_tls has written dtv; the other word stays zero. */
	(void)tcb;
	(void)from;
}

static inline void arch_tcb_set_dtv(void *tcb, void *dtv)
{
	((void **)tcb)[0] = dtv;
}

static inline void *arch_tcb_dtv(const void *tcb)
{
	return ((void *const *)tcb)[0];
}

static inline uintptr_t arch_tcb_to_tp(void *tcb)
{
	return (uintptr_t)tcb;
}

static inline uintptr_t arch_tp_to_thread(uintptr_t tp)
{
	return tp - arch_thread_size;
}

/* A fence of all kinds by one who has made an atomic read-modify-write since what
 * it is to put in order: that alone does not do here. */
static inline void arch_fence_after_rmw(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void arch_relax(void)
{
	__asm__ volatile("yield" : : : "memory");
}

static inline uint64_t arch_cycles(void)
{
	uint64_t n;

	/* The generic timer: some tens of nanoseconds to the tick, at a rate
	 * that never changes, the same on every processor. */
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(n));
	return n;
}

#endif
