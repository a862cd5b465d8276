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

GByteArray *fadump_elf_build(const uint8_t *desc, GArray *segments,
                             Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    const uint8_t *ranges = desc + le64_to_cpu(h->ranges_off);
    uint32_t elem = le32_to_cpu(h->range_size);
    uint64_t notes_off, notes_size = le64_to_cpu(h->notes_size), offset;
    GByteArray *file;
    uint32_t i, n = 0;
    guint padding;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        n += !!file_bytes((const void *)(ranges + (uint64_t)i * elem));
    }
    if (!n || n >= PN_XNUM - 1) {
        error_setg(errp, "the dump has %" PRIu32 " ranges with content, an "
                   "ELF core needs 1 to %u", n, PN_XNUM - 2);
        return NULL;
    }

    notes_off = sizeof(Elf64_Ehdr) + (n + 1) * sizeof(Elf64_Phdr);
    offset = ROUND_UP(notes_off + notes_size, VIRTIO_FADUMP_PAGE_SIZE);
    file = elf_header(h, n);
    append_phdr(file, PT_NOTE, 0, notes_off, 0, notes_size, notes_size, 4);
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r =
            (const void *)(ranges + (uint64_t)i * elem);
        FadumpElfSegment seg = {
            .offset = offset,
            .size = file_bytes(r),
            .shm = le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_SHM,
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

    g_byte_array_append(file, desc + le64_to_cpu(h->notes_off), notes_size);
    padding = ROUND_UP(file->len, VIRTIO_FADUMP_PAGE_SIZE) - file->len;
    g_byte_array_set_size(file, file->len + padding);
    memset(file->data + file->len - padding, 0, padding);
    return file;
}
