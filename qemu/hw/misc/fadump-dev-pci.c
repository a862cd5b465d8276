/*
 * Firmware-assisted dump device: PCI form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/misc/fadump-dev.h"
#include "hw/virtio/virtio-pci.h"
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qom/object.h"

#define TYPE_FADUMP_DEV_PCI "fadump-dev-base"
OBJECT_DECLARE_SIMPLE_TYPE(FadumpDevPCI, FADUMP_DEV_PCI)

/* Where the machine has no place for the window it has a 64-bit BAR. */
#define FADUMP_DEV_MSIX_BAR 1
#define FADUMP_DEV_MODERN_BAR 2
#define FADUMP_DEV_WINDOW_BAR 4

struct FadumpDevPCI {
    VirtIOPCIProxy parent_obj;
    VirtIOFadump vdev;
    /* a BAR is a power of two */
    MemoryRegion bar;
};

static void fadump_dev_pci_add_window(FadumpDevPCI *dev)
{
    VirtIOPCIProxy *vpci_dev = VIRTIO_PCI(dev);
    FadumpHold *hold = &dev->vdev.hold;
    uint64_t size = fadump_hold_window_size(hold);

    memory_region_init(&dev->bar, OBJECT(dev), "fadump-window-bar",
                       pow2ceil(size));
    memory_region_add_subregion(&dev->bar, 0, &hold->window);
    pci_register_bar(&vpci_dev->pci_dev, FADUMP_DEV_WINDOW_BAR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_PREFETCH |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &dev->bar);
    virtio_pci_add_shm_cap(vpci_dev, FADUMP_DEV_WINDOW_BAR, 0, size,
                           VIRTIO_FADUMP_SHM_ID_WINDOW);
}

/* A PCIe device's configuration space has no room for all capabilities. */
static bool fadump_dev_pci_has_room(FadumpDevPCI *dev, Error **errp)
{
    VirtIOPCIProxy *vpci_dev = VIRTIO_PCI(dev);

    if (vpci_dev->flags & VIRTIO_PCI_FLAG_MODERN_PIO_NOTIFY &&
        pci_is_express(&vpci_dev->pci_dev)) {
        error_setg(errp, "modern-pio-notify=on is not possible where the "
                   "window is a BAR of a PCI Express device; leave it off");
        return false;
    }
    return true;
}

static void fadump_dev_pci_realize(VirtIOPCIProxy *vpci_dev, Error **errp)
{
    FadumpDevPCI *dev = FADUMP_DEV_PCI(vpci_dev);

    vpci_dev->msix_bar_idx = FADUMP_DEV_MSIX_BAR;
    vpci_dev->modern_mem_bar_idx = FADUMP_DEV_MODERN_BAR;
    vpci_dev->modern_io_bar_idx = 0;

    virtio_pci_force_virtio_1(vpci_dev);
    if (!qdev_realize(DEVICE(&dev->vdev), BUS(&vpci_dev->bus), errp)) {
        return;
    }
    if (dev->vdev.window_addr) {
        return;
    }
    if (!fadump_dev_pci_has_room(dev, errp)) {
        qdev_unrealize(DEVICE(&dev->vdev));
        return;
    }
    fadump_dev_pci_add_window(dev);
}

static void fadump_dev_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    PCIDeviceClass *pcidev_k = PCI_DEVICE_CLASS(klass);

    k->realize = fadump_dev_pci_realize;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    dc->desc = "Firmware-assisted dump";
    /* a registration is bound to the machine that it was made on */
    dc->hotpluggable = false;
    pcidev_k->revision = VIRTIO_PCI_ABI_VERSION;
    pcidev_k->class_id = PCI_CLASS_OTHERS;
}

static void fadump_dev_pci_instance_init(Object *obj)
{
    FadumpDevPCI *dev = FADUMP_DEV_PCI(obj);

    virtio_instance_init_common(obj, &dev->vdev, sizeof(dev->vdev),
                                TYPE_VIRTIO_FADUMP);
}

static const VirtioPCIDeviceTypeInfo fadump_dev_pci_info = {
    .base_name = TYPE_FADUMP_DEV_PCI,
    .generic_name = "fadump-dev",
    .instance_size = sizeof(FadumpDevPCI),
    .instance_init = fadump_dev_pci_instance_init,
    .class_init = fadump_dev_pci_class_init,
};

static void fadump_dev_pci_register_types(void)
{
    virtio_pci_types_register(&fadump_dev_pci_info);
}

type_init(fadump_dev_pci_register_types)
