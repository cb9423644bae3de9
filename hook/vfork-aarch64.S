/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/vfork-aarch64.S - a child that borrows our stack.
 *
 * The child returns first, into the caller's frame, and then writes where our
 * frame was. So nothing that the parent needs afterwards may be on the stack:
 * the return address and the coroutine stay in registers, which the kernel
 * gives back to each of the two.
 *
 *	x30	return address		x9	the coroutine, or NULL */
	.text
	.globl	vfork
	.type	vfork, %function
	.globl	__vfork
	.type	__vfork, %function
	.p2align 4
vfork:
__vfork:
	.cfi_startproc
	stp	x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	bl	vfork_before
	ldp	x29, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x29
	.cfi_restore x30
	mov	x9, x0
	/* clone(CLONE_VM | CLONE_VFORK | SIGCHLD, 0): there is no vfork. */
	mov	x0, #0x4111
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x8, #220
	svc	#0
	cbz	x0, 1f
	mov	x1, x0
	mov	x0, x9
	/* A tail call: its result is ours. */
	b	vfork_after
1:	ret
	.cfi_endproc
	.size	vfork, . - vfork
	.size	__vfork, . - __vfork

	.section .note.GNU-stack,"",%progbits
