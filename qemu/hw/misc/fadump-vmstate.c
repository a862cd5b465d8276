/*
 * Firmware-assisted dump device: its state in a migration stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stream is not trusted: what is in it is checked as a request of the guest
 * is, and one that cannot be is refused.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"
#include "migration/vmstate.h"

/*
 * A snapshot that would replace a dump while it is read was refused before it
 * came to this; there are other ways to load the state of devices.
 */
static int virtio_fadump_pre_load(void *opaque)
{
    VirtIOFadump *s = opaque;

    if (fadump_save_active(s->save)) {
        error_report("fadump-dev: a dump is being saved by fadump-save");
        return -EBUSY;
    }
    s->told = 0;
    return 0;
}

static bool fadump_load_life_ok(VirtIOFadump *s, Error **errp)
{
    bool held, dying;

    /* no stream is written in the middle of a reset */
    if (s->life >= FADUMP_LIFE__MAX || s->life == FADUMP_LIFE_CAPTURING) {
        error_setg(errp, "fadump-dev: bad state %" PRIu32 " in the stream",
                   s->life);
        return false;
    }
    held = fadump_life_held(s->life);
    dying = fadump_life_dying(s->life);
    if (held != !!s->desc_size || s->desc_size > s->hold.desc_size ||
        (held && !s->window_shown) || (!held && s->held_full) ||
        (!held && (s->nr_boots || s->nr_lost)) ||
        (!s->nr_boots && (s->life == FADUMP_LIFE_HELD_COUNTED ||
                          s->life == FADUMP_LIFE_HELD_DYING))) {
        error_setg(errp, "fadump-dev: state %s with a descriptor of %" PRIu64
                   " bytes, window %d, all RAM %d, boots %" PRIu32 ", lost %"
                   PRIu32 " in the stream", fadump_life_state_name(s->life),
                   s->desc_size, s->window_shown, s->held_full, s->nr_boots,
                   s->nr_lost);
        return false;
    }
    if (timer_pending(s->boot_timer) && !fadump_life_timer_runs(s->life)) {
        error_setg(errp, "fadump-dev: state %s with a timer in the stream",
                   fadump_life_state_name(s->life));
        return false;
    }
    if (dying != (s->cause != VIRTIO_FADUMP_CAUSE_UNKNOWN) ||
        s->cause > VIRTIO_FADUMP_CAUSE_PANIC_DEVICE ||
        (s->cause_cpu != VIRTIO_FADUMP_CPU_NONE &&
         (!dying || !qemu_get_cpu(s->cause_cpu)))) {
        error_setg(errp, "fadump-dev: state %s with cause %" PRIu32 ", vCPU %"
                   PRIu32 " in the stream", fadump_life_state_name(s->life),
                   s->cause, s->cause_cpu);
        return false;
    }
    return true;
}

static bool fadump_load_boot_ok(VirtIOFadump *s, Error **errp)
{
    bool any = fadump_state(s) != VIRTIO_FADUMP_STATE_IDLE;

    /* IDLE has the default */
    if (!s->boot_size || fadump_grant(s, s->boot_size) != s->boot_size ||
        (!any && s->boot_size != s->boot_mem)) {
        error_setg(errp, "fadump-dev: boot memory of %" PRIu64 " bytes in the "
                   "stream", s->boot_size);
        return false;
    }
    if (s->held_full && !fadump_has_full_room(s, NULL)) {
        error_setg(errp, "fadump-dev: all RAM set aside in the stream, for "
                   "which this machine's window has no room");
        return false;
    }
    return true;
}

/* It outlasts a dump by the rest of a boot. */
static bool fadump_load_told_ok(VirtIOFadump *s, Error **errp)
{
    g_autoptr(GArray) boot = NULL;

    if (!s->told && !fadump_confined_to(s)) {
        return true;
    }
    if (s->told && fadump_grant(s, s->told) == s->told &&
        (!s->desc_size || s->told == fadump_confined_to(s))) {
        boot = fadump_boot_of(s, s->told);
        if (fadump_ranges_size(boot) < fadump_ranges_size(s->ram_map)) {
            return true;
        }
    }
    error_setg(errp, "fadump-dev: firmware was told of %" PRIu64 " bytes of "
               "boot memory, says the stream", s->told);
    return false;
}

static bool fadump_load_note_ok(VirtIOFadump *s, const FadumpRange *r,
                                uint64_t max, Error **errp)
{
    bool registered = fadump_state(s) == VIRTIO_FADUMP_STATE_REGISTERED;

    if (r->size && (!registered || !fadump_note_region_ok(r, max))) {
        error_setg(errp, "fadump-dev: a note of %" PRIu64 " bytes at 0x%" PRIx64
                   " in the stream", r->size, r->base);
        return false;
    }
    return true;
}

static bool fadump_load_yield_ok(VirtIOFadump *s, Error **errp)
{
    if (s->will_yield && fadump_state(s) != VIRTIO_FADUMP_STATE_REGISTERED) {
        error_setg(errp, "fadump-dev: state %s, in which a crash would be "
                   "yielded, in the stream", fadump_life_state_name(s->life));
        return false;
    }
    return true;
}

static bool fadump_load_dests_ok(VirtIOFadump *s, Error **errp)
{
    bool registered = fadump_state(s) == VIRTIO_FADUMP_STATE_REGISTERED;
    uint32_t i;

    for (i = 0; i < s->nr_dests; i++) {
        const FadumpDest *d = &s->dests[i];

        /* not what the driver of now has negotiated: it may be another one */
        if (!registered || !fadump_offers(s, VIRTIO_FADUMP_F_GUEST_MEM) ||
            (d->src.base | d->src.size) % VIRTIO_FADUMP_PAGE_SIZE ||
            !fadump_ranges_contain(s->boot, &d->src) ||
            fadump_check_dest(s, s->boot, &d->src, d->dst, s->dests, i)) {
            error_setg(errp, "fadump-dev: bad destination %" PRIu32 ", 0x%"
                       PRIx64 ", in the stream", i, d->dst);
            return false;
        }
    }
    return true;
}

/*
 * A stream may say any time. What is left is at most what this host's property
 * gives, and where the other host had no limit it begins anew.
 */
static void fadump_load_timer(VirtIOFadump *s)
{
    int64_t last = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                   fadump_boot_timeout_ns(s);

    if (!fadump_life_timer_runs(s->life) || !s->boot_timeout) {
        timer_del(s->boot_timer);
    } else if (!timer_pending(s->boot_timer) ||
               timer_expire_time_ns(s->boot_timer) > last) {
        timer_mod(s->boot_timer, last);
    }
}

/* RAM, with the descriptor, has been loaded before the device state. */
static bool fadump_load(VirtIOFadump *s, Error **errp)
{
    if (!fadump_load_life_ok(s, errp) || !fadump_load_boot_ok(s, errp) ||
        !fadump_load_yield_ok(s, errp) ||
        !fadump_load_note_ok(s, &s->vmcoreinfo, VIRTIO_FADUMP_VMCOREINFO_MAX,
                             errp) ||
        !fadump_load_note_ok(s, &s->crash_note, VIRTIO_FADUMP_CRASH_NOTE_MAX,
                             errp)) {
        return false;
    }
    if (s->desc_size &&
        !fadump_desc_check(fadump_hold_desc(&s->hold), s->desc_size,
                           fadump_hold_window_size(&s->hold), errp)) {
        return false;
    }
    fadump_set_boot(s, s->boot_size);
    return fadump_load_told_ok(s, errp) && fadump_load_dests_ok(s, errp);
}

/* After a bad stream; a machine that loads a snapshot could go on even so. */
static void fadump_load_nothing(VirtIOFadump *s)
{
    s->life = FADUMP_LIFE_IDLE;
    s->cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    s->cause_cpu = VIRTIO_FADUMP_CPU_NONE;
    s->vmcoreinfo = s->crash_note = (FadumpRange) { 0 };
    s->nr_dests = s->nr_lost = s->nr_boots = 0;
    s->desc_size = 0;
    s->held_full = s->will_yield = false;
    timer_del(s->boot_timer);
    fadump_set_boot(s, s->boot_mem);
    fadump_show_window(s, false);
    fadump_publish(s);
    fadump_hold_loaded(&s->hold, false);
    fadump_tell(s, 0);
}

static int virtio_fadump_post_load(void *opaque, int version_id)
{
    VirtIOFadump *s = opaque;
    Error *err = NULL;

    if (!fadump_load(s, &err)) {
        error_report_err(err);
        fadump_load_nothing(s);
        return -EINVAL;
    }
    fadump_hold_loaded(&s->hold, s->desc_size);
    fadump_show_window(s, s->window_shown);
    fadump_publish(s);
    fadump_tell(s, s->told);
    fadump_load_timer(s);
    fadump_prepare_move(s);
    return 0;
}

static bool virtio_fadump_nr_dests_ok(void *opaque, int version_id)
{
    VirtIOFadump *s = opaque;

    return s->nr_dests <= FADUMP_MAX_REGIONS;
}

static const VMStateDescription vmstate_fadump_dest = {
    .name = "fadump-dest",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(src, FadumpDest, 1, vmstate_fadump_range, FadumpRange),
        VMSTATE_UINT64(dst, FadumpDest),
        VMSTATE_END_OF_LIST()
    },
};

static bool virtio_fadump_told_needed(void *opaque)
{
    VirtIOFadump *s = opaque;

    return s->told;
}

static const VMStateDescription vmstate_fadump_told = {
    .name = "virtio-fadump-device/told",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = virtio_fadump_told_needed,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(told, VirtIOFadump),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_virtio_fadump_device = {
    .name = "virtio-fadump-device",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_load = virtio_fadump_pre_load,
    .post_load = virtio_fadump_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64_EQUAL(boot_mem, VirtIOFadump,
                             "boot-mem differs between the two hosts"),
        VMSTATE_UINT64_EQUAL(boot_mem_max, VirtIOFadump,
                             "boot-mem-max differs between the two hosts"),
        VMSTATE_UINT64_EQUAL(window_addr, VirtIOFadump,
                             "the window lies elsewhere on the other host"),
        VMSTATE_UINT32(life, VirtIOFadump),
        VMSTATE_UINT64(boot_size, VirtIOFadump),
        VMSTATE_STRUCT(vmcoreinfo, VirtIOFadump, 1, vmstate_fadump_range,
                       FadumpRange),
        VMSTATE_STRUCT(crash_note, VirtIOFadump, 1, vmstate_fadump_range,
                       FadumpRange),
        VMSTATE_UINT32(nr_dests, VirtIOFadump),
        VMSTATE_VALIDATE("nr_dests", virtio_fadump_nr_dests_ok),
        VMSTATE_STRUCT_VARRAY_UINT32(dests, VirtIOFadump, nr_dests, 1,
                                     vmstate_fadump_dest, FadumpDest),
        VMSTATE_UINT64(desc_size, VirtIOFadump),
        VMSTATE_BOOL(held_full, VirtIOFadump),
        VMSTATE_BOOL(window_shown, VirtIOFadump),
        VMSTATE_UINT8_ARRAY(dump_id.data, VirtIOFadump, 16),
        VMSTATE_UINT32(nr_lost, VirtIOFadump),
        VMSTATE_UINT32(nr_boots, VirtIOFadump),
        VMSTATE_UINT32(cause, VirtIOFadump),
        VMSTATE_UINT32(cause_cpu, VirtIOFadump),
        VMSTATE_BOOL(driver_seen, VirtIOFadump),
        VMSTATE_BOOL(notify_pending, VirtIOFadump),
        VMSTATE_BOOL(will_yield, VirtIOFadump),
        VMSTATE_TIMER_PTR(boot_timer, VirtIOFadump),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription * const []) {
        &vmstate_fadump_told,
        NULL
    },
};
