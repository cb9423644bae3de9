/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/load-x86_64.S - dlopen(file, mode), by a jump: see load.c.
 *
 * Whoever is jumped to finds the caller's arguments in rdi and rsi, the
 * caller's return address on the stack, and the same in rdx, where libc's
 * dlopen has no argument. */
	.text
	.globl	dlopen
	.type	dlopen, @function
	.p2align 4
dlopen:
	.cfi_startproc
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	load_target
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	movq	(%rsp), %rdx
	jmp	*%rax
	.cfi_endproc
	.size	dlopen, . - dlopen

	.section .note.GNU-stack,"",@progbits
