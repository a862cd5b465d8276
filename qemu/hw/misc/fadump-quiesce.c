/*
 * Firmware-assisted dump: nobody writes to RAM that is being relocated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vCPUs are stopped and the BQL is held, so what is left are vhost backends and
 * IOThreads. A device's own way to stop its ioeventfds waits for its I/O, and
 * storage may be what killed the guest.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "block/aio.h"
#include "hw/misc/fadump-quiesce.h"
#include "hw/sysbus.h"
#include "hw/virtio/virtio.h"
#include "qom/object.h"
#include "system/iothread.h"
#include "trace.h"

/* An event loop takes microseconds, unless what it called hangs. */
#define PARK_TIMEOUT_MS 200

struct FadumpQuiet {
    /* this, and one for each IOThread that has not gone on yet */
    int refs;
    /* of VirtQueue: all queues of all virtio devices */
    GPtrArray *queues;
    QemuSemaphore parked;
    QemuEvent resume;
    /* protects @over against who comes too late */
    QemuMutex lock;
    bool over;
};

static void quiet_unref(FadumpQuiet *q)
{
    if (qatomic_fetch_dec(&q->refs) == 1) {
        qemu_sem_destroy(&q->parked);
        qemu_event_destroy(&q->resume);
        qemu_mutex_destroy(&q->lock);
        g_ptr_array_unref(q->queues);
        g_free(q);
    }
}

static int find_virtio(DeviceState *dev, void *opaque)
{
    GPtrArray *found = opaque;

    if (dev->realized && object_dynamic_cast(OBJECT(dev), TYPE_VIRTIO_DEVICE)) {
        g_ptr_array_add(found, dev);
    }
    return 0;
}

static void stop_virtio(FadumpQuiet *q)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    guint i;
    int n;

    qbus_walk_children(sysbus_get_default(), find_virtio, NULL, NULL, NULL,
                       found);
    for (i = 0; i < found->len; i++) {
        VirtIODevice *vdev = VIRTIO_DEVICE(g_ptr_array_index(found, i));

        if (vdev->vhost_started) {
            virtio_set_status(vdev, vdev->status & ~VIRTIO_CONFIG_S_DRIVER_OK);
        }
        /* as if the guest had taken bus mastering from it; a reset ends that */
        virtio_set_disabled(vdev, true);
        for (n = 0; n < VIRTIO_QUEUE_MAX && virtio_queue_get_num(vdev, n);
             n++) {
            g_ptr_array_add(q->queues, virtio_get_queue(vdev, n));
        }
    }
}

/* In an IOThread's event loop. To poll a queue is to write to its ring. */
static void park(void *opaque)
{
    FadumpQuiet *q = opaque;
    guint i;

    WITH_QEMU_LOCK_GUARD(&q->lock) {
        for (i = 0; i < q->queues->len && !q->over; i++) {
            virtio_queue_aio_detach_host_notifier(
                g_ptr_array_index(q->queues, i),
                qemu_get_current_aio_context());
        }
    }
    qemu_sem_post(&q->parked);
    qemu_event_wait(&q->resume);
    quiet_unref(q);
}

static int ask_to_park(Object *obj, void *opaque)
{
    FadumpQuiet *q = opaque;
    IOThread *iothread = (IOThread *)object_dynamic_cast(obj, TYPE_IOTHREAD);

    if (iothread) {
        qatomic_inc(&q->refs);
        aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), park, q);
    }
    return 0;
}

FadumpQuiet *fadump_quiesce_begin(bool *ok)
{
    FadumpQuiet *q = g_new0(FadumpQuiet, 1);
    int i, n;

    q->refs = 1;
    q->queues = g_ptr_array_new();
    qemu_sem_init(&q->parked, 0);
    qemu_event_init(&q->resume, false);
    qemu_mutex_init(&q->lock);

    stop_virtio(q);
    object_child_foreach(object_get_objects_root(), ask_to_park, q);
    n = qatomic_read(&q->refs) - 1;
    *ok = true;
    for (i = 0; i < n && *ok; i++) {
        *ok = !qemu_sem_timedwait(&q->parked, PARK_TIMEOUT_MS);
    }
    trace_fadump_quiesce(q->queues->len, n, *ok);
    return q;
}

void fadump_quiesce_end(FadumpQuiet *q)
{
    WITH_QEMU_LOCK_GUARD(&q->lock) {
        q->over = true;
    }
    qemu_event_set(&q->resume);
    quiet_unref(q);
}
