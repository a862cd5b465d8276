/*
 * fadump-ctl: files that appear when they are complete, and are on disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "target.h"

static bool fail(const char *what, const char *path, GError **errp)
{
    g_set_error(errp, CTL_ERROR, CTL_FAILED, "%s %s: %s", what, path,
                g_strerror(errno));
    return false;
}

char *target_temp_name(const char *path, const char *suffix)
{
    g_autofree char *dir = g_path_get_dirname(path);
    char *name = NULL;

    do {
        g_free(name);
        name = g_strdup_printf("%s/.fadump-ctl-%08x%s", dir, g_random_int(),
                               suffix);
    } while (access(name, F_OK) == 0);
    return name;
}

int target_open(const char *path, char **temp, GError **errp)
{
    g_autofree char *dir = g_path_get_dirname(path);
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    *temp = NULL;
    if (fd >= 0) {
        return fd;
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
        fail("cannot create a file in", dir, errp);
        return -1;
    }
    *temp = target_temp_name(path, ".tmp");
    fd = open(*temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail("cannot create", *temp, errp);
        g_clear_pointer(temp, g_free);
    }
    return fd;
}

/* Give a file that has a name another, which no file may have. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    /* a file system that cannot; it may know links */
    if (link(from, to)) {
        return -1;
    }
    return unlink(from);
}

bool target_publish(int fd, const char *temp, const char *path, bool force,
                    GError **errp)
{
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *made = NULL;
    int dir_fd, ret;

    if (fsync(fd)) {
        return fail("cannot write", path, errp);
    }
    if (!temp) {
        g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", fd);

        temp = made = target_temp_name(path, ".tmp");
        if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW)) {
            return fail("cannot create", temp, errp);
        }
    }
    ret = force ? rename(temp, path) : rename_new(temp, path);
    if (ret) {
        fail("cannot create", path, errp);
        if (made) {
            unlink(made);
        }
        return false;
    }
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0) {
        /* best effort: the file is whole either way */
        fsync(dir_fd);
        close(dir_fd);
    }
    return true;
}

bool target_check(const char *path, bool force, GError **errp)
{
    struct stat st;

    if (lstat(path, &st)) {
        /* the one who opens it says more, and may see more than we do */
        return true;
    }
    /* a device node would be replaced by a file */
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "%s is there and no regular file: name a file", path);
        return false;
    }
    if (!force) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "%s exists: --force replaces it", path);
        return false;
    }
    return true;
}
