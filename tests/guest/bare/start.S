/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From multiboot's 32-bit mode to C in 64-bit mode, and back out of life: the
 * crashes, with the registers as C has put them in crash_regs.
 */
	.section .multiboot, "a"
	.long	0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl	_start
_start:
	cld
	lidt	no_idt				/* any exception is a triple fault */
	movl	$stack_top, %esp
	movl	%ebx, %esi			/* what the loader tells */

	/* 4 GiB in 2 MiB pages, at their own addresses; C maps what is higher */
	movl	$first_pds, %edi
	movl	$0x83, %eax
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	jnc	1b
	movl	$first_pds + 3, %eax
	movl	$first_pdpt, %edi
	movl	$4, %ecx
2:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$4096, %eax
	loop	2b
	movl	$first_pdpt + 3, pml4

	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		/* EFER */
	rdmsr
	orl	$0x100, %eax			/* LME */
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $1f
	.code64
1:	xorl	%eax, %eax
	movl	%eax, %ss
	movl	%esi, %edi
	call	bare_main

	.globl	halt
halt:	cli
	hlt
	jmp	halt

	/* C calls this; the crash itself may use registers that it names. */
	.globl	crash
crash:
	movq	%rdi, crash_target
	movq	crash_regs, %rax
	movq	crash_regs + 8, %rcx
	movq	crash_regs + 16, %rdx
	movq	crash_regs + 24, %rbx
	movq	crash_regs + 40, %rbp
	movq	crash_regs + 48, %rsi
	movq	crash_regs + 56, %rdi
	movq	crash_regs + 64, %r8
	movq	crash_regs + 72, %r9
	movq	crash_regs + 80, %r10
	movq	crash_regs + 88, %r11
	movq	crash_regs + 96, %r12
	movq	crash_regs + 104, %r13
	movq	crash_regs + 112, %r14
	movq	crash_regs + 120, %r15
	jmp	*crash_target

	.globl	crash_trigger, crash_reset, crash_triple, crash_hang, crash_end
crash_trigger:
	movl	$1, (%rdi)
1:	jmp	1b
crash_reset:
	outb	%al, %dx
1:	jmp	1b
crash_triple:
	ud2
crash_hang:
	jmp	crash_hang
crash_end:

	/*
	 * Run what lies at rdi, with rax an address that it may write to: zeros
	 * are "add %al, (%rax)".
	 */
	.globl	run_at
run_at:
	leaq	run_scratch(%rip), %rax
	call	*%rdi
	ret

	.section .rodata
	.balign	8
no_idt:	.quad	0, 0
gdt:	.quad	0
	.quad	0x00209a0000000000		/* 8: 64-bit code */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.balign	4096
	.globl	pml4, crash_regs
pml4:	.space	4096
first_pdpt:
	.space	4096
first_pds:
	.space	4 * 4096
	.space	16384
stack_top:
crash_regs:
	.space	16 * 8
crash_target:
	.space	8
run_scratch:
	.space	8

	.section .note.GNU-stack, "", @progbits
