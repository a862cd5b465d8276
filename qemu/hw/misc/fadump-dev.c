/*
 * Firmware-assisted dump device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtio device and its properties. Its life is a table in fadump-life.c;
 * what happens to the machine is in fadump-events.c, requests of the guest in
 * fadump-ctrl.c, what the operator wants in fadump-qmp.c.
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/misc/fadump-dev.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "trace.h"

#define FADUMP_VQ_SIZE 64

/* ------------------------------------------------------------------ */
/* Config space                                                       */

uint32_t fadump_config_flags(const VirtIOFadump *s)
{
    return fadump_save_active(s->save) ? VIRTIO_FADUMP_CONFIG_F_READING : 0;
}

static void fadump_send_notification(VirtIOFadump *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    if (s->notify_pending && vdev->vm_running &&
        (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        s->notify_pending = false;
        trace_fadump_notify_config(fadump_state(s), fadump_config_flags(s));
        virtio_notify_config(vdev);
    }
}

void fadump_notify_config(VirtIOFadump *s)
{
    s->notify_pending = true;
    fadump_send_notification(s);
}

static void virtio_fadump_get_config(VirtIODevice *vdev, uint8_t *data)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    bool registered = fadump_state(s) == VIRTIO_FADUMP_STATE_REGISTERED;
    g_autoptr(GArray) boot = fadump_boot_of(s, registered ? s->boot_size
                                                          : s->boot_mem);
    struct virtio_fadump_config config = {
        .state = cpu_to_le32(fadump_state(s)),
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

static bool fadump_expect_yield(VirtIOFadump *s, bool expected)
{
    if (fadump_state(s) != VIRTIO_FADUMP_STATE_REGISTERED) {
        return false;
    }
    s->will_yield = expected;
    return true;
}

/* Runs in the vCPU that writes, which may be in NMI context in the guest. */
static void virtio_fadump_set_config(VirtIODevice *vdev, const uint8_t *data)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);
    struct virtio_fadump_config *config = (void *)vdev->config;
    uint32_t trigger = le32_to_cpu(config->trigger);
    bool done = false;

    /* so that a later write of one byte meets no bytes of this one */
    config->trigger = 0;
    trace_fadump_trigger(trigger, fadump_state(s));

    switch (trigger) {
    case VIRTIO_FADUMP_TRIGGER_PANIC:
        done = fadump_event_full(s, FADUMP_EVENT_PANIC,
                                 VIRTIO_FADUMP_CAUSE_PANIC, 0);
        break;
    case VIRTIO_FADUMP_TRIGGER_YIELD:
        done = fadump_event(s, FADUMP_EVENT_YIELD);
        break;
    case VIRTIO_FADUMP_TRIGGER_UNREGISTER:
        done = fadump_event(s, FADUMP_EVENT_UNREGISTER);
        break;
    case VIRTIO_FADUMP_TRIGGER_WILL_YIELD:
    case VIRTIO_FADUMP_TRIGGER_WONT_YIELD:
        done = fadump_expect_yield(s, trigger ==
                                   VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
        break;
    }
    if (!done) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: config write, trigger 0x%"
                      PRIx32 " in state %" PRIu32 "\n", trigger,
                      fadump_state(s));
    }
}

/* ------------------------------------------------------------------ */
/* The driver comes and goes                                          */

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
    s->driver_seen = true;
    fadump_event(s, FADUMP_EVENT_BOOTED);
    /* what is waiting: the caller would set it after this */
    vdev->status = status;
    fadump_send_notification(s);
}

static void virtio_fadump_reset(VirtIODevice *vdev)
{
    VirtIOFadump *s = VIRTIO_FADUMP(vdev);

    s->notify_pending = false;
    fadump_event(s, FADUMP_EVENT_DRIVER_RESET);
    fadump_driver_knows(s);
}

/* ------------------------------------------------------------------ */
/* Device                                                             */

static void virtio_fadump_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOFadump *s = VIRTIO_FADUMP(dev);
    FWCfgState *fw_cfg = fw_cfg_find();

    if (!fadump_plan(s, errp)) {
        return;
    }
    if (fw_cfg) {
        fw_cfg_add_file(fw_cfg, FADUMP_FW_CFG_FILE,
                        fadump_hold_desc(&s->hold), 0);
    }
    virtio_init(vdev, VIRTIO_ID_FADUMP, sizeof(struct virtio_fadump_config));
    s->ctrl_vq = virtio_add_queue(vdev, FADUMP_VQ_SIZE, fadump_handle_ctrl);
    fadump_events_init(s);
}

static void virtio_fadump_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOFadump *s = VIRTIO_FADUMP(dev);

    fadump_events_cleanup(s);
    fadump_plan_cleanup(s);
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
    if (full && DEVICE(s)->realized && !fadump_has_full_room(s, errp)) {
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
    DEFINE_PROP_ON_OFF_AUTO(VIRTIO_FADUMP_FULL_ROOM_PROP, VirtIOFadump,
                            full_room, ON_OFF_AUTO_AUTO),
    DEFINE_PROP_BOOL(VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP, VirtIOFadump,
                     capture_host_reset, false),
    DEFINE_PROP_UINT32(VIRTIO_FADUMP_MAX_BOOTS_PROP, VirtIOFadump, max_boots,
                       3),
    DEFINE_PROP_UINT32(VIRTIO_FADUMP_BOOT_TIMEOUT_PROP, VirtIOFadump,
                       boot_timeout, 600),
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
    object_class_property_set_description(klass,
        VIRTIO_FADUMP_FULL_ROOM_PROP,
        "Whether full can be switched on while the guest runs; takes address "
        "space (auto: where there is enough)");
    object_class_property_set_description(klass,
        VIRTIO_FADUMP_BOOT_TIMEOUT_PROP,
        "Seconds that a boot after a crash has until a driver is up or the "
        "host has saved the dump, before it counts and is reset (0: no limit)");
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
