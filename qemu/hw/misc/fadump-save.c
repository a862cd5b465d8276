/*
 * Firmware-assisted dump: writing a held dump to a file, in the background
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The dump does not change while it is held, so a thread can read it with the
 * guest running and without the BQL.
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/sockets.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "qemu/uuid.h"
#include "qapi/error.h"
#include "hw/misc/fadump-elf.h"
#include "hw/misc/fadump-ram.h"
#include "hw/misc/fadump-save-target.h"
#include "hw/misc/fadump-save.h"
#include "standard-headers/linux/virtio_fadump.h"
#include "system/system.h"
#include "trace.h"

/* Most that is written without a look at a request to cancel. */
#define WRITE_CHUNK (4 * MiB)
/* Runs of zeros of this size become holes of a file. */
#define HOLE_SIZE (64 * KiB)
/* How often to look for a request to cancel while a pipe is full, in ms */
#define POLL_MS 100
/* How long QEMU waits at its exit for storage that may never answer, in ms */
#define EXIT_WAIT_MS 2000

/* A part of the file, contiguous in host memory. */
typedef struct SavePart {
    const uint8_t *host;
    uint64_t size;
} SavePart;

struct FadumpSave {
    /* under the BQL */
    bool active;
    FadumpSaveStatus status;
    char *id;
    Error *err;
    void (*done)(void *opaque);
    void *opaque;
    Notifier exit_notifier;
    QemuThread thread;
    /* posted when the thread touches nothing any more */
    QemuSemaphore ended;

    /* set before the thread starts, then its own */
    FadumpTarget target;
    GByteArray *header;
    GArray *parts;      /* of SavePart */
    GPtrArray *regions; /* referenced MemoryRegion */
    uint64_t total;

    /* atomic */
    uint64_t written;
    bool cancel;
};

/* ------------------------------------------------------------------ */
/* What is written                                                    */

static void add_part(FadumpSave *save, const uint8_t *host, uint64_t size)
{
    SavePart part = { .host = host, .size = size };

    g_array_append_val(save->parts, part);
}

/* [@addr, @addr + @size) of guest RAM or the window, maybe several runs. */
static bool add_ram(FadumpSave *save, const GArray *runs, uint64_t addr,
                    uint64_t size, Error **errp)
{
    guint i;

    for (i = 0; i < runs->len && size; i++) {
        const FadumpRamRun *run = &g_array_index(runs, FadumpRamRun, i);
        uint64_t off = addr - run->range.base, n;

        if (addr < run->range.base || off >= run->range.size) {
            continue;
        }
        n = MIN(size, run->range.size - off);
        add_part(save, run->host + off, n);
        memory_region_ref(run->mr);
        g_ptr_array_add(save->regions, run->mr);
        addr += n;
        size -= n;
    }
    if (size) {
        error_setg(errp, "there is no RAM at 0x%" PRIx64 " any more", addr);
        return false;
    }
    return true;
}

static bool plan(FadumpSave *save, const uint8_t *desc, const GArray *window,
                 Error **errp)
{
    g_autoptr(GArray) segments =
        g_array_new(false, false, sizeof(FadumpElfSegment));
    g_autoptr(GArray) runs = fadump_ram_runs(errp);
    guint i;

    if (!runs) {
        return false;
    }
    save->header = fadump_elf_build(desc, segments, errp);
    if (!save->header) {
        return false;
    }
    add_part(save, save->header->data, save->header->len);
    save->total = save->header->len;
    for (i = 0; i < segments->len; i++) {
        const FadumpElfSegment *seg =
            &g_array_index(segments, FadumpElfSegment, i);

        if (!add_ram(save, seg->window ? window : runs, seg->src, seg->size,
                     errp)) {
            return false;
        }
        save->total += seg->size;
    }
    return true;
}

/* ------------------------------------------------------------------ */
/* The thread                                                         */

/*
 * Write some of @size bytes; -1 with errno EAGAIN if there is no room. A reader
 * that is slow must not keep us from being cancelled, and O_NONBLOCK is not
 * ours to set: whoever passed the file has it as well.
 */
static ssize_t write_some(FadumpSave *save, const uint8_t *buf, size_t size,
                          uint64_t offset)
{
    struct pollfd pfd = { .fd = save->target.fd, .events = POLLOUT };
    int ret;

    if (save->target.seekable) {
        return pwrite(save->target.fd, buf, size, offset);
    }
    if (save->target.socket) {
        return send(save->target.fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    ret = poll(&pfd, 1, 0);
    if (ret <= 0) {
        errno = ret ? errno : EAGAIN;
        return -1;
    }
    /* a pipe that has room has room for this */
    return write(save->target.fd, buf, MIN(size, PIPE_BUF));
}

/* Write @size bytes at @offset; false with errno set. */
static bool write_bytes(FadumpSave *save, const uint8_t *buf, size_t size,
                        uint64_t offset)
{
    while (size) {
        ssize_t n = write_some(save, buf, size, offset);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd pfd = { .fd = save->target.fd, .events = POLLOUT };

            if (qatomic_read(&save->cancel)) {
                errno = ECANCELED;
                return false;
            }
            poll(&pfd, 1, POLL_MS);
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return false;
        }
        buf += n;
        size -= n;
        offset += n;
        if (!save->target.seekable) {
            qatomic_set(&save->written, save->written + n);
        }
    }
    return true;
}

/* As write_bytes(), but leave out runs of zeros. */
static bool write_sparse(FadumpSave *save, const uint8_t *buf, size_t size,
                         uint64_t offset)
{
    size_t start = 0, pos, n;

    for (pos = 0; pos < size; pos += n) {
        n = MIN(size - pos, HOLE_SIZE);
        if (!buffer_is_zero(buf + pos, n)) {
            continue;
        }
        if (!write_bytes(save, buf + start, pos - start, offset + start)) {
            return false;
        }
        start = pos + n;
    }
    return write_bytes(save, buf + start, size - start, offset + start);
}

static bool write_parts(FadumpSave *save, Error **errp)
{
    uint64_t offset = 0;
    guint i;

    for (i = 0; i < save->parts->len; i++) {
        const SavePart *part = &g_array_index(save->parts, SavePart, i);
        uint64_t pos, n;

        for (pos = 0; pos < part->size; pos += n) {
            n = MIN(part->size - pos, WRITE_CHUNK);
            if (qatomic_read(&save->cancel)) {
                return false;
            }
            if (!(save->target.seekable ? write_sparse : write_bytes)(
                    save, part->host + pos, n, offset)) {
                error_setg_errno(errp, errno, "cannot write at %" PRIu64
                                 " of %" PRIu64 " bytes", offset, save->total);
                return false;
            }
            offset += n;
            if (save->target.seekable) {
                qatomic_set(&save->written, offset);
            }
        }
    }
    /* it may end in a hole */
    if (save->target.seekable && ftruncate(save->target.fd, save->total)) {
        error_setg_errno(errp, errno, "cannot set the size of the file");
        return false;
    }
    return true;
}

/* In the main loop, when the thread has nothing more to do. */
static void save_ended(void *opaque)
{
    FadumpSave *save = opaque;

    qemu_thread_join(&save->thread);
    qemu_sem_destroy(&save->ended);
    qemu_remove_exit_notifier(&save->exit_notifier);
    g_ptr_array_set_size(save->regions, 0);
    save->active = false;
    trace_fadump_save_end(save->status, qatomic_read(&save->written),
                          save->err ? error_get_pretty(save->err) : "");
    save->done(save->opaque);
}

static void *save_thread(void *opaque)
{
    FadumpSave *save = opaque;
    bool ok = write_parts(save, &save->err) && !qatomic_read(&save->cancel) &&
              fadump_target_publish(&save->target, &save->cancel, &save->err);

    if (!ok && save->target.seekable && ftruncate(save->target.fd, 0)) {
        /* then half a dump stays in a file that was passed to us */
        warn_report("fadump-save: cannot empty the file: %s", strerror(errno));
    }
    fadump_target_close(&save->target);
    if (ok) {
        save->status = FADUMP_SAVE_STATUS_COMPLETED;
    } else if (qatomic_read(&save->cancel)) {
        error_free(save->err);
        save->err = NULL;
        save->status = FADUMP_SAVE_STATUS_CANCELLED;
    } else {
        save->status = FADUMP_SAVE_STATUS_FAILED;
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), save_ended, save);
    qemu_sem_post(&save->ended);
    return NULL;
}

/*
 * QEMU ends with the file half written. The thread may wait for storage that
 * never answers; it ends with the process then.
 */
static void save_exit(Notifier *notifier, void *data)
{
    FadumpSave *save = container_of(notifier, FadumpSave, exit_notifier);

    qatomic_set(&save->cancel, true);
    if (qemu_sem_timedwait(&save->ended, EXIT_WAIT_MS)) {
        warn_report("fadump-save: storage does not answer; half a dump may "
                    "stay beside where it was to go");
    }
}

/* ------------------------------------------------------------------ */
/* Interface                                                          */

static void region_unref(gpointer mr)
{
    memory_region_unref(mr);
}

FadumpSave *fadump_save_start(const char *protocol, const uint8_t *desc,
                              const GArray *window,
                              void (*done)(void *opaque), void *opaque,
                              Error **errp)
{
    const struct virtio_fadump_desc *h = (const void *)desc;
    FadumpSave *save = g_new0(FadumpSave, 1);
    QemuUUID id;

    memcpy(id.data, h->dump_id, sizeof(id.data));
    save->id = qemu_uuid_unparse_strdup(&id);
    save->parts = g_array_new(false, false, sizeof(SavePart));
    save->regions = g_ptr_array_new_with_free_func(region_unref);
    save->target.fd = -1;
    save->done = done;
    save->opaque = opaque;

    if (!plan(save, desc, window, errp) ||
        !fadump_target_open(&save->target, protocol, errp)) {
        fadump_target_close(&save->target);
        fadump_save_free(save);
        return NULL;
    }
    trace_fadump_save_start(save->total, save->target.seekable);
    save->active = true;
    save->status = FADUMP_SAVE_STATUS_ACTIVE;
    qemu_sem_init(&save->ended, 0);
    save->exit_notifier.notify = save_exit;
    qemu_add_exit_notifier(&save->exit_notifier);
    qemu_thread_create(&save->thread, "fadump-save", save_thread, save,
                       QEMU_THREAD_JOINABLE);
    return save;
}

void fadump_save_cancel(FadumpSave *save)
{
    qatomic_set(&save->cancel, true);
}

bool fadump_save_active(const FadumpSave *save)
{
    return save && save->active;
}

FadumpSaveInfo *fadump_save_info(const FadumpSave *save)
{
    FadumpSaveInfo *info = g_new0(FadumpSaveInfo, 1);

    /* what the thread has found is told when it has ended */
    info->status = save->active ? FADUMP_SAVE_STATUS_ACTIVE : save->status;
    info->id = g_strdup(save->id);
    info->written = qatomic_read(&save->written);
    info->total = save->total;
    if (!save->active && save->err) {
        info->error = g_strdup(error_get_pretty(save->err));
    }
    return info;
}

void fadump_save_free(FadumpSave *save)
{
    if (!save) {
        return;
    }
    g_ptr_array_unref(save->regions);
    g_array_unref(save->parts);
    if (save->header) {
        g_byte_array_unref(save->header);
    }
    error_free(save->err);
    g_free(save->id);
    g_free(save);
}
