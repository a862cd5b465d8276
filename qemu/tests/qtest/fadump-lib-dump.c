/*
 * QTest helpers for fadump-dev: what a dump holds, its descriptor, files of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "elf.h"
#include "fadump-lib.h"

void make_pattern(uint8_t *page, uint64_t addr)
{
    uint64_t i;

    for (i = 0; i < 4096; i += 8) {
        uint64_t x = addr + i + 0x9e3779b97f4a7c15;

        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        stq_le_p(page + i, x ^ (x >> 27));
    }
}

/* The page at *@addr or after it that carries a pattern; false: no more. */
bool next_sample(const Fadump *f, uint64_t *addr)
{
    /* odd on purpose: not a multiple of any alignment in the device */
    const uint64_t stride = 4099 * 4096, first = 16 * MiB;
    const Span *all[] = { f->m->ram, f->m->dimm }, *r;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(all); i++) {
        for (r = all[i]; r->size; r++) {
            uint64_t a = MAX(*addr, MAX(r->base, first));
            uint64_t end = r->base + r->size;

            /* the last page of each range counts most */
            a = QEMU_ALIGN_UP(a, stride);
            if (a < end - 4096) {
                *addr = a;
                return true;
            }
            if (*addr <= end - 4096) {
                *addr = end - 4096;
                return true;
            }
        }
    }
    return false;
}

void fill_ram(Fadump *f)
{
    uint8_t page[4096];
    uint64_t addr;

    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        make_pattern(page, addr);
        qtest_bufwrite(f->qts, addr, page, sizeof(page));
    }
}

static const Piece *find_piece(const GArray *pieces, uint64_t addr)
{
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);

        if (addr - p->base < p->size) {
            return p;
        }
    }
    return NULL;
}

/* Every sample is where the descriptor says. */
void check_ram(Fadump *f, const GArray *pieces)
{
    unsigned in_place = 0, held = 0;
    uint8_t page[4096], got[4096];
    uint64_t addr;

    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        const Piece *p = find_piece(pieces, addr);

        g_assert_nonnull(p);
        make_pattern(page, addr);
        qtest_bufread(f->qts, p->boot ? f->window + p->dest + (addr - p->base)
                                      : addr, got, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        *(p->boot ? &held : &in_place) += 1;
    }
    g_assert_cmpint(held, >, 3);
    g_assert_cmpint(in_place, >, 3);
}

void save_memory(Fadump *f, uint64_t addr, uint64_t size,
                 const char *path)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'pmemsave', 'arguments': "
                             "{ 'val': %" PRId64 ", 'size': %" PRId64
                             ", 'filename': %s } }", (int64_t)addr,
                             (int64_t)size, path);
}

void assert_zero(Fadump *f, uint64_t addr, uint64_t size)
{
    g_autofree char *path = g_build_filename(f->dir, "zero", NULL);
    g_autofree char *buf = NULL;
    gsize len;

    save_memory(f, addr, size, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    g_assert_cmpint(len, ==, size);
    g_assert_true(buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
    unlink(path);
}

GByteArray *read_descriptor(Fadump *f)
{
    uint64_t size = CONFIG_Q(f, desc_size);
    GByteArray *desc = g_byte_array_new();

    g_assert_cmpint(size, >=, sizeof(struct virtio_fadump_desc));
    g_assert_cmpint(size, <=, CONFIG_Q(f, desc_size_max));
    g_byte_array_set_size(desc, size);
    qtest_bufread(f->qts, f->window, desc->data, size);
    return desc;
}

/* Firmware finds the same bytes in its file. */
void check_descriptor_copies(Fadump *f, const GByteArray *desc)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, FW_CFG_DESC);

    g_assert_cmpmem(file->data, file->len, desc->data, desc->len);
}

/* Whether the window is in the guest's memory map now. */
void assert_window(Fadump *f, bool shown)
{
    g_autofree char *map = qtest_hmp(f->qts, "info mtree -f");

    g_assert_true(!!strstr(map, "fadump-desc") == shown);
}

static void check_note(const uint8_t **pos, const uint8_t *end,
                       const char *name, uint32_t type, const uint8_t **data,
                       uint32_t *size)
{
    const uint8_t *p = *pos;
    uint32_t name_size;

    g_assert_cmpint(end - p, >=, 12);
    name_size = ldl_le_p(p);
    *size = ldl_le_p(p + 4);
    g_assert_cmpint(ldl_le_p(p + 8), ==, type);
    g_assert_cmpint(name_size, ==, strlen(name) + 1);
    g_assert_cmpint(end - p, >=, 12 + ROUND_UP((uint64_t)name_size, 4) +
                                 ROUND_UP((uint64_t)*size, 4));
    g_assert_cmpstr((const char *)p + 12, ==, name);
    *data = p + 12 + ROUND_UP(name_size, 4);
    *pos = *data + ROUND_UP(*size, 4);
}

static void check_part(const struct virtio_fadump_desc *h,
                       const struct virtio_fadump_part *part,
                       const char *name, uint32_t type, const uint8_t **data,
                       uint32_t *size)
{
    const uint8_t *pos = (const uint8_t *)h + le64_to_cpu(part->off);
    const uint8_t *end = pos + le64_to_cpu(part->size);

    g_assert_cmpint(le64_to_cpu(part->off) % 4, ==, 0);
    g_assert_cmpint(le64_to_cpu(part->off), >=, sizeof(*h));
    g_assert_cmpint(le64_to_cpu(part->off), <, le64_to_cpu(h->total_size));
    g_assert_cmpint(le64_to_cpu(part->size), <=, le64_to_cpu(h->total_size) -
                                                 le64_to_cpu(part->off));
    check_note(&pos, end, name, type, data, size);
    g_assert_true(pos == end);
}

void assert_part(const struct virtio_fadump_desc *h,
                 const struct virtio_fadump_part *part,
                 const uint8_t *note, size_t size)
{
    g_assert_cmpmem((const uint8_t *)h + le64_to_cpu(part->off),
                    le64_to_cpu(part->size), note, size);
}

void assert_no_part(const struct virtio_fadump_part *part)
{
    g_assert_cmpint(part->off, ==, 0);
    g_assert_cmpint(part->size, ==, 0);
}

void check_vcpu_notes(const struct virtio_fadump_desc *h)
{
    const struct virtio_fadump_vcpu *vcpu = (const void *)
        ((const uint8_t *)h + le64_to_cpu(h->vcpus_off));
    const uint8_t *data;
    uint32_t i, size;

    for (i = 0; i < le32_to_cpu(h->nr_vcpus); i++) {
        check_part(h, &vcpu[i].notes, "CORE", NT_PRSTATUS, &data, &size);
        g_assert_cmpint(size, >, PRSTATUS_CS + 4);
        g_assert_cmpint(ldl_le_p(data + PRSTATUS_PID), ==, i + 1);
        /* the reset vector: no vCPU has run */
        g_assert_cmphex(ldl_le_p(data + PRSTATUS_EIP), ==, 0xfff0);
        g_assert_cmphex(lduw_le_p(data + PRSTATUS_CS), ==, 0xf000);
        check_part(h, &vcpu[i].hv_note, "QEMU", 0, &data, &size);
        g_assert_cmpint(ldl_le_p(data), ==, 1);
        g_assert_cmpint(ldl_le_p(data + 4), ==, size);
    }
}

/* As register_all() has had them taken; the kernel's note at a panic only. */
void check_notes(const struct virtio_fadump_desc *h)
{
    uint8_t note[4096] = { 0 };

    check_vcpu_notes(h);
    assert_part(h, &h->vmcoreinfo, note, vmcoreinfo_note(note));
    if (le32_to_cpu(h->cause) == VIRTIO_FADUMP_CAUSE_PANIC) {
        memset(note, 0, sizeof(note));
        assert_part(h, &h->crash_note, note, crash_note(note));
    } else {
        assert_no_part(&h->crash_note);
    }
}

uint64_t total_size(const Span *r)
{
    uint64_t sum = 0;

    for (; r->size; r++) {
        sum += r->size;
    }
    return sum;
}

/* Check all that is in @desc but times and notes; returns its ranges. */
GArray *check_descriptor(Fadump *f, const GByteArray *desc,
                         uint32_t cause)
{
    const size_t checksum = offsetof(struct virtio_fadump_desc, checksum);
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_vcpu *vcpu;
    const struct virtio_fadump_range *r;
    g_autofree uint8_t *copy = g_memdup2(desc->data, desc->len);
    g_autoptr(GArray) expected = expected_pieces(f->m, false);
    GArray *pieces = g_array_new(false, false, sizeof(Piece));
    uint64_t vcpus_off, ranges_off, held_end = 0;
    uint32_t i;

    g_assert_cmpmem(h->magic, 8, VIRTIO_FADUMP_DESC_MAGIC, 8);
    g_assert_cmpint(le32_to_cpu(h->version), ==, VIRTIO_FADUMP_DESC_VERSION);
    g_assert_cmpint(le32_to_cpu(h->hdr_size), ==, sizeof(*h));
    g_assert_cmpint(le64_to_cpu(h->total_size), ==, desc->len);
    memset(copy + checksum, 0, sizeof(h->checksum));
    g_assert_cmphex(le32_to_cpu(h->checksum), ==, crc32(0, copy, desc->len));
    g_assert_cmpint(le32_to_cpu(h->cause), ==, cause);
    /* no vCPU runs, so none asked */
    g_assert_cmphex(le32_to_cpu(h->crash_cpu), ==, VIRTIO_FADUMP_CPU_NONE);
    g_assert_cmpint(le32_to_cpu(h->elf_machine), ==, EM_386);
    g_assert_cmpint(le32_to_cpu(h->reserved), ==, 0);
    g_assert_cmphex(le64_to_cpu(h->boot_mem), ==, total_size(f->m->boot));

    g_assert_cmpint(le32_to_cpu(h->nr_vcpus), ==, 2);
    g_assert_cmpint(le32_to_cpu(h->vcpu_size), ==, sizeof(*vcpu));
    vcpus_off = le64_to_cpu(h->vcpus_off);
    g_assert_cmpint(vcpus_off % 8, ==, 0);
    g_assert_cmpint(vcpus_off + 2 * sizeof(*vcpu), <=, desc->len);
    vcpu = (const void *)(desc->data + vcpus_off);
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(le64_to_cpu(vcpu[i].arch_id), ==, i);
        /* nobody has started the second one */
        g_assert_cmpint(le32_to_cpu(vcpu[i].flags), ==,
                        i ? VIRTIO_FADUMP_VCPU_F_OFF : 0);
        g_assert_cmpint(vcpu[i].reserved, ==, 0);
    }

    g_assert_cmpint(le32_to_cpu(h->range_size), ==, sizeof(*r));
    ranges_off = le64_to_cpu(h->ranges_off);
    g_assert_cmpint(ranges_off % 8, ==, 0);
    g_assert_cmpint(ranges_off + le32_to_cpu(h->nr_ranges) * sizeof(*r), <=,
                    desc->len);
    r = (const void *)(desc->data + ranges_off);
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++, r++) {
        bool boot = le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW;
        Piece p = {
            le64_to_cpu(r->addr), le64_to_cpu(r->len), boot,
            le64_to_cpu(r->dest)
        };
        bool dimm = in_ranges(f->m->dimm, p.base);
        Piece *last = NULL;

        g_assert_cmpint(le64_to_cpu(r->held), ==, p.size);
        g_assert_cmphex(le32_to_cpu(r->node), ==,
                        dimm ? dimm_node(p.base) :
                        !f->m->numa ? VIRTIO_FADUMP_NODE_NONE :
                        p.base >= 64 * MiB);
        if (boot) {
            g_assert_cmpint(le32_to_cpu(r->flags), ==,
                            VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
            g_assert_cmpint(le32_to_cpu(r->method), ==,
                            p.base < ROM_END ? VIRTIO_FADUMP_METHOD_COPIED :
                            f->m->method ?: VIRTIO_FADUMP_METHOD_MOVED);
            /* in the region, behind the descriptor, over no other range */
            g_assert_cmpint(p.dest, >=, MAX(held_end,
                                            CONFIG_Q(f, desc_size_max)));
            held_end = p.dest + p.size;
            g_assert_cmpint(held_end, <=, f->window_len);
            /* so that huge pages stay whole */
            g_assert_cmphex((p.dest - p.base) % (2 * MiB), ==, 0);
        } else {
            g_assert_cmpint(le32_to_cpu(r->where), ==,
                            VIRTIO_FADUMP_WHERE_IN_PLACE);
            g_assert_cmpint(le32_to_cpu(r->flags), ==,
                            dimm ? VIRTIO_FADUMP_RANGE_F_HOTPLUG : 0);
            g_assert_cmpint(r->method, ==, VIRTIO_FADUMP_METHOD_NONE);
            g_assert_cmpint(p.dest, ==, 0);
        }
        if (pieces->len) {
            last = &g_array_index(pieces, Piece, pieces->len - 1);
        }
        if (last && last->base + last->size == p.base &&
            last->boot == boot &&
            (!boot || last->dest + last->size == p.dest)) {
            last->size += p.size;
        } else {
            g_array_append_val(pieces, p);
        }
    }

    g_assert_cmpint(pieces->len, ==, expected->len);
    for (i = 0; i < pieces->len; i++) {
        const Piece *got = &g_array_index(pieces, Piece, i);
        const Piece *want = &g_array_index(expected, Piece, i);

        g_assert_cmphex(got->base, ==, want->base);
        g_assert_cmphex(got->size, ==, want->size);
        g_assert_cmpint(got->boot, ==, want->boot);
    }
    return pieces;
}

/* No dump is held, and nothing is left of one. */
void check_released(Fadump *f)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, FW_CFG_DESC);

    assert_state(f, IDLE);
    g_assert_cmpint(CONFIG_Q(f, desc_size), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_lost), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_boots), ==, 0);
    g_assert_cmpint(file->len, ==, 0);
    assert_window(f, false);
    /* firmware is told of it at the next reset */
    if (f->resets > f->resets_before) {
        check_confinement(f, false);
    }
    assert_request(f, RELEASE, NONE);
}

/* Every sample is where @desc says; counts samples by where that is. */
void check_places(Fadump *f, const GByteArray *desc, unsigned count[4])
{
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_range *r = (const void *)
        (desc->data + le64_to_cpu(h->ranges_off));
    uint32_t n = le32_to_cpu(h->nr_ranges), i;
    uint8_t page[4096], got[4096];
    uint64_t addr;

    memset(count, 0, 4 * sizeof(*count));
    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        uint64_t at = addr;
        uint32_t where;

        for (i = 0; i < n; i++) {
            if (addr - le64_to_cpu(r[i].addr) < le64_to_cpu(r[i].len)) {
                break;
            }
        }
        g_assert_cmpint(i, <, n);
        where = le32_to_cpu(r[i].where);
        if (r[i].flags & cpu_to_le32(VIRTIO_FADUMP_RANGE_F_DESTINATION)) {
            g_assert_cmpint(where, ==, VIRTIO_FADUMP_WHERE_IN_PLACE);
            g_assert_cmpint(r[i].held, ==, 0);
            count[0]++;
            continue;
        }
        g_assert_cmpint(r[i].held, ==, r[i].len);
        if (where != VIRTIO_FADUMP_WHERE_IN_PLACE) {
            at = le64_to_cpu(r[i].dest) + (addr - le64_to_cpu(r[i].addr));
        }
        if (where == VIRTIO_FADUMP_WHERE_WINDOW) {
            at += f->window;
        }
        make_pattern(page, addr);
        qtest_bufread(f->qts, at, got, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        count[where]++;
    }
}

/* The file has each sample of memory where its program headers say. */
void check_core(Fadump *f, const char *path, uint64_t size)
{
    g_autoptr(GMappedFile) map = g_mapped_file_new(path, false, NULL);
    const uint8_t *data, *want;
    const Elf64_Phdr *phdr;
    const Elf64_Ehdr *ehdr;
    uint64_t addr = 0, found = 0, samples = 0;
    uint8_t page[4096];
    int i;

    g_assert_nonnull(map);
    g_assert_cmpint(g_mapped_file_get_length(map), ==, size);
    data = (const uint8_t *)g_mapped_file_get_contents(map);
    ehdr = (const void *)data;
    g_assert_cmpint(ehdr->e_phoff, ==, 64);
    g_assert_cmpint(ehdr->e_type, ==, ET_CORE);
    /* vCPU 0 has not left real mode */
    g_assert_cmpint(ehdr->e_machine, ==, EM_386);
    phdr = (const void *)(data + 64);
    g_assert_cmpint(phdr[0].p_type, ==, PT_NOTE);
    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        samples++;
        for (i = 1; i < ehdr->e_phnum; i++) {
            if (addr < phdr[i].p_paddr ||
                addr - phdr[i].p_paddr >= phdr[i].p_filesz) {
                continue;
            }
            found++;
            want = data + phdr[i].p_offset + (addr - phdr[i].p_paddr);
            make_pattern(page, addr);
            g_assert_cmpmem(want, 4096, page, 4096);
        }
    }
    g_assert_cmpint(found, >, samples * 9 / 10);
}

int64_t dump_number(Fadump *f, const char *name)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    int64_t n = qdict_get_int(qdict_get_qdict(info, "dump"), name);

    qobject_unref(info);
    return n;
}

void assert_copied(Fadump *f)
{
    g_assert_cmpint(dump_number(f, "moved"), ==, 0);
    g_assert_cmpint(dump_number(f, "swapped"), ==, 0);
    /* all but some ROM */
    g_assert_cmpint(dump_number(f, "copied"), >, B - MiB);
}

void check_dump(Fadump *f)
{
    g_autoptr(GByteArray) desc = read_descriptor(f);
    unsigned count[4];

    check_places(f, desc, count);
    g_assert_cmpint(count[0] + count[VIRTIO_FADUMP_WHERE_GUEST], ==, 0);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], >, 3);
}
