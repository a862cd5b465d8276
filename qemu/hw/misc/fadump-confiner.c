/*
 * What firmware-assisted dump needs of a machine type: the QOM interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/misc/fadump-confiner.h"

static const TypeInfo fadump_confiner_types[] = {
    {
        .name = TYPE_FADUMP_CONFINER,
        .parent = TYPE_INTERFACE,
        .class_size = sizeof(FadumpConfinerClass),
    },
};

DEFINE_TYPES(fadump_confiner_types)
