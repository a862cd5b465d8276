/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what QEMU makes of a dump descriptor in a migration stream
 * (fadump-desc.c), and the ELF core that the host reads (fadump-elf.c).
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "elf.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-elf.h"
#include "fuzz.h"

#define WINDOW_SIZE (1ULL << 30)

static void check_ranges(const uint8_t *desc)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    uint64_t end = 0;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r = fadump_desc_range(desc, i);
        uint64_t addr = le64_to_cpu(r->addr), len = le64_to_cpu(r->len);

        check(addr >= end && addr + len > addr);
        check(le64_to_cpu(r->held) <= len);
        if (le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW) {
            check(le64_to_cpu(r->dest) + len <= WINDOW_SIZE);
        }
        end = addr + len;
    }
}

/* The file is contiguous, and no part of it lies where nothing is. */
static void check_elf(const uint8_t *desc, uint64_t size)
{
    g_autoptr(GArray) segs = g_array_new(false, false,
                                         sizeof(FadumpElfSegment));
    g_autoptr(GByteArray) elf = NULL;
    Error *err = NULL;
    uint64_t end, off, n;
    const Elf64_Phdr *phdr;
    guint i;

    elf = fadump_elf_build(desc, segs, &err);
    check(!elf == !!err);
    if (err) {
        check(*error_get_pretty(err));
        error_free(err);
        return;
    }
    /* notes that overlap would make a file of any size */
    check(elf->len % VIRTIO_FADUMP_PAGE_SIZE == 0);
    check(elf->len <= 4 * size + 2 * VIRTIO_FADUMP_PAGE_SIZE);
    check(segs->len);
    end = elf->len;
    for (i = 0; i < segs->len; i++) {
        const FadumpElfSegment *seg = &g_array_index(segs, FadumpElfSegment, i);

        check(seg->offset == end && seg->size);
        check(end + seg->size > end && end + seg->size <= INT64_MAX);
        check(seg->src + seg->size > seg->src);
        check(!seg->window || seg->src + seg->size <= WINDOW_SIZE);
        end += seg->size;
    }
    phdr = (const void *)(elf->data + sizeof(Elf64_Ehdr));
    check(phdr->p_type == PT_NOTE);
    for (off = 0; off < phdr->p_filesz; off += n) {
        n = fadump_note_size(elf->data + phdr->p_offset + off,
                             phdr->p_filesz - off);
        check(n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* exactly as large as it says, aligned as g_malloc() does */
    g_autofree uint8_t *desc = g_memdup2(data, size);
    Error *err = NULL;

    if (fadump_desc_check(desc, size, WINDOW_SIZE, &err)) {
        check(!err);
        check_ranges(desc);
        check_elf(desc, size);
    } else {
        check(err && *error_get_pretty(err));
        error_free(err);
    }
    return 0;
}
