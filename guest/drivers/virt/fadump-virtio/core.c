// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-fadump: firmware-assisted dump for virtual machines.
 *
 * What the firmware of a POWER machine does there, the hypervisor does here. As
 * long as the guest is registered, its death is captured: the device keeps the
 * registers of all vCPUs and what is in boot memory, leaves the rest of RAM
 * where it is, and resets the machine. The same kernel boots again, from the
 * same disk, in boot memory only. This driver finds the dump and shows it as
 * /proc/vmcore, and when the user writes to release_mem it gives the preserved
 * memory back to the running kernel. No crash kernel, no memory reserved, no
 * second reboot.
 *
 * This file has the virtio device: its requests, registration, and its life.
 * The others: the moment of the crash (hook), the dump descriptor and the ELF
 * header made from it (desc), destinations in guest memory (dest), /proc/vmcore,
 * the memory's way back (release), what the host does on its own (event), and
 * what powerpc has in /sys/kernel/fadump (sysfs).
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/crash_dump.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/virtio_ids.h>

#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "compat.h"
#include "fadump-virtio.h"

/*
 * Every request is a matter of milliseconds for the device. One that does not
 * answer for this long is broken; waiting on would hang a shutdown.
 */
#define FADUMP_CTRL_TIMEOUT	(30 * HZ)

/*
 * A descriptor has about 1 KiB for a vCPU and 48 bytes for a memory range: far
 * more than any machine needs, and little enough for boot memory.
 */
#define FADUMP_DESC_MAX		(32UL << 20)

/* Room for a registration with some five hundred regions. */
#define FADUMP_REQ_SIZE		(16UL << 10)

static bool fadump_enable = true;
module_param_named(enable, fadump_enable, bool, 0444);
MODULE_PARM_DESC(enable, "Use firmware-assisted dump (default: on)");

static bool fadump_register_at_probe = true;
module_param_named(register, fadump_register_at_probe, bool, 0444);
MODULE_PARM_DESC(register,
		 "Register as soon as there is no dump to be saved (default: on)");

/* Where boot memory goes at a crash. */
enum fadump_dest {
	FADUMP_DEST_AUTO,
	FADUMP_DEST_HOST,
	FADUMP_DEST_GUEST,
};

static const char * const fadump_dest_names[] = {
	[FADUMP_DEST_AUTO]	= "auto",
	[FADUMP_DEST_HOST]	= "host",
	[FADUMP_DEST_GUEST]	= "guest",
};

static enum fadump_dest fadump_dest = FADUMP_DEST_AUTO;

static int fadump_dest_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(fadump_dest_names, val);

	if (i < 0)
		return i;
	fadump_dest = i;
	return 0;
}

static int fadump_dest_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", fadump_dest_names[fadump_dest]);
}

static const struct kernel_param_ops fadump_dest_ops = {
	.set	= fadump_dest_set,
	.get	= fadump_dest_get,
};
module_param_cb(dest, &fadump_dest_ops, NULL, 0444);
MODULE_PARM_DESC(dest,
		 "Where boot memory goes at a crash: \"host\", \"guest\", or \"auto\" (default: to the host if it offers that)");

struct fadump fadump = {
	.lock		= __MUTEX_INITIALIZER(fadump.lock),
	.ctrl_wait	= __WAIT_QUEUE_HEAD_INITIALIZER(fadump.ctrl_wait),
	.event_lock	= __SPIN_LOCK_UNLOCKED(fadump.event_lock),
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

static void fadump_ctrl_done(struct virtqueue *vq)
{
	wake_up(&fadump.ctrl_wait);
}

static bool fadump_ctrl_reap(struct fadump *fd, unsigned int *len)
{
	return virtqueue_get_buf(fd->ctrl_vq, len) ||
	       virtqueue_is_broken(fd->ctrl_vq);
}

/* A refusal that is for the caller to judge, and to report. */
static bool fadump_status_expected(u16 type, u32 status)
{
	/* What it wanted gone is gone. */
	if (status == VIRTIO_FADUMP_S_NONE)
		return true;
	/* The host is saving the dump. */
	return (type == VIRTIO_FADUMP_REQ_RELEASE ||
		type == VIRTIO_FADUMP_REQ_DISCARD) &&
	       status == VIRTIO_FADUMP_S_BUSY;
}

/*
 * Sends the @size bytes in fd->ctrl_req and waits for the answer. If fd->ctrl_busy
 * is set afterwards, the device still has @resp.
 */
static int fadump_ctrl_answer(struct fadump *fd, u16 type, u32 size,
			      struct virtio_fadump_resp *resp, u32 resp_size)
{
	struct virtio_fadump_req *req = fd->ctrl_req;
	struct scatterlist sg_req, sg_resp;
	struct scatterlist *sgs[] = { &sg_req, &sg_resp };
	unsigned int len = 0;
	u32 status;
	int ret;

	lockdep_assert_held(&fd->lock);

	if (!fd->ctrl_vq || virtqueue_is_broken(fd->ctrl_vq))
		return -EIO;
	if (fd->ctrl_busy) {
		if (!virtqueue_get_buf(fd->ctrl_vq, &len))
			return -EIO;
		fd->ctrl_busy = false;
	}

	req->version = cpu_to_le16(VIRTIO_FADUMP_VERSION);
	req->type = cpu_to_le16(type);
	req->size = cpu_to_le32(size);
	/* What the device does not write must not look like its consent. */
	memset(resp, 0xff, sizeof(*resp));

	sg_init_one(&sg_req, req, size);
	sg_init_one(&sg_resp, resp, resp_size);
	ret = virtqueue_add_sgs(fd->ctrl_vq, sgs, 1, 1, req, GFP_KERNEL);
	if (ret)
		return ret;
	virtqueue_kick(fd->ctrl_vq);

	if (!wait_event_timeout(fd->ctrl_wait, fadump_ctrl_reap(fd, &len),
				FADUMP_CTRL_TIMEOUT)) {
		/* The buffers stay the device's until it lets go of them. */
		fd->ctrl_busy = true;
		pr_err("the device does not answer (request %u)\n", type);
		return -EIO;
	}
	if (virtqueue_is_broken(fd->ctrl_vq)) {
		pr_err("the device is broken (request %u)\n", type);
		return -EIO;
	}
	if (len < sizeof(*resp)) {
		pr_err("the device answered request %u with %u bytes, expected %zu\n",
		       type, len, sizeof(*resp));
		return -EIO;
	}

	status = le32_to_cpu(resp->status);
	if (status != VIRTIO_FADUMP_S_OK &&
	    !fadump_status_expected(type, status))
		pr_err("the device refused request %u: %s (%u), detail %llu\n",
		       type, fadump_status_name(status), status,
		       le64_to_cpu(resp->detail));
	return fadump_status_errno(status);
}

static int fadump_ctrl(struct fadump *fd, u16 type, u32 size)
{
	struct virtio_fadump_resp *resp = fd->ctrl_resp;

	return fadump_ctrl_answer(fd, type, size, resp, sizeof(*resp));
}

u32 fadump_device_state(struct fadump *fd)
{
	u32 state;

	virtio_cread_le(fd->vdev, struct virtio_fadump_config, state, &state);
	return state;
}

bool fadump_register_wanted(void)
{
	return fadump_register_at_probe;
}

/* Regions besides those of boot memory */
#define FADUMP_OTHER_REGIONS	3

/* Most regions that one request can name. */
static u32 fadump_regions_max(struct fadump *fd)
{
	struct virtio_fadump_register *reg;

	return min_t(size_t, fd->max_regions,
		     (fd->ctrl_req_size - sizeof(*reg)) /
		     sizeof(reg->regions[0]));
}

/* Adds what says where boot memory goes; the first region after that. */
static struct virtio_fadump_region *
fadump_fill_boot_mem(struct fadump *fd, struct virtio_fadump_region *r)
{
	struct fadump_piece p = {
		.len = fd->boot_mem_size,
		.dst = VIRTIO_FADUMP_DST_HOST,
	};
	u32 i = 0;

	do {
		if (fd->dest_guest && !fadump_dest_piece(i++, &p))
			break;
		r->type = cpu_to_le32(VIRTIO_FADUMP_REGION_BOOT_MEM);
		r->src = cpu_to_le64(p.src);
		r->len = cpu_to_le64(p.len);
		r->dst = cpu_to_le64(p.dst);
		r++;
	} while (fd->dest_guest);
	return r;
}

static void fadump_say_registered(struct fadump *fd)
{
	u64 reserved = fd->dest_guest ? fadump_dest_reserved() : 0;

	if (fadump_dest_all(fd))
		pr_info("registered, all memory is set aside at a crash, 0 MB reserved\n");
	else
		pr_info("registered, %llu MiB are set aside at a crash%s, %llu MB reserved\n",
			fd->boot_mem_size >> 20,
			fd->dest_guest ? " in guest memory" : "",
			reserved >> 20);
	if (fd->dest_guest && reserved < fd->boot_mem_size)
		pr_info("a dump will lack user memory of ZONE_MOVABLE that boot memory goes to\n");
}

/* Can the device put boot memory where it is to go? */
static int fadump_check_dest(struct fadump *fd)
{
	unsigned int bit = fd->dest_guest ? VIRTIO_FADUMP_F_GUEST_MEM :
					    VIRTIO_FADUMP_F_HOST_MEM;

	if (virtio_has_feature(fd->vdev, bit))
		return 0;
	if (fd->dest_guest)
		pr_err("not registered: the device takes no destinations in guest memory (feature GUEST_MEM); load with dest=host\n");
	else
		pr_err("not registered: the device cannot keep a dump in host memory (feature HOST_MEM); load with dest=guest\n");
	return -ENODEV;
}

int fadump_register(struct fadump *fd)
{
	struct virtio_fadump_register *reg = fd->ctrl_req;
	struct virtio_fadump_region *r = reg->regions;
	u32 max = fadump_regions_max(fd);
	int ret;

	lockdep_assert_held(&fd->lock);

	if (fd->closed || !fd->vdev)
		return -ENODEV;
	if (!fd->boot_mem_size || !IS_ALIGNED(fd->boot_mem_size, PAGE_SIZE)) {
		pr_err("the device wants to set aside 0x%llx bytes, which are no whole pages\n",
		       fd->boot_mem_size);
		return -EINVAL;
	}
	if (max <= FADUMP_OTHER_REGIONS) {
		pr_err("the device takes %u regions, this driver needs %u\n",
		       fd->max_regions, FADUMP_OTHER_REGIONS + 1);
		return -EINVAL;
	}
	ret = fadump_check_dest(fd);
	if (ret)
		return ret;
	if (fd->dest_guest) {
		ret = fadump_dest_prepare(fd, max - FADUMP_OTHER_REGIONS);
		if (ret)
			return ret;
	}

	memset(fd->ctrl_req, 0, fd->ctrl_req_size);

	r->type = cpu_to_le32(VIRTIO_FADUMP_REGION_CPU_STATE);
	r++;

	r = fadump_fill_boot_mem(fd, r);

	r->type = cpu_to_le32(VIRTIO_FADUMP_REGION_VMCOREINFO);
	r->src = cpu_to_le64(paddr_vmcoreinfo_note());
	r->len = cpu_to_le64(VMCOREINFO_NOTE_SIZE);
	r++;

	r->type = cpu_to_le32(VIRTIO_FADUMP_REGION_PARAM);
	r->src = cpu_to_le64(virt_to_phys(fd->param));
	r->len = cpu_to_le64(PAGE_SIZE);
	r++;

	reg->nr_regions = cpu_to_le32(r - reg->regions);
	ret = fadump_ctrl(fd, VIRTIO_FADUMP_REQ_REGISTER,
			  (void *)r - (void *)reg);
	if (ret) {
		fadump_dest_idle();
		return ret;
	}

	fd->registered = true;
	fadump_hook_arm(fd->vdev);
	fadump_say_registered(fd);
	return 0;
}

int fadump_unregister(struct fadump *fd)
{
	int ret;

	lockdep_assert_held(&fd->lock);

	if (!fd->registered)
		return 0;

	/*
	 * First, or a crash in between would wait for a device that has nothing
	 * to do with it any more.
	 */
	fadump_hook_disarm();
	ret = fadump_ctrl(fd, VIRTIO_FADUMP_REQ_UNREGISTER,
			  sizeof(struct virtio_fadump_req));
	if (ret && ret != -ENOENT) {
		fadump_hook_arm(fd->vdev);
		return ret;
	}
	fd->registered = false;
	fadump_dest_idle();
	pr_debug("unregistered\n");
	return 0;
}

/*
 * Drops the dump; on success the preserved memory is the guest's again. -EBUSY:
 * the host is saving it.
 */
int fadump_device_release(struct fadump *fd)
{
	int ret;

	lockdep_assert_held(&fd->lock);

	ret = fadump_ctrl(fd, VIRTIO_FADUMP_REQ_RELEASE,
			  sizeof(struct virtio_fadump_req));
	if (ret == -ENOENT) {
		pr_notice("the host had released the dump already\n");
		ret = 0;
	}
	/* Until the registration: there is nothing to tell the device. */
	if (!ret)
		fadump_hook_disarm();
	return ret;
}

/**
 * fadump_device_discard - the content of part of the dump is needed no more
 * @fd: the driver; its lock is held
 * @addr: where the crashed kernel had it
 * @len: bytes, whole pages as @addr is
 *
 * The host may free what it holds of it; that reads as zero from then on.
 *
 * Return: 0 or a negative errno: -EBUSY, the host is saving the dump; -ENOENT,
 * there is none any more; -EINVAL, the device does not take the range.
 */
int fadump_device_discard(struct fadump *fd, u64 addr, u64 len)
{
	struct virtio_fadump_discard *req = fd->ctrl_req;

	lockdep_assert_held(&fd->lock);

	memset(req, 0, sizeof(*req));
	req->addr = cpu_to_le64(addr);
	req->len = cpu_to_le64(len);
	return fadump_ctrl(fd, VIRTIO_FADUMP_REQ_DISCARD, sizeof(*req));
}

/* ------------------------------------------------------------------ */
/* The dump of the last boot						*/

static bool fadump_is_ram(u64 addr, u64 len)
{
	return region_intersects(addr, len, IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

static u64 fadump_phys_limit(void)
{
	struct range mhp = mhp_get_pluggable_range(true);
	u64 limit = mhp.end + 1ULL;

#ifdef CONFIG_X86
	limit = min(limit, 1ULL << boot_cpu_data.x86_phys_bits);
#endif
	return limit;
}

static int fadump_copy_desc_shm(struct fadump *fd, u64 size)
{
	void *map = memremap(fd->shm.addr, size, MEMREMAP_WB);

	if (!map)
		return -ENOMEM;
	/* Looked at only after this: the host could change what is there. */
	memcpy(fd->desc_buf, map, size);
	memunmap(map);
	return 0;
}

/* A device without host memory has no region to read it from. */
static int fadump_copy_desc_ctrl(struct fadump *fd, u64 size)
{
	struct virtio_fadump_resp *resp;
	size_t resp_size = sizeof(*resp) + size;
	int ret;

	resp = alloc_pages_exact(resp_size, GFP_KERNEL | __GFP_ZERO |
					    __GFP_NOWARN);
	if (!resp)
		return -ENOMEM;
	ret = fadump_ctrl_answer(fd, VIRTIO_FADUMP_REQ_GET_DESCRIPTOR,
				 sizeof(struct virtio_fadump_req), resp,
				 resp_size);
	if (!ret)
		memcpy(fd->desc_buf, resp + 1, size);
	/* Better lost than written to by the device later. */
	if (!fd->ctrl_busy)
		free_pages_exact(resp, resp_size);
	return ret;
}

static int fadump_read_desc(struct fadump *fd, struct fadump_why *why)
{
	struct fadump_desc_env env = {
		.shm_len	= fd->shm.len,
		.phys_limit	= fadump_phys_limit(),
		.page_size	= PAGE_SIZE,
		.is_ram		= fadump_is_ram,
	};
	u64 size;
	int ret;

	virtio_cread_le(fd->vdev, struct virtio_fadump_config, desc_size,
			&size);
	if (!size || size > FADUMP_DESC_MAX ||
	    (fd->shm.len && size > fd->shm.len)) {
		snprintf(why->text, sizeof(why->text),
			 "%llu bytes long, the shared memory region has %llu",
			 size, fd->shm.len);
		return -EINVAL;
	}

	ret = -ENOMEM;
	fd->desc_buf = kvmalloc(size, GFP_KERNEL);
	if (fd->desc_buf)
		ret = fd->shm.len ? fadump_copy_desc_shm(fd, size) :
				    fadump_copy_desc_ctrl(fd, size);
	if (ret) {
		snprintf(why->text, sizeof(why->text),
			 "its %llu bytes cannot be read (%d)", size, ret);
		return ret;
	}
	return fadump_desc_parse(fd->desc_buf, size, &env, &fd->desc, why);
}

/* Forgets the dump, not the device. */
void fadump_forget_dump(struct fadump *fd)
{
	fadump_vmcore_destroy(fd);
	memset(&fd->desc, 0, sizeof(fd->desc));
	kvfree(fd->desc_buf);
	fd->desc_buf = NULL;
}

/* @ret and @why: how fadump_read_desc() ended. */
static void fadump_take_dump(struct fadump *fd, int ret,
			     const struct fadump_why *why)
{
	struct fadump_desc_info *d = &fd->desc;
	char cpu[24] = "no vCPU";
	u32 boots;

	virtio_cread_le(fd->vdev, struct virtio_fadump_config, nr_boots,
			&boots);

	/*
	 * A crash from now on is not captured, as one dump is held already. But
	 * it is counted and the machine reset, instead of hanging in a panic.
	 */
	fadump_hook_arm(fd->vdev);

	if (ret) {
		pr_err("the device holds a dump that cannot be used: %s\n",
		       why->text);
		pr_err("there is no /proc/vmcore; write 1 to /sys/kernel/fadump/release_mem to drop it\n");
		fadump_forget_dump(fd);
		fd->dump = FADUMP_DUMP_UNTRUSTED;
		return;
	}

	fd->dump = FADUMP_DUMP_ACTIVE;
	if (d->crash_cpu != VIRTIO_FADUMP_CPU_NONE)
		snprintf(cpu, sizeof(cpu), "vCPU %u", d->crash_cpu);
	pr_info("firmware-assisted dump is active\n");
	pr_info("dump %pUb, cause %s, on %s of %u, %llu MiB, captured in %llu us, boot %u since\n",
		d->dump_id, fadump_cause_name(d->cause), cpu, d->nr_vcpus,
		d->bytes_held >> 20, d->capture_ns / NSEC_PER_USEC, boots);
	if (d->bytes_dest)
		pr_info("not in the dump: 0x%llx bytes of the crashed kernel's memory to which boot memory went\n",
			d->bytes_dest);
	if (d->bytes_held + d->bytes_dest != d->bytes_total)
		pr_warn("0x%llx bytes of memory could not be saved\n",
			d->bytes_total - d->bytes_dest - d->bytes_held);

	/* What the crashed kernel had there: text that ends with a NUL. */
	memset(fd->param, 0, PAGE_SIZE);
	if (d->param)
		memcpy(fd->param, d->param,
		       min_t(u64, d->param_size, PAGE_SIZE - 1));

	/*
	 * No vmcore is no reason to keep the memory away as well: what is known
	 * of it can be trusted.
	 */
	ret = fadump_vmcore_create(fd);
	if (ret)
		pr_err("no /proc/vmcore (%d); write 1 to /sys/kernel/fadump/release_mem to have the memory back\n",
		       ret);
}

/* ------------------------------------------------------------------ */
/* The device's life							*/

/*
 * To the device a reset while registered is a crash. So tell it before an
 * orderly one: reboot, halt, power-off and kexec all come by here.
 */
static int fadump_reboot_event(struct notifier_block *nb, unsigned long event,
			       void *ptr)
{
	struct fadump *fd = &fadump;

	mutex_lock(&fd->lock);
	fd->closed = true;
	if (fd->vdev && fadump_unregister(fd)) {
		/* The queue does not work; the register needs none. */
		__le32 val = cpu_to_le32(VIRTIO_FADUMP_TRIGGER_DISARM);

		fadump_hook_disarm();
		fd->vdev->config->set(fd->vdev,
				      offsetof(struct virtio_fadump_config,
					       trigger),
				      &val, sizeof(val));
		fd->registered = false;
	}
	mutex_unlock(&fd->lock);
	return NOTIFY_DONE;
}

static struct notifier_block fadump_reboot_nb = {
	.notifier_call	= fadump_reboot_event,
	/* last, so that what the others do is still covered */
	.priority	= INT_MIN,
};

static int fadump_init_vqs(struct fadump *fd)
{
	struct virtqueue_info info[] = {
		[VIRTIO_FADUMP_VQ_CTRL]	 = { "control", fadump_ctrl_done },
		[VIRTIO_FADUMP_VQ_EVENT] = { "event", fadump_event_done },
	};
	struct virtqueue *vqs[ARRAY_SIZE(info)] = { NULL };
	unsigned int nr = 1;
	int ret;

	if (virtio_has_feature(fd->vdev, VIRTIO_FADUMP_F_EVENTS))
		nr++;
	ret = virtio_find_vqs(fd->vdev, nr, vqs, info, NULL);
	if (ret)
		return ret;
	fd->ctrl_vq = vqs[VIRTIO_FADUMP_VQ_CTRL];
	fd->ctrl_busy = false;
	fd->event_vq = vqs[VIRTIO_FADUMP_VQ_EVENT];
	virtio_device_ready(fd->vdev);
	fadump_events_fill(fd);
	return 0;
}

static void fadump_detach_bufs(struct virtqueue *vq)
{
	while (vq && virtqueue_detach_unused_buf(vq))
		;
}

/* The events are stopped. */
static void fadump_del_vqs(struct fadump *fd)
{
	virtio_reset_device(fd->vdev);
	/* The memory is ours all along, but mappings for the device are not. */
	fadump_detach_bufs(fd->ctrl_vq);
	fadump_detach_bufs(fd->event_vq);
	fd->vdev->config->del_vqs(fd->vdev);
	fd->ctrl_vq = NULL;
	fd->event_vq = NULL;
	fd->ctrl_busy = false;
	/* The reset took the registration with it. */
	fd->registered = false;
}

static int fadump_validate(struct virtio_device *vdev)
{
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

static int fadump_read_config(struct fadump *fd)
{
	u32 version;

	virtio_cread_le(fd->vdev, struct virtio_fadump_config, version,
			&version);
	if (!version || version > VIRTIO_FADUMP_VERSION) {
		pr_err("the device speaks version %u, this driver knows up to %u\n",
		       version, VIRTIO_FADUMP_VERSION);
		return -ENODEV;
	}
	virtio_cread_le(fd->vdev, struct virtio_fadump_config, boot_mem_size,
			&fd->boot_mem_size);
	virtio_cread_le(fd->vdev, struct virtio_fadump_config, max_regions,
			&fd->max_regions);
	fd->dest_guest = fadump_dest == FADUMP_DEST_GUEST ||
			 (fadump_dest == FADUMP_DEST_AUTO &&
			  !virtio_has_feature(fd->vdev,
					      VIRTIO_FADUMP_F_HOST_MEM));

	memset(&fd->shm, 0, sizeof(fd->shm));
	if (!virtio_get_shm_region(fd->vdev, &fd->shm,
				   VIRTIO_FADUMP_SHM_ID_DUMP)) {
		if (!virtio_has_feature(fd->vdev, VIRTIO_FADUMP_F_HOST_MEM))
			return 0;
		pr_err("the device has no shared memory region %u\n",
		       VIRTIO_FADUMP_SHM_ID_DUMP);
		return -ENODEV;
	}
	if (!devm_request_mem_region(&fd->vdev->dev, fd->shm.addr, fd->shm.len,
				     KBUILD_MODNAME)) {
		pr_err("the shared memory region at 0x%llx is in use\n",
		       fd->shm.addr);
		return -EBUSY;
	}
	return 0;
}

/* Leaves nothing of the device behind, whatever of it there is but events. */
static void fadump_teardown(struct fadump *fd)
{
	lockdep_assert_held(&fd->lock);

	/* The device keeps the dump, and the next probe finds it again. */
	fadump_forget_dump(fd);
	fd->dump = FADUMP_DUMP_NONE;
	fadump_unplan(fd);

	if (fd->ctrl_vq)
		fadump_del_vqs(fd);
	fadump_dest_release();
	fadump_events_free(fd);
	free_page((unsigned long)fd->param);
	kfree(fd->ctrl_resp);
	kfree(fd->ctrl_req);
	fd->param = NULL;
	fd->ctrl_resp = NULL;
	fd->ctrl_req = NULL;
	fd->vdev = NULL;
}

static void fadump_remove(struct virtio_device *vdev)
{
	struct fadump *fd = vdev->priv;

	/* First: a host's release takes one of the files away. */
	fadump_events_stop(fd);
	/* Waits for whoever is in one of the files, so not under the lock. */
	fadump_sysfs_exit();
	unregister_reboot_notifier(&fadump_reboot_nb);

	mutex_lock(&fd->lock);
	fd->closed = true;
	fadump_unregister(fd);
	fadump_hook_disarm();
	fadump_hook_exit();
	fadump_teardown(fd);
	mutex_unlock(&fd->lock);
}

static int fadump_probe(struct virtio_device *vdev)
{
	struct fadump *fd = &fadump;
	struct fadump_why why = { "" };
	int ret, desc_ret = 0;
	bool held;

	/* The dump that kdump's kernel saves is not ours to disturb. */
	if (is_kdump_kernel()) {
		pr_info("not used in a kdump kernel\n");
		return -ENODEV;
	}

	mutex_lock(&fd->lock);
	if (fd->vdev) {
		pr_err("one device is in use, a second one is not supported\n");
		mutex_unlock(&fd->lock);
		return -EBUSY;
	}
	fd->vdev = vdev;
	vdev->priv = fd;
	fd->enabled = fadump_enable;
	fd->closed = false;

	ret = -ENOMEM;
	fd->ctrl_req_size = FADUMP_REQ_SIZE;
	fd->ctrl_req = kzalloc(fd->ctrl_req_size, GFP_KERNEL);
	fd->ctrl_resp = kzalloc(PAGE_SIZE, GFP_KERNEL);
	fd->param = (char *)get_zeroed_page(GFP_KERNEL);
	if (!fd->ctrl_req || !fd->ctrl_resp || !fd->param)
		goto out_teardown;

	ret = fadump_events_alloc(fd);
	if (ret)
		goto out_teardown;

	ret = fadump_read_config(fd);
	if (ret)
		goto out_teardown;

	/*
	 * Before the host sees a driver: it may release the dump from then on,
	 * and without the descriptor nobody here knows what memory came back.
	 */
	held = fadump_device_state(fd) == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
	if (held && fd->enabled && fd->shm.len)
		desc_ret = fadump_read_desc(fd, &why);

	ret = fadump_init_vqs(fd);
	if (ret)
		goto out_teardown;

	ret = fadump_hook_init();
	if (ret)
		goto out_teardown;

	if (held && fd->enabled) {
		/* Without the region there is the queue, which now works. */
		if (!fd->shm.len)
			desc_ret = fadump_read_desc(fd, &why);
		fadump_take_dump(fd, desc_ret, &why);
	} else if (held) {
		pr_warn("the device holds a dump, and its memory is withheld; load with enable=1 to save or release it\n");
	}

	ret = register_reboot_notifier(&fadump_reboot_nb);
	if (ret)
		goto out_hook;

	/* Failing is no reason to go: userspace sees it, and may try again. */
	if (fd->enabled && fd->dump == FADUMP_DUMP_NONE &&
	    fadump_register_at_probe)
		fadump_register(fd);
	mutex_unlock(&fd->lock);

	/* Its files take the lock, and its clean-up waits for them. */
	ret = fadump_sysfs_init(fd);
	if (ret) {
		fadump_remove(vdev);
		return ret;
	}
	/* Only now: the host's release of a dump takes one of the files away. */
	fadump_events_start(fd);
	return 0;

out_hook:
	fadump_hook_disarm();
	fadump_hook_exit();
out_teardown:
	fadump_teardown(fd);
	mutex_unlock(&fd->lock);
	return ret;
}

#ifdef CONFIG_PM_SLEEP
static int fadump_freeze(struct virtio_device *vdev)
{
	struct fadump *fd = vdev->priv;
	int ret = 0;

	/* It is frozen, so none is at work; from now on none is queued. */
	fadump_events_stop(fd);
	mutex_lock(&fd->lock);
	if (fd->dump == FADUMP_DUMP_ACTIVE ||
	    fd->dump == FADUMP_DUMP_UNTRUSTED) {
		/* A hibernated machine is powered off, and the dump with it. */
		pr_warn("a dump is held: save and release it before suspending\n");
		ret = -EBUSY;
		goto out;
	}
	fd->closed = true;
	/*
	 * The firmware of a resuming machine may reset it: no crash. Keep the
	 * flag for fadump_restore().
	 */
	if (fd->registered) {
		ret = fadump_unregister(fd);
		if (ret) {
			fd->closed = false;
			goto out;
		}
		fd->resume_registered = true;
	}
	fadump_del_vqs(fd);
out:
	mutex_unlock(&fd->lock);
	if (ret)
		fadump_events_start(fd);
	return ret;
}

static int fadump_restore(struct virtio_device *vdev)
{
	struct fadump *fd = vdev->priv;
	int ret;

	mutex_lock(&fd->lock);
	ret = fadump_init_vqs(fd);
	if (!ret) {
		fd->closed = false;
		if (fd->resume_registered)
			fadump_register(fd);
	}
	fd->resume_registered = false;
	mutex_unlock(&fd->lock);
	fadump_events_start(fd);
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
	VIRTIO_FADUMP_F_EVENTS,
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
#ifdef CONFIG_PM_SLEEP
	.freeze			= fadump_freeze,
	.restore		= fadump_restore,
#endif
};

static int __init fadump_init(void)
{
	int ret;

	ret = fadump_event_init();
	if (ret)
		return ret;
	ret = fadump_dest_init();
	if (ret)
		goto out_event;
	ret = register_virtio_driver(&fadump_driver);
	if (ret)
		goto out_dest;
	return 0;

out_dest:
	fadump_dest_exit();
out_event:
	fadump_event_exit();
	return ret;
}
module_init(fadump_init);

static void __exit fadump_exit(void)
{
	unregister_virtio_driver(&fadump_driver);
	fadump_dest_exit();
	fadump_event_exit();
}
module_exit(fadump_exit);

MODULE_DESCRIPTION("Firmware-assisted dump for virtual machines");
MODULE_LICENSE("GPL");
