/*
 * QTest helpers for fadump-dev: requests to the device, as a driver sends them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "elf.h"
#include "fadump-lib.h"

/*
 * Send @req; the answer's data go to @answer, of @room bytes. The buffer that
 * the device may write is cut into parts of @cut bytes, and one with the rest.
 */
uint32_t request_full(Fadump *f, const void *req, size_t len,
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

uint32_t request(Fadump *f, uint32_t type)
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

/* Have the device free what it holds of a part of the crashed RAM. */
uint32_t request_discard(Fadump *f, uint64_t addr, uint64_t len)
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

/*
 * The answer to GET_BOOT_MEM for @size, in host byte order, with room for @room
 * ranges; the caller frees.
 */
struct virtio_fadump_boot_mem *
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
struct virtio_fadump_boot_mem *ask_boot_mem(Fadump *f, uint64_t size)
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
struct virtio_fadump_register *
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

uint32_t do_register(Fadump *f,
                     const struct virtio_fadump_region *regions,
                     uint32_t n, uint64_t *detail)
{
    g_autofree struct virtio_fadump_register *reg = NULL;
    size_t size;

    reg = make_register(regions, n, f->ask ?: B, &size);
    return request_full(f, reg, size, NULL, 0, 0, detail);
}

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
size_t vmcoreinfo_note(uint8_t *buf)
{
    static const char desc[] = "OSRELEASE=qtest\nPAGESIZE=4096\n";

    return make_note(buf, "VMCOREINFO", 0, desc, sizeof(desc));
}

/* Registers as a kernel that panics gives them. */
size_t crash_note(uint8_t *buf)
{
    uint8_t regs[336];
    int i;

    for (i = 0; i < sizeof(regs); i++) {
        regs[i] = 255 - i;
    }
    return make_note(buf, "CORE", NT_PRSTATUS, regs, sizeof(regs));
}

/* Register @f->ask bytes of boot memory, as a kernel does at boot. */
uint32_t register_all(Fadump *f)
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

/* Whatever was refused, the device is IDLE and takes a good registration. */
void assert_unharmed(Fadump *f)
{
    assert_state(f, IDLE);
    assert_register(f, OK);
    assert_state(f, REGISTERED);
    assert_request(f, UNREGISTER, OK);
    assert_state(f, IDLE);
}

Other start_other(Fadump *f, unsigned slot, uint64_t features)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(slot, 0) };
    Other o = { .pci = virtio_pci_new(f->qs->pcibus, &addr) };
    QVirtioDevice *vdev = &o.pci->vdev;

    qvirtio_pci_device_enable(o.pci);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                               (features | 1ull << VIRTIO_F_VERSION_1));
    o.vq = qvirtqueue_setup(vdev, &f->qs->alloc, 0);
    qvirtio_set_driver_ok(vdev);
    return o;
}

void stop_other(Fadump *f, Other *o)
{
    qvirtqueue_cleanup(o->pci->vdev.bus, o->vq, &f->qs->alloc);
    g_free(o->pci->pdev);
    g_free(o->pci);
}
