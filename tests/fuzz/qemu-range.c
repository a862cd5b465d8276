/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: QEMU's arithmetic on ranges (fadump-range.c), against what a bitmap
 * says of the same ranges.
 *
 * An input is a block size, whether there is a low limit, a size in MiB, and
 * then ranges: to which of two sets each belongs, base and length in pages.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "hw/misc/fadump-range.h"
#include "fuzz.h"

#define MAX_RANGES 64

typedef struct QEMU_PACKED Head {
    uint8_t block;
    uint8_t limit;
    uint16_t size;
} Head;

typedef struct QEMU_PACKED Item {
    uint8_t which;
    uint32_t base;
    uint32_t len;
} Item;

static GArray *set_new(void)
{
    return g_array_new(false, false, sizeof(FadumpRange));
}

static bool has(const GArray *set, uint64_t addr)
{
    const FadumpRange byte = { addr, 1 };

    return fadump_ranges_contain(set, &byte);
}

/* Ascending, apart, and none is empty. */
static void check_normal(const GArray *set)
{
    guint i;

    for (i = 0; i < set->len; i++) {
        const FadumpRange *r = &g_array_index(set, FadumpRange, i);

        check(fadump_range_valid(r));
        check(!i || r->base > r[-1].base + r[-1].size);
    }
}

static void check_pieces(const GArray *pieces, const GArray *map,
                         const GArray *boot, uint64_t total)
{
    uint64_t end = 0;
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);
        const FadumpRange r = { p->base, p->size };

        check(p->size && p->base >= end);
        check(fadump_ranges_contain(map, &r));
        check(has(boot, p->base) == p->boot);
        check(has(boot, p->base + p->size - 1) == p->boot);
        end = p->base + p->size;
        total -= p->size;
    }
    check(!total);
}

static void check_xor(const GArray *a, const GArray *b)
{
    g_autoptr(GArray) x = fadump_ranges_xor(a, b);
    g_autoptr(GArray) back = fadump_ranges_xor(x, b);
    guint i;

    check_normal(x);
    for (i = 0; i < x->len; i++) {
        const FadumpRange *r = &g_array_index(x, FadumpRange, i);

        check(has(a, r->base) != has(b, r->base));
    }
    check(back->len == a->len);
    for (i = 0; i < a->len; i++) {
        check(g_array_index(back, FadumpRange, i).base ==
              g_array_index(a, FadumpRange, i).base);
        check(g_array_index(back, FadumpRange, i).size ==
              g_array_index(a, FadumpRange, i).size);
    }
}

static void check_boot(const GArray *map, const Head *head)
{
    uint64_t size = (uint64_t)le16_to_cpu(head->size) * MiB;
    uint64_t block = (4 * KiB) << (head->block % 20);
    uint64_t limit = head->limit & 1 ? 2 * GiB : 0;
    g_autoptr(GArray) small = fadump_boot_ranges(map, size / 2, block, limit);
    g_autoptr(GArray) boot = fadump_boot_ranges(map, size, block, limit);
    uint64_t total = fadump_ranges_size(map);
    guint i;

    check_normal(boot);
    check(fadump_ranges_size(boot) >= MIN(size, total));
    check(fadump_ranges_size(boot) <= total);
    for (i = 0; i < boot->len; i++) {
        check(fadump_ranges_contain(map,
                                    &g_array_index(boot, FadumpRange, i)));
    }
    for (i = 0; i < small->len; i++) {
        check(fadump_ranges_contain(boot,
                                    &g_array_index(small, FadumpRange, i)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GArray) a = set_new(), b = set_new(), pieces = NULL, cut = NULL;
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(uint64_t));
    Head head;
    int n;

    if (size < sizeof(head)) {
        return 0;
    }
    memcpy(&head, data, sizeof(head));
    data += sizeof(head);
    size -= sizeof(head);
    for (n = 0; n < MAX_RANGES && size >= sizeof(Item); n++) {
        Item item;
        FadumpRange r;
        uint64_t at;

        memcpy(&item, data, sizeof(item));
        data += sizeof(item);
        size -= sizeof(item);
        r.base = (uint64_t)le32_to_cpu(item.base) << 12;
        r.size = (uint64_t)le32_to_cpu(item.len) << 12;
        if (item.which & 0x80) {
            /* where sums wrap */
            r.base |= MAKE_64BIT_MASK(44, 20);
        }
        g_array_append_val(item.which & 1 ? b : a, r);
        at = r.base + r.size / 2;
        g_array_append_val(cuts, at);
    }
    if (!fadump_ranges_normalize(a) || !fadump_ranges_normalize(b)) {
        return 0;
    }
    check_normal(a);
    check_normal(b);
    pieces = fadump_ranges_split(a, b);
    check_pieces(pieces, a, b, fadump_ranges_size(a));
    cut = fadump_pieces_cut(pieces, cuts);
    check_pieces(cut, a, b, fadump_ranges_size(a));
    check(cut->len >= pieces->len);
    check_xor(a, b);
    check_boot(a, &head);
    return 0;
}
