/*
 * Firmware-assisted dump device: what is decided before the guest runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether the machine can boot confined, how much boot memory that takes, where
 * the window lies and how much it can show.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/boards.h"
#include "hw/core/generic-loader.h"
#include "hw/loader.h"
#include "hw/misc/fadump-dev.h"
#include "system/runstate-action.h"
#include "system/system.h"

/* Below this no distribution's initramfs unpacks. */
#define FADUMP_BOOT_MEM_MIN (128 * MiB)
/* What one unpacks in with room to save a dump, with up to so many vCPUs. */
#define FADUMP_BOOT_MEM_DEFAULT (512 * MiB)
#define FADUMP_BOOT_MEM_VCPUS 64
/* What Linux takes for each vCPU: per-CPU areas, stacks, slabs (1.2 MiB). */
#define FADUMP_BOOT_MEM_PER_VCPU (1280 * KiB)
#define FADUMP_BOOT_MEM_PERCENT 5
/* What a guest may have that asks for more. */
#define FADUMP_BOOT_MEM_MAX_PERCENT 25

/* Most that alignment adds to a range of RAM in the window */
#define FADUMP_WINDOW_ALIGN_MAX (2 * GiB)

/* ------------------------------------------------------------------ */
/* Properties and machine                                             */

static bool fadump_check_properties(VirtIOFadump *s, Error **errp)
{
    if (!s->max_boots) {
        error_setg(errp, VIRTIO_FADUMP_MAX_BOOTS_PROP "=0 would drop every "
                   "dump before it can be saved; use at least 1");
        return false;
    }
    if (s->full && s->full_room == ON_OFF_AUTO_OFF) {
        error_setg(errp, VIRTIO_FADUMP_FULL_PROP "=on needs room for all RAM: "
                   "drop " VIRTIO_FADUMP_FULL_ROOM_PROP "=off");
        return false;
    }
    if (fadump_offers(s, VIRTIO_FADUMP_F_HOST_MEM)) {
        return true;
    }
    if (!fadump_offers(s, VIRTIO_FADUMP_F_GUEST_MEM)) {
        error_setg(errp, "boot memory has nowhere to go: "
                   VIRTIO_FADUMP_HOST_MEM_PROP " and "
                   VIRTIO_FADUMP_GUEST_MEM_PROP " are both off");
        return false;
    }
    if (s->full || s->full_room == ON_OFF_AUTO_ON) {
        error_setg(errp, "%s=on needs " VIRTIO_FADUMP_HOST_MEM_PROP "=on: no "
                   "RAM of the guest's is left to hold the dump",
                   s->full ? VIRTIO_FADUMP_FULL_PROP
                           : VIRTIO_FADUMP_FULL_ROOM_PROP);
        return false;
    }
    virtio_clear_feature(&s->host_features, VIRTIO_FADUMP_F_DISCARD);
    return true;
}

static bool fadump_check_machine(VirtIOFadump *s, Error **errp)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    bool ambiguous = false;

    if (!object_resolve_path_type("", TYPE_VIRTIO_FADUMP, &ambiguous) ||
        ambiguous) {
        error_setg(errp, "at most one fadump-dev device is permitted");
        return false;
    }
    s->confiner = (FadumpConfiner *)
        object_dynamic_cast(OBJECT(ms), TYPE_FADUMP_CONFINER);
    if (!s->confiner) {
        error_setg(errp, "machine type %s cannot confine a boot to boot "
                   "memory; use pc or q35", MACHINE_GET_CLASS(ms)->name);
        return false;
    }
    if (ms->cgs) {
        error_setg(errp, "a confidential guest cannot be reset, so its crash "
                   "cannot be captured");
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ */
/* Boot memory                                                        */

uint64_t fadump_grant(const VirtIOFadump *s, uint64_t size)
{
    size = MAX(size ?: s->boot_mem, s->boot_min);
    return size < s->boot_mem_max ?
           MIN(ROUND_UP(size, s->block_size), s->boot_mem_max) :
           s->boot_mem_max;
}

GArray *fadump_boot_of(const VirtIOFadump *s, uint64_t size)
{
    return FADUMP_CONFINER_GET_CLASS(s->confiner)->boot_ranges(s->confiner,
                                                               size);
}

static bool fadump_check_boot_mem(VirtIOFadump *s, uint64_t ram, Error **errp)
{
    if (s->boot_mem > ram) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_PROP "=%" PRIu64 " MiB is more "
                   "than the guest's %" PRIu64 " MiB", s->boot_mem / MiB,
                   ram / MiB);
        return false;
    }
    if (s->boot_mem && s->boot_mem < MIN(FADUMP_BOOT_MEM_MIN, ram)) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_PROP "=%" PRIu64 " bytes is "
                   "too small to boot in; use at least %" PRIu64 "M",
                   s->boot_mem, (uint64_t)(FADUMP_BOOT_MEM_MIN / MiB));
        return false;
    }
    if (s->boot_mem_max > ram) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_MAX_PROP "=%" PRIu64 " MiB is "
                   "more than the guest's %" PRIu64 " MiB",
                   s->boot_mem_max / MiB, ram / MiB);
        return false;
    }
    return true;
}

/* What a boot needs that saves a dump, if nobody says otherwise. */
static uint64_t fadump_default_boot_mem(uint64_t ram)
{
    unsigned int vcpus = MACHINE(qdev_get_machine())->smp.max_cpus;
    uint64_t size = FADUMP_BOOT_MEM_DEFAULT;

    if (vcpus > FADUMP_BOOT_MEM_VCPUS) {
        size += (vcpus - FADUMP_BOOT_MEM_VCPUS) * FADUMP_BOOT_MEM_PER_VCPU;
    }
    return MAX(size, ram / 100 * FADUMP_BOOT_MEM_PERCENT);
}

/* Put the sizes that are in force in the place of those that were asked for. */
static bool fadump_plan_boot_mem(VirtIOFadump *s, Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    uint64_t ram, max = s->boot_mem_max;

    s->ram_map = fcc->ram_map(s->confiner);
    s->block_size = fcc->block_size(s->confiner);
    ram = fadump_ranges_size(s->ram_map);
    if (!fadump_check_boot_mem(s, ram, errp)) {
        return false;
    }
    if (!s->boot_mem) {
        s->boot_mem = fadump_default_boot_mem(ram);
    }
    if (max && max < MIN(s->boot_mem, ram)) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_MAX_PROP "=%" PRIu64 " MiB is "
                   "less than the %" PRIu64 " MiB of "
                   VIRTIO_FADUMP_BOOT_MEM_PROP, max / MiB, s->boot_mem / MiB);
        return false;
    }
    if (!max) {
        max = MAX(s->boot_mem, ram / 100 * FADUMP_BOOT_MEM_MAX_PERCENT);
    }
    s->boot_mem_max = MIN(ROUND_UP(max, s->block_size), ram);
    s->boot_mem = fadump_grant(s, s->boot_mem);
    fadump_set_boot(s, s->boot_mem);
    return true;
}

/* The machine's RAM is split among the nodes in the order of its addresses. */
static GArray *fadump_numa_nodes(const GArray *ram_map)
{
    NumaState *numa = MACHINE(qdev_get_machine())->numa_state;
    GArray *nodes = g_array_new(false, false, sizeof(FadumpNode));
    uint64_t off = 0;
    guint r = 0;
    int i;

    for (i = 0; numa && i < numa->num_nodes; i++) {
        uint64_t left = numa->nodes[i].node_mem, n;

        for (; left && r < ram_map->len; left -= n) {
            const FadumpRange *m = &g_array_index(ram_map, FadumpRange, r);
            FadumpNode node = {
                .base = ROUND_DOWN(m->base + off, VIRTIO_FADUMP_PAGE_SIZE),
                .node = i,
            };

            g_array_append_val(nodes, node);
            n = MIN(left, m->size - off);
            off += n;
            if (off == m->size) {
                off = 0;
                r++;
            }
        }
    }
    return nodes;
}

/* ------------------------------------------------------------------ */
/* The window                                                         */

/*
 * Whether the window is to have room for all RAM, so that the property full can
 * be switched while the guest runs. Nothing that differs between two hosts may
 * decide: they would not have the same window. Address space is all that it
 * takes, unless all of QEMU's memory is locked as soon as it is mapped.
 */
static bool fadump_wants_full_room(const VirtIOFadump *s)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    uint64_t size = fadump_capture_desc_max() + FADUMP_WINDOW_ALIGN_MAX;

    if (s->full || s->full_room != ON_OFF_AUTO_AUTO) {
        return s->full || s->full_room == ON_OFF_AUTO_ON;
    }
    /* a BAR is a power of two, and firmware has to find a place for it */
    if (!fcc->window_room || s->window_bar || mlock_state == MLOCK_ON) {
        return false;
    }
    size += fadump_ranges_size(s->ram_map) +
            s->ram_map->len * FADUMP_WINDOW_ALIGN_MAX;
    return size <= fcc->window_room(s->confiner);
}

static bool fadump_init_window(VirtIOFadump *s, Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) room = g_array_new(false, false, sizeof(FadumpRange));

    if (fadump_offers(s, VIRTIO_FADUMP_F_HOST_MEM)) {
        g_array_unref(room);
        room = fadump_wants_full_room(s) ? g_array_copy(s->ram_map)
                                         : fadump_boot_of(s, s->boot_mem_max);
    }
    if (!fadump_hold_init(&s->hold, OBJECT(s), fadump_capture_desc_max(), room,
                          errp)) {
        return false;
    }
    if (fcc->ram_view) {
        s->hold.ram_view = fcc->ram_view(s->confiner);
    }
    if (!fcc->window_base || s->window_bar) {
        return true;
    }
    s->window_addr = fcc->window_base(s->confiner,
                                      fadump_hold_window_size(&s->hold), errp);
    if (!s->window_addr) {
        return false;
    }
    memory_region_add_subregion(get_system_memory(), s->window_addr,
                                &s->hold.window);
    return true;
}

bool fadump_has_full_room(const VirtIOFadump *s, Error **errp)
{
    if (!fadump_hold_has_room(&s->hold, s->ram_map)) {
        error_setg(errp, "the window has no room for all RAM; start the "
                   "machine with " VIRTIO_FADUMP_FULL_ROOM_PROP "=on, which "
                   "says what it takes");
        return false;
    }
    return true;
}

void fadump_prepare_move(VirtIOFadump *s)
{
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);

    if (runs) {
        fadump_hold_keep_from_ksm(&s->hold, runs,
                                  s->full ? s->ram_map : s->boot);
    }
}

/* ------------------------------------------------------------------ */
/* When the machine is complete                                       */

/* A look at what each reset of the machine writes to RAM anew */
typedef struct FadumpRoms {
    const VirtIOFadump *s;
    /* of FadumpRange */
    const GArray *boot;
    /* the one that is wrong */
    const char *name;
    uint64_t addr;
} FadumpRoms;

/* Whether what is at @addr at every reset stays off memory that is preserved */
static bool fadump_rom_ok(const char *name, uint64_t addr, uint64_t size,
                          void *opaque)
{
    FadumpRoms *roms = opaque;
    FadumpRange rom = { addr, size };
    bool in_ram = false;
    guint i;

    for (i = 0; i < roms->s->ram_map->len; i++) {
        in_ram |= fadump_range_overlaps(&rom, &g_array_index(roms->s->ram_map,
                                                             FadumpRange, i));
    }
    if (!size || !in_ram || fadump_ranges_contain(roms->boot, &rom)) {
        return true;
    }
    roms->name = name;
    roms->addr = addr;
    return false;
}

static int fadump_loader_ok(Object *obj, void *opaque)
{
    GenericLoaderState *loader = (GenericLoaderState *)
        object_dynamic_cast(obj, TYPE_GENERIC_LOADER);

    return loader && loader->data_len &&
           !fadump_rom_ok(TYPE_GENERIC_LOADER, loader->addr, loader->data_len,
                          opaque);
}

static bool fadump_roms_ok(FadumpRoms *roms, uint64_t size)
{
    g_autoptr(GArray) boot = fadump_boot_of(roms->s, size);

    roms->boot = boot;
    return rom_foreach_rewritten(fadump_rom_ok, roms) &&
           !object_child_foreach_recursive(object_get_root(), fadump_loader_ok,
                                           roms);
}

/*
 * Blobs that are written to RAM at every reset would overwrite a dump. They
 * must lie in boot memory, in the smallest that a guest can ask for.
 */
static bool fadump_plan_roms(VirtIOFadump *s, Error **errp)
{
    FadumpRoms roms = { .s = s };
    uint64_t size;

    for (size = s->block_size; size <= s->boot_mem; size += s->block_size) {
        if (fadump_roms_ok(&roms, size)) {
            s->boot_min = size > s->block_size ? size : 0;
            return true;
        }
    }
    /* all of RAM need be no multiple */
    if (fadump_roms_ok(&roms, s->boot_mem)) {
        s->boot_min = s->boot_mem;
        return true;
    }
    error_setg(errp, "%s is written to 0x%" PRIx64 " at every reset, outside "
               "of boot memory, and would overwrite a dump; load it below, or "
               "set " VIRTIO_FADUMP_BOOT_MEM_PROP " larger", roms.name,
               roms.addr);
    return false;
}

static void fadump_machine_done(Notifier *notifier, void *data)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, machine_done);
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);
    Error *err = NULL;

    if (!fadump_plan_roms(s, &err)) {
        error_reportf_err(err, "fadump-dev: ");
        exit(EXIT_FAILURE);
    }
    /* RAM that cannot be captured now may be some day, by copying */
    if (runs) {
        fadump_hold_plan(&s->hold, runs, fcc->firmware_end);
    }
    fadump_prepare_move(s);
    s->discard_size = fadump_hold_discard_size(&s->hold);
    if (reboot_action == REBOOT_ACTION_SHUTDOWN) {
        warn_report("fadump-dev: with -no-reboot, or -action reboot=shutdown, "
                    "a guest that crashes is shut down and not captured");
    }
}

bool fadump_plan(VirtIOFadump *s, Error **errp)
{
    if (!fadump_check_properties(s, errp) || !fadump_check_machine(s, errp) ||
        !fadump_plan_boot_mem(s, errp) ||
        !FADUMP_CONFINER_GET_CLASS(s->confiner)->prepare(s->confiner, errp) ||
        !fadump_init_window(s, errp)) {
        return false;
    }
    s->nodes = fadump_numa_nodes(s->ram_map);
    /* until the machine's RAM is known */
    s->discard_size = qemu_real_host_page_size();

    s->machine_done.notify = fadump_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
    return true;
}

void fadump_plan_cleanup(VirtIOFadump *s)
{
    qemu_remove_machine_init_done_notifier(&s->machine_done);
}
