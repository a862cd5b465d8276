// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory of the guest that boot memory can go to.
 *
 * Memory in ZONE_MOVABLE is named and not taken, as powerpc does with CMA: user
 * pages live there until the crash. Whatever they hold then is not in the dump,
 * and no more than that is lost: the kernel itself puts nothing there that a
 * dump needs. What is still missing is taken from the allocator, in pieces as
 * large as it can make them, and kept as long as the device is attached.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "compat.h"
#include "fadump.h"

/* More runs of memory than this are not looked at. */
#define FADUMP_MAX_RUNS		4096

/* A page may be busy for a moment. */
#define FADUMP_TAKE_ROUNDS	3

/*
 * Bytes that are taken at once: the allocator may clear them, and does not give
 * way meanwhile.
 */
#define FADUMP_TAKE_STEP	(256ULL << 20)

struct fadump_scan {
	/* multiples of FADUMP_DEST_ALIGN, each in one zone */
	struct fadump_runs *runs;
	const struct fadump_boot_mem *bm;
	/* what is in ZONE_MOVABLE, or what the allocator might give */
	bool movable;
	/* a run of this length ends the search */
	u64 enough;
};

/* What the driver has of the allocator; under fadump.lock. */
static struct fadump_runs fadump_taken;

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

/**
 * fadump_runs_free - forget runs of memory
 * @runs: whose array is freed, the memory is not
 */
void fadump_runs_free(struct fadump_runs *runs)
{
	kvfree(runs->run);
	*runs = (struct fadump_runs) { };
}

static bool fadump_runs_add(struct fadump_runs *runs, u64 start, u64 len)
{
	if (runs->nr == runs->max)
		return false;
	runs->run[runs->nr++] = (struct fadump_extent) { start, len };
	runs->bytes += len;
	return true;
}

static int fadump_run_cmp_addr(const void *a, const void *b)
{
	const struct fadump_extent *l = a, *r = b;

	return l->addr < r->addr ? -1 : l->addr > r->addr;
}

/* Large ones first; low ones first among equals. */
static int fadump_run_cmp_len(const void *a, const void *b)
{
	const struct fadump_extent *l = a, *r = b;

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
		struct fadump_extent *r = &runs->run[i];
		struct fadump_extent *last = nr ? &runs->run[nr - 1] : NULL;

		if (last && last->addr + last->len == r->addr)
			last->len += r->len;
		else
			runs->run[nr++] = *r;
	}
	runs->nr = nr;
}

/* ------------------------------------------------------------------ */
/* The search								*/

/*
 * What boot put there, and the memmap of a block that has its own, are the
 * kernel's even in ZONE_MOVABLE.
 */
static bool fadump_page_kernel(struct page *page)
{
	return PageReserved(page) ||
	       (PageVmemmapSelfHosted(page) && !PageLRU(page));
}

static bool fadump_unit_fits(const struct fadump_scan *scan, u64 addr)
{
	unsigned long pfn = PHYS_PFN(addr);
	struct page *page = pfn_to_online_page(pfn);
	struct zone *zone;
	unsigned long i;

	if (!page || (page_zonenum(page) == ZONE_MOVABLE) != scan->movable ||
	    fadump_boot_mem_hits(scan->bm, addr, FADUMP_DEST_ALIGN))
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

/* Returns the run that it is in now, or NULL if there is no room for more. */
static struct fadump_extent *fadump_scan_add(struct fadump_runs *runs, u64 addr)
{
	struct fadump_extent *last = runs->nr ? &runs->run[runs->nr - 1] : NULL;

	/* No run spans two zones: the allocator could not give it. */
	if (last && last->addr + last->len == addr &&
	    page_zone(pfn_to_page(PHYS_PFN(addr))) ==
	    page_zone(pfn_to_page(PHYS_PFN(last->addr)))) {
		last->len += FADUMP_DEST_ALIGN;
		runs->bytes += FADUMP_DEST_ALIGN;
		return last;
	}
	if (!fadump_runs_add(runs, addr, FADUMP_DEST_ALIGN))
		return NULL;
	return &runs->run[runs->nr - 1];
}

/* For walk_iomem_res_desc(): not 0 ends it. */
static int fadump_scan_range(struct resource *res, void *arg)
{
	struct fadump_scan *scan = arg;
	u64 addr = ALIGN(res->start, FADUMP_DEST_ALIGN);
	u64 end = res->end + 1ULL;

	/*
	 * A device may take its memory away at the reset (virtio-mem does); what
	 * came back after a crash stays.
	 */
	if (res->flags & IORESOURCE_SYSRAM_DRIVER_MANAGED &&
	    !fadump_claim_came_back(res->start))
		return 0;

	for (; addr + FADUMP_DEST_ALIGN <= end; addr += FADUMP_DEST_ALIGN) {
		struct fadump_extent *run;

		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!fadump_unit_fits(scan, addr))
			continue;
		run = fadump_scan_add(scan->runs, addr);
		if (!run || run->len >= scan->enough)
			return 1;
	}
	return 0;
}

/* Finds memory for destinations, the best first. */
static void fadump_find_runs(struct fadump_runs *runs,
			     const struct fadump_boot_mem *bm, bool movable,
			     u64 enough)
{
	struct fadump_scan scan = {
		.runs = runs,
		.bm = bm,
		.movable = movable,
		.enough = enough,
	};

	runs->nr = 0;
	runs->bytes = 0;
	walk_iomem_res_desc(IORES_DESC_NONE,
			    IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0, -1,
			    &scan, fadump_scan_range);
	sort(runs->run, runs->nr, sizeof(*runs->run), fadump_run_cmp_len, NULL);
}

/* ------------------------------------------------------------------ */
/* Taking memory							*/

/* Takes all of [start, start + len), or nothing. */
static int fadump_take_all(u64 start, u64 len)
{
	u64 part, done;
	int ret;

	for (done = 0; done < len; done += part) {
		part = min_t(u64, len - done, FADUMP_TAKE_STEP);
		ret = alloc_contig_range(PHYS_PFN(start + done),
					 PHYS_PFN(start + done + part),
					 FADUMP_CONTIG_FLAGS, GFP_KERNEL);
		if (ret) {
			if (done)
				free_contig_range(PHYS_PFN(start),
						  PHYS_PFN(done));
			return ret;
		}
		cond_resched();
	}
	return 0;
}

/* Takes up to @want of [start, start + len); what it got. */
static u64 fadump_take(u64 start, u64 len, u64 want, u64 least)
{
	u64 half, got;
	int ret;

	len = min(len, want);
	if (len < min(least, want) || fadump_taken.nr == fadump_taken.max)
		return 0;

	ret = fadump_take_all(start, len);
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

static void fadump_take_runs(struct fadump_runs *scratch,
			     const struct fadump_boot_mem *bm, u64 want,
			     u64 least)
{
	unsigned int round;
	u32 i;

	for (round = 0; round < FADUMP_TAKE_ROUNDS && want; round++) {
		/* The first long run will do, unless it turned out not to. */
		fadump_find_runs(scratch, bm, false, round ? U64_MAX : want);
		for (i = 0; i < scratch->nr && want; i++)
			want -= fadump_take(scratch->run[i].addr,
					    scratch->run[i].len, want, least);
		if (fatal_signal_pending(current))
			break;
	}
	fadump_runs_join(&fadump_taken);
}

/**
 * fadump_destmem_release - give all memory back to the allocator
 */
void fadump_destmem_release(void)
{
	u32 i;

	for (i = 0; i < fadump_taken.nr; i++)
		free_contig_range(PHYS_PFN(fadump_taken.run[i].addr),
				  PHYS_PFN(fadump_taken.run[i].len));
	fadump_runs_free(&fadump_taken);
}

/**
 * fadump_destmem_taken - memory that is kept for destinations and nothing else
 *
 * Return: bytes.
 */
u64 fadump_destmem_taken(void)
{
	return fadump_taken.bytes;
}

/* What was taken for boot memory that has been moved since is of no use. */
static void fadump_destmem_check(const struct fadump_boot_mem *bm, u32 max)
{
	u32 i;

	for (i = 0; i < fadump_taken.nr; i++)
		if (fadump_boot_mem_hits(bm, fadump_taken.run[i].addr,
					 fadump_taken.run[i].len))
			break;
	if (i < fadump_taken.nr || fadump_taken.max < max)
		fadump_destmem_release();
}

/* What of ZONE_MOVABLE can be named. */
static void fadump_name_runs(struct fadump_runs *scratch,
			     const struct fadump_boot_mem *bm, u64 want,
			     u64 least, struct fadump_runs *use)
{
	u32 i;

	fadump_find_runs(scratch, bm, true, want);
	for (i = 0; i < scratch->nr && want; i++) {
		u64 len = min(scratch->run[i].len, want);

		if (len < min(least, want))
			break;
		fadump_runs_add(use, scratch->run[i].addr, len);
		want -= len;
	}
}

/**
 * fadump_destmem_get - have memory for boot memory to go to
 * @bm: which it must not be
 * @need: bytes, a multiple of FADUMP_DEST_ALIGN
 * @max: most runs that it may be in
 * @use: filled in, @use->bytes being what could be had; to be freed
 *
 * Return: 0 or a negative errno.
 */
int fadump_destmem_get(const struct fadump_boot_mem *bm, u64 need, u32 max,
		       struct fadump_runs *use)
{
	/* So that they are not more than that. */
	u64 least = ALIGN(div_u64(need, max) + 1, FADUMP_DEST_ALIGN);
	struct fadump_runs scratch = { };
	int ret = 0;
	u32 i;

	fadump_destmem_check(bm, max);
	if (!fadump_taken.run)
		ret = fadump_runs_alloc(&fadump_taken, max);
	if (ret || fadump_runs_alloc(&scratch, FADUMP_MAX_RUNS) ||
	    fadump_runs_alloc(use, FADUMP_MAX_RUNS + max)) {
		fadump_runs_free(&scratch);
		return -ENOMEM;
	}

	/* What there is from an earlier registration costs nothing more. */
	if (fadump_taken.bytes < need)
		fadump_name_runs(&scratch, bm, need - fadump_taken.bytes, least,
				 use);
	if (fadump_taken.bytes + use->bytes < need)
		fadump_take_runs(&scratch, bm,
				 need - fadump_taken.bytes - use->bytes, least);
	for (i = 0; i < fadump_taken.nr; i++)
		fadump_runs_add(use, fadump_taken.run[i].addr,
				fadump_taken.run[i].len);
	fadump_runs_join(use);
	fadump_runs_free(&scratch);
	return 0;
}
