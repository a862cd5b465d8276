/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what the guest driver makes of a dump descriptor (desc.c, elf.c).
 *
 * The device is not trusted. A descriptor that is accepted decides what is
 * mapped, read as /proc/vmcore and added to the kernel's memory: all of that is
 * checked here against what this boot said it has.
 */
#include "desc.h"
#include "fuzz.h"

#define KiB             (1ULL << 10)
#define MiB             (1ULL << 20)
#define GiB             (1ULL << 30)

#define BOOT_MEM        (512 * MiB)
#define WINDOW_LEN      (1 * GiB)
#define PHYS_LIMIT      (1ULL << 46)

static bool is_ram(u64 addr, u64 len)
{
    return len && addr < BOOT_MEM;
}

static const struct fadump_desc_env env = {
    .window_len = WINDOW_LEN,
    .phys_limit = PHYS_LIMIT,
    .is_ram = is_ram,
};

/* Nothing is mapped that this boot uses, or that is not there. */
static void check_seg(const struct fadump_seg *seg, u64 desc_size)
{
    check(seg->src + seg->size > seg->src);
    if (seg->window) {
        check(seg->src >= desc_size);
        check(seg->src + seg->size <= WINDOW_LEN);
    } else {
        check(seg->src + seg->size <= PHYS_LIMIT);
        check(!is_ram(seg->src, seg->size));
    }
}

static void check_elf(const struct fadump_desc_info *info, u64 page_size)
{
    struct fadump_elf_layout layout;
    struct fadump_seg *segs;
    struct fadump_why why;
    u64 end, off, n;
    u8 *hdr;
    u32 i;

    memset(&why, 0, sizeof(why));
    if (fadump_elf_layout(info, page_size, &layout, &why)) {
        check(why.text[0]);
        return;
    }
    check(layout.nr_segs && layout.nr_segs <= info->nr_ranges);
    check(layout.hdr_size % page_size == 0);
    check(layout.notes_off + layout.notes_size <= layout.hdr_size);
    check(layout.file_size <= S64_MAX);
    /* of the vCPUs no more than the descriptor has, and VMCOREINFO */
    check(layout.notes_size <= 2 * info->total);

    hdr = calloc(1, layout.hdr_size);
    segs = calloc(layout.nr_segs, sizeof(*segs));
    check(hdr && segs);
    fadump_elf_build(info, &layout, hdr, segs);
    end = layout.hdr_size;
    for (i = 0; i < layout.nr_segs; i++) {
        check(segs[i].offset == end);
        check(segs[i].size && segs[i].size % page_size == 0);
        check_seg(&segs[i], info->total);
        end += segs[i].size;
    }
    check(end == layout.file_size);
    for (off = 0; off < layout.notes_size; off += n) {
        struct elf64_note note;

        n = fadump_note_size(hdr + layout.notes_off + off,
                             layout.notes_size - off, &note);
        check(n);
    }
    free(segs);
    free(hdr);
}

/* Only preserved memory is given back, each byte of it at most once. */
static void check_spans(const struct fadump_desc_info *info, u64 block_size)
{
    struct fadump_span *spans = calloc(info->nr_ranges, sizeof(*spans));
    u32 i, nr = fadump_plan_spans(info, block_size, spans);

    check(nr <= info->nr_ranges);
    for (i = 0; i < nr; i++) {
        const struct fadump_span *s = &spans[i];

        check(s->start < s->end && s->end <= PHYS_LIMIT);
        check(!i || s->start >= s[-1].end);
        check(!is_ram(s->start, s->end - s->start));
        check(s->start <= s->add_start && s->add_start <= s->add_end &&
              s->add_end <= s->end);
        check(s->add_start == s->add_end ||
              (s->add_start | s->add_end) % block_size == 0);
    }
    free(spans);
}

static void check_accepted(const struct fadump_desc_info *info)
{
    u64 end = 0;
    u32 i;

    check(info->bytes_held <= info->bytes_total);
    check(info->crash_cpu == VIRTIO_FADUMP_CPU_NONE ||
          info->crash_cpu < info->nr_vcpus);
    for (i = 0; i < info->nr_ranges; i++) {
        struct fadump_range r;

        fadump_desc_range(info, i, &r);
        check(r.addr >= end && r.addr + r.len > r.addr);
        check(r.held <= r.len);
        end = r.addr + r.len;
    }
    check_elf(info, 4 * KiB);
    check_elf(info, 64 * KiB);
    check_spans(info, 128 * MiB);
    check_spans(info, 2 * MiB);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fadump_desc_info info;
    struct fadump_why why;
    /* exactly as large as it says; libFuzzer's buffer has no alignment */
    u8 *copy = malloc(size);

    if (size)
        memcpy(copy, data, size);
    memset(&why, 0, sizeof(why));
    if (fadump_desc_parse(copy, size, &env, &info, &why)) {
        check(why.text[0]);
    } else {
        check(!why.text[0]);
        check_accepted(&info);
    }
    free(copy);
    return 0;
}
