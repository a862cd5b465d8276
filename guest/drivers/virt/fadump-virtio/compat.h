/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the kernels that the driver is built for. A copy in a
 * kernel tree has no need of it.
 */
#ifndef _FADUMP_VIRTIO_COMPAT_H
#define _FADUMP_VIRTIO_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

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

#endif /* _FADUMP_VIRTIO_COMPAT_H */
