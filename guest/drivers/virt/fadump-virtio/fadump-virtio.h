/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _FADUMP_VIRTIO_H
#define _FADUMP_VIRTIO_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "desc.h"

struct fadump_vmcore;

/* Buffers of the event queue; an event is rare. */
#define FADUMP_EVENT_BUFS	8

/* The dump that the device holds, as this driver sees it. */
enum fadump_dump {
	/* none */
	FADUMP_DUMP_NONE,
	/* its descriptor was read and is sound */
	FADUMP_DUMP_ACTIVE,
	/*
	 * There is one, but its descriptor cannot be read or trusted. It can be
	 * released so that the next crash is captured; no memory is added.
	 */
	FADUMP_DUMP_UNTRUSTED,
	/* it is gone, but some of its memory could not be added yet */
	FADUMP_DUMP_RELEASED,
};

/* Boot memory [src, src + len) and where it goes at a crash. */
struct fadump_piece {
	u64 src;
	u64 len;
	/* guest-physical, or VIRTIO_FADUMP_DST_HOST */
	u64 dst;
};

/* One per machine; what the whole driver shares. */
struct fadump {
	/* all below, and the control queue; never taken by the crash hook */
	struct mutex lock;

	/* NULL while no device is bound */
	struct virtio_device *vdev;
	struct virtqueue *ctrl_vq;
	/* woken by the control queue's interrupt */
	wait_queue_head_t ctrl_wait;
	/* the device reads the one and writes the other, which is a page */
	void *ctrl_req;
	size_t ctrl_req_size;
	void *ctrl_resp;
	/* a request was given up on: the device may still write ctrl_resp */
	bool ctrl_busy;

	/* NULL if the device has no events; its buffers are event_work's */
	struct virtqueue *event_vq;
	struct virtio_fadump_event *event_bufs[FADUMP_EVENT_BUFS];
	struct work_struct event_work;
	/* event_work may be queued */
	bool events_on;
	/* for events_on, which the event queue's interrupt looks at */
	spinlock_t event_lock;

	/* fadump=on|off of powerpc */
	bool enabled;
	/* the device said so */
	bool registered;
	/* was registered before a suspend */
	bool resume_registered;
	/* orderly shutdown, or suspended: no new registration */
	bool closed;

	/* destinations are in guest memory */
	bool dest_guest;

	/* shared memory region 0; len is 0 if there is none */
	struct virtio_shm_region shm;
	u64 boot_mem_size;
	u32 max_regions;

	/* one page, read by the device at the capture */
	char *param;

	enum fadump_dump dump;
	/* kvmalloc'ed copy that desc points into */
	void *desc_buf;
	struct fadump_desc_info desc;
	struct fadump_vmcore *vmcore;
	/* what release_mem adds, and how far it came */
	struct fadump_span *spans;
	u32 nr_spans;
	/* of that: to what boot memory went */
	struct fadump_span *dests;
	u32 nr_dests;
};

extern struct fadump fadump;

/* core.c */
int fadump_register(struct fadump *fd);
int fadump_unregister(struct fadump *fd);
int fadump_device_release(struct fadump *fd);
int fadump_device_discard(struct fadump *fd, u64 addr, u64 len);
u32 fadump_device_state(struct fadump *fd);
bool fadump_register_wanted(void);
void fadump_forget_dump(struct fadump *fd);

/* dest.c */
int fadump_dest_init(void);
void fadump_dest_exit(void);
int fadump_dest_prepare(struct fadump *fd, u32 max);
bool fadump_dest_piece(u32 i, struct fadump_piece *piece);
u64 fadump_dest_reserved(void);
void fadump_dest_idle(void);
void fadump_dest_release(void);
bool fadump_dest_all(struct fadump *fd);

/* event.c */
void fadump_event_done(struct virtqueue *vq);
int fadump_event_init(void);
void fadump_event_exit(void);
int fadump_events_alloc(struct fadump *fd);
void fadump_events_free(struct fadump *fd);
void fadump_events_fill(struct fadump *fd);
void fadump_events_start(struct fadump *fd);
void fadump_events_stop(struct fadump *fd);

/* hook.c */
int fadump_hook_init(void);
void fadump_hook_exit(void);
void fadump_hook_arm(struct virtio_device *vdev);
void fadump_hook_disarm(void);

/* vmcore.c */
int fadump_vmcore_create(struct fadump *fd);
int fadump_vmcore_show(struct fadump *fd);
void fadump_vmcore_hide(struct fadump *fd);
void fadump_vmcore_destroy(struct fadump *fd);

/* release.c */
int fadump_release(struct fadump *fd);
int fadump_released_by_host(struct fadump *fd);
void fadump_unplan(struct fadump *fd);

/* sysfs.c */
int fadump_sysfs_init(struct fadump *fd);
void fadump_sysfs_exit(void);
void fadump_sysfs_released(void);
bool fadump_cmdline_has(const char *param);

#endif /* _FADUMP_VIRTIO_H */
