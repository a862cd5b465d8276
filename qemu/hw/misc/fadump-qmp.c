/*
 * Firmware-assisted dump: QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-fadump.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"

static VirtIOFadump *find_device(Error **errp)
{
    Object *obj = object_resolve_path_type("", TYPE_VIRTIO_FADUMP, NULL);

    if (!obj) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "the machine has no fadump-dev device");
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
    info->time = le64_to_cpu(h->time_ns) / NANOSECONDS_PER_SECOND;
    info->capture_time = le64_to_cpu(h->capture_ns);
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
    bool full = s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE ? s->held_full
                                                               : s->full;

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
    info->state = s->state;
    info->early = virtio_fadump_armed_early(s);
    info->yielded = s->yielded;
    info->boot_mem = boot_mem(s);
    info->max_boots = s->max_boots;
    if (s->state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        info->dump = virtio_fadump_dump_info(s);
    }
    if (s->save) {
        info->save = fadump_save_info(s->save);
    }
    return info;
}

void qmp_fadump_trigger(Error **errp)
{
    VirtIOFadump *s = find_device(errp);

    if (s) {
        virtio_fadump_trigger(s, errp);
    }
}

void qmp_fadump_save(const char *protocol, Error **errp)
{
    VirtIOFadump *s = find_device(errp);

    if (s) {
        virtio_fadump_save(s, protocol, errp);
    }
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

    if (s) {
        virtio_fadump_host_release(s, errp);
    }
}
