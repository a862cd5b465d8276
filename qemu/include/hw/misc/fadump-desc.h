/*
 * The dump descriptor of firmware-assisted dump: building and checking it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout is struct virtio_fadump_desc in the ABI header. Pure functions.
 */
#ifndef HW_MISC_FADUMP_DESC_H
#define HW_MISC_FADUMP_DESC_H

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
    uint64_t boot_mem_size;
    GArray *vcpus;      /* struct virtio_fadump_vcpu, little-endian */
    GArray *ranges;     /* struct virtio_fadump_range, little-endian */
    GByteArray *notes;
    GByteArray *param;
} FadumpDesc;

void fadump_desc_init(FadumpDesc *d);
void fadump_desc_destroy(FadumpDesc *d);

/* Bytes that fadump_desc_write() needs. */
uint64_t fadump_desc_size(const FadumpDesc *d);

/* Upper bound of fadump_desc_size() for this many vCPUs and bytes of notes. */
uint64_t fadump_desc_size_max(uint32_t nr_vcpus, uint64_t notes_size,
                              uint64_t param_size);

/* Write @d and its checksum to @buf of fadump_desc_size() bytes. */
void fadump_desc_write(const FadumpDesc *d, uint8_t *buf);

/*
 * Whether @buf holds a descriptor of at most @size bytes that this version
 * can honour, whose SHM ranges lie in [0, @shm_size). It may come from a
 * migration stream, so nothing in it is trusted.
 */
bool fadump_desc_check(const uint8_t *buf, uint64_t size, uint64_t shm_size,
                       Error **errp);

/*
 * Length of the ELF note (little-endian) at @buf, padded to 4 bytes, or 0 if
 * @size bytes do not hold a whole one.
 */
size_t fadump_note_size(const uint8_t *buf, size_t size);

/* Whether the notes of the checked descriptor @buf have one of that name. */
bool fadump_desc_has_note(const uint8_t *buf, const char *name);

#endif /* HW_MISC_FADUMP_DESC_H */
