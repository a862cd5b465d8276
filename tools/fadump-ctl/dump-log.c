/*
 * fadump-ctl: getting the kernel's log out of a dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * makedumpfile and crash read the dump, in processes of their own: it may be
 * made to deceive those who read it.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "report.h"

/* Far more than a kernel's log buffer has */
#define LOG_LIMIT (256 * 1024 * 1024)

static bool is_dump(const char *path, GError **errp)
{
    static const struct {
        const char *magic;
        gsize len;
    } magics[] = {
        { "\177ELF", 4 }, { "KDUMP   ", 8 }, { "DISKDUMP", 8 },
        { "makedumpfile", 12 },
    };
    struct stat st;
    char head[16] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n;

    if (fd < 0) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot open %s: %s", path,
                    g_strerror(errno));
        return false;
    }
    n = fstat(fd, &st) || !S_ISREG(st.st_mode) ? 0 :
        read(fd, head, sizeof(head));
    close(fd);
    for (gsize i = 0; i < G_N_ELEMENTS(magics); i++) {
        if (n == sizeof(head) &&
            !memcmp(head, magics[i].magic, magics[i].len)) {
            return true;
        }
    }
    g_set_error(errp, CTL_ERROR, CTL_FAILED, "%s is neither an ELF core nor a "
                "dump that makedumpfile has written", path);
    return false;
}

static GByteArray *read_limited(const char *path, GError **errp)
{
    g_autoptr(GByteArray) text = g_byte_array_new();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    guint8 chunk[65536];
    ssize_t n = -1;

    while (fd >= 0 && text->len < LOG_LIMIT &&
           (n = read(fd, chunk, sizeof(chunk))) > 0) {
        g_byte_array_append(text, chunk, n);
    }
    if (fd < 0 || n < 0) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot read the log: %s",
                    g_strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return n < 0 ? NULL : g_steal_pointer(&text);
}

static bool program_runs(const char *name, GError **errp)
{
    g_autofree char *path = g_find_program_in_path(name);

    if (!path) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "this needs the program %s, and it is not in PATH: "
                    "install %s", name, name);
    }
    return path;
}

static GByteArray *by_makedumpfile(const char *dump, const char *dir,
                                   gint64 deadline, GError **errp)
{
    g_autofree char *output = g_build_filename(dir, "dmesg", NULL);
    g_autofree char *err = NULL, *why = NULL;
    g_autoptr(GByteArray) out = NULL;
    const char *argv[] = {
        "makedumpfile", "--dump-dmesg", dump, output, NULL
    };
    CtlChild child = {
        .argv = argv, .fd3 = -1, .limit = 1024 * 1024, .deadline = deadline,
    };
    GByteArray *log = NULL;
    int status;

    if (!program_runs(argv[0], errp) ||
        !ctl_child_run(&child, &out, &err, &status, errp)) {
        return NULL;
    }
    if (status) {
        why = makedumpfile_reason((char *)out->data, err);
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "makedumpfile finds no log in %s: %s", dump, why);
    } else {
        log = read_limited(output, errp);
    }
    g_unlink(output);
    return log;
}

static GByteArray *by_crash(const char *dump, const char *vmlinux,
                            const char *dir, gint64 deadline, GError **errp)
{
    g_autofree char *script = g_build_filename(dir, "script", NULL);
    g_autofree char *err = NULL, *why = NULL;
    g_autoptr(GByteArray) out = NULL;
    const char *argv[] = {
        "crash", "-s", "--no_scroll", "--no_crashrc", "-i", script, vmlinux,
        dump, NULL
    };
    CtlChild child = {
        .argv = argv, .fd3 = -1, .limit = LOG_LIMIT, .deadline = deadline,
    };
    int status;
    bool ok;

    if (!program_runs(argv[0], errp)) {
        return NULL;
    }
    if (!g_file_set_contents(script, "log\nquit\n", -1, NULL)) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot write %s", script);
        return NULL;
    }
    ok = ctl_child_run(&child, &out, &err, &status, errp);
    g_unlink(script);
    if (!ok) {
        return NULL;
    }
    if (status) {
        why = ctl_last_line(*err ? err : (char *)out->data);
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "crash cannot read %s: %s",
                    dump, why);
        return NULL;
    }
    return g_steal_pointer(&out);
}

GByteArray *dump_read_log(const char *dump, const char *vmlinux,
                          gint64 deadline, GError **errp)
{
    /* not taken for an option */
    g_autofree char *path = g_canonicalize_filename(dump, NULL);
    g_autofree char *dir = NULL;
    g_autoptr(GError) why = NULL;
    GByteArray *log;

    if (!is_dump(path, errp)) {
        return NULL;
    }
    dir = g_dir_make_tmp("fadump-ctl-XXXXXX", &why);
    if (!dir) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "%s", why->message);
        return NULL;
    }
    log = by_makedumpfile(path, dir, deadline, &why);
    if (!log && why->code == CTL_FAILED && vmlinux) {
        g_autofree char *symbols = g_canonicalize_filename(vmlinux, NULL);

        g_clear_error(&why);
        log = by_crash(path, symbols, dir, deadline, &why);
    }
    if (!log && why->code == CTL_FAILED && !vmlinux) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "%s (a dump without VMCOREINFO needs --vmlinux)",
                    why->message);
    } else if (!log) {
        g_propagate_error(errp, g_steal_pointer(&why));
    }
    g_rmdir(dir);
    return log;
}
