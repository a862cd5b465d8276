// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ways to die without a panic, for tests of crash dumps. All under
 * /sys/kernel/debug/fadump_hang/:
 *
 *   loop	read: "START END", hexadecimal, the addresses of the loop
 *   hang	write: every CPU runs the loop with interrupts off, for ever
 *   fault	read: the address of the instruction that faults
 *   triple	write: a CPU that cannot deliver any exception meets one
 *
 * A CPU says its number in rbx, so that registers of another one show:
 * 0x4a46000000000000 | CPU in the loop, 0x3fa0000000000000 | CPU at the fault.
 */
#include <linux/debugfs.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/desc.h>

#define IN_LOOP		0x4a46000000000000UL
#define AT_FAULT	0x3fa0000000000000UL

extern const char fadump_hang_loop[], fadump_hang_loop_end[];
extern const char fadump_hang_fault[];

static struct dentry *hang_dir;

/*
 * As the handler of an interrupt, or with interrupts off. rbx never is 0, but
 * objtool wants code that has an end.
 */
static noinline __noclone void fadump_hang_here(void *unused)
{
	asm volatile(".globl fadump_hang_loop\n"
		     "fadump_hang_loop:\n\t"
		     ANNOTATE_NOENDBR "\n\t"
		     "pause\n\t"
		     "test %%rbx, %%rbx\n\t"
		     "jne fadump_hang_loop\n"
		     ".globl fadump_hang_loop_end\n"
		     "fadump_hang_loop_end:\n\t"
		     ANNOTATE_NOENDBR "\n\t"
		     : : "b" (IN_LOOP | smp_processor_id()) : "memory", "cc");
}

static ssize_t hang_write(struct file *file, const char __user *buf,
			  size_t len, loff_t *pos)
{
	preempt_disable();
	smp_call_function(fadump_hang_here, NULL, 0);
	local_irq_disable();
	fadump_hang_here(NULL);
	return -EIO;
}

/* An address that is not canonical: objtool knows what ud2 does, and warns. */
static noinline __noclone void fadump_hang_triple(void)
{
	static const struct desc_ptr none;

	local_irq_disable();
	load_idt(&none);
	asm volatile(".globl fadump_hang_fault\n"
		     "fadump_hang_fault:\n\t"
		     ANNOTATE_NOENDBR "\n\t"
		     "testb $1, (%0)\n\t"
		     : : "r" (1UL << 63), "b" (AT_FAULT | smp_processor_id())
		     : "memory", "cc");
}

static ssize_t triple_write(struct file *file, const char __user *buf,
			    size_t len, loff_t *pos)
{
	preempt_disable();
	fadump_hang_triple();
	return -EIO;
}

static int loop_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%px %px\n", fadump_hang_loop, fadump_hang_loop_end);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(loop);

static int fault_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%px\n", fadump_hang_fault);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fault);

static const struct file_operations hang_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= hang_write,
};

static const struct file_operations triple_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= triple_write,
};

static int __init hang_init(void)
{
	hang_dir = debugfs_create_dir("fadump_hang", NULL);
	debugfs_create_file("loop", 0400, hang_dir, NULL, &loop_fops);
	debugfs_create_file("hang", 0200, hang_dir, NULL, &hang_fops);
	debugfs_create_file("fault", 0400, hang_dir, NULL, &fault_fops);
	debugfs_create_file("triple", 0200, hang_dir, NULL, &triple_fops);
	return 0;
}

static void __exit hang_exit(void)
{
	debugfs_remove(hang_dir);
}

module_init(hang_init);
module_exit(hang_exit);
MODULE_DESCRIPTION("Hangs and triple faults on demand, for tests of crash dumps");
MODULE_LICENSE("GPL");
