/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/vfork-x86_64.S - a child that borrows our stack.
 *
 * The child returns first, into the caller's frame, and then writes where our
 * frame was. So nothing that the parent needs afterwards may be on the stack:
 * the return address and the coroutine stay in registers, which the kernel
 * gives back to each of the two.
 *
 *	rdi	return address		rsi	the coroutine, or NULL */
	.text
	.globl	vfork
	.type	vfork, @function
	.globl	__vfork
	.type	__vfork, @function
	.p2align 4
vfork:
__vfork:
	.cfi_startproc
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_before
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rdi
	movq	%rax, %rsi
	movl	$58, %eax		/* SYS_vfork */
	syscall
	testq	%rax, %rax
	jz	1f
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rip, 0
	movq	%rsi, %rdi
	movq	%rax, %rsi
	/* A tail call: its result is ours. */
	jmp	vfork_after
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rdi
1:	jmp	*%rdi
	.cfi_endproc
	.size	vfork, . - vfork
	.size	__vfork, . - __vfork

	.section .note.GNU-stack,"",@progbits
