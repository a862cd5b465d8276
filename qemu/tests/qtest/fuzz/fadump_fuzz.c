/*
 * Fuzzing target for fadump-dev, firmware-assisted dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The generic fuzzer gets to the registers and the ring, and seldom further:
 * what is worth an attack needs a registration that fits the machine, a crash,
 * and a dump that is held. This target goes through the device's life. An input
 * is a row of operations, each an opcode and what it takes: requests that are
 * nearly right, triggers, resets with each cause, and what a host asks for.
 * Every input begins and ends with a device that holds nothing.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-fadump.h"
#include "elf.h"
#include "system/runstate.h"
#include "tests/qtest/libqtest.h"
#include "tests/qtest/libqos/libqos-malloc.h"
#include "tests/qtest/libqos/pci-pc.h"
#include "tests/qtest/libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "fuzz.h"

#define SLOT 4
#define MACHINE_RAM (512 * MiB)

/* All of it lies in boot memory, and so is RAM in every boot. */
#define HEAP_START (16 * MiB)
#define HEAP_END (32 * MiB)
#define BUFFER (40 * MiB)
#define ANSWER (48 * MiB)
#define NOTES (56 * MiB)

#define MAX_EXTENTS 8
#define MAX_REGIONS 40

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

typedef struct Driver {
    QTestState *qts;
    QPCIBus *bus;
    QGuestAllocator alloc;
    QVirtioPCIDevice *dev;
    QVirtQueue *vq;
    /* of the last GET_BOOT_MEM that was granted */
    uint64_t boot_mem;
    uint32_t nr_extents;
    struct virtio_fadump_extent extents[MAX_EXTENTS];
} Driver;

static Driver driver;

/* Zero where the input has ended */
static uint64_t take(Input *in, size_t width)
{
    uint8_t buf[8] = { };
    size_t n = MIN(width, in->size);

    memcpy(buf, in->data, n);
    in->data += n;
    in->size -= n;
    return ldq_le_p(buf);
}

/* ------------------------------------------------------------------ */
/* The driver                                                         */

static void forget(Driver *d)
{
    if (d->vq) {
        qvirtqueue_cleanup(d->dev->vdev.bus, d->vq, &d->alloc);
        d->vq = NULL;
    }
    if (d->dev) {
        g_free(d->dev->pdev);
        g_free(d->dev);
        d->dev = NULL;
    }
}

static void probe(Driver *d, uint64_t features)
{
    const QPCIAddress addr = { .devfn = QPCI_DEVFN(SLOT, 0) };
    QVirtioDevice *vdev;

    forget(d);
    d->dev = virtio_pci_new(d->bus, (QPCIAddress *)&addr);
    g_assert_nonnull(d->dev);
    vdev = &d->dev->vdev;
    d->bus->mmio_alloc_ptr = 0xe0000000;
    qvirtio_pci_device_enable(d->dev);
    qvirtio_start_device(vdev);
    features |= 1ull << VIRTIO_F_VERSION_1;
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) & features &
                               ~QVIRTIO_F_BAD_FEATURE);
    d->vq = qvirtqueue_setup(vdev, &d->alloc, VIRTIO_FADUMP_VQ_CTRL);
    qvirtio_set_driver_ok(vdev);
}

static uint64_t config_addr(Driver *d, uint64_t off)
{
    return d->dev->bar.addr + d->dev->device_cfg_offset + off;
}

/* @room bytes for the answer, in two parts if @cut is not 0 */
static void request(Driver *d, const void *req, size_t len, size_t room,
                    size_t cut)
{
    uint32_t head;

    qvirtqueue_reset_pool(d->vq);
    head = d->vq->free_head;
    if (len) {
        qtest_memwrite(d->qts, BUFFER, req, len);
        qvirtqueue_add(d->qts, d->vq, BUFFER, len, false, room);
    }
    cut = MIN(cut, room);
    if (cut) {
        qvirtqueue_add(d->qts, d->vq, ANSWER, cut, true, room > cut);
    }
    if (room > cut) {
        qvirtqueue_add(d->qts, d->vq, ANSWER + cut, room - cut, true, false);
    }
    if (len || room) {
        qvirtqueue_kick(d->qts, &d->dev->vdev, d->vq, head);
        flush_events(d->qts);
    }
}

static void simple_request(Driver *d, uint32_t type)
{
    const struct virtio_fadump_req req = {
        .type = cpu_to_le32(type), .size = cpu_to_le32(sizeof(req)),
    };

    request(d, &req, sizeof(req), sizeof(struct virtio_fadump_resp), 0);
}

static void get_boot_mem(Driver *d, uint64_t size)
{
    const struct virtio_fadump_get_boot_mem req = {
        .hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM),
        .hdr.size = cpu_to_le32(sizeof(req)),
        .size = cpu_to_le64(size),
    };
    struct {
        struct virtio_fadump_boot_mem mem;
        struct virtio_fadump_extent extents[MAX_EXTENTS];
    } answer = { };

    qtest_memset(d->qts, ANSWER, 0xff, sizeof(answer));
    request(d, &req, sizeof(req), sizeof(answer), 0);
    qtest_memread(d->qts, ANSWER, &answer, sizeof(answer));
    if (answer.mem.hdr.status == VIRTIO_FADUMP_S_OK) {
        d->boot_mem = answer.mem.size;
        d->nr_extents = MIN(le32_to_cpu(answer.mem.nr_ranges), MAX_EXTENTS);
        memcpy(d->extents, answer.extents, sizeof(d->extents));
    }
}

static void put_region(struct virtio_fadump_register *reg, uint32_t type,
                       uint64_t src, uint64_t len, uint64_t dst)
{
    uint32_t n = le32_to_cpu(reg->nr_regions);

    if (n < MAX_REGIONS) {
        reg->regions[n] = (struct virtio_fadump_region) {
            .type = cpu_to_le32(type), .src = cpu_to_le64(src),
            .len = cpu_to_le64(len), .dst = cpu_to_le64(dst),
        };
        reg->nr_regions = cpu_to_le32(n + 1);
    }
}

/* Boot memory as the device wants it, in two parts each if @split */
static void put_boot_mem(Driver *d, struct virtio_fadump_register *reg,
                         uint64_t dst, bool split)
{
    uint32_t i;

    for (i = 0; i < d->nr_extents; i++) {
        uint64_t src = le64_to_cpu(d->extents[i].addr);
        uint64_t len = le64_to_cpu(d->extents[i].len);
        uint64_t part = split ? ROUND_UP(len / 3, VIRTIO_FADUMP_ALIGN) : len;

        put_region(reg, VIRTIO_FADUMP_REGION_BOOT_MEM, src, part, dst);
        if (dst != VIRTIO_FADUMP_DST_HOST) {
            dst += part;
        }
        if (part < len) {
            put_region(reg, VIRTIO_FADUMP_REGION_BOOT_MEM, src + part,
                       len - part, dst);
            if (dst != VIRTIO_FADUMP_DST_HOST) {
                dst += len - part;
            }
        }
    }
}

/* A registration that would be granted, but for so many bytes of it */
static void register_nearly(Driver *d, Input *in)
{
    const size_t room = sizeof(struct virtio_fadump_resp);
    g_autofree struct virtio_fadump_register *reg = g_malloc0(
        sizeof(*reg) + MAX_REGIONS * sizeof(reg->regions[0]));
    uint8_t how = take(in, 1);
    uint64_t dst = VIRTIO_FADUMP_DST_HOST;
    size_t size;

    if (how & 1) {
        dst = (128 + take(in, 1) * 2) * MiB;
    }
    reg->boot_mem = d->boot_mem;
    put_region(reg, VIRTIO_FADUMP_REGION_CPU_STATE, 0, 0, 0);
    put_boot_mem(d, reg, dst, how & 2);
    if (how & 4) {
        put_region(reg, VIRTIO_FADUMP_REGION_VMCOREINFO,
                   NOTES + take(in, 2), take(in, 2), 0);
    }
    if (how & 8) {
        put_region(reg, VIRTIO_FADUMP_REGION_CRASH_NOTE,
                   NOTES + take(in, 2), take(in, 2), 0);
    }
    size = sizeof(*reg) + le32_to_cpu(reg->nr_regions) *
                          sizeof(reg->regions[0]);
    reg->hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_REGISTER);
    reg->hdr.size = cpu_to_le32(size);
    for (how = how >> 4; how; how--) {
        size_t at = take(in, 2) % size;

        ((uint8_t *)reg)[at] ^= take(in, 1);
    }
    request(d, reg, size, room, 0);
}

static void discard(Driver *d, Input *in)
{
    struct virtio_fadump_discard req = {
        .hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_DISCARD),
        .hdr.size = cpu_to_le32(sizeof(req)),
        .addr = cpu_to_le64(take(in, 1) * 2 * MiB),
        .len = cpu_to_le64(take(in, 1) * 2 * MiB),
    };

    request(d, &req, sizeof(req), sizeof(struct virtio_fadump_resp), 0);
}

static void any_request(Driver *d, Input *in)
{
    size_t room = take(in, 1), cut = take(in, 1), len = take(in, 1);

    len = MIN(len, in->size);
    request(d, in->data, len, room, cut);
    in->data += len;
    in->size -= len;
}

/* ------------------------------------------------------------------ */
/* Operations                                                         */

enum {
    OP_PROBE,
    OP_VIRTIO_RESET,
    OP_GET_BOOT_MEM,
    OP_REGISTER,
    OP_SIMPLE_REQUEST,
    OP_DISCARD,
    OP_ANY_REQUEST,
    OP_TRIGGER,
    OP_RESET,
    OP_CONFIG_READ,
    OP_CONFIG_WRITE,
    OP_WINDOW,
    OP_NOTE,
    OP_PANIC,
    OP_HOST_TRIGGER,
    OP_HOST_RELEASE,
    OP_CLOCK,
    OP_MAX,
};

/* @driver: an operating system comes up that has one */
static void reset_machine(Driver *d, ShutdownCause cause, bool driver)
{
    qemu_system_reset(cause);
    flush_events(d->qts);
    probe(d, driver ? UINT64_MAX : 0);
}

/* All of the window is readable, and what is written to it has no effect. */
static void see_window(Driver *d, Input *in)
{
    const uint64_t at = config_addr(d, 0);
    uint64_t addr, len, off;

    addr = qtest_readq(d->qts, at + offsetof(struct virtio_fadump_config,
                                             window_addr));
    len = qtest_readq(d->qts, at + offsetof(struct virtio_fadump_config,
                                            window_len));
    off = take(in, 4);
    if (addr && len >= 8) {
        off %= len - 7;
        qtest_writeq(d->qts, addr + off, off);
        qtest_readq(d->qts, addr + off);
        qtest_readq(d->qts, addr + len - 8);
    }
}

/* What a guest leaves where it has told the device to look for notes */
static void write_note(Driver *d, Input *in)
{
    uint8_t note[64] = { };
    size_t n;

    stl_le_p(note, 5);
    stl_le_p(note + 4, take(in, 2));
    stl_le_p(note + 8, NT_PRSTATUS);
    memcpy(note + 12, "CORE", 5);
    for (n = take(in, 1) % 4; n; n--) {
        size_t at = take(in, 1) % sizeof(note);

        note[at] = take(in, 1);
    }
    qtest_memwrite(d->qts, NOTES + take(in, 2), note, sizeof(note));
}

/* An error is as good as no error. */
static void host_command(void (*command)(Error **errp))
{
    Error *err = NULL;

    command(&err);
    error_free(err);
}

static void run_op(Driver *d, uint8_t op, Input *in)
{
    uint64_t off;

    switch (op % OP_MAX) {
    case OP_PROBE:
        probe(d, take(in, 1));
        break;
    case OP_VIRTIO_RESET:
        qvirtio_start_device(&d->dev->vdev);
        probe(d, UINT64_MAX);
        break;
    case OP_GET_BOOT_MEM:
        get_boot_mem(d, take(in, 2) * MiB);
        break;
    case OP_REGISTER:
        register_nearly(d, in);
        break;
    case OP_SIMPLE_REQUEST:
        simple_request(d, take(in, 1) % 8);
        break;
    case OP_DISCARD:
        discard(d, in);
        break;
    case OP_ANY_REQUEST:
        any_request(d, in);
        break;
    case OP_TRIGGER:
        qtest_writel(d->qts, config_addr(d, offsetof(
                     struct virtio_fadump_config, trigger)),
                     take(in, 1) % 5);
        break;
    case OP_RESET:
        off = take(in, 1);
        reset_machine(d, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET +
                         off % (SHUTDOWN_CAUSE_SUBSYSTEM_RESET -
                                SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET + 1),
                      off < 0x80);
        break;
    case OP_CONFIG_READ:
        off = take(in, 1);
        qtest_readl(d->qts, config_addr(d, off));
        break;
    case OP_CONFIG_WRITE:
        off = take(in, 1) % (sizeof(struct virtio_fadump_config) + 8);
        qtest_writel(d->qts, config_addr(d, off), take(in, 4));
        break;
    case OP_WINDOW:
        see_window(d, in);
        break;
    case OP_NOTE:
        write_note(d, in);
        break;
    case OP_PANIC:
        if (take(in, 1) & 1) {
            qemu_system_guest_panicked(NULL);
        } else {
            qemu_system_guest_crashloaded(NULL);
        }
        /* and not stopped for good */
        if (!runstate_is_running()) {
            vm_start();
        }
        break;
    case OP_HOST_TRIGGER:
        host_command(qmp_fadump_trigger);
        break;
    case OP_HOST_RELEASE:
        host_command(qmp_fadump_release);
        break;
    case OP_CLOCK:
        qtest_clock_step_next(d->qts);
        break;
    }
    flush_events(d->qts);
}

static void fadump_fuzz(QTestState *s, const unsigned char *data, size_t size)
{
    Driver *d = &driver;
    Input in = { data, size };

    d->nr_extents = 0;
    d->boot_mem = 0;
    probe(d, UINT64_MAX);
    get_boot_mem(d, 0);
    while (in.size) {
        run_op(d, take(&in, 1), &in);
    }

    /* nothing is registered or held */
    host_command(qmp_fadump_release);
    probe(d, UINT64_MAX);
    simple_request(d, VIRTIO_FADUMP_REQ_UNREGISTER);
    reset_machine(d, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, true);
    host_command(qmp_fadump_release);
    g_assert_cmpint(qtest_readl(s, config_addr(d, offsetof(
                                struct virtio_fadump_config, state))), ==,
                    VIRTIO_FADUMP_STATE_IDLE);
}

static void fadump_pre_fuzz(QTestState *s)
{
    driver.qts = s;
    driver.bus = qpci_new_pc(s, NULL);
    alloc_init(&driver.alloc, 0, HEAP_START, HEAP_END, 4096);
}

static GString *fadump_cmdline(FuzzTarget *t)
{
    GString *cmd = g_string_new(TARGET_NAME);

    QEMU_BUILD_BUG_ON(NOTES + 1 * MiB > 128 * MiB);
    g_string_append_printf(cmd, " -display none -machine q35,accel=qtest "
                           "-m %" PRIu64 "M -smp 2 -nodefaults "
                           "-action panic=none -device %s,addr=%d",
                           (uint64_t)(MACHINE_RAM / MiB),
                           (const char *)t->opaque, SLOT);
    return cmd;
}

static void register_fadump_fuzz_targets(void)
{
    static const struct {
        const char *name, *device;
    } targets[] = {
        { "fadump", "fadump-dev,boot-mem=128M,boot-mem-max=256M" },
        { "fadump-swap", "fadump-dev,boot-mem=128M,x-move=off" },
        { "fadump-copy", "fadump-dev,boot-mem=128M,x-move=off,x-swap=off,"
                         "max-boots=2" },
        { "fadump-full", "fadump-dev,boot-mem=128M,full=on,early=on" },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(targets); i++) {
        fuzz_add_target(&(FuzzTarget) {
            .name = targets[i].name,
            .description = "Fuzz the life of fadump-dev: requests, triggers, "
                           "resets, and what a host asks for",
            .get_init_cmdline = fadump_cmdline,
            .pre_fuzz = fadump_pre_fuzz,
            .fuzz = fadump_fuzz,
            .opaque = (void *)targets[i].device,
        });
    }
}

fuzz_target_init(register_fadump_fuzz_targets);
