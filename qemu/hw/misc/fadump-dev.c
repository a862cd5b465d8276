/*
 * Firmware-assisted dump device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtio front: requests of the guest, the state machine, properties,
 * migration. Capturing is in fadump-capture.c, confining the next boot in the
 * machine's FadumpConfiner.
 *
 * The rule is PAPR's: a reset by the guest while something is registered is a
 * crash, for the guest unregisters before every reset that it wants.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-events-fadump.h"
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

/* Boot memory comes in units of what a Linux guest can hot-add. */
#define FADUMP_BLOCK_SIZE (128 * MiB)
/* Below this no distribution's initramfs unpacks. */
#define FADUMP_BOOT_MEM_MIN FADUMP_BLOCK_SIZE
/* What one unpacks in with room to save a dump. */
#define FADUMP_BOOT_MEM_DEFAULT (512 * MiB)
#define FADUMP_BOOT_MEM_PERCENT 5

#define FADUMP_VQ_SIZE 64

#define FADUMP_MAX_REQ_SIZE (sizeof(struct virtio_fadump_register) + \
                             FADUMP_MAX_REGIONS * \
                             sizeof(struct virtio_fadump_region))

static void fadump_set_state(VirtIOFadump *s, uint32_t state)
{
    trace_fadump_state(s->state, state);
    s->state = state;
}

/* The descriptor is in guest-visible memory: fw_cfg shows the same bytes. */
static void fadump_publish(VirtIOFadump *s)
{
    FWCfgState *fw_cfg = fw_cfg_find();

    if (fw_cfg) {
        fw_cfg_modify_file(fw_cfg, VIRTIO_FADUMP_FW_CFG_FILE,
                           fadump_hold_desc(&s->hold), s->desc_size);
    }
}

static void fadump_unregister(VirtIOFadump *s)
{
    s->vmcoreinfo = s->param = (FadumpRange) { 0 };
    s->nr_dests = 0;
    fadump_set_state(s, VIRTIO_FADUMP_STATE_IDLE);
}

/* Drop the dump that is held; the next boot has all memory. */
static void fadump_release(VirtIOFadump *s, FadumpReleaseReason reason)
{
    g_autofree char *id = qemu_uuid_unparse_strdup(&s->dump_id);

    s->desc_size = 0;
    s->nr_lost = 0;
    s->nr_boots = 0;
    fadump_publish(s);
    fadump_hold_drop(&s->hold);
    FADUMP_CONFINER_GET_CLASS(s->confiner)->lift(s->confiner);
    fadump_set_state(s, VIRTIO_FADUMP_STATE_IDLE);
    qapi_event_send_fadump_released(id, reason);
}

/* ------------------------------------------------------------------ */
/* Crashes and resets                                                 */

/* The ABI's numbers and the schema's order are the same. */
QEMU_BUILD_BUG_ON(FADUMP_CAUSE_UNKNOWN != VIRTIO_FADUMP_CAUSE_UNKNOWN ||
                  FADUMP_CAUSE_PANIC != VIRTIO_FADUMP_CAUSE_PANIC ||
                  FADUMP_CAUSE_WATCHDOG != VIRTIO_FADUMP_CAUSE_WATCHDOG ||
                  FADUMP_CAUSE_TRIPLE_FAULT !=
                  VIRTIO_FADUMP_CAUSE_TRIPLE_FAULT ||
                  FADUMP_CAUSE_GUEST_RESET != VIRTIO_FADUMP_CAUSE_GUEST_RESET ||
                  FADUMP_CAUSE_OPERATOR != VIRTIO_FADUMP_CAUSE_OPERATOR ||
                  FADUMP_CAUSE_HOST_RESET != VIRTIO_FADUMP_CAUSE_HOST_RESET ||
                  FADUMP_CAUSE_PVPANIC != VIRTIO_FADUMP_CAUSE_PVPANIC);
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
        [GUEST_CRASH_PANIC] = VIRTIO_FADUMP_CAUSE_PVPANIC,
        [GUEST_CRASH_WATCHDOG] = VIRTIO_FADUMP_CAUSE_WATCHDOG,
        [GUEST_CRASH_TRIPLE_FAULT] = VIRTIO_FADUMP_CAUSE_TRIPLE_FAULT,
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
        return VIRTIO_FADUMP_CAUSE_GUEST_RESET;
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
    if (fadump_ranges_size(s->boot) < fadump_ranges_size(s->ram_map)) {
        FADUMP_CONFINER_GET_CLASS(s->confiner)->confine(s->confiner, s->boot);
    }
}

static void fadump_crash(VirtIOFadump *s, uint32_t cause)
{
    g_autoptr(FadumpDumpInfo) info = NULL;
    Error *err = NULL;

    s->nr_lost = 0;
    s->nr_boots = 0;
    if (!fadump_capture(s, cause, s->pending_cpu, &err)) {
        /* a plain reset then: nothing is held, nothing is confined */
        trace_fadump_capture_failed(cause, error_get_pretty(err));
        qapi_event_send_fadump_failed(cause, error_get_pretty(err));
        error_reportf_err(err, "fadump-dev: the crash is not captured: ");
        fadump_unregister(s);
        return;
    }
    s->vmcoreinfo = s->param = (FadumpRange) { 0 };
    s->nr_dests = 0;
    fadump_publish(s);
    fadump_confine(s);
    fadump_set_state(s, VIRTIO_FADUMP_STATE_DUMP_AVAILABLE);
    info = virtio_fadump_dump_info(s);
    qapi_event_send_fadump_captured(info);
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
        }
    }
    s->boot_counted = false;
    s->announced = false;
    s->crash_lost = false;
    s->pending_cause = VIRTIO_FADUMP_CAUSE_UNKNOWN;
    s->pending_cpu = VIRTIO_FADUMP_CPU_NONE;
}

/* A registration dies with the kernel that made it, a dump does not. */
static void virtio_fadump_reset(VirtIODevice *vdev)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);

    s->event_pending = false;
    if (s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        fadump_unregister(s);
    }
}

/* ------------------------------------------------------------------ */
/* Event queue                                                        */

/* Tell the driver that the host released the dump, as soon as it can be. */
static void fadump_send_event(VirtIOFadump *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    g_autofree VirtQueueElement *elem = NULL;
    struct virtio_fadump_event event = {
        .type = cpu_to_le32(VIRTIO_FADUMP_EVENT_RELEASED),
        .state = cpu_to_le32(s->state),
    };
    size_t size;

    if (!s->event_pending || !vdev->vm_running ||
        !(vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        return;
    }
    elem = virtqueue_pop(s->event_vq, sizeof(VirtQueueElement));
    if (!elem) {
        return;
    }
    size = iov_size(elem->in_sg, elem->in_num);
    if (size < sizeof(event)) {
        virtio_error(vdev, "fadump-dev: %zu bytes for an event, expected at "
                     "least %zu", size, sizeof(event));
        virtqueue_detach_element(s->event_vq, elem, 0);
        return;
    }
    memcpy(event.dump_id, s->dump_id.data, sizeof(event.dump_id));
    iov_from_buf(elem->in_sg, elem->in_num, 0, &event, sizeof(event));
    virtqueue_push(s->event_vq, elem, sizeof(event));
    virtio_notify(vdev, s->event_vq);
    s->event_pending = false;
    trace_fadump_send_event(VIRTIO_FADUMP_EVENT_RELEASED);
}

static void virtio_fadump_handle_event(VirtIODevice *vdev, VirtQueue *vq)
{
    fadump_send_event(VIRTIO_FADUMP(vdev));
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
    return true;
}

bool virtio_fadump_host_release(VirtIOFadump *s, Error **errp)
{
    if (!fadump_check_held(s, errp)) {
        return false;
    }
    fadump_release(s, FADUMP_RELEASE_REASON_HOST);
    if (virtio_vdev_has_feature(VIRTIO_DEVICE(s), VIRTIO_FADUMP_F_EVENTS)) {
        s->event_pending = true;
        fadump_send_event(s);
    }
    return true;
}

/* ------------------------------------------------------------------ */
/* Control queue                                                      */

static uint32_t fadump_bad_region(uint32_t i,
                                  const struct virtio_fadump_region *r,
                                  uint64_t *detail, const char *why)
{
    qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: region %" PRIu32 " (type %"
                  PRIu32 ", src 0x%" PRIx64 ", len 0x%" PRIx64 ", dst 0x%"
                  PRIx64 "): %s\n", i, le32_to_cpu(r->type),
                  le64_to_cpu(r->src), le64_to_cpu(r->len),
                  le64_to_cpu(r->dst), why);
    *detail = i;
    return VIRTIO_FADUMP_S_BAD_REGION;
}

/* Why the guest may not have boot memory at @src put to @dst, or NULL. */
static const char *fadump_check_dest(VirtIOFadump *s, const FadumpRange *src,
                                     uint64_t dst, const FadumpDest *others,
                                     uint32_t n)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    FadumpRange range = { dst, src->size };
    uint32_t i;

    if (dst == VIRTIO_FADUMP_DST_HOST) {
        return virtio_vdev_has_feature(vdev, VIRTIO_FADUMP_F_HOST_MEM) ?
               NULL : "destination in the host, without HOST_MEM";
    }
    if (!virtio_vdev_has_feature(vdev, VIRTIO_FADUMP_F_GUEST_MEM)) {
        return "destination in the guest, without GUEST_MEM";
    }
    if (dst % VIRTIO_FADUMP_PAGE_SIZE) {
        return "destination not page aligned";
    }
    if (!fadump_ranges_contain(s->ram_map, &range)) {
        return "destination outside RAM";
    }
    if (dst < s->boot_top) {
        return "destination in boot memory";
    }
    for (i = 0; i < s->boot->len; i++) {
        if (fadump_range_overlaps(&g_array_index(s->boot, FadumpRange, i),
                                  &range)) {
            return "destination in boot memory";
        }
    }
    for (i = 0; i < n; i++) {
        FadumpRange other = { others[i].dst, others[i].src.size };

        if (fadump_range_overlaps(&other, &range)) {
            return "destination overlaps another";
        }
    }
    return NULL;
}

static bool fadump_overlaps_any(const GArray *ranges, const FadumpRange *r)
{
    guint i;

    for (i = 0; i < ranges->len; i++) {
        if (fadump_range_overlaps(&g_array_index(ranges, FadumpRange, i), r)) {
            return true;
        }
    }
    return false;
}

/* Check all regions, then take them: a bad one leaves everything as it was. */
static uint32_t fadump_register_regions(VirtIOFadump *s,
                                        const struct virtio_fadump_region *r,
                                        uint32_t n, uint64_t *detail)
{
    g_autoptr(GArray) boot = g_array_new(false, false, sizeof(FadumpRange));
    g_autofree FadumpDest *dests = g_new(FadumpDest, n);
    FadumpRange vmcoreinfo = { 0 }, param = { 0 };
    uint32_t nr_dests = 0;
    bool cpu_state = false;
    const char *why;
    uint32_t i;

    for (i = 0; i < n; i++, r++) {
        FadumpRange range = { le64_to_cpu(r->src), le64_to_cpu(r->len) };
        uint32_t type = le32_to_cpu(r->type);
        FadumpRange *bytes = NULL;
        uint64_t max = 0;

        if (r->reserved) {
            return fadump_bad_region(i, r, detail, "reserved field not 0");
        }
        switch (type) {
        case VIRTIO_FADUMP_REGION_CPU_STATE:
            if (cpu_state || range.base || range.size || r->dst) {
                return fadump_bad_region(i, r, detail,
                                         "expected one, with no addresses");
            }
            cpu_state = true;
            break;
        case VIRTIO_FADUMP_REGION_BOOT_MEM:
            if ((range.base | range.size) % VIRTIO_FADUMP_PAGE_SIZE) {
                return fadump_bad_region(i, r, detail, "not page aligned");
            }
            if (!fadump_range_valid(&range) ||
                range.base + range.size > s->boot_top) {
                return fadump_bad_region(i, r, detail, "outside boot memory");
            }
            if (fadump_overlaps_any(boot, &range)) {
                return fadump_bad_region(i, r, detail, "overlaps another");
            }
            why = fadump_check_dest(s, &range, le64_to_cpu(r->dst), dests,
                                    nr_dests);
            if (why) {
                return fadump_bad_region(i, r, detail, why);
            }
            g_array_append_val(boot, range);
            if (le64_to_cpu(r->dst) != VIRTIO_FADUMP_DST_HOST) {
                dests[nr_dests].src = range;
                dests[nr_dests++].dst = le64_to_cpu(r->dst);
            }
            break;
        case VIRTIO_FADUMP_REGION_VMCOREINFO:
            bytes = &vmcoreinfo;
            max = VIRTIO_FADUMP_VMCOREINFO_MAX;
            break;
        case VIRTIO_FADUMP_REGION_PARAM:
            bytes = &param;
            max = VIRTIO_FADUMP_PARAM_MAX;
            break;
        default:
            qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: region %" PRIu32
                          " has unknown type %" PRIu32 "\n", i, type);
            *detail = type;
            return VIRTIO_FADUMP_S_UNSUPPORTED;
        }
        if (bytes) {
            if (bytes->size) {
                return fadump_bad_region(i, r, detail, "second of its type");
            }
            if (r->dst) {
                return fadump_bad_region(i, r, detail, "has a destination");
            }
            if (range.size > max ||
                !fadump_ranges_contain(s->ram_map, &range)) {
                return fadump_bad_region(i, r, detail,
                                         "too long, or outside RAM");
            }
            *bytes = range;
        }
    }

    if (!cpu_state) {
        *detail = VIRTIO_FADUMP_REGION_CPU_STATE;
        return VIRTIO_FADUMP_S_MISSING_REGION;
    }
    fadump_ranges_normalize(boot);
    for (i = 0; i < s->boot->len; i++) {
        FadumpRange b = g_array_index(s->boot, FadumpRange, i);

        /* what is above goes to the host: the guest is not told of it */
        b.size = MIN(b.size, s->boot_top - MIN(b.base, s->boot_top));
        if (b.size && !fadump_ranges_contain(boot, &b)) {
            qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: the boot memory "
                          "regions do not cover [0x%" PRIx64 ", +0x%" PRIx64
                          ")\n", b.base, b.size);
            *detail = VIRTIO_FADUMP_REGION_BOOT_MEM;
            return VIRTIO_FADUMP_S_MISSING_REGION;
        }
    }

    s->vmcoreinfo = vmcoreinfo;
    s->param = param;
    s->nr_dests = nr_dests;
    memcpy(s->dests, dests, nr_dests * sizeof(*dests));
    s->announced = false;
    fadump_set_state(s, VIRTIO_FADUMP_STATE_REGISTERED);
    qapi_event_send_fadump_registered();
    return VIRTIO_FADUMP_S_OK;
}

/* @out_size: bytes of the request, of which @buf has the first @size. */
static uint32_t fadump_register(VirtIOFadump *s, const uint8_t *buf,
                                size_t size, size_t out_size,
                                uint64_t *detail)
{
    const struct virtio_fadump_register *reg = (const void *)buf;
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    uint32_t n;

    if (s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        return VIRTIO_FADUMP_S_BUSY;
    }
    if (s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        return VIRTIO_FADUMP_S_EXISTS;
    }
    if (!(virtio_vdev_has_feature(vdev, VIRTIO_FADUMP_F_HOST_MEM) ||
          virtio_vdev_has_feature(vdev, VIRTIO_FADUMP_F_GUEST_MEM)) ||
        !virtio_vdev_has_feature(vdev, VIRTIO_FADUMP_F_CONFINE)) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: REGISTER needs the "
                      "features CONFINE, and HOST_MEM or GUEST_MEM\n");
        return VIRTIO_FADUMP_S_FAILED;
    }
    if (size < sizeof(*reg) || reg->reserved) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    n = le32_to_cpu(reg->nr_regions);
    if (n > FADUMP_MAX_REGIONS) {
        *detail = FADUMP_MAX_REGIONS;
        return VIRTIO_FADUMP_S_TOO_MANY;
    }
    /* so many regions fit in @buf */
    if (out_size != sizeof(*reg) + n * sizeof(reg->regions[0])) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    return fadump_register_regions(s, reg->regions, n, detail);
}

/* Free what the window holds of the crashed machine's [@addr, @addr + @len). */
static void fadump_discard_range(VirtIOFadump *s, uint64_t addr, uint64_t len)
{
    const uint8_t *desc = fadump_hold_desc(&s->hold);
    const struct virtio_fadump_desc *h = (const void *)desc;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r =
            (const void *)(desc + le64_to_cpu(h->ranges_off) +
                           (uint64_t)i * le32_to_cpu(h->range_size));
        uint64_t base = le64_to_cpu(r->addr);
        uint64_t start = MAX(addr, base);
        uint64_t end = MIN(addr + len, base + le64_to_cpu(r->len));

        if (le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_SHM && start < end) {
            fadump_hold_discard(&s->hold,
                                le64_to_cpu(r->dest) + (start - base),
                                end - start);
        }
    }
}

/* @out_size: bytes of the request, of which @buf has the first @size. */
static uint32_t fadump_discard(VirtIOFadump *s, const uint8_t *buf,
                               size_t size, size_t out_size)
{
    const struct virtio_fadump_discard *req = (const void *)buf;
    FadumpRange range;

    if (!virtio_vdev_has_feature(VIRTIO_DEVICE(s), VIRTIO_FADUMP_F_DISCARD)) {
        return VIRTIO_FADUMP_S_UNSUPPORTED;
    }
    if (size < sizeof(*req) || out_size != sizeof(*req)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    range.base = le64_to_cpu(req->addr);
    range.size = le64_to_cpu(req->len);
    if ((range.base | range.size) % VIRTIO_FADUMP_PAGE_SIZE ||
        !fadump_range_valid(&range)) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: cannot discard [0x%" PRIx64
                      ", +0x%" PRIx64 ")\n", range.base, range.size);
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    if (s->state != VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        return VIRTIO_FADUMP_S_NONE;
    }
    if (fadump_save_active(s->save)) {
        return VIRTIO_FADUMP_S_BUSY;
    }
    trace_fadump_discard(range.base, range.size);
    fadump_discard_range(s, range.base, range.size);
    return VIRTIO_FADUMP_S_OK;
}

/* @out_size: bytes of the request, of which @buf has the first @size. */
static uint32_t fadump_request(VirtIOFadump *s, const uint8_t *buf,
                               size_t size, size_t out_size, size_t in_size,
                               uint32_t *type, uint64_t *detail)
{
    const struct virtio_fadump_req *req = (const void *)buf;

    *type = 0;
    if (size < sizeof(*req) || le32_to_cpu(req->size) != out_size ||
        le16_to_cpu(req->version) != VIRTIO_FADUMP_VERSION) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    *type = le16_to_cpu(req->type);
    if (*type == VIRTIO_FADUMP_REQ_REGISTER) {
        return fadump_register(s, buf, size, out_size, detail);
    }
    if (*type == VIRTIO_FADUMP_REQ_DISCARD) {
        uint32_t status = fadump_discard(s, buf, size, out_size);

        *detail = status == VIRTIO_FADUMP_S_UNSUPPORTED ? *type : 0;
        return status;
    }
    if (*type < VIRTIO_FADUMP_REQ_REGISTER ||
        *type > VIRTIO_FADUMP_REQ_RELEASE) {
        *detail = *type;
        return VIRTIO_FADUMP_S_UNSUPPORTED;
    }
    if (out_size != sizeof(*req)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    if (*type == VIRTIO_FADUMP_REQ_UNREGISTER) {
        if (s->state != VIRTIO_FADUMP_STATE_REGISTERED) {
            return VIRTIO_FADUMP_S_NONE;
        }
        s->announced = true;
        fadump_unregister(s);
        return VIRTIO_FADUMP_S_OK;
    }
    if (s->state != VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        return VIRTIO_FADUMP_S_NONE;
    }
    if (*type == VIRTIO_FADUMP_REQ_RELEASE) {
        if (fadump_save_active(s->save)) {
            return VIRTIO_FADUMP_S_BUSY;
        }
        fadump_release(s, FADUMP_RELEASE_REASON_GUEST);
    } else if (in_size < sizeof(struct virtio_fadump_resp) + s->desc_size) {
        *detail = sizeof(struct virtio_fadump_resp) + s->desc_size;
        return VIRTIO_FADUMP_S_NO_SPACE;
    }
    return VIRTIO_FADUMP_S_OK;
}

static void virtio_fadump_handle_ctrl(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    g_autofree uint8_t *buf = g_malloc(FADUMP_MAX_REQ_SIZE);
    g_autofree VirtQueueElement *elem = NULL;

    while ((elem = virtqueue_pop(vq, sizeof(VirtQueueElement)))) {
        struct virtio_fadump_resp resp = { 0 };
        size_t out_size = iov_size(elem->out_sg, elem->out_num);
        size_t in_size = iov_size(elem->in_sg, elem->in_num);
        size_t size, len;
        uint32_t type, status;
        uint64_t detail = 0;

        if (in_size < sizeof(resp)) {
            virtio_error(vdev, "fadump-dev: %zu bytes for an answer, expected "
                         "at least %zu", in_size, sizeof(resp));
            virtqueue_detach_element(vq, elem, 0);
            return;
        }
        size = iov_to_buf(elem->out_sg, elem->out_num, 0, buf,
                          FADUMP_MAX_REQ_SIZE);
        status = fadump_request(s, buf, size, out_size, in_size, &type,
                                &detail);
        trace_fadump_request(type, out_size, status, detail);
        if (status != VIRTIO_FADUMP_S_OK) {
            qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: request %" PRIu32
                          " of %zu bytes in state %" PRIu32 ": status %" PRIu32
                          ", detail 0x%" PRIx64 "\n", type, out_size, s->state,
                          status, detail);
        }
        resp.status = cpu_to_le32(status);
        resp.detail = cpu_to_le64(detail);
        len = sizeof(resp);
        if (status == VIRTIO_FADUMP_S_OK &&
            type == VIRTIO_FADUMP_REQ_GET_DESCRIPTOR) {
            resp.size = cpu_to_le32(s->desc_size);
            len += iov_from_buf(elem->in_sg, elem->in_num, len,
                                fadump_hold_desc(&s->hold),
                                s->desc_size);
        }
        iov_from_buf(elem->in_sg, elem->in_num, 0, &resp, sizeof(resp));
        virtqueue_push(vq, elem, len);
        virtio_notify(vdev, vq);
        g_free(g_steal_pointer(&elem));
    }
}

/* ------------------------------------------------------------------ */
/* Config space                                                       */

static void virtio_fadump_get_config(VirtIODevice *vdev, uint8_t *data)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    struct virtio_fadump_config config = {
        .version = cpu_to_le32(VIRTIO_FADUMP_VERSION),
        .state = cpu_to_le32(s->state),
        .boot_mem_size = cpu_to_le64(s->boot_top),
        .desc_size = cpu_to_le64(s->desc_size),
        .desc_size_max = cpu_to_le64(s->hold.desc_size),
        .max_regions = cpu_to_le32(FADUMP_MAX_REGIONS),
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
    } else if (trigger == VIRTIO_FADUMP_TRIGGER_DISARM &&
               s->state == VIRTIO_FADUMP_STATE_REGISTERED) {
        s->announced = true;
        fadump_unregister(s);
    } else {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: config write, trigger 0x%"
                      PRIx32 " in state %" PRIu32 "\n", trigger, s->state);
    }
}

static uint64_t virtio_fadump_get_features(VirtIODevice *vdev,
                                           uint64_t features, Error **errp)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);

    if (s->host_mem) {
        virtio_add_feature(&features, VIRTIO_FADUMP_F_HOST_MEM);
        virtio_add_feature(&features, VIRTIO_FADUMP_F_DISCARD);
    }
    /* where all is boot memory no destination is left */
    if (s->guest_mem && s->boot_mem != FADUMP_BOOT_MEM_FULL) {
        virtio_add_feature(&features, VIRTIO_FADUMP_F_GUEST_MEM);
    }
    virtio_add_feature(&features, VIRTIO_FADUMP_F_CONFINE);
    virtio_add_feature(&features, VIRTIO_FADUMP_F_EVENTS);
    return features;
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
    /* also when the machine starts to run again */
    fadump_send_event(s);
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

static bool fadump_plan_boot_memory(VirtIOFadump *s, Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    uint64_t size = s->boot_mem, left, ram;
    guint i;

    s->ram_map = fcc->ram_map(s->confiner);
    ram = fadump_ranges_size(s->ram_map);
    if (size == FADUMP_BOOT_MEM_FULL) {
        size = ram;
    } else if (!size) {
        size = MAX(FADUMP_BOOT_MEM_DEFAULT,
                   ram / 100 * FADUMP_BOOT_MEM_PERCENT);
        size = MIN(size, ram);
    }
    if (size > ram) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_PROP "=%" PRIu64 " MiB is more "
                   "than the guest's %" PRIu64 " MiB", size / MiB, ram / MiB);
        return false;
    }
    if (size < FADUMP_BOOT_MEM_MIN && size < ram) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_PROP "=%" PRIu64 " bytes is "
                   "too small to boot in; use at least %" PRIu64 "M", size,
                   (uint64_t)(FADUMP_BOOT_MEM_MIN / MiB));
        return false;
    }
    size = MIN(ROUND_UP(size, FADUMP_BLOCK_SIZE), ram);
    s->boot = fcc->prepare(s->confiner, size, errp);
    if (!s->boot) {
        return false;
    }

    left = size;
    for (i = 0; i < s->ram_map->len && left; i++) {
        const FadumpRange *r = &g_array_index(s->ram_map, FadumpRange, i);

        s->boot_top = r->base + MIN(r->size, left);
        left -= MIN(r->size, left);
    }
    return true;
}

static void fadump_machine_done(Notifier *notifier, void *data)
{
    VirtIOFadump *s = container_of(notifier, VirtIOFadump, machine_done);
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);

    /* RAM that cannot be captured now may be some day, by copying */
    if (runs) {
        fadump_hold_plan(&s->hold, runs, s->boot, fcc->firmware_end);
    }
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
    if (!s->host_mem && !s->guest_mem) {
        error_setg(errp, "boot memory has nowhere to go: "
                   VIRTIO_FADUMP_HOST_MEM_PROP " and "
                   VIRTIO_FADUMP_GUEST_MEM_PROP " are both off");
        return;
    }
    if (!s->host_mem && s->boot_mem == FADUMP_BOOT_MEM_FULL) {
        error_setg(errp, VIRTIO_FADUMP_BOOT_MEM_PROP "=full needs "
                   VIRTIO_FADUMP_HOST_MEM_PROP "=on: no RAM of the guest's is "
                   "left to hold the dump");
        return;
    }
    if (!fadump_check_machine(s, errp) || !fadump_plan_boot_memory(s, errp)) {
        return;
    }
    /* the odd ends of RAM above it are always held in the host: few bytes */
    if (!fadump_hold_init(&s->hold, OBJECT(s), fadump_capture_desc_max(),
                          s->boot, s->host_mem ? 0 : s->boot_top, errp)) {
        return;
    }
    if (fw_cfg) {
        fw_cfg_add_file(fw_cfg, VIRTIO_FADUMP_FW_CFG_FILE,
                        fadump_hold_desc(&s->hold), 0);
    }
    s->pending_cpu = VIRTIO_FADUMP_CPU_NONE;

    virtio_init(vdev, VIRTIO_ID_FADUMP, sizeof(struct virtio_fadump_config));
    s->ctrl_vq = virtio_add_queue(vdev, FADUMP_VQ_SIZE,
                                  virtio_fadump_handle_ctrl);
    s->event_vq = virtio_add_queue(vdev, FADUMP_VQ_SIZE,
                                   virtio_fadump_handle_event);

    s->reset_notifier.notify = fadump_system_reset;
    qemu_add_system_reset_notifier(&s->reset_notifier);
    s->crash_notifier.notify = fadump_guest_crash;
    qemu_add_guest_crash_notifier(&s->crash_notifier);
    s->machine_done.notify = fadump_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
}

static void virtio_fadump_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOFadump *s = VIRTIO_FADUMP(dev);

    qemu_remove_machine_init_done_notifier(&s->machine_done);
    qemu_remove_guest_crash_notifier(&s->crash_notifier);
    qemu_remove_system_reset_notifier(&s->reset_notifier);
    virtio_delete_queue(s->ctrl_vq);
    virtio_delete_queue(s->event_vq);
    virtio_cleanup(vdev);
}

static void virtio_fadump_finalize(Object *obj)
{
    VirtIOFadump *s = VIRTIO_FADUMP(obj);

    fadump_hold_destroy(&s->hold);
    g_clear_pointer(&s->ram_map, g_array_unref);
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

/* A destination that was registered on the other host, from the stream. */
static bool fadump_dest_ok(VirtIOFadump *s, uint32_t i)
{
    const FadumpDest *d = &s->dests[i];

    return !((d->src.base | d->src.size) % VIRTIO_FADUMP_PAGE_SIZE) &&
           fadump_range_valid(&d->src) &&
           d->src.base + d->src.size <= s->boot_top &&
           d->dst != VIRTIO_FADUMP_DST_HOST &&
           !fadump_check_dest(s, &d->src, d->dst, s->dests, i);
}

static int virtio_fadump_pre_save(void *opaque)
{
    VirtIOFadump *s = opaque;

    s->swapped = fadump_hold_get_swapped(&s->hold);
    return 0;
}

/* The stream is untrusted; RAM has been loaded before the device state. */
static int virtio_fadump_post_load(void *opaque, int version_id)
{
    VirtIOFadump *s = opaque;
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    bool held = s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
    Error *err = NULL;
    uint32_t i;

    if (s->state > VIRTIO_FADUMP_STATE_DUMP_AVAILABLE ||
        (!held && s->desc_size) || s->desc_size > s->hold.desc_size ||
        (s->vmcoreinfo.size &&
         (s->vmcoreinfo.size > VIRTIO_FADUMP_VMCOREINFO_MAX ||
          !fadump_ranges_contain(s->ram_map, &s->vmcoreinfo))) ||
        (s->param.size &&
         (s->param.size > VIRTIO_FADUMP_PARAM_MAX ||
          !fadump_ranges_contain(s->ram_map, &s->param)))) {
        error_report("fadump-dev: bad state %" PRIu32 ", descriptor of %"
                     PRIu64 " bytes in the stream", s->state, s->desc_size);
        return -EINVAL;
    }
    if (held && !fadump_desc_check(fadump_hold_desc(&s->hold),
                                   s->desc_size,
                                   memory_region_size(&s->hold.window),
                                   &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    for (i = 0; i < s->nr_dests; i++) {
        if (s->state != VIRTIO_FADUMP_STATE_REGISTERED ||
            !fadump_dest_ok(s, i)) {
            error_report("fadump-dev: bad destination %" PRIu32 ", 0x%" PRIx64
                         ", in the stream", i, s->dests[i].dst);
            return -EINVAL;
        }
    }
    if (!fadump_hold_set_swapped(&s->hold, s->swapped)) {
        error_report("fadump-dev: slots 0x%" PRIx64 " are swapped in the "
                     "stream, this machine has %" PRIu32, s->swapped,
                     s->hold.nr_slots);
        return -EINVAL;
    }
    fadump_publish(s);
    if (held) {
        fadump_confine(s);
    } else {
        fcc->lift(s->confiner);
    }
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
        VMSTATE_UINT64(src.base, FadumpDest),
        VMSTATE_UINT64(src.size, FadumpDest),
        VMSTATE_UINT64(dst, FadumpDest),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_virtio_fadump_device = {
    .name = "virtio-fadump-device",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = virtio_fadump_pre_save,
    .pre_load = virtio_fadump_pre_load,
    .post_load = virtio_fadump_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64_EQUAL(boot_top, VirtIOFadump,
                             "boot-mem differs between the two hosts"),
        VMSTATE_UINT32(state, VirtIOFadump),
        VMSTATE_UINT64(vmcoreinfo.base, VirtIOFadump),
        VMSTATE_UINT64(vmcoreinfo.size, VirtIOFadump),
        VMSTATE_UINT64(param.base, VirtIOFadump),
        VMSTATE_UINT64(param.size, VirtIOFadump),
        VMSTATE_UINT32(nr_dests, VirtIOFadump),
        VMSTATE_VALIDATE("nr_dests", virtio_fadump_nr_dests_ok),
        VMSTATE_STRUCT_VARRAY_UINT32(dests, VirtIOFadump, nr_dests, 1,
                                     vmstate_fadump_dest, FadumpDest),
        VMSTATE_UINT64(swapped, VirtIOFadump),
        VMSTATE_UINT64(desc_size, VirtIOFadump),
        VMSTATE_UINT8_ARRAY(dump_id.data, VirtIOFadump, 16),
        VMSTATE_UINT32(nr_lost, VirtIOFadump),
        VMSTATE_UINT32(nr_boots, VirtIOFadump),
        VMSTATE_BOOL(boot_counted, VirtIOFadump),
        VMSTATE_UINT32(pending_cause, VirtIOFadump),
        VMSTATE_UINT32(pending_cpu, VirtIOFadump),
        VMSTATE_BOOL(announced, VirtIOFadump),
        VMSTATE_BOOL(crash_lost, VirtIOFadump),
        VMSTATE_BOOL(event_pending, VirtIOFadump),
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

static const Property virtio_fadump_properties[] = {
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP, VirtIOFadump,
                     capture_host_reset, false),
    DEFINE_PROP_UINT32(VIRTIO_FADUMP_MAX_BOOTS_PROP, VirtIOFadump, max_boots,
                       3),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_EARLY_PROP, VirtIOFadump, early, false),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_HOST_MEM_PROP, VirtIOFadump, host_mem, true),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_GUEST_MEM_PROP, VirtIOFadump, guest_mem,
                     true),
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
