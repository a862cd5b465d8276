/*
 * QTest helpers for fadump-dev: what firmware is told of RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/qemu_fw_cfg.h"
#include "fadump-lib.h"

typedef struct QEMU_PACKED E820 {
    uint64_t addr, len;
    uint32_t type;
} E820;

enum { E820_RAM = 1, E820_RESERVED = 2 };

static gint cmp_u64(gconstpointer pa, gconstpointer pb)
{
    const uint64_t *a = pa, *b = pb;

    return *a < *b ? -1 : *a > *b;
}

bool in_ranges(const Span *r, uint64_t addr)
{
    for (; r->size; r++) {
        if (addr - r->base < r->size) {
            return true;
        }
    }
    return false;
}

/*
 * The machine's RAM cut at the borders of boot memory, pieces that touch and
 * are alike joined; with the RAM behind VGA memory and ROM, or without it.
 */
GArray *expected_pieces(const Machine *m, bool with_rom)
{
    const Span rom[] = { { VGA_START, ROM_END - VGA_START }, { 0 } };
    const Span *all[] = { m->ram, m->dimm, m->boot, rom };
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(uint64_t));
    GArray *pieces = g_array_new(false, false, sizeof(Piece));
    const Span *r;
    guint i;

    for (i = 0; i < ARRAY_SIZE(all); i++) {
        for (r = all[i]; r->size; r++) {
            uint64_t end = r->base + r->size;

            g_array_append_val(cuts, r->base);
            g_array_append_val(cuts, end);
        }
    }
    g_array_sort(cuts, cmp_u64);
    for (i = 0; i + 1 < cuts->len; i++) {
        Piece p = { g_array_index(cuts, uint64_t, i) }, *last = NULL;

        p.size = g_array_index(cuts, uint64_t, i + 1) - p.base;
        p.boot = in_ranges(m->boot, p.base);
        if (!p.size ||
            !(in_ranges(m->ram, p.base) || in_ranges(m->dimm, p.base)) ||
            (!with_rom && in_ranges(rom, p.base))) {
            continue;
        }
        if (pieces->len) {
            last = &g_array_index(pieces, Piece, pieces->len - 1);
        }
        if (last && last->base + last->size == p.base && last->boot == p.boot) {
            last->size += p.size;
        } else {
            g_array_append_val(pieces, p);
        }
    }
    return pieces;
}

GByteArray *read_fw_cfg(Fadump *f, const char *name)
{
    GByteArray *file = g_byte_array_new();
    size_t size = qfw_cfg_get_file(f->fw_cfg, name, file->data, 0);

    g_byte_array_set_size(file, size);
    if (size) {
        g_assert_cmpint(qfw_cfg_get_file(f->fw_cfg, name, file->data, size),
                        ==, size);
    }
    return file;
}

static gint cmp_e820(gconstpointer pa, gconstpointer pb)
{
    const E820 *a = pa, *b = pb;

    return a->addr < b->addr ? -1 : a->addr > b->addr;
}

/* etc/e820, sorted, in host byte order */
static GArray *read_e820(Fadump *f)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, "etc/e820");
    GArray *map = g_array_new(false, false, sizeof(E820));
    guint i;

    g_assert_cmpint(file->len % sizeof(E820), ==, 0);
    g_array_append_vals(map, file->data, file->len / sizeof(E820));
    for (i = 0; i < map->len; i++) {
        E820 *e = &g_array_index(map, E820, i);

        e->addr = le64_to_cpu(e->addr);
        e->len = le64_to_cpu(e->len);
        e->type = le32_to_cpu(e->type);
    }
    g_array_sort(map, cmp_e820);
    return map;
}

static uint8_t read_cmos(Fadump *f, uint8_t reg)
{
    qtest_outb(f->qts, 0x70, reg);
    return qtest_inb(f->qts, 0x71);
}

/* Firmware finds the machine's RAM, or boot memory alone if @confined. */
void check_confinement(Fadump *f, bool confined)
{
    const Machine *m = f->m;
    g_autoptr(GArray) pieces = expected_pieces(m, true);
    g_autoptr(GArray) map = read_e820(f);
    uint64_t low = 0, high = 0, size = 0, top = 0, mib16;
    const Span *r;
    guint i, n = 0;

    for (r = confined ? m->boot : m->ram; r->size; r++) {
        size += r->size;
        if (r->base < 4 * GiB) {
            low = r->base + r->size;
        } else {
            high = r->base + r->size - 4 * GiB;
        }
    }

    if (!confined) {
        g_array_set_size(pieces, 0);
        for (r = m->ram; r->size; r++) {
            Piece p = { r->base, r->size, true };

            g_array_append_val(pieces, p);
        }
    }
    for (i = 0; i < map->len; i++) {
        const E820 *e = &g_array_index(map, E820, i);

        if (!in_ranges(m->ram, e->addr)) {
            g_assert_cmpint(e->type, !=, E820_RAM);
            continue;
        }
        g_assert_cmpint(n, <, pieces->len);
        g_assert_cmphex(e->addr, ==, g_array_index(pieces, Piece, n).base);
        g_assert_cmphex(e->len, ==, g_array_index(pieces, Piece, n).size);
        g_assert_cmpint(e->type, ==, g_array_index(pieces, Piece, n).boot ?
                                     E820_RAM : E820_RESERVED);
        n++;
    }
    /* of DIMMs firmware is not told */
    while (confined && n < pieces->len &&
           in_ranges(m->dimm, g_array_index(pieces, Piece, n).base)) {
        n++;
    }
    g_assert_cmpint(n, ==, pieces->len);

    mib16 = MIN((low - 16 * MiB) / (64 * KiB), 0xffff);
    g_assert_cmphex(read_cmos(f, 0x34) | read_cmos(f, 0x35) << 8, ==, mib16);
    g_assert_cmphex(read_cmos(f, 0x5b) | read_cmos(f, 0x5c) << 8 |
                    read_cmos(f, 0x5d) << 16, ==, high / (64 * KiB));
    g_assert_cmphex(qfw_cfg_get_u64(f->fw_cfg, FW_CFG_RAM_SIZE), ==, size);

    /* the 64-bit PCI window starts above all RAM, confined or not */
    for (r = m->ram; r->size; r++) {
        top = r->base + r->size;
    }
    g_assert_cmpint(qfw_cfg_get_file(f->fw_cfg, "etc/reserved-memory-end",
                                     &size, sizeof(size)), ==, sizeof(size));
    g_assert_cmphex(le64_to_cpu(size), >=, MAX(top, 4 * GiB));
}

static bool is_preserved(const Machine *m, uint64_t base, uint64_t size)
{
    g_autoptr(GArray) pieces = expected_pieces(m, true);
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);

        if (p->base == base && p->size == size) {
            return !p->boot;
        }
    }
    return false;
}

/* Bytes that the SRAT declares hot-pluggable; all of it must be preserved. */
uint64_t srat_hotpluggable(Fadump *f)
{
    const size_t max = 256 * KiB;
    g_autofree uint8_t *tables = g_malloc0(max);
    uint64_t sum = 0;
    size_t len, pos, end;

    len = qfw_cfg_read_file(f->fw_cfg, f->qs, "etc/acpi/tables", tables, max);
    g_assert_cmpint(len, >, 0);
    g_assert_cmpint(len, <, max);
    for (pos = 0; pos + 36 < len; pos += ldl_le_p(tables + pos + 4)) {
        if (!memcmp(tables + pos, "SRAT", 4)) {
            break;
        }
        /* zeroes after the last table, or what has no ACPI header */
        if (ldl_le_p(tables + pos + 4) < 36) {
            return 0;
        }
    }
    if (pos + 36 >= len) {
        return 0;
    }
    end = pos + ldl_le_p(tables + pos + 4);
    g_assert_cmpint(end, <=, len);
    for (pos += 48; pos < end; pos += tables[pos + 1]) {
        uint64_t base, size;

        g_assert_cmpint(tables[pos + 1], >=, 8);
        if (tables[pos] != 1 || !(ldl_le_p(tables + pos + 28) & 2)) {
            continue;
        }
        base = ldq_le_p(tables + pos + 8);
        size = ldq_le_p(tables + pos + 16);
        g_assert_true(is_preserved(f->m, base, size));
        sum += size;
    }
    return sum;
}
