/*
 * The dump descriptor of firmware-assisted dump: building and checking it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qapi/error.h"
#include "elf.h"
#include "hw/misc/fadump-desc.h"

#define DESC_ALIGN 8
#define NOTE_ALIGN 4

void fadump_desc_init(FadumpDesc *d)
{
    memset(d, 0, sizeof(*d));
    d->crash_cpu = VIRTIO_FADUMP_CPU_NONE;
    d->vcpus = g_array_new(false, true, sizeof(struct virtio_fadump_vcpu));
    d->ranges = g_array_new(false, true, sizeof(struct virtio_fadump_range));
    d->notes = g_byte_array_new();
}

void fadump_desc_destroy(FadumpDesc *d)
{
    g_array_unref(d->vcpus);
    g_array_unref(d->ranges);
    g_byte_array_unref(d->notes);
}

/* ------------------------------------------------------------------ */
/* Building                                                           */

static uint64_t desc_size(uint64_t nr_vcpus, uint64_t nr_ranges,
                          uint64_t notes)
{
    return sizeof(struct virtio_fadump_desc) +
           nr_vcpus * sizeof(struct virtio_fadump_vcpu) +
           nr_ranges * sizeof(struct virtio_fadump_range) +
           ROUND_UP(notes, DESC_ALIGN);
}

QEMU_BUILD_BUG_ON(sizeof(struct virtio_fadump_desc) % DESC_ALIGN ||
                  sizeof(struct virtio_fadump_vcpu) % DESC_ALIGN ||
                  sizeof(struct virtio_fadump_range) % DESC_ALIGN);

uint64_t fadump_desc_size(const FadumpDesc *d)
{
    return desc_size(d->vcpus->len, d->ranges->len, d->notes->len);
}

uint64_t fadump_desc_size_max(uint32_t nr_vcpus, uint64_t notes_size)
{
    return desc_size(nr_vcpus, FADUMP_MAX_RANGES, notes_size);
}

static uint32_t desc_checksum(const uint8_t *buf, uint64_t size)
{
    const size_t off = offsetof(struct virtio_fadump_desc, checksum);
    const uint32_t zero = 0;
    uint32_t crc = crc32(0, buf, off);

    crc = crc32(crc, (const uint8_t *)&zero, sizeof(zero));
    return crc32(crc, buf + off + sizeof(zero), size - off - sizeof(zero));
}

/* @part counts from the start of the notes, which lie at @notes_off. */
static void place_part(struct virtio_fadump_part *part, uint64_t notes_off)
{
    part->off = part->size ? cpu_to_le64(le64_to_cpu(part->off) + notes_off)
                           : 0;
}

void fadump_desc_write(const FadumpDesc *d, uint8_t *buf)
{
    struct virtio_fadump_desc *h = (struct virtio_fadump_desc *)buf;
    uint64_t size = fadump_desc_size(d);
    uint64_t vcpus_off = sizeof(*h);
    uint64_t ranges_off = vcpus_off +
                          d->vcpus->len * sizeof(struct virtio_fadump_vcpu);
    uint64_t notes_off = ranges_off +
                         d->ranges->len * sizeof(struct virtio_fadump_range);
    struct virtio_fadump_vcpu *vcpus = (void *)(buf + vcpus_off);
    guint i;

    memset(buf, 0, size);
    memcpy(h->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(h->magic));
    h->version = cpu_to_le32(VIRTIO_FADUMP_DESC_VERSION);
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
    h->vmcoreinfo = d->vmcoreinfo;
    h->crash_note = d->crash_note;
    h->boot_mem = cpu_to_le64(d->boot_mem);

    if (d->vcpus->len) {
        memcpy(vcpus, d->vcpus->data, ranges_off - vcpus_off);
    }
    if (d->ranges->len) {
        memcpy(buf + ranges_off, d->ranges->data, notes_off - ranges_off);
    }
    if (d->notes->len) {
        memcpy(buf + notes_off, d->notes->data, d->notes->len);
    }
    place_part(&h->vmcoreinfo, notes_off);
    place_part(&h->crash_note, notes_off);
    for (i = 0; i < d->vcpus->len; i++) {
        place_part(&vcpus[i].notes, notes_off);
        place_part(&vcpus[i].hv_note, notes_off);
    }
    h->checksum = cpu_to_le32(desc_checksum(buf, size));
}

/* ------------------------------------------------------------------ */
/* Checking                                                           */

size_t fadump_note_size(const uint8_t *buf, size_t size)
{
    uint64_t namesz, descsz, need;

    if (size < sizeof(Elf64_Nhdr)) {
        return 0;
    }
    namesz = (uint32_t)ldl_le_p(buf);
    descsz = (uint32_t)ldl_le_p(buf + 4);
    need = sizeof(Elf64_Nhdr) + ROUND_UP(namesz, NOTE_ALIGN) +
           ROUND_UP(descsz, NOTE_ALIGN);
    return namesz == 0 || need > size ? 0 : need;
}

/* Whether the header is there, whole, and what its checksum says. */
static bool check_header(const uint8_t *buf, uint64_t size, Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    uint64_t total;
    uint32_t hdr_size;

    if (size < sizeof(*h) ||
        memcmp(h->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(h->magic))) {
        error_setg(errp, "fadump: no dump descriptor");
        return false;
    }
    if (le32_to_cpu(h->version) != VIRTIO_FADUMP_DESC_VERSION) {
        error_setg(errp, "fadump: descriptor version %u, expected %u",
                   le32_to_cpu(h->version), VIRTIO_FADUMP_DESC_VERSION);
        return false;
    }
    total = le64_to_cpu(h->total_size);
    hdr_size = le32_to_cpu(h->hdr_size);
    if (hdr_size < sizeof(*h) || hdr_size % DESC_ALIGN || hdr_size > total ||
        total != size) {
        error_setg(errp, "fadump: descriptor of %" PRIu64 " bytes, header of "
                   "%u bytes, in %" PRIu64 " bytes", total, hdr_size, size);
        return false;
    }
    if (le32_to_cpu(h->checksum) != desc_checksum(buf, total)) {
        error_setg(errp, "fadump: descriptor checksum 0x%x, expected 0x%x",
                   le32_to_cpu(h->checksum), desc_checksum(buf, total));
        return false;
    }
    return true;
}

/* Whether @n elements of @elem bytes lie at @off, behind the header. */
static bool table_ok(const struct virtio_fadump_desc *h, uint64_t off,
                     uint64_t n, uint64_t elem, uint64_t align)
{
    uint64_t total = le64_to_cpu(h->total_size);

    return off % align == 0 && off >= le32_to_cpu(h->hdr_size) &&
           off <= total && (n == 0 || elem <= (total - off) / n);
}

static bool check_tables(const struct virtio_fadump_desc *h, Error **errp)
{
    uint32_t vcpu_size = le32_to_cpu(h->vcpu_size);
    uint32_t range_size = le32_to_cpu(h->range_size);

    if (vcpu_size < sizeof(struct virtio_fadump_vcpu) ||
        vcpu_size % DESC_ALIGN ||
        range_size < sizeof(struct virtio_fadump_range) ||
        range_size % DESC_ALIGN ||
        !table_ok(h, le64_to_cpu(h->vcpus_off), le32_to_cpu(h->nr_vcpus),
                  vcpu_size, DESC_ALIGN) ||
        !table_ok(h, le64_to_cpu(h->ranges_off), le32_to_cpu(h->nr_ranges),
                  range_size, DESC_ALIGN)) {
        error_setg(errp, "fadump: a descriptor table lies outside its %"
                   PRIu64 " bytes", le64_to_cpu(h->total_size));
        return false;
    }
    return true;
}

/*
 * Whether @part lies in the descriptor, or is none, and consists of whole ELF
 * notes, at most @max. Takes its size off @left: parts that overlap would make
 * more of a descriptor than there is.
 */
static bool part_ok(const uint8_t *buf, const struct virtio_fadump_part *part,
                    uint32_t max, uint64_t *left)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    uint64_t off = le64_to_cpu(part->off), size = le64_to_cpu(part->size);
    uint64_t end = off + size;
    size_t note;

    if (!size) {
        return !off;
    }
    if (!table_ok(h, off, size, 1, NOTE_ALIGN) || size > *left) {
        return false;
    }
    *left -= size;
    for (; off < end; off += note) {
        note = fadump_note_size(buf + off, end - off);
        if (!note || !max--) {
            return false;
        }
    }
    return true;
}

static bool check_notes(const uint8_t *buf, Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    uint32_t i, n = le32_to_cpu(h->nr_vcpus);
    uint64_t left = le64_to_cpu(h->total_size);

    if (!part_ok(buf, &h->vmcoreinfo, 1, &left) ||
        !part_ok(buf, &h->crash_note, 1, &left)) {
        error_setg(errp, "fadump: bad VMCOREINFO or crash note in the "
                   "descriptor");
        return false;
    }
    for (i = 0; i < n; i++) {
        const struct virtio_fadump_vcpu *v = fadump_desc_vcpu(buf, i);

        if (v->reserved || !v->notes.size ||
            !part_ok(buf, &v->notes, UINT32_MAX, &left) ||
            !part_ok(buf, &v->hv_note, 1, &left)) {
            error_setg(errp, "fadump: bad notes of vCPU %u in the descriptor",
                       i);
            return false;
        }
    }
    if (le32_to_cpu(h->crash_cpu) != VIRTIO_FADUMP_CPU_NONE &&
        le32_to_cpu(h->crash_cpu) >= n) {
        error_setg(errp, "fadump: vCPU %u of %u crashed, says the descriptor",
                   le32_to_cpu(h->crash_cpu), n);
        return false;
    }
    return true;
}

/* Whether what @r says of where its content is makes sense. */
static bool where_ok(const struct virtio_fadump_range *r, uint64_t window_size)
{
    uint64_t addr = le64_to_cpu(r->addr), len = le64_to_cpu(r->len);
    uint64_t dest = le64_to_cpu(r->dest);
    uint32_t flags = le32_to_cpu(r->flags);
    const uint32_t nothing = VIRTIO_FADUMP_RANGE_F_DESTINATION |
                             VIRTIO_FADUMP_RANGE_F_FIRMWARE;

    switch (le32_to_cpu(r->where)) {
    case VIRTIO_FADUMP_WHERE_IN_PLACE:
        return !dest && !(flags & VIRTIO_FADUMP_RANGE_F_BOOT_MEM) &&
               (!(flags & nothing) || !r->held);
    case VIRTIO_FADUMP_WHERE_GUEST:
        return dest % VIRTIO_FADUMP_PAGE_SIZE == 0 && len <= UINT64_MAX - dest;
    case VIRTIO_FADUMP_WHERE_WINDOW:
        return dest <= window_size && len <= window_size - dest &&
               (dest - addr) % VIRTIO_FADUMP_ALIGN == 0;
    default:
        return false;
    }
}

static bool check_ranges(const uint8_t *buf, uint64_t window_size,
                         Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)buf;
    uint64_t prev_end = 0;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r = fadump_desc_range(buf, i);
        uint64_t addr = le64_to_cpu(r->addr), len = le64_to_cpu(r->len);

        if (!len || len > UINT64_MAX - addr || addr < prev_end ||
            (addr | len) % VIRTIO_FADUMP_PAGE_SIZE ||
            le64_to_cpu(r->held) > len) {
            error_setg(errp, "fadump: descriptor range %u [0x%" PRIx64
                       ", +0x%" PRIx64 ") is bad", i, addr, len);
            return false;
        }
        if (!where_ok(r, window_size)) {
            error_setg(errp, "fadump: descriptor range %u lies at 0x%" PRIx64
                       ", where %u, flags 0x%x: outside of the window, or "
                       "nonsense", i, le64_to_cpu(r->dest),
                       le32_to_cpu(r->where), le32_to_cpu(r->flags));
            return false;
        }
        prev_end = addr + len;
    }
    return true;
}

bool fadump_desc_check(const uint8_t *buf, uint64_t size, uint64_t window_size,
                       Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)buf;

    if (!check_header(buf, size, errp)) {
        return false;
    }
    if (h->reserved) {
        error_setg(errp, "fadump: reserved field of the descriptor is not 0");
        return false;
    }
    return check_tables(h, errp) && check_notes(buf, errp) &&
           check_ranges(buf, window_size, errp);
}
