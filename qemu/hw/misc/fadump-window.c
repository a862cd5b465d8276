/*
 * Firmware-assisted dump: the window, and what of RAM lies where in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The window has the descriptor, then the held area with room for boot memory
 * in the order of its addresses. Where RAM is swapped, the memory map shows a
 * part of the held area in its place, and the window shows the RAM.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/madvise.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "hw/boards.h"
#include "hw/misc/fadump-hold.h"
#include "migration/vmstate.h"

/* Held memory is aligned so that a huge page of the host stays whole, */
#define HELD_ALIGN FADUMP_POPULATED_BLOCK
/* and where a gigabyte of page tables moves at once, for that. */
#define HELD_ALIGN_LARGE (1 * GiB)

/* ------------------------------------------------------------------ */
/* Making it                                                          */

/*
 * Like the guest's RAM, for some of it may become that: a vhost-user backend
 * reaches nothing but shared memory.
 */
static bool machine_ram_is_shared(void)
{
    MemoryRegion *ram = MACHINE(qdev_get_machine())->ram, *sub;

    if (!ram) {
        return false;
    }
    if (ram->ram_block) {
        return qemu_ram_is_shared(ram->ram_block);
    }
    /* with -numa memdev, machine->ram is a container */
    QTAILQ_FOREACH(sub, &ram->subregions, subregions_link) {
        if (sub->ram_block && qemu_ram_is_shared(sub->ram_block)) {
            return true;
        }
    }
    return false;
}

/*
 * The capture writes some hundred KiB here: to clear a huge page for that takes
 * longer than all else that it does.
 */
static void no_huge_page(MemoryRegion *mr, uint64_t size)
{
    qemu_madvise(memory_region_get_ram_ptr(mr),
                 MIN(size, memory_region_size(mr)), QEMU_MADV_NOHUGEPAGE);
}

static void free_alias(gpointer opaque)
{
    MemoryRegion *alias = opaque;

    memory_region_del_subregion(alias->container, alias);
    object_unparent(OBJECT(alias));
    g_free(alias);
}

/*
 * The place in the held area of a range, at or above @pos: as its address lies
 * in what moves in one piece.
 */
static uint64_t place_range(uint64_t pos, const FadumpRange *r)
{
    uint64_t align = r->size >= HELD_ALIGN_LARGE ? HELD_ALIGN_LARGE
                                                 : HELD_ALIGN;

    return pos + ((r->base - pos) & (align - 1));
}

/* Where in the host the held area would have to begin for RAM to lie alike. */
static const void *wanted_host_address(const FadumpHold *h)
{
    const FadumpRange *first = &g_array_index(h->room, FadumpRange, 0);
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);
    const FadumpRamRun *run = runs ? fadump_ram_find(runs, first->base) : NULL;

    return run ? run->host + (first->base - run->range.base) -
                 place_range(0, first) : NULL;
}

static bool init_held_ram(FadumpHold *h, uint32_t flags, Error **errp)
{
    const char *name = "fadump-dump";

    if (machine_ram_is_shared()) {
        return memory_region_init_ram_flags_nomigrate(&h->held, h->owner, name,
                                                      h->held_size,
                                                      flags | RAM_SHARED, errp);
    }
    return memory_region_init_ram_congruent(&h->held, h->owner, name,
                                            h->held_size, flags,
                                            wanted_host_address(h),
                                            HELD_ALIGN_LARGE, errp);
}

static void retry_settle(void *opaque)
{
    fadump_hold_settle(opaque);
}

static bool init_held(FadumpHold *h, Error **errp)
{
    /* with overcommit switched off there is no memory without a reservation */
    if (!init_held_ram(h, RAM_NORESERVE, NULL) && !init_held_ram(h, 0, errp)) {
        return false;
    }
    vmstate_register_ram(&h->held, DEVICE(h->owner));
    no_huge_page(&h->held, HELD_ALIGN);
    memory_region_init_ram_view(&h->held_view, h->owner, "fadump-held",
                                &h->held);
    fadump_populated_init(&h->populated, h->owner, h->held_size);
    fadump_populated_manage(&h->populated, &h->held);
    fadump_populated_manage(&h->populated, &h->held_view);
    memory_region_add_subregion(&h->window, h->desc_size, &h->held_view);

    h->nr_blocks = h->populated.nr_blocks;
    h->kept = bitmap_new(h->nr_blocks);
    h->stale = bitmap_new(h->nr_blocks);
    fadump_hold_vmstate_register(h);
    return true;
}

bool fadump_hold_init(FadumpHold *h, Object *owner, uint64_t desc_size,
                      const GArray *room, Error **errp)
{
    uint64_t pos = 0;
    guint i;

    h->owner = owner;
    h->desc_size = ROUND_UP(desc_size, HELD_ALIGN);
    h->room = g_array_copy((GArray *)room);
    h->swapped = g_array_new(false, false, sizeof(FadumpRange));
    h->aliases = g_ptr_array_new_with_free_func(free_alias);
    h->fresh = g_array_new(false, false, sizeof(FadumpFresh));
    h->retry = timer_new_ms(QEMU_CLOCK_REALTIME, retry_settle, h);
    for (i = 0; i < room->len; i++) {
        const FadumpRange *r = &g_array_index(room, FadumpRange, i);

        pos = place_range(pos, r) + r->size;
    }
    h->held_size = ROUND_UP(pos, HELD_ALIGN);

    memory_region_init(&h->window, owner, "fadump-window",
                       h->desc_size + h->held_size);
    /* no memory of the guest that dump-guest-memory should write out */
    memory_region_set_nonvolatile(&h->window, true);
    memory_region_set_enabled(&h->window, false);
    if (!memory_region_init_ram(&h->desc, owner, "fadump-desc", h->desc_size,
                                errp)) {
        return false;
    }
    memory_region_set_readonly(&h->desc, true);
    no_huge_page(&h->desc, h->desc_size);
    memory_region_add_subregion(&h->window, 0, &h->desc);
    return !h->held_size || init_held(h, errp);
}

void fadump_hold_destroy(FadumpHold *h)
{
    fadump_prealloc_stop(g_steal_pointer(&h->prealloc));
    if (h->kept) {
        fadump_hold_vmstate_unregister(h);
    }
    timer_free(g_steal_pointer(&h->retry));
    g_clear_pointer(&h->aliases, g_ptr_array_unref);
    g_clear_pointer(&h->swapped, g_array_unref);
    g_clear_pointer(&h->fresh, g_array_unref);
    g_clear_pointer(&h->room, g_array_unref);
    g_clear_pointer(&h->slots, g_free);
    g_clear_pointer(&h->kept, g_free);
    g_clear_pointer(&h->stale, g_free);
}

/* ------------------------------------------------------------------ */
/* What there is                                                      */

uint64_t fadump_hold_offset(const FadumpHold *h, uint64_t addr)
{
    uint64_t pos = 0;
    guint i;

    for (i = 0; i < h->room->len; i++) {
        const FadumpRange *r = &g_array_index(h->room, FadumpRange, i);

        pos = place_range(pos, r);
        if (addr - r->base < r->size) {
            return h->desc_size + pos + (addr - r->base);
        }
        pos += r->size;
    }
    return UINT64_MAX;
}

bool fadump_hold_has_room(const FadumpHold *h, const GArray *ranges)
{
    guint i;

    for (i = 0; i < ranges->len; i++) {
        if (!fadump_ranges_contain(h->room,
                                   &g_array_index(ranges, FadumpRange, i))) {
            return false;
        }
    }
    return true;
}

uint8_t *fadump_hold_desc(const FadumpHold *h)
{
    return memory_region_get_ram_ptr((MemoryRegion *)&h->desc);
}

uint64_t fadump_hold_window_size(const FadumpHold *h)
{
    return h->desc_size + h->held_size;
}

static void add_window_run(GArray *runs, uint64_t off, uint64_t size,
                           const MemoryRegion *mr, uint64_t mr_off)
{
    FadumpRamRun run = {
        .range = { off, size },
        .mr = (MemoryRegion *)mr,
    };

    if (size) {
        run.host = (uint8_t *)memory_region_get_ram_ptr(run.mr) + mr_off;
        g_array_append_val(runs, run);
    }
}

GArray *fadump_hold_window(const FadumpHold *h)
{
    GArray *runs = g_array_new(false, false, sizeof(FadumpRamRun));
    g_autoptr(GArray) parts = fadump_hold_swapped_parts(h);
    uint64_t pos = h->desc_size;
    guint i;

    add_window_run(runs, 0, h->desc_size, &h->desc, 0);
    /* the window has boot memory in the order of its addresses */
    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);
        uint64_t off = h->desc_size + p->held_off;

        add_window_run(runs, pos, off - pos, &h->held, pos - h->desc_size);
        add_window_run(runs, off, p->range.size, p->slot->ram, p->ram_off);
        pos = off + p->range.size;
    }
    add_window_run(runs, pos, fadump_hold_window_size(h) - pos, &h->held,
                   pos - h->desc_size);
    return runs;
}

/* ------------------------------------------------------------------ */
/* What can be swapped, and is                                        */

static void add_slot(FadumpHold *h, const FadumpRamRun *run,
                     const FadumpRange *range)
{
    FadumpSlot *slot = &h->slots[h->nr_slots++];
    const uint8_t *start = memory_region_get_ram_ptr(run->mr);

    slot->range = *range;
    slot->ram = run->mr;
    slot->ram_off = run->host - start + (range->base - run->range.base);
}

void fadump_hold_plan(FadumpHold *h, const GArray *runs, uint64_t first)
{
    FadumpRange above = { first, UINT64_MAX - first }, run_part, part;
    guint i, j;

    h->slots = g_new0(FadumpSlot, FADUMP_MAX_SLOTS);
    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);

        if (!fadump_range_intersect(&run->range, &above, &run_part)) {
            continue;
        }
        for (j = 0; j < h->room->len && h->nr_slots < FADUMP_MAX_SLOTS; j++) {
            if (fadump_range_intersect(&run_part,
                                       &g_array_index(h->room, FadumpRange, j),
                                       &part)) {
                add_slot(h, run, &part);
            }
        }
    }
}

FadumpSlot *fadump_hold_find_slot(FadumpHold *h, const FadumpRange *range)
{
    uint32_t i;

    for (i = 0; i < h->nr_slots; i++) {
        const FadumpRange *r = &h->slots[i].range;

        if (range->base - r->base < r->size) {
            return range->size <= r->size - (range->base - r->base) ?
                   &h->slots[i] : NULL;
        }
    }
    return NULL;
}

GArray *fadump_hold_swapped_parts(const FadumpHold *h)
{
    GArray *parts = g_array_new(false, false, sizeof(FadumpSwapped));
    uint32_t i;
    guint j;

    for (i = 0; i < h->nr_slots; i++) {
        FadumpSlot *slot = &h->slots[i];

        for (j = 0; j < h->swapped->len; j++) {
            FadumpSwapped p = { .slot = slot };

            if (fadump_range_intersect(&g_array_index(h->swapped, FadumpRange,
                                                      j),
                                       &slot->range, &p.range)) {
                p.ram_off = slot->ram_off + (p.range.base - slot->range.base);
                p.held_off = fadump_hold_offset(h, p.range.base) -
                             h->desc_size;
                g_array_append_val(parts, p);
            }
        }
    }
    return parts;
}

/* Show @size bytes of @ram, from @ram_off on, at @off of @container. */
static void add_alias(FadumpHold *h, MemoryRegion *container, uint64_t off,
                      MemoryRegion *ram, uint64_t ram_off, uint64_t size,
                      int priority)
{
    MemoryRegion *alias = g_new0(MemoryRegion, 1);

    memory_region_init_alias(alias, h->owner, "fadump-swapped[*]", ram,
                             ram_off, size);
    memory_region_add_subregion_overlap(container, off, alias, priority);
    g_ptr_array_add(h->aliases, alias);
}

void fadump_hold_set_swapped(FadumpHold *h, GArray *swapped)
{
    g_autoptr(GArray) parts = NULL;
    guint i;

    g_array_unref(h->swapped);
    h->swapped = swapped;
    parts = fadump_hold_swapped_parts(h);

    memory_region_transaction_begin();
    g_ptr_array_set_size(h->aliases, 0);
    for (i = 0; i < parts->len; i++) {
        const FadumpSwapped *p = &g_array_index(parts, FadumpSwapped, i);

        if (!p->slot->has_view) {
            memory_region_init_ram_view(&p->slot->view, h->owner,
                                        "fadump-swapped-out[*]", p->slot->ram);
            p->slot->has_view = true;
        }
        /* the newest of a priority wins: over RAM, under what covers RAM */
        add_alias(h, get_system_memory(), p->range.base, &h->held, p->held_off,
                  p->range.size, 0);
        if (h->ram_view) {
            add_alias(h, h->ram_view, p->range.base, &h->held, p->held_off,
                      p->range.size, 0);
        }
        add_alias(h, &h->window, h->desc_size + p->held_off, &p->slot->view,
                  p->ram_off, p->range.size, 1);
    }
    memory_region_transaction_commit();
}
