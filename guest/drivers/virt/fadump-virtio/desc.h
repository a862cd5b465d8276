/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dump descriptor: checking it, and what is made of it.
 *
 * desc.c computes and nothing more: it maps nothing, allocates nothing and
 * prints nothing. So a unit test compiles it in userspace, with a small header
 * that stands in for the few kernel helpers that it needs.
 */
#ifndef _FADUMP_VIRTIO_DESC_H
#define _FADUMP_VIRTIO_DESC_H

#ifdef __KERNEL__
#include <linux/align.h>
#include <linux/crc32.h>
#include <linux/elf.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/byteorder.h>
#else
#include "kernel-shim.h"
#endif

#include <linux/virtio_fadump.h>

/* Why a descriptor was refused, for the log. */
struct fadump_why {
	char text[160];
};

/* What this boot knows and a descriptor is checked against. */
struct fadump_desc_env {
	/* bytes of shared memory region 0 */
	u64 shm_len;
	/* first address that the CPU or the direct map cannot reach */
	u64 phys_limit;
	u64 page_size;
	/* does this boot have RAM anywhere in [addr, addr + len)? */
	bool (*is_ram)(u64 addr, u64 len);
};

/* A checked descriptor; points into the buffer that was checked. */
struct fadump_desc_info {
	const u8 *buf;
	const u8 *notes;
	const u8 *param;
	u64 notes_off;
	u64 notes_size;
	u64 param_size;
	u64 boot_mem_size;
	u64 time_ns;
	u64 capture_ns;
	/* sums over all ranges */
	u64 bytes_total;
	u64 bytes_held;
	/* of bytes_total: where boot memory was set aside, so nothing is held */
	u64 bytes_dest;
	u64 ranges_off;
	u32 range_size;
	u32 nr_ranges;
	/* of nr_ranges: those that lie in guest memory */
	u32 nr_guest;
	u32 nr_vcpus;
	u32 nr_prstatus;
	u32 crash_cpu;
	u32 cause;
	u16 elf_machine;
	u8 dump_id[16];
};

/* One element of the range table, in the CPU's byte order. */
struct fadump_range {
	u64 addr;
	u64 len;
	u64 dest;
	u64 held;
	u32 where;
	u32 flags;
};

/* Where things lie in the ELF file. */
struct fadump_elf_layout {
	u64 notes_off;
	/* ELF header, program headers and notes; whole pages */
	u64 hdr_size;
	u64 file_size;
	u64 page_size;
	u32 nr_segs;
};

/* One PT_LOAD; they follow one another with no gap. */
struct fadump_seg {
	/* in the file */
	u64 offset;
	u64 size;
	/* where the content lies: guest-physical, or offset in the region */
	u64 src;
	bool shm;
};

/* Preserved memory with nothing missing in between, and what can be added. */
struct fadump_span {
	u64 start;
	u64 end;
	/* whole memory blocks in it; equal if there are none */
	u64 add_start;
	u64 add_end;
};

const char *fadump_cause_name(u32 cause);

int fadump_desc_parse(const void *buf, u64 size,
		      const struct fadump_desc_env *env,
		      struct fadump_desc_info *info, struct fadump_why *why);
void fadump_desc_range(const struct fadump_desc_info *info, u32 i,
		       struct fadump_range *r);

int fadump_elf_layout(const struct fadump_desc_info *info, u64 page_size,
		      struct fadump_elf_layout *layout, struct fadump_why *why);
void fadump_elf_build(const struct fadump_desc_info *info,
		      const struct fadump_elf_layout *layout, void *hdr,
		      struct fadump_seg *segs);

u32 fadump_plan_spans(const struct fadump_desc_info *info, u64 block_size,
		      struct fadump_span *spans);

#endif /* _FADUMP_VIRTIO_DESC_H */
