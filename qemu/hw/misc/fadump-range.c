/*
 * Range arithmetic for firmware-assisted dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/misc/fadump-range.h"

bool fadump_range_valid(const FadumpRange *r)
{
    return r->size && r->size <= UINT64_MAX - r->base;
}

bool fadump_range_overlaps(const FadumpRange *a, const FadumpRange *b)
{
    return a->base < b->base + b->size && b->base < a->base + a->size;
}

static gint range_cmp(gconstpointer pa, gconstpointer pb)
{
    const FadumpRange *a = pa, *b = pb;

    return a->base < b->base ? -1 : a->base > b->base;
}

bool fadump_ranges_normalize(GArray *ranges)
{
    FadumpRange *r = (FadumpRange *)ranges->data;
    guint i, n = 0;

    g_array_sort(ranges, range_cmp);
    for (i = 0; i < ranges->len; i++) {
        if (!fadump_range_valid(&r[i]) ||
            (i && fadump_range_overlaps(&r[i - 1], &r[i]))) {
            return false;
        }
    }
    for (i = 0; i < ranges->len; i++) {
        if (n && r[n - 1].base + r[n - 1].size == r[i].base) {
            r[n - 1].size += r[i].size;
        } else {
            r[n++] = r[i];
        }
    }
    g_array_set_size(ranges, n);
    return true;
}

bool fadump_range_intersect(const FadumpRange *a, const FadumpRange *b,
                            FadumpRange *part)
{
    uint64_t base = MAX(a->base, b->base);
    uint64_t end = MIN(a->base + a->size, b->base + b->size);

    part->base = base;
    part->size = end - base;
    return base < end;
}

const FadumpRange *fadump_ranges_find(const GArray *map, const FadumpRange *r)
{
    guint i;

    if (!fadump_range_valid(r)) {
        return NULL;
    }
    for (i = 0; i < map->len; i++) {
        const FadumpRange *m = &g_array_index(map, FadumpRange, i);

        if (r->base >= m->base && r->base - m->base < m->size) {
            return r->size <= m->size - (r->base - m->base) ? m : NULL;
        }
    }
    return NULL;
}

bool fadump_ranges_contain(const GArray *map, const FadumpRange *r)
{
    return fadump_ranges_find(map, r);
}

uint64_t fadump_ranges_size(const GArray *map)
{
    uint64_t sum = 0;
    guint i;

    for (i = 0; i < map->len; i++) {
        sum += g_array_index(map, FadumpRange, i).size;
    }
    return sum;
}

GArray *fadump_ranges_split(const GArray *map, const GArray *boot)
{
    GArray *pieces = g_array_new(false, false, sizeof(FadumpPiece));
    guint i, b = 0;

    for (i = 0; i < map->len; i++) {
        const FadumpRange *m = &g_array_index(map, FadumpRange, i);
        uint64_t pos = m->base, end = m->base + m->size;

        while (pos < end) {
            FadumpPiece p = { .base = pos };
            const FadumpRange *r = NULL;

            while (b < boot->len) {
                r = &g_array_index(boot, FadumpRange, b);
                if (r->base + r->size > pos) {
                    break;
                }
                r = NULL;
                b++;
            }
            if (!r || r->base >= end) {
                p.size = end - pos;
            } else if (r->base > pos) {
                p.size = r->base - pos;
            } else {
                p.boot = true;
                p.size = MIN(end, r->base + r->size) - pos;
            }
            g_array_append_val(pieces, p);
            pos += p.size;
        }
    }
    return pieces;
}

static gint u64_cmp(gconstpointer pa, gconstpointer pb)
{
    uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

    return a < b ? -1 : a > b;
}

static void append_borders(GArray *borders, const GArray *ranges)
{
    guint i;

    for (i = 0; i < ranges->len; i++) {
        const FadumpRange *r = &g_array_index(ranges, FadumpRange, i);
        uint64_t end = r->base + r->size;

        g_array_append_val(borders, r->base);
        g_array_append_val(borders, end);
    }
}

GArray *fadump_ranges_xor(const GArray *a, const GArray *b)
{
    g_autoptr(GArray) borders = g_array_new(false, false, sizeof(uint64_t));
    GArray *out = g_array_new(false, false, sizeof(FadumpRange));
    guint i;

    append_borders(borders, a);
    append_borders(borders, b);
    g_array_sort(borders, u64_cmp);
    /* each border changes whether what follows is in; two of one address: no */
    for (i = 0; i + 1 < borders->len; i += 2) {
        uint64_t base = g_array_index(borders, uint64_t, i);
        uint64_t end = g_array_index(borders, uint64_t, i + 1);
        FadumpRange r = { base, end - base };

        if (r.size) {
            g_array_append_val(out, r);
        }
    }
    fadump_ranges_normalize(out);
    return out;
}

GArray *fadump_pieces_cut(const GArray *pieces, GArray *cuts)
{
    GArray *out = g_array_new(false, false, sizeof(FadumpPiece));
    guint i, c = 0;

    g_array_sort(cuts, u64_cmp);
    for (i = 0; i < pieces->len; i++) {
        FadumpPiece p = g_array_index(pieces, FadumpPiece, i);

        while (c < cuts->len && g_array_index(cuts, uint64_t, c) <= p.base) {
            c++;
        }
        for (; c < cuts->len; c++) {
            uint64_t cut = g_array_index(cuts, uint64_t, c);
            FadumpPiece head = p;

            if (cut - p.base >= p.size) {
                break;
            }
            if (cut == p.base) {
                continue;
            }
            head.size = cut - p.base;
            g_array_append_val(out, head);
            p.base += head.size;
            p.size -= head.size;
        }
        g_array_append_val(out, p);
    }
    return out;
}

GArray *fadump_boot_ranges(const GArray *map, uint64_t size, uint64_t block,
                           uint64_t low_limit)
{
    GArray *boot = g_array_new(false, false, sizeof(FadumpRange));
    guint i;

    for (i = 0; i < map->len; i++) {
        const FadumpRange *m = &g_array_index(map, FadumpRange, i);
        uint64_t end = m->base + m->size;
        FadumpRange head = { m->base, MIN(size, m->size) };
        uint64_t tail_base = MAX(QEMU_ALIGN_DOWN(end, block), m->base);
        bool last_low = low_limit && end > low_limit && end <= 4 * GiB;

        size -= head.size;
        if (last_low && tail_base == end) {
            tail_base -= MIN(block, m->size);
        }
        if (tail_base < head.base + head.size) {
            tail_base = head.base + head.size;
        }
        if (head.size) {
            g_array_append_val(boot, head);
        }
        if (tail_base < end) {
            FadumpRange tail = { tail_base, end - tail_base };

            g_array_append_val(boot, tail);
        }
    }
    fadump_ranges_normalize(boot);
    return boot;
}
