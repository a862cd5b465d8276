/*
 * Firmware-assisted dump: setting boot memory aside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Moving pages takes microseconds, whatever their number, but only private
 * anonymous memory can be moved. Of any other memory the place in the memory
 * map is swapped with memory of ours. What must stay where it is at this
 * moment is copied by several threads straight to where it is held.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "hw/misc/fadump-hold.h"
#include "migration/misc.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "system/runstate.h"
#include "trace.h"

void fadump_hold_keep_from_ksm(FadumpHold *h, const GArray *runs,
                               const GArray *boot)
{
    FadumpRange part;
    guint i, j;

    for (i = 0; h->move && i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);

        for (j = 0; j < boot->len; j++) {
            if (fadump_range_intersect(&run->range,
                                       &g_array_index(boot, FadumpRange, j),
                                       &part)) {
                qemu_madvise(run->host + (part.base - run->range.base),
                             part.size, QEMU_MADV_UNMERGEABLE);
            }
        }
    }
}

void fadump_hold_begin(FadumpHold *h)
{
    bool quiet;

    /* it would allocate what is about to be moved */
    fadump_prealloc_stop(g_steal_pointer(&h->prealloc));
    h->quiet = fadump_quiesce_begin(&quiet);
    h->why_stay = fadump_ram_why_stay() ?: (quiet ? NULL : "busy IOThread");
    /* of no IOThread any more: they stand still */
    h->has_requests = fadump_ram_has_requests();
    h->holds = true;
    /* there is going to be another one */
    h->stale_desc = false;
}

/* ------------------------------------------------------------------ */
/* What the dump is in                                                */

/* Blocks of the held area that have a part of @size bytes at @off. */
static void mark_blocks(unsigned long *map, uint64_t off, uint64_t size)
{
    unsigned long first = off / FADUMP_POPULATED_BLOCK;

    bitmap_set(map, first,
               DIV_ROUND_UP(off + size, FADUMP_POPULATED_BLOCK) - first);
}

/* A piece is set aside, and now lies at @place. */
static void keep_place(FadumpHold *h, const FadumpPlace *place, uint64_t size)
{
    if (place->mr == &h->held) {
        mark_blocks(h->kept, place->off, size);
    }
}

/* It was not, but a part may have been written. */
static void spoil_place(FadumpHold *h, const FadumpPlace *place, uint64_t size)
{
    if (place->mr == &h->held) {
        mark_blocks(h->stale, place->off, size);
    }
}

/* ------------------------------------------------------------------ */
/* Moving, swapping, copying                                          */

/*
 * Memory that could not be mapped again. Without the held area there are no
 * more dumps; without its own RAM the guest cannot go on, but its disks, and
 * whoever looks at it, need QEMU alive.
 */
static void lose_memory(FadumpHold *h, const FadumpPlace *lost, uint64_t size)
{
    h->broken = true;
    if (lost->mr == &h->held) {
        error_report("fadump-dev: no more crashes will be captured");
        fadump_depopulate(&h->populated, lost->off, size);
    } else {
        error_report("fadump-dev: %" PRIu64 " bytes of the guest's RAM '%s' "
                     "are lost, the guest is stopped", size,
                     memory_region_name(lost->mr));
        h->stop_guest = true;
    }
}

static bool try_move(FadumpHold *h, const FadumpPlace *dst,
                     const FadumpPlace *src, uint64_t size, const char **why)
{
    int ret = fadump_move(dst, src, size);

    if (ret == -ENOTRECOVERABLE) {
        lose_memory(h, dst, size);
    }
    *why = ret ? strerror(-ret) : NULL;
    return !ret;
}

/* Exchange the two memories of @range, whichever is where; false: too many. */
static bool swap_range(FadumpHold *h, const FadumpRange *range)
{
    g_autoptr(GArray) change = g_array_new(false, false, sizeof(FadumpRange));
    GArray *swapped;

    g_array_append_vals(change, range, 1);
    swapped = fadump_ranges_xor(h->swapped, change);
    if (swapped->len > FADUMP_MAX_SWAPPED) {
        g_array_unref(swapped);
        return false;
    }
    fadump_hold_set_swapped(h, swapped);
    return true;
}

static bool try_swap(FadumpHold *h, const FadumpHeld *held)
{
    if (!h->swap || !fadump_hold_find_slot(h, &held->range) ||
        !swap_range(h, &held->range)) {
        return false;
    }
    /* what came in is the guest's now */
    keep_place(h, &held->dst, held->range.size);
    return true;
}

static uint32_t set_aside(FadumpHold *h, FadumpHeld *held, bool may_relocate,
                          bool may_swap, GArray *done, Error **errp)
{
    const char *why = may_relocate ? h->why_stay : "firmware needs it";
    const char *why_not_moved = why;
    uint64_t size = held->range.size;

    /* disk or file would be written from what comes in the place of its data */
    if (!why && h->has_requests) {
        why_not_moved = "requests in flight";
    }
    if (!why_not_moved && h->move && try_move(h, &held->dst, &held->src, size,
                                              &why_not_moved)) {
        held->method = VIRTIO_FADUMP_METHOD_MOVED;
    } else if (h->broken) {
        error_setg(errp, "memory of the host was lost");
        return VIRTIO_FADUMP_METHOD_NONE;
    } else if (!why && may_swap && try_swap(h, held)) {
        held->method = VIRTIO_FADUMP_METHOD_SWAPPED;
    } else if (fadump_copy(&held->dst, &held->src, size, errp)) {
        held->method = VIRTIO_FADUMP_METHOD_COPIED;
    } else {
        spoil_place(h, &held->dst, size);
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    g_array_append_val(done, *held);
    fadump_forget_code();
    trace_fadump_hold(size, held->method,
                      why_not_moved ?: h->move ? "" : "not wanted");
    /* what was swapped out is the dump's */
    keep_place(h, held->method == VIRTIO_FADUMP_METHOD_SWAPPED ?
                  &held->src : &held->dst, size);
    return held->method;
}

uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off_ret, GArray *done, Error **errp)
{
    const FadumpSlot *slot = fadump_hold_find_slot(h, range);
    uint64_t win_off = fadump_hold_offset(h, range->base);
    FadumpHeld held = { .range = *range, .src = *src };

    if (h->broken) {
        error_setg(errp, "memory of the host was lost at an earlier crash");
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    if (win_off == UINT64_MAX) {
        error_setg(errp, "the guest did not say where to put boot memory at "
                   "0x%" PRIx64 ", and there is no room in the host",
                   range->base);
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    *win_off_ret = win_off;
    if (slot && fadump_ranges_contain(h->swapped, range)) {
        held.dst.mr = slot->ram;
        held.dst.off = slot->ram_off + (range->base - slot->range.base);
    } else {
        held.dst.mr = &h->held;
        held.dst.off = win_off - h->desc_size;
    }
    return set_aside(h, &held, may_relocate, true, done, errp);
}

uint32_t fadump_hold_in_guest(FadumpHold *h, const FadumpRange *range,
                              const FadumpPlace *dst, const FadumpPlace *src,
                              bool may_relocate, GArray *done, Error **errp)
{
    FadumpHeld held = { .range = *range, .src = *src, .dst = *dst };

    return set_aside(h, &held, may_relocate, false, done, errp);
}

/* ------------------------------------------------------------------ */
/* The end                                                            */

/*
 * A postcopy migration fills what is not populated with zeros, at the first
 * touch, and asks the other host for all else: which never had these.
 */
static void touch_blocks(FadumpHold *h, unsigned long first, unsigned long end)
{
    const uint8_t *host = memory_region_get_ram_ptr(&h->held);
    uint64_t off;

    for (off = first * FADUMP_POPULATED_BLOCK;
         off < end * FADUMP_POPULATED_BLOCK;
         off += qemu_real_host_page_size()) {
        qatomic_read(host + off);
    }
}

bool fadump_hold_commit(FadumpHold *h, Error **errp)
{
    unsigned long n = h->kept ? h->nr_blocks : 0, i, next;

    for (i = find_next_bit(h->kept, n, 0); i < n;
         i = find_next_bit(h->kept, n, next)) {
        next = find_next_zero_bit(h->kept, n, i);
        if (migration_in_incoming_postcopy()) {
            touch_blocks(h, i, next);
        }
        if (!fadump_populate(&h->populated, i * FADUMP_POPULATED_BLOCK,
                             (next - i) * FADUMP_POPULATED_BLOCK, errp)) {
            return false;
        }
    }
    return true;
}

static void undo_one(FadumpHold *h, const FadumpHeld *held)
{
    Error *err = NULL;
    const char *why;

    if (held->method == VIRTIO_FADUMP_METHOD_SWAPPED) {
        /* back to a set that was not too large before */
        swap_range(h, &held->range);
    } else if (held->method == VIRTIO_FADUMP_METHOD_MOVED &&
               !try_move(h, &held->src, &held->dst, held->range.size, &why) &&
               !h->broken &&
               !fadump_copy(&held->src, &held->dst, held->range.size, &err)) {
        /* the reset goes on; the next boot finds zeros there */
        error_reportf_err(err, "fadump-dev: boot memory cannot be moved back "
                          "(%s): ", why);
    }
}

void fadump_hold_undo(FadumpHold *h, GArray *done)
{
    guint i;

    for (i = done->len; i-- > 0; ) {
        undo_one(h, &g_array_index(done, FadumpHeld, i));
    }
    g_array_set_size(done, 0);
    if (h->kept) {
        /* what was copied is of no use there */
        bitmap_or(h->stale, h->stale, h->kept, h->nr_blocks);
        bitmap_zero(h->kept, h->nr_blocks);
    }
}

/* Preallocated RAM that pages have been moved from has none now. */
static void collect_fresh(FadumpHold *h, const GArray *done)
{
    guint i;

    if (!done->len) {
        return;
    }
    g_array_set_size(h->fresh, 0);
    for (i = 0; i < done->len; i++) {
        const FadumpHeld *held = &g_array_index(done, FadumpHeld, i);

        if (held->method == VIRTIO_FADUMP_METHOD_MOVED &&
            fadump_is_preallocated(held->src.mr)) {
            FadumpFresh fresh = {
                .host = (uint8_t *)memory_region_get_ram_ptr(held->src.mr) +
                        held->src.off,
                .size = held->range.size,
            };

            g_array_append_val(h->fresh, fresh);
        }
    }
}

void fadump_hold_end(FadumpHold *h, const GArray *done)
{
    collect_fresh(h, done);
    fadump_quiesce_end(g_steal_pointer(&h->quiet));
    if (h->stop_guest) {
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
    if (done->len) {
        /* what of the last dump's is not this one's */
        fadump_hold_settle(h);
    } else {
        fadump_hold_drop(h);
    }
    if (h->fresh->len) {
        h->prealloc = fadump_prealloc_start(h->fresh);
    }
}
