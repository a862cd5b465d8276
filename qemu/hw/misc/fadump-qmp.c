/*
 * Firmware-assisted dump: what the operator asks for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-fadump.h"
#include "qapi/qapi-events-fadump.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"
#include "migration/blocker.h"
#include "system/runstate.h"
#include "system/runstate-action.h"

/* ------------------------------------------------------------------ */
/* What is                                                            */

static VirtIOFadump *find_device(Error **errp)
{
    Object *obj = object_resolve_path_type("", TYPE_VIRTIO_FADUMP, NULL);

    if (!obj) {
        error_setg(errp, "the machine has no fadump-dev device");
        return NULL;
    }
    return VIRTIO_FADUMP(obj);
}

static void tell_vcpus(FadumpDumpInfo *info, const uint8_t *desc)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    uint32List **tail = &info->lost_registers;
    uint32_t i;

    info->vcpus = le32_to_cpu(h->nr_vcpus);
    for (i = 0; i < info->vcpus; i++) {
        uint32_t flags = le32_to_cpu(fadump_desc_vcpu(desc, i)->flags);

        if (flags & VIRTIO_FADUMP_VCPU_F_REGS_LOST) {
            QAPI_LIST_APPEND(tail, i);
        }
    }
}

static void tell_memory(FadumpDumpInfo *info, const uint8_t *desc)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r = fadump_desc_range(desc, i);

        info->memory += le64_to_cpu(r->held);
        if (le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW) {
            info->held += le64_to_cpu(r->held);
        }
        switch (le32_to_cpu(r->method)) {
        case VIRTIO_FADUMP_METHOD_MOVED:
            info->moved += le64_to_cpu(r->held);
            break;
        case VIRTIO_FADUMP_METHOD_SWAPPED:
            info->swapped += le64_to_cpu(r->held);
            break;
        case VIRTIO_FADUMP_METHOD_COPIED:
            info->copied += le64_to_cpu(r->held);
            break;
        }
    }
}

FadumpDumpInfo *virtio_fadump_dump_info(VirtIOFadump *s)
{
    /* the device wrote it, or checked it when it was loaded */
    const uint8_t *desc = fadump_hold_desc(&s->hold);
    const struct virtio_fadump_desc *h = (const void *)desc;
    FadumpDumpInfo *info = g_new0(FadumpDumpInfo, 1);

    info->id = qemu_uuid_unparse_strdup(&s->dump_id);
    /* a stream may hold causes of a newer QEMU's */
    info->cause = le32_to_cpu(h->cause) < FADUMP_CAUSE__MAX ?
                  le32_to_cpu(h->cause) : FADUMP_CAUSE_UNKNOWN;
    info->crash_cpu = le32_to_cpu(h->crash_cpu);
    info->has_crash_cpu = info->crash_cpu != VIRTIO_FADUMP_CPU_NONE;
    info->time_ns = le64_to_cpu(h->time_ns);
    info->capture_ns = le64_to_cpu(h->capture_ns);
    info->vmcoreinfo = h->vmcoreinfo.size;
    info->boots = s->nr_boots;
    info->lost = s->nr_lost;
    tell_vcpus(info, desc);
    tell_memory(info, desc);
    return info;
}

/* What the boot after a crash has, or this one, after the one that was. */
static uint64_t boot_mem(const VirtIOFadump *s)
{
    bool full = fadump_life_held(s->life) ? s->held_full : s->full;

    return fadump_ranges_size(full ? s->ram_map : s->boot);
}

FadumpInfo *qmp_query_fadump(Error **errp)
{
    VirtIOFadump *s = find_device(errp);
    FadumpInfo *info;

    if (!s) {
        return NULL;
    }
    info = g_new0(FadumpInfo, 1);
    info->state = fadump_state(s);
    info->early = s->early && s->life == FADUMP_LIFE_IDLE;
    info->will_yield = s->will_yield;
    info->yielded = s->life == FADUMP_LIFE_YIELDED;
    info->boot_mem = boot_mem(s);
    info->max_boots = s->max_boots;
    info->boot_timeout = s->boot_timeout;
    if (fadump_life_held(s->life)) {
        info->dump = virtio_fadump_dump_info(s);
    }
    if (s->save) {
        info->save = fadump_save_info(s->save);
    }
    return info;
}

/* ------------------------------------------------------------------ */
/* What is to be done                                                 */

/* Whether this host runs the machine, and its state is all here. */
static bool fadump_machine_is_ours(Error **errp)
{
    if (runstate_check(RUN_STATE_INMIGRATE) ||
        runstate_check(RUN_STATE_FINISH_MIGRATE) ||
        runstate_check(RUN_STATE_POSTMIGRATE)) {
        error_setg(errp, "not allowed while the machine is being migrated");
        return false;
    }
    return true;
}

static bool fadump_check_held(VirtIOFadump *s, Error **errp)
{
    if (!fadump_life_held(s->life)) {
        error_setg(errp, "no dump is held");
        return false;
    }
    if (fadump_save_active(s->save)) {
        error_setg(errp, "the dump is being saved; wait, or use "
                   "fadump-save-cancel");
        return false;
    }
    return fadump_machine_is_ours(errp);
}

static bool fadump_may_trigger(VirtIOFadump *s, Error **errp)
{
    if (fadump_life_held(s->life)) {
        error_setg(errp, "a dump is held; save it, then use fadump-release");
        return false;
    }
    if (!fadump_machine_is_ours(errp)) {
        return false;
    }
    if (runstate_check(RUN_STATE_PRELAUNCH) ||
        runstate_check(RUN_STATE_SHUTDOWN)) {
        error_setg(errp, "the guest does not run");
        return false;
    }
    /* no reset can come from these states, and QEMU would abort */
    if (runstate_check(RUN_STATE_SAVE_VM) ||
        runstate_check(RUN_STATE_RESTORE_VM)) {
        error_setg(errp, "the machine's state is being saved or loaded");
        return false;
    }
    if (reboot_action == REBOOT_ACTION_SHUTDOWN) {
        error_setg(errp, "with -no-reboot, or -action reboot=shutdown, the "
                   "guest would be shut down and not captured");
        return false;
    }
    return true;
}

void qmp_fadump_trigger(Error **errp)
{
    VirtIOFadump *s = find_device(errp);

    if (s && fadump_may_trigger(s, errp)) {
        fadump_event_full(s, FADUMP_EVENT_OPERATOR,
                          VIRTIO_FADUMP_CAUSE_OPERATOR, 0);
    }
}

/* The thread that wrote the file has ended. */
static void fadump_saved(void *opaque)
{
    VirtIOFadump *s = opaque;
    g_autoptr(FadumpSaveInfo) info = fadump_save_info(s->save);

    migrate_del_blocker(&s->save_blocker);
    if (info->status == FADUMP_SAVE_STATUS_COMPLETED) {
        fadump_event(s, FADUMP_EVENT_SAVED);
    }
    qapi_event_send_fadump_save_completed(info);
    fadump_notify_config(s);
}

void qmp_fadump_save(const char *protocol, Error **errp)
{
    VirtIOFadump *s = find_device(errp);
    g_autoptr(GArray) window = NULL;
    FadumpSave *save;

    if (!s || !fadump_check_held(s, errp)) {
        return;
    }
    /* the target host would not have the file */
    error_setg(&s->save_blocker, "a dump is being saved by fadump-save");
    if (migrate_add_blocker_internal(&s->save_blocker, errp) < 0) {
        return;
    }
    window = fadump_hold_window(&s->hold);
    save = fadump_save_start(protocol, fadump_hold_desc(&s->hold), window,
                             fadump_saved, s, errp);
    if (!save) {
        migrate_del_blocker(&s->save_blocker);
        return;
    }
    fadump_save_free(s->save);
    s->save = save;
    fadump_notify_config(s);
}

void qmp_fadump_save_cancel(Error **errp)
{
    VirtIOFadump *s = find_device(errp);

    if (!s) {
        return;
    }
    if (!fadump_save_active(s->save)) {
        error_setg(errp, "no dump is being saved");
        return;
    }
    fadump_save_cancel(s->save);
}

void qmp_fadump_release(Error **errp)
{
    VirtIOFadump *s = find_device(errp);

    if (s && fadump_check_held(s, errp)) {
        fadump_event(s, FADUMP_EVENT_HOST_RELEASE);
        fadump_notify_config(s);
    }
}
