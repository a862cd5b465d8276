/*
 * Firmware-assisted dump: moving and copying between RAM blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Under the BQL. What may be relocated at this moment is the caller's to know:
 * see fadump_ram_why_stay().
 */
#ifndef HW_MISC_FADUMP_RELOCATE_H
#define HW_MISC_FADUMP_RELOCATE_H

#include "exec/memory.h"

/* Where memory lies: an offset in a RAM region. */
typedef struct FadumpPlace {
    MemoryRegion *mr;
    uint64_t off;
} FadumpPlace;

/*
 * Move @size bytes, multiples of 4096, from @src to @dst by page tables.
 * Returns 0, or a negative errno as ram_block_move_range() does.
 */
int fadump_move(const FadumpPlace *dst, const FadumpPlace *src, uint64_t size);

/*
 * Copy @size bytes from @src to @dst, with several threads. False with @errp
 * set if the host has no memory for it; a part may have been copied.
 */
bool fadump_copy(const FadumpPlace *dst, const FadumpPlace *src, uint64_t size,
                 Error **errp);

/*
 * Memory comes back into the map with other content than it had, and nobody
 * wrote that there: what was translated from it goes. No vCPU may run.
 */
void fadump_forget_code(void);

/* Whether a backend promises that this memory is always allocated. */
bool fadump_is_preallocated(const MemoryRegion *mr);

/* Such memory that pages have been moved from. */
typedef struct FadumpFresh {
    uint8_t *host;
    uint64_t size;
} FadumpFresh;

typedef struct FadumpPrealloc FadumpPrealloc;

/*
 * Begin to allocate @ranges, an array of FadumpFresh, in the background. None
 * of them may be moved or discarded until fadump_prealloc_stop(), which waits
 * for some milliseconds at most. NULL, with a warning, if there is no thread.
 */
FadumpPrealloc *fadump_prealloc_start(const GArray *ranges);
/* NULL: nothing to do. */
void fadump_prealloc_stop(FadumpPrealloc *prealloc);

#endif /* HW_MISC_FADUMP_RELOCATE_H */
