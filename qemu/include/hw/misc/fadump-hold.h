/*
 * Firmware-assisted dump: setting boot memory aside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Boot memory is either set aside in host memory, which the guest sees through
 * a window, or in other RAM of the guest. All of this runs under the BQL.
 */
#ifndef HW_MISC_FADUMP_HOLD_H
#define HW_MISC_FADUMP_HOLD_H

#include "exec/memory.h"
#include "hw/misc/fadump-ram.h"
#include "hw/misc/fadump-range.h"

/*
 * RAM that can be swapped, whole or in part: memory of the held area takes its
 * place in the memory map, and what was there shows in the window. The next
 * dump swaps it back.
 */
typedef struct FadumpSlot {
    /* guest-physical */
    FadumpRange range;
    /* the machine's own RAM */
    MemoryRegion *ram;
    uint64_t ram_off;
    /* ram, read-only, for the window; made at the first swap */
    MemoryRegion view;
    bool has_view;
} FadumpSlot;

/* RAM in more parts than this is copied. */
#define FADUMP_MAX_SLOTS 64
/* Most ranges that are swapped at a time; beyond it, too, RAM is copied. */
#define FADUMP_MAX_SWAPPED 64

typedef struct FadumpHold {
    Object *owner;
    /*
     * The descriptor, then the held area, read-only for the guest. Address
     * space only until a capture.
     */
    MemoryRegion window;
    MemoryRegion desc;
    MemoryRegion held;
    /* held, read-only, for the window */
    MemoryRegion held_view;
    /* in the window, bytes */
    uint64_t desc_size;
    uint64_t held_size;
    /* what the held area has room for, an array of FadumpRange */
    GArray *room;
    FadumpSlot *slots;
    uint32_t nr_slots;
    /* of FadumpRange, guest-physical: what of the slots is swapped now */
    GArray *swapped;
    /* of MemoryRegion: the aliases that make it so */
    GPtrArray *aliases;
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
    FadumpRange range;
    FadumpPlace src;
    FadumpPlace dst;
    uint32_t method;
} FadumpHeld;

/*
 * Make the window, with @desc_size bytes for the descriptor and room for @room,
 * a normalized array of FadumpRange. Allocates address space only. False with
 * @errp set if there is none.
 */
bool fadump_hold_init(FadumpHold *h, Object *owner, uint64_t desc_size,
                      const GArray *room, Error **errp);

/* When @owner is finalized; its memory regions have gone by then. */
void fadump_hold_destroy(FadumpHold *h);

/*
 * The machine is complete: @runs is its RAM, an array of FadumpRamRun. What
 * lies below @first always stays where it is.
 */
void fadump_hold_plan(FadumpHold *h, const GArray *runs, uint64_t first);

/*
 * Boot memory is going to be moved: mremap() looks at each page that KSM might
 * have merged, which is slow.
 */
void fadump_hold_keep_from_ksm(FadumpHold *h, const GArray *runs,
                               const GArray *boot);

/* The descriptor's bytes. */
uint8_t *fadump_hold_desc(const FadumpHold *h);

/* Bytes of the window. */
uint64_t fadump_hold_window_size(const FadumpHold *h);

/* Whether the window has room for all of @ranges, a normalized array. */
bool fadump_hold_has_room(const FadumpHold *h, const GArray *ranges);

/* What address and length of fadump_hold_discard() must be multiples of */
uint64_t fadump_hold_discard_size(const FadumpHold *h);

/*
 * The window as an ascending array of FadumpRamRun whose range is an offset in
 * the window. The caller frees.
 */
GArray *fadump_hold_window(const FadumpHold *h);

/*
 * Set @range of boot memory, which lies at @src in one piece, aside in the
 * window: moved if that is possible and @may_relocate, else swapped if that is,
 * else copied. All are multiples of 4096. Sets @win_off to where in the window
 * it is. Returns VIRTIO_FADUMP_METHOD_*, or METHOD_NONE with @errp set and @src
 * as it was. Appends a FadumpHeld to @done. No vCPU may run.
 */
uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off, GArray *done, Error **errp);

/* As fadump_hold(), but to other RAM of the guest: moved, else copied. */
uint32_t fadump_hold_in_guest(FadumpHold *h, const FadumpRange *range,
                              const FadumpPlace *dst, const FadumpPlace *src,
                              bool may_relocate, GArray *done, Error **errp);

/* The capture failed: what was moved or swapped goes back where it was. */
void fadump_hold_undo(FadumpHold *h, const GArray *done);

/* Give all that the window holds back to the host. */
void fadump_hold_drop(FadumpHold *h);

/* A migration begins and no dump is held: the held area is not sent. */
void fadump_hold_skip(const FadumpHold *h);

/*
 * A part of the window, in bytes, multiples of fadump_hold_discard_size() from
 * the start of a slot, is needed no more: it reads as zero from now on.
 */
void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size);

/*
 * For migration: what is swapped is @swapped, an array of FadumpRange from the
 * stream. False, and nothing is changed, if that cannot be on this machine.
 */
bool fadump_hold_set_swapped(FadumpHold *h, const GArray *swapped);

#endif /* HW_MISC_FADUMP_HOLD_H */
