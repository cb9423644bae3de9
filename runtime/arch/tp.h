/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/tp.h - the contract: the thread pointer and what libc keeps around it.
 *
 *	arch_tp_get()		the thread pointer of this context, as the number
 *				that arch_switch takes and pthread_self's
 *				variant gives (see arch_tp_to_thread)
 *	arch_tp_set(tp)		the same, written
 *	arch_tcb_init(tcb, from) the header words that libc expects in a fresh
 *				thread control block: self pointers and the
 *				guards, copied from a live one
 *	arch_tcb_to_tp(tcb)	the thread pointer for a block that
 *				_dl_allocate_tls laid out at tcb
 *	arch_tp_to_thread(tp)	the pthread_t that pthread_self() returns there
 *	ARCH_TLS_LOAD(name)	a thread-local pointer of the initial-exec model, its
 *				address taken anew each time
 *	ARCH_TLS_STORE(name, value)	the same, written
 *	ARCH_TLS_BELOW_TP	whether static TLS lies below the thread pointer
 *	arch_fence_after_rmw()	a fence of all kinds, for one who has made an atomic
 *				read-modify-write since what it puts in order
 *	arch_relax()		a pause in a spin loop
 *	arch_cycles()		a cheap, roughly constant-rate counter */
#ifndef COGO_ARCH_TP_H
#define COGO_ARCH_TP_H

#if defined(__x86_64__)
#include "arch/x86_64/tp.h"
#elif defined(__aarch64__)
#include "arch/aarch64/tp.h"
#else
#error "cogo knows no thread pointer for this CPU: see runtime/arch/"
#endif

#endif
