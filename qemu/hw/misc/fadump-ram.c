/*
 * Firmware-assisted dump: the guest's RAM as the memory map has it now
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio.h"
#include "block/block_int-common.h"
#include "exec/address-spaces.h"
#include "hw/boards.h"
#include "hw/mem/memory-device.h"
#include "hw/misc/fadump-ram.h"
#include "hw/sysbus.h"
#include "migration/misc.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "system/block-backend.h"
#include "system/runstate.h"
#include "system/system.h"

typedef struct RamListener {
    MemoryListener listener;
    GArray *runs;       /* of FadumpRamRun */
    MemoryDeviceInfoList *devices;
    bool unaligned;
} RamListener;

/*
 * Whether @addr is of memory that is plugged, which the machine's own interface
 * has for it, and of which NUMA node: a DIMM's, but no NVDIMM's, or
 * virtio-mem's.
 */
static bool find_plugged(const MemoryDeviceInfoList *devices, uint64_t addr,
                         uint32_t *node)
{
    for (; devices; devices = devices->next) {
        const MemoryDeviceInfo *info = devices->value;

        if (info->type == MEMORY_DEVICE_INFO_KIND_DIMM) {
            const PCDIMMDeviceInfo *dimm = info->u.dimm.data;

            *node = dimm->node;
            if (addr - dimm->addr < dimm->size) {
                return true;
            }
        } else if (info->type == MEMORY_DEVICE_INFO_KIND_VIRTIO_MEM) {
            const VirtioMEMDeviceInfo *vmem = info->u.virtio_mem.data;

            *node = vmem->node;
            if (addr - vmem->memaddr < vmem->max_size) {
                return true;
            }
        }
    }
    return false;
}

static bool is_guest_ram(const MemoryRegionSection *section)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    const MemoryRegion *mr = section->mr;

    if (!memory_region_is_ram((MemoryRegion *)mr) || section->readonly ||
        memory_region_is_ram_device((MemoryRegion *)mr) ||
        section->nonvolatile) {
        return false;
    }
    /* memory of ours that took boot memory's place */
    if (object_dynamic_cast(memory_region_owner((MemoryRegion *)mr),
                            TYPE_VIRTIO_FADUMP)) {
        return true;
    }
    /* with -numa memdev, machine->ram is a container */
    return mr == ms->ram || mr->container == ms->ram;
}

static int add_run(MemoryRegionSection *section, void *opaque)
{
    RamListener *l = opaque;
    FadumpRamRun run = { .mr = section->mr }, *last;

    run.range.base = section->offset_within_address_space;
    run.range.size = int128_get64(section->size);
    run.host = memory_region_get_ram_ptr(section->mr) +
               section->offset_within_region;
    run.hotplug = find_plugged(l->devices, run.range.base, &run.node);
    l->unaligned |= (run.range.base | run.range.size) %
                    VIRTIO_FADUMP_PAGE_SIZE;

    last = l->runs->len ?
           &g_array_index(l->runs, FadumpRamRun, l->runs->len - 1) : NULL;
    if (last && last->mr == run.mr &&
        last->range.base + last->range.size == run.range.base &&
        last->host + last->range.size == run.host) {
        last->range.size += run.range.size;
    } else {
        g_array_append_val(l->runs, run);
    }
    return 0;
}

static void ram_listener_region_add(MemoryListener *listener,
                                    MemoryRegionSection *section)
{
    RamListener *l = container_of(listener, RamListener, listener);
    RamDiscardManager *rdm;
    uint32_t node;

    if (is_guest_ram(section)) {
        add_run(section, l);
    } else if (find_plugged(l->devices, section->offset_within_address_space,
                            &node)) {
        /* of virtio-mem's not all is plugged */
        rdm = memory_region_get_ram_discard_manager(section->mr);
        if (rdm) {
            ram_discard_manager_replay_populated(rdm, section, add_run, l);
        } else {
            add_run(section, l);
        }
    }
}

const FadumpRamRun *fadump_ram_find(const GArray *runs, uint64_t addr)
{
    guint i;

    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);

        if (addr - run->range.base < run->range.size) {
            return run;
        }
    }
    return NULL;
}

GArray *fadump_ram_runs(Error **errp)
{
    RamListener l = {
        .listener = {
            .name = "fadump-ram",
            .region_add = ram_listener_region_add,
        },
        .runs = g_array_new(false, false, sizeof(FadumpRamRun)),
        .devices = qmp_memory_device_list(),
    };

    memory_listener_register(&l.listener, &address_space_memory);
    memory_listener_unregister(&l.listener);
    qapi_free_MemoryDeviceInfoList(l.devices);
    if (l.unaligned) {
        error_setg(errp, "guest RAM is not page aligned");
        g_array_unref(l.runs);
        return NULL;
    }
    return l.runs;
}

void fadump_ram_exclude(GArray *runs, const GArray *ranges)
{
    g_autoptr(GArray) map = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) all = g_array_copy(runs);
    g_autoptr(GArray) pieces = NULL;
    guint i;

    for (i = 0; i < all->len; i++) {
        g_array_append_val(map, g_array_index(all, FadumpRamRun, i).range);
    }
    /* not normalized: runs that touch differ in host memory */
    pieces = fadump_ranges_split(map, ranges);
    g_array_set_size(runs, 0);
    for (i = 0; i < pieces->len; i++) {
        const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);
        FadumpRamRun run = *fadump_ram_find(all, p->base);

        if (!p->boot) {
            run.host += p->base - run.range.base;
            run.range.base = p->base;
            run.range.size = p->size;
            g_array_append_val(runs, run);
        }
    }
}

const char *fadump_ram_why_stay(void)
{
    /* its threads read, or its userfaultfd watches, the old addresses */
    if (migration_in_bg_snapshot()) {
        return "background snapshot";
    }
    if (migration_is_running()) {
        return "migration";
    }
    /* another QEMU may have the same memory, and runs the guest in it */
    if (runstate_check(RUN_STATE_POSTMIGRATE)) {
        return "migrated";
    }
    /* pages that have not come yet are waited for at the old addresses */
    if (migration_in_incoming_postcopy() ||
        runstate_check(RUN_STATE_INMIGRATE)) {
        return "incoming migration";
    }
    if (runstate_check(RUN_STATE_SAVE_VM) ||
        runstate_check(RUN_STATE_RESTORE_VM)) {
        return "snapshot";
    }
    /* a device has the pages' addresses, or maps all of it anew */
    if (ram_block_discard_is_disabled()) {
        return "pinned";
    }
    /* what the guest gets instead would not be locked */
    if (should_mlock(mlock_state)) {
        return "locked";
    }
    return NULL;
}

/* A shared directory has one queue, and threads that read and write files. */
static int find_busy_share(DeviceState *dev, void *opaque)
{
    g_autoptr(VirtQueueStatus) status = NULL;
    g_autofree char *path = NULL;

    if (!dev->realized || !object_dynamic_cast(OBJECT(dev),
                                               "virtio-9p-device")) {
        return 0;
    }
    path = object_get_canonical_path(OBJECT(dev));
    status = qmp_x_query_virtio_queue_status(path, 0, NULL);
    /* below 0 ends the walk */
    return status && status->inuse ? -EBUSY : 0;
}

bool fadump_ram_has_requests(void)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_all_next(blk))) {
        BlockDriverState *bs = blk_bs(blk);

        if (bs && blk_get_attached_dev(blk) && qatomic_read(&bs->in_flight)) {
            return true;
        }
    }
    return qbus_walk_children(sysbus_get_default(), find_busy_share, NULL, NULL,
                              NULL, NULL) != 0;
}
