/*
 * QTest testcase for fadump-dev, firmware-assisted dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the guest's driver, a hostile one at times. No vCPU runs: what
 * is in memory at a capture, and after it, is what the test has put there.
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qemu/uuid.h"
#include "elf.h"
#include "libqtest.h"
#include "libqos/fw_cfg.h"
#include "libqos/libqos-pc.h"
#include "libqos/virtio-pci.h"
#include "qobject/qdict.h"
#include "hw/pci/pci_regs.h"
#include "standard-headers/linux/qemu_fw_cfg.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "standard-headers/linux/virtio_pci.h"

#define SLOT 4
/* where the machine has no place for the window */
#define WINDOW_BAR 4
/* above all RAM that these machines have */
#define BAR_ADDR (64 * GiB)
#define FW_CFG_DESC "etc/fadump-dump"
#define TIMEOUT_US (30 * G_USEC_PER_SEC)

#define B (128 * MiB)
#define HOST VIRTIO_FADUMP_DST_HOST
#define MAX_REGIONS 512

/* The guest's notes, in boot memory, clear of what libqos allocates. */
#define VMCOREINFO_ADDR (40 * MiB + 0x124)
#define CRASH_NOTE_ADDR (41 * MiB + 4)

/* ROM until firmware turns on shadow RAM; no machine here but one has VGA. */
#define ROM_START 0xc0000
#define ROM_END (1 * MiB)
#define VGA_START 0xa0000

/* Where cs and eip lie in the NT_PRSTATUS of a vCPU in real mode. */
#define PRSTATUS_PID 24
#define PRSTATUS_EIP 120
#define PRSTATUS_CS 124

typedef struct Span {
    uint64_t base, size;
} Span;

/* A machine: its RAM, and what of it must be boot memory. */
typedef struct Machine {
    const char *name;
    const char *opts;
    Span ram[3];
    Span boot[4];
    /* the first 64 MiB are on node 0, the rest is on node 1 */
    bool numa;
    /* how boot memory is set aside, if it is not moved */
    uint32_t method;
} Machine;

static const Machine machines[] = {
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

#define PC_1G (&machines[0])
#define Q35_1G (&machines[1])
#define PC_3G (&machines[2])
#define Q35_3G (&machines[3])
#define PC_6G (&machines[5])
#define PC_2000M (&machines[7])
#define Q35_SWAP (&machines[10])
#define Q35_MEMFD (&machines[11])
#define Q35_BAR_SWAP (&machines[16])

typedef struct Fadump {
    const Machine *m;
    QOSState *qs;
    QTestState *qts;
    QFWCFG *fw_cfg;
    QVirtioPCIDevice *dev;
    QVirtQueue *vq;
    /* where the window lies, and its size */
    uint64_t window, window_len;
    /* boot memory that REGISTER asks for, 0 for the default */
    uint64_t ask;
    char *dir;
    unsigned resets;
    unsigned crashloaded;
    unsigned panicked;
    unsigned registered;
    unsigned captured;
    unsigned released;
    unsigned failed;
    unsigned save_ended;
    /* of the last event that has one: cause, reason or status */
    char why[32];
    char dump_id[40];
    bool reset_by_guest;
} Fadump;

/* A part of RAM that the test expects in a descriptor, or has found there. */
typedef struct Piece {
    uint64_t base, size;
    bool boot;
    uint64_t dest;
} Piece;

/* ------------------------------------------------------------------ */
/* The machine                                                        */

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
    } else if (g_str_equal(name, "FADUMP_RELEASED")) {
        f->released++;
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

static Fadump *start(const Machine *m, const char *more)
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

static void stop(Fadump *f)
{
    forget_device(f);
    qtest_remove_abrt_handler(f);
    remove_dir(f);
    g_free(f->dir);
    pc_fw_cfg_uninit(f->fw_cfg);
    qtest_shutdown(f->qs);
    g_free(f);
}

static void find_device(Fadump *f)
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

#define CONFIG_OFF(field) offsetof(struct virtio_fadump_config, field)
#define CONFIG_L(f, field) \
    qvirtio_config_readl(&(f)->dev->vdev, CONFIG_OFF(field))
#define CONFIG_Q(f, field) \
    qvirtio_config_readq(&(f)->dev->vdev, CONFIG_OFF(field))

/* As a driver does: by config space, or by the capability. */
static void find_window(Fadump *f)
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
static void probe_features(Fadump *f, uint64_t features)
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

static void probe(Fadump *f)
{
    probe_features(f, 1ull << VIRTIO_F_VERSION_1 |
                      1ull << VIRTIO_FADUMP_F_HOST_MEM |
                      1ull << VIRTIO_FADUMP_F_CONFINE);
}

static Fadump *start_and_probe(const Machine *m, const char *more)
{
    Fadump *f = start(m, more);

    probe(f);
    return f;
}

/*
 * A reset that was asked for happens at the end of the main loop's turn: it
 * has happened before the second of two commands is answered.
 */
static void settle(Fadump *f)
{
    int i;

    for (i = 0; i < 3; i++) {
        qtest_qmp_assert_success(f->qts, "{ 'execute': 'query-status' }");
    }
}

static void wait_reset(Fadump *f, unsigned before)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (f->resets == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
        settle(f);
    }
    g_assert_cmpint(f->resets, ==, before + 1);
}

static void system_reset(Fadump *f)
{
    unsigned before = f->resets;

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'system_reset' }");
    wait_reset(f, before);
    g_assert_false(f->reset_by_guest);
}

/* A reset by the guest that does not name its reason, port CF9h. */
static void guest_reset(Fadump *f)
{
    unsigned before = f->resets;

    qtest_outb(f->qts, 0xcf9, 2);
    qtest_outb(f->qts, 0xcf9, 6);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
}

/* ------------------------------------------------------------------ */
/* Config space                                                       */

#define assert_state(f, name) \
    g_assert_cmpint(CONFIG_L(f, state), ==, VIRTIO_FADUMP_STATE_##name)

static void write_config(Fadump *f, uint64_t off, const void *buf, size_t len)
{
    qtest_memwrite(f->qts, f->dev->bar.addr + f->dev->device_cfg_offset + off,
                   buf, len);
}

static void trigger(Fadump *f, uint32_t value)
{
    value = cpu_to_le32(value);
    write_config(f, CONFIG_OFF(trigger), &value, sizeof(value));
}

static void trigger_panic(Fadump *f)
{
    unsigned before = f->resets;

    trigger(f, VIRTIO_FADUMP_TRIGGER_PANIC);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
    g_assert_cmpint(f->panicked, ==, 0);
}

/* ------------------------------------------------------------------ */
/* Requests                                                           */

/*
 * Send @req; the answer's data go to @answer, of @room bytes. The buffer that
 * the device may write is cut into parts of @cut bytes, and one with the rest.
 */
static uint32_t request_full(Fadump *f, const void *req, size_t len,
                             void *answer, size_t room, size_t cut,
                             uint64_t *detail)
{
    const size_t resp_len = sizeof(struct virtio_fadump_resp) + room;
    QGuestAllocator *alloc = &f->qs->alloc;
    uint64_t out = guest_alloc(alloc, MAX(len, 1));
    uint64_t in = guest_alloc(alloc, resp_len), used_len;
    struct virtio_fadump_resp resp;
    uint32_t head, size, status;
    size_t pos = 0;

    qtest_memset(f->qts, in, 0xa5, resp_len);

    qvirtqueue_reset_pool(f->vq);
    head = f->vq->free_head;
    if (len) {
        qtest_bufwrite(f->qts, out, req, len);
        qvirtqueue_add(f->qts, f->vq, out, len, false, true);
    }
    for (; cut && resp_len - pos > cut && f->vq->num_free > 2; pos += cut) {
        qvirtqueue_add(f->qts, f->vq, in + pos, cut, true, true);
    }
    qvirtqueue_add(f->qts, f->vq, in + pos, resp_len - pos, true, false);
    used_len = f->vq->used + offsetof(struct vring_used, ring) +
               f->vq->last_used_idx % f->vq->size *
               sizeof(struct vring_used_elem) +
               offsetof(struct vring_used_elem, len);
    qvirtqueue_kick(f->qts, &f->dev->vdev, f->vq, head);
    qvirtio_wait_used_elem(f->qts, &f->dev->vdev, f->vq, head, NULL,
                           TIMEOUT_US);

    qtest_bufread(f->qts, in, &resp, sizeof(resp));
    status = le32_to_cpu(resp.status);
    size = le32_to_cpu(resp.size);
    g_assert_cmpint(size, <=, room);
    g_assert_cmpint(qtest_readl(f->qts, used_len), ==, sizeof(resp) + size);
    if (status != VIRTIO_FADUMP_S_OK) {
        g_assert_cmpint(size, ==, 0);
    }
    if (room) {
        qtest_bufread(f->qts, in + sizeof(resp), answer, room);
    }
    if (detail) {
        *detail = le64_to_cpu(resp.detail);
    }
    /* no second copy of a descriptor for a test that looks for the first */
    qtest_memset(f->qts, in, 0, resp_len);
    guest_free(alloc, in);
    guest_free(alloc, out);
    return status;
}

static uint32_t request(Fadump *f, uint32_t type)
{
    struct virtio_fadump_req req = {
        .type = cpu_to_le32(type),
        .size = cpu_to_le32(sizeof(req)),
    };
    uint64_t detail;
    uint32_t status = request_full(f, &req, sizeof(req), NULL, 0, 0, &detail);

    if (status != VIRTIO_FADUMP_S_UNSUPPORTED &&
        status != VIRTIO_FADUMP_S_NO_SPACE) {
        g_assert_cmpint(detail, ==, 0);
    }
    return status;
}

/*
 * The answer to GET_BOOT_MEM for @size, in host byte order, with room for @room
 * ranges; the caller frees.
 */
static struct virtio_fadump_boot_mem *
get_boot_mem(Fadump *f, uint64_t size, size_t room, size_t cut,
             uint32_t *status, uint64_t *detail)
{
    const struct virtio_fadump_get_boot_mem req = {
        .hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM),
        .hdr.size = cpu_to_le32(sizeof(req)),
        .size = cpu_to_le64(size),
    };
    const size_t len = sizeof(struct virtio_fadump_boot_mem) +
                       room * sizeof(struct virtio_fadump_extent);
    struct virtio_fadump_boot_mem *mem = g_malloc0(len);
    uint32_t i;

    *status = request_full(f, &req, sizeof(req),
                           (uint8_t *)mem + sizeof(mem->hdr),
                           len - sizeof(mem->hdr), cut, detail);
    if (*status == VIRTIO_FADUMP_S_OK) {
        mem->size = le64_to_cpu(mem->size);
        mem->nr_ranges = le32_to_cpu(mem->nr_ranges);
        g_assert_cmpint(mem->reserved, ==, 0);
        g_assert_cmpint(mem->nr_ranges, <=, room);
        for (i = 0; i < mem->nr_ranges; i++) {
            mem->ranges[i].addr = le64_to_cpu(mem->ranges[i].addr);
            mem->ranges[i].len = le64_to_cpu(mem->ranges[i].len);
        }
    }
    return mem;
}

/* As above, of what must be granted */
static struct virtio_fadump_boot_mem *ask_boot_mem(Fadump *f, uint64_t size)
{
    struct virtio_fadump_boot_mem *mem;
    uint32_t status;
    uint64_t detail;

    mem = get_boot_mem(f, size, 8, 0, &status, &detail);
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    g_assert_cmpint(detail, ==, 0);
    return mem;
}

/* A REGISTER request of @n regions, in host byte order; the caller frees. */
static struct virtio_fadump_register *
make_register(const struct virtio_fadump_region *regions, uint32_t n,
              uint64_t boot_mem, size_t *size)
{
    struct virtio_fadump_register *reg;
    uint32_t i;

    *size = sizeof(*reg) + n * sizeof(reg->regions[0]);
    reg = g_malloc0(*size);
    reg->hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_REGISTER);
    reg->hdr.size = cpu_to_le32(*size);
    reg->nr_regions = cpu_to_le32(n);
    reg->boot_mem = cpu_to_le64(boot_mem);
    for (i = 0; i < n; i++) {
        reg->regions[i] = (struct virtio_fadump_region) {
            .type = cpu_to_le32(regions[i].type),
            .reserved = cpu_to_le32(regions[i].reserved),
            .src = cpu_to_le64(regions[i].src),
            .len = cpu_to_le64(regions[i].len),
            .dst = cpu_to_le64(regions[i].dst),
        };
    }
    return reg;
}

static uint32_t do_register(Fadump *f,
                            const struct virtio_fadump_region *regions,
                            uint32_t n, uint64_t *detail)
{
    g_autofree struct virtio_fadump_register *reg = NULL;
    size_t size;

    reg = make_register(regions, n, f->ask ?: B, &size);
    return request_full(f, reg, size, NULL, 0, 0, detail);
}

#define CPU_STATE { VIRTIO_FADUMP_REGION_CPU_STATE }
#define BOOT_MEM(src, len) \
    { VIRTIO_FADUMP_REGION_BOOT_MEM, 0, (src), (len), HOST }
#define VMCOREINFO(src, len) \
    { VIRTIO_FADUMP_REGION_VMCOREINFO, 0, (src), (len) }
#define CRASH_NOTE(src, len) \
    { VIRTIO_FADUMP_REGION_CRASH_NOTE, 0, (src), (len) }

static size_t make_note(uint8_t *buf, const char *name, uint32_t type,
                        const void *desc, size_t desc_size)
{
    const size_t namesz = strlen(name) + 1;

    stl_le_p(buf, namesz);
    stl_le_p(buf + 4, desc_size);
    stl_le_p(buf + 8, type);
    memcpy(buf + 12, name, namesz);
    memcpy(buf + 12 + ROUND_UP(namesz, 4), desc, desc_size);
    return 12 + ROUND_UP(namesz, 4) + ROUND_UP(desc_size, 4);
}

/* The note as a kernel has it, in a page that is longer. */
static size_t vmcoreinfo_note(uint8_t *buf)
{
    static const char desc[] = "OSRELEASE=qtest\nPAGESIZE=4096\n";

    return make_note(buf, "VMCOREINFO", 0, desc, sizeof(desc));
}

/* Registers as a kernel that panics gives them. */
static size_t crash_note(uint8_t *buf)
{
    uint8_t regs[336];
    int i;

    for (i = 0; i < sizeof(regs); i++) {
        regs[i] = 255 - i;
    }
    return make_note(buf, "CORE", NT_PRSTATUS, regs, sizeof(regs));
}

/* Register @f->ask bytes of boot memory, as a kernel does at boot. */
static uint32_t register_all(Fadump *f)
{
    g_autofree struct virtio_fadump_boot_mem *mem = ask_boot_mem(f, f->ask);
    struct virtio_fadump_region regions[3 + 8] = {
        CPU_STATE,
        VMCOREINFO(VMCOREINFO_ADDR, 4096),
        CRASH_NOTE(CRASH_NOTE_ADDR, 4096),
    };
    uint8_t note[4096] = { 0 }, crash[4096] = { 0 };
    g_autofree struct virtio_fadump_register *reg = NULL;
    size_t size;
    uint32_t i;

    for (i = 0; i < mem->nr_ranges; i++) {
        regions[3 + i] = (struct virtio_fadump_region)
                         BOOT_MEM(mem->ranges[i].addr, mem->ranges[i].len);
    }
    vmcoreinfo_note(note);
    crash_note(crash);
    qtest_bufwrite(f->qts, VMCOREINFO_ADDR, note, sizeof(note));
    qtest_bufwrite(f->qts, CRASH_NOTE_ADDR, crash, sizeof(crash));
    reg = make_register(regions, 3 + mem->nr_ranges, mem->size, &size);
    return request_full(f, reg, size, NULL, 0, 0, NULL);
}

#define assert_request(f, name, expected) \
    g_assert_cmpint(request(f, VIRTIO_FADUMP_REQ_##name), ==, \
                    VIRTIO_FADUMP_S_##expected)
#define assert_register(f, expected) \
    g_assert_cmpint(register_all(f), ==, VIRTIO_FADUMP_S_##expected)

/* Whatever was refused, the device is IDLE and takes a good registration. */
static void assert_unharmed(Fadump *f)
{
    assert_state(f, IDLE);
    assert_register(f, OK);
    assert_state(f, REGISTERED);
    assert_request(f, UNREGISTER, OK);
    assert_state(f, IDLE);
}

/* ------------------------------------------------------------------ */
/* Patterns in guest RAM                                              */

static void make_pattern(uint8_t *page, uint64_t addr)
{
    uint64_t i;

    for (i = 0; i < 4096; i += 8) {
        uint64_t x = addr + i + 0x9e3779b97f4a7c15;

        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        stq_le_p(page + i, x ^ (x >> 27));
    }
}

/* The page at *@addr or after it that carries a pattern; false: no more. */
static bool next_sample(const Fadump *f, uint64_t *addr)
{
    /* odd on purpose: not a multiple of any alignment in the device */
    const uint64_t stride = 4099 * 4096, first = 16 * MiB;
    const Span *r;

    for (r = f->m->ram; r->size; r++) {
        uint64_t a = MAX(*addr, MAX(r->base, first));
        uint64_t end = r->base + r->size;

        /* the last page of each range counts most */
        a = QEMU_ALIGN_UP(a, stride);
        if (a < end - 4096) {
            *addr = a;
            return true;
        }
        if (*addr <= end - 4096) {
            *addr = end - 4096;
            return true;
        }
    }
    return false;
}

static void fill_ram(Fadump *f)
{
    uint8_t page[4096];
    uint64_t addr;

    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        make_pattern(page, addr);
        qtest_bufwrite(f->qts, addr, page, sizeof(page));
    }
}

static const Piece *find_piece(const GArray *pieces, uint64_t addr)
{
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);

        if (addr - p->base < p->size) {
            return p;
        }
    }
    return NULL;
}

/* Every sample is where the descriptor says. */
static void check_ram(Fadump *f, const GArray *pieces)
{
    unsigned in_place = 0, held = 0;
    uint8_t page[4096], got[4096];
    uint64_t addr;

    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        const Piece *p = find_piece(pieces, addr);

        g_assert_nonnull(p);
        make_pattern(page, addr);
        qtest_bufread(f->qts, p->boot ? f->window + p->dest + (addr - p->base)
                                      : addr, got, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        *(p->boot ? &held : &in_place) += 1;
    }
    g_assert_cmpint(held, >, 3);
    g_assert_cmpint(in_place, >, 3);
}

static void save_memory(Fadump *f, uint64_t addr, uint64_t size,
                        const char *path)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'pmemsave', 'arguments': "
                             "{ 'val': %" PRId64 ", 'size': %" PRId64
                             ", 'filename': %s } }", (int64_t)addr,
                             (int64_t)size, path);
}

static void assert_zero(Fadump *f, uint64_t addr, uint64_t size)
{
    g_autofree char *path = g_build_filename(f->dir, "zero", NULL);
    g_autofree char *buf = NULL;
    gsize len;

    save_memory(f, addr, size, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    g_assert_cmpint(len, ==, size);
    g_assert_true(buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
    unlink(path);
}

/* ------------------------------------------------------------------ */
/* What firmware sees                                                 */

typedef struct QEMU_PACKED E820 {
    uint64_t addr, len;
    uint32_t type;
} E820;

enum { E820_RAM = 1, E820_RESERVED = 2 };

static gint cmp_u64(gconstpointer pa, gconstpointer pb)
{
    const uint64_t *a = pa, *b = pb;

    return *a < *b ? -1 : *a > *b;
}

static bool in_ranges(const Span *r, uint64_t addr)
{
    for (; r->size; r++) {
        if (addr - r->base < r->size) {
            return true;
        }
    }
    return false;
}

/*
 * The machine's RAM cut at the borders of boot memory, pieces that touch and
 * are alike joined; with the RAM behind ROM or as a vCPU sees it.
 */
static GArray *expected_pieces(const Machine *m, bool with_rom)
{
    const Span rom[] = { { ROM_START, ROM_END - ROM_START }, { 0 } };
    const Span *all[] = { m->ram, m->boot, rom };
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(uint64_t));
    GArray *pieces = g_array_new(false, false, sizeof(Piece));
    const Span *r;
    guint i;

    for (i = 0; i < ARRAY_SIZE(all); i++) {
        for (r = all[i]; r->size; r++) {
            uint64_t end = r->base + r->size;

            g_array_append_val(cuts, r->base);
            g_array_append_val(cuts, end);
        }
    }
    g_array_sort(cuts, cmp_u64);
    for (i = 0; i + 1 < cuts->len; i++) {
        Piece p = { g_array_index(cuts, uint64_t, i) }, *last = NULL;

        p.size = g_array_index(cuts, uint64_t, i + 1) - p.base;
        p.boot = in_ranges(m->boot, p.base);
        if (!p.size || !in_ranges(m->ram, p.base) ||
            (!with_rom && in_ranges(rom, p.base))) {
            continue;
        }
        if (pieces->len) {
            last = &g_array_index(pieces, Piece, pieces->len - 1);
        }
        if (last && last->base + last->size == p.base && last->boot == p.boot) {
            last->size += p.size;
        } else {
            g_array_append_val(pieces, p);
        }
    }
    return pieces;
}

static GByteArray *read_fw_cfg(Fadump *f, const char *name)
{
    GByteArray *file = g_byte_array_new();
    size_t size = qfw_cfg_get_file(f->fw_cfg, name, file->data, 0);

    g_byte_array_set_size(file, size);
    if (size) {
        g_assert_cmpint(qfw_cfg_get_file(f->fw_cfg, name, file->data, size),
                        ==, size);
    }
    return file;
}

static gint cmp_e820(gconstpointer pa, gconstpointer pb)
{
    const E820 *a = pa, *b = pb;

    return a->addr < b->addr ? -1 : a->addr > b->addr;
}

/* etc/e820, sorted, in host byte order */
static GArray *read_e820(Fadump *f)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, "etc/e820");
    GArray *map = g_array_new(false, false, sizeof(E820));
    guint i;

    g_assert_cmpint(file->len % sizeof(E820), ==, 0);
    g_array_append_vals(map, file->data, file->len / sizeof(E820));
    for (i = 0; i < map->len; i++) {
        E820 *e = &g_array_index(map, E820, i);

        e->addr = le64_to_cpu(e->addr);
        e->len = le64_to_cpu(e->len);
        e->type = le32_to_cpu(e->type);
    }
    g_array_sort(map, cmp_e820);
    return map;
}

static uint8_t read_cmos(Fadump *f, uint8_t reg)
{
    qtest_outb(f->qts, 0x70, reg);
    return qtest_inb(f->qts, 0x71);
}

/* Firmware finds the machine's RAM, or boot memory alone if @confined. */
static void check_confinement(Fadump *f, bool confined)
{
    const Machine *m = f->m;
    g_autoptr(GArray) pieces = expected_pieces(m, true);
    g_autoptr(GArray) map = read_e820(f);
    uint64_t low = 0, high = 0, size = 0, top = 0, mib16;
    const Span *r;
    guint i, n = 0;

    for (r = confined ? m->boot : m->ram; r->size; r++) {
        size += r->size;
        if (r->base < 4 * GiB) {
            low = r->base + r->size;
        } else {
            high = r->base + r->size - 4 * GiB;
        }
    }

    if (!confined) {
        g_array_set_size(pieces, 0);
        for (r = m->ram; r->size; r++) {
            Piece p = { r->base, r->size, true };

            g_array_append_val(pieces, p);
        }
    }
    for (i = 0; i < map->len; i++) {
        const E820 *e = &g_array_index(map, E820, i);

        if (!in_ranges(m->ram, e->addr)) {
            g_assert_cmpint(e->type, !=, E820_RAM);
            continue;
        }
        g_assert_cmpint(n, <, pieces->len);
        g_assert_cmphex(e->addr, ==, g_array_index(pieces, Piece, n).base);
        g_assert_cmphex(e->len, ==, g_array_index(pieces, Piece, n).size);
        g_assert_cmpint(e->type, ==, g_array_index(pieces, Piece, n).boot ?
                                     E820_RAM : E820_RESERVED);
        n++;
    }
    g_assert_cmpint(n, ==, pieces->len);

    mib16 = MIN((low - 16 * MiB) / (64 * KiB), 0xffff);
    g_assert_cmphex(read_cmos(f, 0x34) | read_cmos(f, 0x35) << 8, ==, mib16);
    g_assert_cmphex(read_cmos(f, 0x5b) | read_cmos(f, 0x5c) << 8 |
                    read_cmos(f, 0x5d) << 16, ==, high / (64 * KiB));
    g_assert_cmphex(qfw_cfg_get_u64(f->fw_cfg, FW_CFG_RAM_SIZE), ==, size);

    /* the 64-bit PCI window starts above all RAM, confined or not */
    for (r = m->ram; r->size; r++) {
        top = r->base + r->size;
    }
    g_assert_cmpint(qfw_cfg_get_file(f->fw_cfg, "etc/reserved-memory-end",
                                     &size, sizeof(size)), ==, sizeof(size));
    g_assert_cmphex(le64_to_cpu(size), >=, MAX(top, 4 * GiB));
}

static bool is_preserved(const Machine *m, uint64_t base, uint64_t size)
{
    g_autoptr(GArray) pieces = expected_pieces(m, true);
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const Piece *p = &g_array_index(pieces, Piece, i);

        if (p->base == base && p->size == size) {
            return !p->boot;
        }
    }
    return false;
}

/* Bytes that the SRAT declares hot-pluggable; all of it must be preserved. */
static uint64_t srat_hotpluggable(Fadump *f)
{
    const size_t max = 256 * KiB;
    g_autofree uint8_t *tables = g_malloc0(max);
    uint64_t sum = 0;
    size_t len, pos, end;

    len = qfw_cfg_read_file(f->fw_cfg, f->qs, "etc/acpi/tables", tables, max);
    g_assert_cmpint(len, >, 0);
    g_assert_cmpint(len, <, max);
    for (pos = 0; pos + 36 < len; pos += ldl_le_p(tables + pos + 4)) {
        if (!memcmp(tables + pos, "SRAT", 4)) {
            break;
        }
        /* zeroes after the last table, or what has no ACPI header */
        if (ldl_le_p(tables + pos + 4) < 36) {
            return 0;
        }
    }
    if (pos + 36 >= len) {
        return 0;
    }
    end = pos + ldl_le_p(tables + pos + 4);
    g_assert_cmpint(end, <=, len);
    for (pos += 48; pos < end; pos += tables[pos + 1]) {
        uint64_t base, size;

        g_assert_cmpint(tables[pos + 1], >=, 8);
        if (tables[pos] != 1 || !(ldl_le_p(tables + pos + 28) & 2)) {
            continue;
        }
        base = ldq_le_p(tables + pos + 8);
        size = ldq_le_p(tables + pos + 16);
        g_assert_true(is_preserved(f->m, base, size));
        sum += size;
    }
    return sum;
}

/* ------------------------------------------------------------------ */
/* Descriptors                                                        */

static GByteArray *read_descriptor(Fadump *f)
{
    uint64_t size = CONFIG_Q(f, desc_size);
    GByteArray *desc = g_byte_array_new();

    g_assert_cmpint(size, >=, sizeof(struct virtio_fadump_desc));
    g_assert_cmpint(size, <=, CONFIG_Q(f, desc_size_max));
    g_byte_array_set_size(desc, size);
    qtest_bufread(f->qts, f->window, desc->data, size);
    return desc;
}

/* Firmware finds the same bytes in its file. */
static void check_descriptor_copies(Fadump *f, const GByteArray *desc)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, FW_CFG_DESC);

    g_assert_cmpmem(file->data, file->len, desc->data, desc->len);
}

/* Whether the window is in the guest's memory map now. */
static void assert_window(Fadump *f, bool shown)
{
    g_autofree char *map = qtest_hmp(f->qts, "info mtree -f");

    g_assert_true(!!strstr(map, "fadump-desc") == shown);
}

static void check_note(const uint8_t **pos, const uint8_t *end,
                       const char *name, uint32_t type, const uint8_t **data,
                       uint32_t *size)
{
    const uint8_t *p = *pos;
    uint32_t name_size;

    g_assert_cmpint(end - p, >=, 12);
    name_size = ldl_le_p(p);
    *size = ldl_le_p(p + 4);
    g_assert_cmpint(ldl_le_p(p + 8), ==, type);
    g_assert_cmpint(name_size, ==, strlen(name) + 1);
    g_assert_cmpint(end - p, >=, 12 + ROUND_UP((uint64_t)name_size, 4) +
                                 ROUND_UP((uint64_t)*size, 4));
    g_assert_cmpstr((const char *)p + 12, ==, name);
    *data = p + 12 + ROUND_UP(name_size, 4);
    *pos = *data + ROUND_UP(*size, 4);
}

static void check_part(const struct virtio_fadump_desc *h,
                       const struct virtio_fadump_part *part,
                       const char *name, uint32_t type, const uint8_t **data,
                       uint32_t *size)
{
    const uint8_t *pos = (const uint8_t *)h + le64_to_cpu(part->off);
    const uint8_t *end = pos + le64_to_cpu(part->size);

    g_assert_cmpint(le64_to_cpu(part->off) % 4, ==, 0);
    g_assert_cmpint(le64_to_cpu(part->off), >=, sizeof(*h));
    g_assert_cmpint(le64_to_cpu(part->off), <, le64_to_cpu(h->total_size));
    g_assert_cmpint(le64_to_cpu(part->size), <=, le64_to_cpu(h->total_size) -
                                                 le64_to_cpu(part->off));
    check_note(&pos, end, name, type, data, size);
    g_assert_true(pos == end);
}

static void assert_part(const struct virtio_fadump_desc *h,
                        const struct virtio_fadump_part *part,
                        const uint8_t *note, size_t size)
{
    g_assert_cmpmem((const uint8_t *)h + le64_to_cpu(part->off),
                    le64_to_cpu(part->size), note, size);
}

static void assert_no_part(const struct virtio_fadump_part *part)
{
    g_assert_cmpint(part->off, ==, 0);
    g_assert_cmpint(part->size, ==, 0);
}

static void check_vcpu_notes(const struct virtio_fadump_desc *h)
{
    const struct virtio_fadump_vcpu *vcpu = (const void *)
        ((const uint8_t *)h + le64_to_cpu(h->vcpus_off));
    const uint8_t *data;
    uint32_t i, size;

    for (i = 0; i < le32_to_cpu(h->nr_vcpus); i++) {
        check_part(h, &vcpu[i].notes, "CORE", NT_PRSTATUS, &data, &size);
        g_assert_cmpint(size, >, PRSTATUS_CS + 4);
        g_assert_cmpint(ldl_le_p(data + PRSTATUS_PID), ==, i + 1);
        /* the reset vector: no vCPU has run */
        g_assert_cmphex(ldl_le_p(data + PRSTATUS_EIP), ==, 0xfff0);
        g_assert_cmphex(lduw_le_p(data + PRSTATUS_CS), ==, 0xf000);
        check_part(h, &vcpu[i].hv_note, "QEMU", 0, &data, &size);
        g_assert_cmpint(ldl_le_p(data), ==, 1);
        g_assert_cmpint(ldl_le_p(data + 4), ==, size);
    }
}

/* As register_all() has had them taken; the kernel's note at a panic only. */
static void check_notes(const struct virtio_fadump_desc *h)
{
    uint8_t note[4096] = { 0 };

    check_vcpu_notes(h);
    assert_part(h, &h->vmcoreinfo, note, vmcoreinfo_note(note));
    if (le32_to_cpu(h->cause) == VIRTIO_FADUMP_CAUSE_PANIC) {
        memset(note, 0, sizeof(note));
        assert_part(h, &h->crash_note, note, crash_note(note));
    } else {
        assert_no_part(&h->crash_note);
    }
}

static uint64_t total_size(const Span *r)
{
    uint64_t sum = 0;

    for (; r->size; r++) {
        sum += r->size;
    }
    return sum;
}

/* Check all that is in @desc but times and notes; returns its ranges. */
static GArray *check_descriptor(Fadump *f, const GByteArray *desc,
                                uint32_t cause)
{
    const size_t checksum = offsetof(struct virtio_fadump_desc, checksum);
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_vcpu *vcpu;
    const struct virtio_fadump_range *r;
    g_autofree uint8_t *copy = g_memdup2(desc->data, desc->len);
    g_autoptr(GArray) expected = expected_pieces(f->m, false);
    GArray *pieces = g_array_new(false, false, sizeof(Piece));
    uint64_t vcpus_off, ranges_off, held_end = 0;
    uint32_t i;

    g_assert_cmpmem(h->magic, 8, VIRTIO_FADUMP_DESC_MAGIC, 8);
    g_assert_cmpint(le32_to_cpu(h->version), ==, VIRTIO_FADUMP_DESC_VERSION);
    g_assert_cmpint(le32_to_cpu(h->hdr_size), ==, sizeof(*h));
    g_assert_cmpint(le64_to_cpu(h->total_size), ==, desc->len);
    memset(copy + checksum, 0, sizeof(h->checksum));
    g_assert_cmphex(le32_to_cpu(h->checksum), ==, crc32(0, copy, desc->len));
    g_assert_cmpint(le32_to_cpu(h->cause), ==, cause);
    /* no vCPU runs, so none asked */
    g_assert_cmphex(le32_to_cpu(h->crash_cpu), ==, VIRTIO_FADUMP_CPU_NONE);
    g_assert_cmpint(le32_to_cpu(h->elf_machine), ==, EM_386);
    g_assert_cmpint(le32_to_cpu(h->reserved), ==, 0);
    g_assert_cmphex(le64_to_cpu(h->boot_mem), ==, total_size(f->m->boot));

    g_assert_cmpint(le32_to_cpu(h->nr_vcpus), ==, 2);
    g_assert_cmpint(le32_to_cpu(h->vcpu_size), ==, sizeof(*vcpu));
    vcpus_off = le64_to_cpu(h->vcpus_off);
    g_assert_cmpint(vcpus_off % 8, ==, 0);
    g_assert_cmpint(vcpus_off + 2 * sizeof(*vcpu), <=, desc->len);
    vcpu = (const void *)(desc->data + vcpus_off);
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(le64_to_cpu(vcpu[i].arch_id), ==, i);
        /* nobody has started the second one */
        g_assert_cmpint(le32_to_cpu(vcpu[i].flags), ==,
                        i ? VIRTIO_FADUMP_VCPU_F_OFF : 0);
        g_assert_cmpint(vcpu[i].reserved, ==, 0);
    }

    g_assert_cmpint(le32_to_cpu(h->range_size), ==, sizeof(*r));
    ranges_off = le64_to_cpu(h->ranges_off);
    g_assert_cmpint(ranges_off % 8, ==, 0);
    g_assert_cmpint(ranges_off + le32_to_cpu(h->nr_ranges) * sizeof(*r), <=,
                    desc->len);
    r = (const void *)(desc->data + ranges_off);
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++, r++) {
        bool boot = le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW;
        Piece p = {
            le64_to_cpu(r->addr), le64_to_cpu(r->len), boot,
            le64_to_cpu(r->dest)
        };
        Piece *last = NULL;

        g_assert_cmpint(le64_to_cpu(r->held), ==, p.size);
        g_assert_cmphex(le32_to_cpu(r->node), ==,
                        !f->m->numa ? VIRTIO_FADUMP_NODE_NONE :
                        p.base >= 64 * MiB);
        if (boot) {
            g_assert_cmpint(le32_to_cpu(r->flags), ==,
                            VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
            g_assert_cmpint(le32_to_cpu(r->method), ==,
                            p.base < ROM_END ? VIRTIO_FADUMP_METHOD_COPIED :
                            f->m->method ?: VIRTIO_FADUMP_METHOD_MOVED);
            /* in the region, behind the descriptor, over no other range */
            g_assert_cmpint(p.dest, >=, MAX(held_end,
                                            CONFIG_Q(f, desc_size_max)));
            held_end = p.dest + p.size;
            g_assert_cmpint(held_end, <=, f->window_len);
            /* so that huge pages stay whole */
            g_assert_cmphex((p.dest - p.base) % (2 * MiB), ==, 0);
        } else {
            g_assert_cmpint(le32_to_cpu(r->where), ==,
                            VIRTIO_FADUMP_WHERE_IN_PLACE);
            g_assert_cmpint(r->flags, ==, 0);
            g_assert_cmpint(r->method, ==, VIRTIO_FADUMP_METHOD_NONE);
            g_assert_cmpint(p.dest, ==, 0);
        }
        if (pieces->len) {
            last = &g_array_index(pieces, Piece, pieces->len - 1);
        }
        if (last && last->base + last->size == p.base &&
            last->boot == boot &&
            (!boot || last->dest + last->size == p.dest)) {
            last->size += p.size;
        } else {
            g_array_append_val(pieces, p);
        }
    }

    g_assert_cmpint(pieces->len, ==, expected->len);
    for (i = 0; i < pieces->len; i++) {
        const Piece *got = &g_array_index(pieces, Piece, i);
        const Piece *want = &g_array_index(expected, Piece, i);

        g_assert_cmphex(got->base, ==, want->base);
        g_assert_cmphex(got->size, ==, want->size);
        g_assert_cmpint(got->boot, ==, want->boot);
    }
    return pieces;
}

/* No dump is held, and nothing is left of one. */
static void check_released(Fadump *f)
{
    g_autoptr(GByteArray) file = read_fw_cfg(f, FW_CFG_DESC);

    assert_state(f, IDLE);
    g_assert_cmpint(CONFIG_Q(f, desc_size), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_lost), ==, 0);
    g_assert_cmpint(CONFIG_L(f, nr_boots), ==, 0);
    g_assert_cmpint(file->len, ==, 0);
    assert_window(f, false);
    check_confinement(f, false);
    assert_request(f, RELEASE, NONE);
}

/* ------------------------------------------------------------------ */
/* Tests: registration                                                */

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
    g_assert_cmphex(f->window_len, ==, CONFIG_Q(f, desc_size_max) +
                                       256 * MiB);
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

/* ------------------------------------------------------------------ */
/* Tests: the queue                                                   */

/* The device has seen that its driver is broken, and does no more for it. */
static void wait_broken(Fadump *f)
{
    QVirtioDevice *vdev = &f->dev->vdev;
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (!(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    g_assert_false(qvirtqueue_get_buf(f->qts, f->vq, NULL, NULL));
}

static void assert_broken(Fadump *f)
{
    wait_broken(f);
    assert_state(f, REGISTERED);

    probe(f);
    assert_unharmed(f);
    assert_register(f, OK);
}

static void kick(Fadump *f, uint32_t head)
{
    qvirtqueue_kick(f->qts, &f->dev->vdev, f->vq, head);
}

static void test_queue(const void *opaque)
{
    const struct virtio_fadump_req unregister = {
        .type = cpu_to_le32(VIRTIO_FADUMP_REQ_UNREGISTER),
        .size = cpu_to_le32(sizeof(unregister)),
    };
    const size_t resp = sizeof(struct virtio_fadump_resp);
    Fadump *f = start_and_probe(opaque, "");
    uint64_t out = guest_alloc(&f->qs->alloc, 4096);
    uint64_t in = guest_alloc(&f->qs->alloc, 4096);
    const uint64_t bad_addr[] = {
        2 * GiB, 1 * GiB - 4, UINT64_MAX - 7, 1ull << 52,
    };
    uint32_t head;
    size_t i;

    qtest_bufwrite(f->qts, out, &unregister, sizeof(unregister));
    assert_register(f, OK);

    /* an answer that does not fit: in size, and for having no room at all */
    for (i = 0; i < resp; i += 5) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              i != 0);
        if (i) {
            qvirtqueue_add(f->qts, f->vq, in, i, true, false);
        }
        kick(f, head);
        assert_broken(f);
    }

    /* a chain that loops, with and without room for an answer */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, true);
    qtest_writew(f->qts, f->vq->desc + 16 * head + 14, head);
    kick(f, head);
    assert_broken(f);
    for (i = 0; i < 2; i++) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              true);
        qvirtqueue_add(f->qts, f->vq, in, resp, true, true);
        qtest_writew(f->qts, f->vq->desc + 16 * (head + 1) + 14, head + i);
        kick(f, head);
        assert_broken(f);
    }

    /* a chain that leaves the table, and a head outside it */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, true);
    qtest_writew(f->qts, f->vq->desc + 16 * head + 14, 0xffff);
    kick(f, head);
    assert_broken(f);
    qvirtqueue_reset_pool(f->vq);
    kick(f, f->vq->size);
    assert_broken(f);

    /* what the device may write comes before what it may read */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, in, resp, true, true);
    qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, false);
    kick(f, head);
    assert_broken(f);

    /* a part of no bytes */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, 0, false, true);
    qvirtqueue_add(f->qts, f->vq, in, resp, true, false);
    kick(f, head);
    assert_broken(f);

    /* more requests than the queue holds */
    qtest_writew(f->qts, f->vq->avail + 2,
                 qtest_readw(f->qts, f->vq->avail + 2) + f->vq->size + 1);
    f->dev->vdev.bus->virtqueue_kick(&f->dev->vdev, f->vq);
    settle(f);
    probe(f);
    assert_unharmed(f);
    assert_register(f, OK);

    /*
     * Not all of it is RAM. QEMU may take what is no RAM for a device to read
     * from, so only the registration counts here, and that it lives.
     */
    for (i = 0; i < ARRAY_SIZE(bad_addr); i++) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, bad_addr[i], sizeof(unregister),
                              false, true);
        qvirtqueue_add(f->qts, f->vq, in, resp, true, false);
        kick(f, head);
        settle(f);
        assert_state(f, REGISTERED);
        probe(f);
        assert_register(f, OK);

        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              true);
        qvirtqueue_add(f->qts, f->vq, bad_addr[i], resp, true, false);
        kick(f, head);
        settle(f);
        probe(f);
        assert_unharmed(f);
        assert_register(f, OK);
    }
    stop(f);
}

/* The answer goes to the device's own registers, or to the dump. */
static void test_queue_to_device(const void *opaque)
{
    const struct virtio_fadump_get_boot_mem req = {
        .hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM),
        .hdr.size = cpu_to_le32(sizeof(req)),
    };
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL, again = NULL;
    uint64_t out = guest_alloc(&f->qs->alloc, 4096), target[3];
    uint32_t head;
    size_t i;

    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    desc = read_descriptor(f);

    target[0] = f->dev->bar.addr + f->dev->notify_cfg_offset;
    target[1] = f->dev->bar.addr + f->dev->common_cfg_offset;
    target[2] = f->window;
    for (i = 0; i < ARRAY_SIZE(target); i++) {
        qtest_bufwrite(f->qts, out, &req, sizeof(req));
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(req), false, true);
        qvirtqueue_add(f->qts, f->vq, target[i],
                       sizeof(struct virtio_fadump_boot_mem) +
                       sizeof(struct virtio_fadump_extent), true, false);
        kick(f, head);
        settle(f);
        probe(f);
        assert_state(f, DUMP_AVAILABLE);
        again = read_descriptor(f);
        g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
        g_clear_pointer(&again, g_byte_array_unref);
    }
    stop(f);
}

/* ------------------------------------------------------------------ */
/* Tests: trigger                                                     */

static void test_trigger(const void *opaque)
{
    static const uint32_t unknown[] = {
        0, 4, 0x100, 0x10000, 0x10001, 0x01000000, 0x80000001, UINT32_MAX,
    };
    const uint8_t one = 1, two = 2;
    const uint16_t ones = cpu_to_le16(0x0101);
    const uint64_t off = CONFIG_OFF(trigger);
    Fadump *f = start_and_probe(opaque, "");
    uint64_t all_ones = UINT64_MAX;
    size_t i;

    /* none of this is for a device that is IDLE */
    trigger(f, VIRTIO_FADUMP_TRIGGER_PANIC);
    trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    assert_unharmed(f);

    assert_register(f, OK);
    for (i = 0; i < ARRAY_SIZE(unknown); i++) {
        trigger(f, unknown[i]);
        settle(f);
        g_assert_cmpint(f->resets, ==, 0);
        assert_state(f, REGISTERED);
        g_assert_cmpint(CONFIG_L(f, trigger), ==, 0);
    }

    /* parts of a write: none adds up with another */
    for (i = 1; i < 4; i++) {
        write_config(f, off + i, &one, 1);
        write_config(f, off + i, &two, 1);
    }
    write_config(f, off + 2, &ones, 2);
    write_config(f, off, &ones, 2);
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    assert_state(f, REGISTERED);

    /* all else is read-only */
    for (i = 0; i < sizeof(struct virtio_fadump_config); i += 8) {
        uint64_t before = qvirtio_config_readq(&f->dev->vdev, i);

        write_config(f, i, &all_ones, sizeof(all_ones));
        g_assert_cmphex(qvirtio_config_readq(&f->dev->vdev, i), ==, before);
    }
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    assert_state(f, REGISTERED);

    /* a kernel that cannot use the queue any more wants to reboot */
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    assert_state(f, IDLE);
    guest_reset(f);
    g_assert_cmpint(f->crashloaded, ==, 0);
    probe(f);
    check_released(f);
    assert_unharmed(f);
    stop(f);
}

/* ------------------------------------------------------------------ */
/* Tests: capture                                                     */

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

/* ------------------------------------------------------------------ */
/* Tests: causes, and the host                                        */

static void wait_count(Fadump *f, const unsigned *count, unsigned expected,
                       const char *why)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (*count < expected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
        settle(f);
    }
    g_assert_cmpint(*count, ==, expected);
    g_assert_cmpstr(f->why, ==, why);
}

static void assert_qmp_refused(Fadump *f, const char *command)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': %s }",
                                                command);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    qobject_unref(error);
}

static void qmp_trigger(Fadump *f)
{
    unsigned before = f->resets;

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-trigger' }");
    wait_reset(f, before);
    g_assert_false(f->reset_by_guest);
}

/* The ISA watchdog at port 0x443, made to expire at once. */
static void expire_watchdog(Fadump *f)
{
    unsigned before = f->resets;

    qtest_outb(f->qts, 0x443, 0xe);
    qtest_clock_step(f->qts, 3 * NANOSECONDS_PER_SECOND);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
}

static void write_pvpanic(Fadump *f)
{
    qtest_outb(f->qts, 0x505, 1);
    settle(f);
}

#define WATCHDOG " -device ib700 -action watchdog=reset"
#define PVPANIC " -device pvpanic -action panic=none"

static void test_causes(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, WATCHDOG PVPANIC);
    unsigned before;

    /* nothing is registered: all as without the device */
    expire_watchdog(f);
    probe(f);
    check_released(f);
    write_pvpanic(f);
    g_assert_cmpint(f->panicked, ==, 1);
    g_assert_cmpint(f->resets, ==, 1);
    g_assert_cmpint(f->captured, ==, 0);

    assert_register(f, OK);
    settle(f);
    g_assert_cmpint(f->registered, ==, 1);
    expire_watchdog(f);
    wait_count(f, &f->captured, 1, "watchdog");
    probe(f);
    assert_request(f, RELEASE, OK);
    wait_count(f, &f->released, 1, "guest");

    assert_register(f, OK);
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->captured, 2, "panic-device");
    g_assert_cmpint(f->crashloaded, ==, 1);
    g_assert_cmpint(f->panicked, ==, 1);

    /* while a dump is held it is the first that counts */
    probe(f);
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->failed, 1, "panic-device");
    g_assert_cmpint(f->panicked, ==, 1);
    expire_watchdog(f);
    wait_count(f, &f->failed, 2, "watchdog");
    g_assert_cmpint(f->captured, ==, 2);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    stop(f);
}

static bool query_flag(Fadump *f, const char *name)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    bool flag = qdict_get_bool(info, name);

    qobject_unref(info);
    return flag;
}

static bool query_early(Fadump *f)
{
    return query_flag(f, "early");
}

typedef enum Death {
    DEATH_GUEST_RESET, DEATH_HOST_RESET, DEATH_WATCHDOG, DEATH_PANIC_DEVICE,
    DEATH_TRIGGER, DEATH_OPERATOR,
} Death;

static void die(Fadump *f, Death how)
{
    unsigned before = f->resets;

    switch (how) {
    case DEATH_GUEST_RESET:
        guest_reset(f);
        break;
    case DEATH_HOST_RESET:
        system_reset(f);
        break;
    case DEATH_WATCHDOG:
        expire_watchdog(f);
        break;
    case DEATH_PANIC_DEVICE:
        write_pvpanic(f);
        wait_reset(f, before);
        break;
    case DEATH_TRIGGER:
        trigger_panic(f);
        break;
    case DEATH_OPERATOR:
        qmp_trigger(f);
        break;
    }
}

/* A crash kernel of the guest's own has taken over. */
static void test_yield(const void *opaque)
{
    static const struct {
        Death how;
        const char *cause;
    } cases[] = {
        { DEATH_GUEST_RESET, NULL },
        { DEATH_HOST_RESET, NULL },
        { DEATH_WATCHDOG, "watchdog" },
        { DEATH_PANIC_DEVICE, "panic-device" },
        { DEATH_TRIGGER, "panic" },
        { DEATH_OPERATOR, "operator" },
    };
    Fadump *f = start_and_probe(opaque, WATCHDOG PVPANIC);
    unsigned captured = 0;
    size_t i;
    int probes;

    /* with no driver for the device in the crash kernel, with one, with two */
    for (probes = 0; probes < 3; probes++) {
        for (i = 0; i < ARRAY_SIZE(cases); i++) {
            int n;

            assert_register(f, OK);
            g_assert_false(query_flag(f, "yielded"));
            trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
            /* once more changes nothing */
            trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
            g_assert_true(query_flag(f, "yielded"));
            for (n = 0; n < probes; n++) {
                /* no feature at all, and a destination in the host */
                probe_features(f, 1ull << VIRTIO_F_VERSION_1);
                assert_state(f, REGISTERED);
                assert_register(f, EXISTS);
            }
            die(f, cases[i].how);
            if (cases[i].cause) {
                wait_count(f, &f->captured, ++captured, cases[i].cause);
            }
            g_assert_cmpint(f->captured, ==, captured);
            probe(f);
            g_assert_false(query_flag(f, "yielded"));
            if (cases[i].cause) {
                assert_state(f, DUMP_AVAILABLE);
                assert_request(f, RELEASE, OK);
            }
            check_released(f);
            /* and the boot after it is one like any other */
            assert_register(f, OK);
            probe(f);
            assert_state(f, IDLE);
        }
    }

    /* what it has yielded it can still take back */
    assert_register(f, OK);
    trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
    assert_request(f, UNREGISTER, OK);
    g_assert_false(query_flag(f, "yielded"));
    assert_register(f, OK);
    guest_reset(f);
    wait_count(f, &f->captured, captured + 1, "guest-reset");
    stop(f);
}

static void test_early(const void *opaque)
{
    Fadump *f = start(opaque, ",early=on,max-boots=2,capture-host-reset=on"
                      WATCHDOG PVPANIC);
    unsigned before;

    /* no vCPU runs an operating system: these are firmware's */
    g_assert_true(query_early(f));
    guest_reset(f);
    system_reset(f);
    g_assert_cmpint(f->captured, ==, 0);

    /* who announces its reset is not captured, until the next boot */
    probe(f);
    assert_register(f, OK);
    g_assert_false(query_early(f));
    assert_request(f, UNREGISTER, OK);
    g_assert_false(query_early(f));
    expire_watchdog(f);
    g_assert_cmpint(f->captured, ==, 0);
    g_assert_true(query_early(f));
    probe(f);
    assert_register(f, OK);
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    g_assert_false(query_early(f));
    guest_reset(f);
    g_assert_cmpint(f->captured, ==, 0);

    /* firmware sets off no watchdog and does not panic */
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->captured, 1, "panic-device");
    g_assert_cmpint(f->panicked, ==, 0);
    g_assert_false(query_early(f));
    check_confinement(f, true);

    /* no driver, so only a boot that died counts, and max-boots holds */
    guest_reset(f);
    expire_watchdog(f);
    wait_count(f, &f->failed, 1, "watchdog");
    check_confinement(f, true);
    expire_watchdog(f);
    wait_count(f, &f->released, 1, "max-boots");
    check_confinement(f, false);
    g_assert_true(query_early(f));

    expire_watchdog(f);
    wait_count(f, &f->captured, 2, "watchdog");
    stop(f);
}

static uint64_t save_total(Fadump *f, const char *status)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    QDict *save = qdict_get_qdict(info, "save");
    uint64_t total = qdict_get_int(save, "total");

    g_assert_cmpstr(qdict_get_str(save, "status"), ==, status);
    qobject_unref(info);
    return total;
}

/* The file has each sample of memory where its program headers say. */
static void check_core(Fadump *f, const char *path, uint64_t size)
{
    g_autoptr(GMappedFile) map = g_mapped_file_new(path, false, NULL);
    const uint8_t *data, *want;
    const Elf64_Phdr *phdr;
    const Elf64_Ehdr *ehdr;
    uint64_t addr = 0, found = 0, samples = 0;
    uint8_t page[4096];
    int i;

    g_assert_nonnull(map);
    g_assert_cmpint(g_mapped_file_get_length(map), ==, size);
    data = (const uint8_t *)g_mapped_file_get_contents(map);
    ehdr = (const void *)data;
    g_assert_cmpint(ehdr->e_phoff, ==, 64);
    g_assert_cmpint(ehdr->e_type, ==, ET_CORE);
    /* vCPU 0 has not left real mode */
    g_assert_cmpint(ehdr->e_machine, ==, EM_386);
    phdr = (const void *)(data + 64);
    g_assert_cmpint(phdr[0].p_type, ==, PT_NOTE);
    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        samples++;
        for (i = 1; i < ehdr->e_phnum; i++) {
            if (addr < phdr[i].p_paddr ||
                addr - phdr[i].p_paddr >= phdr[i].p_filesz) {
                continue;
            }
            found++;
            want = data + phdr[i].p_offset + (addr - phdr[i].p_paddr);
            make_pattern(page, addr);
            g_assert_cmpmem(want, 4096, page, 4096);
        }
    }
    g_assert_cmpint(found, >, samples * 9 / 10);
}

static void qmp_save(Fadump *f, const char *protocol)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save', "
                             "'arguments': { 'protocol': %s } }", protocol);
}

static void assert_save_refused(Fadump *f, const char *protocol)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
        "'fadump-save', 'arguments': { 'protocol': %s } }", protocol);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    qobject_unref(error);
}

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

/* ------------------------------------------------------------------ */
/* Tests: other places for boot memory                                */

/* Every sample is where @desc says; counts samples by where that is. */
static void check_places(Fadump *f, const GByteArray *desc, unsigned count[4])
{
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_range *r = (const void *)
        (desc->data + le64_to_cpu(h->ranges_off));
    uint32_t n = le32_to_cpu(h->nr_ranges), i;
    uint8_t page[4096], got[4096];
    uint64_t addr;

    memset(count, 0, 4 * sizeof(*count));
    for (addr = 0; next_sample(f, &addr); addr += 4096) {
        uint64_t at = addr;
        uint32_t where;

        for (i = 0; i < n; i++) {
            if (addr - le64_to_cpu(r[i].addr) < le64_to_cpu(r[i].len)) {
                break;
            }
        }
        g_assert_cmpint(i, <, n);
        where = le32_to_cpu(r[i].where);
        if (r[i].flags & cpu_to_le32(VIRTIO_FADUMP_RANGE_F_DESTINATION)) {
            g_assert_cmpint(where, ==, VIRTIO_FADUMP_WHERE_IN_PLACE);
            g_assert_cmpint(r[i].held, ==, 0);
            count[0]++;
            continue;
        }
        g_assert_cmpint(r[i].held, ==, r[i].len);
        if (where != VIRTIO_FADUMP_WHERE_IN_PLACE) {
            at = le64_to_cpu(r[i].dest) + (addr - le64_to_cpu(r[i].addr));
        }
        if (where == VIRTIO_FADUMP_WHERE_WINDOW) {
            at += f->window;
        }
        make_pattern(page, addr);
        qtest_bufread(f->qts, at, got, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        count[where]++;
    }
}

#define ALL_FEATURES \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_FADUMP_F_HOST_MEM | \
     1ull << VIRTIO_FADUMP_F_GUEST_MEM | 1ull << VIRTIO_FADUMP_F_CONFINE | \
     1ull << VIRTIO_FADUMP_F_DISCARD)

#define BOOT_MEM_TO(src, len, dst) \
    { VIRTIO_FADUMP_REGION_BOOT_MEM, 0, (src), (len), (dst) }

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
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'qom-set', 'arguments': { "
                             "'path': '/machine/peripheral/f', "
                             "'property': 'full', 'value': %i } }", full);
}

/* All RAM is set aside, and the next boot has all RAM. */
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

    /* without room for it it cannot be switched on, and off it is already */
    f = start_and_probe(m, ",id=f");
    set_full(f, false);
    qobject_unref(qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
        "'qom-set', 'arguments': { 'path': '/machine/peripheral/f', "
        "'property': 'full', 'value': true } }"));
    assert_unharmed(f);
    stop(f);
}

static uint32_t discard(Fadump *f, uint64_t addr, uint64_t len)
{
    const struct virtio_fadump_discard req = {
        .hdr = {
            .type = cpu_to_le32(VIRTIO_FADUMP_REQ_DISCARD),
            .size = cpu_to_le32(sizeof(req)),
        },
        .addr = cpu_to_le64(addr),
        .len = cpu_to_le64(len),
    };

    return request_full(f, &req, sizeof(req), NULL, 0, 0, NULL);
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
    g_assert_cmpint(discard(f, 0, 4096), ==, VIRTIO_FADUMP_S_UNSUPPORTED);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);

    g_assert_cmpint(discard(f, 1, 4096), ==, VIRTIO_FADUMP_S_MALFORMED);
    g_assert_cmpint(discard(f, 4096, 4095), ==, VIRTIO_FADUMP_S_MALFORMED);
    g_assert_cmpint(discard(f, 0, 0), ==, VIRTIO_FADUMP_S_MALFORMED);
    g_assert_cmpint(discard(f, 0xfffffffffffff000, 0x2000), ==,
                    VIRTIO_FADUMP_S_MALFORMED);
    /* what lies in place is the guest's own to deal with */
    g_assert_cmpint(discard(f, B, 0xfffffffff0000000), ==, VIRTIO_FADUMP_S_OK);
    check_places(f, desc, count);

    h = (const void *)desc->data;
    r = (const void *)(desc->data + le64_to_cpu(h->ranges_off));
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        if (MiB - le64_to_cpu(r[i].addr) < le64_to_cpu(r[i].len)) {
            at = f->window + le64_to_cpu(r[i].dest) - le64_to_cpu(r[i].addr);
        }
    }
    g_assert_cmpint(discard(f, 17 * MiB, 3 * MiB), ==, VIRTIO_FADUMP_S_OK);
    assert_zero(f, at + 17 * MiB, 3 * MiB);
    qtest_memset(f->qts, 17 * MiB, 0x5a, 3 * MiB);
    assert_zero(f, at + 17 * MiB, 3 * MiB);
    /* a page that discard left */
    g_assert_cmphex(qtest_readq(f->qts, at + 4099 * 4096 * 2), !=, 0);
    again = read_descriptor(f);
    g_assert_cmpmem(again->data, again->len, desc->data, desc->len);

    assert_request(f, RELEASE, OK);
    g_assert_cmpint(discard(f, 0, 4096), ==, VIRTIO_FADUMP_S_NONE);
    check_released(f);
    stop(f);
}

/* ------------------------------------------------------------------ */
/* Tests: migration                                                   */

static char *migration_status(QTestState *qts)
{
    QDict *rsp = qtest_qmp_assert_success_ref(qts,
                                              "{ 'execute': 'query-migrate' }");
    char *status = g_strdup(qdict_get_try_str(rsp, "status") ?: "none");

    qobject_unref(rsp);
    return status;
}

static void wait_migration(Fadump *f, const char *goal)
{
    gint64 end = g_get_monotonic_time() + 4 * TIMEOUT_US;

    for (;;) {
        g_autofree char *status = migration_status(f->qts);

        if (g_str_equal(status, goal)) {
            return;
        }
        if (g_str_equal(status, "failed") || g_str_equal(status, "completed") ||
            g_get_monotonic_time() > end) {
            g_test_message("migration: %s, expected %s", status, goal);
            g_test_fail();
            return;
        }
        g_usleep(10000);
    }
}

static void save_to(Fadump *f, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
    wait_migration(f, "completed");
}

/* Load @path into a machine like that of @old, and find its device as it is. */
static Fadump *load_from(const Machine *m, const char *path, const Fadump *old,
                         const char *goal)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    Fadump *f = start(m, " -incoming defer");

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s, "
                             "'exit-on-error': false } }", uri);
    wait_migration(f, goal);
    if (g_str_equal(goal, "completed")) {
        find_device(f);
        f->dev->bar = old->dev->bar;
        f->dev->vdev.features = old->dev->vdev.features;
        f->dev->vdev.features_negotiated = true;
        f->window = old->window;
        f->window_len = old->window_len;
    }
    return f;
}

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

static uint8_t *find_bytes(char *buf, gsize len, const void *what, gsize size)
{
    uint8_t *found = NULL;
    char *p = buf;

    while ((p = memmem(p, buf + len - p, what, size))) {
        /* there must be one, or the wrong one is broken */
        g_assert_null(found);
        found = (uint8_t *)p++;
    }
    g_assert_nonnull(found);
    return found;
}

/* What a stream can say of the device, in the order that it has there. */
typedef struct QEMU_PACKED Stream {
    uint64_t boot_mem, boot_mem_max, window_addr;
    uint32_t state;
    uint64_t boot_size;
    uint64_t vmcoreinfo, vmcoreinfo_size;
    uint64_t crash_note, crash_note_size;
    uint32_t nr_dests;
    uint8_t yielded;
    uint32_t nr_swapped;
    uint64_t desc_size;
    uint8_t held_full, window_shown;
} Stream;

/* Behind it, and a dump's id */
typedef struct QEMU_PACKED StreamEnd {
    uint32_t nr_lost, nr_boots;
    uint8_t boot_counted;
    uint32_t pending_cause, pending_cpu;
    uint8_t announced, crash_lost, notify_pending;
} StreamEnd;

static StreamEnd *stream_end(Stream *s)
{
    return (StreamEnd *)((uint8_t *)(s + 1) + 16);
}

/* Each destination must refuse the stream, and live. */
static void assert_refused(const Machine *m, const Fadump *src,
                           const char *path, const char *buf, gsize len)
{
    Fadump *dst;

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "failed");
    settle(dst);
    g_assert_cmpint(dst->resets, ==, 0);
    stop(dst);
}

static void seal(struct virtio_fadump_desc *h, uint64_t size)
{
    h->checksum = 0;
    h->checksum = cpu_to_le32(crc32(0, (const uint8_t *)h, size));
}

/* Destinations in the guest come along, and are checked like a request. */
static void test_migrate_dests(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, 64 * MiB, 512 * MiB),
        BOOT_MEM_TO(64 * MiB, 64 * MiB, 640 * MiB),
    };
    /* as the stream has them: src.base, src.size, dst */
    const uint64_t dests[] = {
        0, cpu_to_be64(64 * MiB), cpu_to_be64(512 * MiB),
        cpu_to_be64(64 * MiB), cpu_to_be64(64 * MiB), cpu_to_be64(640 * MiB),
    };
    static const struct {
        unsigned field;
        uint64_t value;
    } bad[] = {
        /* wraps, too long, in boot memory, outside RAM, unaligned, overlaps */
        { 0, UINT64_MAX - 4095 }, { 1, GiB }, { 2, 64 * MiB }, { 2, GiB },
        { 2, 512 * MiB + 1 }, { 2, 512 * MiB + 4096 }, { 5, 512 * MiB },
        { 2, UINT64_MAX }, { 0, 256 * MiB },
    };
    const Machine *m = opaque;
    Fadump *src = start_and_probe(m, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *buf = NULL;
    g_autoptr(GByteArray) desc = NULL;
    uint64_t *found;
    unsigned count[4];
    gsize len;
    size_t i;

    probe_features(src, ALL_FEATURES);
    fill_ram(src);
    g_assert_cmpint(do_register(src, in_guest, ARRAY_SIZE(in_guest), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    found = (uint64_t *)find_bytes(buf, len, dests, sizeof(dests));
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        stq_be_p(&found[bad[i].field], bad[i].value);
        assert_refused(m, src, path, buf, len);
        memcpy(found, dests, sizeof(dests));
    }

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "completed");
    unlink(path);
    stop(src);
    assert_state(dst, REGISTERED);
    trigger_panic(dst);
    probe_features(dst, ALL_FEATURES);
    assert_state(dst, DUMP_AVAILABLE);
    desc = read_descriptor(dst);
    check_places(dst, desc, count);
    g_assert_cmpint(count[0], >, 3);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], ==, 0);
    stop(dst);
}

static void test_migrate_hostile(const void *opaque)
{
    const Machine *m = opaque;
    Fadump *src = start_and_probe(m, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *buf = NULL, *registered = NULL;
    g_autoptr(GByteArray) desc = NULL;
    struct virtio_fadump_desc *h, good;
    struct virtio_fadump_range *r, good_range;
    struct virtio_fadump_vcpu *v, good_vcpu;
    StreamEnd *end, old_end;
    Stream *s, old, want;
    gsize len, registered_len;

    assert_register(src, OK);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &registered, &registered_len,
                                      NULL));
    want = (Stream) {
        cpu_to_be64(B), cpu_to_be64(256 * MiB), cpu_to_be64(src->window),
        cpu_to_be32(VIRTIO_FADUMP_STATE_REGISTERED), cpu_to_be64(B),
        cpu_to_be64(VMCOREINFO_ADDR), cpu_to_be64(4096),
        cpu_to_be64(CRASH_NOTE_ADDR), cpu_to_be64(4096), 0, 0, 0, 0, 0, 0
    };
    s = (Stream *)find_bytes(registered, registered_len, &want, sizeof(want));
    old = *s;
    end = stream_end(s);
    old_end = *end;

#define assert_field_refused(field, value) do { \
        s->field = value; \
        assert_refused(m, src, path, registered, registered_len); \
        *s = old; \
    } while (0)
    assert_field_refused(boot_mem, cpu_to_be64(2 * B));
    assert_field_refused(boot_mem_max, cpu_to_be64(2 * GiB));
    assert_field_refused(window_addr, 0);
    assert_field_refused(state, cpu_to_be32(3));
    assert_field_refused(state, cpu_to_be32(UINT32_MAX));
    assert_field_refused(boot_size, 0);
    assert_field_refused(boot_size, cpu_to_be64(B + 4096));
    assert_field_refused(boot_size, cpu_to_be64(512 * MiB));
    assert_field_refused(boot_size, cpu_to_be64(UINT64_MAX));
    assert_field_refused(vmcoreinfo, cpu_to_be64(UINT64_MAX));
    assert_field_refused(vmcoreinfo, cpu_to_be64(1 * GiB));
    assert_field_refused(vmcoreinfo_size, cpu_to_be64(256 * MiB));
    assert_field_refused(crash_note_size, cpu_to_be64(UINT64_MAX));
    assert_field_refused(crash_note_size, cpu_to_be64(4097));
    assert_field_refused(crash_note, cpu_to_be64(3 * GiB));
    assert_field_refused(nr_dests, cpu_to_be32(1));
    assert_field_refused(nr_dests, cpu_to_be32(MAX_REGIONS + 1));
    assert_field_refused(nr_dests, cpu_to_be32(UINT32_MAX));
    assert_field_refused(nr_swapped, cpu_to_be32(1));
    assert_field_refused(nr_swapped, cpu_to_be32(65));
    assert_field_refused(nr_swapped, cpu_to_be32(UINT32_MAX));
    assert_field_refused(desc_size, cpu_to_be64(4096));
    assert_field_refused(held_full, 1);
    /* registered, with a size that is not the default, is not IDLE */
    s->boot_size = cpu_to_be64(256 * MiB);
    assert_field_refused(state, cpu_to_be32(VIRTIO_FADUMP_STATE_IDLE));
    /* nothing is registered, but notes */
    assert_field_refused(state, cpu_to_be32(VIRTIO_FADUMP_STATE_IDLE));
    s->vmcoreinfo_size = s->crash_note_size = 0;
    s->yielded = 1;
    assert_field_refused(state, cpu_to_be32(VIRTIO_FADUMP_STATE_IDLE));
    /* a cause that there is not, at which a reset would be named by it */
    end->pending_cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC_DEVICE + 1);
    assert_refused(m, src, path, registered, registered_len);
    end->pending_cause = cpu_to_be32(1000);
    assert_refused(m, src, path, registered, registered_len);
    *end = old_end;
    /* says that a dump is held, and there is none */
    assert_field_refused(state,
                         cpu_to_be32(VIRTIO_FADUMP_STATE_DUMP_AVAILABLE));
    s->vmcoreinfo_size = s->crash_note_size = 0;
    s->desc_size = cpu_to_be64(4096);
    s->window_shown = 1;
    assert_field_refused(state,
                         cpu_to_be32(VIRTIO_FADUMP_STATE_DUMP_AVAILABLE));

    /* a reset that was asked for on the other host happens on this one */
    end->pending_cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC);
    g_assert_true(g_file_set_contents(path, registered, registered_len, NULL));
    *end = old_end;
    dst = load_from(m, path, src, "completed");
    wait_count(dst, &dst->captured, 1, "panic");
    stop(dst);

    /* as it was, the stream is good: all above failed for what was changed */
    g_assert_true(g_file_set_contents(path, registered, registered_len, NULL));
    dst = load_from(m, path, src, "completed");
    assert_state(dst, REGISTERED);
    stop(dst);
    stop(src);

    src = start_and_probe(m, "");
    g_free(path);
    path = g_build_filename(src->dir, "stream", NULL);
    assert_register(src, OK);
    trigger_panic(src);
    probe(src);
    desc = read_descriptor(src);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    h = (struct virtio_fadump_desc *)find_bytes(buf, len, desc->data,
                                                desc->len);
    r = (void *)((uint8_t *)h + le64_to_cpu(h->ranges_off));
    v = (void *)((uint8_t *)h + le64_to_cpu(h->vcpus_off));
    good = *h;
    good_range = *r;
    good_vcpu = *v;

    h->cause = ~h->cause;
    assert_refused(m, src, path, buf, len);
    *h = good;

#define assert_desc_refused(field, value) do { \
        (field) = (value); \
        seal(h, desc->len); \
        assert_refused(m, src, path, buf, len); \
        *h = good; \
        *r = good_range; \
        *v = good_vcpu; \
    } while (0)
    assert_desc_refused(h->magic[0], 'X');
    assert_desc_refused(h->version,
                        cpu_to_le32(VIRTIO_FADUMP_DESC_VERSION + 1));
    assert_desc_refused(h->total_size, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(h->hdr_size, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->nr_ranges, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->ranges_off, cpu_to_le64(UINT64_MAX - 7));
    assert_desc_refused(h->range_size, cpu_to_le32(8));
    assert_desc_refused(h->nr_vcpus, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->crash_cpu, cpu_to_le32(2));
    assert_desc_refused(h->vmcoreinfo.size, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(h->crash_note.off, cpu_to_le64(desc->len));
    assert_desc_refused(v->notes.off, cpu_to_le64(UINT64_MAX - 3));
    assert_desc_refused(v->notes.size, 0);
    assert_desc_refused(v->hv_note.size, cpu_to_le64(desc->len));
    assert_desc_refused(r->where, cpu_to_le32(9));
    assert_desc_refused(r->dest, cpu_to_le64(src->window_len));
    assert_desc_refused(r->dest, cpu_to_le64(UINT64_MAX - 4095));
    assert_desc_refused(r->len, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(r->addr, cpu_to_le64(512 * MiB));
    assert_desc_refused(r->held, cpu_to_le64(UINT64_MAX));

    want = (Stream) {
        cpu_to_be64(B), cpu_to_be64(256 * MiB), cpu_to_be64(src->window),
        cpu_to_be32(VIRTIO_FADUMP_STATE_DUMP_AVAILABLE), cpu_to_be64(B),
        0, 0, 0, 0, 0, 0, 0, cpu_to_be64(desc->len), 0, 1
    };
    s = (Stream *)find_bytes(buf, len, &want, sizeof(want));
    s->desc_size = cpu_to_be64(UINT64_MAX);
    assert_refused(m, src, path, buf, len);
    s->desc_size = cpu_to_be64(desc->len - 8);
    assert_refused(m, src, path, buf, len);
    s->desc_size = 0;
    assert_refused(m, src, path, buf, len);
    *s = want;
    s->window_shown = 0;
    assert_refused(m, src, path, buf, len);
    *s = want;

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "completed");
    assert_state(dst, DUMP_AVAILABLE);
    stop(dst);
    unlink(path);
    stop(src);
}

/* ------------------------------------------------------------------ */
/* Tests: properties                                                  */

/* ------------------------------------------------------------------ */
/* Tests: the size of boot memory                                     */

typedef struct BootMem {
    const char *opts;
    /* what a driver gets that asks for nothing, and at most */
    uint64_t granted, max;
    Span ranges[4];
} BootMem;

static void test_boot_mem(void)
{
    static const BootMem cases[] = {
        /* the default: 512 MiB, 5 % where that is more, all where it is less */
        { "-M q35 -m 1G -device fadump-dev", 512 * MiB, 512 * MiB,
          { { 0, 512 * MiB } } },
        { "-M q35 -m 12G -device fadump-dev", 640 * MiB, 3 * GiB,
          { { 0, 640 * MiB } } },
        { "-M q35 -m 256M -device fadump-dev", 256 * MiB, 256 * MiB,
          { { 0, 256 * MiB } } },
        /* each vCPU takes some, plugged in or not */
        { "-M q35 -smp 1,maxcpus=64 -m 2G -device fadump-dev", 512 * MiB,
          512 * MiB, { { 0, 512 * MiB } } },
        { "-M q35 -smp 1,maxcpus=255 -m 2G -device fadump-dev", 768 * MiB,
          768 * MiB, { { 0, 768 * MiB } } },
        /* whole memory blocks */
        { "-M pc -m 1G -device fadump-dev,boot-mem=129M", 256 * MiB,
          256 * MiB, { { 0, 256 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=134217728", 128 * MiB,
          256 * MiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=1G", 1 * GiB, 1 * GiB,
          { { 0, 1 * GiB } } },
        { "-M pc -m 64M -device fadump-dev,boot-mem=64M", 64 * MiB, 64 * MiB,
          { { 0, 64 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=128M,boot-mem-max=1000M",
          128 * MiB, 1 * GiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=128M,boot-mem-max=128M",
          128 * MiB, 128 * MiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -global fadump-dev.boot-mem=256M -device fadump-dev",
          256 * MiB, 256 * MiB, { { 0, 256 * MiB } } },
        /* what is set aside at the capture is nobody's but the host's */
        { "-M pc -m 1G -device fadump-dev,boot-mem=256M,full=on", 256 * MiB,
          256 * MiB, { { 0, 256 * MiB } } },
        /* on both sides of the hole under 4 GiB */
        { "-M q35 -m 6G -device fadump-dev,boot-mem=3G", 3 * GiB, 3 * GiB,
          { { 0, 2 * GiB }, { 4 * GiB, 1 * GiB } } },
        /* what fills no block, at each end of RAM, and the last block below */
        { "-M q35 -m 2100M -device fadump-dev,boot-mem=128M", 128 * MiB,
          640 * MiB, { { 0, B }, { 2 * GiB, 52 * MiB } } },
        { "-M pc -m 5200M -device fadump-dev,boot-mem=128M", 128 * MiB,
          1408 * MiB, { { 0, B }, { 3 * GiB - B, B },
                        { 4 * GiB + 2048 * MiB, 80 * MiB } } },
        /* blocks of Linux may have 2 GiB here */
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=70G,"
          "reserve=off -m 70G -device fadump-dev,boot-mem=128M",
          2 * GiB, 18 * GiB,
          { { 0, 2 * GiB } } },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=65G,"
          "reserve=off -m 65G -device fadump-dev,boot-mem=4G",
          4 * GiB, 18 * GiB,
          { { 0, 2 * GiB }, { 4 * GiB, 2 * GiB }, { 66 * GiB, 1 * GiB } } },
    };
    size_t i;
    uint32_t j;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        const Machine m = { cases[i].opts, cases[i].opts };
        g_autofree struct virtio_fadump_boot_mem *mem = NULL;
        Fadump *f;

        g_test_message("%s", cases[i].opts);
        f = start_and_probe(&m, "");
        g_assert_cmphex(CONFIG_Q(f, boot_mem_max), ==, cases[i].max);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==,
                        total_size(cases[i].ranges));
        mem = ask_boot_mem(f, 0);
        g_assert_cmphex(mem->size, ==, cases[i].granted);
        for (j = 0; j < mem->nr_ranges; j++) {
            g_assert_cmphex(mem->ranges[j].addr, ==, cases[i].ranges[j].base);
            g_assert_cmphex(mem->ranges[j].len, ==, cases[i].ranges[j].size);
        }
        g_assert_cmphex(cases[i].ranges[j].size, ==, 0);
        assert_register(f, OK);
        stop(f);
    }
}

/* Whatever is asked for, what is granted can be registered, and no more. */
static void test_ask(const void *opaque)
{
    const uint64_t block = 128 * MiB;
    const uint64_t sizes[] = {
        1, 4096, block - 1, block, block + 1, 2 * block, 256 * MiB + 1,
        5 * block, GiB - 1, GiB, UINT64_MAX, UINT64_MAX - block, 1ull << 63,
    };
    Fadump *f = start_and_probe(opaque, ",boot-mem-max=640M");
    const uint64_t max = CONFIG_Q(f, boot_mem_max);
    uint64_t tails = CONFIG_Q(f, boot_mem) - B, detail;
    uint32_t status, n;
    size_t i;

    g_assert_cmphex(max, ==, 640 * MiB);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree struct virtio_fadump_boot_mem *mem = NULL, *again = NULL;
        uint64_t sum = 0, end = 0;
        uint32_t j;

        mem = ask_boot_mem(f, sizes[i]);
        again = ask_boot_mem(f, mem->size);
        g_assert_cmphex(mem->size, ==, sizes[i] > max ? max :
                                       ROUND_UP(sizes[i], block));
        g_assert_cmpmem(mem, sizeof(*mem), again, sizeof(*again));
        for (j = 0; j < mem->nr_ranges; j++) {
            const struct virtio_fadump_extent *r = &mem->ranges[j];

            g_assert_cmphex(r->addr % VIRTIO_FADUMP_ALIGN, ==, 0);
            g_assert_cmphex(r->len % VIRTIO_FADUMP_PAGE_SIZE, ==, 0);
            g_assert_true(!j || r->addr > end);
            end = r->addr + r->len;
            sum += r->len;
        }
        g_assert_cmphex(sum, ==, mem->size + tails);
        f->ask = sizes[i];
        assert_register(f, OK);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, sum);
        /* in any state */
        g_free(ask_boot_mem(f, 0));
        assert_request(f, UNREGISTER, OK);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, B + tails);
    }

    /* room for the answer: none, too little, in parts, more than enough */
    f->ask = 0;
    for (n = 0; f->m->boot[n].size; n++) {
        g_free(get_boot_mem(f, 0, n, 0, &status, &detail));
        g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_NO_SPACE);
    }
    g_assert_cmpint(detail, ==, sizeof(struct virtio_fadump_boot_mem) +
                                n * sizeof(struct virtio_fadump_extent));
    g_free(get_boot_mem(f, 0, n, 0, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    g_free(get_boot_mem(f, 0, n, 9, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    g_free(get_boot_mem(f, 0, n + 100, 0, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    assert_unharmed(f);
    stop(f);
}

/* Crash after crash, each with another size, over a migration too. */
static void test_ask_capture(const void *opaque)
{
    static const uint64_t sizes[] = {
        512 * MiB, 128 * MiB, 384 * MiB, 384 * MiB, 256 * MiB, 640 * MiB,
    };
    Machine m = *(const Machine *)opaque;
    g_autofree char *opts = g_strdup_printf("%s,boot-mem-max=640M", m.opts);
    Fadump *f, *dst;
    size_t i;

    m.opts = opts;
    f = start_and_probe(&m, "");
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_build_filename(f->dir, "stream", NULL);
        g_autofree char *path2 = NULL;
        g_autoptr(GByteArray) desc = NULL, again = NULL;
        g_autoptr(GArray) pieces = NULL, same = NULL;

        m.boot[0].size = f->ask = sizes[i];
        fill_ram(f);
        assert_register(f, OK);
        if (i % 2 == 0) {
            save_to(f, path);
            dst = load_from(&m, path, f, "completed");
            stop(f);
            f = dst;
        }
        assert_state(f, REGISTERED);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, total_size(m.boot));
        trigger_panic(f);
        check_confinement(f, true);
        probe(f);
        /* nothing is registered: what a driver would get */
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, total_size(m.boot) -
                                                   sizes[i] + B);
        desc = read_descriptor(f);
        pieces = check_descriptor(f, desc, VIRTIO_FADUMP_CAUSE_PANIC);
        check_ram(f, pieces);

        if (i % 3 == 1) {
            path2 = g_build_filename(f->dir, "stream", NULL);
            save_to(f, path2);
            dst = load_from(&m, path2, f, "completed");
            stop(f);
            f = dst;
        }
        assert_window(f, true);
        check_confinement(f, true);
        again = read_descriptor(f);
        g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
        same = check_descriptor(f, again, VIRTIO_FADUMP_CAUSE_PANIC);
        check_ram(f, same);
        probe(f);
        assert_request(f, RELEASE, OK);
        check_released(f);
        system_reset(f);
        probe(f);
    }
    stop(f);
}

/* ------------------------------------------------------------------ */
/* Tests: properties                                                  */

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
        { "-M q35 -m 1G -device fadump-dev,max-boots=0", "max-boots" },
        { "-M q35 -m 1G -device fadump-dev -device fadump-dev",
          "at most one fadump-dev" },
        { "-M q35,i8042=off -m 1G,slots=1,maxmem=2G -device fadump-dev",
          "drop maxmem= and slots=" },
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
        { "-M pc -m 1G -device fadump-dev", 4 * GiB, 5 * GiB },
        { "-M q35 -m 6G -device fadump-dev", 8 * GiB, 10 * GiB },
        { "-M pc -m 6G -device fadump-dev,full=on", 7 * GiB, 14 * GiB },
        { "-M q35 -m 5000M -device fadump-dev", 7 * GiB, 9 * GiB },
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

static void add(const char *name, const Machine *m,
                void (*fn)(const void *opaque))
{
    g_autofree char *path = g_strdup_printf("fadump/%s/%s", name, m->name);

    qtest_add_data_func(path, m, fn);
}

int main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);

    add("state", PC_1G, test_state);
    add("state", Q35_1G, test_state);
    add("header", PC_1G, test_header);
    add("bad-regions", PC_1G, test_bad_regions);
    add("bad-regions", Q35_1G, test_bad_regions);
    add("good-regions", PC_1G, test_good_regions);
    add("hole", Q35_3G, test_hole);
    add("features", Q35_1G, test_features);
    add("queue", PC_1G, test_queue);
    add("queue", Q35_1G, test_queue);
    add("queue-to-device", Q35_1G, test_queue_to_device);
    add("trigger", PC_1G, test_trigger);
    add("trigger", Q35_1G, test_trigger);
    for (i = 0; i < ARRAY_SIZE(machines); i++) {
        add("capture", &machines[i], test_capture);
    }
    add("shadow-ram", PC_1G, test_shadow_ram);
    add("shadow-ram", Q35_1G, test_shadow_ram);
    add("notes", Q35_1G, test_notes);
    add("crash-note", Q35_1G, test_crash_note);
    add("host-reset", PC_1G, test_host_reset);
    add("host-reset", Q35_1G, test_host_reset);
    add("max-boots", PC_1G, test_max_boots);
    add("max-boots", Q35_1G, test_max_boots);
    add("causes", PC_1G, test_causes);
    add("causes", Q35_1G, test_causes);
    add("early", PC_1G, test_early);
    add("early", Q35_1G, test_early);
    add("operator", PC_1G, test_operator);
    add("operator", Q35_3G, test_operator);
    add("notify", Q35_1G, test_notify);
    add("notify", Q35_BAR_SWAP, test_notify);
    add("yield", PC_1G, test_yield);
    add("yield", Q35_1G, test_yield);
    add("guest-mem", Q35_1G, test_guest_mem);
    add("guest-mem", Q35_SWAP, test_guest_mem);
    add("no-host-mem", Q35_1G, test_no_host_mem);
    add("full", PC_1G, test_full);
    add("full", Q35_3G, test_full);
    add("full", Q35_SWAP, test_full);
    add("discard", Q35_1G, test_discard);
    add("discard", Q35_SWAP, test_discard);
    add("migrate-registered", Q35_1G, test_migrate_registered);
    add("migrate-held", PC_6G, test_migrate_held);
    add("migrate-held", Q35_1G, test_migrate_held);
    add("migrate-held", Q35_SWAP, test_migrate_held);
    add("migrate-release", Q35_1G, test_migrate_release);
    add("migrate-nothing", Q35_1G, test_migrate_nothing);
    add("migrate-nothing", Q35_SWAP, test_migrate_nothing);
    add("migrate-dests", Q35_1G, test_migrate_dests);
    add("migrate-hostile", Q35_1G, test_migrate_hostile);
    add("ask", PC_1G, test_ask);
    add("ask", PC_3G, test_ask);
    add("ask", Q35_3G, test_ask);
    add("ask-capture", PC_2000M, test_ask_capture);
    add("ask-capture", Q35_1G, test_ask_capture);
    add("ask-capture", Q35_SWAP, test_ask_capture);
    add("ask-capture", Q35_MEMFD, test_ask_capture);
    add("ask-capture", Q35_BAR_SWAP, test_ask_capture);
    qtest_add_func("fadump/boot-mem", test_boot_mem);
    qtest_add_func("fadump/place", test_place);
    qtest_add_func("fadump/feature-properties", test_feature_properties);
    qtest_add_func("fadump/refused", test_refused);
    qtest_add_func("fadump/introspect", test_introspect);

    return g_test_run();
}
