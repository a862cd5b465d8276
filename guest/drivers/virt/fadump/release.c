// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Release: the preserved memory becomes the running kernel's.
 *
 * Firmware told this boot that the memory is reserved or absent, so to the
 * kernel it is memory that was plugged in just now. It is added as a driver's
 * memory, for the firmware's map does not know it as RAM: a kernel that is
 * started by kexec must not be put there.
 *
 * That takes minutes where there are terabytes, so it is done in chunks,
 * without the driver's lock, and can be killed: what is missing then, another
 * release adds.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/acpi.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "compat.h"
#include "fadump.h"

/* A chunk is at most so large: the time until a signal is seen. */
#define FADUMP_CHUNK_MAX	((u64)SZ_1G)

static bool fadump_movable;
module_param_named(movable, fadump_movable, bool, 0644);
MODULE_PARM_DESC(movable,
		 "Have memory that boot memory went to back in ZONE_MOVABLE (default: off, the kernel's policy)");

/* One release at a time; taken before fadump.lock. */
static DEFINE_MUTEX(fadump_release_lock);

/*
 * The firmware's tables know best. The device counts nodes as the machine does,
 * which is what firmware calls a proximity domain.
 */
static int fadump_node_of(u64 addr, u32 node)
{
	int nid = phys_to_target_node(addr);

	if (nid != NUMA_NO_NODE)
		return nid;
#ifdef CONFIG_ACPI_NUMA
	if (node != VIRTIO_FADUMP_NODE_NONE && node <= S32_MAX) {
		nid = pxm_to_node(node);
		if (nid != NUMA_NO_NODE && node_possible(nid))
			return nid;
	}
#endif
	return memory_add_physaddr_to_nid(addr);
}

/* Boot memory went to some of it, and the user has such memory movable. */
static bool fadump_movable_wanted(u64 start, u64 len)
{
	u32 i;

	for (i = 0; READ_ONCE(fadump_movable) && i < fadump.desc.nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(&fadump.desc, i, &r);
		if (r.flags & VIRTIO_FADUMP_RANGE_F_DESTINATION &&
		    r.addr < start + len && start < r.addr + r.len)
			return true;
	}
	return false;
}

/*
 * How much of @c is added next: whole blocks of one node, whose memory map, all
 * of which has to be there before any of it is, takes a quarter of what is free
 * at most.
 */
static u64 fadump_chunk(const struct fadump_claim *c, u64 limit)
{
	u64 block = memory_block_size_bytes();
	u64 pages = max(si_mem_available(), 0L) / 4;
	u64 max = PFN_PHYS(pages * (PAGE_SIZE / sizeof(struct page)));
	int nid = fadump_node_of(c->start, c->node);
	u64 len = block;

	max = min3(max, limit, c->end - c->start);
	while (len + block <= max &&
	       fadump_node_of(c->start + len, c->node) == nid)
		len += block;
	return len;
}

/* If this fails, the claim is closed again. */
static int fadump_add(struct fadump_claim *c)
{
	/* The memory may outlive the module, and its resource has the name. */
	static const char *name;
	int ret;

	if (c->added)
		return 0;
	if (!name)
		name = kstrdup(FADUMP_RAM_NAME, GFP_KERNEL);
	if (!name)
		return -ENOMEM;
	fadump_claim_open(c);
	ret = add_memory_driver_managed(fadump_node_of(c->start, c->node),
					c->start, c->end - c->start, name,
					MHP_MERGE_RESOURCE | FADUMP_MHP_MEMMAP);
	if (ret)
		fadump_claim_close(c);
	else
		c->added = true;
	return ret;
}

static int fadump_online(const struct fadump_claim *c)
{
	u64 block = memory_block_size_bytes();
	u64 addr;
	int ret = 0;

	for (addr = c->start; addr < c->end; addr += block) {
		int err = fadump_online_block(addr, fadump_movable_wanted(addr,
									  block));

		/* The others may succeed: this one is tried again. */
		ret = ret ?: err;
		cond_resched();
	}
	return ret;
}

/*
 * Adds what is claimed, ascending, each chunk online before the next one: its
 * memory map comes from what there is already. What fails stays claimed.
 */
static int fadump_add_all(void)
{
	u64 block = memory_block_size_bytes();
	u64 limit = FADUMP_CHUNK_MAX, from = 0;
	struct fadump_claim *c;
	int ret = 0;

	while ((c = fadump_claim_next(from))) {
		int err;

		if (READ_ONCE(fadump.closed))
			return -ENODEV;
		if (fatal_signal_pending(current))
			return -EINTR;

		if (!c->added)
			c = fadump_claim_cut(c, fadump_chunk(c, limit));
		if (!c)
			return -ENOMEM;
		err = fadump_add(c);
		if (err && c->end - c->start > block) {
			/* One block of it may be the cause, or its size. */
			limit = ALIGN((c->end - c->start) / 2, block);
			continue;
		}
		limit = min(limit * 2, FADUMP_CHUNK_MAX);
		from = c->end;
		if (err)
			pr_err("cannot add memory [0x%llx + 0x%llx] (%d)\n",
			       c->start, c->end - c->start, err);
		else
			err = fadump_online(c);
		if (!err)
			fadump_claim_free(c);
		ret = ret ?: err;
	}
	return ret;
}

/* To be called without the lock. */
static int fadump_give_back(void)
{
	u64 before = fadump_claim_bytes(), left;
	int ret = fadump_add_all();

	left = fadump_claim_bytes();
	if (!before)
		pr_info("released\n");
	else if (!left)
		pr_info("released: %llu MiB are back\n", before >> 20);
	else
		pr_err("release incomplete (%d): %llu MiB are back, %llu MiB are missing; write 1 to /sys/kernel/fadump/release_mem to go on\n",
		       ret, (before - left) >> 20, left >> 20);
	return ret;
}

/* The dump is gone, its memory is claimed. */
static void fadump_released(void)
{
	u64 lost;

	if (fadump.dump == FADUMP_DUMP_UNTRUSTED)
		pr_warn("dropped a dump of unknown memory: what was withheld comes back at the next boot\n");
	fadump.dump = FADUMP_DUMP_RELEASED;
	/* Until the registration: there is nothing to tell the device. */
	fadump_hook_disarm();
	fadump_claim_drop_others(&lost);
	if (lost)
		pr_warn("0x%llx bytes are no whole memory blocks (0x%lx bytes each), they come back at the next boot\n",
			lost, memory_block_size_bytes());
}

/* The first step; 0 if memory is to be given back now. */
static int fadump_release_begin(void)
{
	int ret = 0;

	mutex_lock(&fadump.lock);
	if (fadump.closed) {
		ret = -ENODEV;
	} else if (fadump_dump_held()) {
		ret = fadump_dump_drop();
		if (!ret)
			fadump_released();
	} else if (fadump.dump == FADUMP_DUMP_NONE) {
		ret = -EPERM;
	}
	/*
	 * The next crash is captured while memory is still coming back; unless
	 * boot memory is to go there.
	 */
	if (!ret && !fadump.registered && fadump_register_wanted() &&
	    !fadump_dest_in_guest())
		fadump_register();
	mutex_unlock(&fadump.lock);
	return ret;
}

/* The last step, however the one before ended. */
static void fadump_release_end(int ret)
{
	mutex_lock(&fadump.lock);
	if (!ret) {
		fadump.dump = FADUMP_DUMP_NONE;
		fadump_dump_forget();
	}
	if (!fadump.closed && !fadump.registered && fadump_register_wanted() &&
	    fadump_dest_in_guest())
		fadump_register();
	mutex_unlock(&fadump.lock);
}

/**
 * fadump_release - release the dump, and take its memory back
 *
 * In the caller's context, and killable. Who comes second waits for the first.
 * If this fails before the device let the dump go, all is as it was. If it
 * fails after that, the memory that is still missing is tried again by the next
 * call.
 *
 * Return: 0 or a negative errno: -EPERM, there is nothing to release; -EBUSY,
 * the host is reading the dump, and this is called again when it ends.
 */
int fadump_release(void)
{
	int ret;

	if (mutex_lock_killable(&fadump_release_lock))
		return -EINTR;
	ret = fadump_release_begin();
	if (!ret) {
		ret = fadump_give_back();
		fadump_release_end(ret);
	}
	mutex_unlock(&fadump_release_lock);
	return ret;
}

/**
 * fadump_release_due - is it for the driver to release the dump by itself?
 *
 * Return: true if the host has released it, or if the user wants it released
 * and the host has ended reading it.
 */
bool fadump_release_due(void)
{
	struct fadump_status st;
	bool due = false;

	mutex_lock(&fadump.lock);
	if (!fadump.closed && fadump_dump_held()) {
		fadump_get_status(&st);
		due = st.state != FADUMP_STATE_DUMP ||
		      (fadump.release_wanted && !st.reading);
	}
	mutex_unlock(&fadump.lock);
	return due;
}
