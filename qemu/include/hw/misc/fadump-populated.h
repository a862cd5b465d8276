/*
 * Firmware-assisted dump: which parts of a RAM block hold something
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A RamDiscardManager in blocks of 2 MiB: migration sends, and VFIO pins, what
 * is populated and nothing else. All of this runs under the BQL, but for the
 * questions that migration's threads ask.
 */
#ifndef HW_MISC_FADUMP_POPULATED_H
#define HW_MISC_FADUMP_POPULATED_H

#include "exec/memory.h"
#include "qemu/units.h"
#include "qom/object.h"

/* A huge page of the host */
#define FADUMP_POPULATED_BLOCK (2 * MiB)

#define TYPE_FADUMP_POPULATED "fadump-populated"
OBJECT_DECLARE_SIMPLE_TYPE(FadumpPopulated, FADUMP_POPULATED)

struct FadumpPopulated {
    Object parent_obj;

    /* of FADUMP_POPULATED_BLOCK, one bit each */
    unsigned long nr_blocks;
    unsigned long *bitmap;
    QLIST_HEAD(, RamDiscardListener) listeners;
};

/*
 * Make it a child of @owner, for a region of @size bytes, a multiple of a
 * block, that holds nothing.
 */
void fadump_populated_init(FadumpPopulated *p, Object *owner, uint64_t size);

/*
 * @mr, which shows the region from its start on and is not mapped anywhere yet,
 * is managed by @p.
 */
void fadump_populated_manage(FadumpPopulated *p, MemoryRegion *mr);

/*
 * All blocks that have a part of @size bytes at @off hold something now. False
 * with @errp set, and nothing changed, if a listener (VFIO) objects.
 */
bool fadump_populate(FadumpPopulated *p, uint64_t off, uint64_t size,
                     Error **errp);

/* The blocks that lie in @size bytes at @off hold nothing any more. */
void fadump_depopulate(FadumpPopulated *p, uint64_t off, uint64_t size);

#endif /* HW_MISC_FADUMP_POPULATED_H */
