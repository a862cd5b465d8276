// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spin CPU...: one thread on each CPU runs one known loop with known values in
 * its registers, for ever. Prints the loop's range of addresses, "loop START
 * END", once all of them are in it. Register number N (1 rbx, 2 rcx, 3 rdx,
 * 4 rsi, 5 rdi, 6 rbp, 8..15 r8..r15) holds
 *	0x5afe000000000000 | CPU << 16 | N << 8 | 0xa5
 * so that a mixed-up register, or one of another CPU, shows.
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char spin_loop_start[], spin_loop_end[];

/* Each thread counts itself in, just before its registers are no longer its own. */
static int arrived;

/*
 * rax counts turns, so that the loop is seen to run; rsp stays the stack's, as
 * the kernel's entry does not need it but a debugger may.
 */
__attribute__((noinline, noreturn)) static void spin(unsigned long base)
{
	asm volatile(
		"lock incl %[arrived]\n\t"
		"mov %[base], %%rax\n\t"
		"lea 0x1a5(%%rax), %%rbx\n\t"
		"lea 0x2a5(%%rax), %%rcx\n\t"
		"lea 0x3a5(%%rax), %%rdx\n\t"
		"lea 0x4a5(%%rax), %%rsi\n\t"
		"lea 0x5a5(%%rax), %%rdi\n\t"
		"lea 0x6a5(%%rax), %%rbp\n\t"
		"lea 0x8a5(%%rax), %%r8\n\t"
		"lea 0x9a5(%%rax), %%r9\n\t"
		"lea 0xaa5(%%rax), %%r10\n\t"
		"lea 0xba5(%%rax), %%r11\n\t"
		"lea 0xca5(%%rax), %%r12\n\t"
		"lea 0xda5(%%rax), %%r13\n\t"
		"lea 0xea5(%%rax), %%r14\n\t"
		"lea 0xfa5(%%rax), %%r15\n\t"
		"xor %%eax, %%eax\n"
		".globl spin_loop_start\n"
		"spin_loop_start:\n\t"
		"inc %%rax\n\t"
		"pause\n\t"
		"jmp spin_loop_start\n"
		".globl spin_loop_end\n"
		"spin_loop_end:\n\t"
		: [arrived] "+m" (arrived)
		: [base] "a" (base)
		: "memory");
	__builtin_unreachable();
}

static void *on_cpu(void *arg)
{
	unsigned long cpu = (unsigned long)arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(2, "CPU %lu", cpu);
	spin(0x5afe000000000000UL | cpu << 16);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int i;

	/* The loop's page is in memory before anything depends on it. */
	if (mlockall(MCL_CURRENT))
		err(2, "mlockall");
	for (i = 1; i < argc; i++)
		if (pthread_create(&thread, NULL, on_cpu,
				   (void *)strtoul(argv[i], NULL, 0)))
			errx(2, "no thread for CPU %s", argv[i]);
	while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < argc - 1)
		usleep(10000);
	usleep(100000);
	printf("loop %p %p\n", (void *)spin_loop_start, (void *)spin_loop_end);
	fflush(stdout);
	for (;;)
		pause();
}
