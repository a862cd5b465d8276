/*
 * Firmware-assisted dump: where a dump is written to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A file has no name until it is complete and on stable storage.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "hw/misc/fadump-save-target.h"
#include "monitor/monitor.h"

/*
 * A file without a name, where the file system can do that: then nothing is
 * left of it whatever happens to this process.
 */
static bool open_unnamed(FadumpTarget *t, Error **errp)
{
    g_autofree char *dir = g_path_get_dirname(t->path);

    t->fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (t->fd >= 0) {
        return true;
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT &&
        errno != EINVAL) {
        error_setg_errno(errp, errno, "cannot create a file in %s", dir);
        return false;
    }
    t->temp = g_strdup_printf("%s.XXXXXX", t->path);
    t->fd = g_mkstemp_full(t->temp, O_WRONLY | O_CLOEXEC, 0600);
    if (t->fd < 0) {
        error_setg_errno(errp, errno, "cannot create %s", t->temp);
        g_clear_pointer(&t->temp, g_free);
        return false;
    }
    return true;
}

static bool open_file(FadumpTarget *t, const char *path, Error **errp)
{
    struct stat st;

    if (!*path) {
        error_setg(errp, "parameter 'protocol' has no file name after 'file:'");
        return false;
    }
    /*
     * What was passed by add-fd, devices and pipes cannot be replaced. A pipe
     * that nobody reads must not keep the open waiting.
     */
    if (strstart(path, "/dev/fdset/", NULL)) {
        t->fd = qemu_open(path, O_WRONLY, errp);
        return t->fd >= 0;
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        t->fd = qemu_open(path, O_WRONLY | O_NONBLOCK, errp);
        return t->fd >= 0;
    }
    t->path = g_strdup(path);
    return open_unnamed(t, errp);
}

bool fadump_target_open(FadumpTarget *t, const char *protocol, Error **errp)
{
    struct stat st;
    const char *p;

    if (strstart(protocol, "fd:", &p)) {
        t->fd = monitor_get_fd(monitor_cur(), p, errp);
        if (t->fd < 0) {
            return false;
        }
    } else if (strstart(protocol, "file:", &p)) {
        if (!open_file(t, p, errp)) {
            return false;
        }
    } else {
        error_setg(errp,
                   "parameter 'protocol' must start with 'file:' or 'fd:'");
        return false;
    }
    if (fstat(t->fd, &st)) {
        error_setg_errno(errp, errno, "cannot use the file");
        return false;
    }
    t->seekable = S_ISREG(st.st_mode);
    if (t->seekable && ftruncate(t->fd, 0)) {
        error_setg_errno(errp, errno, "cannot empty the file");
        return false;
    }
    t->socket = S_ISSOCK(st.st_mode);
    return true;
}

static bool sync_dir(const char *path, Error **errp)
{
    g_autofree char *dir = g_path_get_dirname(path);
    int fd = qemu_open(dir, O_RDONLY | O_DIRECTORY, errp);
    bool ok;

    if (fd < 0) {
        return false;
    }
    /* some file systems cannot, and need not */
    ok = fsync(fd) == 0 || errno == EINVAL;
    if (!ok) {
        error_setg_errno(errp, errno, "cannot sync %s", dir);
    }
    qemu_close(fd);
    return ok;
}

bool fadump_target_publish(FadumpTarget *t, const bool *cancel, Error **errp)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", t->fd);

    if (fsync(t->fd) && errno != EINVAL && errno != EROFS) {
        error_setg_errno(errp, errno, "cannot sync the file");
        return false;
    }
    if (!t->path) {
        return true;
    }
    if (qatomic_read(cancel)) {
        return false;
    }
    if (!t->temp) {
        if (linkat(AT_FDCWD, self, AT_FDCWD, t->path,
                   AT_SYMLINK_FOLLOW) == 0) {
            return sync_dir(t->path, errp);
        }
        if (errno != EEXIST) {
            error_setg_errno(errp, errno, "cannot create %s", t->path);
            return false;
        }
        /* link does not replace, rename does */
        t->temp = g_strdup_printf("%s.%08" PRIx32, t->path,
                                  g_random_int());
        if (linkat(AT_FDCWD, self, AT_FDCWD, t->temp, AT_SYMLINK_FOLLOW)) {
            error_setg_errno(errp, errno, "cannot create %s", t->temp);
            g_clear_pointer(&t->temp, g_free);
            return false;
        }
    }
    if (rename(t->temp, t->path)) {
        error_setg_errno(errp, errno, "cannot create %s", t->path);
        return false;
    }
    g_clear_pointer(&t->temp, g_free);
    return sync_dir(t->path, errp);
}

void fadump_target_close(FadumpTarget *t)
{
    if (t->fd >= 0) {
        qemu_close(t->fd);
        t->fd = -1;
    }
    if (t->temp) {
        unlink(t->temp);
        g_clear_pointer(&t->temp, g_free);
    }
    g_clear_pointer(&t->path, g_free);
}
