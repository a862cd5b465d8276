/*
 * fadump-ctl: saving a dump: the job in QEMU, and the filter after it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU either opens the file itself or is passed a pipe. The pipe, and not the
 * file, because QEMU then needs no right to anything: neither AppArmor nor
 * SELinux nor the owner of the directory has a say, and what is written is
 * this program's. It also ends the job if this program is killed.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "save.h"
#include "target.h"

#define DEFAULT_FILTER "-l -d 31"
#define PIPE_SIZE (1024 * 1024)
/* Runs of zeros of this size become holes. */
#define HOLE_SIZE 65536
/* How long the job may take to end when it has been told to, in seconds */
#define CANCEL_TIMEOUT 60

typedef struct Save {
    Monitor *mon;
    const SaveOptions *opts;
    char *file;
    /* where QEMU writes the core, if that is not @file */
    char *core;
    /* the name that our own file has while it is written, or NULL */
    char *temp;
    int fd;
    int pipe;
    bool started;
    uint64_t total;
    gint64 shown;
} Save;

char **save_parse_filter(const char *text, GError **errp)
{
    g_autoptr(GError) why = NULL;
    char **argv = NULL;

    if (!g_shell_parse_argv(text ? text : DEFAULT_FILTER, NULL, &argv, &why)) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "--filter='%s': %s", text,
                    why->message);
    }
    return argv;
}

/* ---- progress ---- */

static void show(Save *save, const char *what, uint64_t done, uint64_t total)
{
    gint64 now = g_get_monotonic_time();

    if (!save->opts->progress || now - save->shown < G_USEC_PER_SEC / 4) {
        return;
    }
    save->shown = now;
    if (total) {
        fprintf(stderr, "\r\033[K%s: %3.0f %% of %" PRIu64 " MiB", what,
                100.0 * MIN(done, total) / total, total >> 20);
    } else {
        fprintf(stderr, "\r\033[K%s", what);
    }
}

static void show_end(Save *save)
{
    if (save->shown) {
        fputs("\r\033[K", stderr);
        save->shown = 0;
    }
}

/* ---- the job ---- */

static bool late(GError **errp)
{
    g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                "the dump was not saved in time: the job is cancelled");
    return false;
}

/* The job's state. It is taken to be the one that was started here. */
static SaveInfo *query_job(Save *save, GError **errp)
{
    g_autoptr(FadumpInfo) info = fadump_query(save->mon, NULL, errp);

    if (!info) {
        return NULL;
    }
    if (!info->save) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "QEMU knows nothing of the save job any more");
        return NULL;
    }
    save->total = info->save->total;
    return g_steal_pointer(&info->save);
}

/* Wait for the end of the job, whatever it is. */
static SaveInfo *wait_job(Save *save, gint64 deadline, GError **errp)
{
    for (;;) {
        g_autoptr(SaveInfo) job = query_job(save, errp);
        gint64 now = g_get_monotonic_time();

        if (!job) {
            return NULL;
        }
        if (strcmp(job->status, "active")) {
            save->started = false;
            return g_steal_pointer(&job);
        }
        show(save, "saving", job->written, job->total);
        if (now >= deadline) {
            late(errp);
            return NULL;
        }
        if (!monitor_pump(save->mon, MIN(deadline, now + save->mon->interval),
                          "FADUMP_SAVE_COMPLETED", save->opts->on_event,
                          save->opts->opaque, errp)) {
            return NULL;
        }
    }
}

/*
 * After a signal, a time-out or an error of ours: end the job, which would
 * else fill the disk for nobody, and wait until it has ended. Returns true if
 * it was complete before that.
 */
static bool cancel_job(Save *save)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(SaveInfo) job = NULL;
    bool fed = save->pipe < 0;

    ctl_signal_clear();
    show_end(save);
    if (!monitor_run(save->mon, "fadump-save-cancel", NULL, &why)) {
        /* it may have ended meanwhile, or QEMU is gone */
        g_clear_error(&why);
    }
    /* not before: QEMU would say that it has failed */
    if (save->pipe >= 0) {
        close(save->pipe);
        save->pipe = -1;
    }
    job = wait_job(save, ctl_deadline(CANCEL_TIMEOUT), &why);
    if (!job) {
        g_printerr("fadump-ctl: the save job may still run: %s\n",
                   why->message);
        return false;
    }
    return fed && !strcmp(job->status, "completed");
}

static bool start_job(Save *save, const char *protocol, GError **errp)
{
    json_object *args = json_object_new_object();
    g_autoptr(GError) why = NULL;

    json_object_object_add(args, "protocol", ctl_json_string(protocol));
    if (monitor_run(save->mon, "fadump-save", args, &why)) {
        save->started = true;
        return true;
    }
    /* without an answer it may have been started */
    save->started = why->code == CTL_INTERRUPTED || why->code == CTL_TIMEOUT;
    g_propagate_error(errp, g_steal_pointer(&why));
    return false;
}

static bool check_job(const SaveInfo *job, GError **errp)
{
    if (!strcmp(job->status, "completed")) {
        return true;
    }
    g_set_error(errp, CTL_ERROR, CTL_FAILED, "the dump was not saved: %s",
                job->error ? job->error : job->status);
    return false;
}

/* ---- QEMU writes the file ---- */

static bool save_by_qemu(Save *save, const char *path, GError **errp)
{
    g_autofree char *protocol = g_strconcat("file:", path, NULL);
    g_autoptr(SaveInfo) job = NULL;

    if (!start_job(save, protocol, errp)) {
        return false;
    }
    job = wait_job(save, save->opts->deadline, errp);
    return job && check_job(job, errp);
}

/* ---- QEMU writes into a pipe ---- */

static bool is_zero(const char *buf, size_t len)
{
    return !len || (!buf[0] && !memcmp(buf, buf + 1, len - 1));
}

static bool write_at(int fd, const char *buf, size_t len, off_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, buf, len, at);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return false;
        }
        buf += n;
        len -= n;
        at += n;
    }
    return true;
}

static bool drain(Save *save, GError **errp)
{
    g_autofree char *buf = g_malloc(HOLE_SIZE);
    size_t have = 0;
    off_t at = 0;
    bool eof = false;

    while (!eof) {
        int ready = ctl_wait_readable(save->pipe, save->opts->deadline, errp);
        ssize_t n;

        if (ready < 0) {
            return false;
        }
        if (!ready) {
            return late(errp);
        }
        n = read(save->pipe, buf + have, HOLE_SIZE - have);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n < 0) {
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "cannot read the dump: %s", g_strerror(errno));
            return false;
        }
        eof = n == 0;
        have += n;
        if (have == HOLE_SIZE || eof) {
            if (!is_zero(buf, have) && !write_at(save->fd, buf, have, at)) {
                g_set_error(errp, CTL_ERROR, CTL_FAILED,
                            "cannot write %s: %s", save->file,
                            g_strerror(errno));
                return false;
            }
            at += have;
            have = 0;
            show(save, "saving", at, save->total);
        }
    }
    if (ftruncate(save->fd, at)) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot write %s: %s",
                    save->file, g_strerror(errno));
        return false;
    }
    return true;
}

static bool save_by_pipe(Save *save, GError **errp)
{
    static const char fdname[] = "fadump-ctl-save";
    g_autoptr(SaveInfo) job = NULL;
    struct stat st;
    int fds[2];
    bool ok;

    save->fd = target_open(save->file, &save->temp, errp);
    if (save->fd < 0) {
        return false;
    }
    if (!g_unix_open_pipe(fds, FD_CLOEXEC, NULL)) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "no pipe: %s",
                    g_strerror(errno));
        return false;
    }
    save->pipe = fds[0];
    /* fewer turns of both sides; it works without */
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
    ok = monitor_pass_fd(save->mon, fds[1], fdname, errp);
    /* from now on it is open in QEMU only: the end of the job is its end */
    close(fds[1]);
    if (!ok) {
        g_prefix_error(errp, "cannot pass QEMU a file descriptor (--no-fd "
                       "lets it open the file itself): ");
        return false;
    }
    if (!start_job(save, "fd:fadump-ctl-save", errp)) {
        json_object *args = json_object_new_object();

        json_object_object_add(args, "fdname", json_object_new_string(fdname));
        monitor_run(save->mon, "closefd", args, NULL);
        return false;
    }
    job = query_job(save, errp);
    if (!job || !drain(save, errp)) {
        return false;
    }
    g_clear_pointer(&job, save_info_free);
    job = wait_job(save, save->opts->deadline, errp);
    if (!job || !check_job(job, errp)) {
        return false;
    }
    if (fstat(save->fd, &st) || (uint64_t)st.st_size != job->total) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "QEMU says that it has written %" PRIu64 " bytes, and %"
                    PRIu64 " came", job->total, (uint64_t)st.st_size);
        return false;
    }
    return true;
}

/* ---- the filter ---- */

static bool filter(Save *save, GError **errp)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    g_autoptr(GByteArray) out = NULL;
    g_autofree char *err = NULL;
    g_autofree char *output = target_temp_name(save->file, ".tmp");
    CtlChild child = {
        .limit = 1024 * 1024,
        .deadline = save->opts->deadline,
    };
    int status, fd;
    bool ok = false;

    g_ptr_array_add(args, (char *)"makedumpfile");
    for (char **p = save->opts->filter; *p; p++) {
        g_ptr_array_add(args, *p);
    }
    /* the core has no name any more, so nothing can be left of it */
    g_ptr_array_add(args, (char *)"/proc/self/fd/3");
    g_ptr_array_add(args, output);
    g_ptr_array_add(args, NULL);
    child.argv = (const char *const *)args->pdata;
    child.fd3 = fcntl(save->fd, F_DUPFD_CLOEXEC, 10);

    show(save, "filtering", 0, 0);
    if (ctl_child_run(&child, &out, &err, &status, errp)) {
        if (status) {
            g_autofree char *why = makedumpfile_reason((char *)out->data,
                                                       err);

            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "makedumpfile failed (status %d): %s", status, why);
        } else {
            fd = open(output, O_RDONLY | O_CLOEXEC);
            if (fd < 0) {
                g_set_error(errp, CTL_ERROR, CTL_FAILED,
                            "makedumpfile has made no file");
            } else {
                ok = target_publish(fd, output, save->file, save->opts->force,
                                    errp);
                close(fd);
            }
        }
    }
    if (!ok) {
        unlink(output);
    }
    show_end(save);
    return ok;
}

/* ---- all of it ---- */

static bool run(Save *save, bool by_fd, GError **errp)
{
    if (!by_fd && !save->opts->filter) {
        return save_by_qemu(save, save->file, errp);
    }
    if (by_fd) {
        if (!save_by_pipe(save, errp)) {
            return false;
        }
        show_end(save);
        if (!save->opts->filter) {
            bool ok = target_publish(save->fd, save->temp, save->file,
                                     save->opts->force, errp);

            if (ok) {
                g_clear_pointer(&save->temp, g_free);
            }
            return ok;
        }
        if (save->temp) {
            unlink(save->temp);
            g_clear_pointer(&save->temp, g_free);
        }
        return filter(save, errp);
    }
    save->core = target_temp_name(save->file, ".core");
    if (!save_by_qemu(save, save->core, errp)) {
        return false;
    }
    show_end(save);
    save->fd = open(save->core, O_RDONLY | O_CLOEXEC);
    if (save->fd < 0) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "cannot read %s, which QEMU has written: %s (--fd lets "
                    "QEMU write it as yours)", save->core, g_strerror(errno));
        return false;
    }
    unlink(save->core);
    return filter(save, errp);
}

bool save_dump(Monitor *mon, const SaveOptions *opts, SaveResult *result,
               GError **errp)
{
    Save save = { .mon = mon, .opts = opts, .fd = -1, .pipe = -1 };
    g_autoptr(FadumpInfo) info = NULL;
    bool by_fd = opts->by_fd < 0 ? mon->local && mon->confined : opts->by_fd;
    struct stat st;
    bool ok;

    if ((by_fd || opts->filter) && !mon->local) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "--fd and --filter need QEMU on this host: connect to a "
                    "Unix socket or a local domain");
        return false;
    }
    if (opts->filter) {
        g_autofree char *program = g_find_program_in_path("makedumpfile");

        if (!program) {
            g_set_error(errp, CTL_ERROR, CTL_FAILED,
                        "--filter needs the program makedumpfile, and it is "
                        "not in PATH: install makedumpfile");
            return false;
        }
    }
    save.file = g_canonicalize_filename(opts->file, NULL);
    info = fadump_query_dump(mon, errp);
    if (!info || !target_check(save.file, opts->force, errp)) {
        g_free(save.file);
        return false;
    }
    /* so that it is not another's job that is cancelled */
    if (info->save && !strcmp(info->save->status, "active")) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "the dump is being saved already: see what \"status\" "
                    "says");
        g_free(save.file);
        return false;
    }

    ok = run(&save, by_fd, errp);
    if (!ok && save.started && cancel_job(&save) && !opts->filter) {
        /* too late to cancel: the file is there and whole */
        g_clear_error(errp);
        ok = true;
    }
    show_end(&save);
    if (save.pipe >= 0) {
        close(save.pipe);
    }
    if (save.fd >= 0) {
        close(save.fd);
    }
    if (save.temp) {
        unlink(save.temp);
    }
    if (save.core) {
        /* also what was completed while it was being cancelled */
        unlink(save.core);
    }
    if (ok) {
        result->file = g_strdup(save.file);
        result->id = g_steal_pointer(&info->dump->id);
        result->core_size = save.total;
        result->file_size = stat(save.file, &st) ? 0 : st.st_size;
    }
    g_free(save.core);
    g_free(save.temp);
    g_free(save.file);
    return ok;
}

void save_result_clear(SaveResult *result)
{
    g_free(result->file);
    g_free(result->id);
}
