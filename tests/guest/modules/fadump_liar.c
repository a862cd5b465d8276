// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dump device that lies: puts events into the queue of the driver under test,
 * as the device would, by writing buffers and the used ring. Only what the
 * guest can see of a device is there to lie with, so this is all of it.
 *
 * The real device knows nothing of these events, and does not find its way in
 * the queue any more: bind the driver anew before it is to have true ones.
 *
 * /sys/kernel/debug/fadump_liar/
 *   event  write: "COUNT LEN HEX": COUNT times the bytes HEX as an event that
 *	    is said to have LEN bytes; waits for buffers, a second at most for
 *	    each. "COUNT LEN HEX ID": for the buffer ID, whatever was offered.
 *   sent   read: how many of them found a buffer
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define LIAR_VENDOR	0x1af4
#define LIAR_DEVICE	0x107b
#define LIAR_EVENT_VQ	1
#define LIAR_BYTES	64
#define LIAR_WAIT_MS	1000

static struct pci_dev *liar_pdev;
static struct dentry *liar_dir;
static u32 liar_sent;
/* the next buffer to be taken, as a device counts them */
static u16 liar_avail;
static struct virtqueue *liar_vq;

static int liar_is_virtio(struct device *dev, void *data)
{
	return dev->bus && !strcmp(dev->bus->name, "virtio");
}

/* The driver may have been bound anew, so look each time. */
static struct virtqueue *liar_find_vq(void)
{
	struct device *dev = device_find_child(&liar_pdev->dev, NULL,
					       liar_is_virtio);
	struct virtqueue *vq, *found = NULL;
	struct virtio_device *vdev;

	if (!dev)
		return NULL;
	vdev = dev_to_virtio(dev);
	virtio_device_for_each_vq(vdev, vq)
		if (vq->index == LIAR_EVENT_VQ)
			found = vq;
	put_device(dev);
	return found;
}

static int liar_send(struct virtqueue *vq, const u8 *bytes, unsigned int nr,
		     u32 len, int id)
{
	const struct vring *vring = virtqueue_get_vring(vq);
	struct virtio_device *vdev = vq->vdev;
	struct vring_used_elem *elem;
	struct vring_desc *desc;
	unsigned int ms;
	u16 used;

	for (ms = 0; liar_avail ==
	     virtio16_to_cpu(vdev, READ_ONCE(vring->avail->idx)); ms++) {
		if (ms == LIAR_WAIT_MS)
			return -ENOBUFS;
		usleep_range(1000, 1500);
	}
	virtio_rmb(true);

	if (id < 0) {
		id = virtio16_to_cpu(vdev,
				     vring->avail->ring[liar_avail %
							vring->num]);
		desc = &vring->desc[id];
		memcpy(phys_to_virt(virtio64_to_cpu(vdev, desc->addr)), bytes,
		       min(nr, virtio32_to_cpu(vdev, desc->len)));
	}
	liar_avail++;

	used = virtio16_to_cpu(vdev, vring->used->idx);
	elem = &vring->used->ring[used % vring->num];
	elem->id = cpu_to_virtio32(vdev, id);
	elem->len = cpu_to_virtio32(vdev, len);
	virtio_wmb(true);
	vring->used->idx = cpu_to_virtio16(vdev, used + 1);
	virtio_mb(true);

	local_irq_disable();
	vring_interrupt(0, vq);
	local_irq_enable();
	return 0;
}

static ssize_t event_write(struct file *file, const char __user *ubuf,
			   size_t size, loff_t *pos)
{
	char hex[2 * LIAR_BYTES + 1] = "";
	u8 bytes[LIAR_BYTES];
	unsigned int count, nr;
	struct virtqueue *vq;
	ssize_t ret = size;
	char text[256];
	int id = -1;
	u32 len;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, ubuf, size))
		return -EFAULT;
	text[size] = '\0';
	if (sscanf(text, "%i %i %128s %i", &count, &len, hex, &id) < 3)
		return -EINVAL;
	nr = strlen(hex) / 2;
	if (hex2bin(bytes, hex, nr))
		return -EINVAL;

	vq = liar_find_vq();
	if (!vq)
		return -ENODEV;
	if (vq != liar_vq) {
		const struct vring *vring = virtqueue_get_vring(vq);

		liar_vq = vq;
		liar_avail = virtio16_to_cpu(vq->vdev, vring->used->idx);
	}
	for (liar_sent = 0; liar_sent < count; liar_sent++) {
		ret = liar_send(vq, bytes, nr, len, id);
		if (ret)
			return ret;
	}
	return size;
}

static const struct file_operations event_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= event_write,
};

static int __init liar_init(void)
{
	liar_pdev = pci_get_device(LIAR_VENDOR, LIAR_DEVICE, NULL);
	if (!liar_pdev)
		return -ENODEV;
	liar_dir = debugfs_create_dir("fadump_liar", NULL);
	debugfs_create_file("event", 0200, liar_dir, NULL, &event_fops);
	debugfs_create_u32("sent", 0400, liar_dir, &liar_sent);
	return 0;
}
module_init(liar_init);

static void __exit liar_exit(void)
{
	debugfs_remove(liar_dir);
	pci_dev_put(liar_pdev);
}
module_exit(liar_exit);

MODULE_DESCRIPTION("Lying dump device, for tests");
MODULE_LICENSE("GPL");
