/*
 * Firmware-assisted dump: setting boot memory aside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_FADUMP_HOLD_H
#define HW_MISC_FADUMP_HOLD_H

#include "exec/memory.h"

/* What was moved, so that it can be moved back: of FadumpMoved. */
typedef struct FadumpMoved {
    MemoryRegion *mr;
    uint64_t mr_off;
    uint64_t shm_off;
    uint64_t size;
} FadumpMoved;

/*
 * Set @size bytes of @mr at @mr_off aside in @shm at @shm_off: moved if that
 * is possible and @may_move, else copied. All are multiples of 4096. Returns
 * VIRTIO_FADUMP_METHOD_*, or METHOD_NONE with @errp set and @mr as it was.
 * Under the BQL, no vCPU running.
 */
uint32_t fadump_hold(MemoryRegion *shm, uint64_t shm_off, MemoryRegion *mr,
                     uint64_t mr_off, uint64_t size, bool may_move,
                     GArray *moved, Error **errp);

/* The capture failed: what was moved goes back where it was. */
void fadump_hold_undo(MemoryRegion *shm, const GArray *moved);

#endif /* HW_MISC_FADUMP_HOLD_H */
