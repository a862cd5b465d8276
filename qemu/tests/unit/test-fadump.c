/*
 * Unit tests of firmware-assisted dump: range arithmetic, descriptor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "elf.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-elf.h"
#include "hw/misc/fadump-range.h"

#define BLOCK (128 * MiB)
#define LOW_LIMIT (2 * GiB)

static GArray *ranges_of(const FadumpRange *r, size_t n)
{
    GArray *a = g_array_new(false, false, sizeof(*r));

    g_array_append_vals(a, r, n);
    return a;
}

/* not ARRAY_SIZE(): for clang that is no constant if a range is none */
#define RANGES(...) \
    ranges_of((FadumpRange[]) { __VA_ARGS__ }, \
              sizeof((FadumpRange[]) { __VA_ARGS__ }) / sizeof(FadumpRange))

static void assert_ranges(const GArray *got, const FadumpRange *want, size_t n)
{
    size_t i;

    g_assert_cmpuint(got->len, ==, n);
    for (i = 0; i < n; i++) {
        g_assert_cmphex(g_array_index(got, FadumpRange, i).base, ==,
                        want[i].base);
        g_assert_cmphex(g_array_index(got, FadumpRange, i).size, ==,
                        want[i].size);
    }
}

#define ASSERT_RANGES(got, ...) \
    assert_ranges(got, (FadumpRange[]) { __VA_ARGS__ }, \
                  ARRAY_SIZE(((FadumpRange[]) { __VA_ARGS__ })))

static void test_range_valid(void)
{
    FadumpRange r = { 0, 0 };

    g_assert_false(fadump_range_valid(&r));
    r = (FadumpRange) { 0, 1 };
    g_assert_true(fadump_range_valid(&r));
    r = (FadumpRange) { UINT64_MAX, 1 };
    g_assert_false(fadump_range_valid(&r));
    r = (FadumpRange) { UINT64_MAX - 1, 1 };
    g_assert_true(fadump_range_valid(&r));
    r = (FadumpRange) { 4096, UINT64_MAX - 4095 };
    g_assert_false(fadump_range_valid(&r));
}

static void test_normalize(void)
{
    g_autoptr(GArray) a = RANGES({ 8, 8 }, { 0, 8 }, { 32, 8 });
    g_autoptr(GArray) overlap = RANGES({ 8, 8 }, { 0, 9 });
    g_autoptr(GArray) wrap = RANGES({ 8, 8 }, { UINT64_MAX - 1, 4 });
    g_autoptr(GArray) empty = RANGES({ 8, 0 });

    g_assert_true(fadump_ranges_normalize(a));
    ASSERT_RANGES(a, { 0, 16 }, { 32, 8 });
    g_assert_cmpuint(fadump_ranges_size(a), ==, 24);
    g_assert_false(fadump_ranges_normalize(overlap));
    g_assert_false(fadump_ranges_normalize(wrap));
    g_assert_false(fadump_ranges_normalize(empty));
}

static void test_contain(void)
{
    g_autoptr(GArray) map = RANGES({ 0, 4096 }, { 8192, 4096 });
    const struct {
        FadumpRange r;
        bool in;
    } cases[] = {
        { { 0, 4096 }, true },
        { { 0, 4097 }, false },
        { { 4095, 1 }, true },
        { { 4095, 2 }, false },
        { { 4096, 1 }, false },
        { { 8192, 4096 }, true },
        { { 8191, 2 }, false },
        { { 0, 0 }, false },
        { { 8192, UINT64_MAX }, false },
        { { UINT64_MAX, 1 }, false },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_message("case %zu", i);
        g_assert_true(fadump_ranges_contain(map, &cases[i].r) == cases[i].in);
    }
}

static void assert_piece(const GArray *pieces, guint i, uint64_t base,
                         uint64_t size, bool boot)
{
    const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);

    g_assert_cmphex(p->base, ==, base);
    g_assert_cmphex(p->size, ==, size);
    g_assert_true(p->boot == boot);
}

static void test_split(void)
{
    g_autoptr(GArray) map = RANGES({ 0, 0xa0000 }, { 0x100000, 0x700000 },
                                   { 4 * GiB, GiB });
    g_autoptr(GArray) boot = RANGES({ 0, 0x400000 }, { 0x600000, 0x100000 });
    g_autoptr(GArray) none = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) pieces = fadump_ranges_split(map, boot);
    g_autoptr(GArray) whole = fadump_ranges_split(map, map);
    g_autoptr(GArray) rest = fadump_ranges_split(map, none);

    g_assert_cmpuint(pieces->len, ==, 6);
    assert_piece(pieces, 0, 0, 0xa0000, true);
    assert_piece(pieces, 1, 0x100000, 0x300000, true);
    assert_piece(pieces, 2, 0x400000, 0x200000, false);
    assert_piece(pieces, 3, 0x600000, 0x100000, true);
    assert_piece(pieces, 4, 0x700000, 0x100000, false);
    assert_piece(pieces, 5, 4 * GiB, GiB, false);

    g_assert_cmpuint(whole->len, ==, 3);
    assert_piece(whole, 2, 4 * GiB, GiB, true);
    g_assert_cmpuint(rest->len, ==, 3);
    assert_piece(rest, 0, 0, 0xa0000, false);
}

/* Each case is a machine that has been seen to go wrong without its rule. */
static void test_cut(void)
{
    static const uint64_t at[] = {
        /* unsorted, twice, at borders, in holes, out of everything */
        0x500000, 0x80000, 0x80000, 0, 0xa0000, 0xf0000, 0x100000, 0x700000,
        0x500000, 0x500001, UINT64_MAX,
    };
    g_autoptr(GArray) map = RANGES({ 0, 0xa0000 }, { 0x100000, 0x700000 });
    g_autoptr(GArray) boot = RANGES({ 0, 0x400000 });
    g_autoptr(GArray) pieces = fadump_ranges_split(map, boot);
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(uint64_t));
    g_autoptr(GArray) same = fadump_pieces_cut(pieces, cuts);
    g_autoptr(GArray) cut = NULL;

    g_assert_cmpuint(same->len, ==, pieces->len);
    g_array_append_vals(cuts, at, ARRAY_SIZE(at));
    cut = fadump_pieces_cut(pieces, cuts);
    g_assert_cmpuint(cut->len, ==, 7);
    assert_piece(cut, 0, 0, 0x80000, true);
    assert_piece(cut, 1, 0x80000, 0x20000, true);
    assert_piece(cut, 2, 0x100000, 0x300000, true);
    assert_piece(cut, 3, 0x400000, 0x100000, false);
    assert_piece(cut, 4, 0x500000, 1, false);
    assert_piece(cut, 5, 0x500001, 0x1fffff, false);
    assert_piece(cut, 6, 0x700000, 0x100000, false);
}

static void test_boot_ranges(void)
{
    g_autoptr(GArray) m2g = RANGES({ 0, 2 * GiB });
    g_autoptr(GArray) pc3g = RANGES({ 0, 3 * GiB });
    g_autoptr(GArray) q6g = RANGES({ 0, 2 * GiB }, { 4 * GiB, 4 * GiB });
    g_autoptr(GArray) odd = RANGES({ 0, 2500 * MiB });
    g_autoptr(GArray) odd_low = RANGES({ 0, 1000 * MiB });
    g_autoptr(GArray) high = RANGES({ 0, 2 * GiB }, { 4 * GiB, 100 * MiB });
    g_autoptr(GArray) small = RANGES({ 0, 256 * MiB });
    g_autoptr(GArray) b = NULL;

    b = fadump_boot_ranges(m2g, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB });
    g_array_unref(b);

    /* low RAM that ends above 2 GiB keeps its last block */
    b = fadump_boot_ranges(pc3g, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB }, { 3 * GiB - BLOCK, BLOCK });
    g_array_unref(b);
    b = fadump_boot_ranges(pc3g, 512 * MiB, BLOCK, 0);
    ASSERT_RANGES(b, { 0, 512 * MiB });
    g_array_unref(b);

    b = fadump_boot_ranges(q6g, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB });
    g_array_unref(b);

    /* boot memory that goes on above 4 GiB */
    b = fadump_boot_ranges(q6g, 3 * GiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 2 * GiB }, { 4 * GiB, GiB });
    g_array_unref(b);

    /* what does not fill a block cannot be hot-added */
    b = fadump_boot_ranges(odd, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB }, { 2432 * MiB, 68 * MiB });
    g_array_unref(b);
    b = fadump_boot_ranges(odd_low, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB }, { 896 * MiB, 104 * MiB });
    g_array_unref(b);
    b = fadump_boot_ranges(high, 512 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 512 * MiB }, { 4 * GiB, 100 * MiB });
    g_array_unref(b);

    /* all of RAM */
    b = fadump_boot_ranges(small, 256 * MiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 256 * MiB });
    g_array_unref(b);
    b = fadump_boot_ranges(pc3g, 3 * GiB, BLOCK, LOW_LIMIT);
    ASSERT_RANGES(b, { 0, 3 * GiB });
}

/* boot memory of a smaller size lies in that of a larger */
static void test_boot_grows(void)
{
    static const uint64_t ends[] = { 700 * MiB, 1 * GiB, 2500 * MiB, 3 * GiB };
    size_t i;
    uint64_t size;

    for (i = 0; i < ARRAY_SIZE(ends); i++) {
        g_autoptr(GArray) map = RANGES({ 0, ends[i] }, { 4 * GiB, 300 * MiB });
        g_autoptr(GArray) small = fadump_boot_ranges(map, BLOCK, BLOCK,
                                                     LOW_LIMIT);

        for (size = BLOCK; size < ends[i] + 300 * MiB; size += BLOCK) {
            GArray *b = fadump_boot_ranges(map, size, BLOCK, LOW_LIMIT);
            guint j;

            for (j = 0; j < small->len; j++) {
                g_assert_true(fadump_ranges_contain(b,
                    &g_array_index(small, FadumpRange, j)));
            }
            g_assert_cmpuint(fadump_ranges_size(b), >=, size);
            g_array_unref(small);
            small = b;
        }
    }
}

static void test_find(void)
{
    g_autoptr(GArray) map = RANGES({ 0, 4096 }, { 8192, 4096 });
    const FadumpRange in = { 8200, 8 }, across = { 4000, 5000 };
    FadumpRange part;

    g_assert_true(fadump_ranges_find(map, &in) ==
                  &g_array_index(map, FadumpRange, 1));
    g_assert_null(fadump_ranges_find(map, &across));
    g_assert_true(fadump_range_intersect(&across,
                                         &g_array_index(map, FadumpRange, 0),
                                         &part));
    g_assert_cmpuint(part.base, ==, 4000);
    g_assert_cmpuint(part.size, ==, 96);
    g_assert_true(fadump_range_intersect(&across,
                                         &g_array_index(map, FadumpRange, 1),
                                         &part));
    g_assert_cmpuint(part.base, ==, 8192);
    g_assert_cmpuint(part.size, ==, 808);
    g_assert_false(fadump_range_intersect(&in,
                                          &g_array_index(map, FadumpRange, 0),
                                          &part));
}

/* What is swapped after a swap of another size. */
static void test_xor(void)
{
    g_autoptr(GArray) none = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) small = RANGES({ MiB, 127 * MiB });
    g_autoptr(GArray) large = RANGES({ MiB, 255 * MiB }, { GiB, MiB });
    g_autoptr(GArray) mid = RANGES({ 64 * MiB, 64 * MiB });
    GArray *x;

    x = fadump_ranges_xor(none, small);
    ASSERT_RANGES(x, { MiB, 127 * MiB });
    g_array_unref(x);
    x = fadump_ranges_xor(small, small);
    g_assert_cmpuint(x->len, ==, 0);
    g_array_unref(x);
    x = fadump_ranges_xor(small, large);
    ASSERT_RANGES(x, { 128 * MiB, 128 * MiB }, { GiB, MiB });
    g_array_unref(x);
    x = fadump_ranges_xor(large, mid);
    ASSERT_RANGES(x, { MiB, 63 * MiB }, { 128 * MiB, 128 * MiB },
                  { GiB, MiB });
    g_array_unref(x);
}

/* A little-endian note, its name and contents padded. */
static void append_note(GByteArray *notes, const char *name, uint32_t type,
                        const char *desc)
{
    uint32_t head[3] = {
        cpu_to_le32(strlen(name) + 1), cpu_to_le32(strlen(desc) + 1),
        cpu_to_le32(type)
    };
    const char *text[] = { name, desc };
    static const uint8_t zero[4];
    int i;

    g_byte_array_append(notes, (const uint8_t *)head, sizeof(head));
    for (i = 0; i < 2; i++) {
        size_t len = strlen(text[i]) + 1;

        g_byte_array_append(notes, (const uint8_t *)text[i], len);
        g_byte_array_append(notes, zero, ROUND_UP(len, 4) - len);
    }
}

static struct virtio_fadump_part add_part(FadumpDesc *d, const char *name,
                                          uint32_t type, const char *desc)
{
    struct virtio_fadump_part part = { cpu_to_le64(d->notes->len) };
    guint start = d->notes->len;

    append_note(d->notes, name, type, desc);
    part.size = cpu_to_le64(d->notes->len - start);
    return part;
}

static void add_vcpu(FadumpDesc *d, uint64_t id, const char *regs,
                     const char *hv)
{
    struct virtio_fadump_vcpu vcpu = { .arch_id = cpu_to_le64(id) };

    vcpu.notes = add_part(d, "CORE", NT_PRSTATUS, regs);
    if (hv) {
        vcpu.hv_note = add_part(d, "QEMU", 0, hv);
    }
    g_array_append_val(d->vcpus, vcpu);
}

#define WINDOW_SIZE 0x400000

static uint8_t *make_desc(uint64_t *size)
{
    struct virtio_fadump_range ranges[] = {
        {
            .len = cpu_to_le64(0x100000), .held = cpu_to_le64(0x100000),
            .where = cpu_to_le32(VIRTIO_FADUMP_WHERE_WINDOW),
            .dest = cpu_to_le64(0x200000),
            .flags = cpu_to_le32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM),
        }, {
            .addr = cpu_to_le64(0x100000), .len = cpu_to_le64(0x100000),
            .held = cpu_to_le64(0x100000),
            .where = cpu_to_le32(VIRTIO_FADUMP_WHERE_IN_PLACE),
            .node = cpu_to_le32(VIRTIO_FADUMP_NODE_NONE),
        },
    };
    FadumpDesc d;
    uint8_t *buf;

    fadump_desc_init(&d);
    g_assert_cmphex(d.crash_cpu, ==, VIRTIO_FADUMP_CPU_NONE);
    d.cause = VIRTIO_FADUMP_CAUSE_PANIC;
    d.crash_cpu = 1;
    d.time_ns = 0x1122334455667788;
    d.capture_ns = 42;
    d.elf_machine = EM_X86_64;
    d.boot_mem = 0x100000;
    add_vcpu(&d, 3, "registers 0", "QEMU's 0");
    add_vcpu(&d, 7, "registers 1", NULL);
    d.vmcoreinfo = add_part(&d, "VMCOREINFO", 0, "OSRELEASE=1");
    d.crash_note = add_part(&d, "CORE", NT_PRSTATUS, "REGISTERS 1");
    g_array_append_vals(d.ranges, ranges, 2);
    *size = fadump_desc_size(&d);
    g_assert_cmpuint(*size, <=, fadump_desc_size_max(2, d.notes->len));
    buf = g_malloc(*size);
    fadump_desc_write(&d, buf);
    fadump_desc_destroy(&d);
    return buf;
}

/* The text in the last note of @part */
static const char *part_text(const uint8_t *buf,
                             const struct virtio_fadump_part *part)
{
    const uint8_t *note = buf + le64_to_cpu(part->off);

    g_assert_cmpuint(le64_to_cpu(part->off) % 4, ==, 0);
    g_assert_cmpuint(fadump_note_size(note, le64_to_cpu(part->size)), ==,
                     le64_to_cpu(part->size));
    return (const char *)note + 12 + ROUND_UP(ldl_le_p(note), 4);
}

static void test_desc_write(void)
{
    uint64_t size;
    g_autofree uint8_t *buf = make_desc(&size);
    struct virtio_fadump_desc *h = (void *)buf;
    const struct virtio_fadump_vcpu *v;
    uint32_t crc = h->checksum;

    g_assert_cmpuint(sizeof(*h), ==, 152);
    g_assert_cmpuint(sizeof(*v), ==, 48);
    g_assert_cmpuint(sizeof(struct virtio_fadump_range), ==, 48);
    g_assert_cmpmem(h->magic, 8, VIRTIO_FADUMP_DESC_MAGIC, 8);
    g_assert_cmpuint(le64_to_cpu(h->total_size), ==, size);
    g_assert_cmpuint(le32_to_cpu(h->nr_vcpus), ==, 2);
    g_assert_cmpuint(le32_to_cpu(h->nr_ranges), ==, 2);
    g_assert_cmphex(le64_to_cpu(h->boot_mem), ==, 0x100000);
    g_assert_cmpstr(part_text(buf, &h->vmcoreinfo), ==, "OSRELEASE=1");
    g_assert_cmpstr(part_text(buf, &h->crash_note), ==, "REGISTERS 1");
    v = fadump_desc_vcpu(buf, 0);
    g_assert_cmpuint(le64_to_cpu(v->arch_id), ==, 3);
    g_assert_cmpstr(part_text(buf, &v->notes), ==, "registers 0");
    g_assert_cmpstr(part_text(buf, &v->hv_note), ==, "QEMU's 0");
    v = fadump_desc_vcpu(buf, 1);
    g_assert_cmpuint(le64_to_cpu(v->arch_id), ==, 7);
    g_assert_cmpstr(part_text(buf, &v->notes), ==, "registers 1");
    g_assert_cmpuint(v->hv_note.off, ==, 0);
    g_assert_cmpuint(v->hv_note.size, ==, 0);
    g_assert_cmphex(le64_to_cpu(fadump_desc_range(buf, 1)->addr), ==,
                    0x100000);

    h->checksum = 0;
    g_assert_cmphex(le32_to_cpu(crc), ==, crc32(0, buf, size));
}

static void reseal(uint8_t *buf, uint64_t size)
{
    struct virtio_fadump_desc *h = (void *)buf;

    h->checksum = 0;
    h->checksum = cpu_to_le32(crc32(0, buf, size));
}

/* Write @val of @width bytes at @off, with a good checksum: it is refused. */
static void refused(uint64_t off, int width, uint64_t val)
{
    uint64_t size;
    g_autofree uint8_t *buf = make_desc(&size);
    Error *err = NULL;

    stn_le_p(buf + off, width, val);
    reseal(buf, size);
    g_assert_false(fadump_desc_check(buf, size, WINDOW_SIZE, &err));
    error_free_or_abort(&err);
}

#define REFUSED(field, val) \
    refused(offsetof(struct virtio_fadump_desc, field), \
            sizeof_field(struct virtio_fadump_desc, field), val)

static void refused_part(uint64_t off, uint64_t notes_off)
{
    const uint64_t size = off + offsetof(struct virtio_fadump_part, size);

    refused(off, 8, 0);
    refused(off, 8, 8);
    refused(off, 8, UINT64_MAX - 3);
    refused(off, 8, notes_off + 2);
    refused(size, 8, UINT64_MAX);
    refused(size, 8, 4);
    /* an offset of nothing */
    refused(size, 8, 0);
}

static void test_desc_check(void)
{
    uint64_t size, ranges, vcpus, first, second;
    g_autofree uint8_t *buf = make_desc(&size);
    const struct virtio_fadump_desc *h = (const void *)buf;
    Error *err = NULL;

    g_assert_true(fadump_desc_check(buf, size, WINDOW_SIZE, &error_abort));
    g_assert_false(fadump_desc_check(buf, size - 1, WINDOW_SIZE, &err));
    error_free_or_abort(&err);
    g_assert_false(fadump_desc_check(buf, 8, WINDOW_SIZE, &err));
    error_free_or_abort(&err);
    g_assert_false(fadump_desc_check(buf, size, 0x200000, &err));
    error_free_or_abort(&err);
    buf[size - 1] ^= 1;
    g_assert_false(fadump_desc_check(buf, size, WINDOW_SIZE, &err));
    error_free_or_abort(&err);
    buf[size - 1] ^= 1;

    REFUSED(magic[0], 0);
    REFUSED(version, VIRTIO_FADUMP_DESC_VERSION + 1);
    REFUSED(version, 0);
    REFUSED(hdr_size, 8);
    REFUSED(hdr_size, sizeof(*h) + 4);
    REFUSED(hdr_size, UINT32_MAX);
    REFUSED(total_size, 0);
    REFUSED(total_size, UINT64_MAX);
    REFUSED(reserved, 1);
    REFUSED(crash_cpu, 2);
    REFUSED(nr_ranges, UINT32_MAX);
    REFUSED(range_size, 0);
    REFUSED(range_size, sizeof(struct virtio_fadump_range) - 8);
    REFUSED(ranges_off, UINT64_MAX - 7);
    REFUSED(ranges_off, 4);
    REFUSED(vcpus_off, 8);
    REFUSED(vcpu_size, 1);
    REFUSED(vcpu_size, sizeof(struct virtio_fadump_vcpu) + 1);
    REFUSED(nr_vcpus, UINT32_MAX);
    REFUSED(nr_vcpus, 3);

    vcpus = le64_to_cpu(h->vcpus_off);
    refused_part(offsetof(struct virtio_fadump_desc, vmcoreinfo),
                 le64_to_cpu(h->vmcoreinfo.off));
    refused_part(offsetof(struct virtio_fadump_desc, crash_note),
                 le64_to_cpu(h->crash_note.off));
    refused_part(vcpus + offsetof(struct virtio_fadump_vcpu, notes),
                 le64_to_cpu(fadump_desc_vcpu(buf, 0)->notes.off));
    refused_part(vcpus + offsetof(struct virtio_fadump_vcpu, hv_note),
                 le64_to_cpu(fadump_desc_vcpu(buf, 0)->hv_note.off));
    refused(vcpus + offsetof(struct virtio_fadump_vcpu, reserved), 4, 1);
    /* two notes where there is one */
    REFUSED(vmcoreinfo.size, le64_to_cpu(h->vmcoreinfo.size) +
                             le64_to_cpu(h->crash_note.size));

    ranges = le64_to_cpu(h->ranges_off);
    first = ranges;
    second = ranges + sizeof(struct virtio_fadump_range);
#define RANGE_REFUSED(range, field, val) \
    refused(range + offsetof(struct virtio_fadump_range, field), \
            sizeof_field(struct virtio_fadump_range, field), val)
    RANGE_REFUSED(first, len, 0);
    RANGE_REFUSED(first, len, UINT64_MAX);
    RANGE_REFUSED(first, len, 0x101000);
    RANGE_REFUSED(first, len, 0xff800);
    RANGE_REFUSED(first, dest, UINT64_MAX);
    RANGE_REFUSED(first, dest, WINDOW_SIZE);
    RANGE_REFUSED(first, dest, 0x201000);
    RANGE_REFUSED(first, held, 0x100001);
    RANGE_REFUSED(first, where, 0);
    RANGE_REFUSED(first, where, 4);
    RANGE_REFUSED(first, where, VIRTIO_FADUMP_WHERE_IN_PLACE);
    RANGE_REFUSED(second, addr, 0x80000);
    RANGE_REFUSED(second, addr, 0x100800);
    RANGE_REFUSED(second, addr, UINT64_MAX);
    RANGE_REFUSED(second, dest, 0x1000);
    RANGE_REFUSED(second, flags, VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    RANGE_REFUSED(second, flags, VIRTIO_FADUMP_RANGE_F_DESTINATION);
    RANGE_REFUSED(second, flags, VIRTIO_FADUMP_RANGE_F_FIRMWARE);
}

/* Parts that overlap would make a file of any size. */
static void test_desc_overlap(void)
{
    struct virtio_fadump_vcpu vcpu = { };
    g_autofree uint8_t *buf = NULL;
    Error *err = NULL;
    FadumpDesc d;
    int i;

    fadump_desc_init(&d);
    for (i = 0; i < 100; i++) {
        vcpu.notes = add_part(&d, "CORE", NT_PRSTATUS, "registers");
    }
    vcpu.notes.off = 0;
    vcpu.notes.size = cpu_to_le64(d.notes->len);
    for (i = 0; i < 8; i++) {
        g_array_append_val(d.vcpus, vcpu);
    }
    buf = g_malloc(fadump_desc_size(&d));
    fadump_desc_write(&d, buf);
    g_assert_false(fadump_desc_check(buf, fadump_desc_size(&d), UINT64_MAX,
                                     &err));
    error_free_or_abort(&err);
    fadump_desc_destroy(&d);
}

static void test_note_size(void)
{
    uint8_t note[64] = { };

    g_assert_cmpuint(fadump_note_size(note, sizeof(note)), ==, 0);
    stl_le_p(note, 11);
    stl_le_p(note + 4, 17);
    g_assert_cmpuint(fadump_note_size(note, sizeof(note)), ==, 12 + 12 + 20);
    g_assert_cmpuint(fadump_note_size(note, 43), ==, 0);
    g_assert_cmpuint(fadump_note_size(note, 11), ==, 0);
    g_assert_cmpuint(fadump_note_size(note, 0), ==, 0);
    stl_le_p(note + 4, UINT32_MAX);
    g_assert_cmpuint(fadump_note_size(note, sizeof(note)), ==, 0);
    stl_le_p(note, UINT32_MAX);
    g_assert_cmpuint(fadump_note_size(note, sizeof(note)), ==, 0);
}

/* The descriptor of @d, sealed; the caller frees. */
static uint8_t *seal_desc(const FadumpDesc *d)
{
    uint8_t *buf = g_malloc(fadump_desc_size(d));

    fadump_desc_write(d, buf);
    g_assert_true(fadump_desc_check(buf, fadump_desc_size(d), UINT64_MAX,
                                    &error_abort));
    return buf;
}

static void add_range(FadumpDesc *d, uint64_t addr, uint64_t len,
                      uint64_t held, uint32_t where, uint64_t dest)
{
    struct virtio_fadump_range r = {
        .addr = cpu_to_le64(addr), .len = cpu_to_le64(len),
        .held = cpu_to_le64(held), .where = cpu_to_le32(where),
        .dest = cpu_to_le64(dest),
    };

    g_array_append_val(d->ranges, r);
}

static void test_elf(void)
{
    g_autoptr(GArray) segs = g_array_new(false, false,
                                         sizeof(FadumpElfSegment));
    g_autoptr(GByteArray) elf = NULL, notes = g_byte_array_new();
    g_autofree uint8_t *buf = NULL;
    const FadumpElfSegment *seg;
    const Elf64_Phdr *phdr;
    const Elf64_Ehdr *ehdr;
    Error *err = NULL;
    uint64_t end;
    FadumpDesc d;
    int i;

    fadump_desc_init(&d);
    d.elf_machine = EM_X86_64;
    add_vcpu(&d, 0, "registers 0", "QEMU's 0");
    add_vcpu(&d, 1, "registers 1", "QEMU's 1");
    d.vmcoreinfo = add_part(&d, "VMCOREINFO", 0, "OSRELEASE=1");
    buf = seal_desc(&d);
    /* no memory at all */
    g_assert_null(fadump_elf_build(buf, segs, &err));
    error_free_or_abort(&err);
    g_free(buf);

    add_range(&d, 0, 0x3000, 0x3000, VIRTIO_FADUMP_WHERE_WINDOW, 0x200000);
    /* what could not be held is not in the file, nor is half a page */
    add_range(&d, 0x10000, 0x4000, 0x1fff, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    add_range(&d, 0x20000, 0x1000, 0, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    add_range(&d, 0x30000, 0x2000, 0x2000, VIRTIO_FADUMP_WHERE_GUEST, 0x70000);
    buf = seal_desc(&d);
    elf = fadump_elf_build(buf, segs, &error_abort);

    ehdr = (const void *)elf->data;
    phdr = (const void *)(elf->data + 64);
    g_assert_cmpmem(ehdr->e_ident, 4, ELFMAG, 4);
    g_assert_cmpint(ehdr->e_phnum, ==, 4);
    g_assert_cmpint(ehdr->e_machine, ==, EM_X86_64);
    g_assert_cmpint(elf->len % 4096, ==, 0);
    g_assert_cmpint(phdr[0].p_type, ==, PT_NOTE);
    g_assert_cmpint(phdr[0].p_offset, ==, 64 + 4 * sizeof(*phdr));
    append_note(notes, "CORE", NT_PRSTATUS, "registers 0");
    append_note(notes, "CORE", NT_PRSTATUS, "registers 1");
    append_note(notes, "QEMU", 0, "QEMU's 0");
    append_note(notes, "QEMU", 0, "QEMU's 1");
    append_note(notes, "VMCOREINFO", 0, "OSRELEASE=1");
    g_assert_cmpmem(elf->data + phdr[0].p_offset, phdr[0].p_filesz,
                    notes->data, notes->len);

    g_assert_cmpint(segs->len, ==, 3);
    end = elf->len;
    for (i = 0; i < 3; i++) {
        seg = &g_array_index(segs, FadumpElfSegment, i);
        g_assert_cmpint(seg->offset, ==, end);
        g_assert_cmpint(phdr[1 + i].p_type, ==, PT_LOAD);
        g_assert_cmpint(phdr[1 + i].p_offset, ==, end);
        g_assert_cmpint(phdr[1 + i].p_filesz, ==, seg->size);
        end += seg->size;
    }
    g_assert_cmpint(end, ==, elf->len + 0x3000 + 0x1000 + 0x2000);
    g_assert_cmphex(phdr[2].p_paddr, ==, 0x10000);
    g_assert_cmphex(phdr[2].p_memsz, ==, 0x4000);
    seg = &g_array_index(segs, FadumpElfSegment, 0);
    g_assert_true(seg->window);
    g_assert_cmphex(seg->src, ==, 0x200000);
    seg = &g_array_index(segs, FadumpElfSegment, 1);
    g_assert_false(seg->window);
    g_assert_cmphex(seg->src, ==, 0x10000);
    seg = &g_array_index(segs, FadumpElfSegment, 2);
    g_assert_false(seg->window);
    g_assert_cmphex(seg->src, ==, 0x70000);
    fadump_desc_destroy(&d);
}

/* A stream may say that there is more memory than a file can have. */
static void test_elf_too_large(void)
{
    static const struct {
        uint64_t addr, len;
        bool fits;
    } cases[] = {
        { 0x3000, 1ULL << 62, true },
        { 0x3000, INT64_MAX - 0x4fff, true },
        { 0x3000, 1ULL << 63, false },
        { 0x3000, UINT64_MAX - 0x4fff, false },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GArray) segs = g_array_new(false, false,
                                             sizeof(FadumpElfSegment));
        g_autoptr(GByteArray) elf = NULL;
        g_autofree uint8_t *buf = NULL;
        Error *err = NULL;
        FadumpDesc d;

        fadump_desc_init(&d);
        add_range(&d, 0, 0x3000, 0x3000, VIRTIO_FADUMP_WHERE_WINDOW, 0x200000);
        add_range(&d, cases[i].addr, cases[i].len, cases[i].len,
                  VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
        buf = seal_desc(&d);
        elf = fadump_elf_build(buf, segs, &err);
        g_test_message("case %zu", i);
        g_assert_true(!!elf == cases[i].fits);
        if (!elf) {
            error_free_or_abort(&err);
            g_assert_cmpuint(segs->len, ==, 0);
        }
        fadump_desc_destroy(&d);
    }
}

/* The notes of the ELF core of two vCPUs, of which @crash_cpu crashed. */
static GByteArray *crash_notes(uint32_t crash_cpu, const char *name,
                               uint32_t type, const char *text)
{
    g_autoptr(GArray) segs = g_array_new(false, false,
                                         sizeof(FadumpElfSegment));
    g_autoptr(GByteArray) elf = NULL;
    g_autofree uint8_t *buf = NULL;
    GByteArray *notes = g_byte_array_new();
    const Elf64_Phdr *phdr;
    FadumpDesc d;

    fadump_desc_init(&d);
    d.crash_cpu = crash_cpu;
    add_vcpu(&d, 0, "registers 0", NULL);
    add_vcpu(&d, 1, "registers 1", NULL);
    add_range(&d, 0, 0x3000, 0x3000, VIRTIO_FADUMP_WHERE_WINDOW, 0x200000);
    d.crash_note = add_part(&d, name, type, text);
    buf = seal_desc(&d);
    elf = fadump_elf_build(buf, segs, &error_abort);
    phdr = (const void *)(elf->data + 64);
    g_byte_array_append(notes, elf->data + phdr->p_offset, phdr->p_filesz);
    fadump_desc_destroy(&d);
    return notes;
}

/* A debugger starts from the registers that the guest gave, where it can. */
static void test_elf_crash_note(void)
{
    static const struct {
        uint32_t cpu;
        const char *name;
        uint32_t type;
        const char *text;
        bool taken;
    } given[] = {
        { 1, "CORE", NT_PRSTATUS, "REGISTERS 1", true },
        { VIRTIO_FADUMP_CPU_NONE, "CORE", NT_PRSTATUS, "REGISTERS 1", false },
        { 1, "CORE", NT_PRSTATUS + 1, "REGISTERS 1", false },
        { 1, "KERN", NT_PRSTATUS, "REGISTERS 1", false },
        { 1, "CORES", NT_PRSTATUS, "REGISTERS 1", false },
        { 1, "CORE", NT_PRSTATUS, "REGISTERS 10", false },
        { 1, "CORE", NT_PRSTATUS, "", false },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(given); i++) {
        g_autoptr(GByteArray) want = g_byte_array_new();
        g_autoptr(GByteArray) got = crash_notes(given[i].cpu, given[i].name,
                                                given[i].type, given[i].text);

        append_note(want, "CORE", NT_PRSTATUS, "registers 0");
        append_note(want, "CORE", NT_PRSTATUS,
                    given[i].taken ? given[i].text : "registers 1");
        g_test_message("case %zu", i);
        g_assert_cmpmem(got->data, got->len, want->data, want->len);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fadump/range/valid", test_range_valid);
    g_test_add_func("/fadump/range/normalize", test_normalize);
    g_test_add_func("/fadump/range/contain", test_contain);
    g_test_add_func("/fadump/range/split", test_split);
    g_test_add_func("/fadump/range/cut", test_cut);
    g_test_add_func("/fadump/range/boot", test_boot_ranges);
    g_test_add_func("/fadump/range/boot-grows", test_boot_grows);
    g_test_add_func("/fadump/range/find", test_find);
    g_test_add_func("/fadump/range/xor", test_xor);
    g_test_add_func("/fadump/desc/write", test_desc_write);
    g_test_add_func("/fadump/desc/check", test_desc_check);
    g_test_add_func("/fadump/desc/note-size", test_note_size);
    g_test_add_func("/fadump/desc/overlap", test_desc_overlap);
    g_test_add_func("/fadump/elf/file", test_elf);
    g_test_add_func("/fadump/elf/too-large", test_elf_too_large);
    g_test_add_func("/fadump/elf/crash-note", test_elf_crash_note);
    return g_test_run();
}
