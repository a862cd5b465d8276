/*
 * fadump-ctl release
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <string.h>
#include "release.h"

static bool is_saved(const FadumpInfo *info)
{
    return info->save && !strcmp(info->save->status, "completed") &&
           !strcmp(info->save->id, info->dump->id);
}

bool cmd_release(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    static gboolean force;
    static const GOptionEntry entries[] = {
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "At once, and even if it was not saved", NULL },
        G_OPTION_ENTRY_NULL
    };
    g_autoptr(Monitor) mon = NULL;
    g_autoptr(FadumpInfo) info = NULL;
    json_object *out;

    if (!ctl_parse("release", "", "Drop the dump that is held and give the "
                   "guest its memory.",
                   "Without --force only a dump that was saved is dropped. "
                   "Whether the guest has saved it\nitself cannot be seen "
                   "here.",
                   entries, opts, &argc, &argv, errp)) {
        return false;
    }
    if (argc > 1) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "release takes no argument");
        return false;
    }
    mon = monitor_open(opts, errp);
    if (!mon) {
        return false;
    }
    info = fadump_query_dump(mon, errp);
    if (!info) {
        return false;
    }
    if (!force && !is_saved(info)) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "dump %s was not saved on this host: save it, or drop it "
                    "with --force", info->dump->id);
        return false;
    }
    if (force ? !monitor_run(mon, "fadump-release", NULL, errp) :
                !release_dump(mon, ctl_deadline(opts->timeout), NULL, NULL,
                              errp)) {
        return false;
    }
    if (opts->json) {
        out = json_object_new_object();
        json_object_object_add(out, "id", ctl_json_string(info->dump->id));
        json_object_object_add(out, "released", json_object_new_boolean(true));
        ctl_print_json(out);
    } else {
        printf("released: dump %s\n", info->dump->id);
    }
    return true;
}
