// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernel memory with known content, for tests of crash dumps.
 *
 * /sys/kernel/debug/fadump_truth/fill  write "SEED PAGES ZONE": allocate PAGES
 *	pages and fill each with the pattern of its page frame number. ZONE is
 *	"any", "dma32" (below 4 GiB) or "dma" (below 16 MiB, so always inside
 *	boot memory). May be written more than once.
 * /sys/kernel/debug/fadump_truth/pages  read: "PFN\n", hexadecimal, each page.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "pattern.h"

static struct dentry *truth_dir;
static LIST_HEAD(truth_pages);
/* protects truth_pages */
static DEFINE_MUTEX(truth_lock);

static int truth_fill(u64 seed, unsigned long nr, gfp_t zone)
{
	struct page *page;

	while (nr--) {
		page = alloc_page(GFP_KERNEL | zone);
		if (!page)
			return -ENOMEM;
		pattern_fill(page_address(page), seed, page_to_pfn(page));
		list_add_tail(&page->lru, &truth_pages);
		cond_resched();
	}
	return 0;
}

static ssize_t truth_write(struct file *file, const char __user *ubuf,
			   size_t len, loff_t *pos)
{
	unsigned long long seed;
	unsigned long nr;
	char buf[64], zone[8];
	gfp_t gfp;
	int ret;

	if (len >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, len))
		return -EFAULT;
	buf[len] = '\0';
	if (sscanf(buf, "%lli %li %7s", &seed, &nr, zone) != 3)
		return -EINVAL;
	if (!strcmp(zone, "any"))
		gfp = 0;
	else if (!strcmp(zone, "dma32"))
		gfp = __GFP_DMA32;
	else if (!strcmp(zone, "dma"))
		gfp = __GFP_DMA;
	else
		return -EINVAL;

	mutex_lock(&truth_lock);
	ret = truth_fill(seed, nr, gfp);
	mutex_unlock(&truth_lock);
	return ret ?: len;
}

static int truth_show(struct seq_file *m, void *v)
{
	struct page *page;

	mutex_lock(&truth_lock);
	list_for_each_entry(page, &truth_pages, lru)
		seq_printf(m, "%lx\n", page_to_pfn(page));
	mutex_unlock(&truth_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(truth);

static const struct file_operations truth_fill_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= truth_write,
};

static int __init truth_init(void)
{
	truth_dir = debugfs_create_dir("fadump_truth", NULL);
	debugfs_create_file("fill", 0200, truth_dir, NULL, &truth_fill_fops);
	debugfs_create_file("pages", 0400, truth_dir, NULL, &truth_fops);
	return 0;
}

static void __exit truth_exit(void)
{
	struct page *page, *next;

	debugfs_remove(truth_dir);
	list_for_each_entry_safe(page, next, &truth_pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

module_init(truth_init);
module_exit(truth_exit);
MODULE_DESCRIPTION("Kernel memory with known content, for tests of crash dumps");
MODULE_LICENSE("GPL");
