/*
 * QTest testcase for fadump-dev: migration in each state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

static void test_migrate_registered(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autoptr(GByteArray) desc = NULL;
    g_autoptr(GArray) pieces = NULL;
    const struct virtio_fadump_desc *h;

    fill_ram(src);
    assert_register(src, OK);
    save_to(src, path);
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);

    assert_state(dst, REGISTERED);
    check_confinement(dst, false);
    trigger_panic(dst);
    check_confinement(dst, true);
    probe(dst);
    assert_state(dst, DUMP_AVAILABLE);
    desc = read_descriptor(dst);
    h = (const void *)desc->data;
    pieces = check_descriptor(dst, desc, VIRTIO_FADUMP_CAUSE_PANIC);
    /* what was registered has come along */
    check_notes(h);
    check_ram(dst, pieces);
    stop(dst);
}

static void test_migrate_held(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ",max-boots=2"), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autoptr(GByteArray) desc = NULL, again = NULL;
    g_autoptr(GArray) pieces = NULL;

    fill_ram(src);
    assert_register(src, OK);
    trigger_panic(src);
    probe(src);
    trigger_panic(src);
    probe(src);
    g_assert_cmpint(CONFIG_L(src, nr_boots), ==, 2);
    g_assert_cmpint(CONFIG_L(src, nr_lost), ==, 1);
    desc = read_descriptor(src);
    save_to(src, path);
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);

    assert_state(dst, DUMP_AVAILABLE);
    g_assert_cmpint(CONFIG_L(dst, nr_boots), ==, 2);
    g_assert_cmpint(CONFIG_L(dst, nr_lost), ==, 1);
    g_assert_cmpint(CONFIG_Q(dst, desc_size), ==, desc->len);
    check_confinement(dst, true);
    pieces = check_descriptor(dst, desc, VIRTIO_FADUMP_CAUSE_PANIC);
    check_ram(dst, pieces);

    probe(dst);
    /* the same boot, so it is not counted again */
    g_assert_cmpint(CONFIG_L(dst, nr_boots), ==, 2);
    again = read_descriptor(dst);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
    check_descriptor_copies(dst, desc);
    assert_request(dst, RELEASE, OK);
    check_released(dst);
    system_reset(dst);
    check_confinement(dst, false);
    stop(dst);
}

/* A dump that is released while it is on its way does not arrive. */
static void test_migrate_release(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    fill_ram(src);
    assert_register(src, OK);
    trigger_panic(src);
    probe(src);

    qtest_qmp_assert_success(src->qts, "{ 'execute': "
        "'migrate-set-capabilities', 'arguments': { 'capabilities': [ "
        "{ 'capability': 'pause-before-switchover', 'state': true } ] } }");
    qtest_qmp_assert_success(src->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
    wait_migration(src, "pre-switchover");
    assert_request(src, RELEASE, OK);
    qtest_qmp_assert_success(src->qts, "{ 'execute': 'migrate-continue', "
                             "'arguments': { 'state': 'pre-switchover' } }");
    wait_migration(src, "completed");
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);

    probe(dst);
    check_released(dst);
    assert_unharmed(dst);
    stop(dst);
}

static uint64_t migrated_bytes(Fadump *f)
{
    QDict *rsp = qtest_qmp_assert_success_ref(f->qts,
                                              "{ 'execute': 'query-migrate' }");
    QDict *ram = qdict_get_qdict(rsp, "ram");
    uint64_t bytes = (qdict_get_int(ram, "duplicate") +
                      qdict_get_int(ram, "normal")) * 4096;

    qobject_unref(rsp);
    return bytes;
}

/* What could hold a dump and does not is neither read nor sent. */
static void test_migrate_nothing(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    g_assert_cmpint(f->window_len, >=, 256 * MiB);
    assert_register(f, OK);
    save_to(f, path);
    /* and not a file system's or a display's memory, of which there is none */
    g_assert_cmpint(migrated_bytes(f), <, GiB + 64 * MiB);
    stop(f);
}

void fadump_add_migrate_tests(void)
{
    add_test("migrate-registered", Q35_1G, test_migrate_registered);
    add_test("migrate-held", PC_6G, test_migrate_held);
    add_test("migrate-held", Q35_1G, test_migrate_held);
    add_test("migrate-held", Q35_SWAP, test_migrate_held);
    add_test("migrate-release", Q35_1G, test_migrate_release);
    add_test("migrate-nothing", Q35_1G, test_migrate_nothing);
    add_test("migrate-nothing", Q35_SWAP, test_migrate_nothing);
}
