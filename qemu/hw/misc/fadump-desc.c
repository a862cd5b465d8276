/*
 * The dump descriptor of firmware-assisted dump: building and checking it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "elf.h"
#include "hw/misc/fadump-desc.h"

#define DESC_ALIGN 8

void fadump_desc_init(FadumpDesc *d)
{
    memset(d, 0, sizeof(*d));
    d->vcpus = g_array_new(false, true, sizeof(struct virtio_fadump_vcpu));
    d->ranges = g_array_new(false, true, sizeof(struct virtio_fadump_range));
    d->notes = g_byte_array_new();
    d->param = g_byte_array_new();
}

void fadump_desc_destroy(FadumpDesc *d)
{
    g_array_unref(d->vcpus);
    g_array_unref(d->ranges);
    g_byte_array_unref(d->notes);
    g_byte_array_unref(d->param);
}

static uint64_t desc_size(uint64_t nr_vcpus, uint64_t nr_ranges,
                          uint64_t notes, uint64_t param)
{
    return ROUND_UP(sizeof(struct virtio_fadump_desc), DESC_ALIGN) +
           nr_vcpus * sizeof(struct virtio_fadump_vcpu) +
           nr_ranges * sizeof(struct virtio_fadump_range) +
           ROUND_UP(notes, DESC_ALIGN) + ROUND_UP(param, DESC_ALIGN);
}

uint64_t fadump_desc_size(const FadumpDesc *d)
{
    return desc_size(d->vcpus->len, d->ranges->len, d->notes->len,
                     d->param->len);
}

uint64_t fadump_desc_size_max(uint32_t nr_vcpus, uint64_t notes_size,
                              uint64_t param_size)
{
    return desc_size(nr_vcpus, FADUMP_MAX_RANGES, notes_size, param_size);
}

static uint32_t desc_checksum(const uint8_t *buf, uint64_t size)
{
    const size_t off = offsetof(struct virtio_fadump_desc, checksum);
    const uint32_t zero = 0;
    uint32_t crc = crc32(0, buf, off);

    crc = crc32(crc, (const uint8_t *)&zero, sizeof(zero));
    return crc32(crc, buf + off + sizeof(zero), size - off - sizeof(zero));
}

void fadump_desc_write(const FadumpDesc *d, uint8_t *buf)
{
    struct virtio_fadump_desc *h = (struct virtio_fadump_desc *)buf;
    uint64_t size = fadump_desc_size(d);
    uint64_t vcpus_off = ROUND_UP(sizeof(*h), DESC_ALIGN);
    uint64_t ranges_off = vcpus_off +
                          d->vcpus->len * sizeof(struct virtio_fadump_vcpu);
    uint64_t notes_off = ranges_off +
                         d->ranges->len * sizeof(struct virtio_fadump_range);
    uint64_t param_off = notes_off + ROUND_UP(d->notes->len, DESC_ALIGN);

    memset(buf, 0, size);
    memcpy(h->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(h->magic));
    h->version = cpu_to_le32(VIRTIO_FADUMP_VERSION);
    h->hdr_size = cpu_to_le32(sizeof(*h));
    h->total_size = cpu_to_le64(size);
    h->flags = cpu_to_le32(d->flags);
    memcpy(h->dump_id, d->id.data, sizeof(h->dump_id));
    h->cause = cpu_to_le32(d->cause);
    h->crash_cpu = cpu_to_le32(d->crash_cpu);
    h->time_ns = cpu_to_le64(d->time_ns);
    h->capture_ns = cpu_to_le64(d->capture_ns);
    h->elf_machine = cpu_to_le32(d->elf_machine);
    h->nr_vcpus = cpu_to_le32(d->vcpus->len);
    h->vcpu_size = cpu_to_le32(sizeof(struct virtio_fadump_vcpu));
    h->nr_ranges = cpu_to_le32(d->ranges->len);
    h->range_size = cpu_to_le32(sizeof(struct virtio_fadump_range));
    h->vcpus_off = cpu_to_le64(vcpus_off);
    h->ranges_off = cpu_to_le64(ranges_off);
    h->notes_off = cpu_to_le64(notes_off);
    h->notes_size = cpu_to_le64(d->notes->len);
    h->param_off = cpu_to_le64(d->param->len ? param_off : 0);
    h->param_size = cpu_to_le64(d->param->len);
    h->boot_mem_size = cpu_to_le64(d->boot_mem_size);

    if (d->vcpus->len) {
        memcpy(buf + vcpus_off, d->vcpus->data, ranges_off - vcpus_off);
    }
    if (d->ranges->len) {
        memcpy(buf + ranges_off, d->ranges->data, notes_off - ranges_off);
    }
    if (d->notes->len) {
        memcpy(buf + notes_off, d->notes->data, d->notes->len);
    }
    if (d->param->len) {
        memcpy(buf + param_off, d->param->data, d->param->len);
    }
    h->checksum = cpu_to_le32(desc_checksum(buf, size));
}

/* Whether @n elements of @elem bytes lie at @off of a descriptor. */
static bool table_ok(uint64_t off, uint64_t n, uint64_t elem, uint64_t total)
{
    return off % DESC_ALIGN == 0 && off >= sizeof(struct virtio_fadump_desc) &&
           off <= total && (n == 0 || elem <= (total - off) / n);
}

bool fadump_desc_check(const uint8_t *buf, uint64_t size, uint64_t shm_size,
                       Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    uint64_t total, ranges_off, prev_end = 0;
    uint32_t i, n, elem;

    if (size < sizeof(*h) ||
        memcmp(h->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(h->magic))) {
        error_setg(errp, "fadump: no dump descriptor");
        return false;
    }
    if (le32_to_cpu(h->version) != VIRTIO_FADUMP_VERSION) {
        error_setg(errp, "fadump: descriptor version %u, expected %u",
                   le32_to_cpu(h->version), VIRTIO_FADUMP_VERSION);
        return false;
    }
    total = le64_to_cpu(h->total_size);
    if (le32_to_cpu(h->hdr_size) < sizeof(*h) ||
        le32_to_cpu(h->hdr_size) > total || total > size) {
        error_setg(errp, "fadump: descriptor of %" PRIu64 " bytes, header of "
                   "%u bytes, in %" PRIu64 " bytes",
                   total, le32_to_cpu(h->hdr_size), size);
        return false;
    }
    if (le32_to_cpu(h->checksum) != desc_checksum(buf, total)) {
        error_setg(errp, "fadump: descriptor checksum 0x%x, expected 0x%x",
                   le32_to_cpu(h->checksum), desc_checksum(buf, total));
        return false;
    }
    n = le32_to_cpu(h->nr_ranges);
    elem = le32_to_cpu(h->range_size);
    ranges_off = le64_to_cpu(h->ranges_off);
    if (elem < sizeof(struct virtio_fadump_range) || elem % DESC_ALIGN ||
        le32_to_cpu(h->vcpu_size) < sizeof(struct virtio_fadump_vcpu) ||
        le32_to_cpu(h->vcpu_size) % DESC_ALIGN ||
        !table_ok(ranges_off, n, elem, total) ||
        !table_ok(le64_to_cpu(h->vcpus_off), le32_to_cpu(h->nr_vcpus),
                  le32_to_cpu(h->vcpu_size), total) ||
        !table_ok(le64_to_cpu(h->notes_off), le64_to_cpu(h->notes_size), 1,
                  total) ||
        (h->param_size &&
         !table_ok(le64_to_cpu(h->param_off), le64_to_cpu(h->param_size), 1,
                   total))) {
        error_setg(errp, "fadump: a descriptor table lies outside its %"
                   PRIu64 " bytes", total);
        return false;
    }
    for (i = 0; i < n; i++) {
        const struct virtio_fadump_range *r =
            (const void *)(buf + ranges_off + (uint64_t)i * elem);
        uint64_t addr = le64_to_cpu(r->addr), len = le64_to_cpu(r->len);
        uint64_t dest = le64_to_cpu(r->dest);

        if (!len || len > UINT64_MAX - addr || addr < prev_end ||
            le64_to_cpu(r->held) > len) {
            error_setg(errp, "fadump: descriptor range %u [0x%" PRIx64
                       ", +0x%" PRIx64 ") is bad", i, addr, len);
            return false;
        }
        if (le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_SHM &&
            (dest > shm_size || len > shm_size - dest)) {
            error_setg(errp, "fadump: descriptor range %u lies at 0x%" PRIx64
                       ", outside the shared memory region", i, dest);
            return false;
        }
        prev_end = addr + len;
    }
    return true;
}

size_t fadump_note_size(const uint8_t *buf, size_t size)
{
    uint64_t namesz, descsz, need;

    if (size < sizeof(Elf64_Nhdr)) {
        return 0;
    }
    namesz = (uint32_t)ldl_le_p(buf);
    descsz = (uint32_t)ldl_le_p(buf + 4);
    need = sizeof(Elf64_Nhdr) + ROUND_UP(namesz, 4) + ROUND_UP(descsz, 4);
    return namesz == 0 || need > size ? 0 : need;
}

bool fadump_desc_has_note(const uint8_t *buf, const char *name)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    const uint8_t *note = buf + le64_to_cpu(h->notes_off);
    uint64_t left = le64_to_cpu(h->notes_size);
    size_t namesz = strlen(name) + 1, size;

    while ((size = fadump_note_size(note, left))) {
        if ((uint32_t)ldl_le_p(note) == namesz &&
            !memcmp(note + sizeof(Elf64_Nhdr), name, namesz)) {
            return true;
        }
        note += size;
        left -= size;
    }
    return false;
}
