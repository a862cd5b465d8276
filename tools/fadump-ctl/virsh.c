/*
 * fadump-ctl: the monitor of a libvirt domain, through virsh
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virsh, and not libvirt's library: so this program needs libvirt only where
 * it is used.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "monitor.h"

typedef struct Virsh {
    Monitor mon;
    char *uri;
    /* the virsh that prints events, and its output */
    GSubprocess *events;
    int events_fd;
    CtlLines lines;
    /* what it said last that is no event */
    char *said;
} Virsh;

static GPtrArray *virsh_args(Virsh *virsh, const char *command)
{
    GPtrArray *args = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(args, g_strdup("virsh"));
    g_ptr_array_add(args, g_strdup("-q"));
    if (virsh->uri) {
        g_ptr_array_add(args, g_strdup_printf("--connect=%s", virsh->uri));
    }
    g_ptr_array_add(args, g_strdup(command));
    g_ptr_array_add(args, g_strdup_printf("--domain=%s", virsh->mon.name));
    return args;
}

static json_object *virsh_command(Monitor *mon, json_object *command, int fd,
                                  gint64 deadline, GError **errp)
{
    Virsh *virsh = (Virsh *)mon;
    g_autoptr(GPtrArray) args = virsh_args(virsh, "qemu-monitor-command");
    g_autoptr(GByteArray) out = NULL;
    g_autofree char *err = NULL;
    CtlChild child = {
        .fd3 = -1,
        .ignore_sigint = true,
        .limit = MONITOR_LINE_LIMIT,
        .deadline = deadline,
    };
    json_object *answer;
    int status;
    gsize len;

    if (fd >= 0) {
        child.fd3 = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        g_ptr_array_add(args, g_strdup("--pass-fds=3"));
    }
    g_ptr_array_add(args, g_strdup(json_object_to_json_string_ext(
                                       command, JSON_C_TO_STRING_PLAIN)));
    g_ptr_array_add(args, NULL);
    child.argv = (const char *const *)args->pdata;
    if (!ctl_child_run(&child, &out, &err, &status, errp)) {
        return NULL;
    }
    if (status) {
        g_autofree char *why = ctl_last_line(err);

        g_set_error(errp, CTL_ERROR, CTL_FAILED, "virsh: %s", why);
        return NULL;
    }
    len = out->len;
    while (len && g_ascii_isspace(out->data[len - 1])) {
        len--;
    }
    answer = json_parse_object((char *)out->data, len, errp);
    if (!answer) {
        g_prefix_error(errp, "virsh: ");
    }
    return answer;
}

static void die_with_parent(gpointer opaque)
{
    signal(SIGINT, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static bool virsh_listen(Monitor *mon, GError **errp)
{
    Virsh *virsh = (Virsh *)mon;
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_autoptr(GPtrArray) args = virsh_args(virsh, "qemu-monitor-event");
    g_autoptr(GError) why = NULL;
    const char *name;
    int master, slave;

    if (virsh->events) {
        return true;
    }
    g_ptr_array_add(args, g_strdup("--loop"));
    g_ptr_array_add(args, NULL);

    /* into a pipe virsh would write when its buffer is full, not before */
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    name = master >= 0 && !grantpt(master) && !unlockpt(master) ?
           ptsname(master) : NULL;
    slave = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    if (slave < 0) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "cannot open a pseudo terminal for virsh: %s",
                    g_strerror(errno));
        if (master >= 0) {
            close(master);
        }
        return false;
    }
    g_subprocess_launcher_take_stderr_fd(
        launcher, fcntl(slave, F_DUPFD_CLOEXEC, 0));
    g_subprocess_launcher_take_stdout_fd(launcher, slave);
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C.UTF-8", TRUE);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL,
                                          NULL);
    virsh->events = g_subprocess_launcher_spawnv(
        launcher, (const char *const *)args->pdata, &why);
    g_subprocess_launcher_close(launcher);
    if (!virsh->events) {
        close(master);
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot run virsh: %s",
                    why->message);
        return false;
    }
    virsh->events_fd = master;
    return true;
}

json_object *virsh_parse_event(const char *line)
{
    g_autoptr(GRegex) regex = g_regex_new(
        "^event ([A-Z0-9_]{1,64}) at ([0-9]{1,18})\\.([0-9]{6}) "
        "for domain '.*?': (.*)$", G_REGEX_RAW | G_REGEX_DOTALL, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    g_autofree char *name = NULL, *seconds = NULL, *micros = NULL;
    g_autofree char *data = NULL;
    json_object *event, *timestamp, *details;

    if (!g_regex_match(regex, line, 0, &match)) {
        return NULL;
    }
    name = g_match_info_fetch(match, 1);
    seconds = g_match_info_fetch(match, 2);
    micros = g_match_info_fetch(match, 3);
    data = g_match_info_fetch(match, 4);

    event = json_object_new_object();
    timestamp = json_object_new_object();
    json_object_object_add(timestamp, "seconds", json_object_new_int64(
                               g_ascii_strtoll(seconds, NULL, 10)));
    json_object_object_add(timestamp, "microseconds", json_object_new_int64(
                               g_ascii_strtoll(micros, NULL, 10)));
    json_object_object_add(event, "event", json_object_new_string(name));
    details = json_parse_object(data, strlen(data), NULL);
    if (details) {
        json_object_object_add(event, "data", details);
    }
    json_object_object_add(event, "timestamp", timestamp);
    return event;
}

static json_object *virsh_event(Monitor *mon, gint64 deadline, GError **errp)
{
    Virsh *virsh = (Virsh *)mon;

    if (!virsh->events) {
        ctl_poll(NULL, 0, deadline, errp);
        return NULL;
    }
    for (;;) {
        gsize len;
        g_autofree char *line = ctl_lines_next(&virsh->lines, &len);
        int n;

        if (line) {
            json_object *event = virsh_parse_event(line);

            if (event) {
                return event;
            }
            if (len) {
                g_free(virsh->said);
                virsh->said = g_steal_pointer(&line);
            }
            continue;
        }
        if (virsh->lines.eof) {
            g_autofree char *said = ctl_last_line(virsh->said);

            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "virsh has ended: %s", said);
            return NULL;
        }
        n = ctl_wait_readable(virsh->events_fd, deadline, errp);
        if (n <= 0 ||
            !ctl_lines_fill(&virsh->lines, virsh->events_fd, errp)) {
            return NULL;
        }
    }
}

static void virsh_close(Monitor *mon)
{
    Virsh *virsh = (Virsh *)mon;

    if (virsh->events) {
        g_subprocess_send_signal(virsh->events, SIGTERM);
        g_clear_object(&virsh->events);
        close(virsh->events_fd);
    }
    ctl_lines_free(&virsh->lines);
    g_free(virsh->said);
    g_free(virsh->uri);
    g_free(virsh);
}

static const MonitorOps virsh_ops = {
    .command = virsh_command,
    .listen = virsh_listen,
    .event = virsh_event,
    .close = virsh_close,
};

/* Whether a libvirt URI names another host. */
static bool is_remote(const char *uri)
{
    const char *host = uri ? strstr(uri, "://") : NULL;

    return host && host[3] && host[3] != '/';
}

Monitor *virsh_open(const char *domain, const char *uri, GError **errp)
{
    g_autofree char *program = g_find_program_in_path("virsh");
    Virsh *virsh;

    if (!program) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "--domain needs the program virsh, and it is not in PATH: "
                    "install libvirt-clients");
        return NULL;
    }
    ctl_signals_init();
    virsh = g_new0(Virsh, 1);
    virsh->mon.ops = &virsh_ops;
    virsh->mon.name = g_strdup(domain);
    virsh->mon.local = !is_remote(uri);
    virsh->mon.confined = true;
    virsh->mon.interval = G_USEC_PER_SEC;
    virsh->uri = g_strdup(uri);
    ctl_lines_init(&virsh->lines, MONITOR_LINE_LIMIT);
    return &virsh->mon;
}
