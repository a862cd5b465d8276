/*
 * Firmware-assisted dump: setting boot memory aside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Moving pages takes microseconds, whatever their number. What cannot be moved,
 * or must not be at this moment, is copied by several threads straight to where
 * it is held.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "hw/misc/fadump-hold.h"
#include "migration/misc.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "system/system.h"
#include "trace.h"

/* What is worth a thread of its own, and how many there are at most. */
#define COPY_SLICE (64 * MiB)
#define COPY_THREADS_MAX 8

typedef struct CopySlice {
    QemuThread thread;
    uint8_t *dst;
    const uint8_t *src;
    uint64_t size;
    int ret;
} CopySlice;

/*
 * Populating first turns a host without memory into an error instead of a
 * SIGBUS, and is faster than one fault a page.
 */
static void *copy_slice(void *opaque)
{
    CopySlice *slice = opaque;
    uint64_t page = qemu_real_host_page_size();

    if (qemu_madvise(QEMU_ALIGN_PTR_DOWN(slice->dst, page),
                     ROUND_UP(slice->size, page), QEMU_MADV_POPULATE_WRITE) &&
        errno != EINVAL) {
        slice->ret = -errno;
        return NULL;
    }
    memcpy(slice->dst, slice->src, slice->size);
    return NULL;
}

static int copy_parallel(uint8_t *dst, const uint8_t *src, uint64_t size)
{
    CopySlice slices[COPY_THREADS_MAX] = { };
    uint64_t n = MIN(MIN(g_get_num_processors(), COPY_THREADS_MAX),
                     MAX(size / COPY_SLICE, 1));
    uint64_t each = ROUND_UP(DIV_ROUND_UP(size, n), 2 * MiB), pos = 0;
    uint64_t i;
    int ret = 0;

    for (i = 0; i < n; i++) {
        slices[i].dst = dst + pos;
        slices[i].src = src + pos;
        slices[i].size = MIN(each, size - pos);
        pos += slices[i].size;
        /* the last one is ours */
        if (i < n - 1) {
            qemu_thread_create(&slices[i].thread, "fadump-copy", copy_slice,
                               &slices[i], QEMU_THREAD_JOINABLE);
        } else {
            copy_slice(&slices[i]);
        }
    }
    for (i = 0; i < n; i++) {
        if (i < n - 1) {
            qemu_thread_join(&slices[i].thread);
        }
        ret = ret ?: slices[i].ret;
    }
    return ret;
}

/* Why pages must stay where they are at this moment, or NULL. */
static const char *why_not_move(bool may_move)
{
    if (!may_move) {
        return "not wanted";
    }
    /* its threads read, and its userfaultfd watches, the old addresses */
    if (migration_is_running()) {
        return "migration";
    }
    /* what the guest gets instead would not be locked */
    if (should_mlock(mlock_state)) {
        return "locked";
    }
    return NULL;
}

uint32_t fadump_hold(MemoryRegion *shm, uint64_t shm_off, MemoryRegion *mr,
                     uint64_t mr_off, uint64_t size, bool may_move,
                     GArray *moved, Error **errp)
{
    const char *why = why_not_move(may_move);
    int ret;

    if (!why) {
        FadumpMoved m = { mr, mr_off, shm_off, size };

        ret = ram_block_move_range(shm->ram_block, shm_off, mr->ram_block,
                                   mr_off, size);
        if (!ret) {
            g_array_append_val(moved, m);
            trace_fadump_hold(size, VIRTIO_FADUMP_METHOD_MOVED, "");
            return VIRTIO_FADUMP_METHOD_MOVED;
        }
        why = strerror(-ret);
    }

    ret = copy_parallel((uint8_t *)memory_region_get_ram_ptr(shm) + shm_off,
                        (uint8_t *)memory_region_get_ram_ptr(mr) + mr_off,
                        size);
    if (ret) {
        error_setg_errno(errp, -ret, "no host memory for %" PRIu64
                         " bytes of boot memory", size);
        return VIRTIO_FADUMP_METHOD_NONE;
    }
    memory_region_set_dirty(shm, shm_off, size);
    trace_fadump_hold(size, VIRTIO_FADUMP_METHOD_COPIED, why);
    return VIRTIO_FADUMP_METHOD_COPIED;
}

void fadump_hold_undo(MemoryRegion *shm, const GArray *moved)
{
    guint i;

    for (i = 0; i < moved->len; i++) {
        const FadumpMoved *m = &g_array_index(moved, FadumpMoved, i);
        int ret = ram_block_move_range(m->mr->ram_block, m->mr_off,
                                       shm->ram_block, m->shm_off, m->size);

        if (ret) {
            /* the reset goes on; the next boot finds zeros there */
            error_report("fadump-dev: cannot move boot memory back: %s",
                         strerror(-ret));
        }
    }
}
