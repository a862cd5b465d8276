/*
 * fadump-ctl trigger
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <string.h>
#include "info.h"

/* A capture takes well below a second for a GiB of boot memory. */
#define DEFAULT_WAIT 60

/* The capture's end: the dump, or why there is none. */
static DumpInfo *wait_capture(Monitor *mon, gint64 deadline,
                              json_object **raw, GError **errp)
{
    for (;;) {
        gint64 until = g_get_monotonic_time() + G_USEC_PER_SEC;
        g_autoptr(GError) why = NULL;
        g_autoptr(FadumpInfo) info = NULL;
        json_object *event, *data, *dump = NULL;
        DumpInfo *found = NULL;

        while ((event = monitor_event(mon, MIN(until, deadline), &why))) {
            const char *name = json_member_string(event, "event");

            data = json_member(event, "data", json_type_object);
            if (!strcmp(name, "FADUMP_CAPTURED")) {
                dump = json_member(data, "dump", json_type_object);
                found = dump_info_parse(dump, errp);
                *raw = found ? json_object_get(dump) : NULL;
                json_object_put(event);
                return found;
            }
            if (!strcmp(name, "FADUMP_FAILED")) {
                const char *text = json_member_string(data, "error");
                g_autofree char *safe =
                    ctl_printable(text ? text : "no reason given", -1);

                g_set_error(errp, CTL_ERROR, CTL_FAILED,
                            "the guest was reset and not captured: %s", safe);
                json_object_put(event);
                return NULL;
            }
            json_object_put(event);
        }
        if (why) {
            g_propagate_error(errp, g_steal_pointer(&why));
            return NULL;
        }
        if (g_get_monotonic_time() >= deadline) {
            g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                        "no capture in time: see what \"status\" says");
            return NULL;
        }
        /* libvirt may have lost the event: it comes by another way */
        info = fadump_query(mon, raw, errp);
        if (!info) {
            return NULL;
        }
        if (info->dump) {
            json_object *reply = *raw;

            *raw = json_object_get(json_member(reply, "dump",
                                               json_type_object));
            json_object_put(reply);
            return g_steal_pointer(&info->dump);
        }
        json_object_put(*raw);
        *raw = NULL;
    }
}

bool cmd_trigger(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    static gboolean wait;
    static const GOptionEntry entries[] = {
        { "wait", 'w', 0, G_OPTION_ARG_NONE, &wait,
          "Wait until the guest is captured (60 s, or --timeout)", NULL },
        G_OPTION_ENTRY_NULL
    };
    g_autoptr(Monitor) mon = NULL;
    g_autoptr(FadumpInfo) info = NULL;
    g_autoptr(DumpInfo) dump = NULL;
    json_object *raw = NULL, *out;

    if (!ctl_parse("trigger", "", "Capture the guest and reset it.", NULL,
                   entries, opts, &argc, &argv, errp)) {
        return false;
    }
    if (argc > 1) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "trigger takes no argument");
        return false;
    }
    mon = monitor_open(opts, errp);
    if (!mon || (wait && !monitor_listen(mon, errp))) {
        return false;
    }
    /* also gives virsh the time to listen */
    info = fadump_query(mon, NULL, errp);
    if (!info) {
        return false;
    }
    if (info->dump) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "dump %s is held: save and release it first",
                    info->dump->id);
        return false;
    }
    if (!monitor_run(mon, "fadump-trigger", NULL, errp)) {
        return false;
    }
    if (wait) {
        dump = wait_capture(mon, ctl_deadline(opts->timeout >= 0 ?
                                              opts->timeout : DEFAULT_WAIT),
                            &raw, errp);
        if (!dump) {
            return false;
        }
    }
    if (opts->json) {
        out = json_object_new_object();
        json_object_object_add(out, "triggered",
                               json_object_new_boolean(true));
        if (raw) {
            json_object_object_add(out, "dump", raw);
        }
        ctl_print_json(out);
        return true;
    }
    json_object_put(raw);
    if (dump) {
        g_autofree char *text = dump_info_text(dump);

        printf("captured: %s\n", text);
    } else {
        puts("the guest is being captured and reset");
    }
    return true;
}
