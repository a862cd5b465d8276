// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Oops on demand: a write to /sys/kernel/debug/fadump_oops/null follows a null
 * pointer. With kernel.panic_on_oops=1 that is a panic which began as a fault,
 * the commonest crash of all.
 */
#include <linux/debugfs.h>
#include <linux/module.h>

static struct dentry *oops_dir;

struct oops_victim {
	char pad[0x18];
	int value;
};

/* Its own function, so that a backtrace has a name to show. */
static noinline int fadump_oops_follow(struct oops_victim *victim)
{
	return READ_ONCE(victim->value);
}

static ssize_t oops_write(struct file *file, const char __user *buf,
			  size_t len, loff_t *pos)
{
	struct oops_victim *victim = NULL;

	/* The compiler must not see that it is null. */
	OPTIMIZER_HIDE_VAR(victim);
	return fadump_oops_follow(victim) ? -EIO : -EINVAL;
}

static const struct file_operations oops_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= oops_write,
};

static int __init fadump_oops_init(void)
{
	oops_dir = debugfs_create_dir("fadump_oops", NULL);
	debugfs_create_file("null", 0200, oops_dir, NULL, &oops_fops);
	return 0;
}

static void __exit fadump_oops_exit(void)
{
	debugfs_remove(oops_dir);
}

module_init(fadump_oops_init);
module_exit(fadump_oops_exit);
MODULE_DESCRIPTION("Oops on demand, for tests of crash dumps");
MODULE_LICENSE("GPL");
