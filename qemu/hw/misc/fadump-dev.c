/*
 * Firmware-assisted dump device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The state machine, config space, properties, migration. Requests of the guest
 * are in fadump-ctrl.c, capturing in fadump-capture.c, confining the next boot
 * in the machine's FadumpConfiner.
 *
 * The rule is PAPR's: a reset by the guest while something is registered is a
 * crash, for the guest unregisters before every reset that it wants.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-events-fadump.h"
#include "qapi/visitor.h"
#include "exec/address-spaces.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/qdev-properties.h"
#include "migration/blocker.h"
#include "migration/vmstate.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "system/system.h"
#include "trace.h"

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

#define FADUMP_VQ_SIZE 64

void fadump_set_state(VirtIOFadump *s, uint32_t state)
{
    trace_fadump_state(s->state, state);
    s->state = state;
    /* a driver may be reading config space */
    VIRTIO_DEVICE(s)->generation++;
}

/* The descriptor is in guest-visible memory: fw_cfg shows the same bytes. */
static void fadump_publish(VirtIOFadump *s)
{
    FWCfgState *fw_cfg = fw_cfg_find();

    if (fw_cfg) {
        fw_cfg_modify_file(fw_cfg, FADUMP_FW_CFG_FILE,
                           fadump_hold_desc(&s->hold), s->desc_size);
    }
}

static void fadump_show_window(VirtIOFadump *s, bool show)
{
    s->window_shown = show;
    memory_region_set_enabled(&s->hold.window, show);
}

static uint32_t fadump_config_flags(const VirtIOFadump *s)
{
    return fadump_save_active(s->save) ? VIRTIO_FADUMP_CONFIG_F_READING : 0;
}

/* Tell a driver that runs, with the guest, that the host has changed config. */
static void fadump_send_notification(VirtIOFadump *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    if (s->notify_pending && vdev->vm_running &&
        (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        s->notify_pending = false;
        trace_fadump_notify_config(s->state, fadump_config_flags(s));
        virtio_notify_config(vdev);
    }
}

static void fadump_notify_config(VirtIOFadump *s)
{
    s->notify_pending = true;
    fadump_send_notification(s);
}

/* ------------------------------------------------------------------ */
/* Boot memory, registration, release                                 */

uint64_t fadump_grant(const VirtIOFadump *s, uint64_t size)
{
    if (!size) {
        size = s->boot_mem;
    }
    return size < s->boot_mem_max ?
           MIN(ROUND_UP(size, s->block_size), s->boot_mem_max) :
           s->boot_mem_max;
}

GArray *fadump_boot_of(const VirtIOFadump *s, uint64_t size)
{
    return FADUMP_CONFINER_GET_CLASS(s->confiner)->boot_ranges(s->confiner,
                                                               size);
}

static void fadump_set_boot(VirtIOFadump *s, uint64_t size)
{
    g_clear_pointer(&s->boot, g_array_unref);
    s->boot_size = size;
    s->boot = fadump_boot_of(s, size);
}

static void fadump_forget_regions(VirtIOFadump *s)
{
    s->vmcoreinfo = s->crash_note = (FadumpRange) { 0 };
    s->nr_dests = 0;
    s->yielded = false;
}

void fadump_unregister(VirtIOFadump *s)
{
    fadump_forget_regions(s);
    fadump_set_boot(s, s->boot_mem);
    fadump_set_state(s, VIRTIO_FADUMP_STATE_IDLE);
}

void fadump_announce(VirtIOFadump *s)
{
    s->announced = true;
    fadump_unregister(s);
}

void fadump_release(VirtIOFadump *s, FadumpReleaseReason reason)
{
    g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);

    s->desc_size = 0;
    s->nr_lost = 0;
    s->nr_boots = 0;
    s->held_full = false;
    fadump_publish(s);
    /* processes of the guest may have it mapped, and learn of this later */
    if (reason != FADUMP_RELEASE_REASON_HOST) {
        fadump_show_window(s, false);
    }
    fadump_hold_drop(&s->hold);
    FADUMP_CONFINER_GET_CLASS(s->confiner)->lift(s->confiner);
    fadump_unregister(s);
    qapi_event_send_fadump_released(id, reason);
}

/* ------------------------------------------------------------------ */
/* Crashes and resets                                                 */

/* The ABI's numbers and the schema's order are the same. */
QEMU_BUILD_BUG_ON(FADUMP_CAUSE_UNKNOWN != VIRTIO_FADUMP_CAUSE_UNKNOWN ||
                  FADUMP_CAUSE_PANIC != VIRTIO_FADUMP_CAUSE_PANIC ||
                  FADUMP_CAUSE_WATCHDOG != VIRTIO_FADUMP_CAUSE_WATCHDOG ||
                  FADUMP_CAUSE_CPU_FAULT != VIRTIO_FADUMP_CAUSE_CPU_FAULT ||
                  FADUMP_CAUSE_GUEST_RESET != VIRTIO_FADUMP_CAUSE_GUEST_RESET ||
                  FADUMP_CAUSE_OPERATOR != VIRTIO_FADUMP_CAUSE_OPERATOR ||
                  FADUMP_CAUSE_HOST_RESET != VIRTIO_FADUMP_CAUSE_HOST_RESET ||
                  FADUMP_CAUSE_PANIC_DEVICE !=
                  VIRTIO_FADUMP_CAUSE_PANIC_DEVICE);
QEMU_BUILD_BUG_ON(FADUMP_STATE_IDLE != VIRTIO_FADUMP_STATE_IDLE ||
                  FADUMP_STATE_REGISTERED != VIRTIO_FADUMP_STATE_REGISTERED ||
                  FADUMP_STATE_DUMP_AVAILABLE !=
                  VIRTIO_FADUMP_STATE_DUMP_AVAILABLE);

bool virtio_fadump_armed_early(const VirtIOFadump *s)
{
    return s->early && !s->announced && s->state == VIRTIO_FADUMP_STATE_IDLE;
}

static bool fadump_armed(const VirtIOFadump *s)
{
    return s->state == VIRTIO_FADUMP_STATE_REGISTERED ||
           virtio_fadump_armed_early(s);
}

/* The next reset is a crash for this cause; the first that is named counts. */
static void fadump_blame(VirtIOFadump *s, uint32_t cause)
{
    if (!s->pending_cause) {
        s->pending_cause = cause;
        s->pending_cpu = current_cpu ? current_cpu->cpu_index
                                     : VIRTIO_FADUMP_CPU_NONE;
    }
}

/* A confined boot crashed. The dump that is held is the one that counts. */
static void fadump_lose(VirtIOFadump *s, uint32_t cause)
{
    g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);
    g_autofree char *why = g_strdup_printf("dump %s is held", id);

    s->crash_lost = true;
    qapi_event_send_fadump_failed(cause, why);
}

/* Devices and accelerators tell that the guest has died. */
static void fadump_guest_crash(Notifier *notifier, void *data)
{
    static const uint32_t causes[] = {
        [GUEST_CRASH_PANIC] = VIRTIO_FADUMP_CAUSE_PANIC_DEVICE,
        [GUEST_CRASH_WATCHDOG] = VIRTIO_FADUMP_CAUSE_WATCHDOG,
        [GUEST_CRASH_CPU_FAULT] = VIRTIO_FADUMP_CAUSE_CPU_FAULT,
    };
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, crash_notifier);
    GuestCrash *crash = data;
    bool held = s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;

    trace_fadump_guest_crash(crash->kind, s->state,
                             virtio_fadump_armed_early(s));
    /* without a reset there is no capture: the panic's own action is better */
    if ((!held && !fadump_armed(s)) ||
        reboot_action == REBOOT_ACTION_SHUTDOWN) {
        return;
    }
    if (held) {
        fadump_lose(s, causes[crash->kind]);
    } else {
        fadump_blame(s, causes[crash->kind]);
    }
    if (crash->kind == GUEST_CRASH_PANIC) {
        /* and not GUEST_PANICKED, at which libvirt ends or resets the guest */
        crash->handled = true;
        if (!held) {
            qemu_system_guest_crashloaded(NULL);
        }
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_PANIC);
    }
}

/* Whether this reset ends an operating system, and not firmware's work. */
static bool fadump_os_runs(VirtIOFadump *s)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (fcc->vcpu_runs(s->confiner, cpu) == FADUMP_VCPU_OS) {
            return true;
        }
    }
    return false;
}

/* VIRTIO_FADUMP_CAUSE_*, or UNKNOWN if this reset is no crash. */
static uint32_t fadump_cause_of_reset(VirtIOFadump *s, ShutdownCause reason)
{
    if (s->pending_cause) {
        return s->pending_cause;
    }
    if (s->state != VIRTIO_FADUMP_STATE_REGISTERED &&
        !(virtio_fadump_armed_early(s) && fadump_os_runs(s))) {
        return VIRTIO_FADUMP_CAUSE_UNKNOWN;
    }
    switch (reason) {
    case SHUTDOWN_CAUSE_GUEST_RESET:
    case SHUTDOWN_CAUSE_GUEST_PANIC:
        /* the crash kernel that took over may end its work with one */
        return s->yielded ? VIRTIO_FADUMP_CAUSE_UNKNOWN
                          : VIRTIO_FADUMP_CAUSE_GUEST_RESET;
    case SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET:
    case SHUTDOWN_CAUSE_HOST_UI:
        return s->capture_host_reset ? VIRTIO_FADUMP_CAUSE_HOST_RESET
                                     : VIRTIO_FADUMP_CAUSE_UNKNOWN;
    default:
        return VIRTIO_FADUMP_CAUSE_UNKNOWN;
    }
}

/* Where all RAM was set aside there is nothing to keep a boot off. */
static void fadump_confine(VirtIOFadump *s)
{
    if (!s->held_full &&
        fadump_ranges_size(s->boot) < fadump_ranges_size(s->ram_map)) {
        FADUMP_CONFINER_GET_CLASS(s->confiner)->confine(s->confiner, s->boot);
    }
}

static void fadump_crash(VirtIOFadump *s, uint32_t cause)
{
    g_autoptr(FadumpDumpInfo) info = NULL;
    g_autofree char *full_error = NULL;
    bool full = s->full;
    Error *err = NULL;

    s->nr_lost = 0;
    s->nr_boots = 0;
    if (!fadump_capture(s, cause, s->pending_cpu, &full, &full_error, &err)) {
        /* a plain reset then: nothing is held, nothing is confined */
        trace_fadump_capture_failed(cause, error_get_pretty(err));
        qapi_event_send_fadump_failed(cause, error_get_pretty(err));
        error_reportf_err(err, "fadump-dev: the crash is not captured: ");
        fadump_unregister(s);
        return;
    }
    fadump_forget_regions(s);
    s->held_full = full;
    fadump_show_window(s, true);
    fadump_publish(s);
    fadump_confine(s);
    fadump_set_state(s, VIRTIO_FADUMP_STATE_DUMP_AVAILABLE);
    info = virtio_fadump_dump_info(s);
    qapi_event_send_fadump_captured(info, full_error);
}

/* A boot counts once, if it has come as far as an operating system. */
static void fadump_count_boot(VirtIOFadump *s)
{
    if (!s->boot_counted) {
        s->boot_counted = true;
        s->nr_boots++;
        trace_fadump_confined_boot(s->nr_boots, s->max_boots);
    }
}

/* A boot with a dump held ends. */
static void fadump_confined_boot_ends(VirtIOFadump *s)
{
    /* one with no driver is counted now */
    if (s->crash_lost || fadump_os_runs(s)) {
        fadump_count_boot(s);
    }
    if (s->nr_boots >= s->max_boots && !fadump_save_active(s->save)) {
        g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);

        warn_report("fadump-dev: dump %s dropped: not released in %" PRIu32
                    " boots", id, s->nr_boots);
        fadump_release(s, FADUMP_RELEASE_REASON_MAX_BOOTS);
    }
}

/* vCPUs are paused and synchronized, no device has been reset yet. */
static void fadump_system_reset(Notifier *notifier, void *data)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, reset_notifier);
    ShutdownCause reason = *(ShutdownCause *)data;

    if (reason == SHUTDOWN_CAUSE_NONE ||
        reason == SHUTDOWN_CAUSE_SNAPSHOT_LOAD) {
        return;
    }
    if (s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        trace_fadump_reset(s->state, reason, s->pending_cause);
        fadump_confined_boot_ends(s);
    } else {
        uint32_t cause = fadump_cause_of_reset(s, reason);

        trace_fadump_reset(s->state, reason, cause);
        if (cause != VIRTIO_FADUMP_CAUSE_UNKNOWN) {
            fadump_crash(s, cause);
        } else if (s->yielded) {
            fadump_unregister(s);
        }
    }
    if (s->window_shown && s->state != VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        fadump_show_window(s, false);
    }
    /* more than boot memory is not worth the time that copying it takes */
    fadump_hold_restore(&s->hold, s->boot_mem_max);
    s->boot_counted = false;
    s->announced = false;
    s->crash_lost = false;
    s->pending_cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    s->pending_cpu = VIRTIO_FADUMP_CPU_NONE;
}

/*
 * A registration dies with the kernel that made it, unless a crash kernel has
 * taken over: that one may die, too. A dump does not.
 */
static void virtio_fadump_reset(VirtIODevice *vdev)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);

    s->notify_pending = false;
    if (s->state == VIRTIO_FADUMP_STATE_REGISTERED && !s->yielded) {
        fadump_unregister(s);
    }
}

/*
 * The machine comes from another host, with a reset that was requested there
 * and has not happened.
 */
static void fadump_vm_state_change(void *opaque, bool running, RunState state)
{
    VirtIOFadump *s = opaque;

    if (running && s->pending_cause) {
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

/* ------------------------------------------------------------------ */
/* The operator                                                       */

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
    if (s->state != VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
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

bool virtio_fadump_trigger(VirtIOFadump *s, Error **errp)
{
    if (s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
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
    fadump_blame(s, VIRTIO_FADUMP_CAUSE_OPERATOR);
    qemu_system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

/* The thread that wrote the file has ended. */
static void fadump_saved(void *opaque)
{
    VirtIOFadump *s = opaque;
    g_autoptr(FadumpSaveInfo) info = fadump_save_info(s->save);

    migrate_del_blocker(&s->save_blocker);
    qapi_event_send_fadump_save_completed(info);
    fadump_notify_config(s);
}

bool virtio_fadump_save(VirtIOFadump *s, const char *protocol, Error **errp)
{
    g_autoptr(GArray) window = NULL;
    FadumpSave *save;

    if (!fadump_check_held(s, errp)) {
        return false;
    }
    /* the target host would not have the file */
    error_setg(&s->save_blocker, "a dump is being saved by fadump-save");
    if (migrate_add_blocker_internal(&s->save_blocker, errp) < 0) {
        return false;
    }
    window = fadump_hold_window(&s->hold);
    save = fadump_save_start(protocol, fadump_hold_desc(&s->hold), window,
                             fadump_saved, s, errp);
    if (!save) {
        migrate_del_blocker(&s->save_blocker);
        return false;
    }
    fadump_save_free(s->save);
    s->save = save;
    fadump_notify_config(s);
    return true;
}

bool virtio_fadump_host_release(VirtIOFadump *s, Error **errp)
{
    if (!fadump_check_held(s, errp)) {
        return false;
    }
    fadump_release(s, FADUMP_RELEASE_REASON_HOST);
    fadump_notify_config(s);
    return true;
}

/* ------------------------------------------------------------------ */
/* Config space                                                       */

static void virtio_fadump_get_config(VirtIODevice *vdev, uint8_t *data)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    bool registered = s->state == VIRTIO_FADUMP_STATE_REGISTERED;
    g_autoptr(GArray) boot = fadump_boot_of(s, registered ? s->boot_size
                                                          : s->boot_mem);
    struct virtio_fadump_config config = {
        .state = cpu_to_le32(s->state),
        .flags = cpu_to_le32(fadump_config_flags(s)),
        .max_regions = cpu_to_le32(FADUMP_MAX_REGIONS),
        .boot_mem = cpu_to_le64(fadump_ranges_size(boot)),
        .boot_mem_max = cpu_to_le64(s->boot_mem_max),
        .block_size = cpu_to_le64(s->block_size),
        .discard_size = cpu_to_le64(s->discard_size),
        .desc_size = cpu_to_le64(s->desc_size),
        .desc_size_max = cpu_to_le64(s->hold.desc_size),
        .window_addr = cpu_to_le64(s->window_addr),
        .window_len = cpu_to_le64(fadump_hold_window_size(&s->hold)),
        .nr_lost = cpu_to_le32(s->nr_lost),
        .nr_boots = cpu_to_le32(s->nr_boots),
    };

    memcpy(data, &config, sizeof(config));
}

static void fadump_trigger_panic(VirtIOFadump *s)
{
    if (s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        fadump_blame(s, VIRTIO_FADUMP_CAUSE_PANIC);
        /* and not GUEST_PANICKED, at which libvirt ends or resets the guest */
        qemu_system_guest_crashloaded(NULL);
    } else {
        s->nr_lost++;
        fadump_lose(s, VIRTIO_FADUMP_CAUSE_PANIC);
    }
    qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_PANIC);
}

/* Runs in the vCPU that writes, which may be in NMI context in the guest. */
static void virtio_fadump_set_config(VirtIODevice *vdev, const uint8_t *data)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    struct virtio_fadump_config *config = (void *)vdev->config;
    uint32_t trigger = le32_to_cpu(config->trigger);

    /* so that a later write of one byte meets no bytes of this one */
    config->trigger = 0;
    trace_fadump_trigger(trigger, s->state);

    if (trigger == VIRTIO_FADUMP_TRIGGER_PANIC &&
        s->state != VIRTIO_FADUMP_STATE_IDLE) {
        fadump_trigger_panic(s);
    } else if (trigger == VIRTIO_FADUMP_TRIGGER_YIELD &&
               s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        s->yielded = true;
    } else if (trigger == VIRTIO_FADUMP_TRIGGER_UNREGISTER &&
               s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        fadump_announce(s);
    } else {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: config write, trigger 0x%"
                      PRIx32 " in state %" PRIu32 "\n", trigger, s->state);
    }
}

static uint64_t virtio_fadump_get_features(VirtIODevice *vdev,
                                           uint64_t features, Error **errp)
{
    return features | VIRTIO_FADUMP(vdev)->host_features;
}

static void virtio_fadump_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);

    if (!(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        return;
    }
    if (s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        fadump_count_boot(s);
    }
    /* what is waiting: the caller would set it after this */
    vdev->status = status;
    fadump_send_notification(s);
}

/* ------------------------------------------------------------------ */
/* Device                                                             */

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

static bool fadump_init_window(VirtIOFadump *s, Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) room = g_array_new(false, false, sizeof(FadumpRange));

    if (fadump_offers(s, VIRTIO_FADUMP_F_HOST_MEM)) {
        g_array_unref(room);
        room = s->full ? g_array_copy(s->ram_map)
                       : fadump_boot_of(s, s->boot_mem_max);
    }
    if (!fadump_hold_init(&s->hold, OBJECT(s), fadump_capture_desc_max(), room,
                          errp)) {
        return false;
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

void fadump_prepare_move(VirtIOFadump *s)
{
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);

    if (runs) {
        fadump_hold_keep_from_ksm(&s->hold, runs,
                                  s->full ? s->ram_map : s->boot);
    }
}

static void fadump_machine_done(Notifier *notifier, void *data)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, machine_done);
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);

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

static void virtio_fadump_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOFadump *s = VIRTIO_FADUMP(dev);
    FWCfgState *fw_cfg = fw_cfg_find();

    if (!s->max_boots) {
        error_setg(errp, VIRTIO_FADUMP_MAX_BOOTS_PROP "=0 would drop every "
                   "dump before it can be saved; use at least 1");
        return;
    }
    if (!fadump_offers(s, VIRTIO_FADUMP_F_HOST_MEM) &&
        !fadump_offers(s, VIRTIO_FADUMP_F_GUEST_MEM)) {
        error_setg(errp, "boot memory has nowhere to go: "
                   VIRTIO_FADUMP_HOST_MEM_PROP " and "
                   VIRTIO_FADUMP_GUEST_MEM_PROP " are both off");
        return;
    }
    if (!fadump_offers(s, VIRTIO_FADUMP_F_HOST_MEM)) {
        if (s->full) {
            error_setg(errp, VIRTIO_FADUMP_FULL_PROP "=on needs "
                       VIRTIO_FADUMP_HOST_MEM_PROP "=on: no RAM of the "
                       "guest's is left to hold the dump");
            return;
        }
        virtio_clear_feature(&s->host_features, VIRTIO_FADUMP_F_DISCARD);
    }
    if (!fadump_check_machine(s, errp) || !fadump_plan_boot_mem(s, errp) ||
        !FADUMP_CONFINER_GET_CLASS(s->confiner)->prepare(s->confiner, errp) ||
        !fadump_init_window(s, errp)) {
        return;
    }
    s->nodes = fadump_numa_nodes(s->ram_map);
    if (fw_cfg) {
        fw_cfg_add_file(fw_cfg, FADUMP_FW_CFG_FILE,
                        fadump_hold_desc(&s->hold), 0);
    }
    s->pending_cpu = VIRTIO_FADUMP_CPU_NONE;
    /* until the machine's RAM is known */
    s->discard_size = qemu_real_host_page_size();

    virtio_init(vdev, VIRTIO_ID_FADUMP, sizeof(struct virtio_fadump_config));
    s->ctrl_vq = virtio_add_queue(vdev, FADUMP_VQ_SIZE, fadump_handle_ctrl);

    s->reset_notifier.notify = fadump_system_reset;
    qemu_add_system_reset_notifier(&s->reset_notifier);
    s->crash_notifier.notify = fadump_guest_crash;
    qemu_add_guest_crash_notifier(&s->crash_notifier);
    s->machine_done.notify = fadump_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
    s->vm_change = qemu_add_vm_change_state_handler(fadump_vm_state_change, s);
}

static void virtio_fadump_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOFadump *s = VIRTIO_FADUMP(dev);

    qemu_del_vm_change_state_handler(s->vm_change);
    qemu_remove_machine_init_done_notifier(&s->machine_done);
    qemu_remove_guest_crash_notifier(&s->crash_notifier);
    qemu_remove_system_reset_notifier(&s->reset_notifier);
    virtio_delete_queue(s->ctrl_vq);
    virtio_cleanup(vdev);
}

static void virtio_fadump_finalize(Object *obj)
{
    VirtIOFadump *s = VIRTIO_FADUMP(obj);

    fadump_hold_destroy(&s->hold);
    g_clear_pointer(&s->ram_map, g_array_unref);
    g_clear_pointer(&s->nodes, g_array_unref);
    g_clear_pointer(&s->boot, g_array_unref);
}

/* What is loaded replaces what is being saved. */
static int virtio_fadump_pre_load(void *opaque)
{
    VirtIOFadump *s = opaque;

    if (fadump_save_active(s->save)) {
        fadump_save_cancel(s->save);
    }
    return 0;
}

/* What follows checks a state from the stream, which is untrusted. */

static bool fadump_load_state_ok(VirtIOFadump *s, Error **errp)
{
    bool held = s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
    bool registered = s->state == VIRTIO_FADUMP_STATE_REGISTERED;

    if (s->state > VIRTIO_FADUMP_STATE_DUMP_AVAILABLE ||
        held != !!s->desc_size || s->desc_size > s->hold.desc_size ||
        (held && !s->window_shown) || (!held && s->held_full) ||
        (!registered && s->yielded) ||
        s->pending_cause > VIRTIO_FADUMP_CAUSE_PANIC_DEVICE) {
        error_setg(errp, "fadump-dev: bad state %" PRIu32 ", descriptor of %"
                   PRIu64 " bytes, cause %" PRIu32 " in the stream", s->state,
                   s->desc_size, s->pending_cause);
        return false;
    }
    if (!s->boot_size || fadump_grant(s, s->boot_size) != s->boot_size ||
        (s->state == VIRTIO_FADUMP_STATE_IDLE && s->boot_size != s->boot_mem)) {
        error_setg(errp, "fadump-dev: boot memory of %" PRIu64 " bytes in the "
                   "stream", s->boot_size);
        return false;
    }
    return true;
}

static bool fadump_load_note_ok(VirtIOFadump *s, const FadumpRange *r,
                                uint64_t max, Error **errp)
{
    if (r->size && (s->state != VIRTIO_FADUMP_STATE_REGISTERED ||
                    !fadump_note_region_ok(s, r, max))) {
        error_setg(errp, "fadump-dev: a note of %" PRIu64 " bytes at 0x%" PRIx64
                   " in the stream", r->size, r->base);
        return false;
    }
    return true;
}

static bool fadump_load_dests_ok(VirtIOFadump *s, Error **errp)
{
    uint32_t i;

    for (i = 0; i < s->nr_dests; i++) {
        const FadumpDest *d = &s->dests[i];

        if (s->state != VIRTIO_FADUMP_STATE_REGISTERED ||
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

/* RAM, with the descriptor, has been loaded before the device state. */
static bool fadump_load(VirtIOFadump *s, Error **errp)
{
    if (!fadump_load_state_ok(s, errp) ||
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
    return fadump_load_dests_ok(s, errp);
}

static int virtio_fadump_post_load(void *opaque, int version_id)
{
    VirtIOFadump *s = opaque;
    Error *err = NULL;

    if (!fadump_load(s, &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    fadump_hold_loaded(&s->hold, s->desc_size);
    fadump_show_window(s, s->window_shown);
    fadump_publish(s);
    /* what the machine had before, where a snapshot is loaded */
    FADUMP_CONFINER_GET_CLASS(s->confiner)->lift(s->confiner);
    if (s->desc_size) {
        fadump_confine(s);
    }
    fadump_prepare_move(s);
    return 0;
}

static bool virtio_fadump_nr_dests_ok(void *opaque, int version_id)
{
    VirtIOFadump *s = opaque;

    return s->nr_dests <= FADUMP_MAX_REGIONS;
}

static const VMStateDescription vmstate_fadump_range = {
    .name = "fadump-range",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(base, FadumpRange),
        VMSTATE_UINT64(size, FadumpRange),
        VMSTATE_END_OF_LIST()
    },
};

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

static const VMStateDescription vmstate_virtio_fadump_device = {
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
        VMSTATE_UINT32(state, VirtIOFadump),
        VMSTATE_UINT64(boot_size, VirtIOFadump),
        VMSTATE_STRUCT(vmcoreinfo, VirtIOFadump, 1, vmstate_fadump_range,
                       FadumpRange),
        VMSTATE_STRUCT(crash_note, VirtIOFadump, 1, vmstate_fadump_range,
                       FadumpRange),
        VMSTATE_UINT32(nr_dests, VirtIOFadump),
        VMSTATE_VALIDATE("nr_dests", virtio_fadump_nr_dests_ok),
        VMSTATE_STRUCT_VARRAY_UINT32(dests, VirtIOFadump, nr_dests, 1,
                                     vmstate_fadump_dest, FadumpDest),
        VMSTATE_BOOL(yielded, VirtIOFadump),
        VMSTATE_UINT64(desc_size, VirtIOFadump),
        VMSTATE_BOOL(held_full, VirtIOFadump),
        VMSTATE_BOOL(window_shown, VirtIOFadump),
        VMSTATE_UINT8_ARRAY(dump_id.data, VirtIOFadump, 16),
        VMSTATE_UINT32(nr_lost, VirtIOFadump),
        VMSTATE_UINT32(nr_boots, VirtIOFadump),
        VMSTATE_BOOL(boot_counted, VirtIOFadump),
        VMSTATE_UINT32(pending_cause, VirtIOFadump),
        VMSTATE_UINT32(pending_cpu, VirtIOFadump),
        VMSTATE_BOOL(announced, VirtIOFadump),
        VMSTATE_BOOL(crash_lost, VirtIOFadump),
        VMSTATE_BOOL(notify_pending, VirtIOFadump),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_virtio_fadump = {
    .name = "virtio-fadump",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_VIRTIO_DEVICE,
        VMSTATE_END_OF_LIST()
    },
};

static void get_full(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    visit_type_bool(v, name, &VIRTIO_FADUMP(obj)->full, errp);
}

/* Whoever runs the host knows what memory is free, while the guest runs too. */
static void set_full(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    VirtIOFadump *s = VIRTIO_FADUMP(obj);
    bool full;

    if (!visit_type_bool(v, name, &full, errp)) {
        return;
    }
    if (full && DEVICE(s)->realized &&
        !fadump_hold_has_room(&s->hold, s->ram_map)) {
        error_setg(errp, "the window has no room for all RAM; start the "
                   "machine with " VIRTIO_FADUMP_FULL_PROP "=on, then it can "
                   "be switched off and on");
        return;
    }
    s->full = full;
    if (full && DEVICE(s)->realized) {
        fadump_prepare_move(s);
    }
}

static const PropertyInfo prop_full = {
    .type = "bool",
    .description = "Set all RAM aside at a capture: the next boot has all of "
                   "it",
    .get = get_full,
    .set = set_full,
    .realized_set_allowed = true,
};

static const Property virtio_fadump_properties[] = {
    DEFINE_PROP_SIZE(VIRTIO_FADUMP_BOOT_MEM_PROP, VirtIOFadump, boot_mem, 0),
    DEFINE_PROP_SIZE(VIRTIO_FADUMP_BOOT_MEM_MAX_PROP, VirtIOFadump,
                     boot_mem_max, 0),
    DEFINE_PROP(VIRTIO_FADUMP_FULL_PROP, VirtIOFadump, full, prop_full, bool),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP, VirtIOFadump,
                     capture_host_reset, false),
    DEFINE_PROP_UINT32(VIRTIO_FADUMP_MAX_BOOTS_PROP, VirtIOFadump, max_boots,
                       3),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_EARLY_PROP, VirtIOFadump, early, false),
    DEFINE_PROP_BIT64(VIRTIO_FADUMP_HOST_MEM_PROP, VirtIOFadump, host_features,
                      VIRTIO_FADUMP_F_HOST_MEM, true),
    DEFINE_PROP_BIT64(VIRTIO_FADUMP_GUEST_MEM_PROP, VirtIOFadump, host_features,
                      VIRTIO_FADUMP_F_GUEST_MEM, true),
    DEFINE_PROP_BIT64(VIRTIO_FADUMP_CONFINE_PROP, VirtIOFadump, host_features,
                      VIRTIO_FADUMP_F_CONFINE, true),
    DEFINE_PROP_BIT64(VIRTIO_FADUMP_DISCARD_PROP, VirtIOFadump, host_features,
                      VIRTIO_FADUMP_F_DISCARD, true),
    DEFINE_PROP_BOOL("x-window-bar", VirtIOFadump, window_bar, false),
    /* off, both: boot memory is copied, for tests and to compare */
    DEFINE_PROP_BOOL("x-move", VirtIOFadump, hold.move, true),
    DEFINE_PROP_BOOL("x-swap", VirtIOFadump, hold.swap, true),
};

static void virtio_fadump_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    device_class_set_props(dc, virtio_fadump_properties);
    dc->vmsd = &vmstate_virtio_fadump;
    dc->hotpluggable = false;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);

    vdc->realize = virtio_fadump_realize;
    vdc->unrealize = virtio_fadump_unrealize;
    vdc->get_features = virtio_fadump_get_features;
    vdc->get_config = virtio_fadump_get_config;
    vdc->set_config = virtio_fadump_set_config;
    vdc->set_status = virtio_fadump_set_status;
    vdc->reset = virtio_fadump_reset;
    vdc->vmsd = &vmstate_virtio_fadump_device;

    object_class_property_set_description(klass, VIRTIO_FADUMP_BOOT_MEM_PROP,
        "Memory that the boot after a crash has (default: 512M, more with more "
        "than 64 vCPUs, or 5 % of RAM if that is more)");
    object_class_property_set_description(klass,
        VIRTIO_FADUMP_BOOT_MEM_MAX_PROP,
        "Most of it that the guest may ask for (default: boot-mem, or a "
        "quarter of RAM if that is more)");
    object_class_property_set_description(klass, VIRTIO_FADUMP_CONFINE_PROP,
        "Offer to confine the boot after a crash to boot memory");
    object_class_property_set_description(klass, VIRTIO_FADUMP_DISCARD_PROP,
        "Let the guest free what of a dump it has saved");
    object_class_property_set_description(klass, VIRTIO_FADUMP_HOST_MEM_PROP,
        "Set boot memory aside in host memory");
    object_class_property_set_description(klass, VIRTIO_FADUMP_GUEST_MEM_PROP,
        "Let the guest have boot memory set aside in its own RAM");
    object_class_property_set_description(klass,
        VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP,
        "Take a reset by the host (system_reset) for a crash too");
    object_class_property_set_description(klass, VIRTIO_FADUMP_MAX_BOOTS_PROP,
        "Boots after a crash that may leave the dump unreleased before it is "
        "dropped");
    object_class_property_set_description(klass, VIRTIO_FADUMP_EARLY_PROP,
        "Take crashes from power-on, before a driver registers");
}

static const TypeInfo virtio_fadump_types[] = {
    {
        .name = TYPE_VIRTIO_FADUMP,
        .parent = TYPE_VIRTIO_DEVICE,
        .instance_size = sizeof(VirtIOFadump),
        .instance_finalize = virtio_fadump_finalize,
        .class_init = virtio_fadump_class_init,
    },
};

DEFINE_TYPES(virtio_fadump_types)
