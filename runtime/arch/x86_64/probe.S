/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/probe.S - how a structure is passed, System V ABI.
 *
 * Puts down struct arch_probe_regs for arch_probe_look, as far as there is
 * something to see: a structure takes two registers at most.
 *
 *	 0	xmm0, xmm1, xmm2, nothing (2)
 *	80	rdi, rsi, rdx, nothing (3)
 *	128	nothing (8)
 *	136	return address
 */
	.text

	.globl	arch_probe
	.hidden	arch_probe
	.type	arch_probe, @function
	.p2align 4
arch_probe:
	.cfi_startproc
	subq	$136, %rsp
	.cfi_adjust_cfa_offset 136
	movups	%xmm0, (%rsp)
	movups	%xmm1, 16(%rsp)
	movups	%xmm2, 32(%rsp)
	movq	%rdi, 80(%rsp)
	movq	%rsi, 88(%rsp)
	movq	%rdx, 96(%rsp)
	movq	%rsp, %rdi
	call	arch_probe_look
	addq	$136, %rsp
	.cfi_adjust_cfa_offset -136
	ret
	.cfi_endproc
	.size	arch_probe, . - arch_probe

	.section .note.GNU-stack,"",@progbits
