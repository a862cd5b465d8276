/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the kernels that the driver is built for. A copy in a
 * kernel tree has no need of it.
 */
#ifndef _FADUMP_COMPAT_H
#define _FADUMP_COMPAT_H

#include <linux/cpu.h>
#include <linux/device.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/version.h>
#include <linux/virtio_config.h>

/* VMCOREINFO_NOTE_SIZE and paddr_vmcoreinfo_note() moved. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#include <linux/vmcore_info.h>
#else
#include <linux/crash_core.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_clear(struct vm_area_struct *vma,
				  unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* virtio_find_vqs() took an array for each member of it. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};

static inline int fadump_find_vqs(struct virtio_device *vdev,
				  unsigned int nvqs, struct virtqueue *vqs[],
				  struct virtqueue_info vqs_info[],
				  struct irq_affinity *desc)
{
	vq_callback_t *callbacks[2];
	const char *names[2];
	unsigned int i;

	if (WARN_ON(nvqs > ARRAY_SIZE(names)))
		return -EINVAL;
	for (i = 0; i < nvqs; i++) {
		callbacks[i] = vqs_info[i].callback;
		names[i] = vqs_info[i].name;
	}
	return virtio_find_vqs(vdev, nvqs, vqs, callbacks, names, desc);
}

#define virtio_find_vqs fadump_find_vqs
#endif

/* The root device of a subsystem was a member of it. */
static inline struct device *fadump_cpu_root(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return bus_get_dev_root(&cpu_subsys);
#else
	return get_device(cpu_subsys.dev_root);
#endif
}

/* Where the memory map could not be put there, the flag was an error. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define FADUMP_MHP_MEMMAP	MHP_MEMMAP_ON_MEMORY
#else
#define FADUMP_MHP_MEMMAP	MHP_NONE
#endif

/* alloc_contig_range() took the migrate type of the range. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define FADUMP_CONTIG_FLAGS	ACR_FLAGS_NONE
#else
#define FADUMP_CONTIG_FLAGS	MIGRATE_MOVABLE
#endif

#endif /* _FADUMP_COMPAT_H */
