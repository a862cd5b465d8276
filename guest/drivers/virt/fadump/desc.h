/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dump descriptor: checking it (desc.c), and the ELF header that is made
 * from it (elf.c).
 *
 * Both compute and nothing more: they map nothing, allocate nothing and print
 * nothing. So a unit test compiles them in userspace, with a small header that
 * stands in for the few kernel helpers that they need.
 */
#ifndef _FADUMP_DESC_H
#define _FADUMP_DESC_H

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

/* Why something that the device says was refused, for the log. */
struct fadump_why {
	char text[160];
};

int __printf(2, 3) fadump_refuse(struct fadump_why *why, const char *fmt, ...);

/* Is [off, off + size) inside of [0, total)? */
static inline bool fadump_inside(u64 off, u64 size, u64 total)
{
	return off <= total && size <= total - off;
}

/* What this boot knows and a descriptor is checked against. */
struct fadump_desc_env {
	/* bytes of the window, at the start of which the descriptor lies */
	u64 window_len;
	/* first address that the CPU or the direct map cannot reach */
	u64 phys_limit;
	/* does this boot have RAM anywhere in [addr, addr + len)? */
	bool (*is_ram)(u64 addr, u64 len);
};

/* Part of the descriptor, in the CPU's byte order. */
struct fadump_part {
	u64 off;
	u64 size;
};

/* A checked descriptor; points into the buffer that was checked. */
struct fadump_desc_info {
	const u8 *buf;
	u64 total;
	u64 boot_mem;
	u64 time_ns;
	u64 capture_ns;
	/* sums over all ranges */
	u64 bytes_total;
	u64 bytes_held;
	/* of bytes_total: where boot memory was set aside, so nothing is held */
	u64 bytes_dest;
	/* and where firmware had memory of its own, of which nothing is held */
	u64 bytes_firmware;
	u64 ranges_off;
	u32 range_size;
	u32 nr_ranges;
	/* of nr_ranges: those that lie in guest memory */
	u32 nr_guest;
	u64 vcpus_off;
	u32 vcpu_size;
	u32 nr_vcpus;
	/* of nr_vcpus: those that were off */
	u32 nr_off;
	/* of nr_vcpus: those of which the hypervisor has a note of its own */
	u32 nr_hv_notes;
	/* from the first byte of any vCPU's notes to behind the last */
	struct fadump_part cpu_notes;
	struct fadump_part vmcoreinfo;
	struct fadump_part crash_note;
	u32 crash_cpu;
	u32 cause;
	u16 elf_machine;
	u8 dump_id[16];
};

/* One element of the vCPU table, in the CPU's byte order. */
struct fadump_vcpu {
	u64 arch_id;
	u32 flags;
	struct fadump_part notes;
	struct fadump_part hv_note;
};

/* One element of the range table, in the CPU's byte order. */
struct fadump_range {
	u64 addr;
	u64 len;
	u64 dest;
	u64 held;
	u32 where;
	u32 flags;
	u32 node;
};

/* Preserved memory with nothing missing in between, and what can be added. */
struct fadump_span {
	u64 start;
	u64 end;
	/* whole memory blocks in it; equal if there are none */
	u64 add_start;
	u64 add_end;
	/* as the descriptor says it, or VIRTIO_FADUMP_NODE_NONE */
	u32 node;
	/* firmware's own interface gives it back: nothing is added */
	bool hotplug;
};

const char *fadump_cause_name(u32 cause);

int fadump_desc_parse(const void *buf, u64 size,
		      const struct fadump_desc_env *env,
		      struct fadump_desc_info *info, struct fadump_why *why);
void fadump_desc_range(const struct fadump_desc_info *info, u32 i,
		       struct fadump_range *r);
void fadump_desc_vcpu(const struct fadump_desc_info *info, u32 i,
		      struct fadump_vcpu *v);
u64 fadump_note_size(const u8 *notes, u64 size, struct elf64_note *nhdr);
u32 fadump_plan_spans(const struct fadump_desc_info *info, u64 block_size,
		      struct fadump_span *spans);

/* Where things lie in the ELF file. */
struct fadump_elf_layout {
	u64 notes_off;
	u64 notes_size;
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
	/* where the content lies: guest-physical, or offset in the window */
	u64 src;
	bool window;
};

int fadump_elf_layout(const struct fadump_desc_info *info, u64 page_size,
		      struct fadump_elf_layout *layout, struct fadump_why *why);
void fadump_elf_build(const struct fadump_desc_info *info,
		      const struct fadump_elf_layout *layout, void *hdr,
		      struct fadump_seg *segs);

#endif /* _FADUMP_DESC_H */
