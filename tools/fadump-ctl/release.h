/*
 * fadump-ctl: releasing a dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_RELEASE_H
#define FADUMP_CTL_RELEASE_H

#include "info.h"

/*
 * Release the dump that is held, when the guest's driver is there to take its
 * memory back, or will not come.
 */
bool release_dump(Monitor *mon, gint64 deadline, MonitorEventFunc *on_event,
                  void *opaque, GError **errp);

#endif
