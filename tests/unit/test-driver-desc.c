/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest driver's reading of a dump descriptor, and what it makes of it.
 *
 * The descriptor comes from a device that the driver does not trust: most of
 * this is about values that a device must not be believed.
 *
 * Every descriptor lies in a buffer of exactly its size, so that a sanitizer
 * or valgrind sees the first byte that is read too far.
 */
#include <glib.h>
#include <zlib.h>

#include "bootmem.h"
#include "desc.h"

#define KiB             (1ULL << 10)
#define MiB             (1ULL << 20)
#define GiB             (1ULL << 30)
#define PAGE            4096ULL
#define BLOCK           (128 * MiB)

#define BOOT_MEM        (512 * MiB)
#define WINDOW_LEN         (1 * GiB)
#define WINDOW_AT          (2 * MiB)

/* What the tests change before they seal the descriptor. */
typedef struct Desc {
    struct virtio_fadump_desc hdr;
    struct virtio_fadump_vcpu vcpus[2];
    struct virtio_fadump_range ranges[3];
    /* NT_PRSTATUS and hypervisor's note of each vCPU, in turn */
    struct note {
        struct elf64_note n;
        char name[8];
        u8 data[8];
    } notes[4], vmcoreinfo, crash_note;
} Desc;

#define N_PRSTATUS(cpu) ((cpu) * 2)
#define N_HV(cpu)       ((cpu) * 2 + 1)

#define R_BOOT  0
#define R_LOW   1
#define R_HIGH  2

static bool is_ram(u64 addr, u64 len)
{
    return addr < BOOT_MEM;
}

static const struct fadump_desc_env env = {
    .window_len = WINDOW_LEN,
    .phys_limit = 1ULL << 40,
    .is_ram = is_ram,
};

static void seal_bytes(void *buf, size_t size)
{
    struct virtio_fadump_desc *d = buf;

    d->checksum = 0;
    d->checksum = htole32(crc32(0, buf, size));
}

static void seal(Desc *d)
{
    seal_bytes(d, sizeof(*d));
}

static void set_range(Desc *d, int i, u64 addr, u64 len, u32 where, u64 dest)
{
    d->ranges[i] = (struct virtio_fadump_range) {
        .addr = htole64(addr), .len = htole64(len), .held = htole64(len),
        .dest = htole64(dest), .where = htole32(where),
    };
}

static void set_note(struct note *n, const char *name, u32 type, u8 fill)
{
    n->n.n_namesz = strlen(name) + 1;
    n->n.n_descsz = sizeof(n->data);
    n->n.n_type = type;
    memset(n->name, 0, sizeof(n->name));
    memcpy(n->name, name, MIN(strlen(name), sizeof(n->name)));
    memset(n->data, fill, sizeof(n->data));
}

static struct virtio_fadump_part part(size_t off, size_t size)
{
    return (struct virtio_fadump_part) { htole64(off), htole64(size) };
}

static void no_notes(struct virtio_fadump_desc *h)
{
    h->vmcoreinfo = h->crash_note = part(0, 0);
}

/* A guest of 4 GiB with two vCPUs: 2 GiB below 4 GiB, 2 GiB above. */
static void good(Desc *d)
{
    memset(d, 0, sizeof(*d));
    memcpy(d->hdr.magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(d->hdr.magic));
    d->hdr.version = htole32(VIRTIO_FADUMP_DESC_VERSION);
    d->hdr.hdr_size = htole32(sizeof(d->hdr));
    d->hdr.total_size = htole64(sizeof(*d));
    d->hdr.flags = htole32(VIRTIO_FADUMP_DESC_F_ELF64);
    memset(d->hdr.dump_id, 0x5a, sizeof(d->hdr.dump_id));
    d->hdr.cause = htole32(VIRTIO_FADUMP_CAUSE_PANIC);
    d->hdr.crash_cpu = htole32(1);
    d->hdr.time_ns = htole64(1234567890123456789ULL);
    d->hdr.capture_ns = htole64(4200000);
    d->hdr.elf_machine = htole32(EM_X86_64);
    d->hdr.nr_vcpus = htole32(G_N_ELEMENTS(d->vcpus));
    d->hdr.vcpu_size = htole32(sizeof(d->vcpus[0]));
    d->hdr.nr_ranges = htole32(G_N_ELEMENTS(d->ranges));
    d->hdr.range_size = htole32(sizeof(d->ranges[0]));
    d->hdr.vcpus_off = htole64(offsetof(Desc, vcpus));
    d->hdr.ranges_off = htole64(offsetof(Desc, ranges));
    d->hdr.vmcoreinfo = part(offsetof(Desc, vmcoreinfo), sizeof(struct note));
    d->hdr.crash_note = part(offsetof(Desc, crash_note), sizeof(struct note));
    d->hdr.boot_mem = htole64(BOOT_MEM);

    set_range(d, R_BOOT, 0, BOOT_MEM, VIRTIO_FADUMP_WHERE_WINDOW, WINDOW_AT);
    d->ranges[R_BOOT].flags = htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    set_range(d, R_LOW, BOOT_MEM, 2 * GiB - BOOT_MEM,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    set_range(d, R_HIGH, 4 * GiB, 2 * GiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);

    for (int i = 0; i < 2; i++) {
        d->vcpus[i].arch_id = htole64(i);
        d->vcpus[i].notes = part(offsetof(Desc, notes[N_PRSTATUS(i)]),
                                 sizeof(struct note));
        d->vcpus[i].hv_note = part(offsetof(Desc, notes[N_HV(i)]),
                                   sizeof(struct note));
        set_note(&d->notes[N_PRSTATUS(i)], "CORE", NT_PRSTATUS, 0x10 + i);
        set_note(&d->notes[N_HV(i)], "QEMU", 0, 0x20 + i);
    }
    set_note(&d->vmcoreinfo, "VMCORE", 0, 0x30);
    set_note(&d->crash_note, "CORE", NT_PRSTATUS, 0x40);
    seal(d);
}

/* Nothing is held of it: what was set aside is there. */
static void set_destination(Desc *d, int i, u64 addr, u64 len)
{
    set_range(d, i, addr, len, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    d->ranges[i].held = 0;
    d->ranges[i].flags = htole32(VIRTIO_FADUMP_RANGE_F_DESTINATION);
}

static void set_guest(Desc *d, int i, u64 addr, u64 len, u64 dest)
{
    set_range(d, i, addr, len, VIRTIO_FADUMP_WHERE_GUEST, dest);
    d->ranges[i].flags = htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
}

/* The same guest, with boot memory set aside in its own, right above. */
static void good_guest(Desc *d)
{
    good(d);
    set_guest(d, R_BOOT, 0, BOOT_MEM, BOOT_MEM);
    set_destination(d, R_LOW, BOOT_MEM, BOOT_MEM);
    seal(d);
}

/* Two destinations, in the other order. */
static void good_guest_two(Desc *d)
{
    good(d);
    set_guest(d, R_BOOT, 0, 256 * MiB, 4 * GiB + 256 * MiB);
    set_guest(d, R_LOW, 256 * MiB, 256 * MiB, 4 * GiB);
    set_destination(d, R_HIGH, 4 * GiB, 512 * MiB);
    seal(d);
}

static int parse_bytes(const void *buf, u64 size, struct fadump_desc_info *info,
                       struct fadump_why *why)
{
    /* Exactly as large as it says. */
    g_autofree void *copy = g_memdup2(buf, size);
    struct fadump_desc_info local;
    int ret;

    memset(why, 0, sizeof(*why));
    ret = fadump_desc_parse(copy, size, &env, info ? info : &local, why);
    if (ret) {
        g_assert_cmpint(ret, ==, -EINVAL);
        g_assert_cmpstr(why->text, !=, "");
    } else {
        g_assert_cmpstr(why->text, ==, "");
    }
    return ret;
}

/* Refused, and for the reason that was meant. */
static void refuse(Desc *d, const char *reason)
{
    struct fadump_why why;

    seal(d);
    g_assert_cmpint(parse_bytes(d, sizeof(*d), NULL, &why), ==, -EINVAL);
    if (!strstr(why.text, reason)) {
        g_error("refused with \"%s\", expected \"%s\"", why.text, reason);
    }
}

static void accept(Desc *d)
{
    struct fadump_why why;

    seal(d);
    if (parse_bytes(d, sizeof(*d), NULL, &why)) {
        g_error("refused: %s", why.text);
    }
}

static void test_good(void)
{
    struct fadump_desc_info info;
    struct fadump_why why;
    struct fadump_range r;
    Desc d;

    good(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(info.nr_vcpus, ==, 2);
    g_assert_cmpuint(info.nr_ranges, ==, 3);
    g_assert_cmpuint(info.nr_hv_notes, ==, 2);
    g_assert_cmpuint(info.nr_off, ==, 0);
    g_assert_cmpuint(info.cpu_notes.off, ==, offsetof(Desc, notes));
    g_assert_cmpuint(info.cpu_notes.size, ==, sizeof(d.notes));
    g_assert_cmpuint(info.crash_cpu, ==, 1);
    g_assert_cmpuint(info.elf_machine, ==, EM_X86_64);
    g_assert_cmpuint(info.boot_mem, ==, BOOT_MEM);
    g_assert_cmpuint(info.time_ns, ==, 1234567890123456789ULL);
    g_assert_cmpuint(info.capture_ns, ==, 4200000);
    g_assert_cmpuint(info.bytes_total, ==, 4 * GiB);
    g_assert_cmpuint(info.bytes_held, ==, 4 * GiB);
    g_assert_cmpmem(info.dump_id, 16, d.hdr.dump_id, 16);
    g_assert_cmpstr(fadump_cause_name(info.cause), ==, "panic");
    g_assert_cmpstr(fadump_cause_name(4711), ==, "unknown");

    fadump_desc_range(&info, R_LOW, &r);
    g_assert_cmpuint(r.addr, ==, BOOT_MEM);
    g_assert_cmpuint(r.len, ==, 2 * GiB - BOOT_MEM);
    g_assert_cmpuint(r.where, ==, VIRTIO_FADUMP_WHERE_IN_PLACE);

    /* without what need not be there */
    d.hdr.crash_cpu = htole32(VIRTIO_FADUMP_CPU_NONE);
    d.hdr.crash_note = part(UINT64_MAX, 0);
    accept(&d);
    /* nor does anyone make a pointer of where nothing is */
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(info.crash_note.off, ==, 0);
    d.hdr.vmcoreinfo = part(0, 0);
    accept(&d);
    d.vcpus[0].hv_note = d.vcpus[0].notes = part(0, 0);
    accept(&d);
    d.hdr.nr_vcpus = 0;
    accept(&d);
    /* causes and flags of the future */
    d.hdr.cause = htole32(99);
    d.hdr.flags |= htole32(0x80000000);
    d.ranges[R_HIGH].flags = htole32(0x40000000);
    accept(&d);
}

static void test_short(void)
{
    struct fadump_why why;
    Desc d;

    good(&d);
    for (size_t size = 0; size < sizeof(d); size++) {
        /* as it is, and with a size that fits */
        g_assert_cmpint(parse_bytes(&d, size, NULL, &why), ==, -EINVAL);
        if (size >= sizeof(d.hdr)) {
            Desc cut = d;

            cut.hdr.total_size = htole64(size);
            seal_bytes(&cut, size);
            g_assert_cmpint(parse_bytes(&cut, size, NULL, &why), ==, -EINVAL);
        }
    }
}

static void test_flipped_bits(void)
{
    struct fadump_why why;
    Desc d;

    good(&d);
    for (size_t i = 0; i < sizeof(d); i++) {
        for (int bit = 0; bit < 8; bit++) {
            ((u8 *)&d)[i] ^= 1 << bit;
            g_assert_cmpint(parse_bytes(&d, sizeof(d), NULL, &why), ==, -EINVAL);
            ((u8 *)&d)[i] ^= 1 << bit;
        }
    }
}

static void test_header(void)
{
    static const u32 hdr_sizes[] = {
        0, 8, sizeof(struct virtio_fadump_desc) - 8,
        sizeof(struct virtio_fadump_desc) + 4, sizeof(Desc) + 8, UINT32_MAX,
    };
    Desc d;

    good(&d);
    d.hdr.magic[7] = 'X';
    refuse(&d, "magic");

    good(&d);
    d.hdr.version = 0;
    refuse(&d, "version 0");
    d.hdr.version = htole32(VIRTIO_FADUMP_DESC_VERSION + 1);
    refuse(&d, "version 2, this driver knows up to 1");

    good(&d);
    d.hdr.total_size = htole64(sizeof(d) + 8);
    refuse(&d, "bytes, the device says");
    d.hdr.total_size = htole64(UINT64_MAX);
    refuse(&d, "bytes, the device says");

    for (int i = 0; i < G_N_ELEMENTS(hdr_sizes); i++) {
        good(&d);
        d.hdr.hdr_size = htole32(hdr_sizes[i]);
        refuse(&d, "header of");
    }

    good(&d);
    d.hdr.flags = 0;
    refuse(&d, "32-bit");

    good(&d);
    d.hdr.elf_machine = 0;
    refuse(&d, "ELF machine");
    d.hdr.elf_machine = htole32(0x10000);
    refuse(&d, "ELF machine");

    good(&d);
    d.hdr.crash_cpu = htole32(2);
    refuse(&d, "crashing vCPU 2 of 2");
}

static void test_tables(void)
{
    static const u64 offs[] = {
        0, 4, sizeof(struct virtio_fadump_desc) - 8,
        offsetof(Desc, ranges) + 4, sizeof(Desc) - 8, sizeof(Desc) + 8,
        UINT64_MAX - 7, 1ULL << 63,
    };
    Desc d;

    for (int i = 0; i < G_N_ELEMENTS(offs); i++) {
        good(&d);
        d.hdr.vcpus_off = htole64(offs[i]);
        refuse(&d, "vCPU table");

        good(&d);
        d.hdr.ranges_off = htole64(offs[i]);
        refuse(&d, "range table");

    }

    good(&d);
    d.hdr.nr_ranges = 0;
    refuse(&d, "no memory ranges");
    d.hdr.nr_ranges = htole32(UINT32_MAX);
    refuse(&d, "range table");
    d.hdr.range_size = htole32(UINT32_MAX - 7);
    refuse(&d, "range table");

    good(&d);
    d.hdr.range_size = htole32(sizeof(d.ranges[0]) - 8);
    refuse(&d, "elements of 40 bytes");
    d.hdr.range_size = 0;
    refuse(&d, "elements of 0 bytes");
    d.hdr.range_size = htole32(sizeof(d.ranges[0]) + 4);
    refuse(&d, "elements of 52 bytes");

    good(&d);
    d.hdr.vcpu_size = htole32(8);
    refuse(&d, "vCPU table has elements of 8 bytes");

    good(&d);
    d.hdr.nr_vcpus = htole32(UINT32_MAX);
    refuse(&d, "vCPU table");
}

/* A later version of the interface appends fields; that must not disturb. */
static void test_grown(void)
{
    enum { HDR = sizeof(struct virtio_fadump_desc) + 16, VCPU = 64, RANGE = 72 };
    struct fadump_desc_info info;
    struct fadump_why why;
    struct fadump_range r;
    u8 buf[HDR + 2 * VCPU + 3 * RANGE];
    struct virtio_fadump_desc *h = (void *)buf;
    Desc d;

    good(&d);
    memset(buf, 0xee, sizeof(buf));
    memcpy(buf, &d.hdr, sizeof(d.hdr));
    for (int i = 0; i < 2; i++) {
        d.vcpus[i].notes = d.vcpus[i].hv_note = part(0, 0);
        memcpy(buf + HDR + i * VCPU, &d.vcpus[i], sizeof(d.vcpus[i]));
    }
    for (int i = 0; i < 3; i++) {
        memcpy(buf + HDR + 2 * VCPU + i * RANGE, &d.ranges[i],
               sizeof(d.ranges[i]));
    }
    h->hdr_size = htole32(HDR);
    h->vcpu_size = htole32(VCPU);
    h->range_size = htole32(RANGE);
    h->vcpus_off = htole64(HDR);
    h->ranges_off = htole64(HDR + 2 * VCPU);
    no_notes(h);
    h->total_size = htole64(sizeof(buf));
    seal_bytes(buf, sizeof(buf));

    g_assert_cmpint(fadump_desc_parse(buf, sizeof(buf), &env, &info, &why), ==, 0);
    fadump_desc_range(&info, R_HIGH, &r);
    g_assert_cmpuint(r.addr, ==, 4 * GiB);
    g_assert_cmpuint(r.len, ==, 2 * GiB);
}

/* Each part of the descriptor that is notes, and what a refusal calls it. */
static struct virtio_fadump_part *note_part(Desc *d, int i, const char **name)
{
    static const char *const names[] = {
        "notes of vCPU 0", "hypervisor's notes of vCPU 0",
        "notes of vCPU 1", "hypervisor's notes of vCPU 1",
        "VMCOREINFO", "crash note",
    };

    *name = names[i];
    switch (i) {
    case 4:
        return &d->hdr.vmcoreinfo;
    case 5:
        return &d->hdr.crash_note;
    default:
        return i % 2 ? &d->vcpus[i / 2].hv_note : &d->vcpus[i / 2].notes;
    }
}

static void test_parts(void)
{
    static const struct { u64 off, size; } bad[] = {
        { 0, 4 }, { sizeof(struct virtio_fadump_desc) - 4, 28 },
        { offsetof(Desc, notes) + 1, 28 }, { offsetof(Desc, notes), 27 },
        { sizeof(Desc) - 24, 28 }, { sizeof(Desc), 4 },
        { sizeof(Desc), sizeof(Desc) }, { 1ULL << 63, 1ULL << 63 },
        { UINT64_MAX - 3, 4 }, { UINT64_MAX - 27, 28 },
        { offsetof(Desc, notes), UINT64_MAX - 3 },
    };
    const char *name;
    Desc d;

    for (int p = 0; p < 6; p++) {
        for (int i = 0; i < G_N_ELEMENTS(bad); i++) {
            good(&d);
            *note_part(&d, p, &name) = part(bad[i].off, bad[i].size);
            refuse(&d, name);
        }
    }

    /* one and the same part for many vCPUs: more bytes than there are */
    good(&d);
    d.vcpus[0].notes = d.vcpus[0].hv_note = d.vcpus[1].notes =
        d.vcpus[1].hv_note = part(offsetof(Desc, notes), sizeof(d.notes));
    d.hdr.vcpus_off = htole64(offsetof(Desc, vcpus));
    accept(&d);
    d.notes[0].n.n_descsz = sizeof(Desc) - offsetof(Desc, notes) - 20;
    for (int i = 0; i < 2; i++) {
        d.vcpus[i].notes = d.vcpus[i].hv_note =
            part(offsetof(Desc, notes), sizeof(Desc) - offsetof(Desc, notes));
    }
    d.hdr.vmcoreinfo = d.hdr.crash_note = part(0, 0);
    refuse(&d, "have more bytes than there are");
}

static void test_notes(void)
{
    static const u32 sizes[] = { 9, UINT32_MAX, UINT32_MAX - 3, 0x80000000 };
    const char *name;
    Desc d;

    /* all but the crash note, which the crashed kernel wrote */
    for (int p = 0; p < 5; p++) {
        for (int i = 0; i < G_N_ELEMENTS(sizes); i++) {
            struct note *n;

            good(&d);
            n = (void *)&d + le64toh(note_part(&d, p, &name)->off);
            n->n.n_descsz = sizes[i];
            refuse(&d, name);
            refuse(&d, "cut off");
            good(&d);
            n->n.n_namesz = sizes[i];
            refuse(&d, "cut off");
            n->n.n_descsz = UINT32_MAX;
            refuse(&d, "cut off");
        }
        /* what is left after the last one is no note */
        good(&d);
        note_part(&d, p, &name)->size = htole64(sizeof(struct note) + 8);
        refuse(&d, "is cut off");
    }
}

static void test_ranges(void)
{
    static const u64 bad_dests[] = {
        0, PAGE - 8, WINDOW_AT + 1, WINDOW_AT + PAGE, WINDOW_LEN,
        WINDOW_LEN - BOOT_MEM + 64 * KiB, UINT64_MAX - PAGE + 1,
        UINT64_MAX - 64 * KiB + 1, 1ULL << 63,
    };
    Desc d;

    good(&d);
    d.ranges[R_LOW].len = 0;
    refuse(&d, "range 1 [0x20000000 + 0x0] is empty");
    d.ranges[R_LOW].len = d.ranges[R_LOW].held = htole64(PAGE + 1);
    refuse(&d, "not page aligned");

    good(&d);
    d.ranges[R_HIGH].addr = htole64(4 * GiB + 512);
    refuse(&d, "not page aligned");

    good(&d);
    set_range(&d, R_HIGH, UINT64_MAX - PAGE + 1, 2 * PAGE,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "wraps");
    /* ends at 2^64 exactly */
    set_range(&d, R_HIGH, UINT64_MAX - PAGE + 1, PAGE,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "wraps");
    set_range(&d, R_HIGH, 4 * GiB, UINT64_MAX - PAGE + 1,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "wraps");

    good(&d);
    d.ranges[R_HIGH].addr = htole64(2 * GiB - PAGE);
    refuse(&d, "before the end of the one before (0x80000000)");
    d.ranges[R_HIGH].addr = htole64(BOOT_MEM);
    refuse(&d, "before the end");

    good(&d);
    d.ranges[R_HIGH].held = htole64(2 * GiB + PAGE);
    refuse(&d, "holds 0x80001000 bytes");
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
    refuse(&d, "holds");
    d.ranges[R_HIGH].held = htole64(2 * GiB - 1);
    accept(&d);
    d.ranges[R_HIGH].flags = 0;
    refuse(&d, "holds");

    /* memory of this boot that is said to be the crashed kernel's */
    good(&d);
    set_range(&d, R_BOOT, 256 * MiB, 256 * MiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "RAM of this boot");
    good(&d);
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    refuse(&d, "RAM of this boot");

    good(&d);
    set_range(&d, R_HIGH, env.phys_limit, PAGE, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "out of this CPU's reach");
    set_range(&d, R_HIGH, env.phys_limit - PAGE, PAGE,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    accept(&d);
    set_range(&d, R_HIGH, env.phys_limit - PAGE, 2 * PAGE,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    refuse(&d, "out of this CPU's reach");

    for (int i = 0; i < G_N_ELEMENTS(bad_dests); i++) {
        good(&d);
        d.ranges[R_BOOT].dest = htole64(bad_dests[i]);
        refuse(&d, "outside the window");
    }
    good(&d);
    d.ranges[R_BOOT].dest = htole64(WINDOW_LEN - BOOT_MEM);
    accept(&d);

    good(&d);
    d.ranges[R_HIGH].where = 0;
    refuse(&d, "unknown kind 0");
    d.ranges[R_HIGH].where = htole32(4);
    refuse(&d, "unknown kind 4");
}

static void test_guest(void)
{
    static const u64 bad_dests[] = {
        /* this boot's RAM, in whole or in part */
        0, BOOT_MEM - 64 * KiB, 256 * MiB,
        /* memory that is held, all or the last pages of it */
        1 * GiB, BOOT_MEM + 64 * KiB, 4 * GiB, 6 * GiB - BOOT_MEM,
        /* no memory */
        2 * GiB, 3 * GiB, 6 * GiB, 1ULL << 39, (1ULL << 40) - BOOT_MEM,
    };
    static const u64 far_dests[] = {
        BOOT_MEM + 1, BOOT_MEM + PAGE, BOOT_MEM + 64 * KiB - 1,
        (1ULL << 40) - BOOT_MEM + 64 * KiB,
        1ULL << 40, 1ULL << 63, UINT64_MAX - PAGE + 1, UINT64_MAX,
        UINT64_MAX - BOOT_MEM + 1, UINT64_MAX - BOOT_MEM + 1 - 64 * KiB,
    };
    struct fadump_desc_info info;
    struct fadump_why why;
    Desc d;

    good_guest(&d);
    g_assert_cmpint(parse_bytes(&d, sizeof(d), &info, &why), ==, 0);
    g_assert_cmpuint(info.nr_guest, ==, 1);
    g_assert_cmpuint(info.bytes_total, ==, 3 * GiB);
    g_assert_cmpuint(info.bytes_dest, ==, BOOT_MEM);
    g_assert_cmpuint(info.bytes_held, ==, 3 * GiB - BOOT_MEM);
    good_guest_two(&d);
    g_assert_cmpint(parse_bytes(&d, sizeof(d), &info, &why), ==, 0);
    g_assert_cmpuint(info.nr_guest, ==, 2);

    for (int i = 0; i < G_N_ELEMENTS(bad_dests); i++) {
        good_guest(&d);
        d.ranges[R_BOOT].dest = htole64(bad_dests[i]);
        refuse(&d, bad_dests[i] < BOOT_MEM ? "which is RAM of this boot" :
                                             "which was no destination");
    }
    for (int i = 0; i < G_N_ELEMENTS(far_dests); i++) {
        good_guest(&d);
        d.ranges[R_BOOT].dest = htole64(far_dests[i]);
        refuse(&d, "out of place or out of this CPU's reach");
    }
    /* even where the device says that boot memory is less than this boot has */
    good_guest(&d);
    d.hdr.boot_mem = htole64(128 * MiB);
    set_guest(&d, R_BOOT, 0, 128 * MiB, 128 * MiB);
    refuse(&d, "which is RAM of this boot");

    /* destinations that are none, or no more than a page too short */
    good_guest(&d);
    d.ranges[R_LOW].flags = 0;
    refuse(&d, "holds 0x0 bytes");
    d.ranges[R_LOW].flags = htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
    refuse(&d, "which was no destination");
    good_guest(&d);
    d.ranges[R_LOW].len = htole64(BOOT_MEM - PAGE);
    refuse(&d, "which was no destination");
    good_guest(&d);
    set_destination(&d, R_LOW, BOOT_MEM + PAGE, BOOT_MEM);
    refuse(&d, "which was no destination");

    /* two that touch are as good as one; two with a page between are not */
    good_guest(&d);
    set_destination(&d, R_LOW, BOOT_MEM, 256 * MiB);
    set_destination(&d, R_HIGH, BOOT_MEM + 256 * MiB, 256 * MiB);
    accept(&d);
    d.ranges[R_HIGH].addr = htole64(BOOT_MEM + 256 * MiB + PAGE);
    refuse(&d, "which was no destination");
    /* the last page of the second one is held */
    set_destination(&d, R_HIGH, BOOT_MEM + 256 * MiB, 256 * MiB - PAGE);
    refuse(&d, "which was no destination");

    /* what is said of a destination */
    good_guest(&d);
    d.ranges[R_LOW].held = htole64(PAGE);
    refuse(&d, "is said to hold 0x1000 bytes");
    d.ranges[R_LOW].held = htole64(BOOT_MEM);
    refuse(&d, "is said to hold");
    good_guest(&d);
    d.ranges[R_LOW].where = htole32(VIRTIO_FADUMP_WHERE_WINDOW);
    d.ranges[R_LOW].dest = htole64(WINDOW_AT);
    refuse(&d, "(place 3)");
    good_guest(&d);
    set_guest(&d, R_LOW, BOOT_MEM, BOOT_MEM, BOOT_MEM);
    d.ranges[R_LOW].flags = htole32(VIRTIO_FADUMP_RANGE_F_DESTINATION);
    refuse(&d, "was a destination");

    /* firmware's: nothing is held of it either, and it comes back */
    good(&d);
    d.ranges[R_LOW].flags = htole32(VIRTIO_FADUMP_RANGE_F_FIRMWARE);
    refuse(&d, "was firmware's and is said to hold");
    d.ranges[R_LOW].held = 0;
    seal(&d);
    g_assert_cmpint(parse_bytes(&d, sizeof(d), &info, &why), ==, 0);
    g_assert_cmpuint(info.bytes_firmware, ==, le64toh(d.ranges[R_LOW].len));
    g_assert_cmpuint(info.bytes_dest, ==, 0);
    d.ranges[R_LOW].where = htole32(VIRTIO_FADUMP_WHERE_WINDOW);
    d.ranges[R_LOW].dest = htole64(WINDOW_AT);
    refuse(&d, "(place 3)");

    good_guest(&d);
    set_destination(&d, R_BOOT, 0, BOOT_MEM);
    refuse(&d, "RAM of this boot");
    good_guest(&d);
    d.ranges[R_LOW].flags |= htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    refuse(&d, "RAM of this boot");
    good_guest(&d);
    set_destination(&d, R_HIGH, env.phys_limit, PAGE);
    refuse(&d, "out of this CPU's reach");

    /* one place for two */
    good_guest_two(&d);
    d.ranges[R_BOOT].dest = htole64(4 * GiB);
    refuse(&d, "ranges 0 and 1 lie at the same place");
    d.ranges[R_BOOT].dest = htole64(4 * GiB + 256 * MiB - 64 * KiB);
    refuse(&d, "ranges 0 and 1 lie at the same place");
    good_guest_two(&d);
    d.ranges[R_LOW].dest = htole64(4 * GiB + 64 * KiB);
    refuse(&d, "ranges 0 and 1 lie at the same place");

    /* half of it is what could be saved */
    good_guest(&d);
    d.ranges[R_BOOT].held = htole64(BOOT_MEM / 2);
    refuse(&d, "holds");
    d.ranges[R_BOOT].flags |= htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
    accept(&d);
}

/* Many in guest memory: no more than a driver names, and in no time. */
static void test_guest_many(void)
{
    static const struct { u32 nr; int ret; } cases[] = {
        { 1024, 0 }, { 1025, -EINVAL }, { 300000, -EINVAL },
    };

    for (int i = 0; i < G_N_ELEMENTS(cases); i++) {
        u32 nr = cases[i].nr;
        size_t size = sizeof(struct virtio_fadump_desc) +
                      (nr + 1ULL) * sizeof(struct virtio_fadump_range);
        g_autofree u8 *buf = g_malloc0(size);
        struct virtio_fadump_range *r;
        struct fadump_desc_info info;
        struct fadump_why why;
        Desc d;

        good(&d);
        d.hdr.total_size = htole64(size);
        d.hdr.nr_vcpus = 0;
        d.hdr.crash_cpu = htole32(VIRTIO_FADUMP_CPU_NONE);
        d.hdr.vcpus_off = d.hdr.ranges_off = htole64(sizeof(d.hdr));
        d.hdr.nr_ranges = htole32(nr + 1);
        no_notes(&d.hdr);
        memcpy(buf, &d.hdr, sizeof(d.hdr));
        r = (void *)(buf + sizeof(d.hdr));
        for (u32 j = 0; j < nr; j++) {
            r[j].addr = htole64(j * 64 * KiB);
            r[j].len = r[j].held = htole64(64 * KiB);
            r[j].where = htole32(VIRTIO_FADUMP_WHERE_GUEST);
            r[j].dest = htole64(128 * GiB + (nr - 1 - j) * 64 * KiB);
        }
        r[nr].addr = htole64(128 * GiB);
        r[nr].len = htole64(nr * 64 * KiB);
        r[nr].where = htole32(VIRTIO_FADUMP_WHERE_IN_PLACE);
        r[nr].flags = htole32(VIRTIO_FADUMP_RANGE_F_DESTINATION);
        seal_bytes(buf, size);
        g_assert_cmpint(fadump_desc_parse(buf, size, &env, &info, &why), ==,
                        cases[i].ret);
        if (cases[i].ret) {
            g_assert_nonnull(strstr(why.text, "at most 1024 are expected"));
        }
    }
}

/* Any bytes at all, with a checksum that is right: no crash, no wild result. */
static void test_fuzz(void)
{
    int accepted = 0;

    for (int round = 0; round < 200000; round++) {
        g_autofree Desc *d = g_new(Desc, 1);
        int n = g_test_rand_int_range(1, 4);
        struct fadump_desc_info info;
        struct fadump_elf_layout layout;
        struct fadump_span spans[64];
        struct fadump_why why;
        u32 nr;

        switch (round % 3) {
        case 0:
            good(d);
            break;
        case 1:
            good_guest(d);
            break;
        default:
            good_guest_two(d);
            break;
        }
        while (n--) {
            size_t at = g_test_rand_int_range(8, sizeof(*d));

            switch (g_test_rand_int_range(0, 4)) {
            case 0:
                ((u8 *)d)[at] ^= 1 << g_test_rand_int_range(0, 8);
                break;
            case 1:
                ((u8 *)d)[at] = g_test_rand_int();
                break;
            case 2:
                ((u64 *)d)[at / 8] = UINT64_MAX << g_test_rand_int_range(0, 64);
                break;
            default:
                ((u64 *)d)[at / 8] = (u64)g_test_rand_int() << 12;
                break;
            }
        }
        d->hdr.total_size = htole64(sizeof(*d));
        seal(d);
        if (fadump_desc_parse(d, sizeof(*d), &env, &info, &why)) {
            continue;
        }
        accepted++;

        g_assert_cmpuint(info.nr_ranges, <=, sizeof(*d) / sizeof(d->ranges[0]));
        if (!fadump_elf_layout(&info, PAGE, &layout, &why)) {
            g_autofree u8 *hdr = g_malloc0(layout.hdr_size);
            g_autofree struct fadump_seg *segs =
                g_new(struct fadump_seg, layout.nr_segs);
            u64 offset = layout.hdr_size;

            fadump_elf_build(&info, &layout, hdr, segs);
            for (u32 i = 0; i < layout.nr_segs; i++) {
                g_assert_cmpuint(segs[i].offset, ==, offset);
                offset += segs[i].size;
                if (segs[i].window) {
                    g_assert_cmpuint(segs[i].src + segs[i].size, <=, WINDOW_LEN);
                } else {
                    g_assert_cmpuint(segs[i].src, >=, BOOT_MEM);
                    g_assert_cmpuint(segs[i].src + segs[i].size, <=,
                                     env.phys_limit);
                }
            }
            g_assert_cmpuint(offset, ==, layout.file_size);
        }

        nr = fadump_plan_spans(&info, BLOCK, spans);
        for (u32 i = 0; i < nr; i++) {
            g_assert_cmpuint(spans[i].start, >=, BOOT_MEM);
            g_assert_cmpuint(spans[i].end, <=, env.phys_limit);
            g_assert_cmpuint(spans[i].add_start, >=, spans[i].start);
            g_assert_cmpuint(spans[i].add_end, >=, spans[i].add_start);
            g_assert_cmpuint(spans[i].add_end, <=, spans[i].end);
        }
    }
    /* Else the checks above saw nothing. */
    g_assert_cmpint(accepted, >, 1000);
}

static void test_elf(void)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_seg segs[3];
    g_autofree u8 *hdr = NULL;
    struct elf64_hdr *ehdr;
    struct elf64_phdr *phdr;
    Desc d;

    good(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.nr_segs, ==, 3);
    g_assert_cmpuint(layout.hdr_size, ==, PAGE);
    g_assert_cmpuint(layout.file_size, ==, PAGE + 4 * GiB);

    hdr = g_malloc0(layout.hdr_size);
    fadump_elf_build(&info, &layout, hdr, segs);

    ehdr = (void *)hdr;
    g_assert_cmpmem(ehdr->e_ident, SELFMAG, ELFMAG, SELFMAG);
    g_assert_cmpuint(ehdr->e_ident[EI_CLASS], ==, ELFCLASS64);
    g_assert_cmpuint(ehdr->e_ident[EI_DATA], ==, ELFDATA2LSB);
    g_assert_cmpuint(ehdr->e_type, ==, ET_CORE);
    g_assert_cmpuint(ehdr->e_machine, ==, EM_X86_64);
    /* makedumpfile takes no other */
    g_assert_cmpuint(ehdr->e_phoff, ==, 64);
    g_assert_cmpuint(ehdr->e_phentsize, ==, sizeof(*phdr));
    g_assert_cmpuint(ehdr->e_phnum, ==, 4);
    g_assert_cmpuint(ehdr->e_shnum, ==, 0);

    phdr = (void *)(hdr + ehdr->e_phoff);
    g_assert_cmpuint(phdr[0].p_type, ==, PT_NOTE);
    g_assert_cmpuint(phdr[0].p_offset, ==, 64 + 4 * sizeof(*phdr));
    g_assert_cmpuint(phdr[0].p_filesz, ==, 5 * sizeof(struct note));

    for (int i = 0; i < 3; i++) {
        struct fadump_range r;

        fadump_desc_range(&info, i, &r);
        g_assert_cmpuint(phdr[i + 1].p_type, ==, PT_LOAD);
        g_assert_cmpuint(phdr[i + 1].p_paddr, ==, r.addr);
        g_assert_cmpuint(phdr[i + 1].p_vaddr, ==, 0);
        g_assert_cmpuint(phdr[i + 1].p_memsz, ==, r.len);
        g_assert_cmpuint(phdr[i + 1].p_filesz, ==, r.len);
        g_assert_cmpuint(phdr[i + 1].p_offset % PAGE, ==, 0);
        g_assert_cmpuint(phdr[i + 1].p_offset, ==, segs[i].offset);
        g_assert_cmpuint(segs[i].size, ==, r.len);
    }
    g_assert_true(segs[R_BOOT].window);
    g_assert_cmpuint(segs[R_BOOT].src, ==, WINDOW_AT);
    g_assert_false(segs[R_HIGH].window);
    g_assert_cmpuint(segs[R_HIGH].src, ==, 4 * GiB);
    g_assert_cmpuint(segs[R_HIGH].offset, ==, PAGE + 2 * GiB);
}

/* The notes of the ELF file that is made of a descriptor, one after another. */
static void *elf_notes(Desc *d, u32 *nr)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_seg segs[3];
    g_autofree u8 *hdr = NULL;

    seal(d);
    if (fadump_desc_parse(d, sizeof(*d), &env, &info, &why)) {
        g_error("refused: %s", why.text);
    }
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    hdr = g_malloc0(layout.hdr_size);
    fadump_elf_build(&info, &layout, hdr, segs);
    g_assert_cmpuint(layout.notes_size % sizeof(struct note), ==, 0);
    *nr = layout.notes_size / sizeof(struct note);
    return g_memdup2(hdr + layout.notes_off, layout.notes_size);
}

/* Are the notes these, told apart by what they are filled with? */
static void expect_notes(Desc *d, const char *fills)
{
    g_auto(GStrv) want = g_strsplit(fills, " ", 0);
    g_autofree struct note *notes = NULL;
    u32 nr;

    notes = elf_notes(d, &nr);
    g_assert_cmpuint(nr, ==, g_strv_length(want));
    for (u32 i = 0; i < nr; i++) {
        g_assert_cmphex(notes[i].data[0], ==, strtol(want[i], NULL, 16));
    }
}

static void test_elf_notes(void)
{
    Desc d;

    /* of vCPU 1 the note that the crashed kernel wrote */
    good(&d);
    expect_notes(&d, "10 40 20 21 30");
    d.hdr.crash_cpu = 0;
    expect_notes(&d, "40 11 20 21 30");
    d.hdr.crash_cpu = htole32(VIRTIO_FADUMP_CPU_NONE);
    expect_notes(&d, "10 11 20 21 30");
    good(&d);
    d.hdr.crash_note = part(0, 0);
    expect_notes(&d, "10 11 20 21 30");
    d.hdr.vmcoreinfo = part(0, 0);
    expect_notes(&d, "10 11 20 21");

    /* those that are not what they stand in for */
    good(&d);
    d.crash_note.n.n_type = NT_PRSTATUS + 1;
    expect_notes(&d, "10 11 20 21 30");
    set_note(&d.crash_note, "LINUX", NT_PRSTATUS, 0x40);
    expect_notes(&d, "10 11 20 21 30");
    set_note(&d.crash_note, "CORE", NT_PRSTATUS, 0x40);
    d.crash_note.n.n_descsz = 4;
    expect_notes(&d, "10 11 20 21 30");
    d.crash_note.n.n_descsz = 7;
    expect_notes(&d, "10 11 20 21 30");
    d.crash_note.n.n_descsz = UINT32_MAX;
    expect_notes(&d, "10 11 20 21 30");
    memset(&d.crash_note, 0, sizeof(d.crash_note));
    expect_notes(&d, "10 11 20 21 30");
    good(&d);
    d.hdr.crash_note = part(offsetof(Desc, crash_note), 8);
    expect_notes(&d, "10 11 20 21 30");
    good(&d);
    d.notes[N_PRSTATUS(1)].n.n_type = 99;
    expect_notes(&d, "10 11 20 21 30");
    good(&d);
    d.vcpus[1].notes = part(0, 0);
    expect_notes(&d, "10 20 21 30");

    /* two notes of one vCPU: the first is replaced */
    good(&d);
    d.vcpus[1].notes = part(offsetof(Desc, notes[N_PRSTATUS(1)]),
                            2 * sizeof(struct note));
    d.vcpus[1].hv_note = part(0, 0);
    expect_notes(&d, "10 40 21 20 30");

    /* one that was off is shown only beside the hypervisor's notes */
    good(&d);
    d.vcpus[0].flags = htole32(VIRTIO_FADUMP_VCPU_F_OFF);
    expect_notes(&d, "10 40 20 21 30");
    d.vcpus[0].hv_note = d.vcpus[1].hv_note = part(0, 0);
    expect_notes(&d, "40 30");
    d.vcpus[0].flags = htole32(VIRTIO_FADUMP_VCPU_F_POWER_UNKNOWN);
    expect_notes(&d, "10 40 30");
    /* but for the one that crashed */
    d.vcpus[0].flags = d.vcpus[1].flags = htole32(VIRTIO_FADUMP_VCPU_F_OFF);
    expect_notes(&d, "40 30");
}

/* Kernels with larger pages than what the device counts in. */
static void test_elf_pages(void)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_seg segs[3];
    g_autofree u8 *hdr = NULL;
    struct elf64_phdr *phdr;
    Desc d;

    good(&d);
    /* begins and ends within a page; and one that has no whole page */
    set_range(&d, R_LOW, GiB + 4 * KiB, 256 * KiB, VIRTIO_FADUMP_WHERE_WINDOW,
              WINDOW_AT + BOOT_MEM + 4 * KiB);
    set_range(&d, R_HIGH, 4 * GiB + 4 * KiB, 120 * KiB,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpint(fadump_elf_layout(&info, 64 * KiB, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.nr_segs, ==, 2);
    g_assert_cmpuint(layout.hdr_size, ==, 64 * KiB);
    hdr = g_malloc0(layout.hdr_size);
    fadump_elf_build(&info, &layout, hdr, segs);
    phdr = (void *)(hdr + sizeof(struct elf64_hdr));
    g_assert_cmpuint(phdr[2].p_paddr, ==, GiB + 64 * KiB);
    g_assert_cmpuint(phdr[2].p_filesz, ==, 192 * KiB);
    g_assert_cmpuint(phdr[2].p_memsz, ==, 196 * KiB);
    g_assert_cmpuint(phdr[2].p_offset % (64 * KiB), ==, 0);
    g_assert_true(segs[1].window);
    g_assert_cmpuint(segs[1].src, ==, WINDOW_AT + BOOT_MEM + 64 * KiB);
    /* with small pages all of it is there */
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.nr_segs, ==, 3);
    g_assert_cmpuint(layout.file_size, ==,
                     layout.hdr_size + BOOT_MEM + 376 * KiB);
}

/* What could not be held is not shown as if it had been. */
static void test_elf_errors(void)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_seg segs[3];
    g_autofree u8 *hdr = NULL;
    struct elf64_phdr *phdr;
    Desc d;

    good(&d);
    d.ranges[R_BOOT].flags |= htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
    d.ranges[R_BOOT].held = htole64(5 * PAGE + 100);
    d.ranges[R_LOW].flags |= htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
    d.ranges[R_LOW].held = htole64(100);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(info.bytes_held, ==, 5 * PAGE + 200 + 2 * GiB);
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.nr_segs, ==, 2);
    g_assert_cmpuint(layout.file_size, ==, PAGE + 5 * PAGE + 2 * GiB);

    hdr = g_malloc0(layout.hdr_size);
    fadump_elf_build(&info, &layout, hdr, segs);
    phdr = (void *)(hdr + sizeof(struct elf64_hdr));
    g_assert_cmpuint(phdr[1].p_filesz, ==, 5 * PAGE);
    g_assert_cmpuint(phdr[1].p_memsz, ==, BOOT_MEM);
    g_assert_cmpuint(phdr[2].p_paddr, ==, 4 * GiB);
    g_assert_cmpuint(phdr[2].p_offset, ==, 6 * PAGE);

    for (int i = 0; i < 3; i++) {
        d.ranges[i].flags |= htole32(VIRTIO_FADUMP_RANGE_F_ERROR);
        d.ranges[i].held = 0;
    }
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, -EINVAL);
    g_assert_nonnull(strstr(why.text, "no memory content"));
}

/* What lies in guest memory is shown from there, destinations not at all. */
static void test_elf_guest(void)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_seg segs[3];
    struct fadump_span spans[3];
    g_autofree u8 *hdr = NULL;
    struct elf64_phdr *phdr;
    Desc d;

    good_guest(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.nr_segs, ==, 2);
    g_assert_cmpuint(layout.file_size, ==, PAGE + BOOT_MEM + 2 * GiB);

    hdr = g_malloc0(layout.hdr_size);
    fadump_elf_build(&info, &layout, hdr, segs);
    phdr = (void *)(hdr + sizeof(struct elf64_hdr));
    g_assert_cmpuint(phdr[1].p_paddr, ==, 0);
    g_assert_cmpuint(phdr[1].p_filesz, ==, BOOT_MEM);
    g_assert_false(segs[0].window);
    g_assert_cmpuint(segs[0].src, ==, BOOT_MEM);
    g_assert_cmpuint(phdr[2].p_paddr, ==, 4 * GiB);
    g_assert_cmpuint(segs[1].src, ==, 4 * GiB);

    /* and they come back with all the rest */
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[0].add_start, ==, BOOT_MEM);
    g_assert_cmpuint(spans[0].add_end, ==, 2 * BOOT_MEM);
}

/* All memory was set aside: this boot is not confined, nothing comes back. */
static void test_full(void)
{
    struct fadump_desc_info info;
    struct fadump_elf_layout layout;
    struct fadump_why why;
    struct fadump_span spans[3];
    Desc d;
    struct fadump_desc_env full = env;

    full.window_len = 8 * GiB;
    good(&d);
    d.hdr.boot_mem = htole64(4 * GiB);
    set_range(&d, R_LOW, BOOT_MEM, 2 * GiB - BOOT_MEM,
              VIRTIO_FADUMP_WHERE_WINDOW, WINDOW_AT + BOOT_MEM);
    set_range(&d, R_HIGH, 4 * GiB, 2 * GiB, VIRTIO_FADUMP_WHERE_WINDOW,
              WINDOW_AT + 2 * GiB);
    d.ranges[R_LOW].flags = d.ranges[R_HIGH].flags =
        htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &full, &info, &why), ==, 0);
    g_assert_cmpuint(info.bytes_held, ==, 4 * GiB);
    g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==, 0);
    g_assert_cmpuint(layout.file_size, ==, PAGE + 4 * GiB);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 0);
}

/* A header and @nr ranges of one page each, every second page */
static void *many_ranges(u32 nr, size_t *size)
{
    struct virtio_fadump_range *r;
    u8 *buf;
    Desc d;

    good(&d);
    *size = sizeof(d.hdr) + (size_t)nr * sizeof(*r);
    buf = g_malloc0(*size);
    d.hdr.total_size = htole64(*size);
    d.hdr.nr_vcpus = 0;
    d.hdr.crash_cpu = htole32(VIRTIO_FADUMP_CPU_NONE);
    d.hdr.vcpus_off = d.hdr.ranges_off = htole64(sizeof(d.hdr));
    d.hdr.nr_ranges = htole32(nr);
    no_notes(&d.hdr);
    memcpy(buf, &d.hdr, sizeof(d.hdr));
    r = (void *)(buf + sizeof(d.hdr));
    for (u32 i = 0; i < nr; i++) {
        r[i].addr = htole64(4 * GiB + i * 2 * PAGE);
        r[i].len = r[i].held = htole64(PAGE);
        r[i].where = htole32(VIRTIO_FADUMP_WHERE_IN_PLACE);
    }
    seal_bytes(buf, *size);
    return buf;
}

/* e_phnum has 16 bits, and 0xffff has a meaning of its own. */
static void test_elf_many(void)
{
    static const struct { u32 nr; int ret; } cases[] = {
        { 0xfffd, 0 }, { 0xfffe, -EINVAL }, { 0xffff, -EINVAL },
        { 0x10000, -EINVAL }, { 0x10001, -EINVAL },
    };

    for (int i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct fadump_desc_info info;
        struct fadump_elf_layout layout;
        struct fadump_why why;
        g_autofree void *buf = NULL;
        size_t size;

        buf = many_ranges(cases[i].nr, &size);
        g_assert_cmpint(fadump_desc_parse(buf, size, &env, &info, &why), ==, 0);
        g_assert_cmpint(fadump_elf_layout(&info, PAGE, &layout, &why), ==,
                        cases[i].ret);
        if (!cases[i].ret) {
            g_autofree u8 *hdr = g_malloc0(layout.hdr_size);
            g_autofree struct fadump_seg *segs =
                g_new(struct fadump_seg, layout.nr_segs);

            fadump_elf_build(&info, &layout, hdr, segs);
            g_assert_cmpuint(((struct elf64_hdr *)hdr)->e_phnum, ==, 0xfffe);
            g_assert_cmpuint(layout.hdr_size, >=,
                             64 + 0xfffeULL * sizeof(struct elf64_phdr));
        }
    }
}

static void test_spans(void)
{
    struct fadump_desc_info info;
    struct fadump_span spans[3];
    struct fadump_why why;
    Desc d;

    /* all of it in whole blocks */
    good(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[0].add_start, ==, BOOT_MEM);
    g_assert_cmpuint(spans[0].add_end, ==, 2 * GiB);
    g_assert_cmpuint(spans[1].add_start, ==, 4 * GiB);
    g_assert_cmpuint(spans[1].add_end, ==, 6 * GiB);

    /* two that touch inside of a block make it whole */
    set_range(&d, R_LOW, 1 * GiB, 100 * MiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    set_range(&d, R_HIGH, 1 * GiB + 100 * MiB, 28 * MiB,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 1);
    g_assert_cmpuint(spans[0].add_start, ==, 1 * GiB);
    g_assert_cmpuint(spans[0].add_end, ==, 1 * GiB + BLOCK);

    /* on whatever node: a block is on one */
    d.ranges[R_HIGH].node = htole32(1);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 1);
    g_assert_cmpuint(spans[0].node, ==, 0);

    /* one that firmware gives back is neither added nor joined */
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_HOTPLUG);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[0].end, ==, 1 * GiB + 100 * MiB);
    g_assert_cmpuint(spans[0].add_end, ==, spans[0].add_start);
    g_assert_false(spans[0].hotplug);
    g_assert_true(spans[1].hotplug);
    set_range(&d, R_HIGH, 4 * GiB, GiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_HOTPLUG);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[1].add_end, ==, spans[1].add_start);

    /* two nodes that meet between blocks, and two that are not known */
    good(&d);
    set_range(&d, R_LOW, 1 * GiB, GiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    set_range(&d, R_HIGH, 2 * GiB, GiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    d.ranges[R_HIGH].node = htole32(3);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[0].add_end, ==, 2 * GiB);
    g_assert_cmpuint(spans[1].node, ==, 3);
    d.ranges[R_LOW].node = d.ranges[R_HIGH].node =
        htole32(VIRTIO_FADUMP_NODE_NONE);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 1);
    g_assert_cmpuint(spans[0].node, ==, VIRTIO_FADUMP_NODE_NONE);

    /* both ends unaligned; and one with no whole block, across a border */
    good(&d);
    set_range(&d, R_LOW, BOOT_MEM + PAGE, 2500 * MiB - BOOT_MEM - PAGE,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    set_range(&d, R_HIGH, 4 * GiB + 64 * MiB, 128 * MiB,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 2);
    g_assert_cmpuint(spans[0].add_start, ==, BOOT_MEM + BLOCK);
    g_assert_cmpuint(spans[0].add_end, ==, 2432 * MiB);
    g_assert_cmpuint(spans[1].add_end, ==, spans[1].add_start);

    /* a block larger than the memory */
    g_assert_cmpuint(fadump_plan_spans(&info, 1ULL << 62, spans), ==, 2);
    g_assert_cmpuint(spans[0].add_end, ==, spans[0].add_start);
    g_assert_cmpuint(spans[1].add_end, ==, spans[1].add_start);
}

/* ------------------------------------------------------------------ */
/* Boot memory                                                          */

static struct fadump_boot_mem boot_mem(u32 nr, const struct fadump_extent *e)
{
    struct fadump_boot_mem bm = { .nr = nr };

    for (u32 i = 0; i < nr; i++) {
        bm.extents[i] = e[i];
        bm.size += e[i].len;
    }
    return bm;
}

#define BOOT_MEM_OF(...)                                                \
    boot_mem(sizeof((struct fadump_extent[]) { __VA_ARGS__ }) /         \
             sizeof(struct fadump_extent),                              \
             (struct fadump_extent[]) { __VA_ARGS__ })

static void bad_boot_mem(struct fadump_boot_mem bm, const char *reason)
{
    struct fadump_why why = { "" };

    g_assert_cmpint(fadump_boot_mem_check(&bm, 1ULL << 40, &why), ==, -EINVAL);
    if (!strstr(why.text, reason)) {
        g_error("refused with \"%s\", expected \"%s\"", why.text, reason);
    }
}

/* Answers to GET_BOOT_MEM, true and false. */
static void test_boot_mem(void)
{
    struct fadump_boot_mem bm = BOOT_MEM_OF({ 0, 640 * KiB },
                                            { MiB, BOOT_MEM - MiB },
                                            { 4 * GiB, 12 * KiB });
    struct fadump_why why = { "" };

    g_assert_cmpint(fadump_boot_mem_check(&bm, 1ULL << 40, &why), ==, 0);
    g_assert_true(fadump_boot_mem_hits(&bm, 0, 1));
    g_assert_false(fadump_boot_mem_hits(&bm, 640 * KiB, 384 * KiB));
    g_assert_true(fadump_boot_mem_hits(&bm, 640 * KiB, 384 * KiB + 1));
    g_assert_false(fadump_boot_mem_hits(&bm, BOOT_MEM, 4 * GiB - BOOT_MEM));
    g_assert_true(fadump_boot_mem_hits(&bm, 4 * GiB + 8 * KiB, GiB));
    g_assert_false(fadump_boot_mem_hits(&bm, 4 * GiB + 12 * KiB, GiB));

    bm.size = 0;
    bad_boot_mem(bm, "no boot memory");
    bm = BOOT_MEM_OF({ 0, GiB });
    bm.nr = 0;
    bad_boot_mem(bm, "in 0 ranges");
    bm.nr = FADUMP_MAX_EXTENTS + 1;
    bad_boot_mem(bm, "in 257 ranges");
    bm.nr = UINT32_MAX;
    bad_boot_mem(bm, "ranges");

    bad_boot_mem(BOOT_MEM_OF({ 0, GiB }, { 2 * GiB, 0 }), "range 1");
    bad_boot_mem(BOOT_MEM_OF({ 4096, GiB }), "not aligned");
    bad_boot_mem(BOOT_MEM_OF({ 0, GiB + 512 }), "not aligned");
    /* not ascending, overlapping, touching, the same twice */
    bad_boot_mem(BOOT_MEM_OF({ 2 * GiB, GiB }, { 0, GiB }), "behind the one");
    bad_boot_mem(BOOT_MEM_OF({ 0, GiB }, { GiB - 64 * KiB, GiB }),
                 "behind the one");
    bad_boot_mem(BOOT_MEM_OF({ 0, GiB }, { GiB, GiB }), "behind the one");
    bad_boot_mem(BOOT_MEM_OF({ 0, GiB }, { 0, GiB }), "behind the one");
    /* wrapping, and out of reach */
    bad_boot_mem(BOOT_MEM_OF({ UINT64_MAX - 64 * KiB + 1, 128 * KiB }),
                 "reach");
    bad_boot_mem(BOOT_MEM_OF({ UINT64_MAX - 64 * KiB + 1, 64 * KiB }),
                 "reach");
    bad_boot_mem(BOOT_MEM_OF({ 0, UINT64_MAX - 4095 }), "reach");
    bad_boot_mem(BOOT_MEM_OF({ 0, (1ULL << 40) + 4096 }), "reach");
    bad_boot_mem(BOOT_MEM_OF({ 0, GiB }, { 1ULL << 40, 4096 }), "reach");
    bm = BOOT_MEM_OF({ 0, 1ULL << 40 });
    g_assert_cmpint(fadump_boot_mem_check(&bm, 1ULL << 40, &why), ==, 0);
}

/* Each byte of boot memory is in one piece, and no two go to one place. */
static void check_pieces(const struct fadump_boot_mem *bm,
                         const struct fadump_pieces *pieces,
                         const struct fadump_extent *runs, u32 nr_runs)
{
    u32 p = 0;

    for (u32 i = 0; i < bm->nr; i++) {
        u64 at = bm->extents[i].addr, end = at + bm->extents[i].len;

        while (at < end) {
            const struct fadump_piece *pc = &pieces->piece[p];
            bool inside = false;

            g_assert_cmpuint(p, <, pieces->nr);
            g_assert_cmpuint(pc->src, ==, at);
            g_assert_cmpuint(pc->len, >, 0);
            at += pc->len;
            p++;
            g_assert_cmpuint(at, <=, end);
            /* as the interface wants it */
            g_assert_cmpuint(pc->src % VIRTIO_FADUMP_ALIGN, ==, 0);
            if (at != end) {
                g_assert_cmpuint(pc->len % VIRTIO_FADUMP_ALIGN, ==, 0);
            }
            if (!runs) {
                g_assert_cmphex(pc->dst, ==, FADUMP_DST_HOST);
                continue;
            }
            g_assert_cmpuint(pc->dst % FADUMP_DEST_ALIGN, ==,
                             pc->src % FADUMP_DEST_ALIGN);
            for (u32 r = 0; r < nr_runs; r++) {
                inside |= pc->dst >= runs[r].addr && pc->dst + pc->len <=
                          runs[r].addr + runs[r].len;
            }
            g_assert_true(inside);
            for (u32 o = 0; o < p - 1; o++) {
                const struct fadump_piece *q = &pieces->piece[o];

                g_assert_true(q->dst + q->len <= pc->dst ||
                              pc->dst + pc->len <= q->dst);
            }
        }
    }
    g_assert_cmpuint(p, ==, pieces->nr);
}

static void test_assign(void)
{
    struct fadump_boot_mem bm = BOOT_MEM_OF({ 0, 640 * KiB },
                                            { 768 * KiB, 255 * MiB },
                                            { 3 * GiB, 5 * MiB },
                                            { 4 * GiB + MiB, 12 * KiB });
    /* three units of the first two extents are in the first run */
    struct fadump_extent runs[] = {
        { 5 * GiB, 6 * MiB }, { 6 * GiB + 2 * MiB, 250 * MiB },
        { 7 * GiB, 2 * MiB }, { 8 * GiB, 6 * MiB },
    };
    struct fadump_piece piece[16];
    struct fadump_pieces pieces = { .piece = piece, .max = 16 };
    u32 need;

    /* 0 to 256 MiB, 6 MiB, 2 MiB */
    g_assert_cmpuint(fadump_boot_mem_units(&bm), ==, 264 * MiB);
    g_assert_cmpint(fadump_assign_guest(&bm, runs, 4, &pieces), ==, 0);
    check_pieces(&bm, &pieces, runs, 4);
    g_assert_cmpuint(piece[0].dst, ==, 5 * GiB);
    g_assert_cmpuint(piece[1].dst, ==, 5 * GiB + 768 * KiB);
    need = pieces.nr;

    /* no more memory than is needed, and no less */
    runs[3].len -= 2 * MiB;
    g_assert_cmpint(fadump_assign_guest(&bm, runs, 4, &pieces), ==, -ENOMEM);
    g_assert_cmpint(fadump_assign_guest(&bm, runs, 0, &pieces), ==, -ENOMEM);
    runs[3].len += 2 * MiB;
    /* no more pieces than there is room for */
    pieces.max = need;
    g_assert_cmpint(fadump_assign_guest(&bm, runs, 4, &pieces), ==, 0);
    pieces.max = need - 1;
    g_assert_cmpint(fadump_assign_guest(&bm, runs, 4, &pieces), ==, -ENOSPC);
    g_assert_cmpuint(pieces.nr, ==, need - 1);

    pieces.max = 4;
    g_assert_cmpint(fadump_assign_host(&bm, &pieces), ==, 0);
    check_pieces(&bm, &pieces, NULL, 0);
    pieces.max = 3;
    g_assert_cmpint(fadump_assign_host(&bm, &pieces), ==, -ENOSPC);
}

/* Any boot memory, any runs. */
static void test_assign_random(void)
{
    struct fadump_piece piece[4096];

    for (int round = 0; round < 20000; round++) {
        struct fadump_pieces pieces = { .piece = piece, .max = 4096 };
        struct fadump_boot_mem bm = { .size = 1 };
        struct fadump_extent runs[64];
        struct fadump_why why;
        u64 at = 0, have = 0, need;
        u32 nr = 0;

        bm.nr = g_test_rand_int_range(1, 9);
        for (u32 i = 0; i < bm.nr; i++) {
            at += g_test_rand_int_range(i ? 1 : 0, 100) * 64 * KiB;
            bm.extents[i].addr = at;
            bm.extents[i].len = g_test_rand_int_range(1, 3000) * PAGE;
            at = ALIGN(at + bm.extents[i].len, 64 * KiB);
        }
        g_assert_cmpint(fadump_boot_mem_check(&bm, 1ULL << 40, &why), ==, 0);
        need = fadump_boot_mem_units(&bm);
        g_assert_cmpuint(need % FADUMP_DEST_ALIGN, ==, 0);
        at = 64 * GiB;
        while (have < need) {
            g_assert_cmpuint(nr, <, 64);
            at += g_test_rand_int_range(0, 3) * FADUMP_DEST_ALIGN;
            runs[nr].addr = at;
            runs[nr].len = g_test_rand_int_range(1, 9) * FADUMP_DEST_ALIGN;
            at += runs[nr].len;
            have += runs[nr++].len;
        }
        g_assert_cmpint(fadump_assign_guest(&bm, runs, nr, &pieces), ==, 0);
        check_pieces(&bm, &pieces, runs, nr);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/driver/desc/good", test_good);
    g_test_add_func("/driver/desc/short", test_short);
    g_test_add_func("/driver/desc/flipped-bits", test_flipped_bits);
    g_test_add_func("/driver/desc/header", test_header);
    g_test_add_func("/driver/desc/tables", test_tables);
    g_test_add_func("/driver/desc/grown", test_grown);
    g_test_add_func("/driver/desc/parts", test_parts);
    g_test_add_func("/driver/desc/notes", test_notes);
    g_test_add_func("/driver/desc/ranges", test_ranges);
    g_test_add_func("/driver/desc/guest", test_guest);
    g_test_add_func("/driver/desc/guest-many", test_guest_many);
    g_test_add_func("/driver/desc/fuzz", test_fuzz);
    g_test_add_func("/driver/elf/layout", test_elf);
    g_test_add_func("/driver/elf/notes", test_elf_notes);
    g_test_add_func("/driver/elf/pages", test_elf_pages);
    g_test_add_func("/driver/elf/errors", test_elf_errors);
    g_test_add_func("/driver/elf/guest", test_elf_guest);
    g_test_add_func("/driver/elf/full", test_full);
    g_test_add_func("/driver/elf/many", test_elf_many);
    g_test_add_func("/driver/release/spans", test_spans);
    g_test_add_func("/driver/boot-mem/check", test_boot_mem);
    g_test_add_func("/driver/boot-mem/assign", test_assign);
    g_test_add_func("/driver/boot-mem/random", test_assign_random);
    return g_test_run();
}
