// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ELF header of /proc/vmcore, made from a checked dump descriptor.
 *
 * It has the notes that kdump's would have: NT_PRSTATUS of each vCPU, then the
 * hypervisor's own, then VMCOREINFO.
 */
#include "desc.h"

#ifndef PN_XNUM
#define PN_XNUM		0xffff
#endif

/*
 * crash gives the notes to the CPUs that were online, in their order, as kdump
 * leaves none for the others. Where there are the hypervisor's notes, it takes
 * one of each kind for every CPU: then none may be left out.
 */
static bool fadump_vcpu_shown(const struct fadump_desc_info *info, u32 i,
			      const struct fadump_vcpu *v)
{
	return info->nr_hv_notes || i == info->crash_cpu ||
	       !(v->flags & VIRTIO_FADUMP_VCPU_F_OFF);
}

static bool fadump_note_is_prstatus(const u8 *note,
				    const struct elf64_note *nhdr)
{
	return nhdr->n_type == NT_PRSTATUS && nhdr->n_namesz == 5 &&
	       !memcmp(note + sizeof(*nhdr), "CORE", 5);
}

/*
 * Bytes of the vCPU's first note that the one which the crashed kernel wrote of
 * itself stands in for; 0 if it does not. Only one of the same kind and size is
 * believed to be registers of this machine.
 */
static u64 fadump_crash_note_fits(const struct fadump_desc_info *info, u32 i,
				  const struct fadump_vcpu *v)
{
	const u8 *old = info->buf + v->notes.off;
	const u8 *new = info->buf + info->crash_note.off;
	struct elf64_note old_hdr, new_hdr;
	u64 size;

	if (i != info->crash_cpu || !info->crash_note.size || !v->notes.size)
		return 0;
	size = fadump_note_size(new, info->crash_note.size, &new_hdr);
	if (!size || !fadump_note_is_prstatus(new, &new_hdr) ||
	    fadump_note_size(old, v->notes.size, &old_hdr) != size ||
	    !fadump_note_is_prstatus(old, &old_hdr) ||
	    old_hdr.n_descsz != new_hdr.n_descsz)
		return 0;
	return size;
}

/* Writes the notes to @to if it is not NULL; their bytes. */
static u64 fadump_elf_notes(const struct fadump_desc_info *info, u8 *to)
{
	u64 size = 0;
	u32 i;

	for (i = 0; i < info->nr_vcpus; i++) {
		struct fadump_vcpu v;

		fadump_desc_vcpu(info, i, &v);
		if (!fadump_vcpu_shown(info, i, &v))
			continue;
		if (to) {
			memcpy(to + size, info->buf + v.notes.off,
			       v.notes.size);
			memcpy(to + size, info->buf + info->crash_note.off,
			       fadump_crash_note_fits(info, i, &v));
		}
		size += v.notes.size;
	}
	for (i = 0; i < info->nr_vcpus; i++) {
		struct fadump_vcpu v;

		fadump_desc_vcpu(info, i, &v);
		if (to)
			memcpy(to + size, info->buf + v.hv_note.off,
			       v.hv_note.size);
		size += v.hv_note.size;
	}
	if (to)
		memcpy(to + size, info->buf + info->vmcoreinfo.off,
		       info->vmcoreinfo.size);
	return size + info->vmcoreinfo.size;
}

/*
 * What the file has of a range: whole pages, so that it can be mapped. Where a
 * page is larger than what the device counts in, a part of one at either end is
 * left out: a kernel with such pages could not use it. What was not held is
 * read as zero by the tools, as p_filesz < p_memsz says.
 *
 * Returns the bytes, and in @skip how many come before them.
 */
static u64 fadump_file_bytes(const struct fadump_range *r, u64 page_size,
			     u64 *skip)
{
	u64 held = r->held;

	*skip = -r->addr & (page_size - 1);
	if (held <= *skip)
		return 0;
	return (held - *skip) & ~(page_size - 1);
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
 *
 * Return: 0, or -EINVAL if there can be no such file.
 */
int fadump_elf_layout(const struct fadump_desc_info *info, u64 page_size,
		      struct fadump_elf_layout *layout, struct fadump_why *why)
{
	u64 bytes = 0;
	u32 i;

	memset(layout, 0, sizeof(*layout));
	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;
		u64 n, skip;

		fadump_desc_range(info, i, &r);
		n = fadump_file_bytes(&r, page_size, &skip);
		if (n)
			layout->nr_segs++;
		bytes += n;
	}
	if (!layout->nr_segs)
		return fadump_refuse(why, "no memory content was held");
	if (layout->nr_segs >= PN_XNUM - 1)
		return fadump_refuse(why,
				     "%u ranges, an ELF file names fewer than %u",
				     layout->nr_segs, PN_XNUM - 1);

	layout->page_size = page_size;
	layout->notes_off = sizeof(struct elf64_hdr) +
			    sizeof(struct elf64_phdr) * (layout->nr_segs + 1ULL);
	layout->notes_size = fadump_elf_notes(info, NULL);
	layout->hdr_size = ALIGN(layout->notes_off + layout->notes_size,
				 page_size);
	if (bytes > S64_MAX - layout->hdr_size)
		return fadump_refuse(why,
				     "0x%llx bytes of memory are more than a file can have",
				     bytes);
	layout->file_size = layout->hdr_size + bytes;
	return 0;
}

static void fadump_elf_ehdr(const struct fadump_desc_info *info,
			    const struct fadump_elf_layout *layout,
			    struct elf64_hdr *ehdr)
{
	memcpy(ehdr->e_ident, ELFMAG, SELFMAG);
	ehdr->e_ident[EI_CLASS] = ELFCLASS64;
	ehdr->e_ident[EI_DATA] = ELFDATA2LSB;
	ehdr->e_ident[EI_VERSION] = EV_CURRENT;
	ehdr->e_type = ET_CORE;
	ehdr->e_machine = info->elf_machine;
	ehdr->e_version = EV_CURRENT;
	ehdr->e_phoff = sizeof(*ehdr);
	ehdr->e_ehsize = sizeof(*ehdr);
	ehdr->e_phentsize = sizeof(struct elf64_phdr);
	ehdr->e_phnum = layout->nr_segs + 1;
}

static void fadump_elf_loads(const struct fadump_desc_info *info,
			     const struct fadump_elf_layout *layout,
			     struct elf64_phdr *phdr, struct fadump_seg *segs)
{
	u64 offset = layout->hdr_size;
	u32 i;

	for (i = 0; i < info->nr_ranges; i++) {
		struct fadump_range r;
		u64 n, skip;

		fadump_desc_range(info, i, &r);
		n = fadump_file_bytes(&r, layout->page_size, &skip);
		if (!n)
			continue;

		phdr->p_type = PT_LOAD;
		phdr->p_flags = PF_R | PF_W | PF_X;
		phdr->p_offset = offset;
		phdr->p_paddr = r.addr + skip;
		phdr->p_filesz = n;
		phdr->p_memsz = r.len - skip;
		phdr++;

		segs->offset = offset;
		segs->size = n;
		segs->window = r.where == VIRTIO_FADUMP_WHERE_WINDOW;
		segs->src = skip + (r.where == VIRTIO_FADUMP_WHERE_IN_PLACE ?
				    r.addr : r.dest);
		segs++;

		offset += n;
	}
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

	fadump_elf_ehdr(info, layout, ehdr);

	phdr->p_type = PT_NOTE;
	phdr->p_offset = layout->notes_off;
	phdr->p_filesz = layout->notes_size;
	phdr->p_memsz = layout->notes_size;
	phdr->p_align = 4;
	fadump_elf_loads(info, layout, phdr + 1, segs);

	fadump_elf_notes(info, hdr + layout->notes_off);
}
