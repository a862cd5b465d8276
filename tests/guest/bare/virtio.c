// SPDX-License-Identifier: GPL-2.0-or-later
/* virtio 1.x over PCI, with split queues that are polled */
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "bare.h"

#define COMMON(v, field) \
	((v)->common + offsetof(struct virtio_pci_common_cfg, field))

#define MAX_QUEUES	3

static struct {
	struct vring_desc desc[QUEUE_SIZE] __attribute__((aligned(16)));
	uint16_t avail[3 + QUEUE_SIZE] __attribute__((aligned(2)));
	struct {
		uint16_t flags;
		uint16_t idx;
		struct vring_used_elem ring[QUEUE_SIZE];
		uint16_t event;
	} used __attribute__((aligned(4)));
} rings[MAX_QUEUES] __attribute__((aligned(4096)));

static unsigned int nr_rings;

static void add_capability(struct virtio *v, unsigned int cap)
{
	unsigned int type = pci_read8(v->pci, cap + 3);
	unsigned int bar = pci_read8(v->pci, cap + 4);
	u64 offset = pci_read32(v->pci, cap + 8);
	u64 len = pci_read32(v->pci, cap + 12);
	u64 addr;

	if (bar > 5 || type == VIRTIO_PCI_CAP_PCI_CFG)
		return;
	if (type == VIRTIO_PCI_CAP_SHARED_MEMORY_CFG) {
		offset |= (u64)pci_read32(v->pci, cap + 16) << 32;
		len |= (u64)pci_read32(v->pci, cap + 20) << 32;
	}
	addr = pci_bar(v->pci, bar) + offset;
	mem_map(addr, len);
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		v->common = addr;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		v->notify = addr;
		v->notify_multiplier = pci_read32(v->pci, cap + 16);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		v->isr = addr;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		v->config = addr;
		break;
	case VIRTIO_PCI_CAP_SHARED_MEMORY_CFG:
		v->shm.addr = addr;
		v->shm.len = len;
		break;
	}
}

bool virtio_find(struct virtio *v, unsigned int id)
{
	unsigned int cap;

	memset(v, 0, sizeof(*v));
	v->pci = pci_find(PCI_VENDOR_VIRTIO, 0x1040 + id);
	/* transitional block device */
	if (!v->pci && id == 2)
		v->pci = pci_find(PCI_VENDOR_VIRTIO, 0x1001);
	if (!v->pci)
		return false;
	pci_enable(v->pci);
	for (cap = pci_read8(v->pci, 0x34); cap;
	     cap = pci_read8(v->pci, cap + 1))
		if (pci_read8(v->pci, cap) == 9)
			add_capability(v, cap);
	if (!v->common || !v->notify || !v->isr || !v->config)
		die("virtio device %u has no modern interface", id);
	return true;
}

static void set_status(struct virtio *v, uint8_t bits)
{
	write8(COMMON(v, device_status),
	       read8(COMMON(v, device_status)) | bits);
}

void virtio_start(struct virtio *v, u64 wanted)
{
	u64 offered;

	write8(COMMON(v, device_status), 0);
	while (read8(COMMON(v, device_status)))
		;
	set_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(v, VIRTIO_CONFIG_S_DRIVER);
	write32(COMMON(v, device_feature_select), 1);
	offered = (u64)read32(COMMON(v, device_feature)) << 32;
	write32(COMMON(v, device_feature_select), 0);
	offered |= read32(COMMON(v, device_feature));
	v->features = offered & (wanted | 1ULL << VIRTIO_F_VERSION_1);
	write32(COMMON(v, guest_feature_select), 0);
	write32(COMMON(v, guest_feature), v->features);
	write32(COMMON(v, guest_feature_select), 1);
	write32(COMMON(v, guest_feature), v->features >> 32);
	set_status(v, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(read8(COMMON(v, device_status)) & VIRTIO_CONFIG_S_FEATURES_OK))
		die("features %llx of %llx refused", v->features, offered);
}

void virtio_queue(struct virtio *v, struct queue *q, unsigned int index)
{
	if (nr_rings == MAX_QUEUES)
		die("too many queues");
	memset(q, 0, sizeof(*q));
	q->index = index;
	q->desc = rings[nr_rings].desc;
	q->avail = (void *)rings[nr_rings].avail;
	q->used = (void *)&rings[nr_rings].used;
	nr_rings++;

	write16(COMMON(v, queue_select), index);
	if (read16(COMMON(v, queue_size)) < QUEUE_SIZE)
		die("queue %u is too small", index);
	write16(COMMON(v, queue_size), QUEUE_SIZE);
	write64(COMMON(v, queue_desc_lo), (uintptr_t)q->desc);
	write64(COMMON(v, queue_avail_lo), (uintptr_t)q->avail);
	write64(COMMON(v, queue_used_lo), (uintptr_t)q->used);
	q->notify = v->notify + (u64)read16(COMMON(v, queue_notify_off)) *
				v->notify_multiplier;
	write16(COMMON(v, queue_enable), 1);
}

void virtio_ready(struct virtio *v)
{
	set_status(v, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Descriptors are used in turn: no more are in flight than there are. */
void virtio_submit(struct queue *q, const struct part *parts, unsigned int nr)
{
	uint16_t head = q->next_desc % QUEUE_SIZE;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint16_t next = (q->next_desc + 1) % QUEUE_SIZE;
		struct vring_desc *d = &q->desc[q->next_desc];

		d->addr = (uintptr_t)parts[i].data;
		d->len = parts[i].len;
		d->flags = (parts[i].write ? VRING_DESC_F_WRITE : 0) |
			   (i + 1 < nr ? VRING_DESC_F_NEXT : 0);
		d->next = next;
		q->next_desc = next;
	}
	q->avail->ring[q->avail_idx % QUEUE_SIZE] = head;
	asm volatile("" : : : "memory");
	q->avail->idx = ++q->avail_idx;
	asm volatile("" : : : "memory");
	write16(q->notify, q->index);
}

int virtio_used(struct queue *q)
{
	volatile uint16_t *idx = &q->used->idx;

	if (*idx == q->used_idx)
		return -1;
	return q->used->ring[q->used_idx++ % QUEUE_SIZE].id;
}
