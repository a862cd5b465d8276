/*
 * QTest testcase for fadump-dev: what the host does to a dump, and is told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_pci.h"
#include "fadump-lib.h"

static void test_operator(const void *opaque)
{
    Fadump *f = start(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *file = g_strdup_printf("file:%s", path);
    g_autofree char *missing = g_strdup_printf("file:%s/x/y", f->dir);
    int fds[2], read_end;
    char byte;

    assert_qmp_refused(f, "fadump-release");
    assert_qmp_refused(f, "fadump-save-cancel");
    assert_save_refused(f, file);

    fill_ram(f);
    qmp_trigger(f);
    wait_count(f, &f->captured, 1, "operator");
    g_assert_cmpint(f->crashloaded, ==, 0);
    assert_qmp_refused(f, "fadump-trigger");
    assert_save_refused(f, "tape:0");
    assert_save_refused(f, "file:");
    assert_save_refused(f, "fd:none");
    assert_save_refused(f, missing);

    qmp_save(f, file);
    wait_count(f, &f->save_ended, 1, "completed");
    check_core(f, path, save_total(f, "completed"));
    /* it replaces one of its name */
    g_assert_cmpint(truncate(path, 100), ==, 0);
    qmp_save(f, file);
    wait_count(f, &f->save_ended, 2, "completed");
    check_core(f, path, save_total(f, "completed"));

    /* a full disk, and a file that is no regular one */
    qmp_save(f, "file:/dev/full");
    wait_count(f, &f->save_ended, 3, "failed");

    /* a reader that does not read: it stays active until it is cancelled */
    g_assert_true(g_unix_open_pipe(fds, FD_CLOEXEC, NULL));
    read_end = fds[0];
    qtest_qmp_fds_assert_success(f->qts, &fds[1], 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': 'p' } }");
    close(fds[1]);
    qmp_save(f, "fd:p");
    g_assert_cmpint(read(read_end, &byte, 1), ==, 1);
    probe(f);
    assert_request(f, RELEASE, BUSY);
    assert_state(f, DUMP_AVAILABLE);
    g_assert_cmpint(CONFIG_L(f, flags), ==, VIRTIO_FADUMP_CONFIG_F_READING);
    assert_qmp_refused(f, "fadump-release");
    assert_save_refused(f, file);
    save_total(f, "active");
    system_reset(f);
    save_total(f, "active");
    g_assert_cmpint(f->save_ended, ==, 3);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save-cancel' }");
    wait_count(f, &f->save_ended, 4, "cancelled");
    close(read_end);

    /* no driver: all memory at the next boot */
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    wait_count(f, &f->released, 1, "host");
    system_reset(f);
    probe(f);
    check_released(f);
    assert_unharmed(f);
    stop(f);
}

/* A change of config space that the driver was told of since it last looked */
static bool was_notified(Fadump *f)
{
    settle(f);
    return qtest_readb(f->qts, f->dev->bar.addr + f->dev->isr_cfg_offset) & 2;
}

static uint8_t generation(Fadump *f)
{
    return qtest_readb(f->qts, f->dev->bar.addr + f->dev->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg,
                                config_generation));
}

/* What the host does to a dump is told to a driver that runs. */
static void test_notify(const void *opaque)
{
    Fadump *f = start(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *file = g_strdup_printf("file:%s", path);
    int fds[2];
    uint8_t before;

    qmp_trigger(f);
    probe(f);
    g_assert_false(was_notified(f));

    /* reading begins and ends */
    before = generation(f);
    g_assert_true(g_unix_open_pipe(fds, FD_CLOEXEC, NULL));
    qtest_qmp_fds_assert_success(f->qts, &fds[1], 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': 'p' } }");
    close(fds[1]);
    qmp_save(f, "fd:p");
    g_assert_true(was_notified(f));
    g_assert_cmpint(generation(f), !=, before);
    g_assert_cmpint(CONFIG_L(f, flags), ==, VIRTIO_FADUMP_CONFIG_F_READING);
    g_assert_false(was_notified(f));
    assert_request(f, RELEASE, BUSY);
    was_notified(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save-cancel' }");
    wait_count(f, &f->save_ended, 1, "cancelled");
    close(fds[0]);
    g_assert_true(was_notified(f));
    g_assert_cmpint(CONFIG_L(f, flags), ==, 0);

    /* a guest that is stopped is told when it goes on */
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'stop' }");
    qmp_save(f, file);
    wait_count(f, &f->save_ended, 2, "completed");
    g_assert_false(was_notified(f));
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'cont' }");
    g_assert_true(was_notified(f));

    /* the host releases: the window stays readable until the next boot */
    before = generation(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    g_assert_true(was_notified(f));
    g_assert_cmpint(generation(f), !=, before);
    assert_state(f, IDLE);
    assert_window(f, true);
    assert_zero(f, f->window, f->window_len);
    assert_register(f, OK);
    assert_window(f, true);
    assert_request(f, UNREGISTER, OK);
    system_reset(f);
    probe(f);
    check_released(f);

    /* a driver that is not up yet reads the state; it may be told as well */
    qmp_trigger(f);
    find_device(f);
    f->qs->pcibus->mmio_alloc_ptr = 0xe0000000;
    qvirtio_pci_device_enable(f->dev);
    qvirtio_start_device(&f->dev->vdev);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    g_assert_false(was_notified(f));
    qvirtio_set_features(&f->dev->vdev, 1ull << VIRTIO_F_VERSION_1);
    g_assert_false(was_notified(f));
    qvirtio_set_driver_ok(&f->dev->vdev);
    g_assert_true(was_notified(f));
    assert_state(f, IDLE);

    /* the guest's own requests are no news to it */
    system_reset(f);
    probe(f);
    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    was_notified(f);
    assert_request(f, RELEASE, OK);
    g_assert_false(was_notified(f));
    check_released(f);
    stop(f);
}

static void assert_hmp_says(Fadump *f, const char *command,
                            const char *said)
{
    g_autofree char *answer = qtest_hmp(f->qts, "%s", command);

    if (*said ? !strstr(answer, said) : *answer) {
        g_test_message("%s: %s", command, answer);
        g_test_fail();
    }
}

/* The same by a person who types it */
static void test_hmp(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *save = g_strdup_printf("fadump_save %s", path);
    g_autofree char *missing = g_strdup_printf("fadump_save %s/x/y", f->dir);
    unsigned resets = f->resets;
    int fd;

    assert_hmp_says(f, "info fadump", "state: idle\r\nboot memory: 128 MiB");
    assert_hmp_says(f, "fadump_release", "Error: no dump is held");
    assert_hmp_says(f, save, "Error: no dump is held");
    assert_hmp_says(f, "fadump_save_cancel", "Error: ");
    fill_ram(f);
    assert_register(f, OK);
    assert_hmp_says(f, "info fadump", "state: registered");
    assert_hmp_says(f, "fadump_trigger", "");
    wait_reset(f, resets);
    wait_count(f, &f->captured, 1, "operator");
    assert_hmp_says(f, "fadump_trigger", "Error: a dump is held");
    assert_hmp_says(f, "info fadump", "state: dump-available");
    assert_hmp_says(f, "info fadump", "cause: operator");
    assert_hmp_says(f, "info fadump",
                    "memory: 1023 MiB, 127 MiB of it in host");
    assert_hmp_says(f, "info fadump", "boots since: 0 of ");
    assert_hmp_says(f, missing, "Error: cannot create");

    fd = save_to_pipe(f);
    assert_hmp_says(f, "info fadump", "save: active, 0 of ");
    assert_hmp_says(f, save, "Error: ");
    assert_hmp_says(f, "fadump_save_cancel", "");
    wait_count(f, &f->save_ended, 1, "cancelled");
    close(fd);
    assert_hmp_says(f, save, "");
    wait_count(f, &f->save_ended, 2, "completed");
    check_core(f, path, save_total(f, "completed"));
    qmp_save(f, "file:/dev/full");
    wait_count(f, &f->save_ended, 3, "failed");
    assert_hmp_says(f, "info fadump", "MiB: cannot write at 0 of ");
    assert_hmp_says(f, "fadump_release", "");
    wait_count(f, &f->released, 1, "host");
    assert_hmp_says(f, "info fadump", "state: idle");
    stop(f);
}

/* When nothing could come of it, and QEMU might even abort */
static void test_trigger_refused(const void *opaque)
{
    static const struct {
        const char *opts, *message;
    } cases[] = {
        { " -S", "the guest does not run" },
        { " -incoming defer", "while the machine is being migrated" },
        { " -no-reboot", "the guest would be shut down and not captured" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        Fadump *f = start(opaque, cases[i].opts);
        QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
                                                    "'fadump-trigger' }");

        g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                                cases[i].message));
        qobject_unref(error);
        g_assert_cmpint(f->captured + f->failed, ==, 0);
        stop(f);
    }
}

void fadump_add_host_tests(void)
{
    add_test("operator", PC_1G, test_operator);
    add_test("operator", Q35_3G, test_operator);
    add_test("hmp", Q35_1G, test_hmp);
    add_test("trigger-refused", Q35_1G, test_trigger_refused);
    add_test("notify", Q35_1G, test_notify);
    add_test("notify", Q35_BAR_SWAP, test_notify);
}
