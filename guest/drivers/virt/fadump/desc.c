// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dump descriptor: checking it.
 *
 * The device is not trusted: whoever runs the host may be honest and its
 * device still broken, and what is said here decides which physical addresses
 * are mapped and which become this kernel's memory. The caller passes a private
 * copy, so nothing can change between the check and the use.
 */
#include "desc.h"

/*
 * A driver names some hundred destinations at most, and a device splits them
 * where its memory map does.
 */
#define FADUMP_MAX_GUEST	1024

/**
 * fadump_refuse - say why
 * @why: filled in
 * @fmt: as for printf()
 *
 * Return: -EINVAL.
 */
int fadump_refuse(struct fadump_why *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return -EINVAL;
}

/**
 * fadump_cause_name - in words
 * @cause: VIRTIO_FADUMP_CAUSE_*, or a later device's
 *
 * Return: a text, "unknown" if this driver has none.
 */
const char *fadump_cause_name(u32 cause)
{
	switch (cause) {
	case VIRTIO_FADUMP_CAUSE_PANIC:
		return "panic";
	case VIRTIO_FADUMP_CAUSE_WATCHDOG:
		return "watchdog";
	case VIRTIO_FADUMP_CAUSE_CPU_FAULT:
		return "CPU fault";
	case VIRTIO_FADUMP_CAUSE_GUEST_RESET:
		return "unannounced reset";
	case VIRTIO_FADUMP_CAUSE_OPERATOR:
		return "operator";
	case VIRTIO_FADUMP_CAUSE_HOST_RESET:
		return "host reset";
	case VIRTIO_FADUMP_CAUSE_PANIC_DEVICE:
		return "panic device";
	default:
		return "unknown";
	}
}

/* ------------------------------------------------------------------ */
/* Header and tables							*/

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

/* Is it a descriptor, whole, and one that this driver knows to read? */
static int fadump_check_header(const struct virtio_fadump_desc *d, u64 size,
			       struct fadump_why *why)
{
	u64 hdr_size, total;
	u32 crc;

	if (size < sizeof(*d))
		return fadump_refuse(why,
				     "%llu bytes, a descriptor has at least %zu",
				     size, sizeof(*d));
	if (memcmp(d->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(d->magic)))
		return fadump_refuse(why, "no descriptor (bad magic)");
	/*
	 * Compatible additions do not change the version; a newer one says that
	 * something that we would read has another meaning.
	 */
	if (!le32_to_cpu(d->version) ||
	    le32_to_cpu(d->version) > VIRTIO_FADUMP_DESC_VERSION)
		return fadump_refuse(why,
				     "version %u, this driver knows up to %u",
				     le32_to_cpu(d->version),
				     VIRTIO_FADUMP_DESC_VERSION);

	hdr_size = le32_to_cpu(d->hdr_size);
	total = le64_to_cpu(d->total_size);
	if (total != size)
		return fadump_refuse(why,
				     "says it has %llu bytes, the device says %llu",
				     total, size);
	if (hdr_size < sizeof(*d) || hdr_size > total || hdr_size % 8)
		return fadump_refuse(why,
				     "header of %llu bytes, expected %zu or more",
				     hdr_size, sizeof(*d));
	crc = fadump_desc_crc((const u8 *)d, size);
	if (crc != le32_to_cpu(d->checksum))
		return fadump_refuse(why, "checksum 0x%08x, expected 0x%08x",
				     le32_to_cpu(d->checksum), crc);

	if (!(le32_to_cpu(d->flags) & VIRTIO_FADUMP_DESC_F_ELF64))
		return fadump_refuse(why, "notes of a 32-bit kernel");
	if (!d->elf_machine || le32_to_cpu(d->elf_machine) > U16_MAX)
		return fadump_refuse(why, "ELF machine %u",
				     le32_to_cpu(d->elf_machine));
	return 0;
}

/* Where there is nothing the offset says nothing: no pointer is made of it. */
static struct fadump_part fadump_part(const struct virtio_fadump_part *p)
{
	return (struct fadump_part) {
		.off = p->size ? le64_to_cpu(p->off) : 0,
		.size = le64_to_cpu(p->size),
	};
}

static void fadump_read_header(const struct virtio_fadump_desc *d,
			       struct fadump_desc_info *info)
{
	info->buf = (const u8 *)d;
	info->total = le64_to_cpu(d->total_size);
	info->nr_vcpus = le32_to_cpu(d->nr_vcpus);
	info->vcpu_size = le32_to_cpu(d->vcpu_size);
	info->vcpus_off = le64_to_cpu(d->vcpus_off);
	info->nr_ranges = le32_to_cpu(d->nr_ranges);
	info->range_size = le32_to_cpu(d->range_size);
	info->ranges_off = le64_to_cpu(d->ranges_off);
	info->vmcoreinfo = fadump_part(&d->vmcoreinfo);
	info->crash_note = fadump_part(&d->crash_note);
	info->boot_mem = le64_to_cpu(d->boot_mem);
	info->time_ns = le64_to_cpu(d->time_ns);
	info->capture_ns = le64_to_cpu(d->capture_ns);
	info->crash_cpu = le32_to_cpu(d->crash_cpu);
	info->cause = le32_to_cpu(d->cause);
	info->elf_machine = le32_to_cpu(d->elf_machine);
	memcpy(info->dump_id, d->dump_id, sizeof(info->dump_id));
}

static int fadump_check_table(const char *name, u64 off, u32 nr, u32 elem,
			      size_t known, u64 hdr_size, u64 total,
			      struct fadump_why *why)
{
	/* Newer devices append fields, so an element may be larger, not smaller. */
	if (elem < known || elem % 8)
		return fadump_refuse(why,
				     "%s table has elements of %u bytes, expected %zu or more",
				     name, elem, known);
	if (off % 8 || off < hdr_size ||
	    !fadump_inside(off, (u64)nr * elem, total))
		return fadump_refuse(why,
				     "%s table (%u elements at %llu) lies outside the descriptor",
				     name, nr, off);
	return 0;
}

static int fadump_check_tables(const struct fadump_desc_info *info,
			       u64 hdr_size, struct fadump_why *why)
{
	int ret;

	ret = fadump_check_table("vCPU", info->vcpus_off, info->nr_vcpus,
				 info->vcpu_size,
				 sizeof(struct virtio_fadump_vcpu), hdr_size,
				 info->total, why);
	if (ret)
		return ret;
	if (info->crash_cpu != VIRTIO_FADUMP_CPU_NONE &&
	    info->crash_cpu >= info->nr_vcpus)
		return fadump_refuse(why, "crashing vCPU %u of %u",
				     info->crash_cpu, info->nr_vcpus);

	ret = fadump_check_table("range", info->ranges_off, info->nr_ranges,
				 info->range_size,
				 sizeof(struct virtio_fadump_range), hdr_size,
				 info->total, why);
	if (ret)
		return ret;
	if (!info->nr_ranges)
		return fadump_refuse(why, "no memory ranges");
	return 0;
}

/* ------------------------------------------------------------------ */
/* Notes								*/

/**
 * fadump_note_size - how long is the first note?
 * @notes: ELF notes
 * @size: bytes of them
 * @nhdr: filled in with its header
 *
 * Return: its bytes, padding included; 0 if it does not fit in @size.
 */
u64 fadump_note_size(const u8 *notes, u64 size, struct elf64_note *nhdr)
{
	u64 need;

	if (size < sizeof(*nhdr))
		return 0;
	memcpy(nhdr, notes, sizeof(*nhdr));
	need = sizeof(*nhdr) + ALIGN((u64)nhdr->n_namesz, 4) +
	       ALIGN((u64)nhdr->n_descsz, 4);
	return need <= size ? need : 0;
}

static int fadump_check_part(const struct fadump_desc_info *info,
			     const struct fadump_part *p, u64 hdr_size,
			     const char *name, u32 i, struct fadump_why *why)
{
	if (p->size &&
	    ((p->off | p->size) % 4 || p->off < hdr_size ||
	     !fadump_inside(p->off, p->size, info->total)))
		return fadump_refuse(why,
				     "%s %u (%llu bytes at %llu) lie outside the descriptor",
				     name, i, p->size, p->off);
	return 0;
}

/*
 * Tools walk the notes by the sizes in them and trust those, so each must end
 * inside and the last one at the very end.
 */
static int fadump_check_notes(const struct fadump_desc_info *info,
			      const struct fadump_part *p, u64 hdr_size,
			      const char *name, u32 i, struct fadump_why *why)
{
	u64 off = 0;
	int ret;

	ret = fadump_check_part(info, p, hdr_size, name, i, why);
	if (ret)
		return ret;
	while (off < p->size) {
		struct elf64_note nhdr;
		u64 n = fadump_note_size(info->buf + p->off + off,
					 p->size - off, &nhdr);

		if (!n)
			return fadump_refuse(why,
					     "%s %u: ELF note at %llu of %llu bytes is cut off",
					     name, i, off, p->size);
		off += n;
	}
	return 0;
}

/* Grows @all so that @p is in it. */
static void fadump_part_join(struct fadump_part *all,
			     const struct fadump_part *p)
{
	u64 end;

	if (!p->size)
		return;
	if (!all->size) {
		*all = *p;
		return;
	}
	end = all->off + all->size;
	if (p->off + p->size > end)
		end = p->off + p->size;
	if (p->off < all->off)
		all->off = p->off;
	all->size = end - all->off;
}

static int fadump_check_vcpus(struct fadump_desc_info *info, u64 hdr_size,
			      struct fadump_why *why)
{
	u64 bytes = 0;
	u32 i;
	int ret;

	for (i = 0; i < info->nr_vcpus; i++) {
		struct fadump_vcpu v;

		fadump_desc_vcpu(info, i, &v);
		ret = fadump_check_notes(info, &v.notes, hdr_size,
					 "notes of vCPU", i, why);
		if (!ret)
			ret = fadump_check_notes(info, &v.hv_note, hdr_size,
						 "hypervisor's notes of vCPU",
						 i, why);
		if (ret)
			return ret;
		if (v.flags & VIRTIO_FADUMP_VCPU_F_OFF)
			info->nr_off++;
		if (v.hv_note.size)
			info->nr_hv_notes++;
		fadump_part_join(&info->cpu_notes, &v.notes);
		fadump_part_join(&info->cpu_notes, &v.hv_note);
		/* One piece of memory is the notes of one vCPU. */
		bytes += v.notes.size + v.hv_note.size;
		if (bytes > info->total)
			return fadump_refuse(why,
					     "notes of %u vCPUs have more bytes than there are",
					     info->nr_vcpus);
	}

	ret = fadump_check_notes(info, &info->vmcoreinfo, hdr_size,
				 "VMCOREINFO", 0, why);
	/* The crashed kernel wrote this one: it is used only where it fits. */
	if (!ret)
		ret = fadump_check_part(info, &info->crash_note, hdr_size,
					"crash note", 0, why);
	return ret;
}

/* ------------------------------------------------------------------ */
/* Ranges								*/

/* What can be said of a range by itself, wherever its content lies. */
static int fadump_check_range(u32 i, const struct fadump_range *r,
			      u64 prev_end, struct fadump_why *why)
{
	if (!r->len || (r->addr | r->len) % VIRTIO_FADUMP_PAGE_SIZE)
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] is empty or not page aligned",
				     i, r->addr, r->len);
	if (r->addr + r->len < r->addr)
		return fadump_refuse(why, "range %u [0x%llx + 0x%llx] wraps",
				     i, r->addr, r->len);
	if (r->addr < prev_end)
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] starts before the end of the one before (0x%llx)",
				     i, r->addr, r->len, prev_end);
	if (r->flags & (VIRTIO_FADUMP_RANGE_F_DESTINATION |
			VIRTIO_FADUMP_RANGE_F_FIRMWARE)) {
		/* What was there is gone: nobody may take it for held. */
		if (r->held || r->where != VIRTIO_FADUMP_WHERE_IN_PLACE)
			return fadump_refuse(why,
					     "range %u [0x%llx + 0x%llx] was %s and is said to hold 0x%llx bytes (place %u)",
					     i, r->addr, r->len,
					     r->flags & VIRTIO_FADUMP_RANGE_F_DESTINATION ?
					     "a destination" : "firmware's",
					     r->held, r->where);
	} else if (r->held > r->len ||
		   (r->held < r->len &&
		    !(r->flags & VIRTIO_FADUMP_RANGE_F_ERROR))) {
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] holds 0x%llx bytes",
				     i, r->addr, r->len, r->held);
	}
	return 0;
}

static int fadump_check_in_place(u32 i, const struct fadump_range *r,
				 const struct fadump_desc_env *env,
				 struct fadump_why *why)
{
	if (r->addr + r->len > env->phys_limit)
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] is out of this CPU's reach (0x%llx)",
				     i, r->addr, r->len, env->phys_limit);
	/*
	 * This boot has been there: firmware and kernel overwrote it, and
	 * adding it once more would hand one page out twice.
	 */
	if (r->flags & VIRTIO_FADUMP_RANGE_F_BOOT_MEM ||
	    env->is_ram(r->addr, r->len))
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] is said to be in place but is RAM of this boot",
				     i, r->addr, r->len);
	return 0;
}

/* A page of any size can then be mapped where its content lies. */
static bool fadump_congruent(const struct fadump_range *r)
{
	return !((r->addr ^ r->dest) % VIRTIO_FADUMP_ALIGN);
}

static int fadump_check_window(u32 i, const struct fadump_range *r, u64 total,
			       const struct fadump_desc_env *env,
			       struct fadump_why *why)
{
	if (!fadump_congruent(r) || r->dest < total ||
	    !fadump_inside(r->dest, r->held, env->window_len))
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] lies at 0x%llx, which is out of place or outside the window (0x%llx bytes)",
				     i, r->addr, r->len, r->dest,
				     env->window_len);
	return 0;
}

/* What else there is to it takes all ranges: fadump_check_guest(). */
static int fadump_check_in_guest(u32 i, const struct fadump_range *r,
				 const struct fadump_desc_env *env,
				 struct fadump_why *why)
{
	if (!fadump_congruent(r) || r->dest + r->len < r->dest ||
	    r->dest + r->len > env->phys_limit)
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] lies at 0x%llx, which is out of place or out of this CPU's reach (0x%llx)",
				     i, r->addr, r->len, r->dest,
				     env->phys_limit);
	if (env->is_ram(r->dest, r->len))
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] lies at 0x%llx, which is RAM of this boot",
				     i, r->addr, r->len, r->dest);
	return 0;
}

static int fadump_check_where(const struct fadump_desc_info *info, u32 i,
			      const struct fadump_range *r,
			      const struct fadump_desc_env *env,
			      struct fadump_why *why)
{
	switch (r->where) {
	case VIRTIO_FADUMP_WHERE_IN_PLACE:
		return fadump_check_in_place(i, r, env, why);
	case VIRTIO_FADUMP_WHERE_WINDOW:
		return fadump_check_window(i, r, info->total, env, why);
	case VIRTIO_FADUMP_WHERE_GUEST:
		return fadump_check_in_guest(i, r, env, why);
	default:
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] is at a place of unknown kind %u",
				     i, r->addr, r->len, r->where);
	}
}

static int fadump_check_ranges(struct fadump_desc_info *info,
			       const struct fadump_desc_env *env,
			       struct fadump_why *why)
{
	u64 prev_end = 0;
	u32 i;
	int ret;

	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		ret = fadump_check_range(i, &r, prev_end, why);
		if (!ret)
			ret = fadump_check_where(info, i, &r, env, why);
		if (ret)
			return ret;
		prev_end = r.addr + r.len;
		/* No overflow: they do not overlap, so the sums are below 2^64. */
		info->bytes_total += r.len;
		info->bytes_held += r.held;
		if (r.flags & VIRTIO_FADUMP_RANGE_F_DESTINATION)
			info->bytes_dest += r.len;
		else if (r.flags & VIRTIO_FADUMP_RANGE_F_FIRMWARE)
			info->bytes_firmware += r.len;
		if (r.where == VIRTIO_FADUMP_WHERE_GUEST)
			info->nr_guest++;
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
			      const struct fadump_range *r,
			      struct fadump_why *why)
{
	u32 left = info->nr_guest, j;

	if (!fadump_was_destination(info, r->dest, r->dest + r->len))
		return fadump_refuse(why,
				     "range %u [0x%llx + 0x%llx] lies at 0x%llx, which was no destination",
				     i, r->addr, r->len, r->dest);

	for (j = 0; left; j++) {
		struct fadump_range o;

		fadump_desc_range(info, j, &o);
		if (o.where != VIRTIO_FADUMP_WHERE_GUEST)
			continue;
		left--;
		if (j != i && r->dest < o.dest + o.len &&
		    o.dest < r->dest + r->len)
			return fadump_refuse(why,
					     "ranges %u and %u lie at the same place (0x%llx and 0x%llx)",
					     i, j, r->dest, o.dest);
	}
	return 0;
}

static int fadump_check_guests(const struct fadump_desc_info *info,
			       struct fadump_why *why)
{
	u32 i;
	int ret;

	/* Each is compared with each: a hostile device must not keep us busy. */
	if (info->nr_guest > FADUMP_MAX_GUEST)
		return fadump_refuse(why,
				     "%u ranges lie in guest memory, at most %u are expected",
				     info->nr_guest, FADUMP_MAX_GUEST);
	for (i = 0; info->nr_guest && i < info->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(info, i, &r);
		if (r.where != VIRTIO_FADUMP_WHERE_GUEST)
			continue;
		ret = fadump_check_guest(info, i, &r, why);
		if (ret)
			return ret;
	}
	return 0;
}

/* ------------------------------------------------------------------ */

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
	u64 hdr_size;
	int ret;

	memset(info, 0, sizeof(*info));
	ret = fadump_check_header(d, size, why);
	if (ret)
		return ret;
	hdr_size = le32_to_cpu(d->hdr_size);
	fadump_read_header(d, info);
	ret = fadump_check_tables(info, hdr_size, why);
	if (!ret)
		ret = fadump_check_vcpus(info, hdr_size, why);
	if (!ret)
		ret = fadump_check_ranges(info, env, why);
	if (!ret)
		ret = fadump_check_guests(info, why);
	return ret;
}

/**
 * fadump_desc_range - one range
 * @info: a descriptor whose range table has been checked
 * @i: which
 * @r: filled in
 */
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
	r->node = le32_to_cpu(e->node);
}

/**
 * fadump_desc_vcpu - one vCPU
 * @info: a descriptor whose vCPU table has been checked
 * @i: which
 * @v: filled in
 */
void fadump_desc_vcpu(const struct fadump_desc_info *info, u32 i,
		      struct fadump_vcpu *v)
{
	const struct virtio_fadump_vcpu *e;

	e = (const void *)(info->buf + info->vcpus_off +
			   (u64)i * info->vcpu_size);
	v->arch_id = le64_to_cpu(e->arch_id);
	v->flags = le32_to_cpu(e->flags);
	v->notes = fadump_part(&e->notes);
	v->hv_note = fadump_part(&e->hv_note);
}

/* Two that meet inside of a block share it: only together they give it back. */
static bool fadump_span_joins(const struct fadump_span *s,
			      const struct fadump_range *r, u64 block_size)
{
	bool hotplug = r->flags & VIRTIO_FADUMP_RANGE_F_HOTPLUG;

	return s->end == r->addr && s->hotplug == hotplug &&
	       (s->node == r->node || r->addr & (block_size - 1));
}

/**
 * fadump_plan_spans - preserved memory, and what of it goes back to the kernel
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
		if (r.where != VIRTIO_FADUMP_WHERE_IN_PLACE)
			continue;
		if (nr && fadump_span_joins(&spans[nr - 1], &r, block_size)) {
			spans[nr - 1].end += r.len;
			continue;
		}
		spans[nr++] = (struct fadump_span) {
			.start = r.addr,
			.end = r.addr + r.len,
			.node = r.node,
			.hotplug = r.flags & VIRTIO_FADUMP_RANGE_F_HOTPLUG,
		};
	}

	for (i = 0; i < nr; i++) {
		struct fadump_span *s = &spans[i];

		s->add_start = ALIGN(s->start, block_size);
		s->add_end = s->end & ~(block_size - 1);
		/* Also where aligning up wrapped: nothing whole is in it. */
		if (s->hotplug || s->add_start < s->start ||
		    s->add_end < s->add_start) {
			s->add_start = s->start;
			s->add_end = s->start;
		}
	}
	return nr;
}
