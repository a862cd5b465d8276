/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what the guest driver makes of the device's answer to how much boot
 * memory there is (bootmem.c), and where it has it set aside.
 *
 * An input is a row of 8 bytes each: a size, then ranges, in 64 KiB and 4 KiB;
 * a range whose first byte is 0xff follows in bytes, as the device says it.
 */
#include "bootmem.h"
#include "fuzz.h"

#define PHYS_LIMIT      (1ULL << 46)

static struct fadump_boot_mem bm;
static struct fadump_piece room[8 * FADUMP_MAX_EXTENTS];

static void read_answer(const u8 *data, size_t size)
{
    memset(&bm, 0, sizeof(bm));
    if (size < 8)
        return;
    memcpy(&bm.size, data, 8);
    for (data += 8, size -= 8; size >= 8; data += 8, size -= 8) {
        struct fadump_extent *e = &bm.extents[bm.nr];
        u32 raw[2];

        /* the caller takes no more of them from the device */
        if (bm.nr == FADUMP_MAX_EXTENTS)
            break;
        bm.nr++;
        memcpy(raw, data, 8);
        e->addr = (u64)raw[0] << 16;
        e->len = (u64)raw[1] << 12;
        if (data[0] == 0xff && size >= 24) {
            memcpy(e, data + 8, sizeof(*e));
            data += 16;
            size -= 16;
        }
    }
}

/* All of it goes somewhere, in the runs, and no two parts to one place. */
static void check_guest(const struct fadump_extent *runs, u32 nr_runs, u64 bytes)
{
    struct fadump_pieces pieces = {
        .piece = room, .max = sizeof(room) / sizeof(room[0]),
    };
    u32 i, j, k;

    check(!fadump_assign_guest(&bm, runs, nr_runs, &pieces));
    for (i = 0; i < pieces.nr; i++) {
        const struct fadump_piece *p = &room[i];
        bool inside = false;

        check(p->len && (p->src ^ p->dst) % FADUMP_DEST_ALIGN == 0);
        for (j = 0; j < bm.nr; j++) {
            const struct fadump_extent *e = &bm.extents[j];

            inside |= p->src >= e->addr &&
                      p->src + p->len <= e->addr + e->len;
        }
        check(inside);
        inside = false;
        for (k = 0; k < nr_runs; k++)
            inside |= p->dst >= runs[k].addr &&
                      p->dst + p->len <= runs[k].addr + runs[k].len;
        check(inside);
        check(!i || p->src >= p[-1].src + p[-1].len);
        for (k = 0; k < i && i < 64; k++)
            check(p->dst >= room[k].dst + room[k].len ||
                  room[k].dst >= p->dst + p->len);
        bytes -= p->len;
    }
    check(!bytes);
}

static void check_accepted(void)
{
    struct fadump_pieces pieces = { .piece = room, .max = FADUMP_MAX_EXTENTS };
    u64 bytes = 0, units = fadump_boot_mem_units(&bm);
    struct fadump_extent runs[2] = { { 1ULL << 47, units } };
    u32 i;

    for (i = 0; i < bm.nr; i++) {
        const struct fadump_extent *e = &bm.extents[i];

        check(e->addr + e->len > e->addr && e->addr + e->len <= PHYS_LIMIT);
        check(fadump_boot_mem_hits(&bm, e->addr, 1));
        check(fadump_boot_mem_hits(&bm, e->addr + e->len - 1, 1));
        check(!fadump_boot_mem_hits(&bm, e->addr + e->len, 1) ||
              (i + 1 < bm.nr && bm.extents[i + 1].addr == e->addr + e->len));
        bytes += e->len;
    }
    check(units % FADUMP_DEST_ALIGN == 0);
    check(!fadump_assign_host(&bm, &pieces) && pieces.nr == bm.nr);
    check_guest(runs, 1, bytes);
    /* in two halves, the second one below the first */
    runs[0].len = units / 2 & ~(FADUMP_DEST_ALIGN - 1);
    runs[1] = (struct fadump_extent) { 1ULL << 46, units - runs[0].len };
    check_guest(runs, 2, bytes);
    /* a unit too few */
    runs[1].len -= FADUMP_DEST_ALIGN;
    pieces.max = sizeof(room) / sizeof(room[0]);
    check(fadump_assign_guest(&bm, runs, 2, &pieces) == -ENOMEM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fadump_why why;

    read_answer(data, size);
    memset(&why, 0, sizeof(why));
    if (fadump_boot_mem_check(&bm, PHYS_LIMIT, &why))
        check(why.text[0]);
    else
        check_accepted();
    return 0;
}
