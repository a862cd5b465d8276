/*
 * Firmware-assisted dump: moving and copying between RAM blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/madvise.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/tb-flush.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-relocate.h"
#include "system/hostmem.h"
#include "system/tcg.h"
#include "trace.h"

/* What is worth a thread of its own, and how many there are at most. */
#define COPY_SLICE (64 * MiB)
#define COPY_THREADS_MAX 8

/*
 * Allocated at a time in the background; who stops that waits for one. Behind
 * each comes a pause of so many times what it took: a guest that boots wants
 * the host's processors more.
 */
#define PREALLOC_STEP (16 * MiB)
#define PREALLOC_PAUSE 3

/* ------------------------------------------------------------------ */
/* Moving                                                             */

static HostMemoryBackend *backend_of(const MemoryRegion *mr)
{
    return (HostMemoryBackend *)
        object_dynamic_cast(memory_region_owner((MemoryRegion *)mr),
                            TYPE_MEMORY_BACKEND);
}

int fadump_move(const FadumpPlace *dst, const FadumpPlace *src, uint64_t size)
{
    int ret = ram_block_move_range(dst->mr->ram_block, dst->off,
                                   src->mr->ram_block, src->off, size);
    Error *err = NULL;

    if (ret != -ENOTSUP && ret != -ENOTRECOVERABLE &&
        !host_memory_backend_restore(backend_of(dst->mr),
                                     (uint8_t *)
                                     memory_region_get_ram_ptr(dst->mr) +
                                     dst->off, size, &err)) {
        /* it is memory all the same */
        warn_reportf_err(err, "fadump-dev: ");
    }
    return ret;
}

/* ------------------------------------------------------------------ */
/* Copying                                                            */

typedef struct CopySlice {
    GThread *thread;
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

/*
 * Not by a ThreadPool, and not by qemu_thread_create(): on a host that is at a
 * limit, one waits for ever for a thread that cannot be had, and the other ends
 * QEMU.
 */
static int copy_parallel(uint8_t *dst, const uint8_t *src, uint64_t size)
{
    CopySlice slices[COPY_THREADS_MAX] = { };
    uint64_t n = MIN(MIN(g_get_num_processors(), COPY_THREADS_MAX),
                     MAX(size / COPY_SLICE, 1));
    uint64_t each = ROUND_UP(DIV_ROUND_UP(size, n), 2 * MiB), pos = 0;
    uint64_t i;
    int ret = 0;

    for (i = 0; i < n; i++) {
        CopySlice *slice = &slices[i];

        slice->dst = dst + pos;
        slice->src = src + pos;
        slice->size = MIN(each, size - pos);
        pos += slice->size;
        /* the last one is ours */
        if (i < n - 1) {
            slice->thread = g_thread_try_new("fadump-copy", copy_slice, slice,
                                             NULL);
        }
        if (!slice->thread) {
            copy_slice(slice);
        }
    }
    for (i = 0; i < n; i++) {
        if (slices[i].thread) {
            g_thread_join(slices[i].thread);
        }
        ret = ret ?: slices[i].ret;
    }
    return ret;
}

bool fadump_copy(const FadumpPlace *dst, const FadumpPlace *src, uint64_t size,
                 Error **errp)
{
    uint8_t *to = memory_region_get_ram_ptr(dst->mr);
    const uint8_t *from = memory_region_get_ram_ptr(src->mr);
    int ret = copy_parallel(to + dst->off, from + src->off, size);

    if (ret) {
        error_setg_errno(errp, -ret, "no host memory for %" PRIu64
                         " bytes of boot memory", size);
        return false;
    }
    memory_region_set_dirty(dst->mr, dst->off, size);
    return true;
}

/* Each vCPU does this, or finds it done, before it runs. */
void fadump_forget_code(void)
{
    CPUState *cpu;

    if (tcg_enabled()) {
        CPU_FOREACH(cpu) {
            tb_flush(cpu);
        }
    }
}

/* ------------------------------------------------------------------ */
/* Preallocation                                                      */

struct FadumpPrealloc {
    GThread *thread;
    /* of FadumpFresh */
    GArray *ranges;
    QemuSemaphore stop;
};

bool fadump_is_preallocated(const MemoryRegion *mr)
{
    HostMemoryBackend *backend = backend_of(mr);

    return backend && backend->prealloc;
}

static void *prealloc(void *opaque)
{
    FadumpPrealloc *p = opaque;
    guint i;

    for (i = 0; i < p->ranges->len; i++) {
        const FadumpFresh *r = &g_array_index(p->ranges, FadumpFresh, i);
        uint64_t pos, step;

        for (pos = 0; pos < r->size; pos += step) {
            int64_t ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

            step = MIN(PREALLOC_STEP, r->size - pos);
            if (qemu_madvise(r->host + pos, step, QEMU_MADV_POPULATE_WRITE)) {
                warn_report("fadump-dev: cannot preallocate memory in place of "
                            "what was set aside: %s", strerror(errno));
                return NULL;
            }
            ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - ns;
            if (!qemu_sem_timedwait(&p->stop, PREALLOC_PAUSE *
                                    DIV_ROUND_UP(ns, SCALE_MS))) {
                return NULL;
            }
        }
    }
    return NULL;
}

FadumpPrealloc *fadump_prealloc_start(const GArray *ranges)
{
    FadumpPrealloc *p = g_new0(FadumpPrealloc, 1);

    p->ranges = g_array_copy((GArray *)ranges);
    qemu_sem_init(&p->stop, 0);
    p->thread = g_thread_try_new("fadump-prealloc", prealloc, p, NULL);
    if (!p->thread) {
        warn_report("fadump-dev: no thread to preallocate memory");
        qemu_sem_destroy(&p->stop);
        g_clear_pointer(&p->ranges, g_array_unref);
        g_clear_pointer(&p, g_free);
    }
    return p;
}

void fadump_prealloc_stop(FadumpPrealloc *p)
{
    if (p) {
        qemu_sem_post(&p->stop);
        g_thread_join(p->thread);
        qemu_sem_destroy(&p->stop);
        g_array_unref(p->ranges);
        g_free(p);
    }
}
