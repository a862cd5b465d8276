/*
 * QTest cases for fadump-dev: machines in which a crash would harm somebody
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "fadump-lib.h"

/* ------------------------------------------------------------------ */
/* What ends QEMU at its start                                        */

/* What QEMU says with @opts; it must end by itself, in good order. */
static char *run_qemu(const char *opts)
{
    /* where the device is not refused, this one ends QEMU all the same */
    g_autofree char *cmd = g_strdup_printf("%s -S -nodefaults -display none "
                                           "-accel qtest -M q35 -m 1G %s "
                                           "-device no-such-device",
                                           g_getenv("QTEST_QEMU_BINARY"), opts);
    char *err = NULL;
    int status;

    g_test_message("%s", opts);
    g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status, NULL));
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    return err;
}

static void assert_said(const char *said, const char *expected)
{
    if (!strstr(said, expected)) {
        g_test_message("expected '%s', got: %s", expected, said);
        g_test_fail();
    }
}

static char *make_file(const char *dir, const char *name, size_t size)
{
    char *path = g_build_filename(dir, name, NULL);

    g_assert_cmpint(open(path, O_WRONLY | O_CREAT, 0600), >=, 0);
    g_assert_cmpint(truncate(path, size), ==, 0);
    return path;
}

/* The size of boot memory that a driver gets that asks for @ask */
static uint64_t granted(Fadump *f, uint64_t ask)
{
    g_autofree struct virtio_fadump_boot_mem *mem = ask_boot_mem(f, ask);

    return mem->size;
}

/* What is written to RAM at each reset stays off a dump. */
static void test_loader(void)
{
    g_autofree char *dir = g_dir_make_tmp("fadump-test-XXXXXX", NULL);
    g_autofree char *file = make_file(dir, "blob", 8 * KiB);
#define FILE_AT(addr) "-device loader,force-raw=on,file=%s,addr=" addr " "
    static const struct {
        const char *opts;
        /* the least boot memory, 0 if QEMU does not start */
        uint64_t least;
    } cases[] = {
        { FILE_AT("0x4000000"), B },
        { FILE_AT("0x7ffe000"), B },
        /* across the end of the first block, and far behind it */
        { FILE_AT("0x7fff000"), 2 * B },
        { FILE_AT("0x8000000") FILE_AT("0x17ffe000"), 3 * B },
        { FILE_AT("0x1fffe000"), 4 * B },
        { FILE_AT("0x1ffff000"), 0 },
        { FILE_AT("0x4000000") FILE_AT("0x30000000"), 0 },
        /* not RAM */
        { FILE_AT("0xf0000000"), B },
        { "-device loader,addr=0x7fffffc,data=1,data-len=4 ", B },
        { "-device loader,addr=0x7fffffd,data=1,data-len=4 ", 2 * B },
        { "-device loader,addr=0x30000000,data=1,data-len=8 ", 0 },
        /* nothing is written there */
        { "-device loader,addr=0x30000000,cpu-num=0 ", B },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_auto(GStrv) parts = g_strsplit(cases[i].opts, "%s", -1);
        g_autofree char *opts = g_strjoinv(file, parts);
        g_autofree char *all = NULL, *said = NULL;
        Machine m = { "loader" };
        Fadump *f;

        all = g_strconcat(opts, "-device fadump-dev", NULL);
        if (!cases[i].least) {
            g_autofree char *cmd = g_strdup_printf(
                "%s -nodefaults -display none -accel qtest -M q35 -m 1G %s",
                g_getenv("QTEST_QEMU_BINARY"), all);
            int status;

            g_test_message("%s", all);
            g_assert_true(g_spawn_command_line_sync(cmd, NULL, &said, &status,
                                                    NULL));
            g_assert_true(WIFEXITED(status));
            g_assert_cmpint(WEXITSTATUS(status), ==, 1);
            assert_said(said, "at every reset, outside of boot memory");
            continue;
        }
        g_test_message("%s", all);
        m.opts = all = g_strconcat("-M q35 -m 1G ", opts, "-device fadump-dev",
                                   NULL);
        f = start_and_probe(&m, "");
        g_assert_cmphex(granted(f, 1), ==, cases[i].least);
        g_assert_cmphex(granted(f, 4 * B), ==, 4 * B);
        g_assert_cmphex(granted(f, 0), ==, 4 * B);
        stop(f);
    }
    unlink(file);
    rmdir(dir);
}

/* ------------------------------------------------------------------ */
/* How the machine and QEMU know the device                           */

/*
 * The queue's notification in I/O space as well, which libqos does not know. A
 * PCI Express device whose window is a BAR has too many capabilities then.
 */
static void test_pio_notify(void)
{
    static const struct {
        const char *opts, *said;
    } cases[] = {
        { "-device fadump-dev,", "no-such-device" },
        { "-device fadump-dev,x-window-bar=on,", "no-such-device" },
        { "-device pcie-root-port,id=r -device fadump-dev,bus=r,",
          "no-such-device" },
        { "-device pcie-root-port,id=r -device fadump-dev,bus=r,"
          "x-window-bar=on,", "modern-pio-notify=on is not possible" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *opts = g_strconcat(cases[i].opts,
                                            "modern-pio-notify=on", NULL);
        g_autofree char *said = run_qemu(opts);

        assert_said(said, cases[i].said);
    }
}

static bool has_feature(QDict *status, const char *set, const char *name)
{
    QDict *features = qdict_get_qdict(status, set);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(features, "dev-features"), entry) {
        if (g_str_has_prefix(qstring_get_str(qobject_to(QString,
                                                        entry->value)),
                             name)) {
            return true;
        }
    }
    return false;
}

static void test_names(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ",id=f");
    QDict *status = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
        "'x-query-virtio-status', 'arguments': { 'path': "
        "'/machine/peripheral/f/virtio-backend' } }");

    g_assert_true(has_feature(status, "host-features",
                              "VIRTIO_FADUMP_F_HOST_MEM:"));
    g_assert_true(has_feature(status, "host-features",
                              "VIRTIO_FADUMP_F_GUEST_MEM:"));
    g_assert_true(has_feature(status, "host-features",
                              "VIRTIO_FADUMP_F_CONFINE:"));
    g_assert_true(has_feature(status, "host-features",
                              "VIRTIO_FADUMP_F_DISCARD:"));
    qobject_unref(status);
    stop(f);
}

static void test_no_device(void)
{
    static const char *const commands[] = {
        "query-fadump", "fadump-trigger", "fadump-save-cancel",
        "fadump-release",
    };
    QTestState *qts = qtest_init("-M q35 -m 1G -nodefaults");
    size_t i;

    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        QDict *error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': %s }",
                                                    commands[i]);

        g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
        g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                                "no fadump-dev device"));
        qobject_unref(error);
    }
    qtest_quit(qts);
}

void fadump_add_guard_tests(void)
{
    add_test("names", Q35_1G, test_names);
    qtest_add_func("fadump/loader", test_loader);
    qtest_add_func("fadump/pio-notify", test_pio_notify);
    qtest_add_func("fadump/no-device", test_no_device);
}
