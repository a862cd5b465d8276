/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest there is: a multiboot kernel that QEMU's -kernel loads
 * and SeaBIOS starts, up in a second. It says "tiny ACTION KIB" on the debug
 * console (port 0x402), KIB being the memory from 1 MiB on that firmware told
 * it of, in hexadecimal. Then it does what the last letter of its command line
 * says:
 *
 *	h	nothing, interrupts off
 *	s	nothing, in a loop
 *	S	the same in 64-bit mode at a high address: an operating system
 *	r	reset the machine, without paging: a BIOS bootloader
 *	l	the same with paging in 64-bit mode, at low addresses: UEFI
 *	R	the same at high addresses: the kernel of an operating system
 *	b	the same in 32-bit mode, at 3 GiB + 1 MiB: a 32-bit kernel
 *	u	the same at a low address with CPL 3: one's user program
 *	t	triple fault, without paging
 *	T	triple fault, in 64-bit mode at a high address
 *	p	tell pvpanic (port 0x505), then as h
 *	o	power off (as ACPI does, port 0x604)
 *
 * t and T have numbers in the registers: 0x5afe00a5 | N << 8, with T also
 * N << 56, where N counts as x86 encodes registers; but rbx (ebx) has the
 * address of the instruction that faults, and rsp is the stack's.
 */
	.set	HIGH, 0xffffffff80000000
	.set	HIGH32, 0xc0000000

	.section .multiboot, "a"
	.long	0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl	_start
_start:
	cld
	movl	$stack_top, %esp
	movl	%ebx, %ebp			/* what the loader tells */

	movl	16(%ebp), %esi			/* command line */
	movb	$'h', %bl
1:	lodsb
	testb	%al, %al
	jz	2f
	movb	%al, %bl
	jmp	1b
2:
	movw	$0x402, %dx
	movl	$hello, %esi
	movl	$hello_end - hello, %ecx
	rep	outsb
	movb	%bl, %al
	outb	%al, %dx
	movb	$' ', %al
	outb	%al, %dx
	movl	8(%ebp), %edi			/* mem_upper */
	movl	$8, %ecx
3:	roll	$4, %edi
	movl	%edi, %eax
	andl	$15, %eax
	movb	digits(%eax), %al
	outb	%al, %dx
	loop	3b
	movb	$'\n', %al
	outb	%al, %dx

	cmpb	$'s', %bl
	je	spin
	cmpb	$'r', %bl
	je	reset32
	cmpb	$'t', %bl
	je	triple32
	cmpb	$'p', %bl
	je	pvpanic
	cmpb	$'o', %bl
	je	power_off
	cmpb	$'b', %bl
	je	high32
	cmpb	$'l', %bl
	je	long_mode
	cmpb	$'R', %bl
	je	long_mode
	cmpb	$'S', %bl
	je	long_mode
	cmpb	$'u', %bl
	je	long_mode
	cmpb	$'T', %bl
	je	long_mode
halt:	cli
	hlt
	jmp	halt

spin:	pause
	jmp	spin

pvpanic:
	movw	$0x505, %dx
	movb	$1, %al
	outb	%al, %dx
	jmp	halt

power_off:
	movw	$0x604, %dx
	movw	$0x2000, %ax
	outw	%ax, %dx
	jmp	halt

reset32:
	movw	$0xcf9, %dx
	movb	$2, %al
	outb	%al, %dx
	movb	$6, %al
	outb	%al, %dx
	jmp	halt

triple32:
	lidt	no_idt
	movl	$0x5afe00a5, %eax
	movl	$0x5afe01a5, %ecx
	movl	$0x5afe02a5, %edx
	movl	$1f, %ebx
	movl	$0x5afe05a5, %ebp
	movl	$0x5afe06a5, %esi
	movl	$0x5afe07a5, %edi
1:	ud2

	/* 4 MiB pages: [0, 4 MiB) at 0 and at 3 GiB */
high32:
	movl	$0x83, page_dir
	movl	$0x83, page_dir + (HIGH32 >> 22) * 4
	movl	%cr4, %eax
	orl	$0x10, %eax			/* PSE */
	movl	%eax, %cr4
	movl	$page_dir, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	movl	$reset32 + HIGH32, %eax
	jmp	*%eax

	/* 2 MiB page 0, at 0 and at HIGH, for everyone */
long_mode:
	movl	$pdpt + 7, pml4
	movl	$pdpt + 7, pml4 + 511 * 8
	movl	$pd + 7, pdpt
	movl	$pd + 7, pdpt + 510 * 8
	movl	$0x87, pd
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
	cmpb	$'l', %bl
	je	reset64
	cmpb	$'u', %bl
	je	user
	movabs	$HIGH, %rax
	addq	%rax, %rsp
	cmpb	$'T', %bl
	je	2f
	cmpb	$'S', %bl
	je	3f
	addq	$reset64, %rax
	jmp	*%rax
2:	addq	$triple64, %rax
	jmp	*%rax
3:	addq	$spin64, %rax
	jmp	*%rax
spin64:	pause
	jmp	spin64

user:
	movl	$stack_top, %eax
	pushq	$16 | 3				/* ss */
	pushq	%rax				/* rsp */
	pushq	$0x3002				/* rflags: IOPL 3 */
	pushq	$24 | 3				/* cs */
	pushq	$reset64
	iretq

reset64:
	movw	$0xcf9, %dx
	movb	$2, %al
	outb	%al, %dx
	movb	$6, %al
	outb	%al, %dx
1:	pause					/* hlt is not for CPL 3 */
	jmp	1b

triple64:
	lidt	no_idt
	movabs	$0x000000005afe00a5, %rax
	movabs	$0x010000005afe01a5, %rcx
	movabs	$0x020000005afe02a5, %rdx
	movabs	$0x050000005afe05a5, %rbp
	movabs	$0x060000005afe06a5, %rsi
	movabs	$0x070000005afe07a5, %rdi
	movabs	$0x080000005afe08a5, %r8
	movabs	$0x090000005afe09a5, %r9
	movabs	$0x0a0000005afe0aa5, %r10
	movabs	$0x0b0000005afe0ba5, %r11
	movabs	$0x0c0000005afe0ca5, %r12
	movabs	$0x0d0000005afe0da5, %r13
	movabs	$0x0e0000005afe0ea5, %r14
	movabs	$0x0f0000005afe0fa5, %r15
	leaq	1f(%rip), %rbx
1:	ud2
	.code32

	.section .rodata
hello:	.ascii	"tiny "
hello_end:
digits:	.ascii	"0123456789abcdef"
	.balign	8
no_idt:	.quad	0, 0
gdt:	.quad	0
	.quad	0x00209a0000000000		/* 8: 64-bit code */
	.quad	0x00cff2000000ffff		/* 16: data, CPL 3 */
	.quad	0x0020fa0000000000		/* 24: 64-bit code, CPL 3 */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.balign	4096
page_dir:
pml4:	.space	4096
pdpt:	.space	4096
pd:	.space	4096
	.space	4096
stack_top:

	.section .note.GNU-stack, "", @progbits
