// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Destinations in guest memory: where boot memory goes at a crash if the host
 * has no memory for it.
 *
 * Memory in ZONE_MOVABLE is named and not taken, as powerpc does with CMA: user
 * pages live there until the crash. Whatever they hold then is not in the dump,
 * and no more than that is lost: the kernel itself puts nothing there that a
 * dump needs. What is still missing is taken from the allocator, in pieces as
 * large as it can make them, and kept as long as the device is bound.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "compat.h"
#include "fadump-virtio.h"

/* Of all destinations: the host can then move huge pages as a whole. */
#define FADUMP_DEST_ALIGN	SZ_2M

/* The device gives memory back to Linux in blocks of this size. */
#define FADUMP_BLOCK_SIZE	SZ_128M

/* Firmware keeps no more than this at the end of RAM for itself. */
#define FADUMP_FIRMWARE_MAX	SZ_16M

/* More runs of memory than this are not looked at. */
#define FADUMP_MAX_RUNS		4096

/* A page may be busy for a moment. */
#define FADUMP_TAKE_ROUNDS	3

#define FADUMP_4G		(4ULL << 30)

/* Multiples of FADUMP_DEST_ALIGN; in one zone. */
struct fadump_run {
	u64 start;
	u64 len;
};

struct fadump_runs {
	struct fadump_run *run;
	u32 nr;
	u32 max;
	/* in all of them */
	u64 bytes;
};

/* Where a kernel has its memory, as far as that matters here. */
struct fadump_ram {
	u64 low_end;
	u64 high_end;
};

struct fadump_scan {
	struct fadump_runs *runs;
	/* destinations lie in [boot_end, low_limit) or [4 GiB, high_limit) */
	u64 boot_end;
	u64 low_limit;
	u64 high_limit;
	/* what is in ZONE_MOVABLE, or what the allocator might give */
	bool movable;
	/* a run of this length ends the search */
	u64 enough;
};

/* What the driver has of the allocator; under fadump.lock. */
static struct fadump_runs fadump_taken;

/* What is registered, or was last. */
static DEFINE_SPINLOCK(fadump_dest_lock);
static struct fadump_piece *fadump_pieces;
static u32 fadump_nr_pieces;
/* memory that has a destination must not go offline */
static bool fadump_dest_used;

/* ------------------------------------------------------------------ */
/* Runs									*/

static int fadump_runs_alloc(struct fadump_runs *runs, u32 max)
{
	*runs = (struct fadump_runs) {
		.run = kvcalloc(max, sizeof(*runs->run), GFP_KERNEL),
		.max = max,
	};
	return runs->run ? 0 : -ENOMEM;
}

static void fadump_runs_free(struct fadump_runs *runs)
{
	kvfree(runs->run);
	*runs = (struct fadump_runs) { };
}

static bool fadump_runs_add(struct fadump_runs *runs, u64 start, u64 len)
{
	if (runs->nr == runs->max)
		return false;
	runs->run[runs->nr++] = (struct fadump_run) { start, len };
	runs->bytes += len;
	return true;
}

static int fadump_run_cmp_addr(const void *a, const void *b)
{
	const struct fadump_run *l = a, *r = b;

	return l->start < r->start ? -1 : l->start > r->start;
}

/* Large ones first; low ones first among equals. */
static int fadump_run_cmp_len(const void *a, const void *b)
{
	const struct fadump_run *l = a, *r = b;

	if (l->len != r->len)
		return l->len > r->len ? -1 : 1;
	return fadump_run_cmp_addr(a, b);
}

/* In ascending order, those that touch being one. */
static void fadump_runs_join(struct fadump_runs *runs)
{
	u32 i, nr = 0;

	sort(runs->run, runs->nr, sizeof(*runs->run), fadump_run_cmp_addr,
	     NULL);
	for (i = 0; i < runs->nr; i++) {
		struct fadump_run *r = &runs->run[i];

		if (nr && runs->run[nr - 1].start + runs->run[nr - 1].len ==
			  r->start)
			runs->run[nr - 1].len += r->len;
		else
			runs->run[nr++] = *r;
	}
	runs->nr = nr;
}

/* ------------------------------------------------------------------ */
/* The search								*/

static int fadump_ram_end(struct resource *res, void *arg)
{
	struct fadump_ram *ram = arg;
	u64 end = res->end + 1ULL;

	if (end <= FADUMP_4G)
		ram->low_end = max(ram->low_end, end);
	else
		ram->high_end = max(ram->high_end, end);
	return 0;
}

static struct fadump_ram fadump_find_ram(void)
{
	struct fadump_ram ram = { 0 };

	walk_iomem_res_desc(IORES_DESC_NONE,
			    IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0, -1,
			    &ram, fadump_ram_end);
	return ram;
}

/**
 * fadump_dest_all - is all of this kernel's memory boot memory?
 * @fd: the driver
 *
 * Return: true if there is none beyond it, so that the next boot has it all.
 */
bool fadump_dest_all(struct fadump *fd)
{
	struct fadump_ram ram = fadump_find_ram();

	return fd->boot_mem_size >= (ram.high_end ?: ram.low_end);
}

/*
 * The next boot has as RAM what fills no block at the end of memory, and the
 * last block below 4 GiB if memory reaches beyond 2 GiB.
 */
static void fadump_scan_limits(struct fadump_scan *scan)
{
	struct fadump_ram ram = fadump_find_ram();

	/* Firmware has its tables at the end, which is RAM to the device. */
	ram.low_end = ALIGN(ram.low_end, FADUMP_FIRMWARE_MAX);
	ram.high_end = ALIGN(ram.high_end, FADUMP_FIRMWARE_MAX);
	scan->low_limit = ALIGN_DOWN(ram.low_end, FADUMP_BLOCK_SIZE);
	if (scan->low_limit == ram.low_end && ram.low_end > SZ_2G)
		scan->low_limit -= FADUMP_BLOCK_SIZE;
	scan->high_limit = ALIGN_DOWN(ram.high_end, FADUMP_BLOCK_SIZE);
}

/*
 * What boot put there, and the memmap of a block that has its own, are the
 * kernel's even in ZONE_MOVABLE.
 */
static bool fadump_page_kernel(struct page *page)
{
	return PageReserved(page) ||
	       (PageVmemmapSelfHosted(page) && !PageLRU(page));
}

static bool fadump_block_fits(const struct fadump_scan *scan, u64 addr)
{
	unsigned long pfn = PHYS_PFN(addr);
	struct page *page = pfn_to_online_page(pfn);
	struct zone *zone;
	unsigned long i;

	if (!page || (page_zonenum(page) == ZONE_MOVABLE) != scan->movable)
		return false;
	zone = page_zone(page);
	for (i = 0; i < PHYS_PFN(FADUMP_DEST_ALIGN); i++) {
		page = pfn_to_page(pfn + i);
		if (page_zone(page) != zone || fadump_page_kernel(page))
			return false;
		/* The same the allocator asks first, as cheap as it can be. */
		if (!scan->movable && page_ref_count(page) && !PageLRU(page))
			return false;
	}
	return true;
}

/* For walk_iomem_res_desc(): not 0 ends it. */
static int fadump_scan_range(struct resource *res, void *arg)
{
	struct fadump_scan *scan = arg;
	struct fadump_runs *runs = scan->runs;
	u64 addr = ALIGN(max_t(u64, res->start, scan->boot_end),
			 FADUMP_DEST_ALIGN);
	u64 end = res->end + 1ULL;

	/* A device may take its memory away at the reset (virtio-mem does). */
	if (res->flags & IORESOURCE_SYSRAM_DRIVER_MANAGED)
		return 0;
	end = min(end, end <= FADUMP_4G ? scan->low_limit : scan->high_limit);

	for (; addr + FADUMP_DEST_ALIGN <= end; addr += FADUMP_DEST_ALIGN) {
		struct fadump_run *last = runs->nr ? &runs->run[runs->nr - 1] :
						     NULL;

		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!fadump_block_fits(scan, addr))
			continue;
		/* No run spans two zones: the allocator could not give it. */
		if (last && last->start + last->len == addr &&
		    page_zone(pfn_to_page(PHYS_PFN(addr))) ==
		    page_zone(pfn_to_page(PHYS_PFN(last->start)))) {
			last->len += FADUMP_DEST_ALIGN;
			runs->bytes += FADUMP_DEST_ALIGN;
		} else if (fadump_runs_add(runs, addr, FADUMP_DEST_ALIGN)) {
			last = &runs->run[runs->nr - 1];
		} else {
			return 1;
		}
		if (last->len >= scan->enough)
			return 1;
	}
	return 0;
}

/* Finds memory for destinations, the best first. */
static void fadump_find_runs(struct fadump_runs *runs, u64 boot_end,
			     bool movable, u64 enough)
{
	struct fadump_scan scan = {
		.runs = runs,
		.boot_end = boot_end,
		.movable = movable,
		.enough = enough,
	};

	runs->nr = 0;
	runs->bytes = 0;
	fadump_scan_limits(&scan);
	walk_iomem_res_desc(IORES_DESC_NONE,
			    IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, boot_end,
			    -1, &scan, fadump_scan_range);
	sort(runs->run, runs->nr, sizeof(*runs->run), fadump_run_cmp_len, NULL);
}

/* ------------------------------------------------------------------ */
/* Taking memory							*/

/* Takes up to @want of [start, start + len); what it got. */
static u64 fadump_take(u64 start, u64 len, u64 want, u64 least)
{
	u64 half, got;
	int ret;

	len = min(len, want);
	if (len < min(least, want) || fadump_taken.nr == fadump_taken.max)
		return 0;

	ret = alloc_contig_range(PHYS_PFN(start), PHYS_PFN(start + len),
				 FADUMP_CONTIG_FLAGS, GFP_KERNEL);
	if (!ret) {
		fadump_runs_add(&fadump_taken, start, len);
		return len;
	}
	if (ret != -EBUSY || len < 2 * least || fatal_signal_pending(current))
		return 0;

	/* One page that cannot be moved spoils it all: try around it. */
	half = ALIGN(len / 2, FADUMP_DEST_ALIGN);
	got = fadump_take(start, half, want, least);
	if (got < want)
		got += fadump_take(start + half, len - half, want - got, least);
	return got;
}

static void fadump_take_runs(struct fadump_runs *scratch, u64 boot_end,
			     u64 want, u64 least)
{
	unsigned int round;
	u32 i;

	for (round = 0; round < FADUMP_TAKE_ROUNDS && want; round++) {
		/* The first long run will do, unless it turned out not to. */
		fadump_find_runs(scratch, boot_end, false,
				 round ? U64_MAX : want);
		for (i = 0; i < scratch->nr && want; i++)
			want -= fadump_take(scratch->run[i].start,
					    scratch->run[i].len, want, least);
		if (fatal_signal_pending(current))
			break;
	}
	fadump_runs_join(&fadump_taken);
}

static void fadump_give_back(void)
{
	u32 i;

	for (i = 0; i < fadump_taken.nr; i++)
		free_contig_range(PHYS_PFN(fadump_taken.run[i].start),
				  PHYS_PFN(fadump_taken.run[i].len));
	fadump_taken.nr = 0;
	fadump_taken.bytes = 0;
}

/* ------------------------------------------------------------------ */
/* What is registered							*/

/* Memory that is read or written by device or driver until the very end. */
static bool fadump_dest_hits(const struct fadump *fd, u64 start, u64 len)
{
	const struct {
		u64 start;
		u64 len;
	} own[] = {
		{ paddr_vmcoreinfo_note(), VMCOREINFO_NOTE_SIZE },
		{ virt_to_phys(fd->param), PAGE_SIZE },
		{ virt_to_phys(fd->ctrl_req), fd->ctrl_req_size },
		{ virt_to_phys(fd->ctrl_resp), PAGE_SIZE },
		/* some address of the kernel's text */
		{ __pa_symbol(&walk_iomem_res_desc), 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (start < own[i].start + own[i].len &&
		    own[i].start < start + len)
			return true;
	return start < fd->boot_mem_size;
}

static bool fadump_piece_add(struct fadump_piece *pieces, u32 *nr, u32 max,
			     u64 src, u64 len, u64 dst)
{
	struct fadump_piece *last = *nr ? &pieces[*nr - 1] : NULL;

	if (last && last->dst != VIRTIO_FADUMP_DST_HOST &&
	    last->src + last->len == src && last->dst + last->len == dst) {
		last->len += len;
		return true;
	}
	if (*nr == max)
		return false;
	pieces[(*nr)++] = (struct fadump_piece) { src, len, dst };
	return true;
}

/*
 * Gives each part of boot memory its place. All but the last part have lengths
 * that are multiples of FADUMP_DEST_ALIGN, so source and destination are alike
 * in their lower bits.
 */
static int fadump_assign(struct fadump *fd, const struct fadump_runs *runs,
			 u64 hole, u64 hole_end, struct fadump_piece *pieces,
			 u32 *nr, u32 max)
{
	u64 src = 0, used = 0;
	u32 i = 0;

	*nr = 0;
	while (src < fd->boot_mem_size) {
		u64 len = fd->boot_mem_size - src;

		if (src == hole && hole_end > hole) {
			if (!fadump_piece_add(pieces, nr, max, src,
					      hole_end - hole,
					      VIRTIO_FADUMP_DST_HOST))
				return -ENOSPC;
			src = hole_end;
			continue;
		}
		if (src < hole)
			len = min(len, hole - src);
		if (WARN_ON_ONCE(i == runs->nr))
			return -EIO;
		len = min(len, runs->run[i].len - used);
		if (WARN_ON_ONCE(fadump_dest_hits(fd, runs->run[i].start + used,
						  len)))
			return -EIO;
		if (!fadump_piece_add(pieces, nr, max, src, len,
				      runs->run[i].start + used))
			return -ENOSPC;
		src += len;
		used += len;
		if (used == runs->run[i].len) {
			used = 0;
			i++;
		}
	}
	return 0;
}

static void fadump_pieces_set(struct fadump_piece *pieces, u32 nr, bool used)
{
	struct fadump_piece *old;

	spin_lock(&fadump_dest_lock);
	old = fadump_pieces;
	fadump_pieces = pieces;
	fadump_nr_pieces = nr;
	fadump_dest_used = used;
	spin_unlock(&fadump_dest_lock);
	kvfree(old);
}

/**
 * fadump_dest_prepare - find a place in guest memory for boot memory
 * @fd: the driver; its lock is held
 * @max: most pieces that it may be cut into, not 0
 *
 * The pieces can then be read with fadump_dest_piece(). Until
 * fadump_dest_idle() memory that they name stays online.
 *
 * Return: 0 or a negative errno, which has been reported.
 */
int fadump_dest_prepare(struct fadump *fd, u32 max)
{
	struct fadump_ram ram = fadump_find_ram();
	struct fadump_runs found = { }, use = { };
	u64 hole = 0, hole_end = 0, need, least;
	struct fadump_piece *pieces = NULL;
	u32 i, nr;
	int ret;

	lockdep_assert_held(&fd->lock);

	if (fadump_dest_all(fd)) {
		pr_err("not registered: boot memory is all memory, so there is none for it to go to; load with dest=host\n");
		return -EINVAL;
	}

	/* Nothing is there, so memory for it would be wasted. */
	if (fd->boot_mem_size > FADUMP_4G &&
	    virtio_has_feature(fd->vdev, VIRTIO_FADUMP_F_HOST_MEM)) {
		hole = ALIGN(ram.low_end, FADUMP_BLOCK_SIZE);
		hole_end = FADUMP_4G;
	}
	need = ALIGN(fd->boot_mem_size - (hole_end - hole), FADUMP_DEST_ALIGN);
	/* So that they are not more than that. */
	least = ALIGN(div_u64(need, max) + 1, FADUMP_DEST_ALIGN);

	if (fadump_taken.max < max) {
		fadump_give_back();
		fadump_runs_free(&fadump_taken);
		ret = fadump_runs_alloc(&fadump_taken, max);
		if (ret)
			goto out;
	}
	ret = -ENOMEM;
	pieces = kvcalloc(max, sizeof(*pieces), GFP_KERNEL);
	if (!pieces || fadump_runs_alloc(&found, FADUMP_MAX_RUNS) ||
	    fadump_runs_alloc(&use, FADUMP_MAX_RUNS + max))
		goto out;

	/* What there is from an earlier registration costs nothing more. */
	if (fadump_taken.bytes < need) {
		fadump_find_runs(&found, fd->boot_mem_size, true, need);
		for (i = 0; i < found.nr; i++) {
			u64 want = need - use.bytes - fadump_taken.bytes;

			if (!want || found.run[i].len < min(least, want))
				break;
			fadump_runs_add(&use, found.run[i].start,
					min(found.run[i].len, want));
		}
	}
	if (fadump_taken.bytes + use.bytes < need)
		fadump_take_runs(&found, fd->boot_mem_size,
				 need - fadump_taken.bytes - use.bytes, least);

	ret = -EIO;
	if (fadump_taken.bytes + use.bytes < need) {
		pr_err("not registered: boot memory takes %llu MiB of destinations in guest memory, %llu MiB could be had above 0x%llx\n",
		       need >> 20, (fadump_taken.bytes + use.bytes) >> 20,
		       fd->boot_mem_size);
		pr_err("register earlier, give the guest more memory, or some that is movable (movablecore=)\n");
		goto out;
	}

	for (i = 0; i < fadump_taken.nr; i++)
		fadump_runs_add(&use, fadump_taken.run[i].start,
				fadump_taken.run[i].len);
	fadump_runs_join(&use);
	ret = fadump_assign(fd, &use, hole, hole_end, pieces, &nr, max);
	if (ret) {
		pr_err("not registered: destinations in guest memory are in more than %u pieces\n",
		       max);
		ret = -EIO;
		goto out;
	}
	fadump_pieces_set(pieces, nr, true);
	pieces = NULL;
out:
	if (ret) {
		if (ret == -ENOMEM)
			pr_err("no memory to find destinations in guest memory\n");
		fadump_dest_release();
	}
	fadump_runs_free(&use);
	fadump_runs_free(&found);
	kvfree(pieces);
	return ret;
}

/**
 * fadump_dest_piece - one destination of the last registration
 * @i: which, ascending by source
 * @piece: filled in
 *
 * Return: false if there are no more. To be called with the driver's lock held.
 */
bool fadump_dest_piece(u32 i, struct fadump_piece *piece)
{
	if (i >= fadump_nr_pieces)
		return false;
	*piece = fadump_pieces[i];
	return true;
}

/**
 * fadump_dest_reserved - memory that is kept for destinations and nothing else
 *
 * Return: bytes.
 */
u64 fadump_dest_reserved(void)
{
	return fadump_taken.bytes;
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
 * To be called with the driver's lock held, and nothing registered.
 */
void fadump_dest_release(void)
{
	fadump_pieces_set(NULL, 0, false);
	fadump_give_back();
	fadump_runs_free(&fadump_taken);
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

	/* Not fadump.lock, which is held while memory is added. */
	spin_lock(&fadump_dest_lock);
	for (i = 0; fadump_dest_used && i < fadump_nr_pieces; i++) {
		const struct fadump_piece *p = &fadump_pieces[i];

		if (p->dst != VIRTIO_FADUMP_DST_HOST && p->dst < end &&
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

int fadump_dest_init(void)
{
	return register_memory_notifier(&fadump_memory_nb);
}

void fadump_dest_exit(void)
{
	unregister_memory_notifier(&fadump_memory_nb);
}
