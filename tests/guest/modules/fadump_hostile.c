// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile driver for the dump device: it lets a test put any bytes into any
 * descriptors of the control queue, and write any register. The virtio core
 * only sets the queue up; from then on descriptor table and available ring
 * are written by hand, so nothing corrects what the test wants to be wrong.
 *
 * It has no module alias on purpose: only a test that names it gets it.
 *
 * /sys/kernel/debug/fadump_hostile/
 *   out     write: bytes of the device-readable buffer (64 KiB at most)
 *   in      read: the device-writable buffer, filled with 0xa5 before each
 *	     submission, so that what the device left alone shows
 *   submit  write: descriptors "BASE:OFF:LEN:FLAGS:NEXT" separated by blanks,
 *	     laid down from index 0 on and made available as one chain from
 *	     index 0. BASE is "o" (out), "i" (in) or "a" (OFF is a physical
 *	     address). A last word "head=N" makes N the head instead.
 *   result  read: "used LEN", "timeout" or "broken" (the device asks for reset)
 *   config  write: "OFF WIDTH VALUE" writes the config space; "OFF WIDTH"
 *	     reads it into result
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

/* Kept apart from the ABI header: a hostile driver obeys nothing. */
#define HOSTILE_VIRTIO_ID	59
#define HOSTILE_F_HOST_MEM	0
#define HOSTILE_F_CONFINE	2

#define BUF_SIZE		SZ_64K
/* How long a device may take to answer; it answers at once or never. */
#define ANSWER_MS		3000

struct hostile {
	struct virtio_device *vdev;
	struct virtqueue *vq;
	void *out;
	void *in;
	size_t out_len;
	u16 avail_idx;
	char result[64];
	/* serialises the files below */
	struct mutex lock;
	struct dentry *dir;
	struct debugfs_blob_wrapper in_blob;
};

/* Whatever the device returns is looked at by polling the used ring. */
static void hostile_interrupt(struct virtqueue *vq)
{
}

static int hostile_parse_desc(struct hostile *h, const char *word,
			      struct vring_desc *desc)
{
	unsigned long long off;
	unsigned int len, flags, next;
	u64 addr;
	char base;

	if (sscanf(word, "%c:%lli:%i:%i:%i", &base, &off, &len, &flags,
		   &next) != 5)
		return -EINVAL;
	switch (base) {
	case 'o':
		addr = virt_to_phys(h->out) + off;
		break;
	case 'i':
		addr = virt_to_phys(h->in) + off;
		break;
	case 'a':
		addr = off;
		break;
	default:
		return -EINVAL;
	}
	desc->addr = cpu_to_virtio64(h->vdev, addr);
	desc->len = cpu_to_virtio32(h->vdev, len);
	desc->flags = cpu_to_virtio16(h->vdev, flags);
	desc->next = cpu_to_virtio16(h->vdev, next);
	return 0;
}

static void hostile_await(struct hostile *h, const struct vring *vring,
			  u16 used)
{
	unsigned int ms;
	u8 status;

	for (ms = 0; ms < ANSWER_MS; ms++) {
		/* Read the ring's index afresh, and the entry after it. */
		if (virtio16_to_cpu(h->vdev, READ_ONCE(vring->used->idx)) !=
		    used) {
			virtio_rmb(true);
			snprintf(h->result, sizeof(h->result), "used %u\n",
				 virtio32_to_cpu(h->vdev,
					vring->used->ring[used %
							  vring->num].len));
			return;
		}
		status = h->vdev->config->get_status(h->vdev);
		if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
			strscpy(h->result, "broken\n", sizeof(h->result));
			return;
		}
		usleep_range(1000, 1500);
	}
	strscpy(h->result, "timeout\n", sizeof(h->result));
}

static int hostile_submit(struct hostile *h, char *text)
{
	const struct vring *vring = virtqueue_get_vring(h->vq);
	unsigned int nr = 0, head = 0;
	u16 used;
	char *word;
	int ret;

	while ((word = strsep(&text, " \n"))) {
		if (!*word)
			continue;
		if (sscanf(word, "head=%i", &head) == 1)
			continue;
		if (nr == vring->num)
			return -ENOSPC;
		ret = hostile_parse_desc(h, word, &vring->desc[nr++]);
		if (ret)
			return ret;
	}
	memset(h->in, 0xa5, BUF_SIZE);
	used = virtio16_to_cpu(h->vdev, READ_ONCE(vring->used->idx));
	vring->avail->ring[h->avail_idx % vring->num] =
		cpu_to_virtio16(h->vdev, head);
	virtio_wmb(true);
	vring->avail->idx = cpu_to_virtio16(h->vdev, ++h->avail_idx);
	virtio_mb(true);
	virtqueue_notify(h->vq);
	hostile_await(h, vring, used);
	return 0;
}

static ssize_t submit_write(struct file *file, const char __user *ubuf,
			    size_t len, loff_t *pos)
{
	struct hostile *h = file->private_data;
	char *text;
	int ret;

	text = memdup_user_nul(ubuf, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&h->lock);
	ret = hostile_submit(h, text);
	mutex_unlock(&h->lock);
	kfree(text);
	return ret ?: len;
}

static ssize_t out_write(struct file *file, const char __user *ubuf,
			 size_t len, loff_t *pos)
{
	struct hostile *h = file->private_data;
	ssize_t ret;

	mutex_lock(&h->lock);
	ret = simple_write_to_buffer(h->out, BUF_SIZE, pos, ubuf, len);
	mutex_unlock(&h->lock);
	return ret;
}

static ssize_t result_read(struct file *file, char __user *ubuf, size_t len,
			   loff_t *pos)
{
	struct hostile *h = file->private_data;

	return simple_read_from_buffer(ubuf, len, pos, h->result,
				       strlen(h->result));
}

static ssize_t config_write(struct file *file, const char __user *ubuf,
			    size_t len, loff_t *pos)
{
	struct hostile *h = file->private_data;
	const struct virtio_config_ops *ops = h->vdev->config;
	unsigned int off, width;
	unsigned long long value;
	char buf[64];
	__le64 le = 0;
	int n;

	if (len >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, len))
		return -EFAULT;
	buf[len] = '\0';
	n = sscanf(buf, "%i %i %lli", &off, &width, &value);
	if (n < 2 || width > sizeof(le))
		return -EINVAL;
	mutex_lock(&h->lock);
	if (n == 3) {
		le = cpu_to_le64(value);
		ops->set(h->vdev, off, &le, width);
	} else {
		ops->get(h->vdev, off, &le, width);
		snprintf(h->result, sizeof(h->result), "%llu\n",
			 le64_to_cpu(le));
	}
	mutex_unlock(&h->lock);
	return len;
}

static const struct file_operations out_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= out_write,
};

static const struct file_operations submit_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= submit_write,
};

static const struct file_operations result_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.read	= result_read,
};

static const struct file_operations config_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= config_write,
};

static int hostile_probe(struct virtio_device *vdev)
{
	struct hostile *h;
	int ret = -ENOMEM;

	h = kzalloc(sizeof(*h), GFP_KERNEL);
	if (!h)
		return -ENOMEM;
	vdev->priv = h;
	h->vdev = vdev;
	mutex_init(&h->lock);
	h->out = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					  get_order(BUF_SIZE));
	h->in = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					 get_order(BUF_SIZE));
	if (!h->out || !h->in)
		goto free;
	h->vq = virtio_find_single_vq(vdev, hostile_interrupt, "control");
	if (IS_ERR(h->vq)) {
		ret = PTR_ERR(h->vq);
		goto free;
	}
	virtio_device_ready(vdev);

	h->in_blob.data = h->in;
	h->in_blob.size = BUF_SIZE;
	h->dir = debugfs_create_dir("fadump_hostile", NULL);
	debugfs_create_file("out", 0200, h->dir, h, &out_fops);
	debugfs_create_file("submit", 0200, h->dir, h, &submit_fops);
	debugfs_create_file("result", 0400, h->dir, h, &result_fops);
	debugfs_create_file("config", 0200, h->dir, h, &config_fops);
	debugfs_create_blob("in", 0400, h->dir, &h->in_blob);
	return 0;
free:
	free_pages((unsigned long)h->in, get_order(BUF_SIZE));
	free_pages((unsigned long)h->out, get_order(BUF_SIZE));
	kfree(h);
	return ret;
}

static void hostile_remove(struct virtio_device *vdev)
{
	struct hostile *h = vdev->priv;

	debugfs_remove(h->dir);
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	free_pages((unsigned long)h->in, get_order(BUF_SIZE));
	free_pages((unsigned long)h->out, get_order(BUF_SIZE));
	kfree(h);
}

static const struct virtio_device_id hostile_ids[] = {
	{ HOSTILE_VIRTIO_ID, VIRTIO_DEV_ANY_ID },
	{ }
};

static const unsigned int hostile_features[] = {
	HOSTILE_F_HOST_MEM,
	HOSTILE_F_CONFINE,
};

static struct virtio_driver hostile_driver = {
	.feature_table		= hostile_features,
	.feature_table_size	= ARRAY_SIZE(hostile_features),
	.driver.name		= KBUILD_MODNAME,
	.driver.owner		= THIS_MODULE,
	.id_table		= hostile_ids,
	.probe			= hostile_probe,
	.remove			= hostile_remove,
};
module_virtio_driver(hostile_driver);
MODULE_DESCRIPTION("Hostile driver for the dump device, for tests");
MODULE_LICENSE("GPL");
