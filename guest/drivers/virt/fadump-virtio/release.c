// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Release: the preserved memory becomes the running kernel's.
 *
 * Firmware told this boot that the memory is reserved, so to the kernel it is
 * memory that was plugged in just now: added and onlined, one memory block
 * after the other.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "fadump-virtio.h"

struct fadump_release_work {
	struct work_struct work;
	struct fadump *fd;
	int ret;
};

static bool fadump_block_online(u64 addr)
{
	return pfn_to_online_page(PHYS_PFN(addr));
}

static bool fadump_block_movable(u64 addr)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(addr));

	return page && page_zonenum(page) == ZONE_MOVABLE;
}

/*
 * Online a block as root would: device_online() and what is below it are not
 * exported.
 */
static int fadump_block_set(u64 addr, u64 block_size, const char *state)
{
	char path[64];
	struct file *file;
	loff_t pos = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 div64_u64(addr, block_size));
	file = filp_open(path, O_WRONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_write(file, state, strlen(state), &pos);
	filp_close(file, NULL);
	return n < 0 ? n : 0;
}

/*
 * Kernels that online added memory by themselves (a boot parameter, or how they
 * were configured) leave nothing to do, but for its zone.
 */
static int fadump_online_block(u64 addr, u64 block_size, bool movable)
{
	int ret = 0;

	if (movable && !fadump_block_movable(addr)) {
		/* Nobody has used it yet. If somebody has: it is no loss. */
		if (fadump_block_online(addr))
			fadump_block_set(addr, block_size, "offline");
		fadump_block_set(addr, block_size, "online_movable");
	}
	if (!fadump_block_online(addr))
		ret = fadump_block_set(addr, block_size, "online");
	/* A rule of udev's may have been faster: then ours fails. */
	if (fadump_block_online(addr))
		return 0;
	pr_err("cannot online memory at 0x%llx (%d)\n", addr, ret);
	return ret ?: -EIO;
}

/*
 * At boot the memmap of all memory is taken out before the buddy allocator gets
 * the rest, and MemTotal is that rest. The memmap of added memory comes from
 * the allocator, so MemTotal grows by whole blocks and ends up larger than it
 * was before the crash, though less can be used. Charge it as boot does: then
 * MemTotal says the truth, and is what it was.
 *
 * Removing the block later frees its memmap without giving the charge back;
 * preserved memory is no DIMM, so nothing removes it.
 */
static void fadump_charge_memmap(u64 addr, u64 size)
{
#ifdef CONFIG_SPARSEMEM_VMEMMAP
	unsigned long map = (unsigned long)pfn_to_page(PHYS_PFN(addr));
	unsigned long end = map + PHYS_PFN(size) * sizeof(struct page);

	/* Page by page: they need not come from one zone. */
	for (; map < end; map += PAGE_SIZE)
		adjust_managed_page_count(vmalloc_to_page((void *)map), -1);
#endif
}

static int fadump_node_of(u64 addr)
{
	int nid = phys_to_target_node(addr);

	/* The firmware's tables know; else do as for any memory. */
	return nid == NUMA_NO_NODE ? memory_add_physaddr_to_nid(addr) : nid;
}

/*
 * Onlined before the next is added: the memmap of a block needs memory of its
 * own, and a small boot memory would run out of it. The memory is added as
 * System RAM, not as a driver's: it always was the machine's.
 */
static int fadump_add_block(u64 addr, u64 size, bool movable)
{
	int ret;

	if (!fadump_block_online(addr)) {
		ret = add_memory(fadump_node_of(addr), addr, size, MHP_NONE);
		/* A second attempt finds what the first one left offline. */
		if (ret && ret != -EEXIST) {
			pr_err("cannot add memory [0x%llx + 0x%llx] (%d)\n",
			       addr, size, ret);
			return ret;
		}
		if (!ret)
			fadump_charge_memmap(addr, size);
		return fadump_online_block(addr, size, movable);
	}
	return 0;
}

/* Boot memory went to some of it. */
static bool fadump_was_dest(struct fadump *fd, u64 addr, u64 size)
{
	u32 i;

	for (i = 0; i < fd->nr_dests; i++)
		if (fd->dests[i].start < addr + size &&
		    addr < fd->dests[i].end)
			return true;
	return false;
}

/*
 * Added memory is ordinary memory. Where the command line asks for ZONE_MOVABLE,
 * destinations were in it, and are again: or as much would have to be taken from
 * the allocator for the next crash.
 */
static bool fadump_movable_wanted(struct fadump *fd)
{
	return fd->dest_guest && fd->nr_dests &&
	       (fadump_cmdline_has("movablecore=") ||
		fadump_cmdline_has("kernelcore=") ||
		fadump_cmdline_has("movable_node"));
}

static int fadump_add_spans(struct fadump *fd)
{
	bool movable = fadump_movable_wanted(fd);
	u64 block = memory_block_size_bytes();
	u64 added = 0, lost = 0;
	int ret = 0;
	u32 i;

	for (i = 0; i < fd->nr_spans; i++) {
		struct fadump_span *s = &fd->spans[i];

		lost += (s->end - s->start) - (s->add_end - s->add_start);
	}

	for (i = 0; i < fd->nr_spans; i++) {
		struct fadump_span *s = &fd->spans[i];
		u64 addr;

		for (addr = s->add_start; addr < s->add_end; addr += block) {
			bool zone = movable && fadump_was_dest(fd, addr, block);
			int err = fadump_add_block(addr, block, zone);

			/* The others may succeed: this one is tried again. */
			if (err)
				ret = ret ?: err;
			else
				added += block;
		}
	}

	if (fd->nr_spans)
		pr_info("released: %llu MiB are back\n", added >> 20);
	else
		pr_info("released\n");
	if (lost)
		pr_warn("0x%llx bytes are no whole memory blocks (0x%llx bytes each), they come back at the next boot\n",
			lost, block);
	return ret;
}

/* Forgets what there would be to add. */
void fadump_unplan(struct fadump *fd)
{
	kvfree(fd->spans);
	kvfree(fd->dests);
	fd->spans = NULL;
	fd->dests = NULL;
	fd->nr_spans = 0;
	fd->nr_dests = 0;
}

static int fadump_plan(struct fadump *fd)
{
	u32 max = fd->desc.nr_ranges;
	u32 i;

	/* No more spans than ranges; nothing to add if they are not trusted. */
	if (fd->dump != FADUMP_DUMP_ACTIVE)
		return 0;
	fd->spans = kvcalloc(max, sizeof(*fd->spans), GFP_KERNEL);
	fd->dests = kvcalloc(max, sizeof(*fd->dests), GFP_KERNEL);
	if (!fd->spans || !fd->dests) {
		fadump_unplan(fd);
		return -ENOMEM;
	}
	fd->nr_spans = fadump_plan_spans(&fd->desc, memory_block_size_bytes(),
					 fd->spans);
	for (i = 0; i < max; i++) {
		struct fadump_range r;

		fadump_desc_range(&fd->desc, i, &r);
		if (r.flags & VIRTIO_FADUMP_RANGE_F_DESTINATION)
			fd->dests[fd->nr_dests++] = (struct fadump_span) {
				.start = r.addr, .end = r.addr + r.len,
			};
	}
	return 0;
}

/*
 * Ends all use of the dump, and only then has the device drop it: what is used
 * after that is any memory. If it is not dropped, the file is there again; who
 * had it open opens it anew.
 */
static int fadump_drop(struct fadump *fd)
{
	int ret;

	ret = fadump_plan(fd);
	if (ret)
		return ret;

	fadump_vmcore_hide(fd);
	ret = fadump_device_release(fd);
	if (!ret)
		return 0;

	if (ret == -EBUSY)
		pr_warn("the host is saving the dump: it is kept, release it when that is done\n");
	else
		pr_err("the device did not release the dump (%d), it is kept\n",
		       ret);
	fadump_unplan(fd);
	if (fadump_vmcore_show(fd))
		pr_err("cannot show /proc/vmcore again\n");
	return ret;
}

/*
 * The same where the device has dropped it already. If this fails, release_mem
 * can still be written: the device then says that there is no dump.
 */
static int fadump_dropped(struct fadump *fd)
{
	fadump_vmcore_hide(fd);
	fadump_hook_disarm();
	return fadump_plan(fd);
}

static int fadump_do_release(struct fadump *fd, bool by_host)
{
	int ret;

	if (fd->dump != FADUMP_DUMP_RELEASED) {
		ret = by_host ? fadump_dropped(fd) : fadump_drop(fd);
		if (ret)
			return ret;

		if (fd->dump == FADUMP_DUMP_UNTRUSTED)
			pr_warn("dropped a dump of unknown memory: what was withheld comes back at the next boot\n");
		/* Before the memory is used again, so that nothing maps it. */
		fadump_forget_dump(fd);
		fd->dump = FADUMP_DUMP_RELEASED;
	}

	ret = fadump_add_spans(fd);
	if (!ret) {
		fadump_unplan(fd);
		fd->dump = FADUMP_DUMP_NONE;
	}

	/* The next crash is captured even if some memory is still missing. */
	if (!fd->registered && fadump_register_wanted())
		fadump_register(fd);
	return ret;
}

static void fadump_release_fn(struct work_struct *work)
{
	struct fadump_release_work *w =
		container_of(work, struct fadump_release_work, work);

	w->ret = fadump_do_release(w->fd, false);
}

/**
 * fadump_release - release the dump, and take its memory back
 * @fd: the driver; its lock is held
 *
 * If this fails before the device let the dump go, all is as it was. If it
 * fails after that, the memory that is still missing is tried again by the next
 * call.
 *
 * Return: 0 or a negative errno.
 */
int fadump_release(struct fadump *fd)
{
	struct fadump_release_work w = { .fd = fd };

	lockdep_assert_held(&fd->lock);

	/*
	 * In a worker: the caller may be in a container, with other limits on
	 * its memory and another idea of what is at /sys.
	 */
	INIT_WORK_ONSTACK(&w.work, fadump_release_fn);
	queue_work(system_unbound_wq, &w.work);
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	return w.ret;
}

/**
 * fadump_released_by_host - the host released the dump: take its memory back
 * @fd: the driver; its lock is held, by a worker
 *
 * Return: 0, or a negative errno: memory is missing, and fadump_release() tries
 * again.
 */
int fadump_released_by_host(struct fadump *fd)
{
	lockdep_assert_held(&fd->lock);

	return fadump_do_release(fd, true);
}
