/*
 * fadump-ctl save
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "release.h"
#include "save.h"

bool cmd_save(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    static gboolean force, release;
    const GOptionEntry entries[] = {
        save_args_entries[0], save_args_entries[1], save_args_entries[2],
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "Replace a file that exists", NULL },
        { "release", 'r', 0, G_OPTION_ARG_NONE, &release,
          "Release the dump when it is saved", NULL },
        G_OPTION_ENTRY_NULL
    };
    g_auto(SaveResult) result = { NULL };
    g_autoptr(Monitor) mon = NULL;
    g_auto(GStrv) filter = NULL;
    SaveOptions save = { NULL };
    json_object *out;

    if (!ctl_parse("save", "FILE",
                   "Write the dump that is held to a file, as an ELF core "
                   "or filtered.",
                   "FILE appears when it is complete. An interrupt cancels, "
                   "and leaves nothing.",
                   entries, opts, &argc, &argv, errp) ||
        !save_args_get(&save, errp)) {
        return false;
    }
    filter = save.filter;
    if (argc != 2 || !*argv[1]) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "save takes one argument, the file to write");
        return false;
    }
    save.file = argv[1];
    save.force = force;
    save.progress = !opts->json && isatty(STDERR_FILENO);
    save.deadline = ctl_deadline(opts->timeout);
    mon = monitor_open(opts, errp);
    if (!mon || !save_dump(mon, &save, &result, errp)) {
        return false;
    }
    if (release && !release_dump(mon, save.deadline, NULL, NULL, errp)) {
        g_prefix_error(errp, "%s is saved, but ", result.file);
        return false;
    }
    if (opts->json) {
        out = json_object_new_object();
        json_object_object_add(out, "file", ctl_json_string(result.file));
        json_object_object_add(out, "id", ctl_json_string(result.id));
        json_object_object_add(out, "core-size",
                               json_object_new_uint64(result.core_size));
        json_object_object_add(out, "file-size",
                               json_object_new_uint64(result.file_size));
        json_object_object_add(out, "filtered",
                               json_object_new_boolean(filter != NULL));
        json_object_object_add(out, "released",
                               json_object_new_boolean(release));
        ctl_print_json(out);
    } else {
        g_autofree char *size = ctl_format_size(result.file_size);
        g_autofree char *core = ctl_format_size(result.core_size);

        printf("saved: %s (%s%s%s), dump %s%s\n", result.file, size,
               filter ? " of " : "", filter ? core : "", result.id,
               release ? ", released" : "");
    }
    return true;
}
