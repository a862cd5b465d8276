/*
 * QTest testcase for fadump-dev: properties, and machines that are refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

typedef struct Refusal {
    const char *opts;
    const char *message;
} Refusal;

/* Each must end QEMU at once, in good order, and with this message. */
static void test_refused(void)
{
    static const Refusal cases[] = {
        { "-M pc -m 1G -device fadump-dev,boot-mem=2G",
          "boot-mem=2048 MiB is more than the guest's 1024 MiB" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=4M",
          "too small to boot in; use at least 128M" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=18446744073709551615",
          "is more than the guest's 1024 MiB" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=18446744073709551614",
          "is more than the guest's 1024 MiB" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=-1", "boot-mem" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=all", "boot-mem" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=full", "boot-mem" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem-max=2G",
          "boot-mem-max=2048 MiB is more than the guest's 1024 MiB" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem=256M,boot-mem-max=128M",
          "boot-mem-max=128 MiB is less than the 256 MiB of boot-mem" },
        { "-M q35 -m 1G -device fadump-dev,boot-mem-max=128M",
          "boot-mem-max=128 MiB is less than the 512 MiB of boot-mem" },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=20G,"
          "reserve=off -m 20G -cpu qemu64,phys-bits=36 -device fadump-dev,"
          "full=on",
          "36 bits of the vCPUs' physical addresses; use -cpu" },
        { "-M q35 -m 1G -device fadump-dev,host-mem=off,guest-mem=off",
          "nowhere to go: host-mem and guest-mem are both off" },
        { "-M q35 -m 1G -device fadump-dev,host-mem=off,full=on",
          "full=on needs host-mem=on" },
        { "-M q35 -m 1G -device fadump-dev,host-mem=off,full-room=on",
          "full-room=on needs host-mem=on" },
        { "-M q35 -m 1G -device fadump-dev,full=on,full-room=off",
          "full=on needs room for all RAM: drop full-room=off" },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=20G,"
          "reserve=off -m 20G -cpu qemu64,phys-bits=36 -device fadump-dev,"
          "full-room=on",
          "36 bits of the vCPUs' physical addresses; use -cpu" },
        { "-M q35 -m 1G -device fadump-dev,max-boots=0", "max-boots" },
        { "-M q35 -m 1G -device fadump-dev -device fadump-dev",
          "at most one fadump-dev" },
        { "-M q35,cxl=on -m 1G -device fadump-dev",
          "cannot confine a machine with CXL" },
        { "-M microvm,pcie=on -m 1G -device fadump-dev",
          "machine type microvm cannot confine a boot to boot memory; use pc "
          "or q35" },
        { "-M microvm -m 1G -device virtio-fadump-device",
          "machine type microvm cannot confine a boot" },
        { "-M none -device fadump-dev", "No 'PCI' bus found" },
    };
    const char *qemu = g_getenv("QTEST_QEMU_BINARY");
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        /* where the device is not refused, this one ends QEMU all the same */
        g_autofree char *cmd = g_strdup_printf("%s -S -nodefaults -display none"
                                               " -accel qtest %s -device "
                                               "no-such-device", qemu,
                                               cases[i].opts);
        g_autofree char *err = NULL;
        int status;

        g_test_message("%s", cases[i].opts);
        g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status,
                                                NULL));
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 1);
        if (!strstr(err, cases[i].message)) {
            g_test_message("expected '%s', got: %s", cases[i].message, err);
            g_test_fail();
        }
    }
}

typedef struct Place {
    const char *opts;
    uint64_t window, reserved_end;
} Place;

/* The window lies above RAM, and firmware is told to keep devices off it. */
static void test_place(void)
{
#define TB "-object memory-backend-ram,id=m,size=1T,reserve=off -m 1T "
    static const Place cases[] = {
        { "-M pc -m 1G -device fadump-dev,full-room=off", 4 * GiB, 5 * GiB },
        { "-M q35 -m 6G -device fadump-dev,full-room=off", 8 * GiB, 10 * GiB },
        { "-M pc -m 6G -device fadump-dev,full=on", 7 * GiB, 14 * GiB },
        { "-M q35 -m 5000M -device fadump-dev,full-room=off",
          7 * GiB, 9 * GiB },
        { "-M q35 -m 6G -device fadump-dev,host-mem=off", 8 * GiB, 9 * GiB },
        { "-M q35 -m 6G -device fadump-dev,x-window-bar=on", 0, 8 * GiB },
        /* a terabyte, all of it, in 46 bits */
        { "-M q35,memory-backend=m " TB "-cpu qemu64,phys-bits=46,"
          "vendor=GenuineIntel -device fadump-dev,full=on",
          1026 * GiB, 2051 * GiB },
        /* around what HyperTransport has below 1 TiB: RAM lies above already */
        { "-M q35,memory-backend=m " TB "-cpu qemu64,phys-bits=46,"
          "vendor=AuthenticAMD -device fadump-dev,full=on",
          2 * TiB - 2 * GiB, 3 * TiB - 1 * GiB },
        /* RAM below it, the window above */
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=600G,"
          "reserve=off -m 600G -cpu qemu64,phys-bits=46,vendor=AuthenticAMD "
          "-device fadump-dev,full=on", 1 * TiB, 1 * TiB + 601 * GiB },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=600G,"
          "reserve=off -m 600G -cpu qemu64,phys-bits=46,vendor=GenuineIntel "
          "-device fadump-dev,full=on", 602 * GiB, 1203 * GiB },
    };
    uint64_t end;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        const Machine m = { cases[i].opts, cases[i].opts };
        Fadump *f;

        g_test_message("%s", cases[i].opts);
        f = start(&m, "");
        find_device(f);
        qvirtio_pci_device_enable(f->dev);
        find_window(f);
        g_assert_cmphex(CONFIG_Q(f, window_addr), ==, cases[i].window);
        g_assert_cmphex(CONFIG_Q(f, window_addr) % GiB, ==, 0);
        g_assert_cmpint(qfw_cfg_get_file(f->fw_cfg, "etc/reserved-memory-end",
                                         &end, sizeof(end)), ==, sizeof(end));
        g_assert_cmphex(le64_to_cpu(end), ==, cases[i].reserved_end);
        assert_window(f, false);
        stop(f);
    }
}

/* Resident memory of QEMU, in bytes */
static uint64_t rss(Fadump *f)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            qtest_pid(f->qts));
    g_autofree char *statm = NULL;
    uint64_t size, resident;

    g_assert_true(g_file_get_contents(path, &statm, NULL, NULL));
    g_assert_cmpint(sscanf(statm, "%" SCNu64 " %" SCNu64, &size, &resident),
                    ==, 2);
    return resident * qemu_real_host_page_size();
}

/*
 * Where there is address space the window has room for all RAM, so that full
 * can be switched on at any time, and that takes no memory.
 */
static void test_full_room(void)
{
#define SET_FULL "{ 'execute': 'qom-set', 'arguments': { 'path': " \
                 "'/machine/peripheral/f', 'property': 'full', " \
                 "'value': true } }"
    static const struct {
        const char *opts;
        uint64_t ram;
        bool full;
    } cases[] = {
        { "-M pc -m 1G -device fadump-dev,id=f", 1 * GiB, true },
        { "-M q35 -m 6G -device fadump-dev,id=f", 6 * GiB, true },
        { "-M q35 -m 6G -device fadump-dev,id=f,full-room=off", 6 * GiB },
        { "-M q35 -m 6G -device fadump-dev,id=f,host-mem=off", 6 * GiB },
        { "-M q35 -m 6G -device fadump-dev,id=f,x-window-bar=on", 6 * GiB },
        { "-M q35 -m 6G -device fadump-dev,id=f,x-window-bar=on,full-room=on",
          6 * GiB, true },
        /* RAM, as much again, and PCI memory behind it: 40 bits, then 36 */
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=400G,"
          "reserve=off -m 400G -cpu qemu64 -device fadump-dev,id=f",
          400 * GiB, true },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=600G,"
          "reserve=off -m 600G -cpu qemu64,vendor=GenuineIntel -device "
          "fadump-dev,id=f", 600 * GiB },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=20G,"
          "reserve=off -m 20G -cpu qemu64,phys-bits=36 -device fadump-dev,"
          "id=f", 20 * GiB },
        { "-M q35,memory-backend=m " TB "-cpu qemu64,phys-bits=46 -device "
          "fadump-dev,id=f", 1 * TiB, true },
        { "-M q35,memory-backend=m " TB "-cpu qemu64,phys-bits=46 -device "
          "fadump-dev,id=f,full-room=off", 1 * TiB },
    };
    uint64_t before = 0, now;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        const Machine m = { cases[i].opts, cases[i].opts };
        Fadump *f;

        g_test_message("%s", cases[i].opts);
        f = start(&m, "");
        find_device(f);
        qvirtio_pci_device_enable(f->dev);
        find_window(f);
        if (cases[i].full) {
            g_assert_cmphex(f->window_len, >, cases[i].ram);
            qtest_qmp_assert_success(f->qts, SET_FULL);
        } else {
            g_assert_cmphex(f->window_len, <, cases[i].ram);
            qobject_unref(qtest_qmp_assert_failure_ref(f->qts, SET_FULL));
        }
        now = rss(f);
        g_test_message("resident: %" PRIu64 " MiB", now / MiB);
        if (cases[i].ram == TiB && !cases[i].full) {
            /* bitmaps of dirty pages, which its RAM has as well */
            g_assert_cmpint(before, <, now + 192 * MiB);
        }
        before = now;
        stop(f);
    }
}

/* Machine types of the future can turn each feature off. */
static void test_feature_properties(void)
{
    static const struct {
        const char *opts;
        uint32_t features;
    } cases[] = {
        { "", 0xf },
        { ",host-mem=off", 1 << VIRTIO_FADUMP_F_GUEST_MEM |
                           1 << VIRTIO_FADUMP_F_CONFINE },
        { ",guest-mem=off", 0xf & ~(1 << VIRTIO_FADUMP_F_GUEST_MEM) },
        { ",confine=off", 0xf & ~(1 << VIRTIO_FADUMP_F_CONFINE) },
        { ",discard=off", 0xf & ~(1 << VIRTIO_FADUMP_F_DISCARD) },
        { ",full=on", 0xf },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        Fadump *f = start(Q35_1G, cases[i].opts);

        g_test_message("%s", cases[i].opts);
        find_device(f);
        qvirtio_pci_device_enable(f->dev);
        g_assert_cmphex(qvirtio_get_features(&f->dev->vdev) & 0xffffff, ==,
                        cases[i].features);
        stop(f);
    }
}

static void test_introspect(void)
{
    QTestState *qts = qtest_init("-M q35 -m 1G -nodefaults");
    QDict *error, *info;

    error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': 'device_add', "
                                         "'arguments': { 'driver': "
                                         "'fadump-dev' } }");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "hotplug"));
    qobject_unref(error);
    qtest_qmp_assert_success(qts, "{ 'execute': 'device-list-properties', "
                             "'arguments': { 'typename': 'fadump-dev' } }");
    qtest_quit(qts);

    qts = qtest_init("-M q35 -m 1G -nodefaults -device fadump-dev,id=f");
    info = qtest_qmp_assert_success_ref(qts, "{ 'execute': "
        "'x-query-virtio-status', 'arguments': { 'path': "
        "'/machine/peripheral/f/virtio-backend' } }");
    g_assert_cmpstr(qdict_get_str(info, "name"), ==, "virtio-fadump");
    qobject_unref(info);
    qtest_quit(qts);
}

void fadump_add_property_tests(void)
{
    qtest_add_func("fadump/place", test_place);
    qtest_add_func("fadump/full-room", test_full_room);
    qtest_add_func("fadump/feature-properties", test_feature_properties);
    qtest_add_func("fadump/refused", test_refused);
    qtest_add_func("fadump/introspect", test_introspect);
}
