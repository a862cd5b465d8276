/*
 * QTest testcase for fadump-dev: registration, and what is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

static void test_state(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    const struct virtio_fadump_region none[] = { CPU_STATE };

    g_assert_cmpint(CONFIG_L(f, flags), ==, 0);
    g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, B);
    g_assert_cmphex(CONFIG_Q(f, boot_mem_max), ==, 256 * MiB);
    g_assert_cmphex(CONFIG_Q(f, block_size), ==, 128 * MiB);
    g_assert_cmphex(CONFIG_Q(f, discard_size), ==, 4096);
    g_assert_cmpint(CONFIG_L(f, max_regions), ==, MAX_REGIONS);
    g_assert_cmpint(CONFIG_Q(f, desc_size_max), >,
                    VIRTIO_FADUMP_VMCOREINFO_MAX +
                    VIRTIO_FADUMP_CRASH_NOTE_MAX);
    /* right above RAM and the 4 GiB that devices have a part of */
    g_assert_cmphex(f->window, ==, 4 * GiB);
    /* with room for all RAM, whatever is set aside in the end */
    g_assert_cmphex(f->window_len, ==, CONFIG_Q(f, desc_size_max) + GiB);
    g_assert_cmpint(CONFIG_L(f, trigger), ==, 0);
    check_released(f);
    assert_request(f, UNREGISTER, NONE);

    assert_register(f, OK);
    assert_state(f, REGISTERED);
    assert_register(f, EXISTS);
    /* a bad one as well: what is registered is looked at first */
    g_assert_cmpint(do_register(f, none, 1, NULL), ==, VIRTIO_FADUMP_S_EXISTS);
    assert_request(f, RELEASE, NONE);
    assert_state(f, REGISTERED);

    assert_request(f, UNREGISTER, OK);
    assert_state(f, IDLE);
    assert_request(f, UNREGISTER, NONE);

    /* a registration dies with the kernel that made it */
    assert_register(f, OK);
    probe(f);
    assert_unharmed(f);
    stop(f);
}

static void test_header(const void *opaque)
{
    static const struct virtio_fadump_region good[] = {
        CPU_STATE, BOOT_MEM(0, B),
    };
    Fadump *f = start_and_probe(opaque, "");
    g_autofree struct virtio_fadump_register *reg = NULL, *big = NULL;
    const uint64_t step = B / MAX_REGIONS, not_granted[] = {
        0, 1, B - 1, B + 1, B + 4096, 384 * MiB, GiB, UINT64_MAX,
        UINT64_MAX - B + 1, 1ull << 63,
    };
    struct virtio_fadump_region many[MAX_REGIONS + 1] = { CPU_STATE };
    struct virtio_fadump_req req, *hdr;
    size_t size, big_size;
    uint64_t detail;
    uint32_t i;

#define assert_sent(buf, len, expected, expected_detail) do { \
        g_assert_cmpint(request_full(f, buf, len, NULL, 0, 0, &detail), ==, \
                        VIRTIO_FADUMP_S_##expected); \
        g_assert_cmpint(detail, ==, expected_detail); \
        assert_unharmed(f); \
    } while (0)

    /* none of them has a whole header */
    req = (struct virtio_fadump_req) {
        .type = cpu_to_le32(VIRTIO_FADUMP_REQ_UNREGISTER),
    };
    assert_sent(&req, 0, MALFORMED, 0);
    for (i = 1; i < sizeof(req); i++) {
        req.size = cpu_to_le32(i);
        assert_sent(&req, i, MALFORMED, 0);
    }

    /* a size that is not the request's */
    for (i = 0; i < 12; i++) {
        if (i != sizeof(req)) {
            req.size = cpu_to_le32(i);
            assert_sent(&req, sizeof(req), MALFORMED, 0);
        }
    }
    req.size = cpu_to_le32(UINT32_MAX);
    assert_sent(&req, sizeof(req), MALFORMED, 0);

    /* types */
    req.size = cpu_to_le32(sizeof(req));
    req.type = 0;
    assert_sent(&req, sizeof(req), UNSUPPORTED, 0);
    req.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM + 1);
    assert_sent(&req, sizeof(req), UNSUPPORTED,
                VIRTIO_FADUMP_REQ_GET_BOOT_MEM + 1);
    req.type = cpu_to_le32(0x10002);
    assert_sent(&req, sizeof(req), UNSUPPORTED, 0x10002);
    req.type = cpu_to_le32(UINT32_MAX);
    assert_sent(&req, sizeof(req), UNSUPPORTED, UINT32_MAX);
    /* DISCARD was not negotiated */
    req.type = cpu_to_le32(VIRTIO_FADUMP_REQ_DISCARD);
    assert_sent(&req, sizeof(req), UNSUPPORTED, VIRTIO_FADUMP_REQ_DISCARD);
    req.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM);
    assert_sent(&req, sizeof(req), MALFORMED, 0);

    /* what REGISTER has is too much for the others, and the other way round */
    reg = make_register(good, ARRAY_SIZE(good), B, &size);
    hdr = &reg->hdr;
    for (i = VIRTIO_FADUMP_REQ_UNREGISTER; i <= VIRTIO_FADUMP_REQ_GET_BOOT_MEM;
         i++) {
        if (i != VIRTIO_FADUMP_REQ_DISCARD) {
            hdr->type = cpu_to_le32(i);
            assert_sent(reg, size, MALFORMED, 0);
        }
    }
    hdr->type = cpu_to_le32(VIRTIO_FADUMP_REQ_REGISTER);
    for (i = sizeof(req); i < size; i += 4) {
        hdr->size = cpu_to_le32(i);
        assert_sent(reg, i, MALFORMED, 0);
    }
    hdr->size = cpu_to_le32(size);
    reg->reserved = cpu_to_le32(1);
    assert_sent(reg, size, MALFORMED, 0);
    reg->reserved = 0;

    /* a size of boot memory that is not granted as it is */
    for (i = 0; i < ARRAY_SIZE(not_granted); i++) {
        reg->boot_mem = cpu_to_le64(not_granted[i]);
        assert_sent(reg, size, MALFORMED, 0);
    }
    /* and one that is, but is not that of the regions */
    reg->boot_mem = cpu_to_le64(256 * MiB);
    assert_sent(reg, size, MISSING_REGION, VIRTIO_FADUMP_REGION_BOOT_MEM);
    reg->boot_mem = cpu_to_le64(B);

    /* a number of regions that is not the size's */
    reg->nr_regions = cpu_to_le32(ARRAY_SIZE(good) - 1);
    assert_sent(reg, size, MALFORMED, 0);
    reg->nr_regions = cpu_to_le32(ARRAY_SIZE(good) + 1);
    assert_sent(reg, size, MALFORMED, 0);
    reg->nr_regions = cpu_to_le32(MAX_REGIONS);
    assert_sent(reg, size, MALFORMED, 0);
    reg->nr_regions = cpu_to_le32(UINT32_MAX);
    assert_sent(reg, size, TOO_MANY, MAX_REGIONS);
    /* 2^27 regions: their size is 0 in 32 bits */
    reg->nr_regions = cpu_to_le32(1u << 27);
    assert_sent(reg, size, TOO_MANY, MAX_REGIONS);

    /* as many as may be are good, one more is not */
    for (i = 1; i < MAX_REGIONS; i++) {
        many[i] = (struct virtio_fadump_region)
                  BOOT_MEM((i - 1) * step,
                           i == MAX_REGIONS - 1 ? 2 * step : step);
    }
    g_assert_cmpint(do_register(f, many, MAX_REGIONS, &detail), ==,
                    VIRTIO_FADUMP_S_OK);
    assert_state(f, REGISTERED);
    assert_request(f, UNREGISTER, OK);
    many[MAX_REGIONS - 1].len = step;
    many[MAX_REGIONS] = (struct virtio_fadump_region) BOOT_MEM(127 * MiB, MiB);
    big = make_register(many, MAX_REGIONS + 1, B, &big_size);
    assert_sent(big, big_size, TOO_MANY, MAX_REGIONS);
    /* as long, but it names fewer */
    big->nr_regions = cpu_to_le32(2);
    assert_sent(big, big_size, TOO_MANY, MAX_REGIONS);
#undef assert_sent
    stop(f);
}

typedef struct BadRegions {
    const char *name;
    uint32_t status;
    uint64_t detail;
    uint32_t n;
    struct virtio_fadump_region r[4];
} BadRegions;

#define BAD_REGIONS(name, status, detail, ...) { \
        name, status, detail, \
        sizeof((struct virtio_fadump_region[]) { __VA_ARGS__ }) / \
        sizeof(struct virtio_fadump_region), { __VA_ARGS__ } \
    }
#define BAD(name, i, ...) \
    BAD_REGIONS(name, VIRTIO_FADUMP_S_BAD_REGION, i, __VA_ARGS__)
#define MISSING(name, type, ...) \
    BAD_REGIONS(name, VIRTIO_FADUMP_S_MISSING_REGION, \
                VIRTIO_FADUMP_REGION_##type, __VA_ARGS__)
#define UNSUPPORTED(name, type, ...) \
    BAD_REGIONS(name, VIRTIO_FADUMP_S_UNSUPPORTED, type, __VA_ARGS__)
#define TOP 0xfffffffffffff000ull

/* For a machine with 1 GiB and B of boot memory */
static const BadRegions bad_regions[] = {
    MISSING("no CPU_STATE", CPU_STATE, BOOT_MEM(0, B)),
    MISSING("no BOOT_MEM", BOOT_MEM, CPU_STATE),
    MISSING("no BOOT_MEM but others", BOOT_MEM,
            CPU_STATE, VMCOREINFO(MiB, 4096), CRASH_NOTE(2 * MiB, 64)),

    UNSUPPORTED("type 0", 0, CPU_STATE, BOOT_MEM(0, B), { 0 }),
    UNSUPPORTED("type 5", 5, CPU_STATE, BOOT_MEM(0, B), { 5 }),
    UNSUPPORTED("type 2^32-1", UINT32_MAX, { UINT32_MAX }),
    UNSUPPORTED("type that is known in 16 bits", 0x10001,
                { 0x10001 }, BOOT_MEM(0, B)),

    BAD("two CPU_STATE", 1, CPU_STATE, CPU_STATE, BOOT_MEM(0, B)),
    BAD("CPU_STATE with src", 0, { 1, 0, 4096 }, BOOT_MEM(0, B)),
    BAD("CPU_STATE with len", 0, { 1, 0, 0, 1 }, BOOT_MEM(0, B)),
    BAD("CPU_STATE with dst", 0, { 1, 0, 0, 0, HOST }, BOOT_MEM(0, B)),
    BAD("CPU_STATE with padding", 0, { 1, 1 }, BOOT_MEM(0, B)),

    BAD("BOOT_MEM of no bytes", 1, CPU_STATE, BOOT_MEM(0, 0)),
    BAD("BOOT_MEM of no bytes among others", 2,
        CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(4096, 0)),
    BAD("BOOT_MEM with unaligned src", 1,
        CPU_STATE, BOOT_MEM(512, B - 64 * KiB)),
    BAD("BOOT_MEM with src of a page", 1, CPU_STATE, BOOT_MEM(4096, B - 4096)),
    BAD("BOOT_MEM with unaligned len", 1, CPU_STATE, BOOT_MEM(0, B - 512)),
    BAD("BOOT_MEM with len of a page", 1, CPU_STATE, BOOT_MEM(0, B - 4096)),
    BAD("BOOT_MEM with padding", 1, CPU_STATE, { 2, 0x80000000, 0, B, HOST }),
    BAD("BOOT_MEM too long", 1, CPU_STATE, BOOT_MEM(0, B + 4096)),
    BAD("BOOT_MEM in preserved memory", 2,
        CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(512 * MiB, 4096)),
    BAD("BOOT_MEM above RAM", 2,
        CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(2 * GiB, 4096)),
    BAD("BOOT_MEM that wraps to 0", 1, CPU_STATE, BOOT_MEM(TOP, 4096)),
    BAD("BOOT_MEM that wraps", 1, CPU_STATE, BOOT_MEM(TOP, B)),
    BAD("BOOT_MEM that wraps from boot memory", 1,
        CPU_STATE, BOOT_MEM(4096, TOP)),
    BAD("BOOT_MEM of 2^64-4096", 1, CPU_STATE, BOOT_MEM(0, TOP)),
    BAD("BOOT_MEM twice", 2, CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(0, B)),
    BAD("BOOT_MEM that overlaps at the end", 2,
        CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(B - 64 * KiB, 64 * KiB)),
    BAD("BOOT_MEM that overlaps at the start", 2,
        CPU_STATE, BOOT_MEM(64 * KiB, B - 64 * KiB), BOOT_MEM(0, 128 * KiB)),
    BAD("BOOT_MEM inside another", 2,
        CPU_STATE, BOOT_MEM(0, B), BOOT_MEM(64 * MiB, 64 * KiB)),
    MISSING("BOOT_MEM that stops short", BOOT_MEM,
            CPU_STATE, BOOT_MEM(0, B - 64 * KiB)),
    MISSING("BOOT_MEM that starts late", BOOT_MEM,
            CPU_STATE, BOOT_MEM(64 * KiB, B - 64 * KiB)),
    MISSING("BOOT_MEM with a gap", BOOT_MEM,
            CPU_STATE, BOOT_MEM(0, 64 * KiB),
            BOOT_MEM(128 * KiB, B - 128 * KiB)),
    BAD("BOOT_MEM to guest memory", 1, CPU_STATE, { 2, 0, 0, B, 512 * MiB }),
    BAD("BOOT_MEM to 0", 1, CPU_STATE, { 2, 0, 0, B, 0 }),
    BAD("BOOT_MEM to 2^64-2", 1, CPU_STATE, { 2, 0, 0, B, HOST - 1 }),

    BAD("VMCOREINFO above RAM", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(1 * GiB, 4096)),
    BAD("VMCOREINFO across the end of RAM", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(1 * GiB - 4095, 4096)),
    BAD("VMCOREINFO in a device", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(0xfee00000, 4096)),
    BAD("VMCOREINFO in the window", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(4 * GiB, 4096)),
    BAD("VMCOREINFO of no bytes", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(MiB, 0)),
    BAD("VMCOREINFO too long", 2,
        CPU_STATE, BOOT_MEM(0, B),
        VMCOREINFO(MiB, VIRTIO_FADUMP_VMCOREINFO_MAX + 1)),
    BAD("VMCOREINFO that wraps", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(UINT64_MAX - 7, 4096)),
    BAD("VMCOREINFO of 2^64-1", 2,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(MiB, UINT64_MAX)),
    BAD("VMCOREINFO twice", 3,
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(MiB, 4096),
        VMCOREINFO(2 * MiB, 4096)),
    BAD("VMCOREINFO with dst", 2,
        CPU_STATE, BOOT_MEM(0, B), { 3, 0, MiB, 4096, HOST }),
    BAD("VMCOREINFO with padding", 2,
        CPU_STATE, BOOT_MEM(0, B), { 3, 1, MiB, 4096 }),

    BAD("CRASH_NOTE above RAM", 2,
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(2 * GiB, 64)),
    BAD("CRASH_NOTE of no bytes", 2,
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(MiB, 0)),
    BAD("CRASH_NOTE too long", 2,
        CPU_STATE, BOOT_MEM(0, B),
        CRASH_NOTE(MiB, VIRTIO_FADUMP_CRASH_NOTE_MAX + 1)),
    BAD("CRASH_NOTE that wraps", 2,
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(UINT64_MAX, 2)),
    BAD("CRASH_NOTE twice", 3,
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(MiB, 64), CRASH_NOTE(MiB, 64)),
    BAD("CRASH_NOTE with dst", 2,
        CPU_STATE, BOOT_MEM(0, B), { 4, 0, MiB, 64, 4096 }),
    BAD("CRASH_NOTE with padding", 2,
        CPU_STATE, BOOT_MEM(0, B), { 4, 1, MiB, 64 }),
};

static void test_bad_regions(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    uint64_t detail;
    guint i;

    g_assert_cmpint(do_register(f, NULL, 0, &detail), ==,
                    VIRTIO_FADUMP_S_MISSING_REGION);
    g_assert_cmpint(detail, ==, VIRTIO_FADUMP_REGION_CPU_STATE);
    assert_unharmed(f);
    for (i = 0; i < ARRAY_SIZE(bad_regions); i++) {
        const BadRegions *bad = &bad_regions[i];

        g_test_message("%s", bad->name);
        g_assert_cmpint(do_register(f, bad->r, bad->n, &detail), ==,
                        bad->status);
        g_assert_cmpint(detail, ==, bad->detail);
        assert_unharmed(f);
    }
    stop(f);
}

static void test_good_regions(const void *opaque)
{
    static const struct virtio_fadump_region split[] = {
        BOOT_MEM(64 * MiB, B - 64 * MiB), CRASH_NOTE(0, 1),
        CPU_STATE, BOOT_MEM(0, 64 * MiB),
    };
    static const struct virtio_fadump_region at_the_ends[] = {
        CPU_STATE, BOOT_MEM(0, B),
        VMCOREINFO(1 * GiB - VIRTIO_FADUMP_VMCOREINFO_MAX,
                   VIRTIO_FADUMP_VMCOREINFO_MAX),
        CRASH_NOTE(1 * GiB - VIRTIO_FADUMP_CRASH_NOTE_MAX,
                   VIRTIO_FADUMP_CRASH_NOTE_MAX),
    };
    Fadump *f = start_and_probe(opaque, "");
    uint64_t detail;

    g_assert_cmpint(do_register(f, split, ARRAY_SIZE(split), &detail), ==,
                    VIRTIO_FADUMP_S_OK);
    g_assert_cmpint(detail, ==, 0);
    assert_state(f, REGISTERED);
    assert_request(f, UNREGISTER, OK);
    g_assert_cmpint(do_register(f, at_the_ends, ARRAY_SIZE(at_the_ends),
                                &detail), ==, VIRTIO_FADUMP_S_OK);
    assert_state(f, REGISTERED);
    stop(f);
}

/* The hole between low and high RAM is no RAM. */
static void test_hole(const void *opaque)
{
    static const struct virtio_fadump_region hole[] = {
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(2 * GiB + MiB, 4096),
    };
    static const struct virtio_fadump_region across[] = {
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(4 * GiB - 1, 2),
    };
    static const struct virtio_fadump_region high[] = {
        CPU_STATE, BOOT_MEM(0, B), CRASH_NOTE(4 * GiB, 2),
        VMCOREINFO(5 * GiB - 4096, 4096),
    };
    Fadump *f = start_and_probe(opaque, "");
    uint64_t detail;

    g_assert_cmpint(do_register(f, hole, ARRAY_SIZE(hole), &detail), ==,
                    VIRTIO_FADUMP_S_BAD_REGION);
    g_assert_cmpint(detail, ==, 2);
    assert_unharmed(f);
    g_assert_cmpint(do_register(f, across, ARRAY_SIZE(across), &detail), ==,
                    VIRTIO_FADUMP_S_BAD_REGION);
    g_assert_cmpint(detail, ==, 2);
    assert_unharmed(f);
    g_assert_cmpint(do_register(f, high, ARRAY_SIZE(high), &detail), ==,
                    VIRTIO_FADUMP_S_OK);
    stop(f);
}

static void test_features(const void *opaque)
{
    const uint64_t base = 1ull << VIRTIO_F_VERSION_1;
    Fadump *f = start(opaque, "");

    find_device(f);
    qvirtio_pci_device_enable(f->dev);
    g_assert_cmphex(qvirtio_get_features(&f->dev->vdev) & 0xffffff, ==,
                    1 << VIRTIO_FADUMP_F_HOST_MEM |
                    1 << VIRTIO_FADUMP_F_GUEST_MEM |
                    1 << VIRTIO_FADUMP_F_CONFINE |
                    1 << VIRTIO_FADUMP_F_DISCARD);

    probe_features(f, base);
    assert_register(f, FAILED);
    assert_state(f, IDLE);
    probe_features(f, base | 1ull << VIRTIO_FADUMP_F_HOST_MEM);
    assert_register(f, FAILED);
    probe_features(f, base | 1ull << VIRTIO_FADUMP_F_CONFINE);
    assert_register(f, FAILED);
    assert_state(f, IDLE);
    probe(f);
    assert_unharmed(f);
    stop(f);
}

void fadump_add_register_tests(void)
{
    add_test("state", PC_1G, test_state);
    add_test("state", Q35_1G, test_state);
    add_test("header", PC_1G, test_header);
    add_test("bad-regions", PC_1G, test_bad_regions);
    add_test("bad-regions", Q35_1G, test_bad_regions);
    add_test("good-regions", PC_1G, test_good_regions);
    add_test("hole", Q35_3G, test_hole);
    add_test("features", Q35_1G, test_features);
}
