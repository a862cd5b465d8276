/*
 * fadump-ctl: a QEMU monitor, however it is reached
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_MONITOR_H
#define FADUMP_CTL_MONITOR_H

#include "ctl.h"

/* More than QEMU says in one line to any command that is used here */
#define MONITOR_LINE_LIMIT (1024 * 1024)

typedef struct Monitor Monitor;

typedef struct MonitorOps {
    /*
     * Send a command and return all of its answer, { "return" or "error" }.
     * @fd goes with it if it is not -1; it stays the caller's.
     */
    json_object *(*command)(Monitor *mon, json_object *command, int fd,
                            gint64 deadline, GError **errp);
    bool (*listen)(Monitor *mon, GError **errp);
    /* NULL without an error at the deadline */
    json_object *(*event)(Monitor *mon, gint64 deadline, GError **errp);
    void (*close)(Monitor *mon);
} MonitorOps;

struct Monitor {
    const MonitorOps *ops;
    /* of QEMU, if it is known here */
    char *name;
    /* how long it may take to answer, in seconds */
    double answer_timeout;
    /* it can open files of this host */
    bool local;
    /* it is known to be confined, or another user: pass it open files */
    bool confined;
    /* how long to wait between two looks at its state, in microseconds */
    gint64 interval;
};

/* Connect to what the options say. */
Monitor *monitor_open(const CtlOptions *opts, GError **errp);
void monitor_close(Monitor *mon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Monitor, monitor_close)

/*
 * Run a command; @args may be NULL, its reference is taken. Returns what it
 * returns. CTL_NO_DEVICE if QEMU has no such device or does not know such
 * commands.
 */
json_object *monitor_command(Monitor *mon, const char *name, json_object *args,
                             GError **errp);
bool monitor_run(Monitor *mon, const char *name, json_object *args,
                 GError **errp);
/* Give QEMU a file descriptor, which it knows by that name. */
bool monitor_pass_fd(Monitor *mon, int fd, const char *fdname, GError **errp);
/* Events come from now on. Those that came before are lost. */
bool monitor_listen(Monitor *mon, GError **errp);
json_object *monitor_event(Monitor *mon, gint64 deadline, GError **errp);

typedef void MonitorEventFunc(json_object *event, void *opaque);
/*
 * Hand on the events that come until then, or until one of that name has;
 * @last and @on_event may be NULL.
 */
bool monitor_pump(Monitor *mon, gint64 until, const char *last,
                  MonitorEventFunc *on_event, void *opaque, GError **errp);

/* ---- qmp.c ---- */
Monitor *qmp_open(const char *spec, double timeout, GError **errp);

/* ---- virsh.c ---- */
Monitor *virsh_open(const char *domain, const char *uri, GError **errp);
/* An event as virsh prints it; NULL if that is none. */
json_object *virsh_parse_event(const char *line);

/* ---- json.c: reading what a peer has sent ---- */

json_object *json_parse_object(const char *text, gsize len, GError **errp);
/* NULL if there is none of that type */
json_object *json_member(json_object *obj, const char *name, json_type type);
const char *json_member_string(json_object *obj, const char *name);

#endif
