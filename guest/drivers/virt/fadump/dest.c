// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Destinations: where boot memory goes at a crash. In memory of the host, or,
 * if the host has none for it, of the guest.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fadump.h"

enum fadump_dest {
	FADUMP_DEST_AUTO,
	FADUMP_DEST_HOST,
	FADUMP_DEST_GUEST,
};

static const char * const fadump_dest_names[] = {
	[FADUMP_DEST_AUTO]	= "auto",
	[FADUMP_DEST_HOST]	= "host",
	[FADUMP_DEST_GUEST]	= "guest",
};

static enum fadump_dest fadump_dest = FADUMP_DEST_AUTO;

static int fadump_dest_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(fadump_dest_names, val);

	if (i < 0)
		return i;
	fadump_dest = i;
	return 0;
}

static int fadump_dest_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", fadump_dest_names[fadump_dest]);
}

static const struct kernel_param_ops fadump_dest_ops = {
	.set	= fadump_dest_set,
	.get	= fadump_dest_get,
};
module_param_cb(dest, &fadump_dest_ops, NULL, 0444);
MODULE_PARM_DESC(dest,
		 "Where boot memory goes at a crash: \"host\", \"guest\", or \"auto\" (default: to the host if it offers that)");

/*
 * For the memory notifier, which cannot have fadump.lock: whoever has that may
 * be waiting for memory hotplug.
 */
static DEFINE_SPINLOCK(fadump_dest_lock);
/* fadump.pieces name memory that must not go offline */
static bool fadump_dest_used;

/**
 * fadump_dest_in_guest - does boot memory go to memory of the guest?
 *
 * Return: as user and device have it.
 */
bool fadump_dest_in_guest(void)
{
	return fadump_dest == FADUMP_DEST_GUEST ||
	       (fadump_dest == FADUMP_DEST_AUTO && !fadump.dev->host_mem);
}

/* Can the device put boot memory where it is to go? */
static int fadump_dest_check(void)
{
	if (fadump_dest_in_guest() && !fadump.dev->guest_mem) {
		pr_err("not registered: the device takes no destinations in guest memory (feature GUEST_MEM); load with dest=host\n");
		return -ENODEV;
	}
	if (!fadump_dest_in_guest() && !fadump.dev->host_mem) {
		pr_err("not registered: the device cannot keep a dump in host memory (feature HOST_MEM); load with dest=guest\n");
		return -ENODEV;
	}
	return 0;
}

static int fadump_dest_find(struct fadump_pieces *pieces)
{
	const struct fadump_boot_mem *bm = &fadump.boot_mem;
	u64 need = fadump_boot_mem_units(bm);
	struct fadump_runs use = { };
	int ret;

	ret = fadump_destmem_get(bm, need, pieces->max, &use);
	if (ret) {
		pr_err("no memory to find destinations in guest memory\n");
	} else if (use.bytes < need) {
		pr_err("not registered: boot memory takes %llu MiB of destinations in guest memory, %llu MiB could be had outside of it\n",
		       need >> 20, use.bytes >> 20);
		pr_err("register earlier, give the guest more memory, or some that is movable (movablecore=)\n");
		ret = -EIO;
	} else if (fadump_assign_guest(bm, use.run, use.nr, pieces)) {
		pr_err("not registered: destinations in guest memory are in more than %u pieces\n",
		       pieces->max);
		ret = -EIO;
	}
	fadump_runs_free(&use);
	return ret;
}

static void fadump_pieces_set(struct fadump_pieces *pieces, bool used)
{
	struct fadump_piece *old;

	spin_lock(&fadump_dest_lock);
	old = fadump.pieces.piece;
	fadump.pieces = *pieces;
	fadump_dest_used = used;
	spin_unlock(&fadump_dest_lock);
	kvfree(old);
}

/**
 * fadump_dest_prepare - find a place for fadump.boot_mem
 *
 * It is in fadump.pieces afterwards. Until fadump_dest_idle() guest memory that
 * they name stays online.
 *
 * Return: 0 or a negative errno, which has been reported.
 */
int fadump_dest_prepare(void)
{
	struct fadump_pieces pieces = { .max = fadump.dev->max_pieces };
	int ret;

	lockdep_assert_held(&fadump.lock);

	ret = fadump_dest_check();
	if (ret)
		return ret;
	pieces.piece = kvcalloc(pieces.max, sizeof(*pieces.piece), GFP_KERNEL);
	if (!pieces.piece)
		return -ENOMEM;
	if (fadump_dest_in_guest()) {
		ret = fadump_dest_find(&pieces);
	} else {
		ret = fadump_assign_host(&fadump.boot_mem, &pieces);
		if (ret)
			pr_err("not registered: boot memory has %u ranges, the device takes %u\n",
			       fadump.boot_mem.nr, pieces.max);
	}
	if (ret) {
		kvfree(pieces.piece);
		fadump_dest_release();
		return ret;
	}
	fadump_pieces_set(&pieces, fadump_dest_in_guest());
	return 0;
}

/**
 * fadump_dest_idle - nothing is registered any more
 *
 * What was taken is kept for the next registration.
 */
void fadump_dest_idle(void)
{
	spin_lock(&fadump_dest_lock);
	fadump_dest_used = false;
	spin_unlock(&fadump_dest_lock);
}

/**
 * fadump_dest_release - give all memory back
 *
 * To be called with nothing registered.
 */
void fadump_dest_release(void)
{
	struct fadump_pieces none = { };

	fadump_pieces_set(&none, false);
	fadump_destmem_release();
}

/* As powerpc does: destinations are not to be unplugged. */
static int fadump_memory_event(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	const struct memory_notify *mn = data;
	u64 start, end;
	int ret = NOTIFY_OK;
	u32 i;

	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_OK;
	start = PFN_PHYS(mn->start_pfn);
	end = PFN_PHYS(mn->start_pfn + mn->nr_pages);

	spin_lock(&fadump_dest_lock);
	for (i = 0; fadump_dest_used && i < fadump.pieces.nr; i++) {
		const struct fadump_piece *p = &fadump.pieces.piece[i];

		if (p->dst != FADUMP_DST_HOST && p->dst < end &&
		    start < p->dst + p->len)
			ret = NOTIFY_BAD;
	}
	spin_unlock(&fadump_dest_lock);
	if (ret == NOTIFY_BAD)
		pr_notice("memory [0x%llx + 0x%llx] stays online: a crash would put boot memory there\n",
			  start, end - start);
	return ret;
}

static struct notifier_block fadump_memory_nb = {
	.notifier_call = fadump_memory_event,
};

/**
 * fadump_dest_init - watch memory that goes offline
 *
 * Return: 0 or a negative errno.
 */
int fadump_dest_init(void)
{
	return register_memory_notifier(&fadump_memory_nb);
}

/**
 * fadump_dest_exit - undo fadump_dest_init()
 */
void fadump_dest_exit(void)
{
	unregister_memory_notifier(&fadump_memory_nb);
}
