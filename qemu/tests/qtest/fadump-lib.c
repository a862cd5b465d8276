/*
 * QTest helpers for fadump-dev: machines, the device and its config space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "hw/pci/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "fadump-lib.h"

/* above all RAM that these machines have */
#define BAR_ADDR (64 * GiB)

const Machine machines[NR_MACHINES] = {
    {
        "pc/1G", "-M pc -m 1G -smp 2,maxcpus=4 -device fadump-dev,"
                 "boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } },
    }, {
        "q35/1G", "-M q35 -m 1G -smp 2,maxcpus=4 -device fadump-dev,"
                  "boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } },
    }, {
        /* low RAM ends above 2 GiB: its last block, for firmware to see */
        "pc/3G", "-M pc -m 3G -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 3 * GiB } }, { { 0, B }, { 3 * GiB - B, B } },
    }, {
        "q35/3G", "-M q35 -m 3G -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 2 * GiB }, { 4 * GiB, 1 * GiB } }, { { 0, B } },
    }, {
        "q35/2560M", "-M q35 -m 2560M -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 2560 * MiB } }, { { 0, B }, { 2560 * MiB - B, B } },
    }, {
        "pc/6G", "-M pc -m 6G -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 3 * GiB }, { 4 * GiB, 3 * GiB } },
        { { 0, B }, { 3 * GiB - B, B } },
    }, {
        "q35/6G", "-M q35 -m 6G -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 2 * GiB }, { 4 * GiB, 4 * GiB } }, { { 0, B } },
    }, {
        /* what fills no memory block at an end of RAM cannot be hot-added */
        "pc/2000M", "-M pc -m 2000M -smp 2 -device fadump-dev,boot-mem=128M",
        { { 0, 2000 * MiB } }, { { 0, B }, { 1920 * MiB, 80 * MiB } },
    }, {
        /* boot memory across two RAM blocks */
        "q35/numa", "-M q35 -m 1G -smp 2 "
                    "-object memory-backend-ram,id=m0,size=64M "
                    "-object memory-backend-ram,id=m1,size=960M "
                    "-numa node,memdev=m0 -numa node,memdev=m1 "
                    "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } }, true
    }, {
        "q35/copy", "-M q35 -m 1G -smp 2 -device fadump-dev,boot-mem=128M,"
                    "x-move=off,x-swap=off",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_COPIED
    }, {
        "q35/swap", "-M q35 -m 1G -smp 2 -device fadump-dev,boot-mem=128M,"
                    "x-move=off",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_SWAPPED
    }, {
        /* mremap() of this would make two mappings of the same pages */
        "q35/memfd", "-M q35,memory-backend=m -m 1G -smp 2 "
                     "-object memory-backend-memfd,id=m,size=1G,share=on "
                     "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_SWAPPED
    }, {
        "q35/memfd-copy", "-M q35,memory-backend=m -m 1G -smp 2 "
                          "-object memory-backend-memfd,id=m,size=1G,share=on "
                          "-device fadump-dev,boot-mem=128M,x-swap=off",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_COPIED
    }, {
        /* parts of two blocks, and the last block of low RAM */
        "pc/numa-memfd", "-M pc -m 3G -smp 2 "
                         "-object memory-backend-memfd,id=m0,size=64M,share=on "
                         "-object memory-backend-memfd,id=m1,size=3008M,"
                         "share=on "
                         "-numa node,memdev=m0 -numa node,memdev=m1 "
                         "-device fadump-dev,boot-mem=128M",
        { { 0, 3 * GiB } }, { { 0, B }, { 3 * GiB - B, B } }, true,
        VIRTIO_FADUMP_METHOD_SWAPPED
    }, {
        "q35/ram-share", "-M q35,memory-backend=m -m 1G -smp 2 "
                         "-object memory-backend-ram,id=m,size=1G,share=on "
                         "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_SWAPPED
    }, {
        /* as on a machine that has no place for the window */
        "q35/bar", "-M q35 -m 1G -smp 2 -device fadump-dev,boot-mem=128M,"
                   "x-window-bar=on",
        { { 0, 1 * GiB } }, { { 0, B } }
    }, {
        "q35/bar-swap", "-M q35 -m 1G -smp 2 -device fadump-dev,boot-mem=128M,"
                        "x-window-bar=on,x-move=off",
        { { 0, 1 * GiB } }, { { 0, B } }, false, VIRTIO_FADUMP_METHOD_SWAPPED
    }
};

static bool event(QTestState *qts, const char *name, QDict *dict, void *opaque)
{
    Fadump *f = opaque;
    QDict *data = qdict_get_qdict(dict, "data"), *sub;

    if (g_str_equal(name, "RESET")) {
        f->resets++;
        f->reset_by_guest = qdict_get_bool(qdict_get_qdict(dict, "data"),
                                           "guest");
    } else if (g_str_equal(name, "GUEST_CRASHLOADED")) {
        f->crashloaded++;
    } else if (g_str_equal(name, "GUEST_PANICKED")) {
        f->panicked++;
    } else if (g_str_equal(name, "FADUMP_REGISTERED")) {
        f->registered++;
    } else if (g_str_equal(name, "FADUMP_CAPTURED")) {
        f->captured++;
        sub = qdict_get_qdict(data, "dump");
        g_strlcpy(f->why, qdict_get_str(sub, "cause"), sizeof(f->why));
        g_strlcpy(f->dump_id, qdict_get_str(sub, "id"), sizeof(f->dump_id));
        g_strlcpy(f->full_error, qdict_get_try_str(data, "full-error") ?: "",
                  sizeof(f->full_error));
    } else if (g_str_equal(name, "FADUMP_RELEASED")) {
        f->released++;
        f->resets_before = f->resets;
        /* one that was loaded has had no event here */
        if (f->captured) {
            g_assert_cmpstr(qdict_get_str(data, "id"), ==, f->dump_id);
        }
        g_strlcpy(f->why, qdict_get_str(data, "reason"), sizeof(f->why));
    } else if (g_str_equal(name, "FADUMP_FAILED")) {
        f->failed++;
        g_strlcpy(f->why, qdict_get_str(data, "cause"), sizeof(f->why));
        g_assert_nonnull(strstr(qdict_get_str(data, "error"), f->dump_id));
    } else if (g_str_equal(name, "FADUMP_SAVE_COMPLETED")) {
        f->save_ended++;
        sub = qdict_get_qdict(data, "save");
        g_strlcpy(f->why, qdict_get_str(sub, "status"), sizeof(f->why));
        g_assert_cmpstr(qdict_get_str(sub, "id"), ==, f->dump_id);
    }
    return true;
}

static void remove_dir(gpointer data)
{
    Fadump *f = data;
    GDir *dir = g_dir_open(f->dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(f->dir, name, NULL);

        unlink(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    rmdir(f->dir);
}

Fadump *start(const Machine *m, const char *more)
{
    Fadump *f = g_new0(Fadump, 1);

    f->m = m;
    f->qs = qtest_pc_boot("-nodefaults %s,addr=%d%s", m->opts, SLOT, more);
    f->qts = f->qs->qts;
    f->fw_cfg = pc_fw_cfg_init(f->qts);
    f->dir = g_dir_make_tmp("fadump-test-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
    qtest_add_abrt_handler(remove_dir, f);
    qtest_qmp_set_event_callback(f->qts, event, f);
    return f;
}

static void forget_device(Fadump *f)
{
    if (f->vq) {
        qvirtqueue_cleanup(f->dev->vdev.bus, f->vq, &f->qs->alloc);
        f->vq = NULL;
    }
    if (f->dev) {
        g_free(f->dev->pdev);
        g_free(f->dev);
        f->dev = NULL;
    }
}

void stop(Fadump *f)
{
    forget_device(f);
    qtest_remove_abrt_handler(f);
    remove_dir(f);
    g_free(f->dir);
    pc_fw_cfg_uninit(f->fw_cfg);
    qtest_shutdown(f->qs);
    g_free(f);
}

void find_device(Fadump *f)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(SLOT, 0) };

    forget_device(f);
    f->dev = virtio_pci_new(f->qs->pcibus, &addr);
    g_assert_nonnull(f->dev);
    g_assert_cmpint(f->dev->vdev.device_type, ==, VIRTIO_ID_FADUMP);
}

/* libqos maps below 4 GiB only, and the window is a 64-bit BAR. */
static void map_bar(Fadump *f)
{
    QPCIDevice *pdev = f->dev->pdev;
    const int lo = PCI_BASE_ADDRESS_0 + 4 * WINDOW_BAR, hi = lo + 4;
    uint64_t bar;

    qpci_config_writel(pdev, lo, 0xffffffff);
    qpci_config_writel(pdev, hi, 0xffffffff);
    bar = qpci_config_readl(pdev, lo) |
          (uint64_t)qpci_config_readl(pdev, hi) << 32;
    g_assert_cmphex(bar & ~PCI_BASE_ADDRESS_MEM_MASK, ==,
                    PCI_BASE_ADDRESS_MEM_TYPE_64 |
                    PCI_BASE_ADDRESS_MEM_PREFETCH);
    g_assert_cmphex(-(bar & PCI_BASE_ADDRESS_MEM_MASK), >=, f->window_len);
    qpci_config_writel(pdev, lo, (uint32_t)BAR_ADDR);
    qpci_config_writel(pdev, hi, BAR_ADDR >> 32);
}

/* Shared memory regions that the device has; @len of one of them */
static int find_shm(Fadump *f, uint64_t *len)
{
    QPCIDevice *pdev = f->dev->pdev;
    uint64_t off;
    uint8_t cap = 0;
    int found = 0;

    while ((cap = qpci_find_capability(pdev, PCI_CAP_ID_VNDR, cap))) {
        if (qpci_config_readb(pdev, cap + offsetof(struct virtio_pci_cap,
                                                   cfg_type)) !=
            VIRTIO_PCI_CAP_SHARED_MEMORY_CFG) {
            continue;
        }
        found++;
        g_assert_cmpint(qpci_config_readb(pdev, cap +
                        offsetof(struct virtio_pci_cap, bar)), ==, WINDOW_BAR);
        g_assert_cmpint(qpci_config_readb(pdev, cap +
                        offsetof(struct virtio_pci_cap, id)), ==,
                        VIRTIO_FADUMP_SHM_ID_WINDOW);
        off = qpci_config_readl(pdev, cap + offsetof(struct virtio_pci_cap64,
                                                     cap.offset)) |
              (uint64_t)qpci_config_readl(pdev, cap +
                  offsetof(struct virtio_pci_cap64, offset_hi)) << 32;
        *len = qpci_config_readl(pdev, cap + offsetof(struct virtio_pci_cap64,
                                                      cap.length)) |
               (uint64_t)qpci_config_readl(pdev, cap +
                   offsetof(struct virtio_pci_cap64, length_hi)) << 32;
        g_assert_cmphex(off, ==, 0);
    }
    return found;
}

/* As a driver does: by config space, or by the capability. */
void find_window(Fadump *f)
{
    QVirtioDevice *vdev = &f->dev->vdev;
    uint64_t len = 0;
    int shm = find_shm(f, &len);

    /* for libqos; config space may be read before */
    vdev->features = 1ull << VIRTIO_F_VERSION_1;
    vdev->features_negotiated = true;
    f->window = CONFIG_Q(f, window_addr);
    f->window_len = CONFIG_Q(f, window_len);
    g_assert_cmpint(shm, ==, strstr(f->m->opts, "x-window-bar") ? 1 : 0);
    if (shm) {
        g_assert_cmphex(f->window, ==, 0);
        g_assert_cmphex(len, ==, f->window_len);
        f->window = BAR_ADDR;
        map_bar(f);
    } else {
        g_assert_cmphex(f->window, !=, 0);
        g_assert_cmpint(qpci_config_readl(f->dev->pdev, PCI_BASE_ADDRESS_0 +
                                          4 * WINDOW_BAR), ==, 0);
    }
}

/* Bring the device up as after a boot, with @features at most. */
void probe_features(Fadump *f, uint64_t features)
{
    QVirtioDevice *vdev;

    find_device(f);
    vdev = &f->dev->vdev;
    f->qs->pcibus->mmio_alloc_ptr = 0xe0000000;
    qvirtio_pci_device_enable(f->dev);
    find_window(f);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) & features);
    f->vq = qvirtqueue_setup(vdev, &f->qs->alloc, VIRTIO_FADUMP_VQ_CTRL);
    qvirtio_set_driver_ok(vdev);
}

void probe(Fadump *f)
{
    probe_features(f, 1ull << VIRTIO_F_VERSION_1 |
                      1ull << VIRTIO_FADUMP_F_HOST_MEM |
                      1ull << VIRTIO_FADUMP_F_CONFINE);
}

Fadump *start_and_probe(const Machine *m, const char *more)
{
    Fadump *f = start(m, more);

    probe(f);
    return f;
}

int timeout_scale(void)
{
    const char *scale = g_getenv("FADUMP_TIMEOUT_SCALE");

    return scale ? atoi(scale) : 1;
}

/*
 * A reset that was asked for happens at the end of the main loop's turn: it
 * has happened before the second of two commands is answered.
 */
void settle(Fadump *f)
{
    int i;

    for (i = 0; i < 3; i++) {
        qtest_qmp_assert_success(f->qts, "{ 'execute': 'query-status' }");
    }
}

void wait_reset(Fadump *f, unsigned before)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (f->resets == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
        settle(f);
    }
    g_assert_cmpint(f->resets, ==, before + 1);
}

void system_reset(Fadump *f)
{
    unsigned before = f->resets;

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'system_reset' }");
    wait_reset(f, before);
    g_assert_false(f->reset_by_guest);
}

/* A reset by the guest that does not name its reason, port CF9h. */
void guest_reset(Fadump *f)
{
    unsigned before = f->resets;

    qtest_outb(f->qts, 0xcf9, 2);
    qtest_outb(f->qts, 0xcf9, 6);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
}

void write_config(Fadump *f, uint64_t off, const void *buf, size_t len)
{
    qtest_memwrite(f->qts, f->dev->bar.addr + f->dev->device_cfg_offset + off,
                   buf, len);
}

void trigger(Fadump *f, uint32_t value)
{
    value = cpu_to_le32(value);
    write_config(f, CONFIG_OFF(trigger), &value, sizeof(value));
}

void trigger_panic(Fadump *f)
{
    unsigned before = f->resets;

    trigger(f, VIRTIO_FADUMP_TRIGGER_PANIC);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
    g_assert_cmpint(f->panicked, ==, 0);
}

/* A crash that must be captured, and the driver of the next boot */
void crash_and_probe(Fadump *f)
{
    unsigned captured = f->captured;

    trigger_panic(f);
    wait_count(f, &f->captured, captured + 1, "panic");
    probe_features(f, ALL_FEATURES);
    assert_state(f, DUMP_AVAILABLE);
}

void add_test(const char *name, const Machine *m,
              void (*fn)(const void *opaque))
{
    g_autofree char *path = g_strdup_printf("fadump/%s/%s", name, m->name);

    qtest_add_data_func(path, m, fn);
}
