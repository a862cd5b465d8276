/*
 * fadump-ctl: releasing a dump at the right time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest that is still booting after its crash has been told of boot memory
 * only, and learns of a release by its driver. Released before the driver is
 * there, it would run in boot memory until its next reboot.
 */

#include "release.h"

/* How long a guest may take to come up, in seconds */
#define BOOT_WAIT 120

bool release_dump(Monitor *mon, gint64 deadline, MonitorEventFunc *on_event,
                  void *opaque, GError **errp)
{
    gint64 until = ctl_deadline(BOOT_WAIT);

    for (;;) {
        g_autoptr(FadumpInfo) info = fadump_query_dump(mon, errp);
        gint64 now = g_get_monotonic_time();

        if (!info) {
            return false;
        }
        /* no VMCOREINFO: it had no driver, and will have none now */
        if (info->dump->boots || !info->dump->vmcoreinfo || now >= until) {
            return monitor_run(mon, "fadump-release", NULL, errp);
        }
        if (now >= deadline) {
            g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                        "the guest has not come up since its crash: the dump "
                        "is not released");
            return false;
        }
        if (!monitor_pump(mon, MIN(deadline, now + mon->interval), NULL,
                          on_event, opaque, errp)) {
            return false;
        }
    }
}
