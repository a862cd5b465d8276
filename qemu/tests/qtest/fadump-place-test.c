/*
 * QTest testcase for fadump-dev: other places for boot memory, and giving back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* Boot memory goes where the guest says: to RAM of its own. */
static void test_guest_mem(const void *opaque)
{
    static const struct virtio_fadump_region good[] = {
        CPU_STATE,
        BOOT_MEM_TO(0, 48 * MiB, 512 * MiB),
        /* not as huge pages lie, and next to the one before */
        BOOT_MEM_TO(48 * MiB, 16 * MiB, 560 * MiB + 64 * KiB),
        BOOT_MEM(64 * MiB, 16 * MiB),
        /* the end of RAM */
        BOOT_MEM_TO(80 * MiB, 48 * MiB, 976 * MiB),
    };
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    static const uint64_t bad[] = {
        512 * MiB + 8, 512 * MiB + 4096, 1 * GiB, 1 * GiB - B + 64 * KiB,
        B - 64 * KiB, 0, 0xffffffffffff0000, 0xfffffffff8000000,
        0x8000000000000000,
    };
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL;
    unsigned count[4];
    uint64_t detail;
    size_t i;

    /* the feature was not negotiated */
    g_assert_cmpint(do_register(f, in_guest, 2, &detail), ==,
                    VIRTIO_FADUMP_S_BAD_REGION);
    g_assert_cmpint(detail, ==, 1);
    probe_features(f, ALL_FEATURES & ~(1ull << VIRTIO_FADUMP_F_HOST_MEM));
    g_assert_cmpint(do_register(f, good, ARRAY_SIZE(good), &detail), ==,
                    VIRTIO_FADUMP_S_BAD_REGION);
    g_assert_cmpint(detail, ==, 3);
    g_assert_cmpint(do_register(f, in_guest, 2, NULL), ==, VIRTIO_FADUMP_S_OK);
    assert_request(f, UNREGISTER, OK);

    probe_features(f, ALL_FEATURES);
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        const struct virtio_fadump_region regions[] = {
            CPU_STATE, BOOT_MEM_TO(0, B, bad[i]),
        };
        const struct virtio_fadump_region overlap[] = {
            CPU_STATE, BOOT_MEM_TO(0, 64 * MiB, 512 * MiB),
            BOOT_MEM_TO(64 * MiB, 64 * MiB, 576 * MiB - 64 * KiB),
        };

        g_assert_cmpint(do_register(f, regions, 2, &detail), ==,
                        VIRTIO_FADUMP_S_BAD_REGION);
        g_assert_cmpint(detail, ==, 1);
        g_assert_cmpint(do_register(f, overlap, 3, &detail), ==,
                        VIRTIO_FADUMP_S_BAD_REGION);
        g_assert_cmpint(detail, ==, 2);
    }
    assert_state(f, IDLE);

    for (i = 0; i < 2; i++) {
        fill_ram(f);
        g_assert_cmpint(do_register(f, good, ARRAY_SIZE(good), NULL), ==,
                        VIRTIO_FADUMP_S_OK);
        trigger_panic(f);
        check_confinement(f, true);
        probe_features(f, ALL_FEATURES);
        assert_state(f, DUMP_AVAILABLE);
        g_clear_pointer(&desc, g_byte_array_unref);
        desc = read_descriptor(f);
        check_places(f, desc, count);
        g_assert_cmpint(count[0], >, 3);
        g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_IN_PLACE], >, 3);
        g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
        g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], ==, 1);
        assert_request(f, RELEASE, OK);
        check_released(f);
    }
    stop(f);
}

/* A host that may not grow keeps no boot memory. */
static void test_no_host_mem(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    Fadump *f = start(opaque, ",host-mem=off,early=on");
    g_autoptr(GByteArray) desc = NULL;
    unsigned count[4];

    probe_features(f, ALL_FEATURES);
    g_assert_cmphex(qvirtio_get_features(&f->dev->vdev) &
                    (1ull << VIRTIO_FADUMP_F_HOST_MEM |
                     1ull << VIRTIO_FADUMP_F_DISCARD), ==, 0);
    g_assert_cmpint(f->window_len, <=, 4 * MiB);
    assert_register(f, BAD_REGION);
    /* nobody has said where boot memory may go */
    qmp_trigger(f);
    wait_count(f, &f->failed, 1, "operator");
    g_assert_cmpint(f->captured, ==, 0);
    probe_features(f, ALL_FEATURES);
    assert_state(f, IDLE);
    check_confinement(f, false);

    fill_ram(f);
    g_assert_cmpint(do_register(f, in_guest, 2, NULL), ==, VIRTIO_FADUMP_S_OK);
    trigger_panic(f);
    probe_features(f, ALL_FEATURES);
    assert_state(f, DUMP_AVAILABLE);
    desc = read_descriptor(f);
    check_places(f, desc, count);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], ==, 0);
    assert_request(f, RELEASE, OK);
    check_released(f);
    stop(f);
}

static void set_full(Fadump *f, bool full)
{
    QDict *said;

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'qom-set', 'arguments': { "
                             "'path': '/machine/peripheral/f', "
                             "'property': 'full', 'value': %i } }", full);
    said = qtest_qmp(f->qts, "{ 'execute': 'qom-get', 'arguments': { "
                     "'path': '/machine/peripheral/f', "
                     "'property': 'full' } }");
    g_assert_cmpint(qdict_get_bool(said, "return"), ==, full);
    qobject_unref(said);
}

/* All RAM is set aside, and the next boot has all RAM. */
static void assert_full_refused(Fadump *f)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
        "'qom-set', 'arguments': { 'path': '/machine/peripheral/f', "
        "'property': 'full', 'value': true } }");

    g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                            "start the machine with full-room=on"));
    qobject_unref(error);
}

static void test_full(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    const Machine *m = opaque;
    const struct virtio_fadump_desc *h;
    Fadump *f = start_and_probe(m, ",full=on,id=f");
    unsigned count[4], i;

    for (i = 0; i < 4; i++) {
        /* the guest does not know: it registers, and may name destinations */
        bool full = i != 2, to_guest = i == 3;
        g_autoptr(GByteArray) desc = NULL;

        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, total_size(m->boot));
        fill_ram(f);
        set_full(f, full);
        if (to_guest) {
            probe_features(f, ALL_FEATURES);
            g_assert_cmpint(do_register(f, in_guest, 2, NULL), ==,
                            VIRTIO_FADUMP_S_OK);
        } else {
            assert_register(f, OK);
        }
        trigger_panic(f);
        check_confinement(f, !full);
        g_assert_cmpint(!full, ==, !!srat_hotpluggable(f) ||
                                   (!full && m->ram[0].size == GiB));
        probe(f);
        assert_state(f, DUMP_AVAILABLE);
        desc = read_descriptor(f);
        h = (const void *)desc->data;
        g_assert_cmphex(le64_to_cpu(h->boot_mem), ==,
                        total_size(full ? m->ram : m->boot));
        check_places(f, desc, count);
        if (full) {
            g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], >, 10);
            g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_IN_PLACE] + count[0] +
                            count[VIRTIO_FADUMP_WHERE_GUEST], ==, 0);
            /* what the next boot writes does not show in the dump */
            qtest_memset(f->qts, m->ram[0].size - MiB, 0x5a, MiB);
            check_places(f, desc, count);
        } else {
            g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_IN_PLACE], >, 3);
        }
        assert_request(f, RELEASE, OK);
        check_released(f);
        system_reset(f);
        probe(f);
    }
    stop(f);

    /* one that was not started with it can be switched as well */
    f = start_and_probe(m, ",id=f");
    fill_ram(f);
    set_full(f, true);
    assert_register(f, OK);
    trigger_panic(f);
    check_confinement(f, false);
    probe(f);
    {
        g_autoptr(GByteArray) desc = read_descriptor(f);

        check_places(f, desc, count);
        g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_IN_PLACE], ==, 0);
    }
    assert_request(f, RELEASE, OK);
    system_reset(f);
    probe(f);
    check_released(f);
    stop(f);

    /* without room for it it cannot, and off it is already */
    f = start_and_probe(m, ",id=f,full-room=off");
    set_full(f, false);
    assert_full_refused(f);
    assert_unharmed(f);
    stop(f);
}

/* What was saved can be given back while the rest is still held. */
static void test_discard(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL, again = NULL;
    const struct virtio_fadump_range *r;
    const struct virtio_fadump_desc *h;
    uint64_t at = 0;
    uint32_t i;
    unsigned count[4];

    fill_ram(f);
    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    assert_discard(f, 0, 4096, UNSUPPORTED);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);

    assert_discard(f, 1, 4096, MALFORMED);
    assert_discard(f, 4096, 4095, MALFORMED);
    assert_discard(f, 0, 0, MALFORMED);
    assert_discard(f, 0xfffffffffffff000, 0x2000, MALFORMED);
    /* what lies in place is the guest's own to deal with */
    assert_discard(f, B, 0xfffffffff0000000, OK);
    check_places(f, desc, count);

    h = (const void *)desc->data;
    r = (const void *)(desc->data + le64_to_cpu(h->ranges_off));
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        if (MiB - le64_to_cpu(r[i].addr) < le64_to_cpu(r[i].len)) {
            at = f->window + le64_to_cpu(r[i].dest) - le64_to_cpu(r[i].addr);
        }
    }
    assert_discard(f, 17 * MiB, 3 * MiB, OK);
    assert_zero(f, at + 17 * MiB, 3 * MiB);
    qtest_memset(f->qts, 17 * MiB, 0x5a, 3 * MiB);
    assert_zero(f, at + 17 * MiB, 3 * MiB);
    /* a page that discard left */
    g_assert_cmphex(qtest_readq(f->qts, at + 4099 * 4096 * 2), !=, 0);
    again = read_descriptor(f);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);

    assert_request(f, RELEASE, OK);
    assert_discard(f, 0, 4096, NONE);
    check_released(f);
    stop(f);
}

void fadump_add_place_tests(void)
{
    add_test("guest-mem", Q35_1G, test_guest_mem);
    add_test("guest-mem", Q35_SWAP, test_guest_mem);
    add_test("no-host-mem", Q35_1G, test_no_host_mem);
    add_test("full", PC_1G, test_full);
    add_test("full", Q35_3G, test_full);
    add_test("full", Q35_SWAP, test_full);
    add_test("discard", Q35_1G, test_discard);
    add_test("discard", Q35_SWAP, test_discard);
}
