/*
 * Firmware-assisted dump device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The firmware of a guest that dies keeps its memory: see
 * docs/specs/virtio-fadump.rst for the interface to the guest.
 */
#ifndef HW_MISC_FADUMP_DEV_H
#define HW_MISC_FADUMP_DEV_H

#include "hw/virtio/virtio.h"
#include "hw/misc/fadump-confiner.h"
#include "hw/misc/fadump-hold.h"
#include "hw/misc/fadump-range.h"
#include "hw/misc/fadump-save.h"
#include "qemu/notify.h"
#include "qemu/uuid.h"
#include "qom/object.h"
#include "standard-headers/linux/virtio_fadump.h"

#define TYPE_VIRTIO_FADUMP "virtio-fadump-device"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOFadump, VIRTIO_FADUMP)

#define VIRTIO_FADUMP_BOOT_MEM_PROP "boot-mem"
#define VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP "capture-host-reset"
#define VIRTIO_FADUMP_MAX_BOOTS_PROP "max-boots"
#define VIRTIO_FADUMP_EARLY_PROP "early"
#define VIRTIO_FADUMP_HOST_MEM_PROP "host-mem"
#define VIRTIO_FADUMP_GUEST_MEM_PROP "guest-mem"

/* boot-mem=full: all RAM, and the next boot is not confined */
#define FADUMP_BOOT_MEM_FULL UINT64_MAX

/*
 * Regions in one registration. A guest that gives destinations needs one for
 * each piece that its allocator has, 4 MiB with Linux.
 */
#define FADUMP_MAX_REGIONS 512

/* Where the guest wants boot memory at @src: in RAM of its own. */
typedef struct FadumpDest {
    FadumpRange src;
    /* guest-physical */
    uint64_t dst;
} FadumpDest;

/* All of it is protected by the BQL. */
struct VirtIOFadump {
    VirtIODevice parent_obj;

    VirtQueue *ctrl_vq;
    VirtQueue *event_vq;

    FadumpHold hold;

    FadumpConfiner *confiner;
    /* of FadumpRange: RAM of an ordinary boot, and of a confined one */
    GArray *ram_map;
    GArray *boot;
    /* address below which all RAM is boot memory */
    uint64_t boot_top;

    Notifier reset_notifier;
    Notifier crash_notifier;
    Notifier machine_done;

    /*
     * bytes of boot memory that the user asked for, 0 for the default, or
     * FADUMP_BOOT_MEM_FULL
     */
    uint64_t boot_mem;
    bool capture_host_reset;
    uint32_t max_boots;
    bool early;
    /* boot memory may be set aside in host memory, or in the guest's own */
    bool host_mem;
    bool guest_mem;

    /* VIRTIO_FADUMP_STATE_* */
    uint32_t state;
    /* what the guest registered, size 0 for none */
    FadumpRange vmcoreinfo;
    FadumpRange param;
    /* boot memory that is not in here goes to host memory */
    FadumpDest dests[FADUMP_MAX_REGIONS];
    uint32_t nr_dests;
    /* for migration only: which slots of hold are swapped */
    uint64_t swapped;
    /* the guest has announced that its next reset is no crash */
    bool announced;
    /* of the dump that is held */
    uint64_t desc_size;
    /* or that was held last */
    QemuUUID dump_id;
    uint32_t nr_lost;
    uint32_t nr_boots;
    bool boot_counted;

    /*
     * Why a reset that was requested but has not happened yet was requested,
     * VIRTIO_FADUMP_CAUSE_*, and by which vCPU
     */
    uint32_t pending_cause;
    uint32_t pending_cpu;
    /* a crash of the boot that now ends was seen; the dump before it is kept */
    bool crash_lost;
    /* EVENT_RELEASED waits for a buffer, or for the machine to run */
    bool event_pending;

    /* the fadump-save job that runs, or the last one */
    FadumpSave *save;
    Error *save_blocker;
};

/* What is held now, for QMP; the caller frees. DUMP_AVAILABLE only. */
FadumpDumpInfo *virtio_fadump_dump_info(VirtIOFadump *s);

/* Whether a crash would be captured though nothing is registered. */
bool virtio_fadump_armed_early(const VirtIOFadump *s);

/*
 * What the operator asks for. Under the BQL, false with @errp set if it cannot
 * be done in this state.
 */
bool virtio_fadump_trigger(VirtIOFadump *s, Error **errp);
bool virtio_fadump_save(VirtIOFadump *s, const char *protocol, Error **errp);
bool virtio_fadump_host_release(VirtIOFadump *s, Error **errp);

/* ---- fadump-capture.c ---- */

/*
 * Capture the machine: registers into a descriptor, boot memory to where it is
 * held. @crash_cpu is the cpu_index of the vCPU that caused it, or
 * VIRTIO_FADUMP_CPU_NONE. Sets desc_size and dump_id and nothing else.
 * Under the BQL, vCPUs paused and synchronized, before anything is reset.
 * On failure the held area is empty and @errp says why.
 */
bool fadump_capture(VirtIOFadump *s, uint32_t cause, uint32_t crash_cpu,
                    Error **errp);

/* Bytes that a descriptor of this machine can need. */
uint64_t fadump_capture_desc_max(void);

#endif /* HW_MISC_FADUMP_DEV_H */
