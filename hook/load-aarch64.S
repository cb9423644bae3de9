/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/load-aarch64.S - dlopen(file, mode), by a jump: see load.c.
 *
 * Whoever is jumped to finds the caller's arguments in x0 and x1, the caller's
 * return address in x30, and the same in x2, where libc's dlopen has no
 * argument. */
	.text
	.globl	dlopen
	.type	dlopen, %function
	.p2align 4
dlopen:
	.cfi_startproc
	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	stp	x0, x1, [sp, #16]
	bl	load_target
	mov	x16, x0
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x29
	.cfi_restore x30
	mov	x2, x30
	br	x16
	.cfi_endproc
	.size	dlopen, . - dlopen

	.section .note.GNU-stack,"",%progbits
