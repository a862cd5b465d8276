/*
 * fadump-ctl: what is common to all ways to reach a monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include "monitor.h"

#define DEFAULT_ANSWER_TIMEOUT 30

Monitor *monitor_open(const CtlOptions *opts, GError **errp)
{
    double timeout = opts->timeout >= 0 ? opts->timeout :
                                          DEFAULT_ANSWER_TIMEOUT;
    Monitor *mon;

    if (!opts->connect == !opts->domain) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "say which QEMU: either --connect or --domain");
        return NULL;
    }
    if (opts->uri && !opts->domain) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "--uri goes with --domain");
        return NULL;
    }
    if (opts->connect) {
        mon = qmp_open(opts->connect, timeout, errp);
    } else {
        mon = virsh_open(opts->domain, opts->uri, errp);
    }
    if (mon) {
        mon->answer_timeout = timeout;
    }
    return mon;
}

void monitor_close(Monitor *mon)
{
    if (mon) {
        g_clear_pointer(&mon->name, g_free);
        mon->ops->close(mon);
    }
}

/* What an answer returns, or its error as ours. */
static json_object *unwrap(json_object *answer, const char *name,
                           GError **errp)
{
    json_object *error = json_member(answer, "error", json_type_object);
    json_object *result;

    if (error) {
        const char *class = json_member_string(error, "class");
        const char *desc = json_member_string(error, "desc");
        g_autofree char *text = ctl_printable(desc ? desc : "no reason given",
                                              -1);

        if (class && !strcmp(class, "CommandNotFound")) {
            g_set_error(errp, CTL_ERROR, CTL_NO_DEVICE,
                        "this QEMU has no command %s: it was built without "
                        "fadump-dev", name);
        } else if (desc && strstr(desc, "has no fadump-dev device")) {
            g_set_error(errp, CTL_ERROR, CTL_NO_DEVICE,
                        "the machine has no fadump-dev device (%s): start "
                        "QEMU with -device fadump-dev", text);
        } else {
            g_set_error(errp, CTL_ERROR, CTL_FAILED, "QEMU refuses %s: %s",
                        name, text);
        }
        return NULL;
    }
    result = json_member(answer, "return", json_type_object);
    if (!result) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "QEMU's answer to %s is none", name);
        return NULL;
    }
    return json_object_get(result);
}

static json_object *command_fd(Monitor *mon, const char *name,
                               json_object *args, int fd, GError **errp)
{
    json_object *command = json_object_new_object(), *answer, *result = NULL;

    json_object_object_add(command, "execute", json_object_new_string(name));
    if (args) {
        json_object_object_add(command, "arguments", args);
    }
    answer = mon->ops->command(mon, command, fd,
                               ctl_deadline(mon->answer_timeout), errp);
    json_object_put(command);
    if (answer) {
        result = unwrap(answer, name, errp);
        json_object_put(answer);
    }
    return result;
}

json_object *monitor_command(Monitor *mon, const char *name, json_object *args,
                             GError **errp)
{
    return command_fd(mon, name, args, -1, errp);
}

bool monitor_run(Monitor *mon, const char *name, json_object *args,
                 GError **errp)
{
    json_object *result = monitor_command(mon, name, args, errp);

    json_object_put(result);
    return result;
}

bool monitor_pass_fd(Monitor *mon, int fd, const char *fdname, GError **errp)
{
    json_object *args = json_object_new_object(), *result;

    json_object_object_add(args, "fdname", json_object_new_string(fdname));
    result = command_fd(mon, "getfd", args, fd, errp);
    json_object_put(result);
    return result;
}

bool monitor_listen(Monitor *mon, GError **errp)
{
    return mon->ops->listen(mon, errp);
}

json_object *monitor_event(Monitor *mon, gint64 deadline, GError **errp)
{
    return mon->ops->event(mon, deadline, errp);
}

bool monitor_pump(Monitor *mon, gint64 until, const char *last,
                  MonitorEventFunc *on_event, void *opaque, GError **errp)
{
    g_autoptr(GError) why = NULL;
    json_object *event;

    while ((event = monitor_event(mon, until, &why))) {
        bool ended = !g_strcmp0(json_member_string(event, "event"), last);

        if (on_event) {
            on_event(event, opaque);
        }
        json_object_put(event);
        if (ended) {
            return true;
        }
    }
    if (why) {
        g_propagate_error(errp, g_steal_pointer(&why));
        return false;
    }
    return true;
}
