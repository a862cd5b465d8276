/*
 * The dump descriptor of firmware-assisted dump: building and checking it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout is struct virtio_fadump_desc in the ABI header. Pure functions.
 */
#ifndef HW_MISC_FADUMP_DESC_H
#define HW_MISC_FADUMP_DESC_H

#include "qemu/bswap.h"
#include "qemu/uuid.h"
#include "standard-headers/linux/virtio_fadump.h"

/* Most memory ranges that a descriptor holds. */
#define FADUMP_MAX_RANGES 2048

/* What a descriptor says, in host byte order but for the two tables. */
typedef struct FadumpDesc {
    QemuUUID id;
    uint32_t cause;
    uint32_t crash_cpu;
    uint32_t flags;
    uint32_t elf_machine;
    uint64_t time_ns;
    uint64_t capture_ns;
    uint64_t boot_mem;
    /* struct virtio_fadump_vcpu, little-endian; its parts lie in @notes */
    GArray *vcpus;
    GArray *ranges;     /* struct virtio_fadump_range, little-endian */
    /* all notes, each a multiple of 4 bytes */
    GByteArray *notes;
    /* in @notes, little-endian */
    struct virtio_fadump_part vmcoreinfo;
    struct virtio_fadump_part crash_note;
} FadumpDesc;

void fadump_desc_init(FadumpDesc *d);
void fadump_desc_destroy(FadumpDesc *d);

/* Bytes that fadump_desc_write() needs. */
uint64_t fadump_desc_size(const FadumpDesc *d);

/* Upper bound of fadump_desc_size() for this many vCPUs and bytes of notes. */
uint64_t fadump_desc_size_max(uint32_t nr_vcpus, uint64_t notes_size);

/* Write @d and its checksum to @buf of fadump_desc_size() bytes. */
void fadump_desc_write(const FadumpDesc *d, uint8_t *buf);

/*
 * Whether @buf holds a descriptor of @size bytes that this version can honour,
 * whose WINDOW ranges lie in [0, @window_size). It may come from a migration
 * stream, so nothing in it is trusted.
 */
bool fadump_desc_check(const uint8_t *buf, uint64_t size, uint64_t window_size,
                       Error **errp);

/* Element @i of a table of the checked descriptor @buf. */
static inline const struct virtio_fadump_vcpu *
fadump_desc_vcpu(const uint8_t *buf, uint32_t i)
{
    const struct virtio_fadump_desc *h = (const void *)buf;

    return (const void *)(buf + le64_to_cpu(h->vcpus_off) +
                          (uint64_t)i * le32_to_cpu(h->vcpu_size));
}

static inline const struct virtio_fadump_range *
fadump_desc_range(const uint8_t *buf, uint32_t i)
{
    const struct virtio_fadump_desc *h = (const void *)buf;

    return (const void *)(buf + le64_to_cpu(h->ranges_off) +
                          (uint64_t)i * le32_to_cpu(h->range_size));
}

/*
 * Length of the ELF note (little-endian) at @buf, padded to 4 bytes, or 0 if
 * @size bytes do not hold a whole one.
 */
size_t fadump_note_size(const uint8_t *buf, size_t size);

#endif /* HW_MISC_FADUMP_DESC_H */
