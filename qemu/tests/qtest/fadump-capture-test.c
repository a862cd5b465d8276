/*
 * QTest testcase for fadump-dev: the life of a dump, and what is in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

static void compare_held(Fadump *f, const GArray *pieces, const char *before)
{
    g_autofree char *path = g_build_filename(f->dir, "held", NULL);
    g_autofree char *old = NULL;
    gsize len;
    guint i;

    g_assert_true(g_file_get_contents(before, &old, &len, NULL));
    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);
        g_autofree char *held = NULL;
        gsize held_len;

        if (!p->boot || p->base + p->size > len) {
            continue;
        }
        save_memory(f, f->window + p->dest, p->size, path);
        g_assert_true(g_file_get_contents(path, &held, &held_len, NULL));
        g_assert_cmpint(held_len, ==, p->size);
        g_assert_true(memcmp(held, old + p->base, held_len) == 0);
    }
    unlink(path);
}

/* The whole life of a dump, from a crash to the next. */
static void test_capture(const void *opaque)
{
    static const uint8_t zero[4096];
    static const struct virtio_fadump_region other[] = {
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(MiB, 64),
    };
    const Machine *m = opaque;
    Fadump *f = start_and_probe(m, "");
    const struct virtio_fadump_desc *h;
    g_autofree char *before = g_build_filename(f->dir, "before", NULL);
    g_autoptr(GByteArray) desc = NULL, again = NULL, second = NULL;
    g_autoptr(GArray) pieces = NULL, more = NULL;
    uint64_t preserved = 0, start_ns, duration_ns;
    uint8_t page[4096], got[4096];
    gint64 started;
    bool high;
    guint i;

    fill_ram(f);
    assert_register(f, OK);
    /* refused, so what it names is not captured */
    g_assert_cmpint(do_register(f, other, ARRAY_SIZE(other), NULL), ==,
                    VIRTIO_FADUMP_S_EXISTS);
    check_confinement(f, false);
    g_assert_cmpint(srat_hotpluggable(f), ==, 0);
    save_memory(f, 0, B, before);

    start_ns = (uint64_t)g_get_real_time() * 1000;
    started = g_get_monotonic_time();
    trigger_panic(f);
    duration_ns = (g_get_monotonic_time() - started) * 1000;
    g_assert_cmpint(f->crashloaded, ==, 1);

    /* firmware and bootloader have no driver */
    check_confinement(f, true);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    g_assert_cmpint(CONFIG_L(f, nr_lost), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_boots), ==, 1);
    desc = read_descriptor(f);
    check_descriptor_copies(f, desc);
    pieces = check_descriptor(f, desc, VIRTIO_FADUMP_CAUSE_PANIC);

    h = (const void *)desc->data;
    g_assert_cmpint(le64_to_cpu(h->time_ns), >=, start_ns);
    g_assert_cmpint(le64_to_cpu(h->time_ns), <=, start_ns + duration_ns);
    g_assert_cmpint(le64_to_cpu(h->capture_ns), >, 0);
    g_assert_cmpint(le64_to_cpu(h->capture_ns), <, duration_ns);
    for (i = 0, high = false; m->ram[i].size; i++) {
        high |= m->ram[i].base >= 4 * GiB;
    }
    g_assert_cmpint(le32_to_cpu(h->flags), ==,
                    high ? VIRTIO_FADUMP_DESC_F_ELF64 : 0);
    check_notes(h);
    assert_window(f, true);

    compare_held(f, pieces, before);
    check_ram(f, pieces);
    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);

        preserved += p->boot ? 0 : p->size;
    }
    g_assert_cmpint(srat_hotpluggable(f), ==, high || m->numa ? preserved : 0);

    /* what the next boot writes to boot memory is not what the dump holds */
    qtest_bufwrite(f->qts, VMCOREINFO_ADDR, zero, sizeof(zero));
    compare_held(f, pieces, before);
    /* nor can the guest write to the window */
    qtest_bufwrite(f->qts, f->window, zero, sizeof(zero));
    qtest_writeq(f->qts, f->window + CONFIG_Q(f, desc_size_max) + 16 * MiB,
                 0x1122334455667788);
    again = read_descriptor(f);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
    compare_held(f, pieces, before);
    unlink(before);

    assert_register(f, BUSY);
    assert_request(f, UNREGISTER, NONE);
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
    assert_state(f, DUMP_AVAILABLE);

    /* firmware resets more than once a boot, and drivers come and go */
    probe(f);
    system_reset(f);
    guest_reset(f);
    check_confinement(f, true);
    g_clear_pointer(&again, g_byte_array_unref);
    again = read_fw_cfg(f, FW_CFG_DESC);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    g_assert_cmpint(CONFIG_L(f, nr_lost), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_boots), ==, 2);

    /* a second crash keeps the first dump */
    trigger_panic(f);
    g_assert_cmpint(f->crashloaded, ==, 1);
    check_confinement(f, true);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    g_assert_cmpint(CONFIG_L(f, nr_lost), ==, 1);
    g_clear_pointer(&again, g_byte_array_unref);
    again = read_descriptor(f);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
    check_ram(f, pieces);

    /* all memory is the guest's again, with what it had */
    assert_request(f, RELEASE, OK);
    check_released(f);
    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);
        uint64_t addr = p->base;

        if (!p->boot && next_sample(f, &addr) && addr - p->base < p->size) {
            make_pattern(page, addr);
            qtest_bufread(f->qts, addr, got, sizeof(got));
            g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        }
    }
    assert_unharmed(f);

    /* and the next crash is captured as the first was */
    fill_ram(f);
    assert_register(f, OK);
    guest_reset(f);
    check_confinement(f, true);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    second = read_descriptor(f);
    more = check_descriptor(f, second, VIRTIO_FADUMP_CAUSE_GUEST_RESET);
    check_ram(f, more);
    g_assert_cmpint(memcmp(h->dump_id, ((const struct virtio_fadump_desc *)
                                        second->data)->dump_id, 16), !=, 0);
    assert_request(f, RELEASE, OK);
    system_reset(f);
    probe(f);
    check_released(f);
    g_assert_cmpint(srat_hotpluggable(f), ==, 0);
    assert_unharmed(f);
    stop(f);
}

/* Shadow RAM is RAM where firmware has turned it on, VGA memory never. */
static void test_shadow_ram(const void *opaque)
{
    const Machine *m = opaque;
    const bool q35 = g_str_has_prefix(m->name, "q35");
    Fadump *f = start_and_probe(m, " -device VGA");
    g_autoptr(GByteArray) desc = NULL;
    const struct virtio_fadump_range *r;
    const struct virtio_fadump_desc *h;
    QPCIDevice *host;
    uint64_t got;

    /* [0xe0000, 0xe8000): read and write go to RAM */
    host = qpci_device_find(f->qs->pcibus, 0);
    g_assert_nonnull(host);
    qpci_config_writeb(host, q35 ? 0x95 : 0x5e, 0x33);
    g_free(host);
    qtest_writeq(f->qts, 0xe1000, 0x0123456789abcdef);
    g_assert_cmphex(qtest_readq(f->qts, 0xe1000), ==, 0x0123456789abcdef);

    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    desc = read_descriptor(f);
    h = (const void *)desc->data;
    r = (const void *)(desc->data + le64_to_cpu(h->ranges_off));
    g_assert_cmphex(le64_to_cpu(r[0].addr), ==, 0);
    g_assert_cmphex(le64_to_cpu(r[0].len), ==, VGA_START);
    g_assert_cmphex(le64_to_cpu(r[1].addr), ==, 0xe0000);
    g_assert_cmphex(le64_to_cpu(r[1].len), ==, 0x8000);
    g_assert_cmphex(le64_to_cpu(r[2].addr), ==, ROM_END);
    got = qtest_readq(f->qts, f->window + le64_to_cpu(r[1].dest) + 0x1000);
    g_assert_cmphex(got, ==, 0x0123456789abcdef);
    stop(f);
}

/* The notes that the guest names may be anything by the time of the crash. */
static void test_notes(const void *opaque)
{
    const size_t max = VIRTIO_FADUMP_VMCOREINFO_MAX;
    const size_t crash_max = VIRTIO_FADUMP_CRASH_NOTE_MAX;
    const uint64_t addr = 32 * MiB, crash_addr = addr + max;
    const struct virtio_fadump_region large[] = {
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(addr, max),
        CRASH_NOTE(crash_addr, crash_max),
    };
    const struct virtio_fadump_region few[] = { CPU_STATE, BOOT_MEM(0, B) };
    static const uint32_t bad[][2] = {
        { 0, 0 }, { 0, 16 }, { UINT32_MAX, UINT32_MAX }, { 11, UINT32_MAX },
        { UINT32_MAX, 11 }, { 11, 64 * KiB - 12 - 12 + 1 },
        { 0xfffffffd, 0xfffffffd },
    };
    Fadump *f = start_and_probe(opaque, "");
    g_autofree uint8_t *buf = g_malloc(max);
    const struct virtio_fadump_desc *h;
    g_autoptr(GByteArray) desc = NULL;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad) + 2; i++) {
        const bool whole = i == ARRAY_SIZE(bad), none = i > ARRAY_SIZE(bad);

        memset(buf, 0x5a, max);
        stl_le_p(buf, whole || none ? 11 : bad[i][0]);
        stl_le_p(buf + 4, whole || none ? max - 12 - 12 : bad[i][1]);
        qtest_bufwrite(f->qts, addr, buf, max);
        if (whole) {
            stl_le_p(buf + 4, crash_max - 12 - 12);
        }
        qtest_bufwrite(f->qts, crash_addr, buf, crash_max);

        g_assert_cmpint(do_register(f, none ? few : large,
                                    none ? 2 : ARRAY_SIZE(large), NULL), ==,
                        VIRTIO_FADUMP_S_OK);
        trigger_panic(f);
        probe(f);
        assert_state(f, DUMP_AVAILABLE);
        desc = read_descriptor(f);
        h = (const void *)desc->data;
        g_array_unref(check_descriptor(f, desc, VIRTIO_FADUMP_CAUSE_PANIC));
        check_vcpu_notes(h);
        if (whole) {
            assert_part(h, &h->crash_note, buf, crash_max);
            stl_le_p(buf + 4, max - 12 - 12);
            assert_part(h, &h->vmcoreinfo, buf, max);
        } else {
            assert_no_part(&h->vmcoreinfo);
            assert_no_part(&h->crash_note);
        }
        g_clear_pointer(&desc, g_byte_array_unref);
        assert_request(f, RELEASE, OK);
        system_reset(f);
        probe(f);
    }
    stop(f);
}

/* What the kernel wrote is what it saw: of no other death is it the place. */
static void test_crash_note(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL;
    const struct virtio_fadump_desc *h;

    assert_register(f, OK);
    guest_reset(f);
    probe(f);
    desc = read_descriptor(f);
    h = (const void *)desc->data;
    g_assert_cmpint(le32_to_cpu(h->cause), ==, VIRTIO_FADUMP_CAUSE_GUEST_RESET);
    check_notes(h);
    stop(f);
}

static void test_host_reset(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL;

    /* the operator's own reset is no crash */
    assert_register(f, OK);
    system_reset(f);
    probe(f);
    check_released(f);
    /* and an orderly one by the guest neither */
    assert_register(f, OK);
    assert_request(f, UNREGISTER, OK);
    guest_reset(f);
    probe(f);
    check_released(f);
    stop(f);

    f = start_and_probe(opaque, ",capture-host-reset=on");
    /* nothing is registered */
    system_reset(f);
    probe(f);
    check_released(f);
    assert_register(f, OK);
    system_reset(f);
    check_confinement(f, true);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    desc = read_descriptor(f);
    g_array_unref(check_descriptor(f, desc, VIRTIO_FADUMP_CAUSE_HOST_RESET));
    g_assert_cmpint(f->crashloaded, ==, 0);
    stop(f);
}

static void test_max_boots(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ",max-boots=2");
    int i;

    assert_register(f, OK);
    trigger_panic(f);
    /* resets are no boots, whoever asks for them */
    for (i = 0; i < 4; i++) {
        system_reset(f);
        guest_reset(f);
    }
    check_confinement(f, true);
    for (i = 1; i <= 2; i++) {
        probe(f);
        assert_state(f, DUMP_AVAILABLE);
        g_assert_cmpint(CONFIG_L(f, nr_boots), ==, i);
        check_confinement(f, true);
        /* a driver that is loaded twice makes no second boot */
        probe(f);
        g_assert_cmpint(CONFIG_L(f, nr_boots), ==, i);
        assert_state(f, DUMP_AVAILABLE);
        system_reset(f);
    }
    /* never stuck: the guest has its memory back */
    check_confinement(f, false);
    probe(f);
    check_released(f);
    assert_unharmed(f);
    stop(f);
}

void fadump_add_capture_tests(void)
{
    size_t i;

    for (i = 0; i < NR_MACHINES; i++) {
        add_test("capture", &machines[i], test_capture);
    }
    add_test("shadow-ram", PC_1G, test_shadow_ram);
    add_test("shadow-ram", Q35_1G, test_shadow_ram);
    add_test("notes", Q35_1G, test_notes);
    add_test("crash-note", Q35_1G, test_crash_note);
    add_test("host-reset", PC_1G, test_host_reset);
    add_test("host-reset", Q35_1G, test_host_reset);
    add_test("max-boots", PC_1G, test_max_boots);
    add_test("max-boots", Q35_1G, test_max_boots);
}
