/*
 * fadump-ctl: running other programs to their end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <glib-unix.h>
#include <gio/gunixinputstream.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "ctl.h"

/* What is kept of the end of what a program says on standard error */
#define STDERR_KEPT 65536

static void ignore_sigint(gpointer opaque)
{
    signal(SIGINT, SIG_IGN);
}

/* Read what is there. False at the end, or at an error, which ends it too. */
static bool take(int fd, GByteArray *into)
{
    guint8 chunk[65536];
    ssize_t n = read(fd, chunk, sizeof(chunk));

    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    if (n <= 0) {
        return false;
    }
    g_byte_array_append(into, chunk, n);
    return true;
}

static void stop(GSubprocess *process)
{
    g_subprocess_force_exit(process);
    g_subprocess_wait(process, NULL, NULL);
}

bool ctl_child_run(const CtlChild *child, GByteArray **out, char **err,
                   int *status, GError **errp)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                  G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autoptr(GSubprocess) process = NULL;
    g_autoptr(GByteArray) said = g_byte_array_new();
    g_autoptr(GByteArray) complained = g_byte_array_new();
    g_autoptr(GError) why = NULL;
    struct pollfd fds[2];

    /* messages of it are shown, and some are read */
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C.UTF-8", TRUE);
    if (child->fd3 >= 0) {
        g_subprocess_launcher_take_fd(launcher, child->fd3, 3);
    }
    if (child->ignore_sigint) {
        g_subprocess_launcher_set_child_setup(launcher, ignore_sigint, NULL,
                                              NULL);
    }
    process = g_subprocess_launcher_spawnv(launcher, child->argv, &why);
    if (!process) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot run %s: %s",
                    child->argv[0], why->message);
        return false;
    }
    /* else the pipe that fd3 may be would stay open here */
    g_subprocess_launcher_close(launcher);

    fds[0].fd = g_unix_input_stream_get_fd(
        G_UNIX_INPUT_STREAM(g_subprocess_get_stdout_pipe(process)));
    fds[1].fd = g_unix_input_stream_get_fd(
        G_UNIX_INPUT_STREAM(g_subprocess_get_stderr_pipe(process)));
    fds[0].events = fds[1].events = POLLIN;

    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        int n = ctl_poll(fds, 2, child->deadline, errp);

        if (n == 0) {
            g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                        "%s has not ended in time", child->argv[0]);
        }
        if (n <= 0) {
            stop(process);
            return false;
        }
        if (fds[0].revents && !take(fds[0].fd, said)) {
            fds[0].fd = -1;
        }
        if (fds[1].revents && !take(fds[1].fd, complained)) {
            fds[1].fd = -1;
        }
        if (complained->len > 2 * STDERR_KEPT) {
            g_byte_array_remove_range(complained, 0,
                                      complained->len - STDERR_KEPT);
        }
        if (said->len > child->limit) {
            stop(process);
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "%s said more than %" G_GSIZE_FORMAT " bytes",
                        child->argv[0], child->limit);
            return false;
        }
    }
    g_subprocess_wait(process, NULL, NULL);
    *status = g_subprocess_get_if_exited(process) ?
              g_subprocess_get_exit_status(process) : -1;
    if (out) {
        g_byte_array_append(said, (guint8 *)"", 1);
        g_byte_array_set_size(said, said->len - 1);
        *out = g_steal_pointer(&said);
    }
    if (err) {
        *err = g_strndup((char *)complained->data, complained->len);
    }
    return true;
}

char *ctl_last_line(const char *text)
{
    g_auto(GStrv) lines = g_strsplit_set(text ? text : "", "\r\n", -1);

    for (guint i = g_strv_length(lines); i > 0; i--) {
        g_strstrip(lines[i - 1]);
        if (*lines[i - 1]) {
            return ctl_printable(lines[i - 1], -1);
        }
    }
    return g_strdup("it did not say why");
}
