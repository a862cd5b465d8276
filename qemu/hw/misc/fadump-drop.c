/*
 * Firmware-assisted dump: giving back what a dump was held in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Held memory goes back to the host when it is needed no more, and what stood
 * in for RAM when that has its place again. Both have to wait while a migration
 * or a snapshot looks at memory where it is.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "hw/misc/fadump-hold.h"
#include "system/hostmem.h"
#include "trace.h"

/* How often to look whether what must stay for now can go. */
#define RETRY_MS 1000

/* ------------------------------------------------------------------ */
/* Discarding                                                         */

uint64_t fadump_hold_discard_size(const FadumpHold *h)
{
    uint64_t size = qemu_real_host_page_size();
    uint32_t i;

    /* RAM of the machine's own shows in the window once it is swapped */
    for (i = 0; i < h->nr_slots && h->swap; i++) {
        size = MAX(size, qemu_ram_pagesize(h->slots[i].ram->ram_block));
    }
    return size;
}

/*
 * RAM of the machine's own goes back to the host only where the user has not
 * set it apart for this guest: it could not be had again.
 */
static bool may_discard(const FadumpHold *h, const MemoryRegion *mr)
{
    Object *backend;

    if (mr == &h->held || mr == &h->desc) {
        return true;
    }
    backend = object_dynamic_cast(memory_region_owner((MemoryRegion *)mr),
                                  TYPE_MEMORY_BACKEND);
    return backend && !MEMORY_BACKEND(backend)->prealloc &&
           qemu_ram_pagesize(mr->ram_block) == qemu_real_host_page_size() &&
           !(mr->ram_block->flags & RAM_READONLY_FD) &&
           (qemu_ram_is_shared(mr->ram_block) || mr->ram_block->fd < 0);
}

/* What was there is not needed any more; @zero: and must not be read again. */
static void discard(FadumpHold *h, MemoryRegion *mr, uint64_t off,
                    uint64_t size, bool zero)
{
    bool gone = may_discard(h, mr) &&
                !ram_block_discard_range(mr->ram_block, off, size);

    if (!gone && zero) {
        memset((uint8_t *)memory_region_get_ram_ptr(mr) + off, 0, size);
    }
    if (gone || zero) {
        memory_region_set_dirty(mr, off, size);
    }
}

void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size)
{
    g_autoptr(GArray) runs = fadump_hold_window(h);
    FadumpRange range = { off, size }, part;
    guint i;

    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);
        const uint8_t *block = memory_region_get_ram_ptr(run->mr);
        uint64_t at;

        if (!fadump_range_intersect(&run->range, &range, &part)) {
            continue;
        }
        at = run->host - block + (part.base - run->range.base);
        discard(h, run->mr, at, part.size, true);
        if (run->mr == &h->held) {
            unsigned long first = DIV_ROUND_UP(at, FADUMP_POPULATED_BLOCK);
            unsigned long end = (at + part.size) / FADUMP_POPULATED_BLOCK;

            fadump_depopulate(&h->populated, at, part.size);
            if (first < end) {
                bitmap_clear(h->kept, first, end - first);
            }
        }
    }
}

/* ------------------------------------------------------------------ */
/* Dropping                                                           */

/* Blocks of the held area that nobody needs, but that may have memory. */
static unsigned long *stale_blocks(const FadumpHold *h)
{
    /* there may be no held area, but there is no bitmap of no bits */
    unsigned long *stale = bitmap_new(h->nr_blocks + 1);
    g_autofree unsigned long *used = bitmap_new(h->nr_blocks + 1);
    g_autoptr(GArray) parts = fadump_hold_swapped_parts(h);
    guint i;

    if (!h->nr_blocks) {
        return stale;
    }
    bitmap_copy(used, h->kept, h->nr_blocks);
    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);
        unsigned long first = p->held_off / FADUMP_POPULATED_BLOCK;
        unsigned long end = DIV_ROUND_UP(p->held_off + p->range.size,
                                         FADUMP_POPULATED_BLOCK);

        bitmap_set(used, first, end - first);
    }
    bitmap_or(stale, h->populated.bitmap, h->stale, h->nr_blocks);
    bitmap_andnot(stale, stale, used, h->nr_blocks);
    return stale;
}

static void discard_blocks(FadumpHold *h, const unsigned long *blocks)
{
    unsigned long n = h->nr_blocks, i, next;

    for (i = find_first_bit(blocks, n); i < n;
         i = find_next_bit(blocks, n, next)) {
        uint64_t off = i * FADUMP_POPULATED_BLOCK, size;

        next = find_next_zero_bit(blocks, n, i);
        size = (next - i) * FADUMP_POPULATED_BLOCK;
        fadump_depopulate(&h->populated, off, size);
        discard(h, &h->held, off, size, false);
    }
}

/* RAM of the machine's own that the window has shown. */
static void discard_swapped_out(FadumpHold *h)
{
    g_autoptr(GArray) parts = fadump_hold_swapped_parts(h);
    guint i;

    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);

        discard(h, p->slot->ram, p->ram_off, p->range.size, false);
    }
}

void fadump_hold_settle(FadumpHold *h)
{
    g_autofree unsigned long *stale = stale_blocks(h);
    const char *why;

    if (bitmap_empty(stale, h->nr_blocks) && !h->stale_ram && !h->stale_desc) {
        return;
    }
    why = fadump_ram_why_stay();
    trace_fadump_settle(bitmap_count_one(stale, h->nr_blocks), h->stale_ram,
                        why ?: "");
    if (why) {
        timer_mod(h->retry, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + RETRY_MS);
        return;
    }
    discard_blocks(h, stale);
    if (h->stale) {
        bitmap_zero(h->stale, h->nr_blocks);
    }
    if (h->stale_ram) {
        h->stale_ram = false;
        discard_swapped_out(h);
    }
    if (h->stale_desc) {
        h->stale_desc = false;
        discard(h, &h->desc, 0, h->desc_size, true);
    }
}

void fadump_hold_drop(FadumpHold *h)
{
    h->holds = false;
    h->stale_desc = true;
    if (h->held_size) {
        bitmap_zero(h->kept, h->nr_blocks);
        h->stale_ram = h->swapped->len;
    }
    fadump_hold_settle(h);
}

/* ------------------------------------------------------------------ */
/* RAM has its place again                                            */

/* What the guest has in the held area goes to where its RAM was. */
static bool copy_back(FadumpHold *h, Error **errp)
{
    g_autoptr(GArray) parts = fadump_hold_swapped_parts(h);
    guint i;

    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);
        FadumpPlace from = { &h->held, p->held_off };
        FadumpPlace to = { p->slot->ram, p->ram_off };

        if (!fadump_copy(&to, &from, p->range.size, errp)) {
            return false;
        }
    }
    return true;
}

/* Nothing writes to RAM, nor looks for it where it is. */
static void put_back(FadumpHold *h, bool with_content)
{
    g_autoptr(GArray) parts = fadump_hold_swapped_parts(h);
    Error *err = NULL;
    guint i;

    if (with_content && !copy_back(h, &err)) {
        /* the guest has memory, and the next reset tries it again */
        warn_reportf_err(err, "fadump-dev: RAM stays in memory that stands in "
                         "for it: ");
        return;
    }
    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);

        memory_region_set_dirty(p->slot->ram, p->ram_off, p->range.size);
    }
    fadump_hold_set_swapped(h, g_array_new(false, false, sizeof(FadumpRange)));
    fadump_forget_code();
    h->stale_ram = false;
    fadump_hold_settle(h);
}

void fadump_hold_restore(FadumpHold *h, uint64_t copy_max)
{
    uint64_t size = fadump_ranges_size(h->swapped);
    const char *why = fadump_ram_why_stay();
    FadumpQuiet *quiet;
    bool ok;

    if (!size || h->holds) {
        return;
    }
    trace_fadump_restore(size, size <= copy_max, why ?: "");
    if (why) {
        return;
    }
    quiet = fadump_quiesce_begin(&ok);
    /* what a disk still writes from there would be gone: the next reset */
    if (ok && !fadump_ram_has_requests()) {
        put_back(h, size <= copy_max);
    }
    fadump_quiesce_end(quiet);
}
