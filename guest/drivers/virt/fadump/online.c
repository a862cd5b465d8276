// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Onlining of added memory, where the kernel's policy is to leave that to
 * userspace.
 *
 * Preserved memory was online before the crash, so it is to be online again,
 * whatever the policy for memory that somebody plugs in. In a kernel tree this
 * file is one argument: __add_memory_driver_managed() takes the online type. A
 * module outside of it has neither that, nor device_online(), nor
 * walk_memory_blocks(): what is exported is sysfs itself. So a block's device is
 * looked up in sysfs' tree, in memory and not as a file, and the function that
 * its attribute "state" has is called. It takes the locks of memory hotplug as
 * for any writer.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/cpu.h>
#include <linux/device.h>
#include <linux/kernfs.h>
#include <linux/math64.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "fadump.h"

/* /sys/devices/system/memory */
static struct kernfs_node *fadump_memory_dir;

/**
 * fadump_online_init - find the memory blocks
 *
 * Failing is no reason to go: the kernel may online them by itself.
 *
 * Return: 0 or a negative errno.
 */
int fadump_online_init(void)
{
	struct device *cpu_root = fadump_cpu_root();

	if (!cpu_root)
		return -ENOENT;
	/* Its neighbour below /sys/devices/system, which is not exported. */
	fadump_memory_dir = kernfs_find_and_get(cpu_root->kobj.parent->sd,
						"memory");
	put_device(cpu_root);
	return fadump_memory_dir ? 0 : -ENOENT;
}

/**
 * fadump_online_exit - undo fadump_online_init()
 */
void fadump_online_exit(void)
{
	kernfs_put(fadump_memory_dir);
	fadump_memory_dir = NULL;
}

/**
 * fadump_block_online - is a memory block in use?
 * @addr: its address
 *
 * Return: true if its pages are the allocator's.
 */
bool fadump_block_online(u64 addr)
{
	return pfn_to_online_page(PHYS_PFN(addr));
}

static bool fadump_block_movable(u64 addr)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(addr));

	return page && page_zonenum(page) == ZONE_MOVABLE;
}

/*
 * The device of a block that this driver has just added. Nobody else takes it
 * away, so it is there as long as its directory is.
 */
static struct device *fadump_block_get(u64 addr)
{
	struct kernfs_node *dir;
	struct device *dev = NULL;
	struct kobject *kobj;
	char name[32];

	if (!fadump_memory_dir)
		return NULL;
	snprintf(name, sizeof(name), "memory%llu",
		 div64_u64(addr, memory_block_size_bytes()));
	dir = kernfs_find_and_get(fadump_memory_dir, name);
	if (!dir)
		return NULL;
	if (kernfs_type(dir) == KERNFS_DIR) {
		kobj = kobject_get_unless_zero(dir->priv);
		if (kobj)
			dev = kobj_to_dev(kobj);
	}
	kernfs_put(dir);
	return dev;
}

/*
 * A store that finds the lock taken wants its system call to begin anew, and has
 * set a signal as pending to this end. Here is no system call to restart.
 */
static void fadump_unrestart(void)
{
	struct sighand_struct *sighand = rcu_dereference_raw(current->sighand);

	spin_lock_irq(&sighand->siglock);
	recalc_sigpending();
	spin_unlock_irq(&sighand->siglock);
}

static int fadump_block_store(struct device *dev, const char *state)
{
	struct device_attribute *attr;
	struct kernfs_node *file;
	ssize_t n;

	file = kernfs_find_and_get(dev->kobj.sd, "state");
	if (!file)
		return -ENOENT;
	attr = container_of((struct attribute *)file->priv,
			    struct device_attribute, attr);
	kernfs_put(file);

	while ((n = attr->store(dev, attr, state, strlen(state))) ==
	       -ERESTARTNOINTR) {
		fadump_unrestart();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return n < 0 ? n : 0;
}

/**
 * fadump_online_block - have an added memory block in use
 * @addr: its address
 * @movable: in ZONE_MOVABLE, if that can be had
 *
 * Kernels that online added memory by themselves (a boot parameter, or how they
 * were configured) leave nothing to do, but for its zone.
 *
 * Return: 0 or a negative errno, which has been reported.
 */
int fadump_online_block(u64 addr, bool movable)
{
	struct device *dev;
	int ret = -ENOENT;

	if (fadump_block_online(addr) &&
	    (!movable || fadump_block_movable(addr)))
		return 0;

	dev = fadump_block_get(addr);
	if (dev) {
		if (movable) {
			/* Nobody has used it yet. If somebody has: no loss. */
			if (fadump_block_online(addr))
				fadump_block_store(dev, "offline");
			ret = fadump_block_store(dev, "online_movable");
		}
		if (!fadump_block_online(addr))
			ret = fadump_block_store(dev, "online");
		put_device(dev);
	}
	/* A rule of udev's may have been faster: then ours fails. */
	if (fadump_block_online(addr))
		return 0;
	pr_err("memory at 0x%llx stays offline (%d); write online to /sys/devices/system/memory/memory%llu/state\n",
	       addr, ret, div64_u64(addr, memory_block_size_bytes()));
	return ret ?: -EIO;
}
