/*
 * QTest cases for fadump-dev: in the middle of a migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is set aside, and given back, while RAM is being sent or received.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* There is a lot to be sent. */
static void fill_busy_ram(Fadump *f)
{
    qtest_memset(f->qts, 512 * MiB, 0x5a, 256 * MiB);
    fill_ram(f);
}

/* A migration to @path that does not get far until it is let go */
static void migrate_slowly(Fadump *f, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    limit_bandwidth(f, 64 * KiB);
    migrate_to(f, uri);
    wait_migration(f, "active");
}

static void let_go(Fadump *f)
{
    limit_bandwidth(f, 100 * GiB);
    wait_migration(f, "completed");
}

/* A crash in the middle of an outgoing migration arrives with it. */
static void test_outgoing(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);

    fill_busy_ram(src);
    assert_register(src, OK);
    migrate_slowly(src, path);
    crash(src);
    probe_features(src, ALL_FEATURES);
    assert_copied(src);
    check_dump(src);
    assert_discard(src, 64 * MiB, 2 * MiB, BUSY);
    let_go(src);
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);
    assert_state(dst, DUMP_AVAILABLE);
    check_dump(dst);
    probe_features(dst, ALL_FEATURES);
    assert_discard(dst, 64 * MiB, 2 * MiB, OK);
    release(dst);
    wait_given_back(dst);
    stop(dst);
}

/* Memory that is released meanwhile stays until the migration has ended. */
static void test_outgoing_release(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    fill_busy_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    migrate_slowly(f, path);
    release(f);
    g_assert_cmpint(look_at_held(f).rss, >, 0);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate_cancel' }");
    wait_given_back(f);
    unlink(path);
    probe(f);
    assert_unharmed(f);
    stop(f);
}

/* A snapshot is of when it began, whatever is released while it is written. */
static void test_background_snapshot(const void *opaque)
{
    static const char *const caps[] = { "background-snapshot", NULL };
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    fill_busy_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    use_capabilities(f, caps);
    migrate_slowly(f, path);
    /* of devices, too, then */
    wait_pages(f, 1);
    release(f);
    let_go(f);
    wait_given_back(f);
    dst = load_from(opaque, path, f, "completed");
    unlink(path);
    stop(f);
    assert_state(dst, DUMP_AVAILABLE);
    check_dump(dst);
    stop(dst);
}

/*
 * A postcopy migration to a machine that runs, and has neither the RAM behind
 * what comes after boot memory nor @late, which is 2 MiB.
 */
static Fadump *begin_postcopy(const Machine *m, Fadump *src, uint64_t late)
{
    static const char *const caps[] = { "postcopy-ram", NULL };
    g_autofree char *uri = g_strdup_printf("unix:%s/socket", src->dir);
    Fadump *dst = start(m, " -incoming defer");
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    bool runs = false;

    use_capabilities(src, caps);
    use_capabilities(dst, caps);
    qtest_qmp_assert_success(dst->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s } }", uri);
    limit_bandwidth(src, 64 * MiB);
    migrate_to(src, uri);
    /* boot memory has been sent, and some of it has to be sent again */
    wait_pages(src, (B + 64 * MiB) / 4096);
    qtest_memset(src->qts, late, 0x5a, 2 * MiB);
    limit_bandwidth(src, 64 * KiB);
    qtest_qmp_assert_success(src->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    while (!runs && g_get_monotonic_time() < end) {
        QDict *info = qtest_qmp_assert_success_ref(dst->qts, "{ 'execute': "
                                                   "'query-status' }");

        runs = qdict_get_bool(info, "running");
        qobject_unref(info);
        g_usleep(10000);
    }
    g_assert_true(runs);
    wait_migration(src, "postcopy-active");
    adopt_device(dst, src);
    return dst;
}

/* Pages that have not come yet are fetched, and are in the dump. */
static void test_postcopy_crash(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;

    fill_busy_ram(src);
    assert_register(src, OK);
    dst = begin_postcopy(opaque, src, 70 * MiB);
    /* the machine stands still until the last page has come */
    trigger(dst, VIRTIO_FADUMP_TRIGGER_PANIC);
    g_usleep(G_USEC_PER_SEC / 2);
    wait_migration(src, "postcopy-active");
    let_go(src);
    stop(src);
    wait_count(dst, &dst->captured, 1, "panic");
    probe(dst);
    assert_copied(dst);
    check_dump(dst);
    release(dst);
    wait_given_back(dst);

    /* and then all is as ever */
    system_reset(dst);
    probe(dst);
    fill_ram(dst);
    assert_register(dst, OK);
    crash(dst);
    probe(dst);
    g_assert_cmpint(dump_number(dst, "copied"), <, 2 * MiB);
    check_dump(dst);
    stop(dst);
}

/* Nothing is waited for that the capture has no need of. */
static void test_postcopy_crash_early(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;

    fill_busy_ram(src);
    assert_register(src, OK);
    dst = begin_postcopy(opaque, src, 150 * MiB);
    /* firmware, which a reset writes anew, is still to come */
    limit_bandwidth(src, MiB);
    trigger(dst, VIRTIO_FADUMP_TRIGGER_PANIC);
    wait_count(dst, &dst->captured, 1, "panic");
    wait_migration(src, "postcopy-active");
    probe(dst);
    assert_copied(dst);
    let_go(src);
    check_dump(dst);
    stop(src);
    release(dst);
    wait_given_back(dst);
    stop(dst);
}

/* What is given back counts as received, and would never come. */
static void test_postcopy_release(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    uint64_t addr = 0;

    fill_busy_ram(src);
    assert_register(src, OK);
    crash(src);
    probe_features(src, ALL_FEATURES);
    dst = begin_postcopy(opaque, src, 70 * MiB);
    assert_state(dst, DUMP_AVAILABLE);
    probe_features(dst, ALL_FEATURES);
    assert_discard(dst, 64 * MiB, 2 * MiB, BUSY);
    check_dump(dst);
    wait_migration(src, "postcopy-active");
    release(dst);
    let_go(src);
    stop(src);
    reset_until_given_back(dst);
    /* all of RAM can be read */
    while (next_sample(dst, &addr)) {
        qtest_readq(dst->qts, addr);
        addr += 4096;
    }
    probe(dst);
    assert_unharmed(dst);
    stop(dst);
}

/* Memory that holds nothing is allocated by a migration on neither host. */
static void test_migrate_empty(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;

    fill_busy_ram(src);
    assert_register(src, OK);
    dst = begin_postcopy(opaque, src, 70 * MiB);
    let_go(src);
    g_assert_cmpint(look_at_held(src).rss, ==, 0);
    g_assert_cmpint(look_at_held(dst).rss, ==, 0);
    stop(src);
    /* and it is there when it is wanted */
    crash(dst);
    probe(dst);
    assert_state(dst, DUMP_AVAILABLE);
    stop(dst);
}

void fadump_add_live_tests(void)
{
    add_test("outgoing", Q35_1G, test_outgoing);
    add_test("outgoing", Q35_MEMFD, test_outgoing);
    add_test("outgoing-release", Q35_1G, test_outgoing_release);
    add_test("background-snapshot", Q35_1G, test_background_snapshot);
    add_test("postcopy-crash", Q35_1G, test_postcopy_crash);
    add_test("postcopy-crash-early", Q35_1G, test_postcopy_crash_early);
    add_test("postcopy-release", Q35_1G, test_postcopy_release);
    add_test("postcopy-release", Q35_MEMFD, test_postcopy_release);
    add_test("migrate-empty", Q35_1G, test_migrate_empty);
    add_test("migrate-empty", Q35_MEMFD, test_migrate_empty);
}
