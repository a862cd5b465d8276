/*
 * Firmware-assisted dump device: PCI form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/misc/fadump-dev.h"
#include "hw/virtio/virtio-pci.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"
#include "qapi/visitor-impl.h"
#include "qemu/cutils.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "qom/object.h"

#define TYPE_FADUMP_DEV_PCI "fadump-dev-base"
OBJECT_DECLARE_SIMPLE_TYPE(FadumpDevPCI, FADUMP_DEV_PCI)

/* The shared memory region has a 64-bit BAR of its own. */
#define FADUMP_DEV_MSIX_BAR 1
#define FADUMP_DEV_MODERN_BAR 2
#define FADUMP_DEV_SHM_BAR 4

struct FadumpDevPCI {
    VirtIOPCIProxy parent_obj;
    VirtIOFadump vdev;
};

static void fadump_dev_pci_realize(VirtIOPCIProxy *vpci_dev, Error **errp)
{
    FadumpDevPCI *dev = FADUMP_DEV_PCI(vpci_dev);
    VirtIOFadump *s = &dev->vdev;

    vpci_dev->msix_bar_idx = FADUMP_DEV_MSIX_BAR;
    vpci_dev->modern_mem_bar_idx = FADUMP_DEV_MODERN_BAR;

    virtio_pci_force_virtio_1(vpci_dev);
    if (!qdev_realize(DEVICE(s), BUS(&vpci_dev->bus), errp)) {
        return;
    }

    pci_register_bar(&vpci_dev->pci_dev, FADUMP_DEV_SHM_BAR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_PREFETCH |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &s->hold.window);
    virtio_pci_add_shm_cap(vpci_dev, FADUMP_DEV_SHM_BAR, 0,
                           memory_region_size(&s->hold.window),
                           VIRTIO_FADUMP_SHM_ID_DUMP);
}

static bool parse_boot_mem(const char *str, uint64_t *size, Error **errp)
{
    if (!strcmp(str, "full")) {
        *size = FADUMP_BOOT_MEM_FULL;
    } else if (qemu_strtosz(str, NULL, size) ||
               *size == FADUMP_BOOT_MEM_FULL) {
        error_setg(errp, "Parameter '" VIRTIO_FADUMP_BOOT_MEM_PROP "' expects "
                   "a size such as 512M, or full; not '%s'", str);
        return false;
    }
    return true;
}

/* A size or "full": JSON has a number for the first and text for the other. */
static void set_boot_mem(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    uint64_t *size = object_field_prop_ptr(obj, opaque);
    g_autofree char *str = NULL;
    QObject *value = NULL;

    /* only visitors of text lack it, so no other way tells */
    if (!v->type_any) {
        if (visit_type_str(v, name, &str, errp)) {
            parse_boot_mem(str, size, errp);
        }
    } else if (visit_type_any(v, name, &value, errp)) {
        QNum *num = qobject_to(QNum, value);
        QString *text = qobject_to(QString, value);
        uint64_t bytes;

        if (text) {
            parse_boot_mem(qstring_get_str(text), size, errp);
        } else if (num && qnum_get_try_uint(num, &bytes) &&
                   bytes != FADUMP_BOOT_MEM_FULL) {
            *size = bytes;
        } else {
            error_setg(errp, "Parameter '%s' expects a size, or full", name);
        }
        qobject_unref(value);
    }
}

static void get_boot_mem(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    uint64_t *size = object_field_prop_ptr(obj, opaque);
    g_autofree char *full = g_strdup("full");

    if (*size == FADUMP_BOOT_MEM_FULL) {
        visit_type_str(v, name, &full, errp);
    } else {
        visit_type_size(v, name, size, errp);
    }
}

static const PropertyInfo prop_boot_mem = {
    .type = "size",
    .description = "Memory that the boot after a crash has, or full: all of it "
                   "(default: 512M, or 5 % of RAM if that is more)",
    .get = get_boot_mem,
    .set = set_boot_mem,
};

/* Not the virtio device's: a forwarding visitor hides what it forwards to. */
static const Property fadump_dev_pci_properties[] = {
    DEFINE_PROP(VIRTIO_FADUMP_BOOT_MEM_PROP, FadumpDevPCI, vdev.boot_mem,
                prop_boot_mem, uint64_t),
};

static void fadump_dev_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    PCIDeviceClass *pcidev_k = PCI_DEVICE_CLASS(klass);

    device_class_set_props(dc, fadump_dev_pci_properties);
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
