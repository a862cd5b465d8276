/*
 * fadump-ctl: a monitor at a socket that speaks QMP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <gio/gunixfdmessage.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include "monitor.h"

/* Events that may come while a command is answered */
#define MAX_EVENTS 4096

typedef struct Qmp {
    Monitor mon;
    /* closes the socket when it goes */
    GSocketConnection *connection;
    GSocket *socket;
    CtlLines lines;
    GQueue events;      /* of json_object */
    int64_t next_id;
} Qmp;

static void put_event(gpointer event)
{
    json_object_put(event);
}

static void qmp_close(Monitor *mon)
{
    Qmp *qmp = (Qmp *)mon;

    g_queue_clear_full(&qmp->events, put_event);
    ctl_lines_free(&qmp->lines);
    g_clear_object(&qmp->connection);
    g_free(qmp);
}

/*
 * The next message, NULL without an error at the deadline. What is no JSON
 * ends the connection: there is no way to tell where it goes on.
 */
static json_object *read_message(Qmp *qmp, gint64 deadline, GError **errp)
{
    int fd = g_socket_get_fd(qmp->socket);

    for (;;) {
        gsize len;
        g_autofree char *line = ctl_lines_next(&qmp->lines, &len);
        int n;

        if (line) {
            json_object *msg;

            if (!len) {
                continue;
            }
            msg = json_parse_object(line, len, errp);
            if (!msg) {
                g_prefix_error(errp, "this is no QMP monitor: ");
            }
            return msg;
        }
        if (qmp->lines.eof) {
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "QEMU has closed the connection");
            return NULL;
        }
        n = ctl_wait_readable(fd, deadline, errp);
        if (n <= 0 || !ctl_lines_fill(&qmp->lines, fd, errp)) {
            return NULL;
        }
    }
}

static bool send_all(Qmp *qmp, const char *text, gsize len, int fd,
                     gint64 deadline, GError **errp)
{
    g_autoptr(GSocketControlMessage) fds = NULL;
    g_autoptr(GError) why = NULL;

    if (fd >= 0) {
        fds = g_unix_fd_message_new();
        if (!g_unix_fd_message_append_fd(G_UNIX_FD_MESSAGE(fds), fd, &why)) {
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "cannot pass a file descriptor: %s", why->message);
            return false;
        }
    }
    while (len) {
        GOutputVector vector = { text, len };
        struct pollfd pfd = {
            .fd = g_socket_get_fd(qmp->socket),
            .events = POLLOUT,
        };
        gssize n;
        int ready = ctl_poll(&pfd, 1, deadline, errp);

        if (ready == 0) {
            g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                        "QEMU does not read its monitor");
        }
        if (ready <= 0) {
            return false;
        }
        n = g_socket_send_message(qmp->socket, NULL, &vector, 1,
                                  fds ? &fds : NULL, fds ? 1 : 0,
                                  G_SOCKET_MSG_NONE, NULL, &why);
        if (n < 0) {
            if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
                g_clear_error(&why);
                continue;
            }
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "cannot write to QEMU's monitor: %s", why->message);
            return false;
        }
        /* it went with the first bytes */
        g_clear_object(&fds);
        text += n;
        len -= n;
    }
    return true;
}

static json_object *qmp_command(Monitor *mon, json_object *command, int fd,
                                gint64 deadline, GError **errp)
{
    Qmp *qmp = (Qmp *)mon;
    int64_t id = ++qmp->next_id;
    const char *name = json_member_string(command, "execute");
    g_autofree char *text = NULL;

    json_object_object_add(command, "id", json_object_new_int64(id));
    text = g_strconcat(json_object_to_json_string_ext(
                           command, JSON_C_TO_STRING_PLAIN), "\n", NULL);
    if (!send_all(qmp, text, strlen(text), fd, deadline, errp)) {
        return NULL;
    }
    for (;;) {
        g_autoptr(GError) why = NULL;
        json_object *msg = read_message(qmp, deadline, &why), *member;

        if (!msg) {
            if (!why) {
                g_set_error(&why, CTL_ERROR, CTL_TIMEOUT,
                            "QEMU does not answer %s in time", name);
            }
            g_propagate_error(errp, g_steal_pointer(&why));
            return NULL;
        }
        if (json_member_string(msg, "event")) {
            if (qmp->events.length >= MAX_EVENTS) {
                json_object_put(msg);
                g_set_error(errp, CTL_ERROR, CTL_FAILED,
                            "QEMU sends events and no answer to %s", name);
                return NULL;
            }
            g_queue_push_tail(&qmp->events, msg);
            continue;
        }
        member = json_member(msg, "id", json_type_int);
        /* an error that has no id is of a command that QEMU cannot read */
        if ((member && json_object_get_int64(member) == id) ||
            (!json_object_object_get_ex(msg, "id", NULL) &&
             json_member(msg, "error", json_type_object))) {
            return msg;
        }
        /* the answer to a command that was given up */
        json_object_put(msg);
    }
}

static bool qmp_listen(Monitor *mon, GError **errp)
{
    Qmp *qmp = (Qmp *)mon;

    g_queue_clear_full(&qmp->events, put_event);
    return true;
}

static json_object *qmp_event(Monitor *mon, gint64 deadline, GError **errp)
{
    Qmp *qmp = (Qmp *)mon;
    json_object *msg = g_queue_pop_head(&qmp->events);

    while (!msg) {
        msg = read_message(qmp, deadline, errp);
        if (!msg) {
            return NULL;
        }
        if (!json_member_string(msg, "event")) {
            json_object_put(msg);
            msg = NULL;
        }
    }
    return msg;
}

static const MonitorOps qmp_ops = {
    .command = qmp_command,
    .listen = qmp_listen,
    .event = qmp_event,
    .close = qmp_close,
};

static GSocketConnectable *parse_spec(const char *spec, bool *local,
                                      GError **errp)
{
    GSocketConnectable *address;
    const char *path = spec;
    g_autoptr(GError) why = NULL;

    if (g_str_has_prefix(spec, "tcp:")) {
        *local = false;
        address = g_network_address_parse(spec + strlen("tcp:"), 0, &why);
        if (!address || !g_network_address_get_port(
                            G_NETWORK_ADDRESS(address))) {
            g_set_error(errp, CTL_ERROR, CTL_USAGE,
                        "'%s' is not tcp:HOST:PORT", spec);
            g_clear_object(&address);
        }
        return address;
    }
    if (g_str_has_prefix(spec, "unix:")) {
        path += strlen("unix:");
    }
    *local = true;
    if (!*path || strlen(path) >= 108) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "'%s' is no path of a socket (1 to 107 characters), nor "
                    "unix:PATH or tcp:HOST:PORT", spec);
        return NULL;
    }
    return G_SOCKET_CONNECTABLE(g_unix_socket_address_new(path));
}

static bool greet(Qmp *qmp, gint64 deadline, GError **errp)
{
    g_autoptr(GError) why = NULL;
    json_object *greeting, *result;
    bool ok;

    do {
        greeting = read_message(qmp, deadline, &why);
        /* one that was emitted for the client before us */
        ok = greeting && json_member(greeting, "QMP", json_type_object);
        if (greeting && !ok && !json_member_string(greeting, "event")) {
            g_set_error(&why, CTL_ERROR, CTL_FAILED,
                        "this is no QMP monitor: it does not greet");
        }
        json_object_put(greeting);
    } while (greeting && !ok && !why);
    if (!ok) {
        if (!why) {
            g_set_error(&why, CTL_ERROR, CTL_TIMEOUT,
                        "no greeting in time: QEMU hangs, or another client "
                        "has this monitor (QEMU serves one at a time; give it "
                        "a second -qmp, or with libvirt use --domain)");
        }
        g_propagate_error(errp, g_steal_pointer(&why));
        return false;
    }
    result = monitor_command(&qmp->mon, "qmp_capabilities", NULL, errp);
    json_object_put(result);
    return result;
}

Monitor *qmp_open(const char *spec, double timeout, GError **errp)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnection) connection = NULL;
    g_autoptr(GSocketConnectable) address = NULL;
    g_autoptr(GError) why = NULL;
    bool local;
    Qmp *qmp;

    address = parse_spec(spec, &local, errp);
    if (!address) {
        return NULL;
    }
    g_socket_client_set_timeout(client, MAX(1, MIN(timeout, G_MAXINT32)));
    g_socket_client_set_enable_proxy(client, FALSE);
    connection = g_socket_client_connect(client, address, NULL, &why);
    if (!connection) {
        bool late = g_error_matches(why, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);

        g_set_error(errp, CTL_ERROR, late ? CTL_TIMEOUT : CTL_FAILED,
                    "cannot connect to QEMU at %s: %s", spec, why->message);
        return NULL;
    }

    /* not before: an interrupt would not end the attempt to connect */
    ctl_signals_init();
    qmp = g_new0(Qmp, 1);
    qmp->mon.ops = &qmp_ops;
    qmp->mon.answer_timeout = timeout;
    qmp->mon.local = local;
    qmp->mon.interval = G_USEC_PER_SEC / 4;
    qmp->connection = g_steal_pointer(&connection);
    qmp->socket = g_socket_connection_get_socket(qmp->connection);
    g_socket_set_blocking(qmp->socket, FALSE);
    g_socket_set_timeout(qmp->socket, 0);
    ctl_lines_init(&qmp->lines, MONITOR_LINE_LIMIT);
    g_queue_init(&qmp->events);
    if (!greet(qmp, ctl_deadline(timeout), errp)) {
        g_prefix_error(errp, "%s: ", spec);
        monitor_close(&qmp->mon);
        return NULL;
    }
    return &qmp->mon;
}
