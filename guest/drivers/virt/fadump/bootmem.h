/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot memory: what the device says it is, and where it is to go. Pure, as
 * desc.h is, and tested in userspace.
 */
#ifndef _FADUMP_BOOTMEM_H
#define _FADUMP_BOOTMEM_H

#include "desc.h"

/*
 * Destinations are dealt out in units of this, a huge page: source and
 * destination are alike in their lower bits, so the host can move such pages
 * as a whole.
 */
#define FADUMP_DEST_ALIGN	(2ULL << 20)

/* destination: memory of the host */
#define FADUMP_DST_HOST		(~0ULL)

/* More ranges of boot memory than any machine has. */
#define FADUMP_MAX_EXTENTS	256

struct fadump_extent {
	u64 addr;
	u64 len;
};

/* The device's answer to how much boot memory there is to be. */
struct fadump_boot_mem {
	/* what is granted */
	u64 size;
	u32 nr;
	struct fadump_extent extents[FADUMP_MAX_EXTENTS];
};

/* Boot memory [src, src + len) and where it goes at a crash. */
struct fadump_piece {
	u64 src;
	u64 len;
	/* guest-physical, or FADUMP_DST_HOST */
	u64 dst;
};

struct fadump_pieces {
	struct fadump_piece *piece;
	u32 nr;
	u32 max;
};

int fadump_boot_mem_check(const struct fadump_boot_mem *bm, u64 phys_limit,
			  struct fadump_why *why);
bool fadump_boot_mem_hits(const struct fadump_boot_mem *bm, u64 start,
			  u64 len);
u64 fadump_boot_mem_units(const struct fadump_boot_mem *bm);
int fadump_assign_host(const struct fadump_boot_mem *bm,
		       struct fadump_pieces *pieces);
int fadump_assign_guest(const struct fadump_boot_mem *bm,
			const struct fadump_extent *runs, u32 nr_runs,
			struct fadump_pieces *pieces);

#endif /* _FADUMP_BOOTMEM_H */
