// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Panics on demand, in the kinds of context that a kernel dies in. A write to
 * /sys/kernel/debug/fadump_panic/WHERE panics there:
 *
 *	task	the writer's own system call
 *	deep	the same, far down its stack
 *	thread	a kernel thread
 *	work	a worker
 *	irq	an interrupt, on the stack of interrupts
 *	other	an interrupt on another CPU
 *	softirq	a timer
 *	bug	the writer's own system call, by BUG(): an oops
 *	irqbug	an interrupt, by BUG()
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static struct dentry *panic_dir;
static DECLARE_COMPLETION(never);

/*
 * Its own function, so that a backtrace has a name to show. The compiler must not
 * see that this does not return: it would put nothing behind the call, and then
 * debuggers take the return address for the next function's.
 */
static noinline void fadump_panic_here(const char *where)
{
	void (*die)(const char *fmt, ...) __printf(1, 2) = panic;

	OPTIMIZER_HIDE_VAR(die);
	die("fadump test: %s", where);
	/* nor a jump that leaves no return address */
	barrier();
}

static noinline void fadump_panic_bug(void)
{
	BUG();
}

static noinline int fadump_panic_deep(int depth)
{
	char pad[128];
	int sum;

	/* The compiler must not see that nobody reads it. */
	OPTIMIZER_HIDE_VAR(depth);
	memset(pad, depth, sizeof(pad));
	barrier_data(pad);
	if (!depth) {
		fadump_panic_here("deep");
		return 0;
	}
	sum = fadump_panic_deep(depth - 1);
	return sum + pad[depth];
}

static int panic_thread(void *unused)
{
	fadump_panic_here("thread");
	return 0;
}

static void panic_work_fn(struct work_struct *work)
{
	fadump_panic_here("work");
}
static DECLARE_WORK(panic_work, panic_work_fn);

static void panic_irq_fn(struct irq_work *work)
{
	fadump_panic_here("irq");
}
static struct irq_work panic_irq_work = IRQ_WORK_INIT_HARD(panic_irq_fn);

static void panic_irqbug_fn(struct irq_work *work)
{
	fadump_panic_bug();
}
static struct irq_work panic_irqbug_work = IRQ_WORK_INIT_HARD(panic_irqbug_fn);

static void panic_other_fn(void *unused)
{
	fadump_panic_here("other");
}

static void panic_timer_fn(struct timer_list *timer)
{
	fadump_panic_here("softirq");
}
static DEFINE_TIMER(panic_timer, panic_timer_fn);

static void panic_task_start(void)
{
	fadump_panic_here("task");
}

static void panic_deep_start(void)
{
	fadump_panic_deep(20);
}

static void panic_thread_start(void)
{
	kthread_run(panic_thread, NULL, "fadump_panic");
}

static void panic_work_start(void)
{
	schedule_work(&panic_work);
}

static void panic_irq_start(void)
{
	irq_work_queue(&panic_irq_work);
}

static void panic_irqbug_start(void)
{
	irq_work_queue(&panic_irqbug_work);
}

static void panic_other_start(void)
{
	int cpu = get_cpu();

	smp_call_function_single(cpumask_any_but(cpu_online_mask, cpu),
				 panic_other_fn, NULL, 1);
	put_cpu();
}

static void panic_softirq_start(void)
{
	mod_timer(&panic_timer, jiffies);
}

static const struct panic_place {
	const char *name;
	void (*start)(void);
} places[] = {
	{ "task", panic_task_start },
	{ "deep", panic_deep_start },
	{ "thread", panic_thread_start },
	{ "work", panic_work_start },
	{ "irq", panic_irq_start },
	{ "other", panic_other_start },
	{ "softirq", panic_softirq_start },
	{ "bug", fadump_panic_bug },
	{ "irqbug", panic_irqbug_start },
};

static ssize_t panic_write(struct file *file, const char __user *buf,
			   size_t len, loff_t *pos)
{
	const struct panic_place *place = file->private_data;

	place->start();
	/* The panic is somewhere else: nothing here may end meanwhile. */
	wait_for_completion_interruptible(&never);
	return -EINTR;
}

static const struct file_operations panic_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= panic_write,
};

static int __init fadump_panic_init(void)
{
	unsigned int i;

	panic_dir = debugfs_create_dir("fadump_panic", NULL);
	for (i = 0; i < ARRAY_SIZE(places); i++)
		debugfs_create_file(places[i].name, 0200, panic_dir,
				    (void *)&places[i], &panic_fops);
	return 0;
}

static void __exit fadump_panic_exit(void)
{
	debugfs_remove(panic_dir);
}

module_init(fadump_panic_init);
module_exit(fadump_panic_exit);
MODULE_DESCRIPTION("Panics on demand, for tests of crash dumps");
MODULE_LICENSE("GPL");
