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

static void free_alias(gpointer opaque)
{
    MemoryRegion *alias = opaque;

    memory_region_del_subregion(alias->container, alias);
    object_unparent(OBJECT(alias));
    g_free(alias);
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
    no_huge_page(&h->held, HELD_ALIGN);
    memory_region_init_ram_view(&h->held_view, h->owner, "fadump-held",
                                &h->held);
    memory_region_add_subregion(&h->window, h->desc_size, &h->held_view);
    return true;
}

/*
 * In the window, a range lies at or above @pos, and as its address does in a
 * huge page.
 */
static uint64_t place_range(uint64_t pos, const FadumpRange *r)
{
    return ROUND_UP(pos, HELD_ALIGN) + r->base % HELD_ALIGN;
}

bool fadump_hold_init(FadumpHold *h, Object *owner, uint64_t desc_size,
                      const GArray *room, Error **errp)
{
    uint64_t pos;
    guint i;

    h->owner = owner;
    h->desc_size = ROUND_UP(desc_size, HELD_ALIGN);
    h->room = g_array_copy((GArray *)room);
    h->swapped = g_array_new(false, false, sizeof(FadumpRange));
    h->aliases = g_ptr_array_new_with_free_func(free_alias);
    pos = h->desc_size;
    for (i = 0; i < room->len; i++) {
        const FadumpRange *r = &g_array_index(room, FadumpRange, i);

        pos = place_range(pos, r) + r->size;
    }
    h->held_size = ROUND_UP(pos, HELD_ALIGN) - h->desc_size;

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

/* UINT64_MAX if there is no room for it. */
static uint64_t window_offset(const FadumpHold *h, uint64_t addr)
{
    uint64_t pos = h->desc_size;
    guint i;

    for (i = 0; i < h->room->len; i++) {
        const FadumpRange *r = &g_array_index(h->room, FadumpRange, i);

        pos = place_range(pos, r);
        if (addr - r->base < r->size) {
            return pos + (addr - r->base);
        }
        pos += r->size;
    }
    return UINT64_MAX;
}

void fadump_hold_destroy(FadumpHold *h)
{
    g_clear_pointer(&h->aliases, g_ptr_array_unref);
    g_clear_pointer(&h->swapped, g_array_unref);
    g_clear_pointer(&h->room, g_array_unref);
    g_clear_pointer(&h->slots, g_free);
}

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

uint8_t *fadump_hold_desc(const FadumpHold *h)
{
    return memory_region_get_ram_ptr((MemoryRegion *)&h->desc);
}

uint64_t fadump_hold_window_size(const FadumpHold *h)
{
    return h->desc_size + h->held_size;
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

/* The slot that has @range, or NULL. */
static FadumpSlot *find_slot(FadumpHold *h, const FadumpRange *range)
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

/* A part of a slot that is swapped */
typedef struct SwappedPart {
    FadumpRange range;
    FadumpSlot *slot;
} SwappedPart;

/* An array of SwappedPart, ascending. */
static GArray *swapped_parts(const FadumpHold *h)
{
    GArray *parts = g_array_new(false, false, sizeof(SwappedPart));
    uint32_t i;
    guint j;

    for (i = 0; i < h->nr_slots; i++) {
        for (j = 0; j < h->swapped->len; j++) {
            SwappedPart p = { .slot = &h->slots[i] };

            if (fadump_range_intersect(&g_array_index(h->swapped, FadumpRange,
                                                      j),
                                       &p.slot->range, &p.range)) {
                g_array_append_val(parts, p);
            }
        }
    }
    return parts;
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
    g_autoptr(GArray) parts = swapped_parts(h);
    uint64_t pos = h->desc_size;
    guint i;

    add_window_run(runs, 0, h->desc_size, &h->desc, 0);
    /* the window has boot memory in the order of its addresses */
    for (i = 0; i < parts->len; i++) {
        const SwappedPart *p = &g_array_index(parts, SwappedPart, i);
        uint64_t off = window_offset(h, p->range.base);

        add_window_run(runs, pos, off - pos, &h->held, pos - h->desc_size);
        add_window_run(runs, off, p->range.size, p->slot->ram,
                       p->slot->ram_off +
                       (p->range.base - p->slot->range.base));
        pos = off + p->range.size;
    }
    add_window_run(runs, pos, fadump_hold_window_size(h) - pos, &h->held,
                   pos - h->desc_size);
    return runs;
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

/* From now on @swapped is what is swapped, and nothing else. */
static void set_swapped(FadumpHold *h, GArray *swapped)
{
    g_autoptr(GArray) parts = NULL;
    guint i;

    g_array_unref(h->swapped);
    h->swapped = swapped;
    parts = swapped_parts(h);

    memory_region_transaction_begin();
    g_ptr_array_set_size(h->aliases, 0);
    for (i = 0; i < parts->len; i++) {
        const SwappedPart *p = &g_array_index(parts, SwappedPart, i);
        uint64_t off = window_offset(h, p->range.base);

        if (!p->slot->has_view) {
            memory_region_init_ram_view(&p->slot->view, h->owner,
                                        "fadump-swapped-out[*]", p->slot->ram);
            p->slot->has_view = true;
        }
        /* the newest of a priority wins: over RAM, under what covers RAM */
        add_alias(h, get_system_memory(), p->range.base, &h->held,
                  off - h->desc_size, p->range.size, 0);
        add_alias(h, &h->window, off, &p->slot->view,
                  p->slot->ram_off + (p->range.base - p->slot->range.base),
                  p->range.size, 1);
    }
    memory_region_transaction_commit();
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
    set_swapped(h, swapped);
    return true;
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

static bool try_swap(FadumpHold *h, const FadumpHeld *held)
{
    if (!h->swap || !find_slot(h, &held->range)) {
        return false;
    }
    stop_all_vhost();
    return swap_range(h, &held->range);
}

static uint32_t set_aside(FadumpHold *h, FadumpHeld *held, bool may_relocate,
                          bool may_swap, GArray *done, Error **errp)
{
    const char *why = why_stay(h, may_relocate), *why_not_moved = why;
    uint64_t size = held->range.size;

    if (!why && h->move && try_move(&held->dst, &held->src, size,
                                    &why_not_moved)) {
        held->method = VIRTIO_FADUMP_METHOD_MOVED;
    } else if (!why && may_swap && try_swap(h, held)) {
        held->method = VIRTIO_FADUMP_METHOD_SWAPPED;
    } else if (copy(&held->dst, &held->src, size, errp)) {
        held->method = VIRTIO_FADUMP_METHOD_COPIED;
    } else {
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    g_array_append_val(done, *held);
    forget_code();
    trace_fadump_hold(size, held->method,
                      why_not_moved ?: h->move ? "" : "not wanted");
    return held->method;
}

uint32_t fadump_hold(FadumpHold *h, const FadumpRange *range,
                     const FadumpPlace *src, bool may_relocate,
                     uint64_t *win_off_ret, GArray *done, Error **errp)
{
    const FadumpSlot *slot = find_slot(h, range);
    uint64_t win_off = window_offset(h, range->base);
    FadumpHeld held = { .range = *range, .src = *src };

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

void fadump_hold_undo(FadumpHold *h, const GArray *done)
{
    guint i;

    for (i = done->len; i-- > 0; ) {
        FadumpHeld *held = &g_array_index(done, FadumpHeld, i);
        const char *why;

        if (held->method == VIRTIO_FADUMP_METHOD_SWAPPED) {
            /* back to a set that was not too large before */
            swap_range(h, &held->range);
        } else if (held->method == VIRTIO_FADUMP_METHOD_MOVED &&
                   !try_move(&held->src, &held->dst, held->range.size,
                             &why)) {
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

/* What was there is not needed any more; @zero: and must not be read again. */
static void discard_run(FadumpHold *h, const FadumpRamRun *run, uint64_t start,
                        uint64_t end, bool zero)
{
    uint8_t *block = memory_region_get_ram_ptr(run->mr);
    uint64_t at = run->host - block + (start - run->range.base);

    if (may_discard(h, run->mr)) {
        ram_block_discard_range(run->mr->ram_block, at, end - start);
    } else if (zero) {
        memset(block + at, 0, end - start);
    } else {
        return;
    }
    /* a migration under way may have sent what was there */
    memory_region_set_dirty(run->mr, at, end - start);
}

static void discard(FadumpHold *h, uint64_t off, uint64_t size, bool zero)
{
    g_autoptr(GArray) runs = fadump_hold_window(h);
    guint i;

    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);
        uint64_t start = MAX(off, run->range.base);
        uint64_t end = MIN(off + size, run->range.base + run->range.size);

        if (start < end) {
            discard_run(h, run, start, end, zero);
        }
    }
}

void fadump_hold_discard(FadumpHold *h, uint64_t off, uint64_t size)
{
    discard(h, off, size, true);
}

void fadump_hold_drop(FadumpHold *h)
{
    discard(h, 0, fadump_hold_window_size(h), false);
}

/* ------------------------------------------------------------------ */
/* Migration                                                          */

void fadump_hold_skip(const FadumpHold *h)
{
    g_autoptr(GArray) runs = fadump_hold_window(h);
    guint i;

    for (i = 0; i < runs->len; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);

        /* what of the machine's RAM is swapped may not be migrated at all */
        if (run->mr == &h->held) {
            qemu_guest_free_page_hint(run->host, run->range.size);
        }
    }
}

bool fadump_hold_set_swapped(FadumpHold *h, const GArray *swapped)
{
    g_autoptr(GArray) slots = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) ranges = g_array_copy((GArray *)swapped);
    uint32_t i;

    for (i = 0; i < h->nr_slots; i++) {
        g_array_append_val(slots, h->slots[i].range);
    }
    fadump_ranges_normalize(slots);
    if (!fadump_ranges_normalize(ranges) || ranges->len > FADUMP_MAX_SWAPPED) {
        return false;
    }
    for (i = 0; i < ranges->len; i++) {
        const FadumpRange *r = &g_array_index(ranges, FadumpRange, i);

        if ((r->base | r->size) % VIRTIO_FADUMP_PAGE_SIZE ||
            !fadump_ranges_contain(slots, r)) {
            return false;
        }
    }
    set_swapped(h, g_steal_pointer(&ranges));
    return true;
}
