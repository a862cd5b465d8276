// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dump descriptor: checking it, and what is made of it.
 *
 * The device is not trusted: whoever runs the host may be honest and its
 * device still broken, and what is said here decides which physical addresses
 * are mapped and which become this kernel's memory. The caller passes a private
 * copy, so nothing can change between the check and the use.
 */
#include "desc.h"

#ifndef PN_XNUM
#define PN_XNUM		0xffff
#endif

/*
 * A driver names some hundred destinations at most, and a device splits them
 * where its memory map does.
 */
#define FADUMP_MAX_GUEST	1024

static int __printf(2, 3) fadump_desc_err(struct fadump_why *why,
					  const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return -EINVAL;
}

static bool fadump_inside(u64 off, u64 size, u64 total)
{
	return off <= total && size <= total - off;
}

const char *fadump_cause_name(u32 cause)
{
	switch (cause) {
	case VIRTIO_FADUMP_CAUSE_PANIC:
		return "panic";
	case VIRTIO_FADUMP_CAUSE_WATCHDOG:
		return "watchdog";
	case VIRTIO_FADUMP_CAUSE_TRIPLE_FAULT:
		return "triple fault";
	case VIRTIO_FADUMP_CAUSE_GUEST_RESET:
		return "unannounced reset";
	case VIRTIO_FADUMP_CAUSE_OPERATOR:
		return "operator";
	case VIRTIO_FADUMP_CAUSE_HOST_RESET:
		return "host reset";
	case VIRTIO_FADUMP_CAUSE_PVPANIC:
		return "pvpanic";
	default:
		return "unknown";
	}
}

/* CRC-32 as zlib's crc32(), with the checksum field taken as zero. */
static u32 fadump_desc_crc(const u8 *buf, u64 size)
{
	const size_t at = offsetof(struct virtio_fadump_desc, checksum);
	static const u8 zero[4];
	u32 crc = ~0U;

	crc = crc32_le(crc, buf, at);
	crc = crc32_le(crc, zero, sizeof(zero));
	crc = crc32_le(crc, buf + at + sizeof(zero), size - at - sizeof(zero));
	return ~crc;
}

static int fadump_check_table(const char *name, u64 off, u32 nr, u32 elem,
			      size_t known, u64 hdr_size, u64 total,
			      struct fadump_why *why)
{
	/* Newer devices append fields, so an element may be larger, not smaller. */
	if (elem < known || elem % 8)
		return fadump_desc_err(why,
				       "%s table has elements of %u bytes, expected %zu or more",
				       name, elem, known);
	if (off % 8 || off < hdr_size ||
	    !fadump_inside(off, (u64)nr * elem, total))
		return fadump_desc_err(why,
				       "%s table (%u elements at %llu) lies outside the descriptor",
				       name, nr, off);
	return 0;
}

/*
 * Tools walk the notes by the sizes in them and trust those, so each must end
 * inside and the last one at the very end.
 */
static int fadump_check_notes(struct fadump_desc_info *info,
			      struct fadump_why *why)
{
	u64 off = 0;

	info->nr_prstatus = 0;
	while (off < info->notes_size) {
		struct elf64_note nhdr;
		u64 next;

		if (!fadump_inside(off, sizeof(nhdr), info->notes_size))
			return fadump_desc_err(why,
					       "ELF note at %llu is cut off", off);
		memcpy(&nhdr, info->notes + off, sizeof(nhdr));
		next = sizeof(nhdr) + ALIGN((u64)nhdr.n_namesz, 4) +
		       ALIGN((u64)nhdr.n_descsz, 4);
		if (!fadump_inside(off, next, info->notes_size))
			return fadump_desc_err(why,
					       "ELF note at %llu (name %u, data %u bytes) is cut off",
					       off, nhdr.n_namesz, nhdr.n_descsz);
		if (nhdr.n_type == NT_PRSTATUS && nhdr.n_namesz == 5 &&
		    !memcmp(info->notes + off + sizeof(nhdr), "CORE", 5))
			info->nr_prstatus++;
		off += next;
	}
	return 0;
}

static int fadump_check_range(const struct fadump_desc_info *info, u32 i,
			      const struct fadump_range *r, u64 prev_end,
			      u64 total, const struct fadump_desc_env *env,
			      struct fadump_why *why)
{
	u64 mask = env->page_size - 1;

	if (!r->len || (r->addr | r->len) & mask)
		return fadump_desc_err(why,
				       "range %u [0x%llx + 0x%llx] is empty or not page aligned",
				       i, r->addr, r->len);
	if (r->addr + r->len < r->addr)
		return fadump_desc_err(why, "range %u [0x%llx + 0x%llx] wraps",
				       i, r->addr, r->len);
	if (r->addr < prev_end)
		return fadump_desc_err(why,
				       "range %u [0x%llx + 0x%llx] starts before the end of the one before (0x%llx)",
				       i, r->addr, r->len, prev_end);
	if (r->flags & VIRTIO_FADUMP_RANGE_F_DESTINATION) {
		/* What was there was overwritten: nobody may take it for held. */
		if (r->held || r->where != VIRTIO_FADUMP_WHERE_IN_PLACE)
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] was a destination and is said to hold 0x%llx bytes (place %u)",
					       i, r->addr, r->len, r->held,
					       r->where);
	} else if (r->held > r->len ||
		   (r->held < r->len &&
		    !(r->flags & VIRTIO_FADUMP_RANGE_F_ERROR)))
		return fadump_desc_err(why,
				       "range %u [0x%llx + 0x%llx] holds 0x%llx bytes",
				       i, r->addr, r->len, r->held);

	switch (r->where) {
	case VIRTIO_FADUMP_WHERE_IN_PLACE:
		if (r->addr + r->len > env->phys_limit)
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] is out of this CPU's reach (0x%llx)",
					       i, r->addr, r->len, env->phys_limit);
		/*
		 * This boot has been there: firmware and kernel overwrote it,
		 * and adding it once more would hand one page out twice.
		 */
		if (r->addr < info->boot_mem_size ||
		    r->flags & VIRTIO_FADUMP_RANGE_F_BOOT_MEM ||
		    env->is_ram(r->addr, r->len))
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] is said to be in place but is RAM of this boot",
					       i, r->addr, r->len);
		break;
	case VIRTIO_FADUMP_WHERE_SHM:
		if (r->dest & mask || r->dest < total ||
		    !fadump_inside(r->dest, r->held, env->shm_len))
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] lies at 0x%llx, outside the shared memory region (0x%llx bytes)",
					       i, r->addr, r->len, r->dest,
					       env->shm_len);
		break;
	case VIRTIO_FADUMP_WHERE_GUEST:
		/* What else there is to it takes all ranges. */
		if (r->dest & mask || r->dest + r->len < r->dest ||
		    r->dest + r->len > env->phys_limit)
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] lies at 0x%llx, which is not page aligned or out of this CPU's reach (0x%llx)",
					       i, r->addr, r->len, r->dest,
					       env->phys_limit);
		if (r->dest < info->boot_mem_size ||
		    env->is_ram(r->dest, r->len))
			return fadump_desc_err(why,
					       "range %u [0x%llx + 0x%llx] lies at 0x%llx, which is RAM of this boot",
					       i, r->addr, r->len, r->dest);
		break;
	default:
		return fadump_desc_err(why,
				       "range %u [0x%llx + 0x%llx] is at a place of unknown kind %u",
				       i, r->addr, r->len, r->where);
	}
	return 0;
}

/*
 * Index of the last range that starts at or below @addr; 0 if none does. The
 * ranges are known to ascend.
 */
static u32 fadump_find_range(const struct fadump_desc_info *info, u64 addr)
{
	u32 lo = 0, hi = info->nr_ranges - 1;

	while (lo < hi) {
		u32 mid = hi - (hi - lo) / 2;
		struct fadump_range r;

		fadump_desc_range(info, mid, &r);
		if (r.addr <= addr)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

/* All of [start, end) was memory that the crashed kernel gave away for this. */
static bool fadump_was_destination(const struct fadump_desc_info *info,
				   u64 start, u64 end)
{
	u32 i;

	for (i = fadump_find_range(info, start); i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		if (r.addr > start || r.addr + r.len <= start ||
		    !(r.flags & VIRTIO_FADUMP_RANGE_F_DESTINATION))
			return false;
		start = r.addr + r.len;
		if (start >= end)
			return true;
	}
	return false;
}

/* What guest memory holds of boot memory, once all ranges are known. */
static int fadump_check_guest(const struct fadump_desc_info *info, u32 i,
			      struct fadump_why *why)
{
	u32 left = info->nr_guest, j;
	struct fadump_range r;

	fadump_desc_range(info, i, &r);
	if (!fadump_was_destination(info, r.dest, r.dest + r.len))
		return fadump_desc_err(why,
				       "range %u [0x%llx + 0x%llx] lies at 0x%llx, which was no destination",
				       i, r.addr, r.len, r.dest);

	for (j = 0; left; j++) {
		struct fadump_range o;

		fadump_desc_range(info, j, &o);
		if (o.where != VIRTIO_FADUMP_WHERE_GUEST)
			continue;
		left--;
		if (j != i && r.dest < o.dest + o.len &&
		    o.dest < r.dest + r.len)
			return fadump_desc_err(why,
					       "ranges %u and %u lie at the same place (0x%llx and 0x%llx)",
					       i, j, r.dest, o.dest);
	}
	return 0;
}

/**
 * fadump_desc_parse - check a dump descriptor
 * @buf: private copy of the descriptor
 * @size: bytes of it
 * @env: what this boot knows
 * @info: filled in if all is well
 * @why: filled in if not
 *
 * Return: 0, or -EINVAL if the descriptor is not to be trusted.
 */
int fadump_desc_parse(const void *buf, u64 size,
		      const struct fadump_desc_env *env,
		      struct fadump_desc_info *info, struct fadump_why *why)
{
	const struct virtio_fadump_desc *d = buf;
	u64 hdr_size, total, prev_end, param_off;
	u32 crc, i;
	int ret;

	memset(info, 0, sizeof(*info));

	if (size < sizeof(*d))
		return fadump_desc_err(why,
				       "%llu bytes, a descriptor has at least %zu",
				       size, sizeof(*d));
	if (memcmp(d->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(d->magic)))
		return fadump_desc_err(why, "no descriptor (bad magic)");
	/*
	 * Compatible additions do not change the version; a newer one says that
	 * something that we would read has another meaning.
	 */
	if (!le32_to_cpu(d->version) ||
	    le32_to_cpu(d->version) > VIRTIO_FADUMP_VERSION)
		return fadump_desc_err(why,
				       "version %u, this driver knows up to %u",
				       le32_to_cpu(d->version), VIRTIO_FADUMP_VERSION);

	hdr_size = le32_to_cpu(d->hdr_size);
	total = le64_to_cpu(d->total_size);
	if (total != size)
		return fadump_desc_err(why,
				       "says it has %llu bytes, the device says %llu",
				       total, size);
	if (hdr_size < sizeof(*d) || hdr_size > total || hdr_size % 8)
		return fadump_desc_err(why,
				       "header of %llu bytes, expected %zu or more",
				       hdr_size, sizeof(*d));
	crc = fadump_desc_crc(buf, size);
	if (crc != le32_to_cpu(d->checksum))
		return fadump_desc_err(why, "checksum 0x%08x, expected 0x%08x",
				       le32_to_cpu(d->checksum), crc);

	if (!(le32_to_cpu(d->flags) & VIRTIO_FADUMP_DESC_F_ELF64))
		return fadump_desc_err(why, "notes of a 32-bit kernel");
	if (!d->elf_machine || le32_to_cpu(d->elf_machine) > U16_MAX)
		return fadump_desc_err(why, "ELF machine %u",
				       le32_to_cpu(d->elf_machine));

	info->buf = buf;
	info->nr_vcpus = le32_to_cpu(d->nr_vcpus);
	info->nr_ranges = le32_to_cpu(d->nr_ranges);
	info->range_size = le32_to_cpu(d->range_size);
	info->ranges_off = le64_to_cpu(d->ranges_off);
	info->notes_off = le64_to_cpu(d->notes_off);
	info->notes_size = le64_to_cpu(d->notes_size);
	info->param_size = le64_to_cpu(d->param_size);
	info->boot_mem_size = le64_to_cpu(d->boot_mem_size);
	info->time_ns = le64_to_cpu(d->time_ns);
	info->capture_ns = le64_to_cpu(d->capture_ns);
	info->crash_cpu = le32_to_cpu(d->crash_cpu);
	info->cause = le32_to_cpu(d->cause);
	info->elf_machine = le32_to_cpu(d->elf_machine);
	memcpy(info->dump_id, d->dump_id, sizeof(info->dump_id));

	ret = fadump_check_table("vCPU", le64_to_cpu(d->vcpus_off),
				 info->nr_vcpus, le32_to_cpu(d->vcpu_size),
				 sizeof(struct virtio_fadump_vcpu), hdr_size,
				 total, why);
	if (ret)
		return ret;
	if (info->crash_cpu != VIRTIO_FADUMP_CPU_NONE &&
	    info->crash_cpu >= info->nr_vcpus)
		return fadump_desc_err(why, "crashing vCPU %u of %u",
				       info->crash_cpu, info->nr_vcpus);

	ret = fadump_check_table("range", info->ranges_off, info->nr_ranges,
				 info->range_size,
				 sizeof(struct virtio_fadump_range), hdr_size,
				 total, why);
	if (ret)
		return ret;
	if (!info->nr_ranges)
		return fadump_desc_err(why, "no memory ranges");

	if (info->notes_off % 8 || info->notes_size % 4 ||
	    info->notes_off < hdr_size ||
	    !fadump_inside(info->notes_off, info->notes_size, total))
		return fadump_desc_err(why,
				       "ELF notes (%llu bytes at %llu) lie outside the descriptor",
				       info->notes_size, info->notes_off);
	info->notes = info->buf + info->notes_off;
	ret = fadump_check_notes(info, why);
	if (ret)
		return ret;

	param_off = le64_to_cpu(d->param_off);
	if (info->param_size) {
		if (param_off % 8 || param_off < hdr_size ||
		    !fadump_inside(param_off, info->param_size, total))
			return fadump_desc_err(why,
					       "parameters (%llu bytes at %llu) lie outside the descriptor",
					       info->param_size, param_off);
		info->param = info->buf + param_off;
	}

	prev_end = 0;
	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		ret = fadump_check_range(info, i, &r, prev_end, total, env,
					 why);
		if (ret)
			return ret;
		prev_end = r.addr + r.len;
		/* No overflow: they do not overlap, so the sums are below 2^64. */
		info->bytes_total += r.len;
		info->bytes_held += r.held;
		if (r.flags & VIRTIO_FADUMP_RANGE_F_DESTINATION)
			info->bytes_dest += r.len;
		if (r.where == VIRTIO_FADUMP_WHERE_GUEST)
			info->nr_guest++;
	}

	/* Each is compared with each: a hostile device must not keep us busy. */
	if (info->nr_guest > FADUMP_MAX_GUEST)
		return fadump_desc_err(why,
				       "%u ranges lie in guest memory, at most %u are expected",
				       info->nr_guest, FADUMP_MAX_GUEST);
	for (i = 0; info->nr_guest && i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		if (r.where != VIRTIO_FADUMP_WHERE_GUEST)
			continue;
		ret = fadump_check_guest(info, i, why);
		if (ret)
			return ret;
	}
	return 0;
}

void fadump_desc_range(const struct fadump_desc_info *info, u32 i,
		       struct fadump_range *r)
{
	const struct virtio_fadump_range *e;

	e = (const void *)(info->buf + info->ranges_off +
			   (u64)i * info->range_size);
	r->addr = le64_to_cpu(e->addr);
	r->len = le64_to_cpu(e->len);
	r->dest = le64_to_cpu(e->dest);
	r->held = le64_to_cpu(e->held);
	r->where = le32_to_cpu(e->where);
	r->flags = le32_to_cpu(e->flags);
}

/*
 * Only whole pages go in the file, so that it can be mapped; what was not held
 * is then read as zero by the tools, as p_filesz < p_memsz says.
 */
static u64 fadump_file_bytes(const struct fadump_range *r, u64 page_size)
{
	return r->held & ~(page_size - 1);
}

/**
 * fadump_elf_layout - compute where everything lies in the ELF file
 * @info: a checked descriptor
 * @page_size: PAGE_SIZE
 * @layout: filled in
 * @why: filled in on failure
 *
 * makedumpfile wants the program headers right behind the ELF header, so the
 * notes come third. A range with nothing held gets no program header: it has
 * nothing to show.
 */
int fadump_elf_layout(const struct fadump_desc_info *info, u64 page_size,
		      struct fadump_elf_layout *layout, struct fadump_why *why)
{
	u64 bytes = 0;
	u32 i;

	memset(layout, 0, sizeof(*layout));
	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;
		u64 n;

		fadump_desc_range(info, i, &r);
		n = fadump_file_bytes(&r, page_size);
		if (n)
			layout->nr_segs++;
		bytes += n;
	}
	if (!layout->nr_segs)
		return fadump_desc_err(why, "no memory content was held");
	if (layout->nr_segs >= PN_XNUM - 1)
		return fadump_desc_err(why,
				       "%u ranges, an ELF file names fewer than %u",
				       layout->nr_segs, PN_XNUM - 1);

	layout->page_size = page_size;
	layout->notes_off = sizeof(struct elf64_hdr) +
			    sizeof(struct elf64_phdr) * (layout->nr_segs + 1ULL);
	layout->hdr_size = ALIGN(layout->notes_off + info->notes_size,
				 page_size);
	if (bytes > S64_MAX - layout->hdr_size)
		return fadump_desc_err(why,
				       "0x%llx bytes of memory are more than a file can have",
				       bytes);
	layout->file_size = layout->hdr_size + bytes;
	return 0;
}

/**
 * fadump_elf_build - write the ELF header, program headers and notes
 * @info: a checked descriptor
 * @layout: as computed for it
 * @hdr: @layout->hdr_size bytes, zeroed
 * @segs: @layout->nr_segs elements, filled in
 */
void fadump_elf_build(const struct fadump_desc_info *info,
		      const struct fadump_elf_layout *layout, void *hdr,
		      struct fadump_seg *segs)
{
	struct elf64_hdr *ehdr = hdr;
	struct elf64_phdr *phdr = hdr + sizeof(*ehdr);
	u64 offset = layout->hdr_size;
	u32 i;

	memcpy(ehdr->e_ident, ELFMAG, SELFMAG);
	ehdr->e_ident[EI_CLASS] = ELFCLASS64;
	ehdr->e_ident[EI_DATA] = ELFDATA2LSB;
	ehdr->e_ident[EI_VERSION] = EV_CURRENT;
	ehdr->e_type = ET_CORE;
	ehdr->e_machine = info->elf_machine;
	ehdr->e_version = EV_CURRENT;
	ehdr->e_phoff = sizeof(*ehdr);
	ehdr->e_ehsize = sizeof(*ehdr);
	ehdr->e_phentsize = sizeof(*phdr);
	ehdr->e_phnum = layout->nr_segs + 1;

	phdr->p_type = PT_NOTE;
	phdr->p_offset = layout->notes_off;
	phdr->p_filesz = info->notes_size;
	phdr->p_memsz = info->notes_size;
	phdr->p_align = 4;

	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;
		u64 n;

		fadump_desc_range(info, i, &r);
		n = fadump_file_bytes(&r, layout->page_size);
		if (!n)
			continue;

		phdr++;
		phdr->p_type = PT_LOAD;
		phdr->p_flags = PF_R | PF_W | PF_X;
		phdr->p_offset = offset;
		phdr->p_paddr = r.addr;
		phdr->p_filesz = n;
		phdr->p_memsz = r.len;

		segs->offset = offset;
		segs->size = n;
		segs->shm = r.where == VIRTIO_FADUMP_WHERE_SHM;
		segs->src = r.where == VIRTIO_FADUMP_WHERE_IN_PLACE ? r.addr :
								      r.dest;
		segs++;

		offset += n;
	}

	memcpy(hdr + layout->notes_off, info->notes, info->notes_size);
}

/**
 * fadump_plan_spans - what to give back to the kernel after a release
 * @info: a checked descriptor
 * @block_size: of memory hotplug, a power of two
 * @spans: room for @info->nr_ranges elements
 *
 * Memory comes back in whole blocks. Ranges that touch are joined first, or a
 * block that two of them share would be lost.
 *
 * Return: number of @spans, ascending.
 */
u32 fadump_plan_spans(const struct fadump_desc_info *info, u64 block_size,
		      struct fadump_span *spans)
{
	u32 i, nr = 0;

	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		if (r.where != VIRTIO_FADUMP_WHERE_IN_PLACE ||
		    r.flags & VIRTIO_FADUMP_RANGE_F_HOTPLUG)
			continue;
		if (nr && spans[nr - 1].end == r.addr) {
			spans[nr - 1].end += r.len;
			continue;
		}
		spans[nr].start = r.addr;
		spans[nr].end = r.addr + r.len;
		nr++;
	}

	for (i = 0; i < nr; i++) {
		struct fadump_span *s = &spans[i];

		s->add_start = ALIGN(s->start, block_size);
		s->add_end = s->end & ~(block_size - 1);
		/* Also where aligning up wrapped: nothing whole is in it. */
		if (s->add_start < s->start || s->add_end < s->add_start) {
			s->add_start = s->start;
			s->add_end = s->start;
		}
	}
	return nr;
}
