/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/context.S - leaving one stack for another, AAPCS64.
 *
 * A suspended context, growing upwards from its stack pointer:
 *
 *	  0	x29 (frame pointer), x30 (return address)
 *	 16	x19, x20
 *	 32	x21, x22
 *	 48	x23, x24
 *	 64	x25, x26
 *	 80	x27, x28
 *	 96	d8, d9
 *	112	d10, d11
 *	128	d12, d13
 *	144	d14, d15
 *	160	fpcr, nothing
 *	176	the caller's frame
 *
 * x29 and x30 come first, and x29 then points at them: so whoever walks by
 * frame pointers walks through. Of v8 to v15 the low halves alone are ours to
 * keep. x18 belongs to the platform, which on Linux does not use it.
 *
 * The return predictor pairs a ret with the last bl, which was made on the other
 * stack. If that one came from the same place, ret is right, and so are those of the
 * callers above as far as both have the same; with br each of them would be guessed
 * to go where the one below it went. If it came from another place, ret is wrong, and
 * br at least goes where it went the last time. Where br lands is no landing pad; the
 * object says nothing of BTI, so the linker does not ask for guarded pages. */
	.text

.macro define_switch name, last		/* x0 save_sp, x1 to_sp, x2 tp */
	.globl	\name
	.hidden	\name
	.type	\name, %function
	.p2align 4
\name:
	.cfi_startproc
	stp	x29, x30, [sp, #-176]!
	.cfi_adjust_cfa_offset 176
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	stp	x19, x20, [sp, #16]
	.cfi_rel_offset x19, 16
	.cfi_rel_offset x20, 24
	stp	x21, x22, [sp, #32]
	.cfi_rel_offset x21, 32
	.cfi_rel_offset x22, 40
	stp	x23, x24, [sp, #48]
	.cfi_rel_offset x23, 48
	.cfi_rel_offset x24, 56
	stp	x25, x26, [sp, #64]
	.cfi_rel_offset x25, 64
	.cfi_rel_offset x26, 72
	stp	x27, x28, [sp, #80]
	.cfi_rel_offset x27, 80
	.cfi_rel_offset x28, 88
	stp	d8, d9, [sp, #96]
	.cfi_rel_offset d8, 96
	.cfi_rel_offset d9, 104
	stp	d10, d11, [sp, #112]
	.cfi_rel_offset d10, 112
	.cfi_rel_offset d11, 120
	stp	d12, d13, [sp, #128]
	.cfi_rel_offset d12, 128
	.cfi_rel_offset d13, 136
	stp	d14, d15, [sp, #144]
	.cfi_rel_offset d14, 144
	.cfi_rel_offset d15, 152
	mrs	x9, fpcr
	str	x9, [sp, #160]
	mov	x10, sp
	str	x10, [x0]
	/* From here the old context is complete. A signal that arrives between
	 * the next two writes runs on the new stack with the old thread
	 * pointer; both belong to coroutines inside the runtime, where handlers
	 * are put off, so nobody looks. */
	mov	sp, x1
	mrs	x11, tpidr_el0
	cmp	x11, x2
	b.eq	1f
	msr	tpidr_el0, x2
1:	/* Writing fpcr drains the pipeline; it hardly ever differs. */
	ldr	x10, [sp, #160]
	cmp	x9, x10
	b.eq	2f
	msr	fpcr, x10
2:	ldp	d14, d15, [sp, #144]
	.cfi_restore d14
	.cfi_restore d15
	ldp	d12, d13, [sp, #128]
	.cfi_restore d12
	.cfi_restore d13
	ldp	d10, d11, [sp, #112]
	.cfi_restore d10
	.cfi_restore d11
	ldp	d8, d9, [sp, #96]
	.cfi_restore d8
	.cfi_restore d9
	ldp	x27, x28, [sp, #80]
	.cfi_restore x27
	.cfi_restore x28
	ldp	x25, x26, [sp, #64]
	.cfi_restore x25
	.cfi_restore x26
	ldp	x23, x24, [sp, #48]
	.cfi_restore x23
	.cfi_restore x24
	ldp	x21, x22, [sp, #32]
	.cfi_restore x21
	.cfi_restore x22
	ldp	x19, x20, [sp, #16]
	.cfi_restore x19
	.cfi_restore x20
	ldp	x29, x30, [sp], #176
	.cfi_adjust_cfa_offset -176
	.cfi_restore x29
	.cfi_restore x30
	\last	x30
	.cfi_endproc
	.size	\name, . - \name
.endm

	define_switch arch_switch, ret
	define_switch arch_switch_across, br

/* The first thing a new context runs: x19 holds entry, x20 its argument.
 * An undefined return address tells every unwinder that the stack ends, and a
 * frame pointer of zero those who walk by it. The nop keeps the one that looks
 * up pc - 1 out of arch_switch_across's notes. */
	nop
	.globl	arch_context_start
	.hidden	arch_context_start
	.type	arch_context_start, %function
	.p2align 4
arch_context_start:
	.cfi_startproc
	.cfi_undefined x30
	mov	x29, #0
	mov	x30, #0
	mov	x0, x20
	blr	x19
	brk	#0
	.cfi_endproc
	.size	arch_context_start, . - arch_context_start

/* The same of one that is called. At its stack pointer lies
 *
 *	 0	the stack pointer of who waits for it, as arch_switch saved it
 *	 8	nothing
 *
 * so the caller's frame is 176 above what that word says, and its registers lie
 * below, where arch_switch has stored them. */
	nop
	.globl	arch_context_start_called
	.hidden	arch_context_start_called
	.type	arch_context_start_called, %function
	.p2align 4
arch_context_start_called:
	.cfi_startproc
	/* DW_CFA_def_cfa_expression: breg31 0, deref, plus_uconst 176 */
	.cfi_escape 0x0f, 6, 0x8f, 0, 0x06, 0x23, 0xb0, 0x01
	.cfi_offset x29, -176
	.cfi_offset x30, -168
	.cfi_offset x19, -160
	.cfi_offset x20, -152
	.cfi_offset x21, -144
	.cfi_offset x22, -136
	.cfi_offset x23, -128
	.cfi_offset x24, -120
	.cfi_offset x25, -112
	.cfi_offset x26, -104
	.cfi_offset x27, -96
	.cfi_offset x28, -88
	.cfi_offset d8, -80
	.cfi_offset d9, -72
	.cfi_offset d10, -64
	.cfi_offset d11, -56
	.cfi_offset d12, -48
	.cfi_offset d13, -40
	.cfi_offset d14, -32
	.cfi_offset d15, -24
	mov	x29, #0
	mov	x30, #0
	mov	x0, x20
	blr	x19
	brk	#0
	.cfi_endproc
	.size	arch_context_start_called, . - arch_context_start_called

/* long arch_call_on(stack_top, fn, arg): the frame pointer keeps the way
 * back, so that unwinding crosses from the new stack to the old. */
	.globl	arch_call_on
	.hidden	arch_call_on
	.type	arch_call_on, %function
	.p2align 4
arch_call_on:
	.cfi_startproc
	stp	x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	.cfi_def_cfa_register x29
	and	x9, x0, #~15
	mov	sp, x9
	mov	x0, x2
	blr	x1
	mov	sp, x29
	.cfi_def_cfa_register sp
	ldp	x29, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x29
	.cfi_restore x30
	br	x30
	.cfi_endproc
	.size	arch_call_on, . - arch_call_on

/* long arch_syscall_unless(flag, nr, args): from the look at the flag up to and
 * with the system call, an interruption can be made to count: see
 * arch_fail_unless. */
	.globl	arch_syscall_unless
	.hidden	arch_syscall_unless
	.type	arch_syscall_unless, %function
	.globl	arch_unless_begin
	.hidden	arch_unless_begin
	.globl	arch_unless_call
	.hidden	arch_unless_call
	.globl	arch_unless_fail
	.hidden	arch_unless_fail
	.p2align 4
arch_syscall_unless:
	.cfi_startproc
	mov	x9, x0
	mov	x8, x1
	mov	x10, x2
	ldp	x0, x1, [x10]
	ldp	x2, x3, [x10, #16]
	ldp	x4, x5, [x10, #32]
arch_unless_begin:
	ldr	w11, [x9]
	cbnz	w11, arch_unless_fail
arch_unless_call:
	svc	#0
	ret
arch_unless_fail:
	mov	x0, #-4				/* -EINTR */
	ret
	.cfi_endproc
	.size	arch_syscall_unless, . - arch_syscall_unless

	.section .note.GNU-stack,"",%progbits
