/*
 * Firmware-assisted dump device: what happens to the machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Resets, crashes and the end of boot-timeout become events of the device's
 * life (fadump-life.c); what the table says is done here. Capturing is in
 * fadump-capture.c, confining the next boot in the machine's FadumpConfiner.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-events-fadump.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-dev.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/sysbus.h"
#include "migration/snapshot.h"
#include "system/hw_accel.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "trace.h"

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

/* ------------------------------------------------------------------ */
/* What the table's rows go by                                        */

static unsigned int fadump_conditions(const VirtIOFadump *s)
{
    return (s->early ? FADUMP_IF_EARLY : 0) |
           (s->driver_seen ? FADUMP_IF_DRIVER_SEEN : 0) |
           (s->nr_boots >= s->max_boots ? FADUMP_IF_SPENT : 0) |
           (fadump_save_active(s->save) ? FADUMP_IF_READING : 0) |
           (reboot_action == REBOOT_ACTION_SHUTDOWN ? FADUMP_IF_NO_REBOOT : 0) |
           (s->capture_host_reset ? FADUMP_IF_HOST_RESET_COUNTS : 0);
}

static bool fadump_vcpu_runs_os(VirtIOFadump *s, CPUState *cpu)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);

    return fcc->vcpu_runs(s->confiner, cpu) == FADUMP_VCPU_OS;
}

/* ------------------------------------------------------------------ */
/* What the table says                                                */

void fadump_set_boot(VirtIOFadump *s, uint64_t size)
{
    g_clear_pointer(&s->boot, g_array_unref);
    s->boot_size = size;
    s->boot = fadump_boot_of(s, size);
}

static void fadump_forget_regions(VirtIOFadump *s)
{
    s->vmcoreinfo = s->crash_note = (FadumpRange) { 0 };
    s->nr_dests = 0;
    s->will_yield = false;
}

void fadump_publish(VirtIOFadump *s)
{
    FWCfgState *fw_cfg = fw_cfg_find();

    /* the descriptor is in guest-visible memory: both show the same bytes */
    if (fw_cfg) {
        fw_cfg_modify_file(fw_cfg, FADUMP_FW_CFG_FILE,
                           fadump_hold_desc(&s->hold), s->desc_size);
    }
}

void fadump_show_window(VirtIOFadump *s, bool show)
{
    s->window_shown = show;
    memory_region_set_enabled(&s->hold.window, show);
}

uint64_t fadump_confined_to(const VirtIOFadump *s)
{
    /* where all RAM was set aside there is nothing to keep a boot off */
    return s->desc_size && !s->held_full &&
           fadump_ranges_size(s->boot) < fadump_ranges_size(s->ram_map) ?
           s->boot_size : 0;
}

void fadump_tell(VirtIOFadump *s, uint64_t size)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) boot = NULL;

    s->told = size;
    if (size) {
        boot = fadump_boot_of(s, size);
        fcc->confine(s->confiner, boot);
    } else {
        fcc->lift(s->confiner);
    }
}

/*
 * What firmware is told of changes at a reset only. And where RAM has moved,
 * of which firmware keeps some from the guest: nobody but firmware may see what
 * was there, and firmware may find nothing there that a guest could prepare.
 */
static void fadump_next_boot(VirtIOFadump *s)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    uint64_t size = fadump_confined_to(s);
    bool moves = fcc->clear_firmware_ram &&
                 (size != s->told || s->hold.swapped->len);

    if (moves) {
        fcc->clear_firmware_ram(s->confiner, false);
    }
    /* more than boot memory is not worth the time that copying it takes */
    fadump_hold_restore(&s->hold, s->boot_mem_max);
    if (size != s->told) {
        fadump_tell(s, size);
    }
    if (moves) {
        fcc->clear_firmware_ram(s->confiner, true);
    }
}

static int fadump_hold_device(DeviceState *dev, void *opaque)
{
    const bool *hold = opaque;
    VirtioDeviceClass *vdc;

    if (dev->realized && object_dynamic_cast(OBJECT(dev), TYPE_VIRTIO_DEVICE)) {
        vdc = VIRTIO_DEVICE_GET_CLASS(dev);
        if (vdc->hold) {
            vdc->hold(VIRTIO_DEVICE(dev), *hold);
        }
    }
    return 0;
}

/* Memory that can be plugged is kept as it is, or is the guest's again. */
static void fadump_hold_plugged(VirtIOFadump *s, bool hold)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);

    if (fcc->hide_dimms) {
        fcc->hide_dimms(s->confiner, hold);
    }
    qbus_walk_children(sysbus_get_default(), fadump_hold_device, NULL, NULL,
                       NULL, &hold);
}

void fadump_driver_knows(VirtIOFadump *s)
{
    if (!fadump_life_held(s->life)) {
        fadump_hold_plugged(s, false);
    }
}

static void fadump_tell_lost(VirtIOFadump *s, uint32_t cause)
{
    g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);
    g_autofree char *why = g_strdup_printf("dump %s is held", id);

    qapi_event_send_fadump_failed(cause, why);
}

static void fadump_release(VirtIOFadump *s, FadumpLifeEvent event)
{
    g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);
    FadumpReleaseReason reason = FADUMP_RELEASE_REASON_MAX_BOOTS;

    if (event == FADUMP_EVENT_RELEASE) {
        reason = FADUMP_RELEASE_REASON_GUEST;
    } else if (event == FADUMP_EVENT_HOST_RELEASE) {
        reason = FADUMP_RELEASE_REASON_HOST;
    } else {
        warn_report("fadump-dev: dump %s dropped: not released in %" PRIu32
                    " boots", id, s->nr_boots);
    }
    s->desc_size = 0;
    s->nr_lost = 0;
    s->nr_boots = 0;
    s->held_full = false;
    fadump_forget_regions(s);
    fadump_set_boot(s, s->boot_mem);
    fadump_publish(s);
    fadump_hold_drop(&s->hold);
    /* a driver that does not know of it yet has the memory mapped */
    if (event != FADUMP_EVENT_HOST_RELEASE ||
        !(VIRTIO_DEVICE(s)->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        fadump_hold_plugged(s, false);
    }
    qapi_event_send_fadump_released(id, reason);
}

static void fadump_blame(VirtIOFadump *s, uint32_t cause)
{
    s->cause = cause;
    s->cause_cpu = current_cpu ? current_cpu->cpu_index
                               : VIRTIO_FADUMP_CPU_NONE;
}

static void fadump_do_capture(VirtIOFadump *s)
{
    g_autoptr(FadumpDumpInfo) info = NULL;
    g_autofree char *full_error = NULL;
    bool full = s->full;
    Error *err = NULL;

    if (!fadump_capture(s, s->cause, s->cause_cpu, &full, &full_error, &err)) {
        trace_fadump_capture_failed(s->cause, error_get_pretty(err));
        qapi_event_send_fadump_failed(s->cause, error_get_pretty(err));
        error_reportf_err(err, "fadump-dev: the crash is not captured: ");
        fadump_event(s, FADUMP_EVENT_CAPTURE_FAILED);
        return;
    }
    fadump_forget_regions(s);
    s->held_full = full;
    fadump_show_window(s, true);
    fadump_publish(s);
    fadump_hold_plugged(s, true);
    fadump_event(s, FADUMP_EVENT_CAPTURED);
    info = virtio_fadump_dump_info(s);
    qapi_event_send_fadump_captured(info, full_error);
}

/*
 * Virtual time: it does not pass while the machine is stopped, and goes on
 * where it was on another host.
 */
static void fadump_start_timer(VirtIOFadump *s)
{
    if (s->boot_timeout) {
        timer_mod(s->boot_timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                                 fadump_boot_timeout_ns(s));
    }
}

static void fadump_do(VirtIOFadump *s, FadumpLifeEvent event, uint32_t cause,
                      unsigned int actions)
{
    if (actions & FADUMP_DO_FORGET) {
        fadump_forget_regions(s);
        fadump_set_boot(s, s->boot_mem);
    }
    if (actions & FADUMP_DO_BLAME) {
        fadump_blame(s, cause);
    }
    /* neither may begin anew at 0, and more than this says nothing more */
    if (actions & FADUMP_DO_COUNT_BOOT && s->nr_boots < UINT32_MAX) {
        s->nr_boots++;
        trace_fadump_confined_boot(s->nr_boots, s->max_boots);
    }
    if (actions & FADUMP_DO_COUNT_LOST && s->nr_lost < UINT32_MAX) {
        s->nr_lost++;
    }
    if (actions & FADUMP_DO_TELL_CRASHLOADED) {
        /* and not GUEST_PANICKED, at which libvirt ends or resets the guest */
        qemu_system_guest_crashloaded(NULL);
    }
    if (actions & FADUMP_DO_TELL_REGISTERED) {
        qapi_event_send_fadump_registered();
    }
    if (actions & FADUMP_DO_TELL_LOST) {
        fadump_tell_lost(s, cause);
    }
    if (actions & FADUMP_DO_RELEASE) {
        fadump_release(s, event);
    }
    if (actions & FADUMP_DO_HIDE_WINDOW) {
        fadump_show_window(s, false);
    }
    if (actions & FADUMP_DO_RESTART_TIMER) {
        fadump_start_timer(s);
    }
    if (actions & FADUMP_DO_REQUEST_RESET) {
        qemu_system_reset_request(event == FADUMP_EVENT_OPERATOR ?
                                  SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET :
                                  event == FADUMP_EVENT_TIMEOUT ?
                                  SHUTDOWN_CAUSE_GUEST_RESET :
                                  SHUTDOWN_CAUSE_GUEST_PANIC);
    }
    if (actions & FADUMP_DO_CAPTURE) {
        fadump_do_capture(s);
    }
}

const FadumpLifeRow *fadump_event_full(VirtIOFadump *s, FadumpLifeEvent event,
                                       uint32_t cause, unsigned int conditions)
{
    FadumpLife from = s->life, to;
    const FadumpLifeRow *row =
        fadump_life_find(from, event, conditions | fadump_conditions(s));

    if (!row) {
        return NULL;
    }
    to = fadump_life_next(from, row);
    trace_fadump_life(fadump_life_state_name(from),
                      fadump_life_event_name(event),
                      fadump_life_state_name(to), row->actions);
    s->life = to;
    if (fadump_life_abi_state(from) != fadump_life_abi_state(to)) {
        /* a driver may be reading config space */
        VIRTIO_DEVICE(s)->generation++;
    }
    if (!fadump_life_timer_runs(to)) {
        timer_del(s->boot_timer);
    } else if (!fadump_life_timer_runs(from)) {
        fadump_start_timer(s);
    }
    fadump_do(s, event, cause, row->actions);
    return row;
}

/* ------------------------------------------------------------------ */
/* What happens                                                       */

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
    const FadumpLifeRow *row;

    row = fadump_event_full(s, crash->kind == GUEST_CRASH_PANIC ?
                               FADUMP_EVENT_PANIC_DEVICE : FADUMP_EVENT_CRASH,
                            causes[crash->kind], 0);
    if (crash->kind == GUEST_CRASH_PANIC && row &&
        row->actions & FADUMP_DO_REQUEST_RESET) {
        crash->handled = true;
    }
}

/* vCPUs are paused and synchronized, no device has been reset yet. */
static void fadump_system_reset(Notifier *notifier, void *data)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, reset_notifier);
    ShutdownCause reason = *(ShutdownCause *)data;
    FadumpLifeEvent event = FADUMP_EVENT_OTHER_RESET;
    uint32_t cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    unsigned int conditions = 0;
    CPUState *cpu;

    switch (reason) {
    case SHUTDOWN_CAUSE_NONE:
    case SHUTDOWN_CAUSE_SNAPSHOT_LOAD:
        /* no boot of the guest's ends */
        return;
    case SHUTDOWN_CAUSE_GUEST_RESET:
    case SHUTDOWN_CAUSE_GUEST_PANIC:
        event = FADUMP_EVENT_GUEST_RESET;
        cause = VIRTIO_FADUMP_CAUSE_GUEST_RESET;
        break;
    case SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET:
    case SHUTDOWN_CAUSE_HOST_UI:
        event = FADUMP_EVENT_HOST_RESET;
        cause = VIRTIO_FADUMP_CAUSE_HOST_RESET;
        break;
    default:
        break;
    }
    CPU_FOREACH(cpu) {
        if (fadump_vcpu_runs_os(s, cpu)) {
            conditions = FADUMP_IF_OS_RUNS;
        }
    }
    if (conditions) {
        /* a boot with no driver is known to have come so far only now */
        fadump_event(s, FADUMP_EVENT_BOOTED);
    }
    fadump_event_full(s, event, cause, conditions);
    fadump_next_boot(s);
    s->cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    s->cause_cpu = VIRTIO_FADUMP_CPU_NONE;
}

typedef struct FadumpLook {
    VirtIOFadump *s;
    bool os_runs;
} FadumpLook;

static void fadump_look(CPUState *cpu, run_on_cpu_data data)
{
    FadumpLook *look = data.host_ptr;

    cpu_synchronize_state(cpu);
    look->os_runs |= fadump_vcpu_runs_os(look->s, cpu);
}

/* boot-timeout has passed. vCPUs run, and are interrupted to be looked at. */
static void fadump_boot_timeout(void *opaque)
{
    VirtIOFadump *s = opaque;
    FadumpLook look = { .s = s };
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        run_on_cpu(cpu, fadump_look, RUN_ON_CPU_HOST_PTR(&look));
    }
    /* the BQL was not held all that time */
    if (timer_pending(s->boot_timer)) {
        return;
    }
    if (fadump_event_full(s, FADUMP_EVENT_TIMEOUT, VIRTIO_FADUMP_CAUSE_UNKNOWN,
                          look.os_runs ? FADUMP_IF_OS_RUNS : 0) &&
        s->life == FADUMP_LIFE_HELD_DYING) {
        warn_report("fadump-dev: the boot after the crash has done nothing for "
                    "%" PRIu32 " s (" VIRTIO_FADUMP_BOOT_TIMEOUT_PROP
                    "), the machine is reset", s->boot_timeout);
    }
}

/*
 * The machine may come from another host, with a reset that was requested
 * there and has not happened.
 */
static void fadump_vm_state_change(void *opaque, bool running, RunState state)
{
    VirtIOFadump *s = opaque;

    if (running && fadump_life_reset_pending(s->life)) {
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

/* A dump that is being read must stay what it is: RAM would be replaced. */
static int fadump_snapshot_load(NotifierWithReturn *notifier, void *data,
                                Error **errp)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, snapshot_notifier);

    if (fadump_save_active(s->save)) {
        error_setg(errp, "a dump is being saved by fadump-save; wait, or use "
                   "fadump-save-cancel");
        return -EBUSY;
    }
    return 0;
}

void fadump_events_init(VirtIOFadump *s)
{
    s->life = FADUMP_LIFE_IDLE;
    s->cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    s->cause_cpu = VIRTIO_FADUMP_CPU_NONE;
    s->boot_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, fadump_boot_timeout, s);
    s->reset_notifier.notify = fadump_system_reset;
    qemu_add_system_reset_notifier(&s->reset_notifier);
    s->crash_notifier.notify = fadump_guest_crash;
    qemu_add_guest_crash_notifier(&s->crash_notifier);
    s->snapshot_notifier.notify = fadump_snapshot_load;
    snapshot_load_add_notifier(&s->snapshot_notifier);
    s->vm_change = qemu_add_vm_change_state_handler(fadump_vm_state_change, s);
}

void fadump_events_cleanup(VirtIOFadump *s)
{
    qemu_del_vm_change_state_handler(s->vm_change);
    snapshot_load_remove_notifier(&s->snapshot_notifier);
    qemu_remove_guest_crash_notifier(&s->crash_notifier);
    qemu_remove_system_reset_notifier(&s->reset_notifier);
    timer_free(s->boot_timer);
}
