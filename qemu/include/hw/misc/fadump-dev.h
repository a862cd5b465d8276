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
#include "hw/misc/fadump-life.h"
#include "hw/misc/fadump-range.h"
#include "hw/misc/fadump-save.h"
#include "qapi/qapi-types-fadump.h"
#include "qemu/notify.h"
#include "qemu/timer.h"
#include "qemu/uuid.h"
#include "qom/object.h"
#include "standard-headers/linux/virtio_fadump.h"

OBJECT_DECLARE_SIMPLE_TYPE(VirtIOFadump, VIRTIO_FADUMP)

#define VIRTIO_FADUMP_BOOT_MEM_PROP "boot-mem"
#define VIRTIO_FADUMP_BOOT_MEM_MAX_PROP "boot-mem-max"
#define VIRTIO_FADUMP_FULL_PROP "full"
#define VIRTIO_FADUMP_FULL_ROOM_PROP "full-room"
#define VIRTIO_FADUMP_CAPTURE_HOST_RESET_PROP "capture-host-reset"
#define VIRTIO_FADUMP_MAX_BOOTS_PROP "max-boots"
#define VIRTIO_FADUMP_BOOT_TIMEOUT_PROP "boot-timeout"
#define VIRTIO_FADUMP_EARLY_PROP "early"
#define VIRTIO_FADUMP_HOST_MEM_PROP "host-mem"
#define VIRTIO_FADUMP_GUEST_MEM_PROP "guest-mem"
#define VIRTIO_FADUMP_CONFINE_PROP "confine"
#define VIRTIO_FADUMP_DISCARD_PROP "discard"

/* fw_cfg file with the dump descriptor; empty while no dump is held */
#define FADUMP_FW_CFG_FILE "etc/fadump-dump"

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

/* From @base on, up to that of the next, RAM is on NUMA node @node. */
typedef struct FadumpNode {
    uint64_t base;
    uint32_t node;
} FadumpNode;

/* All of it is protected by the BQL. */
struct VirtIOFadump {
    VirtIODevice parent_obj;

    VirtQueue *ctrl_vq;
    FadumpHold hold;

    FadumpConfiner *confiner;
    /* of FadumpRange: RAM of an ordinary boot */
    GArray *ram_map;
    /* of FadumpNode, ascending; empty without NUMA */
    GArray *nodes;
    /* where the window lies, 0 if it has a BAR */
    uint64_t window_addr;
    /* what a guest hot-adds at least */
    uint64_t block_size;
    uint64_t discard_size;

    Notifier reset_notifier;
    Notifier crash_notifier;
    Notifier machine_done;
    NotifierWithReturn snapshot_notifier;
    VMChangeStateEntry *vm_change;

    /* properties; sizes of 0 stand for the default until the device is real */
    uint64_t boot_mem;
    uint64_t boot_mem_max;
    bool full;
    /* whether the window has room for all RAM */
    OnOffAuto full_room;
    bool capture_host_reset;
    uint32_t max_boots;
    /* seconds, 0 for none */
    uint32_t boot_timeout;
    bool early;
    /* 1 << VIRTIO_FADUMP_F_* */
    uint64_t host_features;
    /* for tests: as on a machine that has no place for the window */
    bool window_bar;

    /* FadumpLife; changed by fadump_event() only */
    uint32_t life;
    /* runs in FADUMP_LIFE_HELD */
    QEMUTimer *boot_timer;
    /* a driver has been up since power-on */
    bool driver_seen;
    /*
     * of the crash whose reset has not happened yet: VIRTIO_FADUMP_CAUSE_*, and
     * the vCPU that it happened on
     */
    uint32_t cause;
    uint32_t cause_cpu;

    /* boot memory is no less, or a ROM would be written over a dump */
    uint64_t boot_min;
    /*
     * the size that is registered, or was at the capture of the dump that is
     * held, else the default; and its ranges, of FadumpRange
     */
    uint64_t boot_size;
    GArray *boot;
    /* what firmware has been told of since the last reset; 0: all RAM */
    uint64_t told;
    /* the guest says that it would yield a crash; of what is registered */
    bool will_yield;
    /* what the guest registered, size 0 for none */
    FadumpRange vmcoreinfo;
    FadumpRange crash_note;
    /* boot memory that is not in here goes to host memory */
    FadumpDest dests[FADUMP_MAX_REGIONS];
    uint32_t nr_dests;

    /* of the dump that is held */
    uint64_t desc_size;
    /* all RAM was set aside */
    bool held_full;
    /* or that was held last */
    QemuUUID dump_id;
    uint32_t nr_lost;
    uint32_t nr_boots;
    /* a dump is held, or was in this boot and a reader may have it mapped */
    bool window_shown;
    /* config space has changed: a driver is told once there is one that runs */
    bool notify_pending;

    /* the fadump-save job that runs, or the last one */
    FadumpSave *save;
    Error *save_blocker;
};

/* Whether the feature is offered. */
static inline bool fadump_offers(const VirtIOFadump *s, unsigned int feature)
{
    return virtio_has_feature(s->host_features, feature);
}

/* VIRTIO_FADUMP_STATE_*: what the guest is told. */
static inline uint32_t fadump_state(const VirtIOFadump *s)
{
    return fadump_life_abi_state(s->life);
}

/* ---- fadump-dev.c ---- */

/* VIRTIO_FADUMP_CONFIG_F_* */
uint32_t fadump_config_flags(const VirtIOFadump *s);

/* Tell a driver, now or once it runs, that the host changed config space. */
void fadump_notify_config(VirtIOFadump *s);

/* ---- fadump-plan.c: before the guest runs ---- */

/*
 * Check the properties and the machine, decide on boot memory, and make the
 * window. False with @errp set, message and cure.
 */
bool fadump_plan(VirtIOFadump *s, Error **errp);
void fadump_plan_cleanup(VirtIOFadump *s);

/* Bytes of boot memory that @size stands for: what GET_BOOT_MEM grants. */
uint64_t fadump_grant(const VirtIOFadump *s, uint64_t size);

/* Boot memory of a size that fadump_grant() gave; the caller frees. */
GArray *fadump_boot_of(const VirtIOFadump *s, uint64_t size);

/* After a change of what would be moved at a capture: keep it from KSM. */
void fadump_prepare_move(VirtIOFadump *s);

/* Whether all RAM can be set aside; false with @errp set, message and cure. */
bool fadump_has_full_room(const VirtIOFadump *s, Error **errp);

/* ---- fadump-events.c: what happens to the machine ---- */

void fadump_events_init(VirtIOFadump *s);
void fadump_events_cleanup(VirtIOFadump *s);

/*
 * @event has happened, for @cause, VIRTIO_FADUMP_CAUSE_*, and under
 * @conditions, FADUMP_IF_*, which the device does not know by itself. Does what
 * the table says, and returns its row; NULL, and nothing is done, if the event
 * has no effect now. Under the BQL.
 */
const FadumpLifeRow *fadump_event_full(VirtIOFadump *s, FadumpLifeEvent event,
                                       uint32_t cause,
                                       unsigned int conditions);

static inline bool fadump_event(VirtIOFadump *s, FadumpLifeEvent event)
{
    return fadump_event_full(s, event, VIRTIO_FADUMP_CAUSE_UNKNOWN, 0);
}

/* boot-timeout in ns */
static inline int64_t fadump_boot_timeout_ns(const VirtIOFadump *s)
{
    return s->boot_timeout * NANOSECONDS_PER_SECOND;
}

/* The size of boot memory that the next boot is confined to, or 0. */
uint64_t fadump_confined_to(const VirtIOFadump *s);

/*
 * The driver has sent a request, or has been reset: if the host had released a
 * dump it does not use it any more, and what was plugged is the guest's again.
 */
void fadump_driver_knows(VirtIOFadump *s);

/*
 * Parts of what is done at an event, for a state that is loaded: set the size
 * of boot memory that is in force; show the descriptor in fw_cfg, and the
 * window; tell firmware of boot memory of @size, 0: of all RAM.
 */
void fadump_set_boot(VirtIOFadump *s, uint64_t size);
void fadump_publish(VirtIOFadump *s);
void fadump_show_window(VirtIOFadump *s, bool show);
void fadump_tell(VirtIOFadump *s, uint64_t size);

/* ---- fadump-vmstate.c ---- */

extern const VMStateDescription vmstate_virtio_fadump_device;

/* ---- fadump-qmp.c ---- */

/* What is held now, for QMP; the caller frees. While a dump is held only. */
FadumpDumpInfo *virtio_fadump_dump_info(VirtIOFadump *s);

/* ---- fadump-ctrl.c ---- */

void fadump_handle_ctrl(VirtIODevice *vdev, VirtQueue *vq);

/*
 * Why boot memory at @src of this machine cannot go to @dst in guest RAM, with
 * @boot as boot memory and @n destinations there are already, or NULL.
 */
const char *fadump_check_dest(const VirtIOFadump *s, const GArray *boot,
                              const FadumpRange *src, uint64_t dst,
                              const FadumpDest *others, uint32_t n);

/* Whether a registration can name @r for up to @max bytes to be read. */
bool fadump_note_region_ok(const FadumpRange *r, uint64_t max);

/* ---- fadump-capture.c ---- */

/*
 * Capture the machine: registers into a descriptor, boot memory to where it is
 * held. @crash_cpu is the cpu_index of the vCPU that caused it, or
 * VIRTIO_FADUMP_CPU_NONE. With @full all RAM is set aside; if there is no room
 * for that, boot memory is, @full is false then and @full_error, which the
 * caller frees, says why. Sets desc_size and dump_id and nothing else.
 * Under the BQL, vCPUs paused and synchronized, before anything is reset.
 * On failure the held area is empty and @errp says why.
 */
bool fadump_capture(VirtIOFadump *s, uint32_t cause, uint32_t crash_cpu,
                    bool *full, char **full_error, Error **errp);

/* Bytes that a descriptor of this machine can need. */
uint64_t fadump_capture_desc_max(void);

#endif /* HW_MISC_FADUMP_DEV_H */
