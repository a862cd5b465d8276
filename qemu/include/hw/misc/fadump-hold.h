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
#include "hw/misc/fadump-populated.h"
#include "hw/misc/fadump-quiesce.h"
#include "hw/misc/fadump-ram.h"
#include "hw/misc/fadump-range.h"
#include "hw/misc/fadump-relocate.h"

/*
 * RAM that can be swapped, whole or in part: memory of the held area takes its
 * place in the memory map, and what was there shows in the window. The next
 * dump, or else the next reset without one, swaps it back.
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
    /* shows RAM apart from system memory, or NULL */
    MemoryRegion *ram_view;
    /* x-move, x-swap */
    bool move;
    bool swap;

    /* what of the held area holds something: a dump, or swapped RAM */
    FadumpPopulated populated;
    /* a dump is held, or one is being set aside */
    bool holds;
    /* of its blocks, those that the dump is in */
    unsigned long *kept;
    /* those that hold nothing, but may have memory of the host's */
    unsigned long *stale;
    /* the machine's RAM that the window shows is not needed either */
    bool stale_ram;
    /* nor is the descriptor; a snapshot does not keep what it was */
    bool stale_desc;
    /* while something is stale and must stay for now: try again */
    QEMUTimer *retry;
    /* memory was lost that cannot be mapped again: there are no more dumps */
    bool broken;
    /* the guest's own memory, even */
    bool stop_guest;

    /* while a dump is being set aside */
    FadumpQuiet *quiet;
    const char *why_stay;
    bool has_requests;

    /* of FadumpFresh: preallocated RAM that pages were moved from last */
    GArray *fresh;
    FadumpPrealloc *prealloc;

    /* what migration sends, see fadump-hold-vmstate.c */
    int32_t nr_blocks;
    unsigned long *sent_blocks;
    uint32_t nr_sent;
    FadumpRange sent[FADUMP_MAX_SWAPPED];
} FadumpHold;

/* What was done with a part of boot memory, so that it can be undone. */
typedef struct FadumpHeld {
    FadumpRange range;
    FadumpPlace src;
    FadumpPlace dst;
    uint32_t method;
} FadumpHeld;

/* ---- fadump-window.c: what lies where ---- */

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

/* The descriptor's bytes. */
uint8_t *fadump_hold_desc(const FadumpHold *h);

/* Bytes of the window. */
uint64_t fadump_hold_window_size(const FadumpHold *h);

/* Where in the window @addr of RAM has its place; UINT64_MAX: nowhere. */
uint64_t fadump_hold_offset(const FadumpHold *h, uint64_t addr);

/* Whether the window has room for all of @ranges, a normalized array. */
bool fadump_hold_has_room(const FadumpHold *h, const GArray *ranges);

/*
 * The window as an ascending array of FadumpRamRun whose range is an offset in
 * the window. The caller frees.
 */
GArray *fadump_hold_window(const FadumpHold *h);

/* The slot that has all of @range, or NULL. */
FadumpSlot *fadump_hold_find_slot(FadumpHold *h, const FadumpRange *range);

/* A part of a slot that is swapped */
typedef struct FadumpSwapped {
    FadumpRange range;
    FadumpSlot *slot;
    /* in the slot's RAM, and in the held area */
    uint64_t ram_off;
    uint64_t held_off;
} FadumpSwapped;

/* An array of FadumpSwapped, ascending. The caller frees. */
GArray *fadump_hold_swapped_parts(const FadumpHold *h);

/*
 * From now on @swapped, a normalized array that is taken over, is what is
 * swapped, and nothing else.
 */
void fadump_hold_set_swapped(FadumpHold *h, GArray *swapped);

/* ---- fadump-hold.c: setting aside ---- */

/*
 * Boot memory is going to be moved: mremap() looks at each page that KSM might
 * have merged, which is slow.
 */
void fadump_hold_keep_from_ksm(FadumpHold *h, const GArray *runs,
                               const GArray *boot);

/*
 * Before memory is set aside, at the head of a system reset: nobody writes to
 * it from now on, until fadump_hold_end(). No vCPU may run.
 */
void fadump_hold_begin(FadumpHold *h);

/*
 * Set @range of boot memory, which lies at @src in one piece, aside in the
 * window: moved if that is possible and @may_relocate, else swapped if that is,
 * else copied. All are multiples of 4096. Sets @win_off to where in the window
 * it is. Returns VIRTIO_FADUMP_METHOD_*, or METHOD_NONE with @errp set and @src
 * as it was. Appends a FadumpHeld to @done.
 */
uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off, GArray *done, Error **errp);

/* As fadump_hold(), but to other RAM of the guest: moved, else copied. */
uint32_t fadump_hold_in_guest(FadumpHold *h, const FadumpRange *range,
                              const FadumpPlace *dst, const FadumpPlace *src,
                              bool may_relocate, GArray *done, Error **errp);

/*
 * All is set aside: from now on the held area's memory that it lies in counts
 * as populated. Not before: a copy into one block after the other would wait,
 * in an incoming postcopy migration, for pages that the other host never had.
 * False with @errp set if a listener (VFIO) does not take it.
 */
bool fadump_hold_commit(FadumpHold *h, Error **errp);

/* What was moved or swapped goes back where it was; @done is empty then. */
void fadump_hold_undo(FadumpHold *h, GArray *done);

/* All of @done, which may be nothing, is set aside, and a dump is held. */
void fadump_hold_end(FadumpHold *h, const GArray *done);

/* ---- fadump-drop.c: giving it back ---- */

/* What address and length of fadump_hold_discard() must be multiples of */
uint64_t fadump_hold_discard_size(const FadumpHold *h);

/*
 * A part of the window, in bytes, multiples of fadump_hold_discard_size() from
 * the start of a slot, is needed no more: it reads as zero from now on. Only
 * while fadump_ram_why_stay() has nothing against it.
 */
void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size);

/*
 * No dump is held. What the window holds goes back to the host, as soon as
 * fadump_ram_why_stay() has nothing against it.
 */
void fadump_hold_drop(FadumpHold *h);

/*
 * At the head of a system reset, with no dump held: RAM that is swapped becomes
 * the machine's own again, with its huge pages, NUMA policy and file, and the
 * memory that stood in for it goes back to the host. Its content is kept up to
 * @copy_max bytes; if it is more, as after all RAM was set aside, it is not
 * worth the time. If RAM must stay where it is, or disks have requests in
 * flight, that is left to another reset.
 */
void fadump_hold_restore(FadumpHold *h, uint64_t copy_max);

/* Give back what can be, now. */
void fadump_hold_settle(FadumpHold *h);

/* ---- fadump-hold-vmstate.c ---- */

/* A FadumpRange in the stream */
extern const VMStateDescription vmstate_fadump_range;

void fadump_hold_vmstate_register(FadumpHold *h);
void fadump_hold_vmstate_unregister(FadumpHold *h);

/* The device's state has been loaded: whether a dump is @held. */
void fadump_hold_loaded(FadumpHold *h, bool held);

#endif /* HW_MISC_FADUMP_HOLD_H */
