// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The event queue: what the host does to the dump, without being asked.
 *
 * There is one event, "the host released the dump". A work item handles it, as
 * adding memory sleeps for long. It does what a write to release_mem does, but
 * for the request.
 *
 * Nothing that a device says here is believed at its word. An event that makes
 * no sense is ignored, and a device that has many of them is listened to ten
 * times a second: it has only the buffers that it is given.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/delay.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fadump-virtio.h"

/* How long a device that talks nonsense waits for its buffers. */
#define FADUMP_EVENT_PAUSE_MS	100

static struct workqueue_struct *fadump_event_wq;

/* A device that has lost its mind does not find it again: a few lines an hour. */
static DEFINE_RATELIMIT_STATE(fadump_event_rs, 3600 * HZ, 8);

#define fadump_event_ignored(fmt, ...)					\
do {									\
	if (__ratelimit(&fadump_event_rs))				\
		pr_warn("event ignored: " fmt, ##__VA_ARGS__);		\
} while (0)

/* The callback of the event queue; in interrupt context. */
void fadump_event_done(struct virtqueue *vq)
{
	struct fadump *fd = &fadump;
	unsigned long flags;

	spin_lock_irqsave(&fd->event_lock, flags);
	if (fd->events_on)
		queue_work(fadump_event_wq, &fd->event_work);
	spin_unlock_irqrestore(&fd->event_lock, flags);
}

static void fadump_event_give(struct fadump *fd,
			      struct virtio_fadump_event *buf)
{
	struct scatterlist sg;

	/* What the device does not write must not look like an event. */
	memset(buf, 0, sizeof(*buf));
	sg_init_one(&sg, buf, sizeof(*buf));
	/* Fails if the queue is broken, or smaller than it is expected to be. */
	if (virtqueue_add_inbuf(fd->event_vq, &sg, 1, buf, GFP_KERNEL))
		pr_debug("event queue: a buffer was not taken\n");
}

/* Returns false if the event makes no sense. */
static bool fadump_event_released(struct fadump *fd,
				  const struct virtio_fadump_event *ev)
{
	bool sane = false;
	int ret = -EAGAIN;

	mutex_lock(&fd->lock);
	if (fd->closed) {
		/* The next boot has all memory anyway. */
		sane = true;
	} else if (fd->dump != FADUMP_DUMP_ACTIVE &&
		   fd->dump != FADUMP_DUMP_UNTRUSTED) {
		fadump_event_ignored("dump %pUb was released, but none is held\n",
				     ev->dump_id);
	} else if (fd->dump == FADUMP_DUMP_ACTIVE &&
		   memcmp(ev->dump_id, fd->desc.dump_id,
			  sizeof(ev->dump_id))) {
		fadump_event_ignored("dump %pUb was released, but %pUb is held\n",
				     ev->dump_id, fd->desc.dump_id);
	} else if (fadump_device_state(fd) ==
		   VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
		fadump_event_ignored("dump %pUb was released, but the device holds one\n",
				     ev->dump_id);
	} else {
		sane = true;
		pr_notice("the host released dump %pUb\n", ev->dump_id);
		ret = fadump_released_by_host(fd);
		if (ret)
			pr_err("memory is still missing (%d); write 1 to /sys/kernel/fadump/release_mem to try again\n",
			       ret);
	}
	mutex_unlock(&fd->lock);

	/* Waits for those who write to it, and they for the lock. */
	if (!ret)
		fadump_sysfs_released();
	return sane;
}

static bool fadump_event_handle(struct fadump *fd,
				const struct virtio_fadump_event *ev,
				unsigned int len)
{
	if (len < sizeof(*ev)) {
		fadump_event_ignored("%u bytes, expected %zu\n", len,
				     sizeof(*ev));
		return false;
	}
	switch (le32_to_cpu(ev->type)) {
	case VIRTIO_FADUMP_EVENT_RELEASED:
		return fadump_event_released(fd, ev);
	default:
		fadump_event_ignored("unknown type %u\n",
				     le32_to_cpu(ev->type));
		return false;
	}
}

static void fadump_event_fn(struct work_struct *work)
{
	struct fadump *fd = container_of(work, struct fadump, event_work);
	struct virtio_fadump_event *bufs[FADUMP_EVENT_BUFS];
	unsigned int nr = 0, len;
	bool sane = true;

	/* They are given back at the end: there are no more than these. */
	while (nr < FADUMP_EVENT_BUFS) {
		struct virtio_fadump_event ev;

		bufs[nr] = virtqueue_get_buf(fd->event_vq, &len);
		if (!bufs[nr])
			break;
		/* Looked at only after this: the host could change it. */
		memcpy(&ev, bufs[nr], sizeof(ev));
		nr++;
		sane &= fadump_event_handle(fd, &ev, len);
	}
	if (!nr)
		return;

	if (!sane)
		msleep(FADUMP_EVENT_PAUSE_MS);
	while (nr--)
		fadump_event_give(fd, bufs[nr]);
	virtqueue_kick(fd->event_vq);
}

/* To be called once the queue is there; nothing is handled before start. */
void fadump_events_fill(struct fadump *fd)
{
	unsigned int i;

	if (!fd->event_vq)
		return;
	for (i = 0; i < FADUMP_EVENT_BUFS; i++)
		fadump_event_give(fd, fd->event_bufs[i]);
	virtqueue_kick(fd->event_vq);
}

/* Handles what has come already, too. */
void fadump_events_start(struct fadump *fd)
{
	if (!fd->event_vq)
		return;
	spin_lock_irq(&fd->event_lock);
	fd->events_on = true;
	queue_work(fadump_event_wq, &fd->event_work);
	spin_unlock_irq(&fd->event_lock);
}

/*
 * No event is being handled when this returns, nor will one be. Not under the
 * lock: it waits for an event that is.
 */
void fadump_events_stop(struct fadump *fd)
{
	spin_lock_irq(&fd->event_lock);
	fd->events_on = false;
	spin_unlock_irq(&fd->event_lock);
	cancel_work_sync(&fd->event_work);
}

int fadump_events_alloc(struct fadump *fd)
{
	unsigned int i;

	/* One by one: the device writes there, so none shares a cache line. */
	for (i = 0; i < FADUMP_EVENT_BUFS; i++) {
		fd->event_bufs[i] = kzalloc(sizeof(*fd->event_bufs[i]),
					    GFP_KERNEL);
		if (!fd->event_bufs[i])
			return -ENOMEM;
	}
	return 0;
}

/* The queue is gone. */
void fadump_events_free(struct fadump *fd)
{
	unsigned int i;

	for (i = 0; i < FADUMP_EVENT_BUFS; i++) {
		kfree(fd->event_bufs[i]);
		fd->event_bufs[i] = NULL;
	}
}

int fadump_event_init(void)
{
	INIT_WORK(&fadump.event_work, fadump_event_fn);
	/*
	 * Freezable: adding memory and suspending do not go together. Hibernation
	 * even holds the lock of memory hotplug while it suspends the devices.
	 */
	fadump_event_wq = alloc_ordered_workqueue("fadump", WQ_FREEZABLE);
	return fadump_event_wq ? 0 : -ENOMEM;
}

void fadump_event_exit(void)
{
	destroy_workqueue(fadump_event_wq);
}
