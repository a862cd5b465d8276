// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Boot memory: checking what the device says it is, and giving each part of it
 * a destination.
 */
#include "bootmem.h"

/**
 * fadump_boot_mem_check - check the device's answer
 * @bm: the answer, no more than FADUMP_MAX_EXTENTS of them
 * @phys_limit: first address that the CPU cannot reach
 * @why: filled in on failure
 *
 * Return: 0, or -EINVAL if the answer makes no sense.
 */
int fadump_boot_mem_check(const struct fadump_boot_mem *bm, u64 phys_limit,
			  struct fadump_why *why)
{
	u64 end = 0;
	u32 i;

	if (!bm->size)
		return fadump_refuse(why, "no boot memory is granted");
	if (!bm->nr || bm->nr > FADUMP_MAX_EXTENTS)
		return fadump_refuse(why,
				     "boot memory in %u ranges, at most %u are expected",
				     bm->nr, FADUMP_MAX_EXTENTS);
	for (i = 0; i < bm->nr; i++) {
		const struct fadump_extent *e = &bm->extents[i];

		if (!e->len || e->addr % VIRTIO_FADUMP_ALIGN ||
		    e->len % VIRTIO_FADUMP_PAGE_SIZE)
			return fadump_refuse(why,
					     "range %u of boot memory [0x%llx + 0x%llx] is empty or not aligned",
					     i, e->addr, e->len);
		if (e->addr + e->len < e->addr ||
		    e->addr + e->len > phys_limit)
			return fadump_refuse(why,
					     "range %u of boot memory [0x%llx + 0x%llx] is out of this CPU's reach (0x%llx)",
					     i, e->addr, e->len, phys_limit);
		if (i && e->addr <= end)
			return fadump_refuse(why,
					     "range %u of boot memory [0x%llx + 0x%llx] does not begin behind the one before (0x%llx)",
					     i, e->addr, e->len, end);
		end = e->addr + e->len;
	}
	return 0;
}

/**
 * fadump_boot_mem_hits - is any of it boot memory?
 * @bm: a checked answer
 * @start: address
 * @len: bytes
 *
 * Return: true if [@start, @start + @len) and boot memory overlap.
 */
bool fadump_boot_mem_hits(const struct fadump_boot_mem *bm, u64 start, u64 len)
{
	u32 i;

	for (i = 0; i < bm->nr; i++)
		if (start < bm->extents[i].addr + bm->extents[i].len &&
		    bm->extents[i].addr < start + len)
			return true;
	return false;
}

/*
 * Boot memory as a row of whole units, with the gaps taken out in which there
 * is no unit of it: a place in that row for each address.
 */
struct fadump_row {
	/* address of the current extent - base = place in the row */
	u64 base;
	/* where the units named so far end: as an address, and in the row */
	u64 addr_end;
	u64 row_end;
};

static void fadump_row_extend(struct fadump_row *row,
			      const struct fadump_extent *e)
{
	u64 start = e->addr & ~(FADUMP_DEST_ALIGN - 1);

	/* It may begin in the unit that the one before ends in. */
	if (!row->row_end || start >= row->addr_end)
		row->base = start - row->row_end;
	row->addr_end = ALIGN(e->addr + e->len, FADUMP_DEST_ALIGN);
	row->row_end = row->addr_end - row->base;
}

/**
 * fadump_boot_mem_units - how much memory does boot memory go to?
 * @bm: a checked answer
 *
 * Return: bytes, a multiple of FADUMP_DEST_ALIGN.
 */
u64 fadump_boot_mem_units(const struct fadump_boot_mem *bm)
{
	struct fadump_row row = { 0 };
	u32 i;

	for (i = 0; i < bm->nr; i++)
		fadump_row_extend(&row, &bm->extents[i]);
	return row.row_end;
}

static int fadump_piece_add(struct fadump_pieces *pieces, u64 src, u64 len,
			    u64 dst)
{
	if (pieces->nr == pieces->max)
		return -ENOSPC;
	pieces->piece[pieces->nr++] = (struct fadump_piece) { src, len, dst };
	return 0;
}

/**
 * fadump_assign_host - all boot memory goes to memory of the host
 * @bm: a checked answer
 * @pieces: filled in, as many as it has room for
 *
 * Return: 0, or -ENOSPC if they are too few.
 */
int fadump_assign_host(const struct fadump_boot_mem *bm,
		       struct fadump_pieces *pieces)
{
	u32 i;
	int ret;

	pieces->nr = 0;
	for (i = 0; i < bm->nr; i++) {
		ret = fadump_piece_add(pieces, bm->extents[i].addr,
				       bm->extents[i].len, FADUMP_DST_HOST);
		if (ret)
			return ret;
	}
	return 0;
}

/* What of @e lies in the part of the row that @run takes, which begins at @pos. */
static int fadump_assign_run(const struct fadump_extent *e, u64 base,
			     const struct fadump_extent *run, u64 pos,
			     struct fadump_pieces *pieces)
{
	u64 start = e->addr - base, end = start + e->len;

	if (start < pos)
		start = pos;
	if (end > pos + run->len)
		end = pos + run->len;
	if (start >= end)
		return 0;
	return fadump_piece_add(pieces, start + base, end - start,
				run->addr + (start - pos));
}

/**
 * fadump_assign_guest - give each part of boot memory its place in guest memory
 * @bm: a checked answer
 * @runs: memory that it may go to, all multiples of FADUMP_DEST_ALIGN
 * @nr_runs: how many
 * @pieces: filled in
 *
 * Return: 0; -ENOSPC if @pieces has not enough room; -ENOMEM if @runs have less
 * than fadump_boot_mem_units().
 */
int fadump_assign_guest(const struct fadump_boot_mem *bm,
			const struct fadump_extent *runs, u32 nr_runs,
			struct fadump_pieces *pieces)
{
	struct fadump_row row = { 0 };
	u64 have = 0;
	u32 i, j;
	int ret;

	for (j = 0; j < nr_runs; j++)
		have += runs[j].len;
	if (have < fadump_boot_mem_units(bm))
		return -ENOMEM;

	pieces->nr = 0;
	for (i = 0; i < bm->nr; i++) {
		u64 pos = 0;

		fadump_row_extend(&row, &bm->extents[i]);
		for (j = 0; j < nr_runs; j++) {
			ret = fadump_assign_run(&bm->extents[i], row.base,
						&runs[j], pos, pieces);
			if (ret)
				return ret;
			pos += runs[j].len;
		}
	}
	return 0;
}
