/*
 * Firmware-assisted dump: the guest's RAM as the memory map has it now
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_FADUMP_RAM_H
#define HW_MISC_FADUMP_RAM_H

#include "exec/memory.h"
#include "hw/misc/fadump-range.h"

/* The device, which owns memory that took the place of boot memory */
#define TYPE_VIRTIO_FADUMP "virtio-fadump-device"

/* One run of guest RAM: contiguous in guest-physical and host memory. */
typedef struct FadumpRamRun {
    FadumpRange range;
    uint8_t *host;
    /* of its start; who keeps @host beyond the BQL takes a reference */
    MemoryRegion *mr;
    /* plugged: ACPI or virtio-mem, not firmware, tells the guest of it */
    bool hotplug;
    /* NUMA node of what is plugged */
    uint32_t node;
} FadumpRamRun;

/*
 * System RAM, DIMMs and what of virtio-mem is plugged, no ROM, no VGA, no
 * memory of devices: an array of FadumpRamRun, ascending. The caller frees.
 * Under the BQL. NULL with @errp set if some of it is not page aligned.
 */
GArray *fadump_ram_runs(Error **errp);

/* Take out of @runs what lies in @ranges, a normalized array of FadumpRange. */
void fadump_ram_exclude(GArray *runs, const GArray *ranges);

/* The run that has @addr, or NULL. */
const FadumpRamRun *fadump_ram_find(const GArray *runs, uint64_t addr);

/*
 * Why the host memory that RAM is in can be neither relocated nor given back to
 * the host at this moment, or NULL. It can still be read and written. Under the
 * BQL.
 */
const char *fadump_ram_why_stay(void);

/*
 * Whether disks, or directories shared by virtio-9p, have requests in flight,
 * which know RAM by its host addresses: what is written from there must not
 * change. Under the BQL.
 */
bool fadump_ram_has_requests(void);

#endif /* HW_MISC_FADUMP_RAM_H */
