/*
 * Firmware-assisted dump: what migration has to know of held memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is swapped must be known before the state of any device is loaded that
 * has rings in that memory, and what is populated before a page is asked for
 * (postcopy). So both go ahead of RAM. No RAM is swapped while a migration
 * runs, and what is populated then only grows, by a crash: that goes again with
 * the state of the devices.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "hw/misc/fadump-hold.h"
#include "migration/vmstate.h"
#include "standard-headers/linux/virtio_fadump.h"

static int pre_save(void *opaque)
{
    FadumpHold *h = opaque;

    bitmap_copy(h->sent_blocks, h->populated.bitmap, h->nr_blocks);
    h->nr_sent = h->swapped->len;
    /* an array that was always empty has no data */
    if (h->nr_sent) {
        memcpy(h->sent, h->swapped->data, h->nr_sent * sizeof(h->sent[0]));
    }
    return 0;
}

/* The ranges from the stream, which is untrusted, normalized; or NULL. */
static GArray *check_swapped(const FadumpHold *h)
{
    g_autoptr(GArray) slots = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) ranges = g_array_new(false, false, sizeof(FadumpRange));
    guint i;

    for (i = 0; i < h->nr_slots; i++) {
        g_array_append_val(slots, h->slots[i].range);
    }
    fadump_ranges_normalize(slots);
    g_array_append_vals(ranges, h->sent, h->nr_sent);
    if (!fadump_ranges_normalize(ranges)) {
        return NULL;
    }
    for (i = 0; i < ranges->len; i++) {
        const FadumpRange *r = &g_array_index(ranges, FadumpRange, i);

        if ((r->base | r->size) % VIRTIO_FADUMP_PAGE_SIZE ||
            !fadump_ranges_contain(slots, r)) {
            return NULL;
        }
    }
    return g_steal_pointer(&ranges);
}

static int load_populated(FadumpHold *h)
{
    unsigned long n = h->nr_blocks, i;
    Error *err = NULL;

    for (i = 0; i < n; i++) {
        uint64_t off = i * FADUMP_POPULATED_BLOCK;

        if (!test_bit(i, h->sent_blocks)) {
            if (test_bit(i, h->populated.bitmap)) {
                fadump_depopulate(&h->populated, off, FADUMP_POPULATED_BLOCK);
                set_bit(i, h->stale);
            }
        } else if (!fadump_populate(&h->populated, off, FADUMP_POPULATED_BLOCK,
                                    &err)) {
            error_report_err(err);
            return -EINVAL;
        }
    }
    return 0;
}

static int post_load_early(void *opaque, int version_id)
{
    FadumpHold *h = opaque;
    GArray *swapped = check_swapped(h);
    int ret;

    if (!swapped) {
        error_report("fadump-dev: what is swapped in the stream, %" PRIu32
                     " ranges, cannot be on this machine", h->nr_sent);
        return -EINVAL;
    }
    ret = load_populated(h);
    if (ret) {
        g_array_unref(swapped);
        return ret;
    }
    fadump_hold_set_swapped(h, swapped);
    return 0;
}

static int post_load(void *opaque, int version_id)
{
    return load_populated(opaque);
}

static bool nr_sent_ok(void *opaque, int version_id)
{
    FadumpHold *h = opaque;

    return h->nr_sent <= FADUMP_MAX_SWAPPED;
}

const VMStateDescription vmstate_fadump_range = {
    .name = "fadump-range",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(base, FadumpRange),
        VMSTATE_UINT64(size, FadumpRange),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_fadump_hold_early = {
    .name = "fadump-hold-early",
    .version_id = 1,
    .minimum_version_id = 1,
    .early_setup = true,
    .pre_save = pre_save,
    .post_load = post_load_early,
    .fields = (const VMStateField[]) {
        VMSTATE_INT32_EQUAL(nr_blocks, FadumpHold,
                            "the size of what the host can hold differs: "
                            "boot-mem-max or full"),
        VMSTATE_BITMAP(sent_blocks, FadumpHold, 1, nr_blocks),
        VMSTATE_UINT32(nr_sent, FadumpHold),
        VMSTATE_VALIDATE("number of swapped ranges", nr_sent_ok),
        VMSTATE_STRUCT_VARRAY_UINT32(sent, FadumpHold, nr_sent, 1,
                                     vmstate_fadump_range, FadumpRange),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_fadump_hold = {
    .name = "fadump-hold",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pre_save,
    .post_load = post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BITMAP(sent_blocks, FadumpHold, 1, nr_blocks),
        VMSTATE_END_OF_LIST()
    },
};

void fadump_hold_vmstate_register(FadumpHold *h)
{
    VMStateIf *id = VMSTATE_IF(h->owner);

    h->sent_blocks = bitmap_new(h->nr_blocks);
    vmstate_register_any(id, &vmstate_fadump_hold_early, h);
    vmstate_register_any(id, &vmstate_fadump_hold, h);
}

void fadump_hold_vmstate_unregister(FadumpHold *h)
{
    VMStateIf *id = VMSTATE_IF(h->owner);

    vmstate_unregister(id, &vmstate_fadump_hold_early, h);
    vmstate_unregister(id, &vmstate_fadump_hold, h);
    g_clear_pointer(&h->sent_blocks, g_free);
}

void fadump_hold_loaded(FadumpHold *h, bool held)
{
    h->holds = held;
    h->stale_desc = !held;
    if (h->held_size && held) {
        bitmap_copy(h->kept, h->populated.bitmap, h->nr_blocks);
    } else if (h->held_size) {
        bitmap_zero(h->kept, h->nr_blocks);
    }
    fadump_hold_settle(h);
}
