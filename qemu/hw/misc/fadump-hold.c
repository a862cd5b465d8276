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
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/madvise.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "exec/tb-flush.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-hold.h"
#include "hw/virtio/virtio.h"
#include "migration/misc.h"
#include "migration/vmstate.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "system/hostmem.h"
#include "system/system.h"
#include "system/tcg.h"
#include "trace.h"

/* Held memory is aligned so that a huge page of the host stays whole. */
#define HELD_ALIGN (2 * MiB)

/* What is worth a thread of its own, and how many there are at most. */
#define COPY_SLICE (64 * MiB)
#define COPY_THREADS_MAX 8

/* ------------------------------------------------------------------ */
/* The window                                                         */

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

static bool init_held(FadumpHold *h, Error **errp)
{
    uint32_t flags = machine_ram_is_shared() ? RAM_SHARED : 0;

    /* with overcommit switched off there is no memory without a reservation */
    if (!memory_region_init_ram_flags_nomigrate(&h->held, h->owner,
                                                "fadump-dump", h->held_size,
                                                flags | RAM_NORESERVE, NULL) &&
        !memory_region_init_ram_flags_nomigrate(&h->held, h->owner,
                                                "fadump-dump", h->held_size,
                                                flags, errp)) {
        return false;
    }
    vmstate_register_ram(&h->held, DEVICE(h->owner));
    memory_region_set_readonly(&h->held, true);
    no_huge_page(&h->held, HELD_ALIGN);
    memory_region_add_subregion(&h->window, h->desc_size, &h->held);
    return true;
}

bool fadump_hold_init(FadumpHold *h, Object *owner, uint64_t desc_size,
                      const GArray *boot, uint64_t first, Error **errp)
{
    guint i;

    h->owner = owner;
    h->desc_size = ROUND_UP(desc_size, HELD_ALIGN);
    h->held_size = 0;
    h->boot = g_array_new(false, false, sizeof(FadumpRange));
    for (i = 0; i < boot->len; i++) {
        FadumpRange r = g_array_index(boot, FadumpRange, i);

        if (r.base + r.size > first) {
            r.size -= MAX(r.base, first) - r.base;
            r.base = MAX(r.base, first);
            g_array_append_val(h->boot, r);
            h->held_size += ROUND_UP(r.size, HELD_ALIGN);
        }
    }

    memory_region_init(&h->window, owner, "fadump-window",
                       pow2ceil(h->desc_size + h->held_size));
    memory_region_set_readonly(&h->window, true);
    /* no memory of the guest that dump-guest-memory should write out */
    memory_region_set_nonvolatile(&h->window, true);
    if (!memory_region_init_ram(&h->desc, owner, "fadump-desc", h->desc_size,
                                errp)) {
        return false;
    }
    memory_region_set_readonly(&h->desc, true);
    no_huge_page(&h->desc, h->desc_size);
    memory_region_add_subregion(&h->window, 0, &h->desc);
    return !h->held_size || init_held(h, errp);
}

/* UINT64_MAX if it is not held. */
static uint64_t window_offset(const FadumpHold *h, uint64_t addr)
{
    uint64_t off = h->desc_size;
    guint i;

    for (i = 0; i < h->boot->len; i++) {
        const FadumpRange *b = &g_array_index(h->boot, FadumpRange, i);

        if (addr >= b->base && addr - b->base < b->size) {
            return off + (addr - b->base);
        }
        off += ROUND_UP(b->size, HELD_ALIGN);
    }
    return UINT64_MAX;
}

void fadump_hold_destroy(FadumpHold *h)
{
    g_clear_pointer(&h->boot, g_array_unref);
    g_clear_pointer(&h->slots, g_free);
}

static void add_slot(FadumpHold *h, const FadumpRamRun *run,
                     const FadumpRange *range)
{
    FadumpSlot *slot = &h->slots[h->nr_slots++];
    const uint8_t *start = memory_region_get_ram_ptr(run->mr);

    slot->range = *range;
    slot->win_off = window_offset(h, range->base);
    slot->ram = run->mr;
    slot->ram_off = run->host - start + (range->base - run->range.base);
}

/* The part of @run that lies in @r and at @first or above; false: none. */
static bool intersect(const FadumpRamRun *run, const FadumpRange *r,
                      uint64_t first, FadumpRange *part)
{
    uint64_t base = MAX(MAX(run->range.base, r->base), first);
    uint64_t end = MIN(run->range.base + run->range.size, r->base + r->size);

    part->base = base;
    part->size = end - base;
    return base < end;
}

void fadump_hold_plan(FadumpHold *h, const GArray *runs, const GArray *boot,
                      uint64_t first)
{
    FadumpRange part;
    guint i, j;

    h->slots = g_new0(FadumpSlot, FADUMP_MAX_SLOTS);
    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);

        for (j = 0; j < h->boot->len; j++) {
            if (h->nr_slots < FADUMP_MAX_SLOTS &&
                intersect(run, &g_array_index(h->boot, FadumpRange, j), first,
                          &part)) {
                add_slot(h, run, &part);
            }
        }
        /* mremap() looks at each page that KSM might have merged: slow */
        for (j = 0; h->move && j < boot->len; j++) {
            if (intersect(run, &g_array_index(boot, FadumpRange, j), first,
                          &part)) {
                qemu_madvise(run->host + (part.base - run->range.base),
                             part.size, QEMU_MADV_UNMERGEABLE);
            }
        }
    }
}

uint8_t *fadump_hold_desc(const FadumpHold *h)
{
    return memory_region_get_ram_ptr((MemoryRegion *)&h->desc);
}

void fadump_hold_cuts(const FadumpHold *h, GArray *cuts)
{
    uint32_t i;

    for (i = 0; i < h->nr_slots; i++) {
        const FadumpRange *r = &h->slots[i].range;
        uint64_t end = r->base + r->size;

        g_array_append_val(cuts, r->base);
        g_array_append_val(cuts, end);
    }
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
    uint64_t pos = h->desc_size;
    uint32_t i;

    add_window_run(runs, 0, h->desc_size, &h->desc, 0);
    /* slots ascend: they follow boot memory, as the window does */
    for (i = 0; i < h->nr_slots; i++) {
        const FadumpSlot *slot = &h->slots[i];

        if (slot->swapped) {
            add_window_run(runs, pos, slot->win_off - pos, &h->held,
                           pos - h->desc_size);
            add_window_run(runs, slot->win_off, slot->range.size, slot->ram,
                           slot->ram_off);
            pos = slot->win_off + slot->range.size;
        }
    }
    add_window_run(runs, pos, h->desc_size + h->held_size - pos, &h->held,
                   pos - h->desc_size);
    return runs;
}

static FadumpSlot *find_slot(FadumpHold *h, uint64_t addr)
{
    uint32_t i;

    for (i = 0; i < h->nr_slots; i++) {
        const FadumpRange *r = &h->slots[i].range;

        if (addr >= r->base && addr - r->base < r->size) {
            return &h->slots[i];
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ */
/* Moving, swapping, copying                                          */

/* Why pages must stay where they are at this moment, or NULL. */
static const char *why_stay(const FadumpHold *h, bool may_relocate)
{
    if (!may_relocate) {
        return "firmware needs it";
    }
    /* its threads read, and its userfaultfd watches, the old addresses */
    if (migration_is_running()) {
        return "migration";
    }
    /* what the guest gets instead would not be locked */
    if (should_mlock(mlock_state)) {
        return "locked";
    }
    /* pinned: a device has the pages' addresses, or maps all of it anew */
    if (ram_block_discard_is_disabled()) {
        return "pinned";
    }
    return NULL;
}

static bool try_move(const FadumpPlace *dst, const FadumpPlace *src,
                     uint64_t size, const char **why)
{
    int ret = ram_block_move_range(dst->mr->ram_block, dst->off,
                                   src->mr->ram_block, src->off, size);

    *why = ret ? strerror(-ret) : NULL;
    return !ret;
}

/*
 * Most machines never swap, so not before the first time. What shows in the
 * window is a region of its own and no alias: DMA would write through one.
 */
static void init_swap(FadumpHold *h, FadumpSlot *slot)
{
    uint8_t *ram = memory_region_get_ram_ptr(slot->ram);

    if (slot->can_swap) {
        return;
    }
    memory_region_init_alias(&slot->in_map, h->owner, "fadump-swapped-in[*]",
                             &h->held, slot->win_off - h->desc_size,
                             slot->range.size);
    memory_region_init_ram_ptr(&slot->in_window, h->owner,
                               "fadump-swapped-out[*]", slot->range.size,
                               ram + slot->ram_off);
    memory_region_set_readonly(&slot->in_window, true);
    slot->can_swap = true;
}

static int stop_vhost(Object *obj, void *opaque)
{
    VirtIODevice *vdev = (VirtIODevice *)
        object_dynamic_cast(obj, TYPE_VIRTIO_DEVICE);

    if (vdev && vdev->vhost_started) {
        virtio_set_status(vdev, vdev->status & ~VIRTIO_CONFIG_S_DRIVER_OK);
    }
    return 0;
}

/*
 * A vhost backend holds on to the memory that its rings are in. The reset that
 * goes on after this stops it anyway.
 */
static void stop_all_vhost(void)
{
    object_child_foreach_recursive(object_get_root(), stop_vhost, NULL);
}

/* Exchange a slot's two memories, whichever is where. */
static void swap_slot(FadumpHold *h, FadumpSlot *slot)
{
    MemoryRegion *map = get_system_memory();
    bool any = false;
    uint32_t i;

    init_swap(h, slot);
    memory_region_transaction_begin();
    if (slot->swapped) {
        memory_region_del_subregion(map, &slot->in_map);
        memory_region_del_subregion(&h->window, &slot->in_window);
    } else {
        /* the newest of a priority wins: over RAM, under what covers RAM */
        memory_region_add_subregion_overlap(map, slot->range.base,
                                            &slot->in_map, 0);
        memory_region_add_subregion_overlap(&h->window, slot->win_off,
                                            &slot->in_window, 1);
    }
    slot->swapped = !slot->swapped;
    for (i = 0; i < h->nr_slots; i++) {
        any |= h->slots[i].swapped;
    }
    memory_region_set_readonly(&h->held, !any);
    memory_region_transaction_commit();
}

typedef struct CopySlice {
    QemuThread thread;
    uint8_t *dst;
    const uint8_t *src;
    uint64_t size;
    int ret;
} CopySlice;

/*
 * Populating first turns a host without memory into an error instead of a
 * SIGBUS, and is faster than one fault a page.
 */
static void *copy_slice(void *opaque)
{
    CopySlice *slice = opaque;
    uint64_t page = qemu_real_host_page_size();

    if (qemu_madvise(QEMU_ALIGN_PTR_DOWN(slice->dst, page),
                     ROUND_UP(slice->size, page), QEMU_MADV_POPULATE_WRITE) &&
        errno != EINVAL) {
        slice->ret = -errno;
        return NULL;
    }
    memcpy(slice->dst, slice->src, slice->size);
    return NULL;
}

static int copy_parallel(uint8_t *dst, const uint8_t *src, uint64_t size)
{
    CopySlice slices[COPY_THREADS_MAX] = { };
    uint64_t n = MIN(MIN(g_get_num_processors(), COPY_THREADS_MAX),
                     MAX(size / COPY_SLICE, 1));
    uint64_t each = ROUND_UP(DIV_ROUND_UP(size, n), 2 * MiB), pos = 0;
    uint64_t i;
    int ret = 0;

    for (i = 0; i < n; i++) {
        slices[i].dst = dst + pos;
        slices[i].src = src + pos;
        slices[i].size = MIN(each, size - pos);
        pos += slices[i].size;
        /* the last one is ours */
        if (i < n - 1) {
            qemu_thread_create(&slices[i].thread, "fadump-copy", copy_slice,
                               &slices[i], QEMU_THREAD_JOINABLE);
        } else {
            copy_slice(&slices[i]);
        }
    }
    for (i = 0; i < n; i++) {
        if (i < n - 1) {
            qemu_thread_join(&slices[i].thread);
        }
        ret = ret ?: slices[i].ret;
    }
    return ret;
}

static bool copy(const FadumpPlace *dst, const FadumpPlace *src, uint64_t size,
                 Error **errp)
{
    uint8_t *to = memory_region_get_ram_ptr(dst->mr);
    const uint8_t *from = memory_region_get_ram_ptr(src->mr);
    int ret = copy_parallel(to + dst->off, from + src->off, size);

    if (ret) {
        error_setg_errno(errp, -ret, "no host memory for %" PRIu64
                         " bytes of boot memory", size);
        return false;
    }
    memory_region_set_dirty(dst->mr, dst->off, size);
    return true;
}

/*
 * Memory comes back into the map with other content than it had, and nobody
 * wrote that there. Each vCPU does this, or finds it done, before it runs.
 */
static void forget_code(void)
{
    CPUState *cpu;

    if (tcg_enabled()) {
        CPU_FOREACH(cpu) {
            tb_flush(cpu);
        }
    }
}

static uint32_t set_aside(FadumpHold *h, FadumpHeld *held, bool may_relocate,
                          GArray *done, Error **errp)
{
    const char *why = why_stay(h, may_relocate), *why_not_moved = why;

    if (!why && h->move && try_move(&held->dst, &held->src, held->size,
                                    &why_not_moved)) {
        held->method = VIRTIO_FADUMP_METHOD_MOVED;
    } else if (!why && h->swap && held->slot) {
        stop_all_vhost();
        swap_slot(h, held->slot);
        held->method = VIRTIO_FADUMP_METHOD_SWAPPED;
    } else if (copy(&held->dst, &held->src, held->size, errp)) {
        held->method = VIRTIO_FADUMP_METHOD_COPIED;
    } else {
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    g_array_append_val(done, *held);
    forget_code();
    trace_fadump_hold(held->size, held->method,
                      why_not_moved ?: h->move ? "" : "not wanted");
    return held->method;
}

uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off_ret, GArray *done, Error **errp)
{
    FadumpSlot *slot = find_slot(h, range->base);
    uint64_t win_off = window_offset(h, range->base);
    FadumpHeld held = { .src = *src, .size = range->size };

    if (win_off == UINT64_MAX) {
        error_setg(errp, "the guest did not say where to put boot memory at "
                   "0x%" PRIx64 ", and there is no room in the host",
                   range->base);
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    *win_off_ret = win_off;
    if (slot && slot->swapped) {
        held.dst.mr = slot->ram;
        held.dst.off = slot->ram_off + (win_off - slot->win_off);
    } else {
        held.dst.mr = &h->held;
        held.dst.off = win_off - h->desc_size;
    }
    /* only a whole one can be swapped */
    if (slot && slot->range.base == range->base &&
        slot->range.size == range->size) {
        held.slot = slot;
    }
    return set_aside(h, &held, may_relocate, done, errp);
}

uint32_t fadump_hold_in_guest(FadumpHold *h, const FadumpPlace *dst,
                              const FadumpPlace *src, uint64_t size,
                              bool may_relocate, GArray *done, Error **errp)
{
    FadumpHeld held = { .src = *src, .dst = *dst, .size = size };

    return set_aside(h, &held, may_relocate, done, errp);
}

void fadump_hold_undo(FadumpHold *h, const GArray *done)
{
    guint i;

    for (i = done->len; i-- > 0; ) {
        FadumpHeld *held = &g_array_index(done, FadumpHeld, i);
        const char *why;

        if (held->method == VIRTIO_FADUMP_METHOD_SWAPPED) {
            swap_slot(h, held->slot);
        } else if (held->method == VIRTIO_FADUMP_METHOD_MOVED &&
                   !try_move(&held->src, &held->dst, held->size, &why)) {
            /* the reset goes on; the next boot finds zeros there */
            error_report("fadump-dev: cannot move boot memory back: %s", why);
        }
    }
}

/* ------------------------------------------------------------------ */
/* Giving it back                                                     */

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
           !ram_block_discard_is_disabled() &&
           qemu_ram_pagesize(mr->ram_block) == qemu_real_host_page_size() &&
           !(mr->ram_block->flags & RAM_READONLY_FD) &&
           (qemu_ram_is_shared(mr->ram_block) || mr->ram_block->fd < 0);
}

void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size)
{
    g_autoptr(GArray) runs = fadump_hold_window(h);
    guint i;

    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);
        uint64_t start = MAX(off, run->range.base);
        uint64_t end = MIN(off + size, run->range.base + run->range.size);
        const uint8_t *block = memory_region_get_ram_ptr(run->mr);
        uint64_t at = run->host - block + (start - run->range.base);

        if (start < end && may_discard(h, run->mr)) {
            ram_block_discard_range(run->mr->ram_block, at, end - start);
            /* a migration under way may have sent what was there */
            memory_region_set_dirty(run->mr, at, end - start);
        }
    }
}

void fadump_hold_drop(FadumpHold *h)
{
    fadump_hold_discard(h, 0, h->desc_size + h->held_size);
}

/* ------------------------------------------------------------------ */
/* Migration                                                          */

uint64_t fadump_hold_get_swapped(const FadumpHold *h)
{
    uint64_t mask = 0;
    uint32_t i;

    for (i = 0; i < h->nr_slots; i++) {
        mask |= (uint64_t)h->slots[i].swapped << i;
    }
    return mask;
}

bool fadump_hold_set_swapped(FadumpHold *h, uint64_t mask)
{
    uint32_t i;

    if (h->nr_slots < FADUMP_MAX_SLOTS && mask >> h->nr_slots) {
        return false;
    }
    for (i = 0; i < h->nr_slots; i++) {
        if (h->slots[i].swapped != ((mask >> i) & 1)) {
            swap_slot(h, &h->slots[i]);
        }
    }
    return true;
}
