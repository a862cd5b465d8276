/*
 * Firmware-assisted dump: which parts of a RAM block hold something
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/misc/fadump-populated.h"

typedef int SectionFunc(MemoryRegionSection *section, void *opaque);

void fadump_populated_init(FadumpPopulated *p, Object *owner, uint64_t size)
{
    object_initialize_child(owner, "populated", p, TYPE_FADUMP_POPULATED);
    p->nr_blocks = size / FADUMP_POPULATED_BLOCK;
    p->bitmap = bitmap_new(p->nr_blocks);
}

void fadump_populated_manage(FadumpPopulated *p, MemoryRegion *mr)
{
    memory_region_set_ram_discard_manager(mr, RAM_DISCARD_MANAGER(p));
}

/* The part of @s that has @size bytes of the region at @off; false: none. */
static bool cut_section(MemoryRegionSection *s, uint64_t off, uint64_t size)
{
    uint64_t start = s->offset_within_region;
    uint64_t end = MIN(start + int128_get64(s->size), off + size);

    start = MAX(start, off);
    if (start >= end) {
        return false;
    }
    s->offset_within_address_space += start - s->offset_within_region;
    s->offset_within_region = start;
    s->size = int128_make64(end - start);
    return true;
}

/* Call @fn for each part of @s that is @populated, or not, until it fails. */
static int for_each_part(const FadumpPopulated *p,
                         const MemoryRegionSection *s, bool populated,
                         SectionFunc *fn, void *opaque)
{
    uint64_t end = s->offset_within_region + int128_get64(s->size);
    unsigned long n = p->nr_blocks, i, next;
    int ret = 0;

    for (i = s->offset_within_region / FADUMP_POPULATED_BLOCK;
         !ret && i < n && i * FADUMP_POPULATED_BLOCK < end; i = next) {
        MemoryRegionSection part = *s;

        if (test_bit(i, p->bitmap)) {
            next = find_next_zero_bit(p->bitmap, n, i);
        } else {
            next = find_next_bit(p->bitmap, n, i);
        }
        if (test_bit(i, p->bitmap) == populated &&
            cut_section(&part, i * FADUMP_POPULATED_BLOCK,
                        (next - i) * FADUMP_POPULATED_BLOCK)) {
            ret = fn(&part, opaque);
        }
    }
    return ret;
}

/* ------------------------------------------------------------------ */
/* Changes                                                            */

static void notify_discard(FadumpPopulated *p, uint64_t off, uint64_t size,
                           const RamDiscardListener *until)
{
    RamDiscardListener *rdl;

    QLIST_FOREACH(rdl, &p->listeners, next) {
        MemoryRegionSection s = *rdl->section;

        if (rdl == until) {
            break;
        }
        if (cut_section(&s, off, size)) {
            rdl->notify_discard(rdl, &s);
        }
    }
}

/* Those that have agreed are told if one does not. */
static int notify_populate(FadumpPopulated *p, uint64_t off, uint64_t size)
{
    RamDiscardListener *rdl;

    QLIST_FOREACH(rdl, &p->listeners, next) {
        MemoryRegionSection s = *rdl->section;
        int ret = cut_section(&s, off, size) ? rdl->notify_populate(rdl, &s)
                                             : 0;

        if (ret) {
            notify_discard(p, off, size, rdl);
            return ret;
        }
    }
    return 0;
}

bool fadump_populate(FadumpPopulated *p, uint64_t off, uint64_t size,
                     Error **errp)
{
    unsigned long end = DIV_ROUND_UP(off + size, FADUMP_POPULATED_BLOCK);
    g_autofree unsigned long *before = bitmap_new(p->nr_blocks);
    unsigned long i, next;
    int ret;

    bitmap_copy(before, p->bitmap, p->nr_blocks);
    for (i = find_next_zero_bit(p->bitmap, end, off / FADUMP_POPULATED_BLOCK);
         i < end; i = find_next_zero_bit(p->bitmap, end, next)) {
        next = find_next_bit(p->bitmap, end, i);
        ret = notify_populate(p, i * FADUMP_POPULATED_BLOCK,
                              (next - i) * FADUMP_POPULATED_BLOCK);
        if (ret) {
            for (i = 0; i < end; i++) {
                if (test_bit(i, p->bitmap) && !test_bit(i, before)) {
                    fadump_depopulate(p, i * FADUMP_POPULATED_BLOCK,
                                      FADUMP_POPULATED_BLOCK);
                }
            }
            error_setg_errno(errp, -ret, "memory for a dump cannot be used");
            return false;
        }
        bitmap_set(p->bitmap, i, next - i);
    }
    return true;
}

void fadump_depopulate(FadumpPopulated *p, uint64_t off, uint64_t size)
{
    unsigned long end = (off + size) / FADUMP_POPULATED_BLOCK;
    unsigned long i, next;

    for (i = find_next_bit(p->bitmap, end,
                           DIV_ROUND_UP(off, FADUMP_POPULATED_BLOCK));
         i < end; i = find_next_bit(p->bitmap, end, next)) {
        next = find_next_zero_bit(p->bitmap, end, i);
        bitmap_clear(p->bitmap, i, next - i);
        notify_discard(p, i * FADUMP_POPULATED_BLOCK,
                       (next - i) * FADUMP_POPULATED_BLOCK, NULL);
    }
}

/* ------------------------------------------------------------------ */
/* RamDiscardManager                                                  */

static uint64_t get_min_granularity(const RamDiscardManager *rdm,
                                    const MemoryRegion *mr)
{
    return FADUMP_POPULATED_BLOCK;
}

static int stop_here(MemoryRegionSection *section, void *opaque)
{
    return 1;
}

static bool is_populated(const RamDiscardManager *rdm,
                         const MemoryRegionSection *section)
{
    return !for_each_part(FADUMP_POPULATED(rdm), section, false, stop_here,
                          NULL);
}

static int replay_populated(const RamDiscardManager *rdm,
                            MemoryRegionSection *section,
                            ReplayRamPopulate replay_fn, void *opaque)
{
    return for_each_part(FADUMP_POPULATED(rdm), section, true, replay_fn,
                         opaque);
}

typedef struct ReplayDiscard {
    ReplayRamDiscard fn;
    void *opaque;
} ReplayDiscard;

static int replay_one_discarded(MemoryRegionSection *section, void *opaque)
{
    ReplayDiscard *replay = opaque;

    replay->fn(section, replay->opaque);
    return 0;
}

static void replay_discarded(const RamDiscardManager *rdm,
                             MemoryRegionSection *section,
                             ReplayRamDiscard replay_fn, void *opaque)
{
    ReplayDiscard replay = { replay_fn, opaque };

    for_each_part(FADUMP_POPULATED(rdm), section, false, replay_one_discarded,
                  &replay);
}

static int tell_populated(MemoryRegionSection *section, void *opaque)
{
    RamDiscardListener *rdl = opaque;

    return rdl->notify_populate(rdl, section);
}

static int tell_discarded(MemoryRegionSection *section, void *opaque)
{
    RamDiscardListener *rdl = opaque;

    rdl->notify_discard(rdl, section);
    return 0;
}

static void register_listener(RamDiscardManager *rdm, RamDiscardListener *rdl,
                              MemoryRegionSection *section)
{
    FadumpPopulated *p = FADUMP_POPULATED(rdm);
    int ret;

    rdl->section = memory_region_section_new_copy(section);
    QLIST_INSERT_HEAD(&p->listeners, rdl, next);
    ret = for_each_part(p, rdl->section, true, tell_populated, rdl);
    if (ret) {
        error_report("fadump-dev: a listener does not take held memory: %s",
                     strerror(-ret));
    }
}

static void unregister_listener(RamDiscardManager *rdm,
                                RamDiscardListener *rdl)
{
    for_each_part(FADUMP_POPULATED(rdm), rdl->section, true, tell_discarded,
                  rdl);
    memory_region_section_free_copy(rdl->section);
    rdl->section = NULL;
    QLIST_REMOVE(rdl, next);
}

static void fadump_populated_finalize(Object *obj)
{
    g_free(FADUMP_POPULATED(obj)->bitmap);
}

static void fadump_populated_class_init(ObjectClass *klass, void *data)
{
    RamDiscardManagerClass *rdmc = RAM_DISCARD_MANAGER_CLASS(klass);

    rdmc->get_min_granularity = get_min_granularity;
    rdmc->is_populated = is_populated;
    rdmc->replay_populated = replay_populated;
    rdmc->replay_discarded = replay_discarded;
    rdmc->register_listener = register_listener;
    rdmc->unregister_listener = unregister_listener;
}

static const TypeInfo fadump_populated_types[] = {
    {
        .name = TYPE_FADUMP_POPULATED,
        .parent = TYPE_OBJECT,
        .instance_size = sizeof(FadumpPopulated),
        .instance_finalize = fadump_populated_finalize,
        .class_init = fadump_populated_class_init,
        .interfaces = (InterfaceInfo[]) {
            { TYPE_RAM_DISCARD_MANAGER },
            { }
        },
    },
};

DEFINE_TYPES(fadump_populated_types)
