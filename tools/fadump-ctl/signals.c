/*
 * fadump-ctl: signals, and waiting that they interrupt
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <unistd.h>
#include "ctl.h"

static int wake[2] = { -1, -1 };
static volatile sig_atomic_t pending, last;

static void on_signal(int number)
{
    int saved = errno;
    ssize_t n;

    pending = last = number;
    n = write(wake[1], "", 1);
    /* a full pipe wakes as well */
    (void)n;
    errno = saved;
}

void ctl_signals_init(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on_signal };
    struct sigaction old;

    if (wake[0] >= 0) {
        return;
    }
    if (!g_unix_open_pipe(wake, FD_CLOEXEC, NULL)) {
        g_error("no pipe: %s", g_strerror(errno));
    }
    g_unix_set_fd_nonblocking(wake[0], TRUE, NULL);
    g_unix_set_fd_nonblocking(wake[1], TRUE, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        sigaction(numbers[i], NULL, &old);
        /* as nohup and a shell's background jobs have it */
        if (old.sa_handler != SIG_IGN) {
            sigaction(numbers[i], &action, NULL);
        }
    }
}

int ctl_signal(void)
{
    return pending;
}

int ctl_last_signal(void)
{
    return last;
}

void ctl_signal_clear(void)
{
    char buf[64];

    pending = 0;
    while (wake[0] >= 0 && read(wake[0], buf, sizeof(buf)) > 0) {
        ;
    }
}

static int interrupted(GError **errp)
{
    g_set_error(errp, CTL_ERROR, CTL_INTERRUPTED, "interrupted (%s)",
                g_strsignal(pending));
    return -1;
}

int ctl_poll(struct pollfd *fds, int n, gint64 deadline, GError **errp)
{
    g_autofree struct pollfd *all = g_new(struct pollfd, n + 1);

    for (;;) {
        gint64 left = deadline == CTL_NEVER ? -1 :
                      deadline - g_get_monotonic_time();
        int ready;

        if (pending) {
            return interrupted(errp);
        }
        if (deadline != CTL_NEVER) {
            left = MIN(MAX(left, 0) / 1000 + (left > 0), G_MAXINT);
        }
        memcpy(all, fds, n * sizeof(*fds));
        all[n] = (struct pollfd) { .fd = wake[0], .events = POLLIN };
        ready = poll(all, n + 1, left);
        if (pending) {
            return interrupted(errp);
        }
        if (ready < 0 && errno != EINTR && errno != EAGAIN) {
            g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot wait: %s",
                        g_strerror(errno));
            return -1;
        }
        if (ready > 0) {
            memcpy(fds, all, n * sizeof(*fds));
            return ready;
        }
        if (ready == 0 && g_get_monotonic_time() >= deadline) {
            for (int i = 0; i < n; i++) {
                fds[i].revents = 0;
            }
            return 0;
        }
    }
}

int ctl_wait_readable(int fd, gint64 deadline, GError **errp)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return ctl_poll(&pfd, 1, deadline, errp);
}

gint64 ctl_deadline(double seconds)
{
    /* negative: none; and no more than fits */
    if (seconds < 0 || seconds > 1e9) {
        return CTL_NEVER;
    }
    return g_get_monotonic_time() + (gint64)(seconds * G_USEC_PER_SEC);
}
