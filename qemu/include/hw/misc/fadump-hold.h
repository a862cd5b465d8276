/*
 * Firmware-assisted dump: setting boot memory aside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Boot memory is either set aside in host memory, which the guest sees through
 * a window (shared memory region 0), or in other RAM of the guest. All of this
 * runs under the BQL.
 */
#ifndef HW_MISC_FADUMP_HOLD_H
#define HW_MISC_FADUMP_HOLD_H

#include "exec/memory.h"
#include "hw/misc/fadump-ram.h"
#include "hw/misc/fadump-range.h"

/*
 * A part of boot memory that can be swapped: memory of the held area takes its
 * place in the memory map, and what was there shows in the window. The next
 * dump swaps it back.
 */
typedef struct FadumpSlot {
    /* guest-physical */
    FadumpRange range;
    /* in the window */
    uint64_t win_off;
    /* the machine's own RAM */
    MemoryRegion *ram;
    uint64_t ram_off;
    /* the two below have been made */
    bool can_swap;
    /* alias of the held area, over ram; mapped if swapped */
    MemoryRegion in_map;
    /* ram's memory, read-only, over the held area; mapped if swapped */
    MemoryRegion in_window;
    bool swapped;
} FadumpSlot;

/* Slots have a bit each in the migration stream; more parts are copied. */
#define FADUMP_MAX_SLOTS 64

typedef struct FadumpHold {
    Object *owner;
    /*
     * Shared memory region 0: the descriptor, then the held area, read-only
     * for the guest. Address space only until a capture.
     */
    MemoryRegion window;
    MemoryRegion desc;
    MemoryRegion held;
    /* in the window, bytes */
    uint64_t desc_size;
    uint64_t held_size;
    /* what the held area has room for, an array of FadumpRange */
    GArray *boot;
    FadumpSlot *slots;
    uint32_t nr_slots;
    /* x-move, x-swap */
    bool move;
    bool swap;
} FadumpHold;

/* Where memory lies: an offset in a RAM region. */
typedef struct FadumpPlace {
    MemoryRegion *mr;
    uint64_t off;
} FadumpPlace;

/* What was done with a part of boot memory, so that it can be undone. */
typedef struct FadumpHeld {
    FadumpPlace src;
    FadumpPlace dst;
    FadumpSlot *slot;
    uint64_t size;
    uint32_t method;
} FadumpHeld;

/*
 * Make the window, with @desc_size bytes for the descriptor and room for what
 * of @boot, a normalized array of FadumpRange, lies at @first or above.
 * Allocates address space only. False with @errp set if there is none.
 */
bool fadump_hold_init(FadumpHold *h, Object *owner, uint64_t desc_size,
                      const GArray *boot, uint64_t first, Error **errp);

/* When @owner is finalized; its memory regions have gone by then. */
void fadump_hold_destroy(FadumpHold *h);

/*
 * The machine is complete: @runs is its RAM, an array of FadumpRamRun, @boot
 * all boot memory. What of it lies below @first always stays where it is.
 */
void fadump_hold_plan(FadumpHold *h, const GArray *runs, const GArray *boot,
                      uint64_t first);

/* The descriptor's bytes. */
uint8_t *fadump_hold_desc(const FadumpHold *h);

/*
 * Append the addresses at which what is held in the window must be cut, so
 * that no part lies in two places: guest-physical, uint64_t.
 */
void fadump_hold_cuts(const FadumpHold *h, GArray *cuts);

/*
 * The window as an ascending array of FadumpRamRun whose range is an offset in
 * the window. The caller frees.
 */
GArray *fadump_hold_window(const FadumpHold *h);

/*
 * Set @range of boot memory, which lies at @src, aside in the window: moved if
 * that is possible and @may_relocate, else swapped if that is, else copied.
 * All are multiples of 4096, no part crosses a cut. Sets @win_off to where in
 * the window it is. Returns VIRTIO_FADUMP_METHOD_*, or METHOD_NONE with @errp
 * set and @src as it was. Appends a FadumpHeld to @done. No vCPU may run.
 */
uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off, GArray *done, Error **errp);

/* As fadump_hold(), but to other RAM of the guest: moved, else copied. */
uint32_t fadump_hold_in_guest(FadumpHold *h, const FadumpPlace *dst,
                              const FadumpPlace *src, uint64_t size,
                              bool may_relocate, GArray *done, Error **errp);

/* The capture failed: what was moved or swapped goes back where it was. */
void fadump_hold_undo(FadumpHold *h, const GArray *done);

/* Give all that the window holds back to the host. */
void fadump_hold_drop(FadumpHold *h);

/* The same for a part, in bytes of the window; multiples of 4096. */
void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size);

/* For migration: a bit for each slot that is swapped. */
uint64_t fadump_hold_get_swapped(const FadumpHold *h);

/* False, and nothing is changed, if @mask has bits of slots that are none. */
bool fadump_hold_set_swapped(FadumpHold *h, uint64_t mask);

#endif /* HW_MISC_FADUMP_HOLD_H */
