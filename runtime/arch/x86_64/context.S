/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/context.S - leaving one stack for another, System V ABI.
 *
 * A suspended context, growing upwards from its stack pointer:
 *
 *	 0	mxcsr (4 bytes), x87 control word (2), nothing (2)
 *	 8	r15
 *	16	r14
 *	24	r13
 *	32	r12
 *	40	rbx
 *	48	rbp
 *	56	return address
 *	64	the caller's frame
 *
 * The return predictor pairs a ret with the last call, which was made on the other
 * stack. If that one came from the same place, ret is right, and so are those of the
 * callers above as far as both have the same; with pop and jmp each of them would be
 * guessed to go where the one below it went. If it came from another place, ret is
 * wrong, and jmp at least goes where it went the last time. */
	.text

.macro define_switch name, last		/* rdi save_sp, rsi to_sp, rdx tp */
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.p2align 4
\name:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movq	%rsp, (%rdi)
	/* Nearly always both have the same, and to load it costs as much again. */
	movl	(%rsp), %r8d
	movzwl	4(%rsp), %r9d
	xorl	(%rsi), %r8d
	xorw	4(%rsi), %r9w
	orl	%r9d, %r8d
	/* From here the old context is complete. A signal that arrives between
	 * the next two writes runs on the new stack with the old thread
	 * pointer; both belong to coroutines inside the runtime, where handlers
	 * are put off, so nobody looks. */
	movq	%rsi, %rsp
	cmpq	%fs:0, %rdx
	je	1f
	cmpb	$0, arch_use_wrfsbase(%rip)
	je	2f
	wrfsbase %rdx
1:	testl	%r8d, %r8d
	jne	3f
4:	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
.ifc \last, ret
	ret
.else
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	jmp	*%rcx
.endif
	.cfi_endproc
	/* The slow way, for machines (and valgrind) without the instruction:
	 * arch_prctl(ARCH_SET_FS, tp). It changes rax, rcx and r11 only, none
	 * of which a caller expects back. */
	.cfi_startproc
	.cfi_def_cfa_offset 64
	.cfi_rel_offset rbp, 48
	.cfi_rel_offset rbx, 40
	.cfi_rel_offset r12, 32
	.cfi_rel_offset r13, 24
	.cfi_rel_offset r14, 16
	.cfi_rel_offset r15, 8
2:	movl	$158, %eax
	movl	$0x1002, %edi
	movq	%rdx, %rsi
	syscall
	jmp	1b
3:	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	jmp	4b
	.cfi_endproc
	.size	\name, . - \name
.endm

	define_switch arch_switch, ret
	define_switch arch_switch_across, jmp

/* The first thing a new context runs: r12 holds entry, r13 its argument.
 * An undefined return address tells every unwinder that the stack ends. */
	.globl	arch_context_start
	.hidden	arch_context_start
	.type	arch_context_start, @function
	.p2align 4
arch_context_start:
	.cfi_startproc
	.cfi_undefined rip
	xorl	%ebp, %ebp
	movq	%r13, %rdi
	call	*%r12
	ud2
	.cfi_endproc
	.size	arch_context_start, . - arch_context_start

/* The same of one that is called. At its stack pointer lies
 *
 *	 0	the stack pointer of who waits for it, as arch_switch saved it
 *	 8	nothing
 *
 * so the caller's frame is 64 above what that word says, and its registers lie
 * below, where arch_switch has pushed them. */
	nop
	.globl	arch_context_start_called
	.hidden	arch_context_start_called
	.type	arch_context_start_called, @function
	.p2align 4
arch_context_start_called:
	.cfi_startproc
	/* DW_CFA_def_cfa_expression: breg7 0, deref, plus_uconst 64 */
	.cfi_escape 0x0f, 5, 0x77, 0, 0x06, 0x23, 64
	.cfi_offset rip, -8
	.cfi_offset rbp, -16
	.cfi_offset rbx, -24
	.cfi_offset r12, -32
	.cfi_offset r13, -40
	.cfi_offset r14, -48
	.cfi_offset r15, -56
	xorl	%ebp, %ebp
	movq	%r13, %rdi
	call	*%r12
	ud2
	.cfi_endproc
	.size	arch_context_start_called, . - arch_context_start_called

/* long arch_call_on(stack_top, fn, arg): the frame pointer keeps the way
 * back, so that unwinding crosses from the new stack to the old. */
	.globl	arch_call_on
	.hidden	arch_call_on
	.type	arch_call_on, @function
	.p2align 4
arch_call_on:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	movq	%rdi, %rsp
	andq	$-16, %rsp
	movq	%rdx, %rdi
	call	*%rsi
	movq	%rbp, %rsp
	.cfi_def_cfa_register rsp
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	jmp	*%rcx
	.cfi_endproc
	.size	arch_call_on, . - arch_call_on

/* long arch_syscall_unless(flag, nr, args): from the look at the flag up to and
 * with the system call, an interruption can be made to count: see
 * arch_fail_unless. The kernel writes to rcx and r11. */
	.globl	arch_syscall_unless
	.hidden	arch_syscall_unless
	.type	arch_syscall_unless, @function
	.globl	arch_unless_begin
	.hidden	arch_unless_begin
	.globl	arch_unless_call
	.hidden	arch_unless_call
	.globl	arch_unless_fail
	.hidden	arch_unless_fail
	.p2align 4
arch_syscall_unless:
	.cfi_startproc
	movq	%rdi, %rcx
	movq	%rsi, %rax
	movq	%rdx, %r11
	movq	(%r11), %rdi
	movq	8(%r11), %rsi
	movq	16(%r11), %rdx
	movq	24(%r11), %r10
	movq	32(%r11), %r8
	movq	40(%r11), %r9
arch_unless_begin:
	cmpl	$0, (%rcx)
	jne	arch_unless_fail
arch_unless_call:
	syscall
	ret
arch_unless_fail:
	movq	$-4, %rax			/* -EINTR */
	ret
	.cfi_endproc
	.size	arch_syscall_unless, . - arch_syscall_unless

/* Where a signal handler returns to. Unwinders know these very bytes for a
 * signal frame, as long as no unwind note covers them; the nop before keeps
 * the one that looks up pc - 1 out of arch_call_on's. */
	nop
	.globl	arch_sigreturn
	.hidden	arch_sigreturn
	.type	arch_sigreturn, @function
arch_sigreturn:
	.byte	0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0		/* mov $15, %rax */
	.byte	0x0f, 0x05				/* syscall */
	.size	arch_sigreturn, . - arch_sigreturn

	.section .note.GNU-stack,"",@progbits
