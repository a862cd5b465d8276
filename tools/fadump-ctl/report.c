/*
 * fadump-ctl: a report on a dump in a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include "report.h"

Oops *report_dump(const char *dump, const char *vmlinux, gint64 deadline,
                  GError **errp)
{
    g_autoptr(GByteArray) log = dump_read_log(dump, vmlinux, deadline, errp);

    return log ? oops_parse((char *)log->data, log->len) : NULL;
}

json_object *report_json(const char *dump, const Oops *oops)
{
    json_object *out = json_object_new_object();
    json_object *frames = json_object_new_array();
    char uptime[G_ASCII_DTOSTR_BUF_SIZE];

    for (guint i = 0; i < oops->nr_frames; i++) {
        json_object_array_add(frames, ctl_json_string(oops->frames[i]));
    }
    json_object_object_add(out, "dump", ctl_json_string(dump));
    json_object_object_add(out, "release", ctl_json_string(oops->release));
    json_object_object_add(out, "cause", ctl_json_string(oops->cause));
    json_object_object_add(out, "panic", ctl_json_string(oops->panic));
    /* as the log has it, not as binary fractions have it */
    g_ascii_formatd(uptime, sizeof(uptime), "%.6f", oops->uptime);
    json_object_object_add(out, "uptime", oops->uptime < 0 ? NULL :
                           json_object_new_double_s(oops->uptime, uptime));
    json_object_object_add(out, "comm", ctl_json_string(oops->comm));
    json_object_object_add(out, "pid", oops->pid < 0 ? NULL :
                           json_object_new_int64(oops->pid));
    json_object_object_add(out, "cpu", oops->cpu < 0 ? NULL :
                           json_object_new_int64(oops->cpu));
    json_object_object_add(out, "message", ctl_json_string(oops->message));
    json_object_object_add(out, "function", ctl_json_string(oops->function));
    json_object_object_add(out, "frames", frames);
    json_object_object_add(out, "signature", ctl_json_string(oops->signature));
    return out;
}

char *report_line(const Oops *oops)
{
    if (!oops->signature) {
        return g_strdup("the log has no crash");
    }
    return g_strdup_printf("signature %s, %s%s%s", oops->signature,
                           oops->cause,
                           oops->function ? ", in " :
                           oops->nr_frames ? ", in " : "",
                           oops->function ? oops->function :
                           oops->nr_frames ? oops->frames[0] : "");
}
