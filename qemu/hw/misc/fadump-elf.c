/*
 * Firmware-assisted dump: the ELF core that a dump descriptor describes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "elf.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-elf.h"

#ifndef PN_XNUM
#define PN_XNUM 0xffff
#endif

static void append_phdr(GByteArray *file, uint32_t type, uint32_t flags,
                        uint64_t offset, uint64_t paddr, uint64_t filesz,
                        uint64_t memsz, uint64_t align)
{
    Elf64_Phdr phdr = {
        .p_type = cpu_to_le32(type),
        .p_flags = cpu_to_le32(flags),
        .p_offset = cpu_to_le64(offset),
        .p_paddr = cpu_to_le64(paddr),
        .p_filesz = cpu_to_le64(filesz),
        .p_memsz = cpu_to_le64(memsz),
        .p_align = cpu_to_le64(align),
    };

    g_byte_array_append(file, (const uint8_t *)&phdr, sizeof(phdr));
}

/* Bytes of a range that the file has: whole pages, so that it can be mapped. */
static uint64_t file_bytes(const struct virtio_fadump_range *r)
{
    return ROUND_DOWN(le64_to_cpu(r->held), VIRTIO_FADUMP_PAGE_SIZE);
}

static GByteArray *elf_header(const struct virtio_fadump_desc *h, uint32_t n)
{
    GByteArray *file = g_byte_array_new();
    Elf64_Ehdr ehdr = {
        .e_ident = {
            ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
            ELFCLASS64, ELFDATA2LSB, EV_CURRENT,
        },
        .e_type = cpu_to_le16(ET_CORE),
        .e_machine = cpu_to_le16(le32_to_cpu(h->elf_machine)),
        .e_version = cpu_to_le32(EV_CURRENT),
        .e_phoff = cpu_to_le64(sizeof(Elf64_Ehdr)),
        .e_ehsize = cpu_to_le16(sizeof(Elf64_Ehdr)),
        .e_phentsize = cpu_to_le16(sizeof(Elf64_Phdr)),
        .e_phnum = cpu_to_le16(n + 1),
    };

    g_byte_array_append(file, (const uint8_t *)&ehdr, sizeof(ehdr));
    return file;
}

static void append_part(GByteArray *notes, const uint8_t *desc,
                        const struct virtio_fadump_part *part)
{
    if (part->size) {
        g_byte_array_append(notes, desc + le64_to_cpu(part->off),
                            le64_to_cpu(part->size));
    }
}

/* Whether the note is registers, as /proc/vmcore has them. */
static bool is_prstatus(const uint8_t *note)
{
    const char name[] = "CORE";

    return (uint32_t)ldl_le_p(note) == sizeof(name) &&
           (uint32_t)ldl_le_p(note + 8) == NT_PRSTATUS &&
           !memcmp(note + sizeof(Elf64_Nhdr), name, sizeof(name));
}

/*
 * The notes of the vCPU that crashed, with the registers that the guest wants a
 * debugger to see.
 */
static void append_crash_notes(GByteArray *notes, const uint8_t *desc,
                               const struct virtio_fadump_part *part)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    const uint8_t *theirs = desc + le64_to_cpu(h->crash_note.off);
    const uint8_t *ours = desc + le64_to_cpu(part->off);
    guint start = notes->len;

    append_part(notes, desc, part);
    /* equal sizes of name and registers */
    if (is_prstatus(theirs) && is_prstatus(ours) &&
        ldl_le_p(theirs + 4) == ldl_le_p(ours + 4)) {
        memcpy(notes->data + start, theirs, le64_to_cpu(h->crash_note.size));
    }
}

/*
 * In the order that makedumpfile and crash know: registers of each vCPU, notes
 * of the hypervisor of each, VMCOREINFO.
 */
static GByteArray *elf_notes(const uint8_t *desc)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    uint32_t i, n = le32_to_cpu(h->nr_vcpus);
    GByteArray *notes = g_byte_array_new();

    for (i = 0; i < n; i++) {
        const struct virtio_fadump_part *part =
            &fadump_desc_vcpu(desc, i)->notes;

        if (i == le32_to_cpu(h->crash_cpu) && h->crash_note.size) {
            append_crash_notes(notes, desc, part);
        } else {
            append_part(notes, desc, part);
        }
    }
    for (i = 0; i < n; i++) {
        append_part(notes, desc, &fadump_desc_vcpu(desc, i)->hv_note);
    }
    append_part(notes, desc, &h->vmcoreinfo);
    return notes;
}

GByteArray *fadump_elf_build(const uint8_t *desc, GArray *segments,
                             Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    g_autoptr(GByteArray) notes = elf_notes(desc);
    uint64_t notes_off, offset, bytes = 0;
    GByteArray *file;
    uint32_t i, n = 0;
    guint padding;

    /* they do not overlap, so the sum is below 2^64 */
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        n += !!file_bytes(fadump_desc_range(desc, i));
        bytes += file_bytes(fadump_desc_range(desc, i));
    }
    if (!n || n >= PN_XNUM - 1) {
        error_setg(errp, "the dump has %" PRIu32 " ranges with content, an "
                   "ELF core needs 1 to %u", n, PN_XNUM - 2);
        return NULL;
    }

    notes_off = sizeof(Elf64_Ehdr) + (n + 1) * sizeof(Elf64_Phdr);
    offset = ROUND_UP(notes_off + notes->len, VIRTIO_FADUMP_PAGE_SIZE);
    if (bytes > INT64_MAX - offset) {
        error_setg(errp, "the dump has 0x%" PRIx64 " bytes of memory, more "
                   "than a file can have", bytes);
        return NULL;
    }
    file = elf_header(h, n);
    append_phdr(file, PT_NOTE, 0, notes_off, 0, notes->len, notes->len, 4);
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r = fadump_desc_range(desc, i);
        FadumpElfSegment seg = {
            .offset = offset,
            .size = file_bytes(r),
            .window = le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW,
        };

        if (!seg.size) {
            continue;
        }
        seg.src = le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_IN_PLACE ?
                  le64_to_cpu(r->addr) : le64_to_cpu(r->dest);
        append_phdr(file, PT_LOAD, PF_R | PF_W | PF_X, offset,
                    le64_to_cpu(r->addr), seg.size, le64_to_cpu(r->len), 0);
        g_array_append_val(segments, seg);
        offset += seg.size;
    }

    g_byte_array_append(file, notes->data, notes->len);
    padding = ROUND_UP(file->len, VIRTIO_FADUMP_PAGE_SIZE) - file->len;
    g_byte_array_set_size(file, file->len + padding);
    memset(file->data + file->len - padding, 0, padding);
    return file;
}
