/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/probe.S - how a structure is passed, AAPCS64.
 *
 * Puts down struct arch_probe_regs for arch_probe_look: a structure takes four
 * vector registers at most, or two general ones.
 *
 *	  0	v0 to v4
 *	 80	x0, x1, x2, nothing (3)
 *	128	x29, x30
 *	144	the caller's frame
 */
	.text

	.globl	arch_probe
	.hidden	arch_probe
	.type	arch_probe, %function
	.p2align 4
arch_probe:
	.cfi_startproc
	sub	sp, sp, #144
	.cfi_adjust_cfa_offset 144
	stp	x29, x30, [sp, #128]
	.cfi_rel_offset x29, 128
	.cfi_rel_offset x30, 136
	add	x29, sp, #128
	stp	q0, q1, [sp]
	stp	q2, q3, [sp, #32]
	str	q4, [sp, #64]
	stp	x0, x1, [sp, #80]
	str	x2, [sp, #96]
	mov	x0, sp
	bl	arch_probe_look
	ldp	x29, x30, [sp, #128]
	.cfi_restore x29
	.cfi_restore x30
	add	sp, sp, #144
	.cfi_adjust_cfa_offset -144
	ret
	.cfi_endproc
	.size	arch_probe, . - arch_probe

	.section .note.GNU-stack,"",%progbits
