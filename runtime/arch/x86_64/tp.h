/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/tp.h - FS base is the thread pointer.
 *
 * glibc's thread control block begins with (tcb, dtv, self, …, 0x28: stack
 * guard, 0x30: pointer guard); tcb and self both hold its own address, so the
 * thread pointer can be read back through %fs:0. Static TLS lies below. */
#ifndef COGO_ARCH_X86_64_TP_H
#define COGO_ARCH_X86_64_TP_H

#include <stdatomic.h>
#include <stdint.h>

#define ARCH_TLS_BELOW_TP 1

static inline uintptr_t arch_tp_get(void)
{
	uintptr_t tp;

	__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

void arch_tp_set(uintptr_t tp);

/* volatile: after a switch it is another one. */
#define ARCH_TLS_LOAD(name)						\
	__extension__({							\
		__typeof__(name) loaded_;				\
		__asm__ volatile("mov " #name "@gottpoff(%%rip), %0\n\t" \
				 "mov %%fs:(%0), %0" : "=r"(loaded_));	\
		loaded_;						\
	})
#define ARCH_TLS_STORE(name, value)					\
	__extension__({							\
		uintptr_t at_;						\
		__asm__ volatile("mov " #name "@gottpoff(%%rip), %0\n\t" \
				 "mov %1, %%fs:(%0)"			\
				 : "=&r"(at_) : "r"(value) : "memory");	\
	})

static inline void arch_tcb_init(void *tcb, const void *from)
{
	uintptr_t *to = tcb;
	const uintptr_t *live = from;

	to[0] = (uintptr_t)tcb;
	to[2] = (uintptr_t)tcb;
	*(int *)&to[3] = 1;	/* multiple_threads: libc's locks are real */
	to[5] = live[5];	/* stack guard */
	to[6] = live[6];	/* pointer guard */
}

static inline void arch_tcb_set_dtv(void *tcb, void *dtv)
{
	((void **)tcb)[1] = dtv;
}

static inline void *arch_tcb_dtv(const void *tcb)
{
	return ((void *const *)tcb)[1];
}

static inline uintptr_t arch_tcb_to_tp(void *tcb)
{
	return (uintptr_t)tcb;
}

static inline uintptr_t arch_tp_to_thread(uintptr_t tp)
{
	return tp;
}

/* A fence of all kinds by one who has made an atomic read-modify-write since what
 * it is to put in order: each such instruction is one here. */
static inline void arch_fence_after_rmw(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void arch_relax(void)
{
	__builtin_ia32_pause();
}

static inline uint64_t arch_cycles(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
