/*
 * Firmware-assisted dump: QMP commands where there cannot be a device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-fadump.h"

static void no_device(Error **errp)
{
    error_setg(errp, "the machine has no fadump-dev device");
}

FadumpInfo *qmp_query_fadump(Error **errp)
{
    no_device(errp);
    return NULL;
}

void qmp_fadump_trigger(Error **errp)
{
    no_device(errp);
}

void qmp_fadump_save(const char *protocol, Error **errp)
{
    no_device(errp);
}

void qmp_fadump_save_cancel(Error **errp)
{
    no_device(errp);
}

void qmp_fadump_release(Error **errp)
{
    no_device(errp);
}
