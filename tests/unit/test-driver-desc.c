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

#include "desc.h"

#define MiB             (1ULL << 20)
#define GiB             (1ULL << 30)
#define PAGE            4096ULL
#define BLOCK           (128 * MiB)

#define BOOT_MEM        (512 * MiB)
#define SHM_LEN         (1 * GiB)
#define SHM_AT          (2 * MiB)

/* What the tests change before they seal the descriptor. */
typedef struct Desc {
    struct virtio_fadump_desc hdr;
    struct virtio_fadump_vcpu vcpus[2];
    struct virtio_fadump_range ranges[3];
    struct {
        struct elf64_note n;
        char name[8];
        u8 data[8];
    } notes[3];
    _Alignas(8) char param[16];
} Desc;

#define R_BOOT  0
#define R_LOW   1
#define R_HIGH  2

static bool is_ram(u64 addr, u64 len)
{
    return addr < BOOT_MEM;
}

static const struct fadump_desc_env env = {
    .shm_len = SHM_LEN,
    .phys_limit = 1ULL << 40,
    .page_size = PAGE,
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

/* A guest of 4 GiB with two vCPUs: 2 GiB below 4 GiB, 2 GiB above. */
static void good(Desc *d)
{
    memset(d, 0, sizeof(*d));
    memcpy(d->hdr.magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(d->hdr.magic));
    d->hdr.version = htole32(VIRTIO_FADUMP_VERSION);
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
    d->hdr.notes_off = htole64(offsetof(Desc, notes));
    d->hdr.notes_size = htole64(sizeof(d->notes));
    d->hdr.param_off = htole64(offsetof(Desc, param));
    d->hdr.param_size = htole64(sizeof(d->param));
    d->hdr.boot_mem_size = htole64(BOOT_MEM);

    set_range(d, R_BOOT, 0, BOOT_MEM, VIRTIO_FADUMP_WHERE_SHM, SHM_AT);
    d->ranges[R_BOOT].flags = htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    set_range(d, R_LOW, BOOT_MEM, 2 * GiB - BOOT_MEM,
              VIRTIO_FADUMP_WHERE_IN_PLACE, 0);
    set_range(d, R_HIGH, 4 * GiB, 2 * GiB, VIRTIO_FADUMP_WHERE_IN_PLACE, 0);

    for (int i = 0; i < 3; i++) {
        d->notes[i].n.n_namesz = 5;
        d->notes[i].n.n_descsz = sizeof(d->notes[i].data);
        d->notes[i].n.n_type = i < 2 ? NT_PRSTATUS : 0;
        strcpy(d->notes[i].name, i < 2 ? "CORE" : "QEMU");
        memset(d->notes[i].data, 0x10 + i, sizeof(d->notes[i].data));
    }
    strcpy(d->param, "fadump.test=1");
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
    g_assert_cmpuint(info.nr_prstatus, ==, 2);
    g_assert_cmpuint(info.crash_cpu, ==, 1);
    g_assert_cmpuint(info.elf_machine, ==, EM_X86_64);
    g_assert_cmpuint(info.boot_mem_size, ==, BOOT_MEM);
    g_assert_cmpuint(info.time_ns, ==, 1234567890123456789ULL);
    g_assert_cmpuint(info.capture_ns, ==, 4200000);
    g_assert_cmpuint(info.bytes_total, ==, 4 * GiB);
    g_assert_cmpuint(info.bytes_held, ==, 4 * GiB);
    g_assert_cmpmem(info.dump_id, 16, d.hdr.dump_id, 16);
    g_assert_cmpstr((const char *)info.param, ==, "fadump.test=1");
    g_assert_cmpstr(fadump_cause_name(info.cause), ==, "panic");
    g_assert_cmpstr(fadump_cause_name(4711), ==, "unknown");

    fadump_desc_range(&info, R_LOW, &r);
    g_assert_cmpuint(r.addr, ==, BOOT_MEM);
    g_assert_cmpuint(r.len, ==, 2 * GiB - BOOT_MEM);
    g_assert_cmpuint(r.where, ==, VIRTIO_FADUMP_WHERE_IN_PLACE);

    /* without what need not be there */
    d.hdr.crash_cpu = htole32(VIRTIO_FADUMP_CPU_NONE);
    d.hdr.param_size = 0;
    d.hdr.param_off = htole64(UINT64_MAX);
    accept(&d);
    d.hdr.notes_size = 0;
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
    d.hdr.version = htole32(VIRTIO_FADUMP_VERSION + 1);
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

        good(&d);
        d.hdr.param_off = htole64(offs[i]);
        refuse(&d, "parameters");

        good(&d);
        d.hdr.notes_off = htole64(offs[i]);
        refuse(&d, "ELF notes");
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

    good(&d);
    d.hdr.param_size = htole64(sizeof(d.param) + 1);
    refuse(&d, "parameters");
    d.hdr.param_size = htole64(UINT64_MAX);
    refuse(&d, "parameters");

    good(&d);
    d.hdr.notes_size = htole64(UINT64_MAX - 3);
    refuse(&d, "ELF notes");
    d.hdr.notes_size = htole64(sizeof(d.notes) - 2);
    refuse(&d, "ELF notes");
}

/* A later version of the interface appends fields; that must not disturb. */
static void test_grown(void)
{
    enum { HDR = sizeof(struct virtio_fadump_desc) + 16, VCPU = 40, RANGE = 72 };
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
    h->notes_off = htole64(HDR);
    h->notes_size = 0;
    h->param_size = 0;
    h->total_size = htole64(sizeof(buf));
    seal_bytes(buf, sizeof(buf));

    g_assert_cmpint(fadump_desc_parse(buf, sizeof(buf), &env, &info, &why), ==, 0);
    fadump_desc_range(&info, R_HIGH, &r);
    g_assert_cmpuint(r.addr, ==, 4 * GiB);
    g_assert_cmpuint(r.len, ==, 2 * GiB);
}

static void test_notes(void)
{
    Desc d;

    good(&d);
    d.notes[2].n.n_descsz = 9;
    refuse(&d, "cut off");
    d.notes[2].n.n_descsz = UINT32_MAX;
    refuse(&d, "cut off");
    d.notes[2].n.n_descsz = UINT32_MAX - 3;
    refuse(&d, "cut off");

    good(&d);
    d.notes[0].n.n_namesz = UINT32_MAX;
    refuse(&d, "ELF note at 0");
    d.notes[0].n.n_descsz = UINT32_MAX;
    refuse(&d, "ELF note at 0");

    /* what is left after the last one is no note */
    good(&d);
    d.hdr.notes_size = htole64(sizeof(d.notes) + 8);
    refuse(&d, "is cut off");
}

static void test_ranges(void)
{
    static const u64 bad_dests[] = {
        0, PAGE - 8, SHM_AT + 1, SHM_LEN, SHM_LEN - BOOT_MEM + PAGE,
        UINT64_MAX - PAGE + 1, 1ULL << 63,
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
    d.hdr.boot_mem_size = htole64(128 * MiB);
    refuse(&d, "RAM of this boot");
    good(&d);
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    refuse(&d, "RAM of this boot");
    good(&d);
    d.hdr.boot_mem_size = htole64(2 * GiB);
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
        refuse(&d, "outside the shared memory region");
    }
    good(&d);
    d.ranges[R_BOOT].dest = htole64(SHM_LEN - BOOT_MEM);
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
        0, BOOT_MEM - PAGE, 256 * MiB,
        /* memory that is held, all or the last page of it */
        1 * GiB, BOOT_MEM + PAGE, 4 * GiB, 6 * GiB - BOOT_MEM,
        /* no memory */
        2 * GiB, 3 * GiB, 6 * GiB, 1ULL << 39, (1ULL << 40) - BOOT_MEM,
    };
    static const u64 far_dests[] = {
        BOOT_MEM + 1, BOOT_MEM + PAGE - 1, (1ULL << 40) - BOOT_MEM + PAGE,
        1ULL << 40, 1ULL << 63, UINT64_MAX - PAGE + 1, UINT64_MAX,
        UINT64_MAX - BOOT_MEM + 1, UINT64_MAX - BOOT_MEM + 1 - PAGE,
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
        refuse(&d, "not page aligned or out of this CPU's reach");
    }
    /* even where the device says that boot memory is less than this boot has */
    good_guest(&d);
    d.hdr.boot_mem_size = htole64(128 * MiB);
    set_guest(&d, R_BOOT, 0, 128 * MiB, 128 * MiB);
    refuse(&d, "which is RAM of this boot");
    good_guest(&d);
    d.hdr.boot_mem_size = htole64(1 * GiB);
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
    d.ranges[R_LOW].where = htole32(VIRTIO_FADUMP_WHERE_SHM);
    d.ranges[R_LOW].dest = htole64(SHM_AT);
    refuse(&d, "(place 3)");
    good_guest(&d);
    set_guest(&d, R_LOW, BOOT_MEM, BOOT_MEM, BOOT_MEM);
    d.ranges[R_LOW].flags = htole32(VIRTIO_FADUMP_RANGE_F_DESTINATION);
    refuse(&d, "was a destination");
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
    d.ranges[R_BOOT].dest = htole64(4 * GiB + 256 * MiB - PAGE);
    refuse(&d, "ranges 0 and 1 lie at the same place");
    good_guest_two(&d);
    d.ranges[R_LOW].dest = htole64(4 * GiB + PAGE);
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
        d.hdr.vcpus_off = d.hdr.ranges_off = d.hdr.notes_off =
            htole64(sizeof(d.hdr));
        d.hdr.nr_ranges = htole32(nr + 1);
        d.hdr.notes_size = 0;
        d.hdr.param_size = 0;
        memcpy(buf, &d.hdr, sizeof(d.hdr));
        r = (void *)(buf + sizeof(d.hdr));
        for (u32 j = 0; j < nr; j++) {
            r[j].addr = htole64(j * PAGE);
            r[j].len = r[j].held = htole64(PAGE);
            r[j].where = htole32(VIRTIO_FADUMP_WHERE_GUEST);
            r[j].dest = htole64(4 * GiB + (nr - 1 - j) * PAGE);
        }
        r[nr].addr = htole64(4 * GiB);
        r[nr].len = htole64(nr * PAGE);
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
                if (segs[i].shm) {
                    g_assert_cmpuint(segs[i].src + segs[i].size, <=, SHM_LEN);
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
    g_assert_cmpuint(phdr[0].p_filesz, ==, sizeof(d.notes));
    g_assert_cmpmem(hdr + phdr[0].p_offset, phdr[0].p_filesz,
                    d.notes, sizeof(d.notes));

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
    g_assert_true(segs[R_BOOT].shm);
    g_assert_cmpuint(segs[R_BOOT].src, ==, SHM_AT);
    g_assert_false(segs[R_HIGH].shm);
    g_assert_cmpuint(segs[R_HIGH].src, ==, 4 * GiB);
    g_assert_cmpuint(segs[R_HIGH].offset, ==, PAGE + 2 * GiB);
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
    g_assert_false(segs[0].shm);
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

    full.shm_len = 8 * GiB;
    good(&d);
    d.hdr.boot_mem_size = htole64(6 * GiB);
    set_range(&d, R_LOW, BOOT_MEM, 2 * GiB - BOOT_MEM,
              VIRTIO_FADUMP_WHERE_SHM, SHM_AT + BOOT_MEM);
    set_range(&d, R_HIGH, 4 * GiB, 2 * GiB, VIRTIO_FADUMP_WHERE_SHM,
              SHM_AT + 2 * GiB);
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
    d.hdr.vcpus_off = d.hdr.ranges_off = d.hdr.notes_off =
        htole64(sizeof(d.hdr));
    d.hdr.nr_ranges = htole32(nr);
    d.hdr.notes_size = 0;
    d.hdr.param_size = 0;
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

    /* one that firmware gives back is neither added nor joined */
    d.ranges[R_HIGH].flags = htole32(VIRTIO_FADUMP_RANGE_F_HOTPLUG);
    seal(&d);
    g_assert_cmpint(fadump_desc_parse(&d, sizeof(d), &env, &info, &why), ==, 0);
    g_assert_cmpuint(fadump_plan_spans(&info, BLOCK, spans), ==, 1);
    g_assert_cmpuint(spans[0].end, ==, 1 * GiB + 100 * MiB);
    g_assert_cmpuint(spans[0].add_end, ==, spans[0].add_start);

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/driver/desc/good", test_good);
    g_test_add_func("/driver/desc/short", test_short);
    g_test_add_func("/driver/desc/flipped-bits", test_flipped_bits);
    g_test_add_func("/driver/desc/header", test_header);
    g_test_add_func("/driver/desc/tables", test_tables);
    g_test_add_func("/driver/desc/grown", test_grown);
    g_test_add_func("/driver/desc/notes", test_notes);
    g_test_add_func("/driver/desc/ranges", test_ranges);
    g_test_add_func("/driver/desc/guest", test_guest);
    g_test_add_func("/driver/desc/guest-many", test_guest_many);
    g_test_add_func("/driver/desc/fuzz", test_fuzz);
    g_test_add_func("/driver/elf/layout", test_elf);
    g_test_add_func("/driver/elf/errors", test_elf_errors);
    g_test_add_func("/driver/elf/guest", test_elf_guest);
    g_test_add_func("/driver/elf/full", test_full);
    g_test_add_func("/driver/elf/many", test_elf_many);
    g_test_add_func("/driver/release/spans", test_spans);
    return g_test_run();
}
