// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dump device that cries wolf: tells the driver under test that the
 * configuration has changed when it has not, as often as it is told to.
 *
 * /sys/kernel/debug/fadump_liar/
 *   interrupts  write: how many, one right after the other
 */
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/version.h>
#include <linux/virtio.h>

#define LIAR_VENDOR	0x1af4
#define LIAR_DEVICE	0x107b

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
typedef void *liar_match_t;
#else
typedef const void *liar_match_t;
#endif

static struct pci_dev *liar_pdev;
static struct dentry *liar_dir;

static int liar_is_virtio(struct device *dev, liar_match_t data)
{
	return dev->bus && !strcmp(dev->bus->name, "virtio");
}

static int interrupts_set(void *data, u64 count)
{
	/* The driver may have been bound anew, so look each time. */
	struct device *dev = device_find_child(&liar_pdev->dev, NULL,
					       liar_is_virtio);

	if (!dev)
		return -ENODEV;
	while (count--) {
		local_irq_disable();
		virtio_config_changed(dev_to_virtio(dev));
		local_irq_enable();
		cond_resched();
	}
	put_device(dev);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(interrupts_fops, NULL, interrupts_set, "%llu\n");

static int __init liar_init(void)
{
	liar_pdev = pci_get_device(LIAR_VENDOR, LIAR_DEVICE, NULL);
	if (!liar_pdev)
		return -ENODEV;
	liar_dir = debugfs_create_dir("fadump_liar", NULL);
	debugfs_create_file_unsafe("interrupts", 0200, liar_dir, NULL,
				   &interrupts_fops);
	return 0;
}
module_init(liar_init);

static void __exit liar_exit(void)
{
	debugfs_remove(liar_dir);
	pci_dev_put(liar_pdev);
}
module_exit(liar_exit);

MODULE_DESCRIPTION("Dump device that cries wolf, for tests");
MODULE_LICENSE("GPL");
