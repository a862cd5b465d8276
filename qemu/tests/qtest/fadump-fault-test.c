/*
 * QTest cases for fadump-dev: at limits of the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Calls that fail, for a limit or by fadump-faults.c: no dump and no guest is
 * lost for them, or an event says what is.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "fadump-lib.h"

static void limit_address_space(Fadump *f, rlim_t soft)
{
    pid_t pid = qtest_pid(f->qts);
    struct rlimit limit;

    g_assert_cmpint(prlimit(pid, RLIMIT_AS, NULL, &limit), ==, 0);
    limit.rlim_cur = MIN(soft, limit.rlim_max);
    g_assert_cmpint(prlimit(pid, RLIMIT_AS, &limit, NULL), ==, 0);
}

/* In /proc/PID/status, in KiB there */
static uint64_t status_bytes(Fadump *f, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            (int)qtest_pid(f->qts));
    g_autofree char *status = NULL;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    return g_ascii_strtoull(strstr(status, name) + strlen(name), NULL, 10) *
           KiB;
}

/* mremap() is refused when it has already unmapped where pages were to go. */
static void test_limit(const void *opaque)
{
    /* of address space, besides what is used; it may well be less */
    static const int64_t more[] = { -4 * (int64_t)MiB, 4 * MiB };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(more); i++) {
        Fadump *f = start_and_probe(opaque, "");
        Mapping before;

        if (status_bytes(f, "\nVmSize:") > TiB) {
            g_test_skip("a QEMU with sanitizers needs all address space");
            stop(f);
            return;
        }
        fill_ram(f);
        assert_register(f, OK);
        before = look_at_held(f);
        limit_address_space(f, status_bytes(f, "\nVmSize:") + more[i]);
        crash(f);
        limit_address_space(f, RLIM_INFINITY);
        probe(f);
        check_dump(f);
        release(f);
        system_reset(f);
        wait_given_back(f);
        g_assert_cmpint(look_at_held(f).nr, <=, before.nr);

        /* nothing is lost but this once */
        probe(f);
        fill_ram(f);
        assert_register(f, OK);
        crash(f);
        probe(f);
        g_assert_cmpint(dump_number(f, "moved"), >, B - 2 * MiB);
        check_dump(f);
        stop(f);
    }
}

/* What was unmapped is mapped again, like it was. */
static void test_repair(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "mremap", ",x-swap=off");
    Mapping before = look_at_held(f), after;

    g_assert_cmpint(before.nr_mergeable, ==, before.nr);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    assert_copied(f);
    check_dump(f);
    after = look_at_held(f);
    g_assert_cmpint(after.nr_mergeable, ==, after.nr);
    g_assert_cmpint(after.nr_dontdump, ==, 0);
    release(f);
    wait_given_back(f);
    stop(f);
}

/* To other RAM of the guest's, where a gap would be one in its memory */
static void test_repair_guest_mem(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    Fadump *f = start_faulty(opaque, "mremap", "");
    g_autoptr(GByteArray) desc = NULL;
    unsigned count[4];

    probe_features(f, ALL_FEATURES);
    fill_ram(f);
    g_assert_cmpint(do_register(f, in_guest, ARRAY_SIZE(in_guest), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    crash(f);
    probe_features(f, ALL_FEATURES);
    assert_copied(f);
    desc = read_descriptor(f);
    check_places(f, desc, count);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
    stop(f);
}

/* What cannot be mapped again is not used again, and QEMU lives. */
static void test_lost(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "mremap,mmap", "");
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);
    unsigned i;

    for (i = 0; i < 2; i++) {
        fill_ram(f);
        assert_register(f, OK);
        trigger_panic(f);
        wait_count(f, &f->failed, i + 1, "panic");
        check_confinement(f, false);
        probe(f);
        check_released(f);
    }
    /* it is not read either */
    save_to(f, path);
    unlink(path);
    stop(f);
}

/* All of RAM does not go, but boot memory does. */
static void test_full_fallback(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "populate=2", ",full=on");

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    g_assert_nonnull(strstr(f->full_error, "no host memory"));
    check_confinement(f, true);
    probe(f);
    assert_copied(f);
    check_dump(f);
    release(f);
    system_reset(f);
    check_confinement(f, false);
    wait_given_back(f);

    /* there is room the next time */
    probe(f);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    g_assert_cmpstr(f->full_error, ==, "");
    check_confinement(f, false);
    probe(f);
    check_dump(f);
    stop(f);
}

/* What was set aside before there was no room goes back. */
static void test_undo(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "populate=1", "");
    uint64_t addr = 0;

    fill_ram(f);
    assert_register(f, OK);
    trigger_panic(f);
    wait_count(f, &f->failed, 1, "panic");
    check_confinement(f, false);
    while (next_sample(f, &addr)) {
        uint8_t want[4096], now[4096];

        make_pattern(want, addr);
        qtest_memread(f->qts, addr, now, sizeof(now));
        g_assert_cmpmem(now, sizeof(now), want, sizeof(want));
        addr += 4096;
    }
    probe(f);
    check_released(f);

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    check_dump(f);
    stop(f);
}

/* RAM stays where it is while there is no room to bring it back. */
static void test_restore_later(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "populate=2", "");
    const uint64_t tested = 20 * MiB;
    uint8_t page[4096], now[4096];
    int i;

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    g_assert_cmpint(dump_number(f, "swapped"), >, B - 2 * MiB);
    check_dump(f);
    release(f);
    make_pattern(page, tested);
    page[0] ^= 1;
    qtest_memwrite(f->qts, tested, page, sizeof(page));
    for (i = 0; i < 2; i++) {
        system_reset(f);
        if (!i) {
            g_assert_cmpint(look_at_held(f).rss, >=, sizeof(page));
        }
        qtest_memread(f->qts, tested, now, sizeof(now));
        g_assert_cmpmem(now, sizeof(now), page, sizeof(page));
    }
    wait_given_back(f);
    stop(f);
}

/* Pages that are locked are copied: what came instead would not be locked. */
static void test_locked(const void *opaque)
{
    Fadump *f;

    if (geteuid()) {
        g_test_skip("who is not root may not lock so much memory");
        return;
    }
    f = start_and_probe(opaque, " -overcommit mem-lock=on");
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    assert_copied(f);
    check_dump(f);
    release(f);
    stop(f);
}

void fadump_add_fault_tests(void)
{
    add_test("limit", Q35_1G, test_limit);
    add_test("repair", Q35_1G, test_repair);
    add_test("repair-guest-mem", Q35_1G, test_repair_guest_mem);
    add_test("lost", Q35_1G, test_lost);
    add_test("full-fallback", Q35_COPY, test_full_fallback);
    add_test("undo", Q35_1G, test_undo);
    add_test("undo", Q35_SWAP, test_undo);
    add_test("undo", Q35_COPY, test_undo);
    add_test("restore-later", Q35_SWAP, test_restore_later);
    add_test("locked", Q35_1G, test_locked);
}
