// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-fadump: the virtio front of firmware-assisted dump.
 *
 * It says to the device what the core wants, in requests over the control queue,
 * and to the core what the device says, after making sure that it is complete.
 * Whether it makes sense is for the core to judge.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/kprobes.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fadump.h>
#include <linux/virtio_ids.h>
#include <linux/wait.h>

#include "fadump/compat.h"
#include "fadump/fadump.h"

/*
 * Every request is a matter of milliseconds for the device. One that does not
 * answer for this long is broken; waiting on would hang a shutdown.
 */
#define FADUMP_CTRL_TIMEOUT	(30 * HZ)

/* Room for a registration with some five hundred regions. */
#define FADUMP_REQ_SIZE		SZ_16K
#define FADUMP_RESP_SIZE	SZ_16K

/* Regions of a registration besides those of boot memory */
#define FADUMP_OTHER_REGIONS	3

struct fadump_virtio {
	struct fadump_device dev;
	struct virtio_device *vdev;
	struct virtqueue *ctrl_vq;
	/* one request at a time; all below */
	struct mutex lock;
	/* woken by the control queue's interrupt */
	wait_queue_head_t wait;
	/* the device reads the one and writes the other */
	void *req;
	void *resp;
	/* a request was given up on: the device may still write resp */
	bool busy;
};

/* ------------------------------------------------------------------ */
/* Control queue							*/

static const char *fadump_status_name(u32 status)
{
	static const char * const names[] = {
		[VIRTIO_FADUMP_S_OK]		 = "ok",
		[VIRTIO_FADUMP_S_MALFORMED]	 = "malformed request",
		[VIRTIO_FADUMP_S_UNSUPPORTED]	 = "unsupported type",
		[VIRTIO_FADUMP_S_BUSY]		 = "a dump is held",
		[VIRTIO_FADUMP_S_EXISTS]	 = "already registered",
		[VIRTIO_FADUMP_S_NONE]		 = "nothing registered or held",
		[VIRTIO_FADUMP_S_BAD_REGION]	 = "bad region",
		[VIRTIO_FADUMP_S_TOO_MANY]	 = "too many regions",
		[VIRTIO_FADUMP_S_NO_SPACE]	 = "answer does not fit",
		[VIRTIO_FADUMP_S_MISSING_REGION] = "missing region",
		[VIRTIO_FADUMP_S_FAILED]	 = "failed",
	};

	return status < ARRAY_SIZE(names) ? names[status] : "unknown status";
}

/* The errnos that powerpc has for the same, where it has them. */
static int fadump_status_errno(u32 status)
{
	switch (status) {
	case VIRTIO_FADUMP_S_OK:
		return 0;
	case VIRTIO_FADUMP_S_EXISTS:
		return -EEXIST;
	case VIRTIO_FADUMP_S_BUSY:
		return -EBUSY;
	case VIRTIO_FADUMP_S_NONE:
		return -ENOENT;
	case VIRTIO_FADUMP_S_UNSUPPORTED:
		return -ENODEV;
	case VIRTIO_FADUMP_S_MALFORMED:
	case VIRTIO_FADUMP_S_BAD_REGION:
	case VIRTIO_FADUMP_S_TOO_MANY:
	case VIRTIO_FADUMP_S_MISSING_REGION:
		return -EINVAL;
	case VIRTIO_FADUMP_S_NO_SPACE:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

/* A refusal that is for the caller to judge, and to report. */
static bool fadump_status_expected(u32 type, u32 status)
{
	/* What it wanted gone is gone. */
	if (status == VIRTIO_FADUMP_S_NONE)
		return true;
	/* The host is reading the dump. */
	return (type == VIRTIO_FADUMP_REQ_RELEASE ||
		type == VIRTIO_FADUMP_REQ_DISCARD) &&
	       status == VIRTIO_FADUMP_S_BUSY;
}

static void fadump_ctrl_done(struct virtqueue *vq)
{
	struct fadump_virtio *fv = vq->vdev->priv;

	wake_up(&fv->wait);
}

static bool fadump_ctrl_reap(struct fadump_virtio *fv, unsigned int *len)
{
	return virtqueue_get_buf(fv->ctrl_vq, len) ||
	       virtqueue_is_broken(fv->ctrl_vq);
}

/*
 * Sends @size bytes of fv->req; @len: how many the device wrote to fv->resp. If
 * fv->busy is set afterwards, the device still has them.
 */
static int fadump_ctrl_send(struct fadump_virtio *fv, u32 type, u32 size,
			    unsigned int *len)
{
	struct virtio_fadump_req *req = fv->req;
	struct scatterlist sg_req, sg_resp;
	struct scatterlist *sgs[] = { &sg_req, &sg_resp };
	int ret;

	if (!fv->ctrl_vq || virtqueue_is_broken(fv->ctrl_vq))
		return -EIO;
	if (fv->busy) {
		if (!virtqueue_get_buf(fv->ctrl_vq, len))
			return -EIO;
		fv->busy = false;
	}

	req->type = cpu_to_le32(type);
	req->size = cpu_to_le32(size);
	/* What the device does not write must not look like its consent. */
	memset(fv->resp, 0xff, sizeof(struct virtio_fadump_resp));
	sg_init_one(&sg_req, req, size);
	sg_init_one(&sg_resp, fv->resp, FADUMP_RESP_SIZE);
	ret = virtqueue_add_sgs(fv->ctrl_vq, sgs, 1, 1, req, GFP_KERNEL);
	if (ret)
		return ret;
	virtqueue_kick(fv->ctrl_vq);

	if (!wait_event_timeout(fv->wait, fadump_ctrl_reap(fv, len),
				FADUMP_CTRL_TIMEOUT)) {
		/* The buffers stay the device's until it lets go of them. */
		fv->busy = true;
		pr_err("the device does not answer (request %u)\n", type);
		return -EIO;
	}
	if (virtqueue_is_broken(fv->ctrl_vq)) {
		pr_err("the device is broken (request %u)\n", type);
		return -EIO;
	}
	return 0;
}

/* Sends it and judges the answer, which has at least @least bytes if it is OK. */
static int fadump_ctrl(struct fadump_virtio *fv, u32 type, u32 size,
		       size_t least, unsigned int *len)
{
	const struct virtio_fadump_resp *resp = fv->resp;
	u32 status;
	int ret;

	lockdep_assert_held(&fv->lock);

	ret = fadump_ctrl_send(fv, type, size, len);
	if (ret)
		return ret;
	if (*len < sizeof(*resp)) {
		pr_err("the device answered request %u with %u bytes, expected %zu\n",
		       type, *len, sizeof(*resp));
		return -EIO;
	}
	status = le32_to_cpu(resp->status);
	if (status != VIRTIO_FADUMP_S_OK) {
		if (!fadump_status_expected(type, status))
			pr_err("the device refused request %u: %s (%u), detail %llu\n",
			       type, fadump_status_name(status), status,
			       le64_to_cpu(resp->detail));
		return fadump_status_errno(status);
	}
	*len = min_t(unsigned int, *len, FADUMP_RESP_SIZE);
	if (*len < least) {
		pr_err("the device answered request %u with %u bytes, expected %zu\n",
		       type, *len, least);
		return -EIO;
	}
	return 0;
}

/* A request without data, and an answer without */
static int fadump_ctrl_simple(struct fadump_virtio *fv, u32 type)
{
	unsigned int len;
	int ret;

	mutex_lock(&fv->lock);
	ret = fadump_ctrl(fv, type, sizeof(struct virtio_fadump_req),
			  sizeof(struct virtio_fadump_resp), &len);
	mutex_unlock(&fv->lock);
	return ret;
}

/* ------------------------------------------------------------------ */
/* What the core asks for						*/

/*
 * All of it as it was at one moment: read until its generation stays. The host
 * may release a dump between two fields.
 */
static void fadump_get_config(struct virtio_device *vdev,
			      struct virtio_fadump_config *config)
{
	virtio_cread_bytes(vdev, 0, config, sizeof(*config));
}

static void fadump_virtio_get_status(void *priv, struct fadump_status *st)
{
	struct fadump_virtio *fv = priv;
	struct virtio_fadump_config config;

	fadump_get_config(fv->vdev, &config);
	st->desc_size = le64_to_cpu(config.desc_size);
	st->boot_mem_max = le64_to_cpu(config.boot_mem_max);
	st->nr_boots = le32_to_cpu(config.nr_boots);
	st->reading = le32_to_cpu(config.flags) &
		      VIRTIO_FADUMP_CONFIG_F_READING;
	switch (le32_to_cpu(config.state)) {
	case VIRTIO_FADUMP_STATE_REGISTERED:
		st->state = FADUMP_STATE_REGISTERED;
		break;
	case VIRTIO_FADUMP_STATE_DUMP_AVAILABLE:
		st->state = FADUMP_STATE_DUMP;
		break;
	default:
		st->state = FADUMP_STATE_IDLE;
	}
}

static int fadump_read_boot_mem(struct fadump_virtio *fv, unsigned int len,
				struct fadump_boot_mem *bm)
{
	const struct virtio_fadump_boot_mem *resp = fv->resp;
	u32 i, nr = le32_to_cpu(resp->nr_ranges);

	if (nr > ARRAY_SIZE(bm->extents) ||
	    len < struct_size(resp, ranges, nr)) {
		pr_err("the device answered with %u ranges of boot memory in %u bytes\n",
		       nr, len);
		return -EIO;
	}
	bm->size = le64_to_cpu(resp->size);
	bm->nr = nr;
	for (i = 0; i < nr; i++) {
		bm->extents[i].addr = le64_to_cpu(resp->ranges[i].addr);
		bm->extents[i].len = le64_to_cpu(resp->ranges[i].len);
	}
	return 0;
}

static int fadump_virtio_get_boot_mem(void *priv, u64 size,
				      struct fadump_boot_mem *bm)
{
	struct fadump_virtio *fv = priv;
	struct virtio_fadump_get_boot_mem *req = fv->req;
	unsigned int len;
	int ret;

	mutex_lock(&fv->lock);
	memset(req, 0, sizeof(*req));
	req->size = cpu_to_le64(size);
	ret = fadump_ctrl(fv, VIRTIO_FADUMP_REQ_GET_BOOT_MEM, sizeof(*req),
			  sizeof(struct virtio_fadump_boot_mem), &len);
	if (!ret)
		ret = fadump_read_boot_mem(fv, len, bm);
	mutex_unlock(&fv->lock);
	return ret;
}

static struct virtio_fadump_region *
fadump_fill_region(struct virtio_fadump_region *r, u32 type, u64 src, u64 len,
		   u64 dst)
{
	*r = (struct virtio_fadump_region) {
		.type = cpu_to_le32(type),
		.src = cpu_to_le64(src),
		.len = cpu_to_le64(len),
		.dst = cpu_to_le64(dst),
	};
	return r + 1;
}

static int fadump_virtio_register(void *priv,
				  const struct fadump_registration *reg)
{
	struct fadump_virtio *fv = priv;
	struct virtio_fadump_register *req = fv->req;
	struct virtio_fadump_region *r = req->regions;
	unsigned int len;
	u32 i;
	int ret;

	mutex_lock(&fv->lock);
	memset(req, 0, sizeof(*req));
	r = fadump_fill_region(r, VIRTIO_FADUMP_REGION_CPU_STATE, 0, 0, 0);
	for (i = 0; i < reg->pieces->nr; i++) {
		const struct fadump_piece *p = &reg->pieces->piece[i];

		r = fadump_fill_region(r, VIRTIO_FADUMP_REGION_BOOT_MEM, p->src,
				       p->len, p->dst == FADUMP_DST_HOST ?
				       VIRTIO_FADUMP_DST_HOST : p->dst);
	}
	r = fadump_fill_region(r, VIRTIO_FADUMP_REGION_VMCOREINFO,
			       reg->vmcoreinfo.addr, reg->vmcoreinfo.len, 0);
	r = fadump_fill_region(r, VIRTIO_FADUMP_REGION_CRASH_NOTE,
			       reg->crash_note.addr, reg->crash_note.len, 0);
	req->nr_regions = cpu_to_le32(r - req->regions);
	req->boot_mem = cpu_to_le64(reg->boot_mem);
	ret = fadump_ctrl(fv, VIRTIO_FADUMP_REQ_REGISTER,
			  (void *)r - (void *)req,
			  sizeof(struct virtio_fadump_resp), &len);
	mutex_unlock(&fv->lock);
	return ret;
}

static int fadump_virtio_unregister(void *priv)
{
	return fadump_ctrl_simple(priv, VIRTIO_FADUMP_REQ_UNREGISTER);
}

static int fadump_virtio_invalidate(void *priv)
{
	return fadump_ctrl_simple(priv, VIRTIO_FADUMP_REQ_RELEASE);
}

static int fadump_virtio_discard(void *priv, u64 addr, u64 size)
{
	struct fadump_virtio *fv = priv;
	struct virtio_fadump_discard *req = fv->req;
	unsigned int len;
	int ret;

	mutex_lock(&fv->lock);
	memset(req, 0, sizeof(*req));
	req->addr = cpu_to_le64(addr);
	req->len = cpu_to_le64(size);
	ret = fadump_ctrl(fv, VIRTIO_FADUMP_REQ_DISCARD, sizeof(*req),
			  sizeof(struct virtio_fadump_resp), &len);
	mutex_unlock(&fv->lock);
	return ret;
}

/*
 * One write of 32 bits to the device's registers, straight through the transport,
 * which fadump_validate() knows to be no more than that. virtio_cwrite() would do
 * the same but may sleep for other transports.
 */
static void fadump_virtio_trigger(void *priv, enum fadump_trigger what)
{
	static const u32 values[] = {
		[FADUMP_TRIGGER_PANIC]	    = VIRTIO_FADUMP_TRIGGER_PANIC,
		[FADUMP_TRIGGER_YIELD]	    = VIRTIO_FADUMP_TRIGGER_YIELD,
		[FADUMP_TRIGGER_UNREGISTER] = VIRTIO_FADUMP_TRIGGER_UNREGISTER,
		[FADUMP_TRIGGER_WILL_YIELD] = VIRTIO_FADUMP_TRIGGER_WILL_YIELD,
		[FADUMP_TRIGGER_WONT_YIELD] = VIRTIO_FADUMP_TRIGGER_WONT_YIELD,
	};
	struct fadump_virtio *fv = priv;
	__le32 val = cpu_to_le32(values[what]);

	fv->vdev->config->set(fv->vdev,
			      offsetof(struct virtio_fadump_config, trigger),
			      &val, sizeof(val));
}

NOKPROBE_SYMBOL(fadump_virtio_trigger);

static const struct fadump_ops fadump_virtio_ops = {
	.fadump_get_status	= fadump_virtio_get_status,
	.fadump_get_boot_mem	= fadump_virtio_get_boot_mem,
	.fadump_register	= fadump_virtio_register,
	.fadump_unregister	= fadump_virtio_unregister,
	.fadump_invalidate	= fadump_virtio_invalidate,
	.fadump_trigger		= fadump_virtio_trigger,
};

static const struct fadump_ops fadump_virtio_discard_ops = {
	.fadump_get_status	= fadump_virtio_get_status,
	.fadump_get_boot_mem	= fadump_virtio_get_boot_mem,
	.fadump_register	= fadump_virtio_register,
	.fadump_unregister	= fadump_virtio_unregister,
	.fadump_invalidate	= fadump_virtio_invalidate,
	.fadump_discard		= fadump_virtio_discard,
	.fadump_trigger		= fadump_virtio_trigger,
};

/* ------------------------------------------------------------------ */
/* The device's life							*/

/*
 * A panic may not sleep, nor take a lock that the panicking CPU may have: PCI and
 * MMIO write a register, vDPA and channel I/O do more.
 */
static bool fadump_transport_ok(struct virtio_device *vdev)
{
	struct device *parent = vdev->dev.parent;

	if (parent && dev_is_pci(parent))
		return true;
	return parent && parent->driver &&
	       !strcmp(parent->driver->name, "virtio-mmio");
}

static int fadump_validate(struct virtio_device *vdev)
{
	if (!fadump_transport_ok(vdev)) {
		pr_err("not used: this transport of virtio cannot be written to in a panic\n");
		return -ENODEV;
	}
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		pr_err("the device is a legacy one, which this driver does not know\n");
		return -ENODEV;
	}
	if (!virtio_has_feature(vdev, VIRTIO_FADUMP_F_HOST_MEM) &&
	    !virtio_has_feature(vdev, VIRTIO_FADUMP_F_GUEST_MEM)) {
		pr_err("the device keeps a dump neither in host nor in guest memory (features HOST_MEM, GUEST_MEM)\n");
		return -ENODEV;
	}
	/* Else the next boot would overwrite what is preserved. */
	if (!virtio_has_feature(vdev, VIRTIO_FADUMP_F_CONFINE)) {
		pr_err("the device cannot confine a boot to boot memory (feature CONFINE)\n");
		return -ENODEV;
	}
	return 0;
}

static void fadump_find_window(struct virtio_device *vdev,
			       const struct virtio_fadump_config *config,
			       struct fadump_extent *window)
{
	struct virtio_shm_region shm;

	window->addr = le64_to_cpu(config->window_addr);
	window->len = le64_to_cpu(config->window_len);
	if (window->addr)
		return;
	if (virtio_get_shm_region(vdev, &shm, VIRTIO_FADUMP_SHM_ID_WINDOW)) {
		window->addr = shm.addr;
		window->len = shm.len;
	} else {
		window->len = 0;
	}
}

static int fadump_read_config(struct fadump_virtio *fv)
{
	struct virtio_device *vdev = fv->vdev;
	struct virtio_fadump_config config;
	struct virtio_fadump_register *reg;
	u32 max;

	fadump_get_config(vdev, &config);
	max = min_t(u32, le32_to_cpu(config.max_regions),
		    (FADUMP_REQ_SIZE - sizeof(*reg)) / sizeof(reg->regions[0]));
	if (max <= FADUMP_OTHER_REGIONS) {
		pr_err("the device takes %u regions, this driver needs %u\n",
		       max, FADUMP_OTHER_REGIONS + 1);
		return -ENODEV;
	}
	fv->dev.max_pieces = max - FADUMP_OTHER_REGIONS;
	fv->dev.discard_size = le64_to_cpu(config.discard_size);
	fv->dev.priv = fv;
	fv->dev.host_mem = virtio_has_feature(vdev, VIRTIO_FADUMP_F_HOST_MEM);
	fv->dev.guest_mem = virtio_has_feature(vdev, VIRTIO_FADUMP_F_GUEST_MEM);
	fv->dev.ops = virtio_has_feature(vdev, VIRTIO_FADUMP_F_DISCARD) &&
		      is_power_of_2(fv->dev.discard_size) ?
		      &fadump_virtio_discard_ops : &fadump_virtio_ops;
	fadump_find_window(vdev, &config, &fv->dev.window);
	return 0;
}

static int fadump_init_vqs(struct fadump_virtio *fv)
{
	struct virtqueue *vq;

	vq = virtio_find_single_vq(fv->vdev, fadump_ctrl_done, "control");
	if (IS_ERR(vq))
		return PTR_ERR(vq);
	fv->ctrl_vq = vq;
	fv->busy = false;
	virtio_device_ready(fv->vdev);
	return 0;
}

static void fadump_del_vqs(struct fadump_virtio *fv)
{
	virtio_reset_device(fv->vdev);
	/* The memory is ours all along, but mappings for the device are not. */
	while (virtqueue_detach_unused_buf(fv->ctrl_vq))
		;
	fv->vdev->config->del_vqs(fv->vdev);
	fv->ctrl_vq = NULL;
	fv->busy = false;
}

static void fadump_free(struct fadump_virtio *fv)
{
	kfree(fv->resp);
	kfree(fv->req);
	mutex_destroy(&fv->lock);
	kfree(fv);
}

static struct fadump_virtio *fadump_alloc(struct virtio_device *vdev)
{
	struct fadump_virtio *fv = kzalloc(sizeof(*fv), GFP_KERNEL);

	if (!fv)
		return NULL;
	mutex_init(&fv->lock);
	init_waitqueue_head(&fv->wait);
	fv->vdev = vdev;
	fv->req = kzalloc(FADUMP_REQ_SIZE, GFP_KERNEL);
	fv->resp = kzalloc(FADUMP_RESP_SIZE, GFP_KERNEL);
	if (!fv->req || !fv->resp) {
		fadump_free(fv);
		return NULL;
	}
	return fv;
}

static int fadump_probe(struct virtio_device *vdev)
{
	struct fadump_virtio *fv = fadump_alloc(vdev);
	int ret;

	if (!fv)
		return -ENOMEM;
	vdev->priv = fv;
	ret = fadump_read_config(fv);
	if (ret)
		goto out_free;
	ret = fadump_attach(&fv->dev);
	if (ret)
		goto out_free;
	ret = fadump_init_vqs(fv);
	if (ret)
		goto out_detach;
	ret = fadump_start();
	if (ret)
		goto out_vqs;
	return 0;

out_vqs:
	fadump_del_vqs(fv);
out_detach:
	fadump_detach();
out_free:
	fadump_free(fv);
	return ret;
}

static void fadump_remove(struct virtio_device *vdev)
{
	struct fadump_virtio *fv = vdev->priv;

	fadump_stop();
	fadump_del_vqs(fv);
	fadump_detach();
	fadump_free(fv);
}

static void fadump_config_changed(struct virtio_device *vdev)
{
	fadump_event();
}

#ifdef CONFIG_PM_SLEEP
static int fadump_virtio_freeze(struct virtio_device *vdev)
{
	int ret = fadump_freeze();

	if (!ret)
		fadump_del_vqs(vdev->priv);
	return ret;
}

static int fadump_virtio_restore(struct virtio_device *vdev)
{
	int ret = fadump_init_vqs(vdev->priv);

	/* Also without a queue: it is told that requests fail. */
	fadump_thaw();
	return ret;
}
#endif

static const struct virtio_device_id fadump_id_table[] = {
	{ VIRTIO_ID_FADUMP, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, fadump_id_table);

static const unsigned int fadump_features[] = {
	VIRTIO_FADUMP_F_HOST_MEM,
	VIRTIO_FADUMP_F_GUEST_MEM,
	VIRTIO_FADUMP_F_CONFINE,
	VIRTIO_FADUMP_F_DISCARD,
};

static struct virtio_driver fadump_driver = {
	.driver.name		= KBUILD_MODNAME,
	.driver.owner		= THIS_MODULE,
	.id_table		= fadump_id_table,
	.feature_table		= fadump_features,
	.feature_table_size	= ARRAY_SIZE(fadump_features),
	.validate		= fadump_validate,
	.probe			= fadump_probe,
	.remove			= fadump_remove,
	.config_changed		= fadump_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze			= fadump_virtio_freeze,
	.restore		= fadump_virtio_restore,
#endif
};
module_virtio_driver(fadump_driver);

MODULE_DESCRIPTION("Firmware-assisted dump for virtual machines, virtio");
MODULE_LICENSE("GPL");
